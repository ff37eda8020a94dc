"""Runs one snippet module in a process of its own and leaves a run record with its figures in a
folder.

The record is everything that a page shows or a test asserts of the module: checks with their
comparisons, figures with caption and alt text, sliders with their grids, the numbers of
`example()`, the data files that it read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
import importlib
import importlib.machinery
import inspect
import json
import math
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from builder import PACKAGE, SOURCES
from builder.source import CORE, SUPPORT, module_path
from builder.storage import sealed, write_whole

_CONTROL = re.compile(r"[^\n\x20-\x7e\xa0-\U0010ffff]")
RECORD = "record"  # JSON, below its seal
MOST_BYTES = 2**32  # of memory that a module takes: it fails, and not whatever else runs here
GRACE_S = 2.0  # after its limit, for a module that hears no alarm
OTHERS = (".egg-info", "__pycache__")  # ends of folders that are not the project's own
STEP = "step.txt"  # where the module is: line and function
Functions = Mapping[str, Callable[..., Any]]  # by their names


def paragraphs(docstring: str | None) -> list[str]:
    """The paragraphs of a docstring, each on one line."""
    blocks = inspect.cleandoc(docstring or "").split("\n\n")
    return [" ".join(block.split()) for block in blocks if block.strip()]


def paragraph(docstring: str | None, label: str) -> str:
    """The text of the paragraph that starts with `label:`; empty when there is none."""
    found = [p for p in paragraphs(docstring) if p.startswith(f"{label}:")]
    return found[0].removeprefix(f"{label}:").strip() if found else ""


class _FromSource(importlib.machinery.SourceFileLoader):
    """Compiles a module from its text, once. Python goes by the time of the file, and would take
    the bytecode of an edit made in the same second.
    """

    get_code = functools.cache(importlib.machinery.SourceFileLoader.get_code)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """None, without which Python looks for no bytecode."""
        raise OSError(path)


class _Run:
    def __init__(self, root: Path, name: str, folder: Path) -> None:
        self.root, self.name, self.folder = root, name, folder
        self.path = module_path(root, name)
        self.failures: list[str] = []
        self.seconds: dict[str, float] = {}
        self.reads: dict[str, str] = {}
        self.numbers: dict[str, Any] = {}  # of its example
        self.drawn: Functions = {}

    @contextlib.contextmanager
    def step(self, name: str, function: Any = None) -> Iterator[None]:
        """Time what is done meanwhile, and turn whatever it raises into a failure: of a function,
        where it is defined if nothing in the module says more.
        """
        started, line = time.process_time(), _line(function)
        try:
            (self.folder / STEP).write_text(f"{line} {name}", encoding="utf-8")
            yield
        except BaseException as problem:  # also SystemExit must not end the build quietly
            self.failures.append(self.failure(name, problem, line))
        finally:
            self.seconds[name] = time.process_time() - started

    def failure(self, function: str, problem: BaseException, line: int) -> str:
        """Where in the module it went wrong, or for an import in what it imports, and what was
        said.
        """
        message = str(problem).strip() or repr(problem)
        places = [(str(self.path), line)]
        for frame in traceback.extract_tb(problem.__traceback__):
            places.append((frame.filename, frame.lineno or 1))
        if isinstance(problem, SyntaxError):
            places.append((problem.filename or "", problem.lineno or 1))
            message = f"{problem.msg}: {(problem.text or '').strip()}"
        if isinstance(problem, ModuleNotFoundError):
            from serving_mathematics.support.extras import install_command

            brought = install_command(problem.name or "")
            message = f"{message}: {brought}" if brought else message
        own = self.root / SOURCES if function == "import" else self.path
        file, line = [place for place in places if Path(place[0]).is_relative_to(own)][-1]
        where = Path(file).relative_to(self.root).as_posix()
        return f"{where}:{line}: {function}: {type(problem).__name__}: {message}"

    def watch_files(self) -> None:
        """Note every file of the project that the module opens as data, with its content at that
        time, so that its change re-runs the module; and refuse those that it would write, which
        others read, or the next run.
        """

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
                return
            path = Path(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100 (resolves ..)
            if self.root not in path.parents or self.folder.parent in path.parents:
                return
            relative = path.relative_to(self.root)
            name = relative.as_posix()
            if any(p.startswith(".") or p.endswith(OTHERS) for p in relative.parts):
                return
            if arguments[2] & (os.O_WRONLY | os.O_RDWR):
                rule = "a module writes to a temporary folder alone"
                raise PermissionError(f"{name} is a file of the project: {rule}")
            if relative.suffix != ".py" and name not in self.reads:
                self.reads[name] = ""  # hashing opens it as well
                self.reads[name] = file_digest(path)

        sys.addaudithook(hook)

    def figure(self, name: str, function: Callable[..., Any]) -> dict[str, Any]:
        from matplotlib.figure import Figure

        from builder import captions, figures

        with figures.house_style(self.root / SOURCES / "house.mplstyle"):
            figure = Figure()
            returned = function(figure)
            if returned is not None:
                raise TypeError(f"{name} draws on the figure that it gets and returns nothing")
            drawn = [axes for axes in figure.axes if axes.has_data()]
            if not drawn and not any(axes.patches or axes.texts for axes in figure.axes):
                raise ValueError(f"{name} drew nothing")
            if any(figures.nothing_finite(axes) for axes in drawn):
                raise ValueError(f"{name} drew axes without a finite number")
            short = name.removeprefix("figure_")
            light, dark = figures.light_and_dark(figure, f"{self.name}.{short}")
            shown = captions.drawn(figure) + captions.written(self.path.read_text("utf-8"))
        card = figures.without_words(light)
        drawings = {"light": light, "dark": dark}
        drawings |= {"light-card": card, "dark-card": figures.on_dark(card)}
        for variant, svg in drawings.items():
            write_whole(self.folder / f"{short}-{variant}.svg", svg.encode())
        told = paragraphs(function.__doc__)
        if wrong := captions.untrue(" ".join(told), shown, self.numbers.values()):
            problem = ValueError(
                f"the docstring says {', '.join(wrong)}, which is neither drawn nor a number"
                " that the figure is drawn with nor a field of example(): correct it, or"
                " compute it where it can be seen"
            )
            self.failures.append(self.failure(name, problem, _line(function)))
        width, height = figure.get_size_inches()
        return {
            "caption": [text for text in told if not text.startswith("Alt:")],
            "alt": paragraph(function.__doc__, "Alt"),
            "name": short,
            "width": round(width * 96),
            "height": round(height * 96),
            "labels": [[axes.get_xlabel(), axes.get_ylabel()] for axes in drawn if axes.axison],
        }

    def slider(self, name: str, function: Callable[[], Any]) -> dict[str, Any]:
        """The grid of a slider, which belongs to a figure of its name."""
        from builder.sliders import grid

        short = name.removeprefix("slider_")
        if f"figure_{short}" not in self.drawn:
            raise ValueError(f"{name} needs figure_{short}, which stands in its place on paper")
        lead = (paragraphs(function.__doc__) or [""])[0]
        return {"name": short, "lead": lead, "data": grid(function())}

    def record(self) -> dict[str, Any]:
        """Import the module and run its checks, example, figures and sliders, in this order."""
        self.watch_files()
        found, module = empty_record(), None
        with self.step("import"):
            module = importlib.import_module(f"{PACKAGE}.{self.name}")
        if module is not None:
            self.fill(found, module)
        reads = dict(sorted(self.reads.items()))
        return found | {"seconds": self.seconds, "failures": self.failures, "reads": reads}

    def fill(self, found: dict[str, Any], module: ModuleType) -> None:
        """Enter into a record what comes out of a module."""
        from serving_mathematics.support.checks import functions, recording

        with self.step("HINTS"):
            hints = vars(module).get("HINTS", {})
            found["hints"] = {str(name): str(hint) for name, hint in hints.items()}
        for name, check in functions(module, "check_").items():
            with recording() as rows, self.step(name, check):
                _compare(name, check, rows)
            told = {"name": name, "line": _line(check)}
            told["comparisons"] = [dataclasses.asdict(row) for row in rows]
            told["claim"] = (paragraphs(check.__doc__) or [name])[0]
            found["checks"].append(told | {"source": paragraph(check.__doc__, "Source")})
        if (example := vars(module).get("example")) is not None:
            with self.step("example", example):
                found["example"] = self.numbers = _numbers(example())
        self.drawn = functions(module, "figure_")
        for name, function in self.drawn.items():
            with self.step(name, function):
                found["figures"].append(self.figure(name, function))
        for name, function in functions(module, "slider_").items():
            with self.step(name, function):
                found["sliders"].append(self.slider(name, function))


def _numbers(result: object) -> dict[str, Any]:
    """The fields of what `example` returned."""
    if not isinstance(result, SimpleNamespace):
        raise TypeError(f"example must return a SimpleNamespace, got {type(result).__name__}")
    values = {}
    for key, value in vars(result).items():
        plain = value.item() if getattr(value, "shape", None) == () else value
        endless = isinstance(plain, float) and not math.isfinite(plain)
        if type(plain) not in (int, float, str) or endless:
            raise TypeError(f"example field {key} must be a number or a text, got {value!r}")
        if isinstance(plain, str) and (odd := _CONTROL.search(plain)):
            raise TypeError(f"example field {key} holds the control character {odd[0]!r}")
        values[key] = plain
    return values


def _compare(name: str, check: Callable[[], Any], rows: Sequence[Any]) -> None:
    """Run a check. rows: what it compares meanwhile, which must be something that holds."""
    returned = check()
    if not rows:
        raise AssertionError(f"{name} compared nothing")
    for row in rows:
        if not row.passed:
            raise AssertionError(str(row))
    if returned is not None:
        raise TypeError(f"{name} returned {returned!r}; a check returns nothing")


def empty_record() -> dict[str, Any]:
    """The record of a module that did not get as far as its import."""
    keys = ("checks", "figures", "sliders", "failures", "needs")
    lists: dict[str, Any] = {key: [] for key in keys}
    return lists | {"example": {}, "hints": {}, "seconds": {}, "reads": {}}


def _line(function: Any) -> int:
    """Where a function is defined, whatever decorates it."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_firstlineno if code else 1


