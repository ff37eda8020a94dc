from __future__ import annotations

import json

import numpy as np
import pytest
from serving_mathematics.report.request_log import read_log

from .example_runs import at


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


@pytest.mark.parametrize(("ttft", "unit"), [("50", "ms"), ("0.05", "s"), ("50000", "us")])
def test_moments_say_the_unit_of_a_duration_that_names_none(ttft: str, unit: str) -> None:
    """50 would be seconds as well, by its size; an answer that ends after 60 ms tells."""
    rows = [f"{10 * i}.0,{10 * i}.06,{ttft}" for i in range(9)]
    run = read_log("\n".join(["start_s,end_s,ttft", *rows]), "a.csv")
    assert run.columns["ttft_s"].tolist() == pytest.approx([0.05] * 9)
    assert f"ttft in {unit}, as the moments say" in run.notes


def test_words_of_errors_that_are_none() -> None:
    rows = [f"{i}.0,100,{word}" for i, word in enumerate(("nan", "[]", "-", "timeout", ""))]
    run = read_log("\n".join(["t_s,latency_ms,error", *rows]), "a.csv")
    assert run.columns["failed"].tolist() == [0, 0, 0, 1, 0]
    words = ("200,1.0", "200,True", "200,0.0", "200,f", "500,True")  # a request fails in either
    rows = [f"{i}.0,100,{word}" for i, word in enumerate(words)]
    run = read_log("\n".join(["t_s,latency_ms,status,success", *rows]), "a.csv")
    assert run.columns["failed"].tolist() == [0, 0, 1, 1, 1]


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


def test_a_session_without_a_name_is_none() -> None:
    rows = [f"{i}.5,100,{'s' + str(i // 4) if i % 2 else ''}" for i in range(40)]
    run = read_log("\n".join(["t_s,latency_ms,session_id", *rows]), "a.csv")
    assert np.isnan(run.columns["session"]).sum() == 20


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


def test_an_error_that_is_an_object_is_one() -> None:
    """Its row had counted as an answer, because only the others said that there was none."""
    rows: list[dict[str, object]] = [
        {"start_s": i, "latency_ms": 9, "error": None} for i in range(20)
    ]
    rows[7]["error"] = {"message": "x", "code": 503}
    rows[9]["error"] = {"message": "", "code": None}
    run = read_log("\n".join(map(json.dumps, rows)), "a.jsonl")
    assert run.columns["failed"].nonzero()[0].tolist() == [7]


def test_what_takes_longer_tells_the_unit_of_what_takes_less() -> None:
    """A first token comes within its answer, and each token takes its time."""
    rows = [f"{2 * i},{60 + i % 3},2.4,150" for i in range(20)]
    run = read_log("\n".join(["start_s,ttft,latency,output_tokens", *rows]), "a.csv")
    assert np.median(run.columns["ttft_s"]) == 0.061
    assert run.columns["latency_s"][0] == 2.4
    with pytest.raises(ValueError, match="which may be s or ms"):
        read_log("\n".join(["start_s,ttft,latency,tokens", *rows]), "a.csv")


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
