"""The loss against scipy, its gradient's invariances, limits of the temperature, every error; and
the exercises' solutions."""

from __future__ import annotations

import math
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
    matched_logits_gradient,
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


def test_kl_where_probabilities_vanish() -> None:
    assert kl_divergence([[0.0, 1.0], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]).tolist() == [
        math.log(2),
        math.inf,
    ]


@given(LOGITS, LOGITS, st.floats(0.5, 20), st.floats(0, 1))
def test_loss_is_the_weighted_sum(z: Any, v: Any, temperature: float, weight: float) -> None:
    labels = [0, 3, 4]
    hard = -special.log_softmax(z, axis=1)[np.arange(3), labels].mean()
    p, log_q = (
        special.softmax(v / temperature, axis=1),
        special.log_softmax(z / temperature, axis=1),
    )
    soft = (special.rel_entr(p, np.exp(log_q))).sum(axis=1).mean()
    got = distillation_loss(z, v, temperature, labels, weight)
    expected = (1 - weight) * hard + weight * temperature**2 * soft
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(LOGITS, LOGITS, st.floats(0.5, 20), st.floats(0, 1))
def test_gradient_sums_to_zero_and_adds_up(
    z: Any, v: Any, temperature: float, weight: float
) -> None:
    labels, rows = np.array([1, 1, 2]), np.arange(3)
    slope = output_gradient(v, temperature, labels, weight)(z, rows)
    assert slope.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-9)
    soft = output_gradient(v, temperature)(z, rows)
    hard = output_gradient(v, temperature, labels, 0.0)(z, rows)
    assert slope == pytest.approx(weight * soft + (1 - weight) * hard, abs=1e-9)


def test_gradient_takes_the_rows_it_is_given() -> None:
    v = np.array([[0.0, 4.0], [4.0, 0.0], [1.0, 1.0]])
    slope = output_gradient(v, 2.0)(np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([2, 0]))
    assert slope[0] == pytest.approx([0.0, 0.0])
    assert slope[1] == pytest.approx(np.array([0.5, -0.5]) * 2 * (2 * special.expit(2.0) - 1) / 2)
    assert output_gradient(v, 3.0)(v, np.arange(3)) == pytest.approx(np.zeros((3, 2)))


@given(LOGITS, LOGITS)
def test_high_temperature_is_regression_on_logits(z: Any, v: Any) -> None:
    limit = matched_logits_gradient(z, v)
    far = output_gradient(v, 1e5)(z, np.arange(3)) * 3
    assert far == pytest.approx(limit, abs=2e-2)
    centred = (z - z.mean(axis=1, keepdims=True)) - (v - v.mean(axis=1, keepdims=True))
    assert limit == pytest.approx(centred / 5, abs=1e-9)


def test_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"q must be of shape \(2,\)"):
        kl_divergence([0.5, 0.5], [1.0])


@pytest.mark.parametrize("labels", [None, [0], [0, 2], [0, -1], [0, math.nan], [[0, 1]]])
def test_labels_are_refused(labels: Any) -> None:
    logits = [[0.0, 1.0], [1.0, 0.0]]
    for function in (
        lambda: distillation_loss(logits, logits, 1.0, labels, 0.5),
        lambda: output_gradient(logits, 1.0, labels, 0.5),
    ):
        with pytest.raises(ValueError, match="labels must be one class per row"):
            function()
