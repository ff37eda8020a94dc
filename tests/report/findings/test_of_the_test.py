from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings import of_the_test
from serving_mathematics.report.findings.finding import Asked, duration
from serving_mathematics.report.findings.of_the_test import (
    _percentile,
    _unserved,
    all_at_once,
    closed_loop,
    empty_answers,
    equal_lengths,
    failures,
    growing_queue,
    late_client,
    little_open,
    too_few,
    tpot_definition,
    warm_up,
)

from ..example_runs import clean, functions_of

FUNCTIONS = functions_of("of_the_test")


@pytest.mark.parametrize("seed", range(4))
def test_a_run_without_faults_has_no_problem(seed: int) -> None:
    run = clean(seed, 2000)
    found = [f(run, Asked()) for f in FUNCTIONS]
    assert [one for one in found if one and one.level != "note"] == []


def test_nothing_is_said_of_nothing() -> None:
    assert all(f(Run("", ""), Asked()) is None for f in FUNCTIONS)


def test_a_cap_that_binds_is_a_late_client() -> None:
    told = {"rate_asked": 20.0, "rate_sent": 12.0, "completed": 800.0, "concurrency": 16.0}
    found = late_client(Run("", "", told=told), Asked())
    assert found.level == "problem"
    assert "it let in 16 at a time" in found.seen


@pytest.mark.parametrize(("ttft_s", "limit"), [(1.0, 0.1), (0.01, 0.005)])
def test_late_is_later_than_a_tenth_and_than_five_milliseconds(ttft_s: float, limit: float) -> None:
    for late, silent in ((0.99 * limit, True), (1.01 * limit, False)):
        told = {"ttft_s": ttft_s, "delay_mean_s": 0.0, "delay_p99_s": late}
        found = late_client(Run("", "", told=told), Asked())
        assert found is None if silent else found is not None and found.level == "warning"
        columns = {"due_s": np.arange(200.0), "sent_s": np.arange(200.0) + late}
        columns |= {"ttft_s": np.full(200, ttft_s)}
        columns["due_s"][7] = math.nan  # of some nobody knows
        assert (late_client(Run("", "", columns), Asked()) is None) == silent


def test_a_rate_within_chance_is_none() -> None:
    told = {"rate_asked": 20.0, "rate_sent": 18.4, "completed": 100.0}
    assert late_client(Run("", "", told=told), Asked()) is None


@pytest.mark.parametrize(
    ("count", "seconds", "latency", "failed", "late"),
    [
        (200, 117, 11.0, 0, False),  # the last answers take half of the test
        (1000, 268, 2.0, 0, False),
        (700, 251, 2.0, 300, False),
        (1000, 520, 2.0, 0, True),
    ],
)
def test_the_last_answers_are_no_late_client(
    count: int, seconds: float, latency: float, failed: int, late: bool
) -> None:
    told = {"rate_asked": 4.0, "completed": count, "duration_s": seconds, "latency_s": latency}
    found = late_client(Run("", "", told=told | {"failed": failed}), Asked())
    assert (found is not None) == late


def test_a_ramp_without_a_rate_is_not_all_at_once() -> None:
    """vLLM's bench writes inf of it; where requests tell when they left, they decide."""
    run = clean(count=600)
    told = {"rate_asked": math.inf, "completed": 600.0}
    assert all_at_once(replace(run, told=told), Asked()) is None
    together = replace(run, columns=run.columns | {"sent_s": np.zeros(600)}, told=told)
    assert all_at_once(together, Asked()) is not None


def test_a_stall_of_a_closed_loop_is_a_problem() -> None:
    times = np.full(400, 0.1)
    times[[100, 250]] = 20.0
    sent = np.r_[0.0, np.cumsum(times)[:-1]]
    found = closed_loop(Run("", "", {"sent_s": sent, "latency_s": times}), Asked())
    assert found.level == "problem"
    assert "a stall kept from being sent" in found.seen


def test_a_queue_of_all_at_once_does_not_grow() -> None:
    run = served(np.random.default_rng(3), 600, arrivals=np.full(600, 1e-6), places=16)
    assert all_at_once(run, Asked()) is not None
    assert growing_queue(run, Asked()) is None


