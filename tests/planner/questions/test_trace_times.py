"""Times of traces: every unit gives the same plan, and what cannot be told is refused."""

from __future__ import annotations

import contextlib
import datetime
import json
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.questions.trace_formats import read_requests
from serving_mathematics.planner.questions.trace_times import (
    PER_S,
    UNIT_WORDS,
    _read_times,
    _unit_of_name,
)

BASE = 1_767_607_200  # 2026-01-05 10:00 UTC [s since 1970]
UPTIME = 1_728_000  # 20 days [s]: in ms a second of 2024


def gaps(mean_s: float, count: int = 300) -> list[Decimal]:
    """Moments [s] with exponential gaps, to the microsecond, the first at 0."""
    steps = np.random.default_rng(1).exponential(mean_s, count)
    times = np.round(np.cumsum(steps) - steps[0], 6).tolist()
    return [Decimal(f"{time:.6f}") for time in times]


def cells(times: list[Decimal], unit: str, base: int = 0) -> list[str]:
    """The moments as numbers in a unit, in whole ones of it where it is finer than ms."""
    digits = 3 if unit in ("s", "ms") else 0
    return [f"{(time + base) * PER_S[unit]:.{digits}f}" for time in times]


@pytest.mark.parametrize("mean_s", [0.02, 0.18, 2.0, 15.0])
@pytest.mark.parametrize("unit", PER_S)
def test_a_count_since_1970_tells_its_unit(mean_s: float, unit: str) -> None:
    times = gaps(mean_s)
    for column in ("timestamp", f"timestamp_{unit}"):
        read, told = _read_times(cells(times, unit, BASE), column, 2)
        assert read == pytest.approx([float(one) for one in times], abs=1e-3)
        assert told.startswith("Unix ")
        assert "2026-01-05 10:00:00 to 2026-01-05" in told


@pytest.mark.parametrize("unit", PER_S)
@pytest.mark.parametrize("base", [0, 8_123_456, UPTIME])
@pytest.mark.parametrize("mean_s", [0.18, 2.0])
def test_a_count_from_a_start_tells_its_unit_by_its_steps(
    mean_s: float, base: int, unit: str
) -> None:
    """Also how long a machine was up, unless it may be a count since 1970 as well."""
    times = gaps(mean_s)
    given_cells = cells(times, unit, base)
    if base == UPTIME and unit in ("ms", "us", "ns"):
        with pytest.raises(ValueError, match="or how long a machine was up; say which: trace_c"):
            _read_times(given_cells, "t", 2)
        read, told = _read_times(given_cells, "t", 2, said=unit)
        assert told.endswith("from a start, as was said")
    else:
        read, told = _read_times(given_cells, "t", 2)
        assert "from a start, as a mean step of " in told
    assert read == pytest.approx([float(one) for one in times], abs=1e-3)


@pytest.mark.parametrize(
    ("step", "read_as"),
    [
        ("0.001", "s"), ("0.18", "s"), ("9.99", "s"), ("10", ""), ("50", ""), ("100", ""),
        ("101", "ms"), ("9990", "ms"), ("10000", ""), ("100000", ""), ("101000", "us"),
        ("9990000", "us"), ("10000000", ""), ("101000000", "ns"), ("100000000000", "ns"),
    ],
)  # fmt: skip
def test_a_mean_step_that_two_units_would_have_is_refused(step: str, read_as: str) -> None:
    """Between one request in 100 s and 100 a second, only one unit has what is told."""
    stamps = [str(i * Decimal(step)) for i in range(100)]
    if read_as:
        read, _ = _read_times(stamps, "t", 2)
        assert read[1] == pytest.approx(float(Decimal(step) / PER_S[read_as]))
        return
    with pytest.raises(ValueError, match=r"column t must be of .*, which may be .*; say which"):
        _read_times(stamps, "t", 2)
    for unit, per_s in PER_S.items():
        read, _ = _read_times(stamps, "t", 2, said=unit)
        assert read[1] == pytest.approx(float(Decimal(step) / per_s))
    with pytest.raises(ValueError, match=r"a request in 100 s to 1,000 a second"):
        _read_times(["0", "100000000001"], "t", 2)


