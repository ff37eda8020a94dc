"""A step of a mixture reads the experts that its tokens touch, and waits for the busiest device.

B tokens that take k of E experts each touch m = E (1 - (1 - k/E)^B) of them. A layer's experts take

    t = floor + max(m x / (share * bandwidth), 2 B k p / peak)

with p parameters and x bytes an expert. Each of the B tokens pays m/B experts: k where it is alone,
0.63 k at B = E/k, and E/B in a crowd.

Assumes: tokens choose independently; what a step does beside its experts is that of `step_time`.

Source: Huang et al. (2025), arXiv 2505.19645; Williams, Waterman and Patterson (2009); kernels and
runs of aiconfigurator-core 0.12.0, in `records/machine_series.json.gz` and
`records/machine_runs.json.gz`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics import checks
from serving_mathematics.machine.architectures import FeedForward
from serving_mathematics.machine.benchmark_loops import loop_latencies, tokens_per_s_per_device
from serving_mathematics.machine.calibration import KERNELS
from serving_mathematics.machine.catalogue import find_model, find_system
from serving_mathematics.machine.deployments import WORKED, Deployment, weight_bytes
from serving_mathematics.machine.expert_routing import (
    busiest_device,
    random_counts,
    skewed_counts,
    touched_by_popularity,
)
from serving_mathematics.machine.run_reading import Run, read_lines, read_runs
from serving_mathematics.machine.step_time import (
    FITTED,
    count_work,
    expert_floor_s,
    touched_experts,
)
from serving_mathematics.measuring import read_record
from serving_mathematics.require import require, require_non_negative, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


def experts_a_token(part: FeedForward, tokens: float) -> float:
    """Experts whose weights each token of a step pays for: those touched, over the tokens.

    tokens: B > 0. Raises ValueError where it is not, or the layer has no experts.

    >>> round(experts_a_token(FeedForward(0, 1, experts=128, chosen=8), tokens=16), 2)
    5.15
    """
    require_positive(tokens=tokens)
    require(part.experts > 0, "part", "a layer with experts", part)
    touched = touched_experts(
        np.array([float(part.experts)]), np.array([float(part.chosen)]), np.array([float(tokens)])
    )
    return float(touched[0]) / tokens


def experts_s(
    touched: float,
    choices: float,
    expert_parameters: float,
    bytes_a_value: float,
    bandwidth_bytes_per_s: float,
    peak_flops_per_s: float,
    floor_s: float,
) -> float:
    """Time of a layer's expert kernels on one device, in seconds.

    touched: experts read there. choices: pairs of token and expert worked on there, B k on one
    device. expert_parameters: of one expert. floor_s: time with next to nothing to do. The share of
    the bandwidth is that of `FITTED`. Raises ValueError on what is negative or no rate.

    >>> one = experts_s(8, 8, 4.7e6, 2, 3.35e12, 989e12, floor_s=32e-6)
    >>> round(one * 1e6, 1)  # eight experts of 9.4 MB, and the floor
    56.1
    """
    require_non_negative(touched=touched, choices=choices, floor_s=floor_s)
    require_positive(
        expert_parameters=expert_parameters,
        bytes_a_value=bytes_a_value,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        peak_flops_per_s=peak_flops_per_s,
    )
    attained = FITTED.expert_share * bandwidth_bytes_per_s
    read_s = touched * expert_parameters * bytes_a_value / attained
    return floor_s + max(read_s, 2 * choices * expert_parameters / peak_flops_per_s)


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
    require_positive(
        bytes_a_value=bytes_a_value,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        peak_flops_per_s=peak_flops_per_s,
    )
    ridge = bytes_a_value * peak_flops_per_s / (2 * bandwidth_bytes_per_s)
    return ridge * part.experts / part.chosen


def device_hours(deployment: Deployment) -> float:
    """Hours of one device for a million output tokens of a closed loop, prompts included.

    From kernels alone. Times the price of a device and hour it is the price of a million tokens.

    >>> from serving_mathematics.machine.deployments import WORKED
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


@dataclass(frozen=True)
class Mixture:
    """A mixture whose kernels were measured: its layer, its bytes a value."""

    part: FeedForward
    bytes_a_value: float
    four_bit: bool = False


MIXTURES = {
    "Qwen3-30B-A3B": Mixture(FeedForward(0, 3 * 2048 * 768, 128, 8), 2.0),
    "MiniMax-M2.5": Mixture(FeedForward(0, 3 * 3072 * 1536, 256, 8), 1.0),
    "DeepSeek-V3": Mixture(FeedForward(0, 3 * 7168 * 2048, 256, 8), 1.0),
    "Mixtral-8x7B": Mixture(FeedForward(0, 3 * 4096 * 14336, 8, 2), 2.0),
    "gpt-oss-120b": Mixture(FeedForward(0, 3 * 2880 * 2880, 128, 4), 0.53125, True),
}
ROUTINGS = ("balanced", "power_law_1.01", "power_law_1.2")
DECODING_TOKENS = 512  # in a step, at most


