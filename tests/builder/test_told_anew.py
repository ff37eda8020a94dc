"""What changes no result runs nothing: comments, layout and docstrings are told anew."""

from __future__ import annotations

import json
import shutil

import pytest

from builder.runner import cached
from builder.source import Sources, digest

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
    assert twice.run(SNIPPETS_CACHE=str(again)).status == 0
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
def used(value):
    return value


def idle(value):
    return value
"""


@pytest.mark.parametrize(
    "way",
    [
        "from serving_mathematics.lib.base import used\n",
        "from serving_mathematics.lib.through import START\n",
        "from serving_mathematics.lib.starting import START\n",
    ],
)
def test_what_executes_in_a_file_counts_for_all_that_reach_it(way: str, project: Project) -> None:
    """By an import, also of another module, or by its name in a command."""
    project.module("lib.through", "from serving_mathematics.lib import base\n\nSTART = 1\n")
    project.module("lib.starting", 'START = ["-m", "serving_mathematics.lib.base"]\n')
    project.module("lib.base", BASE)
    project.module("part.user", way)
    before = digest(project.root, "part.user")
    project.module("lib.base", BASE.replace("def idle", "# A comment.\n\n\ndef idle"))
    assert digest(project.root, "part.user") == before
    project.module("lib.base", BASE.replace("idle(value)", "idle(value, more=1)"))
    assert digest(project.root, "part.user") != before
