"""What moves on a page: a chapter's own functions on a grid, checked and made small.

A `slider_*` function returns a dictionary: two or more values for each of its controls, where
wanted a clock, the panels that these move, and a sentence.
"""

# In one piece: the fields of one dictionary, each read or refused, which an author sees beside each
# other.

from __future__ import annotations

import itertools
import json
import math
import numbers
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST = 15_000  # bytes: what one may weigh, packed as hosts pack it
STATES = {  # of a lane, of a place and of a curve, with the words below the picture
    "answer": "writes its answer",
    "prompt": "has its prompt read",
    "waits": "waits",
    "idle": "idle",
    "starts": "starts",
    "cached": "from the cache",
    "broken": "breaks the promise",
    "free": "free place",
}
_TEXTS = {"label", "unit", "reading", "absent", "shade", "of"}  # fields, wherever they stand
_NAMES = {"engines", "lanes", "rows", "columns"}  # the same, of up to 40 texts
_HOLLOW = {"unit", "absent", "columns"}  # of these, texts that may be empty: a column is a gap
_NAME = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class _Runs:
    """What the numbers of a panel are counted by."""

    controls: tuple[int, ...]  # values of each
    along: Any  # values of the first, for the axis of a load
    clock: Mapping[str, Any] | None
    absent: bool  # whether a number may be missing

    @property
    def moving(self) -> tuple[int, ...]:
        """Shape of what changes with the frames, too."""
        return (*self.controls, len(self.clock["values"])) if self.clock else self.controls


def grid(given: object) -> dict[str, Any]:
    """What moves as plain JSON: texts of the controls, the clock, panels with their axes and
    ranges, and the numbers to four digits (six where the fourth is a five), the last control
    varying fastest, then the frame.

    Raises ValueError that names the part, the rule and the value, or says what cannot be read.
    """
    try:
        return _grid(given)
    except (LookupError, OverflowError, TypeError) as problem:
        told = f"the slider has something that cannot be read: {type(problem).__name__}: {problem}"
        raise ValueError(told) from problem


def _grid(given: object) -> dict[str, Any]:
    more = {"controls", "clock", "readouts", "absent", "legend"}
    told = _fields("the slider", given, {"panels", "reading"}, more)
    listed = _listed("controls", told.get("controls", ()), 0, 3)
    controls = [_control(f"controls[{i}]", control) for i, control in enumerate(listed)]
    shape = tuple(len(control["texts"]) for control in controls)
    timed = {"clock": _clock(told["clock"], shape)} if "clock" in told else {}
    runs = _Runs(
        shape, listed[0]["values"] if listed else None, timed.get("clock"), bool(told.get("absent"))
    )
    panels = [
        _panel(f"panels[{i}]", panel, runs)
        for i, panel in enumerate(_listed("panels", told["panels"], 1, 3))
    ]
    readouts = [
        _quantity(f"readouts[{i}]", quantity, [runs.moving, shape], runs.absent)
        for i, quantity in enumerate(_listed("readouts", told.get("readouts", ()), 0, 40))
    ]
    found = {
        "controls": controls,
        **timed,
        "panels": panels,
        "readouts": readouts,
        "reading": told["reading"],
        "absent": told.get("absent", ""),
        "legend": _legend(told.get("legend", {}), panels),
    }
    _check_sentences(found)
    weight = len(zlib.compress(as_json(found).encode(), 9))
    if weight > LARGEST:
        raise ValueError(f"the slider may weigh {LARGEST} bytes packed, this one has {weight}")
    return found


def curves_of(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every curve of a grid, and what is only said."""
    of_panels = [curve for panel in data["panels"] for curve in panel.get("curves", ())]
    return [*of_panels, *data["readouts"]]


def legend(data: Mapping[str, Any]) -> dict[str, str]:
    """What the marks of the pictures mean: states, other settings, and what has yet to come."""
    kinds = {panel["kind"]: panel for panel in data["panels"]}
    found: dict[str, str] = dict(data["legend"])
    for panel in data["panels"]:
        found |= {"shade": panel["shade"]} if "shade" in panel else {}
    if "lanes" in kinds:
        found["future"] = "still to come"
    if "load" in kinds and len(data["controls"]) > 1:
        first, *more = kinds["load"]["curves"]
        of = f"{first['label']} at " if more else ""
        found["ghost"] = f"{of}other values of “{data['controls'][1]['label']}”"
    return found


def as_json(data: Mapping[str, Any]) -> str:
    """A grid as the page loads it."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _fields(part: str, given: object, needed: set[str], more: set[str]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{part} must be a dictionary, got {type(given).__name__}")
    if missing := needed - given.keys():
        raise ValueError(f"{part} lacks {', '.join(sorted(missing))}")
    if unknown := given.keys() - needed - more:
        raise ValueError(f"{part} has unknown fields: {', '.join(sorted(map(str, unknown)))}")
    for name in _TEXTS & given.keys():
        _text(f"{part} {name}", given[name], empty=name in _HOLLOW)
    for name in _NAMES & given.keys():
        for text in _listed(f"{part} {name}", given[name], 1, 40):
            _text(f"{part} {name}", text, empty=name in _HOLLOW)
    return given


