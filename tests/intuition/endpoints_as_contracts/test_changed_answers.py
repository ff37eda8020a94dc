"""The record of changed answers, beyond its checks."""

from __future__ import annotations

import pytest
from serving_mathematics.intuition.endpoints_as_contracts.changed_answers import _record, example


def test_numbers_of_the_page_are_those_of_the_record() -> None:
    record, rows = _record()
    told = example()
    (row,) = [one for one in record["cases"] if one["change"] == "prompts in small chunks"]
    changed = sum(place is not None for place in row["first_change"])
    assert told.changed_chunks == pytest.approx(100 * changed / told.asked_questions)
    assert changed == len(rows["prompts in small chunks"])
