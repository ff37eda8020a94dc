"""A stream's end: means and shares against closed forms, limits, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service import streamed_answer
from serving_mathematics.definitions.service.service import Service
from serving_mathematics.definitions.service.streamed_answer import streamed


def constant(cells: int, place: int, ok: float = 1.0, cost: float = 0.0) -> Service:
    masses = np.zeros(cells)
    masses[place] = 1.0
    return Service(ok * masses, (1 - ok) * masses, 1.0, cost)


@given(st.integers(1, 12), st.floats(0.0, 1.0))
def test_constant_gaps_put_each_length_where_it_ends(most: int, share: float) -> None:
    """With gaps of two cells and no cut, m tokens end 2(m − 1) cells after the first."""
    lengths = np.full(most, share / most)
    lengths[0] += 1 - lengths.sum()
    end = streamed(constant(40, 3), constant(40, 2), lengths)
    expected = np.zeros(40)
    expected[3 + 2 * np.arange(most)] = lengths
    assert end.ok == pytest.approx(expected, abs=1e-12)
    assert end.failed.sum() == 0


def test_every_gap_may_cut_and_is_paid() -> None:
    end = streamed(constant(9, 0), constant(9, 1, ok=0.5, cost=1.0), [0.0, 0.0, 1.0])
    assert end.ok.tolist() == [0, 0, 0.25, 0, 0, 0, 0, 0, 0]
    assert end.failed.tolist() == [0, 0.5, 0.25, 0, 0, 0, 0, 0, 0]
    assert end.cost == 1.5


def test_who_gets_no_first_token_pays_for_no_gap() -> None:
    first = constant(4, 0, ok=0.5, cost=3.0)
    end = streamed(first, constant(4, 1, ok=0.5, cost=1.0), [0.0, 1.0])
    assert end.ok.tolist() == [0, 0.25, 0, 0]
    assert end.failed.tolist() == [0.5, 0.25, 0, 0]
    assert end.cost == 3.0 + 0.5


def test_the_page_says_the_mean_with_the_limit() -> None:
    """E[min(M, 200)] = 50(1 − 0.98^200) for a geometric M of mean 50; a cut in 5,000 gaps."""
    page = streamed_answer.example()
    assert page.mean_tokens == pytest.approx(50 * (1 - 0.98**200))
    assert page.gaps_to_a_cut == 5000
    reached = np.cumsum(streamed_answer._pipeline()[0].ok)[round(page.first_p90_ms / 4)]
    assert reached == pytest.approx(0.9, abs=0.01)


def test_the_pipeline_ends_or_is_cut_off() -> None:
    first, end = streamed_answer._pipeline()
    assert first.ok.sum() == pytest.approx(1, abs=1e-6)
    tokens = np.arange(1, 201)
    whole = float(streamed_answer._lengths() @ (1 - streamed_answer.CUT) ** (tokens - 1))
    assert end.ok.sum() == pytest.approx(whole, abs=2e-3)
    mean = streamed_answer.RETRIEVE_S + streamed_answer.PREFILL_S
    mean += streamed_answer.GAP_S * float(streamed_answer._lengths() @ (tokens - 1))
    grid = streamed_answer.STEP_S * np.arange(end.ok.size)
    assert float((end.ok + end.failed) @ grid) == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("bad", [[], [[1.0]], [-0.5, 1.5], [0.5], [1.0001], [np.nan]])
def test_lengths_that_are_no_distribution(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="lengths must be"):
        streamed(constant(4, 1), constant(4, 1), bad)