def _text(part: str, given: object, *, empty: bool = False) -> str:
    if not isinstance(given, str) or not (given or empty):
        raise ValueError(f"{part} must be a text, got {given!r}")
    return given


def _listed(part: str, given: object, least: int, most: float = math.inf) -> Sequence[Any]:
    if not isinstance(given, Sequence) or isinstance(given, str) or not least <= len(given) <= most:
        ends = "one or more" if most == math.inf else f"{least} to {most}"
        size = len(given) if isinstance(given, Sequence) else type(given).__name__
        raise ValueError(f"{part} must be a list of {ends}, got {size}")
    return given


def _one_of(part: str, known: Iterable[str], given: Any) -> str:
    if given not in list(known):
        raise ValueError(f"{part} must be one of {', '.join(known)}, got {given!r}")
    return str(given)


def _values(part: str, told: Mapping[str, Any]) -> tuple[list[Any], int]:
    """The values of a control or a clock, from a list or an array, and the place of its start."""
    given = told["values"]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{part} values must be a list, got {type(given).__name__}")
    values = list(given)
    if len(values) < 2:
        raise ValueError(f"{part} must have two or more values, got {values}")
    if told["start"] not in values:
        raise ValueError(f"{part} starts at {told['start']!r}, which is none of its values")
    return values, values.index(told["start"])


def _control(part: str, given: object) -> dict[str, Any]:
    # Of the project whose module runs, which the process that it is forked from has not imported.
    from serving_mathematics.support.digits import one_of_many

    told = _fields(part, given, {"label", "values", "start"}, {"text"})
    values, start = _values(part, told)
    text = str(told.get("text", "{}"))
    texts = [one_of_many(text.format(value)) for value in values]
    if len(set(texts)) < len(texts):
        raise ValueError(f"{part} has two values that read alike: {texts}")
    counted = all(isinstance(value, numbers.Real) for value in values)
    names = {} if counted or all(text[:1].isdigit() for text in texts) else {"names": True}
    return {"label": told["label"], "texts": texts, "start": start} | names


def _clock(given: object, shape: tuple[int, ...]) -> dict[str, Any]:
    """The times of all frames, and what happens meanwhile: start, end and words, in all runs or for
    each.
    """
    told = _fields("clock", given, {"label", "unit", "values", "start"}, {"decimals", "events"})
    times, start = _values("clock", told)
    plain = {name: told[name] for name in told if name not in ("start", "events")}
    found = _quantity("clock", plain, [(len(times),)])
    _check_increase("clock", found["values"])
    runs: list[Any] = []
    if events := told.get("events"):
        same = isinstance(events[0], tuple)
        runs = [events] * math.prod(shape) if same else _each_run("clock events", events, shape)
    for event in itertools.chain(*runs):
        begin, end, words = _listed("clock event", event, 3, 3)
        _text("clock event", words)
        if not times[0] <= begin <= end <= times[-1]:
            raise ValueError(f"clock event {event} must be in {times[0], times[-1]}")
    happens = {"events": [list(map(list, run)) for run in runs]} if runs else {}
    return found | {"start": start} | happens


def _quantity(
    part: str, given: object, shapes: Sequence[tuple[int, ...]], absent: bool = False
) -> dict[str, Any]:
    told = _fields(part, given, {"label", "unit", "values"}, {"decimals", "state"})
    decimals = told.get("decimals", 1)
    if not isinstance(decimals, int) or decimals not in range(7):
        raise ValueError(f"{part} decimals must be an integer in [0, 6], got {decimals!r}")
    return {
        "label": told["label"],
        "unit": told["unit"],
        "decimals": decimals,
        "values": _numbers(f"{part} ({told['label']})", told["values"], shapes, absent),
        **({"state": _one_of(f"{part} state", STATES, told["state"])} if "state" in told else {}),
    }


def _panel(part: str, given: object, runs: _Runs) -> dict[str, Any]:
    """A panel by its kind."""
    kind = given.get("kind") if isinstance(given, Mapping) else given
    make, needed, more = _PANELS[_one_of(f"{part} kind", _PANELS, kind)]
    told = _fields(part, given, {"kind", *needed}, more)
    if kind in ("lanes", "curves") and not runs.clock:
        raise ValueError(f"{part} kind {kind} needs a clock")
    if kind in ("load", "dots") and not runs.controls:
        raise ValueError(f"{part} kind {kind} needs a control, along whose values it is drawn")
    return {"kind": kind} | make(part, told, runs)


