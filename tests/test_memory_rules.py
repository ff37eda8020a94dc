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

from .promql import Series, Vector
from .rule_files import RUNNING, TAKEN, WAITING, firing, rule_text, vectors


def _tokens(slow: float) -> dict[str, Series]:
    """What engines count of answers, of which such a share is slower than promised."""
    steady, answers = np.ones(30), "vllm:request_time_per_output_token_seconds"
    return {
        f'{answers}_bucket{{le="0.05"}}': 600 * (1 - slow) * steady,
        f"{answers}_count": 600 * steady,
        "sglang:inter_token_latency_seconds_sum": 6000 * (0.025 + 0.1 * slow) * steady,
        "sglang:inter_token_latency_seconds_count": 6000 * steady,
    }


def fires(
    engine: str, waiting: float, taken: float, running: float = 256.0, slow: float = 0.0
) -> set[str]:
    """Alerts of the last minute of half an hour; slow: share of the answers whose tokens come later
    than promised."""
    steady = np.ones(30)
    series: dict[str, Series] = {
        WAITING[engine]: waiting * steady,
        TAKEN[engine]: taken * steady,
        RUNNING[engine]: running * steady,
        **_tokens(slow),
    }
    return firing(f"memory-or-places-{engine}", series)


@pytest.mark.parametrize("engine", list(WAITING))
def test_who_waits_for_what(engine: str) -> None:
    assert fires(engine, 5.0, 0.97) == {"MemoryEndsFirst"}
    assert fires(engine, 5.0, 0.4) == {"PlacesEndFirst"}
    assert fires(engine, 5.0, 0.8) == {"PlacesEndFirst"}
    assert fires(engine, 5.0, 0.4, slow=0.2) == {"LoadExceedsPlaces"}  # more places harm
    assert fires(engine, 5.0, 0.97, slow=0.2) == {"MemoryEndsFirst"}
    assert fires(engine, 0.2, 0.4, slow=0.2) == set()
    assert fires(engine, 5.0, 0.4, running=60.0) == {"OthersPromptsComeFirst"}  # places are free
    assert fires(engine, 5.0, 0.8, running=60.0) == {"OthersPromptsComeFirst"}
    assert (
        fires(engine, 0.2, 0.97) == fires(engine, 0.2, 0.4) == fires(engine, 0.2, 0.4, 9) == set()
    )


@pytest.mark.parametrize("engine", list(WAITING))
def test_one_full_rank_of_a_server_is_told_by_the_tokens_of_all(engine: str) -> None:
    """Times per token are the server's; who waits, and who runs, is counted by rank."""
    steady = np.ones(30)
    shown: dict[str, Series | Vector] = {
        WAITING[engine]: {"server/0": 5 * steady, "server/1": 0 * steady},
        TAKEN[engine]: {"server/0": 0.4 * steady, "server/1": 0.4 * steady},
        RUNNING[engine]: {"server/0": 256 * steady, "server/1": 99 * steady},
        **{name: {"server/0": one} for name, one in _tokens(slow=0.0).items()},
    }
    told = vectors(f"memory-or-places-{engine}", shown)["PlacesEndFirst"]
    assert {name: bool(np.isfinite(one[-1])) for name, one in told.items()} == {
        "server/0": True,
        "server/1": False,
    }


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
