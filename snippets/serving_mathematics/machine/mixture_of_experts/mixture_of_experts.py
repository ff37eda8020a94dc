"""A mixture by load: what a token pays for, when arithmetic begins, who waits, what it costs.

B tokens that take k of E experts each touch m = E (1 - (1 - k/E)^B) of them, and each pays for m/B:
k where it is alone, 0.63 k at B = E/k, and E/B in a crowd. Experts are bound by arithmetic from E/k
times as many tokens on as a dense layer.

Assumes: tokens choose independently; what a step does beside its experts is that of `step_time`.

Source: Huang et al. (2025), arXiv 2505.19645; Williams, Waterman and Patterson (2009); kernels and
runs of aiconfigurator-core 0.12.0, in `records/machine_series.json.gz` and
`records/machine_runs.json.gz`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.architectures import FeedForward
from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, weight_bytes
from serving_mathematics.core.hardware.run_reading import Run, read_lines, read_runs
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.machine.mixture_of_experts.expert_kernels import MIXTURES
from serving_mathematics.machine.mixture_of_experts.expert_routing import (
    busiest_device,
    experts_a_token,
    random_counts,
    sent_bytes,
    skewed_counts,
    touched_by_popularity,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import require, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def compute_bound_tokens(
    part: FeedForward,
    bytes_a_value: float,
    bandwidth_bytes_per_s: float,
    peak_flops_per_s: float,
) -> float:
    """Tokens in a step from which experts take longer to multiply than to read, all touched.

    It is E/k times what a dense layer needs. Raises ValueError where there are no experts.

    >>> part = FeedForward(0, 1, experts=128, chosen=8)
    >>> round(compute_bound_tokens(part, 2, 3.35e12, 989e12))  # 16 times 295
    4724
    """
    require(part.experts > 0, "part", "a layer with experts", part)
    bytes_a_value, bandwidth_bytes_per_s, peak_flops_per_s = require_positive(
        bytes_a_value=bytes_a_value,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        peak_flops_per_s=peak_flops_per_s,
    )
    ridge = bytes_a_value * peak_flops_per_s / (2 * bandwidth_bytes_per_s)
    return ridge * part.experts / part.chosen


def device_hours(deployment: Deployment) -> float:
    """Hours of one device for a million output tokens of a closed loop, prompts included.

    From kernels alone. Times the price of a device and hour it is the price of a million tokens.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> 0.1 < device_hours(WORKED) < 0.5
    True
    """
    work = count_work([deployment])
    rate = tokens_per_s_per_device(
        loop_latencies(work, KERNELS),
        work.answer,
        work.concurrency,
        np.array([float(deployment.devices)]),
    )
    return 1e6 / 3600 / float(rate[0])


@cache
def _line(**wanted: object) -> dict[str, Any]:
    """The one measured line of kernels on H100 with these properties."""
    wanted = {"system": "h100_sxm"} | wanted
    series: list[dict[str, Any]] = read_record("machine_series")["series"]
    return next(
        line for line in series if all(line.get(key) == value for key, value in wanted.items())
    )


RACERS = ("gpt-oss-120b", "MiniMax-M2.5", "Meta-Llama-3.1-70B", "Qwen3-32B")


@cache
def _race() -> dict[str, list[Run]]:
    """Runs on four H100 with vLLM, 1,024 tokens in and out: two mixtures, two dense models."""
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
def _imbalance(tokens: int, devices: int, exponent: float = 0.0) -> float:
    """Busiest device over the mean, 256 experts and 8 a token, in the mean of many draws."""
    drawn = _drawn_counts(tokens, exponent)
    return float(np.mean([busiest_device(counts, devices)[1] for counts in drawn]))


@cache
def _drawn_counts(tokens: int, exponent: float) -> list[NDArray[np.int64]]:
    """Tokens of each expert in these draws, the same for any number of devices."""
    rng = np.random.default_rng(tokens)
    least = 64 if exponent else 8  # popularity scatters more
    draws = range(min(max(least, 4096 // tokens), 200))
    if exponent:
        return [skewed_counts(tokens, 256, 8, exponent, rng) for _ in draws]
    return [random_counts(tokens, 256, 8, rng) for _ in draws]


def _measured_skew(tokens: int) -> float:
    """Skewed over balanced kernels of DeepSeek-V3 over eight H100, TensorRT-LLM."""
    skewed, level = (
        _line(backend="trtllm", model="DeepSeek-V3", devices=8, routing=routing)
        for routing in ("power_law_1.2", "balanced")
    )
    place = skewed["x"].index(tokens)
    return float(skewed["seconds"][place] / level["seconds"][place])


def _qwen(name: str, load: float) -> Deployment:
    """Qwen3 on one H200 in 16 bits, prompts and answers of 1,024 tokens."""
    return replace(
        WORKED,
        architecture=find_model(name)[0],
        system=find_system("h200"),
        input_tokens=1024,
        output_tokens=1024,
        concurrency=load,
    )


LOADS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def _hours_rows() -> list[str]:
    """Lines of the page's table: hours of a device a million tokens, by load."""
    rows = []
    for load in (1, 8, 64, 256):
        sparse, dense = (device_hours(_qwen(name, load)) for name in ("Qwen3-30B-A3B", "Qwen3-32B"))
        rows.append(f"| {load} | {sparse:.2f} | {dense:.2f} | {dense / sparse:.1f} |")
    return rows


