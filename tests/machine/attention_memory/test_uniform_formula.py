"""The uniform formula: right where its assumptions are, and as its table says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.machine.attention_memory.attention_memory import held_bytes
from serving_mathematics.machine.attention_memory.uniform_formula import (
    example,
    uniform_estimate,
)


@given(st.integers(1, 200_000))
def test_it_is_right_where_its_assumptions_are(tokens: int) -> None:
    for name, arguments in (
        ("Llama-3.1-70B", (80, 8, 8192, 64)),
        ("Llama-3.1-8B", (32, 8, 4096, 32)),
    ):
        held = held_bytes(find_model(name)[0], tokens)
        assert uniform_estimate(*arguments, tokens) == pytest.approx(held)


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.gemma_percent == pytest.approx(682, abs=1)
    assert told.deepseek_percent == pytest.approx(-80.6, abs=0.1)
    assert told.times_too_little == pytest.approx(10.72 / 2.08, rel=0.01)
    assert told.times_too_much == pytest.approx(81.38 / 10.41, rel=0.01)
