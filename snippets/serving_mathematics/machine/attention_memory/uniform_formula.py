"""The formula of many calculators: all layers full, a head as wide as the model over its heads.

    2 L n_kv (H // n) s values of two bytes

Both assumptions hold for Llama and for little that came after it.

Source: Unsloth, pull request 4757, which printed what this formula had said beside what replaced
it.
"""

from __future__ import annotations

from types import SimpleNamespace

from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.machine.attention_memory.attention_memory import GIB, held_bytes
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_positive

ESTIMATES = {  # printed by Unsloth, pull request 4757: arguments, and both numbers in GiB
    "Gemma-3-27B": ((62, 16, 5376, 32, 131072), 81.38, 10.41),
    "Qwen3.5-27B": ((64, 4, 5120, 24, 262144), 53.25, 16.00),
    "DeepSeek-V3.1": ((61, 1, 7168, 128, 163840), 2.08, 10.72),
    "Kimi-K2.5": ((61, 1, 7168, 64, 262144), 6.67, 17.16),
    "Qwen3-0.6B": ((28, 8, 1024, 16, 40960), 2.19, 4.38),
}


def uniform_estimate(layers: int, kv_heads: int, hidden: int, heads: int, tokens: float) -> float:
    """Bytes of a cache by the formula of many calculators: 2 L n_kv (H // n) s values of two bytes.

    It takes every layer to be full, and every head to be H/n wide.

    >>> uniform_estimate(32, 8, 4096, 32, tokens=1000)  # Llama-3.1-8B, where both are true
    131072000.0
    """
    layers, kv_heads, hidden, heads, tokens = require_positive(
        layers=layers, kv_heads=kv_heads, hidden=hidden, heads=heads, tokens=tokens
    )
    require(heads <= hidden, "heads", f"at most hidden = {hidden:g}", heads)
    return 2.0 * layers * kv_heads * (hidden // heads) * 2 * tokens


def _estimate_rows() -> list[str]:
    """Lines of the page's table: what the uniform formula says, and what is held."""
    rows = []
    for name, (arguments, _, _) in ESTIMATES.items():
        wrong = uniform_estimate(*arguments) / GIB
        right = held_bytes(find_model(name)[0], arguments[-1]) / GIB
        rows.append(f"| {name} | {wrong:.2f} | {right:.2f} |")
    return rows


def _off_percent(name: str) -> float:
    """By how much the formula is off for a model [%]."""
    arguments = ESTIMATES[name][0]
    held = held_bytes(find_model(name)[0], arguments[-1])
    return 100 * (uniform_estimate(*arguments) / held - 1)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(
        gemma_percent=_off_percent("Gemma-3-27B"),
        deepseek_percent=_off_percent("DeepSeek-V3.1"),
        times_too_little=1 / (1 + min(map(_off_percent, ESTIMATES)) / 100),
        times_too_much=1 + max(map(_off_percent, ESTIMATES)) / 100,
        glm_percent=100 * (5120 / 96 / 128 - 1),
        estimate_rows="\n".join(_estimate_rows()),
    )


def check_published_estimates() -> None:
    """For five models, the uniform formula and the bytes held are what Unsloth printed for its old
    formula and the repaired one.

    Source: unslothai/unsloth, pull request 4757, table; GiB to two digits. States of linear layers,
    which the repaired formula leaves out, are taken off.
    """
    for name, (arguments, wrong, right) in ESTIMATES.items():
        model = find_model(name)[0]
        estimate = uniform_estimate(*arguments) / GIB
        checks.close(f"{name}, uniform [GiB]", estimate, wrong, atol=0.006, kind="published")
        held = (held_bytes(model, arguments[-1]) - held_bytes(model, 0)) / GIB
        checks.close(f"{name}, held [GiB]", held, right, atol=0.006, kind="published")
