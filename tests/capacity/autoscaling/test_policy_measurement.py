"""The record of days: every cell, written whole, and made of the days that it says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from serving_mathematics.capacity.autoscaling import policy_measurement
from serving_mathematics.capacity.autoscaling.policy_comparison import (
    DAYS,
    RECORD,
    SLOTS,
    STARTUP_S,
    measured_day,
)
from serving_mathematics.capacity.autoscaling.policy_measurement import (
    OTHERS,
    SETTINGS,
    _measure,
    _measure_cell,
    main,
)
from serving_mathematics.support import measuring


def test_the_record_has_every_cell() -> None:
    record = measuring.read_record(RECORD)
    assert record["command"] == policy_measurement.COMMAND
    cells = [
        (c["policy"], c["setting"], c["startup_s"], c["forecast_error"], c["slots"])
        for c in record["cells"]
    ]
    asked = [
        (policy, setting, STARTUP_S, 0.0, slots)
        for slots in SLOTS
        for policy, settings in SETTINGS.items()
        for setting in settings
    ]
    waiting = [("waiting", x, STARTUP_S, 0.0, SLOTS[-1]) for x in policy_measurement.WAITING]
    assert cells == [*asked, *waiting, *((*other, 1) for other in OTHERS)]
    for cell in record["cells"]:
        assert {len(values) for values in cell["days"].values()} == {DAYS}
        assert len(set(cell["days"]["violations"])) > 1 or cell["policy"] == "static"


def test_measure_writes_what_it_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(policy_measurement, "SLOTS", (1,))
    monkeypatch.setattr(policy_measurement, "SETTINGS", {"utilization": (0.8,)})
    monkeypatch.setattr(policy_measurement, "WAITING", (5.0,))
    monkeypatch.setattr(policy_measurement, "OTHERS", (("static", 30.0, 60.0, 0.0),))
    monkeypatch.setattr(measuring, "FOLDER", tmp_path)
    main()
    record = measuring.read_record(RECORD)
    assert record == _measure()
    first, second, third = record["cells"]
    assert second == _measure_cell("waiting", 5.0, STARTUP_S, 0.0, 1)
    assert third == _measure_cell("static", 30.0, 60.0, 0.0, 1)
    day = asdict(measured_day("utilization", 0.8, 2))
    assert {field: values[2] for field, values in first["days"].items()} == day
