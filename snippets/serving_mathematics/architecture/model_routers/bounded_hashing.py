"""A request should go where its prefix is cached, unless too many others are already there.

Consistent hashing puts servers and keys on a ring, and a key belongs to the next server clockwise.
With bounded loads no server takes more than ⌈c·m/n⌉ of m requests, and a key that finds its server
full goes on to the next. Small c means balance, large c means that a key stays with its cache. A
server that has the prefix of a request saves the prefill, so that affinity is worth capacity; a
popular prefix makes its server the slowest, so that it costs latency.

Assumes: one router that knows what is in flight; servers with one slot or several, first come
first served, whose service does not depend on how many slots are taken; least recently used caches.

Source: Karger et al. (1997) for the ring; Mirrokni, Thorup and Zadimoghaddam (2018) for the bound;
HAProxy's manual for its use on requests in flight.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import math
from bisect import bisect
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    round_robin_found,
    shorter_of_two_found,
)
from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

RATE = 10.0  # requests a second of the scenario: 80% load where prefixes are ignored
FLAT = (1.5, 2.0)  # balance factors that are recommended
POLICIES = ("random", "round robin", "two choices", "shortest", "hash", "bounded hash")


def bounded_capacity(requests: int, servers: int, balance: float) -> int:
    """The most requests that one server may hold, ⌈c·m/n⌉.

    requests: m ≥ 0. servers: n ≥ 1. balance: c ≥ 1, taken as the decimal number it prints as, so
    that 1.1 × 1000 / 10 is 110 and not 111. Raises ValueError outside these ranges.

    >>> bounded_capacity(1000, servers=10, balance=1.25)
    125
    """
    balance = as_number(balance=balance)
    requests = require_non_negative_integer(requests=requests)
    servers = require_positive_integer(servers=servers)
    require(1 <= balance < math.inf, "balance", "at least 1 and finite", balance)
    return math.ceil(Fraction(str(balance)) * int(requests) / int(servers))


class HashRing:
    """Servers at pseudo-random places of a circle, the same in every process and on every machine.

    servers: names, all different. points: places of each server; more make the parts more equal.
    Raises ValueError on no or repeated names or no points.

    >>> HashRing(["east", "west"]).order("a key") in ([0, 1], [1, 0])
    True
    """

    def __init__(self, servers: Sequence[str], points: int = 64) -> None:
        """Place every server at the hashes of name#0, name#1, …"""
        names = list(servers)
        require(0 < len(names) == len(set(names)), "servers", "different names", names)
        points = require_positive_integer(points=points)
        self.servers = len(names)
        self._points = sorted(
            (self.place(f"{name}#{i}"), owner)
            for owner, name in enumerate(names)
            for i in range(int(points))
        )

    @staticmethod
    def place(text: str) -> int:
        """Place of a text on the circle, from 0 to 2^64 − 1."""
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def order(self, key: str) -> list[int]:
        """Indices of all servers in the order in which the key meets them, clockwise."""
        start = bisect(self._points, (self.place(key), -1))
        met: dict[int, None] = {}
        while len(met) < self.servers:
            met.setdefault(self._points[start % len(self._points)][1])
            start += 1
        return list(met)


def assign_bounded(keys: Sequence[str], ring: HashRing, balance: float = math.inf) -> list[int]:
    """Server of every key: the first one clockwise that holds fewer than ⌈c·m/n⌉ of the m keys.

    keys: in the order in which they arrive. ring: of n servers. balance: c ≥ 1; infinite for plain
    consistent hashing. Returns indices of servers. Raises ValueError on no keys or c below 1.

    >>> sorted(assign_bounded(["a", "b"], HashRing(["east", "west"]), balance=1.0))
    [0, 1]
    """
    balance = as_number(balance=balance)
    require(len(keys) > 0, "keys", "one or more", keys)
    require(balance >= 1, "balance", "at least 1", balance)
    capacity = len(keys)
    if balance < math.inf:
        capacity = bounded_capacity(len(keys), ring.servers, balance)
    room = [capacity] * ring.servers
    owners = []
    for key in keys:
        owner = next(server for server in ring.order(key) if room[server] > 0)
        room[owner] -= 1
        owners.append(owner)
    return owners


