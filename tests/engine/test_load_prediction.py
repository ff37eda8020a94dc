"""Loads for the simulator and the engine alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Engine, Workload, latencies_s
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.engine.load_prediction import (
    QUANTILES,
    TRACE_SCALE,
    cut_workload,
    latency_quantiles,
    poisson_load,
    trace_load,
)
from serving_mathematics.support.measuring import read_record

HOUR: dict[str, Any] = read_record("azure_conv_2023")["statistics"]


def test_workload_is_cut_in_time_and_length() -> None:
    asked = Workload([0, 1, 2], [600, 5, 5], [3, 600, 3])
    cut = cut_workload(asked, 1.5, 512)
    assert (cut.prompt_tokens + cut.output_tokens <= 512).all()
    assert cut.prompt_tokens.tolist() == [511, 5]


def test_runs_differ_by_seed_and_rate() -> None:
    loads = [poisson_load(rate, seed, 5.0, 2048) for rate in (4.0, 8.0) for seed in (0, 1)]
    assert len({tuple(load.arrival_s.tolist()) for load in loads}) == 4
    assert all(load.arrival_s[-1] <= 5.0 for load in loads)
    again = poisson_load(8.0, 1, 5.0, 2048)
    assert again.output_tokens.tolist() == loads[3].output_tokens.tolist()


def test_trace_has_the_minutes_and_the_lengths_of_the_record() -> None:
    load = trace_load(HOUR, 400.0, 2, 116.0, 2048)
    minutes = np.array(HOUR["requests_per_minute"])
    parts = np.histogram(load.arrival_s, minutes.size, (0.0, 116.0))[0]
    expected = 400.0 * 116.0 / minutes.size * minutes / minutes.mean()
    assert np.abs((parts - expected) / np.sqrt(expected)).max() < 4.5  # of 58 counts
    for tokens, name in (
        (load.prompt_tokens, "context_tokens"),
        (load.output_tokens, "generated_tokens"),
    ):
        at_half = HOUR["token_quantiles_percent"].index(50)
        assert np.median(tokens) == pytest.approx(HOUR[name][at_half] / TRACE_SCALE, rel=0.03)
        assert tokens.max() <= HOUR[name][-1] / TRACE_SCALE + 0.5
    assert (load.prompt_tokens + load.output_tokens).max() <= 2048


def test_quantiles_are_those_of_the_requests() -> None:
    asked = poisson_load(20.0, 0, 10.0, 2048)
    served = simulate(asked, Engine(0.01, 1e-4, 1e-4))
    found = latency_quantiles(asked, served)
    ttft, tpot = latencies_s(asked, served)
    assert found["ttft_s"] == np.quantile(ttft, QUANTILES).tolist()
    assert found["tpot_s"] == np.quantile(tpot[np.isfinite(tpot)], QUANTILES).tolist()
