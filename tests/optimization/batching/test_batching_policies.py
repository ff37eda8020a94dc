"""Batches of generated text: their time, step by step, limits of the policies, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import TICK_S, Engine, Workload
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import ask_machine
from serving_mathematics.optimization.batching.batching_policies import (
    FEW,
    REQUESTS,
    _completions,
    _latencies_s,
    _padded_batch_s,
    _static_ceiling_per_s,
)


def test_padded_batch_is_the_sum_of_its_steps() -> None:
    engine = Engine(1.0, 0.5, 0.25, 0.125, token_budget=300)
    asked = Workload([0, 0, 0], [200, 150, 7], [2, 4, 1], [0, 30, 0])
    by_steps = 2 * 1.0 + 0.5 * 327  # two steps for 327 new tokens of prompts
    for step in (1, 2, 3):
        by_steps += 1.0 + 0.25 * 3 + 0.125 * (357 + 3 * step)
    assert _padded_batch_s(asked, engine) == pytest.approx(by_steps)


def test_a_batch_of_one_takes_what_the_machine_says() -> None:
    chat = FEW[0]
    alone = Workload([0.0], [500], [100])
    expected = float(chat.prompt_s([500])[0] + chat.step_s(0, 0.0))
    expected += sum(float(chat.step_s(1, 500 + j)) for j in range(1, 100))
    assert _padded_batch_s(alone, chat.engine) == pytest.approx(expected, rel=1e-6)


def test_a_batch_beyond_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="asked must be at most 2 requests"):
        _padded_batch_s(Workload(np.zeros(3), [9] * 3, [2] * 3), CHAT.limited(2).engine)


def test_at_low_load_dynamic_and_continuous_serve_one_at_a_time() -> None:
    chat = FEW[0]
    asked = ask_machine(chat, 1e-5, REQUESTS)
    alone = [_padded_batch_s(asked.part(slice(i, i + 1)), chat.engine) for i in range(REQUESTS)]
    for policy in ("dynamic", "continuous"):
        latencies = _completions(policy, asked, chat.engine) - asked.arrival_s
        assert latencies == pytest.approx(alone, rel=1e-6)


def test_static_batches_carry_what_their_steps_say() -> None:
    chat = FEW[0]
    asked = replace(ask_machine(chat, 1.0, REQUESTS), arrival_s=np.zeros(REQUESTS))
    whole = math.fsum(
        _padded_batch_s(asked.part(slice(i, i + 64)), chat.engine) for i in range(0, REQUESTS, 64)
    )
    assert _static_ceiling_per_s(chat) == pytest.approx(REQUESTS / whole)


def test_one_length_and_real_minutes_change_what_they_name() -> None:
    chat = FEW[0]
    plain, one = (_latencies_s("continuous", chat, 0.1, one_length=same) for same in (False, True))
    assert np.std(one) < 0.2 * np.std(plain)
    steady, real = (_latencies_s("continuous", chat, 0.6, minutes=own) for own in (False, True))
    assert not np.allclose(steady, real)
    assert TICK_S == 2.0**-50
