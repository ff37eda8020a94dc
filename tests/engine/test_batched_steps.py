"""The grid's decode steps as the chapter on batching shows them, from the record alone."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.batching.step_costs import StepCosts
from serving_mathematics.engine.batched_steps import RECORD, decode_steps_s, example
from serving_mathematics.support.measuring import read_record

RECORDED = read_record(RECORD)


def test_steps_are_those_without_a_prompt_and_fitted_one_by_one() -> None:
    steps = decode_steps_s(RECORDED)
    rows = [row for row in RECORDED["calibration"]["rows"] if row["prompt_tokens"] == 0]
    assert len(steps) == len(rows) == 34
    costs = StepCosts(**RECORDED["calibration"]["costs"])
    for step, row in zip(steps, rows, strict=True):
        fitted = (
            costs.step_s
            + costs.decode_token_s * row["decoding"]
            + costs.context_token_s * row["context_tokens"]
        )
        assert step.tolist() == pytest.approx(
            [row["decoding"], row["context_tokens"], row["step_s"], fitted]
        )


def test_example_is_of_the_same_steps() -> None:
    shown, steps = example(), decode_steps_s(RECORDED)
    errors = np.abs(steps[:, 3] - steps[:, 2]) / steps[:, 2]
    assert shown.real_error_percent == pytest.approx(100 * np.median(errors))
    assert shown.real_worst_percent == pytest.approx(100 * errors.max())
    assert shown.real_one_ms < shown.real_full_ms < 32 * shown.real_one_ms
    assert shown.real_gain == pytest.approx(32 * shown.real_one_ms / shown.real_full_ms)
