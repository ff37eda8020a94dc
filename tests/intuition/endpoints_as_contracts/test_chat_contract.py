"""Chat contracts and streams: order, gate, and streams that are broken in every way."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import (
    CHAT,
    ChatContract,
    answer_changes,
    chat_violations,
    may_go_out,
    stream_errors,
)

NAMES = st.frozensets(st.sampled_from(["tools", "seed", "stop", "logprobs"]))
CONTRACTS = st.builds(
    ChatContract,
    NAMES,
    st.integers(1, 9),
    st.frozensets(st.sampled_from(["stop", "length", "tool_calls"]), min_size=1),
    st.frozensets(st.sampled_from(["usage", "id"])),
    st.dictionaries(st.sampled_from(["weights", "tokenizer"]), st.sampled_from(["a", "b"])),
)


@given(CONTRACTS, CONTRACTS, CONTRACTS)
def test_replacement_is_a_preorder_and_equal_schemas_at_most_differ_in_answers(
    one: ChatContract, two: ChatContract, three: ChatContract
) -> None:
    assert chat_violations(one, one) == []
    if not chat_violations(one, two) and not chat_violations(two, three):
        assert chat_violations(one, three) == []
    if not chat_violations(one, two) and not chat_violations(two, one):
        assert replace(one, answers={}) == replace(two, answers={})


@given(CONTRACTS, CONTRACTS)
def test_the_gate_deploys_only_what_changes_nothing_that_counts(
    old: ChatContract, new: ChatContract
) -> None:
    decision = may_go_out(old, new)
    assert (decision == "new path") == bool(chat_violations(old, new))
    if decision == "deploy":
        assert old.answers == new.answers
    if decision == "evaluate":
        assert answer_changes(old, new)


def test_every_violation_names_its_place() -> None:
    worse = ChatContract(
        frozenset({"tools"}), 10, CHAT.finish_reasons | {"content_filter"}, frozenset({"id"})
    )
    found = chat_violations(CHAT, worse)
    assert found == [
        "parameters.max_tokens: no longer accepted",
        "parameters.response_format: no longer accepted",
        "parameters.stream: no longer accepted",
        "parameters.stream_options: no longer accepted",
        "parameters.temperature: no longer accepted",
        "context_tokens: 131072 were accepted, only 10 are",
        "finish_reasons.content_filter: new, and no caller handles it",
        "events.model: no longer given",
        "events.usage: no longer given",
    ]


def chunk(delta: dict[str, object], finish: str | None = None, index: int = 0) -> str:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return json.dumps({"id": "1", "choices": [choice]})


def test_two_choices_end_each_for_itself() -> None:
    both = [chunk({}, "stop"), chunk({}, "length", index=1), "[DONE]"]
    assert stream_errors(both) == []
    assert stream_errors([*both[:1], chunk({"content": "x"}, index=1), "[DONE]"]) == [
        "choices.1: never ends"
    ]


def test_unequal_endpoints_may_replace_each_other() -> None:
    """So the relation is no partial order; the gate sends both ways to the evaluation."""
    for name in ("weights", "quantization", "kv_cache_dtype", "tool_parser", "engine"):
        new = replace(CHAT, answers=CHAT.answers | {name: "new"})
        assert chat_violations(CHAT, new) == chat_violations(new, CHAT) == []
        assert new != CHAT
        assert may_go_out(CHAT, new) == may_go_out(new, CHAT) == "evaluate"


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


@pytest.mark.parametrize("bad", [0, -1, 1.5])
def test_contexts_that_are_none(bad: float) -> None:
    with pytest.raises(ValueError, match="context_tokens must be a positive integer"):
        replace(CHAT, context_tokens=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finish_reasons must be at least one"):
        replace(CHAT, finish_reasons=frozenset())
