"""Memory that runs out: the measured requests on the other simulator, and the table of the page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload, simulate_steps
from serving_mathematics.optimization.batching.scarce_memory import (
    BLOCKS,
    MEASURED_PREEMPTIONS,
    MEASURED_TOKENS_PER_S,
    SHARES,
    _as_measured,
    _long_engine,
    example,
)


def test_the_measured_requests_preempt_as_often_step_by_step() -> None:
    rng = np.random.default_rng(1)
    asked = Workload(np.zeros(450), rng.integers(800, 1201, 450), rng.integers(4000, 6001, 450))
    engine = replace(_long_engine(), kv_blocks=BLOCKS)
    served = simulate_steps(asked, engine, round(0.05 * BLOCKS))
    preemptions, tokens_per_s = _as_measured(0.05, 1)
    assert preemptions == served.preemptions.sum()
    total = float(asked.output_tokens.sum()) / float(served.completion_s.max())
    assert tokens_per_s == pytest.approx(total, rel=1e-9)


def test_the_measurement_has_a_value_for_each_share() -> None:
    assert len(SHARES) == len(MEASURED_PREEMPTIONS) == len(MEASURED_TOKENS_PER_S) == 5
    assert BLOCKS * 16 == 299_584
    told = example()
    assert told.measured_gain == pytest.approx(100 * (12134 / 11582 - 1))
