"""A site in small, with records that nothing has to run for: every directive, every field of the
front matter, every way to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder import SOURCES
from builder.runner import Run
from builder.sliders import grid
from builder.source import Sources
from builder.worker import empty_record

TWICE = (
    '''"""Doubling.

Source: hand.
"""

from __future__ import annotations

import math
import numpy as np
from functools import cache
from serving_mathematics.part.twice.shared import LIMIT, halved, kept_number

WIDE = 3


@cache
def double(value: float) -> float:
    """Twice the value, at most a limit.

    >>> double(2.0)
    4.0
    """
    return min(LIMIT, 2.0 * halved(value) * WIDE)


class Fence:
    """Holds a fence.

````
    """


def long(value: float) -> float:
    """Many lines."""
'''
    + "    value += math.pi\n" * 30
    + '''    return value


def recorded(value: float) -> float:
    """Reads a file that lies beside the module."""
    return value + kept_number() + np.e


def example() -> object:
    """Numbers."""


def check_double() -> None:
    """Twice two is four."""


def figure_line() -> None:
    """Doubling is a straight line."""
'''
)
SHARED = '''"""What two modules need.

Source: hand.
"""

from importlib.resources import files
from pydantic.fields import Field

LIMIT = 10.0
OTHER = 2


def halved(value: float) -> float:
    """Half of it."""
    return value / OTHER


def kept_number() -> float:
    """Of a file that lies beside the module."""
    return float(files(__package__).joinpath("number").read_text())
'''
EXERCISES = '''"""Solutions.

Source: hand.
"""

from serving_mathematics.part.twice.twice import double

HINTS = {"tripled": "Use `double`, then add.", "both": "Two & two."}


def tripled(value: float) -> float:
    """Thrice the value.

    >>> for value in (1.0, 2.0):
    ...
    ...     print(tripled(value))
    3.0
    6.0
    """
    return double(value) + value


class both:
    """A class.

    >>> both()
    """


ANSWER = 42
'''
SERVER = '''"""A server.

Source: hand.
"""

import fastapi
from pydantic import BaseModel


def served() -> object:
    """A server."""
    return fastapi.FastAPI()
'''
TABLE = '''"""A table.

Source: hand.
"""


def cell() -> int:
    """One."""
    return 1
'''
PAGE = """\
---
title: "Twice: & more"
description: Everything doubled.
question: What is <twice>?
thumbnail: line
lesson: Double it.
demo: [check_double, check_other]
---

# Twice

Doubled, two is {{ doubled:.1f }} or {{ doubled }} or {{ fewer:.0f }}, of {{ site.modules }}.
It said {{ said }} and `{{ said }}` in {{ site.seconds:.2f }} s.

| a | b |
|---|---|
| {{ said }} | {{ counted }} |
{{ rows }}

## Symbols

| Symbol | Meaning | Unit | Argument |
|---|---|---|---|
| $x$, $y = 2x$ | value | 1 | `value` |
| $\\rho$ | load | 1 | |
| $y$ | again | |
| $q$ |
| no symbol | |

{{ code double }}

{{ code Fence WIDE }}

{{ code long recorded }}

{{ code served }}

{{ slider line }}

{{ slider timed }}

{{ figure other_line }}

{{ checks }}

{{ downloads }}

```
~~~
{{ code double }}
````
{{ code double }}
```

# Again

Closed `code` {{ said }} and {{ tiny }}.

## Exercises

### 1. Thrice

{{ solution tripled both }}

### 2. Answer

{{ solution ANSWER }}

## Sources

