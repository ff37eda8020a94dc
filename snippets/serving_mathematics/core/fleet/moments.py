"""Times and counts as logs write them.

Source: ISO 8601-1:2019 for dates with a zone and a fraction.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import require, require_non_negative

SINCE_1970 = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # from which sizes on, and how many a second
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


def whole_number(value: Any, what: str) -> int:
    """A count, as a number or as text.

    >>> whole_number("12", "line 3: prompt tokens")
    12
    """
    text = str(value)
    fine = re.fullmatch(r"\d{1,19}(\.0+)?", text, re.ASCII)
    require(fine, what, "a whole number, not negative", repr(text[:40]))
    return int(text.partition(".")[0])


def moments_s(
    cells: Sequence[Any], lines: Sequence[int], per_s: float = 0.0
) -> npt.NDArray[np.float64]:
    """Times in seconds since 1970 or since some start, shape (n,).

    cells: ISO 8601, or numbers. lines: where each stands. per_s: how many numbers make a second; 0
    for seconds, or what their size says: from 10¹¹, 10¹⁴ and 10¹⁷ on they are milliseconds,
    microseconds and nanoseconds since 1970. Raises ValueError on anything else.

    >>> moments_s(["2023-11-16 18:15:46.5", "2023-11-16 18:15:48"], [2, 3]).tolist()[1] % 60
    48.0
    """
    per_s = require_non_negative(per_s=per_s)
    numeric = bool(cells) and NUMBER.fullmatch(str(cells[0])) is not None
    found = np.zeros(len(cells))
    for place, (cell, line) in enumerate(zip(cells, lines, strict=True)):
        text = str(cell)
        try:
            found[place] = float(text) if numeric else _moment(text)
        except (ValueError, OverflowError):
            found[place] = np.nan
        if not np.isfinite(found[place]):
            rule = "ISO 8601, or a number of seconds" + (", as those before it" if place else "")
            require(False, f"line {line}: the time", rule, repr(text[:40]))
    largest = float(np.abs(found).max(initial=0.0)) if numeric else 0.0
    by_size = next((many for least, many in SINCE_1970 if largest >= least), 1.0)
    return found / (per_s or by_size) if numeric else found


def _moment(text: str) -> float:
    """Seconds since 1970; all digits of a fraction count."""
    plain, fraction = re.fullmatch(r"([^.]*)(\.\d+)?.*", text).groups()  # type: ignore[union-attr]
    zone = text[len(plain) + len(fraction or "") :].replace("Z", "+00:00")
    moment = datetime.datetime.fromisoformat(plain.replace("Z", "+00:00") + zone)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp() + float(fraction or 0)
