"""The rules of ranks: read by a parser of their language, and run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .rule_files import RUNNING, TAKEN, WAITING, at_the_end, rules


def run(
    engine: str, running: list[float], cache: list[float], waiting: float = 0.0
) -> dict[str, float]:
    """The last minute of an hour in which each rank has so much, and so many wait at the first."""
    waits = [waiting, *[0.0] * (len(running) - 1)]
    series: dict[str, Any] = {
        name: {str(rank): np.full(60, value) for rank, value in enumerate(values)}
        for name, values in (
            (RUNNING[engine], running),
            (TAKEN[engine], cache),
            (WAITING[engine], waits),
        )
    }
    return at_the_end(f"parallel-ranks-{engine}", series)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_ranks_that_are_uneven_and_ranks_that_are_not(engine: str) -> None:
    even = run(engine, [20.0, 22.0, 18.0, 20.0], [0.5] * 4)
    assert even["ranks:busiest_over_mean:ratio"] == pytest.approx(1.1)
    assert np.isnan(even["RanksAreUneven"])
    crowded = run(engine, [40.0, 10.0, 10.0, 10.0], [0.97, 0.2, 0.2, 0.2], waiting=5.0)
    assert crowded["RanksAreUneven"] == pytest.approx(40 / 17.5)
    assert crowded["RankHasNoCacheLeft"] == pytest.approx(0.97)
    assert np.isnan(even["RankHasNoCacheLeft"])
    full = run(engine, [20.0] * 4, [0.97] * 4)
    assert np.isnan(full["RankHasNoCacheLeft"])  # a healthy engine at high load: nobody waits
    idle = run(engine, [4.0, 0.0, 0.0, 0.0], [0.1] * 4)
    assert np.isnan(idle["RanksAreUneven"])  # hardly anybody runs


@pytest.mark.parametrize("engine", list(RUNNING))
def test_ranks_of_other_models_are_no_measure(engine: str) -> None:
    """Every rule that is recorded keeps the models apart."""
    for rule in rules(f"parallel-ranks-{engine}"):
        if "record" in rule:
            expr = rule["expr"]
            assert expr.count("by (model_name)") == expr.count("avg_over_time")
