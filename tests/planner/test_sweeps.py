"""Sweeps: the same records from no executor and from processes; order; failures."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.planner import sweeps
from serving_mathematics.planner.capacity_planner.deployment_ranking import rank
from serving_mathematics.planner.capacity_planner.fleet_search import Performance
from serving_mathematics.planner.capacity_planner.separate_fleets import Apart
from serving_mathematics.planner.questions.grids import read_grid
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.sweeps import LEAST_TASK_S, answer_chunk, read_questions, sweep

from tests.killed_worker import cluster_of_processes, killed_while_it_works
from tests.profiles import its_turn

GRID = read_grid(
    '{"requests": 100, "parallelism": "tp1", "ttft_s": [2, 0.001], "rate_per_s": [2, 12], '
    '"precision": ["bf16", "fp8"]}',
    "json",
)


@pytest.fixture(scope="module")
def alone() -> list[dict[str, float | int | str]]:
    return sweep(read_questions(GRID))


@pytest.fixture(scope="module")
def processes() -> Iterator[futures.Executor]:
    with futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_processes(alone: list[object], processes: futures.Executor) -> None:
    assert sweep(read_questions(GRID), processes, 2) == alone


def test_separate_fleets_are_the_same_in_another_process(
    processes: futures.Executor,
) -> None:
    """As records of a sweep, and as a ranking of deployments."""
    asked = {"requests": 100, "parallelism": "tp1", "fleets": "two", "tpot_s": 0.015}
    asked |= {"precision": "bf16", "quantile": 0.9}
    grid = [asked | {"rate_per_s": rate} for rate in (12, 30)]
    choices = read_choices(grid[1] | {"parallelism": "tp1,tp2"})
    told, ranked = [], []
    for pool in (None, processes):
        told.append(json.dumps(sweep(read_questions(grid), pool, 1)))
        ranked.append([(each.run, each.problem) for each in rank(choices, pool)])
    assert told[0] == told[1]  # to the bit: the shortest text of every number
    assert ranked[0] == ranked[1]
    assert "apart_prompt_replicas" in told[0]
    assert {type(run) for run, _ in ranked[0]} == {Apart, Performance}


@its_turn(2)
def test_a_worker_killed_amid_its_work_changes_nothing(
    alone: list[dict[str, float | int | str]], tmp_path: Path
) -> None:
    """Two worker processes, one killed with SIGKILL while it has a chunk: every record is there,
    and the same to the bit, because every question has its own seed."""
    told: list[tuple[int, int]] = []
    with (
        cluster_of_processes(tmp_path / "workers") as workers,
        killed_while_it_works(workers, tmp_path) as (pool, killed),
    ):
        questions = read_questions(GRID)
        got = sweep(questions, pool, 2, lambda done, total: told.append((done, total)))
    assert len(killed) == 1
    assert got == alone
    assert json.dumps(got) == json.dumps(alone)  # to the bit: the shortest text of every number
    assert [done for done, _ in told] == [2, 4, 6, 8]


def test_chunks_last_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a size a chunk has as many questions as fill 50 ms, and none is asked twice."""
    clock = iter(np.arange(1000) * LEAST_TASK_S / 7)
    monkeypatch.setattr(sweeps.time, "perf_counter", lambda: float(next(clock)))
    asked: list[list[int]] = []

    def answered(questions: list[list[Question]]) -> list[dict[str, object]]:
        asked.append([question.seed for (question, *_) in questions])
        return [{"problem": "", "place": question.seed} for (question, *_) in questions]

    monkeypatch.setattr(sweeps, "answer_chunk", answered)
    told: list[int] = []
    questions = read_questions([{"rate_per_s": 1, "seed": place} for place in range(30)])
    with futures.ThreadPoolExecutor(1) as pool:
        records = sweep(questions, pool, None, lambda done, _: told.append(done))
    assert [record["place"] for record in records] == list(range(30))
    assert sorted(len(chunk) for chunk in asked) == [0] + [1] * 7 + [2] + [7] * 3
    assert sorted(place for chunk in asked for place in chunk) == list(range(30))
    assert told[0] == 7
    assert told[-1] == 30


def test_a_slow_question_is_a_chunk_of_its_own(alone: list[object]) -> None:
    """However few questions there are, and all of them cheap or dear."""
    with futures.ThreadPoolExecutor(2) as pool:
        for count in (0, 1, 3):
            assert sweep(read_questions(GRID)[:count], pool) == alone[:count]


def test_order_and_problems(alone: list[dict[str, object]]) -> None:
    formats = ["bf16", "fp8", "bf16", "fp8"]
    assert [record.get("precision") for record in alone] == formats + [None] * 4
    assert [record.get("rate_per_s") for record in alone[:4]] == [2, 2, 12, 12]
    for record in alone[4:]:
        assert set(record) == {"problem"}
        assert str(record["problem"]).startswith("no fleet keeps a TTFT of 0.001 s")


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("threads", [0, 2])
def test_progress_counts_to_the_end(chunk: int, threads: int) -> None:
    told: list[tuple[int, int]] = []
    questions = read_questions(GRID[4:])
    if threads:
        with futures.ThreadPoolExecutor(threads) as pool:
            sweep(questions, pool, chunk, lambda done, total: told.append((done, total)))
    else:
        sweep(questions, None, chunk, lambda done, total: told.append((done, total)))
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_a_failing_worker_fails_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr("serving_mathematics.planner.sweeps.answer_chunk", broken)
    with futures.ThreadPoolExecutor(2) as pool, pytest.raises(MemoryError, match="too large"):
        sweep(read_questions(GRID), pool)


def test_what_planning_refuses_is_a_problem_of_its_question() -> None:
    questions = read_questions([{"rate_per_s": 1, "quantile": 0.9999, "requests": 100}])
    (record,) = answer_chunk(questions)
    assert str(record["problem"]).startswith("requests must be at least 8,322")


def test_a_trace_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"2023-11-16 18:{i // 60:02}:{i % 60:02},{100 + i},{5 + i}" for i in range(300)]
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    formats = ("bf16", "fp8", "int4")
    few = {"trace": str(file), "parallelism": "tp1", "requests": 100}
    grid = [few | {"precision": name} for name in formats]
    asked = read_questions(grid)
    traffic = [one.traffic for question in asked if isinstance(question, list) for one in question]
    assert [one is traffic[0] for one in traffic] == [True] * 3
    monkeypatch.undo()
    records = sweep(asked)
    assert [record["problem"] for record in records] == ["", "", ""]


@pytest.mark.parametrize("chunk", [0, -1, 1.5])
def test_chunks_are_counted(chunk: float) -> None:
    with pytest.raises(ValueError, match="chunk must be a positive integer"):
        sweep([], None, chunk)  # type: ignore[arg-type]


def test_a_bad_question_is_named_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"^question 3: rate_per_s must be given"):
        read_questions([{"rate_per_s": 1}, {"rate_per_s": 2}, {}])
    with pytest.raises(ValueError, match=r"^rate_per_s must be given"):
        read_questions([{}])
    assert sweep([]) == []
