"""A context that is cut: by hand, and never slower than its exchange."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.machine.parallelism.cut_context import context_split_s


def test_a_cut_context_by_hand() -> None:
    found = context_split_s([0.0, 6e6], [8000.0, 8000.0], 4, 2e12, 1e11)
    assert found == pytest.approx([SEND_S + 6e-8, 0.75e-6 + SEND_S + 6e-8])
    assert context_split_s([6e6], 8000.0, 1, 2e12, 1e11) == pytest.approx([3e-6])


@given(st.floats(0, 1e10), st.floats(0, 1e7), st.integers(2, 64))
def test_cutting_pays_for_large_caches_alone(cache: float, result: float, split: int) -> None:
    cut = float(context_split_s([cache], result, split, 4e12, 4e11)[0])
    whole = float(context_split_s([cache], result, 1, 4e12, 4e11)[0])
    saved = cache / 4e12 * (1 - 1 / split)
    assert (cut < whole) == (saved > SEND_S + (split - 1) / split * result / 4e11) or cut == (
        pytest.approx(whole)
    )
