"""The sentences of a slider, as docs/assets/slider.js writes them in the reader's browser."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_NAMED = re.compile(r"\{([^{}]*)\}")


def reading(data: Mapping[str, Any], setting: Sequence[int]) -> str:
    """What the slider says at a position.

    data: a grid, as `sliders.grid` returns it. setting: the index of each control's value.
    """
    controls = data["controls"]
    sizes = [len(control["texts"]) for control in controls]
    place = 0
    for size, index in zip(sizes, setting, strict=True):
        place = place * size + index
    words = {c["label"]: c["texts"][i] for c, i in zip(controls, setting, strict=True)}
    for part in (*data["curves"], *data["readouts"]):
        value = part["values"][place]
        if value is None:
            return str(data["absent"])
        words[part["label"]] = told(value, part["unit"], part["decimals"])
    return _NAMED.sub(lambda named: words[named[1]], data["reading"])


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
    """What the slider says, position by position."""
    sizes = [range(len(control["texts"])) for control in data["controls"]]
    return (reading(data, setting) for setting in itertools.product(*sizes))
