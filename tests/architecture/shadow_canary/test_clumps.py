"""Requests worth one: scipy's F, limits, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.architecture.shadow_canary.clumps import clump, false_alarm_rate


@given(st.integers(0, 1000), st.integers(3, 8), st.integers(2, 9))
def test_clump_is_the_f_of_blocks_over_the_variance_of_all(
    seed: int, blocks: int, each: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(blocks, each)) + rng.normal(size=(blocks, 1))
    within = float(rows.var(axis=1, ddof=1).mean())
    f = stats.f_oneway(*rows).statistic
    got = clump(rows.ravel(), np.repeat(np.arange(blocks), each))
    assert got == pytest.approx(f * within / rows.var(ddof=1))
    order = rng.permutation(rows.size)
    shuffled = clump(3 + 7 * rows.ravel()[order], np.repeat(np.arange(blocks), each)[order])
    assert shuffled == pytest.approx(got)


@given(st.floats(1, 1e6), st.floats(0.001, 0.5))
def test_a_clump_only_adds_false_alarms(many: float, alpha: float) -> None:
    got = false_alarm_rate(many, alpha)
    assert got == pytest.approx(2 * stats.norm.sf(stats.norm.isf(alpha / 2) / math.sqrt(many)))
    assert got >= alpha - 1e-12
