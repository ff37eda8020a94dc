"""Text out of tokens as they come: whole characters only, and nothing of a stop string.

A token stands for bytes, and a character may be cut between two tokens; what is not whole yet is
held back, and so is what could still become a stop string. So the pieces of a text, joined, are the
text whatever the cuts, and a client never sees a letter that is taken back.

Assumes: byte-level tokens in UTF-8, as SmolLM2 has; bytes that are no UTF-8 become U+FFFD.

Source: RFC 3629 for UTF-8; the OpenAI API for stop sequences: up to four, and the returned text
does not contain them. Needs the standard library only.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from serving_mathematics.support import checks
from serving_mathematics.support.require import require


class TextStream:
    """Bytes of tokens in, text that is certain out; `stopped` once a stop string came.

    stop: strings that end the text, none of them empty. Raises ValueError otherwise.

    >>> stream = TextStream(["###"])
    >>> [stream.feed(piece) for piece in (b"caf\\xc3", b"\\xa9 #", b"1 ##", b"#!")], stream.stopped
    (['caf', 'é ', '#1 ', ''], True)
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        """A stream for one answer."""
        require(all(stop), "stop", "strings that are not empty", list(stop))
        self._stop = tuple(stop)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """The text that is certain with these bytes; nothing after a stop string."""
        return self._certain(self._decode(piece))

    def finish(self) -> str:
        """What was held back, when no more tokens come."""
        text = self._certain(self._decode(b"", final=True))
        rest, self._held = ("" if self.stopped else self._held), ""
        return text + rest

    def _certain(self, more: str) -> str:
        if self.stopped:
            return ""
        text = self._held + more
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        keep = max((_beginning(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _beginning(text: str, stop: str) -> int:
    """Characters at the end of a text with which a stop string could begin."""
    return next(
        (
            size
            for size in range(min(len(stop) - 1, len(text)), 0, -1)
            if text.endswith(stop[:size])
        ),
        0,
    )


def check_cuts_do_not_matter() -> None:
    """Cut anywhere, a text comes out whole, without a replacement character.

    Source: the text in one piece, against every cut in two and against single bytes.
    """
    text = "Grüße, 世界 😀 ##"
    raw = text.encode()
    cuts = [(raw[:i], raw[i:]) for i in range(len(raw) + 1)]
    singles = tuple(raw[i : i + 1] for i in range(len(raw)))
    wrong = 0
    for pieces in [*cuts, singles]:
        stream = TextStream(["###"])
        got = [stream.feed(piece) for piece in pieces]
        wrong += "".join(got) + stream.finish() != text
    checks.equal(f"wrong among {len(cuts) + 1} ways to cut", wrong, 0)


def check_stops_leave_nothing_behind() -> None:
    """The first stop string ends the text before it, also where it comes in pieces or overlaps.

    Source: the text up to the first occurrence, by `str.find`, in single bytes.
    """
    for text, stop in (
        ("one two three", ["two"]),
        ("aab", ["ab"]),
        ("abcabd!", ["abd", "x"]),
        ("ends with sto", ["stop"]),
        ("ab", ["b", "ab"]),
    ):
        stream = TextStream(stop)
        got = "".join(stream.feed(bytes([byte])) for byte in text.encode()) + stream.finish()
        ends = [text.find(one) for one in stop if one in text]
        checks.equal(repr(text), got, text[: min(ends)] if ends else text)


def check_bad_input_is_refused() -> None:
    """An empty stop string, which would end everything, is an error."""
    checks.raises("empty", TextStream, ["a", ""], match="stop must be strings that are not empty")