def test_a_burst_is_not_all_at_once() -> None:
    told = {"rate_asked": math.inf, "completed": 200.0, "concurrency": 8.0}
    assert all_at_once(Run("", "", told=told), Asked()) is None
    sent = np.r_[np.zeros(90), np.arange(90) * 1.0]
    run = Run("", "", {"sent_s": sent, "latency_s": np.full(180, 2.0)})
    assert all_at_once(run, Asked()) is None


def test_a_warm_up_at_the_end_is_none() -> None:
    slow = np.r_[1 + 0.01 * (np.arange(180) % 7), np.full(20, 5.0)]
    assert warm_up(Run("", "", {"ttft_s": slow}), Asked()) is None


def test_a_burst_within_a_second_is_no_faster_than_its_seconds_tell() -> None:
    sent = np.r_[np.zeros(40), np.arange(1.0, 461.0)]
    ttft = np.where(np.arange(500) < 25, 5.0, 1 + 0.01 * (np.arange(500) % 7))
    found = warm_up(Run("", "", {"sent_s": sent, "ttft_s": ttft}), Asked())
    assert found.seen.endswith("; they arrived 24 times as fast")


def test_failures_are_not_among_the_times() -> None:
    run = clean(count=500)
    failed = np.zeros(500)
    failed[:50] = 1.0
    slow = np.where(failed > 0, 900.0, run.columns["ttft_s"])
    broken = replace(run, columns={**run.columns, "failed": failed, "ttft_s": slow})
    assert growing_queue(broken, Asked()) is None
    found = failures(broken, Asked())
    assert found.seen.startswith("50 of 500 requests failed: 10%")
    gave_up = replace(broken, columns={**broken.columns, "gave_up": failed})
    for ttft, told in ((np.where(failed > 0, np.nan, 0.1), "patience"), (slow, "first token")):
        found = failures(replace(gave_up, columns={**gave_up.columns, "ttft_s": ttft}), Asked())
        assert "all because their clients gave up" in found.seen
        assert told in found.change


def test_how_many_are_too_few() -> None:
    needed = math.ceil(math.log(0.025) / math.log(0.99))
    for count, level in ((needed - 1, "warning"), (needed, None)):
        found = too_few(Run("", "", told={"completed": float(count)}), Asked())
        assert (found.level if found else None) == level
    assert too_few(Run("", "", told={"completed": 100.0}), Asked(quantile=0.9)) is None


def test_conventions_are_recognised() -> None:
    run = clean(count=400)
    told = {"ttft_s": 1.0, "latency_s": 2.5, "output_tokens": 91.0}  # 16.7 ms from means
    means = Run("", "", told=told)
    for one, right, low, high in (
        (run, run.told["tpot_s"], 0.95, 1.05),
        (means, 1.5 / 90, 0.7, 1.4),
    ):
        for factor in (0.99 * low, 1.01 * low, 0.99 * high, 1.01 * high):
            found = tpot_definition(replace(one, told=told | {"tpot_s": right * factor}), Asked())
            assert (found is None) == (low < factor < high)
    found = tpot_definition(Run("", "", told=told | {"tpot_s": 0.0275}), Asked())
    assert found.level == "warning"
    assert "the first token in it" in found.seen
    few = {"ttft_s": 1.0, "latency_s": 1.5, "output_tokens": 2.0}
    assert tpot_definition(Run("", "", told=few | {"tpot_s": 0.75}), Asked()) is not None


def test_lengths_within_a_token_are_equal() -> None:
    rng = np.random.default_rng(0)
    same = {
        "prompt_tokens": 512.0 + rng.integers(-1, 2, 300),
        "output_tokens": rng.geometric(0.1, 300),
    }
    found = equal_lengths(Run("", "", {k: np.asarray(v, float) for k, v in same.items()}), Asked())
    assert "prompts have 512" in found.seen
    assert "answers" not in found.seen
    assert empty_answers(clean(count=300), Asked()) is None


@pytest.mark.parametrize("load", [1.15, 1.6, 2.5, 5.0])
def test_any_overload_is_a_queue_that_grows(load: float) -> None:
    run = served(np.random.default_rng(4), 1000, load=load, places=16)
    assert growing_queue(run, Asked()) is not None


