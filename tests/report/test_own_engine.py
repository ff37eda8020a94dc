from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.report.evidence import FloatArray, Run
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.own_engine import (
    OwnEngine,
    _kept_share,
    breaking_rate,
    fit_own,
    held_rate,
    twice_alone,
)

from .example_runs import clean


@pytest.mark.parametrize("seed", range(2))
def test_the_engine_behind_a_log_is_near(seed: int) -> None:
    own = fit_own(served(np.random.default_rng(seed), 2000, load=0.6, places=64), Asked(places=64))
    assert abs(own.tpot_error) < 0.1
    assert abs(own.ttft_error) < 0.3


def test_a_request_takes_twice_as_long_beside_so_many() -> None:
    rng = np.random.default_rng(5)
    count, prompt, answer = 3000, 600.0, 101.0
    sent = np.cumsum(rng.exponential(1 / 25, count))
    asked = Workload(sent, np.ceil(rng.uniform(0, 2 * prompt, count)), np.full(count, answer))
    done = simulate(asked, Engine(0.01, 2e-5, 1e-4, token_budget=8192, max_sequences=256))
    columns = {
        "sent_s": sent,
        "ttft_s": done.first_token_s - sent,
        "latency_s": done.completion_s - sent,
        "prompt_tokens": asked.prompt_tokens,
        "output_tokens": asked.output_tokens,
    }
    with_others = 100 * 0.01 / (prompt * 2e-5 + 100 * 1e-4)
    assert twice_alone(Run("", "", columns)) == pytest.approx(with_others, rel=0.1)


def test_places_are_shown_where_requests_waited_for_them() -> None:
    for load, places in ((1.1, 64), (0.5, 256)):
        run = served(np.random.default_rng(8), 2000, load=load, places=64)
        shown = {name: x for name, x in run.columns.items() if name != "queue_s"}
        for columns in (run.columns, shown):
            own = fit_own(replace(run, columns=columns), Asked())
            assert own.engine.max_sequences == pytest.approx(places, abs=2)
            assert (own.ran > 0) == (load < 1)


def _log(sent: FloatArray, asked: Workload, engine: Engine) -> Run:
    """What a log of these requests tells."""
    done = simulate(asked, engine)
    columns = {"sent_s": sent, "ttft_s": done.first_token_s - sent}
    columns |= {"latency_s": done.completion_s - sent}
    columns |= {"prompt_tokens": asked.prompt_tokens, "output_tokens": asked.output_tokens}
    return Run("", "", columns)


def test_as_many_as_a_client_lets_in_are_no_places() -> None:
    """Of an engine of 16 places or more with 16 clients, who ask when an answer came."""
    rng, count = np.random.default_rng(9), 1500
    lengths = (np.ceil(rng.lognormal(mean, 0.7, count)) + 1 for mean in (6.4, 5.0))
    asked = Workload(np.zeros(count), *lengths)
    engine = Engine(0.012, 4e-5, 2e-4, max_sequences=16)
    run = _log(simulate(asked, engine).admitted_s, asked, engine)
    assert fit_own(run, Asked()) is None  # what more than 16 would take is not told
    own = fit_own(run, Asked(places=16))
    assert own.engine.step_s == pytest.approx(0.012 + 16 * 2e-4, rel=0.05)


@pytest.mark.parametrize(
    ("places", "budget", "load", "share"), [(32, 2048, 0.7, 0.9), (64, 8192, 0.6, 0.99)]
)
def test_the_rate_that_holds_is_below_the_true_one(
    places: int, budget: int, load: float, share: float
) -> None:
    """Of a log with four digits and places and budget unknown, against the engine that wrote it;
    with the costs of all moments as they were, at most a twentieth off."""
    rng, count = np.random.default_rng(17), 1500
    engine = Engine(0.01, 6e-5, 2e-4, token_budget=budget, max_sequences=places)
    prompts, outputs = (np.ceil(rng.lognormal(mean, 0.9, count)) + 1 for mean in (6.5, 4.0))
    each = float(prompts.mean()) * 6e-5 + float(outputs.mean()) * (2e-4 + 0.01 / min(places, 64))
    sent = np.cumsum(rng.exponential(each / load, count))
    run = _log(sent, Workload(sent, prompts, outputs), engine)
    limit = float(np.quantile(run.columns["ttft_s"], share)) * 1.5
    rounded = {name: np.round(x, 4) for name, x in run.columns.items()}
    asked = Asked(ttft_s=limit, quantile=share)
    own = fit_own(replace(run, columns=rounded), asked)
    assert own.engine.prefill_token_s == pytest.approx(6e-5, rel=0.05)
    true = breaking_rate(run, OwnEngine(engine, 0, 0), asked)
    told = held_rate(replace(run, columns=rounded), own, asked)
    assert 0.6 * true < told <= 1.01 * true


def test_prompt_tokens_that_a_cache_had_cost_nothing() -> None:
    rng, count = np.random.default_rng(3), 1500
    sent = np.cumsum(rng.exponential(1 / 3, count))
    prompts, outputs = (np.ceil(rng.lognormal(mean, 0.7, count)) + 1 for mean in (8.0, 5.0))
    found = np.floor(np.where(rng.random(count) < 0.9, 0.8, 0.0) * prompts)
    asked = Workload(sent, prompts, outputs, found)
    run = _log(sent, asked, Engine(0.012, 4e-5, 2e-4, max_sequences=256))
    for columns, prompt_s in (({"cached_tokens": found}, 4e-5), ({}, 1.2e-5)):
        own = fit_own(replace(run, columns={**run.columns, **columns}), Asked())
        assert own.engine.prefill_token_s == pytest.approx(prompt_s, rel=0.2)


def test_requests_that_failed_have_taken_nobody_knows_what() -> None:
    run = clean(count=800)
    for failed, told in ((5, True), (20, False)):
        columns = {**run.columns, "failed": (np.arange(800) < failed).astype(float)}
        assert (fit_own(replace(run, columns=columns), Asked()) is not None) == told


def test_a_log_that_is_of_no_engine_has_none() -> None:
    rng = np.random.default_rng(1)
    count = 1000
    columns = {
        "sent_s": np.cumsum(rng.exponential(0.05, count)),
        "ttft_s": rng.uniform(0.1, 0.5, count),
        "latency_s": 0.5 + rng.pareto(1.1, count),
        "prompt_tokens": rng.integers(1, 900, count).astype(float),
        "output_tokens": rng.integers(2, 500, count).astype(float),
    }
    assert fit_own(Run("", "", columns), Asked()) is None
    assert fit_own(clean(count=100), Asked()) is None
    run = clean(count=800)
    half = np.where(np.arange(800) % 2, np.nan, run.columns["output_tokens"])
    coarse = np.floor(run.columns["sent_s"])  # who was there, in whole seconds
    for other in ({"output_tokens": half}, {"sent_s": coarse}):
        assert fit_own(replace(run, columns={**run.columns, **other}), Asked()) is None


def test_a_tighter_promise_breaks_sooner() -> None:
    run = clean(count=1200)
    own = fit_own(run, Asked(places=128))
    limits = [breaking_rate(run, own, Asked(ttft_s=5.0, tpot_s=x)) for x in (0.03, 0.06, 0.2)]
    known = [x for x in limits if not math.isnan(x)]
    assert known == sorted(known)
    assert known


def test_rates_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="faster must be from"):
        _kept_share(clean(count=50), OwnEngine(Engine(0.01), 0, 0), Asked(ttft_s=1.0), 1e4)