@pytest.mark.parametrize(
    ("name", "base", "unit"),
    [
        ("ts_us", "ts", "us"), ("ts_ns", "ts", "ns"), ("t_s", "t", "s"),
        ("arrival_time_ms", "arrival_time", "ms"), ("timestampMs", "timestamp", "ms"),
        ("start_time_unix_nano", "start_time", "ns"), ("startTimeUnixNano", "start_Time", "ns"),
        ("time [µs]", "time", "us"), ("Time (ms)", "Time", "ms"), ("epoch-seconds", "epoch", "s"),
        ("TIMESTAMP_MS", "TIMESTAMP", "ms"), ("createdAtMillis", "created_At", "ms"),
        ("ts", "ts", ""), ("TIMESTAMP", "TIMESTAMP", ""), ("ms", "ms", ""),
        ("arrivals", "arrivals", ""), ("", "", ""),
    ],
)  # fmt: skip
def test_names_say_units(name: str, base: str, unit: str) -> None:
    assert _unit_of_name(name) == (base, unit)


@pytest.mark.parametrize("unit", PER_S)
def test_a_column_that_says_its_unit_is_found_and_read(unit: str) -> None:
    times = gaps(50.0)
    rows = [f"{cell},100,5" for cell in cells(times, unit)]
    for name in (f"ts_{unit}", f"arrivalTime{unit.title()}"):
        asked = read_requests("\n".join([f"{name},isl,osl", *rows]))
        assert asked.arrival_s == pytest.approx([float(one) for one in times], abs=1e-3)
        assert "as the column says" in asked.told
    if unit == "ns":  # nothing is finer
        assert read_requests("\n".join(["ts,isl,osl", *rows])).arrival_s[-1] == asked.arrival_s[-1]
        return
    with pytest.raises(ValueError, match="may be"):
        read_requests("\n".join(["ts,isl,osl", *rows]))
    said = read_requests("\n".join(["ts,isl,osl", *rows]), f"unit={unit}")
    assert said.arrival_s.tolist() == asked.arrival_s.tolist()
    assert "as was said" in said.told


