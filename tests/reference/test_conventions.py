"""Readings of one term: limits, identities, orders that always hold, and every refusal."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.variability import gamma_arrivals_wait
from serving_mathematics.reference.conventions import (
    SLOTS,
    Availability,
    MeanPace,
    _any_inside,
    _written,
    availability,
    bucket_quantile,
    example,
    gap_scv,
    mean_pace,
    model_flops_utilization,
    rate_at_objective,
)

streams = st.lists(
    st.lists(st.floats(0, 10), min_size=2, max_size=20).map(lambda steps: np.cumsum(steps)),
    min_size=1,
    max_size=8,
)
positive = st.floats(0.01, 100)


@given(streams)
def test_both_means_lie_between_the_extreme_gaps(drawn: list[Any]) -> None:
    pace = mean_pace(drawn)
    gaps = np.concatenate([np.diff(stream) for stream in drawn])
    for mean in (pace.tpot_s, pace.itl_s):
        assert gaps.min() - 1e-9 <= mean <= gaps.max() + 1e-9
    assert pace.itl_s == pytest.approx(gaps.sum() / gaps.size)


@given(streams)
def test_every_stream_twice_changes_nothing(drawn: list[Any]) -> None:
    assert asdict(mean_pace(drawn * 2)) == pytest.approx(asdict(mean_pace(drawn)))


def test_means_of_one_stream_agree() -> None:
    assert mean_pace([[0.0, 1.0, 5.0]]) == MeanPace(tpot_s=2.5, itl_s=2.5)
    streams: Any = ([0.0, 1.0, 5.0] for _ in range(2))  # which can be looked at once
    assert mean_pace(streams) == MeanPace(tpot_s=2.5, itl_s=2.5)


@pytest.mark.parametrize(
    "bad", [[], [[1.0]], [[]], [[1.0, 0.5]], [[0.0, math.inf]], [[0.0, math.nan]], [[[0.0, 1.0]]]]
)
def test_streams_without_gaps_or_order_are_refused(bad: list[Any]) -> None:
    with pytest.raises(ValueError, match="streams_s must be"):
        mean_pace(bad)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(lambda c: sum(c) > 0),
    st.floats(0, 1),
)
def test_bucket_quantile_lies_within_the_bucket_of_its_rank(counts: list[int], q: float) -> None:
    bounds = np.cumsum(np.arange(1.0, len(counts) + 1))
    got = bucket_quantile(bounds, counts, q)
    below = np.cumsum(counts)
    bucket = int(np.argmax(below >= q * below[-1]))
    assert (bounds[bucket - 1] if bucket else 0.0) <= got <= bounds[bucket] + 1e-9


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_bucket_quantile_rises_and_ends_at_the_bounds(counts: list[int]) -> None:
    bounds = np.arange(1.0, len(counts) + 1)
    got = [bucket_quantile(bounds, counts, q) for q in np.linspace(0, 1, 21)]
    assert np.all(np.diff(got) >= -1e-12)
    assert got[0] == 0.0
    assert got[-1] == bounds[-1]


def test_bucket_quantile_is_exact_for_even_values_and_flat_beyond_the_last_bound() -> None:
    values = np.arange(1, 1001) / 10  # evenly spread up to 100
    bounds = np.array([20.0, 50.0, 100.0])
    counts = np.bincount(np.searchsorted(bounds, values))
    for q in (0.1, 0.5, 0.95):
        assert bucket_quantile(bounds, counts, q) == pytest.approx(100 * q)
    assert bucket_quantile([10.0, math.inf], [1, 9], 0.99) == 10.0
    assert bucket_quantile([10.0, 20.0], [0, 9], 0.0) == 0.0  # no value is below the first bound
    assert bucket_quantile([math.inf], [3], 0.5) == 0.0
    assert bucket_quantile([10.0, 20.0, 30.0], [0, 4, 0], 0.5) == 15.0


@given(positive)
def test_readings_convert_into_each_other(value: float) -> None:
    assert gap_scv(value, "shape") * value == pytest.approx(1)
    assert gap_scv(value, "variation") == pytest.approx(gap_scv(1 / value, "shape") ** 2)
    assert gap_scv(value, "dispersion") == value
    deviation = math.sqrt(value)
    back = gap_scv((deviation - 1) / (deviation + 1), "goh-barabasi")
    assert back == pytest.approx(value)


@given(st.floats(0.05, 0.95))
def test_below_one_a_shape_is_burstier_than_poisson_and_the_others_are_not(value: float) -> None:
    wait = {how: gamma_arrivals_wait(0.8, gap_scv(value, how)) for how in ("shape", "variation")}
    assert wait["variation"] < 4 < wait["shape"]
    assert gap_scv(value, "goh-barabasi") > 1 > gap_scv(value, "dispersion")


@pytest.mark.parametrize(
    ("value", "reading"),
    [
        (math.nan, "variation"),
        (-0.1, "dispersion"),
        (math.inf, "variation"),
        (1.0, "goh-barabasi"),
        (-1.1, "goh-barabasi"),
    ],
)
def test_burstiness_outside_its_scale_is_refused(value: float, reading: Any) -> None:
    with pytest.raises(ValueError, match="burstiness must be"):
        gap_scv(value, reading)


def test_ends_of_the_scales() -> None:
    assert gap_scv(0.0, "variation") == gap_scv(0.0, "dispersion") == 0.0
    assert gap_scv(-1.0, "goh-barabasi") == 0.0


@given(positive, positive, positive)
def test_mfu_is_linear_in_the_rate_and_inverse_in_the_peak(x: float, n: float, p: float) -> None:
    once = model_flops_utilization(x, n, p)
    assert model_flops_utilization(3 * x, n, p) == pytest.approx(3 * once)
    assert model_flops_utilization(x, n, 2 * p) == pytest.approx(once / 2)
    assert once == pytest.approx(2 * n * x / p)


def test_no_tokens_need_no_arithmetic() -> None:
    assert model_flops_utilization(0.0, 1.0, 1.0) == 0.0


def test_numbers_of_the_page_are_finite() -> None:
    assert all(math.isfinite(value) for value in vars(example()).values())


@given(st.floats(0.1, 1e3), st.floats(1e-3, 10), st.floats(0.01, 0.99))
def test_at_the_highest_rate_the_share_is_just_in_time(mu: float, tau: float, q: float) -> None:
    rate = rate_at_objective(mu, tau, q)
    assert 0 <= rate < mu
    late = math.exp(-(mu - rate) * tau)
    assert late <= 1 - q + 1e-9 or rate == 0
    if rate > 0:
        assert late == pytest.approx(1 - q, rel=1e-6)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=1, max_size=20))
def test_both_availabilities_are_shares_and_agree_on_equal_slices(
    drawn: list[tuple[int, int]],
) -> None:
    good, total = [min(pair) for pair in drawn], [max(pair) for pair in drawn]
    both = availability(good, total)
    assert isinstance(both, Availability)
    assert 0 <= both.of_requests <= 1
    assert 0 <= both.of_time <= 1
    equal = availability([1, 2, 3], [4, 4, 4])
    assert equal.of_requests == equal.of_time == 0.5


@pytest.mark.parametrize("load", [0.1, 0.9])
def test_the_gauge_counts_the_queue_too(load: float) -> None:
    """State after state, with two thousand that wait."""
    written = _written(np.arange(1.0, SLOTS + 1))
    leave = np.append(written, np.full(2000, written[-1]))
    states = np.cumprod(load * written[-1] / leave)
    assert 1 - _any_inside(load) == pytest.approx(1 / (1 + states.sum()), rel=1e-6)
