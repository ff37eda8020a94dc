"""What somebody else's prompt does to a stream: every step that carries a part of it is a gap.

A step in which b sequences decode takes D(b), and with the tokens i to j of a prompt in it
D(b) + p(j) − p(i), where p is the machine's time for so many first tokens of a prompt. All streams
wait for it. Cut into chunks, a prompt makes many short stalls instead of one long one, and its own
first token comes later by the steps that it then shares.

`python -m serving_mathematics.architecture.streaming.stalls` puts the machine under load, in some
seconds, and writes records/chunks_under_load.json.gz.

Assumes: the machine's steps, where a chunk costs what it adds; one prompt at a time. Where a device
reads for its streams while it computes for a prompt, the newcomer loses less.

Source: Agrawal et al. (2024), chunked prefill and stall-free batching; the book's machines for
times.
"""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    as_number,
    require,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]

STREAMS = 16  # that are read while the prompt comes
PROMPTS = (2_000, 8_000, 32_000)
CHUNKS = (512, 1_024, 8_192, 1_000_000)  # vLLM's default on large devices, and every prompt whole
BEFORE_S, CLIP_S, FRAMES = 0.5, 4.0, 81
STALL_S = 0.1  # a gap that is felt; what the mixture promises for a token
THOUGHTS = 1_000  # tokens of reasoning before the text
LOAD, REQUESTS, SEEDS = 2 / 3, 4_000, 48  # of the ceiling, where a chunk must carry the load


def gaps_beside_prompt_s(
    machine: Machine, streams: int, prompt_tokens: int, chunk_tokens: int
) -> FloatArray:
    """The gaps that streams see while one prompt is computed in chunks [s].

    machine: its steps. streams: that decode, from 0 to its places. prompt_tokens: 1 or more.
    chunk_tokens: of the prompt in one step at most, 1 or more. Their sum is the prompt's time to
    first token, without a queue. Raises ValueError outside these ranges.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> whole, chunked = (gaps_beside_prompt_s(CHAT, 16, 4000, chunk) for chunk in (4000, 1000))
    >>> whole.size, chunked.size, bool(chunked.max() < 0.5 * whole.max())
    (1, 4, True)
    """
    prompt_tokens, chunk_tokens = require_positive_integer(
        prompt_tokens=prompt_tokens, chunk_tokens=chunk_tokens
    )
    require_work(prompt_tokens / chunk_tokens, prompt_tokens=prompt_tokens)
    streams = as_number(streams=streams)
    fits = 0 <= streams <= machine.places and streams % 1 == 0
    require(fits, "streams", f"a number from 0 to {machine.places}", streams)
    upto = np.append(np.arange(chunk_tokens, prompt_tokens, chunk_tokens), prompt_tokens)
    parts = np.diff(machine.prompt_s(upto), prepend=0.0)
    return np.asarray(float(machine.step_s(streams)) + parts)


@functools.cache
def _stalled(prompt: int, chunk: int) -> tuple[FloatArray, float]:
    """When the tokens of a stream come, and the newcomer's first one [s]; the prompt comes after
    half a second."""
    step_s = float(MIXTURE.step_s(STREAMS))
    before = np.arange(0.0, BEFORE_S, step_s)
    beside = gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk)
    during = before[-1] + np.cumsum(beside)
    after = during[-1] + float(MIXTURE.step_s(STREAMS + 1)) * np.arange(1, 400)
    return np.concatenate([before, during, after]), float(during[-1])


def _longest_ms(prompt: int, chunk: int) -> float:
    return 1000 * float(gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk).max())


def _first_s(prompt: int, chunk: int) -> float:
    return float(gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk).sum())


def _gaps_ms(prompt: int, chunk: int) -> FloatArray:
    """The gaps of an answer of 200 tokens that the prompt interrupts."""
    return 1000 * np.diff(_stalled(prompt, chunk)[0][:200])


def _mean_gap_ms(prompt: int, chunk: int) -> float:
    """TPOT of that answer."""
    return float(_gaps_ms(prompt, chunk).mean())


class _Share(NamedTuple):
    """Of the requests that keep the promise."""

    kept: float


