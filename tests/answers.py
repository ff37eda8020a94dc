"""What every public function answers to the call of its example and to a few calls near it, with
the constants and defaults of its module. `python -m tests.keep` keeps them; a test says what moved.

Near a call is the same with one argument moved at a time, or several. A number is moved to a
smaller one, a larger one, 0, 1, one of another size, and to each other number of the call, because
limits are often of that kind, and a number that is text likewise; a sequence is shortened, turned
round, scaled and given a tie; a truth value is turned over; of a container or an object of ours,
what it holds is moved.
Of all these answers those few are kept that tell most: first the call of the example, then those
that take the function's lines in an order that no other took, then those that differ most. A
refusal is no answer: `tests/test_bad_input.py` asks for refusals.
An answer with many numbers is kept as how many there are, the first and the last, and a sum of
their logarithms with changing weights: each of them moves it.

What takes too many steps is not called again, nor what starts a process, opens a socket or writes a
file, and what does not answer twice the same is not kept; null stands in the place of a function
without any answer. An oracle says whether an answer is right. This says only that nobody has
changed it in silence.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import enum
import functools
import importlib
import inspect
import io
import itertools
import math
import random
import re
import resource
import signal
import sys
import time
import types
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from builder import PACKAGE, ROOT
from builder.source import holds_exercises, module_names, module_path

from .test_bad_input import (
    TooSlow,
    calls_of,
    computing_modules,
    copied,
    is_number,
    is_sequence,
    public,
    ring,
)

MOST = 6  # answers of a function that are kept
STEPS = 200_000  # lines that a call may execute
ALL_STEPS = 1_000_000  # lines of all calls of a function, after which no further one is tried
HANGS_S = 2.0  # processor time after which a call is ended that executes few lines and ends never
ALL_S = 6.0  # processor time of all calls of a function: a limit on what executes few lines
FEW = 4  # numbers that are kept one by one
FAR = 999  # times a number is one of another size
MIXED = 12  # calls with several arguments moved, where there are several
BYTES = 6 << 30  # of memory, with numpy and what is imported
MANY = 200  # what is taken of a generator; more numbers in a row are an array
DEEP = 2  # containers in containers of which an element is moved
WORDS = 120  # characters of a text
SAID = 30  # characters of a text that stands at an end of many
TINY = 1e-12  # what is smaller is the rounding of a sum, as 0 is
REFUSED = "refused"  # stands for a refusal, whatever its words
EFFECTS = (
    "socket.",
    "subprocess.",
    "os.fork",
    "os.posix_spawn",
    "os.mkdir",
    "os.remove",
    "os.rename",
)
EFFECTS += ("shutil.", "tempfile.", "time.sleep")
ELSEWHERE = "ends elsewhere where another processor rounds otherwise"
UNSTEADY = {
    "engine.token_engine.model_path": "is of what is installed",
    "core.hardware.calibration.fit": ELSEWHERE,
    "core.hardware.calibration.score": ELSEWHERE,
}

Call = inspect.BoundArguments


class Refused(Exception):
    """A call that an argument, or the function, refuses."""


def near_calls(call: Call) -> Iterator[tuple[str, Call]]:
    """The call, and those with one argument moved, each with what was done."""
    yield "", copied(call)
    numbers = {name: value for name, value in call.arguments.items() if is_number(value)}
    for name, value in call.arguments.items():
        others = [(f"={other}", number) for other, number in numbers.items() if other != name]
        ties = [(how, number) for how, number in others if name in numbers and number != value]
        for how, instead in [*near_values(value), *ties]:
            yield f"{name}{how}", _with(call, name, instead)
    for name, value in numbers.items():
        yield f"{name}*{FAR}", _with(call, name, value * FAR)
    yield from _mixed(call)


def _mixed(call: Call) -> Iterator[tuple[str, Call]]:
    """The call with some of its arguments moved at a time, the same ones in every run."""
    draw = random.Random(" ".join(call.arguments))
    others = {name: list(near_values(value)) for name, value in call.arguments.items()}
    for _ in range(MIXED if len(call.arguments) > 1 else 0):
        changed, told = copied(call), []
        for name, near in others.items():
            if near and draw.random() < 0.6:
                how, changed.arguments[name] = draw.choice(near)
                told.append(f"{name}{how}")
        if len(told) > 1:
            yield ", ".join(told), copied(changed)  # for one of them may change what others get


def _with(call: Call, name: str, value: Any) -> Call:
    return copied(call, **{name: value})


def near_values(value: Any, deep: int = DEEP) -> Iterator[tuple[str, Any]]:
    """Values near a value, each with what was done."""
    if isinstance(value, bool):
        yield " not", not value
    elif isinstance(value, int | np.integer):
        number = int(value)
        yield from (("+1", number + 1), ("=0", 0), ("-1", number - 1), ("+0.5", number + 0.5))
    elif isinstance(value, float | np.floating):
        yield from (("*1.5", value * 1.5), ("=0", 0.0), ("*0.7", value * 0.7), ("=1", 1.0))
    elif value is None:
        yield from (("=1", 1), ("=0.5", 0.5))
    elif isinstance(value, str):
        if re.fullmatch(r"\d+(\.\d+)?", value):
            number = float(value) if "." in value else int(value)
            yield from ((how, str(near)) for how, near in near_values(number))
        yield "[:-1]", value[:-1]
    elif is_sequence(value):
        yield from _sequences(value, deep)
    elif deep and type(value) is dict:
        for key, inner in value.items():
            for how, instead in _nearest(inner, deep):
                yield f"[{key!r}]{how}", value | {key: instead}
    elif deep and dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            if field.init:
                for how, instead in _nearest(getattr(value, field.name), deep):
                    yield f".{field.name}{how}", _replaced(value, field.name, instead)


def _nearest(inner: Any, deep: int) -> Iterator[tuple[str, Any]]:
    return itertools.islice(near_values(inner, deep - 1), 2)


def _replaced(value: Any, field: str, instead: Any) -> Any:
    try:
        return dataclasses.replace(value, **{field: instead})
    except Exception:
        return Refused()


def _sequences(value: Any, deep: int) -> Iterator[tuple[str, Any]]:
    items = list(value)

    def alike(items: list[Any]) -> Any:
        if not isinstance(value, np.ndarray):
            return type(value)(items)
        found = np.array(items)
        with contextlib.suppress(OverflowError):  # of small integers
            if value.dtype.kind not in "iu" or found.dtype.kind != "f" or not items:
                return np.array(items, value.dtype)
        return found

    if not items:
        return
    yield "[:-1]", alike(items[:-1])
    if deep and len(items) > 1:
        yield "[::-1]", alike(items[::-1])
        yield "[-1]=[0]", alike([*items[:-1], items[0]])
        yield "[:0]", alike([])
    if all(map(is_number, items)):
        whole = all(isinstance(item, int | np.integer) for item in items)
        changed = [int(item) + 1 if whole else item * 1.5 for item in items]
        yield ("+1" if whole else "*1.5"), alike(changed)
        yield "[0]+0.5", alike([items[0] + 0.5, *items[1:]])
        yield " in one row", alike([items])
    if deep:
        for how, instead in _nearest(items[0], deep):
            if type(value) in (list, tuple) or np.shape(instead) == np.shape(items[0]):
                yield f"[0]{how}", alike([instead, *items[1:]])


def answer(function: Callable[..., Any], call: Call) -> Any:
    """What a call answers, in a few numbers or words that JSON can hold. Raises Refused where it
    answers nothing.
    """
    if any(isinstance(value, Refused) for value in call.arguments.values()):
        raise Refused
    printed = io.StringIO()
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
                found = function(*call.args, **call.kwargs)
                parts = list(leaves(found))
    except MemoryError:  # is of the machine
        raise
    except Exception as problem:
        raise Refused from problem
    return reduced([*parts, printed.getvalue()] if printed.getvalue() else parts)


def leaves(value: Any, deep: int = 0) -> Iterator[Any]:
    """The numbers and words in a value, arrays of numbers whole, and what kind other things are."""
    if isinstance(value, enum.Enum):
        yield value.name
    elif isinstance(value, np.generic):
        yield from leaves(value.item(), deep)
    elif value is None or isinstance(value, bool | int | float | str):
        yield value
    elif isinstance(value, complex):
        yield from (value.real, value.imag)
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield from value.shape[1:]
        yield value
    elif deep > 6 or isinstance(value, type | types.ModuleType):
        yield type(value).__name__
    elif isinstance(value, argparse.ArgumentParser):
        for option in value._actions:
            yield from leaves([option.option_strings, option.help, option.default], deep + 1)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(key, deep + 1)
            yield from leaves(inner, deep + 1)
    elif isinstance(value, set | frozenset):
        yield from leaves(sorted(value, key=repr), deep + 1)
    elif isinstance(value, list | tuple) and len(value) > MANY and _are_numbers(value):
        yield np.array(value)
    elif isinstance(value, list | tuple | np.ndarray | Iterator):
        for inner in itertools.islice(value, MANY) if isinstance(value, Iterator) else value:
            yield from leaves(inner, deep + 1)
    elif type(value).__module__.startswith(PACKAGE):
        yield from _object(value, deep)
    else:
        yield type(value).__name__


def _are_numbers(values: Sequence[Any]) -> bool:
    """Whether all are numbers that an array holds as they are."""
    return {*map(type, values)} <= {int, float} and max(map(abs, values)) < 2**63


def _object(value: Any, deep: int) -> Iterator[Any]:
    names = [field.name for field in dataclasses.fields(value)] if is_record(value) else []
    for name, what in vars(type(value)).items():
        names += [name] if isinstance(what, property) and not name.startswith("_") else []
    for name in names:
        try:
            inner = getattr(value, name)
        except Exception:
            inner = REFUSED
        yield from leaves(inner, deep + 1)
    if not names:
        yield type(value).__name__


def is_record(value: object) -> bool:
    """Whether an object is a dataclass's."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def reduced(parts: list[Any]) -> Any:
    """The same, in few numbers: as they are, or how many, both ends, and a sum."""
    count = sum(part.size if isinstance(part, np.ndarray) else 1 for part in parts)
    if count <= FEW:
        plain = [_plain(x) for part in parts for x in np.ravel(part).tolist()]
        return plain[0] if len(plain) == 1 else plain
    numbers = _numbers(parts)
    near = np.round(np.clip(numbers, -1e280, 1e280), 12)
    logs = np.copysign(np.log1p(np.abs(near) / TINY), near)
    weighted = float(logs @ (1 + np.arange(len(logs)) % 7))
    ends = [_end(part, place) for part, place in ((parts[0], 0), (parts[-1], -1))]
    return {"of": len(numbers), "ends": ends, "sum": weighted}


