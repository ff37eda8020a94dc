"""The kill itself: it comes at the operation that was asked for, and only in the child."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from serving_mathematics.architecture.batch_serving.crash_points import _OPERATIONS, _killed_at


def steps(folder: Path) -> None:
    """Five file operations: make, make, rename, remove, list."""
    (folder / "one").touch()
    (folder / "two").touch()
    (folder / "two").rename(folder / "three")
    (folder / "one").unlink()
    os.scandir(folder).close()


STATES = [[], ["one"], ["one", "two"], ["one", "three"], ["three"], ["three"]]


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def operations(folder: Path) -> int:
    """How many operations there are, found by letting the process live longer and longer."""
    for point in range(1, 50):
        place = folder / str(point)
        place.mkdir(parents=True)
        if not _killed_at(partial(steps, place), point):
            return point - 1
    raise AssertionError("it never ends")


def test_every_state_is_visited_in_order(tmp_path: Path) -> None:
    seen = []
    for point in range(1, operations(tmp_path / "count") + 2):
        place = tmp_path / str(point)
        place.mkdir()
        _killed_at(partial(steps, place), point)
        seen.append(names(place))
    assert seen == STATES


def test_a_failure_is_no_kill(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="the process ended with status 1"):
        _killed_at(lambda: (tmp_path / "no such file").read_bytes(), 100)
    assert os.getpid() > 0
    capfd.readouterr()


def test_the_parent_is_not_watched(tmp_path: Path) -> None:
    assert _killed_at(lambda: os.scandir(tmp_path), 1)
    for _ in range(10):
        os.scandir(tmp_path).close()
    assert {"open", "os.rename"} <= _OPERATIONS
