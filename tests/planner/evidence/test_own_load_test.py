"""The load test of our own server: what is kept, what is asked, and that the planner reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from serving_mathematics.planner.evidence.own_load_test import (
    RECORD,
    example,
    tested_calibration,
    tested_deployment,
    tested_runs,
)
from serving_mathematics.planner.questions.questions import read_question
from serving_mathematics.support.measuring import read_record

from benchmarks import load_test

ASKED = {"rate_per_s": 1, "backend": "vllm", "parallelism": "tp1", "requests": 100}


def test_the_planner_reads_the_same_from_files(tmp_path: Path) -> None:
    record = read_record(RECORD)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(record["config"]))
    files = []
    for place, one in enumerate(record["results"]):
        files.append(tmp_path / f"{place}.json")
        files[-1].write_text(json.dumps(one))
    peaks = record["peaks"]
    question = read_question(
        ASKED
        | {
            "model": str(config),
            "precision": record["precision"],
            "peak_tflops": peaks["flops_per_s"] / 1e12,
            "bandwidth_gb_per_s": peaks["bytes_per_s"] / 1e9,
            "memory_gib": peaks["memory_bytes"] / 2**30,
            "mean_prompt_tokens": 128,
            "mean_output_tokens": 32,
            "load_test": ",".join(str(file) for file in files),
        }
    )
    assert question.calibration is not None
    assert question.calibration.factors == pytest.approx(tested_calibration().factors, rel=1e-6)
    assert question.deployment.architecture.layers == tested_deployment().architecture.layers


def test_the_page_has_a_row_for_each_run() -> None:
    told = example()
    assert len(told.own_test_rows.splitlines()) == told.own_test_runs == len(tested_runs())
    assert told.own_test_before > told.own_test_after


def test_what_is_kept_is_what_is_read() -> None:
    times: dict[str, object] = {"unit": "ms", "avg": 1.2345678, "std": 0.0, "p99": 7.0}
    counts = {"avg": 8.0, "count": 8}
    told: dict[str, object] = {
        "request_count": counts,
        "request_throughput": counts,
        "input_sequence_length": counts,
        "output_sequence_length": counts,
        "time_to_first_token": times,
        "inter_token_latency": times,
    }
    told |= {"schema_version": "1.4", "aiperf_version": "0.13.0", "http_req_total": times}
    told |= {"input_config": {"phases": [], "models": {}, "artifacts": {"dir": "x"}}}
    kept = load_test.kept(told)
    assert kept["inter_token_latency"] == {"unit": "ms", "avg": 1.2346, "std": 0.0}
    assert kept["input_config"] == {"phases": [], "models": {}}
    assert "http_req_total" not in kept


def test_the_generator_is_asked_for_a_fixed_load() -> None:
    words = load_test.words_of("http://127.0.0.1:9", Path("t"), 4, Path("out"))
    told = dict(zip(words[1::2], words[2::2], strict=False))
    assert (told["--concurrency"], told["--request-count"]) == ("4", "20")
    assert (told["--isl"], told["--osl"], told["--osl-stddev"]) == ("128", "32", "0")
    assert "--use-server-token-count" in words


def test_peaks_are_positive_and_the_memory_is_this_machines() -> None:
    found = load_test.peaks(size=64, megabytes=1)
    assert min(found.values()) > 0
    assert 1e8 < found["memory_bytes"] < 1e14
