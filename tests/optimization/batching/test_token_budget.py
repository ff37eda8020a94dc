"""The token budget: gaps one by one, full steps by hand, and what the slider says."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import latencies_s, simulate_steps
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import ask_machine
from serving_mathematics.optimization.batching.token_budget import (
    BUDGETS,
    LOADS,
    full_step_s,
    slider_token_budget,
)


def test_a_full_step_is_a_step_and_prompt_tokens() -> None:
    for budget, sequences in ((512, 0), (512, 100), (2048, 1)):
        limited = CHAT.limited(token_budget=budget)
        mean = CHAT.sample.prompt_tokens.mean()
        token_s = float(CHAT.prompt_s(CHAT.sample.prompt_tokens).mean() / mean)
        expected = float(CHAT.step_s(sequences)) + (budget - sequences) * token_s
        assert full_step_s(limited, sequences) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bad", [-1, 512, np.nan])
def test_what_fits_in_no_step_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="sequences must be from 0 to below 512"):
        full_step_s(CHAT.limited(token_budget=512), bad)


def test_the_slider_says_what_the_engine_does() -> None:
    told = slider_token_budget()
    budgets, loads = (control["values"] for control in told["controls"])
    assert list(budgets) == list(BUDGETS)
    assert loads == [f"{100 * load:.0f}%" for load in LOADS]
    gaps, firsts = (np.asarray(curve["values"]) for curve in told["panels"][0]["curves"])
    assert gaps.shape == firsts.shape == (len(BUDGETS), len(LOADS))
    assert 5 < firsts[1, 2] / 1000 < 15  # about ten seconds, by the page
    asked = ask_machine(CHAT, 0.4, 4000, seed=2)
    ttft, tpot = latencies_s(asked, simulate_steps(asked, CHAT.engine))
    own = BUDGETS.index(CHAT.token_budget)
    assert firsts[own, 0] == pytest.approx(1000 * np.quantile(ttft, 0.99))
    assert told["readouts"][0]["values"][own, 0] == pytest.approx(1000 * np.nanquantile(tpot, 0.99))
