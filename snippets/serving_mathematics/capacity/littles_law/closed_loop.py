"""A load generator with N users is a closed loop, and its law gives the wait: R = N/X − Z.

N users each wait R for an answer, then think Z, then ask again. Drawn around the loop, the box
holds N users who circulate at rate X: N = X(R + Z). With one server of mean service S, X can be at
most 1/S and at most N/(S + Z), so R is at least S and at least NS − Z; the bounds meet at N* = 1 +
Z/S users. Exponential service and thinking give the curve between them exactly, user by user: R(n)
= S(1 + Q(n−1)), X(n) = n/(R(n) + Z), Q(n) = X(n)·R(n).

Assumes: for the response time law and the bounds, only that every user is in the loop. For the
recursion, exponential service and any think time, one server.

Source: Denning and Buzen (1978) for the law and the bounds; Reiser and Lavenberg (1980) for the
recursion (mean value analysis).
"""

from __future__ import annotations

import heapq
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


def response_time(users: int, throughput_per_s: float, think_time_s: float) -> float:
    """Mean response time of a closed loop from what is easy to count, R = N/X − Z [s].

    users: N. throughput_per_s: X, answers per second over all users [1/s]. think_time_s: Z [s].
    Raises ValueError on a non-positive N or X, a negative Z, or an X that N users cannot reach.

    >>> response_time(users=200, throughput_per_s=50.0, think_time_s=1.0)
    3.0
    """
    users = require_positive_integer(users=users)
    throughput_per_s = require_positive(throughput_per_s=throughput_per_s)
    think_time_s = require_non_negative(think_time_s=think_time_s)
    response = users / throughput_per_s - think_time_s
    require(
        response >= 0,
        "throughput_per_s",
        f"at most {users}/{think_time_s:g}, what the users can ask for",
        throughput_per_s,
    )
    return response


def saturating_users(service_s: float, think_time_s: float) -> float:
    """Number of users beyond which the server, not the users, sets the throughput: 1 + Z/S.

    service_s: S, mean time that an answer keeps the server busy [s]. think_time_s: Z [s].
    Raises ValueError on a non-positive S or a negative Z.

    >>> saturating_users(service_s=0.02, think_time_s=1.0)
    51.0
    """
    service_s = require_positive(service_s=service_s)
    think_time_s = require_non_negative(think_time_s=think_time_s)
    return 1 + think_time_s / service_s


def mean_value_analysis(
    users: int, service_s: float, think_time_s: float
) -> tuple[FloatArray, FloatArray]:
    """Throughput [1/s] and mean response time [s] of the loop with 1, 2, …, N users.

    users: N. Other arguments and errors as for `saturating_users`. Exact for one exponential
    server. Returns two arrays of shape (N,). Source: Reiser and Lavenberg (1980).

    >>> throughput, response = mean_value_analysis(users=2, service_s=1.0, think_time_s=1.0)
    >>> throughput.tolist(), response.tolist()
    ([0.5, 0.8], [1.0, 1.5])
    """
    users = require_positive_integer(users=users)
    require_work(users, users=users)
    saturating_users(service_s, think_time_s)  # refuses bad times
    throughput, response = np.empty(int(users)), np.empty(int(users))
    waiting = 0.0
    for n in range(1, int(users) + 1):
        response[n - 1] = service_s * (1 + waiting)
        throughput[n - 1] = n / (response[n - 1] + think_time_s)
        waiting = throughput[n - 1] * response[n - 1]
    return throughput, response


SERVICE_S, THINK_S = 0.02, 1.0  # a 20 ms server and users who pause a second


def example() -> SimpleNamespace:
    """Numbers quoted in the text: service 20 ms, think time 1 s."""
    throughput, response = mean_value_analysis(200, SERVICE_S, THINK_S)
    busy = int(np.searchsorted(throughput * SERVICE_S, 0.9))
    load = float(throughput[busy]) * SERVICE_S
    return SimpleNamespace(
        knee_users=saturating_users(SERVICE_S, THINK_S),
        response_at_200_s=float(response[199]),
        throughput_at_200=float(throughput[199]),
        in_flight_at_200=float(throughput[199] * response[199]),
        audit_without_think=float(throughput[199] * response[199]) / 200,
        response_at_30_ms=1000 * float(response[29]),
        throughput_at_30=float(throughput[29]),
        users_for_90_percent=busy + 1,
        closed_response_ms=1000 * float(response[busy]),
        open_response_ms=1000 * SERVICE_S / (1 - load),
    )


