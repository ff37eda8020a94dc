"""Batches of lines: what the record says, and the ceiling."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.reader import READER, Reader
from serving_mathematics.core.machines.running import Run, run_engine


def test_the_record_is_a_line_through_nothing() -> None:
    sizes = np.array(list(READER.measured_s))
    per_line = READER.batch_s(sizes) / sizes
    assert per_line.max() / per_line.min() < 1.35
    assert READER.how_wrong.runs == 40 * sizes.size
    assert READER.how_wrong.low <= 1.0 <= READER.how_wrong.high
    assert READER.ceiling_per_s == pytest.approx(8 / float(READER.batch_s(8)))
    assert READER.price_per_hour == READER.device_price_per_hour


def test_a_full_reader_does_what_the_ceiling_says() -> None:
    run = run_engine(READER, 3 * READER.ceiling_per_s, 4000, np.random.default_rng(1))
    assert 4000 / run.completion_s[-1] == pytest.approx(READER.ceiling_per_s, rel=0.01)
    assert run.busy_share > 0.99
    alone = run_engine(READER, 20.0, 4000, np.random.default_rng(1), places=1)
    assert alone.busy_share == pytest.approx(20 * float(READER.batch_s(1)), rel=0.05)
    assert isinstance(alone, Run)
    assert alone.places == 1
    same: Reader = READER.limited()
    assert same == READER
    with pytest.raises(ValueError, match="lines must be from 1 to 8"):
        READER.batch_s(9)
