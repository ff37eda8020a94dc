"""The batch size buys throughput with latency: a decode step reads the weights once for everybody.

A kernel of intensity I [FLOP/byte] runs at min(π, βI). A decode step of B sequences takes
max(2BN/π, weights/β) + B·KV/β. That is the time between two tokens of every client (TPOT);
throughput is B per step, below 1/(2N/π + KV/β) at any batch, and a million tokens cost 10⁶ · price
per hour / (3600 · throughput). A prompt of n tokens takes (2Nn + 2·n_layer·d·n(n+1))/(MFU·π).

Assumes: peaks are reached, weights and cache come from memory once per step, equal contexts.

Source: Williams, Waterman and Patterson (2009) for the roofline; Austin et al. (2025), part 7, for
the intensity of a matrix product and the general step time; Hoffmann et al. (2022), appendix F, for
the operations of attention.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.roofline import (
    A100_BANDWIDTH,
    A100_PEAK,
    CONTEXT,
    H100_BANDWIDTH,
    H100_PEAK,
    LLAMA_7B_PARAMETERS,
    TPU_V5E_BANDWIDTH,
    TPU_V5E_PEAK,
    attainable_flops,
    cost_per_million,
    critical_batch,
    decode_step_time,
    largest_batch,
    matmul_intensity,
    prompt_time,
    ridge_intensity,
    throughput_ceiling,
)
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARAMETERS = 8_030_261_248  # Llama-3.1-8B, in two bytes each
KV_BYTES = 2 * 32 * 8 * 128 * 2  # [B] its cache of a token: keys and values of 32 layers, 8 heads
HBM_BYTES = 80 * 2**30  # [B] of the worked example
PRICE_PER_HOUR = 2.5  # [$] of the worked example, an assumption
TPOT_LIMIT_S = 0.020  # [s] objective of the worked example
ANSWER_TOKENS = 150  # of the worked example, where a price has prompts in it
MFU = 0.5  # [1] share of the peak while reading prompts, an assumption; measure your own


def _step(batch: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Step time of the worked example: Llama-3.1-8B in bf16, context 2048, one H100."""
    parameters, kv = PARAMETERS, KV_BYTES * CONTEXT
    return decode_step_time(batch, parameters, 2 * parameters, kv, H100_PEAK, H100_BANDWIDTH)


def _marks() -> dict[str, int]:
    """Batches of the worked example that the text and the figure name."""
    weights, kv = 2 * PARAMETERS, KV_BYTES * CONTEXT
    objective = largest_batch(TPOT_LIMIT_S, PARAMETERS, weights, kv, H100_PEAK, H100_BANDWIDTH)
    return {
        "alone": 1,
        "knee": round(weights / kv),
        "objective": objective,
        "memory full": int((HBM_BYTES - weights) / kv),
    }


def example() -> SimpleNamespace:
    """Answers to the exercises, in the unit that the name says."""
    marks = _marks()
    batches = np.array(list(marks.values()))
    steps = _step(batches)
    rates = batches / steps
    prices = cost_per_million(PRICE_PER_HOUR, rates)
    ceiling = throughput_ceiling(PARAMETERS, KV_BYTES * CONTEXT, H100_PEAK, H100_BANDWIDTH)
    prompt = prompt_time(PARAMETERS, CONTEXT, H100_PEAK, MFU, 32, 4096)
    ridge = ridge_intensity(H100_PEAK, H100_BANDWIDTH)
    return SimpleNamespace(
        ridge_h100=ridge,
        critical_h100=critical_batch(ridge, 8192, 28672),
        floor_ms=1e3 * 2 * PARAMETERS / H100_BANDWIDTH,
        cache_gb=KV_BYTES * CONTEXT / 1e9,
        cache_step_ms=1e3 * KV_BYTES * CONTEXT / H100_BANDWIDTH,
        price=PRICE_PER_HOUR,
        context=CONTEXT,
        objective_ms=1e3 * TPOT_LIMIT_S,
        alone_ms=1e3 * steps[0],
        alone_rate=rates[0],
        alone_price=prices[0],
        knee_batch=marks["knee"],
        knee_ms=1e3 * steps[1],
        knee_rate=rates[1],
        knee_price=prices[1],
        objective_batch=marks["objective"],
        objective_rate=rates[2],
        objective_price=prices[2],
        full_batch=marks["memory full"],
        full_ms=1e3 * steps[3],
        full_rate=rates[3],
        full_price=prices[3],
        rate_ceiling=ceiling,
        knee_of_full=100 * rates[1] / rates[3],
        knee_of_ceiling=100 * rates[1] / ceiling,
        mfu_percent=100 * MFU,
        prompt_ms=1e3 * prompt,
        prompt_steps=prompt / steps[2],
        answer_tokens=ANSWER_TOKENS,
        prompt_factor=1 + prompt * rates[2] / ANSWER_TOKENS,
        prompt_price=prices[2] * (1 + prompt * rates[2] / ANSWER_TOKENS),
        price_floor=float(cost_per_million(PRICE_PER_HOUR, ceiling)),
        wrong_tpot_ms=1e3 * steps[2] / marks["objective"],
    )


