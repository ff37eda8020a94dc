"""Recorded measurements: written whole, with where and when and by which command; read by name.

A measurement depends on its machine, so a page shows a record that a command made, and anyone can
make again: `records/<name>.json`, or `.json.gz` where it is large. Simulations that take seconds
are recorded too (`recorded`), and a check runs a part of them again.
"""

from __future__ import annotations

import datetime
import functools
import gzip
import inspect
import io
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from serving_mathematics.support.checks import functions
from serving_mathematics.support.drawing import drawn
from serving_mathematics.support.files import write_bytes, write_text

P = ParamSpec("P")
R = TypeVar("R", bound=tuple[float | Sequence[float], ...])
FOLDER = Path(__file__).resolve().parents[1] / "records"


def read_record(name: str) -> dict[str, Any]:
    """The record of this name, as it was written; large ones are packed."""
    packed = FOLDER / f"{name}.json.gz"
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() else None
    text = (FOLDER / f"{name}.json").read_bytes() if raw is None else raw
    record: dict[str, Any] = json.loads(text)
    return record


def processors() -> int:
    """How many processors this process may use; 1 where the system does not say."""
    if count := getattr(os, "process_cpu_count", None):  # from Python 3.13 on
        return count() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def provenance(command: str, packages: Iterable[str] = ()) -> dict[str, Any]:
    """What a record says of its making: command, day, machine, and versions of Python and packages.

    packages: names as pip knows them.
    """
    from importlib.metadata import version  # here alone: it takes longer than all else above

    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processors": processors(),
        },
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages},
    }


def write_record(
    name: str, content: Mapping[str, Any], folder: Path | None = None, packed: bool = False
) -> Path:
    """Write a record as JSON, whole or not at all, and return its path. NaN is an error.

    packed: with gzip, a large one; of the same content the same bytes.
    """
    path = (folder or FOLDER) / f"{name}.json{'.gz' if packed else ''}"
    if packed:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        whole = io.BytesIO()
        with gzip.GzipFile("", "wb", 9, whole, mtime=0) as file:  # `compress` names the system, in
            file.write(text.encode())  # Python 3.13 another
        return write_bytes(str(path), "the record", whole.getvalue())
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return write_text(str(path), "the record", text + "\n")


class Recorded(Generic[P, R]):
    """A slow function, of which a record has the answers that its module asks for.

    function: of arguments that their texts tell apart, numbers in six digits; it is there as
    `again`. kind: a named tuple of numbers and lists of them, which it returns. record: its name. A
    call that the record does not have is a LookupError.
    """

    def __init__(self, function: Callable[P, R], kind: Callable[..., R], record: str) -> None:
        """Nothing is read before the first call."""
        functools.update_wrapper(self, function)
        self.again, self.kind, self.record = function, kind, record
        self._known: dict[str, R] | None = None
        self._making = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The recorded answer."""
        asked = inspect.signature(self.again).bind(*args, **kwargs)
        asked.apply_defaults()
        texts = {name: _text(value) for name, value in asked.arguments.items()}
        key = ", ".join(f"{name} {text}" for name, text in texts.items())
        if self._known is None:
            rows = read_record(self.record)["answers"]
            self._known = {key: self.kind(*row) for key, row in rows.items()}
        if self._making and key not in self._known:
            self._known[key] = self.again(*args, **kwargs)
        if key not in self._known:
            told = f"{self.record} has no answer for {key}: make it again by `{self._command}`"
            raise LookupError(told)
        return self._known[key]

    @property
    def _command(self) -> str:
        """What makes the record."""
        module = sys.modules[self.again.__module__]
        return f"python -m {module.__spec__.name if module.__spec__ else module.__name__}"

    def make(self) -> None:
        """Answer anew all that the module's example, checks, sliders and figures ask for, of this
        function and the others that the module records, and write it down."""
        module = sys.modules[self.again.__module__]
        there = [one for one in vars(module).values() if isinstance(one, Recorded)]
        mine = [one for one in there if one.again.__module__ == module.__name__]
        for one in mine:
            one._known, one._making = {}, True
        for prefix in ("example", "check_", "slider_"):
            for ask in functions(module, prefix).values():
                ask()
        draws: dict[str, Callable[..., None]] = functions(module, "figure_")
        for draw in draws.values():
            drawn(draw)
        for one in mine:
            what = " ".join(f"{inspect.getdoc(one.again)}".split())
            record = provenance(self._command, ["numpy"]) | {"what": what, "answers": one._known}
            print(f"wrote {write_record(one.record, record, packed=True)}")


def _text(value: object) -> str:
    """An argument in a record: the last digits of a number are the processor's."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def recorded(kind: Callable[..., R], record: str) -> Callable[[Callable[P, R]], Recorded[P, R]]:
    """A decorator that makes `Recorded` of a function."""
    return lambda function: Recorded(function, kind, record)


def digits(value: float) -> str:
    """A number in three significant digits, with separators of thousands."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def spread_text(values: Mapping[str, float]) -> str:
    """The `median`, `least` and `most` of repeated measurements, as `median (least–most)`."""
    ends = f"{digits(values['least'])}–{digits(values['most'])}"
    return f"{digits(values['median'])} ({ends})"


def runs_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each run of a record that was measured several times found."""
    return [run["found"] for run in record["runs"]]
