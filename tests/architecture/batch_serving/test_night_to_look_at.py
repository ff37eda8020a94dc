"""The slider of the night: what it shows is what the nights are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from serving_mathematics.architecture.batch_serving.night_of_shards import (
    ENGINES,
    KILLED_AT_S,
    MISHAPS,
    PAYS,
    SHARDS,
    _end_s,
    example,
)
from serving_mathematics.architecture.batch_serving.night_to_look_at import slider_night


def test_the_slider_says_when_the_night_is_over() -> None:
    slider = slider_night()
    over, done, lost = (readout["values"] for readout in slider["readouts"])
    (lanes,) = slider["panels"]
    assert lanes["lanes"] == ["1", "2", "3", "4"]
    for i, n in enumerate(SHARDS):
        for j, pays in enumerate(PAYS):
            for k, mishap in enumerate(MISHAPS):
                assert over[i][j][k] == pytest.approx(_end_s(n, pays, mishap) / 60)
                bars = lanes["bars"][i][j][k]
                assert max(end for _, _, end, _ in bars) == pytest.approx(over[i][j][k], abs=0.01)
                assert sum(state == "answer" for *_, state in bars) == n
                assert done[i][j][k] == sorted(done[i][j][k])
                after = np.array(slider["clock"]["values"]) >= over[i][j][k]
                assert np.array(done[i][j][k])[after] == pytest.approx(100)
                broken = [end for *_, end, state in bars if state == "broken"]
                assert broken == ([KILLED_AT_S / 60] if mishap == MISHAPS[1] else [])
                assert (lost[i][j][k] > 0) == (mishap == MISHAPS[1])
                for engine in range(ENGINES):
                    own = sorted((a, b) for lane, a, b, _ in bars if lane == str(engine + 1))
                    assert all(a[1] <= b[0] + 0.02 for a, b in itertools.pairwise(own))
    told = example()
    assert over[0][0][1] == pytest.approx(told.killed_4_min)
    assert over[-1][0][1] == pytest.approx(told.killed_64_min)
