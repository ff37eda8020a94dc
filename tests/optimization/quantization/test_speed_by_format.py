"""The slider of formats against the machine and the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.optimization.quantization.speed_by_format import (
    BATCHES,
    FORMATS,
    example,
    slider_speed_by_format,
)


def test_slider_says_the_numbers_of_the_machine() -> None:
    told = slider_speed_by_format()
    (gain,) = (np.array(one["values"]) for one in told["curves"])
    rates, size, ceiling, changed = (np.array(one["values"]) for one in told["readouts"])
    assert rates.shape == size.shape == (len(BATCHES), len(FORMATS))
    for column, precision in enumerate(FORMATS.values()):
        machine = replace(CHAT, precision=precision)
        assert rates[3, column] == pytest.approx(8 / float(machine.step_s(8)))
        assert ceiling[0, column] == pytest.approx(machine.ceiling_per_s)
    assert gain[0, 2] == pytest.approx(example().int4_alone)
    assert gain == pytest.approx(rates / rates[:, :1])
    low, high = told["y"]["range"]
    assert low < gain.min()
    assert gain.max() < high
    assert np.all(np.diff(changed[0]) > 0)


def test_size_by_hand() -> None:
    """8.03 billion weights of two bytes, or of one; with int4, tables of 128,256 words by 4,096 in
    two bytes, and the rest in four bits and a scale of 16 for 128 of them."""
    size = np.array(slider_speed_by_format()["readouts"][1]["values"])[0]
    tables = 2 * 128_256 * 4096 / 1e9
    assert size[0] == pytest.approx(16.06, rel=1e-3)
    assert 8.0 < size[1] < 9.2
    assert size[2] == pytest.approx(2 * tables + (8.03 - tables) * 4.125 / 8, rel=0.03)
