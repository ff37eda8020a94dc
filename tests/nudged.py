"""What every public function answers to the call of its example, and to that call with one argument
nudged at a time or several, with its defaults and the module's constants, as they were when
somebody last looked at them: `python -m tests.nudged` says what has changed and keeps it as it is
now.

A number is nudged to a smaller one, a larger one, 0, 1, one of another size, and to each other
number of the call, because limits are often of that kind, and a number that is text likewise; a
sequence is shortened, turned round, scaled and given a tie; a truth value is turned over; of a
container or an object of ours, what it holds is nudged. A refusal is an answer too, in its words.
An answer with many numbers is kept as how many there are, the first, the last, and a sum of their
logarithms with changing weights: each of them moves it.

What takes too long or too much memory is not called again, nor what starts a process, opens a
socket or writes a file, and what does not answer twice the same is not kept; null stands in their
place. An oracle says whether an answer is right. This says only that nobody has changed it in
silence.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import enum
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
import traceback
import types
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from builder import PACKAGE, ROOT
from builder.source import module_names, module_path

from . import shown
from .test_bad_input import (
    LEFT_OUT,
    call_of,
    computing_modules,
    copied,
    is_number,
    is_sequence,
    public,
)

FOLDER = Path(__file__).with_name("answers")
READS_S = 1.0  # processor time that a call may take once, as it may read records
FIRST_S = 0.3  # processor time that the call of an example may take
ALL_S = 0.1  # after which no further call of the same function is made
STAYS = 3  # times as much what is kept may take and stay, so that it does not come and go
FEW = 4  # numbers that are kept one by one
FAR = 999  # times a number is one of another size
MIXED = 12  # calls with several arguments nudged, where there are several
BYTES = 6 << 30  # of memory, with numpy and what is imported
MANY = 200  # what is taken of a generator
DEEP = 2  # containers in containers of which an element is nudged
WORDS = 120  # characters of a message
NEAR = 1e-6  # two answers differ by no more of their size where only the machine is another
TINY = 1e-12  # what is smaller is the rounding of a sum, as 0 is
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
    "machine.calibration.fit": ELSEWHERE,
    "machine.calibration.score": ELSEWHERE,
    "machine.kernel_times.fit_kernels": ELSEWHERE,
    "machine.messages.fit_messages": ELSEWHERE,
    "optimization.code_books.optimal_step": ELSEWHERE,
}

Call = inspect.BoundArguments


@dataclasses.dataclass(frozen=True)
class Refused:
    """An argument that there cannot be, and why."""

    words: str


def variants(call: Call) -> Iterator[tuple[str, Call]]:
    """The call, and those with one argument nudged, each with what was done."""
    yield "", copied(call)
    numbers = {name: value for name, value in call.arguments.items() if is_number(value)}
    for name, value in call.arguments.items():
        others = [(f"={other}", number) for other, number in numbers.items() if other != name]
        ties = [(how, number) for how, number in others if name in numbers and number != value]
        for how, instead in [*nudged(value), *ties]:
            yield f"{name}{how}", _with(call, name, instead)
    for name, value in numbers.items():
        yield f"{name}*{FAR}", _with(call, name, value * FAR)
    yield from _mixed(call)


def _mixed(call: Call) -> Iterator[tuple[str, Call]]:
    """The call with some of its arguments nudged at a time, the same ones in every run."""
    draw = random.Random(" ".join(call.arguments))
    others = {name: list(nudged(value)) for name, value in call.arguments.items()}
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


def nudged(value: Any, deep: int = DEEP) -> Iterator[tuple[str, Any]]:
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
            yield from ((how, str(near)) for how, near in nudged(number))
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
    return itertools.islice(nudged(inner, deep - 1), 2)


def _replaced(value: Any, field: str, instead: Any) -> Any:
    try:
        return dataclasses.replace(value, **{field: instead})
    except Exception as problem:
        return Refused(told(problem))


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
    """What a call answers, in a few numbers or words that JSON can hold."""
    for value in call.arguments.values():
        if isinstance(value, Refused):
            return value.words
    printed = io.StringIO()
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(printed):
                found = function(*call.args, **call.kwargs)
                parts = list(leaves(found))
    except MemoryError:  # is of the machine
        raise
    except Exception as problem:
        return told(problem)
    return reduced([*parts, printed.getvalue()] if printed.getvalue() else parts)


def told(problem: Exception) -> str:
    """An error: of ours its words too, which are another's where Python or numpy raised it."""
    place = traceback.extract_tb(problem.__traceback__)[-1].filename
    ours = PACKAGE in place and isinstance(problem, ValueError)
    words = f"{type(problem).__name__}: {problem}" if ours else type(problem).__name__
    return " ".join(words[:WORDS].split())


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
    elif isinstance(value, list | tuple | np.ndarray | Iterator):
        for inner in itertools.islice(value, MANY) if isinstance(value, Iterator) else value:
            yield from leaves(inner, deep + 1)
    elif type(value).__module__.startswith(PACKAGE):
        yield from _object(value, deep)
    else:
        yield type(value).__name__


def _object(value: Any, deep: int) -> Iterator[Any]:
    names = [field.name for field in dataclasses.fields(value)] if is_record(value) else []
    for name, what in vars(type(value)).items():
        names += [name] if isinstance(what, property) and not name.startswith("_") else []
    for name in names:
        try:
            inner = getattr(value, name)
        except Exception as problem:
            inner = told(problem)
        yield from leaves(inner, deep + 1)
    if not names:
        yield type(value).__name__


