"""The sentences of what moves, as docs/assets/slider.js writes them in the reader's browser."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.sliders import curves_of

_NAMED = re.compile(r"\{([^{}]*)\}")


def reading(data: Mapping[str, Any], setting: Sequence[int], frame: int = 0) -> str:
    """What the slider says at a position.

    data: a grid, as `sliders.grid` returns it. setting: the index of each control's value. frame:
    of its clock, if it has one.
    """
    controls = data["controls"]
    sizes = [len(control["texts"]) for control in controls]
    run = 0
    for size, index in zip(sizes, setting, strict=True):
        run = run * size + index
    words = {c["label"]: c["texts"][i] for c, i in zip(controls, setting, strict=True)}
    clock, frames, sentence = data.get("clock"), frames_of(data), data["reading"]
    if clock:
        words[clock["label"]] = told(clock["values"][frame], clock["unit"], clock["decimals"])
    for part in curves_of(data):
        values = part["values"]
        value = values[run if len(values) == math.prod(sizes) else run * frames + frame]
        if value is None:
            sentence = data["absent"]
        else:
            words[part["label"]] = told(value, part["unit"], part["decimals"])
    return _NAMED.sub(lambda named: words.get(named[1], ""), sentence)


def frames_of(data: Mapping[str, Any]) -> int:
    """How many frames each run has; 1 without a clock."""
    return len(data["clock"]["values"]) if "clock" in data else 1


def told(value: float, unit: str, decimals: int) -> str:
    """A value with its unit; one that would read as nothing is less than the last digit."""
    least = 10.0**-decimals
    small = 0 < value < least / 2
    shown = least if small else value
    shown = math.copysign(math.floor(abs(shown) / least + 0.5 + 1e-9) * least, shown)
    text = f"{shown:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    space = " " if unit and unit != "%" else ""
    return f"{'less than ' * small}{text}{space}{unit}"


def readings(data: Mapping[str, Any]) -> Iterator[str]:
    """What the slider says, position by position and frame by frame."""
    sizes = [range(len(control["texts"])) for control in data["controls"]]
    frames = range(frames_of(data))
    return (reading(data, s, f) for s in itertools.product(*sizes) for f in frames)
