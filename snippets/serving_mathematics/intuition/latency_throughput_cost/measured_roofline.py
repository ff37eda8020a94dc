"""A roofline without a fitted constant bounds published throughput.

Prefill takes max(FLOPs/π, bytes/β); each decode step reads the weights and a cache that has grown
by one token per sequence. The sum over the steps gives a throughput that no run exceeds.

Assumes: equal lengths in a batch, all finish together (static batching); t devices are t times one.

Source: NVIDIA, TensorRT-LLM, docs/source/performance.md at 0.5.0 and 0.6.1, for the measurements
and the shapes of the models; Austin et al. (2025), part 7, for the step time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    require_positive,
    require_positive_integer,
    require_work,
    widen_fields,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "tensorrt_llm_throughput"
COLOURS = {"A100": "C0", "H100": "C1", "L40S": "C2"}


@dataclass(frozen=True)
class Transformer:
    """The shape of a decoder: all that its bytes and operations depend on.

    Raises ValueError unless all are positive integers.
    """

    layers: int
    width: int  # D, numbers per token between layers
    kv_width: int  # keys (or values) per token and layer, KV heads times head size
    hidden: int  # F, width inside the feed-forward block
    mlp_matrices: int  # 2, or 3 with a gate
    vocabulary: int

    def __post_init__(self) -> None:
        """Refuse what has no matrices."""
        widen_fields(self)
        require_positive_integer(**vars(self))

    @property
    def layer_parameters(self) -> int:
        """Parameters in the matrices of all layers: attention and feed-forward."""
        attention = 2 * self.width * (self.width + self.kv_width)
        return self.layers * (attention + self.mlp_matrices * self.width * self.hidden)

    @property
    def head_parameters(self) -> int:
        """Parameters of the output matrix; the input embedding is looked up, not multiplied."""
        return self.width * self.vocabulary


@dataclass(frozen=True)
class Device:
    """One accelerator as its data sheet describes it.

    Raises ValueError unless all three are positive and finite.
    """

    peak_flops: float  # π [FLOP/s], dense, in the precision of the run
    bandwidth: float  # β [B/s]
    memory_bytes: float  # [B]

    def __post_init__(self) -> None:
        """Refuse what no data sheet says."""
        widen_fields(self)
        require_positive(**vars(self))


MODELS = {
    "GPT-J 6B": Transformer(28, 4096, 4096, 16384, 2, 50400),
    "LLaMA 7B": Transformer(32, 4096, 4096, 11008, 3, 32000),
    "LLaMA 70B": Transformer(80, 8192, 1024, 28672, 3, 32000),
    "Falcon 180B": Transformer(80, 14848, 512, 59392, 2, 65024),
}
DEVICES = {
    "A100": Device(312e12, 2.039e12, 80 * 2**30),  # fp16, 80 GB SXM, Lockwood
    "H100": Device(1978.9e12, 3.35e12, 80 * 2**30),  # fp8, SXM, Lockwood
    "L40S": Device(733e12, 0.864e12, 48 * 2**30),  # fp8, L40S data sheet
}


def generation_time(
    model: Transformer,
    device: Device,
    batch: int,
    input_tokens: int,
    output_tokens: int,
    *,
    bytes_per_number: float = 2.0,
    devices: int = 1,
    overlap: bool = True,
) -> tuple[float, float]:
    """Least time of the prefill, which gives the first token, and of all further steps [s].

    batch: B sequences. input_tokens, output_tokens: of each. bytes_per_number: of weights and
    cache. devices: t, among which work and bytes are shared evenly. overlap: arithmetic hides
    behind all reading, a strict bound; otherwise only behind the weights, and the cache is read
    after. Raises ValueError unless counts are positive integers and the size positive and finite.

    >>> tiny = Transformer(1, 1, 1, 1, 2, 1)  # 6 parameters in the layer, 1 in the head
    >>> generation_time(tiny, Device(1e9, 14.0, 1.0), 1, 1, 2, bytes_per_number=1.0, overlap=False)
    (0.6428571428571429, 0.7857142857142857)
    """
    batch, devices = require_positive_integer(batch=batch, devices=devices)
    input_tokens, output_tokens = require_positive_integer(
        input_tokens=input_tokens, output_tokens=output_tokens
    )
    require_work(output_tokens, output_tokens=output_tokens)
    bytes_per_number = require_positive(bytes_per_number=bytes_per_number)
    peak, bandwidth = devices * device.peak_flops, devices * device.bandwidth
    matrices = model.layer_parameters + model.head_parameters
    weights = matrices * bytes_per_number
    cache = 2 * model.layers * model.kv_width * bytes_per_number * batch  # of one more token each
    attention = 4 * model.layers * model.width * batch  # operations per token that is attended to
    pairs = input_tokens * (input_tokens + 1) / 2  # causal
    work = 2 * batch * (model.layer_parameters * input_tokens + model.head_parameters)
    prefill = max((work + attention * pairs) / peak, (weights + cache * input_tokens) / bandwidth)
    context = input_tokens + np.arange(1.0, output_tokens)
    if overlap:
        steps = np.maximum(
            (2 * batch * matrices + attention * context) / peak,
            (weights + cache * context) / bandwidth,
        )
    else:
        linear = max(2 * batch * matrices / peak, weights / bandwidth)
        steps = linear + cache * context / bandwidth
    return float(prefill), float(steps.sum())


def _rows() -> list[dict[str, Any]]:
    """The record's throughput rows, with the total of all GPUs, both bounds and memory needed."""
    rows: list[dict[str, Any]] = read_record(RECORD)["throughput"]
    for row in rows:
        size = 1.0 if row["precision"] == "fp8" else 2.0
        model, device = MODELS[row["model"]], DEVICES[row["gpu"]]
        shape = (row["batch"], row["input"], row["output"])
        row["total"] = row["tokens_per_s"] * (row["tp"] if row["per_gpu"] else 1)
        for key, overlap in (("bound", True), ("serial", False)):
            prefill, decode = generation_time(
                model, device, *shape, bytes_per_number=size, devices=row["tp"], overlap=overlap
            )
            row[key] = row["batch"] * row["output"] / (prefill + decode)
        numbers = model.layer_parameters + model.head_parameters
        numbers += 2 * model.layers * model.kv_width * row["batch"] * sum(shape[1:])
        row["fill"] = numbers * size / (row["tp"] * device.memory_bytes)
    return rows


