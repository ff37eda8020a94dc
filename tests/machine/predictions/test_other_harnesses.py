"""Other harnesses: what the page quotes of the record."""

from __future__ import annotations

from serving_mathematics.core.hardware.fronts import FRONTS
from serving_mathematics.machine.predictions.front_scores import NINE_IN_TEN
from serving_mathematics.machine.predictions.other_harnesses import HARNESSES, example
from serving_mathematics.support.measuring import read_record

RECORD = read_record("front_scores")


def test_the_record_has_these_harnesses() -> None:
    assert set(RECORD["harnesses"]) == set(HARNESSES)


def test_numbers_of_the_page() -> None:
    found = example()
    assert found.front_table.count("\n    |") == len(FRONTS) + 2
    assert found.away_unknown > found.away_factor  # until three runs are there
    away = RECORD["harnesses"]["ml-energy"]
    three = [away[f"{front} front and 3 of the deployment"] for front in ("own", "unknown")]
    assert found.away_factor == max(one[NINE_IN_TEN] for one in three) > 1.2
    rows = [row.strip("|").split(" | ") for row in found.harness_rows.split("\n")]
    assert [len(row) for row in rows] == [5] * 3
    for row in rows:  # of one model none can be left out
        assert (row[3].strip() != "–") == ("ML.ENERGY" in row[0])
