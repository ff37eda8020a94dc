"""The scheduler: random workloads against the simulators, and what its steps add up to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    StepTable,
    Workload,
    simulate_steps,
)
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.optimization.batching.scheduler import Stepped, ask_machine, serve_steps

TABLE = StepTable(np.linspace(0.0, 0.2, 9), np.linspace(0.0, 1.0, 80) ** 2, 0.125)


@given(
    st.lists(st.floats(0, 20), min_size=1, max_size=12).map(sorted),
    st.integers(0, 2**31),
    st.sampled_from([20, 40, 10**6]),
    st.sampled_from([None, TABLE]),
    st.integers(0, 6),
)
def test_it_ends_requests_when_the_simulator_does(
    times: list[float], seed: int, blocks: int, table: StepTable | None, spare: int
) -> None:
    rng, size = np.random.default_rng(seed), len(times)
    prompts = rng.integers(1, 50, size)
    asked = Workload(times, prompts, rng.integers(1, 30, size), rng.integers(0, prompts))
    engine = Engine(0.5, 0.25, 0.125, 0.0625, blocks, 4, 9, 8, table)
    expected = simulate_steps(asked, engine, spare)
    got = serve_steps(asked, engine, spare)
    assert isinstance(got, Stepped)
    assert got.completion_s == pytest.approx(expected.completion_s, rel=1e-9)
    assert got.first_token_s == pytest.approx(expected.first_token_s, rel=1e-9)
    assert got.preemptions == expected.preemptions.sum()
    assert got.step_s.size == expected.steps


def test_gaps_of_all_tokens_are_the_time_that_answers_take() -> None:
    asked = ask_machine(CHAT, 0.6, 60)
    served = serve_steps(asked, CHAT.engine)
    spans = served.completion_s - served.first_token_s
    assert served.step_s @ served.decoding == pytest.approx(spans.sum(), rel=1e-9)
    assert served.decoding.sum() == (asked.output_tokens - 1).sum()


def test_the_machine_is_asked_at_its_load() -> None:
    for machine, load in ((CHAT, 0.5), (MIXTURE, 1.5)):
        asked = ask_machine(machine, load, 4000)
        rate = 4000 / asked.arrival_s[-1]
        assert rate == pytest.approx(load * machine.ceiling_per_s, rel=0.05)
        assert asked.prompt_tokens.mean() == pytest.approx(
            machine.sample.prompt_tokens.mean(), rel=0.1
        )
    again = ask_machine(CHAT, 1.0, 50)
    assert np.array_equal(ask_machine(CHAT, 0.5, 50).output_tokens, again.output_tokens)
    assert not np.array_equal(ask_machine(CHAT, 0.5, 50, 2).output_tokens, again.output_tokens)


def test_what_is_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="kv_blocks must be enough for a request of 5 tokens"):
        serve_steps(Workload([0.0], [4], [2]), Engine(1.0, kv_blocks=1, block_tokens=4))
    with pytest.raises(ValueError, match="spare_blocks must be a non-negative integer"):
        serve_steps(Workload([0.0], [4], [2]), Engine(1.0), -1)
    with pytest.raises(ValueError, match="table must be for up to 9 sequences"):
        serve_steps(
            Workload(np.zeros(9), np.ones(9), np.ones(9)), replace(Engine(1.0), table=TABLE)
        )
