"""Which bits a full memory asks for, against the simulator of one engine with a backlog."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.attention_memory.full_memory import (
    _short_of_memory,
    _weights_over_cache,
)


@pytest.mark.parametrize(("prompt", "answer"), [(1000, 2000), (4000, 500)])
def test_a_simulated_backlog_agrees(prompt: int, answer: int) -> None:
    """The rates of full engines are those of four thousand requests that are there from the start,
    over each other to a tenth: the simulator also fills, preempts and empties."""
    one = _short_of_memory("Qwen3-32B", "h200", 1, 0.9)
    draws = np.random.default_rng(5).uniform(0.5, 1.5, (2, 4000))
    prompts, answers = np.rint(draws * [[prompt], [answer]]).astype(int)
    asked = Workload(np.zeros(prompts.size), prompts, answers)
    ends = []
    for way in (replace(one, precision="fp8"), replace(one, cache_bytes=1.0)):
        made = engine_of(way, asked, CHAT.token_budget, 512, memory_share=way.memory_share)
        ends.append(float(simulate(asked, made.engine).completion_s.max()))
    weights, cache = ends
    told = _weights_over_cache(one, float(prompt), float(answer))
    assert cache / weights == pytest.approx(told, rel=0.1)