- Little, J. D. C. (1961). A proof.
  { #little-1961 }
- vLLM. A page
  of two lines.
  { #vllm }
"""
OTHER = """\
---
title: Other
question: What else?
description: Less.
thumbnail: none
---
# Other

## Symbols

| Symbol | Meaning |
|---|---|
| $x$ | another value |
| $\\rho$ | load |

{{ code value }}

## Sources

- Little, J. D. C. (1961). A proof, section 2.
  { #little-1961 }
- Erlang, A. K. (1917). Solution.
  { #vllm }

"""
WRONG = """\
---
title: Wrong
modules: [part/twice/twice, nothing, reference/table]
---
# Wrong

{{ code }}
{{ code nothing }}
{{ code double cell }}
{{ code double }} behind
  {{ code double }}
{{ solution nothing }}
{{ figure }}
{{ figure nothing }}
{{ figure line other_line }}
{{ slider other_line }}
{{ checks all }}
{{ downloads all }}
{{ chapters elsewhere }}
{{ exercises all }}
{{ gallery all }}
{{ report all }}
{{ notation all }}
{{ references all }}
{{ tripled }}
{{ site.nothing }}
{{ doubled:.2q }}
{{ nonsense at all
~~~ never ends
{{ code }}
"""
GLOSSARY = """\
---
title: Glossary
glossary: true
---
# Glossary

- **double** — Twice. [Twice](part/twice.md#symbols), [Twice](part/twice.md) and [O](part/other.md)
  { #double }
- **Apple** — None. [Twice](part/twice.md#the-answer)
  { #apple }
- **Apple** — Again. [Twice](part/twice.md#the-answer)
  { #apple-2 }
- **none** — Linked to nothing.
  { #none }
- **anchor** — Without one. [Twice](part/twice.md#symbols)
"""
PAGES = {
    "index.md": "# Home\n\n{{ chapters part }}\n\n{{ site.checks }} {{ site.comparisons }}"
    " {{ site.figures }} {{ site.lines }}\n",
    "part/index.md": "---\ntitle: The part\n---\n# Part\n\n{{ chapters }}\n\n{{ gallery }}\n",
    "part/twice.md": PAGE,
    "part/other.md": OTHER,
    "part/nothing.md": "---\nquestion: No module?\n---\n# Nothing\n\n"
    "## Symbols\n\nNone.\n\n## End\n",
    "reference/served.md": "---\nmodules: [part/twice/server]\n---\n# Served\n\n{{ downloads }}\n",
    "reference/table.md": "---\ntitle: Table\n---\n# Table\n\n{{ checks }}\n{{ downloads }}\n",
    "all.md": "# All\n{{ report }}\n{{ exercises }}\n{{ notation }}\n{{ references }}\n",
    "notation.md": "# Notation\n\n{{ notation }}\n",
    "glossary.md": GLOSSARY,
    "wrong.md": WRONG,
    "yaml.md": "---\ntitle: [a\n---\n# One\n",
    "table.md": "---\njust words\n---\n",
    "list.md": "---\ndemo: one\n---\n",
}


def _row(kind: str, passed: bool = True) -> dict[str, Any]:
    told = {"label": f"a < b & `{kind}`", "kind": kind, "expected": "4", "got": "4.0"}
    return told | {"tolerance": "exact", "passed": passed}


def _check(name: str, source: str, *rows: dict[str, Any]) -> dict[str, Any]:
    told = {"name": name, "line": 7, "claim": f"It is `{name}` & four.", "source": source}
    return told | {"comparisons": list(rows)}


def _figure(name: str, *caption: str) -> dict[str, Any]:
    told = {"name": name, "caption": list(caption), "alt": f'A "{name}" < rising', "labels": []}
    return told | {"width": 557, "height": 336}


DOUBLED = [[1, 2], [2, 4], [8, None]]
X, Y = {"label": "value", "unit": ""}, {"label": "double", "unit": "m"}
SLIDER = {
    "controls": [
        {"label": "value", "values": [0.5, 1.0, 4.0], "text": "v = {:.1f}", "start": 1.0},
        {"label": "times", "values": ["once", "<twice>"], "start": "<twice>"},
    ],
    "panels": [{"kind": "load", "x": X, "y": Y, "curves": [{**Y, "values": DOUBLED}]}],
    "reading": "Doubled {times}, {value} is {double}.",
    "absent": "There is no such value here at all.",
}
TIMED = {
    "controls": [{"label": "rate", "values": [1, 2], "start": 2, "text": "{} & more"}],
    "clock": {"label": "time", "unit": "s", "values": [0.0, 0.5, 1.0], "start": 0.5},
    "panels": [
        {
            "kind": "engine",
            "places": 2,
            "running": [[0, 1, 1], [0, 2, 1]],
            "waiting": [[0, 0, 0], [0, 1, 0]],
        },
        {
            "kind": "lanes",
            "label": "lanes",
            "lanes": ["<a>", "b"],
            "bars": [[("b", 0, 1, "cached")], [("<a>", 0.5, 1, "broken", "1.0")]],
        },
    ],
    "readouts": [{"label": "late", "unit": "%", "values": [[0, 0, 0], [0, 50, 25]]}],
    "reading": "After {time} at {rate}: {late}.",
}
EXAMPLE = {
    "doubled": 4.0,
    "fewer": -3,
    "tiny": -3e-5,
    "counted": 12,
    "said": "a|b *c* <d> `e` [f](g)",
    "rows": "| <b>1</b> | 2 |",
}


def run_of(root: Path, name: str, **changes: Any) -> Run:
    """The record of a module, as if it had run."""
    return Run(Sources(root).module(name), root / "records" / name, empty_record() | changes)


def runs_of(root: Path) -> list[Run]:
    """The records of the site's modules."""
    for variant in ("light", "dark", "light-card", "dark-card"):
        for name in ("line", "timed", "other_line", "hidden"):
            file = root / "records" / "part.twice.twice" / f"{name}-{variant}.svg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"<svg>{name} {variant}</svg>", encoding="utf-8")
    checks = [
        _check("check_double", "By `hand` & head.", _row("simulation"), _row("identity")),
        _check("check_other", "", _row("measured", passed=False)),
        _check("check_more", "Elsewhere.", _row("published"), _row("published")),
    ]
    return [
        run_of(root, "part.twice.exercises", hints={"tripled": "Use `double`.", "both": "2 & 2."}),
        run_of(root, "part.twice.server", needs=["fastapi"]),
        run_of(root, "part.twice.shared", seconds={"import": 0.125}),
        run_of(
            root,
            "part.twice.twice",
            checks=checks,
            figures=[
                _figure("line", "A `line` & more.", "And more."),
                _figure("timed"),
                _figure("other_line"),
                _figure("hidden"),
            ],
            sliders=[
                {"name": "line", "lead": "Move `it`.", "data": grid(SLIDER)},
                {"name": "timed", "lead": "Play it.", "data": grid(TIMED)},
            ],
            example=EXAMPLE,
            seconds={"import": 0.25, "check_double": 1.5},
            reads={f"{SOURCES}/records/{n}.csv": "" for n in ("table", "absent")},
        ),
        run_of(root, "reference.table", checks=[_check("check_table", "", _row("identity"))]),
        run_of(root, "reference.unshown"),
    ]


def write_site(root: Path) -> None:
    """The files of the site."""
    for path, text in _files():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (root / "docs/bytes.md").write_bytes(b"# Two \xff\n")


def _files() -> Iterator[tuple[str, str]]:
    modules = {
        "part/twice/twice": TWICE,
        "part/twice/shared": SHARED,
        "part/twice/exercises": EXERCISES,
        "part/twice/server": SERVER,
        "reference/table": TABLE,
        "reference/unshown": TABLE,
    }
    yield from ((f"{SOURCES}/{name}.py", text) for name, text in modules.items())
    for name in ("", "part/", "part/twice/", "reference/"):
        yield f"{SOURCES}/{name}__init__.py", ""
    for name in ("__main__.py", "exercises.py", "house.mplstyle"):
        yield f"{SOURCES}/{name}", f"# {name}\n"
    yield from ((f"docs/{path}", text) for path, text in PAGES.items())
    yield f"{SOURCES}/records/table.csv", "1,2\n"
