"""Grids: what is read, what is refused, and where the refusal points."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.questions.fields import FIELDS
from serving_mathematics.planner.questions.grids import read_grid


def test_a_number_too_long_for_python_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match=r"^rate_per_s must be a number .*, got '9{50}"):
        read_grid('{"rate_per_s": ' + "9" * 5000 + "}", "json")


@given(st.text(max_size=60), st.sampled_from(["json", "csv"]))
def test_any_text_gives_a_grid_or_a_message(text: str, kind: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(set(row) <= set(FIELDS) for row in read_grid(text, kind))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3", "the file must be one JSON object of fields, got int"),
        ('{"rate_per_s": NaN}', "rate_per_s must be a number"),
        ('{"rate_per_s": {"a": 1}}', "rate_per_s must be a number"),
        ('{"rate_per_s": [1, [2]]}', "entry 2 of rate_per_s: rate_per_s must be"),
    ],
)
def test_json_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_grid(text, "json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate_per_s\n", "a header and at least one row, got fewer rows"),
        ("rate_per\n1\n", r"row 1: there is no field 'rate_per'; did you mean rate_per_s\?"),
        ("rate_per_s\n1\n\n2\n", "row 3 must be 1 fields long"),
        ("rate_per_s,seed\n1,2\n3,4.5\n", "row 3, column seed must be a whole number"),
    ],
)
def test_csv_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_grid(text, "csv")


def test_files_of_other_systems() -> None:
    expected = [{"rate_per_s": "1", "seed": "2"}]
    assert read_grid("\ufeffrate_per_s,seed\r\n1,2\r\n\r\n", "csv") == expected
    assert read_grid('\ufeff{"seed": 2}', "json") == [{"seed": 2}]
    with pytest.raises(ValueError, match="kind must be json or csv"):
        read_grid("", "xml")


def test_a_grid_that_is_too_large_says_how_large_it_may_be() -> None:
    grid = json.dumps({"rate_per_s": [*range(1, 2000)], "seed": [*range(2000)]})
    rule = "the grid must be of at most 100,000 questions, got 3,998,000 or more"
    with pytest.raises(ValueError, match=rule):
        read_grid(grid, "json")
