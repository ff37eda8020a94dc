"""Two roofs: a prompt keeps the arithmetic busy, a step of few sequences only the memory.

A kernel of intensity I [FLOP/byte] runs at min(π, βI). A decode step of B sequences takes
max(2BN/π, weights/β) + B·KV/β, if its arithmetic hides behind the weights only.

Assumes: peaks are reached, weights and cache come from memory once per step, equal contexts.

Source: Williams, Waterman and Patterson (2009) for the roofline; Austin et al. (2025), part 7, for
the intensity of a matrix product and the general step time.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.roofline import (
    H100_BANDWIDTH,
    H100_PEAK,
    TPU_V5E_BANDWIDTH,
    TPU_V5E_PEAK,
    attainable_flops,
    decode_step_time,
    matmul_intensity,
    ridge_intensity,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

GROUPED, LATENT = "Llama-3.1-70B", "DeepSeek-R1"  # models whose attention is drawn


def _attention_intensity(model: str) -> float:
    """Operations a byte of a model's decoding attention over a long cache in two-byte numbers."""
    _, attention, _ = find_model(model)[0].layers[0]
    return 2 * attention.score_width / (2 * attention.cached_values)


def example() -> SimpleNamespace:
    """Where the roofs of an H100 meet, and where attention lies, in operations a byte."""
    return SimpleNamespace(
        ridge_h100=ridge_intensity(H100_PEAK, H100_BANDWIDTH),
        grouped_intensity=_attention_intensity(GROUPED),
        latent_intensity=_attention_intensity(LATENT),
    )


def figure_roofline(figure: Figure) -> None:
    """Prefill, the reading of prompts, reaches the flat roof; decoding climbs the slope with the
    batch, but its attention stays where the model puts it.

    An H100 in bf16; thin lines are other devices of today. Points are products with a weight matrix
    of 8,192 by 28,672, by tokens in the batch; squares are the attention of Llama 3.1 70B and of
    DeepSeek-R1.

    Alt: Log-log chart of attainable TFLOP/s against intensity. A line rises with slope one and
    turns flat at 989 where intensity is 295; thin lines of A100, MI355X and B200 rise in parallel
    and turn flat between 312 and 2,500. Decode points for batches of 1, 16 and 128 lie on the
    slope, a prefill of 2,048 tokens on the flat part. Squares of attention while decoding lie on
    the slope too: with grouped heads between batches of 1 and 16, with a latent close to the
    ridge.
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
        (1, "decode, batch 1", "C1", (10, -22), "left"),
        (16, "batch 16", "C1", (10, -22), "left"),
        (128, "128", "C1", (2, -21), "left"),
        (2048, "prefill, 2,048 tokens", "C2", (6, 6), "center"),
    ):
        x = matmul_intensity(tokens, 8192, 28672)
        y = float(attainable_flops(x, H100_PEAK, H100_BANDWIDTH)) / 1e12
        axes.plot(x, y, "o", color=colour)
        axes.annotate(text, (x, y), xytext=shift, textcoords="offset points", color=colour, ha=side)
    for model, text, spot in (
        (GROUPED, "attention, any batch:\ngrouped heads", (0.3, 90.0)),
        (LATENT, "latent", (20.0, 900.0)),
    ):
        own = _attention_intensity(model)
        rate = float(attainable_flops(own, H100_PEAK, H100_BANDWIDTH)) / 1e12
        axes.plot(own, rate, "s", color="C3", markersize=9, fillstyle="none")
        link = {"arrowstyle": "-", "color": "C3", "linewidth": 1.2}
        axes.annotate(text, (own, rate), xytext=spot, color="C3", arrowprops=link)
    axes.set(ylim=(1, 4500), xlabel="intensity [FLOP/byte]", ylabel="attainable rate [TFLOP/s]")
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.minorticks_off()


def check_ridges() -> None:
    """The roofs meet at 295 operations a byte on an H100, 153 on an A100 and 240 on a TPU v5e.

    Source: Austin et al. (2025), part 7, print 240 for the TPU v5e; the others follow from peaks
    and bandwidths that Lockwood's processor pages collect from NVIDIA's data sheets.
    """
    for name, peak, bandwidth, expected in (
        ("H100 SXM", 989.4, 3.35, 295.3),
        ("A100 80 GB", 312, 2.039, 153.0),
        ("TPU v5e", 197, 0.82, 240.2),
    ):
        got = ridge_intensity(peak * 1e12, bandwidth * 1e12)
        checks.close(name, got, expected, atol=0.05)
    checks.close("TPU v5e, printed", got, 240, atol=0.5, kind="published")


def check_attention_lies_where_heads_share() -> None:
    """While decoding, attention does 8 operations a byte with the grouped heads of Llama 3.1 70B,
    as many as queries share a cached head; with the latent of DeepSeek-R1 it does more than the
    products of a batch of 128 do, and still fewer than the ridge of an H100.

    Source: by hand, 64 heads of queries over 8 of keys and values; 128 heads, each of which
    multiplies 512 + 64 numbers for its scores and 512 for its sum, over the 512 + 64 that are read.
    """
    grouped, latent = _attention_intensity(GROUPED), _attention_intensity(LATENT)
    checks.close(GROUPED, grouped, 64 / 8, rtol=1e-12)
    checks.close(LATENT, latent, 128 * (2 * 512 + 64) / (512 + 64), rtol=1e-12)
    ridge = ridge_intensity(H100_PEAK, H100_BANDWIDTH)
    checks.inside(f"{LATENT}: below the ridge", latent, matmul_intensity(128, 8192, 28672), ridge)


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
