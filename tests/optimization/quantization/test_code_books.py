"""Code books against scipy's integrals, quantiles and minimizers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from serving_mathematics.optimization.quantization.code_books import (
    gaussian_distortion,
    lloyd_max,
    normal_float,
    optimal_step,
    uniform_code,
)

from tests.profiles import costly


@costly
@given(st.lists(st.floats(-4, 4), min_size=1, max_size=6, unique=True))
def test_distortion_is_the_integral(values: list[float]) -> None:
    code = np.array(sorted(values))
    if np.any(np.diff(code) < 1e-6):
        return
    edges = [-12.0, *((code[1:] + code[:-1]) / 2), 12.0]
    total = sum(
        integrate.quad(lambda x, y=y: (x - y) ** 2 * stats.norm.pdf(x), low, high)[0]
        for y, low, high in zip(code, edges[:-1], edges[1:], strict=True)
    )
    assert gaussian_distortion(code) == pytest.approx(total, abs=1e-7)


@pytest.mark.parametrize("levels", [2, 6, 16, 64])
def test_step_is_the_minimum(levels: int) -> None:
    found = optimize.minimize_scalar(
        lambda step: gaussian_distortion(uniform_code(levels, step)),
        bounds=(0.5 / levels, 4),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert optimal_step(levels) == pytest.approx(float(found.x), abs=1e-5)


@pytest.mark.parametrize("levels", [1, 2, 3, 5, 16, 33])
def test_values_are_means_of_their_cells(levels: int) -> None:
    code = lloyd_max(levels)
    edges = np.array([-np.inf, *((code[1:] + code[:-1]) / 2), np.inf])
    means = [stats.truncnorm.mean(low, high) for low, high in itertools.pairwise(edges)]
    assert code == pytest.approx(np.array(means), abs=1e-7)
    assert np.array_equal(code, -code[::-1])


def test_lloyd_max_beats_its_neighbours_and_equal_steps() -> None:
    rng = np.random.default_rng(2)
    best = gaussian_distortion(lloyd_max(8))
    for _ in range(20):
        assert gaussian_distortion(lloyd_max(8) + rng.normal(0, 0.02, 8)) > best
    assert best < gaussian_distortion(uniform_code(8, optimal_step(8)))
    loose = gaussian_distortion(lloyd_max(8, tolerance=1e-2))
    assert best < loose < best * 1.05


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8])
def test_normal_float_is_made_of_quantiles(bits: int) -> None:
    cells = 2**bits
    last = 1 - (1 / (2 * cells) + 1 / (2 * cells - 2)) / 2
    code = normal_float(bits)
    assert code.size == cells
    assert code[cells // 2 - 1] == 0.0
    assert code[0] == -1.0
    assert code[-1] == 1.0
    assert np.all(np.diff(code) > 0)
    scale = stats.norm.ppf(last)
    positive, negative = (
        stats.norm.cdf(scale * code[cells // 2 :]),
        stats.norm.cdf(-scale * code[: cells // 2 - 1]),
    )
    assert np.diff(positive) == pytest.approx((last - 0.5) / (cells // 2))
    if bits > 2:
        assert -np.diff(negative) == pytest.approx((last - 0.5) / (cells // 2 - 1))


def test_uniform_code() -> None:
    assert uniform_code(1, 3.0).tolist() == [0.0]
    assert uniform_code(3, 2.0).tolist() == [-2.0, 0.0, 2.0]
