from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from serving_mathematics.report.evidence import _rates_told
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


@pytest.mark.parametrize("empty", [[], ["3,,9,3"]])
def test_sessions_that_count_from_their_start_have_no_common_clock(empty: list[str]) -> None:
    lines = ["session,t_s,prompt_tokens,output_tokens"]
    lines += [f"{s},{k}.0,9,3" for s in range(30) for k in (0, 7)] + empty
    run = read_log("\n".join(lines), "a.csv")
    assert not run.has("sent_s")
    assert run.columns["session"].max() == 29


@pytest.mark.parametrize(
    ("status", "failed"),
    [
        ("200,500,429,200", 2),
        ("200.0,503.0,204.0,HTTP 404", 2),
        ("ok,error,200 OK,4xx", 2),
        ("stop,length,tool_calls,abort", 1),
        ("completed,end_turn,FINISHED,cancelled", 1),
    ],
)
def test_failures_are_counted(status: str, failed: int) -> None:
    rows = [f"{i}.0,100,{word}" for i, word in enumerate(status.split(","))]
    run = read_log("\n".join(["t_s,latency_ms,status", *rows]), "a.csv")
    assert run.columns["failed"].sum() == failed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ttft,prompt_tokens\n20,1\n30,1", "rename it to ttft_ms, or say columns"),
        ("ts_s,ttft_ms\n1\n", "row 2 must be 2 fields long"),
        ("ts_s,prompt_tokens,ttft_ms\n1,-4,5\n", "row 2, column prompt_tokens must be a count"),
        ("ts_s,ttft_ms\n1,inf\n", "row 2, column ttft_ms must be at most 1e+100 in size"),
        ("[1, 2]", "row 1 must be one JSON object"),
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


@pytest.mark.parametrize(("ttft", "unit"), [("50", "ms"), ("0.05", "s"), ("50000", "us")])
def test_moments_say_the_unit_of_a_duration_that_names_none(ttft: str, unit: str) -> None:
    """50 would be seconds as well, by its size; an answer that ends after 60 ms tells."""
    rows = [f"{10 * i}.0,{10 * i}.06,{ttft}" for i in range(9)]
    run = read_log("\n".join(["start_s,end_s,ttft", *rows]), "a.csv")
    assert run.columns["ttft_s"].tolist() == pytest.approx([0.05] * 9)
    assert f"ttft in {unit}, as the moments say" in run.notes


def test_columns_may_be_said() -> None:
    run = read_log("when,first\n5,70\n9,80\n", "a", "sent=when,ttft=first,unit=ms")
    assert run.columns["sent_s"].tolist() == pytest.approx([0.0, 0.004])
    assert run.columns["ttft_s"].tolist() == [0.07, 0.08]
    for columns in ("sent=ms,unit=ms", "unit=ms,sent=ms"):  # a unit is no column
        sent = read_log("ms,first\n5,70\n9,80\n", "a", columns).columns["sent_s"]
        assert sent.tolist() == pytest.approx([0.0, 0.004])
    with pytest.raises(ValueError, match="columns must be such as"):
        read_log("a,b\n1,2", "a", "time=a")
    with pytest.raises(ValueError, match="columns: unit must be one of"):
        read_log("a,b\n1,2", "a", "sent=a,unit=years")


DATED = [f"2026-01-05T10:00:{i:02d}Z" for i in range(9)]
PLAIN_NAMES = (
    "when,prompt,output,ttft_ms,latency_ms",
    "timestamp,prompt_size,completion_size,first_token_ms,total latency (ms)",
    "started,n_prompt,n_generated,first_token_ms,took_ms",
    "start_time,input,answer,time to first token (ms),latency_ms",
)


