"""The pager: what it shows counted otherwise, what the page says, and an exercise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.intuition.failure_budgets.exercises import errors_worth_a_page
from serving_mathematics.intuition.failure_budgets.false_pages import WINDOWS
from serving_mathematics.intuition.failure_budgets.windows import (
    GUARDS,
    LEASTS,
    SHOWN_HOURS,
    TONIGHT,
    TONIGHT_FAILS,
    TRAFFIC,
    _in_a_month,
    _needs,
    _two_days,
    example,
    slider_windows,
)


def runs() -> list[tuple[tuple[int, int, int], int, float, int]]:
    """Of each run of the slider: its place, traffic, window [h] and least failures."""
    given = itertools.product(enumerate(TRAFFIC), enumerate(SHOWN_HOURS), enumerate(LEASTS))
    return [((i, j, k), load, hours, least) for (i, load), (j, hours), (k, least) in given]


def test_the_pager_rings_as_failures_counted_one_by_one_say() -> None:
    """Every five minutes: enough failures in the window, and in its last twelfth."""
    data = slider_windows()
    curves, lanes = data["panels"]
    told = {one["label"]: np.array(one["values"], dtype=float) for one in data["readouts"]}
    for (i, j, k), load, hours, least in runs():
        failed, _, firing = _two_days(load, hours, least)
        window, short = round(12 * hours), round(hours)
        need = max(math.floor(0.0144 * load + 1e-9) + 1, least)
        last = math.floor(0.0144 * load / 12 + 1e-9) + 1
        ends = range(window, failed.size + 1)
        rings = [
            failed[end - window : end].sum() >= need and failed[end - short : end].sum() >= last
            for end in ends
        ]
        assert firing[window - 1 :].tolist() == rings
        pages = sum(now and not before for before, now in itertools.pairwise([False, *firing]))
        assert told["rung"][i, j, k, -1] == pages
        shown = [bar for bar in lanes["bars"][i][j][k] if bar[0] == "pager"]
        starts = np.flatnonzero(np.diff([0, *firing.astype(int)]) > 0) / 12
        assert [bar[1] for bar in shown] == starts.tolist()
        share = curves["curves"][0]["values"][i][j][k][-1]
        assert share == pytest.approx(failed[-window:].sum() / need)
        assert told["outage"][i, j, k] == pytest.approx(60 * need / load)


def test_the_two_days_are_as_most_are() -> None:
    """As many failures and pages as expected, to two standard errors; and at little traffic one
    failure rings, at much only the evening does."""
    data = slider_windows()
    rung = np.array(data["readouts"][0]["values"])[:, 0, 0]
    times = np.array(data["clock"]["values"])
    evening = int(np.searchsorted(times, TONIGHT[0]))
    for i, load in enumerate(TRAFFIC):
        failed, _, _ = _two_days(load, 1.0, 1)
        parts = failed[: 12 * TONIGHT[0]].sum(), failed[12 * TONIGHT[0] : 12 * TONIGHT[1]].sum()
        for got, due in zip(parts, (0.001 * load * 36, 0.02 * load * 2), strict=True):
            assert got == pytest.approx(due, abs=2 * math.sqrt(due))
        due = _in_a_month(load) * TONIGHT[0] / 720
        assert rung[i, evening] == pytest.approx(due, abs=max(0.5, 2 * math.sqrt(due)))
    assert rung[0, evening] == 1 == _two_days(TRAFFIC[0], 1.0, 1)[0][: 12 * TONIGHT[0]].sum()
    assert rung[-1, evening] == 0 < rung[-1, -1]


def test_the_slider_says_what_the_page_says() -> None:
    told = {one["label"]: one["values"] for one in slider_windows()["readouts"]}
    assert told["false"][TRAFFIC.index(60)][0][0] == example().pages_at_60
    quiet = [pages < 1 / 12 for pages in told["false"][TRAFFIC.index(120)][0]]
    guard = errors_worth_a_page(120, 0.001, 1 / 12)
    assert quiet == [least >= guard for least in LEASTS]
    assert told["tonight"][TRAFFIC.index(240)][0][-1] is None  # asks for six: from 300 an hour on
    assert told["tonight"][TRAFFIC.index(480)][0][-1] is not None


def test_a_time_to_notice_lies_within_the_window() -> None:
    """Where a window holds fewer failures than the rule needs, no time is told; where one is told,
    half of the simulated evenings are seen by about then."""
    rng = np.random.default_rng(5)
    told = {one["label"]: one["values"] for one in slider_windows()["readouts"]}
    for (i, j, k), load, hours, least in runs():
        need, minutes = _needs(load, hours, least), told["tonight"][i][j][k]
        seen = stats.poisson.sf(need - 1, TONIGHT_FAILS * load * hours)  # in one whole window
        assert (seen > 0.5) if minutes is not None else (seen < 0.64)
        if minutes is not None:
            waits = rng.exponential(60 / (TONIGHT_FAILS * load), (400, need)).sum(axis=1)
            assert np.mean(waits) == pytest.approx(minutes, rel=0.2)


@pytest.mark.parametrize(("each_minute", "longer_first"), [(1, True), (2, False), (4, False)])
def test_which_page_sees_a_partial_outage_first(each_minute: int, longer_first: bool) -> None:
    """One request in twenty fails, with the least errors of the files: the six-hour page at one
    request a minute, the hour's from two on."""
    rng, minutes, quiet = np.random.default_rng(6), 30 * 60, 6 * 60
    errors = rng.binomial(each_minute, 0.05, (400, quiet + minutes))
    errors[:, :quiet] = 0
    total = np.cumsum(errors, axis=1)
    seen = []
    for hours, _, least in GUARDS:
        long, short = round(60 * hours), round(60 * hours / WINDOWS)
        above = total[:, quiet:] - total[:, quiet - long : -long] >= least
        above &= total[:, quiet:] > total[:, quiet - short : -short]
        seen.append(np.median(np.where(above.any(axis=1), above.argmax(axis=1), minutes)))
    assert (seen[1] < 0.85 * seen[0]) if longer_first else (seen[0] < 0.9 * seen[1])