def figure_closed_loop(figure: Figure) -> None:
    """More users stop buying throughput at N* = 51; from there on each adds its 20 ms to everyone.

    Server of 20 ms, think time 1 s. Lines: exact; dashed: the bounds N/(S + Z), 1/S, S and NS − Z.

    Alt: Two charts over 0 to 120 users. Above, throughput rises along a dashed straight line and
    bends into a dashed ceiling of 50 per second around 51 users. Below, response time stays near
    20 milliseconds and then rises along a dashed straight line to 1.4 seconds at 120 users.
    """
    figure.set_size_inches(5.8, 4.6)
    above, below = figure.subplots(2, 1, sharex=True)
    users = np.arange(1, 121)
    throughput, response = mean_value_analysis(120, SERVICE_S, THINK_S)
    above.plot(users, users / (SERVICE_S + THINK_S), "--", color="C4", linewidth=1.4)
    above.axhline(1 / SERVICE_S, color="C4", linestyle="--", linewidth=1.4)
    above.plot(users, throughput, color="C0")
    below.plot(users, np.maximum(users * SERVICE_S - THINK_S, SERVICE_S), "--", color="C4")
    below.plot(users, response, color="C0")
    for axes in (above, below):
        axes.axvline(saturating_users(SERVICE_S, THINK_S), color="C1", linestyle=":", linewidth=1.4)
    above.annotate("N* = 1 + Z/S", (53, 12), color="C1", ha="left", va="center")
    above.annotate("1/S", (4, 51.5), color="C4", ha="left", va="bottom")
    above.annotate("N/(S + Z)", (26, 33), color="C4", ha="right", va="bottom")
    below.annotate("NS − Z", (103, 0.9), color="C4", ha="left", va="center")
    above.set(xlim=(0, 120), ylim=(0, 62), ylabel="throughput X [1/s]")
    below.set(ylim=(0, 1.5), ylabel="response R [s]")
    for axes in (above, below):
        axes.set_xlabel("users N")
    above.xaxis.label.set_visible(False)  # the axis is shared and labelled below


def _simulated_loop(
    rng: np.random.Generator, users: int, requests: int
) -> tuple[FloatArray, float]:
    """Response times of a loop with exponential service, constant thinking, and its length [s]."""
    asking = [(THINK_S * rng.uniform(), user) for user in range(users)]
    heapq.heapify(asking)
    free_at, responses = 0.0, np.empty(requests)
    services = rng.exponential(SERVICE_S, requests).tolist()
    for i, service in enumerate(services):
        asked, user = asking[0]
        free_at = max(asked, free_at) + service
        responses[i] = free_at - asked
        heapq.heapreplace(asking, (free_at + THINK_S, user))
    return responses, free_at


def check_response_time_law() -> None:
    """Users, throughput and think time give the mean response time without measuring one.

    Source: R = N/X − Z = 200/50 − 1 by hand; 60 simulated users whose responses are averaged
    directly, to within one unfinished cycle of each user.
    """
    checks.close("200 users, 50 answers/s, 1 s of thinking [s]", response_time(200, 50.0, 1.0), 3.0)
    responses, length = _simulated_loop(np.random.default_rng(18), 60, 40_000)
    from_counts = response_time(60, 40_000 / length, THINK_S)
    slack = 60 * (THINK_S + float(responses.max())) / 40_000
    checks.close(
        "60 simulated users [s]", from_counts, responses.mean(), atol=slack, kind="simulation"
    )


def check_recursion_against_balance_equations() -> None:
    """The recursion gives what the loop's birth–death chain gives, and stays within the bounds.

    Source: k users waiting with probability proportional to N!/(N−k)!·(S/Z)^k, summed directly.
    """
    throughput, response = mean_value_analysis(60, SERVICE_S, THINK_S)
    for users in (1, 7, 51, 60):
        weights = [math.perm(users, k) * (SERVICE_S / THINK_S) ** k for k in range(users + 1)]
        busy = 1 - weights[0] / math.fsum(weights)
        checks.close(f"X with {users} users", throughput[users - 1], busy / SERVICE_S, rtol=1e-12)
    counts = np.arange(1, 61)
    limit = np.minimum(counts / (SERVICE_S + THINK_S), 1 / SERVICE_S)
    checks.holds("X below both bounds", np.all(throughput <= limit * (1 + 1e-12)))
    floor = np.maximum(SERVICE_S, counts * SERVICE_S - THINK_S)
    checks.holds("R above both bounds", np.all(response >= floor * (1 - 1e-12)))


def check_simulated_loop() -> None:
    """A simulated loop of 45 users with a constant think time has the recursion's response time.

    Source: batch means over 84,000 simulated requests; only the mean of the think time matters.
    """
    responses, _ = _simulated_loop(np.random.default_rng(13), 45, 86_000)
    expected = mean_value_analysis(45, SERVICE_S, THINK_S)[1][-1]
    checks.covers("R [s]", batch_means(responses[2000:]), float(expected))


def check_bad_input_is_refused() -> None:
    """Half a user, negative pauses, and throughputs that the users cannot produce are errors."""
    checks.raises("half a user", mean_value_analysis, 1.5, 1.0, 1.0, match="users must be")
    checks.raises("Z < 0", saturating_users, 1.0, -1.0, match="think_time_s must be non-negative")
    checks.raises(
        "more answers than questions",
        response_time,
        10,
        11.0,
        1.0,
        match="throughput_per_s must be at most 10/1",
    )
