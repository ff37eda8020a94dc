"""Closed loops: limits, Little's law, and a simulation of the same loop."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import (
    Latencies,
    fleet_latencies,
    interruptions_s,
    loop_latencies,
    tokens_per_s_per_device,
    waiting_steps_s,
)
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployments import Deployment, room_sequences
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    SEND_S,
    count_work,
    decode_step_s,
    prompt_s,
)

LARGE = deployed(
    "Llama-3.1-70B", "h200", precision="fp8", tensor=2, input_tokens=4000.0, output_tokens=500.0
)


def loop(one: Deployment) -> Latencies:
    return loop_latencies(count_work([one]), FITTED)


def test_one_request_alone_takes_its_steps_and_its_prompt() -> None:
    one = replace(LARGE, concurrency=1)
    work, found = count_work([one]), loop(one)
    step = decode_step_s(work, FITTED, np.ones(1), np.array([4250.0]))
    assert found.per_token_s == pytest.approx(step)
    lone = decode_step_s(work, FITTED, np.ones(1), np.array([4000.0]))
    before = waiting_steps_s(work, FITTED, step)
    assert before == pytest.approx(step + FITTED.first_steps_vllm * lone)
    assert found.first_token_s == pytest.approx(before + prompt_s(work, FITTED))
    assert found.running.tolist() == [1.0]


def test_interruptions_by_hand() -> None:
    one = replace(LARGE, tensor=1, attention_data=2, pipeline=2)
    work, running = count_work([one]), np.array([9.0])
    each = float(prompt_s(work, FITTED)[0]) / 2 + FITTED.prompt_s / 2
    assert interruptions_s(work, FITTED, running) == pytest.approx([8 / 500 * each])
    assert interruptions_s(work, FITTED, np.array([0.5])).tolist() == [0.0]


def test_others_prompts_take_their_share() -> None:
    """C - 1 others begin once in O tokens: per token, that share of their prompts, whatever a step
    yields."""
    for drafts, accepted in ((0, 1.0), (3, 2.5)):
        one = replace(LARGE, concurrency=8, draft_tokens=drafts, accepted_tokens=accepted)
        work = count_work([one])
        step = decode_step_s(work, FITTED, np.full(1, 8.0), np.array([4250.0]))
        taken = 7 / 500 * (prompt_s(work, FITTED) + FITTED.prompt_s)
        assert loop(one).per_token_s == pytest.approx(step / accepted + taken)


@pytest.mark.parametrize("users", [2, 8, 24])
def test_times_per_token_are_those_of_a_simulated_loop(users: int) -> None:
    """An engine that stops for each prompt: prompts first, in their order, then a step of the rest.

    Source: simulation with answers of 60 to 140 tokens; 95 rounds, after 5 of warming up.
    """
    one = replace(LARGE, concurrency=users, output_tokens=100.0)
    work = count_work([one])
    step = float(decode_step_s(work, FITTED, np.full(1, float(users)), np.array([4050.0]))[0])
    prompt = float(prompt_s(work, FITTED)[0]) + FITTED.prompt_s
    rng, now, waiting = np.random.default_rng(users), 0.0, deque(range(users))
    left, length, began = np.zeros(users, int), np.zeros(users, int), np.zeros(users)
    spans: list[float] = []
    while len(spans) < 100 * users:
        if waiting:
            user = waiting.popleft()
            now += prompt
            left[user] = length[user] = rng.integers(60, 141)
            began[user] = now
            continue
        now += step
        left -= 1
        for user in np.flatnonzero(left == 0):
            spans.append((now - began[user]) / length[user])
            waiting.append(user)
    simulated = np.mean(spans[5 * users :])
    assert float(loop(one).per_token_s[0]) == pytest.approx(simulated, rel=0.04)


def test_short_memory_keeps_littles_law() -> None:
    one = replace(LARGE, tensor=1, concurrency=400.0)
    room = room_sequences(one)
    found = loop(one)
    assert found.running == pytest.approx(room)
    stay = found.first_token_s + 499 * found.per_token_s
    own = 499 * found.per_token_s  # a place is held while answering
    rate = 400 / stay
    assert room < 400
    assert float((rate * own)[0]) < room
    assert float((rate * own)[0]) == pytest.approx(room, rel=0.25)
    same = loop(replace(one, concurrency=room))
    assert found.per_token_s == pytest.approx(same.per_token_s)


def test_equal_lengths_queue_by_backend_and_others_alike() -> None:
    for backend, share in (
        ("trtllm", FITTED.lockstep_trtllm),
        ("sglang", FITTED.lockstep_sglang),
        ("vllm", FITTED.lockstep_vllm),
    ):
        one = replace(LARGE, backend=backend, concurrency=16)
        work = count_work([one])
        step = decode_step_s(work, FITTED, np.full(1, 16.0), np.array([4250.0]))
        prompt = prompt_s(work, FITTED)
        alone = waiting_steps_s(work, FITTED, step) + prompt
        assert loop(one).first_token_s == pytest.approx(alone + share * 15 * prompt)
        spread = replace(one, shortest_share=0.8)
        work = count_work([spread])
        step = decode_step_s(work, FITTED, np.full(1, 16.0), np.array([0.9 * 4250]))
        prompt = prompt_s(work, FITTED)
        alone = waiting_steps_s(work, FITTED, step) + prompt
        queue = FITTED.burst_share * 15 * prompt
        assert loop(spread).first_token_s == pytest.approx(alone + queue)


def test_a_pipeline_is_no_faster_for_one_and_takes_prompts_together() -> None:
    one = replace(LARGE, tensor=1, concurrency=1, precision="fp4")
    deep = replace(one, pipeline=4)
    sent = 3 * (SEND_S + 8192 * 2 / (450e9 * FITTED.link_share))
    assert loop(deep).per_token_s == pytest.approx(loop(one).per_token_s + sent)
    many, deep_many = (loop(replace(x, concurrency=32)) for x in (one, deep))
    assert float(deep_many.per_token_s[0]) < float(many.per_token_s[0])


def fleets(users: float, prompts: float, answers: float = 1.0) -> Latencies:
    work = count_work([LARGE])
    return fleet_latencies(
        work, work, np.array([prompts]), np.array([answers]), np.array([users]), FITTED
    )


def test_separate_fleets_do_not_interrupt() -> None:
    step = decode_step_s(count_work([LARGE]), FITTED, np.full(1, 4.0), np.array([4250.0]))
    assert fleets(4, prompts=8).per_token_s == pytest.approx(step)
    assert fleets(8, prompts=8, answers=2).per_token_s == pytest.approx(step)


def test_a_burst_waits_at_each_engine_for_prompts() -> None:
    """Where prompts keep up, others' prompts at the same engine are all that is waited for."""
    step = decode_step_s(count_work([LARGE]), FITTED, np.full(1, 4.0), np.array([4250.0]))
    work = count_work([LARGE])
    alone = waiting_steps_s(work, FITTED, step) + prompt_s(work, FITTED)
    burst = 0.3 * 3 / 8 * prompt_s(work, FITTED)
    assert fleets(4, prompts=8).first_token_s == pytest.approx(alone + burst)
    spread = count_work([replace(LARGE, shortest_share=0.8)])
    one = np.ones(1)
    found = fleet_latencies(spread, spread, 8 * one, one, 4 * one, FITTED)
    step = decode_step_s(spread, FITTED, 4 * one, spread.prompt + spread.answer / 2)
    alone = waiting_steps_s(spread, FITTED, step) + prompt_s(spread, FITTED)
    burst = FITTED.burst_share * 3 / 8 * prompt_s(spread, FITTED)
    assert found.first_token_s == pytest.approx(alone + burst)


