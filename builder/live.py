"""What runs in the reader's browser: a module, edited or not, its checks, and its figures.

The page's worker (docs/assets/live-worker.js) loads Python, puts this file and `figures.py` beside
the chapter's modules, and calls `run`, or `answer` for a page with a form.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ABSENT = (ImportError, NotImplementedError, OSError)  # what asking for a socket or a process raises
LACKING = ("can't start new thread", "stack switch")  # of RuntimeErrors: threads, asyncio.run


def run(name: str, tell: Callable[[str, Any], object]) -> dict[str, Any]:
    """Import a module anew, run its checks and draw its figures.

    name: dotted, in the package. tell: called with "figure" and (name, caption, light SVG, dark
    SVG) for each figure as it is drawn; everything else is printed. Returns how many comparisons
    passed, what each got, and how many functions failed or need what a browser lacks.
    """
    for loaded in [m for m in sys.modules if m.partition(".")[0] == "serving_mathematics"]:
        del sys.modules[loaded]
    importlib.invalidate_caches()
    counts: dict[str, Any] = {"passed": 0, "got": [], "failed": 0, "absent": 0}
    try:
        from serving_mathematics.support import checks

        module = importlib.import_module(f"serving_mathematics.{name}")
    except BaseException as problem:
        _report(problem, "import", counts)
        return counts
    for title, check in checks.functions(module, "check_").items():
        with checks.recording() as rows:
            try:
                checks.show(check)
            except BaseException as problem:
                _report(problem, title, counts)
        counts["passed"] += sum(row.passed for row in rows)
        counts["got"] += [[row.label, row.got] for row in rows]
    for title, figure in checks.functions(module, "figure_").items():
        try:
            tell("figure", _drawn(name, title, figure))
        except BaseException as problem:
            _report(problem, title, counts)
    return counts


def answer(name: str, function: str, text: str, tell: Callable[[str, str], object]) -> str:
    """What a function of a module makes of a text.

    name: dotted, in the package. function: its name; it gets text and tell. tell: called with
    "status" and what the reader should see while it works.
    """
    module = importlib.import_module(f"serving_mathematics.{name}")
    found: str = getattr(module, function)(text, tell)
    return found


def _drawn(name: str, title: str, draw: Callable[..., Any]) -> tuple[str, str, str, str]:
    from figures import house_style, light_and_dark  # type: ignore[import-not-found]
    from matplotlib.figure import Figure

    package = sys.modules["serving_mathematics"].__file__ or ""
    style = Path(package).with_name("house.mplstyle")
    short = title.removeprefix("figure_")
    with house_style(style):
        figure = Figure()
        draw(figure)
        light, dark = light_and_dark(figure, f"live.{name}.{short}")
    caption = " ".join((draw.__doc__ or short).split("\n\n")[0].split())
    return short, caption, light, dark


def _report(problem: BaseException, title: str, counts: dict[str, Any]) -> None:
    """Print what went wrong, and where in the chapter's code."""
    if isinstance(problem, ABSENT) or any(words in str(problem) for words in LACKING):
        counts["absent"] += 1
        print(f"NOT HERE {title}: needs what a browser lacks ({problem})")
        return
    counts["failed"] += 1
    frames = traceback.extract_tb(problem.__traceback__)
    own = [frame for frame in frames if "/serving_mathematics/" in frame.filename]
    places = "".join(traceback.format_list([f for f in own if "checks.py" not in f.filename]))
    error = "".join(traceback.format_exception_only(problem)).strip()
    print(f"FAIL {title}\n{places}{error}")
