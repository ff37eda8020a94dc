"""What a token leaves behind: bytes that a sequence holds and a step reads, by kind of attention.

A layer keeps, of a sequence of s tokens,

    grouped heads      2 n_kv d values a token          (all heads: n_kv = n; one shared: n_kv = 1)
    a window of W      the same, of at most W tokens
    latent             r + d_rope values a token, whatever the heads
    linear             a state of d_k d_v values a head, whatever s
    selecting          what it selects from, and an index of a few values a token

A decoding step reads all that it keeps, of a selecting layer what is selected and the index, and
multiplies each token's values with every query head that shares them.

Assumes: keys and values of one size of number, states in 32 bits, an index in 8 with its scales; no
padding.

Source: `config.json` files of the models, in `records/machine_models.json.gz`; Shazeer (2019),
arXiv 1911.02150; Ainslie et al. (2023), arXiv 2305.13245; DeepSeek-AI (2024), arXiv 2405.04434.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from serving_mathematics.core.hardware.architectures import Architecture, Attention
from serving_mathematics.core.hardware.catalogue import (
    find_model,
    find_system,
    model_names,
    preset_model,
)
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    Deployment,
    cache_devices,
    cache_room_bytes,
    layer_token_bytes,
    sequence_bytes,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_non_negative,
    require_positive,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GIB = 2**30  # [B]


def held_bytes(
    model: Architecture, tokens: float, cache_bytes: float = 2.0, state_bytes: float = 4.0
) -> float:
    """Bytes that one sequence of so many tokens holds in all layers together.

    tokens: s >= 0. cache_bytes, state_bytes: a value. Raises ValueError outside.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> held_bytes(WORKED.architecture, tokens=1000)
    131072000.0
    """
    tokens = require_non_negative(tokens=tokens)
    state_bytes = require_positive(state_bytes=state_bytes)
    held = 0.0
    for count, attention, _ in model.layers:
        kept = min(tokens, attention.window_tokens) if attention.window_tokens else tokens
        cached, index = layer_token_bytes(attention, cache_bytes)
        held += count * (kept * (cached + index) + attention.state_values * state_bytes)
    return held


def token_bytes(model: Architecture, cache_bytes: float = 2.0) -> float:
    """Bytes that one more token adds where every window is full.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> token_bytes(WORKED.architecture)
    131072.0
    """
    windows = max((attention.window_tokens for _, attention, _ in model.layers), default=0)
    return held_bytes(model, windows + 1, cache_bytes) - held_bytes(model, windows, cache_bytes)


def read_bytes(
    model: Architecture, tokens: float, cache_bytes: float = 2.0, state_bytes: float = 4.0
) -> float:
    """Bytes that a decoding step moves for one sequence of so many tokens, beside the weights.

    States are read and written. Arguments as of `held_bytes`.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> read_bytes(WORKED.architecture, tokens=1000)
    131072000.0
    """
    tokens = require_non_negative(tokens=tokens)
    state_bytes = require_positive(state_bytes=state_bytes)
    read = 0.0
    for count, attention, _ in model.layers:
        seen = min(tokens, attention.window_tokens) if attention.window_tokens else tokens
        taken = min(seen, attention.selected_tokens) if attention.selected_tokens else seen
        cached, index = layer_token_bytes(attention, cache_bytes)
        read += count * (taken * cached + seen * index + 2 * attention.state_values * state_bytes)
    return read


def attention_flops(model: Architecture, tokens: float) -> float:
    """Operations of attention in a decoding step for one sequence of so many tokens.

    Two for each multiplication of a query with a key, of a weight with a value, and in choosing.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> attention_flops(WORKED.architecture, tokens=1000) / 1e9  # 4 * 1,000 * 4,096 * 32 layers
    0.524288
    """
    tokens = require_non_negative(tokens=tokens)
    total = 0.0
    for count, attention, _ in model.layers:
        seen = min(tokens, attention.window_tokens) if attention.window_tokens else tokens
        taken = min(seen, attention.selected_tokens) if attention.selected_tokens else seen
        total += 2 * count * (taken * attention.score_width + seen * attention.index_width)
    return total


def spread_bytes(attention: Attention, devices: int, cache_bytes: float = 2.0) -> float:
    """Bytes a token and layer on all devices together that share the layer by its heads.

    What cannot be split is kept by each: a latent by all, heads of which there are too few by some.

    >>> latent = Attention("latent", 0, cached_values=576, kv_heads=1)
    >>> spread_bytes(latent, devices=8), spread_bytes(latent, devices=1)
    (9216.0, 1152.0)
    """
    devices = require_positive_integer(devices=devices)
    cache_bytes = require_positive(cache_bytes=cache_bytes)
    parts = cache_devices(attention, devices)
    return attention.cached_values * cache_bytes * devices / parts


def sequences_that_fit(deployment: Deployment, tokens: float) -> int:
    """Whole sequences of so many tokens that the devices of a deployment hold together.

    Raises ValueError unless tokens is positive.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> sequences_that_fit(WORKED, tokens=8192)
    53
    """
    tokens = require_positive(tokens=tokens)
    each = sequence_bytes(deployment, tokens)
    return int(cache_room_bytes(deployment) // each) * deployment.attention_data


def uniform_estimate(layers: int, kv_heads: int, hidden: int, heads: int, tokens: float) -> float:
    """Bytes of a cache by the formula of many calculators: 2 L n_kv (H // n) values of two bytes.

    It takes every layer for full attention and the width of a head for H/n.

    >>> uniform_estimate(32, 8, 4096, 32, tokens=1000)  # Llama-3.1-8B, where both are true
    131072000.0
    """
    layers, kv_heads, hidden, heads, tokens = require_positive(
        layers=layers, kv_heads=kv_heads, hidden=hidden, heads=heads, tokens=tokens
    )
    return 2.0 * layers * kv_heads * (hidden // heads) * 2 * tokens


ESTIMATES = {  # printed by Unsloth, pull request 4757: arguments, and both numbers in GiB
    "Gemma-3-27B": ((62, 16, 5376, 32, 131072), 81.38, 10.41),
    "Qwen3.5-27B": ((64, 4, 5120, 24, 262144), 53.25, 16.00),
    "DeepSeek-V3.1": ((61, 1, 7168, 128, 163840), 2.08, 10.72),
    "Kimi-K2.5": ((61, 1, 7168, 64, 262144), 6.67, 17.16),
    "Qwen3-0.6B": ((28, 8, 1024, 16, 40960), 2.19, 4.38),
}


def _kind(model: Architecture) -> str:
    """The layers of a model in words, for the page's table."""
    counts: dict[str, int] = {}
    for count, attention, _ in model.layers:
        name = attention.kind
        if name == "none":
            continue
        if attention.selected_tokens:
            name = f"{name}, selects"
        elif name == "full":
            name = f"{attention.kv_heads} KV head" + "s" * (attention.kv_heads > 1)
        elif name == "window":
            name = f"window {attention.window_tokens:,}"
        counts[name] = counts.get(name, 0) + count
    return " + ".join(f"{count} × {name}" for name, count in counts.items())


@cache
def _shapes() -> list[tuple[str, Architecture]]:
    """Presets, one of each shape of attention, by bytes a token, most first."""
    found: dict[object, tuple[str, Architecture]] = {}
    for name in sorted(model_names(), key=lambda name: (len(name), name)):
        model = preset_model(name)
        counts: Counter[Attention] = Counter()
        for count, attention, _ in model.layers:
            counts[replace(attention, parameters=0)] += count
        found.setdefault(frozenset(counts.items()), (name.split("/")[-1], model))
    return sorted(found.values(), key=lambda item: -token_bytes(item[1]))


def _preset_lines() -> list[str]:
    """The page's folded table: a shape, bytes a token, GiB at two lengths, reads, intensity."""
    rows = [
        f'??? note "Bytes of {len(_shapes())} shapes of attention"\n',
        "| Model | Layers | Bytes a token | GiB at 8,192 | GiB at 131,072 | Read there, GiB"
        " | FLOP a byte |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, model in _shapes():
        cells = [held_bytes(model, tokens) / GIB for tokens in (8192, 131072)]
        read = read_bytes(model, 131072)
        rows.append(
            f"| {name} | {_kind(model)} | {token_bytes(model):,.0f} | {cells[0]:.2f} |"
            f" {cells[1]:.2f} | {read / GIB:.2f} | {attention_flops(model, 131072) / read:.0f} |"
        )
    return rows


def _estimate_rows() -> list[str]:
    """Lines of the page's table: what the uniform formula says, and what is held."""
    rows = []
    for name, (arguments, _, _) in ESTIMATES.items():
        wrong = uniform_estimate(*arguments) / GIB
        right = held_bytes(find_model(name)[0], arguments[-1]) / GIB
        off = f"{wrong / right - 1:+.0%}".replace("-", "−")
        rows.append(f"| {name} | {arguments[-1]:,} | {wrong:.2f} | {right:.2f} | {off} |")
    return rows


def _fit_rows() -> list[str]:
    """Lines of the page's table: sequences of 32,768 tokens on eight H200, split in two ways."""
    rows = []
    for name, precision in (
        ("Llama-3.1-70B", "fp8"),
        ("MiniMax-M2.5", "fp8"),
        ("gpt-oss-120b", "fp4"),
        ("DeepSeek-R1", "fp8"),
        ("Qwen3.5-397B-A17B", "fp8"),
    ):
        one = replace(
            WORKED,
            architecture=find_model(name)[0],
            system=find_system("h200"),
            precision=precision,
        )
        split = sequences_that_fit(replace(one, tensor=8), 32768)
        apart = sequences_that_fit(replace(one, tensor=1, attention_data=8), 32768)
        rows.append(f"| {name} | {split:,} | {apart:,} |")
    return rows


def example() -> SimpleNamespace:
    """Numbers of the page."""
    llama, r1 = find_model("Llama-3.1-70B")[0], find_model("DeepSeek-R1")[0]
    oss, k3 = find_model("gpt-oss-120b")[0], find_model("Kimi-K3")[0]
    latent, grouped = r1.layers[0][1], llama.layers[0][1]
    gemma = ESTIMATES["Gemma-3-27B"][0]
    return SimpleNamespace(
        llama_token=token_bytes(llama),
        oss_token=token_bytes(oss),
        oss_first=held_bytes(oss, 1),
        oss_windows=held_bytes(oss, 128) - 128 * token_bytes(oss),
        k3_token=token_bytes(k3),
        k3_state=held_bytes(k3, 0) / 2**20,
        k3_state_tokens=round(held_bytes(k3, 0) / token_bytes(k3), -2),
        k3_times=k3.parameters / llama.parameters,
        llama_gib=held_bytes(llama, 131072) / GIB,
        r1_gib=held_bytes(r1, 131072) / GIB,
        k3_gib=held_bytes(k3, 131072) / GIB,
        llama_spread=80 * spread_bytes(grouped, 8),
        r1_spread=61 * spread_bytes(latent, 8),
        r1_over=61 * spread_bytes(latent, 8) / (80 * spread_bytes(grouped, 8)),
        grouped_intensity=attention_flops(llama, 1) / read_bytes(llama, 1),
        latent_intensity=attention_flops(r1, 1) / read_bytes(r1, 1),
        ridge=989e12 / 3.35e12,
        deepseek_percent=100
        * (
            uniform_estimate(*ESTIMATES["DeepSeek-V3.1"][0])
            / held_bytes(find_model("DeepSeek-V3.1")[0], 163840)
            - 1
        ),
        gemma_percent=100
        * (uniform_estimate(*gemma) / held_bytes(find_model("Gemma-3-27B")[0], 131072) - 1),
        glm_percent=100 * (5120 / 96 / 128 - 1),
        preset_table="\n    ".join(_preset_lines()),
        estimate_rows="\n".join(_estimate_rows()),
        fit_rows="\n".join(_fit_rows()),
    )


SHOWN = {
    "Llama-3.1-70B": "C0",
    "gpt-oss-120b": "C2",
    "DeepSeek-R1": "C3",
    "DeepSeek-V3.2": "C4",
    "Kimi-K3": "C1",
}
LENGTHS = [2**power for power in range(8, 20)]


def figure_held(figure: Figure) -> None:
    """What one sequence holds, by the attention of its model.

    Keys and values in 16 bits, states in 32. Dotted: what a step reads, where that is less.

    Alt: Line chart with logarithmic axes of gibibytes against tokens from 256 to 524,288. Lines of
    Llama-3.1-70B, DeepSeek-R1 and gpt-oss-120b rise in proportion, a factor of about five and two
    apart; the line of Kimi-K3 is flat at 0.4 until about four thousand tokens and ends lowest. A
    dotted line for DeepSeek-V3.2 leaves its solid one at 2,048 tokens and rises far more slowly.
    """
    axes = figure.subplots()
    for name, colour in SHOWN.items():
        model = find_model(name)[0]
        if name != "DeepSeek-V3.2":
            held = [held_bytes(model, tokens) / GIB for tokens in LENGTHS]
            axes.plot(LENGTHS, held, color=colour, label=name)
        else:
            read = [read_bytes(model, tokens) / GIB for tokens in LENGTHS]
            axes.plot(LENGTHS, read, ":", color=colour, label="DeepSeek-V3.2, read")
    axes.legend(loc="upper left")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(256, 524288),
        ylim=(0.005, 400),
        xlabel="tokens of a sequence",
        ylabel="held [GiB]",
    )
    axes.set_xticks([256, 2048, 16384, 131072], ["256", "2,048", "16,384", "131,072"])
    axes.minorticks_off()


def _mixed(share: int) -> Architecture:
    """The shape of Qwen3-32B, with so many of four layers linear, as those of Qwen3.5-27B are."""
    base = find_model("Qwen3-32B")[0]
    _, grouped, part = base.layers[0]
    linear = next(
        attention
        for _, attention, _ in find_model("Qwen3.5-27B")[0].layers
        if attention.kind == "linear"
    )
    layers = ((64 - 16 * share, grouped, part), (16 * share, linear, part))
    return replace(base, layers=layers)


def figure_linear_layers(figure: Figure) -> None:
    """Linear layers divide what grows and add what is there from the start.

    A model of the shape of Qwen3-32B, with none, two or three of four layers linear.

    Alt: Line chart with logarithmic axes of gibibytes held against tokens of a sequence from 256 to
    a million. The line without linear layers is straight; those with two and three of four are flat
    near 0.1 and 0.16 up to about a thousand tokens, cross it, and end two and four times lower.
    """
    axes = figure.subplots()
    lengths = [2**power for power in range(8, 21)]
    for share, colour in ((0, "C0"), (2, "C2"), (3, "C3")):
        held = [held_bytes(_mixed(share), length) / GIB for length in lengths]
        axes.plot(lengths, held, color=colour, label=f"{share} of 4 layers linear")
    axes.legend(loc="upper left")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(256, 2**20),
        ylim=(0.03, 400),
        xlabel="tokens of a sequence",
        ylabel="held [GiB]",
    )
    axes.minorticks_off()