def _first_token() -> npt.NDArray[np.float64]:
    """Bound over measured first-token latency, row by row."""
    ratios = []
    for row in read_record(RECORD)["first_token"]:
        prefill, _ = generation_time(
            MODELS[row["model"]],
            DEVICES[row["gpu"]],
            1,
            row["input"],
            1,
            bytes_per_number=1.0 if row["precision"] == "fp8" else 2.0,
            devices=row["tp"],
        )
        ratios.append(1e3 * prefill / row["first_token_ms"])
    return np.array(ratios)


def example() -> SimpleNamespace:
    """How well the roofline does, in percent of it."""
    rows = _rows()
    first = 100 * _first_token()
    return SimpleNamespace(
        row_count=len(rows),
        misread_rows=_misread(rows),
        first_token_lowest=first.min(),
        first_token_highest=first.max(),
    )


def _misread(rows: list[dict[str, Any]]) -> int:
    """How many totals of 0.5.0 would break the bound if they were read as rates per GPU."""
    early = [row for row in rows if row["version"] == "0.5.0"]
    return sum(row["total"] * row["tp"] > row["bound"] for row in early)


def figure_predicted_measured(figure: Figure) -> None:
    """None of these runs beats the roofline; on one GPU they reach two thirds of it on average, on
    several two fifths.

    Published output tokens per second of all GPUs of a run against the bound without any fitted
    constant. Dashed: the prediction with one constant, here 70%. Filled: one GPU. Hollow: two to
    eight GPUs.

    Alt: Log-log scatter of measured against bounding throughput from 370 to 49,000 tokens per
    second. All points lie below the diagonal. Filled points of three GPUs follow a dashed line at
    70 percent of it, some at half; hollow points of runs on several GPUs scatter from there down to
    a seventh.
    """
    figure.set_size_inches(5.8, 3.6)
    axes = figure.subplots()
    rows = _rows()
    line = np.array([400.0, 80_000.0])
    axes.loglog(line, line, color="C4")
    axes.loglog(line, 0.7 * line, color="C4", linestyle="--", linewidth=1.2)
    for gpu, colour in COLOURS.items():
        for alone in (True, False):
            chosen = [row for row in rows if row["gpu"] == gpu and (row["tp"] == 1) == alone]
            axes.plot(
                [row["bound"] for row in chosen],
                [row["total"] for row in chosen],
                "o",
                color=colour,
                fillstyle="full" if alone else "none",
            )
    for text, x, y, colour, side in (
        ("bound", 1500, 2100, "C4", "right"),
        ("dashed: 70% of the bound", 6000, 380, "C4", "left"),
        ("A100, fp16", 480, 26_000, "C0", "left"),
        ("H100, fp8", 480, 17_500, "C1", "left"),
        ("L40S, fp8", 480, 11_800, "C2", "left"),
        ("hollow: several GPUs", 6000, 620, "C4", "left"),
    ):
        axes.annotate(text, (x, y), color=colour, ha=side)
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks([1000, 10_000, 100_000], ["1,000", "10⁴", "10⁵"])
    axes.minorticks_off()
    axes.set(xlabel="bound on throughput [token/s]", ylabel="published throughput [token/s]")


