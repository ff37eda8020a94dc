"""What handing out a task costs in this process, on threads, on processes and on a Dask cluster.

Tasks without work say what a task costs; tasks of 1 to 1,024 small scenarios, which return how long
they took inside, say which share of the workers' time was not work. Then questions to the capacity
planner are timed one by one, and swept on every executor. `python -m
serving_mathematics.reference.scale_out_measurement` takes about two minutes and writes the record
that the page shows, records/scale_out.json.

Assumes: as many workers as this machine has processors; Dask with its scheduler and workers on
this machine, which a network would make slower.

Source: measurement; Python documentation, `concurrent.futures`; Dask documentation, `LocalCluster`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import numpy as np
from distributed import LocalCluster

from serving_mathematics.architecture.batch_serving.executors import cluster_executor
from serving_mathematics.planner.questions.grids import read_grid
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.sweeps import answer_chunk, read_questions, sweep
from serving_mathematics.reference.scale_out import KINDS, RECORD, Moments, simulate_chunk
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import processors, provenance, write_record
from serving_mathematics.support.require import require, require_positive_integer

COMMAND = "python -m serving_mathematics.reference.scale_out_measurement"
CHUNKS = (1, 4, 16, 64, 256, 1024)  # scenarios in a task
CELL_S = 0.4  # work for each worker in a cell [s], but at most MOST_TASKS tasks
MOST_TASKS = 1000
EMPTY_TASKS, ROUNDS = 500, 5
QUESTIONS = (  # with the planner's other defaults
    '{"rate_per_s": [15, 60, 240], "precision": ["bf16", "fp8", "int4"], "parallelism": "tp1"}'
)
SWEPT_REQUESTS = 500  # of the questions that every executor answers


@contextlib.contextmanager
def _executor_of(kind: str, workers: int) -> Iterator[futures.Executor | None]:
    """An executor on this machine, until the end of the block; None for this process."""
    require(kind in ("none", *KINDS), "kind", "none, threads, processes or dask", kind)
    workers = require_positive_integer(workers=workers)
    with contextlib.ExitStack() as stack:
        if kind == "none":
            yield None
        elif kind == "threads":
            yield stack.enter_context(futures.ThreadPoolExecutor(workers))
        elif kind == "processes":
            context = multiprocessing.get_context("spawn")
            yield stack.enter_context(futures.ProcessPoolExecutor(workers, context))
        else:
            start: Callable[..., Any] = LocalCluster
            cluster = start(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
            )
            stack.enter_context(cluster)
            yield stack.enter_context(cluster_executor(cluster))


def _timed_chunk(first: int, last: int) -> tuple[Moments, float]:
    """The moments of the scenarios of these places, and the seconds that they took."""
    started = time.perf_counter()
    found = simulate_chunk(0, first, last)
    return found, time.perf_counter() - started


def _nothing() -> None:
    """A task without work."""


def _wall_s(
    executor: futures.Executor | None, calls: list[tuple[Any, ...]]
) -> tuple[float, list[Any]]:
    """Seconds until all calls are answered, and the answers in order."""
    started = time.perf_counter()
    if executor is None:
        answers = [function(*arguments) for function, *arguments in calls]
    else:
        tasks = [executor.submit(function, *arguments) for function, *arguments in calls]
        futures.wait(tasks)
        answers = [task.result() for task in tasks]
    return time.perf_counter() - started, answers


def _wake(executor: futures.Executor | None, workers: int) -> None:
    """Let every worker start and import."""
    for _ in range(2):
        _wall_s(executor, [(_timed_chunk, 0, 64)] * (4 * workers))


def _empty_task_s(executor: futures.Executor) -> float:
    """Seconds a task without work takes, among many, in the least disturbed of some rounds."""
    rounds = [_wall_s(executor, [(_nothing,)] * EMPTY_TASKS)[0] for _ in range(ROUNDS)]
    return min(rounds) / EMPTY_TASKS


def _cell(
    kind: str, executor: futures.Executor | None, workers: int, chunk: int, scenario_s: float
) -> dict[str, Any]:
    """How long tasks of one size took, in all and inside, in the less disturbed of two rounds."""
    wanted = max(workers, round(CELL_S * workers / (chunk * scenario_s)))
    tasks = min(wanted // workers * workers, MOST_TASKS // workers * workers)
    calls = [(_timed_chunk, task * chunk, (task + 1) * chunk) for task in range(tasks)]
    wall_s, answers = min((_wall_s(executor, calls) for _ in range(2)), key=lambda round: round[0])
    inside_s = sum(seconds for _, seconds in answers)
    cell = {"kind": kind, "chunk": chunk, "tasks": tasks, "items": tasks * chunk}
    return cell | {"wall_s": round(wall_s, 5), "inside_s": round(inside_s, 5)}


def _digest(value: Any) -> str:
    """Of anything that JSON can say, floats to the last bit."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _same_moments(executor: futures.Executor | None) -> str:
    """Digest of moments merged in the order of the places."""
    _, answers = _wall_s(executor, [(simulate_chunk, 1, 10 * i, 10 * i + 10) for i in range(12)])
    found = functools.reduce(Moments.merged, answers)
    return _digest([found.count, found.mean, found.squares])


