from __future__ import annotations

import json

import numpy as np
import pytest
from serving_mathematics.report.request_log import read_log

from .example_runs import at


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
