"""A Dask cluster is an executor like any other, if its tasks are called impure.

Dask names a task after its function and arguments, and takes two tasks of one name for one result.
That saves work where a task is a value, and is wrong where it writes a file: a shard that failed
and is tried again would be handed its old failure.

Assumes: the cluster's workers see the files and import the scoring function.

Source: Dask documentation, `Client.get_executor` and the argument `pure` of `Client.submit`. Needs
`distributed`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from distributed import Client
from distributed.deploy.cluster import Cluster
from distributed.utils import silence_logging_cmgr

from serving_mathematics.support.require import require_positive

ENDED = "the Dask scheduler has ended, or cannot be reached any more"


@contextlib.contextmanager
def cluster_executor(
    scheduler: str | Cluster, patience_s: float = 10.0
) -> Iterator[futures.Executor]:
    """The workers of a Dask cluster as an executor, until the end of the block.

    scheduler: address such as "tcp://scheduler:8786", or a cluster object. patience_s: how long the
    cluster may be without a worker [s]; Dask itself waits for ever. Raises BrokenExecutor after
    that, or when the scheduler has ended: what is left is cancelled.

    >>> from distributed import LocalCluster
    >>> loopback = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    >>> with (
    ...     LocalCluster(n_workers=1, processes=False, **loopback) as cluster,
    ...     cluster_executor(cluster) as executor,
    ... ):
    ...     executor.submit(sum, [1, 2, 3]).result()
    6
    """
    patience_s = require_positive(patience_s=patience_s)
    connect: Callable[..., Any] = Client
    over, lost = threading.Event(), list[str]()

    def watch(client: Any, executor: futures.Executor) -> None:
        """Cancel what is left when nobody is there to do it."""
        seen = time.monotonic()
        while not over.wait(min(1.0, patience_s / 4)):
            if client.status == "running" and client.scheduler_info(0)["n_workers"]:
                seen = time.monotonic()
            elif client.status != "running":
                lost.append(ENDED)
            elif time.monotonic() - seen > patience_s:
                lost.append(f"the Dask scheduler has had no worker for {patience_s:g} s")
            if lost:
                executor.shutdown(wait=False)
                break

    with (
        silence_logging_cmgr(logging.CRITICAL),  # what goes wrong is raised
        connect(scheduler) as client,
        client.get_executor(pure=False) as executor,  # a shard tried again is another call
    ):
        watcher = threading.Thread(target=watch, args=(client, executor))
        watcher.start()
        try:
            yield executor
        except BaseException as problem:
            if client.status != "running" and not lost:
                lost.append(ENDED)
            executor.shutdown(wait=False)  # or Ctrl-C would wait for the tasks
            if lost:
                raise futures.BrokenExecutor(lost[0]) from problem
            raise
        finally:
            over.set()
            watcher.join()
