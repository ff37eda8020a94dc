"""Calibrates the step model with a few measured runs of one deployment.

Four things may differ from what the data sheet and the record of runs say: kernels and host (every
step's floor), the attained share of the memory's bandwidth, that of the arithmetic, and what lies
around a prompt. Each is a time, multiplied by e^x, where x is normal with mean 0 before any
measurement; the x that are most likely after them minimize

    sum over runs of r(ln(predicted / measured) / its spread) + sum over x of (x / its spread)^2 / 2

with r(z) = sqrt(1 + z^2) - 1, so that a run that is far off counts in proportion. A run that
depends on two of them moves both a little, and what no run depends on stays where it was: by how
much a spread shrinks says what the data know.

Assumes: one deployment's runs share these four; shares of a data sheet are at most 1; the spreads
below, which were chosen on one half of the record's deployments and are scored on the other.

Source: Bishop (2006), section 3.3 (normal priors) and 4.4 (spreads from the curvature);
`calibration` for the search.

    python -m serving_mathematics.machine.own_runs

calibrates with one, two and three runs of every deployment that the record of published runs has
five of, predicts the others, and writes records/own_runs.json within a minute. The constants before
calibration are fitted without any model of the deployment's shape.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics import checks
from serving_mathematics.machine.benchmark_loops import Latencies, loop_latencies
from serving_mathematics.machine.calibration import (
    KERNELS,
    SHARES,
    START,
    descend,
    errors,
    fit,
    tabulate,
    without_evidence,
)
from serving_mathematics.machine.deployments import WORKED, Deployment
from serving_mathematics.machine.run_reading import Run, read_lines, read_runs
from serving_mathematics.machine.step_time import (
    CONSTANT_NAMES,
    FITTED,
    Array,
    Constants,
    Work,
    constants_of,
    count_work,
)
from serving_mathematics.measuring import provenance, read_record, write_record
from serving_mathematics.require import require, require_all_positive, require_positive_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUPS = {  # constants that are multiplied by e^x, or divided by it: the shares
    "kernels and host": ("factor_trtllm", "factor_sglang", "factor_vllm", "sequence_s"),
    "memory bandwidth": ("weight_share", "expert_share", "cache_share"),
    "arithmetic": ("arithmetic_share", "attention_share", "prompt_share", "prompt_expert_share"),
    "around a prompt": (
        *("first_steps_trtllm", "first_steps_sglang", "first_steps_vllm"),
        "prompt_s",
    ),
}
SPREADS = np.array([0.3, 0.3, 0.3, 0.5])  # of x before any measurement, by group
UNMEASURED_SPREAD = 1.0  # of x on a kind of device of which the record has no run
PER_TOKEN_SPREAD, FIRST_TOKEN_SPREAD = 0.08, 0.25  # of ln(predicted / measured)
ROBUST = 1.0  # spreads beyond which a run counts in proportion
SILENT = 0.1  # a spread that shrinks by less says that the data know nothing of it
_MOVES = np.array(
    [
        [(-1.0 if name.endswith("_share") else 1.0) * (name in group) for name in CONSTANT_NAMES]
        for group in GROUPS.values()
    ]
)


@dataclass(frozen=True)
class OwnRun:
    """A measured run of one deployment; its load is that of the deployment, its times are means."""

    deployment: Deployment
    first_token_s: float
    per_token_s: float
    steady: bool = True  # a fixed number of requests at a time; else first tokens are not fitted
    label: str = ""


@dataclass(frozen=True)
class Calibration:
    """The step model after calibration, and what the runs said."""

    constants: Constants
    factors: tuple[float, ...]  # e^x by group
    shrunk: tuple[float, ...]  # by how much the spread of each x shrank, 0 to 1
    runs: tuple[OwnRun, ...]
    before: Latencies
    after: Latencies
    held_out: Latencies | None  # each run by the others, from three runs on

    @property
    def known(self) -> tuple[str, ...]:
        """Groups of which the runs say something."""
        return tuple(
            name for name, share in zip(GROUPS, self.shrunk, strict=True) if share >= SILENT
        )


def scaled_constants(constants: Constants, moved: Array) -> Constants:
    """Constants with the times of each group e^x times as long.

    moved: x by group, shape (4,). Shares are at most 1. Raises ValueError on another shape.

    >>> scaled_constants(FITTED, np.log([2.0, 1.0, 1.0, 1.0])).factor_vllm / FITTED.factor_vllm
    2.0
    >>> scaled_constants(FITTED, np.log([1.0, 0.5, 1.0, 1.0])).weight_share
    1.0
    """
    shape = (len(GROUPS),)
    require(np.shape(moved) == shape, "moved", f"of shape {shape}", np.shape(moved))
    values = constants.as_array() * np.exp(np.asarray(moved, dtype=float) @ _MOVES)
    shares = list(SHARES)
    values[shares] = np.minimum(values[shares], np.maximum(1.0, constants.as_array()[shares]))
    return constants_of(values)


def _residuals(
    work: Work, first: Array, each: Array, base: Constants, spreads: Array, moved: Array
) -> Array:
    """Of the runs, then of the x, each in its spread; r of the latter is half their square."""
    found = loop_latencies(work, scaled_constants(base, moved))
    told = np.isfinite(first)
    first_part = np.log(found.first_token_s[told] / first[told]) / FIRST_TOKEN_SPREAD
    each_part = np.log(found.per_token_s / each) / PER_TOKEN_SPREAD
    square = (moved / spreads) ** 2 / 2
    penalty = np.sign(moved) * np.sqrt(square**2 + 2 * square)  # of which r makes the square again
    return np.concatenate([each_part, first_part, penalty])


def fit_moves(
    work: Work, first_token_s: Array, per_token_s: Array, base: Constants, spreads: Array = SPREADS
) -> tuple[Array, Array]:
    """The most likely x by group, and by how much their spreads shrink, shape (4,) each.

    work: of the runs, one row each. first_token_s, per_token_s: measured [s], shape (runs,); first
    tokens that are NaN are not fitted. base: constants before. spreads: of x before, shape (4,).
    Raises ValueError on times that are not positive.

    >>> from serving_mathematics.machine.deployments import WORKED
    >>> work = count_work([WORKED])
    >>> told = loop_latencies(work, FITTED)
    >>> moved, _ = fit_moves(work, told.first_token_s, 1.2 * told.per_token_s, FITTED)
    >>> bool(0 < moved[1] < np.log(1.2 / 0.8))
    True
    """
    first, each = np.asarray(first_token_s, float), np.asarray(per_token_s, float)
    require_all_positive(per_token_s=each, first_token_s=first[np.isfinite(first)])

    def residuals(moved: Array) -> Array:
        return _residuals(work, first, each, base, spreads, moved)

    start = np.zeros(len(GROUPS))
    moved = descend(residuals, start, np.full(len(GROUPS), np.inf), ROBUST)
    slopes = np.empty((residuals(moved).size, len(GROUPS)))
    for place in range(len(GROUPS)):
        step = 1e-4 * (np.arange(len(GROUPS)) == place)
        slopes[:, place] = (residuals(moved + step) - residuals(moved - step)) / 2e-4
    after = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)))
    return moved, np.clip(1 - after / spreads, 0.0, 1.0)


def calibrate(
    runs: Sequence[OwnRun], measured: bool = True, base: Constants = FITTED
) -> Calibration:
    """The step model fitted to runs of one deployment, and each run by the others where there are
    three.

    runs: one or more, of one model, device and engine. measured: whether the record has runs of
    this kind of device; if not, the times may differ by more. base: constants before. Raises
    ValueError where there is no run, and on times that are not positive.

    >>> from serving_mathematics.machine.deployments import WORKED
    >>> runs = [OwnRun(replace(WORKED, concurrency=load), 0.5, 0.02) for load in (1, 8, 64)]
    >>> found = calibrate(runs)
    >>> found.held_out.per_token_s.shape, found.factors[0] > 1
    ((3,), True)
    """
    require(len(runs) > 0, "runs", "one or more", "none")
    work = count_work([run.deployment for run in runs])
    first = np.array([run.first_token_s if run.steady else np.nan for run in runs])
    each = np.array([run.per_token_s for run in runs])
    spreads = SPREADS if measured else np.maximum(SPREADS, UNMEASURED_SPREAD)
    moved, shrunk = fit_moves(work, first, each, base, spreads)
    held_out = None
    if len(runs) >= 3:
        parts = []
        for place in range(len(runs)):
            rest = np.arange(len(runs)) != place
            one, _ = fit_moves(work.rows(rest), first[rest], each[rest], base, spreads)
            parts.append(loop_latencies(work.rows(~rest), scaled_constants(base, one)))
        held_out = Latencies(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("first_token_s", "per_token_s", "running")
            )
        )
    constants = scaled_constants(base, moved)
    return Calibration(
        constants,
        tuple(float(factor) for factor in np.exp(moved)),
        tuple(float(share) for share in shrunk),
        tuple(runs),
        loop_latencies(work, base),
        loop_latencies(work, constants),
        held_out,
    )


def calibration_rows(found: Calibration) -> list[list[str]]:
    """Predicted against measured, before and after, as rows with a header.

    found: the calibration.

    >>> from serving_mathematics.machine.deployments import WORKED
    >>> rows = calibration_rows(calibrate([OwnRun(WORKED, 0.05, 0.01, label="a run")]))
    >>> rows[1][:2]
    ['a run', '10']
    """
    head = ["run", "TPOT [ms]", "before", "after", "by others", "TTFT [ms]", "before", "after"]
    rows = [[*head, "by others"]]
    for place, run in enumerate(found.runs):
        told = [found.before, found.after] + ([found.held_out] if found.held_out else [])
        cells = [run.label]
        for name, value in (("per_token_s", run.per_token_s), ("first_token_s", run.first_token_s)):
            parts = [f"{1e3 * value:.4g}"]
            for one in told:
                parts.append(f"{100 * (getattr(one, name)[place] / value - 1):+.0f}%")
            cells += [*parts, ""][:4]
        rows.append(cells)
    return rows


def calibration_text(found: Calibration) -> str:
    """What was fitted, in a sentence or two; and of what the runs say nothing.

    found: the calibration.

    >>> from serving_mathematics.machine.deployments import WORKED
    >>> calibration_text(calibrate([OwnRun(WORKED, 0.1, 0.01, steady=False)])).split(":")[0]
    'Calibrated with 1 run'
    """
    count = len(found.runs)
    words = [
        f"{name} {factor:.2f} times as long"
        for name, factor in zip(GROUPS, found.factors, strict=True)
        if name in found.known
    ]
    silent = [name for name in GROUPS if name not in found.known]
    text = (
        f"Calibrated with {count} run{'s' if count > 1 else ''}: {', '.join(words) or 'nothing'}."
    )
    if silent:
        text += f" The runs say nothing of {' or '.join(silent)}, left as predicted."
    if any(not run.steady for run in found.runs):
        text += " First tokens of runs at a rate are compared, not fitted: they queue."
    return text


RECORD = "own_runs"
COMMAND = "python -m serving_mathematics.machine.own_runs"
FEW = (1, 2, 3)  # runs that calibrate
LEAST_RUNS = 5  # of a deployment: three that calibrate, and two to predict


def deployment_name(run: Run) -> str:
    """What a deployment's runs share: model, device, engine, precision, split and guesses.

    run: of the record.

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

    >>> from serving_mathematics.machine.run_reading import read_lines, read_runs
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
    require_positive_integer(few=few)
    wanted = ("scored on", min(few, FEW[-1]), time, method)
    for row in read_record(RECORD)["all"]:
        if (row["half"], row["few"], row["time"], row["method"]) == wanted:
            return dict(row)
    raise ValueError(f"time and method must be in the record, got {time!r} and {method!r}")


