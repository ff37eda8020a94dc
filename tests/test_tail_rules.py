"""The rules of the tail: read by a parser of their language, and run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from builder import ROOT

from .promql import Parser, Series
from .rule_files import rule_text, rules

RECORDED = re.compile(
    r"histogram_quantile\((0\.\d+), sum by \(le\) \(rate\((\w+:\w+)_bucket\[15m\]\)\)\)"
)


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
        for rule in rules(f"tail-latency-{engine}")
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
def test_alerts_read_the_levels_that_are_recorded(engine: str) -> None:
    names = set()
    for rule in rules(f"tail-latency-{engine}"):
        if "record" in rule:
            found = RECORDED.fullmatch(rule["expr"])
            assert found, rule["expr"]
            assert found[2].startswith(f"{engine}:")
            assert rule["record"].endswith(f":p{found[1][2:].ljust(2, '0')}")
            names.add(rule["record"])
        else:
            assert set(re.findall(r"first:\w+:p\d+", rule["expr"])) <= names


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_page_names_what_the_file_reads(engine: str) -> None:
    page = (ROOT / "docs" / "capacity" / "tail-latency.md").read_text("utf-8")
    for name in set(re.findall(rf"{engine}:\w+_seconds", page)):
        assert name in rule_text(f"tail-latency-{engine}")