def test_prompts_that_cannot_keep_up_set_the_rate() -> None:
    """One prompt at a time: C requests pass at most one each prompt's time."""
    found = fleets(256, prompts=1)
    prompt = float(prompt_s(count_work([LARGE]), FITTED)[0]) + FITTED.prompt_s
    stay = float((found.first_token_s + 499 * found.per_token_s)[0])
    assert stay == pytest.approx(256 * prompt, rel=0.02)
    assert float(found.running[0]) < 256
    assert float(fleets(256, prompts=4).first_token_s[0]) < float(found.first_token_s[0]) / 2


def test_prompts_that_set_the_rate_feed_fewer_sequences_where_guesses_hasten_them() -> None:
    """Those that decode are the rate of the prompts times their stay (Little)."""
    work, one = count_work([replace(LARGE, draft_tokens=3, accepted_tokens=2.5)]), np.ones(1)
    found = fleet_latencies(work, work, one, one, 256 * one, FITTED)
    prompt = prompt_s(work, FITTED) + FITTED.prompt_s
    assert found.running * prompt == pytest.approx(499 * found.per_token_s, rel=1e-3)
    assert 1 < float(found.running[0]) < float(fleets(256, prompts=1).running[0])


def test_two_engines_that_answer_pass_twice_as_much() -> None:
    """With 400 requests and room for fewer, each holds what fits; the rest waits (Little)."""
    tight = replace(LARGE, tensor=1, precision="fp8")
    work, room = count_work([tight]), room_sequences(tight)
    for engines in (1.0, 2.0):
        found = fleet_latencies(
            count_work([LARGE]),
            work,
            np.full(1, 64.0),
            np.array([engines]),
            np.full(1, 400.0),
            FITTED,
        )
        step = decode_step_s(work, FITTED, np.array([room]), np.array([4250.0]))
        assert found.per_token_s == pytest.approx(step, rel=1e-3)
        assert found.running == pytest.approx(engines * room, rel=1e-3)
        stay = found.first_token_s + 499 * found.per_token_s
        assert stay == pytest.approx(400 * 499 * step / (engines * room), rel=2e-3)


