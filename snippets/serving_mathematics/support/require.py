"""Bad input is an error that names the argument, the rule and the value.

A rule takes its arguments by name, so that the name in the message is the name in the signature,
and returns the numbers that are to be used in their place, of 64 bits:
`mean_service_s = require_positive(mean_service_s=mean_service_s)`. Counted in the type that they
come in, narrower numbers overflow or are rounded without a word.

A number is one of Python or numpy, a Fraction, a Decimal, or an array without dimensions that holds
one; a truth value is none, but among the elements of a list or an array it counts as 0 or 1. It
comes back as an int of Python where its type is one of integers, and else as a float. Lists and
tuples come back as what they are, with such numbers; what else numpy reads as an array of them
comes back as one of int64 or float64. NaN, infinities, numbers beyond the range of a float, complex
numbers, spans of time, text, generators, and arrays with masked elements keep none of the rules.

No number is larger than 10¹⁰⁰ in size, and none that must be positive is below 10⁻¹⁰⁰: what is
beyond is no quantity in its unit, and products and quotients of a few such numbers would pass the
range of a float.

Source: ISO 31-11 for the intervals.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

_REAL = (Real, Decimal)
_WIDE = {int, float, np.int64, np.float64}
_NATIVE = {np.dtype(np.int64), np.dtype(np.float64)}
COUNTED, COUNTABLE = 2.0**53, "at most 2**53, as far as floats count"
SMALLEST, LARGEST = 1e-100, 1e100
SHOWN_WHOLE = 8  # numbers that a message shows whole
MOST_WORK = 2e7  # elementary steps of a call, which take about a second
LARGE, SMALL = "at most 1e100 in size", "at least 1e-100"  # for products and quotients to be floats


def require(condition: object, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds; also
    for an integer that no float can hold, which keeps a rule such as x < inf.

    condition: of the value, or an array of what holds of each of its elements.

    >>> require(2 > 1, "answer", "above 1", 2)
    >>> require(False, "utilization", "in [0, 1)", 1.2)
    Traceback (most recent call last):
    ValueError: utilization must be in [0, 1), got 1.2
    """
    if isinstance(condition, np.ndarray):
        if not condition.all():
            _refuse(argument, rule, _first_of(condition, np.asarray(value), value))
        return
    huge = isinstance(value, int) and abs(value) > sys.float_info.max
    if huge or not condition:
        _refuse(argument, rule, value)


def _refuse(argument: str, rule: str, value: object) -> NoReturn:
    """Raise ValueError with the argument, the rule and the value."""
    text = f"{value}"
    shown = text if len(text) <= 200 else f"{text[:80]}… ({len(text)} characters)"
    raise ValueError(f"{argument} must be {rule}, got {shown}")


def _as_given(value: Any) -> object:
    """What is refused, so that text and arrays of other things are seen to be that; of many, the
    first that is no number."""
    if isinstance(value, str):
        return repr(value)
    items = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(items, list | tuple) and len(items) > SHOWN_WHOLE:
        for place, item in enumerate(items):
            if _is_none(item):
                return f"{item!r} at position {place}"
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
        return f"{value} of dtype {value.dtype}"
    return value


def _is_none(item: object) -> bool:
    """Whether it is no number, and holds none."""
    try:
        _wide(item)
    except (TypeError, ValueError, OverflowError):
        return True
    return False


def _first_of(kept: NDArray[np.bool_], numbers: NDArray[Any], value: object) -> object:
    """What is refused; of many, the first that breaks the rule."""
    if numbers.size <= SHOWN_WHOLE or numbers.shape != kept.shape:
        return value
    place = np.unravel_index(np.argmin(kept), kept.shape)
    return f"{numbers[place]} at position {', '.join(map(str, place))}"


def require_positive(**numbers: Any) -> Any:
    """Numbers are finite and above 0.

    >>> require_positive(mean_service_s=0.0)
    Traceback (most recent call last):
    ValueError: mean_service_s must be positive and finite, got 0.0
    """
    return _checked(lambda x: 0 < x < math.inf, "positive and finite", numbers, SMALLEST)


def require_non_negative(**numbers: Any) -> Any:
    """Numbers are finite and not below 0.

    >>> require_non_negative(arrival_rate=-1.0)
    Traceback (most recent call last):
    ValueError: arrival_rate must be non-negative and finite, got -1.0
    """
    return _checked(lambda x: 0 <= x < math.inf, "non-negative and finite", numbers)


def require_finite(**numbers: Any) -> Any:
    """Numbers are neither NaN nor infinite.

    >>> require_finite(drift=float("nan"))
    Traceback (most recent call last):
    ValueError: drift must be finite, got nan
    """
    return _checked(math.isfinite, "finite", numbers)


def require_positive_integer(**numbers: Any) -> Any:
    """Numbers are whole and at least 1.

    >>> require_positive_integer(servers=2.5)
    Traceback (most recent call last):
    ValueError: servers must be a positive integer, got 2.5
    """
    _checked(lambda x: x >= 1 and x % 1 == 0, "a positive integer", numbers)
    counts = {name: int(_number(value)) for name, value in numbers.items()}
    return _checked(lambda x: x <= COUNTED, COUNTABLE, counts)


