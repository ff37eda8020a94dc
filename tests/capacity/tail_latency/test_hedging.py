"""Hedging without load: quantiles and integrals against scipy, properties, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.capacity.tail_latency import hedging
from serving_mathematics.capacity.tail_latency.hedging import (
    hedged_quantile,
    hedged_survival,
    lognormal_survival,
    server_time,
    shared_cause_survival,
)


def exponential(time: float) -> float:
    return math.exp(-max(time, 0.0))


def pareto(time: float) -> float:
    return min(1.0, time**-3.0) if time > 0 else 1.0


@given(st.floats(-5, 200), st.floats(0.05, 3))
def test_lognormal_survival_is_scipy(time: float, log_sd: float) -> None:
    assert lognormal_survival(time, log_sd) == pytest.approx(
        stats.lognorm.sf(time, log_sd), rel=1e-9, abs=1e-300
    )
    assert lognormal_survival(0.0, log_sd) == 1.0


@given(st.floats(0, 20), st.floats(0, 20))
def test_hedged_survival_is_a_product_after_the_delay(time: float, delay: float) -> None:
    value = hedged_survival(time, delay, exponential)
    if time <= delay:
        assert value == exponential(time)
    else:
        assert value == pytest.approx(math.exp(-(2 * time - delay)))
    assert hedged_survival(time, math.inf, exponential) == exponential(time)


@given(st.floats(0.01, 0.9999), st.floats(0, 12), st.sampled_from([exponential, pareto]))
def test_hedged_quantile_inverts_the_survival(
    q: float, delay: float, survival: Callable[[float], float]
) -> None:
    time = hedged_quantile(q, delay, survival)
    # The survival jumps nowhere but has a kink at the delay, so both sides must bracket 1 − q.
    assert hedged_survival(time * (1 + 1e-9), delay, survival) <= 1 - q + 1e-12
    assert hedged_survival(time * (1 - 1e-9), delay, survival) >= 1 - q - 1e-12


def test_a_quantile_on_a_level_is_where_the_level_begins() -> None:
    """Half of the requests take 1, the others 6: 1 keeps the half, and nothing less does."""

    def two_times(time: float) -> float:
        return 1.0 if time < 1 else 0.5 if time < 6 else 0.0

    assert hedged_quantile(0.5, math.inf, two_times) == pytest.approx(1.0)
    assert hedged_quantile(0.5 + 1e-9, math.inf, two_times) == pytest.approx(6.0)


def test_hedging_after_the_quantile_changes_nothing() -> None:
    for q in (0.5, 0.9, 0.99):
        alone = float(stats.lognorm.ppf(q, 1.0))
        assert hedged_quantile(q, alone + 1e-6, lognormal_survival) == pytest.approx(alone)
        assert hedged_quantile(q, math.inf, lognormal_survival) == pytest.approx(alone)


def test_two_copies_at_once_square_the_survival() -> None:
    # F̄² = 1 − q at the (1 − √(1−q)) quantile of one copy
    for q in (0.3, 0.99, 0.9999):
        expected = float(stats.lognorm.isf(math.sqrt(1 - q), 1.0))
        assert hedged_quantile(q, 0.0, lognormal_survival) == pytest.approx(expected, rel=1e-10)


@given(st.floats(0, 6), st.floats(0.05, 6))
def test_an_earlier_second_copy_never_answers_later(delay: float, later: float) -> None:
    early = hedged_quantile(0.99, delay, lognormal_survival)
    assert early <= hedged_quantile(0.99, delay + later, lognormal_survival) + 1e-9


@pytest.mark.parametrize("log_sd", [0.3, 1.0, 1.4])
@pytest.mark.parametrize("delay", [0.0, 0.6, 1.0, 4.0])
def test_server_time_by_adaptive_quadrature(log_sd: float, delay: float) -> None:
    def survival(time: float) -> float:
        return lognormal_survival(time, log_sd)

    def both(time: float) -> float:
        return float(stats.lognorm.sf(time, log_sd) * stats.lognorm.sf(time - delay, log_sd))

    alone = integrate.quad(lambda t: stats.lognorm.sf(t, log_sd), 0, delay, epsabs=1e-11)[0]
    rest = integrate.quad(both, delay, delay + 10, epsabs=1e-11, limit=200)[0]
    rest += integrate.quad(both, delay + 10, 3000, epsabs=1e-11, limit=400)[0]
    assert server_time(delay, survival) == pytest.approx(alone + 2 * rest, rel=1e-7)


def test_server_time_without_a_second_copy_is_the_mean() -> None:
    assert server_time(math.inf, pareto) == pytest.approx(1.5, rel=1e-5)
    assert server_time(math.inf, exponential) == pytest.approx(1.0, rel=1e-11)


def test_half_of_the_quadrature_nodes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    full = [server_time(d, lognormal_survival) for d in (0.0, 1.0, 5.2)]
    monkeypatch.setattr(hedging, "GAUSS_POINTS", hedging.GAUSS_POINTS // 2)
    halved = [server_time(d, lognormal_survival) for d in (0.0, 1.0, 5.2)]
    assert full == pytest.approx(halved, rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize(("time", "delay"), [(2.0, 0.0), (6.0, 5.18), (3.0, 1.0)])
def test_shared_cause_is_a_bivariate_normal(share: float, time: float, delay: float) -> None:
    log_sd = 1.3
    joint = stats.multivariate_normal([0, 0], [[1, share], [share, 1]], seed=1)
    upper = [-math.log(time) / log_sd, -math.log(time - delay) / log_sd]
    expected = joint.cdf(np.array(upper))  # P(Z₁ > a, Z₂ > b) = P(Z₁ < −a, Z₂ < −b)
    got = shared_cause_survival(time, delay, share, log_sd)
    assert got == pytest.approx(expected, abs=2e-5)


def test_shared_cause_before_the_delay_is_one_copy() -> None:
    for share in (0.0, 0.5, 0.99, 0.999):
        got = shared_cause_survival(1.7, 2.0, share)
        assert got == pytest.approx(lognormal_survival(1.7), rel=1e-7)


@given(st.floats(0, 0.9), st.floats(0.01, 0.09))
def test_more_in_common_means_more_late_requests(share: float, more: float) -> None:
    assert shared_cause_survival(6.0, 2.0, share + more) > shared_cause_survival(6.0, 2.0, share)