def _real_popularity() -> Array:
    """Popularity of 128 experts, 8 a token, the first 65 of which take 90% of the choices."""
    low, high = 0.1, 20.0
    for _ in range(60):
        slope = (low + high) / 2
        weights = np.exp(-slope * np.arange(128) / 128)
        low, high = (slope, high) if weights[:65].sum() < 0.9 * weights.sum() else (low, slope)
    return np.asarray(np.minimum(8 * weights / weights.sum(), 1.0), dtype=float)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    qwen = MIXTURES["Qwen3-30B-A3B"].part
    h100 = find_system("h100")
    messages = _line(kernel="messages", hidden=7168)
    out_128, back_128 = messages["seconds"][messages["x"].index(128)]
    real = touched_by_popularity(_real_popularity(), 32)
    sparse = replace(WORKED, architecture=find_model("MiniMax-M2.5")[0], precision="fp8")
    dense = replace(WORKED, architecture=find_model("Llama-3.1-70B")[0], precision="fp8")
    return SimpleNamespace(
        share_at_ratio=100 * experts_a_token(qwen, 16) / 8,
        touched_8=8 * experts_a_token(MIXTURES["DeepSeek-V3"].part, 8),
        touched_32=32 * experts_a_token(MIXTURES["DeepSeek-V3"].part, 32),
        touched_128=128 * experts_a_token(MIXTURES["DeepSeek-V3"].part, 128),
        real_32=real,
        real_lower=100 * (1 - real / (32 * experts_a_token(qwen, 32))),
        dense_ridge=2 * h100.bf16_flops_per_s / (2 * h100.bandwidth_bytes_per_s),
        sparse_ridge=compute_bound_tokens(
            qwen, 2, h100.bandwidth_bytes_per_s, h100.bf16_flops_per_s
        ),
        mini_4=_at("MiniMax-M2.5", 4),
        mini_64=_at("MiniMax-M2.5", 64),
        llama_4=_at("Meta-Llama-3.1-70B", 4),
        llama_64=_at("Meta-Llama-3.1-70B", 64),
        mini_over_llama=_at("MiniMax-M2.5", 64) / _at("Meta-Llama-3.1-70B", 64),
        mini_gb=weight_bytes(sparse) / 1e9,
        llama_gb=weight_bytes(dense) / 1e9,
        mini_active=find_model("MiniMax-M2.5")[0].active_parameters / 1e9,
        mini_total=find_model("MiniMax-M2.5")[0].parameters / 1e9,
        random_8=_imbalance(128, 8),
        random_64=_imbalance(128, 64),
        random_64_many=_imbalance(2048, 64),
        skew_8=_imbalance(2048, 8, 1.2),
        measured_2048=_measured_skew(2048),
        measured_8192=_measured_skew(8192),
        out_mb=sent_bytes(128, 8, 7168, 1) / 1e6,
        back_mb=sent_bytes(128, 8, 7168, 2) / 1e6,
        floor_us=1e6 * messages["seconds"][messages["x"].index(1)][0],
        out_us=1e6 * out_128,
        back_us=1e6 * back_128,
        back_rate=sent_bytes(128, 8, 7168, 2) / back_128 / 1e9,
        hours_rows="\n".join(_hours_rows()),
        hours_1=device_hours(_qwen("Qwen3-32B", 1)) / device_hours(_qwen("Qwen3-30B-A3B", 1)),
        hours_16=device_hours(_qwen("Qwen3-32B", 16)) / device_hours(_qwen("Qwen3-30B-A3B", 16)),
        hours_32=device_hours(_qwen("Qwen3-32B", 32)) / device_hours(_qwen("Qwen3-30B-A3B", 32)),
    )


