"""Finite fleets: the 1/n term against differential equations and simulation, and the simulator."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import linalg, optimize
from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    example,
    shorter_of_two_found,
)
from serving_mathematics.architecture.model_routers.replica_routing import (
    GROUPS,
    FleetSample,
    finite_fleet_mean,
    simulate_fleet,
    slider_mean_and_p99,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate


def refined_mean(load: float, choices: int, servers: int) -> float:
    """The 1/n term by another road: numerical derivatives, scipy's Lyapunov solver, and the exact
    probability of different servers instead of its expansion.
    """
    size = 40 if load < 0.8 else 60

    def drift(x: np.ndarray, exact: bool) -> np.ndarray:
        ends = np.concatenate([[1.0], x, [0.0]])
        chosen = ends**choices
        if exact:
            parts = [(servers * ends - k) / (servers - k) for k in range(choices)]
            chosen = np.prod(parts, axis=0)
        return load * (chosen[:-2] - chosen[1:-1]) - (ends[1:-1] - ends[2:])

    s = load * best_of_d_found(load, choices)
    s = np.pad(s, (0, max(0, size - s.size)))[:size]
    step = 1e-6
    eye = np.eye(size)
    jacobian = np.array(
        [(drift(s + step * e, False) - drift(s - step * e, False)) / (2 * step) for e in eye]
    ).T
    noise = np.diag(2 * (s - np.append(s[1:], 0.0)))
    covariance = linalg.solve_continuous_lyapunov(jacobian, -noise)
    values, vectors = np.linalg.eigh(covariance)
    curvature = np.zeros(size)
    for value, vector in zip(values, vectors.T, strict=True):
        h = 1e-4
        second = drift(s + h * vector, False) - 2 * drift(s, False) + drift(s - h * vector, False)
        curvature += 0.5 * value * second / h**2
    without = servers * (drift(s, True) - drift(s, False))
    shift = -np.linalg.solve(jacobian, curvature + without)
    return float((s.sum() + shift.sum() / servers) / load)


@pytest.mark.parametrize(("load", "choices"), [(0.5, 2), (0.9, 2), (0.9, 3), (0.7, 5)])
def test_gap_agrees_with_another_derivation(load: float, choices: int) -> None:
    servers = 1_000_000  # where the expansion of different servers is exact to the digits compared
    limit = best_of_d_found(load, choices).sum()
    got = servers * (finite_fleet_mean(load, choices, servers) - limit)
    expected = servers * (refined_mean(load, choices, servers) - limit)
    assert got == pytest.approx(expected, rel=2e-3)


def test_gap_vanishes_like_one_over_n() -> None:
    limit = best_of_d_found(0.8, 2).sum()
    gaps = [n * (finite_fleet_mean(0.8, 2, n) - limit) for n in (2, 10, 1000)]
    assert gaps == pytest.approx([gaps[0]] * 3)
    assert gaps[0] > 0


def test_sample_has_its_shape_and_starts_at_one() -> None:
    sample = simulate_fleet(
        np.random.default_rng(1), 0.6, 3, 6, lanes=2 * GROUPS, horizon=6.0, warm_up=2.0
    )
    assert isinstance(sample, FleetSample)
    assert isinstance(sample.mean_response, MeanEstimate)
    assert sample.found.shape[0] == GROUPS
    np.testing.assert_array_equal(sample.found[:, 0], 1.0)
    assert np.all(np.diff(sample.found, axis=1) <= 0)
    assert sample.mean_response.half_width == pytest.approx(
        1.96 * sample.mean_response.standard_error, rel=1e-4
    )


def test_found_and_little_tell_the_same_mean() -> None:
    """Two estimates of one run: requests inside, and what arrivals find."""
    rng = np.random.default_rng(2)
    sample = simulate_fleet(rng, 0.7, 2, 8, lanes=320, horizon=60.0, warm_up=20.0)
    found = sample.found.sum(axis=1)
    error = found.std(ddof=1) / math.sqrt(GROUPS)
    gap = found.mean() - sample.uncontrolled.mean
    assert abs(gap) < 4 * math.hypot(error, sample.uncontrolled.standard_error)


@pytest.mark.parametrize(("load", "seed"), [(0.5, 3), (0.8, 4)])
def test_two_servers_are_the_exact_chain(load: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = simulate_fleet(rng, load, 2, 2, lanes=1600, horizon=100.0, warm_up=50.0)
    exact = shorter_of_two_found(load)
    run = sample.mean_response
    assert abs(run.mean - exact.sum()) < 4 * run.standard_error
    for j in (1, 2, 3):
        groups = sample.found[:, j]
        assert abs(groups.mean() - exact[j]) < 4 * groups.std(ddof=1) / math.sqrt(GROUPS)


def test_control_variate_keeps_the_mean_and_shrinks_the_error() -> None:
    rng = np.random.default_rng(5)
    sample = simulate_fleet(rng, 0.9, 2, 60, lanes=96, horizon=80.0, warm_up=40.0)
    controlled, plain = sample.mean_response, sample.uncontrolled
    assert controlled.standard_error < plain.standard_error / 3
    assert abs(controlled.mean - plain.mean) < 4 * plain.standard_error


def test_a_long_queue_makes_room() -> None:
    """Random routing at high load starts within the levels kept and outgrows them."""
    rng = np.random.default_rng(6)
    sample = simulate_fleet(rng, 0.05, 1, 1, lanes=4800, horizon=40.0, warm_up=1.0)
    assert sample.uncontrolled.mean == pytest.approx(1 / 0.95, abs=0.02)
    assert sample.mean_response.mean == pytest.approx(1 / 0.95, rel=1e-9)


def test_the_same_generator_gives_the_same_run() -> None:
    one, two = (
        simulate_fleet(np.random.default_rng(7), 0.6, 2, 4, lanes=16, horizon=5, warm_up=1)
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.found, two.found)
    assert one.mean_response == two.mean_response


def test_rest_point_is_where_the_drift_vanishes() -> None:
    """The mean-field shares by a root finder."""

    def drift(x: np.ndarray) -> np.ndarray:
        ends = np.concatenate([[1.0], x, [0.0]])
        return 0.9 * (ends[:-2] ** 2 - ends[1:-1] ** 2) - (ends[1:-1] - ends[2:])

    solution = optimize.fsolve(drift, 0.9 ** np.arange(1, 13))
    assert solution.sum() / 0.9 == pytest.approx(best_of_d_found(0.9, 2).sum(), rel=1e-6)


@pytest.mark.parametrize("bad", [0, 1.5, math.nan, math.inf, -2])
def test_counts_are_refused(bad: float) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="choices must be an integer"):
        finite_fleet_mean(0.5, bad, 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be an integer of at least 2"):
        finite_fleet_mean(0.5, 2, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be an integer from 1 to 32767"):
        simulate_fleet(rng, 0.5, 1, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="choices must be an integer from 1 to 4"):
        simulate_fleet(rng, 0.5, bad, 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"lanes must be a multiple of {GROUPS}"):
        simulate_fleet(rng, 0.5, 2, 4, lanes=bad)  # type: ignore[arg-type]


def test_one_mean_service_after_the_warm_up_is_enough() -> None:
    sample = simulate_fleet(
        np.random.default_rng(3), 0.5, 2, 4, lanes=GROUPS, horizon=3.0, warm_up=2.0
    )
    assert sample.found.shape[0] == GROUPS
    assert math.isfinite(sample.mean_response.mean)


def test_times_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="servers must be an integer from 1 to 32767"):
        simulate_fleet(rng, 0.5, 1, 32_768)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="warm_up must be non-negative"):
            simulate_fleet(rng, 0.5, 2, 4, warm_up=bad)
    for bad in (40.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="horizon must be at least warm_up"):
            simulate_fleet(rng, 0.5, 2, 4, warm_up=40.0, horizon=bad)


def test_slider_says_the_numbers_of_the_page() -> None:
    told = slider_mean_and_p99()
    loads, choices = (np.asarray(control["values"]) for control in told["controls"])
    p99, mean = (np.asarray(curve["values"]) for curve in told["curves"])
    here, page = (loads == 0.9) & (loads > 0), example()
    assert mean[here, choices == 2].item() == pytest.approx(page.two_choices_at_90)
    assert mean[here, choices == 3].item() == pytest.approx(page.three_choices_at_90)
    assert p99[here, choices == 2].item() == pytest.approx(page.two_choices_p99)
    assert mean[:, choices == 1].ravel() == pytest.approx(1 / (1 - loads), rel=1e-9)
    assert p99[:, choices == 1].ravel() == pytest.approx(math.log(100) / (1 - loads), rel=1e-6)
