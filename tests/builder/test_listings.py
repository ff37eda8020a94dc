"""A listing opens at its algorithm: which of its lines a page folds."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder import ROOT, SOURCES
from builder.listings import beside_the_algorithm

from ..profiles import todays

WHOLE = '''
@cached
def share(rate: float, *, servers: int) -> float:
-    """Share of the time that a server
-    is busy. More of it.
+
+    rate: lambda.
+    """
+    # numbers of 64 bits
+    rate, servers = require_positive(rate=rate, servers=servers)
+    for name in ("rate", "servers"):
+        require(name, "rate", "a name", name)
+    if rate > 1e9:
+        raise ValueError("rate")
-    work = as_number(work=rate * servers)
-    if rate == 0:
-        return 0.0
-    # the share
-    found = rate / servers
+    require(found < 1, "rate", "below 1", found)
-    return found
'''


def folded(text: str) -> list[int]:
    """What is found in a text without the marks."""
    lines = [line[1:] if line[:1] in "+-" else line for line in text.strip().split("\n")]
    return beside_the_algorithm("\n".join(lines))


def marked(text: str) -> list[int]:
    """The lines of a text that begin with a plus."""
    return [n for n, line in enumerate(text.strip().split("\n"), 1) if line.startswith("+")]


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        'def f():\n-    """One line."""\n-    return 1',
        'def f():\n-    """No full stop\n+    """\n-    return 1',
        "class A:\n-    x: int\n-\n-    def __post_init__(self):\n+        widen_fields(self)",
        "LIMIT = require_positive(limit=3)",
        "def f(x):\n-    if x:\n-        require(x, 'x', 'r', x)\n-    else:\n-        x = 1",
        "def f(x):\n-    y = x.require(x)\n-    return require_all(x)",
    ],
)
def test_what_is_folded_is_the_rest_of_docstrings_and_checks_of_arguments(text: str) -> None:
    assert folded(text) == marked(text)


def test_every_definition_keeps_its_first_line_and_what_it_returns() -> None:
    """Of a third of the book's modules; a fifth of their lines is beside the algorithm."""
    total = beside = 0
    for file in todays(sorted(Path(ROOT / SOURCES).rglob("*.py"))):
        text = file.read_text(encoding="utf-8")
        lines = text.split("\n")
        aside = beside_the_algorithm(text)
        total, beside = total + len(lines), beside + len(aside)
        taken = [lines[number - 1] for number in aside]
        assert not [line for line in taken if line.lstrip().startswith(("def ", "class ", "@"))]
    assert 0.1 < beside / total < 0.4
