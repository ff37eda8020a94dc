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
from serving_mathematics.planner.load_tests import PRINTED_AS, read_load_test
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import PROMPTED, OtherFileError, joined, read_file
from serving_mathematics.report.registry import report
from serving_mathematics.report.report_command import _read_files

from ..bad_json import BAD_JSON, changed, places
from ..profiles import THOROUGH
from .example_runs import clean, detailed, log_csv

REAL = Path(__file__).parent / "load_tests"
TOLD = ("ttft", "tpot", "itl", "e2el")
WROTE = sorted(REAL.glob("*.[jc]*")) + sorted(REAL.glob("inference_perf/*metrics.json"))
TOOLS = sorted((Path(__file__).parents[1] / "planner" / "load_tests").glob("*.[jc]*"))


def _real(name: str) -> list[Run]:
    return read_file((REAL / name).read_text(encoding="utf-8"), name)


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


def test_details_are_every_request() -> None:
    run = clean(count=300)
    read = read_file(detailed(run), "a.json")[0]
    for name in ("sent_s", "ttft_s", "latency_s", "output_tokens"):
        expected = run.columns[name] - (run.columns["sent_s"][0] if name == "sent_s" else 0)
        assert read.columns[name] == pytest.approx(expected, abs=1e-9), name
    assert read.gaps_s.size == int(run.columns["output_tokens"].sum()) - run.size


@pytest.mark.parametrize("name", ["vllm.json", "sglang.jsonl"])
def test_what_a_client_prints_is_what_it_writes(name: str) -> None:
    data = json.loads((REAL / name).read_text(encoding="utf-8"))
    said = {
        f"{of.title()} {x.upper()} (ms)": f"{of}_{x}_ms" for of in ("mean", "p99") for x in TOLD
    }
    lines = [f"{label}: {data[key]}" for label, key in (PRINTED_AS | said).items() if key in data]
    printed = "\n".join(["== Serving Benchmark Result ==", *lines, "=" * 50])
    (run,) = read_file(printed, name)
    (written,) = _real(name)
    assert run.tool == written.tool
    for what in written.told.keys() - {"delay_mean_s", "delay_p99_s"}:  # which are of its lists
        assert run.told[what] == pytest.approx(written.told[what]), what
    assert report([run], Asked()).findings


def test_a_failed_request_of_vllm_is_known_by_its_error() -> None:
    data = json.loads(detailed(clean(count=120)))
    data["errors"][3], data["ttfts"][3], data["itls"][3] = "timeout", 0.0, []
    run = read_file(json.dumps(data), "a.json")[0]
    assert np.flatnonzero(run.columns["failed"]).tolist() == [3]


def test_inference_perf_counts_tokens_under_other_names_than_it_did() -> None:
    stage = _real("inference_perf/stage_1_lifecycle_metrics.json")[0]
    assert stage.told["prompt_tokens"] == pytest.approx(57.79, abs=0.01)
    assert stage.told["output_tokens"] == pytest.approx(22.54, abs=0.01)
    assert stage.told["duration_s"] == pytest.approx(7.36, abs=0.01)
    requests = _real("inference_perf/per_request_lifecycle_metrics.json")[0]
    assert requests.size == 36
    assert requests.gaps_s.size == 752  # 787 tokens, of which one came with another
    one = requests.columns["latency_s"] - requests.columns["ttft_s"]
    assert (one > 0).all()


def test_a_folder_of_inference_perf_is_its_stages() -> None:
    runs, problems = _read_files([str(REAL / "inference_perf")])
    assert problems == []
    assert [run.size for run in runs] == [12, 24]
    assert "config.yaml, validation.json" in " ".join(note for run in runs for note in run.notes)
    assert sum(run.gaps_s.size for run in runs) > 700
    for run in runs:  # what the tool says of a stage, and what its requests say
        assert run.columns["ttft_s"].mean() == pytest.approx(run.told["ttft_s"], rel=1e-6)
    told = report(runs, Asked()).findings
    assert not [one for one in told if one.name == "ladder" and one.level != "note"]  # by chance


@pytest.mark.parametrize("name", ["validation.json", "config.yaml"])
def test_what_lies_beside_results_is_refused_by_itself(name: str) -> None:
    with pytest.raises(OtherFileError, match=f"{name} must be a load test, a log or a scrape"):
        _real(f"inference_perf/{name}")


def test_requests_of_guidellm_that_were_cut_off_left_the_client() -> None:
    data = json.loads((REAL / "guidellm_concurrent.json").read_text(encoding="utf-8"))
    groups = data["benchmarks"][0]["requests"]
    whole = len(groups["successful"])
    for one in groups["successful"][4:]:
        one["output_tokens"] = one["output_metrics"]["text_tokens"] = 0
    groups["incomplete"] = groups["successful"][4:]
    groups["successful"] = groups["successful"][:4]
    run = read_file(json.dumps(data), "a.json")[0]
    assert run.notes[0].startswith(f"{whole - 4} of {whole} requests were cut off at the end")
    assert np.isfinite(run.columns["sent_s"]).sum() == whole
    assert np.isfinite(run.columns["latency_s"]).sum() == 4
    assert np.isfinite(run.columns["output_tokens"]).sum() == 4
    assert run.columns["failed"].sum() == 0


