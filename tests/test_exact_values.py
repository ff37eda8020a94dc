"""Closed forms over their whole range against the same formula with fifty digits, and how long a
call may take.

The formulas are written anew from the docstrings and evaluated with mpmath, at points that lie next
to the ends of the ranges, where differences of nearly equal numbers would lose digits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
from mpmath import mpf
from serving_mathematics.architecture.shadow_canary.repeated_looks import crossing_probability
from serving_mathematics.architecture.shadow_canary.sequential_tests import msprt_ratio
from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
    speedup,
)
from serving_mathematics.core.queues.variability import gamma_arrivals_wait, kingman_bound
from serving_mathematics.definitions.latency_distribution.latency_distribution import quantile_ranks
from serving_mathematics.reference.errata import independent_looks

NEXT_TO_1 = (0.5, 0.9, 1 - 1e-3, 1 - 1e-6, 1 - 1e-10, 1 - 1e-14, math.nextafter(1, 0))
SMALL = (1e-100, 1e-30, 1e-17, 1e-10, 1e-5, 0.1)


@pytest.fixture(autouse=True)
def fifty_digits() -> Any:
    with mpmath.workdps(50):
        yield


@pytest.mark.parametrize("scv", [0.0, 1e-13, 1e-6, 0.1, 1.0, 4.0, 100.0, 1e6])
@pytest.mark.parametrize("rho", [1e-3, 0.3, *NEXT_TO_1])
def test_gamma_arrivals_wait(rho: float, scv: float) -> None:
    """σ = A*(1 − σ), solved with fifty digits from the answer."""
    wait = gamma_arrivals_wait(rho, scv)
    if wait < 1e-12:  # nobody waits: σ may be below what a float tells from 0
        return
    gap = 1 / mpf(rho)

    def miss(free: Any) -> Any:
        inner = gap * mpf(scv) * free
        transform = mpmath.exp(-gap * free) if scv == 0 else (1 + inner) ** (-1 / mpf(scv))
        return (transform - 1 + free) / free

    free = mpmath.findroot(miss, (1 / (1 + mpf(wait)), 1 / (1 + mpf(wait)) * mpf("1.0000001")))
    assert wait == pytest.approx(float((1 - free) / free), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("threshold", [0.5, 1.959964, 5.0, 8.0, 12.0])
def test_one_look_crosses_with_both_tails(threshold: float) -> None:
    expected = float(mpmath.erfc(mpf(threshold) / mpmath.sqrt(2)))
    assert crossing_probability([threshold]) == pytest.approx(expected, rel=1e-12)
    assert expected < crossing_probability([threshold] * 2) < 2 * expected


@pytest.mark.parametrize("alpha", [*SMALL, *NEXT_TO_1])
@pytest.mark.parametrize("looks", [1, 3, 10**6])
def test_independent_looks(looks: int, alpha: float) -> None:
    expected = float(-mpmath.expm1(looks * mpmath.log1p(-mpf(alpha))))
    assert independent_looks(looks, alpha) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("alpha", [0.0, *SMALL, *NEXT_TO_1])
@pytest.mark.parametrize("length", [0, 1, 7, 10**6, 10**12, 2**52])
def test_expected_tokens(length: int, alpha: float) -> None:
    a = mpf(alpha)
    expected = float((1 - a ** (length + 1)) / (1 - a))
    assert expected_tokens(alpha, length) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.3, 0.8, 1 - 1e-4, 1 - 1e-8])
@pytest.mark.parametrize("cost", [1e-12, 1e-6, 0.05, 0.29])
def test_best_draft_length(alpha: float, cost: float) -> None:
    best = best_draft_length(alpha, cost)
    step = max(1, best // 1000)
    here = speedup(alpha, best, cost)
    assert here >= speedup(alpha, best + step, cost) * (1 - 1e-12)
    assert best == 0 or here >= speedup(alpha, best - min(step, best), cost) * (1 - 1e-12)


@pytest.mark.parametrize("count", [1, 176, 10**6, 10**90])
def test_msprt_ratio(count: int) -> None:
    for mean, variance, mixing in ((0.0, 1.0, 1.0), (1.0, 0.125, 1.0), (1e-3, 1e-9, 1e-30)):
        n, v, m = mpf(count), mpf(variance), mpf(mixing)
        log = n**2 * m * mpf(mean) ** 2 / (2 * v * (v + n * m)) + mpmath.log(v / (v + n * m)) / 2
        got = float(msprt_ratio(count, mean, variance, mixing))
        assert math.log(got) == pytest.approx(min(float(log), 700.0), rel=1e-12, abs=1e-12)


def test_kingman_bound_of_large_deviations() -> None:
    assert kingman_bound(0.5, 1.0, 1e100, 0.0) == pytest.approx(0.5e200, rel=1e-12)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (best_draft_length, (math.nextafter(1, 0), 1e-100)),
        (expected_tokens, (1 - 1e-12, 2**52)),
        (quantile_ranks, (10**9, 0.999)),
        (quantile_ranks, (2**53, 0.5)),
    ],
)
def test_a_call_ends_within_seconds(function: Callable[..., Any], arguments: Any) -> None:
    """With an answer, or the refusal of a call that would take longer; of processor time."""
    began, said = time.process_time(), ""
    try:
        function(*arguments)
    except ValueError as problem:
        said = str(problem)
    assert not said or "few enough for 2e+07 steps" in said
    assert time.process_time() - began < 5


def test_ranks_of_many_are_those_of_the_normal_distribution() -> None:
    ranks = quantile_ranks(10**9, 0.5)
    half = 1.959964 * math.sqrt(10**9) / 2
    assert ranks.lower == pytest.approx(5e8 - half, abs=2)
    assert ranks.upper == pytest.approx(5e8 + half, abs=2)
    assert ranks.coverage == pytest.approx(0.95, abs=1e-4)
