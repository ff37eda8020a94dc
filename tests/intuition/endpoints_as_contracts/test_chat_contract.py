"""Chat contracts: their order, the gate, versions, and the file beside a model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import (
    CHAT,
    ChatContract,
    answer_changes,
    chat_violations,
    may_go_out,
    next_version,
    read_contract,
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
        assert old.finish_reasons == new.finish_reasons
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
        "events.reasoning_content: no longer given",
        "events.usage: no longer given",
    ]


@given(CONTRACTS, CONTRACTS)
def test_the_version_is_that_of_the_order(old: ChatContract, new: ChatContract) -> None:
    there, back = chat_violations(old, new), chat_violations(new, old)
    got = next_version("3.7.9", old, new)
    assert got == ("4.0.0" if there else "3.8.0" if back else "3.7.10")
    if got == "3.8.0":  # an addition is a breaking change on the way back
        assert next_version(got, new, old) == "4.0.0"


@pytest.mark.parametrize(
    "version", ["", "1", "1.2", "1.2.3.4", "1.02.3", "0.9.0", "1.-1.0", "1.a.0"]
)
def test_improper_versions(version: str) -> None:
    with pytest.raises(ValueError, match="version must be"):
        next_version(version, CHAT, CHAT)
    assert next_version("1.0.0", CHAT, CHAT) == "1.0.1"


@given(CONTRACTS)
def test_a_contract_is_read_as_it_was_written(contract: ChatContract) -> None:
    text = json.dumps(asdict(contract), default=sorted)
    assert read_contract(text) == contract


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"more": 1}, "text must be"),
        ({"parameters": "tools"}, "parameters must be a list of strings"),
        ({"event_fields": [1]}, "event_fields must be a list of strings"),
        ({"answers": []}, "answers must be an object"),
        ({"context_tokens": 0}, "context_tokens must be"),
        ({"finish_reasons": []}, "finish_reasons must be"),
    ],
)
def test_files_that_are_no_contract(change: dict[str, object], rule: str) -> None:
    given_fields = json.loads(json.dumps(asdict(CHAT), default=sorted)) | change
    with pytest.raises(ValueError, match=rule):
        read_contract(json.dumps(given_fields))
    with pytest.raises(ValueError, match="Expecting value"):
        read_contract("")
