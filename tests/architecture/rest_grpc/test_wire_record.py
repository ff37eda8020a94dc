"""The prediction and the shape of the record."""

from __future__ import annotations

import json
import math
import re

import pytest
from serving_mathematics.architecture.rest_grpc import wire_record
from serving_mathematics.architecture.rest_grpc.wire_record import RECORD, _predicted_ms
from serving_mathematics.support.measuring import FOLDER


def test_prediction_keeps_the_fixed_cost() -> None:
    small, large = {"a": 0.2, "b": 0.3}, {"a": 2.0, "b": 4.0}
    assert _predicted_ms(1.5, small, small) == pytest.approx(1.5)
    assert _predicted_ms(1.5, small, large) == pytest.approx(1.0 + 6.0)
    assert _predicted_ms(0.5, small, large) == pytest.approx(6.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_times(bad: float) -> None:
    with pytest.raises(ValueError, match="smallest_ms must be positive"):
        _predicted_ms(bad, {"a": 0.1}, {"a": 0.1})
    with pytest.raises(ValueError, match="smallest must be positive"):
        _predicted_ms(1.0, {"a": bad}, {"a": 0.1})
    with pytest.raises(ValueError, match="parts must be positive"):
        _predicted_ms(1.0, {"a": 0.1}, {"a": bad})


def test_parts_must_match_and_fit() -> None:
    with pytest.raises(ValueError, match="parts must be named"):
        _predicted_ms(1.0, {"a": 0.1}, {"b": 0.1})
    with pytest.raises(ValueError, match=r"smallest must be at most 1\.0 together"):
        _predicted_ms(1.0, {"a": 1.1}, {"a": 0.1})


def test_the_record_is_whole_and_private() -> None:
    text = (FOLDER / f"{RECORD}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert not re.search(r"/(home|root|work|tmp)|\\\\|localhost|@", text)
    assert (
        record["command"] == "python -m serving_mathematics.architecture.rest_grpc.wire_measurement"
    )
    expected = sorted((e, n) for e in wire_record.COLOURS for n in (1, 16, 256))
    for table in ("wire", "latency", "throughput", "steps"):
        assert sorted((row["encoding"], row["rows"]) for row in record[table]) == expected
    for row in record["latency"]:
        assert len(row["ms"]) == 101
        assert row["ms"] == sorted(row["ms"])
        assert row["ms"][0] > 0
    for row in record["throughput"]:
        assert len(row["per_s"]) == len(row["mean_ms"]) == record["asked"]["load_rounds"]
    for row in record["wire"]:
        assert row["sent_per_call"] > row["request_bytes"]
        assert row["received_per_call"] > row["answer_bytes"]
        assert row["sent_first"] >= row["sent_per_call"]
