"""The rules of predictions: read by a parser of their language, run, and set as predicted."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.fronts import FRONTS, front_constants
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.predictions.other_harnesses import example

from .promql import Series
from .rule_files import RUNNING, firing, rule_text, vectors


def fires(engine: str, gap_s: float, running: float) -> set[str]:
    """Alerts of the last minute of an hour, with a hundred gaps a second."""
    steady = np.ones(60)
    series: dict[str, Series] = {
        f"{engine}:inter_token_latency_seconds_sum": 6000 * gap_s * steady,
        f"{engine}:inter_token_latency_seconds_count": 6000 * steady,
        RUNNING[engine]: running * steady,
    }
    return firing(f"plan-holds-{engine}", series)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_a_plan_is_kept_or_not_asked(engine: str) -> None:
    assert fires(engine, 0.031, 60) == set()
    assert fires(engine, 0.034, 60) == {"TokensSlowerThanPlanned"}
    assert fires(engine, 0.034, 67) == {"TokensSlowerThanPlanned"}  # it goes up and down
    assert fires(engine, 0.034, 40) == set()  # another load, of which the plan says nothing
    assert fires(engine, 0.034, 90) == {"MoreRunThanPlanned"}  # of which the plan says nothing


@pytest.mark.parametrize("engine", list(RUNNING))
def test_one_slow_server_of_eight_is_told_and_eight_healthy_ones_are_not(engine: str) -> None:
    """The plan is of one server, and the requests of a fleet are no load of it."""
    steady, fleet = np.ones(60), [f"engine {i}" for i in range(8)]
    for slow, expected in ((None, []), (fleet[3], [fleet[3]])):
        gaps = {name: 6000 * (0.040 if name == slow else 0.019) * steady for name in fleet}
        told = vectors(
            f"plan-holds-{engine}",
            {
                RUNNING[engine]: dict.fromkeys(fleet, 60 * steady),
                f"{engine}:inter_token_latency_seconds_sum": gaps,
                f"{engine}:inter_token_latency_seconds_count": dict.fromkeys(fleet, 6000 * steady),
            },
        )
        late = told["TokensSlowerThanPlanned"]
        assert [name for name in fleet if name in late and late[name][-1] > 0] == expected
        assert all(np.isnan(one[-1]) for one in told["MoreRunThanPlanned"].values())


def test_what_is_set_is_what_is_predicted() -> None:
    asked = Deployment(
        find_model("Llama-3.1-8B")[0],
        find_system("H100"),
        "vllm",
        "bf16",
        input_tokens=1154,
        output_tokens=211,
        concurrency=64,
    )
    unknown = front_constants(FRONTS["unknown"])
    told = loop_latencies(count_work([asked]), unknown).per_token_s
    assert float(told[0]) == pytest.approx(0.019, rel=0.02)
    assert round(example().away_unknown, 1) == 1.7
    for engine in RUNNING:
        text = rule_text(f"plan-holds-{engine}")
        near = "plan:running:15m <= 1.1 * 64 and plan:running:15m > 0.8 * 64"
        assert f"> 1.7 * 0.019 and {near}" in text
        lengths = "prompts of 1,154 tokens and answers of 211"
        assert lengths in text.replace("\n#", "")
    assert round(CHAT.sample.prompt_tokens.mean()) == asked.input_tokens
    assert round(CHAT.sample.output_tokens.mean()) == asked.output_tokens
