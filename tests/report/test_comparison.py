from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.report.comparison import (
    Difference,
    _steps_of,
    differences,
    ladder,
    step_model,
)
from serving_mathematics.report.engine_metrics import scrape_run
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked

from .example_runs import clean


def stage(rate: float, sent: float, first: float = 0.1) -> Run:
    told = {"rate_asked": rate, "rate_sent": sent, "completed": 60 * sent, "ttft_s": first}
    return Run(f"a, stage {rate}", "", told=told | {"duration_s": 60.0})


def test_half_as_slow_again_is_told_and_the_same_again_is_not() -> None:
    runs = [clean(seed, 2000) for seed in (1, 1)]
    assert not any(one.real for one in differences(*runs))
    slow = Run("b", "", {n: 1.5 * x if n == "ttft_s" else x for n, x in runs[0].columns.items()})
    found = {one.name: one for one in differences(runs[0], slow)}
    assert found["TTFT, mean"].real
    assert found["TTFT, mean"].change == pytest.approx(0.5)
    assert not found["latency, mean"].real or found["latency, mean"].change > 0
    assert isinstance(found["TTFT, p95"], Difference)


@pytest.mark.parametrize(("count", "at"), [(9_990, "p95"), (10_000, "p99")])
def test_a_tail_that_is_three_times_as_late_is_told_where_enough_requests_have_one(
    count: int, at: str
) -> None:
    """Of a log with whole answers alone: two in a hundred take three times the p99."""
    log = [np.random.default_rng(seed).gamma(4, 1.0, count) for seed in (1, 2)]
    log[1][::50] = 3 * np.quantile(log[0], 0.99)
    found = {one.name: one for one in differences(*(Run("", "", {"latency_s": x}) for x in log))}
    assert list(found) == ["latency, mean", f"latency, {at}"]
    expected = float(
        np.quantile(log[1], int(at[1:]) / 100) / np.quantile(log[0], int(at[1:]) / 100)
    )
    assert found[f"latency, {at}"].change == pytest.approx(expected - 1, rel=0.05)


@pytest.mark.parametrize(("slower", "level"), [(1.0, ""), (1.5, "problem")])
def test_runs_of_other_loads_are_held_against_the_costs_of_a_step(
    slower: float, level: str
) -> None:
    """The same engine at half of the load and at 0.8 of it, and with slower steps there."""
    loads = [served(np.random.default_rng(3), 2000, load=load, places=64) for load in (0.4, 0.7)]
    times = {n: slower * loads[1].columns[n] for n in ("ttft_s", "latency_s")}
    found = differences(loads[0], replace(loads[1], columns=loads[1].columns | times))
    assert [one.level for one in found] == [level]
    assert found[0].unlike
    assert "requests a second" in found[0].name
    bare = [Run("a", "", {n: run.columns[n] for n in ("sent_s", "ttft_s")}) for run in loads]
    with pytest.raises(ValueError, match="a and a must be runs of one load"):
        differences(*bare)
    seldom = [{"sent_s": gap * np.arange(200.0), "ttft_s": np.ones(200)} for gap in (2, 4)]
    with pytest.raises(ValueError, match=r"0\.5 and 0\.25 requests a second"):
        differences(*(Run("a", "", columns) for columns in seldom))


def test_means_alone_say_how_each_request_is_written() -> None:
    told = {"completed": 400.0, "ttft_s": 0.1, "tpot_s": 0.01}
    with pytest.raises(ValueError, match=r"of the same kind \(vLLM writes each with --save-det"):
        differences(*(Run(name, "vLLM bench serve", told=told) for name in "ab"))
    short = [clean(count=40), clean(count=40)]
    with pytest.raises(ValueError, match="of the same kind, got 40 and 40 requests"):
        differences(*short)


