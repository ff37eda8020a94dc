"""Beside each exercise stands an example of what it asks for, from the doctest of its solution."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from serving_mathematics import exercises

EXERCISE = re.compile(r"<h3 [^>]*>\d+\. .*?(?=<h3 |<h2 |\Z)", re.DOTALL)


@pytest.mark.parametrize("chapter", exercises.chapters())
def test_an_example_stands_beside_each_exercise(chapter: str, site: Path) -> None:
    page = (site / chapter / "index.html").read_text(encoding="utf-8")
    _, _, section = page.partition('<h2 id="exercises">')
    open_text = ""
    for exercise in EXERCISE.findall(section.partition('<h2 id="sources">')[0]):
        before = exercise.partition("<details")[0]
        words = re.sub(r"<[^>]*>", "", before)
        assert "&gt;&gt;&gt; " in words, words[:80]
        open_text += words
    for name in exercises.exercises(chapter)[1]:
        assert re.search(rf"\b{name}\(", open_text), name
