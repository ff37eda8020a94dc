"""The prediction and the shape of the record."""

from __future__ import annotations

import json
import re

from serving_mathematics.architecture.rest_grpc import wire_record
from serving_mathematics.architecture.rest_grpc.wire_record import RECORD
from serving_mathematics.support.measuring import FOLDER


def test_the_record_is_whole_and_private() -> None:
    text = (FOLDER / f"{RECORD}.json").read_text(encoding="utf-8")
    record = json.loads(text)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
    assert not re.search(r"/(home|root|work|tmp)|\\\\|localhost|@", text)
    assert (
        record["command"] == "python -m serving_mathematics.architecture.rest_grpc.wire_measurement"
    )
    expected = sorted((e, n) for e in wire_record.COLOURS for n in (1, 256))
    for table in ("latency", "steps"):
        assert sorted((row["encoding"], row["rows"]) for row in record[table]) == expected
    for row in record["latency"]:
        assert len(row["ms"]) == 101
        assert row["ms"] == sorted(row["ms"])
        assert row["ms"][0] > 0
