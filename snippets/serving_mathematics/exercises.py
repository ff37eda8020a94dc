"""Tell a reader whether an answer to an exercise is right, against the example of its contract and
inputs that no page prints.

A chapter's exercises live in `snippets/serving_mathematics/<part>/<chapter>/exercises.py`:
solutions, and `check_*` functions that hold a solution against something independent. Here the
reader's function takes the place of the solution while its example and those checks run.
"""

# In one piece: what judges an answer is one for the command, the tests and a reader's browser,
# which gets it with every download.

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib
import inspect
import io
import math
import os
import re
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics.support import checks

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

FOLDER = Path(__file__).parent
MOST = 120  # characters of an input that are shown
USAGE = """\
serving-mathematics exercises                                 list the chapters
serving-mathematics exercises definitions/utilization         print functions to fill in
serving-mathematics exercises definitions/utilization FILE    check the answers in FILE
serving-mathematics exercises definitions/utilization --hint  print the hints; with FILE, of
                                                              what is not right yet
verify("definitions/utilization", busy_from_log)              in a notebook cell
verify("definitions/utilization", busy_from_log, hint=True)   with a hint"""
PATIENCE_S = 5  # more, for an answer that goes on, and then its process is ended
TIME_S = 60  # for a file of answers, and for each answer; where a process can be woken


class ExerciseError(ValueError):
    """A chapter, an exercise or a file of answers that is not there, or cannot be read."""


@dataclass(frozen=True, repr=False)
class Verdict:
    """What the checks said of one answer: how many comparisons passed, and what went wrong."""

    exercise: str
    passed: int
    problem: str
    hint: str  # empty unless it was asked for

    @property
    def right(self) -> bool:
        """True when every comparison passed, and there were some."""
        return not self.problem

    def __repr__(self) -> str:
        """One line, and below it the hint of an answer that is wrong, where one was asked for."""
        if self.right:
            compared = f"{self.passed} comparison{'s' * (self.passed != 1)}"
            return f"{self.exercise}: right, {compared} passed"
        hint = f"\n    Hint: {self.hint}" if self.hint else ""
        return f"{self.exercise}: not yet. {self.problem}{hint}"


def chapters() -> list[str]:
    """Every chapter with exercises, as in the address of its page."""
    folders = sorted(file.parent for file in FOLDER.glob("*/*/exercises.py"))
    return [f"{folder.parent.name}/{folder.name.replace('_', '-')}" for folder in folders]


def exercises(chapter: str) -> tuple[ModuleType, dict[str, Callable[..., Any]]]:
    """The module of a chapter's exercises, and its solutions by name.

    Raises ExerciseError when there is no such chapter.

    >>> sorted(exercises("capacity/littles-law")[1])[0]
    'latency_from_gauge'
    """
    if chapter not in chapters():
        raise ExerciseError(_no_chapter(chapter))
    package = chapter.replace("-", "_").replace("/", ".")
    module = importlib.import_module(f"serving_mathematics.{package}.exercises")
    own = {
        name: function
        for name, function in checks.functions(module, "").items()
        if not name.startswith(("_", "check_", "figure_")) and name not in ("example", "main")
    }
    return module, own


def _no_chapter(given: str) -> str:
    """What to say of a chapter that is not there: the one that was meant, or which there are."""
    known = chapters()
    slugs = {chapter.partition("/")[2]: chapter for chapter in known}
    part, _, slug = given.strip("/").replace("_", "-").replace(".", "/").partition("/")
    near = difflib.get_close_matches(slug or part, slugs, 1, 0.75)
    if near:
        return f"there is no chapter {given!r}; did you mean {slugs[near[0]]}?"
    there = [chapter for chapter in known if chapter.startswith(f"{part}/")]
    if there:
        return f"there is no chapter {given!r}; {part} has {', '.join(there)}"
    return f"chapter must be one of {', '.join(known)}, got {given!r}"


def verify(
    chapter: str, answer: Callable[..., Any], name: str | None = None, *, hint: bool = False
) -> Verdict:
    """Run the example and the checks of an exercise with the answer in the place of its solution.

    chapter: as in the address of the page. answer: the reader's function. name: the exercise, by
    default the name of the answer. hint: whether the verdict on a wrong answer gives one. Bad input
    must be refused with a `ValueError` that says something; in which words is the reader's choice.
    Raises ExerciseError when there is no such exercise.
    """
    module, solutions = exercises(chapter)
    name = str(name or getattr(answer, "__name__", ""))
    if name not in solutions:
        raise ExerciseError(
            f"{chapter} has no exercise {name!r}{_meant(name, solutions)}"
            f" Its exercises are {', '.join(solutions)}"
        )
    told = getattr(module, "HINTS", {}).get(name, "") if hint else ""
    found = {
        title: check
        for title, check in checks.functions(module, "check_").items()
        if name in names_used(check, module)
    }
    passed, problem = 0, "" if found else "no check looks at this exercise"
    found = {"example": functools.partial(_as_printed, module, solutions[name])} | found
    calls = _Calls(answer, solutions[name])
    with _in_its_place(module, name, calls.noted):
        for title, check in sorted(found.items(), key=lambda item: "refused" in item[0]):
            with checks.recording() as rows, contextlib.redirect_stdout(io.StringIO()):
                calls.asked = calls.returned = ""
                calls.refusing = "refused" in title
                try:
                    check()
                except (Exception, SystemExit) as failure:
                    problem = _told(failure, rows, title, calls)
            passed += sum(row.passed for row in rows)
            if problem:
                break
    return Verdict(name, passed, problem, told)


