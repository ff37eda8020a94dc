"""Own sequences: what ends first on an engine, and what it brings to give each device its own.

A step of as many sequences as memory holds, against the promised time per token, says whether
memory ends first. Then it counts how memory is shared.

Devices that share layers by heads each keep a latent whole. With attention in parallel over data
each keeps the latents of its own sequences, and a copy of the attention's weights. A mixture with a
latent then holds several times as many; one with heads, which split, holds somewhat fewer.

Assumes: experts over all devices in both ways; as many sequences on each device.

Source: `deployments` for memory and `deployed_engine` for steps; published runs of one model in
both ways, read by the rules of `published_runs`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE, Machine
from serving_mathematics.machine.attention_memory.who_fits import (
    SHOWN,
    SPLITS,
    _engine,
    _steps_ms,
    sequences_that_fit,
)
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOKENS = 32_768  # of each sequence in the figure
PLACES = 256
AGENTS_CONTEXT = 80_000.0  # tokens of their sequences, about
HEADS = replace(MIXTURE, name="heads", model="MiniMax-M2.5", precision="fp8")


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
def _pairs() -> list[tuple[str, float, float]]:
    """Published runs of DeepSeek in both ways, nothing else changed: device, requests held, and the
    time per token with shared layers over that with own sequences."""
    lines = [row for row in read_lines() if row["mode"] == "agg" and "DeepSeek" in row["model"]]
    alike: dict[tuple[object, ...], dict[int, list[float]]] = {}
    for run in read_runs(lines):
        one = run.answers
        if (
            run.kind != "engine"
            or one.devices == 1
            or one.devices
            not in (
                one.tensor,
                one.attention_data,
            )
        ):
            continue
        key: tuple[object, ...] = (
            *(one.system.name, one.concurrency, one.backend, one.precision, one.devices),
            *(one.draft_tokens, one.mean_input_tokens, one.mean_output_tokens),
        )
        alike.setdefault(key, {}).setdefault(one.attention_data, []).append(run.per_token_s)
    found = []
    for key, ways in alike.items():
        if len(ways) == 2:
            shared, own = (float(np.median(ways[way])) for way in sorted(ways))
            found.append((str(key[0]), float(str(key[1])), shared / own))
    return found


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
        count = sequences_that_fit(one, tokens)
        (step_ms,) = _steps_ms(one, [count], [int(tokens)])
        promise_s = machine.promise.tpot_s
        found.append((machine.name, tokens, count, machine.places, step_ms / 1e3, promise_s))
    return found


def _filled_rows() -> list[str]:
    """Lines of the page's table."""
    return [
        f"| {name} | {tokens:,.0f} | {count} | {places} | {1e3 * step:.0f} | {1e3 * promise:.0f} |"
        for name, tokens, count, places, step, promise in _filled()
    ]


def example() -> SimpleNamespace:
    """Numbers of the page."""
    gains = [gain for _, _, gain in _pairs()]
    fit = {own: _made(MIXTURE, own)[1] for own in (False, True)}
    return SimpleNamespace(
        filled_rows="\n".join(_filled_rows()),
        own_shared=fit[False],
        own_apart=fit[True],
        own_times=fit[True] / fit[False],
        own_gain=_ceiling_per_s(MIXTURE, True) / _ceiling_per_s(MIXTURE, False) - 1,
        own_gain_alike=_ceiling_per_s(MIXTURE, True, fit[False])
        / _ceiling_per_s(MIXTURE, False, fit[False])
        - 1,
        heads_gain=_ceiling_per_s(HEADS, True) / _ceiling_per_s(HEADS, False) - 1,
        own_pairs=len(gains),
        own_pairs_median=1 - 1 / float(np.median(gains)),
    )


def figure_own_sequences(figure: Figure) -> None:
    """A latent and states gain by own sequences, and heads lose a little by the copied weights.

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


def check_own_sequences_raise_a_latent_s_ceiling() -> None:
    """The mixture carries half as much again with own sequences, and if its steps then take a fifth
    longer than thought, it keeps more than half of that gain. Of a model with heads under the same
    requests the gain is less than half as large, and the same error leaves a fifth of it.

    Source: the ceiling of engines with 256 places or as many as memory holds.
    """
    gains = []
    for slower, least, most in ((1.0, 1.5, 1.5), (1.2, 1.25, 1.1)):
        latent, heads = (
            _ceiling_per_s(machine, True, slower=slower) / _ceiling_per_s(machine, False)
            for machine in (MIXTURE, HEADS)
        )
        checks.inside(f"latent, steps times {slower}", latent, least, 3.0)
        checks.inside(f"heads, steps times {slower}", heads, 0.9, most)
        checks.holds("heads gain less than half", heads - 1 < (latent - 1) / 2, got=heads - 1)
        gains.append((latent - 1, heads - 1))
    left = [slow / told for told, slow in zip(*gains, strict=True)]
    checks.inside("left of the latent's gain", left[0], 0.5, 0.7)
    checks.inside("left of the heads'", left[1], 0.15, 0.25)


def check_own_sequences_are_no_slower_where_measured() -> None:
    """In none of the published pairs of DeepSeek did a token take longer with own sequences.

    Source: runs with TensorRT-LLM on B200 and H200 with 64 to 256 requests, whose memory was not
    full; `records/machine_runs.json.gz`.
    """
    pairs = _pairs()
    checks.inside("pairs", len(pairs), 8, 40, kind="measured")
    least = min(gain for _, _, gain in pairs)
    checks.inside("least gain", least, 1.0, 1.5, kind="measured")
    checks.inside("fewest requests", min(held for _, held, _ in pairs), 64, 256, kind="measured")
