"""What a controller sees: the time per token, or what arrives, over a target.

Both follow Kubernetes' rule on a mean over the last minute, as `rate(…[1m])` gives it. The time per
token is measured in production; here a replica's own curve tells it from the requests inside.
Arrivals are counted at the gateway, and need to be told what one replica carries.

Assumes: ticks of 15 s; load spread evenly over the replicas.

Source: Kubernetes, documentation of Horizontal Pod Autoscaling, by `core.fleet.scaling_rules`.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.replica_response import Replica
from serving_mathematics.core.fleet.scaling_rules import Policy, damped, hpa_replicas
from serving_mathematics.support import checks

WINDOW_TICKS = 4  # a minute


def _on_tokens(target_s: float, replica: Replica) -> Policy:
    """Kubernetes' rule on the time per token: its mean over a minute, over the target.

    target_s: time per token to hold [s]. replica: what tells the time from the requests inside; in
    production it is measured.

    >>> small = Replica(np.array([0.0, 1.0, 1.5]), np.array([0.02, 0.02, 0.03]), 2, 1.0)
    >>> policy = _on_tokens(0.020, small)
    >>> policy(0.0, 10, 10, 1.0, 20.0)  # two requests in each of ten: 30 ms
    15
    """
    counts, times = np.arange(replica.places + 1), replica.tokens_s
    minute: deque[float] = deque(maxlen=WINDOW_TICKS)

    def asked(replicas: int, ready: int, _taken: float, requests: float) -> int:
        minute.append(float(np.interp(requests / ready, counts, times)))
        metric = sum(minute) / len(minute)
        starting = replicas - ready
        return hpa_replicas(replicas, metric, target_s, not_ready=starting, metric_type="External")

    return damped(asked)


def _as_for_cpu(held: float) -> Policy:
    """Requests inside, if starting replicas counted as they do for CPU: none is kept on the way
    down. Kubernetes counts them so while their pods are pending.

    held: requests in each ready replica.

    >>> policy = _as_for_cpu(10.0)
    >>> [policy(15.0 * k, 10, 5, 1.0, 25.0) for k in range(22)][-1]
    3
    """

    def asked(replicas: int, ready: int, _taken: float, requests: float) -> int:
        return hpa_replicas(replicas, requests / ready, held, not_ready=replicas - ready)

    return damped(asked)


def _on_arrivals(load_per_s: npt.ArrayLike, replica_per_s: float) -> Policy:
    """Kubernetes' rule on what arrives: requests of the last minute, over what one replica shall
    carry.

    load_per_s: of each second. replica_per_s: requests a second.

    >>> policy = _on_arrivals([100.0] * 600, replica_per_s=10.0)
    >>> policy(300.0, 6, 6, 1.0, 900.0)
    10
    """
    total = np.append(0.0, np.cumsum(load_per_s))
    now = 0

    def asked(replicas: int, _ready: int, _taken: float, _requests: float) -> int:
        first = max(0, now - 60)
        rate = float(total[now] - total[first]) / max(now - first, 1)
        return hpa_replicas(replicas, rate / replicas, replica_per_s)

    inner = damped(asked)

    def policy(time_s: float, *seen: float) -> int:
        nonlocal now
        now = min(int(time_s), total.size - 1)
        return inner(time_s, *seen)  # type: ignore[arg-type]

    return policy


def check_a_full_fleet_reads_no_more() -> None:
    """Where 64 requests run and no more may, a target of 59 orders nothing, and one of 58 does.

    Source: by hand.
    """
    at_ceiling = [hpa_replicas(10, 64.0, target) for target in (59.0, 58.0)]
    checks.equal("at its ceiling", at_ceiling, [10, 12])
