"""Second copies behind an engine: limits, a hand-made run, and the order of the chapter's table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.tail_latency import engine_hedging
from serving_mathematics.capacity.tail_latency.engine_hedging import hedged_first_tokens
from serving_mathematics.core.batching.continuous_batching import EIGHT_BILLION
from serving_mathematics.core.batching.event_skipping import simulate


def tokens(seed: int, rate: float, share: float, cached: float = 0.0) -> tuple[float, float]:
    pair = hedged_first_tokens(np.random.default_rng(seed), rate, share, cached)
    return tuple(float(np.quantile(one, 0.99)) for one in pair)  # type: ignore[return-value]


@given(st.integers(0, 1000), st.floats(0.5, 4.0), st.floats(0.0, 0.2), st.floats(0.0, 0.9))
def test_a_second_copy_never_makes_a_first_token_later(
    seed: int, rate: float, share: float, cached: float
) -> None:
    alone, hedged = hedged_first_tokens(np.random.default_rng(seed), rate, share, cached)
    assert alone.shape == hedged.shape
    assert np.all(hedged <= alone)
    changed = alone > np.quantile(alone, 0.95)
    assert np.array_equal(alone[~changed], hedged[~changed])


def test_an_idle_replica_reads_the_prompt_alone() -> None:
    """Where nobody else is, a first token takes the steps of its prompt in chunks."""
    alone, _ = hedged_first_tokens(np.random.default_rng(1), 0.001, 0.0)
    engine = EIGHT_BILLION
    least = 1000 * engine.prefill_token_s + 2 * engine.step_s
    assert np.median(alone) == pytest.approx(least, rel=0.05)


def test_a_cold_second_copy_helps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    warm, cold = tokens(3, 3.0, 0.02), tokens(3, 3.0, 0.02, 0.75)
    assert 1 - cold[1] / cold[0] < 1 - warm[1] / warm[0]
    monkeypatch.setattr(engine_hedging, "LONG", 1000)  # no long prompts: no tail to speak of
    assert tokens(3, 3.0, 0.02)[0] < warm[0] / 2


def test_the_second_replica_reads_what_the_first_has_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both get the same requests and answers; the second reads all of each, others' prompts too
    only in part."""
    given = []
    monkeypatch.setattr(
        engine_hedging,
        "simulate",
        lambda workload, engine: given.append(workload) or simulate(workload, engine),
    )
    hedged_first_tokens(np.random.default_rng(2), 1.0, 0.0, cached_share=0.75)
    first, second = given
    assert set(first.cached_tokens.tolist()) == {750}
    assert set(second.cached_tokens.tolist()) == {0, 750}
    assert float((second.cached_tokens == 0).mean()) == engine_hedging.FOLLOWED
    for workload in given:
        assert set(workload.prompt_tokens.tolist()) == {1000}
        assert workload.output_tokens.mean() == pytest.approx(engine_hedging.ANSWER, rel=0.06)


def test_a_prompt_that_is_cached_leaves_a_token_to_read() -> None:
    alone, _ = hedged_first_tokens(np.random.default_rng(0), 0.5, 0.0, cached_share=0.9999)
    assert float(alone.min()) > 0


def test_half_widths_are_those_of_eight_runs() -> None:
    p99, _ = engine_hedging._p99(0.02, 0.0)
    runs = [tokens_of(run) for run in range(8)]
    assert p99.standard_error == pytest.approx(np.std(runs, ddof=1) / 8**0.5)
    assert p99.half_width == pytest.approx(2.3646 * p99.standard_error, rel=1e-4)


def tokens_of(run: int) -> float:
    alone, _ = hedged_first_tokens(np.random.default_rng([91, run]), 3.0, 0.02)
    return float(np.quantile(alone, 0.99))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0.0, 0.1), "rate_per_s must be in"),
        ((1e9, 0.1), "rate_per_s must be in"),
        ((1.0, -0.1), "long_share must be in"),
        ((1.0, 0.1, 1.0), "cached_share must be in"),
    ],
)
def test_bad_input(arguments: tuple[float, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        hedged_first_tokens(np.random.default_rng(0), *arguments)
