"""What the page says of the record, computed again from the record alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.engine.engine_measurement import COMMAND, DRIFT, WALL_OVER_CPU
from serving_mathematics.engine.engine_record import (
    RECORD,
    _error_rows,
    _explained,
    engine_with,
    example,
    relative_errors,
    runs_at,
    workload_of,
)
from serving_mathematics.engine.load_prediction import latency_quantiles
from serving_mathematics.engine.step_costs import StepCosts, fit_costs
from serving_mathematics.measuring import read_record
from serving_mathematics.optimization.continuous_batching import TICK_S
from serving_mathematics.optimization.event_skipping import simulate

RECORDED = read_record(RECORD)


def test_costs_are_those_of_the_recorded_steps() -> None:
    rows = RECORDED["calibration"]["rows"]
    tokens = [[row["prompt_tokens"], row["decoding"], row["context_tokens"]] for row in rows]
    costs = fit_costs(tokens, [row["step_s"] for row in rows])
    recorded = StepCosts(**RECORDED["calibration"]["costs"])
    assert vars(costs) == pytest.approx(vars(recorded), rel=1e-9)


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


def test_a_change_costs_what_the_tuned_runs_ask_and_others_judge_it() -> None:
    """Runs of odd seeds judge, and nothing of them is in the cost."""
    found = _explained()
    runs = RECORDED["loads"]["runs"]
    assert found.judged == sum(run["seed"] % 2 for run in runs)
    engine = engine_with(RECORDED, True, found.change_s)
    assert engine.table is not None
    assert TICK_S * engine.table.change == pytest.approx(found.change_s)

    def errors(rest: int, place: int) -> list[float]:
        told = []
        for run in runs:
            if run["seed"] % 2 == rest:
                asked = workload_of(RECORDED, run)
                said = latency_quantiles(asked, simulate(asked, engine))
                told += [
                    said[name][place] / run["measured"][name][place] - 1 for name in sorted(said)
                ]
        return told

    middle, tail, bias = found.errors["changes"]
    assert middle == pytest.approx(np.median(np.abs(errors(1, 0))))
    assert tail == pytest.approx(np.median(np.abs(errors(1, 1))))
    assert bias == pytest.approx(np.mean(errors(1, 0)))
    tuned = [1 + error for error in errors(0, 0)[::2]]  # TPOT, right in the geometric mean
    assert np.log(tuned).mean() == pytest.approx(0.0, abs=2e-3)
    assert list(found.errors) == ["costs", "prompts", "changes"]
