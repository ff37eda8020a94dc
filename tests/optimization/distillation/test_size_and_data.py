"""The record of students, beyond its checks: slider, page and rows agree."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.optimization.distillation.size_and_data import (
    ALL,
    WORDS,
    _axes,
    _mean,
    _scores,
    _worth,
    slider_size_and_data,
)
from serving_mathematics.support.measuring import read_record


def test_slider_shows_the_means_of_the_record() -> None:
    told = slider_size_and_data()
    units, taught = _axes()
    curves = {curve["label"]: curve["values"] for curve in told["curves"]}
    for row, tokens in enumerate(taught):
        for column, size in enumerate(units):
            for label, source in (("probabilities", ALL), ("words", WORDS)):
                scores = [
                    one["accepted"]
                    for one in read_record("students")["rows"]
                    if (one["units"], one["taught"], one["source"]) == (size, tokens, source)
                ]
                assert curves[label][row][column] == pytest.approx(100 * np.mean(scores))


def test_worth_is_read_off_the_words_that_teach_as_much() -> None:
    units, taught = _axes()
    size = units[-1]
    words = _worth(size) * taught[0]
    goal = _mean(size, taught[0], ALL, "accepted")
    shares = [_mean(size, tokens, WORDS, "accepted") for tokens in taught]
    assert taught[0] < words <= taught[-1]
    place = int(np.searchsorted(taught, words))
    assert max(shares[:place]) - 1e-9 <= goal <= max(shares[: place + 1]) + 1e-9


def test_every_place_has_each_seed() -> None:
    assert {len(scores["same"]) for scores in _scores().values()} == {2}


def test_shares_are_of_the_whole_vocabulary() -> None:
    record = read_record("students")
    for row in record["rows"]:
        assert 0 < row["accepted"] < record["teacher"]["common"]
