"""Exercises of the chapter on services: what a pipeline answers in the end, the share of all
requests in time, and a fallback behind a time-out.

Source: the chapter's definitions; the rest by derivation and against simulation.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.definitions.service.service import (
    Service,
    answered_within,
    on_grid,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative_integer,
    require_positive_integer,
    require_shape,
)

HINTS = {
    "end_to_end": (
        "Shares of parts in a row multiply. In a bad state, every try fails; outside it, a try "
        "fails with probability (f − state·f)/(1 − state·f), and tries are independent."
    ),
    "share_of_all_in_time": (
        "A request without a first token is not in the histogram, and is not in time either. Only "
        "callers who left before the limit count neither way."
    ),
    "with_fallback": (
        "Split the primary in three: in time, failed before the time-out, and silent. Failures "
        "keep their own times, and silence ends at the time-out; both are convolved with the "
        "fallback, and only they pay for it."
    ),
}


def end_to_end(shares: npt.ArrayLike, tries: int, state: float) -> float:
    """Share of requests that a pipeline answers in the end, when its last part is tried again.

    shares: of the calls that each part answers, shape (n,), in [0, 1]. tries: of the last part, at
    least 1. state: in [0, 1], share of the last part's failures that come from a state which all
    tries of a request meet; outside of it tries fail by themselves. Raises ValueError outside these
    ranges.

    >>> round(end_to_end([0.9, 0.8], tries=2, state=0.0), 12)  # 0.9·(1 − 0.2²)
    0.864
    """
    parts = as_floats(shares=shares)
    require(parts.ndim == 1 and parts.size > 0, "shares", "of shape (n,)", parts.shape)
    require(bool(np.all((parts >= 0) & (parts <= 1))), "shares", "in [0, 1]", parts)
    tries, state = require_positive_integer(tries=tries), require_in("[0, 1]", state=state)
    fails = 1 - float(parts[-1])
    bad = state * fails  # in a bad state everything fails
    alone = (fails - bad) / (1 - bad) if bad < 1 else 0.0
    return float(np.prod(parts[:-1])) * (1 - bad) * (1 - alone ** int(tries))


def share_of_all_in_time(
    asked: int, left_early: int, bounds_s: npt.ArrayLike, counts: npt.ArrayLike, limit_s: float
) -> float:
    """Share of all requests whose first token came within a limit.

    asked: requests that reached the gateway, refused and failed ones too. left_early: those of them
    whose callers gave up before the limit, without a first token; fewer. bounds_s: upper bounds of
    the histogram's buckets, rising, shape (b,). counts: first tokens up to each bound, as
    Prometheus adds them up, no more than others asked, shape (b,). limit_s: one of the bounds [s].
    Raises ValueError on anything else.

    >>> share_of_all_in_time(110, 10, bounds_s=[0.5, 1.0, 2.0], counts=[40, 80, 90], limit_s=1.0)
    0.8
    """
    asked, limit_s = require_positive_integer(asked=asked), as_number(limit_s=limit_s)
    left_early = require_non_negative_integer(left_early=left_early)
    require(left_early < asked, "left_early", f"below the {asked} that asked", left_early)
    bounds, seen = as_floats(bounds_s=bounds_s), as_floats(counts=counts)
    rising = bounds.ndim == 1 and bounds.size > 0 and bool(np.all(np.diff(bounds) > 0))
    require(rising, "bounds_s", "rising, of shape (b,)", bounds)
    require_shape(bounds.shape, counts=seen)
    most = asked - left_early
    added_up = bool(np.all(np.diff(seen, prepend=0.0) >= 0)) and float(seen[-1]) <= most
    require(added_up, "counts", f"added up, from 0 to at most {most}", seen)
    require(limit_s in bounds, "limit_s", "one of the bounds", limit_s)
    return float(seen[bounds == limit_s][0]) / most


def with_fallback(primary: Service, fallback: Service, timeout_cells: int) -> Service:
    """Use the primary's answer if it comes by a time-out, else start the fallback.

    primary, fallback: services on one grid. timeout_cells: the time-out in steps of the grid, a
    positive integer within it; an answer in that cell is in time. A failure before the time-out
    starts the fallback at once, silence starts it at the time-out. The primary is always paid.
    Raises ValueError on other time-outs and grids.

    >>> slow = Service(np.array([0, 0.6, 0, 0.4]), np.zeros(4), step_s=1.0, cost=5.0)
    >>> spare = Service(np.array([0, 1.0, 0, 0]), np.zeros(4), step_s=1.0, cost=1.0)
    >>> with_fallback(slow, spare, timeout_cells=1).ok.tolist()
    [0.0, 0.6, 0.4, 0.0]
    """
    timeout_cells = as_number(timeout_cells=timeout_cells)
    grid = (primary.step_s, primary.ok.size)
    other = (fallback.step_s, fallback.ok.size)
    require(grid == other, "fallback", f"on the grid {grid}", other)
    cells = primary.ok.size
    inside = 1 <= timeout_cells < cells and timeout_cells % 1 == 0
    require(inside, "timeout_cells", f"an integer in [1, {cells})", timeout_cells)
    last = int(timeout_cells) + 1
    in_time, given_up = np.zeros(cells), np.zeros(cells)
    in_time[:last], given_up[:last] = primary.ok[:last], primary.failed[:last]
    given_up[last - 1] += 1 - float(in_time.sum() + given_up.sum())
    ok = in_time + np.convolve(given_up, fallback.ok)[:cells]
    failed = np.convolve(given_up, fallback.failed)[:cells]
    cost = primary.cost + float(given_up.sum()) * fallback.cost
    return Service(ok, failed, primary.step_s, cost)


def check_share_of_all() -> None:
    """The counts of drawn requests give the same share as looking at each request, and the
    answered requests alone look better.

    Source: 20,000 requests with refusals, failures and callers who leave, looked at one by one; a
    law with as many failures; by hand.
    """
    rng, size, bounds = np.random.default_rng(68), 20_000, np.array([0.25, 0.5, 1.0, 2.0, math.inf])
    token_s = rng.exponential(0.5, size)
    token_s[rng.random(size) < 0.1] = math.inf  # refused, or failed
    patience_s = rng.exponential(5.0, size)
    answered = token_s < patience_s
    counts = [int((answered & (token_s <= bound)).sum()) for bound in bounds]
    for limit_s in (0.5, 2.0):
        early = ~answered & (patience_s < limit_s)
        due = float((answered & (token_s <= limit_s))[~early].mean())
        got = share_of_all_in_time(size, int(early.sum()), bounds, counts, limit_s)
        checks.close(f"within {limit_s:g} s", got, due, rtol=1e-12)
        alone = counts[int(np.argmax(bounds == limit_s))] / counts[-1]
        checks.holds(f"of those with a token within {limit_s:g} s", alone > got, got=alone)
    law = Service(np.array([0, 0.3, 0.5, 0.1]), np.array([0.1, 0, 0, 0]), 1.0, 0.0)
    got = share_of_all_in_time(10, 0, [1.5, 2.5, 3.5], [3, 8, 9], 2.5)
    checks.close("of a law", got, answered_within(law, 2.5), rtol=1e-12)
    checks.close("the first bucket", share_of_all_in_time(9, 1, [1, 2], [2, 6], 1), 0.25)


def check_fallback() -> None:
    """An exponential primary falls back as often as it outlasts the time-out, and failures fall
    back at once.

    Source: the share e^{−τ/m} that falls back; two services with failures by hand.
    """
    cells, step = 2000, 0.0005
    never = np.zeros(cells)
    slow = Service(on_grid(lambda t: -np.expm1(-t / 0.1), step, cells), never, step, 5.0)
    quick = Service(on_grid(lambda t: -np.expm1(-t / 0.02), step, cells), never, step, 1.0)
    both = with_fallback(slow, quick, 300)
    share = math.exp(-300.5 * step / 0.1)
    checks.close("cost", both.cost, 5 + share, rtol=1e-9)
    checks.close("answered in the end", answered_within(both, 0.9), 1.0, atol=1e-9)
    flaky = Service(np.array([0, 0.5, 0, 0]), np.array([0.25, 0, 0.25, 0]), 1.0, 2.0)
    spare = Service(np.array([0, 0.5, 0, 0]), np.array([0, 0, 0.5, 0]), 1.0, 4.0)
    result = with_fallback(flaky, spare, 1)
    checks.close("answered", result.ok, [0, 0.625, 0.125, 0], atol=1e-15)
    checks.close("failed", result.failed, [0, 0, 0.125, 0.125], atol=1e-15)
    checks.close("cost, half fall back", result.cost, 2 + 0.5 * 4, rtol=1e-12)


def example() -> SimpleNamespace:
    """Answers to the exercises, in percent."""
    parts = (0.999, 0.999, 0.99)
    return SimpleNamespace(
        pencil_once=100 * end_to_end(parts, 1, 0.0),
        pencil_apart=100 * end_to_end(parts, 2, 0.0),
        pencil_state=100 * end_to_end(parts, 2, 0.5),
        board_first=100 * share_of_all_in_time(10_000, 40, [1.0, math.inf], [9563, 9660], 1.0),
        board_second=100 * share_of_all_in_time(10_000, 40, [1.0, math.inf], [9711, 9960], 1.0),
        panel_first=100 * 9563 / 9660,
        panel_second=100 * 9711 / 9960,
    )


def check_end_to_end() -> None:
    """Shares multiply, independent tries square the failures, and failures of a shared state stay.

    Source: by hand; 200,000 simulated requests with their standard error.
    """
    checks.close("one try", end_to_end([0.9, 0.5], 1, 0.7), 0.45, rtol=1e-12)
    checks.close("all of it a state", end_to_end([1.0, 0.8], 5, 1.0), 0.8, rtol=1e-12)
    checks.close("three tries", end_to_end([0.5], 3, 0.0), 0.875, rtol=1e-12)
    half = end_to_end([0.5], 2, 0.5)  # of three quarters outside of the state, a ninth
    checks.close("two tries, half of it a state", half, 2 / 3, rtol=1e-12)
    rng, size = np.random.default_rng(70), 200_000
    bad = rng.random(size) < 0.4 * 0.2
    alone = (0.2 - 0.08) / (1 - 0.08)
    failed = bad | (rng.random((3, size)) < alone).all(axis=0)
    answered = ~failed & (rng.random(size) < 0.95)
    checks.covers("simulated", batch_means(answered.astype(float)), end_to_end([0.95, 0.8], 3, 0.4))


def check_bad_input_is_refused() -> None:
    """Shares above one, a limit inside a bucket and no time-out are errors."""
    checks.raises("share", end_to_end, [1.2], 1, 0.0, match="shares must be in [0, 1]")
    given = 9, 0, [1.0, 2.0], [3, 4], 1.5
    checks.raises("within", share_of_all_in_time, *given, match="limit_s must be one of the bounds")
    one = Service(np.array([0.0, 1.0]), np.zeros(2), 1.0, 1.0)
    checks.raises("at once", with_fallback, one, one, 0, match="timeout_cells must be an integer")