@dataclass(frozen=True)
class AffinityRun:
    """Simulated routing: response times [s] of the requests in order of arrival, shape (n,),
    whether each found its prefix cached, shape (n,), and share that the busiest server took.
    """

    responses_s: FloatArray
    hits: npt.NDArray[np.bool_]
    busiest_share: float

    @property
    def hit_rate(self) -> float:
        """Share of the requests whose prefix was cached."""
        return float(self.hits.mean())


def simulate_affinity(
    rng: np.random.Generator,
    policy: str,
    arrival_rate: float,
    servers: int,
    *,
    popularity: npt.ArrayLike = (1.0,),
    cache_slots: int = 1,
    prefill_s: float = 0.0,
    decode_s: float = 1.0,
    balance: float = 1.25,
    refresh_s: float = 0.0,
    slots: int = 1,
    requests: int = 10_000,
) -> AffinityRun:
    """Route requests with prefixes to servers that remember the last prefixes that they served.

    policy: one of POLICIES. arrival_rate: Poisson, of all requests [1/s]. servers: n. popularity:
    probability of each prefix. cache_slots: prefixes that a server remembers, the least recently
    used goes first. prefill_s: [s] for a prefix that is not cached. decode_s: mean of an
    exponential time [s] for every request. balance: c ≥ 1 of "bounded hash", which lets a server
    hold ⌈c·m/n⌉ of the m requests in flight, the new one included. refresh_s: age [s] at which the
    loads that "two choices" and "shortest" see are read again, 0 for always. slots: requests that
    a server works on at once, each as long as alone. requests: length of the run, of which the
    first tenth is discarded. Raises ValueError outside these ranges.
    """
    balance, requests = as_number(balance=balance, requests=requests)
    require(policy in POLICIES, "policy", f"one of {POLICIES}", policy)
    arrival_rate = require_positive(arrival_rate=arrival_rate)
    servers = require_positive_integer(servers=servers)
    shares = as_floats(popularity=popularity)
    require(shares.ndim == 1 and np.all(shares >= 0), "popularity", "probabilities", shares)
    require(abs(shares.sum() - 1) < 1e-9, "popularity", "summing to 1", shares.sum())
    cache_slots = require_non_negative_integer(cache_slots=cache_slots)
    prefill_s = require_non_negative(prefill_s=prefill_s)
    decode_s = require_positive(decode_s=decode_s)
    require(balance >= 1, "balance", "at least 1", balance)
    refresh_s = require_non_negative(refresh_s=refresh_s)
    slots = require_positive_integer(slots=slots)
    enough = 100 <= requests < math.inf and requests % 1 == 0
    require(enough, "requests", "an integer of at least 100", requests)
    require_work(servers * (slots + 2000.0), servers=servers, slots=slots)
    require_work(200 * requests, requests=requests)
    ring = HashRing([f"replica-{i}" for i in range(servers)])
    orders = [ring.order(f"prefix-{i}") for i in range(shares.size)] if "hash" in policy else []
    arrivals = np.cumsum(rng.exponential(1 / arrival_rate, requests)).tolist()
    prefixes = rng.choice(shares.size, requests, p=shares).tolist()
    decodes = rng.exponential(decode_s, requests).tolist()
    picks = rng.random((requests, 2)).tolist()  # also breaks ties, by where the search begins
    caches: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(servers)]
    free_at = [[0.0] * slots for _ in range(servers)]  # of every slot, the first one free in front
    loads, served = [0] * servers, [0] * servers
    seen, read_at = loads, -math.inf
    watches = policy in ("two choices", "shortest", "bounded hash")  # who is in flight
    leaving: list[tuple[float, int]] = []
    responses, hits = [], []
    for i, (now, prefix, decode) in enumerate(zip(arrivals, prefixes, decodes, strict=True)):
        while leaving and leaving[0][0] <= now:
            loads[heapq.heappop(leaving)[1]] -= 1
        if refresh_s > 0 and now - read_at >= refresh_s:
            seen, read_at = loads.copy(), now
        first = int(picks[i][0] * servers)
        if policy == "shortest":
            fewest = min(seen)
            ties = [server for server in range(servers) if seen[server] == fewest]
            chosen = ties[int(picks[i][0] * len(ties))]
        elif policy == "two choices" and servers > 1:
            second = (first + 1 + int(picks[i][1] * (servers - 1))) % servers
            chosen = second if seen[second] < seen[first] else first
        elif policy == "round robin":
            chosen = i % servers
        elif policy == "bounded hash":
            limit = balance * (len(leaving) + 1) / servers
            chosen = next(s for s in orders[prefix] if loads[s] < limit)
        elif "hash" in policy:
            chosen = orders[prefix][0]
        else:
            chosen = first
        cache = caches[chosen]
        hit = cache.pop(prefix, 0) is None
        cache[prefix] = None
        if len(cache) > cache_slots:
            cache.popitem(last=False)
        end = max(now, free_at[chosen][0]) + decode + (0.0 if hit else prefill_s)
        heapq.heapreplace(free_at[chosen], end)
        if watches:
            heapq.heappush(leaving, (end, chosen))
            loads[chosen] += 1
        served[chosen] += 1
        responses.append(end - now)
        hits.append(hit)
    first_kept = requests // 10
    return AffinityRun(
        np.array(responses[first_kept:]), np.array(hits[first_kept:]), max(served) / requests
    )


