"""Whether the numbers that are said of a figure are drawn in it.

A caption and a description are typed, and what they tell can be read off: an end, an extreme or a
bend of a curve, a point, a bar, a tick, a word in the figure, a value that the function draws with,
a field of the module's `example()`; or a curve at another number that is told, as in “26 percent at
0.5”. A number that is none of these, at the precision that it is told with, is an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Curve = tuple[list[float], list[float]]

CONFIDENCE = 0.95  # of an interval, where nothing else is said
FEW = 12  # points that are told one by one
ROUND = 0.02  # of a number that ends in zeros, which may be round
THINNED = 200  # points that a longer curve is kept with
UNITS = {  # words after a number, and what it may be drawn or written as in their place
    "%": (0.01,),
    "percent": (0.01,),
    "µs": (1e-3, 1e-6),
    "ms": (1e-3,),
    "milliseconds": (1e-3,),
    "s": (1e3,),
    "seconds": (1e3,),
    "minutes": (60.0,),
    "hours": (60.0, 3600.0),
    "days": (24.0, 86400.0),
    "kilobytes": (1e3, 1024.0),
    "thousand": (1e3,),
    "million": (1e6,),
    "billion": (1e9,),
}
_LISTED = re.compile(r",? (?:to|and|or|through) |, |–")  # between numbers of one unit
_UNIT = re.compile(r"\s?(%|[a-zµ]+)")
_TOLD = re.compile(
    r"(?<![\w.,^/_⁻-])(?P<sign>[−-]|minus )?(?P<whole>\d+(?:,\d{3})*|(?=\.\d))(?P<part>\.\d+)?"
    r"(?P<power>⁻?[⁰¹²³⁴-⁹]+)?(?::(?P<minutes>\d\d)\b)?(?P<percent>\s?(?:%|percent))?(?![A-Za-z_\d]|\.\d|[\w]*/[A-Za-z])"
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_ROUGHLY = re.compile(r"(?:about|near|nearly|almost|around|some|close to|roughly|over|under)\s$")
_NUMBER = re.compile(r"[−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")
_TICK = re.compile(r"(?:(\d+)\\times)?10\^\{([−-]?\d+)\}")


@dataclass(frozen=True)
class Told:
    """A number in a text: as it stands there, its value, and by how much it may be off."""

    text: str
    value: float
    slack: float
    scales: tuple[float, ...] = (1.0,)


def told(text: str) -> list[Told]:
    """The numbers of a text; those in names, such as p99 or M/M/1, are none.

    >>> [(one.text, one.value, one.slack) for one in told("p99 of M/M/1 is 1,200 at 0.85 and 7%")]
    [('1,200', 1200.0, 50.0), ('0.85', 0.85, 0.005), ('7%', 7.0, 0.5)]
    """
    found: list[Told] = []
    matches = [*_TOLD.finditer(text)]
    starts, ends = [match.start() for match in matches], [match.end() for match in matches]
    for match in matches:
        whole, part = match["whole"].replace(",", ""), match["part"] or ""
        value = float(f"{whole or 0}{part}")
        slack = 0.5 * 10.0 ** -(len(part) - 1 if part else 0)
        if not part and value:
            zeros = len(whole) - len(whole.rstrip("0"))
            slack = max(slack, min(0.5 * 10.0**zeros, ROUND * value))
        if power := match["power"]:
            base, value = value, value ** int(power.translate(_RAISED))
            slack = slack / base * value if base else slack
        if minutes := match["minutes"]:
            value, slack = value + int(minutes) / 60, 0.05
        if _ROUGHLY.search(text[: match.start()]):
            slack = max(slack, 0.1 * value)
        sign = -1.0 if match["sign"] else 1.0
        unit = _UNIT.match(text, match.start("percent") if match["percent"] else match.end())
        scales = (1.0, *UNITS.get(unit[1] if unit else "", ()))
        found.append(Told(match[0].strip(), sign * value, slack, scales))
    for place in range(len(found) - 2, -1, -1):
        if _LISTED.fullmatch(text, ends[place], starts[place + 1]):
            found[place] = dataclasses.replace(
                found[place], scales=(*found[place].scales, *found[place + 1].scales)
            )
    return found


def drawn(figure: Any, function: Callable[..., Any]) -> dict[str, Any]:
    """What can be read off a figure and the code that drew it: single numbers, and curves as lists
    of x and of y.
    """
    from matplotlib.text import Text

    numbers: set[float] = set(_known(function)) | {CONFIDENCE, float(len(figure.axes))}
    curves: list[Curve] = []
    for text in figure.findobj(Text):
        numbers.update(_in_text(text.get_text()))
    for axes in figure.axes:
        numbers.update((*axes.get_xlim(), *axes.get_ylim(), len(axes.lines), len(axes.patches)))
        for points, is_curve in _points(axes):
            finite = points[np.isfinite(points).all(axis=1)]
            if not len(finite):
                continue
            x, y = finite.T
            few = finite if len(finite) <= FEW else finite[[0, -1, *_turns(y)]]
            numbers.update(few.ravel().tolist())
            numbers.update(float(f(v)) for f in (np.min, np.max) for v in (x, y))
            if is_curve:
                numbers.add(float(len(finite)))
                if np.ptp(x) and np.ptp(y):
                    kept = np.linspace(0, len(x) - 1, min(len(x), THINNED)).round().astype(int)
                    curves.append((_short(x[kept]), _short(y[kept])))
    finite_only = sorted(float(f"{n:.6g}") for n in numbers if math.isfinite(n))
    return {"numbers": finite_only, "curves": curves}


def _short(values: Values) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _turns(y: Values) -> list[int]:
    """Where a curve turns, if it does so a few times."""
    steps = np.sign(np.diff(y))
    turns = (np.flatnonzero(steps[1:] * steps[:-1] < 0) + 1).tolist()
    return turns if len(turns) <= FEW else []


def _points(axes: Any) -> Iterator[tuple[Values, bool]]:
    """The points of every line, bar, marker, band and image of the axes, and whether they are of a
    curve.
    """
    for line in axes.lines:
        yield _pairs(line.get_xydata()), True
    for patch in axes.patches:
        corners = patch.get_patch_transform().transform(patch.get_path().vertices)
        yield _pairs(corners), False
        yield _pairs([np.ptp(corners, axis=0)]), False
    for shape in axes.collections:
        offsets = np.ma.filled(np.ma.asarray(shape.get_offsets()).astype(float), np.nan)
        paths = shape.get_paths()
        if np.any(offsets):
            yield _pairs(offsets), False
        elif len(paths) <= FEW:
            for path in paths:
                yield _pairs(path.vertices), len(path.vertices) > FEW
        if shape.get_array() is not None:
            yield _image(shape.get_array()), False
    for image in axes.images:
        yield _image(image.get_array()), False


def _pairs(points: Any) -> Values:
    return np.asarray(points, dtype=float).reshape(-1, 2)


def _image(values: Any) -> Values:
    cells = np.ma.filled(np.ma.asarray(values).astype(float), np.nan).ravel()
    return np.column_stack([cells, cells])


def _in_text(text: str) -> list[float]:
    """The numbers in a word of the figure, a tick such as 10⁻³ among them."""
    text = text.translate(_RAISED) if "10" not in text else text
    ticks = [float(m[1] or 1) * 10.0 ** int(m[2].replace("−", "-")) for m in _TICK.finditer(text)]
    plain = [m[0].replace(",", "").replace("−", "-") for m in _NUMBER.finditer(text)]
    return ticks + [float(number) for number in plain]


def _known(function: Callable[..., Any]) -> Iterator[float]:
    """The numbers that a function and those of its module that it calls are written with."""
    start = inspect.unwrap(function)
    names, seen, codes = start.__globals__, {""}, [start.__code__]
    while codes:
        code = codes.pop()
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                codes.append(constant)
            else:
                yield from _numbers(constant)
        for name in set(code.co_names) - seen:
            seen.add(name)
            value = inspect.unwrap(names[name]) if name in names else None
            if inspect.isfunction(value):
                if value.__module__ == start.__module__:
                    codes.append(value.__code__)
                    yield from _numbers(value.__defaults__)
                    yield from _numbers(tuple((value.__kwdefaults__ or {}).values()))
            else:
                yield from _numbers(value)


def _numbers(value: Any, limit: int = 40, depth: int = 0) -> Iterator[float]:
    """The numbers in a value: itself, its items and words if they are few, its fields."""
    if isinstance(value, bool) or depth > 3:
        return
    if isinstance(value, int | float | np.number):
        with contextlib.suppress(OverflowError):
            yield float(value)
    elif isinstance(value, str):
        yield from _in_text(value) if len(value) <= limit else []  # a docstring is no source
    elif isinstance(value, dict):
        yield from _numbers((*value.keys(), *value.values()), limit, depth + 1)
    elif isinstance(value, tuple | list | np.ndarray | frozenset | set | range):
        if not (isinstance(value, np.ndarray) and not value.ndim) and len(value) <= limit:
            yield float(len(value))
            for item in value:
                yield from _numbers(item, limit, depth + 1)
    elif isinstance(value, SimpleNamespace) or dataclasses.is_dataclass(value):
        fields = () if isinstance(value, type) else getattr(value, "__dict__", {})
        yield from _numbers(dict(fields), limit, depth + 1)


def untrue(text: str, shown: dict[str, Any], example: Iterable[Any] = ()) -> list[str]:
    """The numbers of a text that nothing says.

    shown: as `drawn` returns it. example: the values of the module's `example()`.
    """
    numbers = told(text)
    if not numbers:
        return []
    asked = [(n, one.value * scale) for n, one in enumerate(numbers) for scale in one.scales]
    who, at = np.array([n for n, _ in asked]), np.array([value for _, value in asked])
    plain = np.array([*shown["numbers"], *_numbers(tuple(example), limit=sys.maxsize)])
    pairs = [_readings(curve, at, who) for curve in shown["curves"]]
    reading = np.abs(np.concatenate([plain, *(value for value, _ in pairs)]))
    of = np.concatenate([np.full(len(plain), -1), *(index for _, index in pairs)])
    wrong = []
    for place, one in enumerate(numbers):
        off = np.abs(reading[of != place][:, None] / one.scales - abs(one.value))
        if not np.any(off <= one.slack * (1 + 1e-6)):
            wrong.append(one.text)
    return wrong


def _readings(
    curve: Curve, at: Values, who: npt.NDArray[np.intp]
) -> tuple[Values, npt.NDArray[np.intp]]:
    """The curve at these numbers, taken for x and for y, and which of the told ones each was."""
    found, of = [], []
    for along, across in (curve, curve[::-1]):
        a, b = np.array(along), np.array(across)
        low, high = np.minimum(a[1:], a[:-1]), np.maximum(a[1:], a[:-1])
        which, step = np.nonzero((at[:, None] >= low) & (at[:, None] <= high) & (low < high))
        share = (at[which] - a[step]) / (a[step + 1] - a[step])
        found.append(b[step] + share * (b[step + 1] - b[step]))
        of.append(who[which])
    return np.concatenate(found), np.concatenate(of)
