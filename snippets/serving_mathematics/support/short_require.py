"""The rules of `require.py` in a few lines, which a copied function brings along in their place.

Of numbers of Python and numpy, and of lists and arrays of them, they take and refuse the same, with
the same words, and count with 64 bits. A Decimal or a Fraction is refused here, and a size beyond
10¹⁰⁰ or a masked element is not.

Source: `require.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNTED = 2.0**53  # as far as floats count
MOST_WORK = 2e7  # elementary steps of a call, which take about a second


def require(condition: object, argument: str, rule: str, value: object) -> None:
    """Raise ValueError with the argument, the rule and the value unless the condition holds."""
    if not (condition.all() if isinstance(condition, np.ndarray) else condition):
        raise ValueError(f"{argument} must be {rule}, got {value}")


def require_positive(**numbers: Any) -> Any:
    """Numbers are finite and above 0."""
    return _checked(lambda x: 0 < x < math.inf, "positive and finite", numbers)


def require_non_negative(**numbers: Any) -> Any:
    """Numbers are finite and not below 0."""
    return _checked(lambda x: 0 <= x < math.inf, "non-negative and finite", numbers)


def require_finite(**numbers: Any) -> Any:
    """Numbers are neither NaN nor infinite."""
    return _checked(math.isfinite, "finite", numbers)


def require_positive_integer(**numbers: Any) -> Any:
    """Numbers are whole and at least 1."""
    return _as_counts(1, "a positive integer", numbers)


def require_non_negative_integer(**numbers: Any) -> Any:
    """Numbers are whole and not below 0."""
    return _as_counts(0, "a non-negative integer", numbers)


def require_in(interval: str, **numbers: Any) -> Any:
    """Numbers lie in an interval such as "[0, 1)", with a bracket at an end that belongs to it."""
    low, high = (float(end.replace("∞", "inf")) for end in interval[1:-1].split(","))
    ends = [end for end, bracket in ((low, interval[0]), (high, interval[-1])) if bracket in "[]"]
    return _checked(lambda x: low < x < high or x in ends, f"in {interval}", numbers)


def require_all_positive(**arrays: Any) -> Any:
    """Every element is finite and above 0, in arrays of any shape."""
    return _all_checked(lambda x: (x > 0) & (x < math.inf), "positive and finite", arrays)


def require_all_non_negative(**arrays: Any) -> Any:
    """Every element is finite and not below 0, in arrays of any shape."""
    return _all_checked(lambda x: (x >= 0) & (x < math.inf), "non-negative and finite", arrays)


def require_all_finite(**arrays: Any) -> Any:
    """No element is NaN or infinite, in arrays of any shape."""
    return _all_checked(np.isfinite, "finite", arrays)


def require_all_sorted(**arrays: Any) -> Any:
    """No element is NaN or infinite, or smaller than the one before it on the last axis."""

    def in_order(x: NDArray[Any]) -> bool:
        return bool(np.all(np.isfinite(x)) and np.all(x[..., 1:] >= x[..., :-1]))

    return _all_checked(lambda x: in_order(np.atleast_1d(x)), "finite and sorted", arrays)


def require_work(steps: float, /, **numbers: Any) -> None:
    """A call takes at most so many elementary steps that it ends within about a second."""
    if all(np.all(np.isfinite(value)) for value in numbers.values()):
        rule = f"few enough for {MOST_WORK:.0e} steps ({steps:.0e} are asked for)"
        given = ", ".join(map(str, numbers.values()))
        require(not steps > MOST_WORK, " and ".join(numbers), rule, given)


def require_shape(shape: tuple[int, ...], **arrays: Any) -> None:
    """Arrays have a shape, such as that of another array."""
    for name, found in ((name, np.shape(value)) for name, value in arrays.items()):
        require(found == shape, name, f"of shape {shape}", found)


def as_floats(**array: Any) -> NDArray[np.float64]:
    """Real numbers as an array of floats of 64 bits; NaN may be among them."""
    return np.array(as_numbers(**array), dtype=np.float64)


def as_number(**numbers: Any) -> Any:
    """Real numbers as those of Python, NaN and infinities too: before a rule of its own."""
    return _checked(lambda _: True, "a real number", numbers)


def as_numbers(**arrays: Any) -> Any:
    """Lists, tuples or arrays of real numbers, with numbers of 64 bits; NaN may be among them."""
    return _all_checked(lambda _: True, "real numbers", arrays)


def widen_fields(record: Any) -> None:
    """The numbers among the fields of a dataclass, also of a frozen one, as those of Python."""
    for name, value in vars(record).items():
        if np.ndim(value) == 0 and isinstance(value, np.generic | np.ndarray):
            object.__setattr__(record, name, value.item())


def _checked(keeps: Callable[[Any], Any], rule: str, numbers: dict[str, Any]) -> Any:
    """Each as a number of Python that keeps a rule: one, or a tuple of several."""
    used = []
    for name, value in numbers.items():
        single = isinstance(value, np.generic | np.ndarray) and np.ndim(value) == 0
        number = value.item() if single else value
        real = isinstance(number, int | float) and not isinstance(number, bool)
        many = isinstance(number, list | tuple | np.ndarray) and not rule.startswith("a ")
        told = f"one number, {rule}" if many else rule
        require(real and keeps(number), name, told, number if real else _as_given(value))
        used.append(number)
    return used[0] if len(used) == 1 else tuple(used)


def _as_counts(least: int, rule: str, numbers: dict[str, Any]) -> Any:
    """Each as an int of Python, and so few that a float can count them."""
    _checked(lambda x: x >= least and x % 1 == 0, rule, numbers)
    counts = {name: int(value) for name, value in numbers.items()}
    return _checked(lambda x: x <= COUNTED, "at most 2**53, as far as floats count", counts)


def _all_checked(keeps: Callable[[Any], Any], rule: str, arrays: dict[str, Any]) -> Any:
    """The same for what has elements, which all keep a rule; a list stays one."""
    used = []
    for name, value in arrays.items():
        found = np.asarray(value)
        real = found.dtype.kind in "biuf"
        wide = found.astype(np.float64 if found.dtype.kind == "f" else np.int64) if real else found
        require(real and np.all(keeps(wide)), name, rule, _as_given(value))
        kept = wide if wide.ndim else wide.item()
        used.append(type(value)(wide.tolist()) if isinstance(value, list | tuple) else kept)
    return used[0] if len(used) == 1 else tuple(used)


def _as_given(value: Any) -> object:
    """What is refused, so that text is seen to be that."""
    return repr(value) if isinstance(value, str) else value
