"""What is measured of executors and a clock that a test made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any
from unittest import mock

from serving_mathematics.reference import scale_out_measurement as scale_out

from ..clockwork import Clock


class Slow(futures.Executor):
    """Does at once what it is given, and takes a while to hand it over."""

    def __init__(self, clock: Clock, kind: str, workers: int, asked: list[str]) -> None:
        self.clock, self.name, self.asked = clock, f"{kind} {workers}", asked
        self.hand_over_s = 1e-3 * len(kind) / workers

    def submit(self, function: Callable[..., Any], /, *given: Any, **_: Any) -> Any:
        self.asked.append(f"{self.name} {function.__name__}")
        self.clock.work(self.hand_over_s * (1 + len(self.asked) % 3))
        found = futures.Future[Any]()
        found.set_result(function(*given))
        return found


def _scale_out(_: Path) -> dict[str, Any]:
    """The whole record of executors that differ in what a task costs."""
    clock, asked, timed = Clock(tick=1e-5), list[str](), list[int]()

    @contextlib.contextmanager
    def executor_of(kind: str, workers: int) -> Iterator[Slow | None]:
        yield None if kind == "none" else Slow(clock, kind, workers, asked)

    def answered(questions: list[Any]) -> list[dict[str, Any]]:
        timed.append(len(questions))
        clock.work(0.01 * len(timed) ** 2)
        return [{"requests": question[0].requests} for question in questions]

    def swept(questions: list[Any], executor: Slow | None, chunk: int) -> list[Any]:
        for question in questions if executor else []:
            executor.submit(answered, [question])
        return [chunk, [question[0].requests for question in questions]]

    with (
        mock.patch.object(scale_out.os, "getloadavg", return_value=(0.126, 5.0, 5.0)),
        mock.patch.object(scale_out, "processors", return_value=3),
        mock.patch.multiple(
            scale_out,
            time=clock,
            provenance=lambda *made: {"made": made},
            _executor_of=executor_of,
            answer_chunk=answered,
            sweep=swept,
            simulate_chunk=_simulated(clock),
            CHUNKS=(1, 16),
            CELL_S=0.02,
            MOST_TASKS=31,
            EMPTY_TASKS=7,
            ROUNDS=3,
        ),
    ):
        record = scale_out._measure()
    counts = {name: asked.count(name) for name in dict.fromkeys(asked)}
    return record | {"asked": counts}


def _simulated(clock: Clock) -> Callable[[int, int, int], Any]:
    """Moments that follow from the places, in a time that does as well."""

    def simulate_chunk(seed: int, first: int, last: int) -> Any:
        clock.work(1e-4 * (last - first) * (1 + (last % 5) / 10))
        return scale_out.Moments(last - first, 1 + seed + first / 7, float(last))

    return simulate_chunk


CASES: Mapping[str, Any] = {"reference.scale_out_measurement": _scale_out}
