from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.faults import served
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.late_requests import _cause, _stopped
from serving_mathematics.report.findings.of_the_ceiling import breaking_load, ceiling
from serving_mathematics.report.findings.of_the_engine import prefix_hits
from serving_mathematics.report.findings.of_the_objective import goodput, load_kept


def test_late_requests_of_one_moment_send_the_reader_there() -> None:
    sent = np.arange(1000.0)
    dense = np.cumsum(np.where((sent >= 500) & (sent < 560), 0.25, 1.0))
    stretch = (sent >= 500) & (sent < 560)
    for late, moments, told in (
        (stretch, sent, "look at what happened from 500 s to 553 s"),
        (stretch, dense, "plan for 3.9 times the mean rate, as it was from 499 s to 512 s"),
        (sent >= 940, sent, "test longer"),  # a queue that grows
        (sent % 10 == 3, sent, "lower the load"),
    ):
        run = Run("", "", {"sent_s": moments, "ttft_s": np.where(late, 9.0, 0.1)})
        found = goodput(run, Asked(ttft_s=1.0))
        assert found.change.startswith(told)


@pytest.mark.parametrize("carries", [1.25, 2.0])
def test_a_crowd_is_counted_without_those_who_waited_for_its_queue_to_empty(carries: float) -> None:
    """Three times the rate for a minute, at an engine that carries less."""
    sent = np.cumsum(np.repeat([1.0, 1 / 3, 1.0], [500, 180, 1500]))
    begun = np.maximum.accumulate(sent - np.arange(sent.size) / carries)
    ttft = begun + (np.arange(sent.size) + 1) / carries - sent
    change = goodput(Run("", "", {"sent_s": sent, "ttft_s": ttft}), Asked(ttft_s=3.0)).change
    times, until = change.partition("plan for ")[2].split(" times the mean rate, as it was from ")
    assert float(times) == pytest.approx(3 * np.mean(np.diff(sent)), rel=0.05)
    end = float(until.split(" to ")[1].split(" s,")[0])
    assert end == pytest.approx(sent[679] - sent[0], abs=5)


