"""Streams that are broken in every way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.event_streams import stream_errors


def chunk(delta: dict[str, object], finish: str | None = None, index: int = 0) -> str:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "1", "choices": [choice]})


def test_two_choices_end_each_for_itself() -> None:
    both = [chunk({}, "stop"), chunk({}, "length", index=1), "[DONE]"]
    assert stream_errors(both) == []
    assert stream_errors([*both[:1], chunk({"content": "x"}, index=1), "[DONE]"]) == [
        "choices.1: never ends"
    ]


def test_a_stream_of_nothing_is_an_error_and_lost_text_is_none() -> None:
    assert stream_errors(["[DONE]"]) == ["choices: none was opened"]
    whole = [chunk({"content": "Not "}), chunk({"content": "safe."}), chunk({}, "stop"), "[DONE]"]
    assert stream_errors(whole) == stream_errors(whole[1:]) == []


def test_broken_streams_name_their_event() -> None:
    end = chunk({}, "stop")
    assert stream_errors([end, chunk({"content": "x"}), "[DONE]"]) == [
        "events[1]: choice 0 had ended"
    ]
    other = json.dumps({"id": "2", "choices": [{"index": 0, "delta": {}}]})
    assert stream_errors([other, end, "[DONE]"]) == ["id: must be one, got 2"]
    usage = json.dumps({"id": "1", "choices": [], "usage": {}})
    assert stream_errors([usage, end, "[DONE]"]) == ["events[1]: comes after the usage"]
    nothing = json.dumps({"id": "1", "choices": []})
    assert stream_errors([end, nothing, "[DONE]"]) == ["events[1]: has neither choices nor usage"]


def test_nulls_are_parts_that_are_absent() -> None:
    """SGLang writes them into every chunk of text, and into a call whose arguments are to come."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": None}}
    events = [
        chunk({"role": None, "content": "2", "tool_calls": None}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [{"index": 0, "function": None}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
        chunk({"content": None, "tool_calls": None}, "tool_calls"),
        "[DONE]",
    ]
    assert stream_errors(events) == []
    assert stream_errors([*events[:3], *events[4:]]) == [
        "choices.0.tool_calls.0: arguments are no JSON"
    ]


@given(st.lists(st.text() | st.just("[DONE]") | st.just("{}"), max_size=5))
def test_no_stream_raises(events: list[str]) -> None:
    found = stream_errors(events)
    assert found == [] or all(isinstance(error, str) for error in found)
    assert found


@pytest.mark.parametrize(
    "event",
    [
        '{"id": "1", "choices": [{"index": [], "delta": {}}]}',
        '{"id": "1", "choices": [{"index": 0, "delta": {"tool_calls": 7}}]}',
        '{"id": [1], "choices": []}',
        '{"id": "1", "choices": 3}',
        '{"id": "1", "choices": [{"index": 1e999, "delta": {}}]}',
        "[" * 100_000,
        "null",
    ],
)
def test_hostile_events_are_no_chunks(event: str) -> None:
    assert stream_errors([event, "[DONE]"])[0] == "events[0]: is no chunk"