@pytest.mark.parametrize("head", PLAIN_NAMES)
def test_names_as_people_have_them(head: str) -> None:
    rows = [f"{one},{70 + i},9,90,500" for i, one in enumerate(DATED)]
    run = read_log("\n".join([head, *rows]), "a")
    assert run.columns["sent_s"].tolist() == list(range(9))
    assert run.columns["ttft_s"].tolist() == pytest.approx([0.09] * 9)
    assert run.columns["latency_s"].tolist() == pytest.approx([0.5] * 9)
    assert run.columns["prompt_tokens"].tolist() == list(range(70, 79))
    assert run.columns["output_tokens"].tolist() == [9] * 9


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("ttft_ms,prompt,output", "90,How many?,Nine."),
        ("ttft_ms,prompt,output", "90,0.5,1e99"),
        ("ttft_ms,request_size,response_size,request_count", "90,812,4096,1"),
        ("ttft_ms,prompt,input", "90,7,8"),  # one of two
        ("ttft_ms,prompt,cached_tokens", "90,7,80"),
        ("ttft_ms,when", "90,yesterday"),
        ("ttft_ms,started", "90,true"),
        ("ttft_ms,took", "90,1"),
    ],
)
def test_what_plain_words_do_not_tell_is_left(head: str, row: str) -> None:
    """A text, bytes, a count of something else, or a word for no date: not a column's role."""
    run = read_log(f"{head}\n{row}\n{row}", "a")
    assert set(run.columns) - {"cached_tokens"} == {"ttft_s"}


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


def test_truth_is_no_number_of_tokens_and_a_column_has_one_role() -> None:
    """`true` was one token, and a column in two roles made the first token the last."""
    row = {"timestamp": 1e3, "ttft_s": 0.1, "latency_s": 1.0, "completion_tokens": 5}
    text = "\n".join(json.dumps(row | {"prompt_tokens": True}) for _ in range(30))
    with pytest.raises(ValueError, match="row 1, column prompt_tokens must be a number, got True"):
        read_log(text, "a.jsonl")
    log = "timestamp,ttft_s,latency_s\n" + "".join(f"{k},0.1,1\n" for k in range(30))
    with pytest.raises(ValueError, match="columns must be of another column for each, as for ttft"):
        read_log(log, "a.csv", "ttft=ttft_s,latency=ttft_s")


def test_words_of_errors_that_are_none() -> None:
    rows = [f"{i}.0,100,{word}" for i, word in enumerate(("nan", "[]", "-", "timeout", ""))]
    run = read_log("\n".join(["t_s,latency_ms,error", *rows]), "a.csv")
    assert run.columns["failed"].tolist() == [0, 0, 0, 1, 0]
    words = ("200,1.0", "200,True", "200,0.0", "200,f", "500,True")  # a request fails in either
    rows = [f"{i}.0,100,{word}" for i, word in enumerate(words)]
    run = read_log("\n".join(["t_s,latency_ms,status,success", *rows]), "a.csv")
    assert run.columns["failed"].tolist() == [0, 0, 1, 1, 1]


def test_rows_that_stand_twice_are_counted_once() -> None:
    """Cell for cell, where an id or a fine clock says that they are one request."""
    rows = [f"r{i},{i * 0.7301:.4f},100,9" for i in range(40)]
    head = "request_id,t_s,latency_ms,output_tokens"
    run = read_log("\n".join([head, *rows, *rows[5:15]]), "a.csv")
    assert run.size == 40
    assert "10 rows stand there again" in run.notes[-1]
    coarse = [f"{i // 8},100,9" for i in range(40)]
    assert read_log("\n".join(["t_s,latency_ms,output_tokens", *coarse]), "a.csv").size == 40


@pytest.mark.parametrize(("longest", "size"), [(512, 50), (520, 50), (900, 8)])
def test_clients_in_step_write_the_same_row(longest: int, size: int) -> None:
    """Of one length each, so that those who asked together get their answers together."""
    rows = [f"{i // 8 * 0.7301:.4f},100,{(512, longest)[i // 8 % 2]}" for i in range(48)]
    rows += ["9.001,100,512", "9.002,100,512"]
    run = read_log("\n".join(["t_s,latency_ms,output_tokens", *rows]), "a.csv")
    assert run.size == size
    said = [note for note in run.notes if "stand there again" in note]
    assert said[0].endswith("each, as all have one length" if size == 50 else "once")


CUTS = [((600,), 0, 0), ((300, 700), 0, 0), ((600,), 9, 1)]


