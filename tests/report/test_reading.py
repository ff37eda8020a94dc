from __future__ import annotations

import contextlib
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import PROMPTED, OtherFileError, read_file
from serving_mathematics.report.registry import report

from ..bad_json import BAD_JSON, changed, places
from ..profiles import THOROUGH
from .example_runs import REAL, clean, log_csv, written

WROTE = sorted(REAL.glob("*.[jc]*")) + sorted(REAL.glob("inference_perf/*metrics.json"))
TOOLS = sorted((Path(__file__).parents[1] / "planner" / "load_tests").glob("*.[jc]*"))


@pytest.mark.parametrize("path", WROTE, ids=lambda path: path.name)
def test_what_tools_wrote_is_read_and_small(path: Path) -> None:
    runs = read_file(path.read_text(encoding="utf-8"), "unnamed")
    tools = ("vLLM", "SGLang", "AIPerf", "GuideLLM", "inference-perf", "genai-perf")
    assert all(run.tool.startswith(tools) for run in runs)
    assert path.stat().st_size < 30_000
    assert report(runs, Asked()).findings


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_every_tool_is_recognised_whatever_its_file_is_called(path: Path) -> None:
    runs = read_file(path.read_text(encoding="utf-8"), "unnamed")
    assert all(run.tool in ("vLLM bench serve", "AIPerf", "GuideLLM") for run in runs)
    assert all(run.told["ttft_s"] > 0 for run in runs)


def test_a_path_is_read_as_its_text_and_a_name_is_none(tmp_path: Path) -> None:
    """Of a name alone it was said that it has fewer rows than a log."""
    text = log_csv(clean(count=30))
    file, packed = tmp_path / "log.csv", tmp_path / "log.csv.gz"
    file.write_text(text, encoding="utf-8")
    packed.write_bytes(gzip.compress(text.encode()))
    (expected,) = read_file(text, str(file))
    for path in (file, packed):
        (run,) = read_file(path)
        assert run.where == str(path)
        assert np.array_equal(run.columns["ttft_s"], expected.columns["ttft_s"])
    assert read_file(file, "mine")[0].where == "mine"
    with pytest.raises(ValueError, match=r"^text must be a file's text, or a Path, got 'log\.csv'"):
        read_file("log.csv")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none.csv")


