"""One place: the formula by brute force, its limits, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from serving_mathematics.optimization.hardware_scheduling.one_place import (
    sjf_gain,
)


def test_exponential_sizes_against_the_integral() -> None:
    sizes = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    for load in (0.5, 0.9):

        def wait(x: float, load: float = load) -> float:
            below = load * (1 - (1 + x) * np.exp(-x))
            return float(load / (1 - below) ** 2 * np.exp(-x))

        shortest = 1 + integrate.quad(wait, 0, 60)[0]
        assert sjf_gain(sizes, load) == pytest.approx(shortest * (1 - load), rel=2e-3)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=9), st.floats(0.01, 0.95))
def test_shortest_first_never_lengthens_the_mean(sizes: list[float], load: float) -> None:
    gain = sjf_gain(sizes, load)
    assert 0 < gain <= 1 + 1e-9
    assert sjf_gain([7 * size for size in sizes], load) == pytest.approx(gain)


def test_an_idle_server_and_equal_sizes_gain_nothing() -> None:
    assert sjf_gain([1.0, 9.0], 1e-9) == pytest.approx(1.0)
    assert sjf_gain([2.0] * 5, 0.9) == pytest.approx(1.0)


def test_one_size_is_no_sample() -> None:
    with pytest.raises(ValueError, match="sizes_s must be of shape"):
        sjf_gain(1.0, 0.5)
