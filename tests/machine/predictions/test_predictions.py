"""Padding: limits, quantiles as oracle, planted factors; and the exercises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES
from serving_mathematics.machine.predictions.predictions import example, padding


def test_padding_is_a_quantile_of_the_ratios() -> None:
    rng = np.random.default_rng(1)
    predicted, measured = rng.uniform(1, 2, 999), rng.uniform(1, 4, 999)
    ratios = sorted(measured / predicted)
    assert padding(predicted, measured, 0.5) == pytest.approx(ratios[499])
    assert padding(predicted, measured, 0.1) < padding(predicted, measured, 0.9)
    assert padding(2 * predicted, measured, 0.3) == pytest.approx(
        padding(predicted, measured, 0.3) / 2
    )


@given(st.floats(0.01, 0.99), st.floats(0.1, 10))
def test_a_factor_of_its_own_is_found(share: float, factor: float) -> None:
    predicted = np.linspace(1, 3, 7)
    assert padding(predicted, factor * predicted, share) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measured_s": [1.0]}, "measured_s must be of shape"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str) -> None:
    given_values: dict[str, object] = {
        "predicted_s": [1.0, 2.0], "measured_s": [1.0, 2.0], "share": 0.5,
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        padding(**(given_values | change))  # type: ignore[arg-type]


def test_numbers_of_the_page() -> None:
    found = example()
    assert found.runs == 3619
    assert found.table_rows.count("|") == 5 * 5
    pairs, constants = found.cell_table.splitlines(), found.constant_table.splitlines()
    assert len({line.count("|") for line in pairs[2:]}) == 1  # a row for each, as the header
    assert len(constants) == 4 + len(CONSTANT_NAMES)
    assert found.here_mean < found.peer_mean