@cache
def _lines(kernel: str) -> list[dict[str, Any]]:
    series: list[dict[str, Any]] = read_record("machine_series")["series"]
    return [line for line in series if line["kernel"] == kernel]


def _kernels(**wanted: object) -> dict[str, Any]:
    """The one measured line of expert kernels with these properties."""
    return next(
        line
        for line in _lines("experts")
        if all(line[key] == value for key, value in wanted.items())
    )


@cache
def _touched_as_routed(model: str, routing: str, tokens: int) -> float:
    """Experts that a benchmark's routing touches on one device, in the mean of eight draws.

    "balanced" deals experts out in turn: all different until each has one.
    """
    part = MIXTURES[model].part
    if routing == "balanced":
        return float(min(part.experts, part.chosen * tokens))
    rng = np.random.default_rng([tokens, part.experts])
    exponent = float(routing.split("_")[-1])
    drawn = [skewed_counts(tokens, part.experts, part.chosen, exponent, rng) for _ in range(8)]
    return float(np.mean([(counts > 0).sum() for counts in drawn]))


def _predicted_s(model: str, system: str, backend: str, touched: float, choices: float) -> float:
    mixture, device = MIXTURES[model], find_system(system)
    eight_bit = mixture.bytes_a_value == 1
    return experts_s(
        touched,
        choices,
        mixture.part.expert_parameters,
        mixture.bytes_a_value,
        device.bandwidth_bytes_per_s,
        device.fp8_flops_per_s if eight_bit else device.bf16_flops_per_s,
        expert_floor_s(device.generation, backend, mixture.bytes_a_value, mixture.four_bit),
    )


@cache
def _scored(system: str = "h100_sxm") -> dict[str, dict[str, Array]]:
    """Of each model on one device: predicted over measured, as routed and at random, and which
    kernels are faster than reading what their routing is said to touch.
    """
    found: dict[str, dict[str, list[float]]] = {}
    bandwidth = find_system(system).bandwidth_bytes_per_s
    for line in _lines("experts"):
        if line["system"] != system or line["devices"] != 1:
            continue
        model = line["model"]
        part = MIXTURES[model].part
        into = found.setdefault(model, {"routed": [], "random": [], "impossible": []})
        for tokens, seconds in zip(line["x"], line["seconds"], strict=True):
            if tokens > DECODING_TOKENS:
                continue
            touched = _touched_as_routed(model, line["routing"], tokens)
            read = touched * part.expert_parameters * MIXTURES[model].bytes_a_value
            beaten = line["routing"] == "balanced" and seconds < read / bandwidth
            into["impossible"].append(float(beaten))
            if beaten:
                continue
            equal = tokens * experts_a_token(part, tokens)
            for name, experts in (("routed", touched), ("random", equal)):
                predicted = _predicted_s(
                    model, system, line["backend"], experts, part.chosen * tokens
                )
                into[name].append(predicted / seconds)
    return {
        model: {name: np.array(values) for name, values in lists.items()}
        for model, lists in found.items()
    }


RACERS = ("gpt-oss-120b", "MiniMax-M2.5", "Meta-Llama-3.1-70B", "Qwen3-32B")