@pytest.mark.parametrize("count", [100, 400, 10_000])
def test_a_summary_that_took_longer_than_chance_explains_is_a_queue(count: int) -> None:
    """Three standard errors of the sum of so many gaps, and a twentieth."""
    allowed = max(0.05, 3 * math.sqrt(count) / count)
    for longer, found in ((0.99 * allowed, False), (1.01 * allowed, True)):
        whole = count / 10 * (1 + longer)
        told = {"rate_asked": 10.0, "completed": count, "duration_s": whole, "ttft_s": whole / 2}
        assert (growing_queue(Run("", "", told=told), Asked()) is not None) == found


def test_times_that_rise_without_a_queue_are_no_overload() -> None:
    """A morning below what the engine carries, and the same on its way beyond it."""
    for top, found in ((0.85, False), (1.6, True)):
        rng = np.random.default_rng(2)
        pace = np.linspace(0.25, top, 3000)
        run = served(rng, 3000, load=1.0, arrivals=rng.exponential(1.0, 3000) / pace, places=32)
        assert (growing_queue(run, Asked()) is not None) == found


def test_a_burst_before_the_end_is_not_said_to_be_an_overload() -> None:
    """Waits that double in each tenth rise by order alone; those that add as much are a queue."""
    sent = np.arange(500.0)
    tenth = np.repeat(np.arange(10.0), 50)
    steady = growing_queue(Run("", "", {"sent_s": sent, "ttft_s": 1 + 9 * tenth}), Asked())
    late = growing_queue(Run("", "", {"sent_s": sent, "ttft_s": 1 + 3.0**tenth / 300}), Asked())
    assert (steady.level, late.level) == ("problem", "warning")
    assert "a growing queue, or a burst" in late.seen


@pytest.mark.parametrize(("seed", "part"), [(12, 5), (57, 1), (44, 3), (55, 1)])
def test_a_queue_at_the_start_of_a_cut_log_is_no_warm_up(seed: int, part: int) -> None:
    """Slow ones of bursts: of the first two as many are slow together later, and of the others few
    later blocks tell how far these lie apart."""
    rng = np.random.default_rng(seed)
    run = served(rng, 4000, load=0.8, arrivals=rng.gamma(0.11, 9, 4000))
    begin = 500 + 500 * part
    cut = Run("", "", {"ttft_s": run.columns["ttft_s"][begin : begin + 500]})
    assert warm_up(cut, Asked()) is None


def test_moments_in_whole_seconds_do_not_tell_who_waited() -> None:
    run = served(np.random.default_rng(1), 1000, load=0.5)
    sent = np.floor(run.columns["sent_s"])
    ends = np.floor(run.columns["sent_s"] + run.columns["latency_s"])
    assert closed_loop(Run("", "", {"sent_s": sent, "latency_s": ends - sent}), Asked()) is None


def test_a_percentile_is_of_what_the_log_has() -> None:
    times = np.r_[np.ones(985), np.full(15, 60.0)] * np.random.default_rng(0).uniform(1, 9, 1000)
    found = too_few(Run("", "", {"latency_s": times}), Asked())
    assert found.seen.startswith("p99 of the latency is")


@pytest.mark.parametrize("seed", range(3))
def test_long_prompts_at_the_start_are_no_warm_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    long = np.r_[np.full(150, 1600), np.full(1850, 400)]
    prompts = np.ceil(long * rng.lognormal(-0.1, 0.4, 2000))
    run = served(rng, 2000, load=0.3, prompts=prompts)
    assert warm_up(run, Asked()) is None


def test_a_burst_at_the_start_is_told_as_one() -> None:
    rng = np.random.default_rng(1)
    pace = np.r_[np.full(200, 2.2), np.full(1800, 0.8)]
    run = served(rng, 2000, load=0.5, arrivals=rng.exponential(1.0, 2000) / pace)
    found = warm_up(run, Asked())
    assert "; they arrived 1.9 times as fast" in found.seen
    assert found.level == "note"


def test_a_log_by_the_time_of_the_end_begins_with_long_answers() -> None:
    found = 0
    for seed in range(6):
        run = served(np.random.default_rng(seed), 1500, load=0.6)
        ends = run.columns["sent_s"] + run.columns["latency_s"]
        window = np.sort(np.argsort(ends)[400:1400])
        names = ("sent_s", "latency_s", "output_tokens")
        cut = Run("", "", {name: run.columns[name][window] for name in names})
        found += warm_up(cut, Asked()) is not None
    assert not found


