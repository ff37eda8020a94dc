"""What requests got from a real engine, beside what the simulator said from its steps alone.

Assumes: nothing of the machine; what the record shows holds for the one that it names.

Source: records/token_engine.json, written by `python -m
serving_mathematics.engine.engine_measurement`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.batching.step_costs import StepCosts, mean_and_half_width
from serving_mathematics.engine.load_prediction import latency_quantiles, poisson_load
from serving_mathematics.engine.measured_loads import engine_of
from serving_mathematics.engine.token_engine import Settings
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import digits, read_record
from serving_mathematics.support.require import (
    require,
    require_non_negative_integer,
    require_positive,
)

RECORD = "token_engine"
MODELS = {
    "costs": "Four costs",
    "prompts": "and pairs of prompt tokens",
    "changes": "and the cost of a change",
    "stretched": "and steps that vary",
}
KINDS = (("ttft_s", 0), ("ttft_s", 1), ("tpot_s", 0), ("tpot_s", 1))  # medians and p95


def runs_at(record: dict[str, Any], rate: float) -> list[dict[str, Any]]:
    """The runs of a record at a rate [1/s], positive, in the order of their seeds.

    >>> runs_at({"loads": {"runs": [{"rate": 1.0}, {"rate": 2.0}]}}, 2.0)
    [{'rate': 2.0}]
    """
    rate = require_positive(rate=rate)
    return [run for run in record["loads"]["runs"] if run["rate"] == rate]


def relative_errors(
    runs: list[dict[str, Any]], latency: str, place: int, model: str = "changes"
) -> list[float]:
    """Predicted over measured, less one, of each run.

    runs: of a record. latency: `ttft_s` or `tpot_s`. place: of the quantile. model: by which costs
    it was predicted, one of those of `predictions`. Raises ValueError where a run lacks the place.

    >>> run = {"predicted": {"changes": {"ttft_s": [0.2]}}, "measured": {"ttft_s": [0.25]}}
    >>> [round(error, 12) for error in relative_errors([run], "ttft_s", 0)]
    [-0.2]
    """
    place = require_non_negative_integer(place=place)
    for run in runs:
        most = len(run["measured"][latency])
        require(place < most, "place", f"below {most}, the quantiles of a run", place)
    return [
        run["predicted"][model][latency][place] / run["measured"][latency][place] - 1
        for run in runs
    ]


def _came_per_s(record: dict[str, Any], rate: float) -> float:
    """Requests a second that came in the runs of a rate that was asked for."""
    runs = runs_at(record, rate)
    return float(sum(run["requests"] for run in runs)) / len(runs) / float(record["asked"]["run_s"])


def _error_rows(record: dict[str, Any]) -> str:
    """A row for each rate: what came and was measured, and the errors with their intervals."""
    rows = []
    for rate in record["loads"]["rates"]:
        runs = runs_at(record, rate)
        cells = [f"{rate:g}, {_came_per_s(record, rate):.1f}"]
        cells.append(f"{sum(run['requests'] for run in runs):,}")
        for latency, place in KINDS:
            mean, half = mean_and_half_width(relative_errors(runs, latency, place))
            seen = float(np.median([run["measured"][latency][place] for run in runs]))
            cells.append(f"{digits(1000 * seen)} ms, {100 * mean:+z.0f} ± {100 * half:.0f}%")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _errors(runs: list[dict[str, Any]], model: str) -> tuple[float, float, float]:
    """Median error of medians and of 95th percentiles, and the mean error of medians."""
    middle, tail = (
        [error for name in ("ttft_s", "tpot_s") for error in relative_errors(runs, name, k, model)]
        for k in (0, 1)
    )
    sizes = [float(np.median(np.abs(found))) for found in (middle, tail)]
    return sizes[0], sizes[1], float(np.mean(middle))


def _step_error(runs: list[dict[str, Any]], model: str) -> float:
    """What a model says of all the steps that were taken, over what they took, less one."""
    said, took = (sum(run["steps_s"][name] for run in runs) for name in (model, "measured"))
    return float(said / took - 1)


def _model_rows(record: dict[str, Any]) -> str:
    """A row for each model: its errors."""
    runs, rows = record["loads"]["runs"], []
    for model, named in MODELS.items():
        middle, tail, bias = _errors(runs, model)
        own = f"{100 * _step_error(runs, model):+z.0f}%" if model in runs[0]["steps_s"] else ""
        errors = f"{100 * middle:.0f}% | {100 * tail:.0f}% | {100 * bias:+z.0f}%"
        rows.append(f"| {named} | {own} | {errors} |")
    return "\n".join(rows)


def _other_rows(runs: list[dict[str, Any]], first: str) -> str:
    """A row of runs that are not those of the loads: what was measured, and by how much the medians
    and tails of the prediction were off on average."""
    cells = [first, f"{sum(run['requests'] for run in runs)}"]
    for latency, place in KINDS:
        seen = float(np.median([run["measured"][latency][place] for run in runs]))
        error = float(np.mean(relative_errors(runs, latency, place)))
        cells.append(f"{digits(1000 * seen)} ms, {100 * error:+z.0f}%")
    gap = float(np.median([run["gaps_s"][1] for run in runs]))
    return f"| {' | '.join([*cells, f'{digits(1000 * gap)} ms'])} |"


def _budget_rows(record: dict[str, Any]) -> str:
    """A row for each token budget, the largest from the loads at the same rate and seeds."""
    budgets = record["budgets"]
    seeds = {run["seed"] for run in budgets["runs"]}
    whole = [run for run in runs_at(record, budgets["rate"]) if run["seed"] in seeds]
    largest = {"token_budget": record["settings"]["token_budget"]}
    by_budget: dict[int, list[dict[str, Any]]] = {}
    for run in [*budgets["runs"], *(run | largest for run in whole)]:
        by_budget.setdefault(run["token_budget"], []).append(run)
    return "\n".join(_other_rows(runs, f"{budget}") for budget, runs in by_budget.items())


def workload_of(record: dict[str, Any], run: dict[str, Any]) -> Workload:
    """The requests of a recorded run, from its rate and seed.

    >>> record = {"asked": {"run_s": 2.0}, "settings": {"context_tokens": 2048}}
    >>> workload_of(record, {"rate": 5.0, "seed": 0}).prompt_tokens.size
    8
    """
    context_tokens = record["settings"]["context_tokens"]
    return poisson_load(run["rate"], run["seed"], record["asked"]["run_s"], context_tokens)


def _compare_again(record: dict[str, Any], of: str) -> None:
    """Medians that the calibration and the seeds of some runs give, with the recorded ones.

    of: which engine, in the labels.
    """
    limits = {name: x for name, x in record["settings"].items() if name != "block_tokens"}
    engine = engine_of(record["calibration"], Settings(**limits))
    for run in record["loads"]["runs"][::5]:
        workload = workload_of(record, run)
        again = latency_quantiles(workload, simulate(workload, engine))
        got, before = (
            [told[name][0] for name in ("ttft_s", "tpot_s")]
            for told in (again, run["predicted"]["changes"])
        )
        label = f"{of}, {run['rate']:g}/s, run {run['seed']}: medians"
        checks.close(label, got, before, rtol=1e-9)


def _fitted(record: dict[str, Any]) -> dict[str, Any]:
    """The costs that were fitted, and how far off predictions by them are."""
    calibration = record["calibration"]
    costs = StepCosts(**calibration["costs"])
    middle, tail, _ = _errors(record["loads"]["runs"], "changes")
    return {
        "step_ms": 1000 * costs.step_s,
        "prompt_ms": 1000 * costs.prompt_token_s,
        "decode_ms": 1000 * costs.decode_token_s,
        "context_us": 1e6 * costs.context_token_s,
        "fit_percent": 100 * costs.median_error,
        "fit_worst_percent": 100 * costs.largest_error,
        "change_ms": 1000 * calibration["change_s"],
        "error_rows": _error_rows(record),
        "model_rows": _model_rows(record),
        "median_error": 100 * middle,
        "tail_error": 100 * tail,
    }


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    loads, calibration = record["loads"], record["calibration"]
    prefix = max(record["prefixes"], key=lambda row: int(row["prompt_tokens"]))
    block = record["settings"]["block_tokens"]  # a prompt's last token is always computed
    one_left = [row for row in record["prefixes"] if row["prompt_tokens"] % block == 1]
    few, _ = record["memory"]["rows"]
    others = record["trace"], record["budgets"]
    steps, changed = np.sum([(r["steps"], r["changed_steps"]) for r in loads["runs"]], axis=0)
    return SimpleNamespace(
        engine_measured_on=record["date"],
        engine_version=record["versions"]["openvino-genai"],
        engine_processors=record["machine"]["processors"],
        engine_rate=loads["saturated_rate"],
        engine_runs=len(loads["runs"]),
        engine_refused=sum(len(part["refused"]) for part in (loads, calibration, *others)),
        engine_run_s=record["asked"]["run_s"],
        engine_drift_percent=100 * record["rules"]["drift"],
        engine_wall_percent=100 * (record["rules"]["wall_over_cpu"] - 1),
        engine_changed_percent=100 * changed / steps,
        engine_grid_median_error=100 * _errors(loads["runs"], "costs")[0],
        engine_trace_rows=_other_rows(record["trace"]["runs"], f"{record['trace']['rate']:.2g}"),
        engine_trace_scale=record["trace"]["scale"],
        engine_budget_rows=_budget_rows(record),
        engine_budget_rate=record["budgets"]["rate"],
        engine_prefix_tokens=prefix["prompt_tokens"],
        engine_cold_ms=1000 * prefix["cold_s"],
        engine_warm_ms=1000 * prefix["warm_s"],
        engine_level_mib=few["mixed_mib"][-1],
        engine_same_one_left=sum(row["same"] for row in one_left),
        engine_one_left_pairs=sum(row["of"] for row in one_left),
        **{f"engine_{name}": value for name, value in _fitted(record).items()},
    )


def _milliseconds(
    runs: list[list[dict[str, list[float]]]], latency: str, place: int
) -> npt.NDArray[np.float64]:
    """A quantile of a latency [ms], of each rate and run."""
    return 1000 * np.array([[run[latency][place] for run in row] for row in runs])


def _draw_loads(figure: Figure, record: dict[str, Any]) -> None:
    """Quantiles against rates: measured, predicted, and faintly predicted by the grid alone."""
    rates = record["loads"]["rates"]
    figure.set_size_inches(5.8, 3.3)
    panels = figure.subplots(1, 2)
    for axes, latency, label in zip(
        panels, ("ttft_s", "tpot_s"), ("time to first token", "time per output token"), strict=True
    ):
        for place, name, colour in ((0, "median", "C0"), (1, "p95", "C3")):
            runs = [runs_at(record, rate) for rate in rates]
            seen = _milliseconds([[r["measured"] for r in row] for row in runs], latency, place)
            said, plain = (
                _milliseconds([[r["predicted"][m] for r in row] for row in runs], latency, place)
                for m in ("changes", "costs")
            )
            middle = np.median(seen, axis=1)
            axes.plot(rates, np.median(said, axis=1), color=colour)
            axes.plot(rates, np.median(plain, axis=1), color=colour, alpha=0.4)
            bars = np.abs(np.array([seen.min(axis=1), seen.max(axis=1)]) - middle)
            axes.errorbar(rates, middle, bars, fmt="o", color=colour)
            axes.annotate(
                name,
                (rates[-1], middle[-1]),
                (6, 0),
                textcoords="offset points",
                color=colour,
                va="center",
            )
        axes.set(xlabel="arrivals [1/s]", ylabel=f"{label} [ms]", ylim=(0, None))
        axes.set_xlim(0, 1.25 * rates[-1])


def figure_predicted_and_measured(figure: Figure) -> None:
    """From the times of steps and the cost of a change alone, the simulator predicts the latencies
    that requests get.

    Points are medians over the runs at a rate, bars their range; lines are predictions for the same
    arrivals and lengths, made before the runs; faint lines leave the cost of changes out.

    Alt: Two charts against requests a second. Left, time to first token in milliseconds, right,
    time per output token; in each the median and the 95th percentile rise with the rate. Points
    with bars are measured, lines are predicted; faint lines lie below.
    """
    _draw_loads(figure, read_record(RECORD))


def check_nothing_was_lost() -> None:
    """Every request got every token that it asked for, in every run of every load.

    Source: counts in the record; the workloads that were asked.
    """
    record = read_record(RECORD)
    runs = [run for part in ("loads", "trace", "budgets") for run in record[part]["runs"]]
    got, asked = (sum(run[name] for run in runs) for name in ("tokens", "asked_tokens"))
    checks.equal("tokens", got, asked, kind="measured")


def check_steps_are_counted() -> None:
    """Where memory suffices, the tokens that came out of every step are those that the counting
    rule foresaw.

    Source: the rule of `token_engine`, against what the engine returned.
    """
    for rate in read_record(RECORD)["loads"]["rates"]:
        runs = runs_at(read_record(RECORD), rate)
        inexact = sum(run["inexact_steps"] for run in runs)
        checks.equal(f"{rate:g}/s: steps that differ", inexact, 0, kind="measured")


def check_rules_were_kept() -> None:
    """As many runs count as were planned, and the grid of steps agreed with its repetition.

    Source: the rules in the record.
    """
    record = read_record(RECORD)
    planned = record["asked"]["repeats"] * len(record["loads"]["rates"])
    checks.equal("runs", len(record["loads"]["runs"]), planned, kind="measured")
    drift, most = record["calibration"]["drift"], record["rules"]["drift"]
    checks.inside("drift of the grid", drift, 0, most, kind="measured")


def check_predictions_were_made_before() -> None:
    """Calibration and seed give the recorded predictions again, to the last bit.

    Source: the record; the same simulator and the same requests.
    """
    _compare_again(read_record(RECORD), "OpenVINO")


def check_changes_explain_the_error() -> None:
    """Steps take longer when their number of tokens changes, and not when only its parts do. With
    the cost of a change, timed without load, less than half of the error of medians is left.

    Source: the record; steps in turns, and runs that came after them.
    """
    record = read_record(RECORD)
    rows = {
        (row["kind"], row["tokens"]): row["longer_s"] for row in record["calibration"]["changes"]
    }
    change_s = record["calibration"]["change_s"]
    for (kind, tokens), longer_s in rows.items():
        low, high = (-0.25, 0.25) if kind == "split" else (0.5, 4.0)
        label = f"{kind} {tokens}: of the cost"
        checks.inside(label, longer_s / change_s, low, high)
    (grid, _, _), (whole, _, _) = (
        _errors(record["loads"]["runs"], m) for m in ("costs", "changes")
    )
    checks.inside("error of medians that is left", whole / grid, 0.0, 0.5)


def check_memory_has_a_level() -> None:
    """With few kernels in its cache, the engine's memory stops growing; with as many as the engine
    keeps by default, memory is larger and still grows in the last steps.

    Source: the record, the most memory that the process had.
    """
    few, own = read_record(RECORD)["memory"]["rows"]
    growth = [row["mixed_mib"][-1] / row["mixed_mib"][-2] - 1 for row in (few, own)]
    checks.inside("growth in the last steps", growth[0], 0, 0.02)
    checks.inside("with the engine's own", growth[1], 0.02, 1)
    ratio = own["mixed_mib"][-1] / few["mixed_mib"][-1]
    checks.inside("the engine's own over ours", ratio, 1.05, 3)


def check_a_prefix_is_not_computed_again() -> None:
    """When a prompt comes again, its first token takes less than half of the time that it took the
    first time, and less than a tenth for a long prompt.

    Source: the record; the same prompts, new to the cache.
    """
    for row in read_record(RECORD)["prefixes"]:
        label = f"{row['prompt_tokens']} tokens: warm over cold"
        most = 0.1 if row["prompt_tokens"] >= 1000 else 0.5
        checks.inside(label, row["warm_s"] / row["cold_s"], 0, most)