def check_no_run_beats_the_roofline() -> None:
    """None of the 67 published runs is faster than the roofline, and all fit into memory; on one
    GPU they reach 68% of it on average, on several 39%.

    Source: NVIDIA, TensorRT-LLM performance.md, 0.5.0 and 0.6.1; the bound has no fitted constant.
    """
    rows = _rows()
    checks.equal("rows", len(rows), 67, kind="measured")
    share = max(row["total"] / row["bound"] for row in rows)
    checks.inside("highest measured / bound", share, 0.5, 1.0, kind="measured")
    for name, alone, mean in (("one GPU", True, 0.68), ("several", False, 0.39)):
        shares = [row["total"] / row["bound"] for row in rows if (row["tp"] == 1) == alone]
        checks.close(
            f"mean share, {name}", float(np.mean(shares)), mean, atol=5e-3, kind="measured"
        )
    fill = max(row["fill"] for row in rows)
    checks.inside("most memory needed / there", fill, 0.5, 1.0, kind="measured")
    checks.inside("first token, bound / measured", _first_token().max(), 0, 1, kind="measured")


def check_bound_settles_the_unit() -> None:
    """Read per GPU, runs of 0.5.0 would beat physics; its table, unlike the next, prints totals.

    Source: heads of the tables: “out tok/s” in 0.5.0, “out tok/s/GPU” in the corrected 0.6.1.
    """
    rows = _rows()
    checks.holds("some would break the bound", _misread(rows) > 0, got=_misread(rows))
    late = [row for row in rows if row["version"] == "0.6.1"]
    broken = sum(row["total"] > row["bound"] for row in late)
    checks.equal("rows of 0.6.1 that break it, read per GPU", broken, 0, kind="measured")


def check_recorded_rows() -> None:
    """The rows that the chapter quotes stand in the record as NVIDIA printed them.

    Source: NVIDIA, TensorRT-LLM performance.md, 0.5.0: A100 and H100 tables.
    """
    found = {
        (row["gpu"], row["batch"], row["input"], row["output"]): row["tokens_per_s"]
        for row in _rows()
        if row["model"] == "LLaMA 7B" and row["version"] == "0.5.0"
    }
    for key, expected in (
        (("A100", 64, 128, 128), 3486),
        (("A100", 32, 128, 2048), 1459),
        (("H100", 64, 128, 128), 9193),
    ):
        checks.equal(", ".join(map(str, key)), found[key], expected, kind="published")


def check_parameters_by_hand() -> None:
    """Matrices, input embedding and norms of the shape are the 6,738,415,616 of Llama 2 7B.

    Source: the published count; 65 norms of 4096, an input embedding as large as the head.
    """
    model = MODELS["LLaMA 7B"]
    total = model.layer_parameters + 2 * model.head_parameters + 65 * 4096
    checks.equal("Llama 2 7B", total, 6_738_415_616, kind="published")
    falcon = MODELS["Falcon 180B"]
    checks.close("Falcon [10⁹]", falcon.layer_parameters / 1e9, 180, rtol=0.02, kind="published")


def check_time_by_a_loop() -> None:
    """The sum over decode steps is what a loop over tokens adds up, with or without overlap.

    Source: bytes and operations counted token by token for Llama 2 7B, 8 sequences, 30 + 20 tokens.
    """
    model, device = MODELS["LLaMA 7B"], DEVICES["A100"]
    weights = 2 * (32 * (4 * 4096**2 + 3 * 4096 * 11008) + 32000 * 4096)
    serial = 0.0
    for place in range(31, 50):
        serial += weights / 2.039e12
        for _ in range(8):
            serial += 32 * 2 * 4096 * 2 * place / 2.039e12
    for overlap in (True, False):  # memory-bound, so that overlap changes nothing
        _, decode = generation_time(model, device, 8, 30, 20, overlap=overlap)
        checks.close(f"overlap {overlap}", decode, serial, rtol=1e-12)
    prefill, _ = generation_time(model, device, 8, 2048, 1)
    layers = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    scores = sum(4 * 32 * 4096 * place for place in range(1, 2049))
    work = 8 * (2 * layers * 2048 + 2 * 32000 * 4096 + scores)
    checks.close("prefill, bound by arithmetic", prefill, work / 312e12, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Broken counts and sizes are refused by name."""
    model, device = MODELS["LLaMA 7B"], DEVICES["A100"]
    checks.raises("batch 0", generation_time, model, device, 0, 1, 1, match="batch must be")
    checks.raises("NaN", generation_time, model, device, 1, 1, math.nan, match="output_tokens")
