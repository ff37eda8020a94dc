"""Batches of generated text: their time, step by step, limits of the policies, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.core.machines.running import ask_machine
from serving_mathematics.optimization.batching.batching_policies import (
    FEW,
    REQUESTS,
    _completions,
    _padded_batch_s,
    _static_ceiling_per_s,
    example,
)


def test_at_low_load_dynamic_and_continuous_serve_one_at_a_time() -> None:
    chat = FEW[0]
    asked = ask_machine(chat, 1e-5, REQUESTS)
    alone = [_padded_batch_s(asked.part(slice(i, i + 1)), chat.engine) for i in range(REQUESTS)]
    for policy in ("dynamic", "continuous"):
        latencies = _completions(policy, asked, chat.engine) - asked.arrival_s
        assert latencies == pytest.approx(alone, rel=1e-6)


def test_static_batches_carry_what_their_steps_say() -> None:
    chat, count = FEW[0], 10 * REQUESTS // 64 * 64  # a last batch with free places carries less
    asked = replace(ask_machine(chat, 1.0, count), arrival_s=np.zeros(count))
    whole = math.fsum(
        _padded_batch_s(asked.part(slice(i, i + 64)), chat.engine) for i in range(0, count, 64)
    )
    assert _static_ceiling_per_s(chat) == pytest.approx(count / whole)
    with pytest.raises(ValueError, match="asked must be at most 16 requests"):
        _padded_batch_s(asked, chat.limited(16).engine)


def test_the_machines_as_they_are_lie_in_the_range_of_the_answer() -> None:
    told = example()
    for machine in (CHAT, MIXTURE.limited(MIXTURE.sequences_at_most)):
        gain = machine.ceiling_per_s / _static_ceiling_per_s(machine, padded=False)
        assert told.carries_least <= gain <= told.carries_most
