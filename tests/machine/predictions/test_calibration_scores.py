"""Scores of calibration on the record: which deployments, which runs, what is quoted."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.machine.predictions import calibration_scores
from serving_mathematics.machine.predictions.calibration_scores import (
    _by_load,
    deployment_name,
    kept_error,
    main,
    measure,
)


def test_deployments_of_the_record() -> None:
    runs = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    assert len({deployment_name(run) for run in runs}) == 187
    names = [deployment_name(run) for run in runs]
    kinds = [name for name in dict.fromkeys(names) if names.count(name) >= 8]
    kinds = [kinds[0], next(name for name in kinds if name[:5] != kinds[0][:5])]
    few = [
        run
        for kind in kinds
        for run in [one for one, name in zip(runs, names, strict=True) if name == kind][:8]
    ]
    told, seen = measure(few), []
    assert [(row["deployment"], row["runs"]) for row in told["deployments"]] == [
        (kind, 8) for kind in kinds
    ]
    assert {row["few"]: row["runs"] for row in told["all"]} == {1: 7, 2: 6, 3: 5}
    for row in told["deployments"]:  # one of each half
        for one in told["all"]:
            mine = (one["half"], one["few"], one["time"]) == (row["half"], 3, "per_token_s")
            if mine and "loads" not in one["method"]:
                median = row["median error per token"][one["method"]]
                assert median == pytest.approx(one["median"], abs=1e-4)
                seen.append(one["method"])
    assert sorted(seen) == sorted(["after", "before", "one factor"] * 2)
    covered = told["covered"]
    scored = sum(row["runs"] - 3 for row in told["deployments"] if row["half"] == "scored on")
    assert covered["all models"]["runs"] == scored == 5


def test_orders_by_load() -> None:
    every = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    name = deployment_name(every[0])
    runs = [run for run in every if deployment_name(run) == name]
    drawn = np.random.default_rng(1).permutation(len(runs))
    orders = _by_load(runs, drawn)
    loads = np.array([run.concurrency for run in runs])
    for order in orders.values():
        assert sorted(order.tolist()) == list(range(len(runs)))
    spread, low = orders["spread"][:3], orders["low"][:3]
    assert loads[spread[0]] == loads.min()
    assert loads[spread[2]] == loads.max()
    assert loads[spread[1]] == sorted(loads.tolist())[len(runs) // 2]
    assert sorted(loads[low].tolist()) == sorted(loads.tolist())[:3]
    rest = [place for place in drawn.tolist() if place not in spread]
    assert orders["spread"][3:].tolist() == rest


def test_more_than_three_runs_have_the_error_of_three() -> None:
    assert kept_error(9) == kept_error(3)
    with pytest.raises(ValueError, match="few must be"):
        kept_error(0)
    with pytest.raises(ValueError, match="time and method must be"):
        kept_error(1, "per day")


def test_the_record_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {}
    monkeypatch.setattr(calibration_scores, "measure", lambda runs: {"all": [len(runs)]})
    monkeypatch.setattr(
        calibration_scores, "write_record", lambda name, content: written.update({name: content})
    )
    assert main() == 0
    assert written["calibration_scores"]["all"] == [3555]