def main() -> int:
    """Calibrate every deployment of the record and write the scores."""
    runs = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    what = "predicted over measured times of deployments, before and after some runs calibrated"
    record = provenance(COMMAND, ("numpy",)) | {"what": what} | measure(runs)
    print(write_record(RECORD, record), file=sys.stderr)
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
    deployments = read_record(RECORD)["deployments"]
    scored = [row for row in deployments if row["half"] == "scored on"]
    key = "median error per token"
    return SimpleNamespace(
        own_rows="\n".join(rows),
        own_deployments=len(scored),
        own_every=len(deployments),
        own_runs=kept_error(3)["runs"],
        own_before=100 * kept_error(3, method="before")["median"],
        own_after=100 * kept_error(3)["median"],
        own_worse=sum(row[key]["after"] > row[key]["before"] for row in scored),
    )


def figure_own_runs(figure: Figure) -> None:
    """Three runs of a deployment and its others are predicted better, in four of five cases.

    Each dot is a deployment of the record: the median error of the time per token of the runs that
    did not calibrate, before and after three others did. Filled dots are the half on which nothing
    was chosen.

    Alt: Scatter plot with logarithmic axes from one to a hundred percent. Most dots lie below the
    diagonal, many by a factor of two and more; those that began above thirty percent all end lower,
    and some that began below ten percent end higher, one of them at twenty-six.
    """
    axes = figure.subplots()
    for half, marker, colour in (("chosen on", "o", "C4"), ("scored on", "o", "C0")):
        rows = [row for row in read_record(RECORD)["deployments"] if row["half"] == half]
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
        ylim=(1, 120),
        xlabel="median error before [%]",
        ylabel="median error after three runs [%]",
    )
    ticks = (1, 3, 10, 30, 100)
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()


