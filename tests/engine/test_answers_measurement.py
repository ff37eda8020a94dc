"""The measurement at a small scale with the real engine, and its rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.engine import answers_measurement as measurement
from serving_mathematics.engine import language_measurement
from serving_mathematics.engine.answers_measurement import _first_change, _questions_of, main
from serving_mathematics.engine.token_engine import EngineMissing, TokenEngine

from ..profiles import its_turn

SOME = ("F16", "Q8_0", "Q4_1")  # of files
SOME_CASES = ("before", "nothing, asked again", "prompts in small chunks", "cache in 8 bits")
SOME_CASES += ("weights in 8 bits", "another system message")
TOKENS = st.lists(st.integers(0, 3), max_size=6)


@given(TOKENS, TOKENS)
def test_answers_part_where_they_differ_first(before: list[int], after: list[int]) -> None:
    place = _first_change(before, after)
    if place is None:
        assert before == after
    else:
        assert before[:place] == after[:place]
        assert before[place : place + 1] != after[place : place + 1]


def test_questions_are_spread_over_the_text() -> None:
    text = " ".join(
        f"This is sentence number {number} of a longer text, of a hundred." for number in range(100)
    )
    asked = _questions_of(text, 4)
    assert [question.split()[7].strip(",") for question in asked] == ["0", "25", "50", "75"]
    with pytest.raises(ValueError, match="most must be a positive integer"):
        _questions_of(text, 0)


@its_turn(1)
def test_a_few_questions_of_a_small_model(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its words are nonsense; asked again, they are the same."""
    monkeypatch.setattr(measurement, "model_path", lambda: small_model)
    monkeypatch.setattr(language_measurement, "FILES", SOME)
    some = {name: measurement.CASES[name] for name in SOME_CASES}
    monkeypatch.setattr(measurement, "CASES", some)
    record = measurement._measured(3, 8)
    assert [row["change"] for row in record["cases"]] == list(SOME_CASES[1:])
    assert all(len(row["first_change"]) == 3 for row in record["cases"])
    again, message = record["cases"][0], record["cases"][-1]
    assert again["first_change"] == [None] * 3
    assert len(message["first_change"]) == 3
    json.dumps(record, allow_nan=False)


def test_without_an_engine_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def missing(*_: int) -> dict[str, object]:
        raise EngineMissing("none")

    monkeypatch.setattr(measurement, "_measured", missing)
    assert main(["--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "none\n"
    monkeypatch.setattr(measurement, "_measured", lambda *asked: {"n": asked[0]})
    assert main(["--questions", "2", "--folder", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "changed_answers.json").read_text()) == {"n": 2}


def test_a_type_of_the_cache_that_there_is_not(small_model: Path) -> None:
    with pytest.raises(ValueError, match="cache_type must be one of"):
        TokenEngine(model=small_model, cache_type="f8")