def _as_printed(module: ModuleType, solution: Callable[..., Any]) -> None:
    """The example of a contract gives what is printed there."""
    import doctest  # which only an answer needs

    space = dict(vars(module))
    for example in doctest.DocTestParser().get_examples(inspect.getdoc(solution) or ""):
        if not example.want:
            exec(example.source, space)
            continue
        got = eval(example.source, space)
        alike = _alike(got, ast.literal_eval(example.want))
        checks.holds("the printed example", alike, got=_shown(got))


def _alike(got: Any, printed: Any) -> bool:
    """Whether a value is the printed one, but for the last digits of a float: they depend on the
    order in which one computes."""
    got = got.tolist() if isinstance(got, np.ndarray | np.generic) else got
    if isinstance(printed, tuple | list):
        same = isinstance(got, tuple | list) and len(got) == len(printed)
        return same and all(map(_alike, got, printed))
    if isinstance(printed, float):
        return _is_number(got) and math.isclose(got, printed, rel_tol=1e-9, abs_tol=1e-12)
    return bool(got == printed)


class _OtherKind(Exception):
    """An answer that is not of the kind that the solution's is."""


class _Calls:
    """An answer that notes what it was asked last, and what it returned, which is a number where
    the solution's is one."""

    def __init__(self, answer: Callable[..., Any], solution: Callable[..., Any]) -> None:
        self.asked = self.returned = ""
        self.file = getattr(getattr(answer, "__code__", None), "co_filename", "")
        self.refusing = False
        one_number = solution.__annotations__.get("return") in ("float", "int")

        @functools.wraps(answer)
        def noted(*given: Any, **named: Any) -> Any:
            known = list(inspect.signature(answer).parameters)[: len(given)]
            keys = [*(known if len(known) == len(given) else [""] * len(given)), *named]
            values = [_shown(value) for value in (*given, *named.values())]
            words = [
                f"{key}={value}" if key else value for key, value in zip(keys, values, strict=True)
            ]
            self.asked = f"{getattr(answer, '__name__', 'it')}({', '.join(words)})"
            self.returned = ""
            found = answer(*given, **named)
            self.returned = _shown(found)
            if one_number and not self.refusing and not _is_number(found):
                raise _OtherKind(self.returned)
            return found

        self.noted = noted


def _is_number(value: Any) -> bool:
    """Whether it is one real number, also in an array without a shape."""
    value = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return isinstance(value, Real | Decimal)


def _shown(value: Any) -> str:
    """An input in a line: the ends of what is long, the kind of what has no short text."""
    text = repr(value) if isinstance(value, str) else checks._text(value)
    return text if len(text) <= MOST else f"{type(value).__name__} {text[:MOST]}…"


@contextlib.contextmanager
def _in_its_place(module: ModuleType, name: str, answer: Callable[..., Any]) -> Iterator[None]:
    """The answer in the place of the solution, and refusals judged by their kind alone."""
    judged = checks.raises
    places = [(vars(checks), "raises")]  # and where a module imports it by its name
    places += [(vars(module), key) for key, value in vars(module).items() if value is judged]
    solution = vars(module)[name]
    vars(module)[name] = answer
    for names, key in places:
        names[key] = _refused
    try:
        yield
    finally:
        vars(module)[name] = solution
        for names, key in places:
            names[key] = judged


def _refused(
    label: str,
    function: Callable[..., object],
    *args: Any,
    match: str,  # noqa: ARG001 (the solution's words, which nobody can guess)
    error: type[Exception] = ValueError,
    **kwargs: Any,
) -> None:
    """In the place of `checks.raises`: the call must raise `error` with some words."""
    try:
        answer = checks._text(function(*args, **kwargs))
        got = f"{answer} where a {error.__name__} is due"
    except error as refusal:
        got = f"{error.__name__}: {refusal}" if str(refusal) else f"{error.__name__} without a word"
        checks.holds(label, bool(str(refusal)), got=got)
    else:
        checks.holds(label, False, got=got)


