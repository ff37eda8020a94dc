"""The record is whole, private, and what the module says of it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from serving_mathematics.architecture.streaming import token_stream_measurement, token_stream_record
from serving_mathematics.architecture.streaming.token_stream_record import RECORD
from serving_mathematics.support.measuring import FOLDER, read_record


def test_the_record_is_whole_and_private() -> None:
    text = (FOLDER / f"{RECORD}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert RECORD == token_stream_measurement.RECORD
    assert record["command"] == token_stream_measurement.COMMAND
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert set(record["versions"]) == {"python", "fastapi", "uvicorn", "httpx"}
    assert not re.search(r"/(home|root|work|tmp)|\\\\|localhost|@", text)
    assert [kind["name"] for kind in record["kinds"]] == list(token_stream_record.KINDS)


def test_arrivals_are_ordered() -> None:
    record = read_record(RECORD)
    for kind in record["kinds"]:
        arrival = np.array(kind["arrival_ms"])
        assert (np.diff(arrival, axis=1) >= 0).all()
        assert (arrival[:, 0] > 0).all()


def test_quoted_times_are_in_the_record() -> None:
    """The median stream, read from the record by hand."""
    (steady,) = [kind for kind in read_record(RECORD)["kinds"] if kind["name"] == "steady"]
    typical = sorted(steady["arrival_ms"], key=lambda arrival: arrival[-1])[6]
    quoted = token_stream_record.example()
    assert quoted.measured_ttft_ms == pytest.approx(typical[0])
    assert quoted.measured_e2e_s == pytest.approx(typical[-1] / 1000)
    assert quoted.measured_tpot_ms == pytest.approx((typical[-1] - typical[0]) / 100)
    assert quoted.measured_with_ttft_ms == pytest.approx(typical[-1] / 101)


def test_prefills_ask_for_the_same_total() -> None:
    record = read_record(RECORD)
    whole, chunked = (
        token_stream_record._asked_gaps_s(record, name) for name in token_stream_record.KINDS[1:]
    )
    assert whole.sum() == pytest.approx(chunked.sum())
    assert whole.max() > 5 * chunked[1:].max()
