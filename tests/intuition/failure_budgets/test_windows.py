"""The slider: what the page says, and an exercise that counts otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.intuition.failure_budgets.exercises import errors_worth_a_page
from serving_mathematics.intuition.failure_budgets.false_pages import WINDOWS
from serving_mathematics.intuition.failure_budgets.windows import (
    GUARDS,
    HOURS,
    PARTIAL,
    example,
    slider_windows,
)


def test_the_slider_says_what_the_page_says() -> None:
    data, told = slider_windows(), example()
    loads, rules, leasts = (control["values"] for control in data["controls"])
    pages = np.array(data["curves"][0]["values"])
    assert pages.shape == (len(loads), len(rules), len(leasts))
    hour = rules.index("14.4 over 1 h")
    six = pages[:, rules.index("2.4 over 6 h"), 0]
    assert six[loads.index(1440)] > 1 / 12 > six[loads.index(2400)]
    assert loads.index(1440) < np.searchsorted(loads, told.six_hours_quiet) <= loads.index(2400)
    guard = errors_worth_a_page(132, 0.001, 1 / 12)
    assert (
        pages[loads.index(132), hour, leasts.index("6 errors")]
        < 1 / 12
        < pages[loads.index(132), hour, leasts.index(f"{guard - 1} errors")]
    )
    needs, outage = (np.array(one["values"]) for one in data["readouts"][:2])
    assert needs[loads.index(132), hour].tolist() == [2, 2, 3, 4, 6]
    assert outage[loads.index(4800), hour, 0] == pytest.approx(60 * 70 / 4800)


def test_a_time_to_notice_lies_within_the_window() -> None:
    """Where a window holds fewer errors than the rule needs, the slider tells no time; where it
    tells one, half of the simulated incidents are seen by about then."""
    data, rng = slider_windows(), np.random.default_rng(5)
    loads, rules, leasts = (control["values"] for control in data["controls"])
    told = {one["label"]: one["values"] for one in data["readouts"]}
    for i, load in enumerate(loads):
        for j, hours in enumerate(HOURS):
            for k in range(len(leasts)):
                need, minutes = told["needs"][i][j][k], told["twentieth"][i][j][k]
                seen = stats.poisson.sf(need - 1, PARTIAL * load * hours)  # in one whole window
                assert (seen > 0.5) if minutes is not None else (seen < 0.6)
    for load, rule, least in ((132, 0, 4), (48, 3, 4), (276, 1, 0), (960, 0, 0)):
        at = loads.index(load)
        need, minutes = told["needs"][at][rule][least], told["twentieth"][at][rule][least]
        waits = rng.exponential(60 / (PARTIAL * load), (2000, need)).sum(axis=1)
        assert np.median(waits) == pytest.approx(minutes, rel=0.2)
    assert told["twentieth"][loads.index(24)][rules.index("14.4 over 1 h")][-1] is None


@pytest.mark.parametrize(("each_minute", "longer_first"), [(1, True), (2, False), (4, False)])
def test_which_page_sees_a_partial_outage_first(each_minute: int, longer_first: bool) -> None:
    """One request in twenty fails, with the least errors of the files: the six-hour page at one
    request a minute, the hour's from two on."""
    rng, minutes, quiet = np.random.default_rng(6), 30 * 60, 6 * 60
    errors = rng.binomial(each_minute, PARTIAL, (400, quiet + minutes))
    errors[:, :quiet] = 0
    total = np.cumsum(errors, axis=1)
    seen = []
    for hours, _, least in GUARDS:
        long, short = round(60 * hours), round(60 * hours / WINDOWS)
        above = total[:, quiet:] - total[:, quiet - long : -long] >= least
        above &= total[:, quiet:] > total[:, quiet - short : -short]
        seen.append(np.median(np.where(above.any(axis=1), above.argmax(axis=1), minutes)))
    assert (seen[1] < 0.85 * seen[0]) if longer_first else (seen[0] < 0.9 * seen[1])
