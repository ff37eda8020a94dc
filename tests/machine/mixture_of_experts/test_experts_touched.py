"""Touched experts by token: closed forms, the step of the book's mixture, the slider."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.machine.mixture_of_experts.experts_touched import (
    EXPERTS,
    ROUTINGS,
    TOKENS,
    _counted_popularity,
    _touched,
    slider_experts_touched,
)


@pytest.mark.parametrize("experts", EXPERTS)
def test_touched_in_closed_form(experts: int) -> None:
    found = _touched(experts, ROUTINGS[0])
    for tokens in (1, 7, TOKENS):
        assert found[tokens - 1] == pytest.approx(experts * (1 - (1 - 8 / experts) ** tokens))
    counted = _touched(experts, ROUTINGS[1])
    assert counted[0] == pytest.approx(_counted_popularity(experts).sum())
    assert np.all(counted <= found * (1 + 1e-9))
    assert np.all(np.diff(found) > -1e-9)
    assert np.all(np.diff(counted) > -1e-9)


def test_counted_popularity_is_what_was_counted() -> None:
    shares = _counted_popularity(128)
    assert shares.sum() == pytest.approx(8)
    assert shares[:65].sum() == pytest.approx(7.2, rel=1e-6)
    assert np.all(np.diff(shares) < 0)


def test_the_slider_is_the_formula() -> None:
    told = slider_experts_touched()
    grid, plane = told["panels"]
    tokens = np.array(told["clock"]["values"])
    assert np.array(grid["running"]).shape == (len(EXPERTS), len(ROUTINGS), tokens.size)
    for place, experts in enumerate(EXPERTS):
        expected = experts * (1 - (1 - 8 / experts) ** tokens)
        assert grid["running"][place][0] == pytest.approx(expected, abs=0.51)
        assert plane["curves"][0]["values"][place][0] == pytest.approx(expected / tokens)
        assert np.cumsum(grid["prompts"][place][0]).tolist() == grid["running"][place][0]
    assert plane["curves"][1]["values"][0][0] == pytest.approx(8 / tokens)
