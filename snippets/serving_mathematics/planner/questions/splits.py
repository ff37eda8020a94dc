"""How a replica is split over devices: as it is written, what is tried by itself, and what is
proposed where a split cannot be.

Assumes: nothing about the input.

Source: the flags of parallelism that engines document, of which `tp4` and the like are short forms.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import Any

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import compared
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    Impossible,
    possible,
    require_deployment,
    weight_bytes,
)
from serving_mathematics.core.hardware.systems import System
from serving_mathematics.support.require import require

WIDTHS = tuple(2**power for power in range(11))  # of a refusal's proposal
WIDEST = 64  # devices over which experts are spread where nothing is said
PARTS = {"tp": "tensor", "pp": "pipeline", "dp": "attention_data", "ep": "expert"}


def read_parallelism(text: str) -> dict[str, int]:
    """How a replica is split, from its short form: widths of tensor, pipeline, attention data and
    expert parallelism.

    text: such as "tp4", "tp8ep8" or "dp8 ep8". Raises ValueError otherwise.

    >>> read_parallelism("tp4+pp2")
    {'tensor': 4, 'pipeline': 2, 'attention_data': 1, 'expert': 1}
    """
    found = re.findall(r"(tp|pp|dp|ep)=?([0-9]{1,4})", text.lower())
    rest = re.sub(r"(tp|pp|dp|ep)=?[0-9]{1,4}|[\s+]", "", text.lower())
    once = len({name for name, _ in found}) == len(found) > 0
    fine = once and not rest and all(int(number) >= 1 for _, number in found)
    require(fine, "parallelism", "auto, or such as tp4, tp8ep8, dp8ep8 or tp4pp2", repr(text[:60]))
    return dict.fromkeys(PARTS.values(), 1) | {PARTS[name]: int(number) for name, number in found}


def _place(one: Deployment) -> tuple[object, ...]:
    """The device of a deployment, and how it is split."""
    return one.system.name, *(getattr(one, name) for name in PARTS.values())


def _splits(model: Architecture, system: System) -> list[dict[str, Any]]:
    """What is tried where nothing is said: tensor parallelism over up to eight devices, with
    experts spread the same way, and attention in parallel over data with the experts over all, as
    far as links reach."""
    one: dict[str, Any] = dict.fromkeys(PARTS.values(), 1)
    splits = [one | {"tensor": n} for n in (1, 2, 4, 8)]
    if model.routed_parameters:
        wide = [n for n in WIDTHS[1:] if n <= max(8, system.domain_devices) and n <= WIDEST]
        splits += [one | {"tensor": n, "expert": n} for n in (2, 4, 8)]
        splits += [one | {"attention_data": n, "expert": n} for n in wide]
    return splits


def _possible_splits(base: Deployment) -> list[Deployment]:
    """A deployment in each of the splits that are tried where nothing is said, as far as they can
    be. Raises ValueError with the first refusal where none can."""
    found, refused = [], ""
    for split in _splits(base.architecture, base.system):
        tried = replace(base, **split)
        try:
            require_deployment(tried)
        except ValueError as problem:
            refused = refused or str(problem)
        else:
            found.append(tried)
    if not found:
        raise Impossible(refused)
    return found


def _require_possible(one: Deployment, memory_share: float, reserved_bytes: float) -> None:
    """Refuse in the words of the fields, and propose a split that is not refused in turn."""
    usable = memory_share * one.system.memory_bytes - reserved_bytes
    spread = (replace(one, tensor=n, pipeline=1, attention_data=1) for n in WIDTHS)
    enough = next((wide.tensor for wide in spread if weight_bytes(wide) < usable), None)
    would = f"tp{enough}" if enough else "no split"
    try:
        require_deployment(one)
    except ValueError as problem:
        text = str(problem)
        words = {
            "input_tokens + output_tokens": "mean_prompt_tokens and mean_output_tokens together",
            "input_tokens": "mean_prompt_tokens",
            "output_tokens": "mean_output_tokens",
            **dict.fromkeys(("tensor", "pipeline", "attention_data", "expert", "weights"), ""),
        }
        for name, told in words.items():
            if text.startswith(f"{name} "):
                text = told + text[len(name) :] if told else f"parallelism: {text}"
        text, places = re.subn(r"\(\d+ devices would do", f"({would} would do", text)
        raise type(problem)(text + _beside(one, usable, enough) * places) from None
    held = weight_bytes(one)
    if held < usable:
        return
    rule = (
        f"below the {max(0.0, usable) / 1e9:.1f} GB that memory_share and reserved_gib leave of "
        f"the {one.system.shown} ({would} would do)"
    )
    told = f"{held / 1e9:.1f} GB a device{_beside(one, usable, enough)}"
    possible(False, "parallelism: weights", rule, told)


def _beside(one: Deployment, usable: float, enough: int | None) -> str:
    """Experts with attention apart, where that fits on as many devices as a split by tensor: over a
    network the latter may carry a third as much."""
    if enough and one.architecture.routed_parameters:
        apart = replace(one, tensor=1, pipeline=1, attention_data=enough, expert=enough)
        with contextlib.suppress(ValueError):
            require_deployment(apart)
            if weight_bytes(apart) < usable:
                return f"; parallelism: tp{enough},dp{enough}ep{enough} compares both ways"
    return ""


def _parallelisms(
    text: str, model: Architecture, system: System
) -> list[tuple[dict[str, Any], bool]]:
    """Splits, and whether each was asked for."""
    if compared(text) == "auto":
        return [(split, False) for split in _splits(model, system)]
    return [(read_parallelism(part), True) for part in text.split(",")]