def check_planted_factors_are_found() -> None:
    """Kernels that take 1.5 times as long are found where they are most of a step, on eight
    devices, and a memory that is 1.25 times as slow where it is, on one; both a little pulled to 1.
    The loads between are then predicted within 2%.

    Source: times made by the step model itself with these factors.
    """
    loads = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    for name, place, devices, factor in (
        ("kernels and host", 0, 8, 1.5),
        ("memory bandwidth", 1, 1, 1.25),
    ):
        truth = scaled_constants(FITTED, np.log(factor) * (np.arange(4) == place))
        asked = [replace(WORKED, tensor=devices, concurrency=load) for load in loads]
        told = loop_latencies(count_work(asked), truth)
        times = zip(asked, told.first_token_s.tolist(), told.per_token_s.tolist(), strict=True)
        found = calibrate([OwnRun(*run) for run in times][::2])
        checks.close(name, found.factors[place], factor, rtol=0.08)
        between = loop_latencies(count_work(asked[1::2]), found.constants).per_token_s
        checks.close("the loads between", between / told.per_token_s[1::2], np.ones(4), atol=0.02)


def check_one_run_does_not_turn_everything() -> None:
    """A single run that took ten times as long makes nothing 3.5 times as long, and what it does
    not depend on stays.

    Source: the penalty; a run of one request at a time has next to no arithmetic to time, and its
    first token is not fitted.
    """
    alone = replace(WORKED, concurrency=1.0, input_tokens=10.0)
    told = loop_latencies(count_work([alone]), FITTED)
    found = calibrate([OwnRun(alone, 1.0, 10 * float(told.per_token_s[0]), steady=False)])
    for name, factor in zip(GROUPS, found.factors, strict=True):
        checks.inside(name, factor, 0.99, 3.5, kind="identity")
    checks.close("arithmetic", found.factors[2], 1.0, atol=0.01)
    checks.equal("arithmetic is known", "arithmetic" in found.known, False)


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
    """From constants that were fitted to no run at all, three runs of each deployment of
    Llama-3.1-70B halve the median error of its others too.

    Source: the record of runs, and the constants that kernels alone give.
    """
    runs = [run for run in read_runs(read_lines()) if run.family == "Meta-Llama-3.1-70B"]
    table = tabulate([run for run in runs if run.kind == "engine"])
    names = np.array([deployment_name(run) for run in table.runs])
    rng, before, after = np.random.default_rng(1), [np.empty(0)], [np.empty(0)]
    for name in dict.fromkeys(names.tolist()):
        part = table.rows(names == name)
        if len(part.runs) >= LEAST_RUNS:
            drawn = rng.permutation(len(part.runs))
            times = part.first_token_s, part.per_token_s
            told = _errors_after(part.engines, *times, KERNELS, drawn, 3)["per_token_s"]
            before.append(np.abs(told["before"] - 1))
            after.append(np.abs(told["after"] - 1))
    was, now = (float(np.median(np.concatenate(parts))) for parts in (before, after))
    checks.inside(f"median error after, {was:.3f} before", now, 0.0, was / 2, kind="measured")


def check_bad_input_is_refused() -> None:
    """No run, times that are none and other shapes name the argument."""
    checks.raises("none", calibrate, [], match="runs must be one or more")
    checks.raises("zero", calibrate, [OwnRun(WORKED, 0.1, 0.0)], match="per_token_s must be")
    checks.raises("shape", scaled_constants, FITTED, np.zeros(3), match="moved must be of shape")
    checks.raises("unknown", kept_error, 1, "per day", match="time and method must be")


if __name__ == "__main__":
    sys.exit(main())