def _meant(given: str, known: Iterable[str]) -> str:
    """Which exercise was meant, of this chapter or of another; empty where none is likely."""
    near = difflib.get_close_matches(given, [*known], 1)
    if near:
        return f"; did you mean {near[0]}?"
    homes = [chapter for chapter in chapters() if given in exercises(chapter)[1]]
    return f", which is one of {homes[0]}." if homes else "."


def _told(failure: BaseException, rows: list[checks.Comparison], title: str, calls: _Calls) -> str:
    """What went wrong, and for which inputs, without the expected value: that would be the
    answer.
    """
    if isinstance(failure, NotImplementedError):
        return "It is not written: it raises NotImplementedError."
    asked = f", asked {calls.asked}" if calls.asked else ""
    if isinstance(failure, _OtherKind):
        return f"It must return a number, got {failure}{asked}."
    wrong = [row for row in rows if not row.passed]
    if not wrong:
        places = traceback.extract_tb(failure.__traceback__)
        where = ([place for place in places if place.filename == calls.file] or places)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        asked += f", which returned {calls.returned}" if calls.returned else ""
        return f"{type(failure).__name__}: {failure} ({place}{asked})"
    label, got = wrong[0].label, wrong[0].got
    if "refused" in title:
        return f"{label}: got {got}{asked}. It is right where the input is."
    if not calls.returned or calls.returned == got:
        return f"{label}: got {got}{asked}."
    if wrong[0].tolerance.endswith("standard errors"):  # either of the two is the answer
        return f"{label}: got {calls.returned}{asked}; a simulation gives another number."
    return f"{label}: got {got}; the last call, {calls.asked}, returned {calls.returned}."


def names_used(function: Callable[..., Any], module: ModuleType) -> set[str]:
    """Every global name that a function uses, also through other functions of its module.

    >>> from serving_mathematics.capacity.littles_law import littles_law
    >>> "_sojourns" in names_used(littles_law.number_in_system, littles_law)
    True
    """
    seen: set[str] = set()
    pending = [inspect.unwrap(function).__code__]
    while pending:
        code = pending.pop()
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for name in set(code.co_names) - seen:
            seen.add(name)
            value = inspect.unwrap(vars(module).get(name, len))
            if getattr(value, "__module__", "") == module.__name__ and inspect.isfunction(value):
                pending.append(value.__code__)
    return seen