@cache
def _scenario(policy: str, balance: float, slots: int) -> AffinityRun:
    """Eight servers, 400 prefixes with popularity ∝ 1/rank, 60 cached at each, RATE requests/s.
    With several slots every request takes as many times longer, so that the load is the same.
    """
    popularity = 1 / np.arange(1, 401)
    return simulate_affinity(
        np.random.default_rng(151),
        policy,
        RATE,
        8,
        popularity=popularity / popularity.sum(),
        cache_slots=60,
        prefill_s=0.6 * slots,
        decode_s=0.4 * slots,
        balance=balance,
        slots=slots,
        requests=45_000 if slots == 1 and policy in ("random", "hash") else 11_200,
    )


def _mean_s(policy: str, balance: float = math.inf, slots: int = 1) -> MeanEstimate:
    """Mean response of the scenario, per slot [s]: of one request at a time, or of several that
    are as many times longer."""
    return batch_means(_scenario(policy, balance, slots).responses_s / slots)


def _said(policy: str, balance: float = math.inf, slots: int = 1) -> str:
    """That mean with its 95% interval."""
    mean = _mean_s(policy, balance, slots)
    return f"{mean.mean:.2f} ± {mean.half_width:.2f}"


def _more_percent(balance: float, slots: int) -> float:
    """By how much a balance factor is above the best of FLAT [%]."""
    best = min(_mean_s("bounded hash", c, slots).mean for c in FLAT)
    return 100 * (_mean_s("bounded hash", balance, slots).mean / best - 1)


def _less_percent(slots: int) -> float:
    """How much less time two choices take than a random replica [%]."""
    two, random = (_mean_s(policy, slots=slots).mean for policy in ("two choices", "random"))
    return 100 * (1 - two / random)


def _row(policy: str, balance: float = math.inf) -> str:
    """A router as table cells: hits, load of all and of the busiest replica, mean response with
    one slot and with eight."""
    run = _scenario(policy, balance, 1)
    work = 0.4 + 0.6 * (1 - run.hit_rate)
    cells = [
        f"{100 * run.hit_rate:.0f}%",
        f"{100 * RATE / 8 * work:.0f}%",
        f"{100 * _busiest_load(run):.0f}%",
        _said(policy, balance),
        _said(policy, balance, 8),
    ]
    return " | ".join(cells)


def _busiest_load(run: AffinityRun) -> float:
    """Work that the busiest server of the scenario gets, per second."""
    return RATE * run.busiest_share * (0.4 + 0.6 * (1 - run.hit_rate))


@cache
def _stale(policy: str, refresh_s: float) -> FloatArray:
    """Responses of ten servers at 80% load whose loads are read every so often, to the same
    requests for every policy and age.
    """
    rng = np.random.default_rng(152)
    run = simulate_affinity(rng, policy, 8.0, 10, refresh_s=refresh_s, requests=8_000)
    return run.responses_s


