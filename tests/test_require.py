"""What the rules return: numbers of 64 bits whatever they came in; and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.intuition.training_vs_serving.deployment_choice import Replica
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_positive,
    require_all_sorted,
    require_finite,
    require_in,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
    widen_fields,
)


def test_a_narrow_count_does_not_overflow() -> None:
    """As uint8 it gave [−0.33, 0.60] without a warning."""
    assert wilson_interval(12, np.uint8(100)) == wilson_interval(12, 100)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [3, np.int8(3), np.uint64(3), np.float16(3), np.longdouble(3), Fraction(3), Decimal(3)],
)
def test_a_number_comes_back_as_one_of_python(value: Any) -> None:
    whole = isinstance(value, int | np.integer)
    for kept in (
        require_positive(x=value),
        require_in("[0, 9]", x=value),
        as_number(x=np.array(value) if isinstance(value, np.generic) else value),
    ):
        assert kept == 3
        assert type(kept) is (int if whole else float)
    assert type(require_positive_integer(x=value)) is int


@pytest.mark.parametrize(
    "value",
    [True, np.True_, 1j, "3", b"3", None, np.timedelta64(3, "s"), np.array([3]), np.ma.masked],
)
def test_what_is_no_number_keeps_no_rule(value: Any) -> None:
    for rule in (require_positive, require_non_negative, require_positive_integer, as_number):
        with pytest.raises(ValueError, match=r"^x must be "):
            rule(x=value)


@pytest.mark.parametrize("several", [[1, 2], (0.5,), np.array([0.5])])
def test_several_are_told_that_one_is_wanted(several: Any) -> None:
    """“must be positive and finite, got [1, 2]” said what both of them are."""
    with pytest.raises(ValueError, match=r"^x must be one number, positive and finite, got "):
        require_positive(x=several)
    with pytest.raises(ValueError, match=r"^x must be one number, in \[0, 9\], got "):
        require_in("[0, 9]", x=several)
    with pytest.raises(ValueError, match=r"^x must be a positive integer, got "):
        require_positive_integer(x=several)


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.uint32, np.float16, np.float32, ">i4", ">f8"]
)
def test_an_array_comes_back_with_64_bits(kind: Any) -> None:
    array = np.array([[1, 2], [3, 100]], kind)
    for kept in (require_all_positive(x=array), as_numbers(x=array)):
        assert kept.dtype == (np.float64 if array.dtype.kind == "f" else np.int64)
        assert kept.tolist() == [[1, 2], [3, 100]]
    assert as_floats(x=array).dtype == np.float64


def test_what_has_64_bits_is_not_copied() -> None:
    for same in (np.ones(3), np.arange(1, 4), [1, 2.0, np.float64(3)], (1, 2)):
        assert require_all_positive(x=same) is same


def test_lists_keep_their_kind_and_hold_wide_numbers() -> None:
    kept = require_all_sorted(x=[np.uint8(1), Fraction(3, 2), True + 1, Decimal(7)])
    assert kept == [1, 1.5, 2, 7.0]
    assert [*map(type, kept)] == [int, float, int, float]
    assert as_numbers(x=((np.float16(1), 2), (True, False))) == ((1.0, 2), (1, 0))
    assert as_numbers(x=np.array([True, False])).tolist() == [1, 0]
    assert as_numbers(x=np.ma.MaskedArray([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert as_numbers(x=np.array([Decimal(2), Fraction(1, 2)])).tolist() == [2.0, 0.5]


@pytest.mark.parametrize(
    "value",
    [
        np.ma.MaskedArray([1.0, 2.0], [True, False]),
        (number for number in (1, 2)),
        ["1"],
        [1j],
        [[1], [1, 2]],
        np.array(["2026-01-01"], "datetime64[D]"),
        np.array([2**64 - 1], np.uint64),
        {1: 2},
        np.array([1.0, None]),
        np.array([2**70, 1]),
    ],
)
@pytest.mark.parametrize("rule", [require_all_positive, as_floats, as_numbers])
def test_what_holds_no_numbers_is_refused(rule: Callable[..., Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"^x must be "):
        rule(x=value)


@pytest.mark.parametrize(
    ("rule", "value", "told"),
    [
        (require_all_positive, np.r_[np.ones(4000), math.nan, -1], "nan at position 4000"),
        (require_all_positive, [[1.0] * 5, [2.0] * 3 + [0.0, 1]], "0.0 at position 1, 3"),
        (require_all_sorted, np.r_[0:9, 5, 6], "5.0 at position 9"),
        (as_floats, [1.0] * 9 + [None], "None at position 9"),
        (lambda x: require(x > 0, "x", "positive", x), np.arange(9.0), "0.0 at position 0"),
        (as_floats, np.array([Decimal(1)] * 9 + ["x"], object), "'x' at position 9"),
        (as_floats, np.ma.MaskedArray(np.ones(9), np.arange(9) == 3), "None at position 3"),
    ],
)
def test_of_many_numbers_the_first_that_breaks_the_rule_is_shown(
    rule: Callable[..., Any], value: Any, told: str
) -> None:
    """Numpy shows the three at each end, and a list was cut after 80 characters."""
    with pytest.raises(ValueError, match=f"got {told}$"):
        rule(x=value)


@pytest.mark.parametrize("rule", [require_positive, require_non_negative, as_number])
def test_sizes_end_where_products_would(rule: Callable[..., Any]) -> None:
    assert rule(x=1e100) == 1e100
    with pytest.raises(ValueError, match=r"x must be at most 1e100 in size, got 1\.1e"):
        rule(x=1.1e100)
    assert as_number(x=math.inf) == math.inf  # which a rule of its own is to tell
    assert require_positive(x=1e-100) == 1e-100
    with pytest.raises(ValueError, match="x must be at least 1e-100, got 9e-101"):
        require_positive(x=9e-101)
    assert require_non_negative(x=5e-324) == 5e-324
    with pytest.raises(ValueError, match="p must be at least 1e-100"):
        require_in("(0, 1)", p=5e-324)
    with pytest.raises(ValueError, match=r"x must be at most 1e100 in size, got -1\.1e"):
        require_finite(x=-1.1e100)
    with pytest.raises(ValueError, match=r"interval must be such as \[0, 1\), got '0 to 1'"):
        require_in("0 to 1", p=0.5)


def test_sizes_of_arrays_end_there_too() -> None:
    assert as_floats(x=[math.inf, math.nan]).size == 2
    for rule in (as_floats, as_numbers, require_all_positive):
        with pytest.raises(ValueError, match="x must be at most 1e100 in size"):
            rule(x=[1.0, 1.1e100])
    with pytest.raises(ValueError, match="x must be at least 1e-100"):
        require_all_positive(x=[1.0, 9e-101])


def test_work_has_an_end() -> None:
    require_work(2e7, runs=1, steps=2)
    message = (
        r"runs and steps must be few enough for 2e\+07 steps \(1e\+09 are asked for\), got 1, 2"
    )
    with pytest.raises(ValueError, match=message):
        require_work(1e9, runs=1, steps=2)
    require_work(math.inf, runs=math.inf)  # another rule says what is wrong with it


@dataclass(frozen=True)
class Frozen:
    """A few numbers, and what is none."""

    count: Any
    share: Any
    on: Any = True
    name: Any = "a"


def test_fields_are_widened_and_others_stay() -> None:
    record = Frozen(np.uint8(200), np.float32(0.5))
    widen_fields(record)
    assert vars(record) == {"count": 200, "share": 0.5, "on": True, "name": "a"}
    assert [*map(type, vars(record).values())] == [int, float, bool, str]
    broken = Frozen(np.float32(math.nan), 1j)
    widen_fields(broken)
    assert type(broken.count) is np.float32
    made = Replica("toy", np.float16(50), 1.0, 0.0, 1.0, np.uint8(9), 8.0, 2.0)  # type: ignore[arg-type]
    assert (type(made.score), type(made.later_tokens)) == (float, int)
