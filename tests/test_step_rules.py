"""The rules of step times: read by a parser of their language, and run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml
from serving_mathematics.machine.step_time.exercises import _line

from builder import ROOT
from tests.promql import Series, last_values

RUNNING = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs"}


def rules(engine: str) -> list[dict[str, Any]]:
    file = ROOT / "docs" / "downloads" / f"step-time-{engine}.yaml"
    return [
        rule for group in yaml.safe_load(file.read_bytes())["groups"] for rule in group["rules"]
    ]


def run(engine: str, running: float, gap_s: float, yields: float) -> dict[str, float]:
    """The last minute of an hour, with a hundred gaps and ten drafts a second."""
    steady = np.ones(60)
    series: dict[str, Series] = {
        RUNNING[engine]: running * steady,
        f"{engine}:inter_token_latency_seconds_sum": 6000 * gap_s * steady,
        f"{engine}:inter_token_latency_seconds_count": 6000 * steady,
        "vllm:spec_decode_num_accepted_tokens_total": 600 * (yields - 1) * steady,
        "vllm:spec_decode_num_drafts_total": 600 * steady,
        "sglang:spec_accept_length": yields * steady,
    }
    return last_values(rules(engine), series)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_alerts_fire_beyond_their_lines(engine: str) -> None:
    empty_s, each_s, _ = _line(2000.0)
    due_s = empty_s + 32 * each_s
    told = run(engine, 32.0, 1.3 * due_s, 2.0)
    assert told["step:due:5m"] == pytest.approx(due_s, rel=0.01)
    assert told["guesses:yield:15m"] == pytest.approx(2)
    assert np.isnan(told["StepsAreLong"])
    assert np.isnan(told["GuessesDoNotPay"])
    late = run(engine, 32.0, 1.7 * due_s, 1.2)
    assert late["StepsAreLong"] == pytest.approx(1.7 * due_s)
    assert late["GuessesDoNotPay"] == pytest.approx(1.2)
    assert np.isnan(run(engine, 0.1, 1.0, 2.0)["StepsAreLong"])  # nearly nobody


@pytest.mark.parametrize("engine", list(RUNNING))
def test_rules_have_the_form_of_prometheus(engine: str) -> None:
    for rule in rules(engine):
        wanted = {"record", "expr"} if "record" in rule else {"alert", "expr", "for"}
        assert wanted <= rule.keys() <= wanted | {"labels", "annotations"}


def test_the_page_shows_rules_of_the_file() -> None:
    page = (ROOT / "docs" / "machine" / "step-time.md").read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/step-time-vllm.yaml").read_text("utf-8")
    for engine in RUNNING:
        assert f"](../downloads/step-time-{engine}.yaml)" in page
