"""Solutions: the load that users make, clients that a test left idle, and an engine's line.

Inside and away are all clients, whatever the law. The step of an engine is a line in its batch,
which two tests give and one does not.

Assumes: the chapter's closed loop.

Source: Denning and Buzen (1978).
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.throughput.closed_loop_engine import loop_rate
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_shape,
)

HINTS = {
    "share_of_ceiling": (
        "A user asks once in Z + R while nobody queues. So N users ask N/(Z + R) times a second."
    ),
    "idle_clients": (
        "Little's law: X·R clients are waiting for an answer. The others were not asking."
    ),
    "engine_from_tests": (
        "A step takes s + d·b, a line in the batch: fit it by least squares. The rate at the "
        "largest batch is B over the step there. One batch size does not determine a line."
    ),
}


def share_of_ceiling(users: int, away_s: float, answer_s: float, ceiling_per_s: float) -> float:
    """How full a service is with so many users, at most 1.

    users: N ≥ 1. away_s: Z ≥ 0, from an answer to the next request [s]. answer_s: R > 0, what an
    answer takes while nobody queues [s]. ceiling_per_s: C > 0, requests a second at most [1/s].
    Raises ValueError outside these ranges.

    >>> share_of_ceiling(100, away_s=15.0, answer_s=5.0, ceiling_per_s=20.0)
    0.25
    """
    users = require_positive_integer(users=users)
    away_s = require_non_negative(away_s=away_s)
    answer_s, ceiling_per_s = require_positive(answer_s=answer_s, ceiling_per_s=ceiling_per_s)
    return min(1.0, users / ((away_s + answer_s) * ceiling_per_s))


def idle_clients(clients: int, per_s: float, response_s: float) -> float:
    """Clients of a load test that were not waiting for an answer, on average; over a whole test
    also those that had nothing left to send.

    clients: N ≥ 1. per_s: X > 0, answers a second [1/s]. response_s: R > 0, mean time of an answer
    [s]. Where X·R is up to a hundredth above N, 0; where it is more, no test can show that, and it
    raises ValueError.

    >>> idle_clients(64, per_s=10.0, response_s=6.0)
    4.0
    """
    clients = require_positive_integer(clients=clients)
    per_s, response_s = require_positive(per_s=per_s, response_s=response_s)
    waiting = per_s * response_s
    rule = f"at most {clients} clients over per_s"
    require(waiting <= 1.01 * clients, "response_s", rule, response_s)
    return max(clients - waiting, 0.0)


def engine_from_tests(
    batches: npt.ArrayLike, steps_s: npt.ArrayLike, max_batch: int
) -> tuple[float, float, float]:
    """Fixed time and time per request of an engine's step [s], and its ceiling [1/s].

    batches: mean number of requests in a step, shape (m,), m ≥ 2, not all equal. steps_s: mean time
    of such a step [s], same shape. max_batch: B, of a full step. Least squares for s + d·b. Raises
    ValueError outside these ranges, and where the line falls or is not positive.

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


def check_engine_from_tests() -> None:
    """Noisy steps give the line that they were drawn from, and the ceiling of a full batch.

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
    told = [level, slope, 24 / (level + 24 * slope)]
    checks.close("least squares", engine_from_tests(sizes, sets[0], 24), told, rtol=1e-9)


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        pencil_percent=100 * share_of_ceiling(600, 54.0, 6.0, 20.0),
        board_idle=idle_clients(256, 20.0, 6.4),
        two_tests_ceiling=engine_from_tests([1, 4], [0.020, 0.026], 16)[2],
    )


def check_share_of_ceiling() -> None:
    """While nobody queues, the share is that of the chapter's loop; beyond the knee it is 1.

    Source: `loop_rate` with rates in proportion to those inside, which never queue.
    """
    rates = np.arange(1, 101) / 4.0  # an answer takes 4 s whoever else is there, 100 places
    for users in (1, 40, 250, 350, 900):
        told = loop_rate(users, 10.0, rates)[0] / 25.0
        checks.close(f"{users} users", share_of_ceiling(users, 10.0, 4.0, 25.0), told, rtol=1e-9)


def check_idle_clients_of_a_simulated_loop() -> None:
    """The clients that a simulated loop leaves outside are those that its pause keeps outside.

    Source: the record, 64 clients who stay away for ten seconds; Z·X by the loop.
    """
    record = read_record("closed_loop_engine")["cells"]
    cell = next(one for one in record if (one["clients"], one["away"]) == (64, 10))
    response_s = cell["inside"] / cell["requests"]
    outside = idle_clients(64, cell["requests"], response_s)
    checks.close("clients outside", outside, 10 * cell["requests"], rtol=0.05, kind="simulation")
    checks.close("by hand", idle_clients(40, 5.0, 7.0), 5.0, rtol=1e-12)
    checks.equal("a hundredth above", idle_clients(40, 5.0, 8.05), 0.0)


def check_bad_input_is_refused() -> None:
    """No clients, more of them waiting than there are and a single batch size are errors."""
    checks.raises("nobody", share_of_ceiling, 0, 1.0, 1.0, 1.0, match="users must be a positive")
    checks.raises("70 of 64", idle_clients, 64, 10.0, 7.0, match="response_s must be at most 64")
    checks.raises("one size", engine_from_tests, [2, 2], [1, 1], 4, match="batches must be of two")
