"""Compare a result with an independent expectation: assert it, print it, report it.

Every `check_*` function of a snippet module compares through this module and through nothing else.
A comparison prints one PASS or FAIL line with the values, reports itself to whoever listens (the
site build, pytest, a notebook, the reader's browser), and raises `AssertionError` when it fails.

Run the checks of a module from the command line: `serving-mathematics check
definitions.utilization.pooling`, or `python -m serving_mathematics.support.checks` in place of the
first two words.
"""

from __future__ import annotations

import contextlib
import contextvars
import difflib
import importlib
import inspect
import math
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, get_args

import numpy as np

from serving_mathematics.support.digits import one_of_many

PACKAGE = "serving_mathematics"
Kind = Literal["identity", "published", "simulation", "measured", "stated"]
"""Where the expectation comes from, not the value: other mathematics, a published number, a
simulation, a recorded measurement, or only the sentence that is checked, with its bounds or order.
"""


@dataclass(frozen=True)
class Comparison:
    """One comparison as the reader sees it; every field but `passed` is text, ready to print."""

    label: str
    kind: Kind
    expected: str
    got: str
    tolerance: str
    passed: bool

    def __str__(self) -> str:
        """The comparison as one line."""
        return f"{self.label}: got {self.got}, expected {self.expected} ({self.tolerance})"


class Estimate(Protocol):
    """A simulated or measured mean with its standard error."""

    @property
    def mean(self) -> float:
        """The estimate."""

    @property
    def standard_error(self) -> float:
        """Its standard error, in the same unit."""


_listeners: list[list[Comparison]] = []


@contextlib.contextmanager
def recording() -> Iterator[list[Comparison]]:
    """Collect every comparison made inside the `with` block, passed or failed, in order."""
    rows: list[Comparison] = []
    _listeners.append(rows)
    try:
        yield rows
    finally:
        _listeners[:] = [other for other in _listeners if other is not rows]


def close(
    label: str,
    got: Any,
    expected: Any,
    *,
    atol: float = 0.0,
    rtol: float = 0.0,
    kind: Kind = "identity",
) -> None:
    """Assert |got − expected| ≤ atol + rtol·|expected|, elementwise for arrays of one shape.

    NaN and infinity are close to nothing.
    """
    got_values, expected_values = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    passed = (
        got_values.size > 0
        and got_values.shape == expected_values.shape
        and bool(np.all(np.isfinite(got_values) & np.isfinite(expected_values)))
        and bool(
            np.all(np.abs(got_values - expected_values) <= atol + rtol * np.abs(expected_values))
        )
    )
    terms = [f"{atol:.3g}"] * bool(atol > 0) + [f"{rtol:.3g} × expected"] * bool(rtol > 0)
    _report(
        label,
        kind,
        _text(expected),
        _text(got),
        "± " + " + ".join(terms) if terms else "exact",
        passed,
    )


def covers(
    label: str,
    estimate: Estimate,
    expected: float,
    *,
    sigmas: float = 3.0,
    kind: Kind = "simulation",
) -> None:
    """Assert that an estimate lies within `sigmas` standard errors of the expectation."""
    error, distance = float(estimate.standard_error), float(estimate.mean) - float(expected)
    passed = 0 < error < math.inf and abs(distance) <= sigmas * error
    _report(
        label,
        kind,
        _text(expected),
        f"{estimate.mean:.6g} ± {error:.2g}",
        f"{sigmas:g} standard errors",
        passed,
    )


def inside(label: str, got: float, low: float, high: float, *, kind: Kind = "stated") -> None:
    """Assert low ≤ got ≤ high."""
    _report(
        label,
        kind,
        f"{_text(low)} … {_text(high)}",
        _text(got),
        "interval",
        bool(low <= got <= high) and math.isfinite(got),
    )


def equal(label: str, got: object, expected: object, *, kind: Kind = "identity") -> None:
    """Assert that two values that are not measured on a scale (names, orders, sets, counts) are the
    same.
    """
    _report(label, kind, _text(expected), _text(got), "exact", bool(got == expected))


def holds(
    label: str,
    condition: bool | np.bool_,
    *,
    got: object = "",
    kind: Kind = "stated",
) -> None:
    """Assert a truth that has no number on its right-hand side: an order, a sign, a shape."""
    if not isinstance(condition, bool | np.bool_):
        raise TypeError(f"condition must be a bool, got {condition!r}")
    _report(
        label,
        kind,
        "true",
        _text(got) if got != "" else str(bool(condition)).lower(),
        "exact",
        bool(condition),
    )


def raises(
    label: str,
    function: Callable[..., object],
    *args: Any,
    match: str,
    error: type[Exception] = ValueError,
    **kwargs: Any,
) -> None:
    """Assert that the call is refused with `error` and that the message contains `match`."""
    try:
        result = function(*args, **kwargs)
    except error as refusal:
        got, passed = f"{error.__name__}: {refusal}", match in str(refusal)
    else:
        got, passed = f"returned {_text(result)}", False
    _report(label, "identity", f"{error.__name__} with “{match}”", got, "exact", passed)


