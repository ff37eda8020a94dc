"""What the page says of the record, computed again from the record alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.engine.engine_measurement import COMMAND, DRIFT, WALL_OVER_CPU
from serving_mathematics.engine.engine_record import (
    RECORD,
    _error_rows,
    example,
    relative_errors,
    runs_at,
)
from serving_mathematics.engine.step_costs import fit_costs
from serving_mathematics.measuring import read_record

RECORDED = read_record(RECORD)


def test_costs_are_those_of_the_recorded_steps() -> None:
    rows = RECORDED["calibration"]["rows"]
    tokens = [[row["prompt_tokens"], row["decoding"], row["context_tokens"]] for row in rows]
    costs = fit_costs(tokens, [row["step_s"] for row in rows])
    assert vars(costs) == pytest.approx(RECORDED["calibration"]["costs"], rel=1e-9)


def test_record_was_made_by_the_rules_of_today() -> None:
    assert RECORDED["command"] == COMMAND
    assert RECORDED["rules"]["drift"] == DRIFT
    assert RECORDED["rules"]["wall_over_cpu"] == WALL_OVER_CPU


def test_table_has_means_and_students_intervals() -> None:
    rows = _error_rows(RECORDED).split("\n")
    assert len(rows) == len(RECORDED["loads"]["rates"])
    rate = RECORDED["loads"]["rates"][0]
    runs = runs_at(RECORDED, rate)
    errors = [r["predicted"]["ttft_s"][0] / r["measured"]["ttft_s"][0] - 1 for r in runs]
    assert relative_errors(runs, "ttft_s", 0) == pytest.approx(errors)
    half = stats.sem(errors) * stats.t.ppf(0.975, len(errors) - 1)
    assert f"{100 * np.mean(errors):+.0f} ± {100 * half:.0f}%" in rows[0].split("|")[3]
    assert rows[0].split("|")[1].strip() == f"{rate:g}"


def test_example_counts_what_was_refused() -> None:
    shown = example()
    assert shown.engine_runs == len(RECORDED["loads"]["runs"])
    refused = len(RECORDED["loads"]["refused"]) + len(RECORDED["calibration"]["refused"])
    assert shown.engine_refused == refused
    assert shown.engine_warm_pairs + shown.engine_one_left_pairs == sum(
        row["of"] for row in RECORDED["prefixes"]
    )
