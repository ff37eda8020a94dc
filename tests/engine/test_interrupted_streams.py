"""The streams of the record: whole, and interrupted where the prompt came."""

from __future__ import annotations

import numpy as np
from serving_mathematics.engine.interrupted_streams import RECORD, STREAMS, example
from serving_mathematics.support.measuring import read_record


def test_streams_are_whole_and_interrupted_after_their_30th_token() -> None:
    for run in read_record(RECORD)["interrupted"]:
        gaps = np.array(run["gaps_ms"])
        assert gaps.shape == (STREAMS, 79)
        assert 28 <= gaps[0].argmax() <= 55


def test_example_quotes_the_record() -> None:
    shown, (whole, small) = example(), read_record(RECORD)["interrupted"]
    assert shown.real_whole_longest_ms == max(map(max, whole["gaps_ms"]))
    assert shown.real_small_longest_ms == max(map(max, small["gaps_ms"]))
