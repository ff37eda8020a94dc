"""Shares of traffic: limits, conservation, the stand-in for a trace, and every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.questions.traffic import (
    Traffic,
    TrafficClass,
    drawn_classes,
    mixed_traffic,
    share_of_traffic,
    shares_of_trace,
)


def test_poisson_share_is_slower_poisson() -> None:
    one = share_of_traffic(np.random.default_rng(3), Traffic(6.0), 1, 500)
    three = share_of_traffic(np.random.default_rng(3), Traffic(6.0), 3, 500)
    assert three.arrival_s == pytest.approx(3 * one.arrival_s)
    assert np.array_equal(one.prompt_tokens, three.prompt_tokens)


def test_regular_traffic_unsplit_is_regular() -> None:
    share = share_of_traffic(np.random.default_rng(3), Traffic(4.0, arrival_scv=0.0), 1, 10)
    assert np.diff(share.arrival_s) == pytest.approx(np.full(9, 0.25))


@pytest.mark.parametrize("scv", [0.0, 0.5, 1.0, 9.0])
@pytest.mark.parametrize("replicas", [1, 4, 1000])
def test_share_has_its_rate_and_lengths(scv: float, replicas: int) -> None:
    traffic = Traffic(10.0, scv, 300.0, 50.0)
    share = share_of_traffic(np.random.default_rng(1), traffic, replicas, 40_000)
    gap = replicas / 10.0
    error = gap * math.sqrt((1 + (scv - 1) / replicas) / 40_000)
    assert abs(share.arrival_s[-1] / 40_000 - gap) < 4 * error + 1e-9
    spread = np.diff(share.arrival_s).var() / gap**2
    assert spread == pytest.approx(1 + (scv - 1) / replicas, rel=0.15, abs=1e-9)
    assert share.prompt_tokens.mean() == pytest.approx(300, rel=0.03)
    assert share.output_tokens.mean() == pytest.approx(50, rel=0.03)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 400))
def test_shares_of_a_trace_are_apart(size: int, replicas: int, enough: int) -> None:
    asked = Workload(np.arange(size), np.arange(1, size + 1), np.ones(size))
    shares = shares_of_trace(np.random.default_rng(2), asked, replicas, enough)
    held = np.concatenate([share.prompt_tokens for share in shares])
    assert np.unique(held).size == held.size
    assert min(size, enough) <= held.size <= size
    assert len(shares) == 1 or held.size - shares[-1].prompt_tokens.size < enough
    assert all(np.all(np.diff(share.arrival_s) > 0) for share in shares)
    assert len(shares) <= replicas


def test_one_replica_gets_the_trace() -> None:
    asked = Workload(np.arange(200.0), np.full(200, 3), np.full(200, 4))
    (share,) = shares_of_trace(np.random.default_rng(0), asked, 1, 200)
    assert np.array_equal(share.arrival_s, asked.arrival_s)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.0,), "rate_per_s"),
        ((math.nan,), "rate_per_s"),
        ((1.0, -1.0), "arrival_scv"),
        ((1.0, math.inf), "arrival_scv"),
        ((1.0, 1.0, 0.5), "mean_prompt_tokens"),
        ((1.0, 1.0, 9.0, math.nan), "mean_output_tokens"),
    ],
)
def test_traffic_that_is_none(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=f"{words} must be"):
        Traffic(*values)


def test_classes_that_cannot_be() -> None:
    chat = TrafficClass("chat", 0.5)
    for match, make in (
        (r"share must be in \(0, 1\]", lambda: TrafficClass("chat", 0.0)),
        ("mean_output_tokens must be finite", lambda: TrafficClass("chat", 1.0, 1.0, 0.5)),
        ("classes must be classes whose shares are 1", lambda: mixed_traffic(1.0, (chat,))),
        ("classes must be one or more", lambda: mixed_traffic(1.0, ())),
        (
            "mean_prompt_tokens must be the mean of the classes, 1000, got 5",
            lambda: Traffic(1.0, 1.0, 5.0, classes=(chat, TrafficClass("other", 0.5))),
        ),
        (
            "which must be the classes of 5 requests",
            lambda: share_of_traffic(
                np.random.default_rng(1), mixed_traffic(1.0, (chat, chat)), 1, 5
            ),
        ),
    ):
        with pytest.raises(ValueError, match=match):
            make()
    assert drawn_classes(np.random.default_rng(0), Traffic(1.0), 9).tolist() == [0] * 9
