"""The tables of scores."""

from __future__ import annotations

from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES
from serving_mathematics.machine.predictions.predictions import example


def test_numbers_of_the_page() -> None:
    found = example()
    assert found.runs == 3619
    assert found.table_rows.count("|") == 4 * 5
    pairs, constants = found.cell_table.splitlines(), found.constant_table.splitlines()
    assert len({line.count("|") for line in pairs[2:]}) == 1  # a row for each, as the header
    assert len(constants) == 4 + len(CONSTANT_NAMES)