def test_guidellm_draws_times_before_its_clock_is_set() -> None:
    run = _real("guidellm_poisson.json")[0]
    assert not run.has("due_s")
    assert "another clock" in run.notes[0]
    assert run.told["completed"] == 24
    held = _real("guidellm_concurrent.json")[0]
    late = held.columns["sent_s"] - held.columns["due_s"]
    assert held.told["concurrency"] == 3
    assert (late >= 0).all()
    assert late.max() < 0.1


def test_aiperf_in_three_forms_is_one_run() -> None:
    runs = joined([*_real("aiperf.json"), *_real("aiperf.csv"), *_real("aiperf.jsonl")])
    assert [run.size for run in runs] == [24]
    run = runs[0]
    assert run.columns["ttft_s"].mean() == pytest.approx(run.told["ttft_s"], rel=1e-6)
    late = run.columns["sent_s"] - run.columns["due_s"]
    assert late.mean() == pytest.approx(run.told["delay_mean_s"], rel=0.01)
    assert run.told["in_flight"] == pytest.approx(12.49, abs=0.01)
    assert run.told["rate_asked"] == 2
    assert run.gaps_s.sum() == pytest.approx(
        (run.columns["latency_s"] - run.columns["ttft_s"]).sum(), rel=0.01
    )


@pytest.mark.parametrize("cut", [{"was_cancelled": True}, {"is_complete": False}, {}])
def test_a_run_that_aiperf_calls_incomplete_says_so(cut: dict[str, bool]) -> None:
    data = json.loads((REAL / "aiperf.json").read_text()) | cut
    data |= {"incomplete_reason": "the records stalled"} if "is_complete" in cut else {}
    summary = read_file(json.dumps(data), "a")
    (run,) = joined([*_real("aiperf.csv"), *summary, *_real("aiperf.jsonl")])
    told = [note for note in run.notes if "did not come to its end" in note]
    assert len(told) == bool(cut)
    assert all(("(the records stalled)" in one) == ("is_complete" in cut) for one in told)


def test_power_that_aiperf_saw_is_of_all_devices() -> None:
    data = json.loads((REAL / "aiperf.json").read_text())
    gpus = {str(i): {"metrics": {"nvidia_power_usage": {"avg": 300.0 + i}}} for i in range(2)}
    data["telemetry_data"]["endpoints"] = {"localhost:9400": {"gpus": gpus}}
    assert read_file(json.dumps(data), "a")[0].told["power_w"] == 601.0


def test_genai_perf_in_three_forms_is_one_run() -> None:
    summary, table = _real("genai_perf.json")[0], _real("genai_perf.csv")[0]
    assert table.tool == summary.tool == "genai-perf"
    for name in ("ttft_s", "tpot_s", "prompt_tokens", "output_tokens"):
        assert table.told[name] == pytest.approx(summary.told[name], rel=1e-3), name
    assert len(joined([summary, table])) == 1
    raw = _real("genai_perf_raw.json")[0]
    assert raw.told["concurrency"] == 4
    assert raw.columns["output_tokens"].tolist() == [26, 10, 21, 31, 19, 25]
    assert (raw.columns["ttft_s"] < raw.columns["latency_s"]).all()


def test_vllm_tells_latencies_without_details_and_what_waited_in_the_client() -> None:
    short = _real("vllm.json")[0]
    assert short.columns["latency_s"].mean() == pytest.approx(short.told["latency_s"], rel=1e-6)
    assert 0 < short.told["delay_p99_s"] < 0.001
    details = _real("vllm_details.json")[0]
    assert details.told["concurrency"] == 4
    assert not details.has("due_s")  # its clients wait for places by design
    assert details.columns["ttft_s"].mean() == pytest.approx(details.told["ttft_s"], rel=1e-6)
    assert np.ptp(details.columns["sent_s"]) > 0
    data = json.loads((REAL / "vllm_details.json").read_text())
    at_a_rate = read_file(json.dumps(data | {"request_rate": 2.0}), "a")[0]
    late = at_a_rate.columns["sent_s"] - at_a_rate.columns["due_s"]
    assert sorted(late) == pytest.approx(sorted(data["queue_times"]))
    found = report([at_a_rate], Asked()).findings
    assert "late_client" in [one.name for one in found if one.level == "problem"]


def test_sglang_in_short_and_with_details() -> None:
    short = _real("sglang.jsonl")[0]
    assert short.tool == "SGLang bench_serving"
    details = _real("sglang_details.jsonl")[0]
    assert details.columns["ttft_s"].mean() == pytest.approx(details.told["ttft_s"], rel=1e-6)
    assert details.columns["latency_s"].mean() == pytest.approx(details.told["latency_s"], rel=1e-3)


