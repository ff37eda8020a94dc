"""A batch scorer that survives `kill -9`: shards appear under their names whole or not at all, and
a second run does only what is missing.

The input, an array of rows, is cut into shards. A task reads its rows, scores them and commits one
file by write, fsync, rename, fsync of the folder. Its first line names the job and the digest of
what follows, so a shard counts only if it is whole and belongs to this job: doing it again is
harmless, and nothing but the files has to be remembered. The manifest holds a digest of every
shard's input, of the scoring code and of its version, so that shards of two jobs cannot mix.

Assumes: POSIX (rename replaces atomically, flock); all workers see one file system; the score of a
row depends on its shard alone. Needs numpy and the standard library; runs on any
`concurrent.futures.Executor`.

Source: POSIX, rename and fsync; Linux manual, flock(2); Python documentation, concurrent.futures;
Pillai et al. (2014) for what file systems do without the fsync. Workers that outlive a killed
parent: CPython issue 111873.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib
import json
import math
import multiprocessing
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_positive_integer,
)

Array = npt.NDArray[np.float64]
Score = Callable[[Array], Array]  # rows (n, …) to scores (n,)
PARTIAL = ".partial-"  # how the names of files begin that are not committed yet


@dataclass(frozen=True)
class Manifest:
    """Everything that decides the bytes of the output."""

    rows: int
    rows_per_shard: int
    score: str  # module and name of the scoring function
    code_sha256: str  # of its source file
    version: str  # of what its source does not show: weights, libraries
    inputs_sha256: tuple[str, ...]  # of the rows of each shard


@dataclass(frozen=True)
class Shard:
    """One task: rows `first` up to but not including `last` of `source`, to be scored into
    `target`."""

    source: Path
    target: Path
    first: int
    last: int
    input_sha256: str
    job_sha256: str  # of the manifest


def write_atomically(path: Path, content: bytes) -> None:
    """Make `path` hold `content`, so that at every moment it is either absent, as before, or whole.

    path: its folder must exist. content: of the file. fsync before the rename, or the name could
    reach the disk before the content; fsync of the folder after it, or the name could be lost.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "scores", b"whole")
    ...     os.listdir(folder)
    ['scores']
    """
    partial = path.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_manifest(source: Path, score: Score, rows_per_shard: int, version: str = "") -> Manifest:
    """The manifest of a job, from one pass over its input.

    source: a `.npy` file of numbers, rows first, not empty. score: a Python function. The digest of
    its code is that of its source file, helpers and comments included. rows_per_shard: positive,
    and such that there are at most a million shards. version: anything else the scores depend on.
    Raises ValueError outside this.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".npy") as file:
    ...     np.save(file, np.zeros((5, 2))); file.flush()
    ...     len(make_manifest(Path(file.name), lambda rows: rows[:, 0], 2).inputs_sha256)
    3
    """
    rows_per_shard = require_positive_integer(rows_per_shard=rows_per_shard)
    code = getattr(score, "__code__", None)
    require(
        isinstance(code, CodeType), "score", "a Python function", getattr(score, "__name__", score)
    )
    assert code is not None
    file = Path(code.co_filename)
    text = file.read_bytes() if file.is_file() else code.co_code + repr(code.co_consts).encode()
    rows = np.load(source, mmap_mode="r")
    require(rows.ndim >= 1 and len(rows) > 0, "source", "a non-empty array of rows", rows.shape)
    require(rows.dtype.kind in "biuf", "source", "an array of numbers", rows.dtype)
    shards = math.ceil(len(rows) / rows_per_shard)
    require(shards <= 10**6, "rows_per_shard", "enough for at most a million shards", shards)
    digests = tuple(
        _digest(rows[first : first + rows_per_shard])
        for first in range(0, len(rows), rows_per_shard)
    )
    name = f"{score.__module__}:{score.__qualname__}"
    return Manifest(
        len(rows), int(rows_per_shard), name, hashlib.sha256(text).hexdigest(), version, digests
    )


def _digest(rows: npt.NDArray[np.generic]) -> str:
    """Digest of an array: type, shape and values."""
    header = f"{rows.dtype.str} {rows.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(rows).tobytes()).hexdigest()


def open_job(source: Path, target: Path, manifest: Manifest) -> list[Shard]:
    """The shards of a job in a folder that is new, or that holds a part of the same job.

    source: the input. target: the folder of the output, which must exist; gets `manifest.json`.
    Raises ValueError naming what differs when the folder holds another job, or saying that its
    manifest is damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     job = Manifest(5, 2, "m:f", "", "", ("a", "b", "c"))
    ...     [(s.first, s.last, s.target.name) for s in open_job(Path("x.npy"), Path(folder), job)]
    [(0, 2, 'shard-000000.csv'), (2, 4, 'shard-000001.csv'), (4, 5, 'shard-000002.csv')]
    """
    wanted = json.dumps(asdict(manifest), indent=1)
    file = target / "manifest.json"
    if file.exists():
        there, here = _read_object(file), json.loads(wanted)
        other = [name for name in here if there.get(name) != here[name]]
        require(not other, "target", "a folder of the same job", f"one that differs in {other}")
    else:
        write_atomically(file, wanted.encode())
    job = hashlib.sha256(wanted.encode()).hexdigest()
    step = manifest.rows_per_shard
    return [
        Shard(
            source,
            target / f"shard-{number:06d}.csv",
            number * step,
            min((number + 1) * step, manifest.rows),
            digest,
            job,
        )
        for number, digest in enumerate(manifest.inputs_sha256)
    ]


def _read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file of the target folder."""
    content = file.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    whole = isinstance(found, dict)
    require(whole, "target", f"a folder whose {file.name} is whole", f"{content[:20]!r}")
    assert isinstance(found, dict)
    return found


