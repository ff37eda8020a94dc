"""The month's downtime against scipy's gamma sums, its moments, and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    OUTAGE,
    downtime_exceeds,
    example,
    internal_target,
    simulated_downtime,
    worst_rolling_downtime,
)


@given(st.floats(0, 10_000), st.floats(0.01, 60), st.floats(10, 1000))
def test_exact_equals_gamma_sums(allowed: float, mean: float, length: float) -> None:
    n = np.arange(1, 250)
    expected = (stats.poisson.pmf(n, mean) * stats.gamma.sf(allowed / length, n)).sum()
    assert downtime_exceeds(allowed, mean, length) == pytest.approx(expected, abs=1e-10)


def test_no_outages() -> None:
    assert downtime_exceeds(0.0, 0.0, 1.0) == 0


def test_simulated_moments() -> None:
    months = simulated_downtime(np.random.default_rng(0), 50_000, 3.0, 2.0)
    assert months.mean() == pytest.approx(6, abs=4 * math.sqrt(24 / 50_000))
    assert months.var() == pytest.approx(24, rel=0.05)


def test_target_meets_the_breach() -> None:
    target = internal_target(0.99, 0.1, 100.0, 100_000.0)
    assert target > 0.99
    assert downtime_exceeds(1000.0, (1 - target) * 1000, 100.0) == pytest.approx(0.1)


def test_others_refuse() -> None:
    rng = np.random.default_rng(0)
    sound = {"months": 1, "mean_outages": 1.0, "mean_outage_s": 1.0}
    for name, least in (("months", 0), ("mean_outages", -1.0), ("mean_outage_s", 0.0)):
        for bad in (least, math.nan, math.inf):
            with pytest.raises(ValueError, match=f"^{name} must be .*, got {bad}"):
                simulated_downtime(rng, **(sound | {name: bad}))  # type: ignore[arg-type]
    for bad in (
        (1.0, 0.1, 1.0, 1.0),
        (0.9, 0.0, 1.0, 1.0),
        (0.9, 0.1, 0.0, 1.0),
        (0.9, 0.1, 1.0, 0.0),
        (0.5, 0.1, 1.0, 1e6),
    ):
        with pytest.raises(ValueError, match="must be"):
            internal_target(*bad)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9)), max_size=15), st.integers(1, 120)
)
def test_worst_window_by_brute_force(outages: list[tuple[int, int]], window: int) -> None:
    outages = sorted(outages)
    starts, lengths = [s for s, _ in outages], [n for _, n in outages]
    expected = max(
        (sum(n for s, n in outages if end - window < s <= end) for end in range(101)), default=0
    )
    assert worst_rolling_downtime(starts, lengths, float(window)) == expected


@pytest.mark.parametrize(
    ("starts", "lengths", "window", "match"),
    [
        ([1.0], [1.0, 2.0], 1.0, "lengths_s must be of shape"),
    ],
)
def test_worst_window_refuses(
    starts: list[float], lengths: list[float], window: float, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        worst_rolling_downtime(starts, lengths, window)


def test_longer_months_break_less_often_on_the_page() -> None:
    """Half of the outages that just keep the objective: Poisson numbers of exponential outages."""
    shown, rng = example(), np.random.default_rng(6)
    for days, shown_share in ((28, shown.breach_28), (31, shown.breach_31)):
        limit, mean = 0.001 * days * 24 * 3600, 0.5 * days * 24 * 3600 * 0.001 / OUTAGE
        numbers = rng.poisson(mean, 200_000)
        total = np.bincount(
            np.repeat(np.arange(numbers.size), numbers),
            rng.exponential(OUTAGE, numbers.sum()),
            numbers.size,
        )
        broken = np.mean(total > limit)
        assert shown_share == pytest.approx(broken, abs=4 * math.sqrt(0.14 * 0.86 / 200_000))
