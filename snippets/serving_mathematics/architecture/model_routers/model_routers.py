"""Which replica takes a request decides how many requests stand in front of it, and that decides
its response time; which model takes it decides what is paid.

With exponential service of mean 1 a request that finds j others at its server responds after j + 1
services. Let f_j be the probability that it finds j or more. Then the mean response is Σ_j f_j and
P(T > t) = Σ_j e^{−t} t^j/j! · f_j, for every policy: f_j = ρ^j (random), σ^j (round robin),
ρ^{(d^{j+1}−d)/(d−1)} (the best of d random servers, many servers), and a small Markov chain for the
shorter of two queues. Models are paid along the way: a cascade pays every model that it asks, a
router pays one.

Assumes: Poisson arrivals, exponential service, first come first served at every server, current
queue lengths.

Source: Mitzenmacher (2001) and Vvedenskaya, Dobrushin and Karpelevich (1996) for d choices;
Kleinrock (1975) for G/M/1; Adan, Wessels and Zijm (1990) for the shorter of two queues;
Chen, Zaharia and Zou (2023) for cascades; Ong et al. (2024) for routers.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

NEGLIGIBLE = 1e-17  # probabilities below this are dropped


def best_of_d_found(utilization: float, choices: int = 2) -> FloatArray:
    """Probabilities f_j that a request finds j or more others at the best of d random servers, of
    very many.

    utilization: ρ in [0, 1). choices: d ≥ 1; 1 is random routing. Returns f_0 = 1, f_1, … until
    they are negligible: f_j = s_j^d, where s_j = ρ·s_{j−1}^d is the share of servers with j or
    more. Raises ValueError outside these ranges.

    >>> best_of_d_found(0.5, choices=2)[:4].tolist()  # 2^-(2^(j+1) - 2)
    [1.0, 0.25, 0.015625, 6.103515625e-05]
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    choices = require_positive_integer(choices=choices)
    found = [1.0]
    while (following := (utilization * found[-1]) ** choices) > NEGLIGIBLE:
        found.append(following)
    return np.array(found)


def round_robin_found(utilization: float, servers: int) -> FloatArray:
    """Probabilities f_j = σ^j that a request finds j or more others when n servers take turns.

    utilization: ρ in [0, 1). servers: n. Each server sees every n-th arrival, and σ is the root
    below 1 of σ = (nρ/(nρ + 1 − σ))^n, found by Newton's method from 0. Raises ValueError outside
    these ranges. Source: Kleinrock (1975).

    >>> round_robin_found(0.5, servers=1)[:3].round(12).tolist()
    [1.0, 0.5, 0.25]
    """
    utilization = require_in("[0, 1)", utilization=utilization)
    servers = require_positive_integer(servers=servers)
    rate, root = servers * utilization, 0.0
    for _ in range(100):
        value = (rate / (rate + 1 - root)) ** servers
        root += (value - root) / (1 - servers * value / (rate + 1 - root))
    length = 1.0 if root == 0 else math.ceil(math.log(NEGLIGIBLE) / math.log(root))
    require_work(length, utilization=utilization)
    return np.asarray(root ** np.arange(length))


