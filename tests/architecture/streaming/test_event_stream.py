"""The parser against a second one, however the bytes are cut, and every malformed stream."""

from __future__ import annotations

import json
import re
from itertools import chain, pairwise

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.event_stream import (
    Event,
    EventStreamParser,
    StreamError,
    TokenReader,
    format_event,
)


def whole(stream: bytes) -> list[Event]:
    """The standard's rules over the whole stream at once, lines by a regular expression."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]
    events: list[Event] = []
    data, kind, last_id = "", "", ""
    for line in lines:
        if not line:
            if data:
                events.append(Event(data[:-1], kind or "message", last_id))
            data = kind = ""
            continue
        name, value = line.split(":", 1) if ":" in line else (line, "")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return events


line = st.one_of(
    st.sampled_from(
        [
            "",
            "",
            "data",
            "data:",
            "data: a",
            "data:b",
            "data:  c",
            "event: x",
            "event",
            "id: 1",
            "id",
            "id: 2\0",
            "retry: 5",
            ": hi",
            "odd: 1",
            "data : d",
            "Data: e",
            "data: ä世😀\u2028z",
        ]
    ),
    st.text(max_size=8).filter(lambda text: "\n" not in text and "\r" not in text),
)
stream = st.builds(
    lambda bom, lines: bom + "".join(text + end for text, end in lines).encode(),
    st.sampled_from([b"", "\ufeff".encode(), "\ufeff\ufeff".encode(), b"\xef\xbb", b"\xff"]),
    st.lists(
        st.tuples(line, st.sampled_from(["\n", "\r", "\r\n", "\n\n", "\r\n\r\n", ""])), max_size=15
    ),
)
cuts = st.lists(st.integers(0, 200), max_size=20)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    return [data[i:j] for i, j in pairwise([0, *sorted(at), max([*at, len(data)])])]


@given(stream, cuts)
@example(b"data: a\rdata: b\n\n", [8, 15])  # cut behind a CR, then before an LF of its own
def test_any_cut_gives_the_events_of_the_whole(data: bytes, at: list[int]) -> None:
    parser = EventStreamParser()
    assert [event for piece in pieces(data, at) for event in parser.feed(piece)] == whole(data)


@given(st.text().filter(lambda text: "\r" not in text), st.sampled_from(["", "x"]))
def test_what_is_formatted_is_parsed(data: str, kind: str) -> None:
    (event,) = EventStreamParser().feed(format_event(data, kind))
    assert event == Event(data, kind or "message")


broken = st.sampled_from(
    [
        b"data: {\n\n",
        b"data: [1]\n\n",
        b'data: {"token": 1}\n\n',
        b"event: error\ndata: x\n\n",
        b"data: [DONE]\n\n",
        b"data: [DONE]\n",
        b"",
        b"data: " + b"y" * 200,
    ]
)


@given(st.lists(st.text(max_size=5), max_size=5), broken, broken, cuts)
def test_errors_do_not_depend_on_cuts(
    tokens: list[str], first: bytes, second: bytes, at: list[int]
) -> None:
    """Whatever arrived before the error is delivered, and the error is the same."""
    data = b"".join(format_event(json.dumps({"token": token})) for token in tokens)
    data += first + second

    def read(parts: list[bytes]) -> tuple[list[str], str]:
        reader, got = TokenReader(longest=150), []
        try:
            for part in parts:
                for token in reader.feed(part):
                    got.append(token)
            reader.finish()
        except StreamError as error:
            return got, str(error)
        return got, ""

    got, error = read(pieces(data, at))
    assert (got, error) == read([data])
    assert got[: len(tokens)] == tokens
    assert bool(error) != (first + second == b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "endless",
    [
        b"data: " + b"x" * 60,
        b"x" * 60,
        b"data: " + b"x\ndata: " * 20,
        b"id: " + b"x" * 60,
        b": " * 30,
    ],
)
def test_an_event_is_bounded_however_it_comes(endless: bytes) -> None:
    for size in (1, 7, len(endless)):
        parser = EventStreamParser(longest=50)
        parts = (endless[i : i + size] for i in range(0, len(endless), size))
        with pytest.raises(StreamError, match="an event must have at most 50 characters"):
            list(chain.from_iterable(map(parser.feed, parts)))


def test_comments_and_events_in_number_are_not_bounded() -> None:
    parser = EventStreamParser(longest=20)
    for _ in range(100):
        assert list(parser.feed(b": keep alive\n")) == []
        assert [event.data for event in parser.feed(b"data: 0123456789\n\n")] == ["0123456789"]


def test_formatting_refuses_what_it_cannot_say() -> None:
    with pytest.raises(ValueError, match="data must be without carriage returns"):
        format_event("a\rb")
    for bad in ("a\nb", "a\r"):
        with pytest.raises(ValueError, match="event must be without line breaks"):
            format_event("a", bad)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the stream ended without [DONE] after 0 events"),
        (b'data: {"token": "a"}\n\n', "the stream ended without [DONE] after 1 events"),
        (b'data: {"token": "a"', "the stream ended without [DONE] after 0 events"),
        (b'data: {"token": "a"}\n\ndata: {"tok\n\n', "event 2 must be JSON, got '{\"tok'"),
        (b"data: null\n\n", "event 1 must be an object with a token, got 'null'"),
        (b'data: {"token": null}\n\n', "event 1 must be an object with a token"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "event 1 must be JSON"),
        (b"data: " + b"9" * 5000 + b"\n\n", "event 1 must be"),
        (b"data: [DONE]\n\ndata: [DONE]\n\n", "event 2 came after [DONE]: '[DONE]'"),
        (b"event: error\ndata: full\n\n", "event 1: the server failed: full"),
    ],
)
def test_malformed_streams_say_what_and_where(data: bytes, message: str) -> None:

    def read() -> None:
        reader = TokenReader()
        list(reader.feed(data))
        reader.finish()

    with pytest.raises(StreamError, match=re.escape(message)) as error:
        read()
    assert len(str(error.value)) < 300


def test_iter_lines_of_httpx_cuts_a_token() -> None:
    """The trap that the page warns of is there."""
    token = json.dumps({"token": "a\u2028b"}, ensure_ascii=False)
    response = httpx.Response(200, content=format_event(token))
    assert next(response.iter_lines()) == 'data: {"token": "a'
