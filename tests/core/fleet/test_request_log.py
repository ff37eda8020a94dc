"""The loader on small files of every kind."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.core.fleet.request_log import COLUMNS, Trace, load_trace, parse_trace

HEADER = ",".join(COLUMNS)
ROW = "2023-11-16 18:15:46.6805900,374,44"
LATER = "2023-11-16 18:15:47.6805900,5,6"


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
    assert isinstance(trace, Trace)
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
