"""What whole programs make of something small, as `python -m tests.keep` keeps it.

Of a page, a plan, or what a measurement records of an engine and a clock that a test made, a reader
says whether it is right; this says only that nobody has changed it in silence. Each folder of tests
that has a file `cases.py` names in `CASES` the module whose work it is (or its part and what is
made, as in `planner.plans.a trace`), and a function that does it in an empty folder. Nothing there
may depend on the machine or on the time.
What is kept is a line for each thing that is made, as it is where it is short; many numbers and
long texts are told by how many there are and a sum that each of them moves.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .answers import leaves, reduced
from .test_bad_input import is_number

MANY = 12  # numbers in a row that are kept one by one
SHORT = 480  # characters of what is kept as it is

Case = Callable[[Path], Mapping[str, Any]]


@functools.cache
def cases() -> dict[str, Case]:
    """The function that makes something of a module, by the name of the module."""
    found: dict[str, Case] = {}
    for file in sorted(Path(__file__).parent.glob("*/cases.py")):
        found |= importlib.import_module(f"{__package__}.{file.parent.name}.cases").CASES
    return found


def in_no_folder(make: Callable[[], Mapping[str, Any]]) -> Case:
    """A function that asks for no folder, as a case."""
    return lambda _: make()


def made(name: str) -> dict[str, Any]:
    """What a module makes, a line for each thing, in what JSON can hold."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        plain = {key: _plain(value) for key, value in cases()[name](Path(folder)).items()}
        text = json.dumps(plain, ensure_ascii=False).replace(folder, "…")
    return dict(lines(json.loads(text)))


def lines(things: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is made as it is kept: what is too long for a line in parts that are not, as many of
    them in a line as go there, and a part that is itself too long in numbers that stand for it."""
    for key, value in things.items():
        if _size(value) <= SHORT or not _has_parts(value):
            yield key, _shortened(value)
            continue
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        line: dict[str, Any] = {}
        for name, part in pairs:
            short = {str(name): _shortened(part)}
            if line and _size(line | short) > SHORT:
                yield f"{key}, {next(iter(line))}", line
                line = {}
            line |= short
        yield f"{key}, {next(iter(line))}", line


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))


def _has_parts(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))


def _shortened(value: Any) -> Any:
    return value if _size(value) <= SHORT else reduced(list(leaves(value)))


def _plain(value: Any) -> Any:
    """A text as its lines; numbers of numpy as Python's, and many of them as a few that stand for
    them.
    """
    if isinstance(value, str):
        return value.split("\n") if "\n" in value else value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        many = len(value) > MANY and all(map(is_number, value))
        return reduced(list(value)) if many else [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value
