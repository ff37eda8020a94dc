"""How much a few runs of a deployment improve the predictions of its others: scores on the record.

    python -m serving_mathematics.machine.predictions.calibration_scores

calibrates with one, two and three runs of every deployment that the record of published runs has
five of, predicts the others, and writes records/calibration_scores.json within three minutes. The
constants before calibration are fitted without any model of the deployment's shape. The runs that
calibrate are drawn at random; three are also taken at the fewest, the middle and the most requests,
and at the three lowest loads.

Assumes: deployments of the future gain as those of the record do; the spreads of `own_runs` were
chosen on one half of the deployments, drawn at random, and only the other half is quoted.

Source: records/machine_runs.json.gz, made from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import (
    START,
    errors,
    fit,
    tabulate,
    without_evidence,
)
from serving_mathematics.core.hardware.published_runs import (
    Run,
    _engine_runs,
    read_lines,
    read_runs,
)
from serving_mathematics.core.hardware.step_time import FITTED, Array, Constants, Work
from serving_mathematics.machine.predictions.own_runs import fit_moves, scaled_constants
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require_positive_integer

SCORES = "calibration_scores"
COMMAND = "python -m serving_mathematics.machine.predictions.calibration_scores"
FEW = (1, 2, 3)  # runs that calibrate
LEAST_RUNS = 5  # of a deployment: three that calibrate, and two to predict
PADDINGS = np.round(np.arange(0.8, 2.01, 0.05), 2)  # factors on a prediction
ALL = "all models"


def deployment_name(run: Run) -> str:
    """What a deployment's runs share: model, device, engine, precision, split and guesses.

    run: of the record.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> deployment_name(read_runs(read_lines()[:1])[0])
    'MiniMax-M2.5, 4 x b300_sxm (4 1 1), vllm, fp8'
    """
    one = run.answers
    split = f"{one.tensor} {one.attention_data} {one.expert}"
    guesses = f", {one.draft_tokens} guessed" if one.draft_tokens else ""
    where = f"{one.devices} x {one.system.name} ({split})"
    return f"{run.family}, {where}, {one.backend}, {one.precision}{guesses}"


def _errors_after(
    work: Work,
    first: Array,
    each: Array,
    base: Constants,
    drawn: NDArray[np.int64],
    few: int,
) -> dict[str, dict[str, Array]]:
    """Predicted over measured times of the runs that were not drawn, by time and by method."""
    used, rest = drawn[:few], drawn[few:]
    moved, _ = fit_moves(work.rows(used), first[used], each[used], base)
    start = loop_latencies(work, base)
    end = loop_latencies(work, scaled_constants(base, moved))
    told = {}
    for name, measured in (("per_token_s", each), ("first_token_s", first)):
        old, new = getattr(start, name) / measured, getattr(end, name) / measured
        factor = np.exp(np.median(np.log(old[used])))
        told[name] = {"before": old[rest], "after": new[rest], "one factor": old[rest] / factor}
    return told


def _by_load(runs: Sequence[Run], drawn: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Orders whose first three runs have spread or low loads; of equal loads the first drawn."""
    places = np.lexsort((np.argsort(drawn), np.array([run.concurrency for run in runs])))
    spread = [int(places[0]), int(places[len(places) // 2]), int(places[-1])]
    firsts = {"spread": spread, "low": places[: FEW[-1]].tolist()}
    return {
        name: np.array([*first, *(place for place in drawn.tolist() if place not in first)])
        for name, first in firsts.items()
    }


def _covered(slower: Array) -> dict[str, Any]:
    """What a plan covers, by the factor that it is multiplied by. slower: measured over
    predicted."""
    covered = (slower[:, None] <= PADDINGS * (1 + 1e-9)).mean(axis=0)
    error = float(np.median(np.abs(1 / slower - 1)))
    return {"median error": round(error, 4), "covered": np.round(covered, 3).tolist()}


def measure(runs: Sequence[Run]) -> dict[str, Any]:
    """How well each deployment's runs are predicted once some of them calibrated the model.

    runs: of one engine. Of every deployment with at least five, one, two and three drawn at random
    calibrate, and the others are predicted. Returns the `deployments` with median errors after
    three; the errors of `all` runs by number of calibrating runs, for the half of the deployments
    on which the spreads were chosen and for the other; and of the latter, by model, the `covered`
    shares of runs that are no slower than predicted times a factor.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> measure(read_runs(read_lines()[:4]))["deployments"]
    []
    """
    names = [deployment_name(run) for run in runs]
    every = list(dict.fromkeys(names))
    order = np.random.default_rng(3).permutation(len(every))
    chosen_on = {every[i] for i in order[: len(every) // 2]}
    rng, base = np.random.default_rng(7), dict[str, Constants]()
    rows: list[dict[str, Any]] = []
    pooled: dict[tuple[str, int, str, str], list[Array]] = {}
    slower: dict[tuple[str, int], list[Array]] = {}
    for name in every:
        members = [runs[i] for i, one in enumerate(names) if one == name]
        if len(members) < LEAST_RUNS:
            continue
        family = members[0].family
        if family not in base:
            rest = tabulate([run for run in runs if run.family != family])
            base[family] = without_evidence(fit(rest, START), rest)
        table = tabulate(members)
        times = table.engines, table.first_token_s, table.per_token_s, base[family]
        half = "chosen on" if name in chosen_on else "scored on"
        row: dict[str, Any] = {"deployment": name, "runs": len(members), "half": half}
        drawn = rng.permutation(len(members))
        for few in FEW:
            told = _errors_after(*times, drawn, few)
            if few == FEW[-1]:
                row["median error per token"] = {
                    key: round(float(np.median(np.abs(ratio - 1))), 4)
                    for key, ratio in told["per_token_s"].items()
                }
            for time, found in told.items():
                for key, ratio in found.items():
                    pooled.setdefault((half, few, time, key), []).append(ratio)
            if half == "scored on":
                parts = {few: told["per_token_s"]["after"], 0: told["per_token_s"]["before"]}
                for after, ratio in parts.items():
                    if after or few == FEW[-1]:  # the same runs after none, one and three
                        kept = 1 / ratio[FEW[-1] - few :]
                        slower.setdefault((family, after), []).append(kept)
        for label, ordered in _by_load(members, drawn).items():
            ratio = _errors_after(*times, ordered, FEW[-1])["per_token_s"]["after"]
            pooled.setdefault((half, FEW[-1], "per_token_s", f"{label} loads"), []).append(ratio)
        rows.append(row)
    scores = []
    for (half, few, time, key), parts_of in pooled.items():
        ratio = np.concatenate(parts_of)
        spread = np.quantile(1 / ratio, (0.1, 0.5, 0.9))
        scores.append(
            {"half": half, "few": few, "time": time, "method": key}
            | errors(ratio, np.ones(ratio.size))
            | {"measured over predicted": [round(float(value), 3) for value in spread]}
        )
    return {"all": scores, "deployments": rows, "covered": _by_model(slower)}


def _by_model(slower: dict[tuple[str, int], list[Array]]) -> dict[str, Any]:
    """Of all models and of each: runs, and what is covered after none, one and three own runs."""
    told: dict[str, Any] = {}
    for family in [ALL, *sorted({family for family, _ in slower})]:
        parts = {
            few: np.concatenate(
                [
                    x
                    for (one, n), xs in slower.items()
                    if n == few and family in (ALL, one)
                    for x in xs
                ]
                or [np.empty(0)]
            )
            for few in (0, 1, 3)
        }
        if parts[0].size:
            told[family] = {"runs": int(parts[0].size)}
            told[family] |= {str(few): _covered(part) for few, part in parts.items()}
    return told


def kept_error(few: int, time: str = "per_token_s", method: str = "after") -> dict[str, Any]:
    """What the record says of the runs that did not calibrate, where so many others did.

    few: runs that calibrated; from three on, three. time: "per_token_s" or "first_token_s". method:
    "before", "after" or "one factor", or, of three, "spread loads" or "low loads". Of the
    deployments on which nothing was chosen. Raises ValueError where the record has none such.

    >>> kept_error(3)["median"] < kept_error(1)["median"] < kept_error(1, method="before")["median"]
    True
    """
    few = require_positive_integer(few=few)
    wanted = ("scored on", min(few, FEW[-1]), time, method)
    for row in read_record(SCORES)["all"]:
        if (row["half"], row["few"], row["time"], row["method"]) == wanted:
            return dict(row)
    raise ValueError(f"time and method must be in the record, got {time!r} and {method!r}")


def main() -> int:
    """Calibrate every deployment of the record and write the scores."""
    runs = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    what = "predicted over measured times of deployments, before and after some runs calibrated"
    record = provenance(COMMAND, ("numpy",)) | {"what": what} | measure(runs)
    print(write_record(SCORES, record), file=sys.stderr)
    return 0


def example() -> SimpleNamespace:
    """Shares of the others' prompts that a first token waits for where lengths are equal."""
    return SimpleNamespace(
        lockstep_sglang=FITTED.lockstep_sglang, lockstep_vllm=FITTED.lockstep_vllm
    )


def check_equal_lengths_keep_step_in_one_engine_alone() -> None:
    """If all lengths are equal, a first token in SGLang waits for nearly half of the others'
    prompts, and in vLLM for few of them: with half, its time would be predicted three times too
    long or more.

    Source: published runs of equal lengths that hold 32 requests and more at a time.
    """
    runs = [run for run in _engine_runs() if run.answers.shortest_share == 1]
    runs = [run for run in runs if run.concurrency >= 32]
    half = replace(FITTED, lockstep_sglang=0.5, lockstep_vllm=0.5)
    for backend, low, high in (("sglang", 0.8, 1.25), ("vllm", 3.0, 6.0)):
        table = tabulate([run for run in runs if run.answers.backend == backend])
        for name, constants, least, most in (
            ("as fitted", FITTED, 0.85, 1.15),
            ("half", half, low, high),
        ):
            found = loop_latencies(table.engines, constants).first_token_s / table.first_token_s
            label = f"{backend}, {name}: predicted over measured"
            checks.inside(label, float(np.median(found)), least, most, kind="measured")


def check_deployments_are_predicted_better() -> None:
    """Three runs of a deployment bring the median error of its other runs to 55% of what it was or
    less, two to 60% and one to 75%. One factor on all times, from three runs, does less.

    Source: the record, for the half of the deployments on which nothing was chosen.
    """
    for few, most in ((1, 0.75), (2, 0.6), (3, 0.55)):
        before = kept_error(few, method="before")["median"]
        share = kept_error(few)["median"] / before
        checks.inside(f"{few} runs: after over before", share, 0.0, most)
    factor, four = kept_error(3, method="one factor")["median"], kept_error(3)["median"]
    checks.holds("better than one factor", four < factor, got=four)


if __name__ == "__main__":
    sys.exit(main())
