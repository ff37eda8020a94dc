"""The rules that say what a percentile is worth: read by a parser of their language, and run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from serving_mathematics.definitions.latency_distribution.clumped_percentiles import design_effect
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    wilks_sample_size,
)

from .promql import Series
from .rule_files import evaluated, rule_text, rules, without_streaming

ENGINES = ("vllm", "sglang")


def run(engine: str, asked: Series, slow: Series) -> dict[str, Series]:
    count = f"{engine}:time_to_first_token_seconds"
    series = {f"{count}_count": asked, f'{count}_bucket{{le="1.0"}}': asked - slow}
    return evaluated(f"percentile-worth-{engine}", series)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_effect_is_that_of_the_chapter(engine: str) -> None:
    rng = np.random.default_rng(5)
    causes = rng.poisson(0.5, 3 * 1440)
    slow = rng.negative_binomial(np.maximum(causes, 1), 0.25) * (causes > 0)
    asked = np.full(slow.size, 400.0)
    found = run(engine, asked, slow.astype(float))
    windows = slow[-1440:].reshape(-1, 5).sum(axis=1)
    assert found["first:slow:effect"][-1] == pytest.approx(design_effect(windows), rel=0.15)
    worth = 400 * 60 / found["first:slow:effect"][-1]
    assert found["first:worth:1h"][-1] == pytest.approx(worth)
    assert np.isnan(found["PercentileOfTooFew"][-1]) == (worth >= wilks_sample_size(0.99))


@pytest.mark.parametrize("engine", ENGINES)
def test_night_and_noon_are_no_groups(engine: str) -> None:
    """Slow requests that come one by one, at a rate that follows the day, have an effect of one,
    however large the fleet."""
    minutes = np.arange(3 * 1440)
    mean = 100 * (1 + 0.8 * np.sin(2 * np.pi * minutes / 1440))
    slow = np.random.default_rng(6).poisson(mean).astype(float)
    found = run(engine, 100 * mean, slow)
    assert found["first:slow:effect"][-1] == pytest.approx(1, abs=0.75)
    whole = slow[-1440:].reshape(-1, 5).sum(axis=1)
    assert design_effect(whole) > 50  # over the whole day
    assert np.isnan(found["LimitIsNoPercentile"][-1])


@pytest.mark.parametrize("engine", ENGINES)
def test_few_requests_open_a_ticket_and_a_limit_that_nobody_exceeds_opens_one(engine: str) -> None:
    found = run(engine, np.full(3000, 3.0), np.zeros(3000))
    assert found["first:slow:effect"][-1] == 1
    assert found["first:worth:1h"][-1] == pytest.approx(180)
    assert not np.isnan(found["PercentileOfTooFew"][-1])
    assert found["LimitIsNoPercentile"][-1] == 0
    many = run(engine, np.full(3000, 3000.0), np.full(3000, 300.0))
    assert many["LimitIsNoPercentile"][-1] == pytest.approx(0.1)


def test_the_number_is_that_of_wilks() -> None:
    for engine in ENGINES:
        found = rules(f"percentile-worth-{engine}")
        alert = next(rule for rule in found if rule.get("alert") == "PercentileOfTooFew")
        assert alert["expr"] == f"first:worth:1h < {wilks_sample_size(0.99)}"
        assert alert["labels"]["severity"] == "ticket"


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (rule_text(f"percentile-worth-{engine}") for engine in ENGINES)
    mine = re.sub(
        r"# Where prompts have engines of their own.*\n", "", mine
    )  # one tells, of SGLang
    assert mine.replace("vllm:", "sglang:").replace("vLLM", "SGLang") == without_streaming(other)