@pytest.mark.parametrize(("cuts", "put", "back"), CUTS)
def test_files_of_one_log_in_another_order_are_one_log(
    cuts: tuple[int, ...], put: float, back: int
) -> None:
    """As cat log log.1 writes them; a clock that was set leaves a gap that no request fills."""
    sent = 1.7e9 + np.cumsum(np.random.default_rng(2).exponential(0.5, 1000))
    parts = np.split(sent, cuts)[::-1]
    rows = [f"{x - put * (place > 0):.4f},100" for place, part in enumerate(parts) for x in part]
    run = read_log("\n".join(["t_s,latency_ms", *rows]), "a.csv")
    assert sum("goes back by" in note for note in run.notes) == back
    if not back:
        assert run.columns["sent_s"] == pytest.approx(sent - sent[0], abs=1e-3)


@pytest.mark.parametrize(("ahead", "slow", "told"), [(30, 0.4, 1), (0, 9.0, 0), (0.5, 0.1, 0)])
def test_a_clock_that_is_ahead_is_asked_about(ahead: float, slow: float, told: int) -> None:
    """Not where first tokens are late by a queue, of which some had none, or late by little."""
    rng = np.random.default_rng(3)
    first, rows = ahead + rng.exponential(slow, 200), ["start_time,first_token_at"]
    rows += [f"{1.7e9 + i},{1.7e9 + i + late:.3f}" for i, late in enumerate(first)]
    run = read_log("\n".join(rows), "a.csv")
    assert sum("do their clocks differ?" in note for note in run.notes) == told


def test_an_id_at_two_moments_is_another_try() -> None:
    rows = [f"r{i},{i}.5,100" for i in range(20)] + ["r3,30.5,100", "r3,40.5,100", "r7,50.5,100"]
    run = read_log("\n".join(["request_id,t_s,latency_ms", *rows]), "a.csv")
    assert run.columns["attempt"].tolist() == [1.0] * 20 + [2.0, 3.0, 2.0]
    turns = [f"r{i % 4},{i}.5,100" for i in range(20)]  # an id of something else
    assert not read_log("\n".join(["request_id,t_s,latency_ms", *turns]), "a.csv").has("attempt")


@pytest.mark.parametrize(("failed", "tries"), [(True, 3.0), (False, None)])
def test_a_plain_id_is_of_a_request_where_the_one_before_failed(
    failed: bool, tries: float | None
) -> None:
    rows = [f"{i},{i},{500 if failed and i in (5, 40) else 200}" for i in range(60)]
    rows += ["70,5,500" if failed else "70,5,200", "80,5,200", "75,40,200"]
    run = read_log("\n".join(["start_s,id,status", *rows]), "a.csv")
    assert (run.column("attempt").max() if run.has("attempt") else None) == tries


@pytest.mark.parametrize(
    ("column", "word", "failed", "gave_up"),
    [
        ("status", "499", 1, 1),
        ("finish_reason", "abort", 1, 1),
        ("error", "asyncio.CancelledError", 1, 1),
        ("finish_reason", "error", 1, 0),
        ("status", "504", 1, 0),
        ("finish_reason", "length", 0, 0),
    ],
)
def test_who_gave_up_is_told_from_what_failed(
    column: str, word: str, failed: int, gave_up: int
) -> None:
    fine = {"status": "200", "finish_reason": "stop", "error": ""}[column]
    rows = [f"{i},100,{word if i == 7 else fine}" for i in range(20)]
    run = read_log("\n".join([f"start_s,latency_ms,{column}", *rows]), "a.csv")
    assert [int(np.nansum(run.column(x))) for x in ("failed", "gave_up")] == [failed, gave_up]


def test_answers_that_came_whole_have_no_first_token() -> None:
    rows = ["0.5,900,900,50", "1.5,100,900,50", "2.5,0,900,50", "3.5,900,900,1"]
    run = read_log("\n".join(["t_s,ttft_ms,latency_ms,output_tokens", *rows]), "a.csv")
    assert np.isnan(run.columns["ttft_s"]).tolist() == [True, False, True, False]
    assert "2 answers came whole" in run.notes[-1]


def test_a_session_without_a_name_is_none() -> None:
    rows = [f"{i}.5,100,{'s' + str(i // 4) if i % 2 else ''}" for i in range(40)]
    run = read_log("\n".join(["t_s,latency_ms,session_id", *rows]), "a.csv")
    assert np.isnan(run.columns["session"]).sum() == 20


