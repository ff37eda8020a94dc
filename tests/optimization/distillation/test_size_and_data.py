"""The record of students, beyond its checks: card, page and rows agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from serving_mathematics.optimization.distillation.size_and_data import (
    ALL,
    DRAFTED,
    WORDS,
    _axes,
    _mean,
    _scores,
    _worth,
    slider_size_and_data,
)
from serving_mathematics.support.measuring import read_record


def test_the_card_says_the_means_of_the_record() -> None:
    told = slider_size_and_data()
    units, taught = _axes()
    said = {one["label"]: one["values"] for one in told["readouts"]}
    for (i, tokens), (k, size), (m, source) in itertools.product(
        enumerate(taught), enumerate(units), enumerate((WORDS, ALL))
    ):
        rows = [
            one
            for one in read_record("students")["rows"]
            if (one["units"], one["taught"], one["source"]) == (size, tokens, source)
        ]
        alpha = float(np.mean([one["accepted"] for one in rows]))
        assert said["accepted"][i][k][m] == pytest.approx(100 * alpha)
        assert said["yield"][i][k][m] == pytest.approx(sum(alpha**j for j in range(DRAFTED + 1)))


def test_drafts_are_all_that_the_student_says() -> None:
    """At each place the bars go from 0 to 100, first what is accepted, as much as stands beside."""
    told = slider_size_and_data()
    (panel,) = told["panels"]
    for bars in itertools.chain(*itertools.chain(*panel["bars"])):
        for lane in panel["lanes"]:
            mine = [bar for bar in bars if bar[0] == lane]
            assert mine[0][1] == 0
            assert mine[-1][2] == pytest.approx(100, abs=0.11)
            assert all(one[2] == after[1] for one, after in itertools.pairwise(mine))
            accepted = sum(bar[2] - bar[1] for bar in mine if bar[3] == "answer")
            assert accepted == pytest.approx(float(mine[-1][4].rstrip("%")), abs=0.6)


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
