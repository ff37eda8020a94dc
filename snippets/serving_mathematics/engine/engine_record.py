"""What requests got from a real engine, beside what the simulator said from its step times alone.

Assumes: nothing of the machine; what the record shows holds for the one that it names.

Source: records/token_engine.json, written by `python -m
serving_mathematics.engine.engine_measurement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics import checks
from serving_mathematics.engine.load_prediction import latency_quantiles, poisson_load, tuned_cost_s
from serving_mathematics.engine.step_costs import StepCosts, fit_costs, mean_and_half_width
from serving_mathematics.measuring import digits, read_record
from serving_mathematics.optimization.continuous_batching import Engine, Workload
from serving_mathematics.optimization.event_skipping import simulate
from serving_mathematics.require import require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "token_engine"
LIMITS = ("kv_blocks", "block_tokens", "token_budget", "max_sequences", "context_tokens")
KINDS = (("ttft_s", 0), ("ttft_s", 1), ("tpot_s", 0), ("tpot_s", 1))  # medians and p95


def runs_at(record: dict[str, Any], rate: float) -> list[dict[str, Any]]:
    """The runs of a record at a rate [1/s], positive, in the order of their seeds.

    >>> runs_at({"loads": {"runs": [{"rate": 1.0}, {"rate": 2.0}]}}, 2.0)
    [{'rate': 2.0}]
    """
    require_positive(rate=rate)
    return [run for run in record["loads"]["runs"] if run["rate"] == rate]


def relative_errors(runs: list[dict[str, Any]], latency: str, place: int) -> list[float]:
    """Predicted over measured, less one, of each run.

    runs: of a record. latency: `ttft_s` or `tpot_s`. place: of the quantile.

    >>> run = {"predicted": {"ttft_s": [0.2]}, "measured": {"ttft_s": [0.25]}}
    >>> [round(error, 12) for error in relative_errors([run], "ttft_s", 0)]
    [-0.2]
    """
    return [run["predicted"][latency][place] / run["measured"][latency][place] - 1 for run in runs]


def _error_rows(record: dict[str, Any]) -> str:
    """A row for each rate: what was measured, and the errors with their intervals."""
    rows = []
    for rate in record["loads"]["rates"]:
        runs = runs_at(record, rate)
        cells = [f"{rate:g}", f"{sum(run['requests'] for run in runs):,}"]
        for latency, place in KINDS:
            mean, half = mean_and_half_width(relative_errors(runs, latency, place))
            seen = float(np.median([run["measured"][latency][place] for run in runs]))
            cells.append(f"{digits(1000 * seen)} ms, {100 * mean:+.0f} ± {100 * half:.0f}%")
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _all_errors(record: dict[str, Any], place: int) -> list[float]:
    runs = record["loads"]["runs"]
    return [e for latency in ("ttft_s", "tpot_s") for e in relative_errors(runs, latency, place)]


def _steps_share(record: dict[str, Any]) -> float:
    """Steps that the engine took, over those that the simulator took for the same requests."""
    taken, simulated = np.sum([run["steps"] for run in record["loads"]["runs"]], axis=0)
    return float(taken / simulated)


def workload_of(record: dict[str, Any], run: dict[str, Any]) -> Workload:
    """The requests of a recorded run, from its rate and seed.

    >>> record = {"asked": {"run_s": 2.0}, "settings": {"context_tokens": 2048}}
    >>> workload_of(record, {"rate": 5.0, "seed": 0}).prompt_tokens.size
    8
    """
    context_tokens = record["settings"]["context_tokens"]
    return poisson_load(run["rate"], run["seed"], record["asked"]["run_s"], context_tokens)


def engine_with(record: dict[str, Any], pairs: bool, change_s: float) -> Engine:
    """The engine that the recorded grid describes.

    record: of the measurement. pairs: whether a prompt also costs what its pairs of tokens do.
    change_s: what a step with another number of tokens than the one before takes longer [s], from
    0. Raises ValueError on another.

    >>> rows = [
    ...     {"prompt_tokens": p, "decoding": b, "context_tokens": c, "step_s": 1.0 + b}
    ...     for p, b, c in ((0, 1, 10), (0, 2, 10), (0, 1, 20), (4, 1, 10))
    ... ]
    >>> limits = {"kv_blocks": 9, "block_tokens": 8, "token_budget": 8, "max_sequences": 4}
    >>> record = {"calibration": {"rows": rows}, "settings": limits | {"context_tokens": 40}}
    >>> round(engine_with(record, False, 0.5).elapsed_s(1, 0, 3, 30), 6)
    4.0
    """
    rows = record["calibration"]["rows"]
    names = ("prompt_tokens", "decoding", "context_tokens")
    columns = np.array([[row[name] for name in names] for row in rows])
    if pairs:  # each prompt of the grid is whole in its step
        prompts = columns[:, 0]
        columns = np.column_stack([columns, prompts * (prompts + 1) / 2])
    limits = {name: value for name, value in record["settings"].items() if name in LIMITS}
    return fit_costs(columns, [row["step_s"] for row in rows]).engine(**limits, change_s=change_s)


@dataclass(frozen=True)
class _Explained:
    """What a cost of changes explains: itself [s], tuned on runs of even seeds; how many others it
    was judged on; and on those, of each model, the median error of medians and of 95th percentiles,
    and the mean error of medians with its sign."""

    change_s: float
    judged: int
    errors: dict[str, list[float]]


@cache
def _explained() -> _Explained:
    """The recorded runs predicted again: by four costs, with pairs of prompt tokens, and with steps
    that cost more when the number of their tokens changes."""
    record = read_record(RECORD)
    tuned, judged = (
        [run for run in record["loads"]["runs"] if run["seed"] % 2 == rest] for rest in (0, 1)
    )
    change_s = tuned_cost_s(
        lambda cost_s: engine_with(record, True, cost_s),
        [workload_of(record, run) for run in tuned],
        [run["measured"]["tpot_s"][0] for run in tuned],
        most_s=0.02,
    )
    errors = {}
    for name, pairs, cost_s in (
        ("costs", False, 0.0),
        ("prompts", True, 0.0),
        ("changes", True, change_s),
    ):
        engine = engine_with(record, pairs, cost_s)
        again = []
        for run in judged:
            workload = workload_of(record, run)
            predicted = latency_quantiles(workload, simulate(workload, engine))
            again.append({"measured": run["measured"], "predicted": predicted})
        middle, tail = (
            [*relative_errors(again, "ttft_s", k), *relative_errors(again, "tpot_s", k)]
            for k in (0, 1)
        )
        sizes = (float(np.median(np.abs(found))) for found in (middle, tail))
        errors[name] = [*sizes, float(np.mean(middle))]
    return _Explained(change_s, len(judged), errors)


def _explained_rows() -> str:
    """A row for each model: its errors on the runs that nothing was tuned on."""
    named = {
        "costs": "Four costs",
        "prompts": "and the square of prompts",
        "changes": "and the cost of a change",
    }
    rows = []
    for name, (middle, tail, bias) in _explained().errors.items():
        cells = f"{100 * middle:.0f}% | {100 * tail:.0f}% | {100 * bias:+.0f}%"
        rows.append(f"| {named[name]} | {cells} |")
    return "\n".join(rows)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    loads, calibration = record["loads"], record["calibration"]
    costs = StepCosts(**calibration["costs"])
    prefix = max(record["prefixes"], key=lambda row: int(row["prompt_tokens"]))
    whole_blocks = [row for row in record["prefixes"] if row["prompt_tokens"] % 32 <= 1]
    cut_blocks = [row for row in record["prefixes"] if row["prompt_tokens"] % 32 > 1]
    plenty, short = record["small_memory"]
    return SimpleNamespace(
        engine_measured_on=record["date"],
        engine_version=record["versions"]["openvino-genai"],
        engine_processors=record["machine"]["processors"],
        engine_step_ms=1000 * costs.step_s,
        engine_prompt_ms=1000 * costs.prompt_token_s,
        engine_decode_ms=1000 * costs.decode_token_s,
        engine_context_us=1e6 * costs.context_token_s,
        engine_fit_percent=100 * costs.median_error,
        engine_fit_worst_percent=100 * costs.largest_error,
        engine_rate=loads["saturated_rate"],
        engine_runs=len(loads["runs"]),
        engine_refused=len(loads["refused"]) + len(calibration["refused"]),
        engine_run_s=record["asked"]["run_s"],
        engine_drift_percent=100 * record["rules"]["drift"],
        engine_wall_percent=100 * (record["rules"]["wall_over_cpu"] - 1),
        engine_error_rows=_error_rows(record),
        engine_change_ms=1000 * _explained().change_s,
        engine_judged=_explained().judged,
        engine_tuned=len(loads["runs"]) - _explained().judged,
        engine_explained_rows=_explained_rows(),
        engine_one_ms=1000 * engine_with(record, True, 0.0).elapsed_s(1, 0, 1, 0),
        engine_fewer_steps_percent=100 * (1 - _steps_share(record)),
        engine_median_error=100 * float(np.median(np.abs(_all_errors(record, 0)))),
        engine_tail_error=100 * float(np.median(np.abs(_all_errors(record, 1)))),
        engine_prefix_tokens=prefix["prompt_tokens"],
        engine_cold_ms=1000 * prefix["cold_s"],
        engine_warm_ms=1000 * prefix["warm_s"],
        engine_same_warm=sum(row["same"] for row in cut_blocks),
        engine_warm_pairs=sum(row["of"] for row in cut_blocks),
        engine_same_one_left=sum(row["same"] for row in whole_blocks),
        engine_one_left_pairs=sum(row["of"] for row in whole_blocks),
        engine_plenty_s=plenty["took_s"],
        engine_short_s=short["took_s"],
        engine_same_alone=record["invariance"]["same"],
        engine_batched=record["invariance"]["of"],
    )


def figure_predicted_and_measured(figure: Figure) -> None:
    """The simulator knows the step times and nothing else, and says what requests get.

    Points are medians over the runs at a rate, bars their range; lines are predictions for the same
    arrivals and lengths, made before.

    Alt: Two charts against requests a second. Left, time to first token in milliseconds, right,
    time per output token; in each the median and the 95th percentile rise with the rate. Points
    with bars are measured, lines are predicted.
    """
    record = read_record(RECORD)
    rates = record["loads"]["rates"]
    figure.set_size_inches(5.8, 3.3)
    panels = figure.subplots(1, 2)
    for axes, latency, label in zip(
        panels, ("ttft_s", "tpot_s"), ("time to first token", "time per output token"), strict=True
    ):
        for place, name, colour in ((0, "median", "C0"), (1, "p95", "C3")):
            seen, said = (
                1000
                * np.array(
                    [[run[kind][latency][place] for run in runs_at(record, rate)] for rate in rates]
                )
                for kind in ("measured", "predicted")
            )
            middle = np.median(seen, axis=1)
            axes.plot(rates, np.median(said, axis=1), color=colour)
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


def figure_step_times(figure: Figure) -> None:
    """The fitted sum lies close to the measured steps, from one sequence to a prompt of 512 tokens.

    Each point is the median of 5 to 12 steps of one kind.

    Alt: Chart of predicted against measured step time in milliseconds, both logarithmic. Steps that
    decode, prompts alone and prompts beside decoding lie along the diagonal.
    """
    record = read_record(RECORD)
    costs = StepCosts(**record["calibration"]["costs"])
    axes = figure.subplots()
    rows = record["calibration"]["rows"]
    for name, colour, of in (
        ("decoding", "C0", lambda row: not row["prompt_tokens"]),
        ("prompts alone", "C3", lambda row: not row["decoding"]),
        ("both", "C2", lambda row: row["prompt_tokens"] and row["decoding"]),
    ):
        kind = [row for row in rows if of(row)]
        tokens = [[row["prompt_tokens"], row["decoding"], row["context_tokens"]] for row in kind]
        seen = 1000 * np.array([row["step_s"] for row in kind])
        axes.loglog(seen, 1000 * costs.predict_s(tokens), "o", color=colour, label=name)
    ends = 1000 * np.array([min(row["step_s"] for row in rows), max(row["step_s"] for row in rows)])
    axes.loglog(ends, ends, color="C4")
    axes.legend(frameon=False)
    axes.set(xlabel="measured step [ms]", ylabel="fitted step [ms]")


def check_nothing_was_lost() -> None:
    """Every request got every token that it asked for, in every run, and in too little memory.

    Source: counts in the record; the workloads that were asked.
    """
    record = read_record(RECORD)
    runs = record["loads"]["runs"]
    got, asked = (sum(run[name] for run in runs) for name in ("tokens", "asked_tokens"))
    checks.equal("tokens", got, asked, kind="measured")
    for row in record["small_memory"]:
        label = f"{row['kv_blocks']} blocks: finished"
        checks.equal(label, row["finished"], row["of"], kind="measured")
    short = record["small_memory"][-1]
    checks.close("cache in use", short["largest_cache_share"], 1.0, atol=1e-6, kind="measured")


def check_steps_are_counted() -> None:
    """Where memory lasts, the tokens that came out of every step are those that the rule foresaw.

    Source: the rule of `token_engine`, against what the engine returned.
    """
    for rate in read_record(RECORD)["loads"]["rates"]:
        runs = runs_at(read_record(RECORD), rate)
        inexact = sum(run["inexact_steps"] for run in runs)
        checks.equal(f"{rate:g}/s: steps that differ", inexact, 0, kind="measured")


def check_rules_were_kept() -> None:
    """There are as many runs as were planned, and the grid agreed with its repetition.

    Source: the rules in the record.
    """
    record = read_record(RECORD)
    planned = record["asked"]["repeats"] * len(record["loads"]["rates"])
    checks.equal("runs", len(record["loads"]["runs"]), planned, kind="measured")
    drift, most = record["calibration"]["drift"], record["rules"]["drift"]
    checks.inside("drift of the grid", drift, 0, most, kind="measured")


def check_predictions_are_too_low() -> None:
    """At every load the predicted medians are below the measured ones, by less than half; and the
    engine took fewer and longer steps than the simulator.

    Source: the record; predictions from the step times alone.
    """
    record = read_record(RECORD)
    for rate in record["loads"]["rates"]:
        for latency in ("ttft_s", "tpot_s"):
            mean = float(np.mean(relative_errors(runs_at(record, rate), latency, 0)))
            label = f"{rate:g}/s: median {latency.split('_')[0].upper()}"
            checks.inside(label, 1 + mean, 0.5, 1.0, kind="measured")
    checks.inside("steps, of those simulated", _steps_share(record), 0.5, 1.0, kind="measured")


def check_changes_explain_the_error() -> None:
    """The requests are predicted again as they were before the runs, to the last bit; and a cost of
    changes that was tuned on some runs takes more than half of the error of the others away.

    Source: the record; the same simulator and the same seeds.
    """
    record = read_record(RECORD)
    runs = record["loads"]["runs"]
    engine = engine_with(record, False, 0.0)
    for run in runs[:: len(runs) // 5]:
        workload = workload_of(record, run)
        again = latency_quantiles(workload, simulate(workload, engine))
        label = f"{run['rate']:g}/s: medians"
        got, before = ([kinds[name][0] for name in kinds] for kinds in (again, run["predicted"]))
        checks.close(label, got, before, rtol=1e-9)
    found = _explained().errors
    for name, place in (("medians", 0), ("95th percentiles", 1)):
        ratio = found["changes"][place] / found["costs"][place]
        checks.inside(f"error of {name} that is left", ratio, 0.0, 0.5, kind="measured")


def check_a_prefix_is_not_computed_again() -> None:
    """A prompt that comes again has its first token after less than half of the time, a long one
    after less than a tenth.

    Source: the record; the same prompts, new to the cache.
    """
    for row in read_record(RECORD)["prefixes"]:
        label = f"{row['prompt_tokens']} tokens: warm over cold"
        most = 0.1 if row["prompt_tokens"] >= 1000 else 0.5
        checks.inside(label, row["warm_s"] / row["cold_s"], 0, most, kind="measured")
