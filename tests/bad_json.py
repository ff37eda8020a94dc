"""Values that no file should hold, at every place where a file holds one."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]

BAD_JSON: list[Any] = [
    *(None, True, -1, 1e308, 10**400, 10**9, math.nan, math.inf, "", "x\n", "inf"),
    *([], [None], [[[]]], {}, {"successful": None}, "é" * 2000),
]


def places(data: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a value of JSON where another may stand; of a list, whose elements are read
    alike, in the first two and the last.
    """
    items: Any = list(enumerate(data) if isinstance(data, list) else ())
    items = items[:2] + items[2:][-1:]
    for key, inner in data.items() if isinstance(data, dict) else items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(data: Any, path: Path, value: Any) -> Any:
    """The same with a value at a place. What lies on no way there is shared, and not copied."""
    if not path:
        return value
    same = copy.copy(data)
    same[path[0]] = changed(data[path[0]], path[1:], value)
    return same
