"""Two independent ways to the throughput of a closed network: counting its states, and running it.

N clients circulate: each thinks for Z, then passes K single servers, then thinks again. With
exponential service the probability of finding n_k requests at server k is proportional to
D_1^{n_1}·…·D_K^{n_K}·Z^m/m! for the m = N − Σn_k clients that think. G(N), the sum of these
products over all states, is built by convolution, and X(N) = G(N−1)/G(N). The simulation needs no
such assumption.

Assumes: one class of clients; single servers, first come first served; for the convolution,
exponential service (any distribution of the think time).

Source: Gordon and Newell (1967) for the product form; Buzen (1973) for the convolution.
"""

from __future__ import annotations

import heapq
import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means, gamma_times
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_all_sorted,
    require_non_negative,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]


def convolution_throughput(
    clients: int, demands_s: npt.ArrayLike, think_time_s: float
) -> FloatArray:
    """Throughput [1/s] with 1, 2, …, N clients, from the normalizing constants of the network.

    clients: N. demands_s: D_k, mean time that a request keeps server k busy [s], shape (K,).
    think_time_s: Z [s]. Returns shape (N,). Raises ValueError on a non-positive N, an empty or
    non-positive array of demands, or a negative Z.

    >>> convolution_throughput(2, [1.0], think_time_s=1.0).round(9).tolist()  # G = 1, 2, 2.5
    [0.5, 0.8]
    """
    clients = require_positive_integer(clients=clients)
    require_work(200 * clients, clients=clients)
    demands = as_floats(demands_s=demands_s)
    require(demands.ndim == 1 and demands.size > 0, "demands_s", "a (K,) array", demands.shape)
    require_all_positive(demands_s=demands)
    think_time_s = require_non_negative(think_time_s=think_time_s)
    log_g = np.full(int(clients) + 1, -math.inf)  # logarithms: G leaves the floats either way
    log_g[0] = 0.0
    if think_time_s > 0:
        log_g = np.array(
            [n * math.log(think_time_s) - math.lgamma(n + 1) for n in range(log_g.size)]
        )
    for log_demand in np.log(demands):
        for n in range(1, int(clients) + 1):
            log_g[n] = np.logaddexp(log_g[n], log_demand + log_g[n - 1])
    return np.asarray(np.exp(log_g[:-1] - log_g[1:]))


def simulate_cycles(
    rng: np.random.Generator,
    clients: int,
    demands_s: npt.ArrayLike,
    think_time_s: float,
    *,
    service_scv: float = 1.0,
    cycles: int = 20_000,
) -> tuple[FloatArray, FloatArray]:
    """Run the loop: times at which requests complete [s], and busy time of each server [s].

    clients: N. demands_s: D_k [s], shape (K,), visited in this order, one visit each.
    think_time_s: Z [s], constant. service_scv: squared coefficient of variation of every service
    time. cycles: requests to complete; the run starts with all clients thinking, out of step.
    Returns shapes (cycles,) and (K,). Raises ValueError outside these ranges.

    >>> done, busy = simulate_cycles(
    ...     np.random.default_rng(0), 1, [1.0, 2.0], think_time_s=3.0, service_scv=0.0, cycles=4
    ... )
    >>> np.diff(done).tolist(), busy.tolist()  # one client, a cycle of six seconds
    ([6.0, 6.0, 6.0], [4.0, 8.0])
    """
    clients, think_time_s, cycles = as_number(
        clients=clients, think_time_s=think_time_s, cycles=cycles
    )
    demands = as_floats(demands_s=demands_s)
    convolution_throughput(clients, demands, think_time_s)  # refuses a bad network
    service_scv = require_non_negative(service_scv=service_scv)
    cycles = require_positive_integer(cycles=cycles)
    require_work(clients * cycles + 200 * clients, clients=clients, cycles=cycles)
    draws = [
        gamma_times(rng, d, service_scv, int(cycles + clients)).tolist() for d in demands.tolist()
    ]
    spread = rng.uniform(0, think_time_s + float(demands.sum()), int(clients)).tolist()
    arriving = [(start, client, 0) for client, start in enumerate(spread)]
    heapq.heapify(arriving)
    free_at, served = [0.0] * demands.size, [0] * demands.size
    done = np.empty(int(cycles))
    count = 0
    while count < cycles:
        now, client, station = arriving[0]
        finish = max(now, free_at[station]) + draws[station][served[station]]
        free_at[station], served[station] = finish, served[station] + 1
        if station + 1 < demands.size:
            heapq.heapreplace(arriving, (finish, client, station + 1))
        else:
            heapq.heapreplace(arriving, (finish + think_time_s, client, 0))
            done[count], count = finish, count + 1
    busy = [math.fsum(d[:n]) for d, n in zip(draws, served, strict=True)]
    return done, np.asarray(busy)


