"""Bad input is an error that names the argument, the rule and the value.

A rule takes its arguments by name, so that the name in the message is the name in the signature:
`require_positive(mean_service_s=mean_service_s)`. NaN, infinities, complex numbers, text and
numbers beyond the range of a float keep none of the rules.

Source: ISO 31-11 for the intervals.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

_NOT_REAL = (complex, np.complexfloating, str)
COUNTED, COUNTABLE = 2.0**53, "at most 2**53, as far as floats count"


def require(condition: object, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds; also
    for an integer that no float can hold, which keeps a rule such as x < inf.

    >>> require(2 > 1, "answer", "above 1", 2)
    >>> require(False, "utilization", "in [0, 1)", 1.2)
    Traceback (most recent call last):
    ValueError: utilization must be in [0, 1), got 1.2
    """
    huge = isinstance(value, int) and abs(value) > sys.float_info.max
    if huge or not condition:
        _refuse(argument, rule, value)


def _refuse(argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value."""
    text = f"{value}"
    shown = text if len(text) <= 200 else f"{text[:80]}… ({len(text)} characters)"
    raise ValueError(f"{argument} must be {rule}, got {shown}")


def require_positive(**numbers: Any) -> None:
    """Numbers are finite and above 0.

    >>> require_positive(mean_service_s=0.0)
    Traceback (most recent call last):
    ValueError: mean_service_s must be positive and finite, got 0.0
    """
    for name, value in numbers.items():
        if not 0 < _number(value) < math.inf:
            _refuse(name, "positive and finite", value)


def require_non_negative(**numbers: Any) -> None:
    """Numbers are finite and not below 0.

    >>> require_non_negative(arrival_rate=-1.0)
    Traceback (most recent call last):
    ValueError: arrival_rate must be non-negative and finite, got -1.0
    """
    for name, value in numbers.items():
        if not 0 <= _number(value) < math.inf:
            _refuse(name, "non-negative and finite", value)


def require_finite(**numbers: Any) -> None:
    """Numbers are neither NaN nor infinite.

    >>> require_finite(drift=float("nan"))
    Traceback (most recent call last):
    ValueError: drift must be finite, got nan
    """
    for name, value in numbers.items():
        if not math.isfinite(_number(value)):
            _refuse(name, "finite", value)


def require_positive_integer(**numbers: Any) -> None:
    """Numbers are whole and at least 1.

    >>> require_positive_integer(servers=2.5)
    Traceback (most recent call last):
    ValueError: servers must be a positive integer, got 2.5
    """
    for name, value in numbers.items():
        number = _number(value)
        if not (number >= 1 and number % 1 == 0):
            _refuse(name, "a positive integer", value)
        if number > COUNTED:
            _refuse(name, COUNTABLE, value)


def require_non_negative_integer(**numbers: Any) -> None:
    """Numbers are whole and not below 0.

    >>> require_non_negative_integer(retries=-1)
    Traceback (most recent call last):
    ValueError: retries must be a non-negative integer, got -1
    """
    for name, value in numbers.items():
        number = _number(value)
        if not (number >= 0 and number % 1 == 0):
            _refuse(name, "a non-negative integer", value)
        if number > COUNTED:
            _refuse(name, COUNTABLE, value)


def require_in(interval: str, **numbers: Any) -> None:
    """Numbers lie in an interval, written with a bracket at an end that belongs to it.

    interval: such as "[0, 1)". Raises ValueError too when that is not an interval.

    >>> require_in("[0, 1)", utilization=1.0)
    Traceback (most recent call last):
    ValueError: utilization must be in [0, 1), got 1.0
    """
    inside = _interval(interval)
    for name, value in numbers.items():
        if not inside(_number(value)):
            _refuse(name, f"in {interval}", value)


def require_all_positive(**arrays: Any) -> None:
    """Every element is finite and above 0, in arrays of any shape.

    >>> require_all_positive(sizes=[1.0, 0.0])
    Traceback (most recent call last):
    ValueError: sizes must be positive and finite, got [1.0, 0.0]
    """
    for name, value in arrays.items():
        numbers = _numbers(value)
        good = ((numbers > 0) & (numbers < math.inf)).all()
        require(good, name, "positive and finite", value)


def require_all_non_negative(**arrays: Any) -> None:
    """Every element is finite and not below 0, in arrays of any shape.

    >>> require_all_non_negative(waits=[1.0, -1.0])
    Traceback (most recent call last):
    ValueError: waits must be non-negative and finite, got [1.0, -1.0]
    """
    for name, value in arrays.items():
        numbers = _numbers(value)
        good = ((numbers >= 0) & (numbers < math.inf)).all()
        require(good, name, "non-negative and finite", value)


def require_all_finite(**arrays: Any) -> None:
    """No element is NaN or infinite, in arrays of any shape.

    >>> require_all_finite(times=[1.0, float("nan")])
    Traceback (most recent call last):
    ValueError: times must be finite, got [1.0, nan]
    """
    for name, value in arrays.items():
        require(np.isfinite(_numbers(value)).all(), name, "finite", value)


def require_all_sorted(**arrays: Any) -> None:
    """No element is NaN or infinite, and none is smaller than the one before it on the last axis.

    >>> require_all_sorted(arrival_times=[0.0, 2.0, 1.0])
    Traceback (most recent call last):
    ValueError: arrival_times must be finite and sorted, got [0.0, 2.0, 1.0]
    """
    for name, value in arrays.items():
        numbers = _numbers(value)
        row = np.atleast_1d(numbers)
        good = np.isfinite(numbers).all() and (row[..., 1:] >= row[..., :-1]).all()
        require(good, name, "finite and sorted", value)


def require_shape(shape: tuple[int, ...], **arrays: Any) -> None:
    """Arrays have a shape, such as that of another array.

    >>> require_shape((2,), service_times=[1.0, 2.0, 3.0])
    Traceback (most recent call last):
    ValueError: service_times must be of shape (2,), got (3,)
    """
    for name, value in arrays.items():
        require(np.shape(value) == shape, name, f"of shape {shape}", np.shape(value))


def _number(value: Any) -> float:
    """A real number as a float; NaN for everything else, which keeps no rule."""
    if type(value) is float:  # nearly always
        return value
    try:
        real = type(value) is int or not isinstance(value, _NOT_REAL)
        return float(value) if real else math.nan
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _numbers(value: Any) -> Any:
    """Real numbers as an array of floats; a single NaN for everything else."""
    try:
        found = np.asarray(value)
        real = found.dtype.kind in "biuf"
        return found.astype(float, copy=False) if real else np.asarray(math.nan)
    except (TypeError, ValueError, OverflowError):
        return np.asarray(math.nan)


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
