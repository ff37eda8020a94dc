"""One long prompt among twelve short ones, on one engine: who waits for it.

A step reads as many tokens of prompts as its budget leaves, in order of arrival. A long prompt
fills many steps, and whoever comes behind it waits for all of them. A limit for each prompt leaves
room in every step, and reading the shortest first lets short ones pass.

Assumes: what `second_copies` assumes; the engine of the book's chat machine.

Source: own simulation with `second_copies`.
"""

from __future__ import annotations

import functools
from math import isnan
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.capacity.tail_latency.mixes import _engine_for
from serving_mathematics.capacity.tail_latency.second_copies import Copies, serve_copies
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

SHORT, ANSWER, EVERY_S, COUNT = (
    600,
    40,
    0.06,
    12,
)  # tokens, tokens, between arrivals [s], short ones
LONG_AT, LONG_S = 4, 0.2  # its place among them, when it comes [s]
LONGS = {"none": 0, "8,000 tokens": 8000, "16,000 tokens": 16_000, "32,000 tokens": 32_000}
READ: dict[str, dict[str, Any]] = {
    "in order of arrival": {},
    "a quarter of a step each": {"most_tokens": 512},
    "shortest first": {"order": "shortest"},
}
_SHORTS = [str(lane + 1) for lane in range(COUNT)]
LANES = [*_SHORTS[:LONG_AT], "long", *_SHORTS[LONG_AT:]]
CLIP_S, FRAMES = 2.4, 49


def _asked(long: int) -> Workload:
    """Short prompts evenly, and the long one among them."""
    arrivals = np.insert(EVERY_S * np.arange(COUNT), LONG_AT, LONG_S)
    prompts = np.insert(np.full(COUNT, SHORT), LONG_AT, long)
    if not long:
        arrivals, prompts = np.delete(arrivals, LONG_AT), np.delete(prompts, LONG_AT)
    return Workload(arrivals, prompts, np.full(arrivals.size, ANSWER))


@functools.cache
def _served(long: int, read: str) -> Copies:
    """What becomes of them."""
    return serve_copies(_asked(long), _engine_for("chat"), 1, **READ[read])


def _first_ms(long: int, read: str) -> tuple[float, float, float]:
    """First tokens [ms]: the median, the slowest of the short prompts, and the long one's."""
    asked = _asked(long)
    first = 1000 * (_served(long, read).first_token_s - asked.arrival_s)
    own = float(first[LONG_AT]) if long else float("nan")
    short = np.delete(first, LONG_AT) if long else first
    return float(np.median(first)), float(short.max()), own


def _bars(long: int, read: str) -> list[tuple[str, float, float, str]]:
    """What each lane shows; without a long prompt its lane is empty."""
    asked, got, bars = _asked(long), _served(long, read), list[tuple[str, float, float, str]]()
    for request in range(asked.arrival_s.size):
        lane = request + (not long and request >= LONG_AT)
        edges = (
            float(asked.arrival_s[request]),
            float(got.read_s[request]),
            float(got.first_token_s[request]),
            float(got.completion_s[request]),
        )
        for begin, end, state in zip(edges, edges[1:], ("waits", "prompt", "answer"), strict=False):
            if begin < min(end, CLIP_S):
                bars.append((LANES[lane], begin, min(end, CLIP_S), state))
    return bars


def example() -> SimpleNamespace:
    """Numbers of the page [ms], in order of arrival, as the slider opens."""
    half, slowest, _ = _first_ms(8000, "in order of arrival")
    around_ms = 1000 * CHAT.made.around_s
    return SimpleNamespace(half_ms=half, slowest_ms=slowest, around_ms=around_ms)


def figure_long_prompt(figure: Figure) -> None:
    """A long prompt among short ones. In order of arrival, all that come behind it wait until it is
    read; with the shortest first, they hardly wait, and the long one ends somewhat later.

    Grey: waits; orange: its prompt is read.

    Alt: Two panels of horizontal bars, one for each request, over time. On the left, the bars
    behind the long prompt's are grey until it ends. On the right these bars have hardly any grey.
    """
    figure.set_size_inches(5.8, 3.0)
    colours = {"waits": "C4", "prompt": "C1", "answer": "C0"}
    for axes, read in zip(figure.subplots(1, 2, sharey=True), list(READ)[::2], strict=True):
        for lane, begin, end, state in _bars(16_000, read):
            axes.barh(LANES.index(lane), end - begin, left=begin, color=colours[state], height=0.7)
        axes.set_title(read)
        axes.set(xlim=(0, 1.6), ylim=(COUNT + 0.7, -0.7), yticks=[])
        axes.set(xlabel="time [s]", ylabel="requests")


def slider_long_prompt() -> dict[str, Any]:
    """Twelve short prompts, and a long one among them. Make it longer: who waits?"""
    clock = np.linspace(0, CLIP_S, FRAMES)
    told = [[_first_ms(long, read) for read in READ] for long in LONGS.values()]

    def answered(long: int, read: str) -> list[int]:
        begun = np.sort(_served(long, read).first_token_s)
        return [int(n) for n in np.searchsorted(begun, clock, side="right")]

    return {
        "controls": [
            {"label": "long prompt", "values": list(LONGS), "start": "8,000 tokens"},
            {
                "label": "prompts are read",
                "values": list(READ),
                "start": "in order of arrival",
            },
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "decimals": 2,
            "values": clock,
            "start": clock[14],
        },
        "panels": [
            {
                "kind": "lanes",
                "label": "requests of one engine",
                "lanes": LANES,
                "bars": [[_bars(long, read) for read in READ] for long in LONGS.values()],
            }
        ],
        "readouts": [
            {
                "label": "begun",
                "unit": "",
                "decimals": 0,
                "values": [[answered(long, read) for read in READ] for long in LONGS.values()],
            },
            *(
                {
                    "label": label,
                    "unit": "ms",
                    "decimals": 0,
                    "values": [
                        [None if isnan(one[place]) else one[place] for one in row] for row in told
                    ],
                }
                for place, label in enumerate(("half", "slowest short", "long one"))
            ),
        ],
        "reading": "After {time}, {begun} have their first token; half of all get it within {half},"
        " the slowest short one after {slowest short}, and the long one after {long one}.",
        "absent": "After {time}, {begun} have their first token; without a long one, half of all"
        " get it within {half}, and the slowest after {slowest short}.",
    }


def check_short_prompts_wait_for_a_long_one() -> None:
    """Behind a prompt of 16,000 tokens, the slowest short one waits at least fifteen times as long
    as without it. With the shortest first, or a quarter of a step for each, it waits at most a
    quarter of that, and the long one up to a half longer.

    Source: the same requests under both orders; the time of reading, from the engine.
    """
    alone = _first_ms(0, "in order of arrival")[1]
    _, behind, long = _first_ms(16_000, "in order of arrival")
    checks.inside("in order, over none", behind / alone, 15.0, 40.0)
    for read in list(READ)[1:]:
        _, first, later = _first_ms(16_000, read)
        checks.inside(f"{read}, over in order", first / behind, 0.0, 0.25)
        checks.inside(f"{read}, the long one: over in order", later / long, 1.0, 1.5)