def mean_gap(completions_s: npt.ArrayLike) -> MeanEstimate:
    """Mean time between completions [s], the reciprocal of throughput, with its standard error.

    completions_s: sorted times [s], shape (n,); the first tenth is dropped as warm-up, the rest
    goes to batch means, which refuses a run that is too short.

    >>> mean_gap(np.arange(1000) / 8).mean
    0.125
    """
    completions_s = require_all_sorted(completions_s=completions_s)
    times = as_floats(completions_s=completions_s)
    require(times.ndim == 1, "completions_s", "one-dimensional", times.shape)
    return batch_means(np.diff(times[times.size // 10 :]))


SERVER_S = (0.006, 0.020, 0.002)  # tokenizer, GPU, detokenizer: demand per request [s]
AWAY_S = 0.1  # network and client between two requests [s]


def example() -> SimpleNamespace:
    """Simulated throughput of the chapter's server with eight clients, by kind of service time."""
    runs = {
        scv: mean_gap(
            simulate_cycles(np.random.default_rng(81), 8, SERVER_S, AWAY_S, service_scv=scv)[0]
        )
        for scv in (0.0, 4.0)
    }
    return SimpleNamespace(
        constant_per_s=1 / runs[0.0].mean,
        constant_per_s_ci=runs[0.0].half_width / runs[0.0].mean ** 2,
        exponential_per_s=float(convolution_throughput(8, SERVER_S, AWAY_S)[-1]),
        variable_per_s=1 / runs[4.0].mean,
        variable_per_s_ci=runs[4.0].half_width / runs[4.0].mean ** 2,
    )


def _balance_throughput(clients: int, demands: tuple[float, ...], think_time: float) -> float:
    """Throughput from the global balance equations: one linear equation per state."""
    states = [s for s in product(range(clients + 1), repeat=len(demands)) if sum(s) <= clients]
    index = {state: i for i, state in enumerate(states)}
    rates = np.zeros((len(states), len(states)))
    for state, i in index.items():
        moves = [(-1, 0, (clients - sum(state)) / think_time)]  # a thinking client asks
        moves += [(k, k + 1, 1 / d) for k, d in enumerate(demands) if state[k]]
        for source, target, rate in moves:
            after = list(state)
            if source >= 0:
                after[source] -= 1
            if target < len(demands):
                after[target] += 1
            if rate > 0:
                rates[i, index[tuple(after)]] += rate
    rates -= np.diag(rates.sum(axis=1))
    system = np.vstack([rates.T, np.ones(len(states))])
    shares = np.linalg.lstsq(system, np.r_[np.zeros(len(states)), 1.0], rcond=None)[0]
    last_busy = sum(share for state, share in zip(states, shares, strict=True) if state[-1])
    return float(last_busy / demands[-1])


def check_convolution_against_balance_equations() -> None:
    """Convolution gives the throughput of the Markov chain, solved state by state.

    Source: global balance equations with exponential service and thinking, by least squares.
    """
    for clients, demands, think in (
        (3, (0.605, 2.1, 1.35), 15.0),
        (5, (0.006, 0.02, 0.002), 0.1),
        (9, (1.0, 0.7), 4.0),
    ):
        exact = _balance_throughput(clients, demands, think)
        got = convolution_throughput(clients, demands, think)[-1]
        checks.close(f"X, {clients} clients, {len(demands)} servers", got, exact, rtol=1e-9)


def check_simulation_against_convolution() -> None:
    """The simulated loop completes requests at the rate that the states give.

    Source: convolution; 14,000 simulated cycles each, batch means of the gaps between completions.
    """
    for clients in (3, 6, 12):
        rng = np.random.default_rng(800 + clients)
        done, busy = simulate_cycles(rng, clients, SERVER_S, AWAY_S, cycles=14_000)
        exact = float(convolution_throughput(clients, SERVER_S, AWAY_S)[-1])
        checks.covers(f"gap between completions, {clients} clients [s]", mean_gap(done), 1 / exact)
        shares = busy / busy.sum()
        checks.close(
            f"shares of the busy time, {clients} clients",
            shares,
            np.array(SERVER_S) / sum(SERVER_S),
            atol=3 * 0.6 / math.sqrt(done.size),  # a share p of sums of n exponentials: ≤ 0.6/√n
            kind="simulation",
        )


def check_equal_servers_without_thinking() -> None:
    """With K equal servers and no thinking, X = N/((N + K − 1)·D).

    Source: all C(N+K−1, N) states are equally likely, and a server is busy in N/(N+K−1) of them.
    """
    n = np.arange(1, 31)
    for servers in (1, 2, 5):
        got = convolution_throughput(30, [0.25] * servers, 0.0)
        checks.close(f"K = {servers}", got, n / (n + servers - 1) / 0.25, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """Empty networks, free servers, negative pauses and half clients are errors."""
    checks.raises(
        "no servers", convolution_throughput, 1, [], 1.0, match="demands_s must be a (K,)"
    )
    checks.raises(
        "demand 0", convolution_throughput, 1, [0.0], 1.0, match="demands_s must be positive"
    )
    checks.raises("Z < 0", convolution_throughput, 1, [1.0], -1.0, match="think_time_s must be")
    checks.raises("half a client", convolution_throughput, 1.5, [1.0], 1.0, match="clients must be")
    checks.raises("unsorted log", mean_gap, [2.0, 1.0], match="completions_s must be finite and")
    checks.raises(
        "no cycles",
        simulate_cycles,
        np.random.default_rng(0),
        1,
        [1.0],
        1.0,
        cycles=0,
        match="cycles must be a positive integer",
    )
