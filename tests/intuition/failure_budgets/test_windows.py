"""The slider: what the page says, and an exercise that counts otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.intuition.failure_budgets.exercises import errors_worth_a_page
from serving_mathematics.intuition.failure_budgets.windows import example, slider_windows


def test_the_slider_says_what_the_page_says() -> None:
    data, told = slider_windows(), example()
    loads, rules, leasts = (control["values"] for control in data["controls"])
    pages = np.array(data["curves"][0]["values"])
    assert pages.shape == (len(loads), len(rules), len(leasts))
    hour = rules.index("14.4 over 1 h")
    six = pages[:, rules.index("2.4 over 6 h"), 0]
    assert six[loads.index(1440)] > 1 / 12 > six[loads.index(2400)]
    assert loads.index(1440) < np.searchsorted(loads, told.six_hours_quiet) <= loads.index(2400)
    guard = errors_worth_a_page(120, 0.001, 1 / 12)
    assert (
        pages[loads.index(120), hour, leasts.index("6 errors")]
        < 1 / 12
        < pages[loads.index(120), hour, leasts.index(f"{guard - 1} errors")]
    )
    needs, outage = (np.array(one["values"]) for one in data["readouts"][:2])
    assert needs[loads.index(120), hour].tolist() == [2, 2, 3, 4, 6]
    assert outage[loads.index(4800), hour, 0] == pytest.approx(60 * 70 / 4800)
