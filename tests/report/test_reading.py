from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import joined, read_file
from serving_mathematics.report.registry import report

from ..hostile import HOSTILE, changed, places
from .made import clean, detailed, log_csv

TOOLS = sorted((Path(__file__).parents[1] / "planner" / "load_tests").glob("*.[jc]*"))


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_every_tool_is_recognised_whatever_its_file_is_called(path: Path) -> None:
    runs = read_file(path.read_text(encoding="utf-8"), "unnamed")
    assert all(run.tool in ("vLLM bench serve", "AIPerf", "GuideLLM") for run in runs)
    assert all(run.told["ttft_s"] > 0 for run in runs)


def test_details_are_every_request() -> None:
    run = clean(count=300)
    read = read_file(detailed(run), "a.json")[0]
    for name in ("sent_s", "ttft_s", "latency_s", "output_tokens"):
        expected = run.columns[name] - (run.columns["sent_s"][0] if name == "sent_s" else 0)
        assert read.columns[name] == pytest.approx(expected, abs=1e-9), name
    assert read.gaps_s.size == int(run.columns["output_tokens"].sum()) - run.size


def test_a_failed_request_of_vllm_is_known_by_its_error() -> None:
    data = json.loads(detailed(clean(count=120)))
    data["errors"][3], data["ttfts"][3], data["itls"][3] = "timeout", 0.0, []
    run = read_file(json.dumps(data), "a.json")[0]
    assert np.flatnonzero(run.columns["failed"]).tolist() == [3]


def test_records_of_aiperf_and_of_inference_perf() -> None:
    start = 10**18
    lines = [
        {"metadata": {"request_start_ns": start + i * 10**9, "request_end_ns": start + 10**10}}
        | {"metrics": {"time_to_first_token": {"value": 50, "unit": "ms"},
                       "request_latency": {"value": 900, "unit": "ms"},
                       "output_sequence_length": {"value": 9, "unit": "tokens"}}, "error": None}
        for i in range(3)
    ]  # fmt: skip
    run = read_file("\n".join(map(json.dumps, lines)), "a.jsonl")[0]
    assert run.columns["ttft_s"].tolist() == [0.05] * 3
    assert run.columns["sent_s"] == pytest.approx([0.0, 1.0, 2.0], abs=1e-6)
    info = {"input_tokens": 7, "output_tokens": 3, "output_token_times": [5.1, 5.2, 5.4]}
    listed = [{"start_time": 5.0, "end_time": 5.5, "info": info, "error": None}]
    run = read_file(json.dumps(listed), "b.json")[0]
    assert run.columns["ttft_s"] == pytest.approx([0.1])
    assert run.gaps_s == pytest.approx([0.1, 0.2])


def test_guidellm_says_when_requests_were_due() -> None:
    one = {"request_start_time": 12.0, "request_latency": 1.0, "time_to_first_token_ms": 90.0}
    one |= {"prompt_tokens": 5, "output_tokens": 4, "info": {"timings": {"targeted_start": 10.0}}}
    bench = {"metrics": {"request_totals": {"successful": 1}}, "requests": {"successful": [one]}}
    run = read_file(json.dumps({"benchmarks": [bench]}), "a")[0]
    assert (run.columns["sent_s"] - run.columns["due_s"]).tolist() == [2.0]


def test_a_log_and_the_table_of_its_engine_are_one_run() -> None:
    log = read_file(log_csv(clean(count=200)), "log.csv")
    table = read_file("t,running,waiting\n" + "\n".join(f"{i},4,0" for i in range(30)), "t.csv")
    runs = joined([*log, *table])
    assert len(runs) == 1
    assert runs[0].series is not None
    scrapes = [read_file(f"vllm:num_preemptions_total {k}\n", f"{k}.txt")[0] for k in (3, 4, 9)]
    both = joined(scrapes)
    assert [run.series.grown("preemptions") for run in both if run.series] == [6.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PK\x03\x04\0\0", "unpack it first"),
        ('{"completed": 4, "duration": 0, "mean_ttft_ms": 9}', "duration must be positive"),
        ('{"completed": -1, "duration": 2}', "completed must be a count"),
        ('{"benchmarks": []}', "with benchmarks"),
        ('{"status": "error", "data": null, "error": "bad query"}', "bad query"),
        ('{"completed": 1, "duration": 9, "ttfts": [0.1], "itls": [[-1.0]]}', "two clocks"),
        ("<html>\n<p>", "a log of requests"),
    ],
)  # fmt: skip
def test_other_files_are_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="a") as refused:
        read_file(text, "a")
    assert told in str(refused.value)


@pytest.mark.parametrize("path", TOOLS[:3], ids=lambda path: path.name)
def test_no_value_of_a_file_ends_in_another_error(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.startswith("{"):
        text = '{"stages": [{"load_summary": {}, "successes": {"count": 3}}]}'
    data = json.loads(text.split("\n}\n{")[0] + ("\n}" if "\n}\n{" in text else ""))
    rng = np.random.default_rng(3)
    spots = list(places(data))
    for place in rng.permutation(len(spots))[:60].tolist():
        value = HOSTILE[int(rng.integers(len(HOSTILE)))]
        with contextlib.suppress(ValueError):
            runs = read_file(json.dumps(changed(data, spots[place], value)), "a")
            report(runs, Asked(ttft_s=1.0, tpot_s=0.05))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        report(read_file(text, "a"), Asked())


@pytest.mark.parametrize(
    ("tokens", "told"), [(-1, "not negative, got -1"), (1.5, "a whole number"), (10**18, "at most")]
)
def test_tokens_that_no_request_has_are_refused_in_every_file(tokens: float, told: str) -> None:
    row = {"completed": 2, "duration": 4.0, "request_rate": "inf", "mean_ttft_ms": 60.0}
    row |= {"ttfts": [0.1, 0.1], "output_lens": [9, tokens]}
    with pytest.raises(ValueError, match=f"a.json: request 2, output tokens must be .*{told}"):
        read_file(json.dumps(row), "a.json")
    log = f"start,ttft_ms,latency_ms,output_tokens\n1.5,100,900,9\n2.5,100,900,{tokens}"
    with pytest.raises(ValueError, match=f"row 3, column output_tokens must be .*{told}"):
        read_file(log, "a.csv", "unit=s")
