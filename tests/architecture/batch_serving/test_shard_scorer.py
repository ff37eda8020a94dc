"""The scorer under kill -9, on every kind of executor, with torn files and rivals.

Waits are for events, bounded generously; nothing depends on the speed of the machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving import shard_files
from serving_mathematics.architecture.batch_serving.shard_files import (
    is_done,
    make_manifest,
    open_job,
    score_shard,
    write_atomically,
)
from serving_mathematics.architecture.batch_serving.shard_scorer import (
    exclusive,
    exit_with_parent,
    main,
    read_scores,
    root_mean_square,
    score_rows,
)

from tests.architecture.held_score import fatal, held

ROOT = Path(__file__).parents[3]
SPAWN = multiprocessing.get_context("spawn")
Array = npt.NDArray[np.float64]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """500 rows whose first column is their number."""
    rows = np.random.default_rng(1).normal(size=(500, 4))
    rows[:, 0] = np.arange(500)
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy"


@pytest.fixture
def threads() -> Iterator[futures.Executor]:
    with futures.ThreadPoolExecutor(2) as pool:
        yield pool


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def undisturbed(source: Path, score: shard_files.Score = root_mean_square) -> dict[str, bytes]:
    """Every file of a run in one thread that nothing disturbs."""
    target = source.parent / "undisturbed"
    with futures.ThreadPoolExecutor(1) as pool:
        assert score_rows(source, target, score, pool, rows_per_shard=30) == 17
    assert read_scores(target) == pytest.approx(root_mean_square(np.load(source)), rel=1e-15)
    return contents(target)


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has, too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # ended just now, or a system without /proc
        return False
    return state == "Z"


def command(source: Path, target: Path, *options: str) -> list[str]:
    module = "serving_mathematics.architecture.batch_serving.shard_scorer"
    return [
        *(sys.executable, "-m", module, str(source), str(target), "--rows-per-shard", "30"),
        *("--score", "tests.architecture.held_score:held", *options),
    ]


# Any executor


def test_processes(source: Path) -> None:
    expected = undisturbed(source)
    target = source.parent / "processes"
    with futures.ProcessPoolExecutor(2, SPAWN, exit_with_parent) as pool:
        assert score_rows(source, target, root_mean_square, pool, rows_per_shard=30) == 17
        assert score_rows(source, target, root_mean_square, pool, rows_per_shard=30) == 0
    assert contents(target) == expected


# kill -9


def test_kill_9_takes_the_workers_along(source: Path) -> None:
    """No worker process outlives its parent, and the next run is not locked out."""
    expected = undisturbed(source, held)
    target = source.parent / "killed"
    environment = os.environ | {"HOLD_ROW": "250", "HOLD_FOLDER": str(source.parent)}
    with subprocess.Popen(command(source, target), cwd=ROOT, env=environment) as scorer:
        until((source.parent / "reached").exists, "no sign")
        holding = int((source.parent / "reached").read_text())
        children = Path(f"/proc/{scorer.pid}/task/{scorer.pid}/children")
        workers = {holding, *map(int, children.read_text().split() if children.exists() else [])}
        assert scorer.pid not in workers
        assert not gone(holding)
        scorer.kill()
        assert scorer.wait(60) == -signal.SIGKILL
    until(lambda: all(gone(worker) for worker in workers), "a worker lives on")
    with futures.ThreadPoolExecutor(2) as pool:
        assert score_rows(source, target, held, pool, rows_per_shard=30) >= 1
    assert contents(target) == expected


def test_a_killed_worker_costs_its_shards_only(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = undisturbed(source, fatal)
    target = source.parent / "out"
    monkeypatch.setenv("HOLD_ROW", "400")
    with futures.ProcessPoolExecutor(1, SPAWN, exit_with_parent) as pool:
        job = (source, target, fatal)
        with pytest.raises(RuntimeError, match=r"shards failed: \[.*'shard-000013.csv'") as failed:
            score_rows(*job, pool, rows_per_shard=30)
    assert isinstance(failed.value.__cause__, BrokenProcessPool)
    assert not (target / "complete.json").exists()
    monkeypatch.delenv("HOLD_ROW")
    with futures.ThreadPoolExecutor(1) as pool:
        assert 1 <= score_rows(*job, pool, rows_per_shard=30) <= 4
    assert contents(target) == expected


# One job to a folder, one run at a time


def test_rivals(source: Path) -> None:
    """Of two processes on one folder the second is refused, and the first is not disturbed."""
    expected = undisturbed(source, held)
    target = source.parent / "out"
    environment = os.environ | {"HOLD_ROW": "100", "HOLD_FOLDER": str(source.parent)}
    with subprocess.Popen(
        command(source, target, "--threads"), cwd=ROOT, env=environment
    ) as scorer:
        try:
            until((source.parent / "reached").exists, "no sign")
            rival = subprocess.run(
                command(source, target, "--threads"), cwd=ROOT, capture_output=True, check=False
            )
        finally:
            scorer.kill()
    assert rival.returncode == 2
    assert rival.stderr == b"another run holds the folder\n"
    with futures.ThreadPoolExecutor(1) as pool, exclusive(source.parent):
        score_rows(source, target, held, pool, rows_per_shard=30)
    assert contents(target) == expected


def test_exclusive_ends_with_its_block(tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(RuntimeError, match="another run"), exclusive(tmp_path):
        pass
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        pass


def test_without_a_lock_rivals_are_harmless(source: Path) -> None:
    """Where flock does not reach, two runs write the same bytes under the same names."""
    expected = undisturbed(source)
    target = source.parent / "out"
    target.mkdir()
    shards = open_job(source, target, make_manifest(source, root_mean_square, 30))
    with futures.ThreadPoolExecutor(4) as pool:
        for task in [pool.submit(score_shard, shard, root_mean_square) for shard in shards * 3]:
            task.result()
        assert score_rows(source, target, root_mean_square, pool, rows_per_shard=30) == 0
    assert contents(target) == expected


# Files


def test_write_atomically_syncs_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        size = "" if folder else f" of {os.fstat(descriptor).st_size}"
        done.append(("fsync folder" if folder else "fsync file") + size)
        fsync(descriptor)

    def note_replace(old: Path, new: Path) -> Path:
        assert old.parent == new.parent
        done.append("rename")
        return replace(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_atomically(tmp_path / "file", b"12345")
    assert done == ["fsync file of 5", "rename", "fsync folder"]
    assert contents(tmp_path) == {"file": b"12345"}


@given(st.data())
def test_a_damaged_shard_is_not_done(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Torn at any byte, one byte changed, or from another job."""
    folder = tmp_path_factory.mktemp("damage")
    np.save(folder / "rows.npy", np.arange(12.0).reshape(6, 2))
    manifest = make_manifest(folder / "rows.npy", root_mean_square, 6)
    (shard,) = open_job(folder / "rows.npy", folder, manifest)
    score_shard(shard, root_mean_square)
    content = shard.target.read_bytes()
    assert is_done(shard)
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = bytes([content[place] ^ data.draw(st.integers(1, 255))])
    for damaged in (
        content[:place],
        content[:place] + flipped + content[place + 1 :],
        content + flipped,
        content.replace(shard.job_sha256.encode(), b"0" * 64),
    ):
        shard.target.write_bytes(damaged)
        assert not is_done(shard)