def test_a_log_and_the_table_of_its_engine_are_one_run() -> None:
    log = read_file(log_csv(clean(count=200)), "log.csv")
    table = read_file("t,running,waiting\n" + "\n".join(f"{i},4,0" for i in range(30)), "t.csv")
    runs = joined([*log, *table])
    assert len(runs) == 1
    assert runs[0].series is not None
    scrapes = [read_file(f"vllm:num_preemptions_total {k}\n", f"{k}.txt")[0] for k in (3, 4, 9)]
    both = joined(scrapes)
    assert "fell" not in " ".join(both[0].notes)
    (back,) = joined(scrapes[::-1])
    assert back.notes[-1].startswith("preemptions fell between them: the engine began anew, or")
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


@pytest.mark.parametrize(
    ("tokens", "told"), [(-1, "not negative, got -1"), (1.5, "a count, whole"), (10**18, "at most")]
)
def test_tokens_that_no_request_has_are_refused_in_every_file(tokens: float, told: str) -> None:
    row = {"completed": 2, "duration": 4.0, "request_rate": "inf", "mean_ttft_ms": 60.0}
    row |= {"ttfts": [0.1, 0.1], "output_lens": [9, tokens]}
    with pytest.raises(ValueError, match=f"a.json: request 2, output tokens must be .*{told}"):
        read_file(json.dumps(row), "a.json")
    log = f"start,ttft_ms,latency_ms,output_tokens\n1.5,100,900,9\n2.5,100,900,{tokens}"
    with pytest.raises(ValueError, match=f"row 3, column output_tokens must be .*{told}"):
        read_file(log, "a.csv", "unit=s")


@pytest.mark.parametrize("name", ["vllm.json", "vllm_details.json"])
def test_a_list_of_results_is_read_and_those_beside_it_count_once(name: str) -> None:
    """As `vllm bench sweep serve` of 0.33 puts the runs of one setting together, beside each."""
    row = json.loads((REAL / name).read_text(encoding="utf-8"))
    later = json.loads(json.dumps(row).replace("[0.", "[1."))
    rows = [row, later | {"mean_ttft_ms": 1.5 * row["mean_ttft_ms"]}]
    single = [run for x in rows for run in read_file(json.dumps(x, indent=4), "run")]
    listed = read_file(json.dumps(rows, indent=4), "summary")
    assert [run.where for run in listed] == ["summary, run 1", "summary, run 2"]
    assert [run.told for run in listed] == [run.told for run in single]
    assert len(joined([*single, *listed])) == 2
    assert len(read_load_test(json.dumps(rows), "a")) == 2


GUESSED = {"drafts": 800.0, "draft_tokens": 2400.0, "accepted_tokens": 1200.0}


@pytest.mark.parametrize("bad", [None, *BAD_JSON])
def test_what_vllms_benchmark_counts_of_guesses_is_told(bad: object) -> None:
    """Fields and lines as `serve.py` of 0.33 writes them; each place by the share of rounds."""
    row = {"completed": 2, "duration": 4.0, "request_rate": "inf", "mean_ttft_ms": 60.0}
    row |= {"spec_decode_num_drafts": 800, "spec_decode_draft_tokens": 2400}
    row |= {"spec_decode_accepted_tokens": 1200}
    places = "spec_decode_per_position_acceptance_rates"
    (run,) = read_file(json.dumps(row | {places: [0.8, 0.5, 0.2]}), "a.json")
    each = {"accepted_at_1": 640.0, "accepted_at_2": 400.0, "accepted_at_3": 160.0}
    assert {x: y for x, y in run.told.items() if x in GUESSED | each} == GUESSED | each
    (found,) = (one for one in report([run], Asked()).findings if one.name == "guesses")
    assert "of 3 guessed tokens 50%" in found.seen
    assert "accepted at each place in turn: 80%, 50%, 20%" in found.sure
    for name in (*row, places, [places]):
        hostile = {**row, places: [0.8, bad]} if isinstance(name, list) else row | {name: bad}
        with contextlib.suppress(ValueError):
            report(read_file(json.dumps(hostile), "a.json"), Asked(ttft_s=1.0))
    lines = ["== Serving Benchmark Result ==", "Successful requests:   2", "Failed requests:   0"]
    lines += ["Benchmark duration (s):  4.00", "--Speculative Decoding--", "Drafts:  800"]
    lines += ["Draft tokens:   2400", "Accepted tokens:   1200", "=" * 50]
    (run,) = read_file("\n".join(lines), "a.txt")
    assert {x: y for x, y in run.told.items() if x in GUESSED} == GUESSED


def test_what_was_typed_is_left_out_at_an_end_too() -> None:
    """Where a line must end, one with many commands is looked through from each of them."""
    assert PROMPTED.sub("", "$ curl " * 100_000) == ""
    assert PROMPTED.sub("", "# curl up\n$ curl x\nup 1\n") == "up 1\n"