def unwritten(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A solution without its body: the signature and the contract."""
    function.body = [*function.body[:1], *ast.parse("raise NotImplementedError").body]
    return ast.unparse(function)


def stubs(chapter: str) -> str:
    """The exercises of a chapter as functions to fill in: imports, signatures and contracts.

    Of names that other modules have only those come that a solution uses.
    """
    module, solutions = exercises(chapter)
    body = ast.parse(inspect.getsource(module)).body
    asked = [node for node in body if isinstance(node, ast.FunctionDef) and node.name in solutions]
    given = [node for node in body if isinstance(node, ast.ClassDef) and node.name != "Example"]
    used = set(re.findall(r"\w+", "\n".join(map(ast.unparse, [*asked, *given]))))
    head = [f'"""Exercises of {chapter}."""\n']
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            node.names = [one for one in node.names if one.name in used]
            head += [ast.unparse(node)] * bool(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in used
        ):
            head.append(ast.unparse(node))
    shown = [
        unwritten(node) if node in asked else ast.unparse(node)
        for node in body
        if node in [*asked, *given]
    ]
    return "\n\n\n".join(["\n".join(head) + "\n", *(f"{text}\n" for text in shown)])


def answers(file: Path, within_s: float = TIME_S) -> dict[str, Callable[..., Any]]:
    """The functions that a file defines. Raises ExerciseError when it cannot be run."""
    if file.exists() and not file.is_file():
        raise ExerciseError(f"{file} must be a file of Python, got a folder, pipe or device")
    try:
        with _in_time(within_s):
            found = runpy.run_path(str(file), run_name="answers")
    except FileNotFoundError as problem:
        raise ExerciseError(f"there is no file {file}") from problem
    except (Exception, SystemExit) as problem:
        text = traceback.format_exception_only(problem)[-1].strip()
        lines = [
            f.lineno for f in traceback.extract_tb(problem.__traceback__) if f.filename == str(file)
        ]
        line = f":{getattr(problem, 'lineno', None) or ''}".rstrip(":")
        line = f":{lines[-1]}" if lines else line
        raise ExerciseError(f"{file}{line} cannot be run: {text}") from problem
    return {
        name: value
        for name, value in found.items()
        if callable(value)
        and not inspect.isclass(value)  # what a function returns, printed with the stubs
        and getattr(value, "__module__", "") == "answers"
    }


@contextlib.contextmanager
def _in_time(within_s: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer; once more each second, if it goes on."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def end(*_: object) -> None:
        raise TimeoutError(f"it did not end within {within_s:g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, within_s, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _here(
    chapter: str,
    file: Path,
    hint: bool,
    names: list[str],
    within_s: float,
    tell: Callable[[Any], object],
) -> None:
    """Check the answers of a file to exercises by name, and tell of them: which functions it
    defines or why it cannot be run, then a name before each exercise and its verdict after it."""
    try:
        given = answers(file, within_s)
        tell(set(given))
        for name in [name for name in names if name in given]:
            tell(name)
            with _in_time(within_s):
                verdict = verify(chapter, given[name], name, hint=hint)
            tell(verdict)
    except ExerciseError as problem:
        tell(problem)


def _child(parent: int, ours: Connection, asked: tuple[str, Path, bool, list[str], float]) -> None:
    """`_here` in a process of its own, the first of a group, which ends when all is told, whatever
    the answers have started, and with its parent."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    _here(*asked, ours.send)
    with contextlib.suppress(OSError, ValueError):  # closed by an answer
        sys.stdout.flush()
    os._exit(0)


def _apart(chapter: str, file: Path, *, hint: bool) -> tuple[set[str], list[Verdict]]:
    """The functions that a file defines, and the verdicts on its answers, from a process of their
    own: an answer may end it, or never end. Raises ExerciseError as `answers` does."""
    given: set[str] | None = None
    verdicts, left = list[Verdict](), list(exercises(chapter)[1])
    while left:
        name = ended = ""
        for told in _told_apart(chapter, file, hint, left):
            if isinstance(told, ExerciseError):
                raise told
            if isinstance(told, set):
                given = told
            elif isinstance(told, Verdict):
                verdicts, name = [*verdicts, told], ""
                left.remove(told.exercise)
            else:
                name, ended = (told, ended) if told in left else (name, told)
        if not name:
            if given is None:
                raise ExerciseError(f"{file} cannot be run: {ended}")
            name = next((one for one in left if one in given), "")  # none is passed over
        if not name:
            break
        hints = getattr(exercises(chapter)[0], "HINTS", {}) if hint else {}
        verdicts.append(Verdict(name, 0, f"{ended[0].upper()}{ended[1:]}.", hints.get(name, "")))
        left.remove(name)
    order = list(exercises(chapter)[1])
    return given or set(), sorted(verdicts, key=lambda verdict: order.index(verdict.exercise))


def _told_apart(chapter: str, file: Path, hint: bool, names: list[str]) -> Iterator[Any]:
    """What `_here` tells in a process of its own, and last how that ended."""
    import multiprocessing  # which a browser lacks, where nobody has a file of answers

    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    arguments = (os.getpid(), ours, (chapter, file, hint, names, TIME_S))
    process = context.Process(target=_child, args=arguments, daemon=True)
    process.start()
    ours.close()
    try:
        while theirs.poll(TIME_S + PATIENCE_S):
            yield theirs.recv()
        yield f"it did not end within {TIME_S} s"
    except (EOFError, OSError):
        process.join(PATIENCE_S)
        yield f"it ended Python, {_status(process.exitcode)}"
    finally:
        with contextlib.suppress(AttributeError, OSError):  # no groups, or all of it has ended
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.kill()
        process.join()
        theirs.close()


def _status(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with exit status {code}"


def main(arguments: list[str]) -> int:
    """The command; 0 when every answer is right, 1 when one is not, 2 when nothing was checked."""
    hint = "--hint" in arguments
    words = [word for word in arguments if word != "--hint"]
    try:
        if not arguments:
            for chapter in chapters():
                print(f"{chapter:40} {', '.join(exercises(chapter)[1])}")
        elif words[:1] in (["-h"], ["--help"]):
            print(USAGE)
        elif not 1 <= len(words) <= 2 or any(word.startswith("-") for word in words):
            got = " ".join(arguments)[:60]
            raise ExerciseError(f"give a chapter, and a file where it is to be checked, got {got}")
        elif len(words) == 2:
            return _check_file(words[0], Path(words[1]), hint)
        elif hint:
            for name, told in getattr(exercises(words[0])[0], "HINTS", {}).items():
                print(f"{name}: {told}")
        else:
            print(stubs(words[0]), end="")
    except ExerciseError as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


def _check_file(chapter: str, file: Path, hint: bool) -> int:
    _, solutions = exercises(chapter)
    given, verdicts = _apart(chapter, file, hint=hint)
    for name in sorted(given - solutions.keys()):
        near = difflib.get_close_matches(name, solutions.keys() - given, 1)
        if near:
            print(f"{name}: no such exercise; did you mean {near[0]}?", file=sys.stderr)
    if not verdicts:
        raise ExerciseError(f"{file} defines none of {', '.join(solutions)}")
    for verdict in verdicts:
        print(verdict)
    right = all(verdict.right for verdict in verdicts)
    if not right and not hint:
        print("For hints, add --hint.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
