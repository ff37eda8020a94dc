"""The arithmetic of a stalled loop, the real loops for a quarter of a second, and the record."""

from __future__ import annotations

import asyncio
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.latency_distribution import coordinated_omission
from serving_mathematics.definitions.latency_distribution.coordinated_omission import (
    RECORD,
    LoadRun,
    closed_loop_latencies,
    corrected_latencies,
    load_run,
    stall_quantile,
    stalling_server,
)
from serving_mathematics.support.measuring import FOLDER

BAD_INTERVALS = [0.0, -1.0, math.nan, math.inf]


def run(wait: bool, count: int = 40, stall_start_s: float = 0.05, stall_s: float = 0.2) -> LoadRun:
    async def both() -> LoadRun:
        async with stalling_server(stall_start_s, stall_s) as port:
            return await load_run(port, count, 0.01, wait)

    return asyncio.run(asyncio.wait_for(both(), 20))


@given(st.lists(st.floats(0, 5), min_size=1, max_size=40), st.floats(0.1, 3))
def test_closed_loop_is_the_recursion(service: list[float], interval: float) -> None:
    sent, due = closed_loop_latencies(service, interval)
    done = 0.0
    for i, s in enumerate(service):
        done = max(done, i * interval) + s
        assert sent[i] == s
        assert due[i] == pytest.approx(done - i * interval, abs=1e-9)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=30), st.integers(1, 50))
def test_correction_is_hdrhistograms_loop(latencies: list[int], interval: int) -> None:
    expected = list(latencies)
    for x in latencies:
        missing = x - interval
        while missing >= interval:
            expected.append(missing)
            missing -= interval
    assert sorted(corrected_latencies(latencies, interval).tolist()) == sorted(expected)


@given(st.integers(1, 400), st.floats(0, 0.999))
def test_stall_quantile_is_that_of_the_due_requests(stall: int, q: float) -> None:
    due = np.arange(0, 400.0)
    waits = np.where(due < stall, stall - due, 0.0)
    exact = float(np.quantile(waits, q, method="inverted_cdf"))
    assert stall_quantile(stall, 400, q) == pytest.approx(exact, abs=1.0)


def test_stall_quantile_at_the_ends() -> None:
    assert stall_quantile(5, 5, 0.0) == 0.0
    assert stall_quantile(5, 5, 1.0) == 5.0
    assert stall_quantile(5, 50, 0.5) == 0.0


def test_closed_loop_records_one_slow_request() -> None:
    found = run(wait=True)
    assert found.from_sending_s.shape == found.from_due_s.shape == (40,)
    assert found.from_sending_s.max() > 0.15
    # the sends of a closed loop do not overlap: what it measured adds up to less than the run
    assert found.from_sending_s.sum() <= 0.01 * 39 + found.from_due_s[-1] + 1e-6
    assert np.all(found.from_due_s >= found.from_sending_s - 1e-6)
    assert int((found.from_due_s > 0.1).sum()) >= 7


def test_open_loop_sees_the_whole_stall() -> None:
    found = run(wait=False)
    assert int((found.from_due_s > 0.1).sum()) >= 7
    assert int((found.from_sending_s > 0.02).sum()) >= 2
    assert found.from_due_s.max() > 0.15


def test_a_server_without_a_stall_is_quick() -> None:
    found = run(wait=True, count=20, stall_s=0.0)
    assert float(np.median(found.from_sending_s)) < 0.1
    assert np.all(found.from_sending_s > 0)


def test_wrong_answers_are_an_error() -> None:
    async def wrong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"7\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def test() -> None:
        server = await asyncio.start_server(wrong, "127.0.0.1", 0)
        try:
            await load_run(server.sockets[0].getsockname()[1], 3, 0.01, wait_for_answer=True)
        finally:
            server.close()
            await asyncio.sleep(0.02)

    with pytest.raises(ConnectionError, match="no answer to request 0"):
        asyncio.run(test())


def test_the_record_is_whole_and_private() -> None:
    text = (FOLDER / f"{RECORD}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["command"] == coordinated_omission.COMMAND
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert not re.search(r"/(home|root|work|tmp)|\\\\|localhost|@", text)
    assert record["asked"]["count"] == coordinated_omission.COUNT
    for values in record["latencies_ms"].values():
        assert len(values) == coordinated_omission.COUNT
        assert min(values) > 0


def test_a_record_is_in_milliseconds_to_the_microsecond(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both() -> dict[str, LoadRun]:
        return {
            "closed": LoadRun(np.array([0.00123444]), np.array([0.00223444])),
            "open": LoadRun(np.array([0.1]), np.array([0.00323444])),
        }

    monkeypatch.setattr(coordinated_omission, "_measure_both", both)
    assert coordinated_omission._measure()["latencies_ms"] == {
        "closed_from_sending": [1.234],
        "closed_from_due": [2.234],
        "open_from_due": [3.234],
    }


@pytest.mark.parametrize("bad", BAD_INTERVALS)
def test_intervals_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="interval must be positive and finite"):
        corrected_latencies([1.0], bad)
    with pytest.raises(ValueError, match="interval_s must be positive and finite"):
        closed_loop_latencies([1.0], bad)
    with pytest.raises(ValueError, match="interval_s must be positive and finite"):
        asyncio.run(load_run(9, 1, bad, wait_for_answer=True))
    with pytest.raises(ValueError, match="total_s must be positive and finite"):
        stall_quantile(0.0, bad, 0.5)


def test_the_rest_is_refused() -> None:
    for count in (0, 1.5, 100_001):
        with pytest.raises(ValueError, match="count must be 1"):
            asyncio.run(load_run(9, count, 0.01, wait_for_answer=True))  # type: ignore[arg-type]
    for stall in (-1.0, 3.0, math.nan):
        with pytest.raises(ValueError, match=r"stall_s must be in \[0, 2\.0\]"):
            stall_quantile(stall, 2.0, 0.5)
    for q in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \[0, 1\]"):
            stall_quantile(1.0, 2.0, q)
    with pytest.raises(ValueError, match="stall_start_s must be finite"):
        run(wait=True, stall_start_s=-1.0)
    with pytest.raises(ValueError, match=r"stall_s must be in \[0, 60\)"):
        run(wait=True, stall_s=60.0)