@pytest.mark.parametrize(
    ("stamps", "words"),
    [
        (["20260105100000", "20260105100001"], "'20260105100000', which is a date without its das"),
        (["20260105", "20260106"], "'20260105', which is a date without its dashes"),
        (["2026010510", "2026010511"], "a date without its dashes"),
        (["202601051000", "202601051001"], "a date without its dashes"),
        (["20260105100000123", "20260105100000124"], "a date without its dashes"),
        (["1.7676E+15", "1.7676E+15", "1.7677E+15"], "with all their digits, got '1.7676E"),
        (["1e15", "1000000000000001"], "of times with all their digits, got '1e15'"),
        (["1000000000000000", "1000000000000001"], "of times before 2100, in seconds"),
        (["4102444801", "4102444802"], "of times before 2100, in seconds"),
        (["-1000000000000000", "-999999999999999"], "of times before 2100"),
        (["2026-01-05", "2026-01-06"], "a time: ISO 8601 with day and hour"),
        (["20260105T", "1"], "a time: ISO 8601"),
        (["2026-01-05T10:00:00", "1767607200"], "row 3, column time must be a time"),
        (["1767607200", "2026-01-05T10:00:00"], "row 3, column time must be a time"),
        (["1_000", "2"], "row 2, column time must be a time"),
        (["١", "٢"], "row 2, column time must be a time"),
        (["nan", "1"], "row 2, column time must be a time"),
        (["1e999", "2e999"], "row 2, column time must be a time"),
        (["True", "1"], "row 2, column time must be a time"),
        (["10:00:00", "10:00:01"], "row 2, column time must be a time"),
        (["01/05/2026 10:00", "01/05/2026 10:01"], "row 2, column time must be a time"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(stamps: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _read_times(stamps, "time", 2)


@pytest.mark.parametrize("column", ["time_min", "t_h", "elapsedHours", "time (days)"])
def test_units_that_are_no_second_are_refused(column: str) -> None:
    """Minutes and hours by their name, and the days of a spreadsheet by their steps."""
    with pytest.raises(ValueError, match=r"must be of times in s, ms, us or ns, got .* ends"):
        _read_times(["0", "1"], column, 2)
    days = [f"{46_027 + i / 86_400:.8f}" for i in range(100)]
    with pytest.raises(ValueError, match=r"to 1,000 a second, or say it: trace_columns unit=s"):
        _read_times(days, "time", 2)


@pytest.mark.parametrize("column", ["ts_ms", "ts_us", "ts_ns"])
def test_a_column_that_says_another_unit_than_its_numbers_is_refused(column: str) -> None:
    """Seconds since 1970 under a name that ends with ms may be milliseconds of 20 days."""
    unit = _unit_of_name(column)[1]
    coarser = {"ms": "s", "us": "ms", "ns": "us"}[unit]
    stamps = cells(gaps(2.0), coarser, BASE)
    with pytest.raises(ValueError, match="say which: trace_columns unit="):
        _read_times(stamps, column, 2)
    assert _read_times(stamps, column, 2, said=coarser)[1].startswith("Unix")
    finer = cells(gaps(2.0), "ns", BASE)
    if unit != "ns":
        with pytest.raises(ValueError, match=r"may be|of times before 2100"):
            _read_times(finer, column, 2)


@pytest.mark.parametrize("base", [0, BASE, 8_123_456])
@pytest.mark.parametrize("factor", [1000, 10**6, 10**9])
@pytest.mark.parametrize("at", [7, 20, 150, 290])
@pytest.mark.parametrize("column", ["time", "time_s"])
def test_a_unit_that_changes_midway_is_refused(
    column: str, at: int, factor: int, base: int
) -> None:
    times = [time + base for time in gaps(0.18)]
    mixed = [str(time if i < at else time * factor) for i, time in enumerate(times)]
    with pytest.raises(ValueError, match=rf"row {at + 2}, column {column} must be in the unit of"):
        _read_times(mixed, column, 2)
    if base:  # before the clock was set, times were of another start
        late = [str(time - (base if i < at else 0)) for i, time in enumerate(times)]
        with pytest.raises(ValueError, match=rf"row {at + 2}, column .* the unit of the rows"):
            _read_times(late, column, 2)


def test_a_year_that_is_mistyped_is_refused() -> None:
    stamps = [f"2026-01-05T10:{i // 60:02}:{i % 60:02}" for i in range(300)]
    stamps[200:] = [stamp.replace("2026", "2062") for stamp in stamps[200:]]
    with pytest.raises(ValueError, match=r"row 202, column t must be in the unit of the rows"):
        _read_times(stamps, "t", 2)


@pytest.mark.parametrize("silence_s", [600, 10_000])
@pytest.mark.parametrize("base", [0, BASE])
def test_silences_are_data(silence_s: int, base: int) -> None:
    """A night, an outage, two hours of two days: nothing changes its size at them."""
    times = [time + base + (silence_s if i >= 150 else 0) for i, time in enumerate(gaps(2.0))]
    read, _ = _read_times([str(time) for time in times], "time", 2)
    assert read[-1] == pytest.approx(float(times[-1]) - base)


def test_the_longest_silence_can_be_said() -> None:
    times = [time + (10**6 if i >= 150 else 0) for i, time in enumerate(gaps(0.2))]
    with pytest.raises(ValueError, match="where nothing came for so long, say the unit"):
        _read_times([str(time) for time in times], "time", 2)
    read, _ = _read_times([str(time) for time in times], "time", 2, said="s")
    assert read[-1] > 10**6


def test_the_unit_of_a_calendar_is_none() -> None:
    stamps = [
        f"2026-01-0{5 + i // 200}T10:{i % 200 // 60:02}:{i % 200 % 60:02}" for i in range(300)
    ]
    with pytest.raises(ValueError, match=r"row 202, .* the unit: trace_columns .*, ns, iso\)"):
        _read_times(stamps, "t", 2)
    assert _read_times(stamps, "t", 2, said="iso")[0][-1] > 86_400
    with pytest.raises(ValueError, match="the unit of column t must be iso, got ms"):
        _read_times(stamps, "t", 2, said="ms")
    with pytest.raises(ValueError, match="column t must be of times as in ISO 8601, got '0'"):
        _read_times(["0", "1"], "t", 2, said="iso")


def in_every_form(times_ns: list[int]) -> dict[str, tuple[str, list[str]]]:
    """Column and cells of the same moments [ns since 1970], in every form that keeps them."""
    zone = datetime.timezone(datetime.timedelta(hours=2))

    def iso(ns: int, zone: datetime.tzinfo) -> str:
        moment = datetime.datetime.fromtimestamp(ns // 10**9, zone)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09}{moment:%z}"

    found = {
        "ISO 8601, UTC": ("timestamp", [iso(ns, datetime.UTC) for ns in times_ns]),
        "ISO 8601, a zone": ("timestamp", [iso(ns, zone) for ns in times_ns]),
    }
    utc = [stamp.replace("T", " ").replace("+0000", " UTC") for stamp in found["ISO 8601, UTC"][1]]
    found["ISO 8601, as BigQuery writes it"] = ("timestamp", utc)
    for unit, per_s in PER_S.items():
        since = [str(Decimal(ns) * per_s / 10**9) for ns in times_ns]
        started = [str(Decimal(ns - times_ns[0]) * per_s / 10**9) for ns in times_ns]
        found |= {
            f"Unix {unit}": ("timestamp", since),
            f"Unix, named {unit}": (f"ts_{unit}", since),
        }
        found |= {f"{unit}, named": (f"t_{unit}", started), f"{unit}": ("t", started)}
    return found


@pytest.mark.parametrize("mean_s", [0.18, 3.0])
def test_every_form_gives_the_same_times_to_the_bit(mean_s: float) -> None:
    times_ns = [int(1000 * (10**6 * (time + BASE))) + 700 for time in gaps(mean_s)]
    expected = [(ns - times_ns[0]) / 1e9 for ns in times_ns]
    ends = [
        datetime.datetime.fromtimestamp(times_ns[place] // 10**9, datetime.UTC) for place in (0, -1)
    ]
    for form, (column, stamps) in in_every_form(times_ns).items():
        rows = [f"{stamp},100,5" for stamp in stamps]
        asked = read_requests("\n".join([f"{column},isl,osl", *rows]))
        assert asked.arrival_s.tolist() == expected, form
        first, last = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in ends)
        assert (f"{first} to {last} UTC" in asked.told) == ("ISO" in form or "Unix" in form), form


def test_ragpulse_is_in_seconds_and_mooncake_in_milliseconds() -> None:
    """As their publishers say, where a mean step of 50 tells nothing; RAGPulse is in no order."""
    rows = [
        {"timestamp": str(50 * i), "input_length": 600 + i, "output_length": 4} for i in range(100)
    ]
    pulse = [row | {"hash_ids": {"sys_prompt": [1], "history": []}} for row in reversed(rows)]
    asked = read_requests("\n".join(map(json.dumps, pulse)))
    assert asked.arrival_s.tolist() == [50.0 * i for i in range(100)]
    assert asked.prompt_tokens.tolist() == list(range(600, 700))
    assert "seconds from a start, as this format has it" in asked.told
    assert "hash_ids of parts of a prompt are not read" in asked.told
    moon = [row | {"hash_ids": [i]} for i, row in enumerate(rows)]
    asked = read_requests("\n".join(map(json.dumps, moon)))
    assert asked.arrival_s[-1] == pytest.approx(4.95)
    assert "milliseconds from a start, as this format has it" in asked.told


@given(
    st.lists(st.text(max_size=12), min_size=2, max_size=9),
    st.text(max_size=8),
    st.sampled_from(["", *PER_S]),
)
def test_any_cells_are_times_or_refused(texts: list[str], column: str, said: str) -> None:
    with contextlib.suppress(ValueError):
        times, told = _read_times(texts, column, 2, said)
        assert np.isfinite(times).all()
        assert told


NUMBERS = st.integers(-(10**20), 10**20).map(str) | st.floats(allow_nan=False).map(str)


@given(st.lists(NUMBERS, min_size=2, max_size=9))
def test_any_numbers_are_times_or_refused(texts: list[str]) -> None:
    with contextlib.suppress(ValueError):
        times, _ = _read_times(texts, "time", 2)
        assert np.isfinite(times).all()
        assert abs(times).max() <= 2 * 4.2e9


def test_words_are_of_known_units() -> None:
    assert set(UNIT_WORDS.values()) == set(PER_S)
