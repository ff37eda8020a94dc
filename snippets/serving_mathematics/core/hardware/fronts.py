"""What stands in front of the devices, engine, scheduling, server and client, in three numbers.

The same model on the same devices takes longer behind another program. Three numbers say by how
much, and travel with the program instead of with the device:

    scale         how long the device's part of a step takes, over that of a tuned benchmark
    host time     a sequence and step: sampling, words, streaming to clients, where nothing hides it
    first steps   steps of one sequence that pass around a prompt: polling, batching, tokenizing

Named fronts have them from runs that others published. A front of which nothing is known has the
default: the host time at which no harness of the record is off by more than a fifth in the median,
and the middle of what passes around a prompt elsewhere; runs that ten publishers posted lie on
both sides of it (`posted_runs`), and one or three of your own settle it (`own_runs`). Of
ML.ENERGY's first tokens nothing is published, so its front has the default there.

Assumes: host work is added to the device's, as in an engine that does not schedule ahead.

Source: `records/front_scores.json`; scripts of InferenceX (SemiAnalysis, Apache-2.0), which set
asynchronous scheduling and answers in pieces of 10 to 50 tokens; ML.ENERGY leaderboard v3;
kubernetes-sigs/inference-perf, demos; casys-kaist/LLMServingSim (a request log of vLLM 0.19).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import Latencies
from serving_mathematics.core.hardware.calibration import descend
from serving_mathematics.core.hardware.catalogue import compared, nearest
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    SEQUENCE_S,
    Array,
    Constants,
    Work,
    count_work,
    decode_step_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_all_positive,
    require_non_negative,
    require_positive,
)

SCALED = ("weight_share", "expert_share", "cache_share", "link_share")  # divided by the scale
KERNEL_FACTORS = ("factor_trtllm", "factor_sglang", "factor_vllm")  # multiplied by it
CONTRADICTS = 1.5  # times as long or as short as measured, in the median of some runs
FIRST_STEPS = ("first_steps_trtllm", "first_steps_sglang", "first_steps_vllm")


@dataclass(frozen=True)
class Front:
    """A program in front of the devices, and what it costs."""

    name: str
    engine: str
    scheduling: str
    server: str
    client: str
    scale: float  # of the device's part of a step
    sequence_s: float  # host time a sequence and step [s]
    first_steps: float  # around a prompt, in steps of one sequence; 0: as fitted, by engine


FRONTS = {
    front.name: front
    for front in (
        Front(
            "benchmark",
            "vLLM, SGLang, TensorRT-LLM of 2025 and 2026, tuned",
            "ahead of the device",
            "pieces of 10 to 50 tokens where the engine has them",
            "one process on the same machine",
            scale=1.0,
            sequence_s=SEQUENCE_S,
            first_steps=0.0,
        ),
        Front(
            "unknown",
            "any",
            "not known",
            "not known",
            "not known",
            scale=1.0,
            sequence_s=40e-6,
            first_steps=4.0,
        ),
        Front(
            "ml-energy",
            "vLLM of 2025, as installed",
            "one step after another",
            "every token by itself",
            "one process on the same machine",
            scale=1.19,
            sequence_s=55e-6,
            first_steps=4.0,
        ),
        Front(
            "inference-perf",
            "vLLM 0.11, as installed",
            "one step after another",
            "every token by itself",
            "44 processes on other machines",
            scale=1.09,
            sequence_s=9e-6,
            first_steps=3.0,
        ),
        Front(
            "engine",
            "vLLM 0.19, asked in its own process",
            "ahead of the device",
            "none",
            "none: the engine's own clock",
            scale=1.04,
            sequence_s=21e-6,
            first_steps=2.2,
        ),
    )
}


def find_front(name: str) -> Front:
    """The named front. Raises ValueError with the nearest names.

    >>> find_front("ML.ENERGY").sequence_s
    5.5e-05
    """
    by_form = {compared(known): front for known, front in FRONTS.items()}
    form = compared(name)
    if form not in by_form:
        raise ValueError(f"front {name!r} is not known; nearest: {nearest(name, FRONTS)}")
    return by_form[form]


def front_constants(front: Front, constants: Constants = FITTED) -> Constants:
    """The step model's constants behind a front.

    constants: those of the tuned benchmark. Raises ValueError unless the scale is positive and the
    others are not negative.

    >>> from serving_mathematics.core.hardware.fronts import find_front
    >>> from serving_mathematics.core.hardware.step_time import FITTED
    >>> slow = front_constants(find_front("ml-energy"))
    >>> round(slow.factor_vllm / FITTED.factor_vllm, 2), slow.sequence_s
    (1.19, 5.5e-05)
    """
    scale = require_positive(scale=front.scale)
    sequence_s, first_steps = require_non_negative(
        sequence_s=front.sequence_s, first_steps=front.first_steps
    )
    values = dict(vars(constants))
    for name in SCALED:
        values[name] /= scale
    for name in KERNEL_FACTORS:
        values[name] *= scale
    for name in FIRST_STEPS:
        values[name] = first_steps or values[name]
    return Constants(**{**values, "sequence_s": sequence_s})


def untuned(deployment: Deployment) -> str:
    """What a step in eight bits assumes of a mixture that is published in others; "" of the rest.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> untuned(WORKED)
    ''
    """
    one = deployment.architecture
    if deployment.precision != "fp8" or not one.routed_parameters or one.published == "fp8":
        return ""
    return (
        "a mixture in FP8 is taken to have kernels that are tuned for this device: as installed it "
        "may be no faster than in BF16, so test both"
    )


def crossing(deployment: Deployment) -> str:
    """What is taken for the links of an engine with more devices than are joined by fast ones; ""
    of the rest.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> crossing(replace(WORKED, tensor=8)), crossing(replace(WORKED, tensor=16))[:45]
    ('', 'fast links of H100 SXM join no more than 8 of')
    """
    system, devices = deployment.system, deployment.devices
    if devices <= system.domain_devices:
        return ""
    inside, outside = system.link_bytes_per_s / 1e9, system.outside_bytes_per_s / 1e9
    return (
        f"fast links of {system.shown} join no more than {system.domain_devices} of the {devices} "
        f"GPUs: beyond them {outside:.3g} GB/s a GPU are assumed, not {inside:.3g}, and hardly any "
        "such engine was measured, so test it on your network"
    )


def steps_alone(work: Work, constants: Constants) -> Latencies:
    """Times of decoding steps with as many sequences as are asked for, and no prompt in them.

    It is what a median of inter-token times measures, where prompts are few or short. First tokens
    are NaN: steps say nothing of them.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> found = steps_alone(count_work([WORKED]), FITTED)
    >>> bool(0.005 < found.per_token_s[0] < 0.01), bool(np.isnan(found.first_token_s[0]))
    (True, True)
    """
    step = decode_step_s(work, constants, work.concurrency, work.context)
    return Latencies(np.full(step.size, np.nan), step / work.accepted, work.running)


def fit_front(
    work: Work,
    per_token_s: Array,
    front: Front,
    latencies: Callable[[Work, Constants], Latencies] = steps_alone,
) -> Front:
    """A front with the scale and host time that are most likely after some measured steps.

    work: of the runs, whose concurrency is the sequences that ran, shape (runs,). per_token_s:
    measured [s], shape (runs,). front: where the search begins, and the others of its numbers.
    latencies: what predicts them, with prompts of others or without. Raises ValueError on times
    that are not positive.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.fronts import FRONTS, front_constants, steps_alone
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> work = count_work([replace(WORKED, concurrency=load) for load in (1.0, 64.0, 256.0)])
    >>> told = steps_alone(work, front_constants(FRONTS["ml-energy"])).per_token_s
    >>> found = fit_front(work, told, FRONTS["benchmark"])
    >>> round(found.scale, 2), round(found.sequence_s * 1e6)
    (1.19, 55)
    """
    per_token_s = require_all_positive(per_token_s=per_token_s)

    def moved(logs: Array) -> Front:
        scale, host = np.exp(logs)
        return replace(front, scale=float(scale), sequence_s=float(host))

    def residuals(logs: Array) -> Array:
        found = latencies(work, front_constants(moved(logs)))
        return np.asarray(np.log(found.per_token_s / per_token_s))

    start = np.log([front.scale, front.sequence_s])
    return moved(descend(residuals, start, np.full(2, np.inf), 0.15))


def require_agreement(
    front: Front,
    work: Work,
    per_token_s: Array,
    latencies: Callable[[Work, Constants], Latencies] = steps_alone,
) -> None:
    """Refuse a front that measured runs contradict, and propose the one that is nearest to them.

    work, per_token_s, latencies: as for fit_front. Raises ValueError where the median of predicted
    over measured times is off by more than `CONTRADICTS`, or a time is not positive.

    >>> import numpy as np
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.fronts import FRONTS
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> require_agreement(FRONTS["benchmark"], count_work([WORKED]), np.array([0.0075]))
    """
    per_token_s = require_all_positive(per_token_s=per_token_s)

    def off(one: Front) -> float:
        return float(np.median(latencies(work, front_constants(one)).per_token_s / per_token_s))

    close = min(FRONTS.values(), key=lambda one: abs(np.log(off(one))))
    ratio = off(front)
    rule = f"one behind which runs take about as long as yours (nearest: {close.name}; or none)"
    told = f"{front.name}, behind which they would take {ratio:.2f} times as long"
    require(1 / CONTRADICTS <= ratio <= CONTRADICTS, "front", rule, told)


def front_rows(fronts: Sequence[Front] = tuple(FRONTS.values())) -> list[list[str]]:
    """Fronts as rows of a table with a header.

    fronts: which.

    >>> front_rows()[1][0]
    'benchmark'
    """
    head = ["front", "engine", "scheduling", "streaming", "client", "scale", "host [µs]", "first"]
    rows = [head]
    for front in fronts:
        first = f"{front.first_steps:g} steps" if front.first_steps else "by engine"
        numbers = [f"{front.scale:.2f}", f"{front.sequence_s * 1e6:.0f}", first]
        rows.append(
            [front.name, front.engine, front.scheduling, front.server, front.client, *numbers]
        )
    return rows


def check_a_front_is_found_again() -> None:
    """Steps made behind a front give its scale and host time back, from any other front.

    Source: the step model itself, at four loads of three widths.
    """
    asked = [
        replace(WORKED, tensor=width, concurrency=load)
        for width in (1, 2, 4)
        for load in (1.0, 16.0, 64.0, 256.0)
    ]
    work = count_work(asked)
    for truth in FRONTS.values():
        told = steps_alone(work, front_constants(truth)).per_token_s
        found = fit_front(work, told, FRONTS["unknown"])
        checks.close(f"{truth.name}: scale", found.scale, truth.scale, rtol=1e-3)
        checks.close(f"{truth.name}: host [s]", found.sequence_s, truth.sequence_s, rtol=1e-3)


def check_the_benchmark_front_changes_nothing() -> None:
    """The front of the benchmark has the constants that were fitted behind it.

    Source: every constant, unchanged.
    """
    same = front_constants(FRONTS["benchmark"])
    checks.close("constants", same.as_array(), FITTED.as_array(), rtol=1e-12, kind="identity")