def test_failed_requests_were_served_too_where_a_test_lasts_longer_than_it_asked() -> None:
    told = {"rate_asked": 14.0, "duration_s": 132.0, "ttft_s": 29.9}
    for parts in ({"completed": 1000.0}, {"completed": 900.0, "failed": 100.0}):
        found = _unserved(Run("", "", told=told | parts))
        assert found
        assert found.seen.startswith("14 requests a second were asked for and 7.6 were served")


@pytest.mark.parametrize(("times", "fast"), [(0.4, True), (0.8, False), (1.2, False)])
def test_failures_are_fast_below_half_of_an_answers_time(times: float, fast: bool) -> None:
    failed = np.arange(100) % 5 == 0
    columns = {"latency_s": np.where(failed, times, 1.0), "failed": failed.astype(float)}
    found = failures(Run("", "", columns=columns), Asked())
    assert found
    assert ("they ended after" in found.seen) == fast


@pytest.mark.parametrize(("count", "quantile"), [(100, 0.9), (400, 0.5), (1000, 0.99)])
def test_the_interval_of_a_percentile_lies_between_two_of_the_times(
    count: int, quantile: float
) -> None:
    """By how many of them a binomial count has below it, with one in forty on either side."""
    times = 0.001 * 1.1 ** np.arange(count)
    low, high = (int(stats.binom.ppf(x, count, quantile)) for x in (0.025, 0.975))
    here = duration(np.quantile(times, quantile))
    shuffled = np.random.default_rng(0).permutation([*times, math.nan])
    found = too_few(Run("", "", {"ttft_s": shuffled}), Asked(quantile=quantile))
    assert found.seen == (
        f"p{100 * quantile:g} of the time to first token is {here} (95% interval "
        f"{duration(times[low - 1])} to {duration(times[high])})"
    )


