"""What counts as a failure of a stream: every answer once, and rates within their bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.failure_budgets.stream_outcome import (
    Answer,
    outcome,
    stream_error_rate,
)

ANSWERS = st.builds(
    Answer,
    st.sampled_from([200, 400, 404, 429, 500, 503]),
    st.floats(0, 5),
    st.sampled_from(["", "stop", "length"]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(ANSWERS, max_size=20))
def test_the_rate_counts_each_once(answers: list[Answer]) -> None:
    counted = [outcome(a, 1.0) for a in answers if outcome(a, 1.0) != "not counted"]
    rate = stream_error_rate(answers, 1.0)
    assert rate * len(counted) == pytest.approx(counted.count("failed"))


@given(ANSWERS)
def test_a_later_limit_fails_no_more(answer: Answer) -> None:
    if outcome(answer, 2.0) == "failed":
        assert outcome(answer, 1.0) == "failed"


def test_status_200_may_be_a_failure() -> None:
    assert outcome(Answer(200, 0.3, ""), 1.0) == "failed"
    assert outcome(Answer(200, 1.5, "stop"), 1.0) == "failed"
    assert stream_error_rate([], 1.0) == 0


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_limits_that_are_none(bad: float) -> None:
    with pytest.raises(ValueError, match="ttft_limit_s must be"):
        outcome(Answer(200, 0.3, "stop"), bad)
    with pytest.raises(ValueError, match="ttft_limit_s must be"):
        stream_error_rate([], bad)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(100, "good"), (399, "good"), (400, "not counted"), (499, "not counted"), (500, "failed")],
)
def test_classes_of_status_end_where_http_says(status: int, expected: str) -> None:
    assert outcome(Answer(status, 0.3, "stop"), 1.0) == expected


def test_a_first_token_at_its_limit_is_in_time() -> None:
    assert outcome(Answer(200, 1.0, "stop"), 1.0) == "good"


@pytest.mark.parametrize(
    ("status", "ttft_s", "name"),
    [
        (99, 0.0, "status"),
        (600, 0.0, "status"),
        (200, -0.5, "ttft_s"),
        (200, math.inf, "ttft_s"),
        (200, [], "ttft_s"),
        ([], 0.0, "status"),
    ],
)
def test_what_no_log_holds(status: Any, ttft_s: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        Answer(status, ttft_s, "stop")