def _text(value: object) -> str:
    """A value as the table shows it: up to ten significant digits, arrays in brackets, sets in one
    order.
    """
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    if isinstance(value, float | np.floating):
        return f"{float(value):.10g}"
    if isinstance(value, np.ndarray) and not value.ndim:
        return _text(value.item())
    if isinstance(value, np.ndarray | list | tuple):
        if len(value) > 6:
            return f"[{_text(value[0])}, … {len(value)} values …, {_text(value[-1])}]"
        return "[" + ", ".join(_text(item) for item in value) + "]"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(_text(item) for item in value)) + "}"
    return str(value)


def _report(label: str, kind: Kind, expected: str, got: str, tolerance: str, passed: bool) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    label = one_of_many(str(label))
    row = Comparison(label, kind, expected, got, tolerance, bool(passed))
    for rows in _listeners:
        rows.append(row)
    print(f"{'PASS' if passed else 'FAIL'} {row}")
    if not passed:
        raise AssertionError(str(row))


def functions(module: ModuleType, prefix: str) -> dict[str, Callable[[], Any]]:
    """The module's own functions whose names start with `prefix`, in the order of the source."""
    own = [
        (name, value)
        for name, value in vars(module).items()
        if name.startswith(prefix)
        and inspect.isfunction(inspect.unwrap(value))
        and value.__module__ == module.__name__
    ]
    return dict(sorted(own, key=lambda item: inspect.unwrap(item[1]).__code__.co_firstlineno))


def _loop_runs() -> bool:
    """True in a notebook, whose kernel runs an event loop where checks may want one of their own.
    The reader's browser cannot start threads.
    """
    try:
        sys.modules["asyncio"].get_running_loop()
    except (KeyError, RuntimeError):  # not imported here, since that takes 20 ms of every command
        return False
    return sys.platform != "emscripten"


def show(check: Callable[[], None]) -> None:
    """Print the claim of a check and run it: one PASS line per comparison, and an error at the
    first that fails, or when nothing was compared.
    """
    print(" ".join((inspect.getdoc(check) or check.__name__).split("\n\n")[0].split()))
    with recording() as rows:
        if _loop_runs():
            with ThreadPoolExecutor(1) as thread:
                thread.submit(contextvars.copy_context().run, check).result()
        else:
            check()
    if not rows:
        raise AssertionError("compared nothing")
    if failed := [row for row in rows if not row.passed]:
        raise AssertionError(str(failed[0]))


def run(module: ModuleType) -> bool:
    """Run every `check_*` of a module, print claims and comparisons; True when there are some and
    all passed.
    """
    found = functions(module, "check_")
    passed = bool(found)
    if not found:
        print(f"FAIL {module.__name__} has no checks")
    for name, check in found.items():
        print()
        try:
            show(check)
        except Exception as failure:
            passed = False
            kind = "" if isinstance(failure, AssertionError) else f"{type(failure).__name__}: "
            print(f"FAIL {name}: {kind}{failure}")
    return passed


def main(names: list[str]) -> int:
    """Run the checks of the named modules, or of all in a package; the process's exit status."""
    if not names or names[0] in ("-h", "--help"):
        usage = "usage: serving-mathematics check MODULE [MODULE ...]"
        print(usage, file=sys.stdout if names else sys.stderr)
        return 0 if names else 2
    results = []
    for name in names:
        full = name if name.partition(".")[0] == PACKAGE else f"{PACKAGE}.{name}"
        try:
            modules = _modules(full)
        except ModuleNotFoundError as problem:
            if not full.startswith(problem.name or "?"):
                raise  # a package is missing
            print(f"there is no module {name!r}{_meant(full)}", file=sys.stderr)
            return 2
        results += [run(module) for module in modules]
    return 0 if all(results) else 1


def _meant(full: str) -> str:
    """Which module was meant, in words; empty where none is likely."""
    top = Path(__file__).parents[1]
    files = (path.relative_to(top).with_suffix("") for path in top.rglob("*/*.py"))
    known = {".".join(path.parts).removesuffix(".__init__") for path in files}
    given = full.removeprefix(f"{PACKAGE}.").removesuffix(".py").lower()
    given = re.sub(r"[/\\]+", ".", given).replace("-", "_").strip(".")
    last = {name.rpartition(".")[2]: name for name in sorted(known, reverse=True)}
    near = [given] if given in known else [last[given]] if given in last else []
    near = near or difflib.get_close_matches(given, sorted(known), 1, 0.75)
    return f"; did you mean {near[0]}?" if near else ", such as definitions.utilization"


def _modules(name: str) -> list[ModuleType]:
    """The module of this name; of a package, its modules that have checks."""
    module = importlib.import_module(name)
    if not hasattr(module, "__path__"):
        return [module]
    found = [f"{name}.{one.name}" for one in pkgutil.iter_modules(module.__path__)]
    having = [one for one in map(importlib.import_module, found) if functions(one, "check_")]
    return having or [module]


if __name__ == "__main__":
    # The checks report to `serving_mathematics.support.checks`, which is not this `__main__` copy
    # of it.
    sys.exit(importlib.import_module("serving_mathematics.support.checks").main(sys.argv[1:]))
