"""Bodies of requests: the official client's pass, and nothing that is not one gets through."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.engine.completion_schema import (
    MARKS,
    Chat,
    Completion,
    Envelope,
    Message,
    PlainText,
    RefusedRequest,
    StreamOptions,
    TextPart,
    Wishes,
    read_chat,
    read_completion,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({*Completion.model_fields, *Chat.model_fields})


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_is_read_or_refused(body: dict[str, Any]) -> None:
    for read in (read_completion, read_chat):
        told = ""
        try:
            asked, question = read(json.dumps(body).encode())
        except RefusedRequest as problem:
            told = str(problem)
        if told:
            assert ": " in told
        else:
            assert isinstance(asked, Wishes)
            assert question.max_tokens is None or question.max_tokens >= 1


@given(st.binary())
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    with contextlib.suppress(ValueError):  # hypothesis may find one that is
        json.loads(body)
        return
    with pytest.raises(RefusedRequest):
        read_completion(body)


def test_fields_reach_the_engine() -> None:
    asked, question = read_chat(
        b'{"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],'
        b' "max_tokens": 5, "max_completion_tokens": 5, "seed": 3, "top_p": 0.5, "stop": "x",'
        b' "temperature": 0, "ignore_eos": true, "stream": true,'
        b' "stream_options": {"include_usage": true}}'
    )
    assert question.prompt == tuple(
        Message(role=role, content=content).told()  # type: ignore[arg-type]
        for role, content in (("system", "a"), ("user", "b"))
    )
    assert (question.max_tokens, question.seed, question.top_p) == (5, 3, 0.5)
    assert (question.stop, question.temperature, question.ignore_end) == (("x",), 0.0, True)
    assert asked.stream
    assert asked.stream_options == StreamOptions(include_usage=True)
    assert read_chat(b'{"messages": [{"role": "user", "content": ""}]}')[1].max_tokens is None
    parts = [TextPart(type="text", text=text).model_dump() for text in ("a", "b")]
    body = json.dumps({"messages": [{"role": "user", "content": parts}]}).encode()
    assert read_chat(body)[1].prompt == ({"role": "user", "content": "ab"},)
    image = b'{"messages": [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]}'
    with pytest.raises(RefusedRequest, match=r"messages\.0\.content"):
        read_chat(image)


@pytest.mark.parametrize("name", ["prompt", "temperature", "stop"])
def test_a_name_that_stands_there_twice_is_refused(name: str) -> None:
    """Python's parsers take the last, others the first."""
    body = json.dumps({"prompt": "a", "temperature": 0, "stop": "b"})
    twice = body.replace(
        "{", f'{{"{name}": "c", ' if name != "temperature" else '{"temperature": 1, '
    )
    with pytest.raises(RefusedRequest, match=f"body: '{name}' must be given once, got it twice"):
        read_completion(twice.encode())
    with pytest.raises(RefusedRequest, match="'content' must be given once"):
        read_chat(b'{"messages": [{"role": "user", "content": "a", "content": "b"}]}')


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("prompt", ["a"], r"prompt\.list\.0: Input should be a valid integer"),
        ("prompt", [-1], r"prompt\.list\.0: Input should be greater than or equal to 0"),
        ("prompt", [], r"prompt\.list: List should have at least 1 item"),
        ("prompt", "", r"prompt\.text: String should have at least 1 character"),
        ("stop", [""], r"stop\.list\.0: String should have at least 1 character"),
        ("stop", ["a"] * 5, r"stop\.list: List should have at most 4 items"),
    ],
)
def test_a_text_or_a_list_is_refused_for_what_it_is(field: str, value: Any, reason: str) -> None:
    """They said that a list of five stops should be a text, which it need not be."""
    with pytest.raises(RefusedRequest, match=reason):
        read_completion(json.dumps({"prompt": "a", field: value}).encode())


@pytest.mark.parametrize("mark", MARKS)
def test_nobody_says_the_next_message_too(mark: str) -> None:
    """Also where the mark is in two parts of a content."""
    for content in (mark, [{"type": "text", "text": text} for text in (mark[:4], mark[4:])]):
        body = {"messages": [{"role": "user", "content": content}]}
        with pytest.raises(RefusedRequest, match=re.escape(f"must be without {mark}")):
            read_chat(json.dumps(body).encode())


def test_an_answer_is_plain_text() -> None:
    read = read_completion(b'{"prompt": "a", "response_format": {"type": "text"}}')[0]
    assert read.response_format == PlainText(type="text")


@given(st.sampled_from(["n", "logprobs", "tools", "logit_bias", "store", "response_format"]))
def test_null_asks_for_nothing(name: str) -> None:
    plain = read_completion(b'{"prompt": "a"}')[1]
    assert read_completion(json.dumps({"prompt": "a", name: None}).encode())[1] == plain


def test_answers_are_what_the_official_client_reads() -> None:
    from openai.types import Completion as ClientCompletion  # which takes long, and only here
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    chat, text = (Envelope(chat=kind, number="7", created=1) for kind in (True, False))
    whole = ChatCompletion.model_validate(chat.whole("Hi", "stop", 3, 1), strict=True)
    assert whole.choices[0].message.content == "Hi"
    assert whole.usage
    assert whole.usage.total_tokens == 4
    chunk = ChatCompletionChunk.model_validate(chat.part("H", "", first=True), strict=True)
    assert (chunk.choices[0].delta.role, chunk.choices[0].finish_reason) == ("assistant", None)
    last = ChatCompletionChunk.model_validate(chat.usage(3, 1), strict=True)
    assert last.usage
    assert (last.choices, last.usage.completion_tokens) == ([], 1)
    plain = ClientCompletion.model_validate(text.whole("Hi", "length", 3, 1), strict=True)
    assert (plain.choices[0].text, plain.choices[0].finish_reason) == ("Hi", "length")
