"""What a mixture costs beside dense models, by load: one of its active size, and one of its own.

A mixture takes about as much of a device as a dense model of its active size alone and in a crowd,
where arithmetic counts. In between it reads all of its experts for few tokens, and comes nearest to
a dense model as large as itself.

Assumes: what a step does beside its experts is that of `step_time`; kernels alone, no fit; the
devices are held at any load, and the load is what one replica holds.

Source: runs of aiconfigurator-core 0.12.0, in `records/machine_runs.json.gz`; `benchmark_loops`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.catalogue import deployed, find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.published_runs import (
    Run,
    _engine_runs,
    read_lines,
    read_runs,
)
from serving_mathematics.core.hardware.step_time import FITTED, Array, Constants, count_work
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

SPARSE, SMALL, LARGE = "Qwen3-30B-A3B", "Qwen3-4B", "Qwen3-32B"
LOADS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def device_hours(deployment: Deployment, constants: Constants = KERNELS) -> float:
    """Device-hours for a million output tokens of a closed loop, prompts included.

    constants: of the step; if none are given, those from kernels alone. The result times the price
    of a device-hour is the price of a million tokens.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> 0.1 < device_hours(WORKED) < 0.5
    True
    """
    work = count_work([deployment])
    rate = tokens_per_s_per_device(
        loop_latencies(work, constants),
        work.answer,
        work.concurrency,
        np.array([float(deployment.devices)]),
    )
    return 1e6 / 3600 / float(rate[0])


@cache
def _family(
    device: str = "h200", answer: int = 1024, fitted: bool = False, precision: str = "bf16"
) -> dict[str, Array]:
    """Hours by load of three models of one family on one device."""
    system = find_system(device)
    one = replace(WORKED, system=system, precision=precision, input_tokens=1024)
    one = replace(one, output_tokens=answer)
    constants = FITTED if fitted else KERNELS
    found = {}
    for name in (SPARSE, SMALL, LARGE):
        model = replace(one, architecture=find_model(name)[0])
        hours = [device_hours(replace(model, concurrency=load), constants) for load in LOADS]
        found[name] = np.array(hours)
    return found


DENSE = "Meta-Llama-3.1-70B"
RACERS = ("MiniMax-M2.5", DENSE)


@cache
def _race() -> dict[str, list[Run]]:
    """Runs on four H100 with vLLM, 1,024 tokens in and out."""
    wanted = {"system": "h100_sxm", "backend": "vllm", "isl": "1024", "osl": "1024", "mode": "agg"}
    lines = [
        line
        for line in read_lines()
        if all(line[key] == value for key, value in wanted.items())
        and 0 < int(line["concurrency"] or 0) <= 128
    ]
    runs = [run for run in read_runs(lines) if run.answers.devices == 4]
    return {
        name: sorted((run for run in runs if run.family == name), key=lambda run: run.concurrency)
        for name in RACERS
    }


def _at(name: str, concurrency: float) -> float:
    """Measured time per token [ms], the mean of repeated runs."""
    times = [run.per_token_s for run in _race()[name] if run.concurrency == concurrency]
    return 1e3 * float(np.mean(times))


@cache
def _beside_dense() -> list[tuple[float, float]]:
    """Time per token of a mixture over that of the dense 70B with 4 requests, and with 64, the
    median of all lengths, for each mixture, engine, device, number of them and precision of the
    record, without guesses and with shared attention."""
    times: dict[tuple[Any, ...], dict[tuple[Any, ...], list[float]]] = defaultdict(dict)
    for run in _engine_runs():
        a = run.answers
        sparse = a.architecture.routed_parameters > 0
        one = a.attention_data == 1 and not a.draft_tokens
        if one and run.concurrency in (4, 64) and (sparse or run.family == DENSE):
            place = a.backend, a.precision, a.system.name, a.devices
            at = run.concurrency, a.input_tokens, a.output_tokens
            times[run.family, *place].setdefault(at, []).append(run.per_token_s)
    found = []
    for (family, *where), own in times.items():
        dense = times.get((DENSE, *where), {})
        if family == DENSE:
            continue
        few, many = (
            [np.median(own[at]) / np.median(dense[at]) for at in own if at in dense and at[0] == n]
            for n in (4, 64)
        )
        if few and many:
            found.append((float(np.median(few)), float(np.median(many))))
    return found


def example() -> SimpleNamespace:
    """Numbers of the page."""
    few, many = np.array(_beside_dense()).T
    hours = _family()
    over_large = hours[SPARSE] / hours[LARGE]
    return SimpleNamespace(
        crowd_without_room=(_family("h100")[SPARSE] / _family("h100")[SMALL])[-1],
        large_alone=1 / over_large[0],
        large_worst=1 / over_large.max(),
        large_crowd=1 / over_large[-1],
        crowd=LOADS[-1],
        beside=few.size,
        beside_dense=int(np.sum(many > few)),
        beside_turns=int(np.sum((few < 1) & (many > 1))),
    )


def figure_cost_in_between(figure: Figure) -> None:
    """Beside a dense model of its active size, a mixture costs least with one request or many, and
    most in between.

    Left, device-hours of Qwen3-30B-A3B over those of each dense model, on one H200 in 16 bits, with
    prompts and answers of 1,024 tokens, predicted from kernels alone. Right, published runs on four
    H100 (dots) and predictions (lines), both models in 8 bits.

    Alt: Two charts against the requests that a replica holds, on a logarithmic axis. Left,
    device-hours of the mixture over those of a dense model: beside one of its active size the line
    rises from above one to more than three in the middle and falls again; beside one of its total
    size it stays below one and is highest in the middle. Right, time per token: MiniMax-M2.5 begins
    below Llama-3.1-70B, crosses it at about eight requests, and stays above.
    """
    left, right = figure.subplots(1, 2)
    hours = _family()
    left.plot(LOADS, hours[SPARSE] / hours[SMALL], color="C0")
    left.annotate("over its active size, dense", (1.1, 3.4), color="C0")
    left.plot(LOADS, hours[SPARSE] / hours[LARGE], color="C3")
    left.annotate("over its total size, dense", (1.7, 0.12), color="C3")
    left.axhline(1, color="C4", linewidth=0.8, linestyle=":")
    left.set(xscale="log", xlim=(1, 256), ylim=(0, 3.8), ylabel="device-hours, mixture over dense")
    left.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    for name, colour, label, place in (
        ("MiniMax-M2.5", "C0", "MiniMax-M2.5", (9, 26)),
        ("Meta-Llama-3.1-70B", "C3", "Llama-3.1-70B", (20, 8)),
    ):
        runs = _race()[name]
        loads = sorted({run.concurrency for run in runs})
        times = [1e3 * run.per_token_s for run in runs]
        right.plot([run.concurrency for run in runs], times, "o", color=colour, markersize=4)
        work = count_work([replace(runs[0].answers, concurrency=load) for load in loads])
        told = loop_latencies(work, KERNELS).per_token_s
        right.plot(loads, 1e3 * told, color=colour, linewidth=1)
        right.annotate(label, place, color=colour)
    right.set(xscale="log", xlim=(3.7, 140), ylim=(0, 42), ylabel="time per token [ms]")
    right.set_xticks([4, 16, 64], ["4", "16", "64"])
    for axes in (left, right):
        axes.set_xlabel("requests that a replica holds")
        axes.minorticks_off()


def check_dearest_in_between() -> None:
    """Beside a dense model of its active size, the mixture costs most with 8 to 64 requests: at
    least half more than with one or with 256. Beside one of its total size it costs less at every
    load, and saves least with 8 to 128. Twice the requests make its tokens no dearer. All this also
    holds on other devices, with other lengths of answers, and with the constants that were fitted
    to thousands of runs, but not where memory ends before there are many requests.

    Source: device-hours from kernels alone, and with these changes.
    """
    for label, hours in (
        ("one H200", _family()),
        ("one B200", _family(device="b200")),
        ("one H100 in 8 bits", _family(device="h100", precision="fp8")),
        ("answers of 128", _family(answer=128)),
        ("answers of 4,096", _family(answer=4096)),
        ("fitted constants", _family(fitted=True)),
    ):
        over = hours[SPARSE] / hours[SMALL]
        checks.inside(f"{label}: dearest at", LOADS[int(over.argmax())], 8, 64)
        ends = float(over.max() / max(over[0], over[-1]))
        checks.inside(f"{label}: over alone and crowd", ends, 1.5, 4.0)
        saved = hours[LARGE] / hours[SPARSE]
        checks.inside(f"{label}: saves least at", LOADS[int(saved.argmin())], 8, 128)
        checks.inside(f"{label}: least saved", float(saved.min()), 1.0, 2.5)
        fuller = float(np.max(hours[SPARSE][1:] / hours[SPARSE][:-1]))
        checks.inside(f"{label}: twice as full, at least as cheap", fuller, 0.3, 1.0)
    short = _family(device="h100")
    crowd = float((short[SPARSE] / short[SMALL])[-1])
    checks.inside("one H100, whose memory ends: in a crowd", crowd, 2.5, 5.0)


def check_in_between_it_is_two_to_four_times_a_small_model() -> None:
    """At the load where this factor is largest, a mixture costs two to four times as much as a
    dense model of about its active size. With prompts of 8,000 tokens and answers of 300 the factor
    is at least half of that, and at most nine tenths.

    Source: device-hours from kernels alone, on H200, of five pairs of published models.
    """
    for sparse, dense, precision, devices in (
        ("gpt-oss-120b", "Qwen3-4B", "bf16", 2),
        ("Mixtral-8x7B", "Qwen3-14B", "bf16", 1),
        ("Qwen3-235B-A22B", "Qwen3-32B", "fp8", 4),
        ("MiniMax-M2.5", "Qwen3-14B", "fp8", 4),
        ("DeepSeek-R1", "Qwen3-32B", "fp8", 8),
    ):
        pair = [
            deployed(name, "h200", precision=precision, tensor=devices) for name in (sparse, dense)
        ]
        worst = []
        for prompt, answer in ((1024.0, 1024.0), (8000.0, 300.0)):
            held = [replace(way, input_tokens=prompt, output_tokens=answer) for way in pair]
            mixture, small = (
                np.array([device_hours(replace(way, concurrency=load)) for load in LOADS])
                for way in held
            )
            worst.append(float((mixture / small).max()))
        label = f"{sparse} over {dense}"
        checks.inside(f"{label}: at most", worst[0], 2.0, 4.25)
        checks.inside(f"{label}: with long prompts, of that", worst[1] / worst[0], 0.5, 0.9)


def check_company_costs_a_mixture_more_than_a_dense_model() -> None:
    """Where a mixture and the dense 70B were measured with the same engine, on as many of the same
    devices and in as many bits, the mixture's time per token over the dense model's is larger with
    64 requests than with four in about nine of ten deployments, and at most a tenth smaller in the
    others. In about a tenth of the deployments the order of the two changes; in the others one
    model is faster at both loads.

    Source: published runs on H100, H200 and B200.
    """
    few, many = np.array(_beside_dense()).T
    checks.inside("deployments", few.size, 20, 40)
    checks.inside("larger with 64", float(np.mean(many > few)), 0.85, 0.95)
    checks.inside("least with 64, over four", float((many / few).min()), 0.9, 1.0)
    turned = float(np.mean((few < 1) & (many > 1)))
    checks.inside("in which the order turns", turned, 0.05, 0.15)
    checks.holds("faster at both", bool(np.any(many < 1)), got=float(many.min()))
    checks.holds("slower at both", bool(np.any(few > 1)), got=float(few.max()))


def check_fast_alone_and_slow_in_a_crowd() -> None:
    """MiniMax-M2.5 is faster than Llama-3.1-70B, a dense model with a third of its parameters, with
    four requests, and slower with 64: both as measured and as predicted from kernels alone.

    Source: published runs on four H100 with vLLM, both models in 8 bits.
    """
    sizes = [find_model(name)[0].parameters for name in ("MiniMax-M2.5", "Meta-Llama-3.1-70B")]
    checks.close(
        "dense over mixture, parameters", sizes[1] / sizes[0], 1 / 3, atol=0.04, kind="stated"
    )
    predicted = {}
    for name in RACERS:
        runs = _race()[name]
        told = 1e3 * loop_latencies(count_work([run.answers for run in runs]), KERNELS).per_token_s
        predicted[name] = dict(zip([run.concurrency for run in runs], told, strict=True))
    for load, low, high in ((4, 0.5, 1.0), (64, 1.0, 2.0)):
        for how, at in (("measured", _at), ("from kernels", lambda n, x: predicted[n][x])):
            ratio = at("MiniMax-M2.5", load) / at("Meta-Llama-3.1-70B", load)
            label = f"{load} requests, mixture over dense, {how}"
            checks.inside(label, ratio, low, high)
