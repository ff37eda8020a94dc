"""Widths of engines: the closed form by brute force, and the loads that were measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.step_time import FITTED
from serving_mathematics.machine.parallelism.engine_widths import (
    _loads,
    _nearest,
    _terms,
    best_width,
)
from serving_mathematics.machine.parallelism.parallelism import _engines, _llama_on


@given(st.floats(1e-4, 0.1), st.floats(1e-6, 1e-3), st.floats(0.5, 200))
def test_no_other_number_is_faster(w: float, e: float, r: float) -> None:
    n = np.geomspace(1e-3, 1e4, 20001)
    fastest = n[np.argmin(w / n + e * (n - 1) * r)]
    assert best_width(w, e, r) == pytest.approx(fastest, rel=2e-3)


@given(st.floats(1.0, 8.0))
def test_the_nearest_width_is_the_fastest_of_the_form(best: float) -> None:
    """Of doublings, the nearest in ratio has the least w/n + e r n, by the form itself."""
    times = {n: best**2 / n + n for n in (1, 2, 4, 8)}
    assert times[_nearest(best, times)] == pytest.approx(min(times.values()))


def test_a_load_by_brute_force() -> None:
    """Times of one load, over all runs of its deployment with as many requests a device."""
    load = next(x for x in _loads() if "Llama-3.1-70B" in x.model and len(x.measured) == 4)
    one = load.one
    for width, seen in load.measured.items():
        times = [
            run.per_token_s
            for run in _engines()
            if str(run.model) == load.model
            and run.answers.tensor == width
            and run.answers.pipeline == 1
            and run.concurrency == load.requests * width
            and run.answers.system.name == one.system.name
            and (run.answers.backend, run.answers.precision) == (one.backend, one.precision)
            and run.answers.input_tokens == one.input_tokens
            and run.answers.output_tokens == one.output_tokens
        ]
        assert seen == pytest.approx(np.median(times))


def test_terms_by_hand() -> None:
    """160 messages of 2 * 16,384 bytes a token and many devices, over the attained link; a third
    more for a prompt as long as the answer, and eight times that third for one of eight times."""
    answered = 160 * 2 * 16384 / (450e9 * FITTED.link_share)
    third = FITTED.link_share / FITTED.prompt_link_share
    for times in (1, 8):
        one = replace(_llama_on(1, 1.0), input_tokens=1024.0 * times)
        assert _terms(one)[1] == pytest.approx(answered * (1 + times * third))
    assert 0.25 < third < 0.4
