"""What changes no result runs nothing: comments, layout and docstrings are told anew."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest

from builder import ROOT
from builder.runner import Run, cached, default_cache, failure_report, run_all
from builder.source import Sources, digest, module_path

from ..profiles import THOROUGH
from .project import GOOD, Project

FOUR = "    checks.close"


@pytest.fixture
def twice(project: Project) -> Project:
    project.chapter("part.twice")
    project.chapter("part.other", GOOD + "\n\nVALUE = 1\n")
    assert project.run().status == 0
    return project


def test_a_comment_in_what_every_module_imports_runs_nothing(twice: Project) -> None:
    file = twice.root / "snippets/serving_mathematics/support/checks.py"
    text = file.read_text(encoding="utf-8")
    file.write_text("# A comment.\n" + text.replace("\n\n\n", "\n\n\n\n"), encoding="utf-8")
    assert twice.run().ran == set()
    file.write_text(text + "\n\nADDED = 1\n", encoding="utf-8")
    assert twice.run().ran == {"part.twice", "part.other"}


def test_what_is_said_is_told_anew_and_not_run(twice: Project) -> None:
    text = GOOD.lstrip("\n")
    for old, new in (
        ('"""Doubling.', '"""Doubling, said anew.'),
        ("Doubling is a straight line.", "A line through zero."),
        ("Alt: A line from zero to two.", "Alt: A line."),
        ("Twice two is four.", "Four is twice two."),
        ("Source: hand.\n    ", "Source: paper.\n    "),
        (FOUR, "    # By hand.\n" + FOUR),
    ):
        assert old in text
        text = text.replace(old, new)
    twice.module("part.twice", text)
    outcome = twice.build()
    assert outcome.status == 0, outcome.text
    assert outcome.ran == set()
    record = twice.record("part.twice").record
    assert record["doc"].startswith("Doubling, said anew.")
    assert record["source"] == text
    (check,) = record["checks"]
    assert (check["claim"], check["source"]) == ("Four is twice two.", "paper.")
    assert text.split("\n")[check["line"] - 1] == "def check_double_of_two() -> None:"
    assert record["figures"][0]["caption"] == ["A line through zero."]
    assert record["figures"][0]["alt"] == "A line."
    page = (twice.root / "site/part/twice/index.html").read_text(encoding="utf-8")
    assert "Four is twice two." in page
    assert "A line through zero." in page
    again = twice.root.parent / "again"
    assert twice.run("--cache", str(again)).status == 0
    fresh = cached(twice.root, again, "part.twice")
    assert fresh is not None
    told, ran = (
        json.loads(json.dumps({k: v for k, v in r.items() if k != "seconds"}))
        for r in (record, fresh.record)
    )
    assert told == ran


def test_a_wrong_number_of_a_figure_ends_the_build(twice: Project) -> None:
    for end, ran, status in (("2", set(), 0), ("7.5", set(), 1), ("2", set(), 0)):
        told = f"A line from 0 to {end} at 1."
        twice.module("part.twice", GOOD.replace("A line from zero to two.", told))
        outcome = twice.run()
        assert (outcome.status, outcome.ran) == (status, ran), outcome.text
        if status:
            assert "figure_line: ValueError: the docstring says 7.5, which is" in outcome.text
    text = GOOD.replace("2.0 * value", "2.0 * (0.0 + value)")
    twice.module("part.twice", text.replace("is a straight line", "is 7.5"))
    outcome = twice.run()
    assert (outcome.status, outcome.ran) == (1, {"part.twice"})
    assert "the docstring says 7.5" in outcome.text


def test_a_number_or_an_operator_runs_again(twice: Project) -> None:
    for old, new in (("2.0 * value", "2.0 * (value)"), ("2.0 * value", "value * 2.0")):
        twice.module("part.twice", GOOD.replace(old, new))
        assert twice.run().ran == ({"part.twice"} if new == "value * 2.0" else set())


def test_who_reads_docstrings_runs_again_for_them(project: Project) -> None:
    reads = GOOD.replace("2.0 * value", "len(double.__doc__ or '') / 3")
    project.module("part.twice", reads.replace("Twice the value.", "x" * 12))
    assert project.run().status == 0
    project.module("part.twice", reads.replace("Twice the value.", "y" * 13))
    outcome = project.run()
    assert outcome.ran == {"part.twice"}
    assert outcome.status == 1


def test_a_failure_names_its_line_of_now(project: Project) -> None:
    wrong = GOOD.replace("double(2.0), 4.0", "double(2.0), 5.0")
    project.module("part.twice", wrong)
    assert project.run().status == 1
    project.module("part.twice", wrong.replace(FOUR, "    # One line more.\n" + FOUR))
    sources = Sources(project.root, project.cache)
    assert cached(project.root, project.cache, "part.twice", sources=sources) is None


def test_records_of_two_modules_that_changed_places_are_not_taken(twice: Project) -> None:
    folders = [twice.record(f"part.{name}").folder for name in ("twice", "other")]
    aside = folders[0].with_name("aside")
    folders[0].rename(aside)
    folders[1].rename(folders[0])
    aside.rename(folders[1])
    assert twice.run().ran == {"part.twice", "part.other"}


def test_a_record_of_another_version_is_not_taken(twice: Project) -> None:
    before = twice.record("part.twice").folder
    twice.module("part.twice", GOOD.replace("2.0 * value", "value * 2.0"))
    version = Sources(twice.root).digest("part.twice")
    shutil.copytree(before, before.with_name(version))
    assert twice.run().ran == {"part.twice"}


BASE = """\
from serving_mathematics.lib import deep

