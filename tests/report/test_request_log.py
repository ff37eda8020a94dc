from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.registry import report
from serving_mathematics.report.report_plots import run_plots
from serving_mathematics.report.request_log import read_log

from .example_runs import clean, log_csv


def test_a_log_reads_back() -> None:
    run = clean(count=400)
    read = read_log(log_csv(run), "log.csv")
    for name in ("ttft_s", "latency_s"):
        assert read.columns[name] == pytest.approx(run.columns[name], abs=1e-6)
    assert read.columns["output_tokens"].tolist() == run.columns["output_tokens"].tolist()


def test_nested_names_and_moments_of_another_clock() -> None:
    rows = [
        {"id": i, "ts": 1.7e9 + i, "queued_ts": 50.0 + i, "usage": {"prompt_tokens": 9}}
        | {"first_token_ts": 50.5 + i, "last_token_ts": 52.0 + i}
        for i in range(5)
    ]
    run = read_log("\n".join(map(json.dumps, rows)), "a.jsonl")
    assert run.columns["ttft_s"].tolist() == [0.5] * 5
    assert run.columns["prompt_tokens"].tolist() == [9.0] * 5
    assert "another clock" in run.notes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ttft,prompt_tokens\n20,1\n30,1", "rename it to ttft_ms, or say columns"),
        ("ts_s,ttft_ms\n1\n", "row 2 must be 2 fields long"),
        ("ts_s,prompt_tokens,ttft_ms\n1,-4,5\n", "row 2, column prompt_tokens must be a count"),
        ("ts_s,ttft_ms\n1,inf\n", "row 2, column ttft_ms must be at most 1e+100 in size"),
        ("[1, 2]", "row 1 must be one JSON object"),
        ('{"ts_s": 1}\n{"ts_s": 2, "ttft_ms": "x"}', "row 2, column ttft_ms must be a number"),
        ('[{"ts": 1}, {"ts"', "line 1 must be JSON"),
        ("ts,ttft_ms\n100,5\n150,6\n", "columns unit=s or unit=ms"),
        ("start_s,end_s,ttft\n0,0.06,100\n9,9.06,100\n", "which may be s, ms, us or ns"),
        ("", "the log must be a header"),
        ("t_s,latency_s\n1,3000\n2,3100\n", "did you mean 3.05 s?"),
        ("minute,p50_ms,p99_ms\n1,5,90\n2,6,80\n", "percentiles of windows cannot be put together"),
        ("Timestamp,Name,50%,99%\n1700000000,x,5,90\n", "percentiles of windows cannot be put"),
        ("metric_name,timestamp,metric_value\na,1700000000,2\n", "a row each with its times"),
        ('10.0.0.1 - - [01/Dec/2025:08:00:00 +0000] "POST /"\nx\n', "row 1 must be the names of"),
        ("[2025-12-01T08:00:00.089Z] POST 200\nx\n", "row 1 must be the names of columns"),
        ("1700000000,0.5\n1700000001,0.5\n", "row 1 must be the names of columns"),
        (
            "t_s,ttft_ms\n1,50\nt_s,ttft_ms\n",
            "row 3 must be a request (of files put together leave",
        ),
        ("t_s,ttft_ms\n1,50\n2\n", "as the header, got 1 (is the file whole?)"),
        (
            "start,end\n2026-01-05T10:00:00,2026-01-05T12:00:01Z\n",
            "latency must be up to 1000 s in the median (do the clocks or the time zones differ?)",
        ),
        ("t_s,ttft_ms,latency_ms\n1,0.05,3\n2,0.06,3\n", "(did you mean 0.055 s?), got 0.055 ms"),
        (
            "start,latency_ms\n2026-01-05T10:00:00Z,9\n2026-01-05T12:00:01,9\n",
            "row 3, column start must be with a zone such as +00:00 or Z, as the first",
        ),
        (
            "t_s,ttft_ms,prompt_tokens,cached_tokens\n1,5,9,90\n",
            "row 2, column cached_tokens must be no more than its prompt",
        ),
    ],
)
def test_what_is_unclear_is_asked_back(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="a: ") as refused:
        read_log(text, "a")
    assert told in str(refused.value)


@pytest.mark.parametrize("size", [512, 16])  # of Mooncake, and of Bailian
def test_blocks_that_repeat_are_counted(size: int) -> None:
    rows = [
        {"timestamp": 1000 * i, "input_length": 2 * size, "output_length": 2, "hash_ids": [0, i]}
        for i in range(4)
    ]
    run = read_log("\n".join(map(json.dumps, rows)), "a")
    assert run.shares_prefix == pytest.approx(3 / (4 * 2))
    assert run.tool == "a trace"
    assert np.diff(run.columns["sent_s"]).tolist() == [1.0] * 3