def test_late_requests_send_the_reader_to_what_they_have_in_common() -> None:
    """One tenant's, all failed, or behind starts of an engine that slept."""
    sent, late = np.arange(1000.0), np.arange(1000) % 50 < 3
    tenant = np.where(late | (np.arange(1000) % 50 == 9), 1.0, 0.0)
    times = {"sent_s": sent, "ttft_s": np.where(late, 9.0, 0.1)}
    slept = {"sent_s": sent + 500 * (np.arange(1000) // 50), "latency_s": times["ttft_s"] + 1}
    for columns, told in (
        ({"tenant": tenant}, "look at what holds b up before"),
        ({"failed": late.astype(float)}, "fix what fails"),
        (
            {"failed": (late & (sent < 880)) * 1.0},
            "fix what fails: enough of the answers that came",
        ),
        (slept, "keep an engine awake"),
        (slept | {"prompt_tokens": np.where(late, 9e4, 9e2)}, "lower the load"),
    ):
        found = goodput(Run("", "", times | columns, tenants=("a", "b")), Asked(ttft_s=1.0))
        assert found.level == "problem"
        assert found.change.startswith(told)


def test_who_gives_up_while_waiting_waited_and_did_not_fail() -> None:
    """More come for a while than 32 places carry, and leave after 4 s without a first token."""
    rng, count = np.random.default_rng(3), 2500
    sent = np.cumsum(rng.exponential(0.1, count) / np.where(np.arange(count) // 500 == 2, 2.0, 0.9))
    free, waited, stay = [0.0] * 32, np.zeros(count), rng.gamma(4.0, 0.6, count)
    for place, at in enumerate(sent.tolist()):
        begin = max(at, free[0])
        waited[place] = begin - at
        if begin - at < 4:
            heapq.heapreplace(free, begin + float(stay[place]))
    left = waited >= 4
    columns = {"sent_s": sent, "ttft_s": np.where(left, np.nan, waited + 0.1)}
    columns |= {"latency_s": np.where(left, 4.0, waited + stay), "gave_up": left * 1.0}
    run, asked = Run("", "", columns | {"failed": left * 1.0}), Asked(ttft_s=5.0)
    assert load_kept(run, asked).seen.endswith("requests inside, and breaks beyond")
    assert goodput(run, asked).change.startswith("plan for 1.9 times the mean rate")


@pytest.mark.parametrize(("starts", "told"), [(2, False), (3, True)])
def test_three_cold_starts_are_no_accident(starts: int, told: bool) -> None:
    """Of six late requests each, among many in time."""
    sent = np.r_[np.arange(900.0), 5000 + (np.arange(6) + 900 * np.arange(starts)[:, None]).ravel()]
    ttft = np.where(sent < 4000, 0.1, 9.0)
    run = Run("", "", {"sent_s": sent, "ttft_s": ttft, "latency_s": ttft + 0.5})
    assert goodput(run, Asked(ttft_s=1.0)).change.startswith("keep an engine awake") == told


def test_a_log_of_days_says_dates() -> None:
    """Whoever was on duty looks at a clock, not at 120,000 s."""
    sent = np.arange(0.0, 2.5e5, 100.0)
    late = np.where((sent > 1.2e5) & (sent < 1.3e5), 9.0, 0.1)
    found = np.where(sent < 1.2e5, 60.0, 0.0)
    columns = {"sent_s": sent, "ttft_s": late, "latency_s": late, "prompt_tokens": sent * 0 + 90}
    run, asked = Run("", "", columns, zero_at_s=1.7e9), Asked(ttft_s=1.0)
    assert "from 2023-11-16 07:35 UTC to 2023-11-16 10:03 UTC, when" in goodput(run, asked).change
    said = goodput(replace(run, zero_at_s=None), asked).change
    assert "from 120,100 s to 129,000 s after the first request, when" in said
    cached = replace(run, columns=columns | {"cached_tokens": found})
    assert " until 2023-11-16 " in prefix_hits(cached, Asked()).seen


@pytest.mark.parametrize(("stops_s", "told"), [(25.0, True), (6.0, False)])
def test_an_engine_that_stopped_is_told_with_its_moments(stops_s: float, told: bool) -> None:
    """Then 16 places are full for longer than it stood; nothing is said of answers that end
    together every half minute."""
    rng, free, begun = np.random.default_rng(4), [0.0] * 16, np.zeros(1200)
    sent, stay = np.cumsum(rng.exponential(0.25, 1200)), rng.gamma(4.0, 0.6, 1200)
    clock = np.where(sent < 150, sent, np.maximum(sent - stops_s, 150))  # that stands while it does
    for place, come in enumerate(clock.tolist()):
        begun[place] = max(come, free[0])
        heapq.heapreplace(free, begun[place] + float(stay[place]))
    first, end = (x + stops_s * (x >= 150) - sent for x in (begun + 0.1, begun + stay))
    run = Run("", "", {"sent_s": sent, "ttft_s": first, "latency_s": end})
    found = _stopped(run)
    assert (found is not None) == told
    if told:
        assert found == pytest.approx((150 - sent[0], 175 - sent[0]), abs=1)
        told_s = _cause(run, run.column("ttft_s") > 2, "late ones")
        assert told_s.startswith("look at what stopped the engine from 149 s to 174 s after")
    together = 30 * np.ceil((sent + end) / 30) - sent
    assert _stopped(Run("", "", {"sent_s": sent, "latency_s": together})) is None


@pytest.mark.parametrize(("after", "told"), [(0.0, True), (0.6, False)])
def test_a_prefix_cache_that_was_lost_is_told(after: float, told: bool) -> None:
    run = served(np.random.default_rng(4), 1500, load=0.3)
    share = np.where(np.arange(1500) < 700, 0.7, after)
    found = np.floor(share * run.columns["prompt_tokens"])
    run = replace(run, columns={**run.columns, "cached_tokens": found}, shares_prefix=np.nan)
    seen = prefix_hits(replace(run, series=None), Asked())
    assert (seen.level, "until" in seen.seen) == (("warning", True) if told else ("note", False))
    counted_by = np.arange(0, 1500, 15)
    counters = {"prefix_asked": run.columns["prompt_tokens"], "prefix_found": found}
    values = {name: np.cumsum(x)[counted_by] for name, x in counters.items()}
    query = prefix_hits(Run("", "", series=Series(counted_by + 0.0, values)), Asked())
    assert ("until" in query.seen) == told
    objective = Asked(ttft_s=2.0, tpot_s=0.2)
    unsaid = [f(run, objective) is None for f in (ceiling, breaking_load, load_kept)]
    assert all(unsaid) or not told
    late = np.where(np.arange(1500) > 800, 9.0, 0.1)
    kept = goodput(replace(run, columns={**run.columns, "ttft_s": late}), objective)
    assert ("what emptied the prefix cache" in kept.change) == told
