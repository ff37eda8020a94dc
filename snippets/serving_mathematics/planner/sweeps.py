"""Many questions on any executor, with the same answers to the bit whichever runs them.

Every question draws its random numbers from its own seed, as if it were asked alone; questions of
one seed get the same requests, so that rows differ by what was asked and not by chance. Workers get
chunks of questions, as many as take 50 ms, so that handing them out is a small part of the work,
and return flat records, not samples; the records are put back in order. A question without an
answer gets a record with the problem.

Assumes: workers that import this package; a trace is read before, once, and sent along.

Source: NumPy documentation, `default_rng`; Python documentation, `concurrent.futures`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures

import numpy as np

from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.planner.answers.answers import answer_record
from serving_mathematics.planner.configurations import answer, whole_answer
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices, read_workload
from serving_mathematics.planner.questions.routed_requests import read_shared
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_positive_integer

Record = dict[str, float | int | str]
Asked = Sequence[Question] | Impossible  # the deployments of a question, or why there is none
LEAST_TASK_S = 0.05  # work of a task [s]


def read_questions(grid: Sequence[Mapping[str, object]]) -> list[Asked]:
    """The questions of a grid, each as the deployments that it compares; a trace is read once.

    grid: named values, as `read_grid` returns them. A deployment that cannot be stands in the place
    of its question, unless it is the only one. Raises ValueError that names the question by its
    place, from 1, and the field; OSError when a trace cannot be read.

    >>> [asked[0].seed for asked in read_questions([{"rate_per_s": 1, "seed": 3}] * 2)]
    [3, 3]
    """
    load, shared = functools.cache(read_workload), functools.cache(read_shared)

    questions: list[Asked] = []
    for place, values in enumerate(grid):
        try:
            questions.append(read_choices(values, load, shared))
        except Impossible as error:
            if len(grid) == 1:
                raise
            questions.append(error)
        except ValueError as error:
            where = f"question {place + 1}: " if len(grid) > 1 else ""
            raise ValueError(f"{where}{error}") from error
    return questions


def answer_chunk(questions: Sequence[Asked]) -> list[Record]:
    """Records of some questions, the work of one task. Those without a fleet say why under
    `problem`, which is otherwise empty.

    questions: with their seeds. A question that is refused when it is planned says so there too.

    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = read_choices({"rate_per_s": 1, "ttft_s": 0.001, "requests": 100})
    >>> answer_chunk([asked])[0]["problem"][:26]
    'no fleet keeps a TTFT of 0'
    """
    records: list[Record] = []
    for question in questions:
        try:
            if isinstance(question, Impossible):
                raise question
            told = whole_answer(question, {}) if question[0].routing else answer(question)
            records.append(answer_record(told) | {"problem": ""})
        except ValueError as error:
            records.append({"problem": str(error)})
    return records


def _timed_sample(questions: Sequence[Asked]) -> dict[int, Record]:
    """Records by place of questions picked at random until LEAST_TASK_S is over, one at least: as
    many as a task should have."""
    records: dict[int, Record] = {}
    started = time.perf_counter()
    for place in np.random.default_rng(0).permutation(len(questions)).tolist():
        (records[place],) = answer_chunk([questions[place]])
        if time.perf_counter() - started >= LEAST_TASK_S:
            break
    return records


def sweep(
    questions: Sequence[Asked],
    executor: futures.Executor | None = None,
    chunk: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[Record]:
    """Records of all questions, in their order.

    questions: from `read_questions`. executor: any of `concurrent.futures`, or None for this
    process. chunk: questions in a task, or None for as many as take 50 ms, which a few answered in
    this process tell while the workers start. progress: told how many of how many are done. Raises
    ValueError unless chunk is a positive integer, and what a task raises.

    >>> from serving_mathematics.planner.sweeps import read_questions
    >>> asked = read_questions([{"rate_per_s": 1, "ttft_s": 0.001, "requests": 100}])
    >>> len(sweep(asked))
    1
    """
    if chunk is not None:
        chunk = require_positive_integer(chunk=chunk)
    total = len(questions)
    records: dict[int, Record] = {}

    def done(places: Sequence[int], answers: Sequence[Record]) -> None:
        records.update(zip(places, answers, strict=True))
        if progress:
            progress(len(records), total)

    if chunk is None and executor is not None and questions:
        executor.submit(answer_chunk, [])  # wakes the workers
        sample = _timed_sample(questions)
        chunk = len(sample)
        done(list(sample), list(sample.values()))
    chunk = chunk or 1
    left = [place for place in range(total) if place not in records]
    parts = [left[first : first + chunk] for first in range(0, len(left), chunk)]
    if executor is None:
        for part in parts:
            done(part, answer_chunk([questions[place] for place in part]))
        return [records[place] for place in range(total)]
    tasks = {
        executor.submit(answer_chunk, [questions[place] for place in part]): part for part in parts
    }
    try:
        for task in futures.as_completed(tasks):
            done(tasks[task], task.result())
    except BaseException:
        if not isinstance(executor, futures.ProcessPoolExecutor):  # its thread trips over them
            for task in tasks:
                task.cancel()
        raise
    return [records[place] for place in range(total)]


def check_row_is_the_question_alone() -> None:
    """A row of a grid is what the question gets when it is asked alone, and other seeds draw other
    requests.

    Source: the plan of the question; comparison of all values, to the bit.
    """
    split = {"precision": "int4", "parallelism": "tp1,tp2"}
    grid = [
        {"rate_per_s": 3, "requests": 100, "ttft_s": 2, "seed": seed} | split for seed in (5, 0)
    ]
    alone = answer_record(answer(read_choices(grid[1]))) | {"problem": ""}
    other, row = sweep(read_questions(grid))
    checks.equal("the row after another", row == alone, True)
    differs = other["ttft_p99_s"] != alone["ttft_p99_s"]
    checks.holds("another seed draws other numbers", differs)