def file_digest(path: Path) -> str:
    """The content of a data file as a hash; `absent` for a file that is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "absent"


def leave(folder: Path, name: str, record: dict[str, Any]) -> None:
    """Write a module's record, whole or not at all, with a hash of every file beside it."""
    step = folder / STEP
    files = {file.name: file_digest(file) for file in sorted(folder.iterdir()) if file != step}
    whole = json.dumps(record | {"files": files}, indent=1)
    write_whole(folder / RECORD, sealed(name, whole.encode()))
    step.unlink(missing_ok=True)


def serve() -> None:
    """Entry of the process that modules fork from, some at a time: each in a child, which may
    crash. Tells their exit statuses. Whatever a module has started and left in its group ends with
    it, and all the more when nobody asks any more.
    """
    sys.dont_write_bytecode = True  # a watched folder must not change because it was read
    warnings.simplefilter("error", RuntimeWarning)  # dividing by zero gives a wrong number
    # a product's flag says nothing: libraries raise it where all is finite (numpy's issue 28687)
    warnings.filterwarnings("ignore", ".* encountered in matmul", RuntimeWarning)
    warnings.simplefilter("error", UserWarning)  # a layout that failed, a glyph that is missing
    with contextlib.suppress(ValueError):  # where less is allowed
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    if not (order := sys.stdin.readline()).endswith("\n"):  # who asks has ended meanwhile
        return
    root, place, timeout_s, at_once, asked = json.loads(order)
    snippets = Path(root, "snippets")
    sys.path_hooks.insert(0, functools.partial(_finder, snippets))
    sys.path.insert(0, str(snippets))
    running: dict[int, tuple[str, int, float]] = {}  # name, process and end by what it holds open
    try:
        while asked or running:
            while asked and len(running) < at_once:
                name, files = asked.pop(0)
                (folder := Path(place, name)).mkdir()
                _share(folder, snippets, files, timeout_s)
                over, held = os.pipe()
                if not (child := os.fork()):
                    end = os.fdopen(held, "wb")
                    os.register_at_fork(after_in_child=end.close)  # who is forked may live on
                    main(Path(root), name, folder, timeout_s)
                os.close(held)
                running[over] = name, child, time.monotonic() + timeout_s + GRACE_S
            rest_s = min(late for *_, late in running.values()) - time.monotonic()
            ended, _, _ = select.select([sys.stdin, *running], [], [], max(0.0, rest_s))
            if sys.stdin in ended:
                break
            for over, (name, child, late) in [*running.items()]:
                if over in ended or time.monotonic() > late:
                    end_group(child)
                    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                    told = [name, status if over in ended else -signal.SIGALRM]
                    print(json.dumps(told), flush=True)
                    os.close(over)
                    del running[over]
    finally:
        for _, child, _ in running.values():
            end_group(child)


