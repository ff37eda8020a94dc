"""Files of a job that can be killed: a shard appears under its name whole or not at all.

The input, an array of rows, is cut into shards. A task reads its rows, scores them and commits one
file by write, fsync, rename, fsync of the folder. Its first line names the job and the digest of
what follows, so a shard counts only if it is whole and belongs to this job: doing it again is
harmless, and nothing but the files has to be remembered. The manifest holds a digest of every
shard's input, of the scoring code and of its version, so that shards of two jobs cannot mix.

Assumes: POSIX (rename replaces atomically); all workers see one file system; the score of a row
depends on its shard alone.

Source: POSIX, rename and fsync; Pillai et al. (2014) for what file systems do without the fsync.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
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
    """Write a file so that at every moment `path` is either absent, as before, or whole.

    path: its folder must exist. content: of the file. Calls fsync before the rename, or the name
    could reach the disk before the content, and on the folder after it, or the name could be lost.

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
    large enough for at most a million shards. version: anything else the scores depend on. Raises
    ValueError on other input.

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
    Raises ValueError if the folder holds another job, naming what differs, or if its manifest is
    damaged.

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

    Raises ValueError if the input is no longer as in the manifest, or if the scores are not one
    finite number for each row.

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
    """Whether the shard's file exists, is whole and belongs to this job.

    >>> is_done(Shard(Path("rows.npy"), Path("no such file"), 0, 1, "", "job"))
    False
    """
    try:
        first, newline, body = shard.target.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return False
    return first + newline == _first_line(shard, body)