def _herd(refresh_s: float) -> MeanEstimate:
    """How much longer than two choices the shortest queue takes on the same requests."""
    return batch_means(_stale("shortest", refresh_s) - _stale("two choices", refresh_s))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    names, keys = [f"replica-{i}" for i in range(10)], [f"prefix-{i}" for i in range(1000)]
    ring, fewer = HashRing(names, 8), HashRing(names[:-1], 8)
    plain, bounded = assign_bounded(keys, ring), assign_bounded(keys, ring, 1.25)
    later = assign_bounded(keys, fewer), assign_bounded(keys, fewer, 1.25)
    random, hashed = (_scenario(policy, math.inf, 1) for policy in ("random", "hash"))
    best = _scenario("bounded hash", 2.0, 1)
    halves = [100 * batch_means(run.hits).half_width for run in (random, hashed, best)]
    fresh, second_old, old = (batch_means(_stale("shortest", age)) for age in (0.0, 1.0, 10.0))
    return SimpleNamespace(
        capacity=bounded_capacity(1000, 10, 1.25),
        plain_most=max(map(plain.count, range(10))),
        bounded_most=max(map(bounded.count, range(10))),
        moved_plain=sum(a != b for a, b in zip(plain, later[0], strict=True)),
        moved_bounded=sum(a != b for a, b in zip(bounded, later[1], strict=True)),
        affinity_per_s=RATE,
        affinity_random=_said("random"),
        affinity_shortest=_said("shortest"),
        affinity_hash=_said("hash"),
        affinity_bounded=_said("bounded hash", 2.0),
        affinity_shortest_slots=_said("shortest", slots=8),
        affinity_hash_slots=_said("hash", slots=8),
        affinity_bounded_slots=_said("bounded hash", 2.0, 8),
        affinity_row_random=_row("random"),
        affinity_row_two=_row("two choices"),
        affinity_row_shortest=_row("shortest"),
        affinity_row_hash=_row("hash"),
        affinity_row_bounded=_row("bounded hash", 2.0),
        affinity_load_percent=100 * RATE / 8 * (0.4 + 0.6 * (1 - random.hit_rate)),
        affinity_hash_busiest=8 * hashed.busiest_share,
        affinity_hits_half=max(halves),
        affinity_two_less_percent=_less_percent(1),
        affinity_two_less_slots_percent=_less_percent(8),
        flat_percent=max(_more_percent(c, slots) for c in FLAT for slots in (1, 8)),
        tight_percent=_more_percent(1.0, 1),
        tight_slots_percent=_more_percent(1.0, 8),
        loose_percent=_more_percent(6.0, 1),
        loose_slots_percent=_more_percent(6.0, 8),
        fresh_shortest=fresh.mean,
        fresh_half=fresh.half_width,
        second_old_shortest=second_old.mean,
        second_old_half=second_old.half_width,
        second_old_two=float(_stale("two choices", 1.0).mean()),
        second_old_gain=_herd(1.0).mean,
        second_old_gain_half=_herd(1.0).half_width,
        old_shortest=old.mean,
        old_half=old.half_width,
        old_two=float(_stale("two choices", 10.0).mean()),
        old_gain=_herd(10.0).mean,
        old_gain_half=_herd(10.0).half_width,
    )


def figure_affinity_balance(figure: Figure) -> None:
    """Between balance and affinity lies the router that is better than both, whether a replica
    serves one request at a time or eight.

    Eight replicas with 10 requests a second, of which a cached prefix saves 0.6 of 1 s. Mean
    response with 95% intervals against the balance factor c; dashed lines: hashing without bound,
    dotted: the shortest queue without affinity. On the right a replica serves eight requests at
    once, each eight times as long, and times are divided by eight.

    Alt: Two charts of mean response in seconds against the balance factor c from 1 to 6. On the
    left, one at a time, the curve is flat near 0.8 from 1 to 2 and rises to 1.1 at 6; hashing is
    near 1.2, the shortest queue near 0.9. On the right, eight at a time, it falls from 0.59 at 1 to
    0.44 at 2 and rises a little; hashing is near 0.47 and the shortest queue above it at 0.66.
    """
    figure.set_size_inches(5.8, 3.3)
    factors = (1.0, 1.5, 2.0, 3.0, 6.0)
    panels = figure.subplots(1, 2)
    for axes, slots, title in zip(
        panels, (1, 8), ("one at a time", "eight at a time"), strict=True
    ):
        means = [_mean_s("bounded hash", c, slots) for c in factors]
        axes.errorbar(
            factors, [m.mean for m in means], [m.half_width for m in means], fmt="o-", color="C0"
        )
        for policy, label, colour, style in (
            ("hash", "hash, no bound", "C3", "--"),
            ("shortest", "shortest queue", "C2", ":"),
        ):
            mean = _mean_s(policy, slots=slots).mean
            axes.axhline(mean, color=colour, linestyle=style, linewidth=1.4)
            x, side = (1.05, "left") if slots == 1 else (5.5, "right")
            axes.annotate(label, (x, 1.04 * mean), color=colour, ha=side)
        low = min(m.mean for m in means)
        axes.annotate("bounded hash", (1.05, 0.8 * low), color="C0")
        axes.set(xscale="log", xlim=(0.95, 6.5), ylim=(0, 1.6 if slots == 1 else 0.8))
        axes.set(xlabel="balance factor c [1]", ylabel="mean response [s]", title=title)
        axes.set_xticks([1, 1.5, 2, 3, 4, 6], ["1", "1.5", "2", "3", "4", "6"])
        axes.minorticks_off()


