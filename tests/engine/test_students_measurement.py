"""The measurement of students at a small scale with the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.engine import small_student
from serving_mathematics.engine import students_measurement as measurement
from serving_mathematics.engine.small_student import LAST, SOURCES
from serving_mathematics.engine.students_measurement import main
from serving_mathematics.engine.token_engine import EngineMissing


def test_a_few_lessons_of_a_small_model(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words are nonsense, and a student learns them all the same."""
    monkeypatch.setattr(measurement, "model_path", lambda: small_model)
    monkeypatch.setattr(small_student, "STEPS", (1, 3))
    lessons = measurement._lessons(6, 5)
    size, vocabulary = lessons.likely.shape
    assert lessons.last.shape == (size, LAST)
    assert lessons.asked.shape == (6, vocabulary)
    assert np.allclose(lessons.likely.sum(axis=1), 1, atol=1e-5)
    assert lessons.last.max() < vocabulary
    follows = lessons.question[1:] == lessons.question[:-1]
    assert (lessons.last[1:, -1] == lessons.said[:-1])[follows].all()
    assert lessons.likely.min() >= 0
    record = measurement._measured(lessons, [(4, 10, source) for source in SOURCES])
    assert len(record["rows"]) == len(SOURCES) * measurement.SEEDS
    assert all(0 <= row["accepted"] <= 1 for row in record["rows"])
    assert len(record["answer"]) == 5
    kept = [row["drafts"] for row in record["rows"] if "drafts" in row]
    assert len(kept) == 2
    first = np.flatnonzero(lessons.question == 0)
    for places in kept:
        for place, likely in zip(places, lessons.likely[first], strict=True):
            every = [share for part in place.values() for _, share in part]
            assert sum(every) == pytest.approx(1, abs=1e-3)
            assert min(every) >= 0
            for word, share in place["accepted"][:-1]:
                assert share <= likely[lessons.words.index(word)] + 1e-4
            assert sum(share for _, share in place["accepted"]) <= 1 - likely[-1] + 1e-3
    assert 0 < record["asked"]["held"] + record["asked"]["taught"] < size
    json.dumps(record, allow_nan=False)


def test_without_an_engine_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def missing(*_: int) -> None:
        raise EngineMissing("none")

    monkeypatch.setattr(measurement, "_lessons", missing)
    assert main(["--folder", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "none\n"
    monkeypatch.setattr(measurement, "_lessons", lambda *asked: asked)
    monkeypatch.setattr(measurement, "_measured", lambda lessons: {"asked": list(lessons)})
    assert main(["--questions", "2", "--tokens", "3", "--folder", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "students.json").read_text()) == {"asked": [2, 3]}