def figure_roofline(figure: Figure) -> None:
    """Prefill reaches the flat roof; decoding climbs the slope with the batch, its attention never.

    An H100 in bf16, thin lines other devices of today. Points are products with a weight matrix of
    8192 by 28672, by tokens in the batch, and attention over a cache of each sequence.

    Alt: Log-log chart of attainable TFLOP/s against intensity. A line rises with slope one and
    turns flat at 989 where intensity is 295; thin lines of A100, MI355X and B200 rise in parallel
    and turn flat between 312 and 2,500. Decode points for batches of 1, 16 and 128 lie on the
    slope, a prefill of 2048 tokens on the flat part, attention while decoding far down on the left.
    """
    axes = figure.subplots()
    line = np.geomspace(0.4, 4000, 200)
    for name, label, up in (
        ("a100_sxm", "A100", -12),
        ("b200_sxm", "", 0),
        ("mi355x", "B200, MI355X", 3),
    ):
        device = find_system(name)
        peak = device.bf16_flops_per_s
        roof = attainable_flops(line, peak, device.bandwidth_bytes_per_s) / 1e12
        axes.loglog(line, roof, color="C4", linewidth=0.8)
        place = (4000, peak / 1e12)
        axes.annotate(label, place, (0, up), textcoords="offset points", color="C4", ha="right")
    axes.loglog(line, attainable_flops(line, H100_PEAK, H100_BANDWIDTH) / 1e12, color="C0")
    axes.annotate(
        "H100", (4000, H100_PEAK / 1e12), (0, -12), textcoords="offset points", ha="right"
    )
    ridge = ridge_intensity(H100_PEAK, H100_BANDWIDTH)
    axes.axvline(ridge, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate(f"ridge {ridge:.0f}", (ridge, 1.6), xytext=(4, 0), textcoords="offset points")
    for tokens, text, colour, shift, side in (
        (1, "decode, batch 1", "C1", (8, -6), "left"),
        (16, "batch 16", "C1", (8, -6), "left"),
        (128, "batch 128", "C1", (6, -20), "left"),
        (2048, "prefill, 2048 tokens", "C2", (6, 6), "center"),
    ):
        x = matmul_intensity(tokens, 8192, 28672)
        y = float(attainable_flops(x, H100_PEAK, H100_BANDWIDTH)) / 1e12
        axes.plot(x, y, "o", color=colour)
        axes.annotate(text, (x, y), xytext=shift, textcoords="offset points", color=colour, ha=side)
    axes.plot(1, H100_BANDWIDTH / 1e12, "s", color="C3", markersize=9, fillstyle="none")
    axes.annotate(
        "attention,\nany batch",
        (1, 1.15 * H100_BANDWIDTH / 1e12),
        xytext=(0.45, 40),
        color="C3",
        arrowprops={"arrowstyle": "-", "color": "C3", "linewidth": 1.2},
    )
    axes.set(ylim=(1, 4500), xlabel="intensity [FLOP/byte]", ylabel="attainable rate [TFLOP/s]")
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.minorticks_off()


def figure_frontier(figure: Figure) -> None:
    """Up to the knee throughput is cheap; beyond it each token costs more latency and saves less.

    Llama-3.1-8B in bf16 on one H100 with a context of 2048 tokens, at $2.50 an hour, decoding
    alone. The points are batches; the curve ends where the memory is full. Vertical line: the
    objective of 20 ms.

    Alt: Two charts over time per output token. Tokens per second rise steeply, pass a knee and
    flatten below a dashed ceiling. Dollars per million tokens fall steeply up to the knee and
    little beyond. A dotted line marks the objective.
    """
    figure.set_size_inches(5.8, 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True)
    marks = _marks()
    batches = np.linspace(1, marks["memory full"], 200)
    steps = _step(batches)
    prices = cost_per_million(PRICE_PER_HOUR, batches / steps)
    upper.plot(1e3 * steps, batches / steps, color="C0")
    lower.plot(1e3 * steps, prices, color="C0")
    ceiling = throughput_ceiling(PARAMETERS, KV_BYTES * CONTEXT, H100_PEAK, H100_BANDWIDTH)
    upper.axhline(ceiling, color="C4", linestyle="--", linewidth=1.2)
    upper.annotate(
        "ceiling of all batches",
        (5, ceiling),
        xytext=(0, 4),
        textcoords="offset points",
    )
    for axes in (upper, lower):
        axes.axvline(1e3 * TPOT_LIMIT_S, color="C3", linestyle=":", linewidth=1.4)
    for name, batch in marks.items():
        step = float(_step(batch))
        values = (batch / step, float(cost_per_million(PRICE_PER_HOUR, batch / step)))
        near, end = batch <= marks["knee"], name == "memory full"
        shift = {"alone": (8, 4), "objective": (-2, -34), "memory full": (8, -18)}
        for axes, value in zip((upper, lower), values, strict=True):
            axes.plot(1e3 * step, value, "o", color="C1")
        upper.annotate(
            f"{name.removeprefix('memory ')}, B = {batch}",
            (1e3 * step, values[0]),
            xytext=shift.get(name, (8, -16)),
            textcoords="offset points",
            ha="left" if near else "right",
        )
        lower.annotate(
            f"${values[1]:.2f}",
            (1e3 * step, values[1]),
            xytext=(8 if end else 5, 6),
            textcoords="offset points",
            ha="right" if end else "left",
        )
    upper.set_yticks([0, 5000, 10_000], ["0", "5,000", "10,000"])
    upper.set(ylim=(0, 13_500), xlabel="time per output token [ms]", ylabel="throughput [token/s]")
    lower.set(
        xlim=(3, 28),
        ylim=(0, 4.2),
        xlabel="time per output token [ms]",
        ylabel="price [$ per million]",
    )


def slider_frontier() -> dict[str, Any]:
    """Add sequences to the batch, and watch what the next one buys and costs."""
    contexts, weights = [512, 1024, 2048, 4096, 8192], 2 * PARAMETERS
    batches = sorted({*np.geomspace(1, 256, 40).round().astype(int).tolist(), *_marks().values()})
    steps, rates, prices, filled = (
        np.full((len(batches), len(contexts)), None, dtype=object) for _ in range(4)
    )
    for (i, j), _ in np.ndenumerate(steps):
        kv = KV_BYTES * contexts[j]
        held = weights + batches[i] * kv
        if held <= HBM_BYTES:
            step = float(
                decode_step_time(batches[i], PARAMETERS, weights, kv, H100_PEAK, H100_BANDWIDTH)
            )
            steps[i, j], rates[i, j] = 1e3 * step, batches[i] / step
            prices[i, j] = float(cost_per_million(PRICE_PER_HOUR, batches[i] / step))
            filled[i, j] = 100 * held / HBM_BYTES
    return {
        "controls": [
            {"label": "batch", "values": batches, "text": "B = {}", "start": _marks()["knee"]},
            {"label": "context", "values": contexts, "text": "{:,} tokens", "start": CONTEXT},
        ],
        "x": {
            "label": "time per output token",
            "unit": "ms",
            "values": steps,
            "range": (0, 28),
            "limit": {"at": 1e3 * TPOT_LIMIT_S, "label": "objective"},
        },
        "y": {"label": "throughput", "unit": "token/s"},
        "curves": [
            {"label": "throughput", "unit": "tokens a second", "values": rates, "decimals": 0}
        ],
        "readouts": [
            {"label": "step", "unit": "ms", "values": steps},
            {"label": "price", "unit": "", "values": prices, "decimals": 2},
            {"label": "memory", "unit": "%", "values": filled, "decimals": 0},
        ],
        "reading": "At {batch} and a context of {context} the device gives {throughput} at ${price}"
        " a million, every client waits {step} for a token, and the memory is {memory} full.",
        "absent": "So many sequences of this length do not fit into the memory beside the weights.",
    }


def check_ridges() -> None:
    """A byte is worth 295 operations on an H100, 153 on an A100 and 240 on a TPU v5e.

    Source: Austin et al. (2025), part 7, print 240 for the TPU v5e; the others follow from peaks
    and bandwidths that Lockwood's processor pages collect from NVIDIA's data sheets.
    """
    for name, peak, bandwidth, expected in (
        ("H100 SXM", 989.4, 3.35, 295.3),
        ("A100 80 GB", 312, 2.039, 153.0),
        ("TPU v5e", 197, 0.82, 240.2),
    ):
        got = ridge_intensity(peak * 1e12, bandwidth * 1e12)
        checks.close(name, got, expected, atol=0.05, kind="published")


def check_critical_batch() -> None:
    """The product with an 8192 by 28672 matrix turns from bandwidth to arithmetic at 309.7 tokens.

    Source: operations and bytes counted directly; there the two times are equal.
    """
    batch = critical_batch(H100_PEAK / H100_BANDWIDTH, 8192, 28672)
    checks.close("critical batch, H100", batch, 309.7, atol=0.05)
    moved = 2 * (batch * 8192 + 8192 * 28672 + batch * 28672)
    arithmetic_s = 2 * batch * 8192 * 28672 / H100_PEAK
    checks.close("time of arithmetic", arithmetic_s, moved / H100_BANDWIDTH, rtol=1e-12)
    ridge = matmul_intensity(batch, 8192, 28672)
    checks.close("intensity there", ridge, H100_PEAK / H100_BANDWIDTH, rtol=1e-12)


def check_weight_floor() -> None:
    """No token of Llama 2 7B in fp16 comes faster than 6.61 ms from an A100, 4.02 from an H100.

    Source: 6,738,415,616 parameters of two bytes over the bandwidth, in exact integers.
    """
    for name, peak, bandwidth, expected in (
        ("A100", A100_PEAK, A100_BANDWIDTH, 6.61),
        ("H100", H100_PEAK, H100_BANDWIDTH, 4.02),
    ):
        step = decode_step_time(1, LLAMA_7B_PARAMETERS, 2 * LLAMA_7B_PARAMETERS, 0, peak, bandwidth)
        checks.close(f"floor [ms], {name}", 1e3 * float(step), expected, atol=0.005)


def check_scaling_book_table() -> None:
    """Step time and throughput of Llama 2 13B on eight TPU v5e are those of the scaling book.

    Source: Austin et al. (2025), part 7, table of Llama 2 13B: 26 GB of weights, 6.7 GB of cache
    per sequence, 8 times 0.82 TB/s. The same table ignores arithmetic, and so stays below it.
    """
    batches = np.array([1, 8, 16, 32, 64, 240])
    steps = decode_step_time(batches, 13e9, 26e9, 6.7e9, 8 * TPU_V5E_PEAK, 8 * TPU_V5E_BANDWIDTH)
    published_ms = [4.98, 12.13, 20.30, 36.65, 69.33, 249.09]
    published_rates = [200.61, 659.30, 787.99, 873.21, 923.13, 963.53]
    checks.close("step [ms]", 1e3 * steps, published_ms, atol=0.0051, kind="published")
    checks.close("tokens/s", batches / steps, published_rates, atol=0.0051, kind="published")


def check_general_step_time() -> None:
    """At 4 sequences a 30B model in int8 on sixteen TPU v5e is bound by memory, at 256 by both.

    Source: Austin et al. (2025), part 7, pop quiz: 2.5 ms and 21 ms.
    """
    arguments = (30e9, 30e9, 819e6, 16 * 1.97e14, 16 * 8.1e11)
    small, large = 1e3 * decode_step_time([4, 256], *arguments)
    checks.close("4 sequences [ms]", small, 2.5, atol=0.1, kind="published")
    checks.close("256 sequences [ms]", large, 21.0, rtol=0.05, kind="published")


def check_tpot_is_the_step() -> None:
    """Five tokens in one step of 10 ms reach five clients: each waits 10 ms for one, not 2 ms.

    Source: (last − first)/(n − 1) of the arrival times, client by client. OpenVINO GenAI divided by
    the batch in perf_metrics.cpp: “10 / 5 = 2”; its pull request 1100 points the mistake out.
    """
    batch, tokens, step_s = 5, 101, 0.010
    arrivals = np.cumsum(np.full((batch, tokens), step_s), axis=1)
    seen = (arrivals[:, -1] - arrivals[:, 0]) / (tokens - 1)
    modelled = float(decode_step_time(batch, 1.0, 5.0, 1.0, 1e9, 1000.0))
    checks.close("what each client sees [ms]", 1e3 * seen, np.full(5, 10.0), rtol=1e-12)
    checks.close("the model's step [ms]", 1e3 * modelled, 10.0, rtol=1e-12)
    checks.holds("10 ms / 5 is seen by no client", bool(np.all(seen > 4 * step_s / batch)))
    last = arrivals.size / float(arrivals[0, -1])
    checks.close("1 / (step / B) is the throughput", batch / step_s, last, rtol=1e-12)


def check_price() -> None:
    """At $2.50 an hour and 1000 tokens a second a million tokens cost $0.694.

    Source: a million tokens take 1000 s, which is 10/36 of an hour.
    """
    checks.close("$/Mtok", float(cost_per_million(2.5, 1000.0)), 0.694, atol=5e-4)
    checks.close("exact", float(cost_per_million(2.5, 1000.0)), 2.5 * 10 / 36, rtol=1e-12)


def check_largest_batch() -> None:
    """The largest batch meets the objective and one more would miss it, in both regimes.

    Source: step times of all batches up to 2000, tried one by one.
    """
    for name, limit, kv in (("memory", 0.020, 1e9), ("arithmetic", 0.012, 1e6)):
        arguments = (7e9, 14e9, kv, H100_PEAK, H100_BANDWIDTH)
        met = decode_step_time(np.arange(1, 2001), *arguments) <= limit
        checks.equal(f"bound by {name}", largest_batch(limit, *arguments), int(met.sum()))


def check_knee() -> None:
    """When the caches weigh what the weights weigh, the step is twice the floor, and throughput 60%
    of the ceiling and 62% of what fits into the memory.

    Source: substitution of B = weights/KV in the step time; batches of the worked example by hand,
    16.061 GB of weights, 0.26844 GB of cache each, 85.9 GB in all.
    """
    step = float(decode_step_time(20, 1.0, 40.0, 2.0, 1e9, 10.0))
    checks.close("step over floor", step / 4.0, 2.0, rtol=1e-12)
    knee, full = 60 / (16.0605 + 60 * 0.268435), 260 / (16.0605 + 260 * 0.268435)  # × β
    run = example()
    checks.close("knee over full [%]", run.knee_of_full, 100 * knee / full, rtol=1e-4)
    ceiling = 1 / (0.268435 + 3.35 * 2 * 8.03026 / 989.4)
    checks.close("knee over ceiling [%]", run.knee_of_ceiling, 100 * knee / ceiling, rtol=1e-4)


def check_ceiling() -> None:
    """Large batches approach the ceiling from below and none exceeds it; β/KV is never approached.

    Source: step times of batches up to a million.
    """
    model = (PARAMETERS, 2 * PARAMETERS, KV_BYTES * CONTEXT)
    ceiling = throughput_ceiling(model[0], model[2], H100_PEAK, H100_BANDWIDTH)
    batches = np.unique(np.geomspace(1, 1e6, 400).round())
    rates = batches / decode_step_time(batches, *model, H100_PEAK, H100_BANDWIDTH)
    checks.close("ceiling [token/s]", ceiling, 10_377, atol=0.5)
    checks.holds("no batch exceeds it", float(rates.max()) <= ceiling * (1 + 1e-12))
    checks.close("a million sequences", float(rates[-1]), ceiling, rtol=1e-9)
    share = ceiling / (H100_BANDWIDTH / model[2])
    checks.close("ceiling over bandwidth / cache", share, 0.8315, atol=5e-4)


def check_prompt_time() -> None:
    """A prompt of 2048 tokens of Llama-3.1-8B takes an H100 34 ms at its peak, 69 at half of it.

    Source: two operations for each parameter and token, and four for each of 32 layers, each of
    4096 numbers and each token looked at, added up token by token.
    """
    work = sum(2 * PARAMETERS + 4 * 32 * 4096 * seen for seen in range(1, CONTEXT + 1))
    for mfu, label in ((1.0, "at the peak"), (0.5, "at half of it")):
        got = prompt_time(PARAMETERS, CONTEXT, H100_PEAK, mfu, 32, 4096)
        checks.close(f"{label} [ms]", 1e3 * got, 1e3 * work / mfu / H100_PEAK, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Impossible machines, batches, objectives and prices are refused by name."""
    checks.raises("bandwidth 0", ridge_intensity, 1.0, 0.0, match="bandwidth must be positive")
    checks.raises("NaN", attainable_flops, math.nan, 1.0, 1.0, match="intensity must be")
    checks.raises("half a token", decode_step_time, 0.5, 1, 1, 1, 1, 1, match="batch must be")
    checks.raises("narrow matrix", critical_batch, 300.0, 512, 512, match="ridge must be below")
    checks.raises("too strict", largest_batch, 1e-9, 1, 1, 1, 1, 1, match="limit_s must be")
    checks.raises("110% MFU", prompt_time, 1.0, 1, 1.0, 1.1, match="mfu must be in (0, 1]")
    checks.raises("no tokens", cost_per_million, 2.5, 0.0, match="tokens_per_s must be")
