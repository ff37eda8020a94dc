"""The loop: identities of its closed form, the slider against its record, the rules, bad input."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.throughput.closed_loop_engine import (
    AWAY_S,
    CLIENTS,
    _cells,
    knee,
    loop_rate,
    rates_of,
    slider_closed_loop,
)
from serving_mathematics.definitions.throughput.lifted_ceiling import engine_rates_of

from tests.promql import Series
from tests.rule_files import evaluated, rule_text

RATES = st.lists(st.floats(0.1, 5.0), min_size=1, max_size=12).map(
    lambda steps: np.cumsum(steps).tolist()
)


@given(st.floats(1, 500), st.floats(0, 60), RATES)
def test_inside_and_away_are_all_clients(clients: float, away: float, rates: list[float]) -> None:
    rate, inside = loop_rate(clients, away, rates)
    assert inside + away * rate == pytest.approx(clients, rel=1e-9)
    assert 0 < rate <= rates[-1] * (1 + 1e-12)


@given(st.floats(0, 60), RATES)
def test_at_the_knee_all_places_are_taken_and_nobody_waits(away: float, rates: list[float]) -> None:
    clients = max(knee(away, rates), 1.0)
    rate, inside = loop_rate(clients, away, rates)
    assert rate == pytest.approx(rates[-1])
    assert inside == pytest.approx(clients - away * rates[-1])
    assert loop_rate(2 * clients, away, rates)[0] == rates[-1]


def test_without_a_pause_everybody_is_inside() -> None:
    rates = rates_of(CHAT)
    for clients in (1, 17, 256):
        assert loop_rate(clients, 0.0, rates) == pytest.approx((rates[clients - 1], clients))


@pytest.mark.parametrize(
    ("sigma", "times", "least", "most"),
    [(0.0, 40, 0.97, 1.0), (1.5, 40, 0.8, 0.95), (1.5, 160, 0.95, 1.0)],
)
def test_the_end_of_a_run_counts_little_where_no_answer_takes_a_tenth_of_it(
    sigma: float, times: int, least: float, most: float
) -> None:
    """What 64 clients get over a whole run, of what they get amid it: forty prompts for each are
    enough for chats, and not where a few answers are very long."""
    clients, rng = 64, np.random.default_rng(3)
    drawn = rng.integers(0, CHAT.sample.prompt_tokens.size, times * clients)
    prompts, answers = CHAT.sample.prompt_tokens[drawn], CHAT.sample.output_tokens[drawn]
    if sigma:
        tail = rng.lognormal(math.log(answers.mean()) - sigma**2 / 2, sigma, drawn.size)
        prompts = np.minimum(prompts, 2000)
        answers = np.clip(np.rint(tail), 1, 4000).astype(np.int64)
    engine = replace(CHAT.engine, max_sequences=clients)  # who is done asks again at once
    served = simulate(Workload(np.zeros(drawn.size), prompts, answers), engine)
    run = float(served.completion_s.max())
    assert least < drawn.size / run / saturated_rate(prompts, answers, engine) < most
    longest = float((served.completion_s - served.admitted_s).max())
    assert (longest < 0.15 * run) == (least > 0.9)


def test_rates_of_the_machine_are_those_of_its_terms() -> None:
    told = rates_of(CHAT)
    lengths = CHAT.sample
    prompt = float(CHAT.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean())
    one, many = CHAT.step_s([1, 256]).tolist()
    slope = (many - one) / 255
    later = float(lengths.output_tokens.mean()) - 1
    assert told == pytest.approx(engine_rates_of(prompt, later, one - slope, slope, 256), rel=0.01)


def test_the_slider_says_the_numbers_of_the_record() -> None:
    told = slider_closed_loop()
    engine, tokens, token = told["panels"]
    for row, clients in enumerate(CLIENTS):
        for column, away in enumerate(AWAY_S):
            cell = _cells()[clients, away]
            assert tokens["curves"][0]["values"][row][column] == pytest.approx(cell["tokens"])
            assert token["curves"][0]["values"][row][column] == pytest.approx(1000 * cell["token"])
            running, waiting = (engine[part][row][column] for part in ("running", "waiting"))
            assert running + waiting == pytest.approx(cell["inside"], abs=1)
            assert running <= CHAT.places
            stay = cell["first"] + cell["token"] * (cell["tokens"] / cell["requests"] - 1)
            held = cell["requests"] * stay  # Little's law
            assert running + waiting == pytest.approx(held, rel=0.1, abs=1)


NAMES = [
    ("vllm", "vllm:num_requests_running", "vllm:num_requests_waiting"),
    ("sglang", "sglang:num_running_reqs", "sglang:num_queue_reqs"),
]


@pytest.mark.parametrize(("engine", "runs", "waits"), NAMES)
def test_the_alert_fires_where_clients_wait_and_tokens_no_longer_rise(
    engine: str, runs: str, waits: str
) -> None:
    minutes = np.ones(120)
    tokens, waiting = 60 * 4000 * minutes, 0.0 * minutes
    waiting[40:] = 100.0  # they wait, and tokens are below nine tenths: prompts, say
    tokens[80:] = 60 * 4700
    found: dict[str, Series] = {
        f"{engine}:generation_tokens_total": tokens,
        runs: 200 * minutes,
        waits: waiting,
    }
    found = evaluated(f"engine-ceiling-{engine}", found)
    assert found["engine:clients_over_tokens:seconds"][20] == pytest.approx(200 / 4000)
    fires = ~np.isnan(found["EngineIsFull"])
    assert not fires[:80].any()
    assert fires[90:].all()
    below = ~np.isnan(found["FullBelowItsCeiling"])
    assert not below[:40].any()
    assert below[50:80].all()
    assert not below[90:].any()


@pytest.mark.parametrize(("engine", "runs", "waits"), NAMES)
def test_short_answers_behind_long_prompts_are_no_full_engine(
    engine: str, runs: str, waits: str
) -> None:
    """A model that classifies: one prompt at a time, of half a second on average, at 40% to 70% of
    what it reads. Several wait for each that runs, and the queue empties every few seconds."""
    rng, minute = np.random.default_rng(9), 60 * np.arange(1, 600)
    for load in (0.4, 0.7):
        size = round(36_000 * load / 0.5)
        arrival, prompt_s = np.sort(rng.uniform(0, 36_000, size)), rng.exponential(0.5, size)
        end = np.maximum.accumulate(arrival - np.cumsum(prompt_s) + prompt_s) + np.cumsum(prompt_s)
        inside = np.searchsorted(arrival, minute) - np.searchsorted(end, minute)
        shown: dict[str, Series] = {
            f"{engine}:generation_tokens_total": np.full(minute.size, 60 * 3 * load / 0.5),
            runs: np.minimum(inside, 1.0),
            waits: np.maximum(inside - 1.0, 0.0),
        }
        told = evaluated(f"engine-ceiling-{engine}", shown)
        waiting, running = told["engine:waiting"], told["engine:running"]
        assert np.mean(waiting > 0.25 * running) > 0.4
        assert np.isnan(told["FullBelowItsCeiling"][10:]).all()


def test_the_ceiling_of_the_files_is_that_of_the_machine() -> None:
    ceiling = float(rates_of(CHAT)[-1]) * float(CHAT.sample.output_tokens.mean())
    for engine in ("vllm", "sglang"):
        for written in re.findall(r"0\.9 \* (\d+)", rule_text(f"engine-ceiling-{engine}")):
            assert float(written) == pytest.approx(ceiling, rel=0.01)