def is_record(value: object) -> bool:
    """Whether an object is a dataclass's."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def reduced(parts: list[Any]) -> Any:
    """The same, in few numbers: as they are, or how many, the first, the last, and a sum."""
    count = sum(part.size if isinstance(part, np.ndarray) else 1 for part in parts)
    if count <= FEW:
        plain = [_plain(x) for part in parts for x in np.ravel(part).tolist()]
        return plain[0] if len(plain) == 1 else plain
    numbers = _numbers(parts)
    near = np.round(np.clip(numbers, -1e280, 1e280), 12)
    logs = np.copysign(np.log1p(np.abs(near) / TINY), near)
    weighted = float(logs @ (1 + np.arange(len(logs)) % 7))
    return [len(numbers), *(_plain(float(x)) for x in numbers[[0, -1]]), weighted]


def _numbers(parts: list[Any]) -> np.ndarray:
    """What stands for each part in the sum, those of an array one by one."""
    found = []
    for array, several in itertools.groupby(parts, lambda part: isinstance(part, np.ndarray)):
        if array:
            found += [part.ravel().astype(float) for part in several]
        else:
            found.append(np.array([_number(part) for part in several], float))
    return np.nan_to_num(np.concatenate(found), nan=math.pi)


def _number(part: Any) -> float:
    if isinstance(part, str):
        return float(zlib.crc32(part.encode("utf-8", "replace")) % 9973)
    return math.e if part is None else min(max(part, -(10**300)), 10**300)


def _plain(part: Any) -> Any:
    """A number or words as JSON has them, and long words as a number that stands for them."""
    if part is None:
        return "None"
    if isinstance(part, str) and len(part) > WORDS:
        return [len(part), zlib.crc32(part.encode("utf-8", "replace"))]
    if isinstance(part, int) and abs(part) > 2**53:
        return float(part) if abs(part) < 10**300 else f"{len(str(part))} digits"
    return str(part) if isinstance(part, float) and not math.isfinite(part) else part


class _TooSlow(BaseException):
    """A call is not ended by what it catches."""


class _Effect(BaseException):
    """The same, for what reaches beyond the process."""


_watching = False


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        writes = event == "open" and any(letter in str(arguments[1]) for letter in "wax+")
        if writes or event.startswith(EFFECTS):
            raise _Effect(event)


def _ring(*_: object) -> None:
    raise _TooSlow


def watched() -> None:
    """From here on to the end of the process, `limited` sees what happens."""
    sys.dont_write_bytecode = True  # of what a function imports
    sys.addaudithook(_watch)
    signal.signal(signal.SIGPROF, _ring)
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


def calls(name: str) -> Iterator[tuple[Callable[..., Any], Iterator[tuple[str, Call]]]]:
    """The public functions of a module, each with its calls, that of its example first."""
    module = importlib.import_module(f"{PACKAGE}.{name}")
    for title, function in public(module).items():
        full_name = f"{name}.{title}"
        if full_name not in LEFT_OUT.keys() | UNSTEADY.keys():
            made = variants(call_of(module, title, full_name))
            yield function, ((f"{title}({how})", call) for how, call in made)


def modules() -> list[str]:
    """The names of all modules; of those that need more than numpy, constants alone are kept."""
    return [name for name in module_names(ROOT) if ".exercises." not in name]


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


def answers(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """What the functions of a module answer, to the calls that are kept, and its constants."""
    if name not in computing_modules():
        return written(name)
    found = constants(name)
    for function, made in calls(name):
        for key, call in made:
            found[key] = None if known.get(key, 0) is None else answer(function, call)
            if found[key] is None and key.endswith("()"):
                break
    return found


def worth_keeping(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with null for what is not to be called."""
    if name not in computing_modules():
        return written(name)
    found = constants(name)
    for function, made in calls(name):
        spent = 0.0
        for key, call in made:
            first = key.endswith("()")
            stays = (1 / STAYS if known[key] is None else STAYS) if key in known else 1
            limit = stays * (FIRST_S if first else ALL_S)
            found[key], took = (None, 0.0) if spent > limit else _twice(function, call, limit)
            spent += 0 if first else took
            if first and found[key] is None:
                break
    return found


def _twice(function: Callable[..., Any], call: Call, limit: float) -> tuple[Any, float]:
    """What a call answers, None where it is not to be kept, and the time that it took [s]."""
    pair, began = list[Any](), 0.0
    with contextlib.suppress(_TooSlow, _Effect, MemoryError):
        for longest in (READS_S, limit):
            began = time.process_time()
            with limited(longest):
                pair.append(answer(function, copied(call)))
    took = time.process_time() - began
    same = len(pair) == 2 and pair[0] == pair[1] and took < limit
    return (pair[0] if same else None), took


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each answer that is another, new or gone."""
    return shown.changes(was, now, unchanged)


def unchanged(_: str, was: Any, now: Any) -> bool:
    """Whether two answers are the same, but for the last digits."""
    return shown.same(was, now, NEAR, TINY)


def main() -> None:
    """Say what has changed, and keep it, and nothing else."""
    watched()
    found = {}
    for name in modules():
        known = shown.kept(name, FOLDER)
        found[name] = shown.renewed(known, worth_keeping(name, known), unchanged)
        for line in changes(known, found[name]):
            print(f"{name}: {line}")
    shown.write(found, FOLDER)


if __name__ == "__main__":
    main()