def figure_sparse_and_dense(figure: Figure) -> None:
    """A mixture is fast alone, and loses its lead over a smaller dense model as requests gather.

    Published runs on four H100 with vLLM, 1,024 tokens in and out (dots), and what kernels alone
    predict for them (lines).

    Alt: Line chart with logarithmic axes of time per token against requests held, from 4 to 128.
    Lines of MiniMax-M2.5 and gpt-oss-120b rise by a factor of two and a half between 4 and 64
    requests; those of Llama-3.1-70B and Qwen3-32B rise by less than two. MiniMax-M2.5 crosses
    Llama-3.1-70B at about eight requests. Two measured dots of gpt-oss lie far above its line.
    """
    axes = figure.subplots()
    looks = {
        "MiniMax-M2.5": ("C3", "MiniMax-M2.5: 229B, 10B a token, 8 bits", (60, 28.5), "right"),
        "Meta-Llama-3.1-70B": ("C0", "Llama-3.1-70B, 8 bits", (3.9, 13.4), "left"),
        "Qwen3-32B": ("C2", "Qwen3-32B, 16 bits", (18, 9.2), "left"),
        "gpt-oss-120b": ("C1", "gpt-oss-120b: 117B, 5B a token, 4 bits", (10, 4.6), "left"),
    }
    for name, (colour, label, place, side) in looks.items():
        runs = _race()[name]
        loads = sorted({run.concurrency for run in runs})
        axes.plot(
            [run.concurrency for run in runs],
            [1e3 * run.per_token_s for run in runs],
            "o",
            color=colour,
            markersize=4,
        )
        one = runs[0].answers
        work = count_work([replace(one, concurrency=load) for load in loads])
        axes.plot(loads, 1e3 * loop_latencies(work, KERNELS).per_token_s, color=colour, linewidth=1)
        axes.annotate(label, place, color=colour, ha=side)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(3.7, 140),
        ylim=(3.5, 40),
        xlabel="requests held at the replica",
        ylabel="time per token [ms]",
    )
    axes.set_xticks([4, 8, 16, 32, 64, 128], ["4", "8", "16", "32", "64", "128"])
    axes.set_yticks([4, 8, 16, 32], ["4", "8", "16", "32"])
    axes.minorticks_off()


def figure_busiest_device(figure: Figure) -> None:
    """The device with most tokens has up to twice its share, and every layer waits for it.

    256 experts, 8 a token, split evenly: chosen at random, or by a power law as benchmarks draw it;
    crosses are measured kernels over eight H100, skewed over balanced.

    Alt: Line chart of the busiest device's tokens over the mean against tokens in a step, from 8 to
    8,192 on a logarithmic axis. With random choice the line falls from 1.5 to near 1 over eight
    devices and from 4 to 1.1 over 64. With a power law over eight devices it falls to 1.3 and rises
    again to 1.85; crosses rise from 0.6 to 1.94.
    """
    axes = figure.subplots()
    tokens = (8, 16, 32, 64, 128, 256, 512, 2048, 8192)
    for devices, exponent, colour, label in (
        (64, 0.0, "C1", "64 devices, random"),
        (8, 0.0, "C0", "8 devices, random"),
        (8, 1.2, "C3", "8 devices, power law 1.2"),
    ):
        counts = tokens if exponent else tokens[:-1]
        drawn = [_imbalance(each, devices, exponent) for each in counts]
        axes.plot(counts, drawn, color=colour, label=label)
    axes.plot(
        tokens,
        [_measured_skew(each) for each in tokens],
        "x",
        color="C3",
        label="measured, power law 1.2",
    )
    axes.legend(loc="upper right")
    axes.set(
        xscale="log",
        xlim=(7, 9500),
        ylim=(0, 4.5),
        xlabel="tokens in a step",
        ylabel="busiest device over the mean",
    )


def figure_weights_a_token(figure: Figure) -> None:
    """Up to E/k tokens a batch hardly divides the weights that each token pays for.

    Weights of experts read a token, in those of one token's experts; dotted: a dense model of the
    active size.

    Alt: Line chart with logarithmic axes of weights read a token against tokens in a step. Lines
    for one expert in 4, 16, 32 and 51 start at one, stay near it until as many tokens, and then
    fall in proportion, each above the next sparser one's; a dotted line falls from the start.
    """
    axes = figure.subplots()
    tokens = np.logspace(0, 13, 60, base=2)
    for ratio, colour in ((4, "C0"), (16, "C2"), (32, "C3"), (51, "C1")):
        part = FeedForward(0, 1, experts=ratio, chosen=1)
        paid = [experts_a_token(part, each) for each in tokens.tolist()]
        axes.plot(tokens, paid, color=colour, label=f"one expert in {ratio}")
    axes.plot(tokens, 1 / tokens, ":", color="C4", label="dense")
    axes.legend(loc="lower left")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1, 8192),
        ylim=(0.0005, 2),
        xlabel="tokens in a step",
        ylabel="weights read a token",
    )
    axes.minorticks_off()