@recorded(_Share, "chunks_under_load")
def _under_load(chunk: int, seeds: int = SEEDS) -> _Share:
    """The mixture under load, averaged over runs, where a step holds a chunk and a token for each
    place."""
    rate, budget = LOAD * MIXTURE.ceiling_per_s, chunk + MIXTURE.places
    rngs = (np.random.default_rng([94, seed]) for seed in range(seeds))
    runs = (run_engine(MIXTURE, rate, REQUESTS, rng, token_budget=budget) for rng in rngs)
    return _Share(float(np.mean([run.kept(MIXTURE) for run in runs])))


def _kept(chunk: int) -> float:
    """Share that keeps the promise with such a chunk."""
    return _under_load(chunk).kept


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    short, allowed, _, whole = CHUNKS
    crowded, crowded_whole = (
        gaps_beside_prompt_s(MIXTURE, MIXTURE.places, 32_000, chunk) for chunk in (allowed, whole)
    )
    return SimpleNamespace(
        whole_stall_ms=_longest_ms(32_000, whole),
        chunk=allowed,
        kept_gap_ms=_longest_ms(32_000, allowed),
        added_percent=100 * (_first_s(32_000, allowed) / _first_s(32_000, whole) - 1),
        crowd=MIXTURE.places,
        crowd_gap_ms=1000 * float(crowded.max()),
        added_crowd_percent=100 * float(crowded.sum() / crowded_whole.sum() - 1),
        kept_percent=100 * _kept(allowed),
        short_chunk=short,
        short_kept_percent=100 * _kept(short),
        thoughts=THOUGHTS,
        thought_s=THOUGHTS * float(MIXTURE.step_s(STREAMS)),
    )


def figure_stall(figure: Figure) -> None:
    """A prompt of 32,000 tokens arrives after half a second: read whole, it stops the stream; read
    in chunks of 512, it only slows the stream, and the newcomer waits longer.

    The mixture with sixteen streams.

    Alt: Tokens on the screen against time. Both curves rise together at first. One stays flat for a
    long while and then rises again; the other keeps rising with a smaller slope until both rise
    alike. A triangle marks the end of the flat part, another stands much later.
    """
    axes = figure.subplots()
    for chunk, colour, text, at in (
        (CHUNKS[-1], "C3", "whole", (1.3, 12)),
        (CHUNKS[0], "C0", "chunks of 512", (0.8, 63)),
    ):
        times, first_s = _stalled(PROMPTS[2], chunk)
        counts = np.arange(1, times.size + 1)
        axes.step(times, counts, where="post", color=colour)
        (mark,) = axes.plot(first_s, np.interp(first_s, times, counts), "^", color="C1")
        axes.annotate(text, at, color=colour)
    axes.legend([mark], ["the newcomer's first token"], loc="lower right")
    axes.set(xlim=(0, CLIP_S), ylim=(0, 130), xlabel="time [s]", ylabel="tokens on the screen")


def figure_chunks(figure: Figure) -> None:
    """A stall is somebody else's prompt in your step: chunks shorten the stall and delay the
    newcomer's first token.

    The mixture with sixteen streams and a prompt of 32,000 tokens, by chunk size.

    Alt: Two curves against the tokens of a chunk, logarithmic. The longest gap of the streams rises
    steeply with the chunk; the newcomer's time to first token falls, fast at first and then little.
    """
    axes = figure.subplots()
    chunks = np.array([256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768])
    longest = [_longest_ms(32_000, int(chunk)) / 1000 for chunk in chunks]
    first = [_first_s(32_000, int(chunk)) for chunk in chunks]
    axes.plot(chunks, longest, "o-", color="C0")
    axes.plot(chunks, first, "o-", color="C1")
    axes.annotate("first token of the newcomer", (700, 2.9), color="C1")
    axes.annotate("longest gap of the others", (270, 0.35), color="C0")
    axes.set(xscale="log", ylim=(0, None), xlabel="chunk [tokens]", ylabel="time [s]")
    axes.set_xticks(chunks, [f"{chunk:,}" for chunk in chunks])
    axes.set_xticks([], minor=True)