def test_tokens_that_could_be_found_were_not() -> None:
    rows = [f"{i}.5,100,80" for i in range(9)]
    run = read_log("\n".join(["t_s,prompt_tokens,reusable_tokens", *rows]), "a.csv")
    assert run.shares_prefix == 0.8
    assert not run.has("cached_tokens")


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


def test_an_hour_without_a_request_between_two_runs_is_said() -> None:
    sent = np.r_[np.arange(60.0), 3700 + np.arange(60.0)]
    shorter = (
        np.r_[sent[:60], 100 + np.arange(60.0)],
        ["nothing came for 41 s from 59 s on, and for 1"],
    )
    for moments, told in ((sent, ["nothing came for 3,641 s of 3,759"]), (sent[:60], []), shorter):
        run = read_log("\n".join(["t_s,latency_ms", *(f"{x},100" for x in moments)]), "a.csv")
        assert [
            note.partition(":")[0].partition(" s at most")[0]
            for note in run.notes
            if "nothing" in note
        ] == told


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


def test_a_pause_in_a_log_of_days_has_a_date() -> None:
    sent = np.r_[np.arange(0, 1e5, 50), np.arange(2e5, 3e5, 50)]
    dated = [datetime.fromtimestamp(1.7e9 + x, UTC).isoformat() for x in sent]
    said = " ".join(read_log("\n".join(["start,ttft_ms", *(f"{x},90" for x in dated)]), "a").notes)
    assert "from 2023-11-16 01:59 UTC on" in said
    bare = read_log("\n".join(["start_s,ttft_ms", *(f"{x},90" for x in sent)]), "a").notes
    assert "from 99,950 s on" in " ".join(bare)


def test_one_row_that_lasts_longer_than_the_log_is_named_and_left_out() -> None:
    """Rates are those of the rest; empty cells are counted."""
    rows = [f"{i},{i % 7 + 1},0.2,100,20" for i in range(400)]
    rows[250] = "250,864000,0.2,100,20"
    rows[9] = "9,2,,100,20"
    head = "timestamp_s,e2e_s,ttft_s,prompt_tokens,completion_tokens"
    run = read_log("\n".join([head, *rows]), "a.csv")
    notes = "; ".join(run.notes)
    assert "row 252, column e2e_s: 864,000 s is longer than the log and was left out" in notes
    assert "no value in 1 of 400 requests that did not fail: ttft_s (1)" in notes
    assert _rates_told(run)["seconds"] < 410


@pytest.mark.parametrize(
    ("words", "failed"),
    [
        (["STATUS_CODE_UNSET", "STATUS_CODE_ERROR"], 20),
        (["UNSET", "ERROR"], 20),
        (["served", "dropped"], 20),
        (["timeout", "ok"], 80),
        (["503", "200"], 80),
    ],
)
def test_a_usual_word_that_names_no_failure_is_of_answers(words: list[str], failed: int) -> None:
    """All of a service's requests had failed, where its status was OpenTelemetry's UNSET."""
    rows = [f"{i},100,{words[i % 5 == 0]}" for i in range(100)]
    run = read_log("\n".join(["start_s,latency_ms,status.code", *rows]), "a.csv")
    assert run.columns["failed"].sum() == failed
    assert any("served is taken" in note for note in run.notes) == ("served" in words)


def test_lines_of_sglang_are_one_request_each() -> None:
    """Of the two that --log-requests writes only the last has numbers, three objects deep, and its
    timestamp is of the end."""
    rows: list[dict[str, object]] = []
    for i in range(30):
        sent = 1.7e9 + 2 * i
        meta = {"request_received_ts": sent, "forward_entry_time": sent + 0.25, "cached_tokens": 2}
        meta |= {"prefill_finished_time": sent + 0.5, "request_finished_ts": sent + 1.5}
        meta |= {"prompt_tokens": 7, "completion_tokens": 5}
        meta |= {"finish_reason": {"type": "stop" if i else "abort", "message": None}}
        rows += [{"timestamp": sent, "event": "request.received", "rid": f"r{i}"}]
        rows += [{"timestamp": sent + 1.5, "rid": f"r{i}", "out": {"meta_info": meta}}]
    run = read_log("\n".join(map(json.dumps, rows)), "a.jsonl")
    means = {"sent_s": 29.0, "queue_s": 0.25, "ttft_s": 0.5, "latency_s": 1.5}
    means |= {"prompt_tokens": 7.0, "output_tokens": 5.0, "cached_tokens": 2.0}
    means |= {"failed": 1 / 30, "gave_up": 1 / 30}
    assert {name: x.mean() for name, x in run.columns.items()} == means
    assert "30 rows have none of these and were left out" in run.notes


