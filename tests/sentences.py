"""The sentences of what moves, from its grid, as docs/assets/slider.js has to write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from serving_mathematics.support.digits import one_of_many

from builder.directives import told
from builder.sliders import curves_of

_NAMED = re.compile(r"\{([^{}]*)\}")


def reading(data: Mapping[str, Any], setting: Sequence[int], frame: int = 0) -> str:
    """What the slider says at a position.

    setting: the index of each control's value. frame: of its clock, if it has one.
    """
    controls, clock = data["controls"], data.get("clock")
    sizes = [len(control["texts"]) for control in controls]
    run = 0
    for size, index in zip(sizes, setting, strict=True):
        run = run * size + index
    words = {c["label"]: c["texts"][i] for c, i in zip(controls, setting, strict=True)}
    frames, sentence = len(clock["values"]) if clock else 1, data["reading"]
    if clock:
        words[clock["label"]] = told(clock["values"][frame], clock["unit"], clock["decimals"])
    for part in curves_of(data):
        values = part["values"]
        value = values[run if len(values) == math.prod(sizes) else run * frames + frame]
        if value is None:
            sentence = data["absent"]
        else:
            words[part["label"]] = told(value, part["unit"], part["decimals"])
    return one_of_many(_NAMED.sub(lambda named: words.get(named[1], ""), sentence))
