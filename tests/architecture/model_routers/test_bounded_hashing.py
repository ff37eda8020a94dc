"""Rings, bounded loads and the routing simulation: properties, oracles, refusals."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.model_routers.bounded_hashing import (
    POLICIES,
    AffinityRun,
    HashRing,
    assign_bounded,
    bounded_capacity,
    example,
    simulate_affinity,
)
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits

from tests.clockwork import CLOCKWORK

NAMES = [f"server-{i}" for i in range(7)]


@given(st.integers(0, 10**6), st.integers(1, 1000), st.decimals(1, 9, places=3))
def test_capacity_is_exact_in_decimals(requests: int, servers: int, balance: object) -> None:
    exact = Fraction(str(balance)) * requests / servers
    assert bounded_capacity(requests, servers, float(str(balance))) == math.ceil(exact)


@given(st.integers(1, 500), st.integers(1, 40), st.floats(1, 5))
def test_capacities_suffice(requests: int, servers: int, balance: float) -> None:
    assert servers * bounded_capacity(requests, servers, balance) >= requests


def test_order_is_clockwise_on_the_circle() -> None:
    ring, points = HashRing(NAMES, 3), []
    for owner, name in enumerate(NAMES):
        for i in range(3):
            digest = hashlib.blake2b(f"{name}#{i}".encode(), digest_size=8).hexdigest()
            points.append((int(digest, 16), owner))
    for key in ("a", "b", "c", "d"):
        place = int(hashlib.blake2b(key.encode(), digest_size=8).hexdigest(), 16)
        assert HashRing.place(key) == place
        ahead = sorted(points, key=lambda point: (point[0] - place) % 2**64)
        met = []
        for _, owner in ahead:
            if owner not in met:
                met.append(owner)
        assert ring.order(key) == met
    assert ring.servers == 7


@given(st.text(max_size=12), st.integers(0, 6))
def test_taking_a_server_away_keeps_the_order_of_the_others(key: str, gone: int) -> None:
    rest = NAMES[:gone] + NAMES[gone + 1 :]
    before = [NAMES[i] for i in HashRing(NAMES).order(key) if i != gone]
    assert [rest[i] for i in HashRing(rest).order(key)] == before


@given(st.integers(1, 150), st.floats(1, 3))
def test_no_server_exceeds_its_capacity(count: int, balance: float) -> None:
    keys, ring = [f"key-{i}" for i in range(count)], HashRing(NAMES, 4)
    owners = assign_bounded(keys, ring, balance)
    loads = np.bincount(owners, minlength=7)
    capacity = bounded_capacity(count, 7, balance)
    assert loads.sum() == count
    assert loads.max() <= capacity
    taken = [0] * 7
    for key, owner in zip(keys, owners, strict=True):  # whoever was passed by was full
        order = ring.order(key)
        assert all(taken[passed] == capacity for passed in order[: order.index(owner)])
        taken[owner] += 1


def test_without_bound_every_key_is_at_home() -> None:
    keys, ring = [f"key-{i}" for i in range(50)], HashRing(NAMES)
    assert assign_bounded(keys, ring) == [ring.order(key)[0] for key in keys]
    assert assign_bounded(keys, ring, 7.0) == assign_bounded(keys, ring)


def test_more_points_make_parts_more_equal() -> None:
    keys = [f"key-{i}" for i in range(2000)]
    spread = [
        np.bincount(assign_bounded(keys, HashRing(NAMES, points)), minlength=7).std()
        for points in (1, 200)
    ]
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize("policy", POLICIES)
def test_one_server_is_a_queue(policy: str) -> None:
    """With one server every policy gives the waits of Lindley's recursion on the same numbers."""
    run = simulate_affinity(np.random.default_rng(8), policy, 0.7, 1, requests=2000)
    assert isinstance(run, AffinityRun)
    rng = np.random.default_rng(8)
    arrivals = np.cumsum(rng.exponential(1 / 0.7, 2000))
    rng.choice(1, 2000, p=[1.0])
    services = rng.exponential(1.0, 2000)
    expected = fifo_waits(arrivals, services) + services
    np.testing.assert_allclose(run.responses_s, expected[200:], rtol=1e-9)
    assert run.busiest_share == 1.0
    assert run.hit_rate == 1.0


def test_round_robin_takes_turns() -> None:
    run = simulate_affinity(np.random.default_rng(9), "round robin", 2.0, 4, requests=1000)
    assert run.busiest_share == 0.25


def test_a_cache_of_one_hits_on_repetition_only() -> None:
    """Two prefixes, one slot: a request hits when the last one at its server had its prefix."""
    run = simulate_affinity(
        np.random.default_rng(10), "random", 0.5, 1, popularity=[0.8, 0.2], requests=20_000
    )
    assert run.hit_rate == pytest.approx(0.8**2 + 0.2**2, abs=0.02)


def test_without_slots_every_request_prefills() -> None:
    settings = {"popularity": [0.5, 0.5], "prefill_s": 3.0, "decode_s": 1e-9, "requests": 500}
    run = simulate_affinity(
        np.random.default_rng(11), "random", 0.001, 1, cache_slots=0, **settings
    )
    assert run.hit_rate == 0.0
    assert np.median(run.responses_s) == pytest.approx(3.0, abs=1e-6)
    kept = simulate_affinity(
        np.random.default_rng(11), "random", 0.001, 1, cache_slots=2, **settings
    )
    assert kept.hit_rate == 1.0
    assert kept.responses_s.max() < 1e-6


