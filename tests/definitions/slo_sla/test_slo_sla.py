"""Load caps, indicators and the exercises: limits, identities and errors."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.core.queues.erlang import erlang_c, response_quantile
from serving_mathematics.definitions.slo_sla.slo_sla import (
    STREAMS,
    _bursty_quantile,
    _over_streams,
    _pool_quantile,
    example,
    load_cap,
    request_attainment,
    simulated_quantile,
    window_attainment,
)


@given(st.floats(0.01, 0.99))
def test_load_cap_inverts(cap: float) -> None:
    assert load_cap(lambda rho: 1 / (1 - rho), 1 / (1 - cap)) == pytest.approx(cap, abs=1e-12)


def test_interval_over_streams_is_students() -> None:
    values = np.arange(STREAMS, dtype=float) ** 2
    low, high = stats.t.interval(0.95, STREAMS - 1, values.mean(), stats.sem(values))
    point = _over_streams(values.tolist())
    ends = (point.mean - point.half_width, point.mean + point.half_width)
    assert ends == pytest.approx((low, high), rel=1e-6)
    assert point.standard_error == pytest.approx(stats.sem(values))


def test_load_cap_of_the_idle_quantile_is_zero() -> None:
    assert load_cap(lambda rho: 1 + rho, 1.0) == pytest.approx(0, abs=1e-12)


def test_at_the_load_cap_of_a_pool_a_hundredth_is_late() -> None:
    """By a convolution of Erlang's wait with the service, integrated numerically."""
    for servers in (1, 2, 8):
        cap = load_cap(partial(_pool_quantile, servers=servers), 10.0)
        waiting, drain = erlang_c(servers, cap * servers), servers * (1 - cap)
        joint, _ = integrate.quad(
            lambda s, drain=drain: math.exp(-s - drain * (10.0 - s)), 0, 10.0, epsabs=1e-14
        )
        assert math.exp(-10.0) + waiting * joint == pytest.approx(0.01, rel=1e-7)
    assert example().cap_pool == pytest.approx(cap, abs=1e-9)


def test_bursty_quantile_meets_kendalls_equation() -> None:
    for rho in (0.1, 0.5, 0.9):
        sigma = 1 + math.log(0.01) / _bursty_quantile(rho)

        def integrand(x: float, rho: float = rho, sigma: float = sigma) -> float:
            """Density of the gamma gaps (shape 1/4, mean 1/ρ) after x = u⁴, times e^{−(1−σ)x}."""
            scale = 4 / rho
            return float(
                4 * math.exp(-(x**4) * (1 / scale + 1 - sigma)) / math.gamma(0.25) / scale**0.25
            )

        transform = integrate.quad(integrand, 0, np.inf)[0]
        assert transform == pytest.approx(sigma, abs=1e-7)
    assert _bursty_quantile(0.0) == pytest.approx(response_quantile(0.99, 0.0, 1.0))


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)), min_size=5, max_size=60),
    st.floats(0, 0.95),
    st.floats(0.01, 0.9),
    st.floats(0.05, 0.95),
)
def test_simulated_quantile_rises_with_the_load(
    times: list[tuple[float, float]], rho: float, share: float, q: float
) -> None:
    gaps, services = zip(*times, strict=True)
    lower = simulated_quantile(q, rho * share, gaps, services)
    assert lower <= simulated_quantile(q, rho, gaps, services) + 1e-9


def test_simulated_quantile_by_hand() -> None:
    # gaps of 2 and 4 at ρ = 1/2 become 4/3 and 8/3, services of 1 and 3 become 1/2 and 3/2:
    # arrivals 4/3, 4 and responses 1/2, 3/2
    assert simulated_quantile(0.5, 0.5, [2.0, 4.0], [1.0, 3.0]) == pytest.approx(1.0)
    assert simulated_quantile(0.5, 0.0, [2.0, 4.0], [1.0, 3.0]) == pytest.approx(1.0)
    # three at once: responses 1, 2, 3
    assert simulated_quantile(0.9, 0.9, [3.0, 0.0, 0.0], [1.0, 1.0, 1.0]) == pytest.approx(2.8)


@pytest.mark.parametrize(
    ("q", "rho", "gaps", "services", "match"),
    [
        (0.5, 0.5, [1.0], [1.0, 2.0], "services must be of shape"),
    ],
)
def test_simulated_quantile_refuses(
    q: float, rho: float, gaps: list[float], services: list[float], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        simulated_quantile(q, rho, gaps, services)


def test_attainments() -> None:
    assert request_attainment([0, 3], [1, 3]) == 0.75
    assert window_attainment([0, 0, 3], [1, 0, 3], 1.0) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("good", "total", "match"),
    [
        ([1], [1, 2], "must be"),
    ],
)
def test_attainments_refuse(good: list[float], total: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        request_attainment(good, total)
    with pytest.raises(ValueError, match=match):
        window_attainment(good, total, 0.9)


def test_attainment_edges() -> None:
    with pytest.raises(ValueError, match="positive in some window"):
        request_attainment([0], [0])
    with pytest.raises(ValueError, match="good must be a non-empty"):
        window_attainment([], [], 0.9)
    for threshold in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match="threshold must be"):
            window_attainment([1], [1], threshold)