def test_an_error_that_is_an_object_is_one() -> None:
    """Its row had counted as an answer, because only the others said that there was none."""
    rows: list[dict[str, object]] = [
        {"start_s": i, "latency_ms": 9, "error": None} for i in range(20)
    ]
    rows[7]["error"] = {"message": "x", "code": 503}
    rows[9]["error"] = {"message": "", "code": None}
    run = read_log("\n".join(map(json.dumps, rows)), "a.jsonl")
    assert run.columns["failed"].nonzero()[0].tolist() == [7]


def test_vllms_own_times_of_a_request_count_from_when_it_came() -> None:
    """Its time to the first token begins when it was scheduled: an overload was told as none."""
    times = {"time_to_first_token_ms": 100, "generation_time_ms": 400, "queue_time_ms": 2000}
    row = {"created": 1.7e9, "metrics": times | {"mean_itl_ms": 4.0}}
    run = read_log("\n".join([json.dumps(row)] * 5), "a.jsonl")
    assert [run.columns[f"{name}_s"][0] for name in ("ttft", "latency", "queue")] == [2.1, 2.5, 2.0]
    row["metrics"] = times  # of another tool, which may count otherwise
    assert read_log(json.dumps(row), "a.jsonl").columns["ttft_s"][0] == 0.1


def test_what_takes_longer_tells_the_unit_of_what_takes_less() -> None:
    """A first token comes within its answer, and each token takes its time."""
    rows = [f"{2 * i},{60 + i % 3},2.4,150" for i in range(20)]
    run = read_log("\n".join(["start_s,ttft,latency,output_tokens", *rows]), "a.csv")
    assert np.median(run.columns["ttft_s"]) == 0.061
    assert run.columns["latency_s"][0] == 2.4
    with pytest.raises(ValueError, match="which may be s or ms"):
        read_log("\n".join(["start_s,ttft,latency,tokens", *rows]), "a.csv")


def test_tokens_are_known_by_the_name_around_them_and_their_total_is_no_time() -> None:
    row = {"start_s": 1.0, "usage_details": {"input": 7, "output": 5, "total": 950}}
    run = read_log("\n".join([json.dumps(row)] * 3), "a.jsonl")
    assert set(run.columns) == {"sent_s", "prompt_tokens", "output_tokens"}
    row |= {"headers": {"start_s": 9.0}, "start_s": row.pop("start_s")}
    assert read_log(json.dumps(row), "a.jsonl").notes[0].startswith("moments from start_s")
    rows = "prompt_tokens,output_tokens,total,start_s\n7,5,950,1\n7,5,950,2\n"
    assert not read_log(rows, "a.csv").has("latency_s")
    assert read_log("start_s,total_ms\n1,950\n2,950\n", "a.csv").columns["latency_s"][0] == 0.95


