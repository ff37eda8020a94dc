"""The measurement on every executor: tasks counted, answers equal; no time is asserted."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from serving_mathematics.reference import scale_out_measurement as measurement
from serving_mathematics.reference.scale_out import KINDS, Moments, simulate_chunk
from serving_mathematics.reference.scale_out_measurement import (
    _digest,
    _executor_of,
    _same_moments,
    _timed_chunk,
)
from serving_mathematics.support import measuring

from ..profiles import its_turn


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


@its_turn(2)
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
    monkeypatch.setattr(measurement, "processors", lambda: 2)
    written: dict[str, Any] = {}

    def write_record(name: str, content: dict[str, Any]) -> Path:
        written[name] = json.loads(json.dumps(content, allow_nan=False))
        return tmp_path / f"{name}.json"

    monkeypatch.setattr(measurement, "write_record", write_record)
    asked, woken = list[tuple[str, int]](), list[int]()
    with contextlib.ExitStack() as stack:  # one executor of a kind for all that is measured on it

        @functools.cache
        def executor_of(kind: str) -> futures.Executor | None:
            return stack.enter_context(_executor_of(kind, 1 if kind == "none" else 2))

        @contextlib.contextmanager
        def open_executor(kind: str, workers: int) -> Iterator[futures.Executor | None]:
            asked.append((kind, workers))
            yield executor_of(kind)

        def wake(executor: futures.Executor | None, workers: int) -> None:
            woken.append(workers)
            measurement._wall_s(executor, [(_timed_chunk, 0, 1)] * (4 * workers))

        monkeypatch.setattr(measurement, "_executor_of", open_executor)
        monkeypatch.setattr(measurement, "_wake", wake)  # which another test tries
        began = time.perf_counter()
        measurement.main()
    assert woken == [workers for _, workers in asked]
    alone = [(kind, workers) for kind in KINDS for workers in (2, 1)]
    assert asked == [("none", 1), *alone, ("none", 2), *((kind, 2) for kind in KINDS)]
    whole_s = time.perf_counter() - began
    record = written["scale_out"]
    assert record["workers"] == 2
    assert len(set(record["digests"].values())) == 1
    assert len(set(record["planner"]["digests"].values())) == 1
    assert record["empty_s"].keys() == set(KINDS)
    assert all(seconds.keys() == {"1", "2"} for seconds in record["empty_s"].values())
    assert [(row["kind"], row["chunk"]) for row in record["cells"]] == [
        (kind, chunk) for kind in ("none", *KINDS) for chunk in (1, 8)
    ]
    told = record["planner"]
    assert 0 < record["scenario_s"] * 256 < whole_s
    assert 0 < max(told["question_quartiles_s"]) < whole_s
    assert 0 < max(told["sweep"]["wall_s"].values()) < whole_s
    assert 0 < max(row["wall_s"] for row in record["cells"]) < whole_s
    assert 0 < max(one for row in record["empty_s"].values() for one in row.values()) < whole_s / 10
    assert told["questions"] == 2
    assert told["requests"] == 100
    for value in (
        told["question_s"],
        *told["question_quartiles_s"],
        *told["sweep"]["wall_s"].values(),
    ):
        assert value == round(value, 4)
    for row in record["cells"]:
        assert [row["wall_s"], row["inside_s"]] == [
            round(row[k], 5) for k in ("wall_s", "inside_s")
        ]


def test_moments_are_those_of_twelve_chunks_in_order() -> None:
    chunks = [simulate_chunk(1, first, first + 10) for first in range(0, 120, 10)]
    whole = functools.reduce(Moments.merged, chunks)
    assert _same_moments(None) == _digest([whole.count, whole.mean, whole.squares])


@pytest.mark.parametrize(
    ("workers", "chunk", "scenario_s", "tasks"),
    [(2, 8, 0.001, 200), (2, 8, 100.0, 2), (3, 1, 1e-9, 1998), (3, 2, 0.01, 240)],
)
def test_a_cell_has_as_many_tasks_as_fill_its_time(
    monkeypatch: pytest.MonkeyPatch, workers: int, chunk: int, scenario_s: float, tasks: int
) -> None:
    """A multiple of the workers, from one each to the most there may be."""
    monkeypatch.setattr(measurement, "CELL_S", 0.8 if workers == 2 else 1.6)
    monkeypatch.setattr(measurement, "MOST_TASKS", 2000)
    asked: list[list[tuple[Any, ...]]] = []

    def wall_s(_: object, calls: list[tuple[Any, ...]]) -> tuple[float, list[Any]]:
        asked.append(calls)
        return 9.0 / len(asked), [(None, 0.25)] * len(calls)

    monkeypatch.setattr(measurement, "_wall_s", wall_s)
    cell = measurement._cell("threads", None, workers, chunk, scenario_s)
    assert (cell["tasks"], cell["items"]) == (tasks, tasks * chunk)
    assert (cell["wall_s"], cell["inside_s"]) == (4.5, tasks / 4)
    places = [place for _, first, last in asked[0] for place in range(first, last)]
    assert places == list(range(tasks * chunk))


@pytest.mark.parametrize(("inside_s", "efficiency"), [(1.75, 0.5714), (0.5, 1.0)])
def test_processes_are_no_better_than_one_alone(
    monkeypatch: pytest.MonkeyPatch, inside_s: float, efficiency: float
) -> None:
    """What a scenario takes alone, over what it takes on processes, and 1 at most."""

    def cell(kind: str, *_: object) -> dict[str, Any]:
        return {"kind": kind, "items": 4, "inside_s": inside_s if kind == "processes" else 1.0}

    monkeypatch.setattr(measurement, "_executor_of", lambda *_: contextlib.nullcontext(object()))
    monkeypatch.setattr(measurement, "_cell", cell)
    monkeypatch.setattr(measurement, "_timed_chunk", lambda *_: (None, 1.0))
    for name in ("_wake", "_same_moments", "_empty_task_s", "_planner"):
        monkeypatch.setattr(measurement, name, lambda *_: None)
    assert measurement._measure()["efficiency"] == efficiency


def test_every_worker_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    monkeypatch.setattr(measurement, "_wall_s", lambda _, calls: counts.append(len(calls)))
    measurement._wake(None, 3)
    assert counts == [12, 12]


def test_executors_are_what_they_say() -> None:
    with _executor_of("none", 1) as nothing:
        assert nothing is None
    with _executor_of("threads", 3) as threads:
        assert isinstance(threads, futures.ThreadPoolExecutor)
    with _executor_of("processes", 2) as processes:
        assert isinstance(processes, futures.ProcessPoolExecutor)


def test_timed_chunk_is_the_chunk() -> None:
    began = time.perf_counter()
    found, seconds = _timed_chunk(3, 6)
    assert seconds < time.perf_counter() - began
    assert found == simulate_chunk(0, 3, 6)
    assert seconds > 0
