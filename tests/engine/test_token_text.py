"""Text from tokens: whole characters, stops that leave nothing behind, whatever the cuts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.engine.token_text import TextStream


def said(raw: bytes, sizes: list[int], stop: list[str]) -> tuple[str, list[str], bool]:
    """The text, its pieces, and whether a stop string came, of bytes cut into the given sizes."""
    stream, pieces = TextStream(stop), []
    for size in [*sizes, len(raw)]:
        pieces.append(stream.feed(raw[:size]))
        raw = raw[size:]
    return "".join(pieces) + stream.finish(), pieces, stream.stopped


@given(st.text(), st.lists(st.integers(0, 3)))
def test_any_text_comes_out_whole(text: str, sizes: list[int]) -> None:
    assert said(text.encode(), sizes, [])[0] == text


@given(
    st.text("ab☃", max_size=12), st.lists(st.integers(0, 2)), st.sampled_from(["ab", "☃b", "aa"])
)
def test_text_ends_before_the_stop_string(text: str, sizes: list[int], stop: str) -> None:
    whole, _, stopped = said(text.encode(), sizes, [stop])
    assert whole == text.partition(stop)[0]
    assert stopped == (stop in text)


@given(st.binary(), st.lists(st.integers(0, 3)))
def test_any_bytes_are_decoded_as_in_one_piece(raw: bytes, sizes: list[int]) -> None:
    assert said(raw, sizes, ["\0never"])[0] == raw.decode(errors="replace")


def test_what_cannot_become_a_stop_string_is_not_held_back() -> None:
    stream = TextStream(["stop"])
    assert [stream.feed(piece) for piece in (b"ab", b"st", b"ab", b"s")] == ["ab", "", "stab", ""]
    assert stream.finish() == "s"
    assert stream.finish() == ""


def test_nothing_follows_a_stop() -> None:
    stream = TextStream(["."])
    assert stream.feed(b"a.b") == "a"
    assert stream.feed(b"c") == ""
    assert stream.finish() == ""
