"""The event-skipping engine equals the step-by-step one, whatever the workload."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
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
from serving_mathematics.optimization.batching.batching_policies import _padded_batch_s

from tests.core.batching.test_continuous_batching import cases

TIMES = ("admitted_s", "first_token_s", "completion_s", "busy_s")
COUNTS = ("preemptions", "steps", "prefill_tokens", "decode_tokens", "context_tokens")


def assert_same(asked: Workload, engine: Engine, watermark: int = 0) -> int:
    """Both engines agree in every bit; the number of preemptions."""
    slow, fast = simulate_steps(asked, engine, watermark), simulate(asked, engine, watermark)
    for name in (*TIMES, *COUNTS):
        assert np.array_equal(getattr(slow, name), getattr(fast, name)), name
    for one, other in zip(latencies_s(asked, slow), latencies_s(asked, fast), strict=True):
        assert np.array_equal(one, other, equal_nan=True)  # TTFT, then TPOT
    return int(slow.preemptions.sum())


@given(cases())
@settings(max_examples=200)
def test_equal_on_any_workload(case: tuple[Workload, Engine]) -> None:
    assert_same(*case)


@given(cases(), st.integers(0, 3))
def test_equal_where_memory_is_as_scarce_as_it_can_be(
    case: tuple[Workload, Engine], watermark: int
) -> None:
    asked, engine = case
    most = int((asked.prompt_tokens + asked.output_tokens).max()) - 1
    scarce = replace(engine, kv_blocks=-(-most // engine.block_tokens))
    assert_same(asked, scarce)
    assert_same(asked, scarce, watermark)


@given(st.integers(1, 60), st.integers(-5, 5), st.floats(0, 0.999))
def test_the_step_that_notices_an_arrival_is_the_first(steps: int, off: int, part: float) -> None:
    """Whatever step was guessed: a later guess would skip over the arrival, which no latency of a
    run shows as long as the guess is exact."""
    engine = Engine(1e-3, 1e-5, 2e-4, context_token_s=1e-6)
    batch, held, own, done = 3, 700, 2**36, (11, 900, 30, 4000, 2**40)

    def end_s(k: int) -> float:
        read = sum(held + batch * step for step in range(1, k + 1))
        tokens = 1e-5 * 900 + 2e-4 * (30 + k * batch) + 1e-6 * (4000 + read)
        return 0.5 + 1e-3 * (11 + k) + tokens + (2**40 + 2**36 * k) * 2.0**-50

    arrival_s = end_s(steps) - part * (end_s(steps) - end_s(steps - 1))
    guess = max(1, steps + off)
    moment_s = arrival_s - 1e-12
    now_s = moment_s - (end_s(guess) - end_s(0))  # for which the root is the guess
    for most in (1, steps, 1000):
        found = engine.steps_until(moment_s, most, now_s, 0.5, done, batch, held, own)
        assert found == (min(steps, most) if guess < most else most)


def test_an_arrival_right_after_an_end_delays_nobody() -> None:
    """The next number after a completion, which rounding must not take for a moment before it."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        costs = rng.uniform([1e-3, 0, 0, 0], [1, 0.1, 0.1, 1e-3])
        engine = Engine(*costs.tolist(), max_sequences=4, token_budget=50)
        prompts, outputs = rng.integers(1, 200, 2), rng.integers(1, 40, 2)
        start = rng.uniform(0, 10)
        end = simulate(Workload([start], prompts[:1], outputs[:1]), engine).completion_s[0]
        assert_same(Workload([start, np.nextafter(end, np.inf)], prompts, outputs), engine)


