"""Calls in flight against real servers, and the shape of the record."""

from __future__ import annotations

import json
import os
import re
import threading
import time

import pytest
from serving_mathematics.architecture.rest_grpc import calls_in_flight
from serving_mathematics.architecture.rest_grpc.calls_in_flight import (
    FLIGHTS,
    RECORD,
    _all_at_once,
    _process_s,
)
from serving_mathematics.architecture.rest_grpc.wire_measurement import ENCODINGS, ROWS
from serving_mathematics.support.measuring import FOLDER

from ...profiles import its_turn

EVERY = sorted((e, n, flight) for e in ENCODINGS for n in ROWS for flight in FLIGHTS)


def test_the_record_is_whole_and_private() -> None:
    text = (FOLDER / f"{RECORD}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert record["command"] == calls_in_flight.COMMAND
    assert not re.search(r"/(home|root|work|tmp)|localhost|@", text)
    told = record["server_ms"]
    assert sorted((row["encoding"], row["rows"], row["flight"]) for row in told) == EVERY
    assert all(min(row["ms"]) > 0 and row["ms"] == sorted(row["ms"]) for row in told)


def test_a_process_has_a_clock_of_its_own() -> None:
    before, own = _process_s(os.getpid()), time.process_time()
    while time.process_time() < own + 0.05:
        pass
    assert _process_s(os.getpid()) - before == pytest.approx(0.05, abs=0.03)


def test_an_error_ends_its_caller_and_not_the_others() -> None:
    sent: list[bytes] = []
    asked, begun = threading.Event(), threading.Event()

    def fail(_: bytes) -> bytes:
        asked.set()
        assert begun.wait(60)
        raise ValueError("refused")

    def answer(body: bytes) -> bytes:
        begun.set()
        assert asked.wait(60)
        sent.append(body)
        return body

    with pytest.raises(ValueError, match="refused"):
        _all_at_once([fail, answer], b"x", 50)
    assert len(sent) == 49


@its_turn(0)
def test_both_servers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole measurement, made short."""
    for name, value in {"ROUNDS": 1, "CALLS": 16}.items():
        monkeypatch.setattr(calls_in_flight, name, value)
    record = calls_in_flight._measure()
    told = {(row["encoding"], row["rows"], row["flight"]): row["ms"] for row in record["server_ms"]}
    assert sorted(told) == EVERY
    for flight in FLIGHTS:
        assert told["json", 256, flight][1] > told["raw", 256, flight][1] > 0
