"""The loader on small files of every kind, its statistics, and its command."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.capacity.arrival_rates.arrival_trace import (
    COLUMNS,
    QUANTILES,
    RECORD,
    UTILIZATIONS,
    Trace,
    TraceStatistics,
    load_trace,
    main,
    parse_trace,
    read_statistics,
    token_dispersion,
    trace_statistics,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits

from builder import ROOT, SOURCES

HEADER = ",".join(COLUMNS)
ROW = "2023-11-16 18:15:46.6805900,374,44"
LATER = "2023-11-16 18:15:47.6805900,5,6"


def trace_of(times: object) -> Trace:
    arrivals = np.asarray(times, dtype=float)
    tokens = np.arange(arrivals.size, dtype=np.int64)
    return Trace(arrivals, tokens, 2 * tokens[::-1])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("tail", ["", "\n", "\r\n", "\n\n\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: str, tail: str, mark: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes((mark + end.join([HEADER, ROW, LATER]) + tail).encode())
    trace = load_trace(file)
    assert trace.arrival_s.tolist() == [0.0, 1.0]
    assert trace.context_tokens.tolist() == [374, 5]
    assert trace.generated_tokens.tolist() == [44, 6]
    assert load_trace(str(file)).arrival_s.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2023-11-16 18:15:46", 0.0),
        ("2023-11-16T18:15:46.5", 0.5),
        ("2023-11-16 18:15:46.0000001", 1e-7),
        ("2023-11-16 18:15:46.000000001", 1e-9),
        ("2023-11-17 00:00:00.25", 20654.25),
        ("2024-02-29 00:00:00", 104 * 86400 + 20654 + 0.0),
        ("2099-12-31 23:59:59.999999999", 2402286253.999999999),
    ],
)
def test_timestamps(stamp: str, seconds: float) -> None:
    trace = parse_trace(f"{HEADER}\n2023-11-16 18:15:46,1,1\n{stamp},2,2")
    assert trace.arrival_s[1] == pytest.approx(seconds, rel=1e-15, abs=1e-12)


def test_quoted_fields_other_columns_and_equal_times() -> None:
    trace = parse_trace(f'x,{HEADER}\n"a,b","{ROW.split(",")[0]}",1,2\n,{ROW.split(",")[0]},3,4\n')
    assert trace.arrival_s.tolist() == [0.0, 0.0]
    assert trace.context_tokens.tolist() == [1, 3]


def test_one_request_is_a_trace() -> None:
    assert parse_trace(f"{HEADER}\n{ROW}").arrival_s.tolist() == [0.0]
    largest = parse_trace(f"{HEADER}\n2000-01-01 00:00:00,999999999,000000000")
    assert largest.context_tokens.tolist() == [999999999]
    assert largest.generated_tokens.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the log must be a header and at least one request, got an empty file"),
        ("\n\r\n", "the log must be a header and at least one request, got an empty file"),
        ("\ufeff", "the log must be a header and at least one request, got an empty file"),
        (HEADER, "the log must be a header and at least one request, got a header alone"),
        (HEADER + "\n\n", "the log must be a header and at least one request, got a header alone"),
        ("TIMESTAMP,ContextTokens\n", "row 1 must be a header with one column GeneratedTokens"),
        (f"{HEADER},TIMESTAMP\n", "row 1 must be a header with one column TIMESTAMP"),
        (f"{HEADER.lower()}\n{ROW}", "row 1 must be a header with one column TIMESTAMP"),
        (f"{ROW}\n{LATER}", "row 1 must be a header with one column TIMESTAMP"),
        (f"{HEADER}\n{ROW}\n{LATER[:-2]}", "row 3 must be 3 fields long"),
        (f"{HEADER}\n{ROW},9\n", "row 2 must be 3 fields long"),
        (f"{HEADER}\n{ROW}\n\n{LATER}", "row 3 must be 3 fields long, got []"),
        (f'{HEADER}\n{ROW}\n"{LATER}', "the log must be comma-separated values"),
    ],
)
def test_bad_shapes(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("[", r"\[")):
        parse_trace(text)


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "NaT",
        "now",
        "1700158546",
        "16/11/2023 18:15:46",
        "2023-11-16",
        "2023-11-16 18:15",
        "2023-11-16 18:15:46.",
        "2023-11-16 18:15:46.1234567890",
        "2023-11-16 18:15:46,5",
        "2023-11-16 18:15:46Z",
        "2023-11-16 18:15:46+00:00",
        " 2023-11-16 18:15:46",
        "2023-11-16 18:15:46 ",
        "2023-13-16 18:15:46",
        "2023-02-29 18:15:46",
        "2023-11-16 25:15:46",
        "2023-11-16 18:60:46",
        "2023-11-16 18:15:60",
        "1969-12-31 23:59:59",
        "2100-01-01 00:00:00",
        "2023-١١-16 18:15:46",
        "2023-11-16 18:15:46.٥",
    ],
)
def test_bad_timestamps(stamp: str) -> None:
    with pytest.raises(ValueError, match="row 3, column TIMESTAMP must be a timestamp like"):
        parse_trace(f'{HEADER}\n{ROW}\n"{stamp}",1,2\n2023-11-16 18:99:99,1,2\n')


@pytest.mark.parametrize(
    "field", ["", "-1", "+1", "1.0", "1e3", "nan", "0x10", " 1", "1_0", "٣", "1" * 10]
)
@pytest.mark.parametrize("column", COLUMNS[1:])
def test_bad_tokens(field: str, column: str) -> None:
    row = ["2023-11-16 18:15:48", field, "1"]
    if column == COLUMNS[2]:
        row[1:] = row[:0:-1]
    with pytest.raises(ValueError, match=f"row 4, column {column} must be a non-negative integer"):
        parse_trace("\n".join([HEADER, ROW, LATER, ",".join(row)]))


def test_out_of_order_names_the_first_row() -> None:
    text = "\n".join([HEADER, ROW, LATER, ROW, ROW.replace("18:15", "18:14")])
    with pytest.raises(ValueError, match="row 4, column TIMESTAMP must be no earlier") as error:
        parse_trace(text)
    assert "got 2023-11-16 18:15:46.6805900 after 2023-11-16 18:15:47.6805900" in str(error.value)


def test_errors_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("")
    with pytest.raises(ValueError, match=r"mine\.csv: the log must be a header"):
        load_trace(file)
    file.write_bytes(HEADER.encode() + b"\n\xff\xfe")
    with pytest.raises(ValueError, match=r"mine\.csv must be UTF-8 text"):
        load_trace(file)
    with pytest.raises(FileNotFoundError):
        load_trace(tmp_path / "none.csv")


def test_twenty_thousand_rows_take_a_fraction_of_a_second() -> None:
    start = np.datetime64("2023-11-16T18:15:46", "ns")
    stamps = np.datetime_as_string(start + np.arange(20_000) * np.timedelta64(180_000_100, "ns"))
    text = HEADER + "\r\n" + "\r\n".join(f"{s[:10]} {s[11:27]},{i},1" for i, s in enumerate(stamps))
    began = time.process_time()
    trace = parse_trace(text)
    assert time.process_time() - began < 1.0  # about 0.03 s
    assert trace.arrival_s == pytest.approx(np.arange(20_000) * 0.1800001, abs=1e-9)


def test_statistics_of_a_stream_made_by_hand() -> None:
    times = [0.0, *np.arange(0.5, 240.5, 1.0), 240.0]  # one a second, and one at either end
    told = trace_statistics(trace_of(times))
    gaps = np.diff(times)
    assert told.requests == 242
    assert told.span_s == 240
    assert told.rate_per_s == pytest.approx(241 / 240)
    assert told.gap_cv == pytest.approx(np.std(gaps, ddof=1) / np.mean(gaps))
    assert told.longest_gap_s == 1.0
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


def test_the_hour_may_not_end_on_a_full_minute() -> None:
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0, 605, 3000))
    told = trace_statistics(trace_of(times - times[0]))
    assert len(told.requests_per_minute) == 10
    assert sum(told.requests_per_minute) < 3000
    assert told.windows_s == [1, 2, 5, 10, 20, 30, 60]
    assert told.dispersion[0] == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(
    ("times", "rule"),
    [
        ([0.0, 200.0], "trace must be at least three requests long"),
        ([0.0, 1.0, 119.9], "trace must be at least two minutes long, got 119.9 s"),
        ([0.0, 1.0, 130.0], "trace must be without a minute of silence"),
    ],
)
def test_bad_traces(times: list[float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        trace_statistics(trace_of(times))


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
    assert token_dispersion([0.0, 10.0], [3, 3], 1.0) == pytest.approx(0.9 * 10 / 9)  # 1, 0, 0, …
    for bad, words in (
        (([0.0], [3], 0.1), "arrival_s must be sorted"),
        ((times[::-1], lengths, 1.0), "arrival_s must be sorted"),
        ((times, lengths[1:], 1.0), "tokens must be of shape"),
        ((times, -lengths, 1.0), "tokens must be non-negative"),
        ((times, 0 * lengths, 1.0), "tokens must be not all 0"),
        ((times, lengths, 3.0), "window_s must be short enough for ten windows"),
        ((times, lengths, 0.0), "window_s must be positive"),
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
    told = read_statistics(capsys.readouterr().out)
    assert told.requests == 180
    assert main([]) == main([str(file), "x"]) == 2
    assert (
        "usage: python -m serving_mathematics.capacity.arrival_rates.arrival_trace"
        in capsys.readouterr().err
    )
    assert main([str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err
    file.write_text(HEADER)
    assert main([str(file)]) == 1
    assert "a header alone" in capsys.readouterr().err


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


def test_waits_grow_with_utilization() -> None:
    told = read_statistics(RECORD.read_text(encoding="utf-8"))
    assert told.mean_waits_s == sorted(told.mean_waits_s)
    assert all(math.isfinite(wait) for wait in told.mean_waits_s)


def test_a_server_of_tokens_waits_by_their_sums() -> None:
    """Equal lengths are requests; lengths that shrink as the rate grows wait less than equal ones
    and have level minutes."""
    gaps = np.where(np.arange(1200) // 300 % 2, 0.2, 1.0)  # bursts of 300 at five times the rate
    times = np.cumsum(gaps)
    lengths = np.where(gaps < 1, 20, 100).astype(np.int64)
    told = trace_statistics(Trace(times, np.full(1200, 7, dtype=np.int64), lengths))
    assert told.context_waits_s == pytest.approx(told.mean_waits_s)
    assert told.context_scv == pytest.approx(0.0, abs=1e-12)
    assert told.generated_waits_s[3] < told.mean_waits_s[3] / 100
    assert told.context_per_minute == [7 * count for count in told.requests_per_minute]
    assert max(told.generated_per_minute) < 1.05 * min(told.generated_per_minute)
    assert told.generated_scv == pytest.approx(lengths.var() / lengths.mean() ** 2)
