"""The fitted line against scipy, and the record that it is fitted to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.optimization.batching.latency_fit import RECORD, LineFit, fit_line
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.measuring import read_record


def test_line_and_errors_against_scipy() -> None:
    rng = np.random.default_rng(3)
    sizes = np.array([1, 2, 4, 8, 16, 32, 64, 128.0])
    times = 0.3 * sizes + 4 + rng.normal(0, 0.7, sizes.size)
    got, expected = fit_line(sizes, times), stats.linregress(sizes, times)
    assert got.per_item == pytest.approx(expected.slope)
    assert got.fixed == pytest.approx(expected.intercept)
    assert got.per_item_error == pytest.approx(expected.stderr)
    assert got.fixed_error == pytest.approx(expected.intercept_stderr)
    assert got.r_squared == pytest.approx(expected.rvalue**2)


def test_exact_lines_have_no_error() -> None:
    line = fit_line([1, 5, 9], [3.0, 11.0, 19.0])
    assert line == LineFit(2.0, 1.0, 0.0, 0.0, 1.0)
    assert line.at([0, 2]).tolist() == [1.0, 5.0]
    assert fit_line([1, 2, 3], [7, 7, 7]).r_squared == 1.0


def test_student_quantile() -> None:
    assert pytest.approx(stats.t(10).ppf(0.975), abs=1e-9) == STUDENT_T_975[10]


def test_record_is_whole() -> None:
    record = read_record(RECORD)
    assert {"command", "date", "machine", "versions", "asked", "batches", "batcher"} <= set(record)
    assert len(record["batches"]) == 12  # of which the interval has ten degrees of freedom
    for row in record["batches"]:
        first, third = row["quartiles_ms"]
        assert 0 < first <= row["median_ms"] <= third