def _bars(prompt: int, chunk: int) -> list[tuple[str, float, float, str]]:
    """A stream's gaps, ordinary ones together, and the newcomer's prompt and answer."""
    times, first_s = _stalled(prompt, chunk)
    bars, start = [], 0.0
    for before, after in itertools.pairwise(times):
        if after > CLIP_S:
            break
        if after - before > STALL_S:
            if before > start + 1e-9:
                bars.append(("a stream", start, float(before), "answer"))
            bars.append(("a stream", float(before), float(after), "broken"))
            start = float(after)
    if start < CLIP_S:
        bars.append(("a stream", start, CLIP_S, "answer"))
    bars.append(("newcomer", BEFORE_S, min(first_s, CLIP_S), "prompt"))
    if first_s < CLIP_S:
        bars.append(("newcomer", first_s, CLIP_S, "answer"))
    return bars


def slider_stall() -> dict[str, Any]:
    """Sixteen streams are running when a prompt arrives. Play it, then choose a smaller chunk."""
    clock = np.linspace(0.0, CLIP_S, FRAMES)
    cases = [[(prompt, chunk) for chunk in CHUNKS] for prompt in PROMPTS]
    texts = [f"{chunk:,} tokens" for chunk in CHUNKS[:-1]] + ["whole"]

    def over(value: Any) -> list[list[Any]]:
        return [[value(*case) for case in row] for row in cases]

    return {
        "controls": [
            {
                "label": "prompt",
                "values": [f"{prompt:,} tokens" for prompt in PROMPTS],
                "start": f"{PROMPTS[2]:,} tokens",
            },
            {"label": "chunk", "values": texts, "start": "whole"},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "decimals": 2,
            "values": clock,
            "start": clock[26],
        },
        "panels": [
            {
                "kind": "curves",
                "y": {"label": "tokens on the screen", "unit": ""},
                "curves": [
                    {
                        "label": "tokens",
                        "unit": "",
                        "decimals": 0,
                        "state": "answer",
                        "values": over(
                            lambda prompt, chunk: np.searchsorted(
                                _stalled(prompt, chunk)[0], clock, side="right"
                            )
                        ),
                    }
                ],
            },
            {
                "kind": "lanes",
                "label": "one of sixteen streams, and the newcomer",
                "lanes": ["a stream", "newcomer"],
                "bars": over(_bars),
            },
        ],
        "readouts": [
            {"label": "longest gap", "unit": "ms", "decimals": 0, "values": over(_longest_ms)},
            {"label": "first token", "unit": "s", "decimals": 2, "values": over(_first_s)},
            {"label": "mean gap", "unit": "ms", "decimals": 0, "values": over(_mean_gap_ms)},
        ],
        "legend": {"broken": "a gap above the promised mean, 100 ms"},
        "reading": "A reader has {tokens} tokens after {time}. The longest gap is {longest gap},"
        " and the newcomer's first token takes {first token}. The mean gap over 200 tokens is"
        " {mean gap}.",
    }


def check_gaps_are_those_of_the_engine() -> None:
    """For three budgets, sixteen streams and a prompt have the same longest gap and the same first
    token here as in the simulated engine, to 3%.

    Source: `simulate` with the streams under way; their contexts grow, those here do not.
    """
    context = round(MIXTURE.mean_context_tokens)
    for budget in (512, 2_048, 8_192):
        machine = MIXTURE.limited(token_budget=budget + STREAMS)
        prompts = [*[context - 150] * STREAMS, 32_000]
        answers = [*[2_000] * STREAMS, 2]
        began = [*[0.0] * STREAMS, 5.0]
        cached = [*[context - 151] * STREAMS, 0]
        asked = Workload(began, prompts, answers, cached)
        gaps: list[tuple[float, int]] = []
        run = simulate(asked, machine.engine, gaps=gaps)
        expected = gaps_beside_prompt_s(MIXTURE, STREAMS, 32_000, budget)
        label = f"chunks of {budget:,}"
        longest = max(gap_s for gap_s, tokens in gaps if tokens == STREAMS)
        checks.close(
            f"{label}: longest gap [s]", longest, expected.max(), rtol=0.03, kind="simulation"
        )
        took = float(run.first_token_s[-1] - run.admitted_s[-1])
        checks.close(
            f"{label}: first token [s]", took, expected.sum(), rtol=0.03, kind="simulation"
        )


