"""What the buttons of blocks and exercises ask of Python, without a browser."""

from __future__ import annotations

import ast
import builtins
import html
import importlib
import io
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from builder import ROOT, figures, live
from builder.directives import bundle
from builder.source import module_path

from ..conftest import CHAPTERS, Chapter
from ..profiles import todays
from ..recorded import HERE

LITTLE = "capacity.littles_law.littles_law"
BUTTON = re.compile(r'class="snippet-run" data-runs="([^"]*)" data-(answers|call)="([^"]*)"')
GIVEN = re.compile(r'data-answers="([^"]*)" data-given="([^"]*)"')


@pytest.fixture(autouse=True)
def _modules_of_their_own() -> Iterator[None]:
    """They import the package anew, which other tests have."""
    with mock.patch.dict(sys.modules, {"figures": figures}):
        yield


def nobody(*_: Any) -> None:
    """Hear nothing."""


def test_edited_functions_take_the_place_of_the_modules(capsys: pytest.CaptureFixture[str]) -> None:
    kept = "def mean_in_flight(arrival_rate, mean_sojourn_s):\n    return arrival_rate * 2\n"
    counts = live.call(LITTLE, kept, "mean_in_flight(2.0, 1.5)", nobody)
    assert capsys.readouterr().out.startswith("4.0\n")
    assert (counts["passed"], counts["failed"]) == (0, 1)  # the check by hand
    right = kept.replace("* 2", "* mean_sojourn_s")
    counts = live.call(LITTLE, right, "mean_in_flight(2.0, 1.5)", nobody)
    assert (counts["passed"], counts["failed"]) == (2, 0)  # a check stops where it fails
    capsys.readouterr()
    lines = "x = 2\nfor _ in range(x):\n    print(mean_in_flight)"
    counts = live.call(LITTLE, "", lines, nobody)
    assert capsys.readouterr().out.count("<function mean_in_flight") == 2
    assert counts == {"passed": 0, "got": [], "failed": 0, "absent": 0}
    live.call(LITTLE, "", "", nobody)
    assert "The editor defines nothing" in capsys.readouterr().out


def test_an_edit_of_a_module_is_of_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    file = module_path(ROOT, LITTLE)
    before = file.read_bytes()
    assert live.run(LITTLE, "def mean_in_flight(*_):\n    return 7\n", nobody)["failed"] == 0
    assert file.read_bytes() == before
    live.call(LITTLE, "", "mean_in_flight(arrival_rate=2.0, mean_sojourn_s=1.5)", nobody)
    assert capsys.readouterr().out.startswith("3.0\n")


