"""The rules that say what a percentile is worth: read by a parser of their language, and run."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.definitions.latency_distribution.clumped_percentiles import design_effect
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    wilks_sample_size,
)

from .promql import Series
from .rule_files import evaluated, rule_text, rules

ENGINES = ("vllm", "sglang")


def run(engine: str, asked: Series, slow: Series) -> dict[str, Series]:
    count = f"{engine}:time_to_first_token_seconds"
    series = {f"{count}_count": asked, f'{count}_bucket{{le="1.0"}}': asked - slow}
    return evaluated(f"percentile-worth-{engine}", series)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_effect_is_that_of_the_chapter(engine: str) -> None:
    rng = np.random.default_rng(5)
    causes = rng.poisson(0.5, 2 * 1440)
    slow = rng.negative_binomial(np.maximum(causes, 1), 0.25) * (causes > 0)
    asked = np.full(slow.size, 400.0)
    found = run(engine, asked, slow.astype(float))
    day = slow[-1440 - 4 :]
    windows = np.convolve(day, np.ones(5), "valid")
    assert found["stream:slow:effect"][-1] == pytest.approx(design_effect(windows), rel=0.02)
    worth = 400 * 60 / found["stream:slow:effect"][-1]
    assert found["stream:worth:1h"][-1] == pytest.approx(worth)
    assert np.isnan(found["PercentileOfTooFew"][-1]) == (worth >= wilks_sample_size(0.99))


@pytest.mark.parametrize("engine", ENGINES)
def test_few_requests_open_a_ticket_and_no_slow_ones_count_alone(engine: str) -> None:
    found = run(engine, np.full(3000, 3.0), np.zeros(3000))
    assert found["stream:slow:effect"][-1] == 1
    assert found["stream:worth:1h"][-1] == pytest.approx(180)
    assert not np.isnan(found["PercentileOfTooFew"][-1])


def test_the_number_is_that_of_wilks() -> None:
    for engine in ENGINES:
        alert = next(rule for rule in rules(f"percentile-worth-{engine}") if "alert" in rule)
        assert alert["expr"] == f"stream:worth:1h < {wilks_sample_size(0.99)}"
        assert alert["labels"]["severity"] == "ticket"


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (rule_text(f"percentile-worth-{engine}") for engine in ENGINES)
    assert mine.replace("vllm:", "sglang:").replace("vLLM", "SGLang") == other
