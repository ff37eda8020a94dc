"""What guesses cost, against the same passes taken one by one, and in the limits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.deployments import FROM_TEXT
from serving_mathematics.core.hardware.step_time import (
    FITTED,
)
from serving_mathematics.machine.step_time.speculative_decoding import (
    break_even_tokens,
)

from tests.core.hardware.guessing import DENSE


@given(st.integers(1, 6), st.floats(1, 1000), st.floats(0, 8000))
def test_more_guesses_need_more_tokens_and_never_more_than_all(
    guesses: int, sequences: float, context: float
) -> None:
    fewer, more = (
        replace(DENSE, draft_tokens=n, drafter=FROM_TEXT) for n in (guesses, guesses + 1)
    )
    few, many = (break_even_tokens(one, FITTED, sequences, context)[0] for one in (fewer, more))
    assert 1 <= few <= many <= guesses + 2
