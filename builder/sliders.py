"""What a slider shows: a chapter's own functions on a grid, checked and made small.

A `slider_*` function returns a dictionary: two or more values for each of its controls, and numbers
for every combination of them. The first control runs along the horizontal axis.
"""

from __future__ import annotations

import itertools
import json
import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LARGEST = 16_000  # characters of JSON: what a slider may weigh before compression
_NAME = re.compile(r"\{([^{}]*)\}")


def grid(slider: object) -> dict[str, Any]:
    """A slider as plain JSON: texts of the controls, axes with their ranges, and the numbers to
    four digits, the last control varying fastest.

    Raises ValueError or TypeError that names the part, the rule and the value.
    """
    told = _fields("the slider", slider, {"controls", "x", "y", "curves", "reading"}, _MORE)
    if not isinstance(told["controls"], Sequence) or not told["controls"]:
        raise ValueError("controls must be a list of one or more")
    controls = [_control(f"controls[{i}]", c) for i, c in enumerate(told["controls"])]
    shape = tuple(len(control["texts"]) for control in controls)
    first = told["controls"][0]["values"]
    along = _numbers("controls[0]", first, [shape[:1]], absent=False)
    if any(after <= before for before, after in itertools.pairwise(along)):
        raise ValueError("controls[0], which runs along the axis, must have increasing numbers")
    absent = _text("absent", told.get("absent", ""), empty=True)
    quantities = {}
    for kind in ("curves", "readouts"):
        quantities[kind] = [
            _quantity(f"{kind}[{i}]", quantity, shape, bool(absent))
            for i, quantity in enumerate(told.get(kind, ()))
        ]
    if not quantities["curves"]:
        raise ValueError("curves must be a list of one or more")
    x = _fields("x", told["x"], {"label", "unit"}, {"values", *_OF_AXIS})
    places = _numbers("x", x.get("values", along), [shape[:1], shape], absent=bool(absent))
    drawn = [value for curve in quantities["curves"] for value in curve["values"]]
    found = {
        "controls": controls,
        "x": _axis("x", x, places) | {"values": places},
        "y": _axis("y", _fields("y", told["y"], {"label", "unit"}, _OF_AXIS), drawn),
        **quantities,
        "reading": _reading(told["reading"], [*controls, *quantities["curves"]], quantities),
        "absent": absent,
    }
    weight = len(as_json(found))
    if weight > LARGEST:
        raise ValueError(f"a slider may weigh {LARGEST} characters, this one is {weight}")
    return found


def as_json(data: Mapping[str, Any]) -> str:
    """A grid as the page loads it."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


_MORE = {"readouts", "absent"}
_OF_AXIS = {"log", "range", "limit"}


def _fields(part: str, given: object, needed: set[str], more: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"{part} must be a dictionary, got {type(given).__name__}")
    if missing := needed - given.keys():
        raise ValueError(f"{part} lacks {', '.join(sorted(missing))}")
    if unknown := given.keys() - needed - more:
        raise ValueError(f"{part} has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    return given


def _text(part: str, given: object, *, empty: bool = False) -> str:
    if not isinstance(given, str) or not (given or empty):
        raise ValueError(f"{part} must be a text, got {given!r}")
    return given


def _control(part: str, given: object) -> dict[str, Any]:
    told = _fields(part, given, {"label", "values", "start"}, {"text"})
    values = list(told["values"])
    if len(values) < 2:
        raise ValueError(f"{part} must have two or more values, got {values}")
    if told["start"] not in values:
        raise ValueError(f"{part} starts at {told['start']!r}, which is none of its values")
    texts = [str(told.get("text", "{}")).format(value) for value in values]
    if len(set(texts)) < len(texts):
        raise ValueError(f"{part} has two values that read alike: {texts}")
    label = _text(f"{part} label", told["label"])
    return {"label": label, "texts": texts, "start": values.index(told["start"])}


def _quantity(part: str, given: object, shape: tuple[int, ...], absent: bool) -> dict[str, Any]:
    told = _fields(part, given, {"label", "unit", "values"}, {"decimals"})
    decimals = told.get("decimals", 1)
    if decimals not in range(7):
        raise ValueError(f"{part} decimals must be an integer in [0, 6], got {decimals!r}")
    label = _text(f"{part} label", told["label"])
    return {
        "label": label,
        "unit": _text(f"{part} unit", told["unit"], empty=True),
        "decimals": decimals,
        "values": _numbers(f"{part} ({label})", told["values"], [shape], absent=absent),
    }


def _numbers(
    part: str, given: object, shapes: Sequence[tuple[int, ...]], *, absent: bool
) -> list[Any]:
    """The numbers in one list, to four digits; None where there is none, if that may be."""
    values = np.asarray(given, dtype=object)
    if values.shape not in shapes:
        wanted = " or ".join(map(str, shapes))
        raise ValueError(f"{part} must have shape {wanted}, got {values.shape}")
    rule = "finite numbers or None" if absent else "finite numbers (or None, and a text `absent`)"
    found: list[Any] = []
    for place, value in np.ndenumerate(values):
        if value is None and absent:
            found.append(None)
            continue
        if not isinstance(value, numbers.Real) or not math.isfinite(value):
            raise ValueError(f"{part} must have {rule}, got {value!r} at {place}")
        rounded = float(f"{value:.4g}")
        found.append(int(rounded) if rounded.is_integer() else rounded)
    return found


def _axis(part: str, told: Mapping[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """Title, scale and range of an axis; the range holds all values unless it is given."""
    there = [value for value in values if value is not None]
    if not there:
        raise ValueError(f"{part} has no value anywhere")
    log = bool(told.get("log", False))
    low, high = told.get("range") or (min(there) if log else min(0, *there), max(there))
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{part} range must be finite and increase, got {(low, high)}")
    if log and min(low, *there) <= 0:
        raise ValueError(f"{part} is logarithmic and must be positive, got {min(low, *there)}")
    found = {
        "label": _text(f"{part} label", told["label"]),
        "unit": _text(f"{part} unit", told["unit"], empty=True),
        "log": log,
        "range": [float(low), float(high)],
    }
    if "limit" in told:
        limit = _fields(f"{part} limit", told["limit"], {"at", "label"}, set())
        if not low <= limit["at"] <= high:
            raise ValueError(f"{part} limit must be in {(low, high)}, got {limit['at']!r}")
        label = _text(f"{part} limit label", limit["label"])
        found["limit"] = {"at": float(limit["at"]), "label": label}
    return found


def _reading(
    given: object, told: Sequence[Mapping[str, Any]], quantities: Mapping[str, Any]
) -> str:
    """The sentence for a position, with labels in braces where their values go."""
    text = _text("reading", given)
    named = _NAME.findall(text)
    labels = [str(part["label"]) for part in (*told, *quantities["readouts"])]
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels must differ, got {labels}")
    if unknown := set(named) - set(labels):
        raise ValueError(f"reading names {sorted(unknown)}, which is none of {labels}")
    shown = {str(part["label"]) for kind in quantities.values() for part in kind}
    if silent := shown - set(named):
        raise ValueError(f"reading never says {sorted(silent)}")
    return text