def _curves(part: str, told: Mapping[str, Any], runs: _Runs) -> dict[str, Any]:
    """Curves, along the first control or against the clock, and the axes that hold them."""
    x = {"x": _along(part, told, runs)} if "x" in told else {}
    shape = runs.controls if x else runs.moving
    curves = [
        _quantity(f"{part} curves[{i}]", curve, [shape], runs.absent)
        for i, curve in enumerate(_listed(f"{part} curves", told["curves"], 1))
    ]
    if "shade" in told and len(curves) != 2:
        raise ValueError(f"{part} shade must be between two curves, got {len(curves)}")
    drawn = [value for curve in curves for value in curve["values"]]
    y = _axis(f"{part} y", told["y"], drawn, {"log", "range", "limit"})
    return {**x, "y": y, "curves": curves} | ({"shade": told["shade"]} if "shade" in told else {})


def _along(part: str, told: Mapping[str, Any], runs: _Runs) -> dict[str, Any]:
    """The axis of the first control, with its values."""
    along = _numbers("controls[0]", runs.along, [runs.controls[:1]])
    _check_increase("controls[0], which runs along the axis,", along)
    return _axis(f"{part} x", told["x"], along, {"log", "range"}) | {"values": along}


def _lanes(part: str, told: Mapping[str, Any], runs: _Runs) -> dict[str, Any]:
    """Bars in lanes along the clock, or along an axis of their own, for each of its frames: the
    index of the lane, start, end, state, and a text at its end where there is one.
    """
    lanes = list(told["lanes"])
    axis, times, shape = {}, runs.clock["values"] if runs.clock else [0], runs.controls
    if told["kind"] == "bars":
        axis["x"] = _axis(f"{part} x", told["x"], [0, 1e300], {"range"})
        times, shape = axis["x"]["range"], runs.moving
        if "range" not in told["x"]:
            del axis["x"]["range"]
    bars = []
    for run in _each_run(f"{part} bars", told["bars"], shape):
        kept = []
        for bar in run:
            if not isinstance(bar, Sequence) or len(bar) not in (4, 5):
                raise ValueError(f"{part} bars must be (lane, start, end, state), got {bar!r}")
            lane, start, end, state, *words = bar
            where = f"{part} bars ({lane}, {start}, {end}, {state})"
            _one_of(f"{where} lane", lanes, lane)
            span = _numbers(where, [start, end], [(2,)])
            if not (start < end and times[0] <= span[0] and span[1] <= times[-1]):
                raise ValueError(f"{where} must start before its end, in {times[0], times[-1]}")
            texts = [_text(f"{where} text", word) for word in words]
            kept.append([lanes.index(lane), *span, _one_of(where, STATES, state), *texts])
        bars.append(kept)
    return {"label": told["label"], "lanes": lanes, "bars": bars} | axis


def _cells(part: str, told: Mapping[str, Any], runs: _Runs) -> dict[str, Any]:
    """A table of states, for each run its rows; a column without a name is a gap."""
    rows, columns = len(told["rows"]), len(told["columns"])
    cells = _each_run(f"{part} cells", told["cells"], runs.controls)
    for run in cells:
        for row in _listed(f"{part} cells of a run", run, rows, rows):
            for state in _listed(f"{part} cells of a row", row, columns, columns):
                _one_of(f"{part} cells", STATES, state)
    names = {name: list(told[name]) for name in ("rows", "columns")}
    return {"label": told["label"], **names, "cells": cells}


def _dots(part: str, told: Mapping[str, Any], runs: _Runs) -> dict[str, Any]:
    """Values along the axis of the first control, as many for each setting of the others."""
    shape = (*runs.controls[1:], np.shape(told["dots"])[-1])
    dots = _numbers(f"{part} dots", told["dots"], [shape])
    return {"label": told["label"], "x": _along(part, told, runs), "dots": dots}


def _each_run(part: str, given: Any, shape: tuple[int, ...]) -> list[Any]:
    """What is given for each run, the last control varying fastest."""
    if not shape:
        return [given]
    inner = _listed(f"{part} for each value of a control", given, shape[0], shape[0])
    return [run for one in inner for run in _each_run(part, one, shape[1:])]


