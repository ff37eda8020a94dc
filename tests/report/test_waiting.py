from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.of_the_engine import binding, prefix_hits, queue_or_prefill
from serving_mathematics.report.findings.of_the_objective import goodput, load_kept
from serving_mathematics.report.findings.of_the_test import growing_queue
from serving_mathematics.report.own_engine import OwnEngine, breaking_rate, fit_own
from serving_mathematics.report.waiting import (
    _limits,
    _passed_share,
    levels,
)

ASKED = Asked(ttft_s=1.0, tpot_s=0.1)


def full_memory(rate: float, count: int = 1800) -> tuple[Run, Engine]:
    """A log of an engine whose memory, of 25,600 tokens, is full now and then."""
    rng = np.random.default_rng(2)
    sent = np.cumsum(rng.exponential(1 / rate, count))
    lengths = (np.ceil(rng.lognormal(mean, 0.7, count)) + 1 for mean in (6.4, 5.0))
    asked = Workload(sent, *lengths)
    engine = Engine(0.012, 4e-5, 2e-4, kv_blocks=1600, max_sequences=256)
    done = simulate(asked, engine)
    columns = {"sent_s": sent, "queue_s": done.admitted_s - sent}
    columns |= {"ttft_s": done.first_token_s - sent, "latency_s": done.completion_s - sent}
    columns |= {"prompt_tokens": asked.prompt_tokens, "output_tokens": asked.output_tokens}
    return Run("", "", columns), engine


def without(run: Run, *names: str) -> Run:
    return replace(run, columns={name: x for name, x in run.columns.items() if name not in names})


def test_memory_that_is_full_is_no_token_budget_and_breaks_where_it_does() -> None:
    run, engine = full_memory(5.6)
    found = binding(run, ASKED)
    assert found.seen.startswith("memory binds")
    assert found.level == "warning"
    assert "--gpu-memory-utilization" in found.change
    blind = binding(without(run, "prompt_tokens"), ASKED)
    assert blind.seen.startswith("memory, the token budget or the host binds")
    breaks = breaking_rate(run, OwnEngine(engine, 0, 0), ASKED)
    assert _limits(run)[1] == pytest.approx(25_600, rel=0.1)
    log = without(run, "queue_s")
    own = fit_own(log, ASKED)
    assert own.memory == pytest.approx(25_600, rel=0.1)
    assert breaking_rate(log, own, ASKED) == pytest.approx(breaks, rel=0.1)


def test_levels_of_a_log_are_those_of_its_requests() -> None:
    columns = {"sent_s": np.zeros(4), "queue_s": np.array([0.0, 0.0, 5.0, 5.0])}
    told = levels(Run("", "", columns | {"latency_s": np.array([5.0, 5.0, 10.0, 10.0])}))
    assert told.values["running"].tolist() == [2.0] * 1000
    assert told.values["waiting"].tolist() == [2.0] * 500 + [0.0] * 500


def test_memory_that_is_never_full_is_not_told() -> None:
    assert np.isnan(_limits(full_memory(3.0)[0])).all()


@pytest.mark.parametrize("seed", range(2))
def test_places_are_as_many_with_and_without_times_in_the_queue(seed: int) -> None:
    run = served(np.random.default_rng([9, seed]), 1500, load=1.2, places=32)
    for log in (run, without(run, "queue_s")):
        assert _limits(log)[0] == pytest.approx(32, abs=1)
        assert not _passed_share(log) > 0


def test_one_slow_replica_of_a_log_of_several_is_no_limit_of_each() -> None:
    """Three engines at half of what they carry, one of them 2.6 times as slow."""
    runs = [
        served(
            np.random.default_rng([7, i]), 1000, 0.5, places=32, step_times=2.6 if i == 2 else 1.0
        )
        for i in range(3)
    ]
    columns = {
        name: np.concatenate([run.columns[name] for run in runs]) for name in runs[0].columns
    }
    run = Run("", "", columns).in_order()
    limit = Asked(ttft_s=float(np.quantile(runs[0].columns["ttft_s"], 0.999)))
    assert _limits(run) == pytest.approx((np.nan, np.nan), nan_ok=True)
    assert load_kept(run, limit) is None
    for log, function in (
        (run, goodput),
        (run, binding),
        (without(run, "queue_s"), queue_or_prefill),
    ):
        found = function(log, limit)
        assert "a slow or cold replica" in found.change


def test_a_wait_of_one_stretch_sends_the_reader_there() -> None:
    sent = np.arange(1000.0)
    queue = np.where((sent >= 500) & (sent < 560), 5.0, 0.001)
    columns = {"sent_s": sent, "queue_s": queue, "ttft_s": queue + 0.05}
    found = queue_or_prefill(Run("", "", columns), ASKED)
    assert found.change.startswith("look at what happened from 500 s to")


