"""A GPU's load test as a calibration: of five published loads three are typed, two are predicted.

gpt-oss-120b was measured on one H200 under vLLM at 4 to 64 requests at a time. The step model,
which is fitted to thousands of runs, takes its steps for shorter than they were; with the lightest,
a middle and the heaviest load it is settled for this engine, and the plan changes with it.

Assumes: what `own_runs` does; runs of a tuned engine, whose rows are of one date.

Source: the rows of records/machine_runs.json.gz, with the source that it names.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.published_runs import Run, read_lines, read_runs
from serving_mathematics.core.hardware.step_time import FITTED, Constants, count_work
from serving_mathematics.planner.configurations import _few_and_many
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_question
from serving_mathematics.support import checks

MODEL, DEVICE = "gpt-oss-120b", "h200_sxm"
NOMINAL = 1024.0  # tokens in and out, at most
TYPED = (4.0, 16.0, 64.0)  # requests at a time, that calibrate
ASKED = {  # the plan that is made with and without
    "model": MODEL,
    "device": "H200",
    "parallelism": "tp1",
    "rate_per_s": 8,
    "mean_prompt_tokens": 922,
    "mean_output_tokens": 922,
    "tpot_s": 0.03,
    "other_devices": "none",
}


@functools.cache
def published_runs() -> list[Run]:
    """The runs, one for each load, the lightest first.

    >>> [run.concurrency for run in published_runs()]
    [4.0, 8.0, 16.0, 32.0, 64.0]
    """
    found = {
        run.concurrency: run
        for run in read_runs(read_lines())
        if run.kind == "engine"
        and (run.family, run.answers.system.name, run.answers.backend) == (MODEL, DEVICE, "vllm")
        and run.answers.devices == 1
        and (run.answers.input_tokens, run.answers.output_tokens) == (NOMINAL, NOMINAL)
    }
    return [found[load] for load in sorted(found)]


def _typed_text(runs: list[Run]) -> str:
    """Runs as they are typed for `load_test`, such as "4:0.0857:0.00633"."""
    each = (f"{x.concurrency:g}:{x.first_token_s:.3g}:{x.per_token_s:.3g}" for x in runs)
    return ",".join(each)


@functools.cache
def _asked() -> tuple[Question, Question]:
    """The question without the load test, and with it."""
    typed = _typed_text([run for run in published_runs() if run.concurrency in TYPED])
    plain = ASKED | {"precision": "auto"}
    return read_question(plain), read_question(plain | {"load_test": typed, "front": "benchmark"})


def _ratios(constants: Constants) -> np.ndarray:
    """Predicted over measured time per token of every run as it is typed, shape (runs,)."""
    runs, calibration = published_runs(), _asked()[1].calibration
    assert calibration is not None, "the plan has a load test"
    one = calibration.runs[0].deployment
    asked = [replace(one, concurrency=run.concurrency) for run in runs]
    predicted = loop_latencies(count_work(asked), constants).per_token_s
    return np.asarray(predicted / np.array([float(f"{run.per_token_s:.3g}") for run in runs]))


def example() -> SimpleNamespace:
    """What was typed, how far off the model was before and after, and the plans."""
    plain, tested = _asked()
    runs = published_runs()
    before, after = (_ratios(x) for x in (FITTED, tested.constants))
    others = [run.concurrency not in TYPED for run in runs]
    rows = [
        f"| {run.concurrency:.0f} | {1e3 * run.per_token_s:.3g} | {100 * (x - 1):+z.0f}% | "
        f"{100 * (y - 1):+z.0f}% | {'' if other else 'yes'} |".replace("-", "−")
        for run, x, y, other in zip(runs, before, after, others, strict=True)
    ]
    (replicas, slow), (replicas_tested, slow_tested) = map(_few_and_many, (plain, tested))
    return SimpleNamespace(
        gpu_test_before=100 * float(np.abs(before[others] - 1).max()),
        gpu_test_after=100 * float(np.abs(after[others] - 1).max()),
        gpu_test_rows="\n".join(rows),
        gpu_test_replicas=replicas,
        gpu_test_replicas_tested=replicas_tested,
        gpu_test_slow=slow,
        gpu_test_slow_tested=slow_tested,
    )


def check_others_come_nearer() -> None:
    """The loads that were not typed are within 5% after the three that were, and off by more than a
    tenth before.

    Source: the published times per token of 8 and of 32 requests at a time.
    """
    _, tested = _asked()
    others = [run.concurrency not in TYPED for run in published_runs()]
    before, after = (np.abs(_ratios(x) - 1)[others] for x in (FITTED, tested.constants))
    checks.inside("before, least error", float(before.min()), 0.1, 0.3)
    checks.inside("after, largest error", float(after.max()), 0.0, 0.05, kind="measured")
