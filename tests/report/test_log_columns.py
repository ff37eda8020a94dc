from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from serving_mathematics.report.request_log import read_log


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


def test_truth_is_no_number_of_tokens_and_a_column_has_one_role() -> None:
    """`true` was one token, and a column in two roles made the first token the last."""
    row = {"timestamp": 1e3, "ttft_s": 0.1, "latency_s": 1.0, "completion_tokens": 5}
    text = "\n".join(json.dumps(row | {"prompt_tokens": True}) for _ in range(30))
    with pytest.raises(ValueError, match="row 1, column prompt_tokens must be a number, got True"):
        read_log(text, "a.jsonl")
    log = "timestamp,ttft_s,latency_s\n" + "".join(f"{k},0.1,1\n" for k in range(30))
    with pytest.raises(ValueError, match="columns must be of another column for each, as for ttft"):
        read_log(log, "a.csv", "ttft=ttft_s,latency=ttft_s")


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
