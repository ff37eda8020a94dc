"""Own sequences: what ends first on an engine, and what it brings to give each device its own.

A step of as many sequences as memory holds, against the promised time per token, says whether
memory ends first. Then it counts how memory is shared.

Devices that share layers by heads each keep a latent whole. With attention in parallel over data
each keeps the latents of its own sequences, and a copy of the attention's weights. A mixture with a
latent then holds several times as many; one with heads, which split, holds somewhat fewer.

Assumes: experts over all devices in both ways; as many sequences on each device.

Source: `deployments` for memory and `deployed_engine` for steps.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    cache_room_bytes,
    sequence_bytes,
)
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.hardware.published_runs import _engine_runs
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE, Machine, Promise
from serving_mathematics.machine.attention_memory.who_fits import (
    SHOWN,
    SPLITS,
    _engine,
    _steps_ms,
    sequences_that_fit,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

TOKENS = 32_768  # of each sequence in the figure
PLACES = 256
LONGER = 4000  # tokens of the chat machine's sequences, more than three times what they have
AGENTS_CONTEXT = 80_000.0  # tokens of their sequences, about
TIGHT = replace(MIXTURE, promise=Promise(10.0, 0.03, 0.9))  # a promise that only few requests keep


def _own(deployment: Deployment) -> Deployment:
    """The same devices, each with sequences of its own."""
    devices = deployment.tensor
    return replace(deployment, tensor=1, attention_data=devices, expert=devices)


@cache
def _made(machine: Machine, own: bool) -> tuple[Engine, int]:
    """A machine's engine in one of the ways, and sequences of its mean context that fit."""
    lengths = machine.sample
    asked = Workload(
        np.zeros(lengths.prompt_tokens.size), lengths.prompt_tokens, lengths.output_tokens
    )
    one = _own(machine.deployment) if own else machine.deployment
    longest = min(
        int((lengths.prompt_tokens + lengths.output_tokens).max()),
        one.architecture.context_tokens,
    )
    constants = front_constants(find_front(machine.front))
    budget = machine.token_budget
    made = engine_of(one, asked, budget, PLACES, constants=constants, longest=longest)
    return made.engine, sequences_that_fit(one, machine.mean_context_tokens)


@cache
def _ceiling_per_s(machine: Machine, own: bool, places: int = PLACES, slower: float = 1.0) -> float:
    """Requests a second at most, with steps so many times as long."""
    engine, fit = _made(machine, own)
    limited = replace(engine, max_sequences=min(places, fit))
    lengths = machine.sample
    found = saturated_rate(
        lengths.prompt_tokens, lengths.output_tokens, limited, lengths.cached_tokens
    )
    return found / slower


@cache
def _kept(machine: Machine, own: bool, slower: float = 1.0) -> tuple[int, float]:
    """Most sequences at which a full engine, which reads prompts in between, keeps the promised
    time per token on average, and the requests a second that it then carries."""
    tokens, promise_s = float(machine.sample.output_tokens.mean()), machine.promise.tpot_s

    def late(count: int) -> bool:
        return count > promise_s * tokens * _ceiling_per_s(machine, own, count, slower)

    most = bisect_left(range(1, min(PLACES, _made(machine, own)[1]) + 1), True, key=late)
    return most, _ceiling_per_s(machine, own, most, slower)


def _gain(machine: Machine, slower: float = 1.0) -> float:
    """Of own sequences within the promise, if their steps take so many times as long."""
    return _kept(machine, True, slower)[1] / _kept(machine, False)[1] - 1


@cache
def _by_tokens(machine: Machine) -> int:
    """Sequences of the mean context that fit where devices share layers and split each context."""
    one = machine.deployment
    return int(
        one.tensor * cache_room_bytes(one) // sequence_bytes(one, machine.mean_context_tokens)
    )


@cache
def _releases() -> list[tuple[set[str], set[str]]]:
    """Engine releases of published runs of DeepSeek that are alike but for the split: with shared
    layers, and with own sequences."""
    alike: dict[tuple[object, ...], tuple[set[str], set[str]]] = {}
    for run in _engine_runs():
        one = run.answers
        latent = "DeepSeek" in run.model and one.devices > 1
        if latent and one.devices in (one.tensor, one.attention_data):
            key: tuple[object, ...] = (
                *(one.system.name, run.concurrency, one.backend, one.precision, one.devices),
                *(one.draft_tokens, one.mean_input_tokens, one.mean_output_tokens),
            )
            alike.setdefault(key, (set(), set()))[one.attention_data > 1].add(run.release)
    return [both for both in alike.values() if all(both)]