def _end(part: Any, place: int) -> Any:
    """The first or the last of many, of a text its first words."""
    if isinstance(part, np.ndarray):
        return _plain(part.ravel()[place].item()) if part.size else "nothing"
    return _plain(part[:SAID] if isinstance(part, str) else part)


def _numbers(parts: list[Any]) -> np.ndarray:
    """What stands for each part in the sum, those of an array one by one."""
    found = []
    for array, several in itertools.groupby(parts, lambda part: isinstance(part, np.ndarray)):
        if array:
            found += [part.ravel().astype(float) for part in several]
        else:
            found.append(np.array([x for part in several for x in _stand_for(part)], float))
    return np.nan_to_num(np.concatenate(found), nan=math.pi)


def _stand_for(part: Any) -> list[float]:
    if isinstance(part, str):
        words, numbers = _told_in(part)
        return [float(zlib.crc32(words.encode("utf-8", "replace")) % 9973), *numbers]
    return [math.e if part is None else min(max(part, -(10**300)), 10**300)]


def _told_in(text: str) -> tuple[str, list[float]]:
    """A text without its decimal fractions, and these: their last digits are the processor's."""
    if "." not in text:
        return text, []
    return _FRACTION.sub("…", text), [float(number) for number in _FRACTION.findall(text)]