@pytest.mark.parametrize(("slower", "counted"), [(1.0, 500), (30.0, 500), (1.0, 40)])
def test_spans_have_the_names_of_opentelemetrys_conventions(slower: float, counted: int) -> None:
    """Their first tokens, cached tokens, conversations and users, which were passed over: a first
    token is in seconds, also where both it and milliseconds would do, and a prompt that is counted
    without what was found leaves that out."""
    rows = []
    for i in range(60):
        told = {"gen_ai.response.id": f"r{i}", "gen_ai.conversation.id": f"c{i // 3}"}
        told |= {"user.id": "ab"[i % 2], "gen_ai.response.finish_reasons": ["stop"]}
        told |= {f"gen_ai.usage.{x}_tokens": n for x, n in (("input", counted), ("output", 40))}
        told |= {f"gen_ai.usage.cache_{x}.input_tokens": 300 for x in ("read", "write")}
        told["gen_ai.response.time_to_first_chunk"] = slower * (0.1 + 1e-3 * i)
        came, ended = (datetime(2026, 8, 6, 14, at, i, tzinfo=UTC).isoformat() for at in (30, 31))
        row = {"start_time": came, "end_time": ended, "attributes": told}
        if i < 9:
            told |= {"error.type": "TimeoutError"}
        rows.append(json.dumps(row | {"status": {"status_code": "UNSET"}}))
    run = read_log("\n".join(rows), "a")
    assert run.columns["ttft_s"][:2] == pytest.approx([slower * 0.1, slower * 0.101])
    assert run.columns["prompt_tokens"].tolist() == [counted] * 60
    found = run.columns.get("cached_tokens")
    assert (found is None) == (counted == 40)
    assert found is None or found.tolist() == [300] * 60
    assert np.unique(run.columns["session"]).size == 20
    assert run.tenants == ("a", "b")
    assert run.columns["failed"].sum() == 9
    assert "attempt" not in run.columns


def test_what_nginx_writes_is_in_seconds_and_at_the_end() -> None:
    rows = [f"2026-01-05T10:00:{i:02}+00:00,{2.5 if i % 2 else 3.5},2.4" for i in range(20)]
    run = read_log("\n".join(["time,request_time,upstream_response_time", *rows]), "a.csv")
    assert run.columns["latency_s"].tolist()[:2] == [3.5, 2.5]
    assert run.columns["sent_s"].tolist()[:3] == [0.0, 2.0, 2.0]


def test_rows_of_which_only_a_time_is_known_are_said() -> None:
    rows = [json.dumps({"time": 1.7e9 + i, "log": "x"}) for i in range(9)]
    told = "of time, log only time is read: each row is taken as a request"
    assert told in read_log("\n".join(rows), "a.jsonl").notes


def at(seconds: float) -> str:
    return f"{1767607200 + seconds:.3f}"


def test_what_never_ended_is_no_time() -> None:
    """By −1 or 0, as some write it; a single −1 among negative times is a clock's."""
    rows = "\n".join(f"{at(i)},{-1 if i % 5 == 0 else 900 + i}" for i in range(50))
    run = read_log(f"timestamp,latency_ms\n{rows}", "a")
    assert np.isnan(run.columns["latency_s"]).sum() == 10
    assert "latency_ms: −1 in 10 rows is taken as no value" in run.notes
    with pytest.raises(ValueError, match="row 2: latency must be not negative"):
        read_log(f"timestamp,latency_s\n{at(0)},-1\n{at(1)},-2\n{at(2)},5\n", "a")
    run = read_log(f"timestamp,latency_ms\n{rows}".replace(",-1", ",0"), "a")
    assert "10 of 50 answers took less than 0.1 ms a token" in " ".join(run.notes)
    run = read_log(f"timestamp,ttft_ms\n{rows}".replace(",-1", ",0"), "a")
    assert np.isnan(run.columns["ttft_s"]).sum() == 10
    whole = "\n".join(f"{at(i)},{i % 3}" for i in range(50))  # of less than a second
    assert "took less" not in " ".join(read_log(f"timestamp,latency_s\n{whole}", "a").notes)
    assert (read_log(f"timestamp,ttft_s\n{whole}", "a").columns["ttft_s"] == 0).sum() == 17


def test_a_status_of_0_beside_codes_is_of_no_answer() -> None:
    rows = [f"{at(i)},{0 if i % 5 == 0 else 200},900" for i in range(50)]
    text = "\n".join(["timestamp,status,latency_ms", *rows])
    assert read_log(text, "a").columns["failed"].sum() == 10
    assert read_log(text.replace(",200,", ",0,"), "a").columns["failed"].sum() == 0  # of a program