def test_the_interval_of_a_percentile_holds_the_true_one_where_slow_requests_come_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Waits at one server that is half busy: of the intervals of 4,000 one of ten at most leaves
    p95 out, where those of independent ones do in nearly half."""
    monkeypatch.setattr(of_the_test, "WIDE", 0.0)
    rng = np.random.default_rng(8)
    true = math.log(0.5 / 0.05) / 0.5  # M/M/1 with services of 1: P(W > t) = 0.5 exp(-0.5 t)
    held, by_order = [], []
    low, high = (int(stats.binom.ppf(x, 4000, 0.95)) for x in (0.025, 0.975))
    for _ in range(200):
        waits = fifo_waits(np.cumsum(rng.exponential(2.0, 5000)), rng.exponential(1.0, 5000))[1000:]
        found, ordered = _percentile(waits, 0.95, "p95", "wait"), np.sort(waits)
        by_order.append(ordered[low - 1] <= true <= ordered[high])
        if found and found.sure.startswith("95%"):
            ends = [float(x.split()[0]) for x in found.seen.split(" interval ")[1].split(" to ")]
            held.append(ends[0] <= true <= ends[1])
    assert len(held) > 150
    assert np.mean(held) > 0.9
    assert np.mean(by_order) < 0.6


def test_slow_or_failed_or_empty_once_has_no_interval() -> None:
    once = (np.arange(3000) // 300 == 4) * 1.0
    often = (np.isin(np.arange(3000) // 10, np.arange(7, 300, 19))) * 1.0
    for which, told in (
        (once, "no interval: {} came about once"),
        (often, "95%; {} come together"),
    ):
        other = {"ttft_s": 1 + 9 * which + 1e-4 * np.arange(3000.0) % 1e-2}
        found = too_few(Run("", "", other), Asked(quantile=0.95))
        assert found is None or found.sure.startswith(told.format("slow requests"))
        failed = failures(Run("", "", {"failed": which}), Asked())
        assert failed.sure.startswith(told.format("failures"))
        empty = empty_answers(Run("", "", {"output_tokens": 9 - 9 * which}), Asked())
        assert empty.sure.startswith(told.format("they"))
        assert ("(" in failed.seen) == ("(" in empty.seen) == (which is often)
    assert failures(Run("", "", told={"failed": 9.0, "completed": 9.0}), Asked()).sure.startswith(
        "Wilson's interval, 95%, as if each failed by itself"
    )


@pytest.mark.parametrize(
    ("seconds", "off", "said"),
    [
        *((3600, 0.89, True), (3600, 0.91, False), (3600, 1.09, False), (3600, 1.11, True)),
        *((30, 0.79, True), (30, 0.81, False), (30, 1.19, False), (30, 1.21, True)),
    ],
)
def test_little_is_off_by_a_tenth_and_the_edges(seconds: int, off: float, said: bool) -> None:
    """Eight clients with answers of 2 s; the edges of 30 s are one and a half of them, a tenth."""
    told = {"concurrency": 8.0, "rate_asked": math.inf, "duration_s": seconds, "latency_s": 2.0}
    found = little_open(Run("", "", told=told | {"completed": 4 * off * seconds}), Asked())
    assert (found is not None) == said


def test_late_requests_and_what_they_waited_are_counted() -> None:
    late = np.random.default_rng(3).exponential(0.4, 300)
    ttft, due = np.tile([0.1, 0.2, 0.7], 100), np.arange(300.0)
    run = Run("", "", {"due_s": due, "sent_s": due + late, "ttft_s": ttft})
    assert late_client(run, Asked()).seen == (
        f"requests left {duration(sum(late) / 300)} late on average, 95% within "
        f"{duration(np.quantile(late, 0.95))}; from when they were due, p99 of TTFT is "
        f"{duration(np.quantile(late + ttft, 0.99))}, not 700 ms"
    )
    alone = late_client(Run("", "", {"due_s": due, "sent_s": due + 0.05}), Asked())
    assert alone.level == "problem"  # of answers whose times are not told


def test_how_fast_a_queue_grows_is_what_medians_of_tenths_say() -> None:
    rng = np.random.default_rng(4)
    sent = np.sort(rng.uniform(0, 500, 300))
    ttft = 0.2 + 0.04 * sent + rng.exponential(0.1, 300)
    tenths = [slice(30 * k, 30 * k + 30) for k in range(10)]
    times, moments = ([statistics.median(x[part]) for part in tenths] for x in (ttft, sent))
    added = max((times[9] - times[k]) / (moments[9] - moments[k]) for k in (0, 6))
    lost = rng.permutation(np.arange(310) % 31 == 7)  # whose moments nobody wrote down
    columns = {"sent_s": np.full(310, math.nan), "ttft_s": np.full(310, 30.0)}
    columns["sent_s"][~lost], columns["ttft_s"][~lost] = sent, ttft
    found = growing_queue(Run("", "", columns), Asked())
    assert found.seen.startswith(f"times rose from {duration(times[0])} to {duration(times[9])} (")
    assert f", by {duration(added)} a second, and" in found.seen


@pytest.mark.parametrize("told", [10, 199, 200])
def test_a_warm_up_is_of_requests_whose_place_is_known(told: int) -> None:
    """The first 25 came in 7 s; ten moments among 200 had every file refused, and one that lacks
    left out how fast."""
    sent = np.r_[0.1 * np.arange(20), 2 + np.arange(180.0)]
    sent[told:] = math.nan
    slow = np.r_[np.full(20, 5.0), 1 + 0.01 * (np.arange(180) % 7)]
    found = warm_up(Run("", "", {"ttft_s": slow, "sent_s": sent}), Asked())
    assert found is None if told < 100 else found.seen.endswith("; they arrived 3.6 times as fast")


def test_requests_that_were_cut_off_have_no_time_per_token() -> None:
    """Their late first tokens made a mean beyond that of whole answers, and the file refused."""
    columns = {"ttft_s": np.repeat([0.5, 90.0], 50), "output_tokens": np.full(100, 11.0)}
    columns["latency_s"] = np.repeat([2.5, math.nan], 50)
    found = tpot_definition(Run("", "", columns, {"tpot_s": 2.5 / 11}), Asked())
    assert found.seen.endswith("is 200 ms; it looks like end/tokens, with the first token in it")


def test_no_rate_that_was_asked_for_is_missed_by_nobody() -> None:
    told = {"rate_asked": 0.0, "rate_sent": 12.0, "completed": 800.0}
    assert late_client(Run("", "", told=told), Asked()) is None
