"""Limits of the gain, and the pairs counted again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.step_terms import engine_runs
from serving_mathematics.machine.step_time.more_bandwidth import (
    _faster,
    _pairs,
    bandwidth_gain,
    example,
)


@given(share=st.floats(0, 1), faster=st.floats(0.1, 10))
def test_a_gain_is_the_time_before_over_the_time_after(share: float, faster: float) -> None:
    reads, rest = 7.0 * share, 7.0 * (1 - share)
    expected = 7.0 / (rest + reads / faster)
    assert float(bandwidth_gain(share, faster)) == pytest.approx(expected)


def test_each_kind_is_one_model() -> None:
    shares, gains, sparse = _pairs()
    found = example()
    assert 1 + found.dense_gain == pytest.approx(np.median(gains[~sparse]))
    assert 1 + found.sparse_gain == pytest.approx(np.median(gains[sparse]))
    assert 0 < sparse.sum() < shares.size
    names: dict[bool, set[str]] = {True: set(), False: set()}
    pairs = [r.answers for r in engine_runs()[0].runs if r.answers.system.name == "h100_sxm"]
    for one in pairs:
        names[one.architecture.routed_parameters > 0].add(one.architecture.name)
    assert "openai/gpt-oss-120b" in names[True]
    assert "meta-llama/Meta-Llama-3.1-70B" in names[False]


def test_pairs_differ_in_the_device_alone() -> None:
    shares, gains, sparse = _pairs()
    assert shares.shape == gains.shape == sparse.shape == (example().pairs,)
    assert np.all((shares > 0) & (shares < 1))
    assert _faster() == pytest.approx(4.8 / 3.35)
    runs = engine_runs()[0].runs
    kept = ("architecture", "backend", "precision", "tensor", "concurrency", "input_tokens")
    told: dict[str, set[tuple[object, ...]]] = {"h100_sxm": set(), "h200_sxm": set()}
    for run in runs:
        one = run.answers
        if one.system.name in told:
            looks = [one.architecture.name, *(getattr(one, name) for name in kept[1:])]
            told[one.system.name].add(tuple(looks))
    both = told["h100_sxm"] & told["h200_sxm"]
    assert 0 < len(both) <= 1.5 * shares.size
