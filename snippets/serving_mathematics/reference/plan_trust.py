"""How wrong an answer of this book may be, where it was measured: errors of steps, of fronts, of
fleets and of a real engine, on one scale.

Assumes: errors of the runs that were published are those of yours, until runs of your own say so.

Source: records/machine_scores.json, records/front_scores.json, records/calibration_scores.json and
`engine_record`, each of which names the runs that it was scored on.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.energy import ENERGY_SCORES, SERVED
from serving_mathematics.engine.engine_record import RECORD as ENGINE
from serving_mathematics.engine.engine_record import relative_errors
from serving_mathematics.engine.vllm_record import RECORD as VLLM
from serving_mathematics.machine.predictions.calibration_scores import SCORES
from serving_mathematics.machine.predictions.front_scores import NINE_IN_TEN
from serving_mathematics.planner.capacity_planner.model_errors import (
    _columns,
    behind_error,
    model_error,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

if typing.TYPE_CHECKING:
    from matplotlib.figure import Figure

AWAY = "ml-energy"  # the harness of others with the most runs
CROWD = 64  # requests at a time, above which first tokens are much less certain


@dataclass(frozen=True)
class _Error:
    """Relative errors of one kind: their median, their ninth decile, and of how many runs."""

    what: str
    median: float
    p90: float
    runs: int


def _scored(what: str, row: dict[str, float]) -> _Error:
    return _Error(what, row["median"], row["p90"], int(row["runs"]))


def _engine(what: str, place: int, record: str = ENGINE) -> _Error:
    """Of both latencies of every load test of an engine with the small model."""
    runs = read_record(record)["loads"]["runs"]
    sizes = np.abs(
        [error for name in ("ttft_s", "tpot_s") for error in relative_errors(runs, name, place)]
    )
    return _Error(what, float(np.median(sizes)), float(np.quantile(sizes, 0.9)), len(runs))


def _errors() -> list[_Error]:
    """From what is known best to what is known least."""
    held = read_record("machine_scores")["aggregated"]["one model left out"]
    fronts = read_record("front_scores")["harnesses"][AWAY]
    return [
        _engine("a small engine, its steps measured: medians", 0),
        _engine("the same: 95th percentiles", 1),
        _scored(
            "another harness, front unknown, three runs",
            fronts["unknown front and 3 of the deployment"],
        ),
        _scored("time per token, model never seen", held["per token"]["all"]),
        _scored("another harness, front unknown", fronts["named fronts"]["unknown"]),
        _scored("another harness, front of the benchmarks", fronts["named fronts"]["benchmark"]),
        _calibrated_first_tokens(),
        _scored("first token, model never seen", held["first token"]["all"]),
    ]


def _calibrated_first_tokens() -> _Error:
    """First tokens of deployments on which nothing was chosen, after three runs of each."""
    wanted = {"half": "scored on", "few": 3, "time": "first_token_s", "method": "after"}
    rows = read_record(SCORES)["all"]
    row = next(row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return _scored("first token, three runs", row)


def _power_scores() -> dict[str, float]:
    """Of the power that follows from batch and throughput."""
    scores: dict[str, float] = read_record(ENERGY_SCORES)[SERVED]["all"]
    return scores


def example() -> SimpleNamespace:
    """The errors as rows of a table, and those that the text names."""
    errors = _errors()
    _, _, calibrated, token, _, _, _, first = errors
    runs = _columns()
    crowded = runs["ttft_ratio"][runs["concurrency"] > CROWD]
    rows = [
        f"| {error.what} | {error.runs:,} | {100 * error.median:.0f}% | {100 * error.p90:.0f}% |"
        for error in (*errors, _scored("power of the devices, model never seen", _power_scores()))
    ]
    return SimpleNamespace(
        trust_rows="\n".join(rows),
        trust_vllm=100 * _engine("the same model in vLLM: medians", 0, VLLM).median,
        trust_token=100 * token.median,
        trust_first=100 * first.median,
        trust_crowd=CROWD,
        trust_crowded=100 * float(np.mean(crowded > 2)),
        trust_fleets=token.runs - runs["tpot_ratio"].size,
        trust_calibrated=100 * calibrated.median,
        trust_calibrated_p90=100 * calibrated.p90,
    )


def figure_what_may_be_off(figure: Figure) -> None:
    """How much three runs of your own are worth, and how much less certain a first token is.

    Relative errors of predictions. The point is the median run; nine runs in ten lie within the
    line.

    Alt: A row for each kind of prediction, with a point at the median error and a line to the ninth
    decile, in percent. A small engine whose steps were measured errs least, first tokens of models
    that were never seen most.
    """
    errors = _errors()[::-1]
    axes = figure.subplots()
    for place, error in enumerate(errors):
        axes.plot([0, 100 * error.p90], [place, place], color="C4", linewidth=2)
        axes.plot(100 * error.median, place, "o", color="C0")
    axes.set_yticks(range(len(errors)), [error.what for error in errors])
    axes.set(xlabel="relative error [%]", ylabel="prediction", xlim=(0, None))


def check_order_of_the_errors() -> None:
    """Three runs of a deployment are worth more than the front *unknown*, which is worth more than
    the front of the benchmarks; a first token is less certain than a time per token, also after
    three runs. This fails if the scores turn.

    Source: the records' scores, each made by its own command.
    """
    _, _, calibrated, token, unknown, benchmark, measured, first = _errors()
    pairs = ((calibrated, unknown), (unknown, benchmark), (token, measured), (measured, first))
    for better, worse in pairs:
        label = f"{better.what}, against {worse.what}"
        checks.holds(f"median: {label}", better.median < worse.median)
        checks.holds(f"ninth decile: {label}", better.p90 < worse.p90)


def check_a_plan_is_padded_once() -> None:
    """The planner's larger number covers the steps of nine in ten runs of a kind. Behind the front
    *unknown* these are runs of another harness, which is more than the model that was predicted
    worst needs. Nine in ten first tokens took up to about twice as long; with more than 64 requests
    at a time about a fifth of SGLang's and TensorRT-LLM's took longer, and fewer than one in ten
    of vLLM's.

    Source: the ratios of records/planner_errors.json.gz, each model left out; the fronts' scores.
    """
    columns = _columns()
    places = list(zip(columns["kind"].tolist(), columns["devices"].tolist(), strict=True))
    bounds = {place: model_error(*place) for place in dict.fromkeys(places)}
    slower = columns["tpot_ratio"]
    kept = slower <= [bounds[place].high for place in places]
    checks.inside("no slower than the larger number has it", float(np.mean(kept)), 0.88, 0.92)
    away = read_record("front_scores")["harnesses"][AWAY]["named fronts"]
    least = min(behind_error(error, "unknown").high for error in bounds.values())
    checks.holds("behind the front unknown", least >= away["unknown"][NINE_IN_TEN], got=least)
    over = least * (1 + away["unknown"]["signed"]) / (1 + away["benchmark"]["signed"])
    models = columns["model"]
    needed = [np.quantile(slower[models == name], 0.9) for name in set(models.tolist())]
    checks.holds("over the tuned front, of the worst model", over >= max(needed), got=over)
    first = float(np.quantile(columns["ttft_ratio"], 0.9))
    checks.inside("first tokens, nine in ten", first, 1.8, 2.3)
    for backend, least, most in (("sglang", 0.1, 0.3), ("trtllm", 0.1, 0.3), ("vllm", 0, 0.1)):
        these = (columns["concurrency"] > CROWD) & (columns["backend"] == backend)
        late = float(np.mean(columns["ttft_ratio"][these] > 2))
        checks.inside(f"more than twice as long, {backend}", late, least, most)


def check_the_engine_was_predicted_before() -> None:
    """The engine's error is the median over all its load tests, counted here another way.

    Source: predictions and measurements of the record, sorted by hand.
    """
    runs = read_record(ENGINE)["loads"]["runs"]
    sizes = sorted(
        abs(run["predicted"]["changes"][name][0] - run["measured"][name][0])
        / run["measured"][name][0]
        for run in runs
        for name in ("ttft_s", "tpot_s")
    )
    middle = (sizes[(len(sizes) - 1) // 2] + sizes[len(sizes) // 2]) / 2
    checks.close("median error of the engine", _errors()[0].median, middle, rtol=1e-12)
