"""An order of admission in the batching engine: brute force by steps, limits, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.core.batching.admission_order import Ordered, gap_quantile, serve_in_order
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    StepTable,
    Workload,
    chat_workload,
    simulate_steps,
)


def by_steps(asked: Workload, engine: Engine, key: list[float]) -> list[float]:
    """One step after the other, with lists that are sorted anew in every step."""
    size = asked.arrival_s.size
    todo, left = asked.prompt_tokens.tolist(), asked.output_tokens.tolist()
    admitted: list[int] = []
    ended = [-1.0] * size
    clock = float(asked.arrival_s[0])
    while min(ended) < 0:
        decoding = [i for i in admitted if not todo[i] and ended[i] < 0]
        room = engine.token_budget - len(decoding)
        chunks = {}
        for i in admitted:
            if todo[i] and room:
                chunks[i] = min(todo[i], room)
                room -= chunks[i]
        while room and sum(ended[i] < 0 for i in admitted) < engine.max_sequences:
            here = [i for i in range(size) if i not in admitted and asked.arrival_s[i] <= clock]
            if not here:
                break
            i = min(here, key=lambda i: (key[i], i))
            admitted.append(i)
            chunks[i] = min(todo[i], room)
            room -= chunks[i]
        if not decoding and not chunks:
            clock = min(t for t in asked.arrival_s.tolist() if t > clock)
            continue
        context = sum(
            int(asked.prompt_tokens[i] + asked.output_tokens[i]) - left[i] for i in decoding
        )
        clock += engine.elapsed_s(1, sum(chunks.values()), len(decoding), context)
        for i, chunk in chunks.items():
            todo[i] -= chunk
        for i in decoding + [i for i in chunks if not todo[i]]:
            left[i] -= 1
            if not left[i]:
                ended[i] = clock
    return ended


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 30))
def test_equals_a_walk_by_steps(seed: int, places: int, more: int) -> None:
    rng = np.random.default_rng(seed)
    asked = Workload(
        np.cumsum(rng.exponential(rng.choice([0.2, 3.0]), 14)),
        rng.integers(1, 40, 14),
        rng.integers(1, 12, 14),
    )
    engine = Engine(0.1, 0.01, 0.02, 0.001, token_budget=places + more + 1, max_sequences=places)
    key = rng.integers(0, 6, 14).astype(float)
    got = serve_in_order(asked, engine, key).completion_s
    assert got.tolist() == pytest.approx(by_steps(asked, engine, key.tolist()), abs=1e-9)


def test_arrival_as_key_is_the_engine_of_the_batching_chapter() -> None:
    asked = chat_workload(np.random.default_rng(11), 12.0, 300)
    engine = replace(EIGHT_BILLION, max_sequences=16)
    got = serve_in_order(asked, engine, asked.arrival_s).completion_s
    assert np.abs(got - simulate_steps(asked, engine).completion_s).max() < 1e-9


def test_gaps_are_those_between_tokens() -> None:
    """One decodes while another's prompt comes in: a step takes 1 s, and 0.5 s a prompt token."""
    asked = Workload([0.0, 1.2], [2, 4], [4, 1])
    run = serve_in_order(asked, Engine(1.0, 0.5, token_budget=5, max_sequences=2), [0, 1])
    assert isinstance(run, Ordered)
    assert run.gap_s.tolist() == [2.0, 3.0, 1.0]  # the prompt, both, and the last two tokens
    assert run.gap_tokens.tolist() == [0.0, 1.0, 2.0]
    assert run.completion_s.tolist() == [7.0, 5.0]


def test_with_a_place_for_everybody_no_order_matters() -> None:
    asked = chat_workload(np.random.default_rng(12), 5.0, 200)
    engine = replace(EIGHT_BILLION, max_sequences=256, token_budget=10**6)
    shortest, longest = (
        serve_in_order(asked, engine, sign * asked.output_tokens).completion_s for sign in (1, -1)
    )
    assert np.array_equal(shortest, longest)