def slider_weights_a_token() -> dict[str, Any]:
    """Put tokens into a step, and choose how sparse the model is."""
    tokens = [round(2 ** (i / 2)) for i in range(2, 27)]
    tokens = sorted({1, *tokens})
    ratios = (4, 16, 32, 51)
    touched = np.array([[1 - (1 - 1 / ratio) ** each for ratio in ratios] for each in tokens])
    counts, sparsity = np.array(tokens, float)[:, None], np.array(ratios, float)
    return {
        "controls": [
            {"label": "tokens", "values": tokens, "text": "B = {}", "start": 16},
            {"label": "sparsity", "values": list(ratios), "text": "one expert in {}", "start": 16},
        ],
        "x": {"label": "tokens in a step", "unit": "", "log": True, "range": (1, 8192)},
        "y": {"label": "weights read a token", "unit": "", "log": True, "range": (0.0005, 2)},
        "curves": [
            {
                "label": "mixture",
                "unit": "of one token's experts",
                "values": (touched * sparsity / counts).tolist(),
                "decimals": 3,
            },
            {
                "label": "dense model of its active size",
                "unit": "of one token's experts",
                "values": np.broadcast_to(1 / counts, touched.shape).tolist(),
                "decimals": 3,
            },
        ],
        "readouts": [
            {"label": "touched", "unit": "%", "values": (100 * touched).tolist(), "decimals": 0}
        ],
        "reading": "With {tokens} and {sparsity}, a step reads {touched} of the experts; a token"
        " pays for {mixture}, where in a dense model it pays for {dense model of its active size}.",
    }


def check_messages_from_a_floor_and_a_rate() -> None:
    """Messages of 128 to 1,024 tokens take a floor and a rate; one rate predicts the others.

    Source: DeepEP's low-latency kernels over eight H100, `records/machine_series.json.gz`: the rate
    from 256 and 1,024 tokens gives the time of 512.
    """
    line = _line(kernel="messages", hidden=7168)
    at = dict(zip(line["x"], line["seconds"], strict=True))
    for way, name in ((0, "out"), (1, "back")):
        slope = (at[1024][way] - at[256][way]) / 768
        expected = at[256][way] + 256 * slope
        checks.close(f"{name}, 512 tokens [s]", at[512][way], expected, rtol=0.05, kind="measured")
    sent = 256 * 8 * 7168 * 2 / (at[512][1] - at[256][1]) / 1e9
    checks.inside("back, GB/s of 450", sent, 200, 450, kind="measured")


def check_runs_from_kernels_alone() -> None:
    """Predicted from kernels, mixtures and dense models are met alike, but for two gpt-oss runs.

    Source: published runs on four H100 with vLLM; a tenth is the model's median error.
    """
    for name, runs in _race().items():
        work = count_work([run.answers for run in runs])
        measured = np.array([run.per_token_s for run in runs])
        ratio = loop_latencies(work, KERNELS).per_token_s / measured
        error = float(np.median(np.abs(ratio - 1)))
        checks.inside(name, error, 0.0, 0.15, kind="measured")


def check_lead_depends_on_the_dense_model() -> None:
    """Beside a dense model of its own size the mixture is cheaper at every load; beside one with a
    third of its parameters it is the faster one with four requests and the slower one with 64, as
    measured and as predicted from kernels.

    Source: published runs on four H100 with vLLM; device hours from kernels alone.
    """
    for load in LOADS:
        dense, sparse = (device_hours(_qwen(f"Qwen3-{n}", load)) for n in ("32B", "30B-A3B"))
        checks.inside(f"dense over mixture, {load} requests", dense / sparse, 1.2, 10.0)
    predicted = {}
    for name in ("MiniMax-M2.5", "Meta-Llama-3.1-70B"):
        runs = _race()[name]
        work = count_work([run.answers for run in runs])
        told = 1e3 * loop_latencies(work, KERNELS).per_token_s
        predicted[name] = dict(zip([run.concurrency for run in runs], told, strict=True))
    for load, low, high in ((4, 0.5, 1.0), (64, 1.0, 2.0)):
        for how, at in (("measured", _at), ("from kernels", lambda n, x: predicted[n][x])):
            ratio = at("MiniMax-M2.5", load) / at("Meta-Llama-3.1-70B", load)
            label = f"{load} requests, mixture over dense, {how}"
            checks.inside(label, ratio, low, high, kind="measured")


def check_bad_input_is_refused() -> None:
    """Layers without experts and devices without a bandwidth name the argument."""
    part = FeedForward(0, 1, 8, 2)
    checks.raises(
        "no bandwidth", compute_bound_tokens, part, 2, 0.0, 1e15, match="bandwidth_bytes_per_s must"
    )
    checks.raises(
        "dense", compute_bound_tokens, FeedForward(5), 2, 1e12, 1e15, match="part must be a layer"
    )
