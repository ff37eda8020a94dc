"""The price rules that a chapter hands out: parsed and run on counters that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.intuition.latency_throughput_cost.exercises import price_on_dashboard

from .promql import Series
from .rule_files import evaluated, rule_text

RUNNING = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs"}


def run(engine: str, running: Series, tokens: Series) -> dict[str, Series]:
    """Every record and alert by its name; tokens are those of each minute."""
    series = {RUNNING[engine]: running, f"{engine}:generation_tokens_total": tokens}
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
    assert ~np.isnan(told["TokensAreSlow"][1000])  # 60 ms, above 50
    assert np.isnan(told["TokensAreSlow"][2000])  # 10 ms
    assert ~np.isnan(told["TokensAreDear"]).all()
    cheap = run(engine, running, 60 * np.full(minutes.size, 4000.0))
    assert np.isnan(cheap["TokensAreDear"]).all()


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (rule_text(f"token-price-{engine}") for engine in RUNNING)
    mine = mine.replace(RUNNING["vllm"], RUNNING["sglang"] + '{priority=""}')
    steps = 'sglang:realtime_tokens_total{mode="decode",pp_rank="0"}'
    mine = mine.replace("vllm:generation_tokens_total", steps)
    assert mine.replace("vLLM", "SGLang") == other