def test_complete_json_vouches_for_every_shard(source: Path, threads: futures.Executor) -> None:
    target = source.parent / "out"
    score_rows(source, target, root_mean_square, threads, rows_per_shard=30)
    named = json.loads((target / "complete.json").read_bytes())
    assert sorted(named) == [f"shard-{number:06d}.csv" for number in range(17)]
    last = target / "shard-000016.csv"
    lines = last.read_bytes()
    last.write_bytes(lines.replace(b"499,", b"498,"))
    with pytest.raises(ValueError, match=r"unchanged, with shard-000016\.csv"):
        read_scores(target)
    last.unlink()
    with pytest.raises(FileNotFoundError):
        read_scores(target)
    assert score_rows(source, target, root_mean_square, threads, rows_per_shard=30) == 1
    assert last.read_bytes() == lines


def test_read_scores_wants_every_row_once(source: Path, threads: futures.Executor) -> None:
    target = source.parent / "out"
    score_rows(source, target, root_mean_square, threads, rows_per_shard=30)
    named = json.loads((target / "complete.json").read_bytes())
    del named["shard-000004.csv"]
    (target / "complete.json").write_text(json.dumps(named))
    with pytest.raises(ValueError, match="every row once"):
        read_scores(target)


# Arguments


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (lambda rows: rows[:-1, 0], r"score must be of shape \(30,\), got \(29,\)"),
        (lambda rows: rows, r"score must be of shape \(30,\), got \(30, 4\)"),
        (lambda rows: np.where(rows[:, 0] == 3, np.nan, 1.0), "score must be finite"),
        (lambda rows: np.where(rows[:, 0] == 3, np.inf, 1.0), "score must be finite"),
    ],
)
def test_scores_are_checked(source: Path, scores: shard_files.Score, message: str) -> None:
    shard = open_job(source, source.parent, make_manifest(source, scores, 30))[0]
    with pytest.raises(ValueError, match="rows must be of shape"):
        root_mean_square(np.ones(3))
    with pytest.raises(ValueError, match=message):
        score_shard(shard, scores)
    assert not is_done(shard)


def test_command_line(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = source.parent / "undisturbed"
    expected = undisturbed(source)
    arguments = [str(source), str(target), "--rows-per-shard", "30", "--threads"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "scored 0 shards\n"
    assert contents(target) == expected
    assert main([*arguments, "--version", "2"]) == 2
    assert "differs in ['version']" in capsys.readouterr().err


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-9],
    "not UTF-8": lambda content: b"\xff" + content,
    "deep": lambda _: b"[" * 100_000,
    "one digit": lambda content: content.translate(bytes.maketrans(b"0123", b"1023")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_complete_json_is_told_and_repaired(
    source: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = undisturbed(source)
    target = source.parent / "undisturbed"
    complete = target / "complete.json"
    complete.write_bytes(DAMAGE[damage](complete.read_bytes()))
    with pytest.raises((ValueError, FileNotFoundError), match=r"target must be|shard-"):
        read_scores(target)
    assert main([str(source), str(target), "--rows-per-shard", "30", "--threads"]) == 0
    assert capsys.readouterr().out == "scored 0 shards\n"
    assert contents(target) == expected
    assert len(read_scores(target)) == 500


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--score", "nowhere:f"], "--score nowhere:f: No module named 'nowhere'"),
        (["--score", "math:sqrt"], "score must be a Python function"),
        (["--workers", "0"], "--workers must be from 1 to 1024, got 0"),
        (["--rows-per-shard", "0"], "rows_per_shard must be a positive integer, got 0"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_a_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rows.npy", np.ones((3, 2)))
    assert main([str(tmp_path / "rows.npy"), str(tmp_path / "out"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(told)
    assert err.count("\n") == 1