@pytest.mark.parametrize(
    ("source", "lines", "told"),
    [
        ("def f(:\n", "", 'edited", line 1'),
        ("def f():\n    return 1 / 0\n", "f()", 'edited", line 2, in f\n    return 1 / 0'),
        ("", "1 +", 'call", line 1'),
        ("", "raise SystemExit(3)", "SystemExit: 3"),
        ("import nmupy\n", "", "No module named 'nmupy'"),
        ("", "open('/no/such/file')", "FileNotFoundError"),
    ],
)
def test_what_goes_wrong_is_told_with_its_line(
    source: str, lines: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert live.call(LITTLE, source, lines, nobody)["failed"] == 1
    assert told in capsys.readouterr().out


def test_a_figure_that_was_edited_is_drawn() -> None:
    drawn: list[Any] = []
    source = 'def figure_mine(figure):\n    """Mine."""\n    figure.subplots().plot([1, 2])\n'
    counts = live.call(LITTLE, source, "", lambda *told: drawn.append(told))
    assert [what for what, _ in drawn] == ["figure"]
    assert drawn[0][1][:2] == ("mine", "Mine.")
    assert not counts["failed"]


@pytest.mark.parametrize("chapter", todays(CHAPTERS), ids=lambda chapter: chapter.slug)
def test_what_an_exercise_gives_is_asked_by_its_name_and_is_no_answer(
    chapter: Chapter, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (site / chapter.slug / "index.html").read_text(encoding="utf-8")
    found = {names: html.unescape(given) for names, given in GIVEN.findall(page)}
    module = f"{chapter.slug.replace('/', '.').replace('-', '_')}.exercises"
    assert len(found) >= 3
    asked = " ".join(found)  # all at a time: the package is imported anew for each question
    counts = live.judge(module, "\n\n\n".join(found.values()), asked, nobody)
    told = capsys.readouterr().out
    assert told.count("It is not written: it raises NotImplementedError.") == counts["failed"]
    assert counts["failed"] >= len(found)


def test_solutions_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    """Of one chapter; of all of them `tests/test_exercises.py` asserts it."""
    module = "capacity.littles_law.exercises"
    solved = module_path(ROOT, module).read_text(encoding="utf-8")
    names = re.findall(r"^def ((?!check_|example)\w+)", solved, re.MULTILINE)
    counts = live.judge(module, solved, " ".join(names), nobody)
    told = capsys.readouterr().out
    assert (counts["failed"], told.count(": right, ")) == (0, len(names)), told
    assert counts["passed"] >= 3 * len(names) >= 9


def test_an_answer_under_another_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    module = "capacity.littles_law.exercises"
    counts = live.judge(module, "def latency():\n    pass\n", "latency_from_gauge", nobody)
    assert counts["failed"] == 1
    assert capsys.readouterr().out.startswith("latency_from_gauge is not defined; keep the name")


@pytest.mark.parametrize("line", ["import nmupy", "raise NotImplementedError", "{}['a']", "1 +"])
def test_an_answer_that_does_not_run_is_not_right(line: str) -> None:
    module = "capacity.littles_law.exercises"
    solved = module_path(ROOT, module).read_text(encoding="utf-8")
    assert live.judge(module, f"{solved}\n{line}\n", "latency_from_gauge", nobody)["failed"] == 1


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import not_there\n", "No module named 'not_there'"),
        ("{}['a']\n", "answer\", line 1, in <module>\n    {}['a']"),
    ],
)
def test_an_answer_that_cannot_be_made_is_not_right(
    source: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = "capacity.littles_law.exercises"
    counts = live.judge(module, source, "latency_from_gauge", nobody)
    assert (counts["passed"], counts["failed"] + counts["absent"]) == (0, 1)
    assert told in capsys.readouterr().out


def test_every_example_is_told_as_a_session_of_python_tells_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    live.call(LITTLE, "z = 1", "x = 2\nx + 1\nNone\nfor y in (5, 6):\n    print(y)\nx", nobody)
    assert capsys.readouterr().out == "3\n5\n6\n2\n"


def test_a_block_of_a_page_without_exercises_runs_with_its_download_alone(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(bundle(HERE.sources, ["core.queues.erlang"]))) as archive:
        archive.extractall(tmp_path)
    shutil.copy(Path(live.__file__), tmp_path)
    told = "import live; live.call('core.queues.erlang', 'x = 7', '6 * x', print)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {told}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_every_block_asks_for_what_its_module_has(site: Path) -> None:
    """What is asked are examples of docstrings, each of which is run as a doctest in the names of
    its module.
    """
    calls = {
        (module, html.unescape(text))
        for file in site.rglob("index.html")
        for module, kind, text in BUTTON.findall(file.read_text(encoding="utf-8"))
        if kind == "call"
    }
    assert len(calls) > 200
    for module, text in calls:
        live._code(text, module, session=True)
        tree = list(ast.walk(ast.parse(text)))
        own = {one.asname or one.name for one in tree if isinstance(one, ast.alias)}
        own |= {one.arg for one in tree if isinstance(one, ast.arg)}
        own |= {one.name for one in tree if isinstance(one, ast.FunctionDef | ast.ClassDef)}
        names = [one for one in tree if isinstance(one, ast.Name)]
        own |= {one.id for one in names if isinstance(one.ctx, ast.Store)}
        there = vars(importlib.import_module(f"serving_mathematics.{module}"))
        assert {one.id for one in names} <= {*own, *there, *vars(builtins)}, (module, text)