def shorter_of_two_found(utilization: float, differences: int = 40) -> FloatArray:
    """Probabilities f_j that the shorter of two queues holds j or more requests.

    utilization: ρ in [0, 1) per server. differences: largest difference of the two lengths that the
    chain keeps; each further one is at least three times rarer. The state (shorter, difference) is
    a chain in levels, whose shares are π_{j+1} = π_j·R with R = up·(out − stay − up·G)^{-1}; G says
    in which state a level is left for the one below. Raises ValueError outside these ranges.
    Source: Adan, Wessels and Zijm (1990) for the model; Latouche and Ramaswami (1993) for G, by
    leaving out every second level again and again.

    >>> round(float(shorter_of_two_found(0.8).sum()), 6)
    2.955737
    """
    differences = as_number(differences=differences)
    utilization = require_in("[0, 1)", utilization=utilization)
    whole = 2 <= differences < math.inf and differences % 1 == 0
    require(whole, "differences", "an integer of at least 2", differences)
    size, arrivals = int(differences) + 1, 2 * utilization
    levels = math.log(NEGLIGIBLE) / math.log(utilization) / 2 if utilization else 1.0
    require_work(
        levels * (100 + size**2 / 30) + 30 * size**3 / 10,
        utilization=utilization,
        differences=differences,
    )
    up, stay, down, first = (np.zeros((size, size)) for _ in range(4))
    for k in range(size):
        if k > 0:
            up[k, k - 1] = arrivals  # the shorter queue grows
            stay[k, k - 1] += 1.0  # the longer one finishes a request
        else:
            stay[0, 1] += arrivals
        if k + 1 < size:
            down[k, k + 1] = 2.0 if k == 0 else 1.0  # the shorter one, or one of two equal ones
        if k > 0:
            first[k, k - 1] += 1.0
        else:
            first[0, 1] += arrivals
    out = np.diag((up + stay + down).sum(axis=1)) - stay
    higher, lower = np.linalg.solve(out, up), np.linalg.solve(out, down)
    ends, climbs = lower, higher
    while climbs.max() > 1e-17:
        rest = np.eye(size) - higher @ lower - lower @ higher
        higher = np.linalg.solve(rest, higher @ higher)  # seen at every second level only
        lower = np.linalg.solve(rest, lower @ lower)
        ends, climbs = ends + climbs @ lower, climbs @ higher
    ratio = up @ np.linalg.inv(out - up @ ends)
    balance = first - np.diag((first + up).sum(axis=1)) + ratio @ down
    total = np.linalg.inv(np.eye(size) - ratio).sum(axis=1)
    balance[:, 0] = total  # one balance equation is redundant; this one makes the sum 1
    level = np.linalg.solve(balance.T, np.eye(size)[0])
    found = [1.0]
    while found[-1] > NEGLIGIBLE:
        level = level @ ratio
        found.append(float(level @ total))
    return np.array(found[:-1])


def response_exceeds(found: npt.ArrayLike, time: float) -> float:
    """P(T > t) of a request that finds j or more others with probability f_j.

    found: f_0 = 1, f_1, … not increasing, shape (n,); zero beyond. time: t ≥ 0 in mean services.
    Returns Σ_j e^{−t} t^j/j! · f_j: j services ended by t, and there was more than that to do.
    Raises ValueError on anything else.

    >>> round(response_exceeds([1.0], 2.0) - math.exp(-2.0), 12)
    0.0
    """
    f = as_floats(found=found)
    require(f.ndim == 1 and f.size > 0 and f[0] == 1, "found", "a sequence from 1 on", found)
    require(np.all(np.diff(f) <= 0) and f[-1] >= 0, "found", "probabilities that fall", found)
    time = require_non_negative(time=time)
    return _exceeds(f, time) if time > 0 else 1.0


def _exceeds(found: FloatArray, time: float) -> float:
    """The same for t > 0, of what has been tried already."""
    steps = np.arange(found.size)
    log_factorial = np.cumsum(np.log(np.maximum(steps, 1)))
    if time == 0:
        return float(found[0])
    return float(np.exp(steps * math.log(time) - time - log_factorial) @ found)


def response_quantile(found: npt.ArrayLike, probability: float) -> float:
    """Quantile of the response time in mean services, by bisection of `response_exceeds`.

    found: as there. probability: q in (0, 1). Raises ValueError outside these ranges.

    >>> round(response_quantile([1.0], 0.99), 5)  # ln 100
    4.60517
    """
    probability = require_in("(0, 1)", probability=probability)
    low, high = 0.0, 1.0
    while response_exceeds(found, high) > 1 - probability:
        low, high = high, 2 * high
    shares = as_floats(found=found)
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        late = _exceeds(shares, middle) > 1 - probability
        low, high = (middle, high) if late else (low, middle)
    return high


def cascade_cost(costs: npt.ArrayLike, deferrals: npt.ArrayLike) -> float:
    """Mean cost of a query that is asked model by model until one is sure enough.

    costs: c_k > 0 of one query to each model in turn, shape (K,). deferrals: share of the queries
    seen by each model but the last that goes on, in [0, 1], shape (K − 1,). Returns Σ_k c_k·P(reach
    k). Raises ValueError outside these ranges.

    >>> round(cascade_cost([0.10, 15.0], deferrals=[0.2]), 12)
    3.1
    """
    c, onward = as_floats(costs=costs), as_floats(deferrals=deferrals)
    require(c.ndim == 1 and c.size > 0, "costs", "a non-empty sequence", costs)
    require(np.all((c > 0) & (c < math.inf)), "costs", "positive and finite", costs)
    require(onward.shape == (c.size - 1,), "deferrals", "one fewer than the costs", deferrals)
    require(np.all((onward >= 0) & (onward <= 1)), "deferrals", "in [0, 1]", deferrals)
    return float(c @ np.cumprod(np.concatenate([[1.0], onward])))


