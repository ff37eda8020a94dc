"""The twelve requests: batches by hand, the other simulator, and what the slider says."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.optimization.batching.batching_policies import POLICIES
from serving_mathematics.optimization.batching.twelve_requests import (
    FOUR,
    PLACES,
    REQUESTS,
    SPREADS,
    _asked,
    _spans,
    slider_twelve_requests,
)


@pytest.mark.parametrize("spread", SPREADS)
def test_static_batches_are_four_in_a_row_and_step_by_step(spread: float) -> None:
    asked, end_s = _asked(spread), 0.0
    for first in range(0, REQUESTS, PLACES):
        members = slice(first, first + PLACES)
        end_s = max(end_s, float(asked.arrival_s[members].max()))
        prompts, outputs = asked.prompt_tokens[members], asked.output_tokens[members]
        end_s += float(FOUR.step_s(0, 0.0)) * (-(-int(prompts.sum()) // FOUR.token_budget))
        end_s += float(FOUR.prompt_s(prompts).sum())
        for step in range(1, int(outputs.max())):
            end_s += float(FOUR.step_s(PLACES, float(prompts.mean()) + step))
        assert _spans("static", spread)[members, 4] == pytest.approx(end_s, rel=1e-6)


@pytest.mark.parametrize("spread", SPREADS)
def test_continuous_batching_is_the_other_simulators(spread: float) -> None:
    served = simulate(_asked(spread), FOUR.engine)
    assert _spans("continuous", spread)[:, 4] == pytest.approx(served.completion_s, rel=1e-9)


def test_the_slider_counts_what_its_bars_show() -> None:
    told = slider_twelve_requests()
    clock = np.asarray(told["clock"]["values"])
    for panel, policy, readout in zip(told["panels"], POLICIES, told["readouts"], strict=False):
        assert readout["label"] == policy
        for run in range(len(SPREADS)):
            ends = [end for _, _, end, state, *_ in panel["bars"][run] if state == "answer"]
            assert len(ends) == REQUESTS
            assert readout["values"][run] == [sum(e <= now for e in ends) for now in clock]
            assert readout["values"][run][-1] == REQUESTS
    last = {readout["label"]: readout["values"] for readout in told["readouts"][3:]}
    assert last["end, static"][SPREADS.index(1.0)] > 1.5 * last["end, continuous"][2]
