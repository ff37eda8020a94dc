"""Errors of the step model by kind: the record, its classes, the nearest runs, and refusals."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.machine.predictions.calibration_scores import kept_error
from serving_mathematics.machine.predictions.front_scores import (
    FRONT_SCORES,
    NINE_IN_TEN,
    ONE_IN_TEN,
)
from serving_mathematics.machine.predictions.own_runs import Calibration, OwnRun, calibrate
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.capacity_planner import model_errors
from serving_mathematics.planner.capacity_planner.model_errors import (
    RECORD,
    RUN_COLUMNS,
    ModelError,
    NearRun,
    behind_error,
    calibrated_error,
    model_error,
    nearest_runs,
)
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support.measuring import read_record, write_record


def test_the_record_is_whole() -> None:
    record = read_record(RECORD)
    assert record["command"] == model_errors.COMMAND
    assert tuple(record["columns"]) == RUN_COLUMNS
    rows = record["rows"]
    assert len(rows) == 3555  # of 3,610 aggregated runs, those that are not whole fleets
    for place in (RUN_COLUMNS.index("tpot_ratio"), RUN_COLUMNS.index("ttft_ratio")):
        assert all(row[place] > 0 for row in rows)


@pytest.mark.parametrize("kind", ["dense, hopper", "mixture, blackwell"])
def test_a_width_counts_by_itself_from_so_many_runs_on(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [model_error(kind, devices) for devices in (1, 2, 4, 8)]
    fewest = min(found, key=lambda one: one.runs)
    for least, alone in ((fewest.runs, True), (fewest.runs + 1, False)):
        monkeypatch.setattr(model_errors, "LEAST_RUNS", least)
        assert (model_error(kind, fewest.devices) == fewest) is alone


def test_bounds_hold_eight_of_ten_of_their_kind() -> None:
    rows = read_record(RECORD)["rows"]
    hopper, latent = ("h100_sxm", "h200_sxm"), ("Deep", "Kimi", "GLM-")
    dense = [row for row in rows if row[1] in hopper and not row[5]]
    mixed = [row for row in rows if row[1] not in hopper and row[0][:4] in latent]
    for devices, kind, own in (
        (1, "dense, hopper", dense),
        (8, "latent mixture, blackwell", mixed),
    ):
        found = model_error(kind, devices)
        assert isinstance(found, ModelError)
        mine = [row for row in own if row[4] == devices]
        ratios = [row[10] for row in mine]
        assert found.runs == len(ratios)
        assert found.on == Counter(row[1] for row in mine)
        inside = np.mean([found.low <= ratio <= found.high for ratio in ratios])
        assert inside == pytest.approx(0.8, abs=0.02)  # some ratios are equal
        wide = model_error(kind, devices, 0.98)
        assert wide.low < found.low < found.high < wide.high


def test_rare_widths_borrow_from_narrower_ones_and_rare_kinds_from_their_shape() -> None:
    assert model_error("dense, hopper", 3).devices == 2
    assert model_error("mixture, hopper", 64).devices == 8
    unknown = model_error("dense, cdna", 1)
    assert unknown.runs > model_error("dense, hopper", 1).runs
    assert unknown.kind == "dense, blackwell or dense, hopper, on 1 device"


def test_no_error_lies_between_what_steps_may_err_by() -> None:
    wide = ModelError(0.8, 1.3, runs=9, devices=1)
    slow, fast = replace(wide, low=1.1), replace(wide, high=0.9)
    assert [one.span() for one in (wide, slow, fast)] == [(0.8, 1.3), (1.0, 1.3), (0.8, 1.0)]


def test_the_nearest_run_is_of_the_same_deployment_where_there_is_one() -> None:
    one = deployed("gpt-oss-120b", "H200", precision="fp4", tensor=4)
    first, *others = nearest_runs(one, 32, 1024, 1024)
    assert isinstance(first, NearRun)
    assert first.what == (
        "gpt-oss-120b on 4 × H200 SXM, vllm, fp4, 1,024 in, 1,024 out, 32 at a time"
    )
    assert len({run.what for run in (first, *others)}) == 3
    assert nearest_runs(one, 32, 1024, 1024, count=1) == [first]


def test_a_run_that_beats_its_data_sheet_is_marked() -> None:
    """Of the runs like a plan of Qwen3-32B, those whose devices would read weights and cache at
    more than their bandwidth; by hand."""
    asked = {"rate_per_s": 1, "model": "Qwen3-32B", "precision": "fp8", "parallelism": "tp2"}
    (one,) = (x.deployment for x in read_choices(asked | {"device": "H100"}))
    weights, token = one.architecture.parameters, 64 * 2 * 8 * 128 * 2
    for run in nearest_runs(one, 48, 4000, 1000):
        size, prompt, answer, held = (
            float(found.replace(",", ""))
            for found in re.search(
                r"(\d) × .* ([\d,]+) in, ([\d,]+) out, (\d+) at", run.what
            ).groups()
        )
        width = 2 if "bf16" in run.what else 1
        read = (width * weights + held * (prompt + answer / 2) * token) / size / 3.35e12
        assert run.beyond == (run.tpot_s < read)
    assert nearest_runs(one, 48, 4000, 1000)[0].beyond


def test_the_command_writes_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = functools.partial(write_record, folder=tmp_path)
    monkeypatch.setattr(model_errors, "write_record", here)
    rows = [["model", *([1] * 11)]]
    monkeypatch.setattr(model_errors, "_rows", lambda: rows)
    model_errors.main()
    file = tmp_path / f"{RECORD}.json.gz"
    assert json.loads(gzip.decompress(file.read_bytes()))["rows"] == rows
    assert "1 runs" in capsys.readouterr().out


SMOOTH = ((1, 0.0075), (16, 0.0095), (64, 0.016))  # requests at a time, and seconds a token


@functools.cache
def fitted(loads: tuple[tuple[int, float], ...]) -> Calibration:
    """The step model with runs of these loads and times."""
    runs = [OwnRun(replace(WORKED, concurrency=load), 0.1, each) for load, each in loads]
    return calibrate(runs)


def test_a_load_test_makes_the_error_smaller_unless_it_disagrees_with_itself() -> None:
    rough = ((1, 0.0075), (16, 0.019), (64, 0.016))
    found = [calibrated_error(fitted(loads), "benchmark") for loads in (SMOOTH[:1], SMOOTH, rough)]
    one, three, torn = found
    assert [error.calibrated_by for error in found] == [1, 3, 3]
    plain = model_error("dense, hopper", 1)
    assert three.high - three.low < one.high - one.low < plain.high - plain.low
    assert torn.high > 1.3 > three.high


@pytest.mark.parametrize("count", [1, 2])
def test_a_load_test_that_its_own_fit_leaves_off_widens_the_verdict(count: int) -> None:
    """What takes 40 times as long is not within a sixth of what was predicted."""
    loads = ((1, 0.3), (16, 0.4))[:count]
    calibration = fitted(loads)
    residual = np.array([each for _, each in loads]) / calibration.after.per_token_s
    found = calibrated_error(calibration, "benchmark")
    assert found.high == max(residual) > 5
    near = calibrated_error(calibrate([OwnRun(WORKED, 0.1, 0.0085)]), "benchmark")
    low, _, high = kept_error(1)["measured over predicted"]
    assert (near.low, near.high) == (low, high)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_where_no_front_is_named_a_load_test_leaves_what_a_harness_left_out_did(count: int) -> None:
    """The bound is that of runs behind a front of which the constants knew nothing, after as many
    others calibrated them; it was that of tuned engines, which such runs left more often."""
    calibration, harnesses = fitted(SMOOTH[:count]), read_record(FRONT_SCORES)["harnesses"]
    tuned, named, open_ = (
        calibrated_error(calibration, front) for front in ("benchmark", "ml-energy", "")
    )
    left_out = harnesses["ml-energy"][f"benchmark front and {count} of the deployment"]
    own = harnesses["ml-energy"][f"own front and {count} of the deployment"]
    assert open_.high == left_out[NINE_IN_TEN] > tuned.high
    assert named.high == max(tuned.high, own[NINE_IN_TEN]) < open_.high
    assert open_.low <= left_out[ONE_IN_TEN]
    assert (tuned.runs, open_.runs) == (kept_error(count)["runs"], left_out["runs"])
    with pytest.raises(ValueError, match="front 'nope' is not known"):
        calibrated_error(calibration, "nope")


def test_a_plan_says_whose_runs_bound_it_and_what_was_named() -> None:
    asked = {"rate_per_s": 60, "parallelism": "tp1", "load_test": "1:0.1:0.0075,16:0.1:0.0095"}
    asked |= {"requests": 100}
    lines = {}
    for front in ({}, {"front": "ml-energy"}, {"front": "benchmark"}):
        told = answer(read_choices(asked | front))
        (line,) = [one.value for one in answer_lines(told) if "calibrated" in one.value]
        lines[front.get("front", "")] = line
    assert "of ml-energy, of whose front nothing was known, that 2 others calibrated" in lines[""]
    assert "deployments of ml-energy that 2 others calibrated" in lines["ml-energy"]
    assert "deployments of tuned engines that 2 others calibrated" in lines["benchmark"]


def test_a_plan_behind_another_front_is_less_sure() -> None:
    """Its bound is never narrower than of tuned engines, and more replicas are taken for slow steps
    than of a plan that has the same steps and the tuned engines' bound.
    """
    tuned = model_error("dense, hopper", 1)
    fronts = ("unknown", "ml-energy", "inference-perf", "engine")
    found = {front: behind_error(tuned, front) for front in fronts}
    assert all(one.high >= tuned.high and one.low == tuned.low for one in found.values())
    assert found["unknown"].high > found["ml-energy"].high > tuned.high
    assert found["engine"].behind == "17 runs of engine"
    wide = behind_error(replace(tuned, high=9.0), "unknown")
    assert (wide.high, wide.behind) == (9.0, "378 runs of ml-energy")
    asked: dict[str, object] = {"rate_per_s": 60, "parallelism": "tp1", "precision": "bf16"}
    asked |= {"requests": 100}
    told = answer(read_choices(asked | {"front": "unknown"}))
    assert told.error.behind
    assert told.if_slower is not None
    assert told.if_slower > (answer(read_choices(asked)).if_slower or 0)
    (line,) = [one.value for one in answer_lines(told) if "behind this front" in one.value]
    assert line.startswith("nine in ten of 378 runs of ml-energy took at most 1.70")
