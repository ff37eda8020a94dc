"""Routing formulas, costs and the exercises: limits, oracles, properties, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    cascade_cost,
    response_exceeds,
    response_quantile,
    round_robin_found,
    router_cost,
    shorter_of_two_found,
)

LOADS = st.floats(0.01, 0.98)


@given(LOADS, st.integers(1, 12))
def test_best_of_d_is_the_published_series(load: float, d: int) -> None:
    exponents = [(d**i - d) // (d - 1) if d > 1 else i - 1 for i in range(1, 12)]
    found = best_of_d_found(load, d)
    for j, exponent in enumerate(exponents[: found.size]):
        assert found[j] == pytest.approx(load**exponent, rel=1e-9)
    assert found[-1] > 1e-17 >= (load * found[-1]) ** d


@given(LOADS)
def test_more_choices_shorten_and_never_below_one(load: float) -> None:
    means = [best_of_d_found(load, d).sum() for d in (1, 2, 3, 8)]
    assert means == sorted(means, reverse=True)
    assert means[0] == pytest.approx(1 / (1 - load))
    assert means[-1] >= 1.0


@pytest.mark.parametrize(("load", "servers"), [(0.5, 1), (0.8, 2), (0.9, 10), (0.3, 100)])
def test_round_robin_solves_the_gm1_equation(load: float, servers: int) -> None:
    root = optimize.brentq(
        lambda s: (
            stats.gamma.expect(
                lambda gap: math.exp(-(1 - s) * gap), args=(servers,), scale=1 / (servers * load)
            )
            - s
        ),
        0.0,
        (1 + load) / 2,
    )
    found = round_robin_found(load, servers)
    assert found[1] == pytest.approx(root, rel=1e-6)
    assert found.sum() == pytest.approx(1 / (1 - root), rel=1e-6)


def test_round_robin_of_many_servers_is_a_queue_with_constant_gaps() -> None:
    root = optimize.brentq(lambda s: math.exp(-(1 - s) / 0.9) - s, 0.0, 0.9)
    assert round_robin_found(0.9, 100_000).sum() == pytest.approx(1 / (1 - root), rel=1e-3)
    assert round_robin_found(0.0, 5).tolist() == [1.0]


@pytest.mark.parametrize("load", [0.2, 0.7])
def test_shorter_of_two_is_the_full_chain(load: float) -> None:
    """The chain of both lengths up to 60 each, as a sparse system."""
    size, rate = 60, 2 * load
    rows, columns, rates = [], [], []
    for a in range(size):
        for b in range(size):
            moves = [((a - 1, b), 1.0), ((a, b - 1), 1.0)]
            moves += [((a + 1, b), rate * (0.5 if a == b else a < b))]
            moves += [((a, b + 1), rate * (0.5 if a == b else b < a))]
            for (x, y), speed in moves:
                if 0 <= x < size and 0 <= y < size and speed:
                    rows += [x * size + y, a * size + b]
                    columns += [a * size + b] * 2
                    rates += [speed, -speed]
    balance = scipy.sparse.coo_matrix((rates, (rows, columns))).tolil()
    balance[0, :] = 1.0
    right = np.zeros(size * size)
    right[0] = 1.0
    shares = scipy.sparse.linalg.spsolve(balance.tocsc(), right).reshape(size, size)
    lengths = np.arange(size)
    shorter = np.minimum(lengths[:, None], lengths)
    found = shorter_of_two_found(load)
    for j in range(6):
        assert found[j] == pytest.approx(shares[shorter >= j].sum(), abs=1e-9)
    total = (shares * (lengths[:, None] + lengths)).sum()
    assert found.sum() == pytest.approx(total / rate, rel=1e-8)


@pytest.mark.parametrize("differences", [2, 3, 5])
def test_a_chain_of_few_differences_is_solved_whole(differences: int) -> None:
    """States (shorter, difference) one by one, up to 60 in the shorter queue; at the largest
    difference that is kept the shorter queue ends nothing."""
    load, most, size = 0.6, 60, differences + 1
    rates = np.zeros((most, size, most, size))
    for j in range(most):
        for k in range(size):
            ends = [(j - 1, k + 1, 2.0 if k == 0 else 1.0)] if j > 0 else []
            ends += [(j, k - 1, 1.0)] if k > 0 else []
            comes = [(j + 1, k - 1, 2 * load)] if k > 0 else [(j, 1, 2 * load)]
            for a, b, rate in ends + comes:
                if a < most and b < size:
                    rates[j, k, a, b] = rate
    flows = rates.reshape(most * size, most * size)
    balance = flows.T - np.diag(flows.sum(axis=1))
    balance[0] = 1.0
    shares = np.linalg.solve(balance, np.eye(most * size)[0]).reshape(most, size).sum(axis=1)
    found = shorter_of_two_found(load, differences)
    for j in range(8):
        assert found[j] == pytest.approx(shares[j:].sum(), rel=1e-9), j


@pytest.mark.parametrize("load", [0.01, 0.5, 0.9, 0.98])
def test_shorter_of_two_lies_between_one_queue_and_round_robin(load: float) -> None:
    mean = shorter_of_two_found(load).sum()
    assert 1 / (1 - load**2) < mean < round_robin_found(load, 2).sum()


def test_shorter_of_two_without_load() -> None:
    assert shorter_of_two_found(0.0).tolist() == [1.0]
    assert shorter_of_two_found(0.4, differences=15).sum() == pytest.approx(
        shorter_of_two_found(0.4).sum(), rel=1e-9
    )


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.01, 30))
def test_response_exceeds_is_a_mixture_of_gammas(steps: list[float], time: float) -> None:
    found = np.concatenate([[1.0], np.cumprod(steps)])
    weights = found - np.append(found[1:], 0.0)
    expected = sum(w * stats.gamma.sf(time, j + 1) for j, w in enumerate(weights))
    assert response_exceeds(found, time) == pytest.approx(expected, abs=1e-12)


def test_response_starts_at_one_and_integrates_to_the_mean() -> None:
    found = shorter_of_two_found(0.8)
    assert response_exceeds(found, 0.0) == 1.0
    area, _ = integrate.quad(lambda t: response_exceeds(found, t), 0, 200, limit=200)
    assert area == pytest.approx(found.sum(), rel=1e-6)


@given(st.floats(0.01, 0.999), LOADS)
def test_quantile_inverts_the_survival(probability: float, load: float) -> None:
    found = best_of_d_found(load, 2)
    time = response_quantile(found, probability)
    assert response_exceeds(found, time) == pytest.approx(1 - probability, rel=1e-6)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5), st.data())
def test_cascade_is_a_router_that_pays_for_the_way(costs: list[float], data: st.DataObject) -> None:
    shares = st.lists(st.floats(0, 1), min_size=len(costs) - 1, max_size=len(costs) - 1)
    deferrals = data.draw(shares)
    reach = np.concatenate([[1.0], np.cumprod(deferrals)])
    stops = reach - np.append(reach[1:], 0.0)
    paid = np.cumsum(costs)
    assert cascade_cost(costs, deferrals) == pytest.approx(router_cost(paid, stops))


def test_router_pays_for_its_decision() -> None:
    assert router_cost([2.0], [1.0], routing_cost=0.5) == 2.5
    assert cascade_cost([2.0], []) == 2.0
    assert cascade_cost([1.0, 2.0, 4.0], [0.5, 0.5]) == 3.0


@pytest.mark.parametrize("bad", [[], [[1.0]], [0.5], [1.0, math.nan], [1.0, 0.2, 0.3], [1.0, -0.1]])
def test_found_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="found must be"):
        response_exceeds(bad, 1.0)  # type: ignore[arg-type]
