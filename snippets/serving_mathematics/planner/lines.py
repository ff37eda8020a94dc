"""A line of an answer, and numbers as lines say them.

Assumes: nothing about the numbers.

Source: GUM (JCGM 100:2008), section 7.2.6, for two digits of an uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serving_mathematics.planner.capacity_planner import Quantile
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_finite, require_positive


@dataclass(frozen=True)
class Line:
    """One line of an answer: what, how much, the closed form's value, and the chapter's page."""

    what: str
    value: str
    estimate: str
    chapter: str


def sized(value: float) -> str:
    """Three digits, and all before the point.

    value: finite. Raises ValueError otherwise.

    >>> sized(0.12345), sized(12345.6)
    ('0.123', '12,346')
    """
    value = require_finite(value=value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def with_interval(found: Quantile, scale: float = 1.0) -> str:
    """Value and half-width, with the digits that two of the half-width leave.

    found: the quantile. scale: to another unit, positive and finite; else ValueError.

    >>> from serving_mathematics.planner.capacity_planner import Quantile
    >>> with_interval(Quantile(0.012345, 0.00067), 1e3)
    '12.35 ± 0.67'
    """
    scale = require_positive(scale=scale)
    value, half = scale * found.value, scale * found.half_width
    if not half:
        return f"{value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def listed(words: Sequence[str]) -> str:
    """Several of one kind in a sentence.

    words: one or more. Raises ValueError for none.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    require(len(words) > 0, "words", "one or more", "none")
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def check_digits_by_hand() -> None:
    """An interval has two digits, and its value as many after the point.

    Source: by hand.
    """
    for value, half, text in (
        (0.1298, 0.0096, "0.1298 ± 0.0096"),
        (12.3, 15.0, "12 ± 15"),
        (2.0, 0.0, "2"),
    ):
        checks.equal(text, with_interval(Quantile(value, half)), text)


def check_bad_input_is_refused() -> None:
    """No words, and numbers that are none, name the argument."""
    checks.raises("none", listed, [], match="words must be one or more")
    checks.raises("NaN", sized, math.nan, match="value must be finite")
