"""The chapter's days under every policy and setting, with 1, 4 and 16 slots in a replica: too many
requests for every build.

`python -m serving_mathematics.capacity.autoscaling.policy_measurement` runs four days of each, in a
few minutes, and writes records/policy_days.json. Every day has its own seed, so that any of them
can be run again alone, to the last digit.

Source: `measured_day` of `policy_comparison`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from serving_mathematics.capacity.autoscaling.policy_comparison import (
    DAYS,
    RECORD,
    SLOTS,
    STARTUP_S,
    _static_sizes,
    measured_day,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record

COMMAND = "python -m serving_mathematics.capacity.autoscaling.policy_measurement"
SETTINGS = {
    "utilization": (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
    "concurrency": (0.6, 0.7, 0.8, 0.9, 1.0, 1.1),
    "knative": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    "forecast": (0.001, 0.01, 0.05, 0.2, 0.5, 0.9),
}
WAITING = (1.0, 5.0, 20.0)  # waiting requests per replica, with SLOTS[-1] slots
OTHERS = (  # policy, setting, start-up [s], error of the forecast; with one slot
    *(("static", float(size), STARTUP_S, 0.0) for size in (*_static_sizes(), 34, 38)),
    ("knative, delayed", 0.7, STARTUP_S, 0.0),
    ("knative", 0.7, 5.0, 0.0),
    ("utilization", 0.8, 600.0, 0.0),
    ("forecast", 0.01, STARTUP_S, -0.3),
)


def _measure_cell(
    policy: str, setting: float, startup_s: float, forecast_error: float, slots: int
) -> dict[str, Any]:
    """One cell of the record: the outcome of each day, field by field."""
    days = [
        asdict(measured_day(policy, setting, day, startup_s, forecast_error, slots))
        for day in range(DAYS)
    ]
    return {
        "policy": policy,
        "setting": setting,
        "startup_s": startup_s,
        "forecast_error": forecast_error,
        "slots": slots,
        "days": {field: [day[field] for day in days] for field in days[0]},
    }


def _measure() -> dict[str, Any]:
    """The whole record."""
    asked = [
        (policy, setting, STARTUP_S, 0.0, slots)
        for slots in SLOTS
        for policy, settings in SETTINGS.items()
        for setting in settings
    ]
    asked += [("waiting", threshold, STARTUP_S, 0.0, SLOTS[-1]) for threshold in WAITING]
    asked += [(*other, 1) for other in OTHERS]
    what = "simulated days of traffic under autoscaling policies, one outcome a day"
    cells = [_measure_cell(*cell) for cell in asked]
    return provenance(COMMAND, ["numpy"]) | {"what": what, "cells": cells}


def main() -> None:
    """Measure and write the record."""
    record = _measure()
    print(f"wrote {write_record(RECORD, record)}, {len(record['cells'])} cells of {DAYS} days")


def check_record_can_be_made_again() -> None:
    """A day with four slots in a replica, run again, is what the record says; `policy_comparison`
    says so of days with one.

    Source: the record, and its command.
    """
    asked = {"policy": "concurrency", "setting": 0.9, "slots": 4}
    cells = read_record(RECORD)["cells"]
    was = next(c["days"] for c in cells if {key: c[key] for key in asked} == asked)
    again = asdict(measured_day("concurrency", 0.9, 3, slots=4))
    for field in ("replica_hours", "violations", "direction_changes"):
        label = f"concurrency 0.9, 4 slots, {field.replace('_', ' ')}"
        checks.close(label, again[field], was[field][3], rtol=1e-9)


if __name__ == "__main__":
    main()
