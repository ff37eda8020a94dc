"""The rules of attention memory: read by a parser of their language, and run."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.deployments import cache_room_bytes, sequence_bytes
from serving_mathematics.machine.attention_memory.who_fits import (
    LENGTHS,
    SHOWN,
    SPLITS,
    _engine,
    sequences_that_fit,
)

from .promql import Series
from .rule_files import firing, rule_text

WAITING = {"vllm": "vllm:num_requests_waiting", "sglang": "sglang:num_queue_reqs"}
RUNNING = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs"}
TAKEN = {"vllm": "vllm:kv_cache_usage_perc", "sglang": "sglang:token_usage"}


def fires(engine: str, waiting: float, taken: float, running: float = 256.0) -> set[str]:
    """Alerts of the last minute of half an hour."""
    steady = np.ones(30)
    series: dict[str, Series] = {
        WAITING[engine]: waiting * steady,
        TAKEN[engine]: taken * steady,
        RUNNING[engine]: running * steady,
    }
    return firing(f"memory-or-places-{engine}", series)


@pytest.mark.parametrize("engine", list(WAITING))
def test_who_waits_for_what(engine: str) -> None:
    assert fires(engine, 5.0, 0.97) == {"MemoryEndsFirst"}
    assert fires(engine, 5.0, 0.4) == {"PlacesEndFirst"}
    assert fires(engine, 5.0, 0.8) == {"PlacesEndFirst"}
    assert fires(engine, 5.0, 0.4, running=60.0) == {"OthersPromptsComeFirst"}  # places are free
    assert fires(engine, 5.0, 0.8, running=60.0) == {"OthersPromptsComeFirst"}
    assert (
        fires(engine, 0.2, 0.97) == fires(engine, 0.2, 0.4) == fires(engine, 0.2, 0.4, 9) == set()
    )


@pytest.mark.parametrize("engine", list(WAITING))
def test_a_full_cache_of_few_sequences_is_said(engine: str) -> None:
    """What the file says to set lies below the share that as many as fit take, and nine tenths do
    not: six long contexts leave more than a tenth free."""
    missed = set()
    for one in (_engine(kind, split) for kind in SHOWN for split in SPLITS):
        for tokens in LENGTHS:
            fit = sequences_that_fit(one, tokens) // one.attention_data
            taken = fit * sequence_bytes(one, tokens) / cache_room_bytes(one)
            assert fit == 0 or taken > fit / (fit + 1)
            if fit and taken <= 0.9:
                missed.add(fit)
    assert 6 in missed
    assert max(missed) < 10
    assert "n below ten" in rule_text(f"memory-or-places-{engine}")
    assert "n / (n + 1)" in rule_text(f"memory-or-places-{engine}")
