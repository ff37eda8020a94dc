"""Response by size: scipy integrals, limits, orders between policies, refusals; exercises."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.optimization.disaggregation import pipeline_ttft_s, tensor_ttft_s
from serving_mathematics.optimization.exercises.hardware_scheduling import (
    best_threshold,
    cheapest_device,
    multifit,
    pipeline_overtakes,
)
from serving_mathematics.optimization.hardware_scheduling import (
    EXPONENTIAL,
    UNEVEN,
    Sizes,
    mean_response,
    predicted_sjf_mean,
    response_by_size,
)
from serving_mathematics.optimization.slice_packing import first_fit

from ..profiles import costly

MIXTURES = (EXPONENTIAL, UNEVEN, Sizes((0.5, 0.3, 0.2), (0.2, 1.0, 4.0)))


@pytest.mark.parametrize("sizes", MIXTURES)
def test_moments_and_tails_are_those_of_the_density(sizes: Sizes) -> None:
    for x in (0.1, 1.0, 7.0):
        for order in (1, 2):
            expected = integrate.quad(lambda t: t**order * sizes.density(np.array(t)), 0, x)[0]  # noqa: B023
            got = float(sizes.moment_below(np.array(x), order))
            assert got == pytest.approx(expected, rel=1e-7)
        above = integrate.quad(lambda t: float(sizes.density(np.array(t))), x, np.inf)[0]
        assert float(sizes.above(np.array(x))) == pytest.approx(above, rel=1e-6)
    for order in (1, 2):
        limit = float(sizes.moment_below(np.array(1e4), order))
        assert sizes.moment(order) == pytest.approx(limit, rel=1e-12)


def test_drawn_sizes_are_the_mixture() -> None:
    drawn = UNEVEN.draw(np.random.default_rng(1), 40_000)
    assert drawn.shape == (40_000,)
    assert stats.kstest(UNEVEN.above(drawn), "uniform").pvalue > 0.001


def test_the_grid_holds_the_sizes() -> None:
    for sizes in MIXTURES:
        x = sizes.log_grid()
        assert np.allclose(np.diff(np.log(x)), 0.01)
        assert 0.01 * np.sum(sizes.density(x) * x**2) == pytest.approx(sizes.moment(1), rel=1e-9)


@pytest.mark.parametrize("sizes", MIXTURES)
@pytest.mark.parametrize("load", [0.3, 0.9])
def test_shortest_remaining_against_scipy(sizes: Sizes, load: float) -> None:
    rate = load / sizes.moment(1)

    def room(t: float) -> float:
        return 1 - rate * float(sizes.moment_below(np.array(t), 1))

    for x in (0.05, 1.0, 10.0):
        residence = integrate.quad(lambda t: 1 / room(t), 0, x, limit=200)[0]
        tail = float(sizes.above(np.array(x)))
        ahead = integrate.quad(lambda t: t * float(sizes.above(np.array(t))), 0, x)[0]
        # E[S²; S ≤ x] + x²P(S > x) = 2∫₀ˣ t P(S > t) dt
        expected = residence + rate * ahead / room(x) ** 2
        got = float(response_by_size("srpt", x, rate, sizes))
        assert tail > 0
        assert got == pytest.approx(expected, rel=1e-6)


@costly
@given(
    st.floats(0.05, 0.95),
    st.floats(0.01, 20),
    st.floats(0.05, 0.95),
    st.floats(0.05, 1.0),
    st.floats(1.0, 20.0),
)
def test_order_between_policies(
    load: float, x: float, share: float, short: float, long: float
) -> None:
    sizes = Sizes((share, 1 - share), (short, long))
    rate = load / sizes.moment(1)
    fcfs, sjf, srpt = (
        float(response_by_size(policy, x, rate, sizes)) for policy in ("fcfs", "sjf", "srpt")
    )
    assert x <= srpt
    # ρ(x) ≤ ρ, so shortest first multiplies the wait by (1 − ρ)/(1 − ρ(x))², at most 1/(1 − ρ)
    assert (1 - load) * (fcfs - x) <= (sjf - x) * (1 + 1e-9)
    assert (sjf - x) * (1 - load) <= (fcfs - x) * (1 + 1e-9)
    mean = [mean_response(policy, rate, sizes) for policy in ("srpt", "sjf", "fcfs")]
    assert mean[0] <= mean[1] * (1 + 1e-6) <= mean[2] * (1 + 2e-6)


def test_limits_of_small_load_and_small_sizes() -> None:
    for policy in ("fcfs", "sjf", "srpt"):
        assert response_by_size(policy, [0.5, 3.0], 0.0, UNEVEN) == pytest.approx([0.5, 3.0])
    tiny = 1e-6
    assert float(response_by_size("srpt", tiny, 0.9, EXPONENTIAL)) == pytest.approx(tiny, rel=1e-4)
    wait = float(response_by_size("sjf", tiny, 0.9, EXPONENTIAL)) - tiny
    assert wait == pytest.approx(0.9, rel=1e-4)  # the residual of what is in service
    assert response_by_size("sjf", np.ones((2, 3)), 0.5, UNEVEN).shape == (2, 3)


def test_heavy_traffic_gains_grow_as_the_published_order_says() -> None:
    """1/((1 − ρ) ln(e/(1 − ρ))) for M/M/1, Bansal (2005)."""
    scaled = [
        mean_response("srpt", load, EXPONENTIAL) * (1 - load) * math.log(math.e / (1 - load))
        for load in (0.9, 0.99, 0.999)
    ]
    assert min(scaled) > 0.5
    assert max(scaled) < 2


@pytest.mark.parametrize("error", [0.3, 1.0])
def test_predictions_against_scipy(error: float) -> None:
    rate = 0.8

    def load_below(y: float) -> float:
        def work(x: float) -> float:
            return x * math.exp(-x) * stats.norm.cdf(math.log(y / x) / error)

        return rate * integrate.quad(work, 1e-9, 50)[0]

    logs = np.linspace(-9, 6, 101)
    room = np.array([1 - load_below(math.exp(log)) for log in logs])
    nodes = np.linspace(-8, 8, 161)

    def density(log: float) -> float:
        x = np.exp(log - error * nodes)
        return float(np.sum(x * np.exp(-x) * stats.norm.pdf(nodes)) * (nodes[1] - nodes[0]))

    step = logs[1] - logs[0]
    expected = 1 + rate * step * sum(density(log) / r**2 for log, r in zip(logs, room, strict=True))
    assert predicted_sjf_mean(rate, EXPONENTIAL, error) == pytest.approx(expected, rel=2e-4)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Sizes((), ()), "shares must be non-empty"),
    (lambda: Sizes((1.0,), (0.0,)), "means must be non-empty, positive"),
    (lambda: Sizes((0.5, 0.6), (1.0, 1.0)), "shares must be numbers that sum"),
    (lambda: Sizes((1.0,), (1.0, 2.0)), "means must be as many as the 1 shares"),
    (lambda: response_by_size("ps", 1.0, 0.5, UNEVEN), "policy must be fcfs, sjf or srpt"),
    (lambda: response_by_size("sjf", [], 0.5, UNEVEN), "size_s must be positive"),
    (lambda: response_by_size("sjf", math.nan, 0.5, UNEVEN), "size_s must be positive"),
    (lambda: response_by_size("sjf", 1.0, -0.1, UNEVEN), "arrival_rate must be non-negative"),
    (lambda: mean_response("srpt", math.nan, UNEVEN), "arrival_rate must be non-negative"),
    (lambda: mean_response("fcfs", 1.0, UNEVEN), "arrival_rate must be in"),
    (lambda: predicted_sjf_mean(1.0, UNEVEN, 0.5), "arrival_rate must be in"),
    (lambda: predicted_sjf_mean(0.5, UNEVEN, math.nan), r"log_error must be in \[0, 20\]"),
    (lambda: predicted_sjf_mean(0.5, UNEVEN, 21.0), r"log_error must be in \[0, 20\]"),
    (lambda: cheapest_device(-1.0, 1.0, {"a": (1, 1, 1)}), "flops must be non-negative"),
    (lambda: cheapest_device(1.0, math.inf, {"a": (1, 1, 1)}), "bytes_moved must be"),
    (lambda: cheapest_device(0.0, 0.0, {"a": (1, 1, 1)}), "flops must be positive where"),
    (lambda: cheapest_device(1.0, 1.0, {}), "devices must be at least one"),
    (lambda: cheapest_device(1.0, 1.0, {"a": (1, 0, 1)}), "devices must be positive and finite"),
    (lambda: pipeline_overtakes(0.0, 1.5), "prefill_s must be positive"),
    (lambda: pipeline_overtakes(0.1, 1.0), r"speedup must be in \(1, 2\)"),
    (lambda: best_threshold(0.0), r"utilization must be in \(0, 1\)"),
    (lambda: multifit([], 2), "durations must be at least one"),
    (lambda: multifit([0], 2), "durations must be positive integers"),
    (lambda: multifit([1], 0), "devices must be a positive integer"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_cheapest_device_follows_the_roofline() -> None:
    devices = {"arithmetic": (10.0, 1.0, 1.0), "memory": (1.0, 10.0, 1.0)}
    for flops, moved, among, name, cost in (
        (3600.0, 0.0, devices, "arithmetic", 0.1),
        (0.0, 3600.0, devices, "memory", 0.1),
        (3600.0, 36.0, devices, "arithmetic", 0.1),
        (3600.0, 3600.0, devices | {"cheap": (1.0, 1.0, 0.01)}, "cheap", 0.01),
    ):
        best, price = cheapest_device(flops, moved, among)
        assert best == name
        assert price == pytest.approx(cost)


@pytest.mark.parametrize("speedup", [1.05, 1.5, 1.95])
def test_the_pipeline_overtakes_once(speedup: float) -> None:
    rate = pipeline_overtakes(1.0, speedup)
    assert pipeline_ttft_s(rate, 1.0) == pytest.approx(tensor_ttft_s(rate, 1.0, speedup), rel=1e-9)
    assert pipeline_overtakes(0.5, speedup) == pytest.approx(2 * rate)


def test_best_threshold_beats_its_neighbours() -> None:
    for load in (0.2, 0.6, 0.95):
        t, mean = best_threshold(load)
        for other in (t - 0.1, t + 0.1):
            below = load * integrate.quad(lambda x: x * math.exp(-x), 0, other)[0]
            long = math.exp(-other)
            wait = load / (1 - below) * ((1 - long) + long / (1 - load))
            assert mean < 1 + wait


@given(st.lists(st.integers(1, 12), min_size=1, max_size=7), st.integers(1, 3))
def test_multifit_meets_its_deadline_within_the_bound(jobs: list[int], devices: int) -> None:
    deadline = multifit(jobs, devices)
    assert len(first_fit(jobs, deadline)) <= devices
    best = min(
        max(
            sum(job for job, place in zip(jobs, places, strict=True) if place == d)
            for d in range(devices)
        )
        for places in itertools.product(range(devices), repeat=len(jobs))
    )
    assert best <= deadline <= 13 / 11 * best + 1e-9


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 4))
def test_multifit_cannot_be_a_unit_earlier(jobs: list[int], devices: int) -> None:
    deadline = multifit(jobs, devices)
    floor = max(max(jobs), -(-sum(jobs) // devices))
    assert deadline == floor or len(first_fit(jobs, deadline - 1)) > devices