def test_as_many_engines_for_prompts_as_keep_them_unhurried() -> None:
    sized, ample = fleets(64, prompts=0), fleets(64, prompts=64)
    assert sized.per_token_s == pytest.approx(ample.per_token_s, rel=0.02)


def test_throughput_is_littles_law() -> None:
    found = Latencies(np.array([2.0]), np.array([0.01]), np.array([10.0]))
    rate = tokens_per_s_per_device(found, np.array([800.0]), np.array([50.0]), np.array([5.0]))
    assert rate.tolist() == [50 * 800 / (2 + 7.99) / 5]


@pytest.mark.parametrize("users", [1.0, 8.0, 64.0])
def test_an_answer_of_one_token_has_no_later_one(users: float) -> None:
    """Prompts alone: nobody decodes, and C requests pass at most one each prompt's time.

    Source: Little's law, by hand.
    """
    one = replace(LARGE, output_tokens=1.0, concurrency=users)
    work, single = count_work([one]), np.ones(1)
    prompt = float(prompt_s(work, FITTED)[0]) + FITTED.prompt_s
    apart = fleet_latencies(work, work, single, single, users * single, FITTED)
    for found in (loop(one), apart):
        rate = tokens_per_s_per_device(found, single, users * single, single)
        assert rate * found.first_token_s == pytest.approx(users)
        assert float(rate[0]) <= 1.001 / prompt
    if users > 8:
        assert loop(one).first_token_s == pytest.approx(users * prompt, rel=0.01)


def test_a_stated_engine_for_prompts_is_one_engine() -> None:
    """At a load that one cannot keep up with: stated as one it waits, left open it gets more."""
    stated, left_open = fleets(64, prompts=1), fleets(64, prompts=0)
    assert float(stated.first_token_s[0]) > 1.5 * float(left_open.first_token_s[0])


def test_an_engine_that_answers_runs_one_sequence_at_least() -> None:
    step = decode_step_s(count_work([LARGE]), FITTED, np.full(1, 1.0), np.array([4250.0]))
    assert fleets(1, prompts=8, answers=4).per_token_s == pytest.approx(step)
