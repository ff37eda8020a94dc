"""Static batches of generated text: their time, step by step, and every refusal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from snippets.optimization.batching_policies import padded_batch_s
from snippets.optimization.continuous_batching import EIGHT_BILLION, Engine


def test_padded_batch_is_the_sum_of_its_steps() -> None:
    engine = Engine(1.0, 0.5, 0.25, 0.125, token_budget=300)
    prompts, outputs = np.array([200, 150, 7]), np.array([2, 4, 1])
    by_steps = 2 * 1.0 + 0.5 * 357  # two steps for 357 tokens of prompts
    for step in (1, 2, 3):
        by_steps += 1.0 + 0.25 * 3 + 0.125 * (357 + 3 * step)
    assert padded_batch_s(prompts, outputs, engine) == pytest.approx(by_steps)


BAD: list[tuple[Any, Any, str]] = [
    ([], [], "prompt_tokens must be of shape"),
    ([0], [1], "prompt_tokens must be positive"),
    ([1], [0], "output_tokens must be positive"),
    ([1], [np.nan], "output_tokens must be positive"),
    ([1], [1, 1], "output_tokens must be of shape"),
]


@pytest.mark.parametrize(("prompts", "outputs", "message"), BAD)
def test_bad_input_is_refused(prompts: Any, outputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        padded_batch_s(prompts, outputs, EIGHT_BILLION)


@pytest.mark.parametrize("bad", [0, -1, 1.5, 1e300, math.nan, math.inf])
def test_tokens_that_are_not_counts_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="prompt_tokens must be positive integers"):
        padded_batch_s([bad, 4], [2, 3], EIGHT_BILLION)
    with pytest.raises(ValueError, match="output_tokens must be positive integers"):
        padded_batch_s([3, 4], [bad, 3], EIGHT_BILLION)
