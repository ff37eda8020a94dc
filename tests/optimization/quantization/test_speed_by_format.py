"""The card of formats against the machine and the record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.optimization.quantization.speed_by_format import (
    FEW,
    FORMATS,
    SHOWN,
    STEPS,
    _step_ms,
    _weight_bars,
    example,
    slider_speed_by_format,
)
from serving_mathematics.support.measuring import read_record


def test_a_step_is_the_machines() -> None:
    told = slider_speed_by_format()
    whole, size, gain, changed = (np.array(one["values"]) for one in told["readouts"])
    for row, (form, _) in enumerate(SHOWN.values()):
        machine = replace(CHAT, precision=FORMATS[form])
        for column, batch in enumerate(STEPS):
            ends: dict[str, float] = {}
            for lane, start, end, *_ in told["panels"][0]["bars"][row][column]:
                assert start == ends.get(lane, 0)
                ends[lane] = end
            taken = {"BF16": float(CHAT.step_s(batch)), "chosen": float(machine.step_s(batch))}
            assert ends == {lane: pytest.approx(1e3 * s, rel=1e-3) for lane, s in taken.items()}
            assert gain[row, column] == pytest.approx(taken["BF16"] / taken["chosen"], rel=1e-3)
    assert gain[-1, 0] == pytest.approx(example().int4_alone)
    assert np.all(size < whole)
    assert np.all(np.diff(changed[:, 0]) > 0)


def test_four_bits_multiply_longer_where_many_share_a_step() -> None:
    """128 sequences are few enough for sixteen bits to wait for weights, and not for four."""
    assert _step_ms("BF16", 256)["prompt"] == pytest.approx(0, abs=1e-9)
    assert _step_ms("int4", 64)["prompt"] == pytest.approx(0, abs=1e-9)
    assert _step_ms("int4", 256)["prompt"] > _step_ms("int4", 256)["answer"]


def test_weights_are_rounded_to_their_format() -> None:
    """By hand: 15 codes up to the largest of the block, or of the whole row."""
    row = np.array(read_record("language_weights")["weights"])
    for form, shared in (("int4, blocks of 32", row[:32]), ("int4, per output", row)):
        scale = np.abs(shared).max() / 7
        sizes = np.abs(row[:FEW])
        rounded = scale * np.rint(sizes / scale)
        bars = _weight_bars(form)
        for i, (exact, told) in enumerate(zip(sizes, rounded, strict=True), 1):
            mine = [bar for bar in bars if bar[0] == f"weight {i}"]
            ends = {bar[3]: bar[2] for bar in mine}
            assert max(ends.values()) == pytest.approx(max(exact, told))
            assert ends.get("answer", 0) == pytest.approx(min(exact, told))
            assert mine[-1][4] == f"{abs(told / exact - 1):.0%} off"


def test_size_by_hand() -> None:
    """8.03 billion weights of two bytes, or of one; with int4, tables of 128,256 words by 4,096 in
    two bytes, and the rest in four bits and a scale of 16 for 128 of them."""
    whole, size = (
        np.array(one["values"])[:, 0] for one in slider_speed_by_format()["readouts"][:2]
    )
    tables = 2 * 128_256 * 4096 / 1e9
    assert whole == pytest.approx(16.06, rel=1e-3)
    assert 8.0 < size[0] < 9.2
    assert size[1:] == pytest.approx(2 * tables + (8.03 - tables) * 4.125 / 8, rel=0.03)
