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

from serving_mathematics.core.hardware.architectures import Architecture, Attention
from serving_mathematics.core.hardware.catalogue import (
    find_model,
    find_system,
    model_names,
    preset_model,
)
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    layer_token_bytes,
    sequence_bytes,
)
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_non_negative, require_positive

GIB = 2**30  # [B]
WINDOW_SHARE = 0.8  # of a full layer's tokens, SGLang's pool of one with a window: its default


def held_bytes(
    model: Architecture, tokens: float, cache_bytes: float = 2.0, state_bytes: float = 4.0
) -> float:
    """Bytes that one sequence of so many tokens holds in all layers together.

    tokens: s >= 0. cache_bytes, state_bytes: of a value, > 0. Raises ValueError outside.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> held_bytes(WORKED.architecture, tokens=1000)
    131072000.0
    """
    tokens = require_non_negative(tokens=tokens)
    state_bytes = require_positive(state_bytes=state_bytes)
    held = 0.0
    for count, attention, _ in model.layers:
        kept = min(tokens, attention.window_tokens) if attention.window_tokens else tokens
        kept = 0.0 if attention.borrowed else kept
        cached, index = layer_token_bytes(attention, cache_bytes)
        states = attention.state_values * state_bytes + 4.0 * attention.waiting_values
        held += count * (kept * (cached + index) + states)
    return held


def token_bytes(model: Architecture, cache_bytes: float = 2.0) -> float:
    """Bytes that one more token adds once every window is full.

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

    Two for each multiplication: of a query with a key, of a weight with a value, and in selecting
    tokens.

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
        "| Model | Layers | Bytes per further token | GiB at 8,192 | GiB at 131,072"
        " | GiB read at 131,072 | FLOP per byte |",
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


def _pooled_bytes(model: Architecture) -> float:
    """Memory for each token that fits where windows have a pool of their own."""
    full = token_bytes(model)
    return full + WINDOW_SHARE * (held_bytes(model, 1) - full)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    latent = find_model("Kimi-K2.5")[0]
    oss, h100 = find_model("gpt-oss-120b")[0], find_system("h100")
    chat, r1 = CHAT.deployment.architecture, find_model("DeepSeek-R1")[0]
    return SimpleNamespace(
        chat_kib=token_bytes(chat) / 1024,
        mixture_kib=token_bytes(latent) / 1024,
        mixture_parameters=latent.parameters / chat.parameters,
        oss_token=token_bytes(oss),
        oss_first=held_bytes(oss, 1),
        oss_sglang=_pooled_bytes(oss),
        window_share=WINDOW_SHARE,
        widest_intensity=attention_flops(r1, 1) / read_bytes(r1, 1),
        ridge=h100.bf16_flops_per_s / h100.bandwidth_bytes_per_s,
        preset_table="\n    ".join(_preset_lines()),
    )


def check_bytes_a_token() -> None:
    """In 16 bits, a token of five published models leaves as many bytes as are counted by hand.

    Source: 2 n_kv d L values by hand; DeepSeek-AI (2024), 512 + 64 values a layer; gpt-oss-120b
    also holds 128 tokens in 18 layers with a window, however long a sequence is.
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
    """The bytes are those that engines log: llama.cpp for Qwen3.6-27B, and vLLM for gpt-oss-120b.

    Source: lmstudio-bug-tracker, issue 1862: 16,384 MiB of cache for 262,144 tokens, and 598.5 MiB
    of states for four sequences, which include three inputs of the short convolutions of 48 layers
    in 32 bits that the functions here do not count; hf-mem, issue 60: 78,384 tokens in 5.38 GiB,
    which is the number of blocks over the two groups of layers, full ones and windows, times 16
    tokens.
    """
    qwen = find_model("Qwen3.6-27B")[0]
    state = held_bytes(qwen, 0)
    cache_mib = (held_bytes(qwen, 262144) - state) / 2**20
    checks.close("cache [MiB]", cache_mib, 16384.0, rtol=1e-12, kind="published")
    convolutions = 48 * 3 * (2 * 16 * 128 + 48 * 128) * 4
    states = 4 * (state + convolutions) / 2**20
    checks.close("four states [MiB]", states, 598.5, rtol=1e-12, kind="published")
    oss = find_model("gpt-oss-120b")[0]
    block_bytes = 16 * token_bytes(oss)  # of one group's 18 layers, and of the other's
    tokens = 5.38 * GIB // block_bytes // 2 * 16
    checks.close("tokens that vLLM logs", tokens, 78384, rtol=1e-3, kind="published")


def check_windows_in_a_pool_of_their_own() -> None:
    """SGLang gives a layer with a window memory for 0.8 times the tokens of a full layer. So a
    token that fits takes 1.8 times the full layers' bytes if there are as many layers of both
    kinds.

    Source: SGLang, pull request 18039: MiMo-V2-Flash on four devices, with 375,360 tokens in full
    layers and 300,288 in those with a window; gpt-oss-120b by hand, 18 layers of each kind with
    2,048 bytes a token.
    """
    checks.close("share of tokens", WINDOW_SHARE, 300_288 / 375_360, rtol=1e-9, kind="published")
    oss = find_model("gpt-oss-120b")[0]
    checks.close("a token that fits [bytes]", _pooled_bytes(oss), 18 * 2048 * 1.8, rtol=1e-12)


def check_one_device_agrees() -> None:
    """If one device holds the whole model, a sequence has as many bytes in all layers as the
    deployment counts on that device.

    Source: `sequence_bytes`, which counts by device; every preset, in 16 bits.
    """
    worst = 0.0
    for _, model in _shapes():
        one = replace(WORKED, architecture=model, precision="bf16")
        held = held_bytes(model, 5000)
        worst = max(worst, abs(sequence_bytes(one, 5000) / held - 1))
    checks.close("largest difference", worst, 0.0, atol=1e-12)


def check_a_latent_keeps_a_device_nearly_busy() -> None:
    """With all 128 query heads, a latent takes at least three quarters of the operations a byte at
    which an H100 begins to wait for arithmetic, and no more than all of them.

    Source: 2 (576 + 512) operations for each of 128 heads over 1,152 bytes, by hand; data sheet,
    989 TFLOP/s over 3.35 TB/s.
    """
    model = find_model("DeepSeek-R1")[0]
    widest = attention_flops(model, 1) / read_bytes(model, 1)
    checks.close("all heads", widest, 2 * (576 + 512) * 128 / 1152, rtol=1e-12)
    checks.close("H100", example().ridge, 989 / 3.35, rtol=0.01)
    checks.inside("latent over H100", widest / example().ridge, 0.75, 1.0)
