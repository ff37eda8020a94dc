"""Which caller a change breaks, and which check of the build would have told.

Each change is made to an endpoint, each caller sends its request and reads the events as its code
does, and each check looks at what it can see: schemas, fingerprints, the form of streams, and
answers that were stored. So who breaks and who tells is run, not judged.

Assumes: the changes and callers of `callers`; checks run on a quiet engine, without the gateway.

Source: the checks are those of the chapter; the changes have their sources in `callers`.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from serving_mathematics.intuition.endpoints_as_contracts.callers import (
    CALLERS,
    CHANGES,
    _arguments,
    _Endpoint,
    _served,
    _text,
)
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import (
    answer_changes,
    chat_violations,
)
from serving_mathematics.intuition.endpoints_as_contracts.event_streams import stream_errors
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

CHECKS = ("schema", "fingerprints", "streams", "stored answers")
ASKED: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "the schema": CHECKS[:1],
    "schema and fingerprints": CHECKS[:2],
    "all four": CHECKS,
}


@functools.cache
def _outcomes(change: str) -> tuple[frozenset[str], frozenset[str]]:
    """The checks that object to a change, and the callers that it breaks."""
    new, old = CHANGES[change], _Endpoint()
    told = {
        "schema": bool(chat_violations(old.contract, new.contract)),
        "fingerprints": bool(answer_changes(old.contract, new.contract)),
        "streams": False,
        "stored answers": False,
    }
    for caller in CALLERS.values():
        quiet = _served(new, caller, quiet=True)
        lines = [*map(json.dumps, quiet), "[DONE]"]
        told["streams"] |= bool(quiet) and bool(stream_errors(lines))
        said = [(_text(e), _arguments(e)) for e in (quiet, _served(old, caller, quiet=True))]
        told["stored answers"] |= said[0] != said[1]
    broken = {name for name, one in CALLERS.items() if not one.reads(_served(new, one))}
    return frozenset(name for name in CHECKS if told[name]), frozenset(broken)


def _missed(asked: Iterable[str], callers: Iterable[str]) -> list[str]:
    """Changes that break one of these callers, and to which none of these checks objects."""
    rows = {change: _outcomes(change) for change in CHANGES}
    some, those = set(asked), set(callers)
    return [name for name, (told, broken) in rows.items() if broken & those and not told & some]


def _told_by_schema() -> list[float]:
    """Of the changes that break a caller, the share of which the schema tells: of each caller that
    some change breaks."""
    rows = [_outcomes(change) for change in CHANGES]
    broken = [[told for told, those in rows if caller in those] for caller in CALLERS]
    return [sum("schema" in told for told in some) / len(some) for some in broken if some]


def example() -> SimpleNamespace:
    """The counts quoted in the text, and a share in percent."""
    rows = [_outcomes(change) for change in CHANGES]
    breaking = [told for told, broken in rows if broken]
    return SimpleNamespace(
        changes=len(CHANGES),
        callers=len(CALLERS),
        breaking=len(breaking),
        told_by_schema=sum("schema" in told for told in breaking),
        least_told=100 * min(_told_by_schema()),
        told_by_either=sum(bool(told & set(CHECKS[:2])) for told in breaking),
    )


def figure_released_changes(figure: Figure) -> None:
    """Schemas and fingerprints catch all but two of the changes that break a caller: no check in
    the build sees the batch or the gateway.

    “Streams” tests the form of recorded streams; “stored answers” sends old requests again.

    Alt: Table of dots with a row for each change and a column for each of four checks and six
    callers. Blue dots, for checks that object, are in the first column in the upper rows and in the
    second in the lower ones. Red dots, for callers that break, are in nearly every row; the last
    two rows have red dots and no blue one.
    """
    figure.set_size_inches(5.8, 5.0)
    axes = figure.subplots()
    columns = [*CHECKS, *CALLERS]
    places = [column + (column >= len(CHECKS)) * 0.6 for column in range(len(columns))]
    dots: dict[str, list[tuple[float, int]]] = {"C0": [], "C3": [], "C4": []}
    for row, change in enumerate(CHANGES):
        found = frozenset().union(*_outcomes(change))
        for place, name in zip(places, columns, strict=True):
            dots[("C0" if name in CHECKS else "C3") if name in found else "C4"].append((place, row))
    for colour, at in dots.items():
        size, alpha = (8, 0.4) if colour == "C4" else (70, 1.0)
        across, down = zip(*at, strict=True)
        axes.scatter(across, down, s=size, color=colour, alpha=alpha)
    axes.set_xticks(places, columns, rotation=40, ha="left")
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(CHANGES)), list(CHANGES))
    axes.set(ylim=(len(CHANGES) - 0.4, -0.6), xlabel="check that objects | caller that breaks")
    axes.set_ylabel("change to the endpoint")
    axes.grid(False)


def slider_released_changes() -> dict[str, Any]:
    """Pick a change, then let the build run more checks: which callers still break?"""
    breaking = [told for told, broken in map(_outcomes, CHANGES) if broken]

    def row(change: str, asked: str) -> list[str]:
        told, broken = _outcomes(change)
        stopped = told & set(ASKED[asked])
        objects = {one: "answer" if one in stopped else "cached" for one in told}
        breaks = dict.fromkeys(broken, "idle" if stopped else "broken")
        return [(objects | breaks).get(column, "free") for column in (*CHECKS, "", *CALLERS)]

    def per_run(value: Callable[[str, str], Any]) -> list[list[Any]]:
        return [[value(change, asked) for asked in ASKED] for change in CHANGES]

    def counted(label: str, value: Callable[[str, str], Any]) -> dict[str, Any]:
        return {"label": label, "unit": "", "decimals": 0, "values": per_run(value)}

    return {
        "controls": [
            {"label": "change", "values": list(CHANGES), "start": "another tool parser"},
            {"label": "the build checks", "values": list(ASKED), "start": "the schema"},
        ],
        "panels": [
            {
                "kind": "cells",
                "label": "checks in the build, and callers",
                "rows": list(CHANGES),
                "columns": [*CHECKS, "", *CALLERS],
                "cells": per_run(lambda _, asked: [row(change, asked) for change in CHANGES]),
            },
        ],
        "readouts": [
            counted("breaks", lambda change, _: len(_outcomes(change)[1])),
            counted("object", lambda change, asked: len(_outcomes(change)[0] & set(ASKED[asked]))),
            counted("stopped", lambda _, asked: sum(bool(t & set(ASKED[asked])) for t in breaking)),
        ],
        "legend": {
            "answer": "check objects",
            "cached": "would object, but is not run",
            "broken": "caller breaks",
            "idle": "would break, but is stopped",
            "free": "sees nothing, or reads on",
        },
        "reading": "{breaks} of six callers would break on “{change}”, and {object} of the checks"
        f" that the build runs would object. Of {len(breaking)} changes that break a caller,"
        " the build stops {stopped}.",
    }


def check_schema_tells_one_caller_all_and_another_little() -> None:
    """Schemas detect all the changes that break one caller, and one in five of those that break
    another.

    Source: by hand, from the callers: billing reads one field, whose name the schema has; the spam
    filter depends on the likeliest word, and of five changes that move it, only an ignored
    parameter is in the schema.
    """
    told = _told_by_schema()
    checks.close("most", max(told), 1.0, rtol=1e-12)
    checks.close("least", min(told), 1 / 5, rtol=1e-12)


def check_schema_is_half_whoever_calls() -> None:
    """For any set of these callers, schemas and fingerprints detect every breaking change in the
    endpoint itself, while schemas alone miss one for most sets; no check in the build sees the
    batch or the gateway.

    Source: all sets of callers, each change served to each.
    """
    sets = [some for size in range(1, 7) for some in itertools.combinations(CALLERS, size)]
    outside = {"a larger batch, on many GPUs", "a shorter time-out"}
    both = [set(_missed(CHECKS[:2], some)) <= outside for some in sets]
    checks.holds(f"schema and fingerprints, {len(sets)} sets of callers", all(both))
    alone = [bool(set(_missed(CHECKS[:1], some)) - outside) for some in sets]
    checks.inside("share of sets where the schema alone misses one", sum(alone) / 63, 0.8, 0.99)
    checks.equal("seen by no check", set(_missed(CHECKS, CALLERS)), outside)
    harmless = [name for name in CHANGES if not _outcomes(name)[1]]
    checks.equal("break nobody", harmless, ["a parameter is added", "a faster engine"])
    told = [bool(_outcomes(name)[0] & set(CHECKS[:2])) for name in harmless]
    checks.equal("of these, detected", told, [False, True])
