"""Every public function, and every dataclass that refuses, with the numbers of its example in other
types and at the ends of ranges.

A number, or those of a sequence, is swapped for the same in another type: narrow and unsigned
integers, short floats, fractions, decimals, arrays without dimensions, masked arrays, generators.
Allowed is the answer that there is for the same value in 64 bits, or a refusal. Then a number is
put at the ends of what there is: the smallest size that must be positive, the largest floats, next
to 1, counts up to 2⁶². Allowed is an answer without NaN, and without an infinity unless the
docstring names one, or a refusal. A refusal is a ValueError that names an argument, or a TypeError;
at the ends it may name that of an inner function. Nothing warns, and nothing takes longer than a
second of processor time.

The daily run makes a small sample of the calls, the nightly one all of them.
"""

from __future__ import annotations

import contextlib
import io
import math
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from .answers import Call, leaves
from .profiles import THOROUGH
from .test_bad_input import (
    ELEMENTWISE,
    LIMIT_S,
    OTHER_KINDS,
    TooSlow,
    answered,
    called_modules,
    calls_of,
    constructors_of,
    copied,
    is_number,
    is_sequence,
    limited,
    told,
)

__all__ = ["limited"]

SAMPLE = 0.03  # of the calls, where not all are made
NEAR = 1e-9
FOR_MANY = ("one dimension", "truth value")  # which an argument may take that may be an array
NARROW_INTEGERS = (np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32, np.uint64)
NARROW_FLOATS = (np.float16, np.float32, np.longdouble)
FLOATS = (
    *(1e-100, 1e-17, 1e-10, 0.5, 1 - 1e-10, math.nextafter(1, 0), 1.0),
    *(math.nextafter(1, 2), 1 + 1e-10, 1e3, 1e10, 1e17, 1e100, 1e300, math.nextafter(math.inf, 0)),
)
COUNTS = (0, 1, 2, 3, 300, 10**6, 10**9, 2**31, 2**32, 2**53, 2**62)


def of_numbers(value: Any) -> bool:
    """Whether it is a sequence, or one of sequences of one length, of numbers."""
    with contextlib.suppress(ValueError):
        return is_sequence(value) and len(value) > 0 and np.asarray(value).dtype.kind in "iuf"
    return False


