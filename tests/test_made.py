"""Nothing that is made of something small changes in silence."""

from __future__ import annotations

import pytest

from . import made, shown


@pytest.mark.parametrize("name", made.cases())
def test_nothing_made_changes_in_silence(name: str) -> None:
    found = list(made.changes(dict(made.kept(name)), made.made(name)))
    advice = "if that is meant, `python -m tests.made` keeps it for the reviewer to see"
    assert not found, "\n".join([f"{name}, {advice}:", *found[:20]])


def test_what_is_kept_is_of_cases_that_there_are() -> None:
    held = {name for path in made.FOLDER.glob("*.json") for name in shown.read(path)}
    assert held == set(made.cases())


def test_what_changed_is_told_by_its_place() -> None:
    was = {"a": ["x", 1, {"b": 2.0}], "c": "gone", "d": [1, 2], "e": 1, "f": 1e-20}
    now = {"a": ["y", 1, {"b": 2.0 + 1e-12}], "d": [1], "e": True, "f": 0.0, "g": None}
    assert list(made.changes(was, now)) == [
        'a[0] was "x" and is "y"',
        'c was "gone" and is "not there"',
        "d was [1, 2] and is [1]",
        "e was 1 and is true",
        'g was "not there" and is null',
    ]
    (told,) = made.changes({"a": "x" * 400}, {"a": "x" * 401})
    assert told.count("x") == 598
