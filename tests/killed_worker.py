"""A Dask cluster of two processes on loopback, one of which is killed while it works on a task.

The first task that is begun says which process runs it and holds; that process is killed with
SIGKILL. Whoever gets the task next finds the sign and works as usual.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster
from serving_mathematics.architecture.batch_serving.executors import cluster_executor

WORKERS = 2
HOLD_S = 60.0  # longer than any test waits for the sign


def hold_first(sign: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """Do the task, but in the first call of all say who does it and hold."""
    with contextlib.suppress(FileExistsError):
        sign.mkdir()
        said = sign / "part"
        said.write_text(str(os.getpid()))
        said.rename(sign / "held")
        time.sleep(HOLD_S)
    return function(*arguments)


class HoldFirst(futures.Executor):
    """An executor whose first task to begin is held."""

    def __init__(self, executor: futures.Executor, sign: Path) -> None:
        self.executor, self.sign = executor, sign

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> futures.Future[Any]:
        assert not named
        return self.executor.submit(hold_first, self.sign, function, *arguments)


def cluster_of_threads(folder: Path) -> LocalCluster:
    """Two workers in this process, of one thread each; it is to be closed."""
    return LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        local_directory=folder,
    )


def cluster_of_processes(folder: Path) -> LocalCluster:
    """One that is to be closed."""
    return LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        local_directory=folder,
    )


@contextlib.contextmanager
def killed_while_it_works(
    cluster: LocalCluster, folder: Path
) -> Iterator[tuple[futures.Executor, list[int]]]:
    """An executor of a cluster that loses a worker, and the list of those that were killed."""
    killed: list[int] = []
    sign, stop = folder / "sign", threading.Event()

    def kill(pids: set[int]) -> None:
        while not stop.wait(0.01):
            if (sign / "held").exists():
                pid = int((sign / "held").read_text())
                assert pid in pids  # of this cluster, and no other
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    with Client(cluster) as client:
        pids = set(client.run(os.getpid).values())
    assert len(pids) == WORKERS
    assert os.getpid() not in pids
    killer = threading.Thread(target=kill, args=(pids,))
    killer.start()
    try:
        with cluster_executor(cluster) as executor:
            yield HoldFirst(executor, sign), killed
    finally:
        stop.set()
        killer.join()
