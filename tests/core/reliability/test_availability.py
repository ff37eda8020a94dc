"""Series, parallel, k of n and the intervals: scipy as oracle, identities, errors."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.reliability.availability import (
    clopper_pearson,
    k_of_n,
    parallel,
    series,
    zero_failure_bound,
)

PARTS = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7)


@given(PARTS)
def test_every_system_by_listing_all_states(parts: list[float]) -> None:
    at_least = [0.0] * (len(parts) + 1)
    for state in product((0, 1), repeat=len(parts)):
        mass = math.prod(a if up else 1 - a for a, up in zip(parts, state, strict=True))
        for k in range(sum(state) + 1):
            at_least[k] += mass
    for k in range(1, len(parts) + 1):
        assert k_of_n(k, parts) == pytest.approx(at_least[k], abs=1e-12)
    assert series(parts) == pytest.approx(at_least[-1], abs=1e-12)
    assert parallel(parts) == pytest.approx(at_least[1], abs=1e-12)


def test_a_large_fleet_does_not_overflow() -> None:
    expected = stats.binom.sf(4899, 5000, 0.99)
    assert k_of_n(4900, [0.99] * 5000) == pytest.approx(expected, rel=1e-9)


@given(st.integers(1, 10_000), st.floats(0.01, 0.999))
def test_zero_failure_bound_is_a_beta_quantile(trials: int, confidence: float) -> None:
    got = zero_failure_bound(trials, confidence)
    assert got == pytest.approx(stats.beta.ppf(confidence, 1, trials), rel=1e-9)


@given(st.integers(1, 400), st.floats(0, 1), st.floats(0.2, 0.999))
def test_clopper_pearson_is_scipy(trials: int, share: float, confidence: float) -> None:
    failures = round(share * trials)
    expected = stats.binomtest(failures, trials).proportion_ci(confidence, method="exact")
    low, high = clopper_pearson(failures, trials, confidence)
    assert low == pytest.approx(expected.low, rel=1e-9, abs=1e-14)
    assert high == pytest.approx(expected.high, rel=1e-9)
    mirrored = clopper_pearson(trials - failures, trials, confidence)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(("failures", "trials"), [(3, 10**9), (5000, 10**6), (99_990, 10**5)])
def test_clopper_pearson_of_many_trials(failures: int, trials: int) -> None:
    low, high = clopper_pearson(failures, trials)
    assert low == pytest.approx(stats.beta.ppf(0.025, failures, trials - failures + 1), rel=1e-7)
    assert high == pytest.approx(stats.beta.ppf(0.975, failures + 1, trials - failures), rel=1e-7)


def test_bad_shapes_and_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="availabilities must be a non-empty list"):
        series([])
    with pytest.raises(ValueError, match="availabilities must be a non-empty list"):
        parallel([[0.5]])
    for needed in (0, 3, 1.5, math.nan):
        with pytest.raises(ValueError, match=r"needed must be an integer in 1…2"):
            k_of_n(needed, [0.5, 0.5])  # type: ignore[arg-type]
    for trials in (0, -1, 1.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="trials must be a positive integer"):
            zero_failure_bound(trials)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="trials must be a positive integer"):
            clopper_pearson(0, trials)  # type: ignore[arg-type]
    for failures in (-1, 5, 0.5, math.nan):
        with pytest.raises(ValueError, match=r"failures must be an integer in 0…4"):
            clopper_pearson(failures, 4)  # type: ignore[arg-type]
    for confidence in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
            zero_failure_bound(3, confidence)
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
            clopper_pearson(1, 4, confidence)
