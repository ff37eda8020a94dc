"""The price rules that a chapter hands out: parsed and run on counters that are made up."""

from __future__ import annotations

import re

import numpy as np
import pytest
from serving_mathematics.intuition.latency_throughput_cost.exercises import price_on_dashboard

from .promql import Series, Vector
from .rule_files import RUNNING, evaluated, rule_text, without_streaming

TOKEN = {  # time of tokens after the first and how many, and answers to take off
    "vllm": ("request_decode_time_seconds_sum", "request_generation_tokens_sum"),
    "sglang": ("inter_token_latency_seconds_sum", "inter_token_latency_seconds_count"),
}


def run(
    engine: str, running: Series | Vector, tokens: Series, token_s: float = 0.01, answers: float = 0
) -> dict[str, Series]:
    """Every record and alert by its name; tokens are those of each minute, without their prompts of
    token_s, by so many answers."""
    spent, told = (f"{engine}:{name}" for name in TOKEN[engine])
    later = tokens - answers
    series: dict[str, Series | Vector] = {
        RUNNING[engine]: running,
        f"{engine}:generation_tokens_total": tokens,
        spent: later * token_s,
        told: tokens if engine == "vllm" else later,
        "vllm:request_generation_tokens_count": 0 * tokens + answers,
    }
    return evaluated(f"token-price-{engine}", series)


@pytest.mark.parametrize("engine", RUNNING)
def test_rules_say_what_the_exercise_says(engine: str) -> None:
    minutes = np.arange(3 * 1440)
    running = np.where(minutes < 1440, 24.0, 2.0)
    rate = np.where(minutes < 1440, 400.0, 200.0)  # tokens a second
    told = run(engine, running, 60 * rate)
    price, wait = price_on_dashboard(2.0, 24, 400)
    assert told["tokens:gap_seconds:5m"][1000] == pytest.approx(wait / 1000)
    assert told["tokens:dollars_per_million:1d"][1439] == pytest.approx(price)
    assert ~np.isnan(told["TokensAreDear"]).all()
    cheap = run(engine, running, 60 * np.full(minutes.size, 4000.0))
    assert np.isnan(cheap["TokensAreDear"]).all()


@pytest.mark.parametrize("engine", RUNNING)
def test_a_long_prompt_is_no_slow_token(engine: str) -> None:
    """A lone request with 2 s of prompt and 50 tokens of 20 ms, again and again, and a router whose
    answers have two tokens: nobody waits for a token longer than that. At 60 ms somebody does."""
    one = np.ones(120)
    for tokens, token_s, slow in ((50, 0.02, False), (2, 0.02, False), (50, 0.06, True)):
        answers = 60 / (2 + token_s * tokens)
        told = run(engine, one, answers * tokens * one, token_s, answers)
        assert told["tokens:gap_seconds:5m"][-1] > 0.05
        assert told["tokens:token_seconds:5m"][-1] == pytest.approx(token_s)
        assert np.isnan(told["TokensAreSlow"][-1]) != slow


@pytest.mark.parametrize("engine", RUNNING)
def test_a_fleet_that_shrinks_at_night_costs_less(engine: str) -> None:
    minutes = np.arange(3 * 1440)
    there = np.where(minutes % 1440 < 720, 10.0, np.nan)
    running = {"a": np.full(minutes.size, 10.0), "b": there}
    price = run(engine, running, 60 * np.full(minutes.size, 1000.0))[
        "tokens:dollars_per_million:1d"
    ]
    assert price[-1] == pytest.approx(price_on_dashboard(3.0, 10, 1000)[0])


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (rule_text(f"token-price-{engine}") for engine in RUNNING)
    mine = mine.replace(RUNNING["vllm"], RUNNING["sglang"] + '{priority=""}')
    gaps = "sglang:inter_token_latency_seconds_count"
    mine = mine.replace("vllm:generation_tokens_total", gaps)
    of_a_token = re.compile(
        r"(record: tokens:token_seconds:5m\n +expr: >-\n).*?(?= +- record)", re.DOTALL
    )
    mine, other = (of_a_token.sub(r"\1", one) for one in (mine, other))
    other = re.sub(r"(?s)# Answer tokens are counted as they are sent.*?(?=groups:)", "", other)
    assert mine.replace("vLLM", "SGLang") == without_streaming(other)