@pytest.mark.parametrize(("blocks", "preempts"), [(150, True), (400, True), (24_000, False)])
def test_equal_on_long_workloads(blocks: int, preempts: bool) -> None:
    rng = np.random.default_rng(blocks)
    size = 300
    asked = Workload(
        np.cumsum(rng.exponential(1 / 15, size)),
        rng.integers(1, 900, size),
        rng.geometric(1 / 60, size),
    )
    engine = replace(EIGHT_BILLION, kv_blocks=blocks)
    assert bool(assert_same(asked, engine)) is preempts
    assert_same(asked, engine, blocks // 20)


@pytest.mark.parametrize("block", [1, 3, 16])
def test_equal_where_hundreds_share_scarce_memory(block: int) -> None:
    rng = np.random.default_rng(block)
    size = 600
    asked = Workload(
        np.cumsum(rng.exponential(1 / 60, size)),
        rng.geometric(1 / 250, size),
        rng.geometric(1 / 300, size),
    )
    engine = replace(
        EIGHT_BILLION,
        kv_blocks=120_000 // block,
        block_tokens=block,
        token_budget=2048,
        max_sequences=1024,
    )
    assert assert_same(asked, engine) > 20
    places = (simulate(asked, engine).completion_s - asked.arrival_s).sum()
    assert places / asked.arrival_s[-1] > 200  # requests at once


def test_ties_are_decided_the_same_way() -> None:
    for step_s in (0.1, 0.01, 1 / 3):
        rng = np.random.default_rng(2)
        times = np.sort(rng.integers(0, 300, 80)) * step_s
        asked = Workload(times, rng.integers(1, 9, 80), rng.integers(1, 30, 80))
        assert_same(asked, Engine(step_s, max_sequences=8, token_budget=8))
        assert_same(asked, Engine(step_s, 0.0, step_s, 0.0, max_sequences=20, token_budget=30))


def test_late_arrivals_far_from_zero() -> None:
    asked = Workload(1e6 + np.arange(20) * 0.07, np.full(20, 5), np.full(20, 9))
    assert_same(asked, Engine(0.01, 1e-4, 1e-3, 1e-5, max_sequences=4, token_budget=6))


def test_saturated_rate_counts_tokens_below_two_to_the_31() -> None:
    engine = Engine(1.0, token_budget=1, max_sequences=1)
    assert saturated_rate([2**31 - 1], [2**31 - 1], engine) == 1 / (2**31 - 1)
    for name, lengths in (("prompt", (2**31, 1)), ("output", (1, 2**31))):
        with pytest.raises(ValueError, match=f"{name}_tokens must be positive and below"):
            saturated_rate(*([length] for length in lengths), engine)


def test_saturated_rate_of_one_place_is_the_service_rate() -> None:
    engine = Engine(1.0, 0.5, 0.25, 0.125, max_sequences=1)
    lengths = np.array([3, 8]), np.array([4, 1])
    each = [_padded_batch_s(Workload([0], [p], [n]), engine) for p, n in zip(*lengths, strict=True)]
    assert saturated_rate(*lengths, engine) == pytest.approx(1 / np.mean(each))
    without_steps = saturated_rate(
        [3], [4], replace(engine, max_sequences=10**6, token_budget=10**6)
    )
    assert without_steps == pytest.approx(1 / (1.5 + 0.75 + 0.125 * 15), rel=1e-5)


def test_a_request_that_memory_cannot_hold_is_refused() -> None:
    engine = Engine(1.0, kv_blocks=2, block_tokens=4)
    with pytest.raises(ValueError, match="kv_blocks must be enough for a request of 9 tokens"):
        simulate(Workload([0], [8], [2]), engine)
    assert simulate(Workload([0], [8], [1]), engine).completion_s.tolist() == [1.0]


def tabled(case: tuple[Workload, Engine], seed: int) -> tuple[Workload, Engine]:
    """A case whose steps are not linear, and whose prompts are cached in part."""
    asked, engine = case
    rng = np.random.default_rng(seed)
    longest = int((asked.prompt_tokens + asked.output_tokens).max())
    table = StepTable(
        np.sort(rng.uniform(0, 0.3, engine.max_sequences + 1)),
        np.concatenate([[0.0], np.cumsum(rng.uniform(0, 0.02, longest))]),
        float(rng.uniform(0, 0.1)),
        float(rng.choice([0.0, 0.04, 3.0])),
    )
    cached = rng.integers(0, asked.prompt_tokens)
    asked = Workload(asked.arrival_s, asked.prompt_tokens, asked.output_tokens, cached)
    return asked, replace(engine, table=table)


@given(cases(), st.integers(0, 10**6), st.booleans())
@settings(max_examples=200)
def test_equal_with_a_table_and_cached_prefixes(
    case: tuple[Workload, Engine], seed: int, scarce: bool
) -> None:
    asked, engine = tabled(case, seed)
    if scarce:
        most = int((asked.prompt_tokens + asked.output_tokens).max()) - 1
        engine = replace(engine, kv_blocks=-(-most // engine.block_tokens))
    assert_same(asked, engine)


def test_a_table_that_says_what_the_costs_say_changes_nothing() -> None:
    """Linear costs as a table: the same times to a tick for each step."""
    rng = np.random.default_rng(3)
    asked = Workload(
        np.cumsum(rng.exponential(1 / 15, 300)),
        rng.integers(1, 900, 300),
        rng.geometric(1 / 60, 300),
    )
    plain = replace(EIGHT_BILLION, kv_blocks=400)
    table = StepTable(
        plain.decode_token_s * np.arange(plain.max_sequences + 1),
        plain.prefill_token_s * np.arange(2000),
    )
    other = replace(plain, prefill_token_s=0.0, decode_token_s=0.0, table=table)
    for run in (simulate, simulate_steps):
        one, two = run(asked, plain), run(asked, other)
        assert np.abs(one.completion_s - two.completion_s).max() < 1e-9
        assert np.array_equal(one.preemptions, two.preemptions)
    lengths = asked.prompt_tokens, asked.output_tokens
    rates = [saturated_rate(*lengths, engine) for engine in (plain, other)]
    assert rates[0] == pytest.approx(rates[1], rel=1e-9)


def test_a_table_by_hand() -> None:
    """Steps of 1 s, 0.5 more with one sequence; a prompt of four tokens costs 1, 2, 3 and 4 s, its
    end 0.25; two of them are cached in the second request, and a budget of two cuts the first."""
    table = StepTable([0.0, 0.5], [0.0, 1.0, 3.0, 6.0, 10.0, 15.0], 0.25)
    engine = Engine(1.0, token_budget=2, max_sequences=1, table=table)
    served = simulate(Workload([0.0, 100.0], [4, 4], [2, 2], [0, 2]), engine)
    assert served.first_token_s.tolist() == [2 + 10 + 0.25, 100 + 1 + 7 + 0.25]
    assert served.completion_s.tolist() == [12.25 + 1.5, 108.25 + 1.5]
    assert served.prefill_tokens == 6


def test_changes_by_hand() -> None:
    """Steps of 1 s, 0.25 more when they have another number of tokens than the one before: a prompt
    of three, then one token at a time; two more requests of one token each come meanwhile."""
    engine = Engine(1.0, max_sequences=3, table=StepTable([0.0] * 4, [0.0] * 9, 0.0, 0.25))
    asked = Workload([0.0, 3.4, 3.5, 100.0], [3, 1, 1, 1], [6, 1, 1, 1])
    served = simulate(asked, engine)
    assert_same(asked, engine)
    # steps of 3, 1, 1, 3, 1, 1 tokens; the last request comes to an engine that did one
    assert served.completion_s.tolist() == [7.0, 4.75, 4.75, 101.0]
    assert served.busy_s == 8.0


def test_rate_at_which_places_are_always_taken_with_changes() -> None:
    """Within 2% of a burst, where half of the steps change and where nearly all do."""
    asked = chat_workload(np.random.default_rng(16), np.inf, 4000)
    lengths = asked.prompt_tokens, asked.output_tokens
    for places in (16, 64):
        table = StepTable(np.zeros(places + 1), np.zeros(5000), 0.0, EIGHT_BILLION.step_s)
        engine = replace(EIGHT_BILLION, max_sequences=places, table=table)
        ends = np.sort(simulate(asked, engine).completion_s)
        simulated = 3200 / (ends[3600] - ends[400])
        assert saturated_rate(*lengths, engine) == pytest.approx(simulated, rel=0.02)


def test_gaps_are_those_between_tokens() -> None:
    """One decodes while another's prompt comes in: a step takes 1 s, and 0.5 s a prompt token."""
    asked = Workload([0.0, 1.2], [2, 4], [4, 1])
    gaps: list[tuple[float, int]] = []
    engine = Engine(1.0, 0.5, token_budget=5, max_sequences=2)
    assert simulate(asked, engine, gaps=gaps).completion_s.tolist() == [7.0, 5.0]
    assert gaps == [(2.0, 0), (3.0, 1), (1.0, 2)]  # the prompt, both, and the last two tokens