def _filled() -> list[tuple[str, float, int, int, float, float]]:
    """What the machines hold when full: name, tokens of each sequence, sequences, places, a step of
    them and the promised time per token [s]."""
    shown = (
        (CHAT, CHAT.deployment, CHAT.mean_context_tokens),
        (MIXTURE, MIXTURE.deployment, MIXTURE.mean_context_tokens),
        (AGENTS, _engine("heads"), AGENTS_CONTEXT),
    )
    found = []
    for machine, one, tokens in shown:
        count, step_s = _full(one, tokens)
        found.append((machine.name, tokens, count, machine.places, step_s, machine.promise.tpot_s))
    return found


def _full(one: Deployment, tokens: float) -> tuple[int, float]:
    """Sequences of so many tokens that fit, and a step of them all [s]."""
    count = sequences_that_fit(one, tokens)
    (step_ms,) = _steps_ms(one, [count], [int(tokens)])
    return count, step_ms / 1e3


@cache
def _elsewhere() -> dict[str, tuple[int, float]]:
    """The chat machine's model on one of other devices: sequences that fit, and a step of all."""
    return {
        name: _full(replace(CHAT.deployment, system=find_system(name)), CHAT.mean_context_tokens)
        for name in ("H100", "H200", "B200", "A100", "L40S", "RTX PRO 6000")
    }


def _filled_rows() -> list[str]:
    """Lines of the page's table."""
    return [
        f"| {name} | {tokens:,.0f} | {count} | {places} | {1e3 * step:.0f} | {1e3 * promise:.0f} |"
        for name, tokens, count, places, step, promise in _filled()
    ]


def example() -> SimpleNamespace:
    """Numbers of the page."""
    fit = {own: _made(MIXTURE, own)[1] for own in (False, True)}
    return SimpleNamespace(
        kept_gain=_gain(MIXTURE),
        kept_gain_slower=_gain(MIXTURE, 1.2),
        tight_ms=1e3 * TIGHT.promise.tpot_s,
        tight_gain=_gain(TIGHT),
        tight_loss=-_gain(TIGHT, 1.2),
        filled_rows="\n".join(_filled_rows()),
        own_shared=fit[False],
        own_apart=fit[True],
    )


def figure_own_sequences(figure: Figure) -> None:
    """With a latent or states, more fit as own sequences; with a head for each device fewer do,
    because weights are copied.

    Sequences of 32,768 tokens on eight H200.

    Alt: Pairs of dots on a logarithmic axis of sequences that fit, one pair for each of five
    models. The dot of own sequences lies far to the right of that of shared layers for the latent,
    the model that selects and the one with states; the pairs of heads and windows nearly touch,
    with own sequences on the left.
    """
    axes = figure.subplots()
    names = [label for label, _, _, _ in SHOWN.values()]
    for row, kind in enumerate(SHOWN):
        counts = [sequences_that_fit(_engine(kind, split), TOKENS) for split in SPLITS]
        axes.plot(counts, [row, row], "-", color="C5", linewidth=1)
        for split, count, colour in zip(SPLITS, counts, ("C1", "C0"), strict=True):
            axes.plot(count, row, "o", color=colour, label="" if row else split)
    axes.legend(loc="upper right")
    axes.set(xscale="log", xlabel="sequences of 32,768 tokens that fit", ylim=(4.6, -0.6))
    axes.set_ylabel("model: what a layer keeps")
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks([10, 100, 1000], ["10", "100", "1,000"])
    axes.minorticks_off()


def check_memory_ends_before_the_promise() -> None:
    """On all three machines a step with all sequences that fit keeps the promised time per token,
    even if it takes a fifth longer than predicted. So memory or places end first.

    Source: the scored step model, without prompts in between.
    """
    for name, _, _, _, step_s, promise_s in _filled():
        checks.inside(
            f"{name}: a full step, a fifth longer, over the promise",
            1.2 * step_s / promise_s,
            0.0,
            1.0,
        )


def check_the_promise_takes_part_of_what_memory_gives() -> None:
    """The promised time per token lets the mixture use at most a quarter of the own sequences that
    fit, so it gains less from them than its highest rate does. At most a third of the gain is left
    if steps with own sequences take a fifth longer than predicted. Within a shorter time, which 8
    to 16 own sequences keep, the gain is small, and with such steps it is a loss.

    Source: full engines with so many places, which read prompts in between; by Little's law the
    time per token is the places over requests a second and tokens of an answer.
    """
    for own in (False, True):
        most, _ = _kept(MIXTURE, own)
        each_s = [
            n / (_ceiling_per_s(MIXTURE, own, n) * float(MIXTURE.sample.output_tokens.mean()))
            for n in (most, most + 1)
        ]
        kept = each_s[0] <= MIXTURE.promise.tpot_s < each_s[1]
        checks.holds(f"own {own}: {most} keep it, one more does not", kept, got=each_s)
    used, shared = _kept(MIXTURE, True)[0], _kept(MIXTURE, False)[0]
    checks.inside("own: used of what fits", used / _made(MIXTURE, True)[1], 0.1, 0.25)
    checks.inside("shared: used of what fits", shared / _made(MIXTURE, False)[1], 0.5, 0.99)
    ceiling = _ceiling_per_s(MIXTURE, True) / _ceiling_per_s(MIXTURE, False) - 1
    told, slow = _gain(MIXTURE), _gain(MIXTURE, 1.2)
    checks.inside("gain over the ceiling's", told / ceiling, 0.3, 0.8)
    checks.inside("left of it", slow / told, 0.0, 1 / 3)
    checks.inside("sequences within a tight promise", _kept(TIGHT, True)[0], 8, 16)
    checks.inside("gain within it", _gain(TIGHT), -0.1, 0.2)
    checks.inside("with longer steps", _gain(TIGHT, 1.2), -0.5, -0.2)


