"""The measurement on every executor: tasks counted, answers equal; no time is asserted."""

from __future__ import annotations

import json
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from serving_mathematics import measuring
from serving_mathematics.reference import scale_out_measurement as measurement
from serving_mathematics.reference.scale_out import KINDS, simulate_chunk
from serving_mathematics.reference.scale_out_measurement import _executor_of, _timed_chunk


def test_the_record_is_complete() -> None:
    record = measuring.read_record("scale_out")
    assert record["command"] == measurement.COMMAND
    assert record["versions"].keys() >= {"python", "numpy", "distributed"}
    cells = [(row["kind"], row["chunk"]) for row in record["cells"]]
    assert cells == [(kind, chunk) for kind in ("none", *KINDS) for chunk in measurement.CHUNKS]
    for row in record["cells"]:
        workers = 1 if row["kind"] == "none" else record["workers"]
        assert row["items"] == row["tasks"] * row["chunk"]
        assert 0 < row["inside_s"] <= workers * row["wall_s"]
    assert 0 < record["efficiency"] <= 1
    assert record["planner"]["digests"].keys() == record["digests"].keys() == {"none", *KINDS}


def test_measure_fills_every_field(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In small, on every executor, with real processes; the same answers on all."""
    small: dict[str, Any] = {
        "CHUNKS": (1, 8),
        "CELL_S": 0.002,
        "EMPTY_TASKS": 10,
        "ROUNDS": 1,
        "QUESTIONS": '{"rate_per_s": [1, 2], "ttft_s": 2, "requests": 100}',
        "SWEPT_REQUESTS": 100,
    }
    for name, value in small.items():
        monkeypatch.setattr(measurement, name, value)
    monkeypatch.setattr(measurement.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    written: dict[str, Any] = {}

    def write_record(name: str, content: dict[str, Any]) -> Path:
        written[name] = json.loads(json.dumps(content, allow_nan=False))
        return tmp_path / f"{name}.json"

    monkeypatch.setattr(measurement, "write_record", write_record)
    measurement.main()
    record = written["scale_out"]
    assert record["workers"] == 2
    assert len(set(record["digests"].values())) == 1
    assert len(set(record["planner"]["digests"].values())) == 1
    assert record["empty_s"].keys() == set(KINDS)
    assert all(seconds.keys() == {"1", "2"} for seconds in record["empty_s"].values())
    assert [(row["kind"], row["chunk"]) for row in record["cells"]] == [
        (kind, chunk) for kind in ("none", *KINDS) for chunk in (1, 8)
    ]
    assert record["planner"]["questions"] == 2
    assert record["planner"]["requests"] == 100


def test_executors_are_what_they_say() -> None:
    with _executor_of("none", 1) as nothing:
        assert nothing is None
    with _executor_of("threads", 3) as threads:
        assert isinstance(threads, futures.ThreadPoolExecutor)
    with _executor_of("processes", 2) as processes:
        assert isinstance(processes, futures.ProcessPoolExecutor)


def test_timed_chunk_is_the_chunk() -> None:
    found, seconds = _timed_chunk(3, 6)
    assert found == simulate_chunk(0, 3, 6)
    assert seconds > 0


@pytest.mark.parametrize(
    ("kind", "workers", "message"),
    [
        ("slurm", 1, "kind must be none, threads, processes or dask"),
        ("threads", 0, "workers must be a positive integer"),
        ("dask", 1.5, "workers must be a positive integer"),
    ],
)
def test_bad_executors_are_refused(kind: str, workers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message), _executor_of(kind, workers):
        pass
    with pytest.raises(ValueError, match="below last"):
        _timed_chunk(4, 4)