def test_the_least_recently_used_prefix_goes() -> None:
    """With three equally popular prefixes and two slots, two thirds hit."""
    run = simulate_affinity(
        np.random.default_rng(12),
        "hash",
        0.5,
        1,
        popularity=[1 / 3] * 3,
        cache_slots=2,
        requests=20_000,
    )
    assert run.hit_rate == pytest.approx(2 / 3, abs=0.02)


def test_hashing_gives_one_prefix_to_one_server_and_the_bound_spreads_it() -> None:
    plain = simulate_affinity(np.random.default_rng(13), "hash", 1.0, 4, decode_s=0.5)
    assert plain.busiest_share == 1.0
    tight = simulate_affinity(
        np.random.default_rng(13), "bounded hash", 3.0, 4, decode_s=1.0, balance=1.0
    )
    assert tight.busiest_share < 0.5
    free = simulate_affinity(
        np.random.default_rng(13), "bounded hash", 1.0, 4, decode_s=0.5, balance=math.inf
    )
    np.testing.assert_array_equal(free.responses_s, plain.responses_s)


def test_a_bound_of_one_is_as_good_as_the_shortest_queue() -> None:
    means = [
        batch_means(
            simulate_affinity(
                np.random.default_rng(14),
                policy,
                8.0,
                10,
                popularity=[0.01] * 100,
                cache_slots=100,
                balance=1.0,
                requests=20_000,
            ).responses_s
        )
        for policy in ("bounded hash", "shortest", "random")
    ]
    assert means[0].mean == pytest.approx(means[1].mean, rel=0.25)
    assert means[0].mean < means[2].mean / 2


def test_who_has_left_is_no_load() -> None:
    """As one leaves the next comes: to the shortest queue all servers are alike."""
    run = simulate_affinity(CLOCKWORK, "shortest", 1.0, 2, requests=100)
    assert run.busiest_share == 1.0
    assert run.responses_s.tolist() == [1.0] * 90


def test_old_loads_make_a_herd() -> None:
    fresh, old = (
        simulate_affinity(np.random.default_rng(15), "shortest", 8.0, 10, refresh_s=age)
        for age in (0.0, 5.0)
    )
    assert old.responses_s.mean() > 3 * fresh.responses_s.mean()
    for policy in ("random", "round robin"):
        one, two = (
            simulate_affinity(
                np.random.default_rng(16), policy, 2.0, 4, refresh_s=age, requests=500
            )
            for age in (0.0, 5.0)
        )
        np.testing.assert_array_equal(one.responses_s, two.responses_s)


def test_two_choices_look_at_two_different_servers() -> None:
    """With two servers they are the shortest queue: the mean of the exact chain at ρ = 0.8."""
    run = simulate_affinity(np.random.default_rng(17), "two choices", 1.6, 2, requests=60_000)
    estimate = batch_means(run.responses_s)
    assert abs(estimate.mean - 2.9557366) < 4 * estimate.standard_error


@pytest.mark.parametrize("bad", [-1, 1.5, math.nan, math.inf])
def test_counts_are_refused(bad: float) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="requests must be a non-negative integer"):
        bounded_capacity(bad, 2, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        bounded_capacity(10, bad, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="points must be a positive integer"):
        HashRing(["a"], bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        simulate_affinity(rng, "hash", 1.0, bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cache_slots must be a non-negative integer"):
        simulate_affinity(rng, "hash", 1.0, 2, cache_slots=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="requests must be an integer of at least 100"):
        simulate_affinity(rng, "hash", 1.0, 2, requests=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="balance must be at least 1 and finite"):
        bounded_capacity(10, 2, math.inf)


def test_names_keys_and_popularity_are_refused() -> None:
    rng = np.random.default_rng(0)
    for bad in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="servers must be different names"):
            HashRing(bad)
    with pytest.raises(ValueError, match="keys must be one or more"):
        assign_bounded([], HashRing(["a"]))
    with pytest.raises(ValueError, match="policy must be one of"):
        simulate_affinity(rng, "fastest", 1.0, 2)
    for popularity in ([0.5, 0.6], [], [1.5, -0.5], [math.nan], 1.0):
        with pytest.raises(ValueError, match="popularity must be"):
            simulate_affinity(rng, "hash", 1.0, 2, popularity=popularity)


def test_the_worked_scenario_is_stable() -> None:
    """No router's headline is a run at 97% or 101% load."""
    quoted = example()
    assert quoted.affinity_load_percent < 85
    for row in (quoted.affinity_row_random, quoted.affinity_row_two, quoted.affinity_row_hash):
        assert int(row.split("|")[2].strip().removesuffix("%")) < 90


@pytest.mark.parametrize("policy", POLICIES)
def test_slots_beyond_the_requests_in_flight_leave_no_wait(policy: str) -> None:
    run = simulate_affinity(
        np.random.default_rng(17), policy, 2.0, 3, decode_s=1.0, slots=60, requests=2000
    )
    rng = np.random.default_rng(17)
    rng.exponential(0.5, 2000)
    rng.choice(1, 2000, p=[1.0])
    np.testing.assert_allclose(run.responses_s, rng.exponential(1.0, 2000)[200:], rtol=1e-9)
