"""The record of first tokens: every case is there, and its policies do what they say."""

from __future__ import annotations

import itertools

from serving_mathematics.capacity.tail_latency.mixes import MIXES
from serving_mathematics.capacity.tail_latency.tail_record import (
    COPIES,
    LOADS,
    REMEDIES,
    _pauses,
    _recorded,
)


def test_the_record_has_every_case() -> None:
    record = _recorded()
    assert record["loads"].keys() == {f"{load}, {name}" for load in LOADS for name in COPIES}
    cases = itertools.product(MIXES, (0.5, 0.7), REMEDIES)
    assert record["remedies"].keys() == {f"{mix}, {load}, {name}" for mix, load, name in cases}
    for rows in (record["loads"], record["remedies"], record["cases"]):
        for row in rows.values():
            assert 0 < row["p50"] <= row["p95"] <= row["p99"]
            assert 0 <= row["sent"] <= 1 >= row["won"] >= 0


def test_one_engine_after_the_other_stands_still() -> None:
    halts = _pauses(100.0)
    assert [place for place, *_ in halts] == [0, 1, 2, 3, 0]
    assert all(end - begin == 2.0 for _, begin, end in halts)
    assert all(later[1] - now[1] == 20.0 for now, later in itertools.pairwise(halts))
