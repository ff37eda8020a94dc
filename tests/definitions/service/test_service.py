"""Composition of services and the exercises: identities, scipy, brute force, properties, errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.service import (
    Service,
    answer_quantile,
    answered_within,
    either,
    in_parallel,
    in_sequence,
    on_grid,
    retried,
)

FloatArray = npt.NDArray[np.float64]
CELLS = 6


@st.composite
def services(draw: st.DrawFn) -> Service:
    """A service on six cells, some of whose probability may lie beyond the grid."""
    weights = draw(st.lists(st.integers(0, 9), min_size=2 * CELLS + 1, max_size=2 * CELLS + 1))
    masses = np.array(weights) / max(1, sum(weights))
    cost = draw(st.floats(0.0, 10.0))
    return Service(masses[:CELLS], masses[CELLS : 2 * CELLS], 0.5, cost)


def outcomes(service: Service) -> list[tuple[int, bool, float]]:
    """Every (cell, answered, probability) of a service within the grid."""
    return [
        (k, ok, float(masses[k]))
        for ok, masses in ((True, service.ok), (False, service.failed))
        for k in range(CELLS)
        if masses[k] > 0
    ]


def tally(results: list[tuple[int, bool, float]]) -> tuple[FloatArray, FloatArray]:
    """Outcomes collected into the two arrays of a service, what is late left out."""
    ok, failed = np.zeros(CELLS), np.zeros(CELLS)
    for cell, answered, probability in results:
        if cell < CELLS:
            (ok if answered else failed)[cell] += probability
    return ok, failed


def assert_same(service: Service, results: list[tuple[int, bool, float]]) -> None:
    ok, failed = tally(results)
    np.testing.assert_allclose(service.ok, ok, atol=1e-14)
    np.testing.assert_allclose(service.failed, failed, atol=1e-14)


@given(services(), services())
def test_composition_by_enumeration(first: Service, second: Service) -> None:
    sequence = [
        entry
        for a, a_ok, p in outcomes(first)
        for entry in (
            [(a + b, b_ok, p * q) for b, b_ok, q in outcomes(second)] if a_ok else [(a, False, p)]
        )
    ]
    both = in_sequence(first, second)
    assert_same(both, sequence)
    assert both.cost == pytest.approx(first.cost + first.ok.sum() * second.cost)
    parallel = [
        (max(a, b), a_ok and b_ok, p * q)
        for a, a_ok, p in outcomes(first)
        for b, b_ok, q in outcomes(second)
    ]
    assert_same(in_parallel(first, second), parallel)
    assert in_parallel(first, second).cost == pytest.approx(first.cost + second.cost)
    assert_same(
        either(0.3, first, second),
        [(k, ok, 0.7 * p) for k, ok, p in outcomes(first)]
        + [(k, ok, 0.3 * p) for k, ok, p in outcomes(second)],
    )
    assert either(0.3, first, second).cost == pytest.approx(0.7 * first.cost + 0.3 * second.cost)


@given(services(), st.integers(1, 4))
def test_retries_by_recursion(attempt: Service, attempts: int) -> None:
    """Trying n times is one attempt, and after its failure n − 1 more."""

    def tries(left: int) -> list[tuple[int, bool, float]]:
        if left == 1:
            return outcomes(attempt)
        later = tries(left - 1)
        return [
            entry
            for a, ok, p in outcomes(attempt)
            for entry in ([(a, True, p)] if ok else [(a + b, o, p * q) for b, o, q in later])
        ]

    assert_same(retried(attempt, attempts), tries(attempts))
    again = 1 + sum(retried(attempt, tried).failed.sum() for tried in range(1, attempts))
    assert retried(attempt, attempts).cost == pytest.approx(attempt.cost * again)


@given(services(), st.floats(0.01, 0.99))
def test_quantile_inverts_share(service: Service, probability: float) -> None:
    answered = float(np.cumsum(service.ok)[-1])
    if probability > answered:
        with pytest.raises(ValueError, match="the share answered"):
            answer_quantile(service, probability)
        return
    time = answer_quantile(service, probability)
    assert 0 <= time <= (CELLS - 0.5) * 0.5
    assert answered_within(service, time) == pytest.approx(probability, abs=1e-12)
    if time > 1e-9:
        assert answered_within(service, time * (1 - 1e-9)) <= probability + 1e-12


def test_first_cell_is_half_as_wide() -> None:
    service = Service(np.array([0.4, 0.6]), np.zeros(2), 2.0, 0.0)
    assert answered_within(service, 0.5) == pytest.approx(0.2)
    assert answer_quantile(service, 0.2) == pytest.approx(0.5)
    assert answer_quantile(service, 0.7) == pytest.approx(2.0)
    assert answered_within(service, 3.0) == pytest.approx(1.0)
    service = Service(np.array([0.0, 0.3, 0.3, 0.3]), np.zeros(4), 1.0, 0.0)
    assert answer_quantile(service, 0.9) == pytest.approx(3.5)  # all that are, a digit short


# Exercises


def test_grids_and_masses_that_do_not_fit_are_refused() -> None:
    two = Service(np.array([0.5, 0.5]), np.zeros(2), 1.0, 0.0)
    three = Service(np.array([0.5, 0.5, 0.0]), np.zeros(3), 1.0, 0.0)
    for compose in (in_sequence, in_parallel, lambda a, b: either(0.5, a, b)):
        with pytest.raises(ValueError, match=r"grid \(step_s, cells\) must be the same for both"):
            compose(two, three)
    with pytest.raises(ValueError, match="ok and failed must be at most 1 together"):
        Service(two.ok, two.ok, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"failed must be of shape \(2,\)"):
        Service(two.ok, np.zeros(3), 1.0, 0.0)
    with pytest.raises(ValueError, match="cdf must be rising"):
        on_grid(lambda t: np.exp(-t), 1.0, 10)
