"""A replica: Little's law, steepness on lines of any slope, and the errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from serving_mathematics.capacity.autoscaling.replica_response import (
    Replica,
    elasticities,
    replica_of,
)
from serving_mathematics.core.machines.machines import CHAT, MIXTURE


def line(slope: float, places: int = 400) -> Replica:
    count = np.arange(places + 1.0)
    return Replica(count / (1 + slope * count), 1 + slope * count, places, 1.0)


@given(st.floats(0.001, 0.1), st.floats(0.1, 0.9))
def test_elasticities_of_a_line(slope: float, load: float) -> None:
    """n = λ/(1 − λd) has the elasticity 1/(1 − λd), and 1 + dn one less."""
    replica = line(slope)
    inside, tokens = elasticities(replica, load)
    own = load * replica.most_per_s * slope
    assume(
        load * replica.most_per_s > 4 * (1 - own)
    )  # or a step from one count to the next is seen
    assert inside == pytest.approx(1 / (1 - own), rel=0.05)
    assert inside - tokens == pytest.approx(1.0, abs=0.05)


def test_a_constant_speed_is_the_straight_line() -> None:
    """Without a slope the requests inside are in proportion to the load, and tokens never move."""
    assert elasticities(line(0.0), 0.7) == pytest.approx((1.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("machine", [CHAT, MIXTURE, CHAT.limited(16)])
def test_inside_is_littles_law(machine: object) -> None:
    replica = replica_of(machine)  # type: ignore[arg-type]
    counts = np.arange(1, replica.places + 1)
    assert np.all(np.diff(replica.rates) > 0)
    assert np.all(np.diff(replica.tokens_s) >= 0)
    assert replica.inside(replica.rates[1:]) == pytest.approx(counts)
    assert replica.held <= replica.places
    assert replica.inside([0.0]).tolist() == [0.0]
    with pytest.raises(ValueError, match="rate_per_s must be at most"):
        replica.inside(1.01 * replica.most_per_s)