def _finder(folder: Path, place: str) -> importlib.machinery.FileFinder:
    """What finds the modules of a folder, in one that lies in it."""
    if not Path(place).is_relative_to(folder):
        raise ImportError(place)  # for Python's own
    return importlib.machinery.FileFinder(place, (_FromSource, [".py"]))


def _share(folder: Path, snippets: Path, files: Sequence[str], timeout_s: float) -> None:
    """Import what a module stands on as others do before it is forked, which reads no data while it
    is imported, and compile the rest. What fails here fails there again, and is told.
    """
    (folder / STEP).write_text("1 import", encoding="utf-8")
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    with contextlib.redirect_stdout(None):
        for file in files:
            parts = Path(file).relative_to(snippets).with_suffix("").parts
            module = ".".join(parts).removesuffix(".__init__")
            with contextlib.suppress(BaseException):
                if parts[1] in (CORE, SUPPORT, "__init__"):
                    importlib.import_module(module)
                else:
                    _FromSource(module, file).get_code(module)
    gc.freeze()  # what is loaded here stays
    signal.setitimer(signal.ITIMER_REAL, 0)


def end_group(leader: int) -> None:
    """End a process and what it started."""
    for end in (os.killpg, os.kill):  # of one that has just begun there is no group yet
        with contextlib.suppress(OSError):
            end(leader, signal.SIGKILL)


def main(root: Path, name: str, folder: Path, timeout_s: float) -> None:
    """Run one module, leave its record in `folder`, and end this process, at the latest after
    `timeout_s`. What the module left to do at exit, or in threads, is not waited for.
    """
    try:
        os.setsid()  # whatever the module starts is in its group; Linux shares time by sessions
        signal.setitimer(signal.ITIMER_REAL, timeout_s)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        record = _Run(root, name, folder).record()
        signal.setitimer(signal.ITIMER_REAL, 0)
        leave(folder, name, record)
        os._exit(0)
    finally:
        os._exit(1)