def router_cost(costs: npt.ArrayLike, shares: npt.ArrayLike, routing_cost: float = 0.0) -> float:
    """Mean cost of a query that a router sends to one model.

    costs: c_k > 0 of one query to each model, shape (K,). shares: of the queries that go to each,
    shape (K,), summing to 1. routing_cost: of the router's own decision. Raises ValueError outside
    these ranges.

    >>> round(router_cost([0.10, 15.0], shares=[0.8, 0.2]), 12)
    3.08
    """
    c, parts = as_floats(costs=costs), as_floats(shares=shares)
    require(c.ndim == 1 and c.size > 0, "costs", "a non-empty sequence", costs)
    require(np.all((c > 0) & (c < math.inf)), "costs", "positive and finite", costs)
    require(parts.shape == c.shape and np.all(parts >= 0), "shares", "one per model", shares)
    require(abs(parts.sum() - 1) < 1e-9, "shares", "parts of 1", shares)
    routing_cost = require_non_negative(routing_cost=routing_cost)
    return float(c @ parts) + routing_cost


def example() -> SimpleNamespace:
    """Numbers quoted in the text, in mean services; costs in dollars."""
    two, turns = best_of_d_found(0.9, 2), round_robin_found(0.9, 10)
    return SimpleNamespace(
        random_at_80=float(best_of_d_found(0.8, 1).sum()),
        round_robin_two=float(round_robin_found(0.8, 2).sum()),
        shorter_of_two=float(shorter_of_two_found(0.8).sum()),
        one_queue_two=1 + mean_wait(1.6, 1.0, 2),
        random_at_90=float(best_of_d_found(0.9, 1).sum()),
        two_choices_at_90=float(two.sum()),
        three_choices_at_90=float(best_of_d_found(0.9, 3).sum()),
        random_at_99=float(best_of_d_found(0.99, 1).sum()),
        two_choices_at_99=float(best_of_d_found(0.99, 2).sum()),
        round_robin_at_90=float(turns.sum()),
        random_p99=response_quantile(best_of_d_found(0.9, 1), 0.99),
        round_robin_p99=response_quantile(turns, 0.99),
        two_choices_p99=response_quantile(two, 0.99),
        single_service_p99=response_quantile([1.0], 0.99),
        cascade_dollars=cascade_cost([0.10, 15.0], [0.2]),
        router_dollars=router_cost([0.10, 15.0], [0.8, 0.2]),
        both_share=100 * (1 - 0.10 / 15.0),
    )


def figure_found_at_the_server(figure: Figure) -> None:
    """A second choice makes long queues doubly exponentially rare; taking turns only shortens them.

    Probability that a request finds at least j others at its server at 90% load: random, round
    robin over ten servers, two and three choices among very many.

    Alt: Line chart with a logarithmic vertical axis from 1 down to one in a million against the
    number of others found, from 0 to 20. Random and round robin are straight lines that end at 0.12
    and 0.02. The curves of two and three choices bend downwards and leave the chart at six and
    four.
    """
    axes = figure.subplots()
    for label, found, colour, place in (
        ("random", best_of_d_found(0.9, 1), "C4", (14.6, 0.3)),
        ("round robin", round_robin_found(0.9, 10), "C1", (12.6, 0.02)),
        ("best of two", best_of_d_found(0.9, 2), "C0", (5.9, 1e-4)),
        ("best of\nthree", best_of_d_found(0.9, 3), "C2", (0.8, 1e-4)),
    ):
        shown = found[:21]
        axes.plot(np.arange(shown.size), shown, "o-", color=colour, markersize=3.5)
        axes.annotate(label, place, color=colour)
    axes.set(xlim=(0, 20), ylim=(1e-6, 1.3), yscale="log", xticks=range(0, 21, 5))
    axes.set_yticks(0.1 ** np.arange(0, 7), ["1", "0.1", "0.01", "10⁻³", "10⁻⁴", "10⁻⁵", "10⁻⁶"])
    axes.minorticks_off()
    axes.set(xlabel="others found, j [requests]", ylabel="probability of j or more [1]")