@pytest.mark.parametrize("name", ["validation.json", "config.yaml"])
def test_what_lies_beside_results_is_refused_by_itself(name: str) -> None:
    with pytest.raises(OtherFileError, match=f"{name} must be a load test, a log or a scrape"):
        written(f"inference_perf/{name}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PK\x03\x04\0\0", "unpack it first"),
        ('{"completed": 4, "duration": 0, "mean_ttft_ms": 9}', "duration must be positive"),
        ('{"completed": -1, "duration": 2}', "completed must be a count"),
        ('{"benchmarks": []}', "with benchmarks"),
        ('{"status": "error", "data": null, "error": "bad query"}', "bad query"),
        ('{"completed": 1, "duration": 9, "ttfts": [0.1], "itls": [[-1.0]]}', "two clocks"),
        (
            '{"completed": 1, "duration": 9, "ttfts": [2], "itls": [[-1, 0.2]]}',
            "time between tokens 1 must be not negative",
        ),
        ("<html>\n<p>", "a log of requests"),
        ('{\n "data": [{"payload": []}]\n}', "got an object with data"),
        ("api:\n  type: chat\n", "got YAML"),
        ("Run Info,Run Info\n1,2\n", "GuideLLM's JSON"),
        ('{"experiments": [{"requests": []}]}', "with requests"),
    ],
)  # fmt: skip
def test_other_files_are_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="a") as refused:
        read_file(text, "a")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("m\n= REQUEST DETAILS \nNumber of requests: 64\n", "trtllm-bench's --request_json"),
        ('{"engine": {}, "world_info": {"tp_size": 4}}', "trtllm-bench's --request_json"),
        ('[{"Percentiles": "50%", "TTFT (ms)": 80.0, "Latency (s)": 0.9}]', "benchmark_data.db"),
        ('{\n "Avg TTFT (ms)": 90.0\n}', "benchmark_data.db"),
        ("a - INFO: \n│ Avg TTFT (ms)   │ 90.0  │\n", "benchmark_data.db"),
        ('{\n "name": "m", "results_ttft_s_mean": 0.4\n}', "individual_responses.json"),
        ("ttft_s\n    mean = 0.4\nNumber Of Completed Requests: 10\n", "individual_responses.json"),
        ("=== START_SUMMARY ===\n{}\n", "inference-perf's folder"),
        ("ℹ Request Latency Statistics (Completed Requests)\n|===|\n", "GuideLLM's JSON"),
        (" NVIDIA AIPerf | LLM Metrics\n┏━━━┳━━━┓\n┃ Metric ┃ avg ┃\n", "profile_export"),
        (" NVIDIA GenAI-Perf | LLM Metrics\n┏━━━┳━━━┓\n┃ Statistic ┃ avg ┃\n", "profile_export"),
        ("  LLM Metrics\n┏━━━┳━━━┓\n┃  Statistic ┃ avg ┃\n", "profile_export"),
        ('INFO generate{p} total_time="2.3s" validation_time="1ms"}: Success\n', "TGI's /metrics"),
        ("slot print_timing: id 0 |\nprompt eval time = 9.1 ms / 11 tokens\n", "with --metrics"),
        ('[2026-08-06T14:30:00.5Z] "POST /v1/completions HTTP/1.1" 200 -\n', "log as JSON"),
        ('{"resourceSpans": [{"scopeSpans": []}]}', "ConsoleSpanExporter"),
        (",date,duration,completed,failed,total_input_tokens,\n0,a,9.5,9,0,90,\n", "run=0.json"),
        ("*** Measurement Settings ***\n  Batch size: 1\n", "profile_export"),
        ('{"batch_size": 4, "latency": 1.5, "last_gen_throughput": 80.0}', "a test of a server"),
        ("batch size: 16\nlatency: 1.25 s\nlast_ttft: 0.40 s\n", "a test of a server"),
        ('{\n "elapsed_time": 9.5,\n "num_requests": 9\n}', "a test of a server"),
        (
            '{\n  "schema_version": "1.0",\n  "aiperf_version": "0.13.0",\n  "metadata": {\n'
            '    "aggregation_type": "confidence"\n  },\n  "metrics": {}\n}',
            "aiperf.json of each run",
        ),
        ('{\n  "aggregation_type": "sweep",\n  "metadata": {}\n}', "aiperf.json of each run"),
        ('{\n  "timeslices": [\n    {"start_ns": 1}\n  ]\n}', "aiperf.json of each run"),
        ("metric,mean,std,min,max,cv,se\r\nttft_avg,1,1,1,1,1,1\r\n", "aiperf.json of each run"),
        ("c,ttft_avg_mean\r\n1,2\r\n\r\nPareto Optimal Points\r\nc\r\n", "of each run"),
        ("Timeslice,Start_NS,End_NS,Metric,Unit,Stat,Value\r\n", "aiperf.json of each run"),
    ],
)
def test_what_tells_less_names_the_file_that_tells_more(text: str, told: str) -> None:
    """As EvalScope 1.14, inference-perf 0.7, GuideLLM 0.8, SGLang 0.5.23, vLLM 0.33, trtllm-bench
    (`bench/dataclasses/reporting.py`), LLMPerf (`token_benchmark_ray.py`), AIPerf 0.13, genai-perf
    0.0.16 and perf_analyzer print or write it, and TGI, llama.cpp, Envoy and a collector of spans
    as people paste them; EvalScope's percentiles were taken as requests."""
    with pytest.raises(OtherFileError, match=f"^a must be .*{re.escape(told)}.*, got "):
        read_file(text, "a")


