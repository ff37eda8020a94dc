"""The loss against scipy, its gradient's invariances, limits of the temperature, every error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import special, stats
from serving_mathematics.optimization.distillation.distillation import (
    distillation_loss,
    kl_divergence,
    output_gradient,
    soften,
)

LOGITS = arrays.arrays(float, (3, 5), elements=st.floats(-30, 30))


@given(LOGITS, st.floats(0.2, 50))
def test_soften_is_scipys_softmax(z: Any, temperature: float) -> None:
    assert soften(z, temperature) == pytest.approx(special.softmax(z / temperature, axis=1))
    assert soften(z + 700.0, temperature) == pytest.approx(soften(z, temperature), abs=1e-9)


def test_soften_at_extreme_temperatures() -> None:
    assert soften([1e6, 0.0, -1e6]).tolist() == [1.0, 0.0, 0.0]
    assert soften([3.0, -2.0, 5.0], 1e9) == pytest.approx([1 / 3] * 3, abs=1e-8)
    assert soften([1.0, 2.0], 0.01) == pytest.approx([0.0, 1.0])


@given(LOGITS, LOGITS)
def test_kl_is_scipys_relative_entropy(z: Any, v: Any) -> None:
    p, q = soften(v), soften(z)
    expected = [stats.entropy(a, b) for a, b in zip(p, q, strict=True)]
    assert kl_divergence(p, q) == pytest.approx(expected, abs=1e-9)
    assert np.all(kl_divergence(p, q) >= -1e-12)
    assert kl_divergence(p, p) == pytest.approx(np.zeros(3), abs=1e-12)


@given(LOGITS, LOGITS, st.floats(0.5, 20))
def test_loss_is_scipys(z: Any, v: Any, temperature: float) -> None:
    p, log_q = (
        special.softmax(v / temperature, axis=1),
        special.log_softmax(z / temperature, axis=1),
    )
    expected = temperature**2 * special.rel_entr(p, np.exp(log_q)).sum(axis=1).mean()
    assert distillation_loss(z, v, temperature) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(LOGITS, LOGITS, st.floats(0.5, 20))
def test_gradient_sums_to_zero_and_vanishes_at_the_teacher(
    z: Any, v: Any, temperature: float
) -> None:
    slope = output_gradient(z, v, temperature)
    assert slope.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-9)
    assert output_gradient(v, v, temperature) == pytest.approx(np.zeros((3, 5)))
    assert output_gradient(z, v, temperature) == pytest.approx(-output_gradient(v, z, temperature))


@given(LOGITS, LOGITS)
def test_high_temperature_is_regression_on_logits(z: Any, v: Any) -> None:
    far = output_gradient(z, v, 1e5) * 3
    centred = (z - z.mean(axis=1, keepdims=True)) - (v - v.mean(axis=1, keepdims=True))
    assert far == pytest.approx(centred / 5, abs=2e-2)