def check_capacity() -> None:
    """With c = 1.25 each of 10 servers takes at most 125 of 1000 requests, and the bound is exact
    in decimals.

    Source: Mirrokni, Thorup and Zadimoghaddam (2018), capacity ⌈c·m/n⌉; by hand.
    """
    checks.equal(
        "m = 1000, n = 10, c = 1.25", bounded_capacity(1000, 10, 1.25), 125, kind="published"
    )
    checks.equal("c = 1.1: 110, not 111", bounded_capacity(1000, 10, 1.1), 110)
    checks.equal("m = 7, n = 3, c = 1", bounded_capacity(7, 3, 1.0), 3)
    keys = [f"prefix-{i}" for i in range(1000)]
    ring = HashRing([f"replica-{i}" for i in range(10)], 8)
    loads = np.bincount(assign_bounded(keys, ring, 1.25), minlength=10)
    checks.equal("fullest server", int(loads.max()), 125)
    checks.equal("all are placed", int(loads.sum()), 1000)
    at_home = np.mean(np.equal(assign_bounded(keys, ring, 1.25), assign_bounded(keys, ring)))
    checks.inside("share at home", float(at_home), 0.8, 0.999, kind="identity")


def check_ring() -> None:
    """When a server leaves, its keys move and no others; a server's expected part is 1/n.

    Source: Karger et al. (1997), monotonicity; the mean over the ten servers of a ring, and of
    rings with other names.
    """
    keys = [f"prefix-{i}" for i in range(1000)]
    names = [f"replica-{i}" for i in range(10)]
    before, after = (assign_bounded(keys, HashRing(n)) for n in (names, names[:-1]))
    moved = [a for a, b in zip(before, after, strict=True) if a != b]
    checks.equal("servers that lost keys", set(moved), {9})
    checks.equal("keys that moved", len(moved), before.count(9))
    parts = [
        assign_bounded(keys[:100], HashRing([f"{r}-{i}" for i in range(4)], 8)).count(0) / 100
        for r in range(64)
    ]
    checks.covers("part of one of four", batch_means(parts), 0.25)


def check_policies_against_formulas() -> None:
    """Without caches the simulated policies wait as the formulas of the chapter say.

    Source: G/M/1 for round robin, M/M/1 for random, the chain for the shorter of two.
    """
    rng = np.random.default_rng(153)
    for policy, servers, expected in (
        ("round robin", 4, float(round_robin_found(0.7, 4).sum())),
        ("random", 4, float(best_of_d_found(0.7, 1).sum())),
        ("shortest", 2, float(shorter_of_two_found(0.7).sum())),
        ("two choices", 2, float(shorter_of_two_found(0.7).sum())),
    ):
        run = simulate_affinity(rng, policy, 0.7 * servers, servers, requests=12_000)
        checks.covers(f"{policy}, n = {servers}", batch_means(run.responses_s), expected)


def check_affinity() -> None:
    """Random routing fills every cache with the same prefixes, hashing loads one server most, no
    server is near its capacity, and the bound is better than both.

    Source: Che's approximation of a least recently used cache; the busiest server's load from its
    share of requests and their mean work; the simulated means.
    """
    random, hashed = (_scenario(policy, math.inf, 1) for policy in ("random", "hash"))
    bounded = _scenario("bounded hash", 2.0, 1)
    shares = 1 / np.arange(1, 401)
    shares /= shares.sum()
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if -np.expm1(-shares * middle).sum() < 60 else (low, middle)
    che = float(shares @ -np.expm1(-shares * low))
    checks.close("hits when random", random.hit_rate, che, atol=0.015)
    for name, run in (("random", random), ("hash", hashed), ("bounded hash", bounded)):
        checks.inside(f"{name}: load of the busiest", _busiest_load(run), 0.7, 0.9)
    loose, none = (
        simulate_affinity(
            np.random.default_rng(155), p, 9.0, 8, popularity=shares, balance=1e9, requests=1000
        ).responses_s
        for p in ("bounded hash", "hash")
    )
    checks.equal("a loose bound is none", np.array_equal(loose, none), True)


