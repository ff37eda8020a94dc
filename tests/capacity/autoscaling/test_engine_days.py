"""The record of days on engines: every cell, and its days run again."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.capacity.autoscaling import engine_days
from serving_mathematics.capacity.autoscaling.engine_days import (
    AGAIN_S,
    COMPARED,
    ENGINES_LATE,
    RECORD,
    SETTINGS,
    _fields,
    _hours,
    engine_day,
    engine_policy,
    example,
    main,
)
from serving_mathematics.capacity.autoscaling.policy_comparison import DAYS, FIELDS, hours_for
from serving_mathematics.support import measuring


def test_the_record_has_every_cell() -> None:
    record = measuring.read_record(RECORD)
    assert record["command"] == engine_days.COMMAND
    asked = {
        (name, setting)
        for name, settings in SETTINGS.items()
        for setting in (*settings, *engine_days._beside(name))
    }
    assert {(cell["policy"], cell["setting"]) for cell in record["cells"]} == asked
    assert len(record["cells"]) == len(asked)
    for cell in record["cells"]:
        assert set(cell["days"]) == set(FIELDS)
        assert all(len(set(values)) == DAYS for values in cell["days"].values())
    assert set(record["parts"]) == set(COMPARED)


def test_measure_writes_what_it_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command with a fleet that is asked for by one policy, on days of half an hour."""
    whole = engine_day

    def short(name: str, setting: float, day: int, *_until: float) -> object:
        return whole(name, setting, day, 1800.0)

    monkeypatch.setattr(engine_days, "SETTINGS", {"latency": (24.0, 30.0)})
    monkeypatch.setattr(engine_days, "TOO_HOT", {"latency": 33.0})
    monkeypatch.setattr(engine_days, "HELD_S", {})
    monkeypatch.setattr(engine_days, "engine_day", short)
    monkeypatch.setattr(measuring, "FOLDER", tmp_path)
    main()
    record = measuring.read_record(RECORD)
    assert [cell["setting"] for cell in record["cells"]] == [24.0, 30.0, 33.0]
    day = _fields(whole("latency", 33.0, 2, 1800.0))
    assert {field: values[2] for field, values in record["cells"][2]["days"].items()} == day
    assert record["parts"]["latency"] == _fields(whole("latency", 30.0, 0, 1800.0))


def test_numbers_of_the_page() -> None:
    told = example()
    rows = [row.split("|") for row in told.engine_rows.split("\n")]
    assert [row[1].strip() for row in rows] == list(COMPARED.values())
    means = [told.utilization_on_engines, told.queue_on_engines, told.latency_on_engines]
    assert sorted(means, reverse=True) == means
    for row, mean in zip(rows, [*means, told.forecast_on_engines], strict=True):
        assert float(row[2].split("±")[0]) == pytest.approx(mean, abs=0.5)
    days = engine_days._cells()["concurrency"]
    by_hand = hours_for(
        ENGINES_LATE,
        [days[x]["replica_hours"][1] for x in SETTINGS["concurrency"]],
        [days[x]["late_percent"][1] for x in SETTINGS["concurrency"]],
    )
    assert _hours("concurrency")[1] == by_hand
    assert all(math.isfinite(hours) for name in COMPARED for hours in _hours(name))
    strict = [_hours(name, 1.5) for name in ("utilization", "concurrency")]
    saved = [100 * (1 - less / more) for more, less in zip(*strict, strict=True)]
    assert told.strict_signal_percent == pytest.approx(np.mean(saved))
    assert told.strict_signal_percent > told.engine_signal_percent
    assert told.engine_alone_percent == pytest.approx(100 * (0.5 + 0.5 / 16))
    assert told.full_queue_late == pytest.approx(np.mean(days[1.0]["late_percent"]))


def test_part_of_a_day_ends_in_time() -> None:
    hour = engine_day("utilization", 0.8, 1, 3600.0)
    assert 0 < hour.replica_hours < 40
    with pytest.raises(ValueError, match="end_s must be"):
        engine_day("utilization", 0.8, 1, 90_000.0)
    with pytest.raises(ValueError, match="name must be one of"):
        engine_policy("waiting", 5.0)
    assert AGAIN_S < 86_400
