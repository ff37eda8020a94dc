"""The measurement of the reader, without its model."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from serving_mathematics.core.machines import reader_measurement
from serving_mathematics.core.machines.reader_measurement import (
    BATCHES,
    ROUNDS,
    main,
    processor_times_s,
)
from serving_mathematics.support.measuring import read_record


def test_more_work_takes_more_processor_time() -> None:
    def run(batch: int) -> float:
        return float(sum(np.sqrt(np.arange(20_000 * batch, dtype=float)).sum() for _ in range(10)))

    times = processor_times_s(run, [1, 8], 7, np.random.default_rng(1))
    assert times.shape == (7, 2)
    assert np.median(times[:, 1]) > np.median(times[:, 0])


def test_the_record_is_what_the_command_writes() -> None:
    record = read_record("reader_batches")
    assert tuple(record["batches"]) == BATCHES
    assert np.shape(record["times_s"]) == (len(BATCHES), ROUNDS)
    assert record["command"] == reader_measurement.COMMAND


def test_a_file_without_the_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        main([str(tmp_path / "none.whl")])
    there = mock.Mock(return_value=Path("there.json"))
    with mock.patch.multiple(reader_measurement, _measure=mock.Mock(), write_record=there):
        assert main(["a.whl"]) == 0
    assert there.call_args.args[0] == reader_measurement.RECORD
    with pytest.raises(ValueError, match="paths must be one"):
        main([])
