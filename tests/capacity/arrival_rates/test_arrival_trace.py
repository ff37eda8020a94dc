"""Statistics of logs, and the command that prints them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.capacity.arrival_rates.arrival_trace import (
    QUANTILES,
    RECORD,
    UTILIZATIONS,
    TraceStatistics,
    main,
    read_statistics,
    token_dispersion,
    trace_statistics,
)
from serving_mathematics.core.fleet.traces import Trace
from serving_mathematics.core.queues.queue_simulator import fifo_waits

from builder import ROOT, SOURCES

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def trace_of(times: object) -> Trace:
    arrivals = np.asarray(times, dtype=float)
    tokens = np.arange(arrivals.size, dtype=np.int64)
    return Trace(arrivals, tokens, 2 * tokens[::-1])


def test_statistics_of_a_stream_made_by_hand() -> None:
    times = [0.0, *np.arange(0.5, 240.5, 1.0), 240.0]  # one a second, and one at either end
    told = trace_statistics(trace_of(times))
    gaps = np.diff(times)
    assert told.requests == 242
    assert told.span_s == 240
    assert told.rate_per_s == pytest.approx(241 / 240)
    assert told.gap_cv == pytest.approx(np.std(gaps, ddof=1) / np.mean(gaps))
    assert told.windows_s == [1, 2, 5, 10, 20]
    seconds = np.array([2] + [1] * 239)
    for window, index in zip(told.windows_s, told.dispersion, strict=True):
        counts = seconds.reshape(-1, window).sum(axis=1)
        assert index == pytest.approx(np.var(counts, ddof=1) / np.mean(counts))
    rows = seconds.reshape(4, 60)
    within = np.mean(np.var(rows, axis=1, ddof=1) / np.mean(rows, axis=1))
    assert told.dispersion_within_minutes == pytest.approx(within)
    assert told.requests_per_minute == [61, 60, 60, 60]
    assert told.utilizations == list(UTILIZATIONS)
    for rho, wait in zip(told.utilizations, told.mean_waits_s, strict=True):
        service = np.full(242, rho * 240 / 241)
        assert wait == pytest.approx(fifo_waits(times, service).mean(), abs=1e-12)
    assert told.token_quantiles_percent == list(QUANTILES)
    assert told.context_tokens[QUANTILES.index(50)] == 120.5
    assert told.generated_tokens[-1] == 482


@pytest.mark.parametrize(
    ("times", "rule"),
    [
        ([0.0, 200.0], "trace must be at least three requests long"),
        ([0.0, 1.0, 119.9], "trace must be at least two minutes long, got 119.9 s"),
        ([0.0, 70.0, 50.0, 130.0], "trace_arrival_s must be finite and sorted"),
    ],
)
def test_bad_traces(times: list[float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        trace_statistics(trace_of(times))


def test_a_silent_minute_has_no_dispersion() -> None:
    """A week of few requests has minutes without any, and the page asks for that week."""
    busy = [*np.arange(0.5, 60.0, 2.0), *np.arange(180.5, 240.0, 2.0)]
    told = trace_statistics(trace_of([0.0, *busy, 240.0]))
    assert told.requests_per_minute == [31, 0, 0, 30]
    seconds = np.array([2] + [0, 1] * 29 + [0]), np.array([1, 0] * 30)
    within = np.mean([np.var(row, ddof=1) / np.mean(row) for row in seconds])
    assert told.dispersion_within_minutes == pytest.approx(within)


def test_lists_are_a_trace_too() -> None:
    trace = trace_of(np.arange(181.0))
    listed = Trace(*(column.tolist() for column in vars(trace).values()))
    assert trace_statistics(listed) == trace_statistics(trace)


def test_token_dispersion_by_hand() -> None:
    """Windows of 1 s with sums 4, 0, 4, 0, …: variance over mean, over the length of 2 squared over
    its mean."""
    times = np.repeat(np.arange(0.0, 20.0, 2.0), 2)
    times = np.append(times, 20.0)
    got = token_dispersion(times, np.full(times.size, 2), 1.0)
    sums = np.array([4.0, 0.0] * 10)
    assert got == pytest.approx(sums.var(ddof=1) / sums.mean() / 2)
    rng = np.random.default_rng(3)
    lengths = rng.geometric(0.02, times.size)
    assert token_dispersion(times, 5 * lengths, 1.0) == pytest.approx(
        token_dispersion(times, lengths, 1.0)
    )  # no unit
    assert token_dispersion(times + 50, lengths, 1.0) == token_dispersion(times, lengths, 1.0)
    assert token_dispersion([0.0, 10.0], [3, 3], 1.0) == pytest.approx(0.9 * 10 / 9)  # 1, 0, 0, …
    for bad, words in (
        (([0.0], [3], 0.1), "arrival_s must be sorted"),
        ((times, [0] * 20 + [9], 1.0), "tokens must be not all 0 in full windows"),
    ):
        with pytest.raises(ValueError, match=words):
            token_dispersion(*bad)


def test_statistics_survive_their_json() -> None:
    told = trace_statistics(trace_of(np.arange(0, 200, 0.5)))
    assert read_statistics(json.dumps(asdict(told))) == told
    assert read_statistics(json.dumps({"statistics": asdict(told), "note": 1})) == told
    with pytest.raises(ValueError, match="the statistics must be a JSON object with the fields"):
        read_statistics(json.dumps(asdict(told) | {"note": 1}))


@pytest.mark.parametrize(
    "text", ["", "[1]", "3", "{}", '{"statistics": 4}', '{"statistics": {"x": 1}}']
)
def test_bad_statistics(text: str) -> None:
    with pytest.raises(ValueError, match="the statistics must be a JSON object"):
        read_statistics(text)


def test_the_record_names_its_origin() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert RECORD == ROOT / SOURCES / "records" / "azure_conv_2023.json"
    assert "CC-BY" in record["licence"]
    assert len(record["sha256"]) == 64
    assert "serving_mathematics.capacity.arrival_rates.arrival_trace" in record["command"]
    assert isinstance(read_statistics(RECORD.read_text(encoding="utf-8")), TraceStatistics)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.csv"
    stamps = [f"2023-11-16 18:{m:02d}:{s:02d}.5" for m in range(3) for s in range(60)]
    file.write_text("\n".join([HEADER, *(f"{s},1,2" for s in stamps)]))
    assert main([str(file)]) == 0
    said = capsys.readouterr()
    assert read_statistics(said.out).requests == 180
    assert said.err == (
        "busiest minute over the mean: requests 1.00, prompt tokens 1.00, answer tokens 1.00\n"
        "dispersion of requests: 0.0 in 1 s, 0.0 in 10 s, 0.0 of seconds within their minutes\n"
    )
    assert main([]) == main([str(file), "x"]) == 2
    assert (
        "usage: python -m serving_mathematics.capacity.arrival_rates.arrival_trace"
        in capsys.readouterr().err
    )
    assert main([str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
    file.write_text(HEADER)
    assert main([str(file)]) == 1
    assert (
        "mine.csv: the trace must be a header and at least one request" in capsys.readouterr().err
    )


def test_command_weighs_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four minutes of 400 requests, of which one has longer prompts and its neighbour longer
    answers: with both at once a minute, and of any three minutes the last, are the busiest."""
    file = tmp_path / "mine.csv"
    rows = [HEADER]
    for minute, (prompt, answer) in enumerate([(10, 1), (10, 1), (30, 1), (10, 2), (10, 1)]):
        for n in range(400 if minute < 4 else 1):
            stamp = f"2023-11-16 18:{minute:02d}:{n * 149 // 1000:02d}.{n:03d}"
            rows.append(f"{stamp},{prompt},{answer}")
    file.write_text("\n".join(rows))
    assert main([str(file), "0.001", "0.01"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    # a request's work is 0.02, 0.02, 0.04 and 0.03 s: 4 and 3 of 2.75 on average
    assert first == "work over its mean: busiest minute 1.45, busiest 1000 requests (3 min) 1.09"
    assert main([str(file), "1", "1e-9"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "work over its mean: busiest minute 2.00, busiest 1000 requests (3 min) 1.11"
    file.write_text("\n".join([*rows[:1], *rows[1:-1:2], rows[-1]]))
    assert main([str(file), "0.001", "0.01"]) == 0
    first = capsys.readouterr().err.splitlines()[0]
    assert first.endswith("busiest minute 1.45, fewer than 1000 requests")
    for costs in (["0", "1"], ["1", "-1"], ["x", "1"]):
        assert main([str(file), *costs]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "PROMPT_S must be positive and finite, got 0.0"
    assert said[1].startswith("ANSWER_S must be positive")
    assert said[2] == "PROMPT_S must be positive and finite, got 'x'"
    assert main([str(file), "1"]) == 2


def test_command_as_a_reader_runs_it() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "serving_mathematics.capacity.arrival_rates.arrival_trace",
            "no-such-file.csv",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no-such-file.csv" in done.stderr
    assert "Traceback" not in done.stderr