def _planner(workers: int) -> dict[str, Any]:
    """Questions one by one, and the sweep of shorter ones on every executor."""
    grid = read_grid(QUESTIONS, "json")
    seconds, questions = [], read_questions(grid)
    for question in questions:
        started = time.perf_counter()
        answer_chunk([question])
        seconds.append(time.perf_counter() - started)
    short = read_questions([row | {"requests": SWEPT_REQUESTS} for row in grid])
    walls, digests = {}, {}
    for kind in ("none", *KINDS):
        with _executor_of(kind, workers) as executor:
            _wake(executor, workers)
            started = time.perf_counter()
            digests[kind] = _digest(sweep(short, executor, 1))
            walls[kind] = round(time.perf_counter() - started, 4)
    asked = next(one.requests for one in read_choices(grid[0]))
    return {
        "requests": asked,
        "question_s": round(float(np.mean(seconds)), 4),
        "question_quartiles_s": np.quantile(seconds, [0.25, 0.75]).round(4).tolist(),
        "questions": len(questions),
        "sweep": {"requests": SWEPT_REQUESTS, "wall_s": walls},
        "digests": digests,
    }


def _measure() -> dict[str, Any]:
    """The whole record."""
    workers = processors()
    load = round(os.getloadavg()[0], 2)
    _timed_chunk(0, 64)
    scenario_s = float(np.median([_timed_chunk(0, 256)[1] for _ in range(9)])) / 256
    cells: list[dict[str, Any]] = []
    empty: dict[str, dict[str, float]] = {}
    digests: dict[str, str] = {}
    for kind in ("none", *KINDS):
        count = 1 if kind == "none" else workers
        with _executor_of(kind, count) as executor:
            _wake(executor, count)
            digests[kind] = _same_moments(executor)
            cells += [_cell(kind, executor, count, chunk, scenario_s) for chunk in CHUNKS]
            if executor is not None:
                empty[kind] = {str(workers): _empty_task_s(executor)}
        if kind != "none" and workers > 1:
            with _executor_of(kind, 1) as executor:
                _wake(executor, 1)
                assert executor is not None
                empty[kind]["1"] = _empty_task_s(executor)
    last = {
        cell["kind"]: cell["inside_s"] / cell["items"] for cell in cells
    }  # of the largest chunk
    return provenance(COMMAND, ["numpy", "distributed"]) | {
        "load": load,
        "workers": workers,
        "scenario_s": scenario_s,
        "efficiency": round(min(1.0, last["none"] / last["processes"]), 4),
        "empty_s": empty,
        "cells": cells,
        "digests": digests,
        "planner": _planner(workers),
    }


def main() -> None:
    """Measure and write the record."""
    print(f"wrote {write_record(RECORD, _measure()).name}")


def check_a_task_says_how_long_it_took() -> None:
    """The time inside a task is part of the time until it is answered, in this process and on
    threads, and the moments are those of the same places.

    Source: two clocks, one inside the other; `simulate_chunk`.
    """
    for kind in ("none", "threads"):
        with _executor_of(kind, 1) as executor:
            wall_s, answers = _wall_s(executor, [(_timed_chunk, 5, 9), (_timed_chunk, 9, 11)])
        inside_s = sum(seconds for _, seconds in answers)
        checks.holds(f"{kind}: inside is less", 0 < inside_s < wall_s)
        checks.equal(f"{kind}: moments", answers[0][0] == simulate_chunk(0, 5, 9), True)


def check_bad_input_is_refused() -> None:
    """Unknown executors and no workers are errors that name the argument."""
    for kind, workers, match in (
        ("mpi", 1, "kind must be none, th"),
        ("none", 0, "workers must be"),
    ):
        checks.raises(f"{kind}, {workers}", _executor_of(kind, workers).__enter__, match=match)


if __name__ == "__main__":
    # Tasks are pickled by module name, which must not be `__main__`.
    from serving_mathematics.reference import scale_out_measurement

    scale_out_measurement.main()
