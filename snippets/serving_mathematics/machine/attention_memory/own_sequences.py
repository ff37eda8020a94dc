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
    time per token in the mean, and the requests a second that it then carries."""
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
    """A latent and states gain from own sequences; a model with a head for each device loses, by
    copied weights.

    Sequences of 32,768 tokens on eight H200.

    Alt: Pairs of dots on a logarithmic axis of sequences that fit, one pair for each of five
    models. Own sequences lie far to the right of shared layers for the latent, the model
    that selects and the one with states; the pairs of heads and windows nearly touch, with own
    sequences to the left.
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
    """On all three machines a step of as many as memory holds keeps the promised time per token, so
    that memory or places end first; if steps take a fifth longer, too.

    Source: the scored step model, without prompts in between.
    """
    for name, _, _, _, step_s, promise_s in _filled():
        checks.inside(f"{name}: a full step over the promise", 1.2 * step_s / promise_s, 0.0, 1.0)


def check_the_promise_takes_part_of_what_memory_gives() -> None:
    """Five times as many sequences fit, but the promise lets the mixture use a quarter of them or
    less, so it gains less than its ceiling; less than a third of the gain is left if steps with own
    sequences take a fifth longer than predicted. A promise that a dozen keep leaves hardly a gain,
    and with such steps a loss.

    Source: full engines with as many places, prompts in between: places over requests a second and
    tokens of an answer are the time per token, by Little's law.
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
    """The chat model fills one device of other kinds with more than its promise of 50 ms bears: a
    full step takes longer on each, and at least what is left for the cache over the bandwidth. Of
    longer contexts only those devices hold too much that have more memory for their bandwidth, and
    an L40S no more where two fit.

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
    """Where devices are more than the KV heads, own sequences of 30,000 tokens are more than those
    that fit with shared layers in a mixture whose weights are in eight bits. In sixteen its copies
    of attention fill the devices, and a dense model's copies are of all its weights.

    Source: what each device holds: 235B with four heads on eight H100, 70B with eight on sixteen
    H200.
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
    """Devices that split each context hold nearly as many times the sequences as there are devices,
    and more than with own sequences, which copy the attention's weights.

    Source: whole sequences of each device, and eight times as many.
    """
    shared, own = (_made(MIXTURE, way)[1] for way in (False, True))
    checks.inside("split by tokens", _by_tokens(MIXTURE), 8 * shared, 8 * (shared + 1))
    checks.holds("more than own sequences", _by_tokens(MIXTURE) > own, got=own)


def check_few_sequences_are_slower_apart() -> None:
    """Alone a token of the mixture takes longer with own sequences, since each device reads all of
    the attention's weights; from 32 sequences on it takes less.

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
    engine's release differs too, so that no gain can be read off.

    Source: runs with TensorRT-LLM on B200 and H200; `records/machine_runs.json.gz`.
    """
    found = _releases()
    checks.inside("deployments in both ways", len(found), 8, 40)
    checks.equal("of one release", sum(bool(a & b) for a, b in found), 0, kind="stated")