def score_shard(shard: Shard, score: Score) -> None:
    """Score the rows of one shard and commit its file; safe to repeat, anywhere, at any time.

    Raises ValueError when the input is no longer what the manifest says, and when the scores are
    not one finite number a row.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, target = Path(folder) / "rows.npy", Path(folder) / "shard.csv"
    ...     np.save(source, np.array([[3.0, 4.0], [5.0, 12.0]]))
    ...     digest = _digest(np.load(source))
    ...     score_shard(Shard(source, target, 0, 2, digest, "job"), lambda rows: rows.sum(axis=1))
    ...     target.read_text().splitlines()[1:]
    ['0,7.0', '1,17.0']
    """
    rows = np.array(np.load(shard.source, mmap_mode="r")[shard.first : shard.last])
    found = _digest(rows)
    require(found == shard.input_sha256, "source", "as in the manifest", f"digest {found}")
    scores = np.asarray(score(rows), dtype=float)
    require(scores.shape == (len(rows),), "score", f"of shape ({len(rows)},)", scores.shape)
    require_all_finite(score=scores)
    lines = (f"{shard.first + i},{value!r}\n" for i, value in enumerate(scores.tolist()))
    body = "".join(lines).encode()
    write_atomically(shard.target, _first_line(shard, body) + body)


def _first_line(shard: Shard, body: bytes) -> bytes:
    """What the file of a shard says of itself."""
    digest = hashlib.sha256(body).hexdigest()
    return f"# job {shard.job_sha256} rows {shard.first}-{shard.last} sha256 {digest}\n".encode()


