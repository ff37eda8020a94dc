from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.report.evidence import (
    Run,
    Series,
    _inside_at,
    _rates_told,
    in_flight,
)

from .example_runs import clean


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), min_size=1, max_size=40))
def test_nobody_is_left_inside(pairs: list[tuple[float, float]]) -> None:
    sent = np.array([a for a, _ in pairs])
    stay = np.array([b for _, b in pairs])
    moments, inside = in_flight(sent, sent + stay)
    assert inside[-1] == 0
    assert (inside >= 0).all()
    assert (np.diff(moments) >= 0).all()


def test_inside_is_what_a_loop_counts() -> None:
    run = clean(count=300)
    sent, end = run.columns["sent_s"], run.columns["sent_s"] + run.columns["latency_s"]
    at = sent[::7]
    counted = [int(((sent < t) & (end > t)).sum()) for t in at.tolist()]
    assert _inside_at(run, at).tolist() == counted


def test_a_counter_that_fell_tells_nothing() -> None:
    series = Series(np.arange(3.0), {"preemptions": np.array([5.0, 2.0, 9.0])})
    assert np.isnan(series.grown("preemptions"))
    assert np.isnan(series.grown("drafts"))


def test_rates_are_by_hand() -> None:
    told = {"duration_s": 10.0, "completed": 40.0, "prompt_tokens": 100.0, "output_tokens": 5.0}
    rates = _rates_told(Run("", "", told=told))
    assert (rates["requests"], rates["prompt_tokens"], rates["output_tokens"]) == (4.0, 400.0, 20.0)
    assert np.isnan(_rates_told(Run("", ""))["requests"])


def test_requests_that_tell_no_tokens_have_as_many_as_the_others() -> None:
    some = {"latency_s": np.full(4, 2.0), "output_tokens": np.array([8.0, np.nan, 8.0, np.nan])}
    rates = _rates_told(Run("", "", some, {"duration_s": 2.0}))
    assert rates["output_tokens"] == 16.0
