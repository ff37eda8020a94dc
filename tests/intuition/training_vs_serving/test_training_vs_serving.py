"""Lifetime compute, the scaling law and the exercises: scipy's minimum, limits, scaling, errors."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.intuition.training_vs_serving.training_vs_serving import LAWS as constants
from serving_mathematics.intuition.training_vs_serving.training_vs_serving import (
    PRINTED,
    REFITTED,
    SERVED_T,
    SIZES_B,
    UNROUNDED,
    ScalingLaw,
    Training,
    compute_optimal_tokens,
    example,
    lifetime_flops,
    lifetime_optimum,
    lifetime_saving,
    loss,
    slider_lifetime_flops,
    tokens_for_loss,
)

LAWS = st.sampled_from([PRINTED, UNROUNDED, REFITTED])
SIZES = st.floats(1e8, 1e12)
DEMANDS = st.floats(1e10, 1e15)


@given(LAWS, SIZES, DEMANDS)
def test_optimum_is_scipys_minimum(law: ScalingLaw, size: float, demand: float) -> None:
    target = loss(law, size, compute_optimal_tokens(law, size))
    best = lifetime_optimum(law, target, demand)
    lowest = (law.a / (target - law.irreducible)) ** (1 / law.alpha)
    found = optimize.minimize_scalar(
        lambda x: math.log(
            lifetime_flops(math.exp(x), tokens_for_loss(law, math.exp(x), target), demand)
        ),
        bounds=(math.log(lowest * 1.0001), math.log(size * 1.5)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert math.log(best.flops) <= found.fun + 1e-9
    assert best.parameters == pytest.approx(math.exp(found.x), rel=1e-3)
    assert best.parameters <= size * (1 + 1e-9)


@given(LAWS, SIZES)
def test_without_demand_the_optimum_is_compute_optimal(law: ScalingLaw, size: float) -> None:
    tokens = compute_optimal_tokens(law, size)
    best = lifetime_optimum(law, loss(law, size, tokens))
    assert best.parameters == pytest.approx(size, rel=1e-9)
    assert best.tokens == pytest.approx(tokens, rel=1e-9)
    assert best.flops == pytest.approx(6 * size * tokens, rel=1e-9)
    assert lifetime_saving(law, size, 0.0) == pytest.approx(0.0, abs=1e-9)


@given(LAWS, SIZES, DEMANDS)
def test_more_demand_means_a_smaller_model_and_a_larger_saving(
    law: ScalingLaw, size: float, demand: float
) -> None:
    target = loss(law, size, compute_optimal_tokens(law, size))
    one, two = lifetime_optimum(law, target, demand), lifetime_optimum(law, target, 2 * demand)
    assert two.parameters < one.parameters
    assert two.tokens > one.tokens
    assert 0 < lifetime_saving(law, size, demand) < lifetime_saving(law, size, 2 * demand) < 1


@given(LAWS, SIZES, st.floats(1e9, 1e15))
def test_tokens_for_loss_inverts_the_loss(law: ScalingLaw, size: float, tokens: float) -> None:
    assert tokens_for_loss(law, size, loss(law, size, tokens)) == pytest.approx(tokens, rel=1e-6)


def test_a_demand_beyond_floating_point_still_has_an_optimum() -> None:
    """The bisection meets a share of exactly one, which leaves no loss to the data."""
    law = ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5)
    best = lifetime_optimum(law, 3.0, 1e100)
    assert best.parameters == pytest.approx(4.0)  # u alone makes up the excess loss
    assert best.flops == pytest.approx(2 * best.parameters * 1e100)
    assert best == Training(best.parameters, best.tokens, best.flops)


@pytest.mark.parametrize("field", ["irreducible", "a", "b", "alpha", "beta"])
def test_laws_that_do_not_fall_are_refused(field: str) -> None:
    for bad in (-1.0, math.nan, math.inf) + (0.0,) * (field != "irreducible"):
        with pytest.raises(ValueError, match=rf"^{field} must be .* and finite, got {bad}"):
            replace(PRINTED, **{field: bad})
    assert replace(PRINTED, irreducible=0.0).irreducible == 0.0


def test_the_slider_says_the_numbers_of_the_page() -> None:
    told, page = slider_lifetime_flops(), example()
    at = SERVED_T.index(10), list(constants).index("unrounded"), SIZES_B.index(70)
    said = {one["label"]: np.array(one["values"]) for one in told["readouts"]}
    best = lifetime_optimum(
        UNROUNDED, loss(UNROUNDED, 70e9, compute_optimal_tokens(UNROUNDED, 70e9)), 1e13
    )
    assert (said["size"][at], said["data"][at]) == pytest.approx(
        (best.parameters / 1e9, best.tokens / 1e12)
    )
    across = said["saved"][at[0], :, at[2]]
    assert across.min() == pytest.approx(page.least_saving_percent)
    assert across.max() == pytest.approx(page.most_saving_percent)
    assert said["ratio"] == pytest.approx(1000 * said["data"] / said["size"])
    assert (said["size"][:-1] > said["size"][1:]).all()
    assert page.least_b < said["size"][at] < page.most_b
    assert page.regret_percent < 12.5


def test_bars_are_the_operations_of_training_and_serving_at_one_loss() -> None:
    told = slider_lifetime_flops()
    said = {one["label"]: np.array(one["values"]) for one in told["readouts"]}
    for (i, j, k), size in np.ndenumerate(said["size"]):
        law, served = list(constants.values())[j], 1e12 * SERVED_T[i]
        first = 1e9 * SIZES_B[k]
        tokens = compute_optimal_tokens(law, first)
        owned, data = 1e9 * size, 1e12 * said["data"][i, j, k]
        assert loss(law, owned, data) == pytest.approx(loss(law, first, tokens))
        whole = 6 * first * tokens + 2 * first * served
        rows = {"cheapest to train": (first, tokens), "cheapest to own": (owned, data)}
        for name, (n, d) in rows.items():
            bars = [bar for bar in told["panels"][0]["bars"][i][j][k] if bar[0] == name]
            spans = {bar[3]: bar[2] - bar[1] for bar in bars}
            assert spans["prompt"] == pytest.approx(100 * 6 * n * d / whole)
            assert spans.get("answer", 0) == pytest.approx(100 * 2 * n * served / whole)
            assert bars[-1][4] == f"{n / 1e9:.1f} B, {d / 1e12:.1f} T"
        assert 100 - bars[-1][2] == pytest.approx(said["saved"][i, j, k], abs=1e-6)
