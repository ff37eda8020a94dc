"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.reliability.availability import k_of_n
from serving_mathematics.intuition.failure_budgets.exercises import (
    errors_worth_a_page,
    own_downtime,
    requests_to_prove,
    shared_cause_availability,
)
from serving_mathematics.intuition.failure_budgets.failure_budgets import (
    budget_spent,
    burn_rate,
    burn_threshold,
    detection_time,
    error_budget,
    exhaustion_time,
    reset_time,
)

BAD_NUMBERS = [math.nan, math.inf, -1.0]


@pytest.mark.parametrize("bad", [*BAD_NUMBERS, 0.0, 1.0, 99.9])
def test_objectives_outside_the_unit_interval_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"slo must be in \(0, 1\), got"):
        error_budget(bad, 1.0)
    with pytest.raises(ValueError, match=r"slo must be in \(0, 1\)"):
        burn_rate(0.1, bad)
    with pytest.raises(ValueError, match=r"slo must be in \(0, 1\)"):
        reset_time(0.1, bad, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"slo must be in \(0, 1\)"):
        own_downtime(bad, [0.9], 1.0)
    with pytest.raises(ValueError, match=r"slo must be in \(0, 1\)"):
        requests_to_prove(bad, 0)


@pytest.mark.parametrize("bad", BAD_NUMBERS)
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match="total must be positive and finite"):
        error_budget(0.9, bad)
    with pytest.raises(ValueError, match=r"error_rate must be in \[0, 1\]"):
        burn_rate(bad, 0.9)
    with pytest.raises(ValueError, match="burn must be non-negative and finite"):
        budget_spent(bad, 1.0, 1.0)
    with pytest.raises(ValueError, match="duration_s must be non-negative and finite"):
        budget_spent(1.0, bad, 1.0)
    with pytest.raises(ValueError, match="period_s must be positive and finite"):
        budget_spent(1.0, 1.0, bad)
    with pytest.raises(ValueError, match="burn must be positive and finite"):
        exhaustion_time(bad, 1.0)
    with pytest.raises(ValueError, match="period_s must be positive and finite"):
        exhaustion_time(1.0, bad)
    with pytest.raises(ValueError, match=r"remaining must be in \[0, 1\]"):
        exhaustion_time(1.0, 1.0, bad)
    with pytest.raises(ValueError, match=r"spend must be in \(0, 1\]"):
        burn_threshold(bad, 1.0, 1.0)
    with pytest.raises(ValueError, match="period_s must be positive and finite"):
        burn_threshold(0.1, 1.0, bad)
    with pytest.raises(ValueError, match="window_s must be positive and at most period_s"):
        burn_threshold(0.1, bad, 1.0)
    with pytest.raises(ValueError, match=r"error_rate must be in \(0, 1\]"):
        detection_time(bad, 0.9, 1.0, 1.0)
    with pytest.raises(ValueError, match="threshold must be positive and finite"):
        detection_time(0.1, 0.9, bad, 1.0)
    with pytest.raises(ValueError, match="window_s must be positive and finite"):
        detection_time(0.1, 0.9, 1.0, bad)
    with pytest.raises(ValueError, match="period_s must be positive and finite"):
        own_downtime(0.9, [0.99], bad)
    with pytest.raises(ValueError, match=r"availability must be in \(0, 1\)"):
        shared_cause_availability(1, 2, bad, 0.1)
    with pytest.raises(ValueError, match=r"shared must be in \[0, 1\]"):
        shared_cause_availability(1, 2, 0.9, bad)
    with pytest.raises(ValueError, match="requests_per_h must be a positive integer"):
        errors_worth_a_page(bad, 0.1, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pages_per_month must be positive"):
        errors_worth_a_page(10, 0.1, bad)
    with pytest.raises(ValueError, match="failures must be a non-negative integer"):
        requests_to_prove(0.9, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"confidence must be in \(0.5, 1\)"):
        requests_to_prove(0.9, 0, bad)


def test_own_downtime_without_other_failures() -> None:
    assert own_downtime(0.9, [1.0], 100.0) == pytest.approx(10.0)
    assert own_downtime(0.9, [0.9], 100.0) == 0
    with pytest.raises(ValueError, match=r"availabilities must be of a product of at least 0.9"):
        own_downtime(0.9, [0.95, 0.9], 100.0)


@given(st.integers(1, 6), st.integers(0, 4), st.floats(0.5, 0.999), st.floats(0, 1))
def test_shared_causes_by_conditioning(k: int, spare: int, a: float, shared: float) -> None:
    got = shared_cause_availability(k, k + spare, a, shared)
    common = 1 - shared * (1 - a)
    expected = common * stats.binom.sf(k - 1, k + spare, min(a / common, 1.0))
    assert got == pytest.approx(expected, rel=1e-9)
    assert got <= common + 1e-12
    if shared == 0:
        assert got == pytest.approx(k_of_n(k, [a] * (k + spare)))


@pytest.mark.parametrize(("load", "rate", "wanted"), [(10, 0.01, 1.0), (120, 0.001, 0.1)])
def test_guard_is_the_smallest_count_within_the_bound(
    load: int, rate: float, wanted: float
) -> None:
    k = errors_worth_a_page(load, rate, wanted)
    bound = 720 * load * rate * stats.binom.sf(np.array([k - 3, k - 2]), load - 1, rate)
    assert bound[1] <= wanted < bound[0]


def test_one_request_an_hour() -> None:
    assert errors_worth_a_page(1, 0.001, 1.0) == 1
    with pytest.raises(ValueError, match=r"pages_per_month must be at least 0.72, got 0.5"):
        errors_worth_a_page(1, 0.001, 0.5)


@pytest.mark.parametrize(
    ("slo", "failures", "confidence"),
    [(0.999, 0, 0.95), (0.999, 7, 0.95), (0.9, 1, 0.99), (0.5, 3, 0.6), (0.01, 2, 0.9)],
)
def test_proof_is_the_smallest_by_the_beta_quantile(
    slo: float, failures: int, confidence: float
) -> None:
    n = requests_to_prove(slo, failures, confidence)
    assert stats.beta.ppf(confidence, failures + 1, n - failures) <= 1 - slo
    before = n - 1 - failures
    assert before == 0 or stats.beta.ppf(confidence, failures + 1, before) > 1 - slo
