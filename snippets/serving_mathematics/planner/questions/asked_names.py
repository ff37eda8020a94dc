"""What names mean in a question: devices, formats, what guesses, and the checkpoint that engines
load.

Assumes: nothing about the input.

Source: the names of checkpoints on Hugging Face.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import (
    Unserved,
    _is_path,
    _without_endings,
    compared,
    find_model,
    find_precision,
    find_system,
)
from serving_mathematics.core.hardware.deployments import (
    DRAFTERS,
    _require_kept_experts,
    own_precision,
)
from serving_mathematics.core.hardware.systems import System
from serving_mathematics.planner.questions.fields import GIVEN, LIKE, SHEET

TWINS = {  # checkpoints that have the shape of a preset and are others, by what people call them
    "llama3370b": "meta-llama/Llama-3.3-70B-Instruct",
    "llama370b": "meta-llama/Meta-Llama-3-70B",
    "deepseekv31": "deepseek-ai/DeepSeek-V3.1",
    "deepseekv31terminus": "deepseek-ai/DeepSeek-V3.1-Terminus",
    "deepseekv32exp": "deepseek-ai/DeepSeek-V3.2-Exp",
    "deepseekv32speciale": "deepseek-ai/DeepSeek-V3.2-Speciale",
    "kimik26": "moonshotai/Kimi-K2.6",
    "minimaxm2": "MiniMaxAI/MiniMax-M2",
    "minimaxm21": "MiniMaxAI/MiniMax-M2.1",
    "qwen3coder30ba3b": "Qwen/Qwen3-Coder-30B-A3B-Instruct",
}
SLICES = (
    " of the slice, and parallelism: tp1, as slices (MIG) have no links; one of 3g.40gb has 3/7 of "
    "the peak, and as much of the bandwidth as of the memory"
)


def _others(text: str) -> list[System]:
    """The other devices of a field."""
    if compared(text) == "none":
        return []
    return [_named("other_devices", find_system, name) for name in text.split(",")]


def _named(field: str, find: Callable[[str], Any], name: str) -> Any:
    """A name looked up; a refusal begins with the field."""
    try:
        return find(name)
    except ValueError as problem:
        text = str(problem)
        shown = f"{name[:60]}…" if len(name) > 60 else name
        text = text.replace(repr(name), repr(shown))
        if field == "device" and not isinstance(problem, Unserved):
            text += f"; or leave it out and give {', '.join(SHEET)}"
            text += SLICES if re.search(r"(?i)\bmig\b|\dg\.\d+gb", name) else ""
        if field == "drafter":
            text += f"; or {' or '.join(DRAFTERS)}"
        raise ValueError(text if text.startswith(field) else f"{field}: {text}") from None


def _drafter(text: str) -> Architecture | str:
    """What guesses: one of the words, or a model in the precision that its name tells."""
    word = text.strip().lower()
    if word in DRAFTERS:
        return word
    found: tuple[Architecture, str] = _named("drafter", find_model, text)
    model, named = found
    if named:
        _require_kept_experts(model, named, "left out of a drafter's name")
        model = replace(model, published=named)
    return replace(model, name=_checkpoint(text, model))


def _systems(told: dict[str, Any], sheet: bool) -> list[System]:
    if not sheet:
        return [_named("device", find_system, name) for name in told["device"].split(",")]
    flops = 1e12 * told["peak_tflops"]
    like = find_system(LIKE)
    bandwidth, memory = 1e9 * told["bandwidth_gb_per_s"], told["memory_gib"] * 2**30
    return [
        replace(
            like,
            name=GIVEN,
            memory_bytes=memory,
            bandwidth_bytes_per_s=bandwidth,
            bf16_flops_per_s=flops,
            fp8_flops_per_s=flops * like.fp8_flops_per_s / like.bf16_flops_per_s,
            fp4_flops_per_s=flops * like.fp4_flops_per_s / like.bf16_flops_per_s,
        )
    ]


def _precisions(text: str, named: str, model: Architecture, one: bool) -> list[str]:
    """Formats that are compared. `any` is that of the checkpoint, and where this has 16 bits and
    its name says none, 8 bits as well, unless one alone can be asked."""
    found: list[str] = []
    for word in text.split(","):
        said = compared(word) not in ("any", "auto")
        find = find_precision if said else lambda _: named or own_precision(model)
        own = _named("precision", find, word)
        if said or named:
            _require_kept_experts(model, own, "auto")
        found.append(own)
        may = compared(word) == "any" and own == "bf16" and not (named or one)
        found += ["fp8"] if may and not model.four_bit_experts else []
    return list(dict.fromkeys(found))


def _checkpoint(asked: str, model: Architecture) -> str:
    """What engines load where this is asked: what was typed, with the owner of the preset where it
    has none; the preset's own name for an abbreviation, the folder for a file."""
    text = asked.strip()
    if _is_path(text):
        return text.removesuffix("config.json").rstrip("/") or "."
    if "/" in text:
        return text
    owner, _, preset = model.name.rpartition("/")
    form, own = compared(text), compared(preset).removeprefix("meta")
    (bare, said), (shape, told) = _without_endings(form), _without_endings(own)
    if bare in TWINS:
        return text if said else TWINS[bare]
    if form == own or bare != shape or not owner or (form == bare and not told):
        return model.name
    return text if said else f"{owner}/{text}"