def require_non_negative_integer(**numbers: Any) -> Any:
    """Numbers are whole and not below 0.

    >>> require_non_negative_integer(retries=-1)
    Traceback (most recent call last):
    ValueError: retries must be a non-negative integer, got -1
    """
    _checked(lambda x: x >= 0 and x % 1 == 0, "a non-negative integer", numbers)
    counts = {name: int(_number(value)) for name, value in numbers.items()}
    return _checked(lambda x: x <= COUNTED, COUNTABLE, counts)


def require_in(interval: str, **numbers: Any) -> Any:
    """Numbers lie in an interval, written with a bracket at an end that belongs to it.

    interval: such as "[0, 1)". Raises ValueError too when that is not an interval.

    >>> require_in("[0, 1)", utilization=1.0)
    Traceback (most recent call last):
    ValueError: utilization must be in [0, 1), got 1.0
    """
    smallest = SMALLEST if interval.startswith("(0,") else -LARGEST
    return _checked(_interval(interval), f"in {interval}", numbers, smallest)


def require_all_positive(**arrays: Any) -> Any:
    """Every element is finite and above 0, in arrays of any shape.

    >>> require_all_positive(sizes=[1.0, 0.0])
    Traceback (most recent call last):
    ValueError: sizes must be positive and finite, got [1.0, 0.0]
    """

    return _all_checked(lambda x: (x > 0) & (x < math.inf), "positive and finite", arrays, SMALLEST)


def require_all_non_negative(**arrays: Any) -> Any:
    """Every element is finite and not below 0, in arrays of any shape.

    >>> require_all_non_negative(waits=[1.0, -1.0])
    Traceback (most recent call last):
    ValueError: waits must be non-negative and finite, got [1.0, -1.0]
    """
    return _all_checked(lambda x: (x >= 0) & (x < math.inf), "non-negative and finite", arrays)


def require_all_finite(**arrays: Any) -> Any:
    """No element is NaN or infinite, in arrays of any shape.

    >>> require_all_finite(times=[1.0, float("nan")])
    Traceback (most recent call last):
    ValueError: times must be finite, got [1.0, nan]
    """
    return _all_checked(np.isfinite, "finite", arrays)


def require_all_sorted(**arrays: Any) -> Any:
    """No element is NaN or infinite, and none is smaller than the one before it on the last axis.

    >>> require_all_sorted(arrival_times=[0.0, 2.0, 1.0])
    Traceback (most recent call last):
    ValueError: arrival_times must be finite and sorted, got [0.0, 2.0, 1.0]
    """

    def in_order(numbers: NDArray[np.float64]) -> Any:
        row = np.atleast_1d(numbers)
        kept = np.isfinite(row)
        kept[..., 1:] &= row[..., 1:] >= row[..., :-1]
        return kept

    return _all_checked(in_order, "finite and sorted", arrays)


def require_work(steps: float, /, **numbers: Any) -> None:
    """A call takes at most so many elementary steps that it ends within about a second.

    steps: that it takes for the numbers that decide it; what is not finite is left to another rule.

    >>> require_work(1e12, paths=10**9)
    Traceback (most recent call last):
    ValueError: paths must be few enough for 2e+07 steps (1e+12 are asked for), got 1000000000
    """
    if steps > MOST_WORK and all(np.all(np.isfinite(value)) for value in numbers.values()):
        rule = f"few enough for {MOST_WORK:.0e} steps ({steps:.0e} are asked for)"
        _refuse(" and ".join(numbers), rule, ", ".join(map(str, numbers.values())))


def require_shape(shape: tuple[int, ...], **arrays: Any) -> None:
    """Arrays have a shape, such as that of another array.

    >>> require_shape((2,), service_times=[1.0, 2.0, 3.0])
    Traceback (most recent call last):
    ValueError: service_times must be of shape (2,), got (3,)
    """
    for name, value in arrays.items():
        require(np.shape(value) == shape, name, f"of shape {shape}", np.shape(value))


def as_floats(**array: Any) -> NDArray[np.float64]:
    """Real numbers as an array of floats of 64 bits, of the shape that they have; NaN may be among
    them.

    >>> as_floats(latencies=[1, 2])
    array([1., 2.])
    >>> as_floats(latencies=["1"])
    Traceback (most recent call last):
    ValueError: latencies must be real numbers, got ['1']
    """
    return np.asarray(as_numbers(**array), dtype=float)


def as_number(**numbers: Any) -> Any:
    """Real numbers as ints or floats of Python, NaN and infinities too: before a rule of its own.

    >>> as_number(servers=np.uint8(3))
    3
    >>> as_number(servers="3")
    Traceback (most recent call last):
    ValueError: servers must be a real number, got '3'
    """
    used = []
    for name, value in numbers.items():
        try:
            used.append(_plain(value))
        except (TypeError, ValueError, OverflowError):
            _refuse(name, "a real number", _as_given(value))
        if LARGEST < abs(used[-1]) != math.inf:
            _refuse(name, LARGE, value)
    return tuple(used) if len(used) > 1 else used[0]


