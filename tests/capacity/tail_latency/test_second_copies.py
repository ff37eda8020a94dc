"""Engines with second copies: nobody is lost, orders, limits, a rival simulator, and the errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.tail_latency.second_copies import Copies, serve_copies
from serving_mathematics.core.batching.continuous_batching import Engine, Workload

ENGINE = Engine(step_s=0.5, decode_token_s=0.01, token_budget=16, max_sequences=4)


def asked(seed: int, count: int = 60, rate: float = 0.6) -> Workload:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1 / rate, count))
    return Workload(arrivals, rng.integers(1, 60, count), rng.integers(1, 6, count))


@given(
    st.integers(0, 50),
    st.sampled_from(["arrival", "shortest"]),
    st.sampled_from([4.0, 10.0, float("inf")]),
    st.sampled_from([0.0, 1.0, 5.0, float("inf")]),
    st.booleans(),
)
def test_everybody_is_answered_and_cause_comes_first(
    seed: int, order: Any, most: float, after: float, runs_on: bool
) -> None:
    load = asked(seed)
    got = serve_copies(
        load, ENGINE, 3, order=order, most_tokens=most, after_s=after, runs_on=runs_on
    )
    assert isinstance(got, Copies)
    assert np.all(np.isfinite(got.completion_s))
    assert np.all(got.read_s >= load.arrival_s)
    assert np.all(got.first_token_s > got.read_s)
    assert np.all(got.completion_s >= got.first_token_s)
    assert np.all(got.sent | ~got.won)
    assert np.all((got.completion_s > got.first_token_s) | (load.output_tokens == 1))
    took = got.first_token_s - load.arrival_s
    assert np.all(got.sent[took > after + 1e-9])
    assert not np.any(got.sent[took < after - 1e-9])


def test_a_cancelled_copy_is_no_longer_counted() -> None:
    """The first engine stands still with a cancelled copy, so it has none when the third request
    comes, and gets it although it begins no step."""
    load = Workload([0.0, 0.0, 2.6], [8, 8, 8], [1, 1, 1])
    got = serve_copies(load, ENGINE, 2, after_s=1.0, pauses=[(0, 0.0, 9.0)])
    assert got.won.tolist() == [True, False, True]
    assert got.sent.tolist() == [True, False, True]


def test_a_limit_leaves_room_for_others() -> None:
    load = Workload([0.0, 0.1], [64, 4], [1, 1])
    whole = serve_copies(load, ENGINE, 1)
    limited = serve_copies(load, ENGINE, 1, most_tokens=12)
    assert whole.first_token_s.tolist() == pytest.approx([2.0, 2.5])
    assert limited.first_token_s.tolist() == pytest.approx([3.0, 1.0])


def test_a_budget_is_kept_and_a_late_copy_is_none() -> None:
    load = asked(7, 400, rate=3.0)
    free = serve_copies(load, ENGINE, 2, after_s=1.0, runs_on=True)
    few = serve_copies(load, ENGINE, 2, after_s=1.0, runs_on=True, budget=0.05)
    assert free.sent.mean() > 0.5
    assert few.sent.sum() <= 0.05 * 400
    never = serve_copies(load, ENGINE, 2, after_s=1e9)
    assert not never.sent.any()
    alone = serve_copies(load, ENGINE, 2)
    assert never.first_token_s == pytest.approx(alone.first_token_s)


def test_an_engine_that_stands_still_begins_no_step() -> None:
    load = Workload([0.0, 1.2], [4, 4], [3, 1])
    got = serve_copies(load, ENGINE, 1, pauses=[(0, 1.0, 3.0)])
    assert got.first_token_s.tolist() == pytest.approx([0.5, 3.51])
    assert got.completion_s[0] == pytest.approx(3.51)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"order": "longest"}, "order must be arrival or shortest"),
        ({"most_tokens": float("nan")}, "most_tokens must be at least 1"),
        ({"after_s": -1.0}, "after_s must be non-negative"),
        ({"counted": "work"}, "counted must be requests or tokens"),
        ({"budget": float("nan")}, "budget must be positive"),
        ({"homes": [0, 1]}, "homes must be of shape"),
        ({"homes": [0.5, 1, 1]}, "homes must be engines"),
        ({"pauses": [(2, 0.0, 1.0)]}, "pauses must be engines"),
        ({"pauses": [(0, 2.0, 1.0)]}, r"pauses must be \(engine, begin, end\) in order"),
    ],
)
def test_refusals(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        serve_copies(asked(1, 3), ENGINE, 2, **given)
