"""The exponent of growth against scipy's regression, its interval, and its refusals."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.reference import performance_growth
from serving_mathematics.reference.performance_growth import (
    RECORD,
    STUDENT_T_975,
    example,
    growth_exponent,
)
from serving_mathematics.support import measuring


@given(
    st.lists(st.floats(0.01, 100.0), min_size=4, max_size=12),
    st.floats(-2.0, 3.0),
    st.integers(0, 2**32 - 1),
)
def test_it_is_a_regression_of_logarithms(noise: list[float], slope: float, seed: int) -> None:
    sizes = np.cumprod(np.random.default_rng(seed).uniform(1.5, 4.0, len(noise)))
    costs = np.array(noise) * sizes**slope
    fitted = stats.linregress(np.log(sizes), np.log(costs))
    exponent, half_width = growth_exponent(sizes, costs)
    assert exponent == pytest.approx(fitted.slope, abs=1e-9)
    quantile = stats.t.ppf(0.975, sizes.size - 2)
    assume(fitted.stderr > 0)  # scipy has none for costs that are all the same
    assert half_width == pytest.approx(quantile * fitted.stderr, rel=2e-4, abs=1e-6)


def test_the_unit_does_not_matter() -> None:
    found = growth_exponent([1, 2, 3, 5], [2.0, 3.0, 7.0, 9.0])
    assert growth_exponent([10, 20, 30, 50], [2e9, 3e9, 7e9, 9e9]) == pytest.approx(found)


def test_quantiles_of_student() -> None:
    freedom = np.arange(1, len(STUDENT_T_975) + 1)
    assert pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4) == STUDENT_T_975


@pytest.mark.parametrize(
    ("sizes", "costs", "message"),
    [
        ([2, 2, 2], [1, 2, 3], "sizes must be not all the same"),
    ],
)
def test_bad_input_is_refused(sizes: Any, costs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        growth_exponent(sizes, costs)


def test_words_follow_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    record = copy.deepcopy(measuring.read_record(RECORD))
    monkeypatch.setattr(performance_growth, "read_record", lambda _: record)
    for run in record["runs"]:
        for row in run["found"].values():
            row |= {"exponent": 1.0, "half_width": 0.1}
    assert example().beyond_linear == "none"
    for run in record["runs"]:
        run["found"]["LRU cache"] |= {"exponent": 1.2}
    assert example().beyond_linear == "LRU cache"
    assert example().steepest == 1.2
    assert example().rows_growth.count("\n") == len(record["runs"][0]["found"]) - 1


def test_memory_that_grows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    record = copy.deepcopy(measuring.read_record(RECORD))
    monkeypatch.setattr(performance_growth, "read_record", lambda _: record)
    record["runs"][1]["found"]["M/M/8 long run"]["peak_mib"][-1] *= 2
    with pytest.raises(AssertionError, match="run 2, M/M/8 long run"):
        performance_growth.check_memory()
