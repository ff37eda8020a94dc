from __future__ import annotations

import statistics

import numpy as np
import pytest
from serving_mathematics.capacity.arrival_rates.arrival_rates import dispersion_index
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import Asked, _alike_times
from serving_mathematics.report.findings.of_the_traffic import (
    _half_of_dispersion,
    _in_windows,
    bursts,
    few_carry_most,
    lengths_follow_load,
    paced,
    retries,
    sessions,
)
from serving_mathematics.support.digits import sized

from ..example_runs import functions_of

FUNCTIONS = functions_of("of_the_traffic")


def test_nothing_is_said_of_nothing() -> None:
    assert all(f(Run("", ""), Asked()) is None for f in FUNCTIONS)
    at_once = Run("", "", {"sent_s": np.zeros(500), "prompt_tokens": np.ones(500)})
    assert all(f(at_once, Asked()) is None for f in FUNCTIONS)


@pytest.mark.parametrize("seed", range(5))
def test_poisson_is_neither_bursty_nor_even(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sent = np.cumsum(rng.exponential(0.1, 3000))
    for moments in (sent, sent + np.where(np.arange(3000) > 900, 60.0, 0.0)):  # a clock was set
        run = Run("", "", {"sent_s": moments})
        assert bursts(run, Asked()) is None
        assert paced(run, Asked()) is None


def test_bursts_of_requests_need_not_be_bursts_of_tokens() -> None:
    rng = np.random.default_rng(1)
    dense = (np.arange(6000) // 100) % 2 == 0
    sent = np.cumsum(rng.exponential(0.1, 6000) * np.where(dense, 0.25, 1.75))
    tokens = np.where(dense, 100.0, 700.0)
    found = bursts(Run("", "", {"sent_s": sent, "prompt_tokens": tokens}), Asked())
    requests, prompts = (float(x.split()[0]) for x in found.seen.split(" is ")[1].split(", ")[:2])
    assert prompts < requests
    found = lengths_follow_load(Run("", "", {"sent_s": sent, "prompt_tokens": tokens}), Asked())
    assert "shorter" in found.seen


def test_sessions_by_hand() -> None:
    turns = np.r_[np.repeat(np.arange(10.0), 15), np.arange(100.0, 150.0)]
    found = sessions(Run("", "", {"session": turns}), Asked())
    assert "60 sessions of 3.33 requests on average, the longest of 15" in found.seen
    assert "70% of the requests follow another" in found.seen
    assert sessions(Run("", "", {"session": np.arange(200.0)}), Asked()) is None


def test_shares_by_hand() -> None:
    tokens = np.r_[np.full(990, 10.0), np.full(10, 990.0)]
    found = few_carry_most(Run("", "", {"prompt_tokens": tokens}), Asked())
    assert "bring 50%" in found.seen
    found = retries(Run("", "", {"attempt": np.r_[np.ones(80), np.full(20, 3.0)]}), Asked())
    assert found.level == "problem"
    assert "up to try 3" in found.seen


@pytest.mark.parametrize("step_s", [1.0, 3.0, 10.0, 60.0])
def test_steps_of_the_moments_are_no_bursts(step_s: float) -> None:
    """Poisson arrivals as a log in whole seconds, of three, of ten or of sixty has them."""
    rng = np.random.default_rng(3)
    sent = np.sort(rng.uniform(0, 3600, 19_000)) // step_s * step_s
    off = rng.choice([-0.001, 0.0, 0.001], 3600)[(sent / step_s).astype(int)]
    for moments in (sent, np.sort(sent + off)):
        assert bursts(Run("", "a trace", {"sent_s": moments}), Asked()) is None


def test_ranks_of_equal_counts_are_equal() -> None:
    """Two drifts are as few observations as they have turns."""
    rng = np.random.default_rng(8)
    sent = np.sort(3600 * rng.beta(1.0, 1.3, 3000))
    drift = np.exp(0.1 * np.sin(sent / 600))
    run = Run("", "", {"sent_s": sent, "prompt_tokens": 500 * drift * rng.lognormal(0, 0.8, 3000)})
    assert lengths_follow_load(run, Asked()) is None


@pytest.mark.parametrize("step_ms", [1, 1000])
def test_dispersion_is_what_counting_says(step_ms: int) -> None:
    """Six requests within three seconds of each of 300 moments, written to a step."""
    rng = np.random.default_rng(1)
    starts = rng.integers(0, 300_000, 300)
    sent = np.sort((starts[:, None] + rng.integers(0, 3000, (300, 6))).ravel()) // step_ms * step_ms
    edges = sent[0] - step_ms // 2 + 10_000 * np.arange((sent[-1] - sent[0]) // 10_000 + 1)
    counts = [sum(a <= x < a + 10_000 for x in sent.tolist()) for a in edges[:-1].tolist()]
    mean = statistics.fmean(counts)
    found = bursts(Run("", "", {"sent_s": sent / 1000}), Asked())
    assert found.seen.startswith(
        f"dispersion over 10 s is {sized(statistics.variance(counts) / mean)} in requests"
    )
    assert f"the busiest 10 s brings {sized(max(counts) / mean, 2)} times the mean" in found.seen


@pytest.mark.parametrize(("length", "least"), [(1, 0.93), (200, 0.9)])
def test_an_interval_of_dispersion_holds_the_true_one(length: int, least: float) -> None:
    """Of Poisson arrivals, and of dense and thin stretches of so many that outlast a window."""
    rng, size = np.random.default_rng(2), 20_000
    gaps, held = rng.exponential(0.1, 100 * size), []
    if length > 1:
        lengths = rng.geometric(1 / length, 150 * size // length)
        gaps *= np.repeat(np.resize([0.35, 1.65], lengths.size), lengths)[: gaps.size]
    sent = np.cumsum(gaps)
    true = dispersion_index(_in_windows(sent, 1.0))
    for some in np.split(sent, 100):
        counts = _in_windows(some, 1.0)
        index, half = (
            dispersion_index(counts),
            _half_of_dispersion(len(counts) / _alike_times(counts)),
        )
        held.append(abs(index - true) <= half * index)
    assert np.mean(held) >= least


def test_a_rate_that_only_fell_has_a_dispersion_and_no_interval() -> None:
    """Half of a day: of its windows not two are worth something."""
    sent = np.cumsum(0.1 / (1 + 0.8 * np.cos(np.linspace(0, np.pi, 4000))))
    found = bursts(Run("", "", {"sent_s": sent}), Asked())
    assert found is not None
    assert "(1 is Poisson)" in found.seen
