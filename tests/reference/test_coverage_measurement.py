"""The record of coverages: complete, written whole, and made of the cells that it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving_mathematics.reference import coverage_measurement
from serving_mathematics.reference.coverage_measurement import (
    CONSTANTS,
    LOADS,
    _measure,
    _measure_cell,
    main,
)
from serving_mathematics.reference.simulation_trust import customers_per_batch
from serving_mathematics.support import measuring


def test_the_record_has_every_cell() -> None:
    record = measuring.read_record(coverage_measurement.RECORD)
    assert record["command"] == coverage_measurement.COMMAND
    assert record["runs"] == coverage_measurement.RUNS >= 400
    cells = [(cell["utilization"], cell["constants"]) for cell in record["cells"]]
    assert cells == [(load, constants) for load in LOADS for constants in CONSTANTS]
    for cell in record["cells"]:
        assert cell["batch_customers"] == customers_per_batch(
            cell["utilization"], cell["constants"]
        )
        assert cell["naive"] < cell["batch_means"] <= cell["adjusted"] + 0.02


def test_measure_writes_what_it_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(coverage_measurement, "LOADS", (0.3, 0.5))
    monkeypatch.setattr(coverage_measurement, "CONSTANTS", (2,))
    monkeypatch.setattr(coverage_measurement, "RUNS", 20)
    monkeypatch.setattr(measuring, "FOLDER", tmp_path)
    main()
    record = measuring.read_record(coverage_measurement.RECORD)
    assert record == _measure()
    assert record["cells"] == [_measure_cell(0.3, 2), _measure_cell(0.5, 2)]
    assert record["cells"][0] != record["cells"][1]
