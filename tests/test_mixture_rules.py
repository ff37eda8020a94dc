"""The rules of mixtures: read by a parser of their language, and run on the book's mixture."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import MIXTURE
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.machine.mixture_of_experts.experts_touched import _due

from .promql import Series, Vector
from .rule_files import RUNNING, at_the_end, rule_text, vectors


def run(
    engine: str,
    running: float,
    gap_s: float,
    balance: float = 0.9,
    prompts: float = 0.0,
    arrive: float = 0.0,
) -> dict[str, float]:
    """The last minute of an hour, with a hundred gaps a second; prompts: tokens of them in a step,
    on average, beside as many from the cache; arrive: prompts a second."""
    steady = np.ones(60)
    series: dict[str, Series] = {
        RUNNING[engine]: running * steady,
        'vllm:prompt_tokens_by_source_total{source="local_compute"}': 60 * prompts / gap_s * steady,
        "sglang:prompt_tokens_total": 60 * 2 * prompts / gap_s * steady,
        "sglang:cached_tokens_total": 60 * prompts / gap_s * steady,
        "vllm:time_to_first_token_seconds_count": 60 * arrive * steady,
        "sglang:num_requests_total": 60 * arrive * steady,
        f"{engine}:inter_token_latency_seconds_sum": 6000 * gap_s * steady,
        f"{engine}:inter_token_latency_seconds_count": 6000 * steady,
        'sglang:eplb_balancedness_sum{forward_mode=~"extend|mixed"}': 600 * balance * steady,
        'sglang:eplb_balancedness_count{forward_mode=~"extend|mixed"}': 600 * steady,
    }
    return at_the_end(f"mixture-{engine}", series)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_a_step_of_the_mixture_is_as_long_as_is_due(engine: str) -> None:
    for count in (1.0, 16.0, 64.0):
        step_s = float(MIXTURE.step_s(count))
        told = run(engine, count, step_s)
        assert told["experts:due:5m"] == pytest.approx(step_s, rel=0.01)
        assert told["experts:touched:5m"] == pytest.approx(1 - (376 / 384) ** count)
        assert np.isnan(told["StepsAreLongerThanTheirExperts"])
        late = run(engine, count, 1.6 * step_s)
        assert late["StepsAreLongerThanTheirExperts"] == pytest.approx(1.6 * step_s)
    assert np.isnan(run(engine, 0.1, 1.0)["StepsAreLongerThanTheirExperts"])  # nearly nobody
    step_s = float(MIXTURE.step_s(16.0))
    reads = run(engine, 16.0, 2 * step_s, prompts=500.0, arrive=1.0)
    assert np.isnan(reads["StepsAreLongerThanTheirExperts"])  # prompts take the other half
    short = run(engine, 16.0, 1.6 * step_s, prompts=20.0, arrive=100.0)
    assert short["experts:touched:5m"] > 0.95  # a prompt in nearly every step touches all
    assert np.isnan(short["StepsAreLongerThanTheirExperts"])


@pytest.mark.parametrize("engine", list(RUNNING))
@pytest.mark.parametrize("load", [0.3, 0.5])
def test_in_its_own_traffic_long_steps_are_told(engine: str, load: float) -> None:
    """Prompts of some thousand tokens come between steps, at whose mean a step would read nearly
    all experts, and which alone lengthen a gap by half. Steps two thirds longer are told."""
    for slowness, told in ((1.0, False), (1.7, True)):
        rate = load * MIXTURE.ceiling_per_s
        done = run_engine(MIXTURE, rate, 1500, np.random.default_rng(1), slowness=slowness)
        stays, span = done.completion_s - done.admitted_s, np.ptp(done.arrival_s)
        gap_s = float(
            (done.completion_s - done.first_token_s).sum() / (done.output_tokens - 1).sum()
        )
        fresh = float((done.prompt_tokens - done.cached_tokens).sum() / span)
        running = float(stays.sum() / span)
        got = run(engine, running, gap_s, prompts=fresh * gap_s, arrive=stays.size / span)
        assert bool(np.isfinite(got["StepsAreLongerThanTheirExperts"])) == told
        assert running + fresh * gap_s > 2 * running  # most tokens of a step are of prompts


@pytest.mark.parametrize("engine", list(RUNNING))
def test_ranks_that_share_the_experts_touch_them_together(engine: str) -> None:
    """Seven ranks with eight tokens each, and one with nothing, whose step is as long as theirs."""
    steady, ranks = np.ones(60), [f"server/{i}" for i in range(8)]
    step_s = float(MIXTURE.step_s(56.0))

    def each(value: float) -> Vector:
        return {rank: (rank != ranks[7]) * value * steady for rank in ranks}

    told = vectors(
        f"mixture-{engine}",
        {
            RUNNING[engine]: each(8.0),
            'vllm:prompt_tokens_by_source_total{source="local_compute"}': each(0.0),
            "vllm:time_to_first_token_seconds_count": each(0.0),
            "sglang:num_requests_total": each(0.0),
            "sglang:prompt_tokens_total": each(0.0),
            f"{engine}:inter_token_latency_seconds_sum": each(6000 * step_s),
            f"{engine}:inter_token_latency_seconds_count": each(6000),
        },
    )
    assert told["experts:running:5m"]["server"][-1] == pytest.approx(56)
    assert told["experts:due:5m"]["server"][-1] == pytest.approx(step_s, rel=0.01)


def test_the_balance_is_watched_where_it_is_told() -> None:
    assert np.isnan(run("sglang", 8.0, 0.01)["OneDeviceHasTheExperts"])
    assert run("sglang", 8.0, 0.01, 0.5)["OneDeviceHasTheExperts"] == pytest.approx(0.5)
    assert "OneDeviceHasTheExperts" not in run("vllm", 8.0, 0.01)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_the_numbers_are_those_of_the_machine(engine: str) -> None:
    empty, each, experts = _due()
    due = f"{empty:.4f} + {each:.4f} * experts:running:5m + {experts:.4f} * experts"
    text = rule_text(f"mixture-{engine}")
    assert due in text
    lengths = (MIXTURE.sample.prompt_tokens, MIXTURE.sample.cached_tokens)
    token_s = float(MIXTURE.prompt_s(*lengths).mean() / (lengths[0] - lengths[1]).mean())
    assert f"{token_s:.7f}" in text
    assert f"{round(MIXTURE.mean_context_tokens, -3):,.0f} tokens each" in text
