"""What the page says of the record, computed again from the record alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.core.batching.step_costs import fit_costs
from serving_mathematics.engine import vllm_record
from serving_mathematics.engine.engine_measurement import COMMAND
from serving_mathematics.engine.engine_record import (
    MODELS,
    RECORD,
    _error_rows,
    _errors,
    _model_rows,
    example,
    relative_errors,
    runs_at,
    workload_of,
)
from serving_mathematics.engine.measured_loads import DRIFT, WALL_OVER_CPU, change_s
from serving_mathematics.support.measuring import read_record

RECORDED = read_record(RECORD)


@pytest.mark.parametrize("record", [RECORD, vllm_record.RECORD])
@pytest.mark.parametrize(("kept", "known"), [("costs", 3), ("costs_with_pairs", 4)])
def test_costs_are_those_of_the_recorded_steps(kept: str, known: int, record: str) -> None:
    calibration = read_record(record)["calibration"]
    names = ("prompt_tokens", "decoding", "context_tokens", "prompt_pairs")[:known]
    tokens = [[row[name] for name in names] for row in calibration["rows"]]
    costs = fit_costs(tokens, [row["step_s"] for row in calibration["rows"]])
    assert vars(costs) == pytest.approx(calibration[kept], rel=1e-9)
    assert calibration["change_s"] == pytest.approx(change_s(calibration["changes"]))


def test_record_was_made_by_the_rules_of_today() -> None:
    assert RECORDED["command"] == COMMAND
    assert RECORDED["rules"]["drift"] == DRIFT
    assert RECORDED["rules"]["wall_over_cpu"] == WALL_OVER_CPU


def test_table_has_means_and_students_intervals() -> None:
    rows = _error_rows(RECORDED).split("\n")
    assert len(rows) == len(RECORDED["loads"]["rates"])
    rate = RECORDED["loads"]["rates"][0]
    runs = runs_at(RECORDED, rate)
    errors = [r["predicted"]["changes"]["ttft_s"][0] / r["measured"]["ttft_s"][0] - 1 for r in runs]
    assert relative_errors(runs, "ttft_s", 0) == pytest.approx(errors)
    half = stats.sem(errors) * stats.t.ppf(0.975, len(errors) - 1)
    assert f"{100 * np.mean(errors):+.0f} ± {100 * half:.0f}%" in rows[0].split("|")[3]
    came = sum(run["requests"] for run in runs) / (len(runs) * RECORDED["asked"]["run_s"])
    assert rows[0].startswith(f"| {rate:g}, {came:.1f} |")


def test_a_seed_gives_the_requests_of_its_run() -> None:
    for run in RECORDED["loads"]["runs"]:
        asked = workload_of(RECORDED, run)
        assert (asked.arrival_s.size, asked.output_tokens.sum()) == (
            run["requests"],
            run["asked_tokens"],
        )


def test_example_counts_what_was_refused() -> None:
    shown = example()
    assert shown.engine_runs == len(RECORDED["loads"]["runs"])
    parts = ("loads", "calibration", "trace", "budgets")
    refused = sum(len(RECORDED[part]["refused"]) for part in parts)
    assert shown.engine_refused == refused


@pytest.mark.parametrize("model", ["costs", "prompts", "changes", "stretched"])
def test_errors_of_a_model_by_hand(model: str) -> None:
    runs = RECORDED["loads"]["runs"]
    ratios = [
        [run["predicted"][model][name][place] / run["measured"][name][place] - 1 for run in runs]
        for place in (0, 1)
        for name in ("ttft_s", "tpot_s")
    ]
    middle, tail, bias = _errors(runs, model)
    assert middle == pytest.approx(np.median(np.abs([*ratios[0], *ratios[1]])))
    assert tail == pytest.approx(np.median(np.abs([*ratios[2], *ratios[3]])))
    assert bias == pytest.approx(np.mean([*ratios[0], *ratios[1]]))


def test_rows_of_models_say_what_one_run_says() -> None:
    """Of a record with a single run: steps in all, medians and tails of two latencies each."""
    run = RECORDED["loads"]["runs"][0]
    rows = _model_rows({"loads": {"runs": [run]}}).split("\n")
    for row, (model, said) in zip(rows, run["predicted"].items(), strict=True):
        _, named, own, *errors, _ = (cell.strip() for cell in row.split("|"))
        steps = run["steps_s"]
        whole = f"{100 * (steps[model] / steps['measured'] - 1):+.0f}%" if model in steps else ""
        assert (named, own) == (MODELS[model], whole)
        middle, tail = (
            [100 * (said[name][k] / run["measured"][name][k] - 1) for name in ("ttft_s", "tpot_s")]
            for k in (0, 1)
        )
        sizes = [f"{np.median(np.abs(found)):.0f}%" for found in (middle, tail)]
        assert errors == [*sizes, f"{np.mean(middle):+.0f}%"]


def test_tables_have_a_row_for_each_kind() -> None:
    shown = example()
    assert shown.engine_model_rows.count("\n") == 3
    budgets = [row.split("|")[1].strip() for row in shown.engine_budget_rows.split("\n")]
    assert budgets == ["64", "128", "256", "512"]
    runs = RECORDED["trace"]["runs"]
    assert f"| {sum(run['requests'] for run in runs)} |" in shown.engine_trace_rows


def test_without_the_cost_of_changes_every_median_was_predicted_too_fast() -> None:
    runs = read_record(RECORD)["loads"]["runs"]
    for latency in ("ttft_s", "tpot_s"):
        assert max(relative_errors(runs, latency, 0, "costs")) < 0