def _plain(part: Any) -> Any:
    """A number or words as JSON has them, and long words as a number that stands for them."""
    if part is None:
        return "None"
    if isinstance(part, str) and len(part) > WORDS:
        words, numbers = _told_in(part)
        return [len(words), zlib.crc32(words.encode("utf-8", "replace")), *numbers]
    if isinstance(part, int) and abs(part) > 2**53:
        return float(part) if abs(part) < 10**300 else f"{len(str(part))} digits"
    return str(part) if isinstance(part, float) and not math.isfinite(part) else part


_FRACTION = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


class _Effect(BaseException):
    """Raised where a call reaches beyond the process; not ended by what it catches."""


_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        writes = event == "open" and any(letter in str(arguments[1]) for letter in "wax+")
        if writes or event.startswith(EFFECTS):
            raise _Effect(event)


def watched() -> None:
    """From here on to the end of the process, `limited` sees what happens."""
    sys.dont_write_bytecode = True  # of what a function imports
    sys.addaudithook(_watch)
    signal.signal(signal.SIGPROF, ring(TooSlow))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, resource.RLIM_INFINITY))


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """What takes longer or reaches beyond the process is ended."""
    global _watching
    signal.setitimer(signal.ITIMER_PROF, seconds)
    _watching = True
    try:
        yield
    finally:
        _watching = False
        signal.setitimer(signal.ITIMER_PROF, 0)