def slider_linear_layers() -> dict[str, Any]:
    """Lengthen a sequence, and choose how many of four layers are linear."""
    lengths, shares = [2**power for power in range(8, 21)], (0, 2, 3)
    held = [[held_bytes(_mixed(share), length) / GIB for share in shares] for length in lengths]
    read = [
        [1e3 * read_bytes(_mixed(share), length) / 3.35e12 for share in shares]
        for length in lengths
    ]
    return {
        "controls": [
            {"label": "tokens", "values": lengths, "text": "{:,} tokens", "start": 32768},
            {"label": "linear", "values": list(shares), "text": "{} of 4 layers", "start": 0},
        ],
        "x": {"label": "tokens of a sequence", "unit": "", "log": True, "range": (256, 2**21)},
        "y": {"label": "held", "unit": "GiB", "log": True, "range": (0.03, 400)},
        "curves": [{"label": "held", "unit": "GiB", "values": held, "decimals": 2}],
        "readouts": [
            {"label": "time to read it", "unit": "ms", "values": read, "decimals": 2},
        ],
        "reading": "A sequence of {tokens} holds {held} where {linear} are linear, and an H100"
        " reads it in {time to read it}.",
    }


def check_bytes_a_token() -> None:
    """Bytes a token of published models, in 16 bits.

    Source: 2 n_kv d L values by hand; DeepSeek-AI (2024), 512 + 64 values a layer; gpt-oss adds 128
    tokens of 18 windowed layers once.
    """
    for name, expected in (
        ("Llama-3.1-70B", 2 * 8 * 128 * 80 * 2),
        ("Qwen3-32B", 2 * 8 * 128 * 64 * 2),
        ("DeepSeek-V3", (512 + 64) * 61 * 2),
        ("gpt-oss-120b", 2 * 8 * 64 * 18 * 2),
        ("Kimi-K3", (512 + 64) * 24 * 2),
    ):
        checks.close(f"{name} [bytes]", token_bytes(find_model(name)[0]), expected, rtol=0)
    oss = find_model("gpt-oss-120b")[0]
    windows = held_bytes(oss, 5000) - 5000 * token_bytes(oss)
    checks.close("windows of gpt-oss [bytes]", windows, 128 * 2 * 8 * 64 * 18 * 2, rtol=0)


