"""The rules that a copy brings along take and refuse what those of the package do."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from serving_mathematics.support import require, short_require

SCALARS = [
    *(0, 1, -1, 3, 2**53 + 2, 0.0, 0.5, 1.0, 2.5, -0.5, math.nan, math.inf, -math.inf),
    *(np.uint8(200), np.int8(-3), np.float32(0.25), np.float64(7), np.array(3), np.array(0.5)),
    *("3", None, True, np.True_, 1j, b"3", [1], np.ones(2)),
]
ARRAYS = [
    *([], [1, 2], (1, 2), [0.5, 0], [1, -1], [2.0, 1.0], [[1, 2], [3, 100]], [math.nan, 1]),
    *(np.array([200, 100], np.uint8), np.arange(3), np.ones((2, 2)), np.array([], float)),
    *(np.array([1.0, math.inf], np.float32), np.array([True, False]), [np.uint8(200)] * 2),
    *(["1"], [1j], [None], np.array(["2026-01-01"], "datetime64[D]"), {1: 2}, 2.5, "3"),
]
PUBLIC = {
    name: rule
    for name, rule in vars(require).items()
    if inspect.isfunction(rule) and not name.startswith("_")
}


def told(rule: Callable[..., Any], value: Any) -> tuple[Any, ...]:
    """What comes back, with its types, or what is said, but for the type of an array of texts."""
    try:
        kept = rule(x=value)
    except ValueError as problem:
        return (str(problem).partition(" of dtype")[0],)
    found = np.asarray(kept)
    return type(kept), found.shape, str(found.dtype), repr(found.tolist())


def test_every_rule_is_there() -> None:
    assert {n for n in PUBLIC if hasattr(short_require, n)} == PUBLIC.keys()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_both_say_the_same(name: str) -> None:
    rules: list[Callable[..., Any]] = [getattr(module, name) for module in (require, short_require)]
    given = ARRAYS if "_all_" in name or name in ("as_floats", "as_numbers") else SCALARS
    pairs = [rules]
    if name == "require_in":
        ends = ("[0, 1)", "(0, 1]", "(-1, 200)", "[1, 3]", "[0.5, inf)", "(0, ∞)")
        pairs = [[partial(rule, interval) for rule in rules] for interval in ends]
    elif name == "require_shape":
        given, pairs = (
            ARRAYS[:14],
            [[partial(rule, shape) for rule in rules] for shape in ((2,), ())],
        )
    elif name == "require_work":
        given, pairs = (
            [3, 10**9],
            [[partial(rule, steps) for rule in rules] for steps in (1.0, 3e9)],
        )
    elif name == "require":
        pairs = [[lambda x, rule=rule: rule(x == 3, "x", "3", x) for rule in rules]]
        given = [3, 4, np.array(3), np.array([3, 3]), np.array([3, 4])]
    elif name == "widen_fields":
        pairs = [[partial(_widened, rule) for rule in rules]]
        given = [3, np.uint8(200), np.float32(0.5), "a", None, np.ones(2), True]
    for one, other in pairs:
        for value in given:
            assert told(one, value) == told(other, value), (name, value)


def _widened(rule: Callable[..., Any], x: Any) -> Any:
    @dataclass(frozen=True)
    class Record:
        x: Any

    rule(record := Record(x))
    return record.x
