"""What runs in the reader's browser: a module, edited or not, its checks, and its figures.

The page's worker (docs/assets/live-worker.js) loads Python, puts this file and `figures.py` beside
the chapter's modules, and calls `run`, `call` or `judge`, or `answer` for a page with a form.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ABSENT = (ImportError, NotImplementedError, OSError)  # what asking for a socket or a process raises
LACKING = ("can't start new thread", "stack switch")  # of RuntimeErrors: threads, asyncio.run
OWN = "/serving_mathematics/"  # in the path of what is ours, in errors


def run(name: str, source: str, tell: Callable[[str, Any], object]) -> dict[str, Any]:
    """Import a module as it was edited, run its checks and draw its figures.

    name: dotted, in the package. source: of the module, which takes the place of its file for this
    run. tell: called with "figure" and (name, caption, light SVG, dark SVG) for each figure as it
    is drawn; everything else is printed. Returns how many comparisons passed, what each got, and
    how many functions failed or need what a browser lacks.
    """
    counts = _none()
    package = Path(_imported().__file__ or "").parent
    file = package / f"{name.replace('.', '/')}.py"
    before = file.read_bytes() if file.exists() else b""
    file.write_text(source, encoding="utf-8")
    linecache.clearcache()  # or a warning shows the line of the run before
    try:
        with _told(counts, "import"):
            module = _imported(name)
            _show(module, None, counts, tell)
    finally:
        file.write_bytes(before)
    return counts


def call(name: str, source: str, lines: str, tell: Callable[[str, Any], object]) -> dict[str, Any]:
    """Put functions in the place of a module's own, run some lines, and then those checks of the
    module that use the functions.

    name: of the module. source: the functions, as they were edited. lines: of Python; what each
    expression gives is printed. tell, and what is returned: as of `run`.
    """
    counts = _none()
    with _told(counts, "import"):
        module = _imported(name)
        before = dict(vars(module))
        with _told(counts, typed=True):
            exec(_code(source, "edited"), vars(module))
            own = {key for key, it in vars(module).items() if before.get(key) is not it}
            exec(_code(lines, "call", session=True), vars(module))
            if not own:
                print("The editor defines nothing: these are the module's own functions.")
            _show(module, own, counts, tell)
    return counts


def judge(name: str, source: str, names: str, _: Callable[[str, Any], object]) -> dict[str, Any]:
    """Hold a reader's functions against the checks of the exercises that ask for them.

    name: of the module of exercises. source: the functions. names: of the exercises. Prints a
    verdict for each, and returns what `run` does.
    """
    counts = _none()
    with _told(counts, "import"):
        module = _imported(name)
        from serving_mathematics import exercises

        chapter = name.removesuffix(".exercises").replace("_", "-").replace(".", "/")
        space = {key: value for key, value in vars(module).items() if key not in names.split()}
        with _told(counts, typed=True):
            exec(_code(source, "answer"), space)
            asked = (one for one in names.split() if not isinstance(getattr(module, one), type))
            for one in asked:
                if one in space:
                    told = exercises.verify(chapter, space[one], one)
                    counts["passed"] += told.passed
                    counts["failed"] += not told.right
                    print(told)
                else:
                    counts["failed"] += 1
                    print(f"{one} is not defined; keep the name that the exercise gives it.")
    return counts


def _none() -> dict[str, Any]:
    return {"passed": 0, "got": [], "failed": 0, "absent": 0}


def _imported(name: str = "") -> ModuleType:
    """The module, or the package, imported anew."""
    for loaded in [m for m in sys.modules if m.partition(".")[0] == "serving_mathematics"]:
        del sys.modules[loaded]
    importlib.invalidate_caches()
    return importlib.import_module(f"serving_mathematics.{name}".rstrip("."))


def _show(
    module: ModuleType,
    own: set[str] | None,
    counts: dict[str, Any],
    tell: Callable[[str, Any], object],
) -> None:
    """Run the checks of a module and draw its figures: all, or the checks that use one of these
    names and the figures that have one.
    """
    from serving_mathematics.exercises import names_used
    from serving_mathematics.support import checks

    for title, check in checks.functions(module, "check_").items():
        if own is None or not own.isdisjoint(names_used(check, module)):
            with checks.recording() as rows, _told(counts, title):
                checks.show(check)
            counts["passed"] += sum(row.passed for row in rows)
            counts["got"] += [[row.label, row.got] for row in rows]
    figures: Mapping[str, Any] = checks.functions(module, "figure_")
    style = Path(sys.modules["serving_mathematics"].__file__ or "").with_name("house.mplstyle")
    for title in (name for name in figures if own is None or name in own):
        with _told(counts, title):
            from figures import house_style, light_and_dark  # type: ignore[import-not-found]
            from matplotlib.figure import Figure

            short, draw = title.removeprefix("figure_"), figures[title]
            with house_style(style):
                figure = Figure()
                draw(figure)
                light, dark = light_and_dark(figure, f"live.{module.__name__}.{short}")
            caption = " ".join((draw.__doc__ or short).split("\n\n")[0].split())
            tell("figure", (short, caption, light, dark))


def _code(source: str, title: str, *, session: bool = False) -> CodeType:
    """Code whose annotations are not evaluated: `compile` takes over this file's `__future__`.

    title: what an error calls the place of the code. session: whether what each expression gives is
    printed, as by a prompt.
    """
    file = f"{OWN}{title}"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    tree = ast.parse(source, file)
    if session:
        return compile(ast.Interactive(tree.body), file, "single")
    return compile(tree, file, "exec")


def answer(name: str, function: str, text: str, tell: Callable[[str, str], object]) -> str:
    """What a function of a module makes of a text.

    name: dotted, in the package. function: its name; it gets text and tell. tell: called with
    "status" and what the reader should see while it works.
    """
    module: Any = importlib.import_module(f"serving_mathematics.{name}")
    return str(getattr(module, function)(text, tell))


@contextlib.contextmanager
def _told(counts: dict[str, Any], title: str = "", *, typed: bool = False) -> Iterator[None]:
    """Print and count what goes wrong meanwhile: where in the chapter's code, or, unless a reader
    typed it, what a browser lacks for it.
    """
    try:
        yield
    except BaseException as problem:
        lacks = isinstance(problem, ABSENT) or any(words in str(problem) for words in LACKING)
        counts["absent" if lacks and not typed else "failed"] += 1
        if lacks and not typed:
            print(f"NOT HERE {title}".rstrip() + f": needs what a browser lacks ({problem})")
            return
        frames = traceback.extract_tb(problem.__traceback__)
        own = [frame for frame in frames if OWN in frame.filename]
        places = "".join(traceback.format_list([f for f in own if "checks.py" not in f.filename]))
        error = "".join(traceback.format_exception_only(problem)).strip()
        print(f"FAIL {title}".rstrip() + f"\n{places}{error}")
