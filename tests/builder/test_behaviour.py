"""What changes no result runs nothing that imports it: comments, layout and docstrings."""

from __future__ import annotations

import pytest

from .project import FIGURE, GOOD, Project

PLAIN = GOOD.replace(FIGURE, "")


@pytest.fixture
def twice(project: Project) -> Project:
    project.module("part.twice", PLAIN)
    project.module("part.other", PLAIN + "\n\nVALUE = 1\n")
    assert project.run().status == 0
    return project


def test_a_comment_in_what_every_module_imports_runs_nothing(twice: Project) -> None:
    file = twice.root / "snippets/serving_mathematics/support/checks.py"
    text = file.read_text(encoding="utf-8")
    file.write_text("# A comment.\n" + text.replace("\n\n\n", "\n\n\n\n"), encoding="utf-8")
    assert twice.run().ran == set()
    file.write_text(text + "\n\nADDED = 1\n", encoding="utf-8")
    assert twice.run().ran == {"part.twice", "part.other"}


def test_what_is_said_in_a_module_runs_it_and_nothing_that_imports_it(twice: Project) -> None:
    twice.module("part.user", "from serving_mathematics.part.twice import double\n")
    twice.module("part.twice", PLAIN.replace("Twice two is four.", "Four is twice two."))
    assert twice.run().ran == {"part.twice", "part.user"}
    twice.module("part.twice", PLAIN.replace("Twice two is four.", "Two and two."))
    assert twice.run().ran == {"part.twice"}
    assert twice.record("part.twice").record["checks"][0]["claim"] == "Two and two."


def test_a_wrong_number_of_a_figure_ends_the_build(project: Project) -> None:
    for name, end in (("right", "2"), ("wrong", "7.5")):
        told = f"A line from 0 to {end} at 1."
        project.module(f"part.{name}", GOOD.replace("A line from zero to two.", told))
    outcome = project.run()
    assert outcome.status == 1, outcome.text
    assert "figure_line: ValueError: the docstring says 7.5, which is" in outcome.text
    assert "part/right.py" not in outcome.text


def test_who_reads_docstrings_runs_again_for_them(project: Project) -> None:
    reads = PLAIN.replace("2.0 * value", "len(double.__doc__ or '') / 3")
    project.module("part.twice", reads.replace("Twice the value.", "x" * 12))
    assert project.run().status == 0
    project.module("part.twice", reads.replace("Twice the value.", "y" * 13))
    outcome = project.run()
    assert outcome.ran == {"part.twice"}
    assert outcome.status == 1
