"""How much a few runs of a deployment improve the predictions of its others: scores on the record.

    python -m serving_mathematics.machine.predictions.calibration_scores

calibrates with one, two and three runs of every deployment that the record of published runs has
five of, predicts the others, and writes records/calibration_scores.json within a minute. The
constants before calibration are fitted without any model of the deployment's shape.

Assumes: deployments of the future gain as those of the record do; the spreads of `own_runs` were
chosen on one half of the deployments, drawn at random, and only the other half is quoted.

Source: records/machine_runs.json.gz, made from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import (
    KERNELS,
    START,
    errors,
    fit,
    tabulate,
    without_evidence,
)
from serving_mathematics.core.hardware.run_reading import Run, read_lines, read_runs
from serving_mathematics.core.hardware.step_time import Array, Constants, Work
from serving_mathematics.machine.predictions.own_runs import fit_moves, scaled_constants
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require_positive_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = "calibration_scores"
COMMAND = "python -m serving_mathematics.machine.predictions.calibration_scores"
FEW = (1, 2, 3)  # runs that calibrate
LEAST_RUNS = 5  # of a deployment: three that calibrate, and two to predict


def deployment_name(run: Run) -> str:
    """What a deployment's runs share: model, device, engine, precision, split and guesses.

    run: of the record.

    >>> from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
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


def measure(runs: Sequence[Run]) -> dict[str, Any]:
    """How well each deployment's runs are predicted once some of them calibrated the model.

    runs: of one engine. Of every deployment with at least five, one, two and three drawn at random
    calibrate, and the others are predicted. Returns the `deployments` with median errors after
    three, and the errors of `all` runs by number of calibrating runs, for the half of the
    deployments on which the spreads were chosen and for the other.

    >>> from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
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
    for name in every:
        members = [runs[i] for i, one in enumerate(names) if one == name]
        if len(members) < LEAST_RUNS:
            continue
        family = members[0].family
        if family not in base:
            rest = tabulate([run for run in runs if run.family != family])
            base[family] = without_evidence(fit(rest, START), rest)
        table = tabulate(members)
        half = "chosen on" if name in chosen_on else "scored on"
        row: dict[str, Any] = {"deployment": name, "runs": len(members), "half": half}
        drawn = rng.permutation(len(members))
        for few in FEW:
            told = _errors_after(
                table.engines, table.first_token_s, table.per_token_s, base[family], drawn, few
            )
            if few == FEW[-1]:
                row["median error per token"] = {
                    key: round(float(np.median(np.abs(ratio - 1))), 4)
                    for key, ratio in told["per_token_s"].items()
                }
            for time, found in told.items():
                for key, ratio in found.items():
                    pooled.setdefault((half, few, time, key), []).append(ratio)
        rows.append(row)
    scores = []
    for (half, few, time, key), parts in pooled.items():
        ratio = np.concatenate(parts)
        spread = np.quantile(1 / ratio, (0.1, 0.5, 0.9))
        scores.append(
            {"half": half, "few": few, "time": time, "method": key}
            | errors(ratio, np.ones(ratio.size))
            | {"measured over predicted": [round(float(value), 3) for value in spread]}
        )
    return {"all": scores, "deployments": rows}


def kept_error(few: int, time: str = "per_token_s", method: str = "after") -> dict[str, Any]:
    """What the record says of the runs that did not calibrate, where so many others did.

    few: runs that calibrated; from three on, three. time: "per_token_s" or "first_token_s". method:
    "before", "after" or "one factor". Of the deployments on which nothing was chosen. Raises
    ValueError where the record has none such.

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
    """Numbers of the page, errors in percent."""
    rows = []
    for few in FEW:
        cells = [f"{few}"]
        for time in ("per_token_s", "first_token_s"):
            cells += [
                f"{100 * kept_error(few, time, method)['median']:.1f}%"
                for method in ("before", "one factor", "after")
            ]
        rows.append(f"| {' | '.join(cells)} |")
    deployments = read_record(SCORES)["deployments"]
    scored = [row for row in deployments if row["half"] == "scored on"]
    key = "median error per token"
    worst = max((row[key] for row in scored), key=lambda told: told["after"] - told["before"])
    return SimpleNamespace(
        own_rows="\n".join(rows),
        own_deployments=len(scored),
        own_every=len(deployments),
        own_before=100 * kept_error(3, method="before")["median"],
        own_after=100 * kept_error(3)["median"],
        own_worse=sum(row[key]["after"] > row[key]["before"] for row in scored),
        own_worst_before=100 * worst["before"],
        own_worst_after=100 * worst["after"],
    )