def check_two_choices() -> None:
    """Two choices take the mean response at 90% load from 10 to 2.614057, at 99% from 100 to
    5.431997.

    Source: Mitzenmacher (2001), T = Σ_{i≥1} λ^{(d^i−d)/(d−1)}, summed in its published form; the
    differential equations of the shares of servers, integrated to rest.
    """
    for load, mean in ((0.9, 2.614057), (0.99, 5.431997)):
        checks.close(
            f"λ = {load}", best_of_d_found(load, 2).sum(), mean, atol=5e-7, kind="published"
        )
        checks.close(
            f"random, λ = {load}", best_of_d_found(load, 1).sum(), 1 / (1 - load), rtol=1e-9
        )
    for load, d in ((0.7, 2), (0.9, 3), (0.95, 5)):
        series = sum(load ** ((d**i - d) // (d - 1)) for i in range(1, 30))
        checks.close(f"d = {d}, λ = {load}", best_of_d_found(load, d).sum(), series, rtol=1e-12)
    shares = np.zeros(14)
    for _ in range(4000):
        before = np.concatenate([[1.0], shares[:-1]])
        after = np.concatenate([shares[1:], [0.0]])
        shares = shares + 0.05 * (0.9 * (before**2 - shares**2) - (shares - after))
    checks.close("equations at rest", shares.sum() / 0.9, best_of_d_found(0.9, 2).sum(), rtol=1e-6)


def check_two_servers() -> None:
    """Two servers at 80% load: random 5, round robin 3.84398, the shorter queue 2.955737, one
    common queue 2.77778.

    Source: the chain of the shorter queue, cut off at 46 requests in a queue and solved directly;
    the root of σ = (1.6/(2.6 − σ))² for round robin; 1/(1 − ρ) and Erlang C by hand.
    """
    rows = [(a, b) for b in range(47) for a in range(b + 1)]  # shorter, longer
    place = {row: i for i, row in enumerate(rows)}
    flow = np.zeros((len(rows), len(rows)))
    for (a, b), i in place.items():
        for x, y, rate in ((a + 1, b, 1.6), (a - 1, b, 1.0), (a, b - 1, 1.0)):
            j = place.get((min(x, y), max(x, y)))
            if j is not None:
                flow[i, j] += rate
    balance = flow.T - np.diag(flow.sum(axis=1))
    balance[0] = 1.0  # instead of one redundant equation
    shares = np.linalg.solve(balance, np.eye(len(rows))[0])
    cut_off = float(np.array(rows).sum(axis=1) @ shares) / 1.6
    checks.close("the shorter queue", cut_off, 2.955737, atol=5e-7)
    shorter, kept = shorter_of_two_found(0.8), shorter_of_two_found(0.8, 25)
    checks.close("not cut off", shorter.sum(), cut_off, atol=1e-7)
    checks.close("differences up to 25", kept.sum(), shorter.sum(), rtol=1e-12)
    checks.close("decay of the shorter queue is ρ²", shorter[31] / shorter[30], 0.64, rtol=1e-9)
    turns = round_robin_found(0.8, 2).sum()
    checks.close("round robin", turns, 3.84398, atol=5e-6)
    checks.close("random", best_of_d_found(0.8, 1).sum(), 5.0, rtol=1e-12)
    one = 1 + mean_wait(1.6, 1.0, 2)
    checks.close("one queue, M/M/2", one, 25 / 9, rtol=1e-12)


def check_round_robin() -> None:
    """A server that takes every n-th request waits as a queue with Erlang gaps does.

    Source: a simulated queue of 400,000 requests for n = 10; σ put back into its equation; n = 1 is
    M/M/1.
    """
    rng = np.random.default_rng(141)
    found = round_robin_found(0.8, 10)
    arrivals, services = np.cumsum(rng.gamma(10, 0.125, 400_000)), rng.exponential(1.0, 400_000)
    responses = (fifo_waits(arrivals, services) + services)[1000:]
    checks.covers("mean, n = 10", batch_means(responses), float(found.sum()))
    late = (responses > response_quantile(found, 0.99)).astype(float)
    checks.covers("share beyond the p99", batch_means(late), 0.01)
    sigma = found[1]
    checks.close("σ", (8 / (9 - sigma)) ** 10, sigma, rtol=1e-13)
    checks.close("n = 1", round_robin_found(0.8, 1).sum(), 5.0, rtol=1e-12)


def check_response_times() -> None:
    """The response distribution integrates to Σf_j, and is exponential where f_j is geometric.

    Source: trapezoidal integration; P(T > t) = e^{−(1−ρ)t} of M/M/1; hence p99 = ln 100/(1 − ρ).
    """
    two = best_of_d_found(0.9, 2)
    grid = np.linspace(0.0, 60.0, 1201)
    tail = np.array([response_exceeds(two, float(t)) for t in grid])
    area = 0.05 * (tail.sum() - (tail[0] + tail[-1]) / 2)
    checks.close("area under P(T > t)", area, two.sum(), rtol=3e-4)
    one = best_of_d_found(0.9, 1)
    checks.close("M/M/1 at t = 7", response_exceeds(one, 7.0), math.exp(-0.7), rtol=1e-12)
    checks.close("its p99", response_quantile(one, 0.99), math.log(100) / 0.1, rtol=1e-9)


def check_costs() -> None:
    """At $0.10 and $15 with a fifth of the queries for the large model, a router pays 3.08 and a
    cascade 3.10.

    Source: 0.8·0.10 + 0.2·15 and 0.10 + 0.2·15, by hand; 200,000 queries drawn through three
    models.
    """
    router, cascade = router_cost([0.10, 15.0], [0.8, 0.2]), cascade_cost([0.10, 15.0], [0.2])
    checks.close("router [$]", router, 3.08, rtol=1e-12, kind="published")
    checks.close("cascade [$]", cascade, 3.10, rtol=1e-12, kind="published")
    rng = np.random.default_rng(142)
    second = rng.random(200_000) < 0.4
    third = second & (rng.random(200_000) < 0.25)
    paid = batch_means(1.0 + 3.0 * second + 20.0 * third)
    checks.covers("three models, drawn", paid, cascade_cost([1.0, 3.0, 20.0], [0.4, 0.25]))


def check_deferred_queries_hold_the_p99() -> None:
    """Where the deferred are the slow ones, a cascade's p99 is a quantile of theirs, 1 − 0.01/δ: a
    sixth of the p99 of both models in turn when 2% are deferred, two thirds when 20% are.

    Source: exponential services of 0.1 s and 1 s; P(T > t) of the two in turn is hypoexponential,
    (10·e^(−t) − e^(−10t))/9, and of all queries the mixture; both at that quantile.
    """

    def deferred_exceed(t: float) -> float:
        return (10 * math.exp(-t) - math.exp(-10 * t)) / 9

    together = math.log(1000 / 9)  # where e^(−10t) no longer matters
    checks.close("together, beyond their p99", deferred_exceed(together), 0.01, rtol=1e-9)
    for share, low, high in ((0.02, 0.1, 0.2), (0.2, 0.6, 0.7)):
        quantile = math.log(10 / 9 / (0.01 / share))
        tail = (1 - share) * math.exp(-10 * quantile) + share * deferred_exceed(quantile)
        checks.close(f"{share:.0%} deferred, beyond its quantile", tail, 0.01, rtol=0.05)
        checks.inside(f"{share:.0%} deferred, over both in turn", quantile / together, low, high)


def check_bad_input_is_refused() -> None:
    """Loads of 1, no choices, shares that do not sum to 1 and negative costs are errors."""
    checks.raises("ρ = 1", best_of_d_found, 1.0, match="utilization must be in [0, 1)")
    checks.raises("NaN", shorter_of_two_found, math.nan, match="utilization must be in [0, 1)")
    checks.raises("d = 0", best_of_d_found, 0.5, 0, match="choices must be a positive integer")
    checks.raises("rising", response_exceeds, [1, 0.2, 0.3], 1.0, match="found must be prob")
    checks.raises("shares", router_cost, [1.0, 2.0], [0.8, 0.3], match="shares must be parts of 1")
    checks.raises("cost 0", cascade_cost, [0.0, 2.0], [0.1], match="costs must be positive")
