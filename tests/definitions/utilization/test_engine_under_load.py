"""The engine under load: limits by hand, the slider against its record, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload, simulate_steps
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.definitions.utilization.engine_under_load import (
    LOADS,
    PLACES,
    _cells,
    example,
    load_limit,
    slider_engine_under_load,
)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 1))
def test_up_to_the_limit_the_promise_is_kept(kept: list[float], share: float) -> None:
    loads = np.arange(1.0, len(kept) + 1)
    limit = load_limit(loads, kept, share)
    before = loads[loads <= limit]
    assert all(value >= share for value in kept[: before.size])
    if 0 < limit < loads[-1]:
        assert kept[before.size] < share or np.interp(limit, loads, kept) == pytest.approx(share)


def test_limits_by_hand() -> None:
    assert load_limit([1, 2], [0.5, 0.4], 0.9) == 0
    assert load_limit([1, 2], [1.0, 0.95], 0.9) == 2
    assert load_limit([1, 2, 3], [1.0, 0.8, 1.0], 0.95) == pytest.approx(1.25)


def test_the_slider_says_the_numbers_of_the_record() -> None:
    told = slider_engine_under_load()
    engine, token, first = told["panels"]
    at = LOADS.index(80)
    for column, places in enumerate(PLACES):
        seen = _cells()[places, 80]["mean"]
        assert token["curves"][0]["values"][at][column] == pytest.approx(1000 * seen["token"])
        assert first["curves"][0]["values"][at][column] == pytest.approx(seen["first"])
        running, prompts = (np.array(engine[p][at][column]) for p in ("running", "prompts"))
        assert np.all(prompts <= running)
        assert np.all(running <= places)
        # the clip is of a run like the others: its mean is near that of the record
        assert running.mean() / places == pytest.approx(seen["running"], abs=0.3)
    rate, slower = (one["values"][at][PLACES.index(256)] for one in told["readouts"][:2])
    assert rate == pytest.approx(0.8 * CHAT.ceiling_per_s)
    assert slower == pytest.approx(example().slower_many)


def test_a_cell_by_the_simulator_that_takes_every_step() -> None:
    """With 16 places at 60%, step by step: the time per token of 1,500 requests is the record's."""
    few, rng = CHAT.limited(16), np.random.default_rng(8)
    lengths = draw_lengths(rng, "conversations", 1500)
    arrivals = np.cumsum(rng.exponential(1 / (0.6 * few.ceiling_per_s), 1500))
    asked = Workload(arrivals, lengths.prompt_tokens, lengths.output_tokens)
    served = simulate_steps(asked, few.engine)
    spent = (served.completion_s - served.first_token_s)[150:].sum()
    token = spent / (lengths.output_tokens - 1)[150:].sum()
    assert token == pytest.approx(_cells()[16, 60]["mean"]["token"], rel=0.03)
