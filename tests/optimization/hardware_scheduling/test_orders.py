"""Keys: limits of the slack, the other engine in order of arrival, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.optimization.hardware_scheduling.orders import (
    DRAWS,
    MANY_DRAWS,
    _asked,
    _pairs,
    _served,
    example,
    slack_key,
)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), min_size=2, max_size=9),
    st.floats(0, 50),
)
def test_nobody_is_overtaken_beyond_the_slack(
    pairs: list[tuple[float, float]], slack: float
) -> None:
    arrivals, prompts = np.array(pairs).T
    key = slack_key(arrivals, prompts, slack)
    for one in range(len(pairs)):
        for other in range(len(pairs)):
            if key[other] < key[one]:
                late = arrivals[other] - arrivals[one]
                assert late <= slack * (prompts[one] - prompts[other]) + 1e-6


def test_without_slack_it_is_the_order_of_arrival_and_with_much_the_shortest() -> None:
    arrivals, prompts = [0.0, 1.0, 2.0], [3.0, 1.0, 2.0]
    assert np.argsort(slack_key(arrivals, prompts, 0.0)).tolist() == [0, 1, 2]
    assert np.argsort(slack_key(arrivals, prompts, 1e9)).tolist() == [1, 2, 0]


def test_in_order_of_arrival_it_is_the_engine_of_the_other_chapters() -> None:
    few = CHAT.limited(64)
    asked = _asked(few, 0.95)
    served = simulate(
        Workload(asked.arrival_s, asked.prompt_tokens, asked.output_tokens, asked.cached_tokens),
        few.engine,
    )
    first = (served.first_token_s - asked.arrival_s)[asked.arrival_s.size // 10 :]
    served_first, _ = _served(few, 0.95, "arrival", 0.0, 0.0, False, 1)
    assert served_first == pytest.approx(first + few.made.around_s, abs=1e-6)


def test_the_page_quotes_what_was_served() -> None:
    """A draw of the record is served again."""
    limit_s = MIXTURE.promise.ttft_s
    before, after = (
        _served(MIXTURE, 0.95, "prompt", slack, 0.0, False, DRAWS[1])[0] for slack in (0.0, 30.0)
    )
    shown = _pairs()[1]
    assert [one.in_time for one in shown] == pytest.approx(
        [np.mean(before <= limit_s), np.mean(after <= limit_s)]
    )
    assert shown[1].longest_s == pytest.approx(after.max())
    late = [b.longest_s / a.longest_s for a, b in _pairs(draws=MANY_DRAWS)]
    assert sum(one <= example().longest_times for one in late) == (len(late) + 1) // 2
