"""Measures what a call costs the server's processor when many are in flight, in five encodings.

`python -m serving_mathematics.architecture.rest_grpc.calls_in_flight` starts the servers of
`wire_measurement`, keeps one call and then eight in flight over connections that stay open, in
interleaved rounds, and writes records/calls_in_flight.json: the processor time of the server's
process for a call. It takes some minutes, on Linux, which tells the time of another process. A
server of one process ends calls no faster than that time allows.

Assumes: clients on the same processors. On a machine with other work, as that of the record,
processor times are longer too, for all encodings alike: compare them with each other.

Source: measurement; `wire_record` says what follows.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import numpy as np

from serving_mathematics.architecture.rest_grpc.wire_measurement import (
    ENCODINGS,
    ROWS,
    SERVERS,
    Floats,
    _caller,
    _encode,
    _servers,
)
from serving_mathematics.core.classifiers.digits_classifier import load_digits
from serving_mathematics.support.measuring import provenance, write_record

RECORD = "calls_in_flight"
COMMAND = "python -m serving_mathematics.architecture.rest_grpc.calls_in_flight"
FLIGHTS = (1, 8)  # calls at a time; the servers refuse a seventeenth
ROUNDS, CALLS = 9, 160  # of each kind


def _process_s(pid: int) -> float:
    """Processor time that a process has taken [s]; Linux numbers its clock so.

    >>> 0 < _process_s(os.getpid()) <= time.process_time() + 1
    True
    """
    return time.clock_gettime((~pid << 3) | 2)


def _all_at_once(calls: Sequence[Callable[[bytes], bytes]], body: bytes, count: int) -> None:
    """Send a body so many times, each caller the next one as soon as its last is answered.

    Raises what a caller raises.

    >>> sent = []
    >>> _all_at_once([sent.append, sent.append], b"x", 5)
    >>> len(sent)
    5
    """
    left = queue.SimpleQueue[bytes]()
    for _ in range(count):
        left.put(body)

    def send(call: Callable[[bytes], bytes]) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                call(left.get_nowait())

    with futures.ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(send, calls))


def _measure() -> dict[str, Any]:
    images: Floats = load_digits().test.pixels.astype(np.float32)
    taken: dict[tuple[str, int, int], list[float]] = {}
    with _servers() as servers:
        for turn in range(ROUNDS + 1):  # the first warms up
            for encoding in ENCODINGS:
                server = servers[SERVERS[encoding]]
                for rows in ROWS:
                    body = _encode(images[:rows], encoding)
                    for flight in FLIGHTS:
                        with contextlib.ExitStack() as stack:
                            calls = [
                                stack.enter_context(_caller(server.port, encoding))
                                for _ in range(flight)
                            ]
                            for call in calls:  # opens the connection
                                call(body)
                            before = _process_s(server.pid)
                            _all_at_once(calls, body, CALLS)
                            spent_ms = 1000 * (_process_s(server.pid) - before) / CALLS
                        if turn:
                            taken.setdefault((encoding, rows, flight), []).append(spent_ms)
    return {
        **provenance(COMMAND, ("numpy", "fastapi", "pydantic", "uvicorn", "grpcio", "protobuf")),
        "asked": {"rounds": ROUNDS, "calls": CALLS},
        "server_ms": [
            {
                "encoding": encoding,
                "rows": rows,
                "flight": flight,
                "ms": np.quantile(each, (0.25, 0.5, 0.75)).round(4).tolist(),
            }
            for (encoding, rows, flight), each in taken.items()
        ],
    }


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # two pools of threads would fight
        one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *COMMAND.split()[1:]], one_thread)
    print(f"wrote {write_record(RECORD, _measure()).name}")