def test_shortest_first_is_refused_without_numbers() -> None:
    asked = Workload([0.0, 1.0], [2, 2], [2, 2])
    with pytest.raises(ValueError, match=r"key must be finite, of shape \(2,\)"):
        serve_in_order(asked, EIGHT_BILLION, [0.0, np.inf])


def test_memory_is_for_all_tokens_but_the_last() -> None:
    """The last token of an answer is not stored: 16 tokens fill a block, and 17 need another."""
    one_block = Engine(1.0, kv_blocks=1, block_tokens=16)
    assert serve_in_order(Workload([0], [1], [16]), one_block, [0]).completion_s.tolist() == [16.0]
    with pytest.raises(ValueError, match="kv_blocks must be at least 2, got 1"):
        serve_in_order(Workload([0], [1], [17]), one_block, [0])


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


def test_blocks_are_reserved_and_given_back() -> None:
    """Two of three fit at a time: the third begins when one has ended, not before."""
    engine = Engine(1.0, kv_blocks=2, block_tokens=8, token_budget=100, max_sequences=9)
    asked = Workload([0, 0, 0], [4, 4, 4], [5, 3, 2])
    got = serve_in_order(asked, engine, [0, 1, 2])
    assert got.admitted_s.tolist() == [0.0, 0.0, 3.0]
    assert got.first_token_s.tolist() == [1.0, 1.0, 4.0]
    assert got.completion_s.tolist() == [5.0, 3.0, 5.0]


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4))
def test_tenants_have_had_nearly_the_same_while_all_wait(
    seed: int, tenants: int, places: int
) -> None:
    """All is asked at once. While each of them waits, nobody is let in who has had more tokens than
    another by more than a prompt and the answers under way."""
    rng = np.random.default_rng(seed)
    size = 8 * tenants
    asked = Workload(np.zeros(size), rng.integers(1, 20, size), rng.integers(1, 9, size))
    whose = np.tile(np.arange(tenants), 8)
    engine = Engine(1.0, token_budget=100, max_sequences=places)
    got = serve_in_order(asked, engine, np.arange(size), whose)
    cost = asked.prompt_tokens + 2 * (asked.output_tokens - 1)
    most = float(np.max(cost)) * (places + 1)
    last = min(got.admitted_s[whose == one].max() for one in range(tenants))
    for moment in np.unique(got.admitted_s[got.admitted_s < last]):
        had = [
            float(cost[(whose == one) & (got.admitted_s <= moment)].sum()) for one in range(tenants)
        ]
        assert max(had) - min(had) <= most


def test_tables_and_cached_prompts_are_those_of_the_other_simulators() -> None:
    rng = np.random.default_rng(5)
    prompts = rng.integers(1, 40, 60)
    asked = Workload(
        np.cumsum(rng.exponential(2.0, 60)),
        prompts,
        rng.integers(1, 20, 60),
        rng.integers(0, prompts),
    )
    table = StepTable(np.linspace(0.0, 0.3, 6), np.linspace(0.0, 1.0, 80) ** 2, 0.25)
    engine = Engine(0.5, 0.25, 0.125, 0.0625, token_budget=9, max_sequences=5, table=table)
    got, expected = serve_in_order(asked, engine, asked.arrival_s), simulate_steps(asked, engine)
    assert got.completion_s == pytest.approx(expected.completion_s, rel=1e-9)
    assert got.first_token_s == pytest.approx(expected.first_token_s, rel=1e-9)
    assert got.admitted_s == pytest.approx(expected.admitted_s, rel=1e-9)
    changing = replace(engine, table=StepTable(np.zeros(6), np.zeros(80), change_s=0.5))
    with pytest.raises(ValueError, match="engine must be one whose steps do not depend"):
        serve_in_order(asked, changing, asked.arrival_s)
