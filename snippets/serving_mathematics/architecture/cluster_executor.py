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
import inspect
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

from distributed import Client
from distributed.cfexecutor import ClientExecutor
from distributed.deploy.cluster import Cluster

from serving_mathematics import checks


@contextlib.contextmanager
def cluster_executor(scheduler: str | Cluster) -> Iterator[futures.Executor]:
    """The workers of a Dask cluster as an executor, until the end of the block.

    scheduler: address such as "tcp://scheduler:8786", or a cluster object.

    >>> from distributed import LocalCluster
    >>> loopback = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    >>> with (
    ...     LocalCluster(n_workers=1, processes=False, **loopback) as cluster,
    ...     cluster_executor(cluster) as executor,
    ... ):
    ...     executor.submit(sum, [1, 2, 3]).result()
    6
    """
    connect: Callable[[str | Cluster], Any] = Client
    with connect(scheduler) as client, client.get_executor(pure=False) as executor:
        yield executor


def check_dask_takes_tasks_for_pure() -> None:
    """Dask's executor is one of the standard library's kind, and takes a task for pure unless told
    otherwise.

    Source: the class and the signature in the installed version of `distributed`.
    """
    checks.equal("is an Executor", issubclass(ClientExecutor, futures.Executor), True)
    pure = inspect.signature(Client.submit).parameters["pure"].default
    checks.equal("default of pure", pure, True)