Way = tuple[int, int, int]


def traced(function: Callable[..., Any], call: Call) -> tuple[Any, set[Way], int]:
    """What a call answers, the ways that it takes from line to line in the function's module, and
    how many lines it executes. Raises Refused, and TooSlow after too many lines.
    """
    ways, steps, home = set[Way](), 0, inspect.getfile(function)

    def enter(frame: types.FrameType, _: str, __: Any) -> Any:
        place = frame.f_code.co_filename
        return step_of(frame.f_code.co_firstlineno, place == home) if PACKAGE in place else None

    def step_of(first: int, own: bool) -> Any:
        last = first

        def step(frame: types.FrameType, event: str, _: Any) -> Any:
            nonlocal last, steps
            if event == "line":
                steps += 1
                if steps > STEPS:
                    raise TooSlow
                if own:
                    ways.add((first, last, frame.f_lineno))
                    last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        return answer(function, call), ways, steps
    finally:
        sys.settrace(before)


def calls(name: str) -> Iterator[tuple[str, Callable[..., Any], Iterator[tuple[str, Call]]]]:
    """The public functions of a module with their names, each with its calls, that of its example
    first."""
    for title, function, call in calls_of(name):
        if f"{name}.{title}" not in UNSTEADY:
            made = near_calls(call)
            yield title, function, ((f"{title}({how})", call) for how, call in made)


@functools.cache
def modules() -> list[str]:
    """The names of all modules; of those that need more than numpy, constants alone are kept."""
    return [name for name in module_names(ROOT) if not holds_exercises(name)]


def constants(name: str) -> dict[str, Any]:
    """What is constant in a module: values in capitals, the defaults of public functions and of
    fields, and limits of types."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    body = ast.parse(inspect.getsource(module)).body
    assigned = [
        name.id
        for line in body
        if isinstance(line, ast.Assign | ast.AnnAssign)
        for target in (line.targets if isinstance(line, ast.Assign) else [line.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Name) and name.id.isupper() and not name.id.startswith("_")
    ]
    found = {title: reduced(list(leaves(vars(module)[title]))) for title in assigned}
    for title, function in public(module).items():
        given = inspect.signature(function).parameters.values()
        if defaults := [one.default for one in given if one.default is not one.empty]:
            found[title] = reduced(list(leaves(defaults)))
    for title, kind in vars(module).items():
        if isinstance(kind, type) and kind.__module__ == module.__name__:
            fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
            if said := [one.default for one in fields if one.default is not dataclasses.MISSING]:
                found[title] = reduced(list(leaves(said)))
    for title, told in _written_in(body).items():  # limits of types, and of fields
        if title[0] not in "(_" and found.keys().isdisjoint((title, title.partition(".")[0])):
            found[title] = told
    return found


def written(name: str) -> dict[str, Any]:
    """What is constant in a module that needs packages which may be absent, as it is written:
    values, defaults and fields; of what is no literal, such as a type with limits, the numbers."""
    return _written_in(ast.parse(module_path(ROOT, name).read_text(encoding="utf-8")).body)


def _written_in(body: list[ast.stmt]) -> dict[str, Any]:
    values: list[tuple[str, ast.expr]] = []
    for line in body:
        if isinstance(line, ast.Assign):
            values.append((ast.unparse(line.targets[0]), line.value))
        elif isinstance(line, ast.FunctionDef) and not line.name.startswith(("_", "check_")):
            given = [*line.args.defaults, *filter(None, line.args.kw_defaults)]
            values += [(line.name, ast.Tuple(given))] if given else []
        elif isinstance(line, ast.ClassDef):
            for field in line.body:
                if isinstance(field, ast.AnnAssign):
                    both = ast.Tuple([field.annotation, *filter(None, [field.value])])
                    values.append((f"{line.name}.{ast.unparse(field.target)}", both))
    found: dict[str, Any] = {}
    for title, value in values:
        try:
            found[title] = reduced(list(leaves(ast.literal_eval(value))))
        except ValueError:
            held = [one.value for one in ast.walk(value) if isinstance(one, ast.Constant)]
            if numbers := [one for one in held if is_number(one)]:
                found[title] = reduced(numbers)
    return found


def all_constants(name: str) -> dict[str, Any]:
    """The constants of a module, as they are or, where it needs more packages, as written."""
    return constants(name) if name in computing_modules() else written(name)


def answers(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the functions of a module answer to the calls that are known; of a function without
    any, that nothing is kept."""
    found: dict[str, Any] = {}
    for title, function, made in calls(name) if name in computing_modules() else ():
        wanted = {key for key in known if key.partition("(")[0] == title}
        if not wanted or known.get(f"{title}()", 0) is None:
            found[f"{title}()"] = None
            continue
        for key, call in made:
            if key in wanted:
                with contextlib.suppress(Refused):
                    found[key] = answer(function, call)
    return found