def test_a_log_of_ends_tells_when_requests_were_sent() -> None:
    """Said by the column, or by the reader of one that may be of either."""
    rows = [f"{1.7e9 + 2 * i + 0.25},{500 if i % 2 else 1500}" for i in range(9)]
    runs = [
        read_log("\n".join([f"{head},latency_ms", *rows]), "a.csv", columns)
        for head, columns in (("end_time", ""), ("timestamp", "end=timestamp"))
    ]
    for run in runs:
        assert run.columns["sent_s"][:4].tolist() == [0.0, 3.0, 4.0, 7.0]
    taken = read_log("\n".join(["timestamp,latency_ms", *rows]), "a.csv")
    assert "timestamp is taken as when each was sent" in taken.notes[-1]


def test_rows_of_parts_of_answers_are_said_first() -> None:
    """Five rows an answer, of one id each, were read as five requests without a word."""
    rows = ["request_id,ts_s,latency_ms"]
    rows += [f"r{i // 5},{1.7e9 + i / 4:.2f},{200 + 150 * (i % 5)}" for i in range(200)]
    run = read_log("\n".join(rows), "a.csv")
    assert run.notes[0].startswith("request_id names 40 of 200 rows, each taken as a request: ")
    assert "attempt" not in run.columns


def test_a_log_of_two_models_says_so_before_anything_else() -> None:
    rows = ["ts_s,latency_ms,model"]
    rows += [f"{1.7e9 + i / 4:.2f},{900 + i},{'ab'[i % 2]}" for i in range(200)]
    assert read_log("\n".join(rows), "a.csv").notes[0].startswith("2 models, taken as one engine")


def test_a_clock_that_is_set_back_and_two_models_are_said() -> None:
    rows = [f"{i * 1.5 - 3600 * (i > 250)},100,{'ab'[i % 2]}" for i in range(500)]
    run = read_log("\n".join(["t_s,latency_ms,model", *rows]), "a.csv")
    assert any("t_s goes back by 3,598 s at row 253" in note for note in run.notes)
    assert run.columns["sent_s"].tolist() == [1.5 * i for i in range(500)]
    assert "2 models, taken as one engine: where each has its own, cut the log by them" in run.notes
    rows = [f"{i},{100 + 900 * (1 + i % 2)},100,91,{'ab'[i % 2]}" for i in range(200)]
    head = "start_s,latency_ms,ttft_ms,output_tokens,model"
    notes = read_log("\n".join([head, *rows]), "a.csv").notes
    assert any("of which a token takes 10 to 20 ms: cut the log" in note for note in notes)


def test_a_trace_whose_form_has_no_order_is_put_in_order() -> None:
    """RAGPulse's week stands in two parts, both from its beginning: no clock was set."""
    rows = [
        {"timestamp": 1.5 * (i % 250), "input_length": 9 + i, "hash_ids": {"user_input": [i]}}
        for i in range(500)
    ]
    run = read_log("\n".join(map(json.dumps, rows)), "a.jsonl")
    assert not [note for note in run.notes if "goes back" in note]
    assert run.columns["sent_s"].tolist() == sorted(1.5 * (i % 250) for i in range(500))


def test_logs_of_gateways_are_read_for_what_they_are() -> None:
    """nginx, whose request_time is how long it took and whose moment is of the end; LiteLLM."""
    rows = [f"2026-01-05T10:00:{i:02}+00:00,{0.5 if i % 2 else 1.5},200" for i in range(20)]
    run = read_log("\n".join(["time_iso8601,request_time,status", *rows]), "a.csv")
    assert run.columns["latency_s"].tolist()[:2] == [1.5, 0.5]
    assert run.columns["sent_s"].tolist()[:3] == [0.0, 2.0, 2.0]
    lines = [
        {"startTime": f"2026-01-05T10:00:{i:02}Z", "endTime": f"2026-01-05T10:00:{i + 5:02}Z"}
        | {"completionStartTime": f"2026-01-05T10:00:{i + 1:02}Z"}
        for i in range(20)
    ]
    run = read_log("\n".join(map(json.dumps, lines)), "a.jsonl")
    assert set(run.columns["ttft_s"]) == {1.0}
    assert set(run.columns["latency_s"]) == {5.0}
    moments = [f"{1.7e9 + i + 0.5},100" for i in range(9)]
    run = read_log("\n".join(["request_time,ttft_ms", *moments]), "a.csv")
    assert run.columns["sent_s"].tolist() == list(range(9))


