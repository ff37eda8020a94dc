"""The numbers that pages quote, that sliders and figures show and that checks compare, as they were
when somebody last looked at them: `python -m tests.shown` says which have changed and keeps them as
they are now.

A check asks whether a number is right. Most numbers of a page are none of a check's: they are made
of functions that are checked. Should one of them change without anybody's intention, this is where
it is seen; should it change with an intention, the change of the file shows a reviewer which
numbers it moved.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from serving_mathematics.checks import Comparison, recording

from builder import PACKAGE, ROOT, SOURCES, figures, sliders
from builder.source import module_names, module_path

from .recorded import HERE

FOLDER = Path(__file__).with_name("numbers")
DIGITS = 12  # of a number that is kept
NEAR = 1e-6  # two numbers differ by no more of their size where only the machine is another
ROUNDED = 2e-3  # the same for sliders, whose numbers are rounded to four digits
APART = 0.5  # sums of a figure's coordinates differ by no more [pt], which are rounded to 0.01

UNSTEADY = {"engine.llama_model.check_no_place_sees_what_follows": "in single precision"}

Numbers = Mapping[str, Any]
_NUMBER = re.compile(r"-?\b\d+(?:\.\d+)?(?:e[-+]?\d+)?\b")


def modules() -> list[str]:
    """The names of modules that pages quote, or whose sliders, figures and checks they have. Those
    that need more packages are left out: their checks start servers."""
    shows = re.compile(rb"^def (?:example\(|slider_|figure_|check_)", re.MULTILINE)
    names = [name for name in module_names(ROOT) if ".exercises." not in name]
    shown = [name for name in names if shows.search(module_path(ROOT, name).read_bytes())]
    return [name for name in shown if not HERE.sources.needs(name)]


def numbers_of(name: str) -> dict[str, Any]:
    """What a module's page quotes, its sliders and figures show and its checks compare, from its
    record or, where there is none of this content, by calling the functions."""
    run = HERE.record_of(name)
    if run and not run.failed:
        shown = {f"slider_{one['name']}": one["data"] for one in run.record["sliders"]}
        for one in run.record["figures"]:
            svg = (run.folder / f"{one['name']}-light.svg").read_text(encoding="utf-8")
            shown[f"figure_{one['name']}"] = drawn(svg)
        for one in run.record["checks"]:
            if f"{name}.{one['name']}" in UNSTEADY:
                continue
            shown[one["name"]] = [told(Comparison(**row)) for row in one["comparisons"]]
        return run.record["example"] | shown
    module = vars(importlib.import_module(f"{PACKAGE}.{name}"))
    found: dict[str, Any] = {}
    if "example" in module:
        fields = vars(module["example"]()).items()
        found = {name: value.item() if hasattr(value, "item") else value for name, value in fields}
    for title, function in module.items():
        if title.startswith("slider_"):
            found[title] = sliders.grid(function())
        elif title.startswith("check_") and f"{name}.{title}" not in UNSTEADY:
            with recording() as rows:
                function()
            found[title] = [told(row) for row in rows]
        elif title.startswith("figure_"):
            with figures.house_style(ROOT / SOURCES / "house.mplstyle"):
                figure = Figure()
                function(figure)
                found[title] = drawn(figures.light_and_dark(figure, title)[0])
    return found


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


def kept(name: str, folder: Path = FOLDER) -> Numbers:
    """The same, as it was."""
    path = folder / f"{name.partition('.')[0]}.json"
    return read(path).get(name, {}) if path.is_file() else {}


def read(path: Path) -> dict[str, Numbers]:
    """A file of them, by module."""
    found: dict[str, Numbers] = json.loads(path.read_text(encoding="utf-8"))
    return found


def unchanged(field: str, was: Any, now: Any) -> bool:
    """Whether a field shows the same."""
    near = ROUNDED if field.startswith("slider_") else NEAR
    return same(was, now, near, APART if field.startswith("figure_") else 1e-9)


def changes(
    was: Numbers, now: Numbers, unchanged: Callable[[str, Any, Any], bool] = unchanged
) -> Iterator[str]:
    """A line for each field that is another, new or gone."""
    for field in [*now, *(field for field in was if field not in now)]:
        if field not in was:
            yield f"{field} is new: {_short(now[field])}"
        elif field not in now:
            yield f"{field} is gone, it was {_short(was[field])}"
        elif not unchanged(field, was[field], now[field]):
            yield f"{field} was {_short(was[field])} and is {_short(now[field])}"


def renewed(was: Numbers, now: Numbers, unchanged: Callable[[str, Any, Any], bool]) -> Numbers:
    """What is so now, in the digits that it had where it has not changed."""
    return {f: was[f] if f in was and unchanged(f, was[f], n) else n for f, n in now.items()}


def same(was: Any, now: Any, near: float = NEAR, apart: float = 1e-9) -> bool:
    """Whether two values are equal, but for the last digits of numbers that are not whole."""
    if isinstance(was, dict) and isinstance(now, dict):
        return was.keys() == now.keys() and all(same(was[k], now[k], near, apart) for k in was)
    if isinstance(was, list) and isinstance(now, list):
        pairs = zip(was, now, strict=False)
        return len(was) == len(now) and all(same(*pair, near, apart) for pair in pairs)
    if isinstance(was, int | float) and isinstance(now, int | float):
        of_size = 1e-9 if float(was).is_integer() else near
        return math.isclose(was, now, rel_tol=of_size, abs_tol=apart)
    if isinstance(was, str) and isinstance(now, str) and _NUMBER.search(was):
        words, others = _NUMBER.split(was), _NUMBER.split(now)
        numbers = ([float(number) for number in _NUMBER.findall(text)] for text in (was, now))
        return words == others and same(*numbers, near, apart)
    return bool(was == now)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _rounded(value: Any) -> Any:
    """A value with no more digits than are kept."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


def write(numbers: Mapping[str, Numbers], folder: Path = FOLDER) -> None:
    """Keep them: a file for each part, a line for each field."""
    for old in folder.glob("*.json"):
        old.unlink()
    folder.mkdir(exist_ok=True)
    for part in dict.fromkeys(name.partition(".")[0] for name in numbers):
        texts = []
        for name in sorted(n for n in numbers if n.partition(".")[0] == part):
            lines = [
                f"  {json.dumps(field)}: {json.dumps(_rounded(value), ensure_ascii=False)}"
                for field, value in sorted(numbers[name].items())
            ]
            texts.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
        text = "{\n" + ",\n".join(texts) + "\n}\n"
        (folder / f"{part}.json").write_text(text, encoding="utf-8")


def main() -> None:
    """Say what has changed, and keep it, and nothing else."""
    found = {}
    for name in modules():
        was, now = kept(name), numbers_of(name)
        for line in changes(was, now):
            print(f"{name}: {line}")
        found[name] = renewed(was, now, unchanged)
    write(found)


if __name__ == "__main__":
    main()
