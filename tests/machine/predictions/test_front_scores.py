"""Scores of fronts: on runs made behind a known front, and in the record."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.fronts import FRONTS, Front, front_constants, steps_alone
from serving_mathematics.core.hardware.harness_runs import HarnessRun
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.machine.predictions import front_scores
from serving_mathematics.machine.predictions.front_scores import (
    NINE_IN_TEN,
    ONE_IN_TEN,
    after_own_runs,
    latencies_of,
    main,
    measure_fronts,
    score_harness,
)
from serving_mathematics.support.measuring import read_record

RECORD = read_record("front_scores")


LOADS = 1.0, 8.0, 64.0, 256.0


def made(
    front: Front, harness: str = "ml-energy", loads: tuple[float, ...] = LOADS
) -> list[HarnessRun]:
    """Some loads of two models, as the step model has them behind a front."""
    runs = []
    for name in ("Llama-3.1-8B", "Qwen3-8B"):
        for load in loads:
            one = replace(WORKED, architecture=find_model(name)[0], concurrency=load)
            work, constants = count_work([one]), front_constants(front)
            found = (loop_latencies if harness == "inference-perf" else steps_alone)(
                work, constants
            )
            first = float(found.first_token_s[0])
            runs.append(HarnessRun(harness, name, one, float(found.per_token_s[0]), first))
    return runs


def test_runs_behind_a_front_are_predicted_behind_it() -> None:
    told = score_harness(made(FRONTS["ml-energy"], loads=(*LOADS, 512.0))[:9])  # five of one model
    assert told["named fronts"]["ml-energy"]["median"] < 1e-3
    assert told["named fronts"]["benchmark"]["signed"] < -0.1
    assert told["fitted"]["scale"] == pytest.approx(FRONTS["ml-energy"].scale, abs=0.02)
    assert told["own front, model left out"]["median"] < 0.01
    assert set(told["own front, model left out"]["by model"]) == {"Llama-3.1-8B", "Qwen3-8B"}
    three = told["own front and 3 of the deployment"]
    assert (three["runs"], three["median"] < 0.02) == (2, True)


def test_means_have_prompts_in_them() -> None:
    runs = made(FRONTS["inference-perf"], "inference-perf")[:4]
    assert latencies_of(runs) is loop_latencies
    told = measure_fronts(runs)
    assert told["harnesses"]["inference-perf"]["named fronts"]["inference-perf"]["median"] < 1e-3
    assert set(told["benchmark"]) == {"fitted, behind the unknown front"}


def test_more_own_runs_leave_less_and_three_stand_for_more() -> None:
    away = RECORD["harnesses"]["ml-energy"]
    for front in ("own", "unknown", "benchmark"):
        found = [after_own_runs(away, front, few) for few in (1, 2, 3, 9)]
        medians = [one["median"] for one in found if one]
        assert medians[0] > medians[1] > medians[2] == medians[3]
        assert found[2] == away[f"{front} front and 3 of the deployment"]
        bounds = [(one[ONE_IN_TEN], one[NINE_IN_TEN]) for one in found if one]
        assert all(low < 1 < high for low, high in bounds)
    assert after_own_runs({}, "own", 1) is None


def test_the_record_is_written_or_the_folder_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "folder must be one with ml_energy.csv" in said[0]
    assert "arguments must be a folder" in said[1]
    written: dict[str, object] = {}
    monkeypatch.setattr(front_scores, "read_files", lambda _: made(FRONTS["engine"], "engine")[:4])
    monkeypatch.setattr(
        front_scores, "write_record", lambda name, told: written.update({name: told})
    )
    assert main([str(tmp_path)]) == 0
    assert json.dumps(written["front_scores"])


def test_the_record_has_no_row_of_others() -> None:
    text = json.dumps(RECORD)
    assert "states none" in RECORD["licence"]
    assert len(text) < 20_000  # scores, not 400 runs
    assert RECORD["harnesses"]["ml-energy"]["runs"] == 378
