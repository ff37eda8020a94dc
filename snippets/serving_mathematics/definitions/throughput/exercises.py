"""Solutions: a forecast from one test, many clients cheaply, and an engine's line.

A test at low load shows the demands, U_k/X, and the time away, N/X − R, and with them the
throughput at any load. Schweitzer's guess for the queues that an arrival finds, Q_k(N)·(N−1)/N,
replaces the recursion over clients by a fixed point. The step of a batching engine is a line in its
batch, which two tests give and one does not.

Assumes: the chapter's closed loop, exponential service.

Source: Denning and Buzen (1978); PDQ for Schweitzer's algorithm.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.closed_network import (
    AWAY_S,
    SERVER_S,
    convolution_throughput,
    simulate_cycles,
)
from serving_mathematics.core.queues.mean_value_analysis import asymptotic_bounds, exact_mva
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.throughput.throughput import (
    TEXTBOOK_CLIENTS,
    TEXTBOOK_S,
    TEXTBOOK_THINK_S,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_positive,
    require_positive_integer,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]

HINTS = {
    "forecast_throughput": (
        "The laws of one test give all parameters: demand is utilization over throughput, think"
        " time is what the cycle N/X leaves beside the response. Then run `exact_mva` for the "
        "new number of clients."
    ),
    "schweitzer_mva": (
        "Guess the queues, take (N−1)/N of each as what an arrival finds, compute residence "
        "times, throughput and new queues, and repeat until they stay. One client must come out"
        " exact."
    ),
    "engine_from_tests": (
        "A step takes s + d·b, a line in the batch: fit it by least squares. The rate at the "
        "largest batch is B over the step there. One batch size does not determine a line."
    ),
}


def forecast_throughput(
    target_clients: int,
    clients: int,
    throughput_per_s: float,
    utilizations: npt.ArrayLike,
    response_s: float,
) -> float:
    """Throughput [1/s] at `target_clients`, from one test with fewer clients.

    clients, throughput_per_s, response_s: N, X and R of the test. utilizations: share of the time
    that each server was busy in it, shape (K,), in (0, 1]. Raises ValueError outside these ranges,
    and when N/X < R, which no test can show.

    >>> round(forecast_throughput(2, 1, 0.25, [0.25, 0.25], response_s=2.0), 9)  # D = 1, 1; Z = 2
    0.444444444
    """
    response_s = as_number(response_s=response_s)
    busy = as_floats(utilizations=utilizations)
    require(busy.ndim == 1 and busy.size > 0, "utilizations", "a (K,) array", busy.shape)
    require(np.all((busy > 0) & (busy <= 1)), "utilizations", "in (0, 1]", busy)
    throughput_per_s = require_positive(throughput_per_s=throughput_per_s)
    clients = require_positive_integer(clients=clients)
    cycle = clients / throughput_per_s
    require(0 < response_s <= cycle, "response_s", f"in (0, {cycle:g}], N/X", response_s)
    throughput, _ = exact_mva(target_clients, busy / throughput_per_s, cycle - response_s)
    return float(throughput[-1])


def schweitzer_mva(
    clients: int, demands_s: npt.ArrayLike, think_time_s: float
) -> tuple[float, FloatArray]:
    """Approximate throughput [1/s] and queues, shape (K,), at a cost that does not grow with N.

    clients: N. demands_s: D_k [s], shape (K,). think_time_s: Z [s]. Iterated until no queue moves
    by more than 10⁻¹² of itself. Raises ValueError outside the ranges of `exact_mva`.

    >>> throughput, queues = schweitzer_mva(1, [1.0, 2.0], think_time_s=1.0)  # exact for one client
    >>> throughput, queues.tolist()
    (0.25, [0.25, 0.5])
    """
    asymptotic_bounds(clients, demands_s, think_time_s)  # refuses a bad network
    demands = as_floats(demands_s=demands_s)
    queues = np.full(demands.size, clients / demands.size)
    for _ in range(100_000):
        residence = demands * (1 + queues * (clients - 1) / clients)
        throughput = clients / (think_time_s + float(residence.sum()))
        before, queues = queues, throughput * residence
        if np.all(np.abs(queues - before) <= 1e-12 * queues):
            break
    return throughput, queues


def engine_from_tests(
    batches: npt.ArrayLike, steps_s: npt.ArrayLike, max_batch: int
) -> tuple[float, float, float]:
    """Fixed time and time per request of an engine's step [s], and its ceiling [1/s].

    batches: mean number of requests in a step, shape (m,), m ≥ 2, not all equal. steps_s: mean time
    of such a step [s], same shape. max_batch: B. Least squares for s + d·b, which is B/(s + d·B)
    when full. Raises ValueError outside these ranges, and where the line falls or is not positive.

    >>> fixed, item, ceiling = engine_from_tests([1, 4], [0.020, 0.026], max_batch=16)
    >>> round(fixed, 9), round(item, 9), round(ceiling, 6)
    (0.018, 0.002, 320.0)
    """
    sizes, steps = as_floats(batches=batches), as_floats(steps_s=steps_s)
    require(sizes.ndim == 1 and np.unique(sizes).size >= 2, "batches", "of two sizes", sizes)
    require_shape(sizes.shape, steps_s=steps)
    require(np.all((sizes >= 1) & (sizes < math.inf)), "batches", "finite and at least 1", sizes)
    require_all_positive(steps_s=steps)
    max_batch = require_positive_integer(max_batch=max_batch)
    item = float(np.sum((sizes - sizes.mean()) * steps) / np.sum((sizes - sizes.mean()) ** 2))
    fixed = float(steps.mean() - item * sizes.mean())
    require(fixed > 0 and item >= -1e-12, "steps_s", "a rising line above 0", steps)
    return fixed, item, max_batch / (fixed + item * max_batch)


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    errors = [
        schweitzer_mva(n, SERVER_S, z)[0] / exact_mva(n, SERVER_S, z)[0][-1] - 1
        for n, z in ((6, AWAY_S), (1000, 20.0))
    ]
    return SimpleNamespace(
        schweitzer_error_percent=100 * float(errors[0]),
        schweitzer_thousand_error_percent=100 * float(errors[1]),
        two_tests_ceiling=engine_from_tests([1, 4], [0.020, 0.026], 16)[2],
    )


def check_forecast_from_a_simulated_test() -> None:
    """Tests with three clients foresee what twelve will get.

    Source: twelve simulated tests of 1,500 requests, each with its own forecast; mean and standard
    error over the tests against the throughput by convolution. R is the test's own N/X − Z.
    """
    forecasts = []
    for seed in range(12):
        rng = np.random.default_rng(8400 + seed)
        done, busy = simulate_cycles(rng, 3, TEXTBOOK_S, TEXTBOOK_THINK_S, cycles=1500)
        rate = done.size / float(done[-1])
        response = 3 / rate - TEXTBOOK_THINK_S
        forecasts.append(forecast_throughput(12, 3, rate, busy / done[-1], response))
    error = float(np.std(forecasts, ddof=1)) / math.sqrt(len(forecasts))
    exact = float(convolution_throughput(12, TEXTBOOK_S, TEXTBOOK_THINK_S)[-1])
    checks.covers(
        "X with twelve clients [1/s]", MeanEstimate(float(np.mean(forecasts)), error, 0.0), exact
    )


def check_schweitzer_on_the_textbook() -> None:
    """On the textbook's example the approximation errs by a third of a percent.

    Source: X and queues as PDQ's mvaapprox.pl quotes them from Lazowska et al. (1984); exact X by
    convolution.
    """
    throughput, queues = schweitzer_mva(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)
    checks.close("X [1/s]", throughput, 0.1510, atol=5e-5, kind="published")
    checks.close("queues", queues, [0.0973, 0.4021, 0.2359], atol=1e-4, kind="published")
    exact = convolution_throughput(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)[-1]
    checks.close("against the exact X", throughput, exact, rtol=0.005)


def check_engine_from_tests() -> None:
    """Noisy steps give the line that made them, and the ceiling that a full batch has.

    Source: 400 sets of eight steps with 5% of noise; mean and standard error over the sets against
    the line, and numpy's own least squares for one of them.
    """
    rng = np.random.default_rng(86)
    sizes = np.array([1, 2, 4, 6, 8, 10, 12, 16.0])
    sets = (0.018 + 0.002 * sizes) * (1 + 0.05 * rng.standard_normal((400, 8)))
    found = np.array([engine_from_tests(sizes, steps, 16)[:2] for steps in sets])
    for name, column, true in (("fixed [s]", 0, 0.018), ("per request [s]", 1, 0.002)):
        values = found[:, column]
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        checks.covers(name, MeanEstimate(float(values.mean()), error, 0.0), true)
    slope, level = np.polyfit(sizes, sets[0], 1)
    got = engine_from_tests(sizes, sets[0], 16)[:2]
    checks.close("least squares", got, [level, slope], rtol=1e-9)


def check_bad_input_is_refused() -> None:
    """Impossible tests, empty batches and tests of one size are errors."""
    checks.raises(
        "busy 120%",
        forecast_throughput,
        9,
        1,
        1.0,
        [1.2],
        0.5,
        match="utilizations must be in (0, 1]",
    )
    checks.raises(
        "R > N/X", forecast_throughput, 9, 1, 1.0, [0.5], 2.0, match="response_s must be in (0, 1]"
    )
    checks.raises("no clients", schweitzer_mva, 0, [1.0], 1.0, match="clients must be a positive")
    checks.raises("one size", engine_from_tests, [4, 4], [1, 1], 8, match="batches must be of two")
