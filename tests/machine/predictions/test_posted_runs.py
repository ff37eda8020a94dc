"""Posted load tests: the form of the record, and how publishers are counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.fronts import FRONTS, front_constants
from serving_mathematics.core.hardware.harness_runs import HarnessRun
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.machine.predictions.posted_runs import main, read_posted, score_posted
from serving_mathematics.support.measuring import read_record

RECORD = read_record("posted_runs")
SAID = {"publisher", "address", "date", "engine", "version", "model", "system", "precision"}
MAYBE = {"tp", "dp", "ep", "cache_bytes", "flags", "note"}


def slower(publisher: str, times: float) -> HarnessRun:
    """A run that takes so many times what is predicted behind the front *unknown*."""
    found = loop_latencies(count_work([WORKED]), front_constants(FRONTS["unknown"]))
    each, first = float(found.per_token_s[0]), float(found.first_token_s[0])
    return HarnessRun(publisher, "llama", WORKED, times * each, first)


def test_the_record_keeps_its_rule() -> None:
    for test in RECORD["tests"]:
        assert set(test) - MAYBE == SAID | {"statistic", "rows"}
        assert test["address"].startswith("https://")
        assert test["date"] >= "2025"
        assert test["statistic"] in {"mean", "median"}
        for _, _, load, each_ms, first_ms in test["rows"]:
            assert load >= 1
            assert 0 < each_ms < (first_ms or each_ms + 1)
    runs = read_posted(RECORD)
    assert max(Counter(run.harness for run in runs).values()) <= 20
    assert {run.deployment.backend for run in runs} <= {"vllm", "sglang", "trtllm"}
    assert not {test["address"] for test in RECORD["tests"]} & dict(RECORD["left_out"]).keys()


def test_publishers_count_alike() -> None:
    runs = [slower("many", 2.0)] * 9 + [slower("one", 1.0), slower("another", 1.0)]
    told = score_posted(runs, FRONTS["unknown"])
    assert told["many"]["median"] == pytest.approx(0.5)
    assert told["many"]["nine in ten"] == pytest.approx(2.0)
    assert told["all"]["signed"] == pytest.approx(0.0, abs=1e-9)
    assert told["first tokens"]["median"] == pytest.approx(0.0, abs=1e-9)
    assert "large batches" not in told
    large = replace(slower("many", 2.0), deployment=replace(WORKED, concurrency=64.0))
    assert "large batches" in score_posted([large], FRONTS["unknown"])


def test_the_command_names_every_publisher(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    printed = capsys.readouterr().out
    assert all(printed.count(test["publisher"]) == 2 for test in RECORD["tests"])


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody-1B"):
        read_posted({"tests": [RECORD["tests"][0] | {"model": "nobody-1B"}]})
