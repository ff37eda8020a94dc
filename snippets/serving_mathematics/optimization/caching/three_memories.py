"""The same memory in three ways: reserved for the longest, in blocks, and in shared blocks.

The book's chat machine meets conversations that all begin with the same tokens, instructions or
tools. One engine reserves room for the longest sequence that it accepts, one takes blocks as they
are filled, and one keeps the common beginning once and computes it once.

Assumes: what `core.fleet` assumes; lengths of the chat machine behind the common beginning; a
longest sequence of 32,768 tokens.

Source: own simulation; Kwon et al. (2023) for reservations and blocks, vLLM's design of automatic
prefix caching for blocks that are shared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]

WAYS = ("reserved", "blocks", "shared")
PARTS = (("common", "cached"), ("own", "answer"), ("empty", "starts"))  # of the memory, and states
LONGEST = 32_768  # tokens that a sequence may have, reserved for each
SHARED = [0, 1000, 4000, 16_000]  # tokens with which all prompts begin
RATES = [2, 6, 12]  # requests a second
SPAN_S, FRAME_S = 60.0, 2.0
SAMPLE = 2000  # requests whose lengths say which contexts occur


@dataclass(frozen=True)
class _Shown:
    """What the memory of an engine holds at the frames [tokens]: common beginnings, what requests
    have of their own, and what is taken and holds nothing. Who runs and waits; requests answered a
    second, of those that came."""

    common: FloatArray
    own: FloatArray
    empty: FloatArray
    running: npt.NDArray[np.int64]
    waiting: npt.NDArray[np.int64]
    answered_per_s: float


def _places(way: str) -> int:
    """Sequences that an engine takes at most."""
    return CHAT.cache_tokens // LONGEST if way == "reserved" else CHAT.places


@functools.cache
def _engine() -> Engine:
    """The chat machine's, for prompts with the longest beginning."""
    own = CHAT.sample
    asked = Workload(np.zeros(SAMPLE), own.prompt_tokens[:SAMPLE], own.output_tokens[:SAMPLE])
    constants = front_constants(find_front(CHAT.front))
    budget, places = CHAT.token_budget, CHAT.places
    made = engine_of(CHAT.deployment, asked, budget, places, constants=constants, longest=LONGEST)
    return replace(made.engine, kv_blocks=CHAT.engine.kv_blocks)


@functools.cache
def _shown(way: str, shared: int, rate: float, seed: int = 5) -> _Shown:
    """An engine in one of the ways, from empty."""
    rng = np.random.default_rng(seed)
    count = int(rate * SPAN_S)
    arrivals = np.sort(rng.uniform(0, SPAN_S, count))
    lengths = draw_lengths(rng, CHAT.traffic, count)
    prompts = lengths.prompt_tokens + shared
    reused = np.full(count, shared)
    reused[0] = 0
    before = np.r_[-1, np.zeros(count - 1, dtype=np.int64)]
    prefixes = prefixes_of_reuse(before, reused, prompts) if way == "shared" else None
    asked = Requests(arrivals, prompts, lengths.output_tokens, prefixes=prefixes)
    engine = replace(_engine(), max_sequences=_places(way))
    seen = simulate_fleet(asked, Fleet([engine], caching=way == "shared"))
    frames = np.arange(0, SPAN_S + FRAME_S / 2, FRAME_S)[:, None]
    inside = (seen.admitted_s <= frames) & (frames < seen.completion_s)
    decoding = inside & (seen.first_token_s <= frames)
    done = (frames - seen.first_token_s) / (seen.completion_s - seen.first_token_s + 1e-9)
    own = inside * lengths.prompt_tokens + decoding * np.floor(done * lengths.output_tokens)
    running = inside.sum(axis=1)
    held = own + shared * inside
    taken = np.ceil(held / CHAT.engine.block_tokens) * CHAT.engine.block_tokens
    if way == "reserved":
        taken = inside * float(LONGEST)
    ended = float((seen.completion_s <= SPAN_S).sum())
    return _Shown(
        shared * (np.minimum(running, 1) if way == "shared" else running).astype(float),
        own.sum(axis=1),
        (taken - held).sum(axis=1),
        running,
        ((seen.sent_s <= frames) & (frames < seen.admitted_s)).sum(axis=1),
        ended / SPAN_S,
    )


