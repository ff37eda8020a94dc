"""Files of shards: done or not, to the byte; what `test_shard_scorer` tries under kills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.architecture.batch_serving.shard_files import (
    PARTIAL,
    Array,
    Manifest,
    Shard,
    is_done,
    make_manifest,
    open_job,
    score_shard,
    write_atomically,
)


def first_value(rows: Array) -> Array:
    return rows[:, 0]


def test_a_shard_is_done_or_not(tmp_path: Path) -> None:
    """Its file counts when it is whole and of this job, and not when a byte is missing, another
    shard's stands there or none."""
    source = tmp_path / "rows.npy"
    np.save(source, np.arange(12.0).reshape(6, 2))
    first, second = open_job(source, tmp_path, make_manifest(source, first_value, 4))
    assert not is_done(first)
    for shard in (first, second):
        score_shard(shard, first_value)
        assert is_done(shard)
    whole = first.target.read_bytes()
    for content in (whole[:-1], whole + b"x", second.target.read_bytes(), b""):
        first.target.write_bytes(content)
        assert not is_done(first)
    score_shard(first, first_value)
    assert first.target.read_bytes() == whole
    assert not list(tmp_path.glob(f"{PARTIAL}*"))


def test_a_million_shards_are_the_most(tmp_path: Path) -> None:
    source = tmp_path / "rows.npy"
    np.save(source, np.zeros(1_000_001, np.int8))
    assert len(make_manifest(source, first_value, 500_000).inputs_sha256) == 3
    with pytest.raises(ValueError, match="rows_per_shard must be enough for at most a million"):
        make_manifest(source, first_value, 1)


def test_scores_are_of_the_rows_of_the_shard(tmp_path: Path) -> None:
    source = tmp_path / "rows.npy"
    np.save(source, np.arange(10.0).reshape(5, 2))
    shards = open_job(source, tmp_path, make_manifest(source, first_value, 2))
    assert [(shard.first, shard.last) for shard in shards] == [(0, 2), (2, 4), (4, 5)]
    score_shard(shards[2], first_value)
    assert shards[2].target.read_text().splitlines()[1:] == ["4,8.0"]
    np.save(source, np.zeros((5, 2)))
    with pytest.raises(ValueError, match="source must be as in the manifest"):
        score_shard(shards[1], first_value)


def test_a_job_is_its_manifest(tmp_path: Path) -> None:
    """Shards of two manifests never count for each other, though their rows are the same."""
    source = tmp_path / "rows.npy"
    np.save(source, np.ones((4, 2)))
    manifest = make_manifest(source, first_value, 2, version="1")
    assert manifest == Manifest(
        4, 2, manifest.score, manifest.code_sha256, "1", manifest.inputs_sha256
    )
    first, second = open_job(source, tmp_path, manifest)
    score_shard(first, first_value)
    other = Shard(source, first.target, 0, 2, first.input_sha256, "another job")
    assert (is_done(first), is_done(second), is_done(other)) == (True, False, False)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "scores"
    write_atomically(target, b"before")
    target.chmod(0o400)
    write_atomically(target, b"after")
    assert target.read_bytes() == b"after"
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no such folder" / "scores", b"never")
    with pytest.raises(TypeError):
        write_atomically(target, "no bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"after"
    assert [file.name for file in tmp_path.iterdir()] == ["scores"]
