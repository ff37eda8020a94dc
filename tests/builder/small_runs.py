"""Modules that run without a process of their own, and end as a test says; and a module
whose record a worker makes here.
"""

from __future__ import annotations

import importlib
import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from builder import PACKAGE, SOURCES, runner, worker
from builder.source import Sources, module_path

from ..clockwork import Clock

ENDS = {  # of a module: the seconds it took, its exit status, and what it had left
    "part.fine": (3.0, 0, {}),
    "part.failed": (2.0, 0, {"failures": 2}),
    "part.lacks": (1.0, 0, {}),
    "part.hangs": (0.0, -signal.SIGALRM, {"step": "7 check_it"}),
    "part.crashes": (0.0, -signal.SIGSEGV, {"step": "9 figure_it"}),
    "part.exits": (0.0, 3, {}),
    "part.changes": (0.125, 0, {}),
    "part.stranger": (0.0, -99, {}),
}


def _ended(root: Path, name: str, folder: Path) -> int:
    """Leave a record, or what there is without one, and say how the module ended."""
    took, status, left = ENDS[name]
    folder.mkdir()
    (folder / worker.STEP).write_text(left.get("step", "1 import"), encoding="utf-8")
    if status:
        return status
    record = worker.empty_record()
    record |= {"seconds": {"import": 0.125, "b": took}}
    record["failures"] = ["some.py:4: check_it: E: m"] * left.get("failures", 0)
    (folder / "line-light.svg").write_text("<svg/>", encoding="utf-8")
    worker.leave(folder, name, record)
    if name == "part.changes":
        path = module_path(root, name)
        path.write_text(f"{path.read_text(encoding='utf-8')}A = 1\n", encoding="utf-8")
    return status


@contextmanager
def workers() -> Iterator[tuple[Clock, list[str]]]:
    """Run modules without processes: the clock, and what was started."""
    clock, told = Clock(now=1e9), list[str]()

    def ends(
        sources: Sources, names: list[str], place: str, limit_s: float
    ) -> Iterator[tuple[str, int]]:
        for name in names:
            told.append(f"{name} within {limit_s:g} s")
            yield name, _ended(sources.root, name, Path(place, name))

    with mock.patch.object(runner, "_ends", ends), mock.patch.object(runner, "time", clock):
        yield clock, told


def write_modules(root: Path) -> None:
    """A file for each end."""
    for path in ("", "part/"):
        folder = root / SOURCES / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    (root / SOURCES / "house.mplstyle").write_text("# style\n", encoding="utf-8")
    for number, name in enumerate(ENDS):
        text = f'"""{name}"""\n' + "B = 2\n" * (number % 5)
        if name == "part.lacks":
            text += "import fastapi\n"
        module_path(root, name).write_text(text, encoding="utf-8")


MODULE = '''"""A module.

With  two paragraphs.
"""

import functools
from types import SimpleNamespace

import numpy as np

from serving_mathematics.support import checks

HINTS = {"one": 1}


def check_right():
    """Two is two,
    they say.

    Source:  a
    book.
    """
    checks.equal("two", 2, 2)
    checks.close("three", 3.0, 3.5, atol=1.0)


def check_nothing():
    pass


def check_wrong():
    """Wrong."""
    checks.equal("two", 2, 3)


def check_swallowed():
    """Swallowed."""
    try:
        checks.equal("two", 2, 4)
    except AssertionError:
        pass


def check_returns():
    """Returns."""
    checks.equal("two", 2, 2)
    return 5


@functools.cache
def check_exits():
    """Ends."""
    raise SystemExit


def figure_line(figure):
    """A line.

    Alt: It is
    straight.

    And more.
    """
    figure.set_size_inches(2, 1.26)
    axes = figure.add_subplot(xlabel="x", ylabel="y")
    axes.plot([0, 1], [0, 1])


def figure_nothing(figure):
    """Nothing."""
    figure.add_subplot()


def figure_words(figure):
    """Words."""
    figure.add_subplot().text(0, 0, "a")


def figure_endless(figure):
    """Endless."""
    figure.add_subplot().plot([0, 1], [np.nan, np.inf])


def figure_returned(figure):
    """Returned."""
    return figure


def slider_line():
    x, y = {"label": "a", "unit": ""}, {"label": "b", "unit": ""}
    curve = {**y, "values": [3, 4]}
    return {
        "controls": [{"label": "a", "values": [1, 2], "start": 1}],
        "panels": [{"kind": "load", "x": x, "y": y, "curves": [curve]}],
        "reading": "{a} {b}",
    }


def slider_alone():
    """Alone."""


def example():
    """Numbers."""
    return SimpleNamespace(a=1, b=np.float64(2.5), c="text", d=np.array(3), e=-1e300)
'''
ODD = [  # what `example` may not return, as text
    "5",
    "SimpleNamespace(a=[1])",
    "SimpleNamespace(a=float('nan'))",
    "SimpleNamespace(a=1, b='x' + chr(7))",
    "SimpleNamespace(a='x' + chr(10) + chr(160) + chr(65))",
    "SimpleNamespace(a=np.zeros(2))",
]


def record_of(root: Path, text: str, name: str = "small.one") -> dict[str, Any]:
    """What a worker would record of a module of this text, here."""
    path = module_path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    module: Any = ModuleType(f"{PACKAGE}.{name}")
    module.__file__ = str(path)
    folder = root / "made"
    folder.mkdir(exist_ok=True)
    run, usual = worker._Run(root, name, folder), importlib.import_module

    def imported(asked: str) -> ModuleType:
        if asked != module.__name__:
            return usual(asked)
        exec(compile(text, path, "exec"), vars(module))
        return module  # type: ignore[no-any-return]

    with (
        mock.patch.object(worker._Run, "watch_files"),
        mock.patch.object(importlib, "import_module", imported),
        redirect_stdout(io.StringIO()),
    ):
        record = run.record()
    record["seconds"] = {name: seconds >= 0 for name, seconds in record["seconds"].items()}
    files = {file.name: file.stat().st_size > 500 for file in sorted(folder.glob("*.svg"))}
    step = (folder / worker.STEP).read_text(encoding="utf-8")
    return record | {"files": files, "step": step}
