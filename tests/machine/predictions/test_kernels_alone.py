"""Kernels alone: one efficiency by a loop over models, and the record's scores."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.calibration import predict_runs
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.machine.predictions.kernels_alone import (
    _one_efficiency,
    _record,
)


def test_one_efficiency_by_a_loop() -> None:
    table, predicted = _record()
    assert predicted.shape == table.per_token_s.shape == (3610,)
    slower = table.per_token_s / predict_runs(table, DATA_SHEET).per_token_s
    factors = {
        name: float(
            np.median([s for s, run in zip(slower, table.runs, strict=True) if run.family != name])
        )
        for name in {run.family for run in table.runs}
    }
    off = [abs(factors[run.family] / s - 1) for s, run in zip(slower, table.runs, strict=True)]
    simple, dense, mixed = _one_efficiency()
    assert simple == pytest.approx(float(np.median(off)))
    assert mixed < dense < 0.6
