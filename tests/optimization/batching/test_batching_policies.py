"""Static batches of generated text: their time, step by step, and every refusal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import EIGHT_BILLION, Engine, Workload
from serving_mathematics.optimization.batching import batching_policies
from serving_mathematics.optimization.batching.batching import form_batches
from serving_mathematics.optimization.batching.batching_policies import (
    REQUESTS,
    SIXTEEN,
    _budget_p99s,
    _burst,
    _chat,
    _one_length_p99_s,
    _point,
    _static_spans,
    padded_batch_s,
)


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


def test_spans_of_the_timeline_are_those_of_static_batches() -> None:
    asked, engine = _burst()
    assert asked.arrival_s.size == asked.prompt_tokens.size == asked.output_tokens.size == 40
    starts, dones, ends = _static_spans()

    def batch_s(first: int, end: int) -> float:
        some = slice(first, end)
        return padded_batch_s(asked.prompt_tokens[some], asked.output_tokens[some], engine)

    expected = form_batches(np.zeros(40), batch_s, 8, math.inf)
    assert starts == pytest.approx(expected[0])
    assert ends == pytest.approx(expected[1])
    assert np.all((starts < dones) & (dones <= ends + 1e-12))
    by_batch = (asked.output_tokens.reshape(5, 8), dones.reshape(5, 8), ends.reshape(5, 8))
    for outputs, done, end in zip(*by_batch, strict=True):
        assert np.array_equal(np.argsort(outputs, kind="stable"), np.argsort(done, kind="stable"))
        assert np.isclose(done, end).sum() == (outputs == outputs.max()).sum()


def test_at_low_load_every_policy_serves_one_at_a_time() -> None:
    asked = _chat(1e-4)
    alone_s = [
        padded_batch_s([p], [n], SIXTEEN)
        for p, n in zip(asked.prompt_tokens, asked.output_tokens, strict=True)
    ]
    late = alone_s[REQUESTS // 10 :]
    tokens_per_s = asked.output_tokens.sum() / asked.arrival_s[-1]
    for policy in ("greedy", "continuous"):
        tokens, latencies_s = _point(policy, 1e-4)
        assert tokens == pytest.approx(tokens_per_s, rel=1e-3)
        p99_s = float(np.quantile(latencies_s, 0.99))
        assert p99_s == pytest.approx(float(np.quantile(late, 0.99)), rel=1e-6)


def test_a_token_of_a_budget_takes_between_an_empty_and_a_full_step() -> None:
    for budget in (128, 1024):
        ttft_s, gap_s, _ = _budget_p99s(budget)
        full_s = EIGHT_BILLION.step_s + EIGHT_BILLION.prefill_token_s * budget
        assert EIGHT_BILLION.step_s < gap_s < 1.3 * full_s
        assert ttft_s > full_s


def test_the_one_length_is_the_mean_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def completions(_: str, asked: Workload) -> np.ndarray:
        seen.append(asked)
        return asked.arrival_s + 1.0

    monkeypatch.setattr(batching_policies, "_completions", completions)
    assert _one_length_p99_s("static") == pytest.approx(1.0)
    (asked,), drawn = seen, _chat(3.0)
    error = drawn.output_tokens.std() / math.sqrt(REQUESTS)
    assert abs(asked.output_tokens[0] - drawn.output_tokens.mean()) < 2 * error
    assert set(asked.output_tokens) == {asked.output_tokens[0]}
    assert np.array_equal(asked.arrival_s, drawn.arrival_s)
