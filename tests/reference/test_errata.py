"""Arithmetic of the errata: limits, and the bound that it is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.shadow_canary.repeated_looks import crossing_probability
from serving_mathematics.reference.errata import (
    _published_restart,
    after_restart,
    chips_for_weights,
    independent_looks,
)


@given(st.integers(1, 60))
def test_independent_looks_are_an_upper_bound(looks: int) -> None:
    single = 1.959964
    repeated, independent = crossing_probability([single] * looks), independent_looks(looks)
    assert repeated <= independent + 1e-6
    assert independent == pytest.approx(1 - math.prod([0.95] * looks))


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_a_restart_after_the_prompt_is_what_the_simulator_sets(
    prompt: int, output: int, data: st.DataObject
) -> None:
    processed = data.draw(st.integers(0, prompt + output))
    right, published = (f(prompt, output, processed) for f in (after_restart, _published_restart))
    assert sum(right) == sum(published) == prompt + output
    assert (right == published) == (processed >= prompt)
    assert right[1] <= output


def test_chips_scale() -> None:
    assert chips_for_weights(1e9, 8, 1e9) == 1.0
    assert chips_for_weights(2e9, 4, 1e9) == 1.0
