"""The scorer on Dask clusters, in this process and in others, on loopback, closed at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from subprocess import Popen

import numpy as np
import numpy.typing as npt
import pytest
from distributed import Client, LocalCluster
from serving_mathematics.architecture.batch_serving.executors import cluster_executor
from serving_mathematics.architecture.batch_serving.shard_scorer import (
    read_scores,
    root_mean_square,
    score_rows,
)

from tests.killed_worker import (
    cluster_of_processes,
    cluster_of_threads,
    killed_while_it_works,
)

Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with cluster_of_threads(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.random.default_rng(1).normal(size=(500, 4)))
    return tmp_path / "rows.npy"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_same_bytes_as_threads(cluster: LocalCluster, source: Path, tmp_path: Path) -> None:
    job = {"score": root_mean_square, "rows_per_shard": 30}
    with futures.ThreadPoolExecutor(2) as pool:
        assert score_rows(source, tmp_path / "threads", executor=pool, **job) == 17
    with cluster_executor(cluster) as pool:
        assert isinstance(pool, futures.Executor)
        assert score_rows(source, tmp_path / "dask", executor=pool, **job) == 17
        assert score_rows(source, tmp_path / "dask", executor=pool, **job) == 0
    assert contents(tmp_path / "dask") == contents(tmp_path / "threads")
    assert read_scores(tmp_path / "dask") == pytest.approx(root_mean_square(np.load(source)))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with cluster_of_processes(tmp_path_factory.mktemp("workers")) as cluster:
        yield cluster


def test_a_failed_shard_is_tried_again(cluster: LocalCluster, source: Path, tmp_path: Path) -> None:
    """Which needs pure=False, see below."""
    flag, rows = tmp_path / "memory is short", np.load(source)
    flag.touch()

    def fragile(part: Array) -> Array:
        if rows[100, 0] in part[:, 0] and flag.exists():
            raise MemoryError
        return root_mean_square(part)

    with cluster_executor(cluster) as pool:
        job = (source, tmp_path / "dask", fragile, pool)
        with pytest.raises(RuntimeError, match=r"1 shards failed: \['shard-000003.csv'\]"):
            score_rows(*job, rows_per_shard=30)
        flag.unlink()
        assert score_rows(*job, rows_per_shard=30) == 1
    assert read_scores(tmp_path / "dask") == pytest.approx(root_mean_square(rows))


def test_a_worker_killed_amid_its_shard_changes_nothing(
    processes: LocalCluster, source: Path, tmp_path: Path
) -> None:
    """Two worker processes, one killed with SIGKILL while it has a shard: the scheduler gives it
    to the other, and every file is the same, byte for byte."""
    job = {"score": root_mean_square, "rows_per_shard": 30}
    with futures.ThreadPoolExecutor(1) as pool:
        assert score_rows(source, tmp_path / "alone", executor=pool, **job) == 17
    with killed_while_it_works(processes, tmp_path) as (pool, killed):
        assert score_rows(source, tmp_path / "dask", executor=pool, **job) == 17
    assert len(killed) == 1
    assert contents(tmp_path / "dask") == contents(tmp_path / "alone")


def count(file: Path) -> int:
    """How often this was called."""
    with file.open("a") as calls:
        calls.write("x")
    return len(file.read_text())


def test_why_pure_false(cluster: LocalCluster, tmp_path: Path) -> None:
    """The same call twice is one call, and is two through the executor of this chapter."""
    with Client(cluster) as client, client.get_executor() as pool:
        first = pool.submit(count, tmp_path / "pure")
        assert [first.result(), pool.submit(count, tmp_path / "pure").result()] == [1, 1]
    with cluster_executor(cluster) as pool:
        first = pool.submit(count, tmp_path / "impure")
        assert [first.result(), pool.submit(count, tmp_path / "impure").result()] == [1, 2]


class Machines:
    """A scheduler and a worker, each in a process of its own, as on machines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.parts = {"scheduler": self._started("scheduler", "--port", "0")}

    def _started(self, part: str, *words: str) -> Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{part}", "--host", "127.0.0.1"]
        command += ["--no-dashboard", "--scheduler-file", str(self.file), *words]
        quiet = subprocess.DEVNULL
        return Popen(command, stdout=quiet, stderr=quiet, cwd=self.folder)

    def address(self, worker: bool = True) -> str:
        """Of the scheduler, when there is a worker, of two threads: one may be asleep. To start, a
        worker may take longer than the executor's patience."""
        deadline = time.monotonic() + 120
        while not self.file.is_file() or not self.file.read_text().endswith("}"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found: str = json.loads(self.file.read_text())["address"]
        if worker and ("worker" not in self.parts or self.parts["worker"].poll() is not None):
            self.parts["worker"] = self._started("worker", "--nthreads", "2", "--no-nanny")
            with Client(found) as client:
                client.wait_for_workers(1, timeout=120)
        return found

    def end(self) -> None:
        for part in self.parts.values():
            part.kill()
            part.wait()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    machines = Machines(tmp_path_factory.mktemp("machines"))
    yield machines
    machines.end()


def test_an_interruption_does_not_wait_for_the_tasks(machines: Machines) -> None:
    began = []

    def interrupt() -> None:
        with cluster_executor(machines.address()) as pool:
            assert pool.submit(abs, -1).result(timeout=60) == 1
            pool.submit(time.sleep, 600)
            began.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert time.monotonic() - began[0] < 60


@pytest.mark.parametrize(
    ("lost", "patience_s", "sentence"),
    [
        ("worker", 2.0, "has had no worker for 2 s"),
        ("scheduler", 100.0, "has ended, or cannot be reached"),
    ],
)
def test_what_nobody_is_left_to_do_is_not_waited_for(
    lost: str, patience_s: float, sentence: str, machines: Machines
) -> None:
    """The only worker is killed, or the scheduler, with a worker or without: a sentence within
    seconds."""
    working = lost == "worker"

    def lose() -> None:
        with cluster_executor(machines.address(working), patience_s=patience_s) as pool:
            assert not working or pool.submit(abs, -1).result(timeout=60) == 1  # it is there
            task = pool.submit(time.sleep, 600)
            machines.parts[lost].kill()
            machines.parts[lost].wait()
            task.result(timeout=120)

    with pytest.raises(futures.BrokenExecutor, match=sentence):
        lose()