def check_engines_allocate_as_much() -> None:
    """What engines write into their logs: llama.cpp for Qwen3.6-27B, vLLM for gpt-oss-120b.

    Source: lmstudio-bug-tracker, issue 1862: 16,384 MiB of cache for 262,144 tokens, and 598.5 MiB
    of states for four sequences, of which the short convolutions, which are not counted here, are
    three inputs of 48 layers in 32 bits; hf-mem, issue 60: 5.38 GiB hold 78,384 tokens, windows
    kept whole.
    """
    qwen = find_model("Qwen3.6-27B")[0]
    state = held_bytes(qwen, 0)
    cache_mib = (held_bytes(qwen, 262144) - state) / 2**20
    checks.close("cache [MiB]", cache_mib, 16384.0, rtol=1e-12, kind="published")
    convolutions = 48 * 3 * (2 * 16 * 128 + 48 * 128) * 4
    states = 4 * (state + convolutions) / 2**20
    checks.close("four states [MiB]", states, 598.5, rtol=1e-12, kind="published")
    oss = find_model("gpt-oss-120b")[0]
    tokens = 5.38 * GIB / held_bytes(oss, 1)
    checks.close("tokens in 5.38 GiB", tokens, 78384, rtol=1e-3, kind="published")


def check_published_estimates() -> None:
    """The uniform formula and the repaired one, as Unsloth printed them, for five models.

    Source: unslothai/unsloth, pull request 4757, table; GiB to two digits. States of linear layers,
    which the repaired formula leaves out, are taken off.
    """
    for name, (arguments, wrong, right) in ESTIMATES.items():
        model = find_model(name)[0]
        estimate = uniform_estimate(*arguments) / GIB
        checks.close(f"{name}, uniform [GiB]", estimate, wrong, atol=0.006, kind="published")
        held = (held_bytes(model, arguments[-1]) - held_bytes(model, 0)) / GIB
        checks.close(f"{name}, held [GiB]", held, right, atol=0.006, kind="published")


def check_one_device_agrees() -> None:
    """Where one device holds all, the whole model's bytes are those of the deployment.

    Source: `sequence_bytes`, which counts by device; every preset, in 16 bits.
    """
    worst = 0.0
    for _, model in _shapes():
        one = replace(WORKED, architecture=model, precision="bf16")
        held = held_bytes(model, 5000)
        worst = max(worst, abs(sequence_bytes(one, 5000) / held - 1))
    checks.close("largest difference", worst, 0.0, atol=1e-12)


def check_bad_input_is_refused() -> None:
    """Negative lengths, no bytes and no heads name the argument."""
    model = WORKED.architecture
    checks.raises("-1 tokens", held_bytes, model, -1, match="tokens must be non-negative")
    checks.raises("no bytes", read_bytes, model, 10, 0.0, match="cache_bytes must be positive")
    checks.raises("NaN", attention_flops, model, float("nan"), match="tokens must be non-negative")
    checks.raises("none", sequences_that_fit, WORKED, 0, match="tokens must be positive")
    checks.raises("no heads", uniform_estimate, 32, 8, 64, 0, 1, match="heads must be positive")