def check_chunks_of_the_answer_keep_the_promise() -> None:
    """Beside a prompt of 32,000 tokens, chunks of 1,024 keep every gap below the promised 100 ms,
    and chunks of 2,048 do not.

    Source: what the machine promises for a token.
    """
    for chunk, kept in ((CHUNKS[1], True), (2 * CHUNKS[1], False)):
        gaps = gaps_beside_prompt_s(MIXTURE, STREAMS, 32_000, chunk)
        checks.holds(f"chunks of {chunk:,}", bool(gaps.max() <= MIXTURE.promise.tpot_s) == kept)


def check_chunks_must_carry_the_load() -> None:
    """At two thirds of its ceiling, the mixture keeps its promise as often with chunks of 1,024 as
    with 2,048, less often by a tenth or more with 512, and seldom with 256.

    Source: own simulation, 48 runs of 4,000 requests.
    """
    allowed, long = _kept(1_024), _kept(2_048)
    checks.close(
        "kept with chunks of 1,024 and of 2,048", allowed, long, atol=0.03, kind="simulation"
    )
    lost = _kept(1_024) - _kept(512)
    checks.inside("kept with 512, less than with 1,024", lost, 0.1, 0.3)
    checks.inside("kept with 256", _kept(256), 0.0, 0.4)


def check_a_run_is_made_again() -> None:
    """A run of the record, simulated again, keeps the promise as often.

    Source: the record, and its command.
    """
    checks.close(
        "kept with 512",
        _under_load.again(512, 1),
        _under_load(512, 1),
        rtol=1e-6,
        kind="simulation",
    )


def check_chunks_bound_the_stall() -> None:
    """A smaller chunk never makes the longest gap longer nor the newcomer's first token earlier, on
    two machines.

    Source: every pair of neighbouring chunk sizes.
    """
    for machine, prompt in ((CHAT, 6_000), (MIXTURE, 32_000)):
        sizes = (128, 512, 2_048, 8_192, prompt)
        runs = [gaps_beside_prompt_s(machine, STREAMS, prompt, size) for size in sizes]
        longest = [float(run.max()) for run in runs]
        first = [float(run.sum()) for run in runs]
        checks.holds(f"{machine.name}: longest gap", bool(np.all(np.diff(longest) >= -1e-9)))
        checks.holds(f"{machine.name}: first token", bool(np.all(np.diff(first) <= 1e-9)))


def check_the_mean_hides_the_stall() -> None:
    """A prompt of 32,000 tokens, read whole, lengthens the TPOT of an answer of 200 tokens by a
    quarter to a half, far within the promise, and its p99 gap by at most a tenth. With chunks of
    2,048, TPOT is the same to a third, and the longest gap is at most a tenth as long.

    Source: the stream's times, token by token.
    """
    gaps, step_ms = _gaps_ms(32_000, CHUNKS[-1]), 1000 * float(MIXTURE.step_s(STREAMS))
    checks.inside("TPOT, over a step", float(gaps.mean()) / step_ms, 1.25, 1.5)
    promised_ms = 1000 * MIXTURE.promise.tpot_s
    checks.inside("TPOT, over the promise", float(gaps.mean()) / promised_ms, 0.0, 0.5)
    p99 = float(np.quantile(gaps, 0.99))
    checks.inside("p99 gap of the answer, over a step", p99 / step_ms, 1.0, 1.1)
    tpots = [_mean_gap_ms(32_000, chunk) for chunk in (2_048, CHUNKS[-1])]
    checks.inside("TPOT, chunked over whole", tpots[0] / tpots[1], 0.75, 1.33)
    longest = [_longest_ms(32_000, chunk) for chunk in (2_048, CHUNKS[-1])]
    checks.inside("longest gap, whole over chunked", longest[1] / longest[0], 10, 100)


if __name__ == "__main__":
    _under_load.make()
