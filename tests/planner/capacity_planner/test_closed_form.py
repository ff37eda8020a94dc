"""The closed form: limits, simulation, order, and every refusal."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    StepTable,
    Workload,
    chat_workload,
    latencies_s,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.planner.capacity_planner.closed_form import (
    Estimate,
    closed_form,
    closed_form_alone,
    work_s,
)

ASKED = chat_workload(np.random.default_rng(1), 4.0, 3000, 300.0, 150.0)


def test_alone_it_is_exact() -> None:
    asked = Workload([0.0], [40], [6])
    engine = Engine(0.5, 0.01, 0.02, 0.001, token_budget=64, max_sequences=8)
    told = closed_form(asked, 1e-9, engine, (0.5,))
    served = simulate_steps(asked, engine)
    ttft, tpot = latencies_s(asked, served)
    assert told.tpot_s == pytest.approx(float(tpot[0]))
    assert told.ttft_s[0] == pytest.approx(float(ttft[0]))
    assert told.mean_wait_s == pytest.approx(0, abs=1e-12)
    assert sum(float(part[0]) for part in work_s(asked, engine)) + 6 * 0.5 == pytest.approx(
        served.busy_s
    )


def test_prompts_longer_than_the_budget_take_more_steps() -> None:
    asked = Workload([0.0], [200], [1])
    engine = Engine(0.5, 0.01, token_budget=64, max_sequences=8)
    told = closed_form(asked, 1e-9, engine, (0.5,))
    assert told.ttft_s[0] == pytest.approx(4 * 0.5 + 2.0)
    assert told.ttft_s[0] == pytest.approx(float(latencies_s(asked, simulate(asked, engine))[0][0]))


def test_one_that_comes_waits_for_half_of_the_step_that_is_under_way() -> None:
    """Source: the rest of a step of one length, met at a random time, is half of it; by Little's
    law a step is under way for the rate times the time inside."""
    asked = Workload([0.0], [40], [6])
    engine = Engine(0.5, 0.01, 0.02, 0.001, token_budget=64, max_sequences=8)
    idle, seldom = (closed_form(asked, rate, engine, (0.5,)) for rate in (1e-9, 0.01))
    stretch = seldom.tpot_s / idle.tpot_s
    more = seldom.ttft_s[0] - stretch * idle.ttft_s[0]
    assert more == pytest.approx(seldom.concurrency * seldom.tpot_s / 2, rel=1e-6)
    assert more > 0


@given(st.floats(0.01, 5.0), st.floats(1.01, 3.0), st.integers(2, 256))
def test_more_load_is_never_faster(rate: float, factor: float, places: int) -> None:
    engine = replace(EIGHT_BILLION, max_sequences=places)
    low, high = (closed_form(ASKED, r, engine) for r in (rate, factor * rate))
    assert low.load <= high.load
    assert low.tpot_s <= high.tpot_s
    assert low.concurrency <= high.concurrency + 1e-9
    assert all(a <= b for a, b in zip(low.ttft_s, high.ttft_s, strict=True))
    assert list(low.ttft_s) == sorted(low.ttft_s)


def test_a_request_with_one_later_token_is_slowed_by_all_of_its_own_work() -> None:
    """Source: 1/(1 − λw), w a prompt of 1 s and one later token of 0.2 s that reads 11 tokens."""
    engine = Engine(1.0, 0.1, 0.2, 0.01, token_budget=64, max_sequences=8)
    told = closed_form(Workload([0.0], [10], [2]), 0.1, engine, (0.5,))
    slowdown = 1 / (1 - 0.1 * (1.0 + 0.2 + 11 * 0.01))
    assert told.tpot_s == pytest.approx(slowdown * (1.0 + 0.2 + 11 * 0.01))


def test_load_is_that_of_the_saturated_rate() -> None:
    engine = replace(EIGHT_BILLION, max_sequences=8)
    most = saturated_rate(ASKED.prompt_tokens, ASKED.output_tokens, engine)
    assert closed_form(ASKED, 0.5 * most, engine).load == pytest.approx(0.5)
    for rate in (most, 2 * most):
        told = closed_form(ASKED, rate, engine)
        assert math.isinf(told.tpot_s)
        assert set(told.ttft_s) == {math.inf}
    almost = closed_form(ASKED, 0.999 * most, engine)
    assert almost.concurrency == pytest.approx(8, rel=0.01)


def test_memory_limits_the_places() -> None:
    tight = replace(EIGHT_BILLION, kv_blocks=200)
    assert 1 <= closed_form(ASKED, 0.1, tight).places < 10
    assert closed_form(ASKED, 0.1, replace(tight, kv_blocks=1)).places == 1


def test_burstiness_lengthens_the_wait() -> None:
    engine = replace(EIGHT_BILLION, max_sequences=4)
    poisson, bursty = (closed_form(ASKED, 1.2, engine, arrival_scv=c) for c in (1.0, 6.0))
    assert isinstance(poisson, Estimate)
    assert poisson.mean_wait_s < bursty.mean_wait_s
    assert poisson.ttft_s[2] < bursty.ttft_s[2]


def test_alone_as_simulated_with_a_table_and_a_cached_prefix() -> None:
    table = StepTable([0.5, 0.25, 0.125], np.arange(200.0) ** 2 / 1e3, 0.75)
    engine = Engine(0.5, 0.01, 0.02, 0.001, token_budget=64, max_sequences=2, table=table)
    asked = Workload([0.0], [140], [6], [40])
    served = simulate(asked, engine)
    first, each = closed_form_alone(asked, engine)
    ttft, tpot = latencies_s(asked, served)
    assert first[0] == pytest.approx(float(ttft[0]))
    assert each[0] == pytest.approx(float(tpot[0]))
    assert np.isnan(closed_form_alone(Workload([0.0], [3], [1]), engine)[1][0])


def test_a_cost_of_changes_is_refused() -> None:
    engine = Engine(0.5, table=StepTable(np.zeros(300), np.zeros(9000), 0.0, 0.125))
    told = "table must be without a cost of changes, which only the simulators follow, got 0.125 s"
    with pytest.raises(ValueError, match=re.escape(told)):
        closed_form(ASKED, 1.0, engine)


def test_a_batch_that_is_not_linear_against_simulation() -> None:
    """Steps that grow with the root of the batch: time per token to 3%, light load to heavy."""
    table = StepTable(0.002 * np.sqrt(np.arange(501)), 4e-5 * np.arange(9000))
    engine = Engine(0.004, max_sequences=500, token_budget=8192, table=table)
    for rate in (2.0, 12.0, 25.0):
        asked = chat_workload(np.random.default_rng(3), rate, 4000)
        asked = Workload(asked.arrival_s, np.full(4000, 200), np.full(4000, 300))
        _, tpot = latencies_s(asked, simulate(asked, engine))
        ratio = closed_form(asked, rate, engine).tpot_s / float(tpot[400:].mean())
        assert 0.97 < ratio < 1.03, rate


def test_who_comes_meets_a_step_under_way_unless_there_is_one_place() -> None:
    """Half a step for the share of time in which one runs, where steps cost the same for all."""
    asked = Workload([0], [10], [11])
    one, two, three = (
        closed_form(asked, 0.2, Engine(0.1, max_sequences=places)) for places in (1, 2, 3)
    )
    assert two.ttft_s[0] == pytest.approx(three.ttft_s[0])
    inside = 0.2 * 1.1  # a step for the prompt and ten for later tokens
    assert two.ttft_s[0] == pytest.approx(0.1 + inside * 0.1 / 2)
    assert one.ttft_s[0] == pytest.approx(0.1)