def incident(
    until_end: bool, prompts: float = 600, found: float = 500, held_s: float = 0, rate: float = 1
) -> Run:
    """A log of one engine at a third of what it carries, where for a quarter of the time, in the
    middle or at the end, prompts are of so many tokens, a cache finds so many, a gateway holds
    requests, or so many times as many come."""
    rng, engine = np.random.default_rng(5), Engine(0.01, 5e-5, 1e-4, max_sequences=64)
    moments = np.cumsum(rng.exponential(0.05 / rate, 8000 * int(rate)))
    begin, end = (120.0, 160.0) if until_end else (80.0, 120.0)
    then = (moments >= begin) & (moments < end)
    few = rng.random(moments.size) < 1 / rate
    kept = (moments < 160.0) & (then | few)
    sent, then = moments[kept], then[kept]
    size = np.ceil(rng.uniform(0.8, 1.2, sent.size) * np.where(then, prompts, 600))
    cached = np.minimum(np.where(then, found, 500), size - 1)
    answers = rng.geometric(1 / 60, sent.size) + 1
    asks = sent + np.where(then, held_s, 0)
    order = np.argsort(asks, kind="stable")
    done = simulate(Workload(asks[order], size[order], answers[order], cached[order]), engine)
    back = np.argsort(order, kind="stable")
    columns = {"sent_s": sent, "ttft_s": done.first_token_s[back] - sent}
    columns |= {"latency_s": done.completion_s[back] - sent, "prompt_tokens": size}
    columns |= {"output_tokens": answers.astype(float), "cached_tokens": cached}
    return Run("", "a log of requests", columns)


@pytest.mark.parametrize("until_end", [False, True])
@pytest.mark.parametrize(
    ("fault", "told", "untold"),
    [
        ({"prompts": 6000}, "find who sent prompts", "find who sent prompts"),
        (
            {"prompts": 2000, "found": 0},
            "look for what emptied the prefix",
            "find who sent prompts",
        ),
        ({"held_s": 5}, "look at what happened", "look at what happened"),
        ({"rate": 8}, "plan for", "plan for"),
    ],
)
def test_an_incident_sends_to_its_cause_and_not_to_replicas(
    until_end: bool, fault: dict[str, float], told: str, untold: str
) -> None:
    """Whatever finding speaks of it, with and without what a cache found; and the number inside is
    a target to scale on where it was what made late."""
    run = incident(until_end, **fault)
    for log, begins in ((run, told), (without(run, "cached_tokens"), untold)):
        found = [f(log, ASKED) for f in (goodput, queue_or_prefill, growing_queue)]
        assert found[0] is not None
        for one in found:
            assert one is None or (one.change.startswith(begins) and "replicas" not in one.change)
        moment = float(found[0].change.split(" from ")[1].split(" s ")[0])
        assert moment == pytest.approx(120 if until_end else 80, abs=5)
        assert ("look before the engines" in found[0].change) == ("held_s" in fault)
        assert (load_kept(log, ASKED) is not None) == ("rate" in fault)


def test_a_cache_that_finds_as_much_in_longer_prompts_was_not_emptied() -> None:
    told = prefix_hits(incident(True, prompts=6000), ASKED)
    assert told is not None
    assert told.change.startswith("plan with this share")
    told = prefix_hits(incident(True, found=0), ASKED)
    assert told is not None
    assert "emptied the cache" in told.change


def test_who_was_passed_is_found_by_looking_at_everybody_behind() -> None:
    rng = np.random.default_rng(4)
    sent = np.sort(rng.uniform(0, 300, 400))
    ttft = np.where(rng.random(400) < 0.3, rng.uniform(0.2, 20, 400), 0.1)
    rows = list(zip(sent.tolist(), ttft.tolist(), strict=True))
    long = [(s, t) for s, t in rows if t > 4 * 0.1]
    passed = [t for s, t in long if any(s < a and a + b < s + t / 2 for a, b in rows)]
    share = _passed_share(Run("", "", {"sent_s": sent, "ttft_s": ttft}))
    assert share == pytest.approx(sum(passed) / sum(t for _, t in long))


def test_one_that_waits_at_a_time_shows_that_memory_was_free() -> None:
    """Each for 0.6 s of its second, while prompts of 3,000 tokens and of 100 come in turns."""
    turns = np.arange(400) // 20 % 2 == 0
    columns = {
        "sent_s": np.arange(400.0),
        "queue_s": np.full(400, 0.6),
        "ttft_s": np.full(400, 0.65),
    }
    columns |= {"latency_s": np.where(turns, 8.0, 2.0), "output_tokens": np.full(400, 50.0)}
    found = binding(Run("", "", columns | {"prompt_tokens": np.where(turns, 3e3, 1e2)}), ASKED)
    assert found.seen.startswith("the token budget or the host binds: somebody waited 60% of")
