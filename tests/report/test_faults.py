from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.report.faults import (
    FAULTS,
    RECORD,
    _told_of,
    score_fault,
    served,
)
from serving_mathematics.support.measuring import read_record


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_a_run_without_is_left_alone(name: str) -> None:
    found = score_fault(name, 4, (1000,))
    assert found["missed"] <= 1
    assert found["alarms"] <= 1


def test_the_record_is_of_all_faults() -> None:
    rows = read_record(RECORD)["rows"]
    assert [row["finding"] for row in rows] == list(FAULTS)


def test_a_run_is_the_same_for_the_same_seed() -> None:
    one, other = (served(np.random.default_rng(5), 200) for _ in range(2))
    assert all((one.columns[name] == other.columns[name]).all() for name in one.columns)
    assert not _told_of("failures", one, "note")
    assert not _told_of("bursts", one, "problem")