def check_where_the_promise_ends_before_memory() -> None:
    """On one device of five other kinds, a step with all of the chat machine's sequences that fit
    takes longer than its promised 50 ms, and at least as long as reading the cache takes. With
    longer contexts only L40S and RTX PRO 6000, which have more memory for their bandwidth, take
    longer than promised, and an L40S no more where two sequences fit.

    Source: the scored step model; data sheets' memory and bandwidth.
    """
    for name, (count, step_s) in _elsewhere().items():
        one = replace(CHAT.deployment, system=find_system(name))
        checks.equal(f"{name}, {count} fit: too long", step_s > CHAT.promise.tpot_s, name != "H100")
        least = cache_room_bytes(one) / one.system.bandwidth_bytes_per_s
        checks.inside(f"{name}: over reading the cache", step_s / least, 1.0, 3.0)
        by_reading = name in ("L40S", "RTX PRO 6000")
        for tokens in (LONGER, 4 * LONGER, 8 * LONGER):
            late = _full(one, tokens)[1] > CHAT.promise.tpot_s
            checks.equal(f"{name}, {tokens} tokens: too long", late, by_reading)
    two, step_s = _full(replace(CHAT.deployment, system=find_system("L40S")), 16 * LONGER)
    checks.equal(f"L40S, {two} fit: too long", step_s > CHAT.promise.tpot_s, False)


def check_copied_weights_leave_no_room() -> None:
    """On more devices than KV heads, a mixture with weights in eight bits has room for more own
    sequences of 30,000 tokens than with shared layers. In sixteen bits it has not, because copies
    of attention's weights fill the devices; nor has a dense model, whose copies are of all its
    weights.

    Source: what each device holds: a 235B with four KV heads on eight H100, and a 70B with eight on
    sixteen H200.
    """
    for model, system, devices, precision, gains in (
        ("Qwen3-235B-A22B", "H100", 8, "fp8", True),
        ("Qwen3-235B-A22B", "H100", 8, "bf16", False),
        ("Llama-3.1-70B", "H200", 16, "fp8", False),
    ):
        made, device = find_model(model)[0], find_system(system)
        one = replace(CHAT.deployment, architecture=made, system=device, precision=precision)
        shared = replace(one, tensor=devices, expert=devices if made.expert_counts else 1)
        own = replace(_own(shared), expert=shared.expert)
        fit = [sequences_that_fit(way, 30_000.0) for way in (shared, own)]
        label = f"{model} on {devices}, {precision}"
        checks.equal(f"{label}: more fit as own ones", fit[1] > fit[0], gains)


def check_contexts_split_by_tokens() -> None:
    """If eight devices split each context by its tokens, at least eight times as many of the
    mixture's sequences fit as with shared layers alone, and more than own sequences, for which
    attention's weights are copied.

    Source: the sequences that fit on each device, and eight times as many.
    """
    shared, own = (_made(MIXTURE, way)[1] for way in (False, True))
    checks.inside("split by tokens", _by_tokens(MIXTURE), 8 * shared, 8 * (shared + 1))
    checks.holds("more than own sequences", _by_tokens(MIXTURE) > own, got=own)


def check_few_sequences_are_slower_apart() -> None:
    """With one sequence and with 8, a step of the mixture takes longer with own sequences than with
    shared layers, because each device reads all of attention's weights; with 32 and 64 it takes
    less.

    Source: the scored step model.
    """
    tokens = [int(MIXTURE.mean_context_tokens)] * 4
    counts = [1, 8, 32, 64]
    shared, own = (
        np.array(_steps_ms(one, counts, tokens))
        for one in (MIXTURE.deployment, _own(MIXTURE.deployment))
    )
    checks.equal("own sequences are slower", (own > shared).tolist(), [True, True, False, False])


def check_no_release_was_measured_in_both_ways() -> None:
    """Wherever DeepSeek was measured with own sequences and with shared layers, all else alike, the
    engine's release differs too, so these runs show no gain.

    Source: runs with TensorRT-LLM on B200 and H200; `records/machine_runs.json.gz`.
    """
    found = _releases()
    checks.inside("deployments in both ways", len(found), 8, 40)
    checks.equal("of one release", sum(bool(a & b) for a, b in found), 0, kind="stated")
