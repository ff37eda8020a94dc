"""No number that a reader sees changes in silence."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from serving_mathematics.checks import Comparison

from . import shown


@pytest.mark.parametrize("name", shown.modules())
def test_no_number_changes_in_silence(name: str) -> None:
    found = list(shown.changes(shown.kept(name), shown.numbers_of(name)))
    advice = "if that is meant, `python -m tests.shown` keeps it for the reviewer to see"
    assert not found, "\n".join([f"{name}, {advice}:", *found])


def test_numbers_that_are_kept_are_of_modules_that_there_are() -> None:
    held = {name for path in shown.FOLDER.glob("*.json") for name in shown.read(path)}
    assert held == set(shown.modules())


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        (1.0, 1.0, True),
        (0.1, 0.1 + 1e-8, True),
        (0.1, 0.1002, False),
        (3, 4, False),
        (300_000, 300_001, False),
        (300_000.0, 300_000.0 + 1e-7, True),
        (1e-12, 0.0, True),
        (math.inf, math.inf, True),
        (math.inf, 1e300, False),
        (-2.5, 2.5, False),
        ("5 of 7", "6 of 7", False),
        ("a: 0.1, 0.2 (± 1e-12)", "a: 0.10000001, 0.2 (± 1e-12)", True),
        ("a: 0.1, 0.2 (± 1e-12)", "a: 0.1001, 0.2 (± 1e-12)", False),
        ("a: 0.1, 0.2 (± 1e-3)", "a: 0.1, 0.2 (± 1e-2)", False),
        ("a: 0.1", "a: 0.1, 0.2", False),
        ("a: -0.1", "a: 0.1", False),
        ("a: 3e-17 … 0", "a: 0 … -2e-16", True),
        ("a: 0.1", "b: 0.1", False),
        ([1, [2.5]], [1, [2.5]], True),
        ([1, [2.5]], [1, [2.6]], False),
        ([1], [1, 2], False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"a": 0.0}, False),
        ({"a": 1}, {"b": 1}, False),
    ],
)
def test_only_the_last_digits_may_differ(was: object, now: object, expected: bool) -> None:
    assert shown.same(was, now) is expected


def test_a_drawing_is_told_from_another() -> None:
    line = '<path id="a9" d="M 1.5 -2 L 3 4"/><use x="5" y="6"/><g transform="translate(7 0.5)"/>'
    assert shown.drawn(line) == [8, 1.5 - 4 + 9 + 16 + 25 + 36 + 49 + 0.5]
    was, other = {"figure_a": shown.drawn(line)}, line.replace("L 3 4", "L 4 3")
    assert not list(shown.changes(was, {"figure_a": [8, was["figure_a"][1] + 0.4]}))
    assert list(shown.changes(was, {"figure_a": shown.drawn(other)}))
    assert list(shown.changes(was, {"figure_a": [9, was["figure_a"][1]]}))


def test_changes_are_told_with_both_values() -> None:
    was, now = {"a": 1, "b": 2.5, "slider_c": [1.234]}, {"b": 2.6, "d": "x", "slider_c": [1.235]}
    assert list(shown.changes(was, now)) == [
        "b was 2.5 and is 2.6",
        'd is new: "x"',
        "a is gone, it was 1",
    ]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    numbers = {"part.one": {"a": 1 / 3, "b": math.inf, "c": [1, None, "ρ"]}, "other.two": {"d": 7}}
    shown.write({"gone.three": {"e": 1}}, tmp_path)
    shown.write(numbers, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"part.json", "other.json"}
    read = {name: shown.kept(name, tmp_path) for name in numbers}
    assert not [line for name in numbers for line in shown.changes(read[name], numbers[name])]
    assert read["part.one"]["a"] == 0.333333333333
    assert shown.kept("part.four", tmp_path) == shown.kept("none.five", tmp_path) == {}


def test_only_what_changed_is_written_anew() -> None:
    was, now = {"a": 0.5, "b": 2.5, "gone": 1}, {"a": 0.5 + 1e-9, "b": 2.6, "new": 3}
    assert shown.renewed(was, now, shown.unchanged) == {"a": 0.5, "b": 2.6, "new": 3}


def test_a_comparison_is_kept_with_both_of_its_sides() -> None:
    row = Comparison("waits", "identity", "2.5", "2.4", "± 0.2", "by hand", True)
    assert shown.told(row) == "waits: 2.4, 2.5 (± 0.2)"
    assert shown.told(replace(row, expected="0")) == "waits: about 0, 0 (± 0.2)"
    assert shown.told(replace(row, expected="0", tolerance="exact")) == "waits: 2.4, 0 (exact)"
    found = shown.numbers_of("definitions.utilization").items()
    checks = {name: value for name, value in found if name.startswith("check_")}
    assert len(checks) > 3
    assert all(isinstance(text, str) for rows in checks.values() for text in rows)