@pytest.mark.parametrize("timed", [True, False])
def test_rows_of_a_begin_and_an_end_are_one_request(timed: bool) -> None:
    told = [(i, f"{at(i)},r{i},start,,") for i in range(50)]
    told += [(i + 2.5, f"{at(i + 2.5)},r{i},end,{'2500' * timed},40") for i in range(48)]
    rows = [row for _, row in sorted(told)]
    run = read_log("\n".join(["timestamp,request_id,event,latency_ms,output_tokens", *rows]), "a")
    assert run.size == 50
    assert run.columns["sent_s"].tolist() == list(range(50))
    np.testing.assert_allclose(run.columns["latency_s"][:48], 2.5, atol=1e-6)
    assert np.isnan(run.columns["latency_s"][48:]).all()
    assert "attempt" not in run.columns
    assert run.notes[0] == "48 requests stand twice, when they begin and end: as one row each"


def test_tries_of_which_the_first_failed_at_once_stay_two() -> None:
    rows = [
        f"{at(2 * i + k)},r{i},{200 if k else 503},{'900' * k}" for i in range(40) for k in (0, 1)
    ]
    run = read_log("\n".join(["timestamp,request_id,status,latency_ms", *rows]), "a")
    assert run.size == 80
    assert run.columns["failed"].sum() == 40


def test_stretches_of_replicas_stand_side_by_side() -> None:
    rows = [f"{of},{at(i + shift)},900" for of, shift in (("a", 0), ("b", 0.5)) for i in range(300)]
    run = read_log("\n".join(["replica,timestamp,latency_ms", *rows]), "a")
    assert run.columns["sent_s"].max() == pytest.approx(299.5)
    assert "replica names 2, taken as one engine" in run.notes[0]
    joined = read_log("\n".join(["name,timestamp,latency_ms", *rows]), "a")
    assert joined.columns["sent_s"].max() > 590
    assert "(sort the rows of engines side by side)" in " ".join(joined.notes)


def test_a_request_that_lasted_while_a_clock_was_set_back_tells_no_time() -> None:
    """In the night in which an hour comes twice, as clocks on the wall write it."""
    sent = 10.0 * np.arange(400)
    ends = sent + np.where(np.arange(400) % 50 == 0, 12.0, 3.0)
    wall = [np.where(x < 2001.0, x, x - 3600.0) for x in (sent, ends)]
    rows = [f"{1.7e9 + a},{1.7e9 + b}" for a, b in zip(*wall, strict=True)]
    run = read_log("\n".join(["start_s,end_s", *rows]), "a")
    assert np.flatnonzero(np.isnan(run.columns["latency_s"])).tolist() == [200]
    assert "; times of 1 that lasted across it are left out" in " ".join(run.notes)


def test_latencies_over_which_a_clock_was_put_forward_are_left_out() -> None:
    local = [f"2026-03-29T{'01:59' if i < 60 else '03:00'}:{i % 60:02d}" for i in range(120)]
    ends = [*local[3:], "2026-03-29T03:01:00", "2026-03-29T03:01:01", "2026-03-29T03:01:02"]
    rows = [",".join(pair) for pair in zip(local, ends, strict=True)]
    run = read_log("\n".join(["start_time,end_time", *rows]), "a")
    assert np.isnan(run.columns["latency_s"]).sum() == 3
    assert np.nanmax(run.columns["latency_s"]) == 3
    told = "row 59 and 2 more, column end_time: 3,603 s is longer than a pause of the log"
    assert any(note.startswith(told) for note in run.notes)


@pytest.mark.parametrize("never", ["0", "-1", "", "0001-01-01T00:00:00Z"])
def test_an_end_that_is_no_moment_is_of_a_request_that_never_ended(never: str) -> None:
    dated = never.endswith("Z")
    rows = []
    for i in range(50):
        pair = [f"2026-01-05T10:00:{x:02d}Z" if dated else at(x) for x in (i, i + 3)]
        rows.append(f"{pair[0]},{never if i % 10 == 0 else pair[1]}")
    run = read_log("\n".join(["start_time,end_time", *rows]), "a")
    assert np.flatnonzero(np.isnan(run.columns["latency_s"])).tolist() == [0, 10, 20, 30, 40]
    assert np.nanmax(run.columns["latency_s"]) == pytest.approx(3.0)
    assert "no value in 5 of 50 requests that did not fail: latency_s (5)" in run.notes


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
