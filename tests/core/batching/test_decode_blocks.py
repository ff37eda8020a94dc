"""Blocks counted by residues, against every sequence looked at."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.decode_blocks import DecodeBlocks


def filled(sequences: list[tuple[int, int]], block: int, step: int) -> int:
    """Blocks in a step of sequences that hold so many tokens at the end of another."""
    return sum(-(-(kept - end + step) // block) for kept, end in sequences)


@given(
    st.integers(1, 9),
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40)), max_size=6),
    st.integers(0, 30),
    st.integers(1, 60),
)
def test_equal_to_every_sequence(
    block: int, now: int, drawn: list[tuple[int, int]], free: int, most: int
) -> None:
    """In the next step, in the last one, when free blocks run out, and after some steps."""
    sequences = [(more + left, now + left) for more, left in drawn]
    held = DecodeBlocks(block)
    for kept, end in sequences:
        held.count(kept, end, now, 1)
    assert held.filled == filled(sequences, block, now + 1)
    assert held.before(now) == filled(sequences, block, now)
    size = len(sequences)
    there = held.filled + free
    fits = [k for k in range(1, most + 1) if filled(sequences, block, now + k) <= there]
    assert held.lasting(most, free, size, now) == max([1, *fits])
    held.passed(most, size, now)
    assert held.filled == filled(sequences, block, now + most + 1)
    for kept, end in sequences[:2]:
        held.count(kept, end, now + most, -1)
    assert held.filled == filled(sequences[2:], block, now + most + 1)


def test_shared_blocks_are_left_out() -> None:
    held = DecodeBlocks(4)
    held.count(9, 2, 0, 1, shared=1)
    assert held.filled == 1
    held.count(9, 2, 0, -1, shared=1)
    assert held.filled == 0
