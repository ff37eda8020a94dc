"""Counts and the dispersion test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.arrival_rates import arrival_rates as chapter
from serving_mathematics.capacity.arrival_rates.arrival_rates import (
    chi_square_tail,
    dispersion_index,
    dispersion_p_value,
    gap_cv,
    window_counts,
)

sorted_times = st.lists(
    st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3)), min_size=3, max_size=60
).map(sorted)


@given(sorted_times, st.floats(0.05, 0.5))
def test_counts_are_those_of_a_histogram(times: list[float], share: float) -> None:
    span = times[-1] - times[0]
    if span < 0.1:
        return
    window = share * span
    since = np.array(times) - times[0]
    whole = since[1:] / window
    assume(np.abs(whole - np.rint(whole))[since[1:] > 0].min() > 1e-9)  # none on a boundary
    counts = window_counts(times, window)
    assert counts.size == math.floor(span / window)
    for k, count in enumerate(counts):
        assert count == sum(math.floor(t / window) == k for t in since)


def test_windows_do_not_depend_on_the_clock() -> None:
    times = np.cumsum(np.random.default_rng(1).exponential(0.25, 500))
    counts = window_counts(times, 1.7)
    assert counts.tolist() == window_counts(times + 2**20, 1.7).tolist()
    assert counts.sum() <= 500
    assert window_counts([0.0, 1.0, 2.0], 1.0).tolist() == [1, 1]


def test_a_window_may_be_half_the_span_and_a_ten_millionth_but_no_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert window_counts([0, 1, 4], 2.0).tolist() == [2, 0]
    monkeypatch.setattr(chapter, "MAX_WINDOWS", 4)
    assert window_counts([0, 1, 4], 1.0).tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="window_s must be between 1 and 2, half the span"):
        window_counts([0, 1, 4], 0.99)


def test_gap_cv_of_regular_and_of_two_valued_gaps() -> None:
    assert gap_cv([0, 1, 2, 3]) == 0
    assert gap_cv([0, 1, 4, 5, 8]) == pytest.approx(np.std([1, 3, 1, 3], ddof=1) / 2)


def test_a_row_without_requests_has_no_dispersion() -> None:
    with pytest.raises(ValueError, match="counts must be positive somewhere in every row"):
        dispersion_p_value([[1, 2], [0, 0]])


counts_lists = st.lists(st.integers(0, 50), min_size=2, max_size=30).filter(lambda c: sum(c) > 0)


@given(counts_lists)
def test_p_value_is_scipys(counts: list[int]) -> None:
    index = np.var(counts, ddof=1) / np.mean(counts)
    assert dispersion_index(counts) == pytest.approx(index, rel=1e-12)
    freedom = len(counts) - 1
    expected = stats.chi2.sf(freedom * index, freedom)
    assert dispersion_p_value(counts) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_rows_are_measured_against_their_own_mean() -> None:
    rows = [[3, 5, 4], [10, 14, 12], [1, 0, 2]]
    each = [dispersion_index(row) for row in rows]
    assert dispersion_index(rows) == pytest.approx(np.mean(each))
    assert dispersion_p_value(rows) == pytest.approx(stats.chi2.sf(2 * sum(each), 6))
    assert dispersion_p_value([[5, 5], [9, 9]]) == 1.0


@given(st.floats(0, 3000), st.integers(1, 2000))
def test_chi_square_tail_is_scipys(x: float, freedom: int) -> None:
    got, expected = chi_square_tail(x, freedom), stats.chi2.sf(x, freedom)
    assert got == pytest.approx(expected, rel=1e-8, abs=1e-15 if x < freedom + 2 else 1e-300)


@pytest.mark.parametrize(
    ("x", "freedom"), [(20_400.0, 20_000), (19_900.0, 20_000), (4e5, 4 * 10**5)]
)
def test_chi_square_tail_of_many_windows(x: float, freedom: int) -> None:
    assert chi_square_tail(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-8)


@pytest.mark.parametrize("start", [0.0, 0.1, 1.7e9])
@pytest.mark.parametrize("tenths", [1, 2, 3, 5, 7])
def test_a_boundary_is_where_decimals_put_it(start: float, tenths: int) -> None:
    times = np.array([float(f"{i / 10:.1f}") for i in range(1001)]) + start
    assert set(window_counts(times, tenths / 10).tolist()) == {tenths}