def as_numbers(**arrays: Any) -> Any:
    """Lists, tuples or arrays of real numbers, with numbers of 64 bits; NaN may be among them.

    >>> as_numbers(sizes=np.array([200, 100], np.uint8)) * 2
    array([400, 200])
    >>> as_numbers(sizes=(size for size in [1, 2]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: sizes must be real numbers, got <generator object ...
    """
    return _all_checked(lambda _: True, "real numbers", arrays)


def widen_fields(record: Any) -> None:
    """The numbers among the fields of a dataclass, also of a frozen one, as what the rules return;
    what breaks a rule stays as it is, for the rule to tell.
    """
    for name, value in vars(record).items():
        single = isinstance(value, _REAL) or (isinstance(value, np.ndarray) and value.ndim == 0)
        if single and type(value) not in (int, float) and math.isfinite(_number(value)):
            object.__setattr__(record, name, _number(value))


def _checked(
    keeps: Callable[[float], bool], rule: str, numbers: dict[str, Any], smallest: float = -LARGEST
) -> Any:
    """Each as an int or a float of Python, which keep a rule: one, or a tuple of several."""
    used = []
    for name, value in numbers.items():
        number = _number(value)
        if not keeps(number):
            many = isinstance(value, list | tuple) or bool(getattr(value, "ndim", 0))
            one = "one number, " if many and not rule.startswith("a ") else ""
            _refuse(name, one + rule, _as_given(value))
        if not smallest <= number <= LARGEST:
            _refuse(name, SMALL if -LARGEST < number < smallest else LARGE, value)
        used.append(number)
    return used[0] if len(used) == 1 else tuple(used)


def _too_large(numbers: NDArray[np.float64]) -> bool:
    """Whether one of them is finite and beyond the range of sizes."""
    sizes = np.abs(numbers)
    if sizes.max(initial=0.0) <= LARGEST:  # nearly always; not with NaN
        return False
    return bool(((sizes > LARGEST) & (sizes < math.inf)).any())


def _all_checked(
    keeps: Callable[[Any], Any], rule: str, arrays: dict[str, Any], smallest: float = -math.inf
) -> Any:
    """The same for what has elements, which all keep a rule."""
    used = []
    for name, value in arrays.items():
        try:
            used.append(_wide(value))
            numbers = np.asarray(used[-1], dtype=float)
        except (TypeError, ValueError, OverflowError):
            _refuse(name, rule, _as_given(value))
        kept = keeps(numbers)
        if kept is not True and not kept.all():
            _refuse(name, rule, _first_of(kept, numbers, value))
        if smallest > -math.inf and numbers.min(initial=math.inf) < smallest:
            _refuse(name, SMALL, value)
        if _too_large(numbers):
            _refuse(name, LARGE, value)
    return tuple(used) if len(used) > 1 else used[0]


def _number(value: Any) -> float:
    """A real number as an int or a float of Python; NaN for everything else, which keeps no
    rule."""
    if type(value) is float:  # nearly always
        return value
    try:
        found = value if type(value) is int else _plain(value)
        float(found)  # which an int may be too large for
        return found
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _plain(value: Any) -> float:
    """A number of another type as an int or a float; TypeError for what is none."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value):
        value = value[()]
    if not isinstance(value, _REAL) or isinstance(value, bool | np.timedelta64):
        raise TypeError
    return int(value) if isinstance(value, Integral) else float(value)


def _wide(value: Any) -> Any:
    """Numbers in a type that counts with 64 bits; TypeError or ValueError for what are none."""
    if type(value) is np.ndarray and value.ndim and value.dtype in _NATIVE:  # nearly always
        return value
    if type(value) in (list, tuple):
        plain = set(map(type, value)) <= _WIDE
        return value if plain else type(value)(map(_wide, value))
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, _REAL):
        return _plain(value)
    found = np.asarray(value)
    if found.dtype.kind == "O" and found.ndim:  # such as a column of Decimals
        found = np.asarray(_wide(found.tolist()))
    if found.dtype.kind not in "biuf" or np.ma.is_masked(value):
        raise TypeError
    if found.dtype.kind == "u" and found.size and found.max() > np.iinfo(np.int64).max:
        raise OverflowError
    wide = found.astype(float if found.dtype.kind == "f" else np.int64, copy=False)
    return wide if wide.ndim else wide[()]


@functools.lru_cache(maxsize=256)
def _interval(text: str) -> Callable[[float], bool]:
    """Whether a number lies in an interval such as "[0, 1)"."""
    try:
        low, high = (float(end.strip()) for end in text[1:-1].replace("∞", "inf").split(","))
        closed_below, closed_above = "([".index(text[0]), ")]".index(text[-1])
    except (ValueError, IndexError) as problem:
        raise ValueError(f"interval must be such as [0, 1), got {text!r}") from problem
    return lambda x: (
        (low <= x if closed_below else low < x) and (x <= high if closed_above else x < high)
    )