@cache
def _race() -> dict[str, list[Run]]:
    """Runs on four H100 with vLLM, 1,024 tokens in and out, of two mixtures and two dense models."""
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
    rng = np.random.default_rng([tokens, devices])
    drawn = []
    for _ in range(max(8, 4096 // tokens)):
        if exponent:
            counts = skewed_counts(tokens, 256, 8, exponent, rng)
        else:
            counts = random_counts(tokens, 256, 8, rng)
        drawn.append(busiest_device(counts, devices)[1])
    return float(np.mean(drawn))


def _measured_skew(tokens: int) -> float:
    """Skewed over balanced kernels of DeepSeek-V3 over eight H100, TensorRT-LLM."""
    skewed, level = (
        _kernels(
            system="h100_sxm", backend="trtllm", model="DeepSeek-V3", devices=8, routing=routing
        )
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
        sparse, dense = (
            device_hours(_qwen(name, load)) for name in ("Qwen3-30B-A3B", "Qwen3-32B")
        )
        rows.append(f"| {load} | {sparse:.2f} | {dense:.2f} | {dense / sparse:.1f} |")
    return rows


def _score_rows() -> list[str]:
    """Lines of the page's table: median errors of kernel times, in percent."""
    rows = []
    for model, found in _scored().items():
        errors = [100 * float(np.median(np.abs(found[name] - 1))) for name in ("routed", "random")]
        rows.append(
            f"| {model} | {found['routed'].size} | {errors[0]:.0f}% | {errors[1]:.0f}% |"
            f" {int(found['impossible'].sum())} |"
        )
    return rows


def _real_popularity() -> Array:
    """Popularity of 128 experts, 8 a token, the first 65 of which take 90% of the choices."""
    low, high = 0.1, 20.0
    for _ in range(60):
        slope = (low + high) / 2
        weights = np.exp(-slope * np.arange(128) / 128)
        low, high = (slope, high) if weights[:65].sum() < 0.9 * weights.sum() else (low, slope)
    return np.minimum(8 * weights / weights.sum(), 1.0)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    qwen = MIXTURES["Qwen3-30B-A3B"].part
    at_16 = [
        1e6
        * _kernels(
            system="h100_sxm", backend="vllm", model="Qwen3-30B-A3B", devices=1, routing=routing
        )["seconds"][4]
        for routing in ROUTINGS
    ]
    scored = _scored()
    every = {
        name: np.concatenate([found[name] for found in scored.values()])
        for name in ("routed", "random")
    }
    h100 = find_system("h100")
    messages = next(
        line for line in _lines("messages") if line["system"] == "h100_sxm" and line["hidden"] == 7168
    )
    out_128, back_128 = messages["seconds"][messages["x"].index(128)]
    real = touched_by_popularity(_real_popularity(), 32)
    sparse = replace(WORKED, architecture=find_model("MiniMax-M2.5")[0], precision="fp8")
    dense = replace(WORKED, architecture=find_model("Llama-3.1-70B")[0], precision="fp8")
    return SimpleNamespace(
        balanced_16=at_16[0],
        mild_16=at_16[1],
        skewed_16=at_16[2],
        tokens_limit=DECODING_TOKENS,
        random_16=16 * experts_a_token(qwen, 16),
        drawn_mild_16=_touched_as_routed("Qwen3-30B-A3B", "power_law_1.01", 16),
        drawn_skewed_16=_touched_as_routed("Qwen3-30B-A3B", "power_law_1.2", 16),
        overstated=1 / (1 - np.exp(-1)),
        routed_error=100 * float(np.median(np.abs(every["routed"] - 1))),
        random_error=100 * float(np.median(np.abs(every["random"] - 1))),
        kernels=sum(found["routed"].size for found in scored.values()),
        b200_error=100
        * float(
            np.median(
                np.abs(
                    np.concatenate([found["routed"] for found in _scored("b200_sxm").values()]) - 1
                )
            )
        ),
        impossible=int(sum(found["impossible"].sum() for found in scored.values())),
        score_rows="\n".join(_score_rows()),
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
        oss_4=_at("gpt-oss-120b", 4),
        oss_64=_at("gpt-oss-120b", 64),
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
        out_us=1e6 * out_128,
        back_us=1e6 * back_128,
        back_rate=14.68e6 / back_128 / 1e9,
        hours_rows="\n".join(_hours_rows()),
        hours_1=device_hours(_qwen("Qwen3-32B", 1)) / device_hours(_qwen("Qwen3-30B-A3B", 1)),
        hours_16=device_hours(_qwen("Qwen3-32B", 16)) / device_hours(_qwen("Qwen3-30B-A3B", 16)),
    )


def figure_touched_kernels(figure: Figure) -> None:
    """A kernel takes as long as the experts that its routing touches.

    One layer of Qwen3-30B-A3B in 16 bits on an H100, vLLM: measured (dots), and the floor plus the
    bytes of what each routing touches (lines), with a share fitted to other runs.

    Alt: Line chart of microseconds against tokens in a step, from 1 to 512 on a logarithmic axis.
    Three sets of dots with a line through each rise from 48 to about 450 microseconds. Balanced
    routing arrives at 16 tokens, skewed routing takes half as long there and arrives at 64.
    """
    axes = figure.subplots()
    looks = (("C3", "balanced: in turn"), ("C0", "power law, 1.01"), ("C2", "power law, 1.2"))
    grid = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    for routing, (colour, label) in zip(ROUTINGS, looks, strict=True):
        line = _kernels(
            system="h100_sxm", backend="vllm", model="Qwen3-30B-A3B", devices=1, routing=routing
        )
        points = [
            (tokens, 1e6 * seconds)
            for tokens, seconds in zip(line["x"], line["seconds"], strict=True)
            if tokens <= DECODING_TOKENS
        ]
        axes.plot(*zip(*points, strict=True), "o", color=colour, markersize=4)
        model = [
            1e6
            * _predicted_s(
                "Qwen3-30B-A3B",
                "h100",
                "vllm",
                _touched_as_routed("Qwen3-30B-A3B", routing, tokens),
                8 * tokens,
            )
            for tokens in grid
        ]
        axes.plot(grid, model, color=colour, linewidth=1, label=label)
    axes.legend(loc="lower right")
    axes.set(
        xscale="log",
        xlim=(0.9, 560),
        ylim=(0, 520),
        xlabel="tokens in a step",
        ylabel="experts of one layer [µs]",
    )
    axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    axes.minorticks_off()


def figure_sparse_and_dense(figure: Figure) -> None:
    """A mixture is fast alone and catches up with the dense model as requests gather.

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
        "Meta-Llama-3.1-70B": ("C0", "Llama-3.1-70B, 8 bits", (4, 12.4), "left"),
        "Qwen3-32B": ("C2", "Qwen3-32B, 16 bits", (66, 14.0), "left"),
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
    again to 1.75; crosses rise from 0.6 to 1.95.
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


def slider_weights_a_token() -> dict[str, Any]:
    """Put tokens into a step, and choose how sparse the model is."""
    tokens = [round(2 ** (i / 2)) for i in range(2, 27)]
    tokens = sorted({1, *tokens})
    ratios = (4, 16, 32, 51)
    touched = np.array(
        [[1 - (1 - 1 / ratio) ** each for ratio in ratios] for each in tokens]
    )
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


def check_touched_as_briefed() -> None:
    """Of 256 experts at 8 a token 57.42, 163.31 and 251.60 are touched; of 128 at 4, 81.66 of 32.

    Source: E (1 - (1 - k/E)^B) in whole numbers, E^B divided out last.
    """
    for experts, chosen, tokens in ((256, 8, 8), (256, 8, 32), (256, 8, 128), (128, 4, 32)):
        exact = experts * (experts**tokens - (experts - chosen) ** tokens) / experts**tokens
        part = FeedForward(0, 1, experts, chosen)
        got = tokens * experts_a_token(part, tokens)
        checks.close(f"{tokens} tokens, {chosen} of {experts}", got, exact, rtol=1e-12)


def check_kernels_take_what_they_touch() -> None:
    """One formula, fitted to none of them, meets measured kernels within a tenth in the median.

    Source: kernels on one H100 of four mixtures in 8 or 16 bits, three backends, three routings,
    up to 512 tokens; `records/machine_series.json.gz`.
    """
    scored = {name: found for name, found in _scored().items() if name != "gpt-oss-120b"}
    for backend_model, found in scored.items():
        error = float(np.median(np.abs(found["routed"] - 1)))
        checks.inside(backend_model, error, 0.0, 0.2, kind="measured")
    both = [
        float(np.median(np.abs(np.concatenate([found[name] for found in scored.values()]) - 1)))
        for name in ("routed", "random")
    ]
    checks.inside("as routed, all", both[0], 0.0, 0.1, kind="measured")
    checks.holds("better than at random", both[0] < both[1], got=both[1], kind="measured")


def check_balanced_kernels_overstate() -> None:
    """At B = E/k, where routing in turn touches all experts, a kernel takes 1.58 times as long.

    Source: 1/(1 - 1/e) as the limit of the ratio of touched experts; measured: the balanced kernel
    of 16 tokens against that of 256, which touches as many. vLLM on an H100.
    """
    line = _kernels(
        system="h100_sxm", backend="vllm", model="Qwen3-30B-A3B", devices=1, routing="balanced"
    )
    at = dict(zip(line["x"], line["seconds"], strict=True))
    checks.close("16 over 256 tokens", at[16] / at[256], 1.0, rtol=0.1, kind="measured")
    part = FeedForward(0, 1, 4096, 8)
    limit = 4096 / (512 * experts_a_token(part, 512))
    checks.close("in turn over random", limit, 1 / (1 - np.exp(-1)), rtol=2e-3)


def check_messages_from_a_floor_and_a_rate() -> None:
    """Messages of 128 to 1,024 tokens take a floor and a rate; one rate predicts the others.

    Source: DeepEP's low-latency kernels over eight H100, `records/machine_series.json.gz`: the rate
    from 256 and 1,024 tokens gives the time of 512.
    """
    line = next(
        one for one in _lines("messages") if one["system"] == "h100_sxm" and one["hidden"] == 7168
    )
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


def check_bad_input_is_refused() -> None:
    """Layers without experts, no tokens and negative work name the argument."""
    part = FeedForward(0, 1, 8, 2)
    checks.raises("no tokens", experts_a_token, part, 0, match="tokens must be positive")
    checks.raises("dense", experts_a_token, FeedForward(5), 4, match="part must be a layer with")
    checks.raises(
        "no bandwidth", compute_bound_tokens, part, 2, 0.0, 1e15, match="bandwidth_bytes_per_s must"
    )
    checks.raises(
        "negative", experts_s, -1, 8, 1e6, 2, 1e12, 1e15, 0.0, match="touched must be non-negative"
    )
