"""The errors that the page shows are those of the records, from the best known to the least."""

from __future__ import annotations

import re

from serving_mathematics.planner.capacity_planner.model_errors import RECORD
from serving_mathematics.reference.plan_trust import example
from serving_mathematics.support.measuring import read_record


def test_a_row_for_each_error_with_its_runs() -> None:
    rows = [row.split("|")[1:-1] for row in example().trust_rows.splitlines()]
    assert len(rows) == 9
    power = read_record("energy_scores")["power at the measured throughput"]["all"]
    told = [f" {power['runs']} ", *(f" {100 * power[name]:.0f}% " for name in ("median", "p90"))]
    assert rows[-1][1:] == told
    for _, runs, median, p90 in rows:
        assert int(runs.replace(",", "")) > 0
        assert 0 < int(re.sub(r"\D", "", median)) < int(re.sub(r"\D", "", p90))


def test_the_error_of_a_model_never_seen_is_that_of_the_runs_themselves() -> None:
    """The scores against the ratios that the planner's intervals rest on, run by run."""
    record = read_record(RECORD)
    place = record["columns"].index("tpot_ratio")
    apart = sorted(abs(1 / row[place] - 1) for row in record["rows"])
    middle = 100 * apart[len(apart) // 2]
    assert abs(middle - example().trust_token) < 0.5
