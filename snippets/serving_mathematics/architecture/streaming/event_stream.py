"""Server-sent events, read as they arrive: the standard's parser, and what makes a stream of tokens
malformed.

The result does not depend on where the network cuts the bytes: an event may arrive in one piece or
byte by byte, and a CRLF, a multi-byte character or the byte order mark may be cut in two. The
standard ignores what it does not know; a token stream must not, so `TokenReader` refuses data that
is not a token, an end without [DONE], and anything after it.

Assumes: a bound on the size of one event, which the standard does not have and a client needs.

Source: WHATWG HTML, sections 9.2.5 and 9.2.6 (parsing and interpreting an event stream); the
[DONE] message is that of the OpenAI API. Needs the standard library only.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from serving_mathematics.support import checks

DONE = "[DONE]"
EVENT_CHARACTERS = 1 << 20  # longest event by default, over all its lines


class StreamError(ValueError):
    """A stream that is malformed, or that says itself that it failed."""


@dataclass(frozen=True)
class Event:
    """One event: its data, its type and the last event id when it was dispatched."""

    data: str
    type: str = "message"
    last_id: str = ""


def format_event(data: str, event: str = "") -> bytes:
    """The bytes of one event; data of several lines becomes several fields.

    data: text without CR, because a line break of the data can only be LF. event: type, empty for
    “message”, without line breaks. Raises ValueError otherwise.

    >>> format_event('{"token": "Hi"}')
    b'data: {"token": "Hi"}\\n\\n'
    """
    if "\r" in data:
        raise ValueError(f"data must be without carriage returns, got {data!r}")
    if "\r" in event or "\n" in event:
        raise ValueError(f"event must be without line breaks, got {event!r}")
    lines = [f"event: {event}"] if event else []
    lines += [f"data: {line}" for line in data.split("\n")]
    return "\n".join([*lines, "", ""]).encode()


class EventStreamParser:
    """Bytes in, events out: `feed` yields the events that the bytes complete.

    longest: characters that an event may hold before it is refused with StreamError. `retry_ms`
    is the reconnection time that the server asked for, or None.

    >>> parser = EventStreamParser()
    >>> list(parser.feed(b"data: Hel")), [event.data for event in parser.feed(b"lo\\r\\n\\r\\n")]
    ([], ['Hello'])
    """

    def __init__(self, longest: int = EVENT_CHARACTERS) -> None:
        """A parser for one stream."""
        self.retry_ms: int | None = None
        self._longest = longest
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
        self._line: list[str] = []  # pieces of the line that has not ended
        self._data: list[str] = []
        self._size = 0  # characters held for the current event
        self._type = self._id = ""
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """The events that are complete with these bytes; to be exhausted before the next bytes."""
        text = self._decode(data)
        if self._after_cr and text:
            self._after_cr = False
            text = text.removeprefix("\n")  # the second half of a CRLF
        self._after_cr = self._after_cr or text.endswith("\r")
        *ended, rest = re.split("\r\n|\r|\n", text)
        for piece in ended:
            self._hold(piece)
            line, self._line = "".join(self._line), []
            if line:
                self._field(line)
            else:
                yield from self._dispatch()
        self._hold(rest)

    @property
    def unfinished(self) -> bool:
        """Whether data came whose event has not ended; the standard drops it."""
        return bool(self._data) or "".join(self._line).startswith("data")

    def _hold(self, piece: str) -> None:
        self._size += len(piece)
        if self._size > self._longest:
            raise StreamError(f"an event must have at most {self._longest} characters")
        self._line.append(piece)

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and re.fullmatch("[0-9]{1,15}", value):
            self.retry_ms = int(value)
        if name not in ("data", "event", "id"):
            self._size -= len(line)  # a comment or unknown field holds nothing

    def _dispatch(self) -> list[Event]:
        data, kind = self._data, self._type or "message"
        self._data, self._type, self._size = [], "", 0
        return [Event("\n".join(data), kind, self._id)] if data else []


class TokenReader:
    """Tokens out of a stream of events; StreamError says what is wrong and where.

    Each event is a JSON object {"token": text}, the last one is [DONE], and an event of type
    “error” carries the server's reason.

    >>> reader = TokenReader()
    >>> list(reader.feed(b'data: {"token": "Hi"}\\n\\ndata: [DONE]\\n\\n'))
    ['Hi']
    >>> reader.finish()
    """

    def __init__(self, longest: int = EVENT_CHARACTERS) -> None:
        """A reader for one stream; longest as for EventStreamParser."""
        self._parser = EventStreamParser(longest)
        self._events, self._done = 0, False

    def feed(self, data: bytes) -> Iterator[str]:
        """The tokens that are complete with these bytes; to be exhausted before the next bytes."""
        for event in self._parser.feed(data):
            yield from self._token(event)

    def finish(self) -> None:
        """To be called when the connection has ended."""
        if not self._done:
            raise StreamError(f"the stream ended without {DONE} after {self._events} events")
        if self._parser.unfinished:
            raise StreamError(f"the stream ended within an event that began after {DONE}")

    def _token(self, event: Event) -> list[str]:
        self._events += 1
        where, text = f"event {self._events}", event.data[:80]
        if event.type == "error":
            raise StreamError(f"{where}: the server failed: {text}")
        if self._done:
            raise StreamError(f"{where} came after {DONE}: {text!r}")
        if event.data == DONE:
            self._done = True
            return []
        try:
            value = json.loads(event.data)
        except (ValueError, RecursionError) as error:
            raise StreamError(f"{where} must be JSON, got {text!r} ({error})") from None
        if not isinstance(value, dict) or not isinstance(value.get("token"), str):
            raise StreamError(f"{where} must be an object with a token, got {text!r}")
        return [value["token"]]


def _events(stream: bytes) -> list[tuple[str, str]]:
    return [(event.data, event.last_id) for event in EventStreamParser().feed(stream)]


def check_standard_examples() -> None:
    """The standard's four example streams give the events that the standard lists.

    Source: WHATWG HTML, section 9.2.6: multi-line data; comment, ids and a leading space; empty
    data and an unfinished last event; an optional space.
    """
    checks.equal(
        "three data lines",
        _events(b"data: YHOO\ndata: +2\ndata: 10\n\n"),
        [("YHOO\n+2\n10", "")],
        kind="published",
    )
    checks.equal(
        "four blocks",
        _events(
            b": test stream\n\ndata: first event\nid: 1\n\n"
            b"data:second event\nid\n\ndata:  third event\n\n"
        ),
        [("first event", "1"), ("second event", ""), (" third event", "")],
        kind="published",
    )
    checks.equal(
        "two events, the last discarded",
        _events(b"data\n\ndata\ndata\n\ndata:\n"),
        [("", ""), ("\n", "")],
        kind="published",
    )
    checks.equal(
        "two identical events",
        _events(b"data:test\n\ndata: test\n\n"),
        [("test", ""), ("test", "")],
        kind="published",
    )


def check_lines_end_at_line_feeds_only() -> None:
    """A line separator U+2028 inside a token stays there, where splitlines would cut the JSON.

    Source: str.splitlines of the standard library, which several clients use for event streams.
    """
    stream = format_event(json.dumps({"token": "a\u2028b"}, ensure_ascii=False))
    checks.equal("token", list(TokenReader().feed(stream)), ["a\u2028b"])
    checks.equal("pieces by splitlines", len(stream.decode().splitlines()), 3)
    checks.equal("lines by the standard", len(stream.decode().split("\n")) - 1, 2)


def check_other_routes_end_by_name() -> None:
    """Without [DONE], a stream of completions was cut off; a stream of the Responses API is whole
    with an event of type response.completed, which a reader of completions refuses.

    Source: vLLM 0.34, `entrypoints/openai/responses/`: events with a type, and no [DONE].
    """
    token = format_event('{"token": "Hi"}')
    whole, cut = TokenReader(), TokenReader()
    checks.equal("with [DONE]", list(whole.feed(token + format_event(DONE))), ["Hi"])
    whole.finish()
    checks.equal("cut off", list(cut.feed(token)), ["Hi"])
    checks.raises("its end", cut.finish, match="ended without", error=StreamError)
    named = format_event('{"type": "response.completed"}', event="response.completed")
    types = [event.type for event in EventStreamParser().feed(named)]
    checks.equal("its type", types, ["response.completed"])
    told = "must be an object with a token"
    checks.raises("refused", lambda: list(TokenReader().feed(named)), match=told, error=StreamError)
