"""PSI, Jensen–Shannon and their null: scipy as oracle, bounds, symmetry, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance
from serving_mathematics.architecture.shadow_canary.drift import (
    CURRENT,
    FLOOR,
    MODERATE,
    REFERENCE,
    _chi_square_survival,
    _jensen_shannon,
    _psi,
    _psi_null_quantile,
)

COUNTS = st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any)
POSITIVE = st.lists(st.integers(1, 1000), min_size=4, max_size=4)


@given(POSITIVE, POSITIVE)
def test_psi_is_both_relative_entropies(reference: list[int], current: list[int]) -> None:
    expected = stats.entropy(reference, current) + stats.entropy(current, reference)
    assert _psi(reference, current, floor=0.0) == pytest.approx(expected, abs=1e-12)
    assert _psi(current, reference) == pytest.approx(_psi(reference, current))
    assert _psi(np.array(reference) * 7, current) == pytest.approx(_psi(reference, current))


@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipy_squared(reference: list[int], current: list[int]) -> None:
    got = float(_jensen_shannon(reference, current))
    expected = distance.jensenshannon(reference, current) ** 2
    assert got == pytest.approx(0.0 if math.isnan(expected) else expected, abs=1e-12)
    assert -1e-15 <= got <= math.log(2) + 1e-12


@given(POSITIVE, POSITIVE)
def test_psi_is_more_than_eight_jensen_shannon(a: list[int], b: list[int]) -> None:
    assert _psi(a, b, floor=0.0) >= 8 * _jensen_shannon(a, b) - 1e-12


def test_empty_bins_cost_the_logarithm_of_the_floor() -> None:
    index = _psi([0.0, 1.0], [0.5, 0.5], floor=1e-6)
    expected = 0.5 * math.log(0.500001 / 1e-6) - 0.5 * math.log(0.500001 / 1.000001)
    assert index == pytest.approx(expected)
    assert FLOOR < MODERATE < _psi(REFERENCE, CURRENT)


def test_many_windows_at_once() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.integers(1, 50, 5), rng.integers(1, 50, (3, 2, 5))
    for function in (_psi, _jensen_shannon):
        table = function(reference, current)
        assert table.shape == (3, 2)
        assert table[1, 1] == pytest.approx(float(function(reference, current[1, 1])))


@given(st.floats(0, 400), st.integers(1, 300))
def test_chi_square_survival_is_scipy(value: float, degrees: int) -> None:
    expected = stats.chi2.sf(value, degrees)
    assert _chi_square_survival(value, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@given(st.floats(0.01, 0.999), st.integers(2, 60), st.floats(10, 1e6), st.floats(10, 1e6))
def test_null_quantile_is_scipy(q: float, bins: int, n: float, m: float) -> None:
    expected = stats.chi2.ppf(q, bins - 1) * (1 / n + 1 / m)
    assert _psi_null_quantile(q, bins, n, m) == pytest.approx(expected, rel=1e-9)


def test_a_known_reference_leaves_the_current_sample() -> None:
    alone = _psi_null_quantile(0.95, 10, math.inf, 1000)
    assert alone == pytest.approx(_psi_null_quantile(0.95, 10, 1000, 1000) / 2)


def test_bad_input_is_refused() -> None:
    for function in (_psi, _jensen_shannon):
        with pytest.raises(ValueError, match="reference must be two bins or more"):
            function([1.0], [1.0])
        with pytest.raises(ValueError, match="reference must be two bins or more"):
            function(1.0, [1.0, 2.0])
        with pytest.raises(ValueError, match="current must be non-negative"):
            function([1, 1], [1, math.nan])
        with pytest.raises(ValueError, match="current must be more than nothing"):
            function([1, 1], [0, 0])
        with pytest.raises(ValueError, match="current must be of 2 bins"):
            function([1, 1], [1, 1, 1])
    for floor in (-0.1, 0.1, math.nan):
        with pytest.raises(ValueError, match=r"floor must be in \[0, 0.1\)"):
            _psi([1, 1], [1, 1], floor)
    with pytest.raises(ValueError, match="floor must be positive where a bin is empty"):
        _psi([1, 1], [1, 0], 0.0)
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="value must be non-negative and finite"):
            _chi_square_survival(value, 3)
    for degrees in (0, 301, 1.5):
        with pytest.raises(ValueError, match="degrees must be an integer from 1 to 300"):
            _chi_square_survival(1.0, degrees)  # type: ignore[arg-type]
    for q in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            _psi_null_quantile(q, 10, 10, 10)
    for bins in (1, 302, 2.5):
        with pytest.raises(ValueError, match="bins must be an integer from 2 to 301"):
            _psi_null_quantile(0.9, bins, 10, 10)  # type: ignore[arg-type]
    for count in (0.0, math.nan):
        with pytest.raises(ValueError, match="reference_count must be positive"):
            _psi_null_quantile(0.9, 10, count, 10)
    for count in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="current_count must be positive and finite"):
            _psi_null_quantile(0.9, 10, 10, count)
