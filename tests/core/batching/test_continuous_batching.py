"""The step-by-step engine: hand traces, invariants, and every refusal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    Served,
    StepTable,
    Workload,
    chat_workload,
    gap_quantile,
    latencies_s,
    simulate_steps,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Workload, Engine]:
    """A workload, often with ties, and an engine in which anything may be scarce."""
    size = draw(st.integers(1, 12))
    numbers = st.lists(st.integers(1, 30), min_size=size, max_size=size)
    ticks = sorted(draw(st.lists(st.integers(0, 60), min_size=size, max_size=size)))
    prompts, outputs = draw(numbers), draw(numbers)
    block, places = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    least = max(-(-(p + n - 1) // block) for p, n in zip(prompts, outputs, strict=True))
    costs = st.sampled_from([0.0, 0.25, 0.01])
    engine = Engine(
        draw(st.sampled_from([0.5, 0.01, 1.0])),
        draw(costs),
        draw(costs),
        draw(st.sampled_from([0.0, 0.001, 0.125])),
        kv_blocks=least + draw(st.integers(0, 12)),
        block_tokens=block,
        token_budget=places + draw(st.integers(0, 40)),
        max_sequences=places,
    )
    return Workload(np.array(ticks) * draw(st.sampled_from([0.5, 0.013])), prompts, outputs), engine


@given(cases())
def test_every_request_is_served_once_and_in_order(case: tuple[Workload, Engine]) -> None:
    asked, engine = case
    served = simulate_steps(asked, engine)
    assert np.all(served.admitted_s >= asked.arrival_s)
    assert np.all(np.diff(served.admitted_s) >= 0)  # first come, first served
    assert np.all(np.diff(served.first_token_s) >= 0)
    assert np.all(served.first_token_s > served.admitted_s)
    longest = engine.step_s * (asked.output_tokens - 1)
    assert np.all(served.completion_s - served.first_token_s >= longest - 1e-9)
    again = served.prefill_tokens - asked.prompt_tokens.sum()
    replaced = (asked.output_tokens - 1).sum() - served.decode_tokens
    assert again >= 0
    assert 0 <= replaced <= served.preemptions.sum()
    if not served.preemptions.any():
        assert again == replaced == 0
    assert served.preemptions[0] == 0  # the oldest always keeps its memory
    work = served.steps, served.prefill_tokens, served.decode_tokens, served.context_tokens
    assert served.busy_s == pytest.approx(engine.elapsed_s(*work))
    assert served.busy_s <= served.completion_s.max() - asked.arrival_s[0] + 1e-9
    assert served.steps >= asked.output_tokens.max()


@given(cases())
def test_engine_is_busy_while_anybody_is_inside(case: tuple[Workload, Engine]) -> None:
    asked, engine = case
    served = simulate_steps(asked, engine)
    inside_s, until = 0.0, -math.inf  # length of the union of arrival to completion
    for arrival, end in zip(
        asked.arrival_s, np.maximum.accumulate(served.completion_s), strict=True
    ):
        inside_s += max(end - max(arrival, until), 0.0)
        until = max(end, until)
    assert served.busy_s == pytest.approx(inside_s)


@given(cases())
def test_costs_add_up(case: tuple[Workload, Engine]) -> None:
    """In a burst the schedule does not depend on the costs, so times are linear in them."""
    asked, engine = case
    burst = Workload(np.zeros(asked.arrival_s.size), asked.prompt_tokens, asked.output_tokens)
    costs = {"prefill_token_s": 0.7, "decode_token_s": 0.3, "context_token_s": 0.02}
    plain = replace(engine, step_s=1.0, **dict.fromkeys(costs, 0.0))
    steps = simulate_steps(burst, plain).completion_s
    expected = 2.5 * steps
    for name, cost in costs.items():
        expected += cost * (
            simulate_steps(burst, replace(plain, **{name: 1.0})).completion_s - steps
        )
    got = simulate_steps(burst, replace(plain, step_s=2.5, **costs)).completion_s
    assert got == pytest.approx(expected)
    assert np.all(steps == np.round(steps))


def test_idle_gap_and_a_single_token() -> None:
    served = simulate_steps(Workload([1.0, 9.0], [3, 2], [1, 2]), Engine(2.0, 0.5))
    assert served.admitted_s.tolist() == [1.0, 9.0]
    assert served.first_token_s.tolist() == [4.5, 12.0]
    assert served.completion_s.tolist() == [4.5, 14.0]
    assert served.steps == 3
    assert served.busy_s == pytest.approx(8.5)


def test_context_is_what_decoding_sequences_read() -> None:
    served = simulate_steps(Workload([0.0], [10], [4]), Engine(1.0, context_token_s=0.1))
    assert served.context_tokens == 11 + 12 + 13
    assert served.completion_s[0] == pytest.approx(4 + 3.6)


def test_an_arrival_on_the_end_of_a_step_joins_the_next() -> None:
    served = simulate_steps(Workload([0.0, 1.0, 1.5], [1, 1, 1], [3, 1, 1]), Engine(1.0))
    assert served.first_token_s.tolist() == [1.0, 2.0, 3.0]


def test_places_limit_admission() -> None:
    engine = Engine(1.0, token_budget=9, max_sequences=2)
    served = simulate_steps(Workload([0, 0, 0], [1, 1, 1], [2, 3, 1]), engine)
    assert served.admitted_s.tolist() == [0.0, 0.0, 2.0]
    assert served.completion_s.tolist() == [2.0, 3.0, 3.0]


def test_a_prompt_waits_for_blocks_and_holds_up_those_behind() -> None:
    engine = Engine(1.0, kv_blocks=4, block_tokens=2, token_budget=99, max_sequences=9)
    served = simulate_steps(Workload([0, 0, 0], [5, 4, 1], [2, 1, 1]), engine)
    assert served.admitted_s.tolist() == [0.0, 2.0, 2.0]
    assert not served.preemptions.any()


def test_partly_prefilled_prompts_are_preempted_first() -> None:
    engine = Engine(1.0, block_tokens=2, token_budget=2, max_sequences=2)
    asked = Workload([0, 0], [2, 6], [4, 1])
    # the first takes its second block in step 2 and its third, with its last token, in step 4
    for blocks, first_token_s, preempted, prefilled in ((4, 7, 0, 8), (5, 7, 1, 10), (6, 6, 0, 8)):
        served = simulate_steps(asked, replace(engine, kv_blocks=blocks))
        assert served.completion_s.tolist() == [4.0, first_token_s]
        assert served.preemptions.tolist() == [0, preempted]
        assert served.prefill_tokens == prefilled


def test_latencies() -> None:
    asked = Workload([0.0, 0.5], [4, 4], [3, 1])
    ttft, tpot = latencies_s(asked, simulate_steps(asked, Engine(1.0)))
    assert ttft.tolist() == [1.0, 1.5]
    assert tpot[0] == 1.0
    assert math.isnan(tpot[1])
    with pytest.raises(ValueError, match="served must be of 2 requests"):
        latencies_s(asked, simulate_steps(Workload([0], [1], [1]), Engine(1.0)))


def test_chat_workload_has_the_means_that_it_promises() -> None:
    asked = chat_workload(np.random.default_rng(1), 5.0, 40_000, 30.0, 10.0)
    assert asked.arrival_s[-1] == pytest.approx(8000, rel=0.03)
    assert asked.prompt_tokens.mean() == pytest.approx(30, rel=0.03)
    assert asked.output_tokens.mean() == pytest.approx(10, rel=0.03)
    burst = chat_workload(np.random.default_rng(1), math.inf, 40_000, 30.0, 10.0)
    assert not burst.arrival_s.any()
    assert np.array_equal(burst.output_tokens, asked.output_tokens)


BAD: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    (Workload, ([], [], []), {}, "arrival_s must be of shape"),
    (Workload, ([[0.0]], [[1]], [[1]]), {}, "arrival_s must be of shape"),
    (Workload, ([math.nan], [1], [1]), {}, "arrival_s must be finite"),
    (Workload, ([0, math.inf], [1, 1], [1, 1]), {}, "arrival_s must be finite"),
    (Workload, ([0.0], [0], [1]), {}, "prompt_tokens must be positive"),
    (Workload, ([0.0], [1], [math.nan]), {}, "output_tokens must be positive"),
    (Workload, ([0.0], [1], [2.5]), {}, "output_tokens must be positive"),
    (Workload, ([0.0], [1, 2], [1]), {}, "prompt_tokens must be of shape"),
    (Engine, (-1.0,), {}, "step_s must be non-negative"),
    (Engine, (0.0,), {}, "step_s must be positive"),
    (Engine, (1.0,), {"prefill_token_s": math.nan}, "prefill_token_s must be"),
    (Engine, (1.0,), {"decode_token_s": math.inf}, "decode_token_s must be"),
    (Engine, (1.0,), {"context_token_s": -1e-9}, "context_token_s must be"),
    (Engine, (1.0,), {"kv_blocks": 0}, "kv_blocks must be a positive integer"),
    (Engine, (1.0,), {"block_tokens": 1.5}, "block_tokens must be"),
    (Engine, (1.0,), {"max_sequences": 0}, "max_sequences must be"),
    (Engine, (1.0,), {"token_budget": 255}, "token_budget must be at least max_sequences = 256"),
]


@pytest.mark.parametrize(("function", "arguments", "named", "message"), BAD)
def test_bad_input_is_refused(
    function: Any, arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        function(*arguments, **named)


def test_a_request_may_fill_the_memory_but_not_more() -> None:
    exactly = Engine(1.0, kv_blocks=3, block_tokens=4)
    served: Served = simulate_steps(Workload([0], [9], [4]), exactly)
    assert served.completion_s.tolist() == [4.0]
    with pytest.raises(ValueError, match="kv_blocks must be enough for a request of 13 tokens"):
        simulate_steps(Workload([0], [9], [5]), exactly)


def test_counts_end_below_two_to_the_31() -> None:
    none = Mock(exponential=lambda *_: [1.0], geometric=lambda *_: [1])
    assert chat_workload(none, 1.0, 2 * 10**8).arrival_s.tolist() == [1.0]
    with pytest.raises(ValueError, match="requests must be few enough for"):
        chat_workload(none, 1.0, 2**31)
    assert Workload([0], [2**31 - 1], [2**31 - 1]).output_tokens.tolist() == [2**31 - 1]
    for name, lengths in (("prompt", (2**31, 1)), ("output", (1, 2**31))):
        with pytest.raises(ValueError, match=f"{name}_tokens must be positive integers"):
            Workload([0], *([length] for length in lengths))


@given(cases())
def test_a_watermark_serves_everybody_and_none_is_the_default(
    case: tuple[Workload, Engine],
) -> None:
    asked, engine = case
    plain = simulate_steps(asked, engine)
    assert np.array_equal(simulate_steps(asked, engine, 0).completion_s, plain.completion_s)
    alone = simulate_steps(asked, engine, engine.kv_blocks)  # admits only to an empty engine
    assert np.all(np.isfinite(alone.completion_s))
    assert alone.preemptions.sum() == 0
    assert alone.decode_tokens == (asked.output_tokens - 1).sum()


def test_tables_that_are_too_short_or_fall_are_refused() -> None:
    asked = Workload([0, 0], [4, 4], [2, 2])
    for table, words in (
        (StepTable([0.0, 0.1], np.zeros(9)), "table must be for up to 2 sequences, got 1"),
        (StepTable([0.0] * 3, np.zeros(5)), "table must be for prompts of 5, got 4"),
    ):
        with pytest.raises(ValueError, match=words):
            simulate_steps(asked, Engine(1.0, table=table))
    for bad, words in (
        (([0.0], [0.0, 2.0, 1.0]), "prompt_s must be non-decreasing from 0"),
        (([0.0], [1.0]), "prompt_s must be non-decreasing from 0"),
        (([-1.0],), "batch_s must be non-negative"),
        (([0.0], [0.0], -1.0), "prompt_end_s must be non-negative"),
        (([0.0], [0.0], 0.0, -1.0), "change_s must be non-negative"),
    ):
        with pytest.raises(ValueError, match=words):
            StepTable(*bad)
    with pytest.raises(ValueError, match="cached_tokens must be integers from 0 to below"):
        Workload([0], [4], [2], [4])


def test_a_table_is_added_step_by_step() -> None:
    """By hand: 4 and 2 tokens of the first prompt, two steps of one sequence; then, after a pause
    in which nothing is forgotten, a prompt of 1, its step beside the third one, and one alone."""
    prompt_s = np.array([0, 1, 2, 4, 7, 9, 10, 10, 10]) / 64
    table = StepTable([0, 1 / 8, 9], prompt_s, 1 / 16, 1 / 2)
    engine = Engine(1.0, token_budget=4, max_sequences=2, table=table)
    served = simulate_steps(Workload([0, 50, 50.5], [6, 1, 1], [3, 3, 1]), engine)
    first = 1 + 1 / 2 + 7 / 64  # of 4 tokens, and none before
    second = first + 1 + 1 / 2 + 3 / 64 + 1 / 16
    alone = 1 + 1 / 64 + 1 / 16  # of 1 token, as before the pause
    beside = 1 + 1 / 2 + 1 / 8 + 1 / 64 + 1 / 16
    assert served.first_token_s.tolist() == [second, 50 + alone, 50 + alone + beside]
    last = 50 + alone + beside + 1 + 1 / 2 + 1 / 8
    assert served.completion_s.tolist() == [
        second + 1 + 1 / 2 + 1 / 8 + 1 + 1 / 8,  # the second of these holds as many as the first
        last,
        50 + alone + beside,
    ]
    assert served.busy_s == served.completion_s[0] + last - 50


def test_steps_are_stretched_in_turn() -> None:
    asked = Workload([0, 10], [4, 4], [3, 1])
    served = simulate_steps(asked, Engine(1.0), stretch=[1.0, 3.0])
    assert served.first_token_s.tolist() == [1.0, 13.0]
    assert served.completion_s.tolist() == [5.0, 13.0]
    assert served.busy_s == 8.0
    twice = simulate_steps(asked, Engine(1.0), stretch=2.0)
    assert twice.completion_s.tolist() == [6.0, 12.0]


def test_a_part_of_a_workload() -> None:
    asked = Workload([0, 1, 2], [4, 5, 6], [1, 2, 3], [0, 1, 2])
    part = asked.part(slice(1, 3))
    assert (part.arrival_s.tolist(), part.cached_tokens.tolist()) == ([1, 2], [1, 2])
    for none, told in (([], "of one request or more"), ([1, 0], "in order of arrival")):
        with pytest.raises(ValueError, match=f"index must be {told}"):
            asked.part(np.array(none, dtype=int))


def test_time_is_the_sum_of_its_parts() -> None:
    """By hand: 2 steps of 1 s, 3 tokens read, 4 of 20 ms, 5 of context; 2⁵⁰ ticks are a second."""
    engine = Engine(1.0, 0.01, 0.02, 0.001)
    assert engine.elapsed_s(2, 3, 4, 5) == pytest.approx(2 + 0.03 + 0.08 + 0.005)
    assert engine.elapsed_s(2, 3, 4, 5, 2**50) == pytest.approx(3 + 0.03 + 0.08 + 0.005)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), min_size=1, max_size=30),
    st.integers(1, 100),
)
def test_gap_quantile_is_that_of_the_tokens(pairs: list[tuple[int, int]], percent: int) -> None:
    gaps, tokens = (np.array(some) for some in zip(*pairs, strict=True))
    tokens[0] += 1
    each = np.sort(np.repeat(gaps, tokens))
    place = -(-percent * each.size // 100) - 1
    assert gap_quantile(gaps, tokens, percent / 100) in each[max(place - 1, 0) : place + 2]
    assert gap_quantile(gaps, tokens, 1.0) == each[-1]
