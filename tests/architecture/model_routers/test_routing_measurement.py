"""The recorded fleets: what a short measurement writes, and what the record holds."""

from __future__ import annotations

import pytest
from serving_mathematics.architecture.model_routers import routing_measurement
from serving_mathematics.architecture.model_routers.routing_measurement import COMMAND, RECORD, RUNS
from serving_mathematics.support.measuring import read_record


def test_a_measurement_writes_what_the_page_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = ((0.9, 4, 16, 3.0, 1.0), (0.5, 2, 32, 4.0, 2.0))
    record = routing_measurement._measure(runs)
    kept = read_record(RECORD)
    assert record.keys() == kept.keys()
    assert record["runs"][0].keys() == kept["runs"][0].keys()
    assert record["machine"].keys() == kept["machine"].keys()
    assert [(r["load"], r["servers"], r["fleets"]) for r in record["runs"]] == [
        run[:3] for run in runs
    ]
    monkeypatch.setattr(routing_measurement, "read_record", lambda _name: record)
    assert routing_measurement._run(0.5, 2).mean > 1.0
    again = routing_measurement._measure(runs)
    assert again["runs"] == record["runs"]


def test_the_record_names_its_command_and_settings() -> None:
    record = read_record(RECORD)
    assert record["command"] == COMMAND
    rows = record["runs"]
    assert [
        (r["load"], r["servers"], r["fleets"], r["horizon"], r["warm_up"]) for r in rows
    ] == list(RUNS)
    for row in rows:
        assert row["standard_error"] < row["uncontrolled_standard_error"]
