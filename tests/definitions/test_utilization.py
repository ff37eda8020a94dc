"""Utilization, Erlang C and the exercises: limits, Poisson sums from scipy, properties, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.definitions.exercises.utilization import (
    busy_from_log,
    max_pool_utilization,
    pooled_and_split_waits,
    response_exceeds,
)
from serving_mathematics.definitions.utilization import (
    erlang_b,
    erlang_c,
    example,
    max_utilization,
    mean_wait,
    response_quantile,
    slider_hockey_stick,
    slider_pooling,
    sticky_break_even,
    utilization,
    wait_exceeds,
    wait_quantile,
)

SERVERS = st.integers(1, 60)
RHO = st.floats(0.01, 0.99)
BAD_NUMBERS = [math.nan, math.inf, -1.0]


def erlang_c_by_poisson(servers: int, load: float) -> float:
    """P(N = c)/(1−ρ) over P(N < c) + P(N = c)/(1−ρ), with N Poisson of mean a."""
    at = stats.poisson.pmf(servers, load) / (1 - load / servers)
    return float(at / (stats.poisson.cdf(servers - 1, load) + at))


@given(SERVERS, RHO)
def test_erlang_c_equals_poisson_sums(servers: int, rho: float) -> None:
    load = rho * servers
    assert erlang_c(servers, load) == pytest.approx(erlang_c_by_poisson(servers, load), rel=1e-11)


def test_erlang_c_of_a_thousand_servers() -> None:
    assert erlang_c(2000, 1950.0) == pytest.approx(erlang_c_by_poisson(2000, 1950.0), rel=1e-9)


@pytest.mark.parametrize(
    ("servers", "load", "expected"),
    [(14, 10.0, 0.1741319336), (50, 45.0, 0.3638644672), (2, 1.0, 1 / 3), (7, 0.0, 0.0)],
)
def test_erlang_c_known_values(servers: int, load: float, expected: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(expected, abs=5e-11)


@given(SERVERS, RHO, RHO)
def test_waiting_rises_with_load_and_falls_with_servers(
    servers: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert erlang_c(servers, low * servers) <= erlang_c(servers, high * servers)
    load = low * servers
    assert erlang_c(servers + 1, load) <= erlang_c(servers, load)
    assert mean_wait(load, 1.0, servers + 1) <= mean_wait(load, 1.0, servers)


@given(SERVERS, RHO, st.floats(0.01, 100.0))
def test_mean_wait_is_the_integral_of_its_tail(servers: int, rho: float, service: float) -> None:
    rate = rho * servers / service
    scale = service / (servers * (1 - rho))
    area, _ = integrate.quad(
        lambda x: scale * wait_exceeds(x * scale, rate, service, servers), 0, 60
    )
    assert mean_wait(rate, service, servers) == pytest.approx(area, rel=1e-7)


@given(SERVERS, RHO, st.floats(0.01, 100.0))
def test_waits_scale_with_the_unit_of_time(servers: int, rho: float, service: float) -> None:
    rate = rho * servers / service
    assert utilization(rate, service, servers) == pytest.approx(rho)
    assert mean_wait(rate, service, servers) == pytest.approx(
        service * mean_wait(rho * servers, 1.0, servers)
    )
    assert wait_exceeds(3 * service, rate, service, servers) == pytest.approx(
        wait_exceeds(3.0, rho * servers, 1.0, servers)
    )
    assert response_quantile(0.9, rho / service, service) == pytest.approx(
        service * response_quantile(0.9, rho, 1.0)
    )


def test_an_idle_queue_has_no_wait() -> None:
    assert utilization(0.0, 1.0) == 0
    assert mean_wait(0.0, 1.0, 3) == 0
    assert wait_exceeds(0.0, 0.0, 1.0, 3) == 0
    assert response_quantile(0.5, 0.0, 2.0) == pytest.approx(2 * math.log(2))
    assert response_quantile(0.0, 0.25, 2.0) == 0


@given(st.floats(0.01, 0.999), RHO)
def test_response_quantile_is_an_exponential_quantile(probability: float, rho: float) -> None:
    expected = stats.expon.ppf(probability, scale=3.0 / (1 - rho))
    assert response_quantile(probability, rho / 3.0, 3.0) == pytest.approx(expected)


@given(st.floats(0.01, 0.999), st.floats(1.001, 1000.0))
def test_max_utilization_inverts_the_quantile(probability: float, factor: float) -> None:
    slowdown = -math.log1p(-probability) * factor
    rho = max_utilization(probability, slowdown)
    assert 0 < rho < 1
    assert response_quantile(probability, rho, 1.0) == pytest.approx(slowdown, rel=1e-9)


@pytest.mark.parametrize("bad", BAD_NUMBERS)
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match=r"arrival_rate must be non-negative and finite, got"):
        utilization(bad, 1.0)
    with pytest.raises(ValueError, match="mean_service_s must be positive and finite"):
        utilization(0.5, bad)
    with pytest.raises(ValueError, match="mean_service_s must be positive and finite"):
        mean_wait(0.5, 0.0)
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        erlang_c(bad, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        utilization(0.5, 1.0, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"offered_load must be in \[0, 2\) for a stable queue"):
        erlang_c(2, bad)
    with pytest.raises(ValueError, match="threshold_s must be non-negative and finite"):
        wait_exceeds(bad, 0.5, 1.0)
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\)"):
        response_quantile(bad, 0.5, 1.0)
    with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
        max_utilization(bad, 10.0)
    with pytest.raises(ValueError, match="slowdown must be finite and above"):
        max_utilization(0.9, bad)


def test_saturation_is_refused() -> None:
    for function in (utilization, mean_wait):
        with pytest.raises(ValueError, match=r"below 1 for a stable queue, got 1\.0"):
            function(2.0, 1.0, 2)
    with pytest.raises(ValueError, match="stable queue"):
        erlang_c(2, 2.0)
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\), got 1\.0"):
        response_quantile(1.0, 0.5, 1.0)
    for edge in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            max_utilization(edge, 10.0)
    with pytest.raises(ValueError, match="slowdown must be finite and above"):
        max_utilization(0.5, math.log(2))


# Exercises


@given(
    st.lists(st.tuples(st.integers(-5, 15), st.integers(0, 10)), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_log_gauges_equal_counting_ticks(log: list[tuple[int, int]], first: int) -> None:
    starts = [start for start, _ in log]
    ends = [start + length for start, length in log]
    last, servers = first + 8, len(log)
    ticks = [sum(s <= t < e for s, e in zip(starts, ends, strict=True)) for t in range(first, last)]
    busy, any_server = busy_from_log(starts, ends, servers, first, last)
    assert busy == pytest.approx(sum(ticks) / (8 * servers))
    assert any_server == pytest.approx(sum(tick > 0 for tick in ticks) / 8)


def test_log_without_services_is_idle() -> None:
    assert busy_from_log([], [], 2, 0.0, 1.0) == (0.0, 0.0)
    assert busy_from_log([5.0], [6.0], 1, 0.0, 5.0) == (0.0, 0.0)
    assert busy_from_log([-9.0], [9.0], 1, 0.0, 4.0) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (([[0.0]], [[1.0]], 1, 0.0, 1.0), "start_s must be of one dimension"),
        (([0.0], [1.0, 2.0], 1, 0.0, 1.0), r"end_s must be of shape \(1,\)"),
        (([math.nan], [1.0], 1, 0.0, 1.0), "start_s must be finite"),
        (([0.0], [math.inf], 1, 0.0, 1.0), "end_s must be finite and ≥ start_s"),
        (([0.0], [-1.0], 1, 0.0, 1.0), "end_s must be finite and ≥ start_s"),
        (([0.0], [1.0], 0, 0.0, 1.0), "servers must be a positive integer"),
        (([0.0], [1.0], 1, -math.inf, 1.0), "window_start_s must be finite"),
        (([0.0], [1.0], 1, 0.0, math.inf), "window_end_s must be finite and after"),
        (([0.0], [1.0], 1, 1.0, 1.0), "window_end_s must be finite and after"),
        (([0.0, 0.5], [1.0, 1.0], 1, 0.0, 1.0), "busy time in the log"),
    ],
)
def test_bad_logs_are_refused(
    log: tuple[list[float], list[float], int, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        busy_from_log(*log)


@given(SERVERS, RHO, st.floats(0.0, 20.0))
def test_response_tail_by_convolution(servers: int, rho: float, slowdown: float) -> None:
    waiting, drain = erlang_c(servers, rho * servers), servers * (1 - rho)
    joint, _ = integrate.quad(
        lambda s: math.exp(-s) * waiting * math.exp(-drain * (slowdown - s)), 0, slowdown
    )
    expected = math.exp(-slowdown) + joint
    assert response_exceeds(slowdown, rho, servers) == pytest.approx(expected, rel=1e-8, abs=1e-13)


def test_response_tail_where_both_exponentials_agree() -> None:
    near = response_exceeds(2.0, 0.75 - 1e-9, 4)
    assert response_exceeds(2.0, 0.75, 4) == pytest.approx(near, rel=1e-8)
    assert response_exceeds(2.0, 0.75, 4) == pytest.approx(
        math.exp(-2) * (1 + 2 * erlang_c(4, 3.0))
    )
    assert response_exceeds(0.0, 0.75, 4) == 1


@given(st.floats(0.5, 0.999), st.floats(1.05, 20.0), st.integers(1, 30))
def test_pool_limit_meets_the_target_and_grows(
    probability: float, factor: float, servers: int
) -> None:
    slowdown = -math.log1p(-probability) * factor
    limit = max_pool_utilization(probability, slowdown, servers)
    assert response_exceeds(slowdown, limit, servers) <= 1 - probability
    assert limit >= max_utilization(probability, slowdown) - 1e-9
    if limit + 1e-6 < 1:
        assert response_exceeds(slowdown, limit + 1e-6, servers) > 1 - probability


def test_pool_errors() -> None:
    for bad in BAD_NUMBERS:
        with pytest.raises(ValueError, match="slowdown must be non-negative and finite"):
            response_exceeds(bad, 0.5, 2)
        with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
            response_exceeds(1.0, bad, 2)
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            max_pool_utilization(bad, 10.0, 2)
        with pytest.raises(ValueError, match="slowdown must be finite and above"):
            max_pool_utilization(0.9, bad, 2)
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        max_pool_utilization(0.9, 10.0, 0)
    for edge in (0.0, 1.0):
        with pytest.raises(ValueError, match="probability must be"):
            max_pool_utilization(edge, 10.0, 2)
    with pytest.raises(ValueError, match="slowdown must be finite and above"):
        max_pool_utilization(0.5, math.log(2), 2)


@given(RHO, st.floats(0.01, 0.99))
def test_split_of_equal_requests_is_two_half_queues(rho: float, share: float) -> None:
    if max(share, 1 - share) * 2 * rho >= 0.999:
        return
    pooled, short, long = pooled_and_split_waits(rho, share, 1.0)
    assert pooled == pytest.approx(mean_wait(2 * rho, 1.0, 2) / 2)  # constant lengths: half M/M/2
    for wait, part in ((short, 1 - share), (long, share)):
        assert wait == pytest.approx(mean_wait(2 * rho * part, 1.0) / 2)


def test_split_by_hand() -> None:
    # f = 1/4, k = 5: mean 2, second moment 1/4·25 + 3/4 = 7, C² = 7/4 − 1; ρ = 0.4, rate 0.4
    pooled, short, long = pooled_and_split_waits(0.4, 0.25, 5.0)
    assert pooled == pytest.approx(mean_wait(0.4, 2.0, 2) * (1 + 0.75) / 2)
    assert short == pytest.approx(0.3 / 0.7 / 2)
    assert long == pytest.approx(0.5 / 0.5 / 2 * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.1, 2.0), r"utilization must be in \(0, 1\)"),
        ((1.0, 0.1, 2.0), r"utilization must be in \(0, 1\)"),
        ((math.nan, 0.1, 2.0), r"utilization must be in \(0, 1\)"),
        ((0.5, 0.0, 2.0), r"long_share must be in \(0, 1\)"),
        ((0.5, 1.0, 2.0), r"long_share must be in \(0, 1\)"),
        ((0.5, 0.1, 0.9), "stretch must be finite and ≥ 1"),
        ((0.5, 0.1, math.inf), "stretch must be finite and ≥ 1"),
        ((0.6, 0.1, 100.0), "utilization of each class's server must be below 1"),
    ],
)
def test_bad_splits_are_refused(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pooled_and_split_waits(*arguments)


def test_example_of_the_page() -> None:
    assert np.isclose(max_pool_utilization(0.99, 10.0, 8), 0.9362949, atol=5e-8)


def test_hockey_stick_slider_says_the_numbers_of_the_page() -> None:
    told = slider_hockey_stick()
    rho, scv = (np.asarray(control["values"]) for control in told["controls"])
    waits = np.asarray(told["curves"][0]["values"])
    assert waits == pytest.approx(np.outer(rho / (1 - rho), (1 + scv) / 2), rel=1e-12)
    assert waits[rho == 0.8, scv == 1.0].item() == pytest.approx(example().wait_at_80)
    assert waits[rho == 0.95, scv == 1.0].item() == pytest.approx(example().wait_at_95)
    more = np.asarray(told["readouts"][0]["values"])
    assert more[:-1] == pytest.approx(np.diff(waits, axis=0), rel=1e-9)
    assert more[-1] == pytest.approx((0.98 / 0.02 - 0.97 / 0.03) * (1 + scv) / 2)


def test_pooling_slider_says_the_numbers_of_the_page() -> None:
    told = slider_pooling()
    rho, servers = (np.asarray(control["values"]) for control in told["controls"])
    waits = np.asarray(told["curves"][0]["values"])
    late = np.asarray(told["readouts"][0]["values"])
    assert waits[rho == 0.9, servers == 10].item() == pytest.approx(example().pooled_wait)
    assert waits[rho == 0.9, servers == 1].item() == pytest.approx(example().separate_wait)
    assert late[rho == 0.9, servers == 10].item() / 100 == pytest.approx(
        example().wait_share_pooled
    )
    for i in range(0, rho.size, 9):
        for j, c in enumerate(servers.tolist()):
            share = erlang_c_by_poisson(c, rho[i] * c)
            assert late[i, j] == pytest.approx(100 * share, rel=1e-9)
            assert waits[i, j] == pytest.approx(share / (c * (1 - rho[i])), rel=1e-9)


@given(SERVERS, st.floats(0.0, 200.0))
def test_erlang_b_is_a_truncated_poisson(servers: int, load: float) -> None:
    if load == 0:
        assert erlang_b(servers, load) == 0.0
        return
    expected = stats.poisson.pmf(servers, load) / stats.poisson.cdf(servers, load)
    assert erlang_b(servers, load) == pytest.approx(expected, rel=1e-9)


def test_erlang_b_of_thousands_and_of_overload() -> None:
    assert 0 < erlang_b(5000, 5000.0) < 0.02
    assert erlang_b(10, 1e6) == pytest.approx(1 - 10 / 1e6, rel=1e-9)  # ten of a million fit


@given(st.integers(1, 40), st.floats(0.05, 0.97))
def test_sticky_break_even_makes_both_responses_equal(replicas: int, rho: float) -> None:
    left = sticky_break_even(replicas, rho)
    own = left / (1 - rho * left)
    assert own == pytest.approx(1 + mean_wait(rho * replicas, 1.0, replicas), rel=1e-9)
    assert 0 < left <= 1 + 1e-12


@given(st.floats(0.0, 0.9999), st.floats(0.01, 0.99), st.floats(0.1, 50.0), st.integers(1, 60))
def test_wait_quantile_is_the_tail_turned_round(
    q: float, rho: float, service: float, servers: int
) -> None:
    rate = rho * servers / service
    wait = wait_quantile(q, rate, service, servers)
    if wait > 0:
        assert wait_exceeds(wait, rate, service, servers) == pytest.approx(1 - q, rel=1e-9)
    else:
        assert wait_exceeds(0.0, rate, service, servers) <= 1 - q + 1e-12
