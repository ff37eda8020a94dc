"""The same twelve requests under three policies, place by place.

Static batching waits until every place has its request, dynamic batching takes what is there when a
batch ends, and both keep everybody until the longest answer is written. Continuous batching lets in
at every step. Places that hold a request which has all of its tokens are paid for and idle.

Assumes: four places of the chat machine; outputs of one length, or with the spread
that is named, and the same sum.

Source: Yu et al. (2022) for batches that wait for their longest member.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload, simulate_steps
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.queues.batches import form_batches
from serving_mathematics.optimization.batching.batching_policies import (
    POLICIES,
    _padded_batch_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]

REQUESTS, PLACES = 12, 4
FOUR = CHAT.limited(places=PLACES)
SPREADS = [0.0, 0.5, 1.0, 1.5]  # of the logarithm of an output's length
MEAN_TOKENS = 150
CLIP_S, FRAMES = 9.6, 97  # what is shown [s]


@functools.cache
def _asked(spread: float) -> Workload:
    """Twelve requests within a second, with prompts of 1,500 tokens."""
    rng = np.random.default_rng(12)
    arrival_s = np.sort(rng.uniform(0, 1.0, REQUESTS))
    lengths = np.exp(spread * rng.standard_normal(REQUESTS))
    outputs = np.maximum(np.round(lengths / lengths.mean() * MEAN_TOKENS), 1)
    return Workload(arrival_s - arrival_s[0], np.full(REQUESTS, 1500), outputs)


@functools.cache
def _spans(policy: str, spread: float) -> FloatArray:
    """Place, and start, first token, last token and leave [s] of every request, shape (12, 5)."""
    asked = _asked(spread)
    if (window_s := POLICIES[policy]) is None:
        served = simulate_steps(asked, FOUR.engine)
        starts, ends = served.admitted_s, served.completion_s
        free_s, place = np.zeros(PLACES), np.zeros(REQUESTS)
        for i in np.argsort(starts, kind="stable"):
            place[i] = np.flatnonzero(free_s <= starts[i] + 1e-9)[0]
            free_s[int(place[i])] = ends[i]
        return np.stack([place, starts, served.first_token_s, ends, ends], axis=1)

    def batch_s(first: int, end: int, most: int = 2**30) -> float:
        some = asked.part(slice(first, end))
        outputs = np.minimum(some.output_tokens, most)
        return _padded_batch_s(replace(some, output_tokens=outputs), FOUR.engine)

    starts, ends = form_batches(asked.arrival_s, batch_s, PLACES, window_s)
    rows = []
    for i in range(REQUESTS):
        batch = np.flatnonzero(starts == starts[i])
        first, end = int(batch[0]), int(batch[-1]) + 1
        done_s = [starts[i] + batch_s(first, end, k) for k in (1, int(asked.output_tokens[i]))]
        rows.append([i - first, starts[i], *done_s, ends[i]])
    return np.array(rows)


def _bars(policy: str, spread: float) -> list[tuple[str, float, float, str]]:
    """What each place does, as (place, start, end, state)."""
    bars = []
    for place, *times in _spans(policy, spread).tolist():
        for start, end, state in zip(times, times[1:], ("prompt", "answer", "idle"), strict=False):
            if end > start + 1e-6:
                bars.append((str(int(place) + 1), start, end, state))
    return bars


def figure_twelve_requests(figure: Figure) -> None:
    """A batch holds all its places until its longest answer is written. When requests are let in at
    every step, the same twelve are done earlier.

    Thin: the place has its answer and waits for the rest of its batch.

    Alt: Three timelines with four rows each, of static, dynamic and continuous batching. The rows
    of the first two are grey for long stretches before all of them end together; those of the third
    are filled from the first request to the last, and end earliest.
    """
    figure.set_size_inches(5.8, 4.4)
    colours = {"prompt": "C1", "answer": "C0", "idle": "C4"}
    for axes, policy in zip(figure.subplots(3, sharex=True), POLICIES, strict=True):
        places, starts, ends, states = zip(*_bars(policy, 1.0), strict=True)
        wide = [2.5 if state == "idle" else 8 for state in states]
        inks = [colours[state] for state in states]
        axes.hlines([*map(int, places)], starts, ends, inks, linewidth=wide)
        axes.set_title(policy)
        axes.grid(False)
        axes.set(ylim=(PLACES + 0.6, 0.4), ylabel="place", xlabel="time [s]", xlim=(0, None))


def slider_twelve_requests() -> dict[str, Any]:
    """Play it, then make the answers equally long: what do batches lose?"""
    clock = np.linspace(0, CLIP_S, FRAMES)
    answered = {
        policy: [
            [int((_spans(policy, spread)[:, 3] <= now).sum()) for now in clock]
            for spread in SPREADS
        ]
        for policy in POLICIES
    }
    last = {p: [float(_spans(p, spread)[:, 4].max()) for spread in SPREADS] for p in POLICIES}
    return {
        "controls": [
            {
                "label": "lengths of the answers",
                "values": ["alike", "a little mixed", "mixed", "very mixed"],
                "start": "mixed",
            }
        ],
        "clock": {"label": "time", "unit": "s", "values": clock, "start": clock[24]},
        "panels": [
            {
                "kind": "lanes",
                "label": f"{policy} batching, four places",
                "lanes": [str(place + 1) for place in range(PLACES)],
                "bars": [_bars(policy, spread) for spread in SPREADS],
            }
            for policy in POLICIES
        ],
        "readouts": [
            {"label": policy, "unit": "", "decimals": 0, "values": answered[policy]}
            for policy in POLICIES
        ]
        + [{"label": f"end, {policy}", "unit": "s", "values": last[policy]} for policy in POLICIES],
        "legend": {"idle": "has its answer, and waits for the batch"},
        "reading": "Answered after {time}: {static} of twelve by static batching, {dynamic} by"
        " dynamic, {continuous} by continuous batching. All are done after {end, static},"
        " {end, dynamic} and {end, continuous}.",
    }


def check_continuous_is_never_later() -> None:
    """Continuous batching finishes first, whatever the spread of the lengths.

    Source: the three policies on the same requests.
    """
    for spread in SPREADS:
        static, dynamic, own = (_spans(policy, spread)[:, 4].max() for policy in POLICIES)
        got = f"{own:.2f}, {dynamic:.2f} and {static:.2f} s"
        checks.holds(f"spread {spread}: last end", own < min(dynamic, static), got=got)


def check_places_hold_one_request() -> None:
    """No place holds two requests at a time, and each answer takes as many steps as it has tokens.

    Source: bars of one place, sorted, end before the next begins; a step takes at least what it
    takes whoever is in it.
    """
    for policy in POLICIES:
        bars = sorted((place, start, end) for place, start, end, _ in _bars(policy, 1.0))
        apart = all(
            end <= start + 1e-9
            for (place, _, end), (other, start, _) in itertools.pairwise(bars)
            if place == other
        )
        checks.holds(f"{policy}: one at a time", apart)
        spans = _spans(policy, 1.0)
        least = FOUR.engine.step_s * (_asked(1.0).output_tokens - 1)
        checks.holds(f"{policy}: steps", bool(np.all(spans[:, 3] - spans[:, 2] >= least - 1e-9)))