def _most(way: str, shared: int, machine: Any = CHAT, longest: int = LONGEST) -> float:
    """Sequences of the mean length that the memory holds at once, without a limit of places."""
    own = machine.mean_context_tokens
    if way == "reserved":
        return float(machine.cache_tokens // longest)
    room = machine.cache_tokens - (shared if way == "shared" else 0)
    each = own + machine.engine.block_tokens / 2 + (0 if way == "shared" else shared)
    return float(room // each)


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(most_reserved=_most("reserved", 0), most_blocks=_most("blocks", 0))


def figure_three_memories(figure: Figure) -> None:
    """Blocks hold as many sequences as their tokens allow; a common prefix is stored once for all,
    or once for each.

    The chat machine's memory; in print, sequences of its mean length behind a common prefix.
    Requests that wait although memory is free wait for a step to read their prompt.

    Alt: Lines of sequences that fit against the tokens of a common prefix, both axes logarithmic.
    Reserving is a flat line far below. Blocks begin high and fall as the prefix grows. Blocks that
    are shared stay high throughout.
    """
    axes = figure.subplots()
    lengths = np.unique(np.geomspace(100, 16_000, 60).astype(int))
    for way, colour, x, y, text in (
        ("reserved", "C3", 150, 15, "reserved for the longest"),
        ("blocks", "C1", 150, 120, "blocks, prefix in each"),
        ("shared", "C0", 700, 390, "blocks, prefix shared"),
    ):
        axes.loglog(lengths, [_most(way, int(n)) for n in lengths], color=colour)
        axes.annotate(text, (x, y), color=colour)
    axes.set(xlim=(100, 16_000), ylim=(8, 700))
    axes.set_yticks([10, 30, 100, 300], ["10", "30", "100", "300"])
    axes.set_xticks([100, 1000, 10_000], ["100", "1,000", "10,000"])
    axes.minorticks_off()
    axes.set(xlabel="common prefix [tokens]", ylabel="sequences in memory")


def _strips(shared: int, rate: int, frame: int) -> list[tuple[Any, ...]]:
    """The memory of each engine at a frame, as (way, start, end, state) in percent; beside it who
    is in and who waits."""
    bars: list[tuple[Any, ...]] = []
    for way in WAYS:
        seen = _shown(way, shared, rate, 5)
        parts = [(getattr(seen, part)[frame], state) for part, state in PARTS]
        filled = np.minimum(np.cumsum([n for n, _ in parts]) / CHAT.cache_tokens, 1)
        ends = [0.0, *(100 * filled).round().tolist(), 100.0]
        states = [*(state for _, state in parts), "free"]
        spans = zip(ends, ends[1:], states, strict=False)
        told = [(way, start, end, state) for start, end, state in spans if start < end]
        words = f"{seen.running[frame]} in, {seen.waiting[frame]} wait"
        bars += [*told[:-1], (*told[-1], words)]
    return bars


def slider_three_memories() -> dict[str, Any]:
    """Play it: requests fill one memory in three ways. Then let prompts share a prefix."""
    frames = range(0, round(SPAN_S / FRAME_S) + 1, 2)

    def each(told: Callable[[int, int, int], Any]) -> list[Any]:
        return [[[told(s, rate, i) for i in frames] for rate in RATES] for s in SHARED]

    def share(tokens: FloatArray, frame: int) -> float:
        return float(100 * tokens[frame] / CHAT.cache_tokens)

    def readout(
        label: str, unit: str, way: str, told: Callable[[_Shown, int], float]
    ) -> dict[str, Any]:
        values = each(lambda s, rate, i: float(told(_shown(way, s, rate, 5), i)))
        return {"label": label, "unit": unit, "decimals": 0, "values": values}

    return {
        "controls": [
            {"label": "prefix", "values": SHARED, "text": "{:,} tokens", "start": 4000},
            {"label": "rate", "values": RATES, "text": "{} requests/s", "start": 6},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "decimals": 0,
            "values": [FRAME_S * i for i in frames],
            "start": SPAN_S,
        },
        "panels": [
            {
                "kind": "bars",
                "label": "one memory, three ways",
                "lanes": list(WAYS),
                "x": {"label": "memory for keys and values", "unit": "%", "range": (0, 100)},
                "bars": each(_strips),
            }
        ],
        "readouts": [
            *(readout(f"wait, {way}", "", way, lambda seen, i: seen.waiting[i]) for way in WAYS),
            readout("taken", "%", "reserved", lambda x, i: share(x.common + x.own + x.empty, i)),
            readout("filled", "%", "reserved", lambda x, i: share(x.common + x.own, i)),
            readout("copies", "%", "blocks", lambda x, i: share(x.common, i)),
        ],
        "legend": {
            "cached": "common prefix",
            "answer": "a request's own tokens",
            "starts": "taken, and holds nothing",
            "free": "free",
        },
        "reading": "Reservations take {taken} of the memory and fill {filled}, with"
        " {wait, reserved} waiting after {time}. Blocks waste next to nothing, but copies of the"
        " prefix take {copies}: {wait, blocks} waiting, {wait, shared} where it is shared.",
    }


def check_blocks_beat_reservations_and_sharing_beats_blocks() -> None:
    """At every rate and prefix length, shared blocks answer at least as many requests in the minute
    as blocks, and blocks at least as many as reservations. There is one exception: with prefixes of
    16,000 tokens, which are read again and again, blocks have more requests under way when the
    minute ends, and have answered up to an eighth fewer.

    Source: `core.fleet`, the same requests in three ways, two draws.
    """
    for seed in (5, 6):
        for shared in SHARED:
            ended = [
                [_shown(way, shared, rate, seed).answered_per_s for rate in RATES] for way in WAYS
            ]
            few = 0.875 if shared == 16_000 else 1.0
            for low, high, due, name in (
                (0, 1, few, "blocks over reserved"),
                (1, 2, 1.0, "shared over blocks"),
            ):
                least = min(h / one for one, h in zip(ended[low], ended[high], strict=True))
                label = f"{shared} tokens, draw {seed}: {name}"
                checks.inside(label, least, due, 1e9)


def check_what_fits_against_the_engine() -> None:
    """With a prefix of 4,000 tokens and more requests than it can serve, the engine runs as many
    sequences in blocks as the mean length says, to within a fifth.

    Source: `core.fleet` at the highest rate, its last 20 seconds.
    """
    seen = _shown("blocks", 4000, 12, 5)
    told = _most("blocks", 4000)
    running = float(seen.running[-10:].mean())
    checks.close("sequences", running, told, rtol=0.2, kind="simulation")
    taken = (seen.common + seen.own + seen.empty)[-10:].mean() / CHAT.cache_tokens
    checks.close("memory taken", float(taken), 1.0, atol=0.1, kind="simulation")


def check_it_holds_for_long_conversations() -> None:
    """The mixture's conversations are ten times as long, and blocks still hold at least ten times
    as many of them as reservations of its full context.

    Source: its mean context, and 262,144 tokens that its model takes.
    """
    ratio = _most("blocks", 0, MIXTURE) / _most("reserved", 0, MIXTURE, 262_144)
    checks.inside("blocks over reserved", ratio, 10, 40)