def worth_keeping(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with answers that are chosen where a function has none, or where fewer than half of
    those that are known are left.
    """
    found = answers(name, known)
    for title, function, made in calls(name) if name in computing_modules() else ():
        wanted = [key for key in known if key.partition("(")[0] == title]
        if wanted and sum(key in found for key in wanted) * 2 > len(wanted):
            continue
        for key in [key for key in found if key.partition("(")[0] == title]:
            del found[key]
        found |= telling(tried(function, made)) or {f"{title}()": None}
    return found


Tried = dict[str, tuple[Any, set[Way]]]


def tried(function: Callable[..., Any], made: Iterator[tuple[str, Call]]) -> Tried:
    """What calls answer, and the ways that they take, without what is not to be called again; of
    nothing, where the call of the example is none to be called again."""
    found: Tried = {}
    steps, began = 0, time.process_time()
    for key, call in made:
        if steps > ALL_STEPS or time.process_time() - began > ALL_S:
            break
        try:
            with limited(HANGS_S):
                first, ways, more = traced(function, copied(call))
            steps += more
            with limited(HANGS_S):
                if answer(function, copied(call)) == first:
                    found[key] = (first, ways)
        except (TooSlow, _Effect, MemoryError):
            steps += STEPS
        except Refused:
            pass
        if key.endswith("()") and not found:
            break
    return found


def telling(found: Tried) -> dict[str, Any]:
    """The few answers that tell most."""
    chosen: dict[str, Any] = {}
    covered = set[Way]()
    nearest = dict.fromkeys(found, math.inf)
    while len(chosen) < MOST:
        rest = [key for key in found if key not in chosen and nearest[key] > 0]
        if not rest:
            break
        key = max(rest, key=lambda one: (len(found[one][1] - covered), nearest[one]))
        key = key if chosen else rest[0]
        chosen[key] = found[key][0]
        covered |= found[key][1]
        for one in rest:
            nearest[one] = min(nearest[one], _apart(found[one][0], found[key][0]))
    return chosen


def _apart(one: Any, other: Any) -> float:
    """How far two answers are from each other: 0 where they are the same, at most 1 a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        one, other = ([x["of"], *x["ends"], x["sum"]] for x in (one, other))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return math.fsum(_apart(*pair) for pair in zip(one, other, strict=True))
    if is_number(one) and is_number(other):
        size = max(abs(one), abs(other))
        apart = abs(one - other) / size if size > TINY else 0.0
        return min(apart, 1.0) if apart > 1e-6 else 0.0
    return 0.0 if one == other else 1.0