def test_rows_of_an_interface_are_a_log_page_by_page() -> None:
    """As LiteLLM's /spend/logs/v2 and Cloudflare's gateway answer, in a line or over many; one row
    over many lines each, as jq or a console exporter of spans prints them, with and without more
    than one; and other objects with a list stay what they were."""
    rows = [
        {"request_id": f"r{i}", "startTime": f"2026-08-06T14:30:{i:02d}+00:00"}
        | {"completionStartTime": f"2026-08-06T14:30:{i:02d}.250+00:00"}
        | {"endTime": f"2026-08-06T14:31:{i:02d}+00:00", "prompt_tokens": 7 + i}
        for i in range(40)
    ]
    page = {"data": rows, "total": 40, "page": 1, "filters": []}
    texts = [json.dumps(page), json.dumps(page, indent=2), json.dumps({"result": rows, "ok": True})]
    texts += ["\n".join(json.dumps(row, indent=4) for row in rows), json.dumps(rows)]
    for text in texts:
        (run,) = read_file(text, "a")
        assert run.columns["ttft_s"] == pytest.approx(0.25)
        assert run.columns["latency_s"] == pytest.approx(60.0)
        assert run.columns["prompt_tokens"].tolist() == [7.0 + i for i in range(40)]
    spans = [
        {"name": "llm_request", "start_time": f"2026-08-06T14:30:{i:02d}Z"}
        | {"end_time": f"2026-08-06T14:30:{i + 2:02d}Z"}
        | {"attributes": {"gen_ai.latency.time_to_first_token": 0.3, "gen_ai.latency.e2e": 2.0}}
        for i in range(40)
    ]
    (run,) = read_file("\n".join(json.dumps(one, indent=4) for one in spans), "a")
    assert run.columns["ttft_s"] == pytest.approx(0.3)
    with pytest.raises(ValueError, match="the names of columns"):
        read_file("$ tail log\nstarted\nslept, and woke\n", "a")
    with pytest.raises(ValueError, match="a unit that is known"):
        read_file(json.dumps({"data": [{"time": "2026-08-06T14:30:00Z", "ttft": 2.0}] * 30}), "a")


def test_a_scrape_is_read_behind_what_was_typed() -> None:
    page = 'vllm:num_requests_running{engine="0"} 3\nvllm:prompt_tokens_total{engine="0"} 1e6\n'
    typed = "$ date -Is && curl -s localhost:8000/metrics\n2026-10-18T04:12:40+00:00\n"
    for before in ("$ curl localhost:8000/metrics\n", "me@host:~$ curl -s :8000/metrics\n", typed):
        (run,) = read_file(before + page, "a")
        assert run.series is not None
        assert run.series.level("running").tolist() == [3.0]
        assert len(read_file(2 * (before + page), "a")) == 2


def test_requests_that_those_files_have_are_read() -> None:
    ns = [
        {"id": i, "num_input_tokens": 100, "start_timestamp": 10**15 + i * 10**8}
        | {"end_timestamp": 10**15 + i * 10**8 + 10**9, "time_to_first_token": 5 * 10**7}
        | {"output_tokens": 20}
        for i in range(12)
    ]
    (run,) = read_file(json.dumps(ns), "a", "unit=ns")
    assert run.columns["ttft_s"] == pytest.approx(0.05)
    assert run.columns["latency_s"] == pytest.approx(1.0)
    assert run.columns["prompt_tokens"].tolist() == [100.0] * 12
    header = "start_time,success,completed_time,latency,first_chunk_latency,prompt_tokens"
    rows = [f"{5000 + i}.5,1,{5001 + i}.5,1.0,0.{100 + i},500" for i in range(12)]
    (run,) = read_file("\n".join([header, *rows]), "a")
    assert run.columns["ttft_s"][:2] == pytest.approx([0.1, 0.101])


@pytest.mark.parametrize("path", [*TOOLS[:2], *WROTE], ids=lambda path: path.name)
def test_no_value_of_a_file_ends_in_another_error(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.startswith("{"):
        text = '{"stages": [{"load_summary": {}, "successes": {"count": 3}}]}'
    if path.suffix == ".jsonl":
        text = f"[{','.join(text.splitlines())}]"
    data = json.loads(text.split("\n}\n{")[0] + ("\n}" if "\n}\n{" in text else ""))
    rng = np.random.default_rng(3)
    spots = list(places(data))
    for place in rng.permutation(len(spots))[: 200 if THOROUGH else 10].tolist():
        value = BAD_JSON[int(rng.integers(len(BAD_JSON)))]
        with contextlib.suppress(ValueError):
            runs = read_file(json.dumps(changed(data, spots[place], value)), "a")
            report(runs, Asked(ttft_s=1.0, tpot_s=0.05))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        report(read_file(text, "a"), Asked())


def test_what_was_typed_is_left_out_at_an_end_too() -> None:
    """Where a line must end, one with many commands is looked through from each of them."""
    assert PROMPTED.sub("", "$ curl " * 100_000) == ""
    assert PROMPTED.sub("", "# curl up\n$ curl x\nup 1\n") == "up 1\n"
