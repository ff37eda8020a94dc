"""The rules of the tail: read by a parser of their language, and run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from builder import ROOT

from .promql import Parser, Series, Vector
from .rule_files import RUNNING, TAKEN, rule_text, rules, without_streaming

RECORDED = re.compile(
    r"histogram_quantile\((0\.\d+), sum by \(le, model_name\) \(rate\((\w+:\w+)_bucket\[15m\]\)\)\)"
)
FIRST_BUCKET_S = 0.3  # of vLLM's histograms of line and prompt: `REQUEST_LATENCY_BUCKETS`


def alerts(
    engine: str,
    token: tuple[float, float],
    queue: float,
    prefill: float = 0.2,
    memory: float = 0.5,
    running: float = 40.0,
    longest: float = 8000.0,
) -> set[str]:
    """Which alerts are told: p50 and p99 of the first token, p99 of line, prompt and its length,
    and the fullest of two engines."""
    levels = (*token, queue, prefill, 600.0, longest)
    names = ("token:p50", "token:p99", "queue:p99", "prefill:p99", "prompt:p50", "prompt:p99")
    series: dict[str, Series | Vector] = {
        f"first:{name}": np.full(60, level) for name, level in zip(names, levels, strict=True)
    }
    for gauge, most in ((TAKEN, memory), (RUNNING, running)):
        series[gauge[engine]] = {"a": np.full(60, most), "b": np.full(60, most / 10)}
    fires = set()
    for rule in rules(f"tail-latency-{engine}"):
        if "histogram" in rule["expr"]:
            continue
        told = Parser(rule["expr"], series).whole()
        if "record" in rule:
            series[rule["record"]] = told
        elif np.isfinite(told[-1]):
            fires.add(rule["alert"])
    return fires


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_alerts_tell_whose_the_tail_is(engine: str) -> None:
    other = {"vllm": "FirstTokenLateElsewhere", "sglang": "FirstTokenLate"}[engine]
    prompts, room = {"ShortPromptsWaitForLongOnes"}, {"FirstTokensWaitForRoom"}
    assert alerts(engine, (0.05, 0.9), 0.7) == prompts
    assert alerts(engine, (0.5, 0.9), 0.7) == set()  # half are late too: a load, no tail
    assert alerts(engine, (0.05, 2.0), 0.1) == {other}
    assert alerts(engine, (0.05, 0.9), 0.1) == set()  # within what is promised
    assert alerts(engine, (0.05, 2.0), 1.5) == prompts
    assert alerts(engine, (0.05, 2.0), 1.5, memory=0.97) == room  # of one of the engines
    assert alerts(engine, (0.05, 2.0), 1.5, running=256.0) == room
    assert alerts(engine, (0.05, 2.0), 1.5, longest=900.0) == set()  # no prompt is long


def test_of_vllm_a_wait_below_the_first_bucket_is_none() -> None:
    """Where nobody waits, and every prompt is read at once, both p99s read 0.99 of that bucket."""
    least = 0.99 * FIRST_BUCKET_S
    assert alerts("vllm", (0.06, 0.4), least, prefill=least) == set()
    assert f"first:queue:p99 > {FIRST_BUCKET_S}" in rule_text("tail-latency-vllm")
    assert alerts("vllm", (0.06, 0.4), 1.01 * FIRST_BUCKET_S) == {"ShortPromptsWaitForLongOnes"}
    said = {"FirstTokenLateElsewhere"}
    assert alerts("vllm", (0.06, 1.18), least, prefill=least) == set()
    assert alerts("vllm", (0.06, 1.2), least, prefill=least) == said


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_alerts_read_the_levels_that_are_recorded(engine: str) -> None:
    names = set()
    for rule in rules(f"tail-latency-{engine}"):
        if "record" in rule:
            names.add(rule["record"])
            if rule["record"].endswith(":most"):
                continue
            found = RECORDED.fullmatch(without_streaming(rule["expr"]))
            assert found, rule["expr"]
            assert found[2].startswith(f"{engine}:")
            assert rule["record"].endswith(f":p{found[1][2:].ljust(2, '0')}")
        else:
            assert set(re.findall(r"first:\w+:\w+", rule["expr"])) <= names


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_page_names_what_the_file_reads(engine: str) -> None:
    page = (ROOT / "docs" / "capacity" / "tail-latency.md").read_text("utf-8")
    for name in set(re.findall(rf"{engine}:\w+_seconds", page)):
        assert name in rule_text(f"tail-latency-{engine}")