def is_done(shard: Shard) -> bool:
    """Whether the shard's file is there, whole, and of this job.

    >>> is_done(Shard(Path("rows.npy"), Path("no such file"), 0, 1, "", "job"))
    False
    """
    try:
        first, newline, body = shard.target.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return False
    return first + newline == _first_line(shard, body)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for one run; the kernel lets go of it when the process dies, however it dies.

    Raises RuntimeError when another run holds it. The lock lives in the process that opens it, and
    in those forked from it: start workers by spawn.

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
    """Score every row of `source` once into `target`, and return how many shards that still took.

    Arguments as for `make_manifest` and `open_job`; the folder is made when it is not there.
    executor: threads, processes, or anything with the same interface. Every shard is tried even if
    some fail; then RuntimeError names these, and the others are kept. `complete.json` appears when
    all are there, and is written again when it is damaged. Raises RuntimeError when another run
    holds the folder, ValueError when it holds another job.

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

    Raises FileNotFoundError before the job is complete, and ValueError when `complete.json` is
    damaged, a shard changed since or the rows are not 0, 1, 2, …, each once.

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
    """Run from the command line; the process's exit status, 2 when the work could not be done, for
    a reason that is told."""
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


def _first_column(rows: Array) -> Array:
    """Another model."""
    return rows[:, 0]


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def check_any_executor_same_bytes() -> None:
    """One thread or four, in one go or after a failure half-way: the same bytes in every file.

    Source: the scores computed in one piece; files compared byte by byte.
    """
    rows = np.random.default_rng(1).normal(size=(1003, 8))
    poison = {float(rows[300, 0])}

    def fragile(part: Array) -> Array:
        if part[0, 0] in poison:
            raise MemoryError("too large")
        return root_mean_square(part)

    with tempfile.TemporaryDirectory() as name, futures.ThreadPoolExecutor(4) as pool:
        source, whole, resumed = (Path(name) / part for part in ("rows.npy", "whole", "resumed"))
        np.save(source, rows)
        job = (source, resumed, fragile, pool)
        checks.raises(
            "a shard fails",
            score_rows,
            *job,
            rows_per_shard=100,
            match="1 shards failed: ['shard-000003.csv']",
            error=RuntimeError,
        )
        poison.clear()
        again = score_rows(*job, rows_per_shard=100)
        with futures.ThreadPoolExecutor(1) as single:
            done = score_rows(source, whole, fragile, single, rows_per_shard=100)
        checks.equal("shards scored, in one go and after the failure", [done, again], [11, 1])
        checks.close("scores", read_scores(resumed), root_mean_square(rows), rtol=1e-15)
        same = _contents(whole) == _contents(resumed)
        checks.equal("all files the same", same, True)


def check_two_jobs_do_not_mix() -> None:
    """A changed row, another scoring function, another version and other shards are refused, and a
    damaged shard is scored again.

    Source: what the refusal must name; the bytes before the damage.
    """
    with tempfile.TemporaryDirectory() as name, futures.ThreadPoolExecutor(2) as pool:
        rows, out = Path(name) / "rows.npy", Path(name) / "out"
        np.save(rows, np.ones((10, 2)))

        def again(score: Score = root_mean_square, step: int = 4, version: str = "1") -> int:
            return score_rows(rows, out, score, pool, rows_per_shard=step, version=version)

        again()
        before = _contents(out)
        checks.raises("function", again, _first_column, match="that differs in ['score']")
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


def check_one_run_at_a_time() -> None:
    """A second run on the same folder is refused while the first holds it, and not afterwards.

    Source: flock(2), exclusive and non-blocking.
    """
    with tempfile.TemporaryDirectory() as name, futures.ThreadPoolExecutor(1) as pool:
        rows, out = Path(name) / "rows.npy", Path(name) / "out"
        np.save(rows, np.ones((3, 2)))
        out.mkdir()
        job = (rows, out, root_mean_square, pool)
        with exclusive(out):
            checks.raises(
                "second run",
                score_rows,
                *job,
                rows_per_shard=2,
                match="another run holds the folder",
                error=RuntimeError,
            )
        checks.equal("shards of the next run", score_rows(*job, rows_per_shard=2), 2)


def check_bad_input_is_refused() -> None:
    """Empty and textual inputs, shards of no rows and two scores for a row are errors that name the
    argument."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "rows.npy"
        np.save(file, np.ones((3, 2)))
        for step in (0, 1.5, math.nan):
            checks.raises(
                f"shards of {step}",
                make_manifest,
                file,
                root_mean_square,
                step,
                match="rows_per_shard must be a positive integer",
            )
        checks.raises("no code", make_manifest, file, np.sum, 2, match="score must be a Python")
        np.save(file, np.ones((0, 2)))
        checks.raises("empty", make_manifest, file, root_mean_square, 2, match="source must be a")
        np.save(file, np.array(["a"]))
        checks.raises("text", make_manifest, file, root_mean_square, 2, match="an array of numbers")
    checks.raises("flat", root_mean_square, np.ones(3), match="rows must be of shape (n, d)")


if __name__ == "__main__":
    # Tasks are pickled by module name, which must not be `__main__`.
    sys.exit(
        importlib.import_module("serving_mathematics.architecture.batch_serving.shard_scorer").main(
            sys.argv[1:]
        )
    )
