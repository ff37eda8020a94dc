"""The tables of scores."""

from __future__ import annotations

import pytest
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES
from serving_mathematics.machine.predictions.calibration_scores import SCORES, kept_error
from serving_mathematics.machine.predictions.predictions import example
from serving_mathematics.support.measuring import read_record


def test_numbers_of_the_page() -> None:
    found = example()
    assert found.runs == 3610
    assert found.table_rows.count("|") == 4 * 5
    pairs, constants = found.cell_table.splitlines(), found.constant_table.splitlines()
    assert len({line.count("|") for line in pairs[2:]}) == 1  # a row for each, as the header
    assert len(constants) == 4 + len(CONSTANT_NAMES)


def test_what_own_runs_are_worth() -> None:
    found = example()
    assert found.own_after < 0.6 * found.own_before
    assert found.own_after < found.own_low < found.own_before
    rows = [row.strip("|").split("|") for row in found.own_rows.split("\n")]
    told = [float(row[1].strip().rstrip("%")) for row in rows]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3]
    for few in (1, 2, 3):
        wanted = [100 * kept_error(few, method=name)["median"] for name in ("before", "after")]
        assert [told[0], told[few]] == pytest.approx(wanted, abs=0.06)
    scored = [row for row in read_record(SCORES)["deployments"] if row["half"] == "scored on"]
    told = [row["median error per token"] for row in scored]
    assert found.own_deployments == len(told)
    assert found.own_worse == sum(one["after"] > one["before"] for one in told)
    assert found.own_worse < 0.25 * found.own_deployments
