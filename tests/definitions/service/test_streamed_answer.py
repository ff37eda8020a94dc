"""A stream's end: means and shares against closed forms, limits, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.service import Service
from serving_mathematics.definitions.service.streamed_answer import streamed


def constant(cells: int, place: int, ok: float = 1.0, cost: float = 0.0) -> Service:
    masses = np.zeros(cells)
    masses[place] = 1.0
    return Service(ok * masses, (1 - ok) * masses, 1.0, cost)


@given(st.integers(1, 12), st.floats(0.0, 1.0))
def test_each_length_ends_where_its_tokens_do(most: int, share: float) -> None:
    """With two cells a token and no cut, m tokens end 2(m − 1) cells after the first."""
    lengths = np.full(most, share / most)
    lengths[0] += 1 - lengths.sum()
    end = streamed(constant(40, 3), 2.0, lengths)
    expected = np.zeros(40)
    expected[3 + 2 * np.arange(most)] = lengths
    assert end.ok == pytest.approx(expected, abs=1e-12)
    assert end.failed.sum() == pytest.approx(0, abs=1e-12)


def test_who_gets_no_first_token_has_no_stream() -> None:
    end = streamed(constant(4, 0, ok=0.5), 1.0, [0.0, 1.0], cut=0.5)
    assert end.ok.tolist() == [0, 0.25, 0, 0]
    assert end.failed.tolist() == [0.5, 0.25, 0, 0]


def test_what_ends_after_the_grid_is_lost() -> None:
    end = streamed(constant(4, 1), 1.0, [0.5, 0.0, 0.0, 0.0, 0.0, 0.5])
    assert end.ok.tolist() == [0, 0.5, 0, 0]