LIMIT = 3


def used(value):
    return helper(value) + LIMIT


def helper(value):
    return value


def idle(value):
    return value


def default():
    return 1


def head(value=default()):
    return value


def outer():
    from serving_mathematics.lib.deep import bottom

    return bottom()


def figure_line(figure):
    figure.subplots()
"""
DEEP = """\
def bottom():
    return 1


def beside():
    return 2
"""
USER = "from serving_mathematics.lib.base import {}\n"
THERE, GONE = (f"    {body}\n\n\ndef default" for body in ("return value", "pass"))  # of idle
EDITS = {  # what the module imports, what is replaced in the file of which, whether it runs again
    "the function": ("used", "base", "+ LIMIT", "- LIMIT", True),
    "what it calls": ("used", "base", "def helper(value)", "def helper(value, more=1)", True),
    "a constant": ("idle", "base", "LIMIT = 3", "LIMIT = 4", True),
    "another function": ("used", "base", THERE, GONE, False),
    "a figure": ("used", "base", "figure.subplots()", "figure.subplots(2)", False),
    "its default": ("idle", "base", "    return 1\n", "    return 2\n", True),
    "a decorator": ("used", "base", "def idle", "@print\ndef idle", True),
    "another argument": ("used", "base", "idle(value)", "idle(value, more=2)", True),
    "within a function": ("outer", "deep", "return 1", "return 3", True),
    "not called by it": ("used", "deep", "return 1", "return 3", False),
    "beside what it calls": ("outer", "deep", "return 2", "return 3", False),
    "under another name": ("used as idle", "base", "+ LIMIT", "- LIMIT", True),
    "all names": ("*", "base", THERE, GONE, True),
    "a second definition": ("idle", "base", "def helper", "def idle", True),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_what_cannot_be_reached_runs_nothing(edit: str, project: Project) -> None:
    asked, name, old, new, again = EDITS[edit]
    texts = {"base": BASE, "deep": DEEP}
    for module, text in texts.items():
        project.module(f"lib.{module}", text)
    project.module("part.user", USER.format(asked))
    before = digest(project.root, "part.user")
    assert texts[name].count(old) == 1
    project.module(f"lib.{name}", texts[name].replace(old, new))
    assert (digest(project.root, "part.user") != before) is again


@pytest.mark.parametrize(
    "way",
    [
        "from serving_mathematics.lib import base\n\nVALUE = base.used\n",
        "import serving_mathematics.lib.base\n",
        "from serving_mathematics.lib.through import idle\n",
        "from serving_mathematics.lib.starting import START\n",
    ],
)
def test_a_module_that_is_at_hand_counts_whole(way: str, project: Project) -> None:
    """As an object, by the name that another module binds, or by its name in a command."""
    project.module("lib.deep", DEEP)
    project.module("lib.base", BASE)
    project.module("lib.through", "from serving_mathematics.lib.base import idle\n")
    command = 'START = ["-m", "serving_mathematics.lib.base"]\n'
    project.module("lib.starting", command + "from serving_mathematics.lib import base\n")
    project.module("part.user", way)
    before = digest(project.root, "part.user")
    changed = BASE.replace(THERE, GONE)
    project.module("lib.base", changed)
    assert digest(project.root, "part.user") != before


def test_who_looks_names_up_counts_whole(project: Project) -> None:
    project.module("lib.deep", DEEP)
    chosen = '\n\ndef chosen(name):\n    return globals()["idle"](name)\n'
    project.module("lib.base", BASE + chosen)
    project.module("part.user", USER.format("chosen"))
    before = digest(project.root, "part.user")
    changed = BASE.replace(THERE, GONE)
    project.module("lib.base", changed + chosen)
    assert digest(project.root, "part.user") != before


SAMPLE = [
    "definitions.slo_sla.joint_objective",
    "capacity.tail_latency.second_copies",
    "machine.predictions.predict",
    "planner.answers",
]


def test_what_counts_as_unreached_is_never_called(records: dict[str, Run], tmp_path: Path) -> None:
    """Modules of the book run as before when every function that counts as unreached fails."""
    root = tmp_path / "poisoned"
    shutil.copytree(ROOT / "snippets", root / "snippets")
    shutil.copy(ROOT / "pyproject.toml", root)
    poisoned = 0
    for name in records if THOROUGH else SAMPLE:
        sources, path = Sources(root, default_cache(ROOT)), module_path(root, name)
        files, _ = sources.dependencies(path)
        lines = "\n".join(sources.executed(path, files, documented=False)) + "\n"
        for file in files:
            does, relative = sources.does(file, documented=False), file.relative_to(root)
            idle = [f for f in does.functions if f"\n{relative} {f} " not in f"\n{lines}"]
            if f"{relative} {does.whole}\n" not in lines:
                file.write_text(_poisoned(sources.content(file), idle), encoding="utf-8")
                poisoned += len(idle)
        (run,) = run_all(root, tmp_path / "cache", names=[name])
        assert not run.failed, failure_report([run])
        assert run.record["example"] == records[name].record["example"]
        for file in files:
            file.write_bytes(sources.content(file))
    assert poisoned > 100


def _poisoned(text: bytes, idle: list[str]) -> str:
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in idle:
            node.body = ast.parse("raise AssertionError('unreached')").body
    return ast.unparse(tree)