@pytest.mark.parametrize(
    ("head", "row", "begins"),
    [
        ("start,latency_ms", "2026-01-05T10:00:{:02d}+01:00,500", 1767603600),
        ("start_ms,latency_ms", "17676036{:02d}000,500", 1767603600),
        ("time_iso8601,request_time", "2026-01-05T09:00:{:02d}Z,0.500", 1767603599.5),
        ("start_s,latency_ms", "{},500", None),
        ("latency_ms,prompt_tokens", "5{},9", None),
    ],
)
def test_a_log_tells_when_it_began(head: str, row: str, begins: float | None) -> None:
    rows = [row.format(i) for i in range(1, 40)]
    run = read_log("\n".join([head, *rows]), "a")
    told = run.zero_at_s and run.zero_at_s + run.columns["sent_s"].min() - 1
    assert told == begins


def test_vllms_own_times_of_a_request_count_from_when_it_came() -> None:
    """Its time to the first token begins when it was scheduled: an overload was told as none."""
    times = {"time_to_first_token_ms": 100, "generation_time_ms": 400, "queue_time_ms": 2000}
    row = {"created": 1.7e9, "metrics": times | {"mean_itl_ms": 4.0}}
    run = read_log("\n".join([json.dumps(row)] * 5), "a.jsonl")
    assert [run.columns[f"{name}_s"][0] for name in ("ttft", "latency", "queue")] == [2.1, 2.5, 2.0]
    row["metrics"] = times  # of another tool, which may count otherwise
    assert read_log(json.dumps(row), "a.jsonl").columns["ttft_s"][0] == 0.1


def test_what_nginx_writes_is_in_seconds_and_at_the_end() -> None:
    rows = [f"2026-01-05T10:00:{i:02}+00:00,{2.5 if i % 2 else 3.5},2.4" for i in range(20)]
    run = read_log("\n".join(["time,request_time,upstream_response_time", *rows]), "a.csv")
    assert run.columns["latency_s"].tolist()[:2] == [3.5, 2.5]
    assert run.columns["sent_s"].tolist()[:3] == [0.0, 2.0, 2.0]


def test_rows_of_which_only_a_time_is_known_are_said() -> None:
    rows = [json.dumps({"time": 1.7e9 + i, "log": "x"}) for i in range(9)]
    told = "of time, log only time is read: each row is taken as a request"
    assert told in read_log("\n".join(rows), "a.jsonl").notes


def test_a_log_says_the_same_in_every_unit_zone_and_order() -> None:
    """In sentences and drawings, of which the first began before its log where that was turned."""
    run, base = served(np.random.default_rng(2), 190, load=1.3, places=4), 1767607200000
    times = np.column_stack([run.columns[x] for x in ("sent_s", "ttft_s", "latency_s")])
    rows = np.round(1e3 * times).astype(int).tolist()
    rest = [f"{99 + i % 70},{9 + i % 5},{500 - 300 * (i % 31 > 0)}" for i in range(190)]

    def at(ms: int, zone: float) -> str:
        there = datetime.fromtimestamp((base + ms) / 1e3, timezone(timedelta(hours=zone)))
        return there.isoformat(timespec="milliseconds")

    forms = {
        "start_ms,ttft_ms,latency_ms": lambda a, b, c: (base + a, b, c),
        "start_us,ttft_us,latency_ns": lambda a, b, c: (1000 * (base + a), 1000 * b, 10**6 * c),
        "start_s,ttft_s,latency_us": lambda a, b, c: ((base + a) / 1e3, b / 1e3, 1000 * c),
        "start,first_token_at,end_time": lambda a, b, c: (at(a, 5.5), at(a + b, -3), at(a + c, 0)),
    }
    told = []
    for (head, form), way in itertools.product(forms.items(), (1, -1)):
        lines = [",".join(map(str, (*form(*x), y))) for x, y in zip(rows, rest, strict=True)][::way]
        read = read_log("\n".join([f"{head},input_tokens,output_tokens,status", *lines]), "a")
        found = report([read], Asked(ttft_s=0.5, tpot_s=0.05, quantile=0.95, price_per_hour=2.0))
        drawn = run_plots([read], Asked())[0]
        told.append([*((one.seen, one.change) for one in found.findings), drawn.rows[1][0]])
    assert len(told[0]) == 5
    assert all(one == told[0] for one in told)
