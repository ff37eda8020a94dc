"""The rules of the tail: read by a parser of their language, and run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml

from builder import ROOT
from tests.promql import Parser, Series

RECORDED = re.compile(
    r"histogram_quantile\((0\.\d+), sum by \(le\) \(rate\((\w+:\w+)_bucket\[15m\]\)\)\)"
)


def rules(engine: str) -> list[dict[str, Any]]:
    file = ROOT / "docs" / "downloads" / f"tail-latency-{engine}.yaml"
    return [
        rule for group in yaml.safe_load(file.read_bytes())["groups"] for rule in group["rules"]
    ]


def alerts(engine: str, p50: float, p99: float, queue: float, prefill: float) -> dict[str, bool]:
    """Which alerts are told where the recorded levels are these."""
    series: dict[str, Series] = {
        name: np.full(60, value)
        for name, value in (
            ("first:token:p50", p50),
            ("first:token:p99", p99),
            ("first:queue:p99", queue),
            ("first:prefill:p99", prefill),
        )
    }
    return {
        rule["alert"]: bool(np.isfinite(Parser(rule["expr"], series).whole()[-1]))
        for rule in rules(engine)
        if "alert" in rule
    }


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_alerts_tell_whose_the_tail_is(engine: str) -> None:
    other = {"vllm": "FirstTokenLateOutside", "sglang": "FirstTokenLate"}[engine]
    for levels, line, outside in (
        ((0.05, 0.9, 0.7, 0.1), True, False),
        ((0.5, 0.9, 0.7, 0.1), False, False),  # half are late too: a load, no tail
        ((0.05, 2.0, 0.1, 0.2), False, True),
        ((0.05, 0.9, 0.1, 0.2), False, False),  # within what is promised
        ((0.05, 2.0, 1.5, 0.2), True, False),
    ):
        told = alerts(engine, *levels)
        assert told == {"ShortPromptsWaitForLongOnes": line, other: outside}, levels


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_rules_have_the_form_of_prometheus(engine: str) -> None:
    names = set()
    for rule in rules(engine):
        if "record" in rule:
            assert rule.keys() == {"record", "expr"}
            found = RECORDED.fullmatch(rule["expr"])
            assert found, rule["expr"]
            assert found[2].startswith(f"{engine}:")
            assert rule["record"].endswith(f":p{found[1][2:].ljust(2, '0')}")
            names.add(rule["record"])
        else:
            assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
            assert set(re.findall(r"first:\w+:p\d+", rule["expr"])) <= names


def test_the_page_shows_rules_of_the_file() -> None:
    page = (ROOT / "docs" / "capacity" / "tail-latency.md").read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/tail-latency-vllm.yaml").read_text("utf-8")
    for engine in ("vllm", "sglang"):
        assert f"](../downloads/tail-latency-{engine}.yaml)" in page
        for name in set(re.findall(rf"{engine}:\w+_seconds", page)):
            file = ROOT / f"docs/downloads/tail-latency-{engine}.yaml"
            assert name in file.read_text("utf-8")
