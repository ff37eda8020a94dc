"""What a reader makes of a file or of fields as they are, and with one value of each another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import bad_json
from .answers import REFUSED, leaves, near_values, reduced
from .test_bad_input import is_number

LONG = "x" * 61  # what is quoted is shorter


def outcome(read: Callable[..., Any], given: tuple[Any, ...] = ()) -> Any:
    """What is read, in a few numbers or words, or that it is refused."""
    try:
        return reduced(list(leaves(read(*given))))
    except Exception:
        return REFUSED


def differing(
    read: Callable[..., Any], texts: Iterable[tuple[str, tuple[Any, ...]]]
) -> dict[str, Any]:
    """What a reader makes of the first, and, by the place where they differ from it, of the others
    where that is something else; of what is refused everywhere, how often.
    """
    found: dict[str, list[Any]] = {}
    for place, given in texts:
        found.setdefault(place, []).append(outcome(read, given))
    usual = next(iter(found.values()))
    told: dict[str, Any] = {}
    for place, made in found.items():
        if set(map(str, made)) == {REFUSED}:
            told["refused"] = told.get("refused", 0) + len(made)
        elif made is usual or any(one != usual[0] for one in made):
            told[place] = made[0] if len(made) == 1 else made
    return told


def held(value: Any) -> dict[bad_json.Path, Any]:
    """What a value of JSON holds, by its place."""
    return {
        path: functools.reduce(lambda inner, key: inner[key], path, value)
        for path in bad_json.places(value)
    }


def near_json(value: Any) -> Iterator[tuple[str, Any]]:
    """A value of JSON, and the same with one that it holds another, or none."""
    yield "as it is", value
    for path, here in held(value).items():
        plain = not isinstance(here, dict | list)
        others: list[tuple[str, Any]] = [("=null", None)]
        others += [("=long", LONG)] if plain else [("={}", {}), ("=[]", [])]
        others += near_values(here, 0) if plain and here is not None else ()
        for _, other in others:
            yield ".".join(map(str, path)), bad_json.changed(value, path, other)


def tied(read: Callable[[Any], Any], value: Any) -> dict[str, Any]:
    """What a reader makes of a value of JSON in which one number is each of the others, which many
    a limit is: of each number, a few that stand for all outcomes.
    """
    numbers = {path: number for path, number in held(value).items() if is_number(number)}
    found = {}
    for path, number in numbers.items():
        others = sorted({*numbers.values()} - {number})
        made = [outcome(read, (bad_json.changed(value, path, other),)) for other in others]
        found[f"{'.'.join(map(str, path))}=others"] = reduced(list(leaves(made)))
    return found


def near_cells(text: str, rows: Iterable[int]) -> Iterator[tuple[str, str]]:
    """A table, and the same with one of its cells another, or with a row or a column less."""
    lines = text.splitlines()
    yield "as it is", text
    for row in rows:
        cells = lines[row].split(",")
        for place, cell in enumerate(cells):
            for _, other in [*near_values(cell), ("=-1", "-1"), ("=long", LONG), ("=''", "")]:
                changed = ",".join([*cells[:place], other, *cells[place + 1 :]])
                whole = "\n".join([*lines[:row], changed, *lines[row + 1 :]])
                yield f"row {row + 1}, cell {place + 1}", whole
        for some in ([], [",".join(cells[:-1])], [""]):
            yield f"row {row + 1}", "\n".join([*lines[:row], *some, *lines[row + 1 :]])
