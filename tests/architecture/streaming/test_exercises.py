"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import json
import math
from typing import Any

import h11
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.exercises import (
    Waste,
    longest_chunk,
    tpot_of_bundles,
    unread_tokens,
    wire_bytes,
)
from serving_mathematics.architecture.streaming.streaming import (
    stream_metrics,
)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=2, max_size=20))
def test_single_tokens_are_their_own_bundles(events: list[tuple[float, int]]) -> None:
    times = np.cumsum([gap for gap, _ in events])
    per_event, per_token = tpot_of_bundles(times, [1] * len(events))
    assert per_event == per_token == pytest.approx(stream_metrics(times).tpot_s, abs=1e-9)
    per_event, per_token = tpot_of_bundles(times, [count for _, count in events])
    assert per_token <= per_event


def test_wire_bytes_are_those_that_the_http_library_sends() -> None:
    tokens = ["word", "", "Grüße", 'a "quoted"\n', "x" * 500]
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [type(connection.next_event()) for _ in range(2)] == [h11.Request, h11.EndOfMessage]
    sent = connection.send(h11.Response(status_code=200, headers=[]))
    assert b"chunked" in (sent or b"")
    body = 0
    for text in [*(json.dumps({"token": token}) for token in tokens), "[DONE]"]:
        body += len(connection.send(h11.Data(data=f"data: {text}\n\n".encode())) or b"")
    body += len(connection.send(h11.EndOfMessage()) or b"")
    assert wire_bytes(tokens) == body


@given(st.floats(0.001, 0.5), st.floats(0.002, 2), st.floats(100, 1e5))
def test_the_longest_chunk_is_the_longest(step: float, more: float, rate: float) -> None:
    if more * rate < 2:
        return
    chunk = longest_chunk(step + more, step, rate)
    assert step + chunk / rate <= (step + more) * (1 + 1e-9)
    assert step + (chunk + 1) / rate > (step + more) * (1 - 1e-9)


@given(st.floats(0, 2), st.floats(0, 0.1), st.integers(1, 200), st.floats(0, 3), st.floats(0, 2))
def test_waste_has_its_limits(
    ttft: float, tpot: float, tokens: int, rate: float, notice: float
) -> None:
    waste = unread_tokens(ttft, tpot, tokens, rate, notice)
    assert 0 <= waste.unread <= waste.generated <= tokens * (1 + 1e-12)
    assert unread_tokens(ttft, tpot, tokens, rate, 0.0).unread == pytest.approx(0, abs=1e-9)
    assert unread_tokens(ttft, tpot, tokens, rate, math.inf).generated == tokens
    assert isinstance(waste, Waste)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: tpot_of_bundles([0.1], [1]), "arrival_s"),
        (lambda: tpot_of_bundles([0.2, 0.1], [1, 1]), "arrival_s"),
        (lambda: tpot_of_bundles([0.1, 0.2], [1, 0]), "tokens"),
        (lambda: tpot_of_bundles([0.1, 0.2], [1, 1, 1]), "tokens"),
        (lambda: longest_chunk(0.1, -0.1, 9.0), "step_s"),
        (lambda: longest_chunk(math.nan, 0.1, 9.0), "longest_itl_s"),
        (lambda: longest_chunk(0.1, 0.1, 9.0), "longest_itl_s"),
        (lambda: longest_chunk(0.1, 0.0, 0.0), "prefill_per_s"),
        (lambda: unread_tokens(-0.1, 0.1, 5, 0.1, 1.0), "ttft_s"),
        (lambda: unread_tokens(0.1, math.inf, 5, 0.1, 1.0), "tpot_s"),
        (lambda: unread_tokens(0.1, 0.1, 0, 0.1, 1.0), "tokens"),
        (lambda: unread_tokens(0.1, 0.1, 5, math.nan, 1.0), "leave_rate"),
        (lambda: unread_tokens(0.1, 0.1, 5, 0.1, math.nan), "notice_s"),
    ],
)
def test_exercises_refuse_bad_input(call: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        call()
