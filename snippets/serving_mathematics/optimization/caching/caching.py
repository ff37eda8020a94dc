"""What one token leaves in the KV cache, and how many sequences fit.

A decoder keeps a key and a value per layer and KV head for each token: 2·L·n_kv·d_head numbers, or
L·(d_c + d_rope) with latent attention; a layer with a sliding window keeps at most its window.

Assumes: one size of number for the whole cache, nothing shared between sequences, no padding.

Source: Kwon et al. (2023), section 3, for the arithmetic; DeepSeek-AI (2024) for latent attention;
records/model_configs.json for the shapes of published models.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]

RECORD = "model_configs"
KIB, GIB = 2**10, 2**30  # [B]


def kv_bytes_per_token(
    layers: int, kv_heads: int, head_dim: int, bytes_per_number: float = 2.0
) -> float:
    """Bytes that one token adds to the cache while no window is full: 2·L·n_kv·d_head·bytes.

    layers: L. kv_heads: n_kv, the key and value heads: all heads in multi-head attention, fewer
    when grouped, 1 in multi-query attention. head_dim: d_head. bytes_per_number: 2 for 16 bits.
    Raises ValueError unless the counts are positive integers and the size is positive and finite.

    >>> kv_bytes_per_token(layers=32, kv_heads=8, head_dim=128)
    131072.0
    """
    layers, kv_heads, head_dim = require_positive_integer(
        layers=layers, kv_heads=kv_heads, head_dim=head_dim
    )
    bytes_per_number = require_positive(bytes_per_number=bytes_per_number)
    return 2 * layers * kv_heads * head_dim * bytes_per_number


def latent_bytes_per_token(
    layers: int, latent_dim: int, rope_dim: int, bytes_per_number: float = 2.0
) -> float:
    """Bytes that one token adds with multi-head latent attention: L·(d_c + d_rope)·bytes.

    layers: L. latent_dim: d_c, from which keys and values of all heads are rebuilt. rope_dim:
    d_rope, the part of the key that carries the position, one for all heads. Raises ValueError
    unless the counts are positive integers and the size is positive and finite.

    >>> latent_bytes_per_token(layers=10, latent_dim=512, rope_dim=64)
    11520.0
    """
    layers, latent_dim, rope_dim = require_positive_integer(
        layers=layers, latent_dim=latent_dim, rope_dim=rope_dim
    )
    bytes_per_number = require_positive(bytes_per_number=bytes_per_number)
    return layers * (latent_dim + rope_dim) * bytes_per_number


def sequence_bytes(
    tokens: npt.ArrayLike, bytes_per_token: float, windowed_share: float = 0.0, window: int = 0
) -> FloatArray:
    """Cache of one sequence [B], when a share of the layers keeps at most a window.

    tokens: n ≥ 0, any shape. bytes_per_token: of all layers together [B]. windowed_share: layers
    with a window over all layers, in [0, 1]. window: W tokens that these keep, the newest
    included; needed when the share is positive. Raises ValueError outside these ranges.

    >>> sequence_bytes([100, 300], bytes_per_token=8.0, windowed_share=0.5, window=100).tolist()
    [800.0, 1600.0]
    """
    window = as_number(window=window)
    n = as_floats(tokens=tokens)
    require(
        n.size > 0 and np.all((n >= 0) & (n < math.inf)), "tokens", "non-empty, non-negative", n
    )
    bytes_per_token = require_positive(bytes_per_token=bytes_per_token)
    windowed_share = require_in("[0, 1]", windowed_share=windowed_share)
    rule = "a positive integer" if windowed_share > 0 else "a non-negative integer"
    require((windowed_share > 0) <= window < math.inf and window % 1 == 0, "window", rule, window)
    kept = (1 - windowed_share) * n + windowed_share * np.minimum(n, window)
    return np.asarray(bytes_per_token * kept)


def how_many_fit(memory_bytes: float, bytes_each: float) -> int:
    """Whole items, tokens or sequences, that fit into the memory left for the cache.

    memory_bytes: what weights and activations leave [B]. bytes_each: of a token or a sequence [B].
    Raises ValueError on negative memory or a size that is not positive and finite.

    >>> how_many_fit(memory_bytes=100.0, bytes_each=30.0)
    3
    """
    memory_bytes = require_non_negative(memory_bytes=memory_bytes)
    bytes_each = require_positive(bytes_each=bytes_each)
    return math.floor(memory_bytes / bytes_each * (1 + 1e-12))


def _models() -> dict[str, dict[str, Any]]:
    record = read_record(RECORD)
    return {row["model"]: row for row in record["models"]}


def _per_token(row: dict[str, Any]) -> float:
    if row["latent_dim"]:
        return latent_bytes_per_token(row["layers"], row["latent_dim"], row["rope_dim"])
    return kv_bytes_per_token(row["layers"], row["kv_heads"], row["head_dim"])


def _counted() -> dict[str, tuple[float, float]]:
    """Parameters of the models without experts by their shapes, and those in their names [1e9]."""
    counted = {}
    for name, row in _models().items():
        if row["ffn"]:
            width, inner = row["hidden"], row["query_heads"] * row["head_dim"]
            keys = row["kv_heads"] * row["head_dim"]
            layer = 2 * width * (inner + keys) + row["ffn_matrices"] * width * row["ffn"]
            tables = row["vocabulary"] * width * (1 if row["tied_embeddings"] else 2)
            total = row["layers"] * layer + tables + (2 * row["layers"] + 1) * width
            counted[name] = total / 1e9, row["nominal_billion_parameters"]
    return counted


def example() -> SimpleNamespace:
    """Numbers quoted in the text, here and among the errata."""
    models = _models()
    falcon, deepseek, llama = models["Falcon-7B"], models["DeepSeek-V3"], models["Llama-3.1-405B"]
    return SimpleNamespace(
        kib_mha=kv_bytes_per_token(32, 32, 128) / KIB,
        kib_gqa=kv_bytes_per_token(32, 8, 128) / KIB,
        kib_mqa=kv_bytes_per_token(32, 1, 128) / KIB,
        kib_mla=latent_bytes_per_token(32, 512, 64) / KIB,
        hf_table_gib=128_000 * kv_bytes_per_token(126, 16, 128) / GIB,
        heads_8_gib=128_000 * _per_token(llama) / GIB,
        sku_llama_2_7b=int(kv_bytes_per_token(32, 8, 128)),
        deepseek_factor=kv_bytes_per_token(61, 128, 128) / _per_token(deepseek),
        falcon_factor=round(kv_bytes_per_token(32, 71, 64) / _per_token(falcon)),
    )


def check_published_bytes_per_token() -> None:
    """The formula gives the published bytes per token for multi-head and grouped attention.

    Source: Kwon et al. (2023), section 3, 800 KB for OPT-13B (2 × 5120 × 40 × 2 bytes); the other
    shapes as their configurations say, multiplied out by hand.
    """
    models = _models()
    for name, expected in (
        ("OPT-13B", 819_200),
        ("Llama-2-7B", 524_288),
        ("Llama-2-13B", 819_200),
        ("Llama-2-70B", 327_680),
        ("Llama-3-8B", 131_072),
        ("Mistral-7B-v0.1", 131_072),
    ):
        printed: checks.Kind = "published" if name == "OPT-13B" else "identity"
        checks.equal(name, int(_per_token(models[name])), expected, kind=printed)


def check_published_slots() -> None:
    """The slots that Kwon et al. print fit the memory they print if its GB are GiB.

    Source: Kwon et al. (2023), table 1: 12 GB and 15.7K slots for OPT-13B, 21 GB and 9.7K for
    OPT-66B (64 layers of width 9216), 264 GB and 60.1K for OPT-175B (96 layers of 12288).
    """
    opt = kv_bytes_per_token(40, 40, 128)
    checks.equal("OPT-13B, 12 GiB", how_many_fit(12 * GIB, opt), 15_728, kind="published")
    large = how_many_fit(264 * GIB, kv_bytes_per_token(96, 96, 128))
    checks.close("OPT-175B, 264 GiB", large, 60_100, atol=50, kind="published")
    middle = [how_many_fit(x * GIB, kv_bytes_per_token(64, 72, 128)) for x in (20.5, 21.5)]
    checks.inside("OPT-66B: 9.7K between 20.5 and 21.5 GiB", 9700, *middle, kind="published")
    decimal = how_many_fit(12e9, opt)
    checks.holds("with 12·10⁹ bytes it would be 14.6K", decimal < 14_700, got=decimal)


def check_latent_attention_equals_few_groups() -> None:
    """The latent of DeepSeek-V2 takes as much as 2.25 groups of grouped attention.

    Source: DeepSeek-AI (2024), table 1 and the sentence about d_c = 4·d_head, d_rope = d_head/2.
    """
    row = _models()["DeepSeek-V2"]
    one_group = kv_bytes_per_token(row["layers"], 1, row["head_dim"])
    checks.close("groups", _per_token(row) / one_group, 2.25, rtol=1e-15, kind="published")


def check_erratum_405b() -> None:
    """A 405B cache of 128,000 tokens takes 61.5 GiB with the model's 8 KV heads; the widely copied
    123 comes from the 16 in its files of July 2024.

    Source: huggingface/blog issue 2345, the table of the blog (123.05 for 128k, 15.38 for 16k)
    and the reader's 61.52 and 7.69; vLLM issue 6689 for the files.
    """
    per_token = _per_token(_models()["Llama-3.1-405B"])
    for tokens, right, printed in ((128_000, 61.5234375, 123.05), (16_000, 7.6904296875, 15.38)):
        got = tokens * per_token / GIB
        checks.close(f"{tokens:,} tokens, 8 KV heads", got, right, rtol=1e-12, kind="published")
        wrong = tokens * kv_bytes_per_token(126, 16, 128) / GIB
        checks.close(f"{tokens:,} tokens, 16", wrong, printed, atol=5e-3, kind="published")


def check_shapes_reproduce_parameter_counts() -> None:
    """The recorded shapes give the parameters in the models' names, and Llama-2-7B's exactly.

    Source: the names; 6,738,415,616 parameters of Llama-2-7B, as its checkpoint counts them; rows
    without experts.
    """
    for name, (counted, nominal) in _counted().items():
        checks.close(name, counted, nominal, rtol=0.09, kind="published")
    exact = round(1e9 * _counted()["Llama-2-7B"][0])
    checks.equal("Llama-2-7B", exact, 6_738_415_616, kind="published")
