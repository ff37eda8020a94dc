"""A batch scorer that survives `kill -9`: a second run does only what is missing.

It asks which shards are there, has the others scored, and writes `complete.json` last.

Assumes: what `shard_files` assumes, and flock; runs on any `concurrent.futures.Executor`.

Source: Linux manual, flock(2); Python documentation, concurrent.futures. Workers that outlive a
killed parent: CPython issue 111873.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib
import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from serving_mathematics.architecture.batch_serving.shard_files import (
    PARTIAL,
    Array,
    Score,
    _read_object,
    is_done,
    make_manifest,
    open_job,
    score_shard,
    write_atomically,
)
from serving_mathematics.support.require import as_floats, require, require_all_finite


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock a folder for one run; the kernel releases the lock when the process ends, however it
    ends.

    Raises RuntimeError if another run holds the folder. Forked processes inherit the lock: start
    workers by spawn.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name, exclusive(Path(name)), exclusive(Path(name)):
    ...     pass
    Traceback (most recent call last):
    RuntimeError: another run holds the folder
    """
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("another run holds the folder") from None
        yield


def score_rows(
    source: Path,
    target: Path,
    score: Score,
    executor: futures.Executor,
    *,
    rows_per_shard: int,
    version: str = "",
) -> int:
    """Score every row of `source` once into `target`, and return how many shards were still
    missing.

    Arguments as for `make_manifest` and `open_job`; the folder is made if it is missing. executor:
    threads, processes, or anything with the same interface. Every shard is tried even if some fail;
    then RuntimeError names these, and the others are kept. `complete.json` appears when all shards
    are there, and is written again if it is damaged. Raises RuntimeError if another run holds the
    folder, ValueError if it holds another job.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, futures.ThreadPoolExecutor(2) as pool:
    ...     rows, job = Path(folder) / "rows.npy", (Path(folder) / "out", lambda rows: rows[:, 0])
    ...     np.save(rows, np.zeros((50, 3)))
    ...     [score_rows(rows, *job, pool, rows_per_shard=20) for _ in range(2)]
    [3, 0]
    """
    target.mkdir(parents=True, exist_ok=True)
    with exclusive(target):
        shards = open_job(source, target, make_manifest(source, score, rows_per_shard, version))
        missing = [shard for shard in shards if not is_done(shard)]
        tasks = {executor.submit(score_shard, shard, score): shard for shard in missing}
        failures = [
            (tasks[task].target.name, error)
            for task in futures.as_completed(tasks)
            if (error := task.exception()) is not None
        ]
        if failures:
            names = sorted(name for name, _ in failures)
            raise RuntimeError(f"{len(names)} shards failed: {names}") from failures[0][1]
        for left in target.glob(f"{PARTIAL}*"):  # by killed runs
            left.unlink(missing_ok=True)
        whole = {
            shard.target.name: hashlib.sha256(shard.target.read_bytes()).hexdigest()
            for shard in shards
        }
        complete, wanted = target / "complete.json", json.dumps(whole, indent=1).encode()
        if not complete.is_file() or complete.read_bytes() != wanted:
            write_atomically(complete, wanted)
        return len(missing)


def read_scores(target: Path) -> Array:
    """The scores of a complete job in the order of the rows, shape (rows,).

    Raises FileNotFoundError before the job is complete, and ValueError if `complete.json` is
    damaged, a shard has changed since, or the rows are not 0, 1, 2, …, each once.

    >>> read_scores(Path("no such folder"))
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no such folder/complete.json'
    """
    parts = []
    for name, digest in sorted(_read_object(target / "complete.json").items()):
        content = (target / name).read_bytes()
        found = hashlib.sha256(content).hexdigest()
        require(found == digest, "target", f"unchanged, with {name} of digest {digest}", found)
        lines = content.decode().splitlines()[1:]
        parts.append(np.array([line.split(",") for line in lines], dtype=float))
    table = np.concatenate(parts)
    once = np.array_equal(table[:, 0], np.arange(len(table)))
    require(once, "target", "every row once, in order", table[:, 0])
    return table[:, 1]


def exit_with_parent() -> None:
    """Initializer of a process pool: a worker whose parent is killed ends too, instead of waiting
    for ever.

    >>> exit_with_parent()  # not a worker: there is nothing to wait for
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def root_mean_square(rows: Array) -> Array:
    """Root mean square of each row, a stand-in for a model. rows: shape (n, d). Returns (n,).

    >>> root_mean_square(np.array([[3.0, 4.0, 0.0, 0.0]])).tolist()
    [2.5]
    """
    rows = as_floats(rows=rows)
    require(rows.ndim == 2 and rows.shape[1] > 0, "rows", "of shape (n, d)", rows.shape)
    rows = require_all_finite(rows=rows)
    result: Array = np.sqrt((rows * rows).mean(axis=1))
    return result


def main(arguments: list[str]) -> int:
    """Run from the command line; the exit status is 2 when the work could not be done."""
    parser = argparse.ArgumentParser(
        description="Score the rows of a .npy file; run again to resume."
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--score", default=f"{__name__}:root_mean_square", help="module:function")
    parser.add_argument("--version", default="", help="of weights and libraries")
    parser.add_argument("--rows-per-shard", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", action="store_true", help="instead of processes")
    options = parser.parse_args(arguments)
    module, _, name = options.score.partition(":")
    try:
        score = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        print(f"--score {options.score}: {problem}", file=sys.stderr)
        return 2
    if not 1 <= options.workers <= 1024:
        print(f"--workers must be from 1 to 1024, got {options.workers}", file=sys.stderr)
        return 2
    executor: futures.Executor = (
        futures.ThreadPoolExecutor(options.workers)
        if options.threads
        else futures.ProcessPoolExecutor(
            options.workers, multiprocessing.get_context("spawn"), exit_with_parent
        )
    )
    try:
        with executor:
            scored = score_rows(
                options.source,
                options.target,
                score,
                executor,
                rows_per_shard=options.rows_per_shard,
                version=options.version,
            )
    except (OSError, ValueError, RuntimeError) as problem:
        print(f"{problem}{f': {problem.__cause__}' * bool(problem.__cause__)}", file=sys.stderr)
        return 2
    print(f"scored {scored} shards")
    return 0


if __name__ == "__main__":
    # Tasks are pickled by module name, which must not be `__main__`.
    sys.exit(
        importlib.import_module("serving_mathematics.architecture.batch_serving.shard_scorer").main(
            sys.argv[1:]
        )
    )
