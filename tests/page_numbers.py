"""The numbers that pages quote, that sliders and figures show and that checks compare, as
`python -m tests.keep` keeps them.

A check asks whether a number is right. Most numbers of a page are none of a check's: they are made
of functions that are checked. Should one of them change without anybody's intention, this is where
it is seen; should it change with an intention, the change of the file shows a reviewer which
numbers it moved.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from typing import Any

from serving_mathematics.support.checks import Comparison

from builder import ROOT
from builder.runner import run_all
from builder.source import holds_exercises, module_names, module_path

from .recorded import HERE

FAILS = "fails"
_REFUSAL = re.compile(r"\w+ with “")
UNSTEADY = {"engine.llama_model.check_no_place_sees_what_follows": "in single precision"}


@functools.cache
def modules() -> list[str]:
    """The names of modules that pages quote, or whose sliders, figures and checks they have. Those
    that need more packages are left out: their checks start servers."""
    shows = re.compile(rb"^def (?:example\(|slider_|figure_|check_)", re.MULTILINE)
    names = [name for name in module_names(ROOT) if not holds_exercises(name)]
    shown = [name for name in names if shows.search(module_path(ROOT, name).read_bytes())]
    return [name for name in shown if not HERE.sources.needs(name)]


def numbers_of(name: str) -> dict[str, Any]:
    """What a module's page quotes, its sliders and figures show and its checks compare, from its
    record, which is made where there is none of this content: by a process of its own, since
    constants may be held in this one. Raises AssertionError where other than a check fails.
    """
    (run,) = run_all(HERE.sources, names=[name], again=False)
    shown = {f"slider_{one['name']}": moving(one["data"]) for one in run.record["sliders"]}
    for one in run.record["figures"]:
        svg = (run.folder / f"{one['name']}-light.svg").read_text(encoding="utf-8")
        shown[f"figure_{one['name']}"] = drawn(svg)
    for one in run.record["checks"]:
        shown |= compared(one["name"], [Comparison(**row) for row in one["comparisons"]])
    for failure in run.record["failures"]:
        _, function, _, *message = failure.split(": ", 3)
        if not function.startswith("check_"):
            raise AssertionError(failure)
        shown[function] = f"{FAILS}: {' '.join(message)}"
    shown = {title: value for title, value in shown.items() if f"{name}.{title}" not in UNSTEADY}
    return run.record["example"] | shown


def moving(data: Any) -> Any:
    """A slider as it is kept: of what changes with the frames, how many numbers there
    are, and their sum with changing weights."""
    if "clock" not in data:
        return data
    text = json.dumps(data["panels"] + data["readouts"])
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?", text)]
    weighted = (number * weight for number, weight in zip(numbers, itertools.cycle(range(1, 8))))
    kept = {name: data[name] for name in ("controls", "reading", "legend")}
    return kept | {"numbers": [len(numbers), round(sum(weighted), 1)]}


def compared(check: str, rows: list[Comparison]) -> dict[str, list[str]]:
    """What a check compared, but for refusals."""
    kept = [told(row) for row in rows if not _REFUSAL.match(row.expected)]
    return {check: kept} if kept else {}


def fails(value: Any) -> bool:
    """Whether it stands for a check that fails."""
    return isinstance(value, str) and value.startswith(f"{FAILS}: ")


def told(row: Comparison) -> str:
    """A comparison as it is kept: what may be anything near 0 is an error of rounding."""
    got = "about 0" if row.expected == "0" and row.tolerance.startswith("±") else row.got
    return f"{row.label}: {got}, {row.expected} ({row.tolerance})"


def drawn(svg: str) -> list[float]:
    """How many coordinates a drawing has, and their sum with changing weights: another curve, text
    or range of an axis has others."""
    places = " ".join(re.findall(r' (?:d|x|y|transform)="([^"]*)"', svg))
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", places)]
    weighted = (number * weight for number, weight in zip(numbers, itertools.cycle(range(1, 8))))
    return [len(numbers), round(sum(weighted), 1)]
