"""Which bits a full memory asks for, under the simulator, which preempts what does not fit."""

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


@pytest.mark.parametrize(
    ("made", "prompt", "answer", "told"),
    [
        (("Qwen3-32B", "h200", 1, 0.9), 1000, 6000, "cache"),
        (("Llama-3.1-70B", "h200", 2, 0.82), 1000, 2000, "cache"),
        (("Llama-3.1-70B", "h200", 2, 0.82), 2000, 1000, "weights"),
        (("Qwen3-32B", "h200", 1, 0.7), 1000, 6000, "weights"),
    ],
)
def test_the_border_holds_where_engines_preempt(
    made: tuple[str, str, int, float], prompt: int, answer: int, told: str
) -> None:
    """Of three thousand requests that are there from the start, with places for all that memory
    lets in: preempted work favours smaller weights by a tenth, and what the rule takes still
    carries at least 85% of the other."""
    one = _short_of_memory(*made)
    draws = np.random.default_rng(5).uniform(0.5, 1.5, (2, 3000))
    prompts, answers = np.rint(draws * [[prompt], [answer]]).astype(int)
    asked = Workload(np.zeros(prompts.size), prompts, answers)
    ends = {}
    for name, way in (
        ("weights", replace(one, precision="fp8")),
        ("cache", replace(one, cache_bytes=1.0)),
    ):
        engine = engine_of(way, asked, CHAT.token_budget, 1024, memory_share=way.memory_share)
        ends[name] = float(simulate(asked, engine.engine).completion_s.max())
    ratio = ends["cache"] / ends["weights"]
    assert ratio == pytest.approx(_weights_over_cache(one, prompt, answer), rel=0.15)
    assert (ratio if told == "weights" else 1 / ratio) > 0.85
