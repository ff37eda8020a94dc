"""Whether the numbers that are said of a figure are drawn in it.

A caption and a description are typed, and what they tell can be read off: an end or an extreme of a
line, a point, a word in the figure, a number that the module is written with, or a field of its
`example()`. A number that is none of these, at the precision that it is told with, is an error.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

CONFIDENCE = 0.95  # of an interval, where nothing else is said
FEW = 12  # points that are told one by one
WORDS = 40  # letters of a text in code that is no docstring
ROUND = 0.02  # of a number that ends in zeros, which may be round
UNITS = {  # words after a number, and what it may be drawn or written as in their place
    "%": (0.01,),
    "percent": (0.01,),
    "ms": (1e-3,),
    "s": (1e3,),
    "minutes": (60.0,),
    "hours": (60.0, 3600.0),
    "million": (1e6,),
    "billion": (1e9,),
}
_UNIT = re.compile(r"\s?(%|[a-zµ]+)")
_TOLD = re.compile(
    r"(?<![\w.,^/_⁻-])(?P<whole>\d+(?:,\d{3})*|(?=\.\d))(?P<part>\.\d+)?"
    r"(?P<power>⁻?[⁰¹²³⁴-⁹]+)?(?P<percent>\s?(?:%|percent))?(?![A-Za-z_\d]|\.\d|[\w]*/[A-Za-z])"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_NUMBER = re.compile(r"[−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Told:
    """A number in a text: as it stands there, its size, and by how much it may be off."""

    text: str
    value: float
    slack: float
    scales: tuple[float, ...] = (1.0,)


def told(text: str) -> list[Told]:
    """The numbers of a text; those in names, such as p99 or M/M/1, are none.

    >>> [(one.text, one.value, one.slack) for one in told("p99 of M/M/1 is 1,200 at 0.85 and 7%")]
    [('1,200', 1200.0, 24.0), ('0.85', 0.85, 0.005), ('7%', 7.0, 0.5)]
    """
    found: list[Told] = []
    for match in _TOLD.finditer(text):
        whole, part = match["whole"].replace(",", ""), match["part"] or ""
        value = float(f"{whole or 0}{part}")
        slack = 0.5 * 10.0 ** -(len(part) - 1 if part else 0)
        if not part and value:
            zeros = len(whole) - len(whole.rstrip("0"))
            slack = max(slack, min(0.5 * 10.0**zeros, ROUND * value))
        if power := match["power"]:
            base, value = value, value ** int(power.translate(_RAISED))
            slack = slack / base * value if base else slack
        unit = _UNIT.match(text, match.start("percent") if match["percent"] else match.end())
        scales = (1.0, *UNITS.get(unit[1] if unit else "", ()))
        found.append(Told(match[0], value, slack, scales))
    return found


def drawn(figure: Any) -> list[float]:
    """What can be read off a figure: what is written there, and of each line the ends and extremes,
    and its points where they are few.
    """
    from matplotlib.text import Text

    numbers = _plain(text.get_text() for text in figure.findobj(Text))
    for line in (line for axes in figure.axes for line in axes.lines):
        points = np.asarray(line.get_xydata(), dtype=float).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            few = points if len(points) <= FEW else points[[0, -1]]
            numbers += np.vstack([few, points.min(axis=0), points.max(axis=0)]).ravel().tolist()
    return numbers


@functools.lru_cache(maxsize=1)
def written(source: str) -> list[float]:
    """The numbers that a module is written with, and those in its words."""
    nodes = ast.walk(ast.parse(source))
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    return _plain(value for value in constants if not isinstance(value, str) or len(value) <= WORDS)


def _plain(values: Iterable[Any]) -> list[float]:
    """The numbers among values, and those in texts."""
    found = list[float]()
    for value in values:
        if isinstance(value, str):
            texts = (match[0].replace(",", "") for match in _NUMBER.finditer(value))
            found += [float(text.replace("−", "-")) for text in texts]
        elif isinstance(value, int | float) and abs(value) < sys.float_info.max:
            found.append(float(value))
    return found


def untrue(text: str, shown: Iterable[float], example: Iterable[Any] = ()) -> list[str]:
    """The numbers of a text that nothing says.

    shown: in the figure or its module. example: the values of the module's `example()`.
    """
    known = np.abs([*shown, *_plain(example), CONFIDENCE])
    return [
        one.text
        for one in told(text)
        if not any(
            np.any(np.abs(known / scale - one.value) <= one.slack * (1 + 1e-6))
            for scale in one.scales
        )
    ]
