"""How far a plan may be off because the step model is: by devices and kind of model, from runs.

Every published run of one engine was predicted with constants fitted without any model of its
shape. The ratio of measured to predicted time per token says by how much steps of that kind are
slower or faster than planned; eight of ten lie between its tenths and its nine tenths. A plan is
made again with steps that much faster and slower, and the runs that are most like it are named.

`python -m serving_mathematics.planner.capacity_planner.model_errors` writes
records/planner_errors.json.gz in about ten seconds.

Assumes: deployments of the future err as those of the record do. Of a device on which no run was
measured nothing is assumed: its error is `UNKNOWN`, and no bound of other devices is its.

Source: records/machine_runs.json.gz and `calibration` for the runs and the left-out predictions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.catalogue import find_model, systems
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.fronts import find_front
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import count_work, decode_step_s
from serving_mathematics.machine.predictions.calibration_scores import kept_error
from serving_mathematics.machine.predictions.front_scores import (
    FRONT_SCORES,
    NINE_IN_TEN,
    ONE_IN_TEN,
    after_own_runs,
)
from serving_mathematics.machine.predictions.own_runs import Calibration
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    require,
    require_in,
    require_positive,
    require_positive_integer,
)

RECORD = "planner_errors"
COMMAND = "python -m serving_mathematics.planner.capacity_planner.model_errors"
RUN_COLUMNS = (
    *("model", "system", "backend", "precision", "devices", "sparse", "concurrency"),
    *("prompt_tokens", "output_tokens", "tpot_s", "tpot_ratio", "ttft_ratio"),
)
LEAST_RUNS = 30  # of a kind; with fewer, those of the next smaller width count too
WEIGHTS = {  # how unlike two deployments are, by what differs
    "model": 1.0,
    "sparse": 3.0,
    "system": 1.0,
    "precision": 1.0,
    "backend": 0.5,
    "devices": 1.0,  # for each doubling, as below
    "concurrency": 0.3,
    "prompt_tokens": 0.2,
    "output_tokens": 0.2,
}


@dataclass(frozen=True)
class ModelError:
    """Measured over predicted time per token: between what eight of ten runs lie; of how many runs,
    on how many devices, of which kind, how many were on which device, and how many others
    calibrated the model."""

    low: float
    high: float
    runs: int
    devices: int
    kind: str = ""
    on: Mapping[str, int] = field(default_factory=dict)
    calibrated_by: int = 0
    behind: str = ""  # whose runs the upper bound is of, where they were not those of the record

    @property
    def known(self) -> bool:
        """Whether any run says how far steps are off."""
        return self.runs > 0

    def span(self) -> tuple[float, float]:
        """From the fastest to the slowest steps to expect, over predicted: 1 lies between them."""
        return min(1.0, self.low), max(1.0, self.high)


UNKNOWN = ModelError(1.0, 1.0, runs=0, devices=0)


@dataclass(frozen=True)
class NearRun:
    """A measured run: what was deployed, its time per token, measured over predicted, and whether
    it is faster than one token a step allows by the data sheet: it guessed, or was another engine
    than the record says."""

    what: str
    tpot_s: float
    ratio: float
    beyond: bool = False


@functools.cache
def _columns() -> dict[str, npt.NDArray[Any]]:
    """The record by its columns; and of every run the kind of its deployment, and what of that is
    the shape of its model."""
    rows = read_record(RECORD)["rows"]
    columns = {name: np.array([row[i] for row in rows]) for i, name in enumerate(RUN_COLUMNS)}
    kinds = [_kind(model, system) for model, system, *_ in rows]
    return columns | {"kind": np.array(kinds), "shape": np.array([*map(_shape, kinds)])}


def model_error(kind: str, devices: int, share: float = 0.8) -> ModelError:
    """How measured times per token compare with predicted ones, for one kind of engine.

    kind: what the model is and the generation of the devices, as `Deployment.kind` says it; where
    no width of it has 30 runs, those of all generations count. devices: of the engine; where fewer
    than 30 runs have as many, those of the nearest smaller number. share: of the runs that the
    bounds hold, in (0, 1). Raises ValueError outside these ranges.

    >>> found = model_error("latent mixture, blackwell", 8)
    >>> found.runs > 100, found.low < 1 < found.high
    (True, True)
    """
    devices = require_positive_integer(devices=devices)
    share = require_in("(0, 1)", share=share)
    columns, shape = _columns(), _shape(kind)
    known = sorted(set(columns["shape"].tolist()))
    rule = f"one of {', '.join(known)}, and a generation of devices"
    require(shape in known, "kind", rule, repr(kind[:60]))
    for alike in (columns["kind"] == kind, columns["shape"] == shape):
        counts = sorted(set(columns["devices"][alike].tolist()), reverse=True)
        enough = [n for n in counts if (alike & (columns["devices"] == n)).sum() >= LEAST_RUNS]
        if enough:
            break
    width = next((n for n in enough if n <= devices), enough[-1])
    those = alike & (columns["devices"] == width)
    ratios = columns["tpot_ratio"][those]
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    kinds = " or ".join(sorted(set(columns["kind"][those].tolist())))
    said = f"{kinds}, on {width} device{'s' if width > 1 else ''}"
    systems_of = columns["system"][those].tolist()
    on = {system: systems_of.count(system) for system in dict.fromkeys(systems_of)}
    return ModelError(float(low), float(high), int(ratios.size), int(width), said, on)


def _shape(kind: str) -> str:
    """A kind without its generation of devices."""
    return kind.partition(", ")[0]


@functools.cache
def _kind(family: str, system: str) -> str:
    one = find_model(family.split(", ")[0])[0]
    return replace(WORKED, architecture=one, system=systems()[system]).kind


def calibrated_error(calibration: Calibration, front: str = "") -> ModelError:
    """How measured times per token compare with predicted ones once a load test calibrated them.

    calibration: of the deployment that was tested. front: what it was tested behind, a name in
    `fronts.FRONTS`; "" where nobody says. The bounds are those of the record's deployments after as
    many runs calibrated them; of the harness's that is named; and where none is, those of the
    harness that was furthest off when nothing was known of its front. Where its own runs are wider,
    they are these: each predicted by the others, or, of one or two, as far as the fit itself leaves
    them off. Raises ValueError on another front.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.machine.predictions.own_runs import OwnRun, calibrate
    >>> found = calibrate([OwnRun(WORKED, 0.1, 0.01)])
    >>> calibrated_error(found, "benchmark").high < 1.3 < calibrated_error(found).high
    True
    """
    named = find_front(front).name if front else ""
    count = len(calibration.runs)
    kept = kept_error(count)
    low, _, high = kept["measured over predicted"]
    size, whose = kept["runs"], "deployments of tuned engines"
    if named != "benchmark":
        harnesses = read_record(FRONT_SCORES)["harnesses"]
        own = {named: harnesses[named]} if named in harnesses else harnesses
        before = "own" if named in harnesses else named or "benchmark"
        scores = {name: after_own_runs(one, before, count) for name, one in own.items()}
        told = {name: one for name, one in scores.items() if one}
        furthest = max(told, key=lambda name: told[name][NINE_IN_TEN])
        low = min(low, *(one[ONE_IN_TEN] for one in told.values()))
        high = max(high, told[furthest][NINE_IN_TEN])
        size, whose = told[furthest]["runs"], f"deployments of {furthest}"
        whose += "" if named else ", of whose front nothing was known,"
    measured = np.array([run.per_token_s for run in calibration.runs])
    ratio = measured / (calibration.held_out or calibration.after).per_token_s
    low, high = min(low, float(ratio.min())), max(high, float(ratio.max()))
    devices = calibration.runs[0].deployment.devices
    return ModelError(low, high, size, devices, whose, calibrated_by=count)


def behind_error(error: ModelError, front: str) -> ModelError:
    """The same for an engine behind another front than the tuned benchmarks of the record.

    error: of the kind of engine. front: its name in `fronts.FRONTS`. The upper bound is at least
    the factor within which nine in ten runs of its harness were; for a front that is no harness's,
    of the harness that was furthest off.

    >>> tuned = ModelError(low=0.9, high=1.3, runs=150, devices=1)
    >>> behind_error(tuned, "unknown").high > 1.5, behind_error(tuned, "benchmark") == tuned
    (True, True)
    """
    if front == "benchmark":
        return error
    scores = read_record(FRONT_SCORES)["harnesses"]
    own = {front: scores[front]} if front in scores else scores
    whose, told = max(own.items(), key=lambda one: one[1]["named fronts"][front][NINE_IN_TEN])
    high = told["named fronts"][front][NINE_IN_TEN]
    return replace(error, high=max(error.high, high), behind=f"{told['runs']:,} runs of {whose}")


def nearest_runs(
    deployment: Deployment,
    concurrency: float,
    prompt_tokens: float,
    output_tokens: float,
    count: int = 3,
) -> list[NearRun]:
    """The measured runs that are most like a replica, one of each deployment, the nearest first.

    concurrency: requests in the replica. prompt_tokens, output_tokens: their means. count: how many
    runs. Raises ValueError unless all are positive.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> nearest_runs(WORKED, 16, 1000, 1000)[0].what.startswith("Llama-3.1-8B")
    True
    """
    concurrency, prompt_tokens, output_tokens = require_positive(
        concurrency=concurrency, prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )
    count = require_positive_integer(count=count)
    columns, model = _columns(), deployment.architecture
    far = np.zeros(columns["devices"].size)
    name = model.name.split("/")[-1].removeprefix("Meta-")
    families = [one for one in set(columns["model"].tolist()) if _same(name, one)]
    far += WEIGHTS["model"] * ~np.isin(columns["model"], families)
    words = {
        "system": deployment.system.name,
        "backend": deployment.backend,
        "precision": deployment.precision,
        "sparse": int(model.routed_parameters > 0),
    }
    for key, value in words.items():
        far += WEIGHTS[key] * (columns[key] != value)
    numbers = {
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "devices": deployment.devices,
        "concurrency": concurrency,
    }
    for key, number in numbers.items():
        far += WEIGHTS[key] * np.abs(np.log2(columns[key].astype(float) / number))
    found: dict[tuple[str, ...], NearRun] = {}
    for i in np.argsort(far, kind="stable"):
        row = {key: columns[key][i] for key in RUN_COLUMNS}
        kind = tuple(str(row[part]) for part in ("model", "system", "precision", "devices"))
        if kind not in found:
            device = systems()[row["system"]].shown
            what = (
                f"{row['model']} on {row['devices']} × {device}, {row['backend']}, "
                f"{row['precision']}, {row['prompt_tokens']:,.0f} in, {row['output_tokens']:,.0f} "
                f"out, {row['concurrency']:,.0f} at a time"
            )
            beyond = row["model"] in families and _least_s(deployment, row) > float(row["tpot_s"])
            found[kind] = NearRun(what, float(row["tpot_s"]), float(row["tpot_ratio"]), beyond)
        if len(found) == count:
            break
    return list(found.values())


def _least_s(deployment: Deployment, row: Mapping[str, Any]) -> float:
    """The least that a step of a run takes, all devices reading and computing at their peaks.

    deployment: of the run's model. row: of the run.
    """
    own = replace(
        deployment,
        system=systems()[row["system"]],
        precision=str(row["precision"]),
        tensor=int(row["devices"]),
        pipeline=1,
        attention_data=1,
        expert=1,
        draft_tokens=0,
        accepted_tokens=1.0,
    )
    held = np.full(1, float(row["prompt_tokens"] + row["output_tokens"] / 2))
    many = np.full(1, float(row["concurrency"]))
    return float(decode_step_s(count_work([own]), DATA_SHEET, many, held)[0])


def _same(name: str, family: str) -> bool:
    """Whether a model is of a family of one shape, such as "DeepSeek-V3, R1"."""
    parts = [part.lower() for part in family.split(", ")]
    return any(name.lower().startswith(part) or name.lower().endswith(part) for part in parts)


def _rows() -> list[list[Any]]:
    """All aggregated runs of one engine, each predicted without models of its shape."""
    from serving_mathematics.core.hardware.calibration import START, left_out, tabulate
    from serving_mathematics.core.hardware.published_runs import read_lines, read_runs

    table = tabulate([run for run in read_runs(read_lines()) if run.kind == "engine"])
    found = left_out(table, [run.family for run in table.runs], START)
    rows = []
    for run, first_s, each_s in zip(
        table.runs, found.first_token_s, found.per_token_s, strict=True
    ):
        one = run.answers
        rows.append(
            [
                run.family.removeprefix("Meta-"),
                one.system.name,
                one.backend,
                one.precision,
                one.devices,
                int(one.architecture.routed_parameters > 0),
                run.concurrency,
                one.input_tokens,
                one.output_tokens,
                float(f"{run.per_token_s:.4g}"),
                float(f"{run.per_token_s / each_s:.3g}"),
                float(f"{run.first_token_s / first_s:.3g}"),
            ]
        )
    return rows


def main() -> None:
    """Predict and write the record."""
    what = "aggregated runs of one engine: measured over predicted times, its shape left out"
    record = provenance(COMMAND, ["numpy"]) | {
        "what": what,
        "columns": RUN_COLUMNS,
        "rows": _rows(),
    }
    path = write_record(RECORD, record, packed=True)
    print(f"wrote {path}, {len(record['rows'])} runs")


def check_half_of_the_runs_foresees_the_other() -> None:
    """Bounds from every other run of a kind hold 75 to 85 of 100 of the others.

    Source: the runs that the bounds were not taken from, by kind with 100 runs and more; a share of
    0.8 of 500 has a standard error of 0.018.
    """
    columns = _columns()
    for sparse in (0, 1):
        for devices in (1, 2, 4, 8):
            kind = (columns["sparse"] == sparse) & (columns["devices"] == devices)
            ratios = columns["tpot_ratio"][kind]
            if ratios.size < 200:
                continue
            low, high = np.quantile(ratios[::2], [0.1, 0.9])
            inside = float(np.mean((low <= ratios[1::2]) & (ratios[1::2] <= high)))
            label = f"{'sparse' if sparse else 'dense'}, {devices} devices"
            checks.inside(label, inside, 0.74, 0.86, kind="measured")


def check_errors_are_those_of_the_scores() -> None:
    """The median error is the one that the scores say of the time per token, with one model left
    out.

    Source: records/machine_scores.json, which has 55 runs of whole fleets besides.
    """
    scores = read_record("machine_scores")["aggregated"]["one model left out"]["per token"]
    error = np.abs(1 / _columns()["tpot_ratio"] - 1)
    checks.close(
        "median error", float(np.median(error)), scores["all"]["median"], atol=5e-3, kind="measured"
    )
    for devices in (1, 2, 4, 8):
        kind = _columns()["devices"] == devices
        runs = scores["devices"][str(devices)]["runs"]
        checks.equal(f"runs of {devices}", int(kind.sum()), runs, kind="measured")


if __name__ == "__main__":
    main()
