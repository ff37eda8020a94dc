"""What whole programs make of something small: what is written and said, as it was when somebody
last looked at it. `python -m tests.made` says what has changed and keeps it as it is now.

Of a page, a refusal, a plan, or what a measurement records of an engine and a clock that a test
made, a reader says whether it is right; this says only that nobody has changed it in silence. Each
folder of tests that has a file `made.py` names in `CASES` the module whose work it is (or its part
and what is made, as in `planner.plans.cache`), and a function that does it in an empty folder.
Nothing there may depend on the machine or on the time.
"""

from __future__ import annotations

import functools
import importlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import nudged, shown
from .test_bad_input import is_number

FOLDER = Path(__file__).with_name("made")
MANY = 12  # numbers in a row that are kept one by one
NEAR = 1e-6  # two numbers differ by no more of their size where only the machine is another
ABSENT = "not there"

Case = Callable[[Path], Mapping[str, Any]]


@functools.cache
def cases() -> dict[str, Case]:
    """The function that makes something of a module, by the name of the module."""
    found: dict[str, Case] = {}
    for file in sorted(Path(__file__).parent.glob("*/made.py")):
        found |= importlib.import_module(f"{__package__}.{file.parent.name}.made").CASES
    return found


def in_no_folder(make: Callable[[], Mapping[str, Any]]) -> Case:
    """A function that asks for no folder, as a case."""
    return lambda _: make()


def made(name: str) -> dict[str, Any]:
    """What a module makes, in what JSON can hold."""
    with tempfile.TemporaryDirectory() as folder:
        plain = {key: _plain(value) for key, value in cases()[name](Path(folder)).items()}
        text = json.dumps(plain, ensure_ascii=False).replace(folder, "…")
    found: dict[str, Any] = json.loads(text)
    return found


@functools.cache
def _kept_of(part: str) -> Mapping[str, Any]:
    path = FOLDER / f"{part}.json"
    return shown.read(path) if path.is_file() else {}


def kept(name: str) -> Mapping[str, Any]:
    """The same, as it was."""
    found: Mapping[str, Any] = _kept_of(name.partition(".")[0]).get(name, {})
    return found


def _plain(value: Any) -> Any:
    """A text as its lines, which a reviewer sees apart; numbers of numpy as Python's, and many of
    them as a few that stand for them.
    """
    if isinstance(value, str):
        return value.split("\n") if "\n" in value else value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        many = len(value) > MANY and all(map(is_number, value))
        return nudged.reduced(list(value)) if many else [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def changes(was: Any, now: Any, place: str = "") -> Iterator[str]:
    """A line for each text or number that is another, new or gone."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(key for key in now if key not in was)]:
            pair = (told.get(key, ABSENT) for told in (was, now))
            yield from changes(*pair, f"{place} {key}".strip())
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, pair in enumerate(zip(was, now, strict=True)):
            yield from changes(*pair, f"{place}[{number}]")
    elif type(was) is not type(now) or not shown.same(was, now, NEAR):
        yield f"{place} was {_short(was)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"


def main() -> None:
    """Say what has changed, and keep it, and nothing else."""
    found: dict[str, dict[str, Any]] = {}
    for name in cases():
        was, now = dict(kept(name)), made(name)
        told = list(changes(was, now))
        print("".join(f"{name}: {line}\n" for line in told), end="")
        found.setdefault(name.partition(".")[0], {})[name] = now if told else was
    for old in FOLDER.glob("*.json"):
        old.unlink()
    FOLDER.mkdir(exist_ok=True)
    for part, told in found.items():
        text = json.dumps(told, indent=1, ensure_ascii=False)
        (FOLDER / f"{part}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