def _engine(part: str, told: Mapping[str, Any], runs: _Runs) -> dict[str, Any]:
    """One engine or several, each with its places, who is in and who waits."""
    engines = list(told.get("engines", ()))
    full = (*runs.moving, *([len(engines)] if engines else []))
    found: dict[str, Any] = {"label": told.get("label", ""), "engines": engines}
    for name in [n for n in ("places", "running", "prompts", "waiting") if n in told]:
        shapes = [(), runs.controls, full] if name == "places" else [full]
        found[name] = _numbers(f"{part} {name}", told[name], shapes)
        for value in found[name]:
            if not 0 <= value <= 1e4 or not isinstance(value, int):
                raise ValueError(f"{part} {name} must be integers to 10000, got {value}")
    places = np.repeat(found["places"], math.prod(full) // len(found["places"]))
    for name, of, most in (("running", "places", places), ("prompts", "running", found["running"])):
        for i, n in enumerate(found.get(name, ())):
            if n > most[i]:
                at = tuple(map(int, np.unravel_index(i, full)))
                told_at = f"got {n} of {most[i]} at {at}"
                raise ValueError(f"{part} {name} must be at most {of}, {told_at}")
    return found | ({"of": told["of"]} if "of" in told else {})


_Make = Callable[[str, Mapping[str, Any], _Runs], dict[str, Any]]
_PANELS: dict[str, tuple[_Make, set[str], set[str]]] = {  # the fields that it needs and may have
    "engine": (_engine, {"places", "running"}, {"label", "prompts", "waiting", "engines", "of"}),
    "lanes": (_lanes, {"label", "lanes", "bars"}, set()),
    "bars": (_lanes, {"label", "lanes", "bars", "x"}, set()),
    "cells": (_cells, {"label", "rows", "columns", "cells"}, set()),
    "dots": (_dots, {"label", "x", "dots"}, set()),
    "curves": (_curves, {"y", "curves"}, {"shade"}),
    "load": (_curves, {"x", "y", "curves"}, set()),
}


def _legend(given: object, panels: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The states that the pictures show, with their words."""
    words = STATES | dict(_fields("legend", given, set(), set(STATES)))
    there = {bar[3] for panel in panels for run in panel.get("bars", ()) for bar in run}
    there |= {s for p in panels for run in p.get("cells", ()) for row in run for s in row}
    there |= {"answer", "broken"} if any("dots" in panel for panel in panels) else set()
    for engine in (panel for panel in panels if panel["kind"] == "engine"):
        more = {"prompts": "prompt", "waiting": "waits"}
        there |= {"answer", "free", *(state for part, state in more.items() if part in engine)}
    return {state: _text(f"legend {state}", words[state]) for state in STATES if state in there}


def _check_increase(part: str, values: Sequence[float]) -> None:
    if any(after <= before for before, after in itertools.pairwise(values)):
        raise ValueError(f"{part} must have numbers that increase in 4 digits, got {values}")


def _numbers(
    part: str, given: object, shapes: Sequence[tuple[int, ...]], absent: bool = False
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
        if f"{rounded:g}".endswith("5"):  # what says it rounds it again
            rounded = float(f"{value:.6g}")
        found.append(int(rounded) if rounded.is_integer() else rounded)
    return found


def _axis(part: str, given: object, values: Sequence[Any], more: set[str]) -> dict[str, Any]:
    """Title, scale and range of an axis; the range holds all values unless it is given."""
    told = _fields(part, given, {"label", "unit"}, more)
    there = [value for value in values if value is not None]
    if not there:
        raise ValueError(f"{part} has no value anywhere")
    log = bool(told.get("log", False))
    low, high = told.get("range") or (min(there) if log else min(0, *there), max(there))
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{part} range must be finite and increase, got {(low, high)}")
    if log and min(low, *there) <= 0:
        raise ValueError(f"{part} is logarithmic and must be positive, got {min(low, *there)}")
    axis = {"label": told["label"], "unit": told["unit"], "log": log}
    axis["range"] = [float(low), float(high)]
    if "limit" in told:
        limit = _fields(f"{part} limit", told["limit"], {"at", "label"}, set())
        if not low <= limit["at"] <= high:
            raise ValueError(f"{part} limit must be in {(low, high)}, got {limit['at']!r}")
        axis["limit"] = {"at": float(limit["at"]), "label": limit["label"]}
    return axis


def _check_sentences(found: Mapping[str, Any]) -> None:
    """The reading names what there is, with labels in braces where their values go, and every curve
    along a control and every readout; what is said where a value is missing, what never is.
    """
    clock = [found["clock"]] if "clock" in found else []
    parts = [*found["controls"], *clock, *curves_of(found)]
    labels = [part["label"] for part in parts]
    if len(set(labels)) < len(labels):
        raise ValueError(f"labels must differ, got {labels}")
    there = [part["label"] for part in parts if None not in part.get("values", ())]
    for sentence, known in (("reading", labels), ("absent", there)):
        if unknown := set(_NAME.findall(found[sentence])) - set(known):
            raise ValueError(f"{sentence} names {sorted(unknown)}, which is none of {known}")
    timed = [c["label"] for p in found["panels"] if p["kind"] == "curves" for c in p["curves"]]
    must = {part["label"] for part in curves_of(found)} - set(timed)
    if silent := must - set(_NAME.findall(found["reading"])):
        raise ValueError(f"reading never says {sorted(silent)}")
