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
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

WAYS = ("reserved", "blocks", "shared")
LONGEST = 32_768  # tokens that a sequence may have, reserved for each
SHARED = [0, 1000, 4000, 16_000]  # tokens with which all prompts begin
RATES = [2, 6, 12]  # requests a second
SPAN_S, FRAME_S = 60.0, 1.0
SAMPLE = 2000  # requests whose lengths say which contexts occur


@dataclass(frozen=True)
class _Shown:
    """What an engine shows at the frames: running, of them reading a prompt, waiting, and the share
    of the memory that is taken; and requests answered a second, of those that came."""

    running: npt.NDArray[np.int64]
    prompts: npt.NDArray[np.int64]
    waiting: npt.NDArray[np.int64]
    cache: FloatArray
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
    held = inside * prompts + decoding * done * lengths.output_tokens
    running = inside.sum(axis=1)
    tokens = held.sum(axis=1)
    if way == "shared":
        tokens = tokens - shared * np.maximum(running - 1, 0)
    if way == "reserved":
        tokens = running * float(LONGEST)
    ended = float((seen.completion_s <= SPAN_S).sum())
    return _Shown(
        running,
        (inside & ~decoding).sum(axis=1),
        ((seen.sent_s <= frames) & (frames < seen.admitted_s)).sum(axis=1),
        np.minimum(tokens / CHAT.cache_tokens, 1.0),
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
    return SimpleNamespace(
        longest=LONGEST,
        most_reserved=_most("reserved", 0),
        most_blocks=_most("blocks", 0),
        most_blocks_4000=_most("blocks", 4000),
        most_shared_4000=_most("shared", 4000),
    )


def figure_three_memories(figure: Figure) -> None:
    """Blocks hold as many sequences as their tokens allow; a common beginning is stored once,
    or once for each.

    The chat machine's memory, sequences of its mean length behind a common beginning.

    Alt: Lines of sequences that fit against the tokens of a common beginning, both axes
    logarithmic. Reserving is a flat line far below. Blocks begin high and fall as the beginning
    grows. Blocks that are shared stay high throughout.
    """
    axes = figure.subplots()
    lengths = np.unique(np.geomspace(100, 16_000, 60).astype(int))
    for way, colour, x, y, text in (
        ("reserved", "C3", 150, 15, "reserved for the longest"),
        ("blocks", "C1", 150, 120, "blocks, beginning in each"),
        ("shared", "C0", 700, 390, "blocks, beginning shared"),
    ):
        axes.loglog(lengths, [_most(way, int(n)) for n in lengths], color=colour)
        axes.annotate(text, (x, y), color=colour)
    axes.set(xlim=(100, 16_000), ylim=(8, 700))
    axes.set_yticks([10, 30, 100, 300], ["10", "30", "100", "300"])
    axes.set_xticks([100, 1000, 10_000], ["100", "1,000", "10,000"])
    axes.minorticks_off()
    axes.set(xlabel="tokens with which all prompts begin", ylabel="sequences in memory")


def stepper_three_memories() -> dict[str, Any]:
    """Play it: one device, three ways to allocate its memory. Then let prompts begin alike."""

    def frames(part: str) -> list[Any]:
        return [
            [
                np.stack([getattr(_shown(way, s, rate), part) for way in WAYS], axis=1)
                .round(2)
                .tolist()
                for rate in RATES
            ]
            for s in SHARED
        ]

    shape = len(SHARED), len(RATES), round(SPAN_S / FRAME_S) + 1, len(WAYS)

    def waiting(way: int) -> list[Any]:
        return [[frames[:, way].tolist() for frames in row] for row in np.array(frames("waiting"))]

    def answered(way: str) -> list[list[float]]:
        return [[_shown(way, s, rate).answered_per_s for rate in RATES] for s in SHARED]

    return {
        "controls": [
            {"label": "common beginning", "values": SHARED, "text": "{:,} tokens", "start": 4000},
            {"label": "rate", "values": RATES, "text": "{} requests/s", "start": 6},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "values": np.arange(0, SPAN_S + FRAME_S / 2, FRAME_S).tolist(),
            "start": 30.0,
        },
        "panels": [
            {
                "kind": "engine",
                "engines": ["reserved", "blocks", "shared blocks"],
                "places": np.broadcast_to(list(map(_places, WAYS)), shape).tolist(),
                "running": frames("running"),
                "prompts": frames("prompts"),
                "waiting": frames("waiting"),
                "cache": frames("cache"),
            }
        ],
        "readouts": [
            {"label": name, "unit": "", "decimals": 1, "values": answered(way)}
            for name, way in zip(
                ("answered, reserved", "answered, blocks", "answered, shared"), WAYS, strict=True
            )
        ]
        + [
            {"label": name, "unit": "", "decimals": 0, "values": waiting(way)}
            for way, name in enumerate(("wait, reserved", "wait, blocks", "wait, shared"))
        ],
        "reading": "After {time} {wait, reserved}, {wait, blocks} and {wait, shared} wait."
        " With {common beginning} before each prompt and {rate}, reserving memory"
        " answers {answered, reserved} requests a second, blocks {answered, blocks}, and shared"
        " blocks {answered, shared}.",
    }


def check_blocks_beat_reservations_and_sharing_beats_blocks() -> None:
    """At every rate and common beginning, shared blocks answer at least as many requests in the
    minute as blocks, and blocks at least as many as reservations. There is one exception: with
    beginnings of 16,000 tokens, which are read again and again, blocks have more under way when the
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
                checks.inside(label, least, due, 1e9, kind="simulation")


def check_what_fits_against_the_engine() -> None:
    """With a beginning of 4,000 tokens the engine runs as many sequences in blocks as the mean
    length says, to a fifth, when more come than it can serve.

    Source: `core.fleet` at the highest rate, its last 20 seconds.
    """
    seen = _shown("blocks", 4000, 12)
    told = _most("blocks", 4000)
    running = float(seen.running[-20:].mean())
    checks.close("sequences", running, told, rtol=0.2, kind="simulation")
    checks.close("memory", float(seen.cache[-20:].mean()), 1.0, atol=0.1, kind="simulation")


def check_it_holds_for_long_conversations() -> None:
    """The mixture's conversations are ten times as long, and blocks still hold ten times as many as
    reservations of its context.

    Source: its mean context, and 262,144 tokens that its model takes.
    """
    ratio = _most("blocks", 0, MIXTURE) / _most("reserved", 0, MIXTURE, 262_144)
    checks.inside("blocks over reserved", ratio, 10, 40)