def swapped(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """A number or a sequence of them in other types: what it is called, and the same in 64 bits."""
    if is_number(value):
        yield from _swapped_number(value)
    elif of_numbers(value):
        yield from _swapped_sequence(value)


def _swapped_number(value: Any) -> Iterator[tuple[str, Any, Any]]:
    whole = float(value).is_integer()
    for kind in NARROW_INTEGERS if whole else ():
        if np.iinfo(kind).min <= value <= np.iinfo(kind).max:
            yield kind.__name__, kind(value), type(value)(value)
    for short in NARROW_FLOATS:
        with np.errstate(over="ignore"):
            narrow = short(value)
        if np.isfinite(narrow):
            yield short.__name__, narrow, float(narrow)
    if not math.isfinite(value):
        return
    plain = float(value)
    yield "Fraction", Fraction(plain), plain
    yield "Decimal", Decimal(plain), plain
    yield "no dimension", np.array(value), value
    yield "one dimension", np.array([value]), None
    yield "bytes", str(value).encode(), None
    yield "truth value", True, None


def _swapped_sequence(value: Any) -> Iterator[tuple[str, Any, Any]]:
    array = np.asarray(value)
    listed = array.tolist()

    def alike(items: Any) -> Any:
        return items if isinstance(value, np.ndarray) else type(value)(items.tolist())

    for kind in NARROW_INTEGERS if array.dtype.kind in "iu" else ():
        if np.iinfo(kind).min <= array.min() and array.max() <= np.iinfo(kind).max:
            yield kind.__name__, array.astype(kind), value
    for short in NARROW_FLOATS:
        with np.errstate(over="ignore"):
            narrow = array.astype(short)
        if np.isfinite(narrow).all():
            yield short.__name__, narrow, alike(narrow.astype(float))
            if array.ndim == 1:
                yield f"list of {short.__name__}", list(narrow), alike(narrow.astype(float))
    if array.ndim == 1 and np.isfinite(array).all():
        floats = alike(array.astype(float))
        yield "Fractions", [Fraction(item) for item in array.astype(float).tolist()], floats
        yield "objects", np.array([Decimal(item) for item in array.astype(float)]), floats
        yield "generator", (item for item in listed), value
        yield "strided", np.repeat(array, 2)[::2], value
    yield "other byte order", array.astype(array.dtype.newbyteorder()), value
    yield "tuple", tuple(map(tuple, listed)) if array.ndim == 2 else tuple(listed), value
    yield "unmasked", np.ma.MaskedArray(array), value
    masked = np.zeros(array.shape, bool)
    masked.flat[0] = True
    yield "masked", np.ma.MaskedArray(array, masked), None
    if np.isfinite(array).all() and np.abs(array).max() < 2**53:
        yield "spans of time", array.astype("timedelta64[ms]"), None


def extremes(value: Any) -> Iterator[tuple[str, Any]]:
    """What is at the ends of ranges, in the place of a number or of numbers in a sequence."""
    if is_number(value):
        for number in (*FLOATS, *COUNTS):
            yield f"{number!r}", number
            yield f"{-number!r}", -number
    elif of_numbers(value):
        array = np.asarray(value, dtype=float)

        def alike(items: Any) -> Any:
            return items if isinstance(value, np.ndarray) else type(value)(items.tolist())

        for factor in (1e-17, 1e17, 1e300):
            with np.errstate(all="ignore"):
                yield f"*{factor:g}", alike(array * factor)
        for number in (1e-17, math.nextafter(1, 0), 1e17, 1.7e308):
            one = array.copy()
            one.flat[0] = number
            yield f"[0]={number:g}", alike(one)
        yield "all alike", alike(np.full_like(array, array.flat[0]))


def outcome(function: Callable[..., Any], call: Call, inner: bool = False) -> tuple[str, Any]:
    """How a call ends: an "answer" with its numbers and words, "refused", or what is "wrong".

    inner: whether a refusal may name the argument of a function inside."""
    names = call.signature.parameters
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("error")
            found = answered(function, call, LIMIT_S, "warn")
            return "answer", list(leaves(found))
    except TooSlow:
        return "wrong", f"takes more than {LIMIT_S:g} s"
    except TypeError as problem:
        return "refused", str(problem)
    except ValueError as problem:
        named = any(name in str(problem) for name in names)
        named |= inner and " must be " in str(problem)
        return ("refused", str(problem)) if named else ("wrong", told(problem))
    except Exception as problem:
        return "wrong", told(problem)


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal, but for rounding."""
    if len(one) != len(other):
        return False
    for a, b in zip(one, other, strict=True):
        if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
            if a != b:
                return False
        elif np.shape(a) != np.shape(b) or not np.allclose(
            np.asarray(a, float), np.asarray(b, float), rtol=NEAR, atol=1e-300, equal_nan=True
        ):
            return False
    return True


SIMULATED = {  # counts of requests whose time grows as they do: of the ends, only what is refused
    "core.machines.book.highest_load.requests",
    "core.machines.running.run_engine.requests",
    "core.machines.sessions.sessions_under_way.requests",
    "core.queues.long_runs.long_run_means.blocks",
    "report.faults.score_fault.repeats",
    "report.faults.served.count",
}
MEASURES = {
    "engine.measured_loads.change_rows",
    "engine.measured_loads.measured_loads",
}  # an engine


def tried(name: str) -> Iterator[tuple[str, Callable[..., Any], Call, str, Any, bool]]:
    """The calls of a module's functions, each with one argument to be changed."""
    for title, function, call in (*calls_of(name), *constructors_of(name)):
        full_name = f"{name}.{title}"
        if full_name in MEASURES:
            continue
        for argument, value in call.arguments.items():
            if f"{full_name}.{argument}" not in OTHER_KINDS:
                yield title, function, call, argument, value, full_name in ELEMENTWISE


def faults_of_types(name: str, share: float) -> list[str]:
    """What is wrong with the answers of a module's functions to numbers of other types."""
    draw, found = random.Random(name), list[str]()
    for title, function, call, argument, value, _ in tried(name):
        single = call.signature.parameters[argument].annotation in ("int", "float")
        for kind, instead, plain in swapped(value):
            if draw.random() > share or (kind in FOR_MANY and not single):
                continue
            how, got = outcome(function, copied(call, **{argument: instead}))
            wrong = "" if how == "refused" else f"answers {got!r}" if how == "answer" else got
            if wrong and plain is not None:
                plainly, expected = outcome(function, copied(call, **{argument: plain}))
                if plainly == how and same(got, expected):
                    wrong = ""
                elif how == "answer":
                    wrong += f", for {expected!r} of 64 bits"
            if wrong:
                found.append(f"{title}({argument}: {kind}): {wrong}"[:300])
    return found


def numbers_of(got: Sequence[Any]) -> list[npt.NDArray[np.float64]]:
    """The parts of an answer that are numbers."""
    return [np.asarray(part, float) for part in got if not isinstance(part, (str, type(None)))]


def faults_at_ends(name: str, share: float) -> list[str]:
    """What is wrong with the answers of a module's functions at the ends of ranges."""
    draw, found = random.Random(name), list[str]()
    for title, function, call, argument, value, elementwise in tried(name):
        promised = (function.__doc__ or "").lower()
        infinite = any(word in promised for word in ("∞", "infinit", " inf"))
        for number, instead in extremes(value):
            if draw.random() > share:
                continue
            simulated = f"{name}.{title}.{argument}" in SIMULATED
            if elementwise or (simulated and number in {"300", "1000.0", "1000000"}):
                continue
            how, got = outcome(function, copied(call, **{argument: instead}), inner=True)
            wrong = got if how == "wrong" else ""
            if how == "answer":
                parts = numbers_of(got)
                if any(np.isnan(part).any() for part in parts):
                    wrong = f"answers {got!r}"
                grown = [part for part in parts if np.isinf(part).any()]
                if grown and not infinite:
                    usual = numbers_of(outcome(function, copied(call), inner=True)[1])
                    always = [part for part in usual if np.isinf(part).all()]  # such as no limit
                    if len(always) < len(grown):
                        wrong = f"answers {got!r}"
            if wrong:
                found.append(f"{title}({argument}={number}): {wrong}"[:300])
            if wrong.startswith("takes"):
                break  # so would what is further on
    return found


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("name", called_modules())
def test_a_number_counts_the_same_in_every_type_and_at_the_ends_is_answered_or_refused(
    name: str,
) -> None:
    share = 1.0 if THOROUGH else SAMPLE
    found = faults_of_types(name, share) + faults_at_ends(name, share)
    assert not found, "\n".join(found)
