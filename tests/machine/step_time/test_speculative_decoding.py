"""What guesses cost, against the same passes taken one by one, and in the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.deployments import FROM_TEXT
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    step_parts,
)
from serving_mathematics.machine.step_time.speculative_decoding import (
    break_even_tokens,
)

from tests.core.hardware.guessing import DENSE, MIXTURE


def test_heads_are_layers_and_text_is_free() -> None:
    """One sequence: three heads are three layers of 61 and three readings of the vocabulary."""
    heads = replace(MIXTURE, draft_tokens=3, accepted_tokens=2.5)
    text = replace(heads, drafter=FROM_TEXT)
    rows = [count_work([one]) for one in (heads, text)]
    parts = [step_parts(work, FITTED, np.ones(1), np.full(1, 1000.0)) for work in rows]
    for name in ("kernels", "weights", "experts", "cache", "messages"):
        ratio = getattr(parts[0], name)[0] / getattr(parts[1], name)[0]
        assert ratio == pytest.approx(1 + 3 / 61, rel=1e-12), name
    assert parts[0].vocabulary[0] == pytest.approx(4 * parts[1].vocabulary[0], rel=1e-12)
    plain = step_parts(count_work([MIXTURE]), FITTED, np.ones(1), np.full(1, 1000.0))
    assert parts[1].vocabulary[0] == plain.vocabulary[0]
    assert parts[1].weights[0] == plain.weights[0]  # read once for four positions
    assert parts[1].experts[0] > 2 * plain.experts[0]  # of which four positions touch more


@given(st.integers(1, 6), st.floats(1, 1000), st.floats(0, 8000))
def test_more_guesses_need_more_tokens_and_never_more_than_all(
    guesses: int, sequences: float, context: float
) -> None:
    fewer, more = (
        replace(DENSE, draft_tokens=n, drafter=FROM_TEXT) for n in (guesses, guesses + 1)
    )
    few, many = (break_even_tokens(one, FITTED, sequences, context)[0] for one in (fewer, more))
    assert 1 <= few <= many <= guesses + 2
