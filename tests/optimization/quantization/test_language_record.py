"""What the chapter says of the two records, computed again from the records alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.engine import language_measurement
from serving_mathematics.optimization.quantization.language_formats import weight_formats
from serving_mathematics.optimization.quantization.language_record import (
    FILES,
    SHORT,
    _percent,
    _table,
    perplexity_growth,
)
from serving_mathematics.support.measuring import read_record

QUALITY, SPEED = read_record("language_quality"), read_record("language_speed")
ROWS = {(row["basis"], row["format"]): row for row in QUALITY["rows"]}


def test_growth_is_that_of_the_tenths_left_out() -> None:
    rng = np.random.default_rng(1)
    reference, change = rng.normal(4, 1, 40), rng.normal(0.1, 0.05, 40)
    tenths = change.reshape(10, 4).mean(axis=1)
    half = stats.t.ppf(0.975, 9) * stats.sem(tenths)
    expected = np.expm1([change.mean(), change.mean() - half, change.mean() + half])
    assert perplexity_growth(reference + change, reference) == pytest.approx(expected)


def test_record_is_whole() -> None:
    assert {"command", "date", "machine", "versions", "text"} <= QUALITY.keys()
    formats = weight_formats()
    per_text = QUALITY["text"]["passages"] * (QUALITY["text"]["places"] - 1)
    for basis in ("rescaled", "rotated"):
        assert {form for b, form in ROWS if b == basis} == {"float32", *formats}
    for row in QUALITY["rows"]:
        assert len(row["block_nats"]) == per_text // QUALITY["text"]["block"]
        assert row["right"] == ROWS["shipped", "float32"]["right"] - row["lost"] + row["gained"]
        assert row["lost"] + row["gained"] <= row["changed"] <= per_text
    assert ROWS["shipped", "float32"]["changed"] == 0
    assert [row["file"] for row in QUALITY["engine"]] == list(FILES) == list(QUALITY["bytes"])


def test_record_and_measurement_speak_of_the_same() -> None:
    assert QUALITY["command"] == f"{language_measurement.COMMAND} quality"
    assert SPEED["command"] == f"{language_measurement.COMMAND} speed"
    assert SPEED["rules"]["wall_over_cpu"] == language_measurement.WALL_OVER_CPU
    assert language_measurement.FILES == FILES


def test_rows_of_the_record_have_the_bits_of_their_formats() -> None:
    shapes = [(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)]
    count = sum(a * b for a, b in shapes)
    for name, form in weight_formats().items():
        bits = sum(form.bits(*shape) * shape[0] * shape[1] for shape in shapes) / count
        assert ROWS["rescaled", name]["bits"] == pytest.approx(bits, rel=1e-9)


def test_table_shows_the_record() -> None:
    lines = _table().split(" |\n| ")
    assert len(lines) == len(SHORT) == 8
    for (form, products), line in zip(SHORT, lines, strict=True):
        name, bits, growth, changed, both = (cell.strip() for cell in line.split(" | "))
        assert name == form
        row = ROWS["rescaled", form]
        assert float(bits) == pytest.approx(row["bits"], abs=0.006)
        tokens = len(row["block_nats"]) * QUALITY["text"]["block"]
        assert float(changed) == pytest.approx(100 * row["changed"] / tokens, abs=0.51)
        for shown, own in ((growth, form), (both, products)):
            assert bool(shown) == bool(own)
            if own:
                nats = ROWS["rescaled", own]["block_nats"]
                change = np.subtract(nats, ROWS["shipped", "float32"]["block_nats"]).mean()
                exact = 100 * math.expm1(change)
                assert float(shown.replace("−", "-")) == pytest.approx(exact, abs=0.051)
    assert _percent((-0.004, 0.0, 0.005)) == "−0.40"
    assert _percent((0.004, 0.0, 0.02)) == "+0.4"


def test_speed_record_is_whole_and_was_made_by_its_rules() -> None:
    assert len(SPEED["rounds"]) == SPEED["rules"]["rounds"]
    cells = {(file, batch) for file in FILES for batch in SPEED["asked"]["batches"]}
    for rows in SPEED["rounds"]:
        assert {(row["file"], row["batch"]) for row in rows} == cells
    for ratios in SPEED["refused"]:
        assert max(ratios) > SPEED["rules"]["wall_over_cpu"]
