"""A chapter in small that keeps every contract, at the least of what each asks for; what a fault
makes of it is for the rules to say.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from builder import SOURCES
from builder.runner import Run
from builder.sliders import grid

from .small_site import run_of

PAGE = """\
---
title: First
description: A sentence of fifty characters for search engines.
question: How many are first?
thumbnail: one
demo: [check_1, check_2, check_3]
lesson: Thirty characters, and a stop.
---

# First

Two are {{ doubled:.1f }} and {{ halved }}, says [Little (1961)](#little-1961).
So do [Erlang](#erlang-1917) and [vLLM](#vllm).

## The answer

Here.

## On your engine

Read it.

## Doubling

{{ code double Kept }}

{{ code half }}

{{ slider one }}

{{ figure two }}

## Where the textbook differs

Less.

## Where it breaks

There.

## In production

Measure.
See [the other](#checks), [other](../capacity/second.md#twice-as-much), and $x^2$.

## Exercises

### 1. One

{{ solution one }}

### 2. Two

{{ solution two }}

### 3. Three

{{ solution three }}

## Sources

- Little, J. D. C. (1961). A proof. *Operations Research*.
  { #little-1961 }
- Erlang, A. K. (1917). Solution. [link](https://a.test/)
  { #erlang-1917 }
- vLLM. [Documents](https://a.test/), scheduler.
  { #vllm }

## Checks

{{ checks }}

{{ downloads }}

## Symbols

| Symbol | Meaning | Unit | Argument |
|---|---|---|---|
| $a$ | first | 1 | `value` |
| $b$ | second | 1 | `double`, `other` |
| $c$ | third | 1 | `shape` |
"""
MODULE = '''"""Doubling.

Source: hand.
"""

from __future__ import annotations

import numpy as np

from serving_mathematics.capacity.first.other import half


def double(value: float, *, other: float = 1.0) -> float:
    """Twice the value.

    >>> double(2.0)
    4.0
    """
    shape = np.shape(value)
    return half(4.0 * value * other) if not shape else 0.0


class Kept:
    """What is kept."""


def example() -> object:
    """Numbers."""
    return double(2.0)


def check_1() -> None:
    """Right."""
    double(1.0)


def figure_one(figure: object) -> None:
    """One."""
    del figure
'''
OTHER = '''"""Halving.

Source: hand.
"""


def half(value: float) -> float:
    """Half of it.

    >>> half(3.0)
    1.5
    """
    return value / 2


async def _later(rng: object) -> object:
    return rng
'''
EXERCISES = (
    '''"""Solutions.

Source: hand.
"""

HINTS = {
    "one": "A hint of thirty characters...",
    "two": "'''
    + 300 * "x"
    + '''",
    "three": "A hint that is neither short nor long.",
}


def one() -> int:
    """One.

    >>> one()
    1
    """
    return 1


def two() -> int:
    """Two.

    >>> two()
    2
    """
    return 2


def three(rng: object) -> object:
    """Three, of random numbers."""
    return [rng, 3]
'''
)
INDEX = '''"""First: How many are first?"""

from serving_mathematics.support.exports import exported

__all__, __getattr__, __dir__ = exported(
    __name__,
    {"capacity.first.first": ["double", "Kept"], "capacity.first.other": ["half"]},
)
'''
TABLE = '''"""A table.

Source: hand.
"""


def check_7() -> None:
    """Right."""
'''
TESTS = "double, Kept, one, two, three, half\nslider_one()\n"
SECOND = """\
---
title: Second
question: And then?
---
# Second

## Twice as much

## Symbols

| Symbol | Meaning |
|---|---|
| $z$ | another |

## The end
"""
NAV = """\
site_name: Small
nav:
  - index.md
  - Capacity:
      - capacity/index.md
      - capacity/second.md  # there
      - capacity/first.md
  - start.md
  - notation.md
  - glossary.md
"""
FILES = {
    "docs/index.md": "# Home\n",
    "docs/capacity/index.md": "---\ntitle: 'Capacity'\n---\n# Capacity\n",
    "docs/capacity/first.md": PAGE,
    "docs/capacity/second.md": SECOND,
    "docs/notation.md": "# Notation\n",
    "docs/start.md": "# Start\n\n## Size a fleet\n\n1. [Second](capacity/second.md): a.\n"
    "2. [First](capacity/first.md): b.\n\nMore.\n\n## Cut\n\nNothing.\n\n## Cook\n\n"
    "1. [A](other/a.md): c.\n2. [B](other/b.md): d.\n3. [C](capacity/second.md): e.\n",
    "docs/glossary.md": "- **one** — First. [First](capacity/first.md#checks)\n  { #one }\n",
    "mkdocs.yml": NAV,
    "README.md": "| Part | What |\n|---|---|\n| Capacity | first, second |\n",
    "tests/capacity/first/test_first.py": TESTS,
    "tests/capacity/first/test_other.py": "half\n",
    "tests/capacity/first/test_exercises.py": "one, two, three\n",
    f"{SOURCES}/__init__.py": "",
    f"{SOURCES}/capacity/__init__.py": "",
    f"{SOURCES}/capacity/first/__init__.py": INDEX,
    f"{SOURCES}/capacity/first/first.py": MODULE,
    f"{SOURCES}/capacity/first/other.py": OTHER,
    f"{SOURCES}/capacity/first/exercises.py": EXERCISES,
    f"{SOURCES}/support/measuring.py": "def read_record() -> object:\n    return open(__file__)\n",
}
ALT = "A line that is drawn from zero to one, and on to the number two"[:60]


def write_chapter(root: Path) -> None:
    """The files of the chapter, and of the pages around it, and no others."""
    shutil.rmtree(root, ignore_errors=True)
    for path, text in FILES.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def records_of(root: Path) -> dict[str, Run]:
    """What its modules would have left."""
    comparison = {"label": "a", "kind": "identity", "expected": "1", "tolerance": "exact"}
    rows = [comparison | {"passed": True, "got": got} for got in ("1", "ValueError: a")]
    checks = [
        {"name": f"check_{n}", "line": n, "claim": "Right.", "source": "Hand.", "comparisons": rows}
        for n in (1, 2, 3, 4, 5)
    ]
    refusal = {"name": "check_6", "line": 6, "claim": "Refused.", "source": ""}
    checks.append(refusal | {"comparisons": rows[1:]})
    axis, values = {"label": "curve", "unit": ""}, {"values": [1, 2]}
    data = grid(
        {
            "controls": [{"label": "b", "values": [1, 2], "start": 1}],
            "panels": [{"kind": "load", "x": axis, "y": axis, "curves": [axis | values]}],
            "readouts": [{"label": "readout", "unit": ""} | values],
            "reading": "{b}: {curve}, {readout}",
        }
    )
    first = {
        "checks": checks,
        "figures": [
            {"name": name, "caption": ["Found."], "alt": ALT, "labels": [["a", "b"], ["c", "d"]]}
            | {"width": 2, "height": 1}
            for name in ("one", "two")
        ],
        "sliders": [{"name": "one", "lead": "Move it.", "data": data}],
        "example": {"doubled": 4.0, "halved": 1},
    }
    changes = {"first": first, "other": {}, "exercises": {}}
    return {
        (name := f"capacity.first.{module}"): run_of(root, name, **others)
        for module, others in changes.items()
    }


def changed(record: dict[str, Any], way: str, value: Any) -> None:
    """Put a value at a place of a record, such as `figures.0.alt`."""
    *steps, last = way.split(".")
    place: Any = record
    for step in steps:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value


SHORT = {
    "page": "docs/capacity/first.md",
    "index": f"{SOURCES}/capacity/first/__init__.py",
    "module": f"{SOURCES}/capacity/first/first.py",
    "other": f"{SOURCES}/capacity/first/other.py",
    "exercises": f"{SOURCES}/capacity/first/exercises.py",
    "stray": f"{SOURCES}/reference/table.py",
    "tests": "tests/capacity/first/test_first.py",
    "halving": "tests/capacity/first/test_other.py",
    "solving": "tests/capacity/first/test_exercises.py",
    "tabling": "tests/reference/test_table.py",
    "second": "docs/capacity/second.md",
    "start": "docs/start.md",
    "glossary": "docs/glossary.md",
    "nav": "mkdocs.yml",
    "readme": "README.md",
    "part": "docs/capacity/index.md",
    "another": "docs/other/second.md",
}
_DESCRIPTION = "description: A sentence of fifty characters for search engines."
_LESSON = "lesson: Thirty characters, and a stop."
_SOURCE = "- vLLM. [Documents](https://a.test/), scheduler."
_FIRST = "title: First\n"
FAULTS: dict[str, list[tuple[str, str, str]]] = {  # in which file what becomes what
    "nothing": [],
    "no title": [("page", _FIRST, "")],
    "no description": [("page", _DESCRIPTION, "")],
    "no question": [("page", "question: How many are first?", 'question: ""')],
    "no thumbnail": [("page", "thumbnail: one\n", "")],
    "no demo": [("page", "demo: [check_1, check_2, check_3]\n", "")],
    "no lesson": [("page", _LESSON, "")],
    "49 characters": [("page", _DESCRIPTION, f"description: {'d' * 49}")],
    "155 characters": [("page", _DESCRIPTION, f"description: {'d' * 155}")],
    "156 characters": [("page", _DESCRIPTION, f"description: {'d' * 156}")],
    "29 characters": [("page", _LESSON, f"lesson: {'d' * 28}.")],
    "180 characters": [("page", _LESSON, f"lesson: {'d' * 179}.")],
    "181 characters": [("page", _LESSON, f"lesson: {'d' * 181}")],
    "no question mark": [("page", "are first?", "are first")],
    "no such figure": [("page", "thumbnail: one", "thumbnail: none")],
    "no such check": [("page", "check_2, check_3]", "check_7]")],
    "four checks": [("page", "check_3]", "check_4, check_5]")],
    "no such module": [("page", _FIRST, "title: First\nmodules: [core/another]\n")],
    "no answer": [("page", "## The answer\n", "")],
    "no symbols": [("page", "## Symbols\n", "")],
    "no sources": [("page", "## Sources\n", "")],
    "two answers": [("page", "## Symbols", "## The answer\n\nTwice.\n\n## Symbols")],
    "another order": [
        ("page", "## Where it breaks", "## X"),
        ("page", "## In production", "## Where it breaks"),
        ("page", "## X", "## In production"),
    ],
    "no section of its own": [("page", "## Doubling\n", "")],
    "empty sections": [("page", "Here.", ""), ("page", "There.", "")],
    "checks twice": [("page", "{{ checks }}", "{{ checks }}\n\n{{ checks }}\n\n{{ downloads }}")],
    "no table": [("page", "| Unit | Argument |", "| Unit | Name |")],
    "unknown arguments": [("page", "`shape`", "`shape`, `sized`, `append`, `np`, `half`, `a_b`")],
    "few arguments": [("page", "`double`, `other`", ""), ("page", "`shape`", "")],
    "exact arguments": [("page", "`double`, `other`", "`Kept`"), ("page", "`shape`", "`figure`")],
    "three exercises in disorder": [("page", "### 3. ", "### 4. ")],
    "two exercises": [("page", "### 3. Three\n\n{{ solution three }}", "")],
    "no solution": [("page", "{{ solution two }}", "")],
    "short hint": [("exercises", "characters...", "characters..")],
    "long hint": [("exercises", '"two": "x', '"two": "xx')],
    "no hint": [("exercises", '"three": ', '"four": ')],
    "annotated hints": [("exercises", "HINTS = ", "HINTS: dict[str, str] = ")],
    "no hints": [("exercises", "HINTS = ", "OTHERS = ")],
    "hints that are made": [("exercises", '"three": ', '"three": str() + ')],
    "no exercises": [("exercises", "", "")],
    "on no path": [("start", "(capacity/first.md)", "(capacity/fist.md)")],
    "in no term": [("glossary", "capacity/first.md", "capacity/second.md")],
    "two sources": [("page", f"{_SOURCE}\n  {{ #vllm }}\n", "")],
    "one anchor": [("page", "{ #vllm }", "{ #erlang-1917 }")],
    "no anchor": [("page", "  { #vllm }\n", "")],
    "never cited": [("page", "(#erlang-1917)", "(#erlang)")],
    "no name": [("page", _SOURCE, "- [Documents](https://a.test/), " + 80 * "x")],
    "no year": [("page", _SOURCE, "- Orca. [Paper](https://arxiv.org/abs/1).")],
    "no place": [("page", _SOURCE, "- Orca (2022). Serving")],
    "a linked place": [("page", _SOURCE, "- Orca (2022b). [Serving](https://a.test)")],
    "no title of a source": [("page", _SOURCE, "- Orca (2022). 12. Journal")],
    "not shown": [("page", "{{ code double Kept }}", ""), ("page", "{{ solution one }}", "")],
    "figures not shown": [("page", "{{ figure two }}", "{{ figure three }}")],
    "both": [("page", "{{ figure two }}", "{{ figure two }} \n{{ figure one }}")],
    "no such slider": [("page", "{{ figure two }}", "{{ slider two }}")],
    "a slider as a figure": [("page", "{{ slider one }}", "{{ figure one }}")],
    "a slider untested": [("tests", "slider_one()", "slider_one")],
    "not quoted": [("page", "{{ doubled:.1f }} and {{ halved }}", "{{ doubling }}, {{halved }}")],
    "two sentences": [
        ("page", "There.", "There it is. Here it is.\n\n- That is. This is.\nThat is. This is."),
        ("page", "Here.", "It is `x`. And so on. The\n\n```\nThat is. This is.\n```\n"),
    ],
    "no source": [("module", "Source: hand.", "Made by hand.")],
    "no sentence": [("module", "Twice the value.", "Twice the value"), ("module", "kept.", "kept")],
    "no example": [("module", ">>> double(2.0)\n    4.0", "It is twice.")],
    "another answer": [("module", ">>> double(2.0)\n    4.0", ">>> double(2.0)\n    5.0")],
    "untested": [("tests", "double, Kept", "doubled, Kept")],
    "no tests": [("tests", "", "")],
    "renamed": [
        ("module", "import half", "import half as halve"),
        ("module", "half(4.0", "halve(4.0"),
    ],
    "a figure copied": [
        ("module", "import numpy as np", "import numpy as np\nimport matplotlib"),
        ("module", "np.shape(value)", "np.shape(value) or matplotlib"),
    ],
    "another package of ours": [
        ("module", "import numpy as np", "import numpy as np\nimport serving_mathematics.none"),
        ("module", "np.shape(value)", "np.shape(value) or serving_mathematics"),
    ],
    "records": [
        (
            "module",
            "import numpy as np",
            "from serving_mathematics.support.measuring import read_record",
        ),
        ("module", "np.shape(value)", "() and read_record"),
    ],
    "forbidden": [
        (
            "module",
            "import numpy as np\n",
            "import numpy as np\n# np.random.seed(1) np.random.rand np.random.exponential\n"
            "# pyplot\n# rcParams\n# import *\n# x.savefig(1)\n# x.show()\n# os.getcwd\n"
            "# Path().a\n# Path.cwd\n# TODO\n#FIXME\n# XXX\n",
        )
    ],
    "a body twice": [
        (
            "module",
            "del figure",
            "return half(1.0)\n\n\ndef three(rng: object) "
            '-> object:\n    """Three."""\n    return [rng, 3]',
        )
    ],
    "not in the navigation": [("nav", "      - capacity/first.md\n", "  - none.md\n")],
    "no index": [("index", "", "")],
    "another index": [("index", '["half"]', '["halves"]')],
    "an empty index": [("index", INDEX, '"""First."""')],
    "a chapter imported": [
        ("stray", TABLE, TABLE),
        ("tabling", "check_7", "check_7"),
        ("second", "question: And then?", "question: And then?\nmodules: [reference/table]"),
        ("other", "async", "from serving_mathematics.reference import table\n\n\nasync"),
    ],
    "shown nowhere": [("stray", TABLE, TABLE), ("tabling", "check_7", "check_7")],
    "borrowed": [
        ("second", "question: And then?", "modules: [capacity/first/first]"),
        ("second", "# Second", "# Second\n\n{{ doubled }}"),
        ("page", "{{ doubled:.1f }} and", "4 and"),
    ],
    "a reference page": [
        ("stray", TABLE, TABLE),
        ("second", "question: And then?", "modules: [reference/table]\ndescription: Short."),
        ("second", "title: Second\n", ""),
    ],
    "a good reference page": [
        ("stray", TABLE, TABLE),
        ("tabling", "check_7", "check_7"),
        ("second", "question: And then?", f"modules: [reference/table]\ndescription: {50 * 'd'}"),
        ("second", "# Second", "# Second\n{{ checks }}"),
    ],
    "unwritten": [
        ("page", "Here.", "WRITE: the answer. | WRITE: and `more?`."),
        ("module", "Twice the", "WRITE: twice the"),
        ("start", "a.\n", "WRITE: a path.\n"),
        ("tests", "half", "half  # WRITE: a test?"),
    ],
}
RECORD_FAULTS: dict[str, list[tuple[str, str, Any]]] = {  # of which module what becomes what
    "one figure": [("first", "figures", [])],
    "no caption": [("first", "figures.0.caption", [])],
    "59 characters": [("first", "figures.1.alt", ALT[:-1])],
    "no labels": [("first", "figures.0.labels.1.0", "")],
    "no lead": [("first", "sliders.0.lead", "Move it")],
    "a unit in a label": [("first", "sliders.0.data.controls.0.label", "load [1]")],
    "a check without a source": [
        ("first", "checks.4.source", ""),
        ("first", "checks.4.claim", "A"),
    ],
    "no checks": [("first", "checks", [])],
}
