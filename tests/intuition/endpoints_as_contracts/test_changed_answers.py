"""The record of changed answers, beyond its checks."""

from __future__ import annotations

import pytest
from serving_mathematics.intuition.endpoints_as_contracts.changed_answers import _record, example


def test_numbers_of_the_page_are_those_of_the_record() -> None:
    record, rows = _record()
    told = example()
    for name, percent in (
        ("weights in 8 bits", told.changed_8_bits),
        ("cache in 8 bits", told.changed_cache),
        ("another system message", told.changed_message),
        ("prompts in small chunks", told.changed_chunks),
    ):
        (row,) = [one for one in record["cases"] if one["change"] == name]
        changed = sum(place is not None for place in row["first_change"])
        assert percent == pytest.approx(100 * changed / told.asked_questions)
        assert changed == len(rows[name])
    below = [place < told.place_8_bits for place in rows["weights in 8 bits"]]
    assert 0.4 <= sum(below) / len(below) <= 0.6
