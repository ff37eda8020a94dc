"""Scores the step model on harnesses that its constants were not fitted to, by front.

    python -m serving_mathematics.machine.predictions.front_scores .cache/harnesses

reads the three files of `harness_runs` from a folder, predicts every run behind each front, and its
own without any model of its shape, and after one to three
runs of its deployment, behind its own front, the unknown one and that of tuned benchmarks, which
knows nothing of it; and writes records/front_scores.json within two minutes. No row is kept.

Assumes: a median of inter-token times is a step without prompts; batches are as measured.

Source: see `harness_runs`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import Latencies, loop_latencies
from serving_mathematics.core.hardware.calibration import (
    errors,
    predict_runs,
    tabulate,
)
from serving_mathematics.core.hardware.fronts import (
    FRONTS,
    Front,
    fit_front,
    front_constants,
    steps_alone,
)
from serving_mathematics.core.hardware.harness_runs import HarnessRun, read_files
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.core.hardware.step_time import Array, Constants, Work, count_work
from serving_mathematics.machine.predictions.own_runs import fit_moves, scaled_constants
from serving_mathematics.support.measuring import provenance, write_record
from serving_mathematics.support.require import require, require_positive_integer

FRONT_SCORES = "front_scores"
COMMAND = "python -m serving_mathematics.machine.predictions.front_scores .cache/harnesses"
ONE_IN_TEN = "measured over predicted, one in ten"
NINE_IN_TEN = "measured over predicted, nine in ten"
LEAST_RUNS = 5  # of a deployment: three that calibrate, and two to predict
FEW = (1, 2, 3)  # runs that calibrate
DRAWS = 8  # of them, at random


def latencies_of(runs: Sequence[HarnessRun]) -> Callable[[Work, Constants], Latencies]:
    """What predicts these runs: steps alone, or with the prompts of others between them.

    runs: of one harness.

    >>> latencies_of([]).__name__
    'steps_alone'
    """
    return loop_latencies if runs and runs[0].whole else steps_alone


def _deployment(run: HarnessRun) -> tuple[object, ...]:
    one = run.deployment
    split = one.tensor, one.attention_data, one.expert, run.task
    return run.family, one.architecture.name, one.system.name, one.precision, *split


def _calibrated(
    runs: Sequence[HarnessRun], bases: Sequence[Constants], few: int
) -> tuple[Array, Array]:
    """Predicted and measured times of the runs that did not calibrate, by `few` that did, drawn
    again and again."""
    latencies = latencies_of(runs)
    rng = np.random.default_rng(5)
    got, told = [], []
    for name in dict.fromkeys(map(_deployment, runs)):
        places = [place for place, run in enumerate(runs) if _deployment(run) == name]
        if len(places) < LEAST_RUNS:
            continue
        work = count_work([runs[place].deployment for place in places])
        each = np.array([runs[place].per_token_s for place in places])
        silent, base = np.full(few, np.nan), bases[places[0]]
        for _ in range(DRAWS):
            used, rest = np.split(rng.permutation(len(places)), [few])
            moved, _ = fit_moves(work.rows(used), silent, each[used], base, latencies=latencies)
            got.append(latencies(work.rows(rest), scaled_constants(base, moved)).per_token_s)
            told.append(each[rest])
    return np.concatenate([np.empty(0), *got]), np.concatenate([np.empty(0), *told])


def _scores(predicted: Array, measured: Array) -> dict[str, float | int]:
    """Errors of some times, and the factors at which one and nine in ten are no slower."""
    low, high = np.quantile(measured / predicted, (0.1, 0.9)).round(3).tolist()
    return errors(predicted, measured) | {ONE_IN_TEN: low, NINE_IN_TEN: high}


def after_own_runs(scores: Mapping[str, Any], front: str, few: int) -> Mapping[str, Any] | None:
    """What the record says of a harness's runs once so many of their deployment calibrated.

    scores: of the harness. front: "own", "unknown" or "benchmark", before the runs. few: runs; from
    three on, three. Returns None where the harness has no deployment of five runs. Raises
    ValueError for no run.

    >>> from serving_mathematics.support.measuring import read_record
    >>> scores = read_record("front_scores")["harnesses"]["ml-energy"]
    >>> after_own_runs(scores, "own", 3)["median"] < after_own_runs(scores, "own", 1)["median"]
    True
    """
    few = require_positive_integer(few=few)
    return scores.get(f"{front} front and {min(few, FEW[-1])} of the deployment")


def score_harness(runs: Sequence[HarnessRun]) -> dict[str, Any]:
    """Errors of the time per token of one harness's runs, by front.

    runs: one or more, of one harness. Raises ValueError where there is none.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.harness_runs import HarnessRun
    >>> run = HarnessRun("engine", "Meta-Llama-3.1-8B", WORKED, 0.01, float("nan"))
    >>> found = score_harness([run])
    >>> found["runs"], sorted(found["named fronts"])[0]
    (1, 'benchmark')
    """
    require(len(runs) > 0, "runs", "one or more", "none")
    harness, latencies = runs[0].harness, latencies_of(runs)
    work = count_work([run.deployment for run in runs])
    each = np.array([run.per_token_s for run in runs])

    def told(front: Front) -> dict[str, float | int]:
        return _scores(latencies(work, front_constants(front)).per_token_s, each)

    families = np.array([run.family for run in runs])
    fitted = fit_front(work, each, FRONTS["unknown"], latencies=latencies)
    result: dict[str, Any] = {
        "runs": len(runs),
        "named fronts": {name: told(front) for name, front in FRONTS.items()},
        "fitted": {
            "scale": round(fitted.scale, 3),
            "host [us]": round(1e6 * fitted.sequence_s, 1),
            "errors": told(fitted),
        },
    }
    bases = [front_constants(FRONTS[harness])] * len(runs)
    if len(set(families)) > 1:
        predicted = np.empty(each.size)
        for family in dict.fromkeys(families.tolist()):
            index = families == family
            rest = np.flatnonzero(~index)
            front = fit_front(work.rows(rest), each[rest], fitted, latencies=latencies)
            base = front_constants(front)
            predicted[index] = latencies(work.rows(index), base).per_token_s
            bases = [base if mine else one for mine, one in zip(index, bases, strict=True)]
        result["own front, model left out"] = _scores(predicted, each) | {
            "by model": {
                family: errors(predicted[families == family], each[families == family])
                for family in sorted(set(families.tolist()))
            }
        }
    for name in ("own", "unknown", "benchmark"):
        known = bases if name == "own" else [front_constants(FRONTS[name])] * len(runs)
        for few in FEW:
            got, measured = _calibrated(runs, known, few)
            if got.size:
                told_of = _scores(got, measured) | {"runs": got.size // DRAWS}
                result[f"{name} front and {few} of the deployment"] = told_of
    return result


def measure_fronts(runs: Sequence[HarnessRun]) -> dict[str, Any]:
    """Scores of all harnesses, and of the benchmark with its own harness left out.

    runs: of one harness or more.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.harness_runs import HarnessRun
    >>> run = HarnessRun("engine", "Meta-Llama-3.1-8B", WORKED, 0.01, float("nan"))
    >>> sorted(measure_fronts([run]))
    ['benchmark', 'harnesses']
    """
    table = tabulate([run for run in read_runs(read_lines()) if run.kind != "separate"])
    harnesses = dict.fromkeys(run.harness for run in runs)
    away = predict_runs(table, front_constants(FRONTS["unknown"]))
    return {
        "harnesses": {
            name: score_harness([run for run in runs if run.harness == name]) for name in harnesses
        },
        "benchmark": {
            "fitted, behind the unknown front": errors(away.per_token_s, table.per_token_s)
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the files of a folder and write the record: 2 where there is none to read."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        require(len(given) == 1, "arguments", "a folder with the files of harness_runs", given)
        runs = read_files(Path(given[0]))
    except ValueError as problem:
        print(f"front_scores: {problem}", file=sys.stderr)
        return 2
    record = provenance(COMMAND, ("numpy",)) | {
        "title": "Errors of times per token on other harnesses, by front",
        "source": "ML.ENERGY leaderboard v3 (github.com/ml-energy/leaderboard, public/data/tasks), "
        "kubernetes-sigs/inference-perf, demos/kubecon-na-2025; casys-kaist/LLMServingSim, vLLM "
        "0.19 on an RTX PRO 6000",
        "licence": "the leaderboard's repository states none, so no row of it is kept here, only "
        "these scores; Apache-2.0; MIT",
    }
    print(write_record(FRONT_SCORES, record | measure_fronts(runs)), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
