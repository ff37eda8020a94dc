"""Second copies and the fleet: the page's numbers against the record."""

from __future__ import annotations

import pytest
from serving_mathematics.capacity.tail_latency import copy_tails
from serving_mathematics.capacity.tail_latency.tail_record import LOADS, _recorded


def test_numbers_of_the_page_are_those_of_the_record() -> None:
    told, loads, rows = copy_tails.example(), _recorded()["loads"], _recorded()["remedies"]
    lost = [load for load in LOADS if loads[f"{load}, runs on"]["p99"] > copy_tails.LOST_S]
    assert told.collapse_percent in (100 * lost[0], 100 * lost[1])
    none = rows["documents, 0.7, none"]
    rise = rows["documents, 0.7, copy at the p95"]["p99"] / none["p99"] - 1
    assert told.engine_rise == pytest.approx(100 * rise)
    assert told.textbook_cut == pytest.approx(100 * (1 - none["independent"] / none["p99"]))
    cases = _recorded()["cases"]
    assert told.still_ms == 1000 * cases["still, scattered, 0.5, none"]["p99"]