@pytest.mark.parametrize(("clients", "word"), [(8, None), (16, "8 and 16 requests held")])
def test_a_slower_engine_of_as_many_clients_is_of_one_load(clients: int, word: str | None) -> None:
    def loop(count: int, each: float) -> Run:
        sent = np.repeat(np.arange(50) * each, count)
        columns = {"sent_s": sent, "latency_s": np.full(sent.size, each), "ttft_s": 0.1 + 0 * sent}
        told = {"concurrency": float(count), "rate_asked": math.inf}
        return Run("a", "", columns, told)

    runs = loop(8, 1.0), loop(clients, 3.0)
    if word is not None:
        with pytest.raises(ValueError, match=word):
            differences(*runs)
        with pytest.raises(ValueError, match="a rate and clients that wait"):
            differences(runs[0], clean(count=400))
    else:
        assert [one.level for one in differences(*runs) if one.real] == [
            "problem"
        ] * 2  # mean and p95


def test_a_ladder_that_is_served_is_a_note() -> None:
    assert ladder([stage(1, 1), stage(2, 2)], Asked()).level == "note"  # type: ignore[union-attr]
    assert ladder([stage(1, 1)], Asked()) is None
    assert ladder([stage(1, 1), replace(stage(2, 2), tool="another")], Asked()) is None
    few = {"rate_asked": 1.0, "completed": 12.0, "duration_s": 15.0, "ttft_s": 0.6}
    short = ladder([Run("", "", told=few), stage(3, 3)], Asked())  # 12 of 15 by chance
    assert short.level == "note"
    found = ladder([stage(4, 4), stage(8, 5, 3.0), stage(16, 5.2, 9.0)], Asked())
    assert "from 8 requests a second on no more than 5.2 are served" in found.seen
    assert _steps_of([stage(8, 5), stage(math.inf, 5)]) == [(8, 5, 0.1, True)]


def test_the_last_answers_of_a_stage_are_no_queue() -> None:
    """Stages of 1,000 requests whose last answers take 40 s, and those beyond 9 a second, whose
    last request waits besides; one whose client sends at half of the rate is passed over."""

    def last(rate: float, sent: float = math.nan) -> Run:
        wait = max(0.0, 1000 / 9 - 1000 / rate)
        told = {"rate_asked": rate, "completed": 1000.0, "ttft_s": 0.1 + wait / 2}
        told |= {"duration_s": 1000 / (sent if sent > 0 else rate) + wait + 40.0}
        return Run(f"{rate}", "", told=told | {"latency_s": 5.0 + wait / 2})

    found = _steps_of([last(rate) for rate in (2, 4, 8, 10, 12)] + [last(6, sent=3)])
    assert [(row[0], row[3]) for row in found] == list(
        zip((2, 4, 8, 10, 12), (False, False, False, True, True), strict=True)
    )
    assert [row[1] for row in found] == pytest.approx([2, 4, 8, 9, 9], rel=0.02)


def test_a_step_as_the_model_has_it_is_a_note() -> None:
    from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
    from serving_mathematics.core.hardware.step_time import FITTED, count_work

    found = loop_latencies(count_work([WORKED]), FITTED)
    told = {"ttft_s": float(found.first_token_s[0]), "prompt_tokens": 1000.0, "completed": 99.0}
    told |= {"output_tokens": 200.0, "concurrency": 8.0, "rate_asked": math.inf}
    for factor, level in ((1.0, "note"), (2.0, "warning")):
        run = Run("a", "", told=told | {"tpot_s": factor * float(found.per_token_s[0])})
        said = step_model([run], Asked(deployment=WORKED))
        assert said.level == level
    assert step_model([Run("a", "", told=told)], Asked()) is None


def test_prefix_hits_that_were_lost_are_a_difference() -> None:
    """In a column of a log, and in counters of an engine."""
    run = clean(count=1000)
    found = [np.floor(share * run.columns["prompt_tokens"]) for share in (0.5, 0.05)]
    logs = [replace(run, columns={**run.columns, "cached_tokens": x}) for x in found]
    scrapes = [
        scrape_run(
            f"vllm:prefix_cache_queries_total 1e6\nvllm:prefix_cache_hits_total {hits}\n"
            "vllm:prompt_tokens_total 1e6\nvllm:time_to_first_token_seconds_sum 200\n"
            "vllm:time_to_first_token_seconds_count 2000\n",
            "a",
        )
        for hits in (5e5, 5e4)
    ]
    for first, second in (logs, scrapes):
        (one,) = (x for x in differences(first, second) if x.real)
        assert one.name == "prompt tokens that no cache had, mean"
        assert one.level == "problem"
        assert one.change == pytest.approx(0.9, abs=0.01)
        assert not any(x.level for x in differences(second, first))


