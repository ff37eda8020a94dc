"""Kill a process with SIGKILL at each of its file operations in turn, and see whether the next run
repairs what it left.

A crash test that kills at a random time rarely hits the microseconds between a write and a rename.
Python tells an audit hook of every file that is opened, renamed or removed, so a forked process
can count these operations and kill itself just before the k-th. Trying k = 1, 2, 3, … until the
process finishes visits every state that a killed process can leave behind, at any speed of the
machine.

Assumes: POSIX (fork); what `write` accepted is not torn by a kill, since the kernel has it; power
loss is another matter, and tests plant torn files for it.

Source: PEP 578 and the table of audit events in the Python documentation; Pillai et al. (2014)
explore the crash states of applications in the same spirit.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent import futures
from functools import partial
from pathlib import Path

import numpy as np

from serving_mathematics.architecture.batch_serving.shard_files import Array, Score
from serving_mathematics.architecture.batch_serving.shard_scorer import root_mean_square, score_rows
from serving_mathematics.support import checks

_OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.scandir", "fcntl.flock"}


def _killed_at(run: Callable[[], object], point: int) -> bool:
    """Call `run` in a forked process that is killed just before its `point`-th file operation.

    Returns whether it was killed; False means that it finished with fewer operations. point: from
    1. Raises RuntimeError when `run` fails.

    >>> _killed_at(lambda: os.scandir("."), point=1)
    True
    >>> _killed_at(lambda: None, point=1)
    False
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside idle BLAS threads
        child = os.fork()
    if child == 0:
        seen = 0

        def count(event: str, _arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if event in _OPERATIONS:
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            signal.alarm(60)  # rather than hang
            sys.addaudithook(count)
            run()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the process ended with status {status}")
    return status != 0


def _score(folder: Path) -> None:
    """One run of the scorer over the rows in a folder."""
    with futures.ThreadPoolExecutor(1) as pool:
        score_rows(folder / "rows.npy", folder / "out", root_mean_square, pool, rows_per_shard=4)


def _prepared(folder: Path) -> Path:
    """A folder with six rows to score, in two shards."""
    folder.mkdir()
    np.save(folder / "rows.npy", np.random.default_rng(8).normal(size=(6, 3)))
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder of output."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@functools.cache
def _killed_everywhere() -> tuple[int, int]:
    """At how many points the scorer can be killed, and after how many of these kills another run
    leaves the same files as one that nobody disturbed."""
    with tempfile.TemporaryDirectory() as name:
        whole = _prepared(Path(name) / "whole")
        _score(whole)
        expected, point, same = _contents(whole / "out"), 1, 0
        while _killed_at(partial(_score, folder := _prepared(Path(name) / str(point))), point):
            _score(folder)
            same += _contents(folder / "out") == expected
            point += 1
    return point - 1, same


def check_every_crash_point() -> None:
    """If the scorer is killed before any one of its file operations and started again, it leaves
    the same files as an undisturbed run.

    Source: the bytes of an undisturbed run; every state that a kill can leave is visited.
    """
    points, same = _killed_everywhere()
    checks.equal("kills after which all files are the same", same, points)
    checks.holds("at least 15 kills of two shards", points >= 15, got=points)


def _first_column(rows: Array) -> Array:
    """Another model."""
    return rows[:, 0]


def check_two_jobs_do_not_mix() -> None:
    """A run with a changed row, another scoring function, another version or other shards is
    refused, and a damaged shard is scored again.

    Source: the differences that the refusal must name; the files' bytes before the damage.
    """
    with tempfile.TemporaryDirectory() as name, futures.ThreadPoolExecutor(2) as pool:
        rows, out = Path(name) / "rows.npy", Path(name) / "out"
        np.save(rows, np.ones((10, 2)))

        def again(score: Score = root_mean_square, step: int = 4, version: str = "1") -> int:
            return score_rows(rows, out, score, pool, rows_per_shard=step, version=version)

        again()
        before = _contents(out)
        checks.raises("function", again, _first_column, match="in ['score', 'code_sha256']")
        checks.raises("version", again, version="2", match="['version']")
        checks.raises("shards", again, step=5, match="['rows_per_shard', 'inputs_sha256']")
        changed = np.ones((10, 2))
        changed[7, 1] = 2.0
        np.save(rows, changed)
        checks.raises("one value of the input", again, match="['inputs_sha256']")
        np.save(rows, np.ones((10, 2)))
        shard = out / "shard-000001.csv"
        shard.write_bytes(shard.read_bytes()[:-1])
        checks.equal("shards scored after damage to one", again(), 1)
        checks.equal("all files as before", _contents(out) == before, True)