def check_affinity_with_one_slot_and_with_eight() -> None:
    """Whether a replica serves one request at a time or eight, the bounded hash is first among the
    routers; hashing without bound is behind the shortest queue with one slot and before it with
    eight.

    Source: simulated means of at least 11,200 requests at 80% load, further apart than the sum of
    both 95% half-widths; bounded or not with eight slots, on the same requests, in pairs.
    """
    for slots, order in (
        (1, ("bounded hash", "shortest", "hash", "random")),
        (8, ("hash", "shortest", "random")),
    ):
        means = [_mean_s(p, 2.0 if p == "bounded hash" else math.inf, slots) for p in order]
        for k, (first, second) in enumerate(itertools.pairwise(means)):
            apart = second.mean - first.mean > first.half_width + second.half_width
            text = f"{first.mean:.2f} and {second.mean:.2f} s"
            label = f"{slots} slots: {order[k]} before {order[k + 1]}"
            checks.holds(label, apart, got=text, kind="simulation")
    free, bounded = _scenario("hash", math.inf, 8), _scenario("bounded hash", 2.0, 8)
    longer = batch_means((free.responses_s - bounded.responses_s) / 8)
    text = f"{longer.mean:.3f} ± {longer.half_width:.3f} s"
    label = "8 slots: bounded hash before hash"
    checks.holds(label, longer.mean > longer.half_width, got=text, kind="simulation")


def check_the_bound_is_flat_in_the_middle() -> None:
    """Balance factors of 1.5 and 2 are within a tenth of each other with one slot and with eight; a
    factor of 1 costs a tenth at most with one slot and a quarter or more with eight, a factor of 6
    a third or more with one slot.

    Source: simulated means on the same requests for every factor.
    """
    for slots in (1, 8):
        flat = max(_more_percent(c, slots) for c in FLAT)
        checks.inside(f"{slots} slots: from 1.5 to 2 [%]", flat, 0, 10, kind="simulation")
    checks.inside("one slot, c = 1 [%]", _more_percent(1.0, 1), 0, 10, kind="simulation")
    checks.inside("eight slots, c = 1 [%]", _more_percent(1.0, 8), 25, 45, kind="simulation")
    checks.inside("one slot, c = 6 [%]", _more_percent(6.0, 1), 33, 100, kind="simulation")


def check_slots_are_servers_behind_one_queue() -> None:
    """One replica with four slots waits as M/M/4 does.

    Source: Erlang C, by `mean_wait` of the chapter on utilization.
    """
    rng = np.random.default_rng(154)
    run = simulate_affinity(rng, "random", 3.2, 1, slots=4, requests=40_000)
    expected = 1 + mean_wait(3.2, 1.0, 4)
    checks.covers("mean response at 80%", batch_means(run.responses_s), expected)


def check_old_loads() -> None:
    """With loads that are a service time old, the shortest queue does worse than two choices.

    Source: Mitzenmacher (2000) reports the order; simulated fleets of ten at 80% load.
    """
    for age in (1.0, 10.0):
        herd = _herd(age)
        gap = herd.mean / herd.standard_error
        checks.holds(f"age {age:g} s [s.e.]", gap > 3, got=f"{gap:.1f}", kind="simulation")


def check_bad_input_is_refused() -> None:
    """Balance below 1, repeated names, unknown policies and popularity that is none are errors."""
    rng = np.random.default_rng(0)
    checks.raises("c < 1", bounded_capacity, 10, 2, 0.9, match="balance must be at least 1")
    checks.raises("NaN", bounded_capacity, 10, 2, math.nan, match="balance must be at least 1")
    checks.raises("twice", HashRing, ["a", "a"], match="servers must be different names")
    checks.raises("no keys", assign_bounded, [], HashRing(["a"]), match="keys must be one or more")
    checks.raises("policy", simulate_affinity, rng, "best", 1.0, 2, match="policy must be one of")
    checks.raises("ρ", simulate_affinity, rng, "hash", -1.0, 2, match="arrival_rate must be pos")
