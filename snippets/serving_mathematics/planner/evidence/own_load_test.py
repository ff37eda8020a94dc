"""A load test of a real server as a calibration: predicted against measured, before and after.

The server is the handbook's own, a language model of 135 million parameters on the processor of a
small machine; the load generator is AIPerf, and its files go through the same reader as anybody's.
The step model was made for data-centre GPUs. A device of which only peaks are known has the floors
of their kernels, so before calibration it says what the peaks would allow; how much longer kernels,
memory, arithmetic and what lies around a prompt take here is what the runs then say.

    make measure-load-test

starts the server, tests it at five loads, and writes records/own_load_test.json in a few minutes.

Assumes: a machine that does nothing else meanwhile; the record says how busy it was before.

Source: records/own_load_test.json, and AIPerf 0.13.0, whose fields it keeps; the model's file for
its shape; numpy's product and copy for the peaks.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.machine.predictions.own_runs import (
    Calibration,
    calibrate,
    calibration_rows,
)
from serving_mathematics.planner.questions.load_tests import LoadRun, read_load_test, runs_of
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

RECORD = "own_load_test"


def tested_deployment() -> Deployment:
    """The model and machine of the record: a device by its peaks, as the planner has it.

    >>> tested_deployment().system.name
    'given'
    """
    record = read_record(RECORD)
    peaks = record["peaks"]
    device = replace(
        find_system("H100"),  # links, and kernels with little to do
        name="given",
        memory_bytes=peaks["memory_bytes"],
        bandwidth_bytes_per_s=peaks["bytes_per_s"],
        bf16_flops_per_s=peaks["flops_per_s"],
        fp8_flops_per_s=peaks["flops_per_s"],
        fp4_flops_per_s=peaks["flops_per_s"],
    )
    runs = tested_runs()
    return Deployment(
        read_architecture(record["config"], "SmolLM2-135M-Instruct"),
        device,
        "vllm",
        record["precision"],
        runs[0].prompt_tokens,
        runs[0].output_tokens,
        1.0,
    )


def tested_runs() -> list[LoadRun]:
    """The runs of the record, by the reader of load tests.

    >>> [run.load for run in tested_runs()][:2]
    [1.0, 2.0]
    """
    return [
        run
        for place, one in enumerate(read_record(RECORD)["results"], start=1)
        for run in read_load_test(json.dumps(one), f"run {place}")
    ]


@functools.cache
def tested_calibration() -> Calibration:
    """The step model, calibrated by the load test.

    >>> len(tested_calibration().runs) == len(tested_runs())
    True
    """
    return calibrate(runs_of(tested_runs(), tested_deployment()), measured=False)


def _median_errors(found: Calibration, time: str = "per_token_s") -> dict[str, float]:
    """Median of |predicted / measured - 1| of a time: before, after, and each run by the others.

    found: the calibration, of three runs or more. time: per_token_s or first_token_s.
    """
    measured = np.array([getattr(run, time) for run in found.runs])
    assert found.held_out is not None
    told = {"before": found.before, "after": found.after, "others": found.held_out}
    return {
        name: float(np.median(np.abs(getattr(one, time) / measured - 1)))
        for name, one in told.items()
    }


def example() -> SimpleNamespace:
    """The table of the page, and what its text quotes."""
    record, found = read_record(RECORD), tested_calibration()
    errors, firsts = _median_errors(found), _median_errors(found, "first_token_s")
    rows = calibration_rows(found)[1:]
    lines = [" | ".join(row) for row in rows]
    return SimpleNamespace(
        own_test_generator=record["generator"].replace("==", " "),
        own_test_runs=len(found.runs),
        own_test_before=100 * errors["before"],
        own_test_after=100 * errors["after"],
        own_test_others=100 * errors["others"],
        own_first_before=100 * firsts["before"],
        own_first_after=100 * firsts["after"],
        own_first_others=100 * firsts["others"],
        own_test_rows="\n".join(f"| {line} |" for line in lines),
    )


def check_files_are_read_as_steady_loads() -> None:
    """The generator held the numbers of requests that it was told, with prompts and answers of the
    lengths that it was told.

    Source: the settings in its own files.
    """
    record = read_record(RECORD)
    runs = tested_runs()
    phases = [one["input_config"]["phases"] for one in record["results"]]
    asked = [next(x for x in each if x["name"] == "profiling") for each in phases]
    loads = [float(one["concurrency"]) for one in asked]
    checks.equal("requests at a time", [run.load for run in runs], loads)
    checks.equal("steady", [run.steady for run in runs], [True] * len(runs))
    checks.equal("completed", [run.completed for run in runs], [one["requests"] for one in asked])
    checks.equal("lengths", {run.equal_lengths for run in runs}, {True})


def check_calibration_comes_nearer() -> None:
    """After calibration the times per token are nearer to the measured ones, also those of runs
    that the others predict; first tokens are nearer by little, and not those of such runs.

    Source: the record.
    """
    errors = _median_errors(tested_calibration())
    checks.holds("fitted", errors["after"] < errors["before"], got=errors)
    checks.holds("by others", errors["others"] < errors["before"], got=errors)
    firsts = _median_errors(tested_calibration(), "first_token_s")
    gained = firsts["before"] - firsts["after"]
    checks.inside("first tokens, gained", gained, 0.0, 0.1)
    none = firsts["others"] >= firsts["before"]
    checks.holds("first tokens by others", none, got=firsts)


def check_shape_is_the_models() -> None:
    """The model of the record has the parameters that its name says.

    Source: 135 million in its name; Allal et al. (2025).
    """
    got = tested_deployment().architecture.parameters / 1e6
    checks.close("parameters [10⁶]", got, 135, rtol=0.01, kind="published")