def figure_calibrated(figure: Figure) -> None:
    """Three runs of a deployment and its others are predicted better, in four of five cases.

    Each dot is a deployment of the record: the median error of the time per token of the runs that
    did not calibrate, before and after three others did. Filled dots are the half on which nothing
    was chosen.

    Alt: Scatter plot with logarithmic axes, from one to a hundred percent before and to three
    hundred after. Most dots lie below the diagonal, many by a factor of two and more; those that
    began above thirty percent all end lower, and some that began below ten percent end higher, one
    of them at 281.
    """
    axes = figure.subplots()
    for half, marker, colour in (("chosen on", "o", "C4"), ("scored on", "o", "C0")):
        rows = [row for row in read_record(SCORES)["deployments"] if row["half"] == half]
        before, after = (
            [100 * row["median error per token"][key] for row in rows]
            for key in ("before", "after")
        )
        face = "none" if half == "chosen on" else colour
        axes.plot(before, after, marker, color=colour, markerfacecolor=face, linestyle="none")
    ends = np.array([0.5, 200.0])
    axes.plot(ends, ends, color="C3", linewidth=1)
    axes.annotate("no better", (35, 48), color="C3", ha="right", va="bottom")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1, 120),
        ylim=(0.5, 400),
        xlabel="median error before [%]",
        ylabel="median error after three runs [%]",
    )
    ticks = (1, 3, 10, 30, 100, 300)
    axes.set_xticks(ticks[:-1], [f"{tick}" for tick in ticks[:-1]])
    axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()


def check_deployments_are_predicted_better() -> None:
    """Three runs nearly halve the median error of a deployment's others; one factor on all times
    does less.

    Source: the record, of the deployments on which nothing was chosen.
    """
    for few, most in ((1, 0.75), (2, 0.6), (3, 0.55)):
        before = kept_error(few, method="before")["median"]
        share = kept_error(few)["median"] / before
        checks.inside(f"{few} runs: after over before", share, 0.0, most, kind="measured")
    factor, four = kept_error(3, method="one factor")["median"], kept_error(3)["median"]
    checks.holds("better than one factor", four < factor, got=four, kind="measured")


def check_three_runs_help_without_a_fit() -> None:
    """From constants that were fitted to no run at all, three runs of a deployment of Llama-3.1-70B
    halve the median error of its others too; of the eight times smaller model they do not lower it.

    Source: every second of these deployments in the record of runs, and the constants that kernels
    alone give.
    """
    was, now = _without_a_fit("Llama-3.1-70B")
    checks.inside(f"median error after, {was:.3f} before", now, 0.0, was / 2, kind="measured")
    was, now = _without_a_fit("Llama-3.1-8B-Instruct")
    label = f"Llama-3.1-8B: median error after, {was:.3f} before"
    checks.inside(label, now, was, 2 * was, kind="measured")


def _without_a_fit(model: str) -> tuple[float, float]:
    """Median errors of the time per token, before and after three runs."""
    runs = read_runs(line for line in read_lines() if line["model"].endswith(model))
    table = tabulate([run for run in runs if run.kind == "engine"])
    names = np.array([deployment_name(run) for run in table.runs])
    rng, before, after = np.random.default_rng(1), [np.empty(0)], [np.empty(0)]
    every = [name for name in dict.fromkeys(names.tolist()) if sum(names == name) >= LEAST_RUNS]
    for name in every[::2]:
        part = table.rows(names == name)
        drawn = rng.permutation(len(part.runs))
        times = part.first_token_s, part.per_token_s
        told = _errors_after(part.engines, *times, KERNELS, drawn, 3)["per_token_s"]
        before.append(np.abs(told["before"] - 1))
        after.append(np.abs(told["after"] - 1))
    was, now = (float(np.median(np.concatenate(parts))) for parts in (before, after))
    return was, now


def check_bad_input_is_refused() -> None:
    """Scores that the record does not have, and no runs, name the argument."""
    checks.raises("unknown", kept_error, 1, "per day", match="time and method must be")
    checks.raises("none", kept_error, 0, match="few must be a positive integer")


if __name__ == "__main__":
    sys.exit(main())