def test_a_difference_is_that_of_tenths_in_the_order_of_sending() -> None:
    """Of answers that came, whatever the order of the file: means, 95th percentiles and Welch's
    interval, all four true in 19 of 20 cases."""
    rng, runs = np.random.default_rng(7), []
    for slower in (1.0, 1.3):
        ttft = slower * rng.gamma(4, 0.1, 605)
        ttft[::50] = math.nan
        columns = {"sent_s": rng.permutation(605), "failed": rng.random(605) < 0.05}
        columns |= {"ttft_s": ttft, "latency_s": ttft + rng.uniform(0.1, 0.9, 605)}
        runs.append(Run("", "", {name: x.astype(float) for name, x in columns.items()}))
    for found in differences(*runs):
        of, what = found.name.split(", ")
        tenths = []
        for run in runs:
            names = ("sent_s", {"TTFT": "ttft_s"}.get(of, "latency_s"), "failed")
            rows = sorted(zip(*(run.columns[x].tolist() for x in names), strict=True))
            known = [x for _, x, bad in rows if not bad and x == x]
            parts = np.array_split(known, 10)
            tenths.append([np.mean(x) if what == "mean" else np.quantile(x, 0.95) for x in parts])
        first, second = (sum(x) / 10 for x in tenths)
        welch = stats.ttest_ind(tenths[1], tenths[0], equal_var=False)
        ends = welch.confidence_interval(1 - 0.05 / 4)
        assert (found.first, found.second) == pytest.approx((first, second))
        assert found.change == pytest.approx(second / first - 1)
        assert (found.low * first, found.high * first) == pytest.approx(tuple(ends), rel=1e-4)


def test_counters_of_other_loads_say_so() -> None:
    name = "vllm:time_to_first_token_seconds"
    runs = [
        scrape_run(f"{name}_sum {t}\n{name}_count 100\nvllm:prompt_tokens_total {n}", "a")
        for t, n in ((10, 5000), (25, 6000))
    ]
    (found,) = (x for x in differences(*runs) if x.name.startswith("TTFT"))
    assert found.name == "TTFT, mean, of other loads (50 and 60 prompt tokens)"
    half = 3 * math.sqrt(2 / 100 * 10)  # three errors of means of which ten requests are worth one
    assert (found.low, found.high) == pytest.approx((1.5 - half, 1.5 + half))


def test_a_stage_without_requests_served_no_rate() -> None:
    stages = [{"rate_asked": rate, "ttft_s": 1.0, "duration_s": 60.0} for rate in (4.0, 8.0)]
    empty, full = (stages[0] | {"completed": 0.0}), (stages[1] | {"completed": 480.0})
    assert [row[0] for row in _steps_of([Run("", "", told=x) for x in (empty, full)])] == [8.0]


def test_of_runs_in_which_queues_outlast_a_tenth_hardly_any_pair_is_told_apart() -> None:
    """Waits at one server that is 90% busy: of 200 pairs of 1,000, by ten blocks 14 are slower."""
    rng, told = np.random.default_rng(5), 0
    for _ in range(200):
        runs = []
        for _ in range(2):
            sent = np.cumsum(rng.exponential(1 / 0.9, 3000))
            waits = fifo_waits(sent, rng.exponential(1.0, 3000))
            runs.append(Run("", "", {"ttft_s": 0.1 + waits[2000:]}))
        told += any(one.level for one in differences(*runs))
    assert told <= 8


@pytest.mark.parametrize(("mean", "refused"), [(1000, False), (1400, True)])
def test_answers_of_other_lengths_are_another_load(mean: float, refused: bool) -> None:
    """Of 400 requests each, whose lengths scatter by a third of their mean."""
    rng = np.random.default_rng(6)
    runs = [
        Run("", "", {"ttft_s": rng.exponential(1, 400), "output_tokens": rng.normal(one, 330, 400)})
        for one in (1000, mean)
    ]
    with pytest.raises(ValueError, match="answer tokens") if refused else nullcontext():
        differences(*runs)
