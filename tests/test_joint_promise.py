"""The rules for a promise of two limits: read by a parser of their language, and run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import trace_record
from serving_mathematics.definitions.slo_sla.exercises import both_kept
from serving_mathematics.definitions.slo_sla.joint_objective import example

from .promql import Series, Vector, mean_over
from .rule_files import at_the_end, evaluated, rule_text

FILE = "joint-promise-vllm"
FIRST, FURTHER = "vllm:time_to_first_token_seconds", "vllm:request_time_per_output_token_seconds"


def promised(asked: Series, first: Series, further: Series) -> dict[str, Series | Vector]:
    """Requests of each minute, and those within each limit."""
    return {
        f"{FIRST}_count": asked,
        f'{FIRST}_bucket{{le="1.0"}}': first,
        f"{FURTHER}_count": asked,
        f'{FURTHER}_bucket{{le="0.05"}}': further,
    }


def run(asked: float, first: float, further: float, replicas: int) -> dict[str, float]:
    """The last minute of four days in which nothing changes; NaN for an alert that is silent."""
    steady = np.ones(4 * 1440)
    asked *= 60
    series = promised(asked * steady, asked * first * steady, asked * further * steady)
    running = {f"engine {i}": steady for i in range(replicas)}
    return at_the_end(FILE, series | {"vllm:num_requests_running": running})


@given(st.floats(0.5, 1), st.floats(0.5, 1))
def test_records_are_the_bounds_of_the_exercise(first: float, further: float) -> None:
    found = run(5.0, first, further, 3)
    least, greatest = both_kept(first, further)
    assert found["stream:both_at_least:3d"] == pytest.approx(least, abs=1e-9)
    for window in ("1h", "3d"):
        assert found[f"stream:both_at_most:{window}"] == pytest.approx(greatest)


@pytest.mark.parametrize(
    ("first", "further", "fires"),
    [
        (0.999, 0.998, set()),
        (0.98, 0.999, {"BelowPromise"}),
        (0.999, 0.85, {"BelowPromise", "PromiseBurnsFast"}),
        (0.993, 0.994, {"PromiseInDoubt"}),
    ],
)
def test_alerts_tell_what_burns_from_doubt(first: float, further: float, fires: set[str]) -> None:
    found = run(10.0, first, further, 2)
    named = {"PromiseBurnsFast", "BelowPromise", "PromiseInDoubt", "NoReplicaToSpare"}
    assert {name for name in named if not np.isnan(found[name])} == fires


def test_few_misses_wake_nobody() -> None:
    """Of thirty requests in the hour five miss their limit, and then six."""
    for first, silent in ((25 / 30, True), (24 / 30, False)):
        assert np.isnan(run(30 / 3600, first, 1.0, 2)["PromiseBurnsFast"]) == silent


def test_a_replica_to_spare_is_that_of_the_page() -> None:
    page = example()
    for replicas, silent in ((page.fleet_needs, True), (page.fleet_needs - 1, False), (1, True)):
        found = run(page.fleet_rate, 1.0, 1.0, replicas)["NoReplicaToSpare"]
        assert np.isnan(found) == silent


def test_hours_at_the_cap_open_no_ticket_and_three_bad_days_do() -> None:
    """At the cap single hours are below the share, as the eight runs of the page are, and the mean
    is not; a promise that is missed on average is told when there are three days of it."""
    rng, hours = np.random.default_rng(12), 8 * 24
    for mean, due in ((0.991, False), (0.985, True)):
        kept = np.repeat(rng.normal(mean, 0.0042, hours), 60)
        assert (kept.reshape(-1, 60).mean(axis=1) < 0.99).mean() > 0.2
        asked = np.full(kept.size, 1200.0)
        told = evaluated(FILE, promised(asked, asked, asked * kept))["BelowPromise"]
        assert np.isnan(told[: 3 * 1440]).all()
        assert np.isnan(told[3 * 1440 :]).all() == (not due)


def test_busy_minutes_count_and_not_their_mean() -> None:
    """The minutes of a real hour, at the mean that eight replicas just keep: means of five minutes
    ask for more than seven carry for less than the alert's quarter of an hour, and it is raised."""
    page = example()
    counts = np.array(trace_record(CHAT.traffic)["requests_per_minute"], dtype=float)
    mean = page.minutes_cap / 100 * CHAT.ceiling_per_s * page.fleet
    asked = 60 * mean * np.tile(counts / counts.mean(), 3)
    for replicas, silent in ((page.fleet, False), (2 * page.fleet, True)):
        running = {f"engine {i}": np.ones(asked.size) for i in range(replicas)}
        series = promised(asked, asked, asked) | {"vllm:num_requests_running": running}
        found = evaluated(FILE, series)
        told = found["NoReplicaToSpare"][60:]
        assert np.isnan(told).all() if silent else not np.isnan(told).any()
        over = mean_over(asked / 60, 5)[60:] > page.chat_cap_per_s * (replicas - 1)
        assert np.convolve(over, np.ones(15), "valid").max() < 15


def test_a_lost_replica_pages_in_ten_minutes_and_not_for_an_hour() -> None:
    """Twenty minutes with a tenth of the requests in time, as after a loss at the cap."""
    asked, kept = np.full(240, 60 * 140.0), np.full(240, 0.999)
    kept[100:120] = 0.1
    found = evaluated(FILE, promised(asked, asked * kept, asked))
    fires = ~np.isnan(found["PromiseBurnsFast"])
    assert not fires[:109].any()
    assert fires[110:120].all()
    assert not fires[125:].any()


HUNG = "ModelWritesNothing"
WRITTEN, READ = "vllm:generation_tokens_total", "vllm:prompt_tokens_total"


def inside(minutes: int, running: float, waiting: float) -> dict[str, Series]:
    return {
        f"vllm:num_requests_{name}": np.full(minutes, count)
        for name, count in (("running", running), ("waiting", waiting))
    }


def test_a_fleet_that_hangs_pages_and_one_without_series_is_left_to_up() -> None:
    none = np.zeros(60)
    still = promised(none, none, none) | {WRITTEN: none, READ: none}
    named = ("PromiseBurnsFast", "BelowPromise", "PromiseInDoubt", "NoReplicaToSpare", HUNG)
    for shown, due in (
        (still | inside(60, 64.0, 9.0), {HUNG}),
        (still | inside(60, 0.0, 9.0), {HUNG}),
        (still | inside(60, 1.0, 0.0) | {WRITTEN: np.full(60, 3000.0)}, set()),  # one long answer
        (still | inside(60, 64.0, 9.0) | {READ: np.full(60, 9000.0)}, set()),  # it embeds
        (still | inside(60, 0.0, 0.0), set()),
        ({"up": np.zeros(60)}, set()),
    ):
        found = evaluated(FILE, shown)
        assert {name for name in named if not np.all(np.isnan(found[name]))} == due


def test_late_first_tokens_page_where_no_answer_ends() -> None:
    """Of such minutes the second share is none, 0/0, and the first says enough."""
    asked, ends = np.full(120, 60.0), np.zeros(120)
    for of_an_end in (0.0, 600.0):  # none, or ten at a time every ten minutes
        ends[::10] = of_an_end
        shown = promised(asked, 0 * asked, ends) | {f"{FURTHER}_count": ends}
        assert np.all(evaluated(FILE, shown)["PromiseBurnsFast"] == 0)


def test_a_fleet_that_shrinks_with_its_load_has_a_replica_to_spare() -> None:
    """Of six, one to spare, four go when the load has fallen for eight minutes; a replica that
    starts anew for ten minutes is no want of one, and five for good are."""
    minute, cap = np.arange(240), example().chat_cap_per_s
    falls = np.where(minute < 120, 4.5 * cap, 0.8 * cap)
    stays, gone = np.full(240, 4.5 * cap), np.full(240, np.nan)
    for asked, away, silent in (
        (falls, dict.fromkeys(range(4), minute >= 128), True),
        (stays, {0: (minute >= 100) & (minute < 110)}, True),
        (stays, {0: minute >= 100}, False),
    ):
        running = {f"{i}": np.where(away.get(i, False), gone, 20.0) for i in range(6)}
        shown: dict[str, Series | Vector] = {f"{FIRST}_count": 60 * asked}
        told = evaluated(FILE, shown | {"vllm:num_requests_running": running})["NoReplicaToSpare"]
        assert np.isnan(told).all() == silent


@pytest.mark.parametrize(("alone", "silent"), [(slice(0, 100), True), (slice(100, 240), False)])
def test_a_second_replica_is_no_want_of_one_and_its_loss_is(alone: slice, silent: bool) -> None:
    """Before it came there was none to spare, by choice; the ticket of a loss is there for an hour
    and a half at most."""
    second = np.full(240, 20.0)
    second[alone] = np.nan
    shown: dict[str, Series | Vector] = {f"{FIRST}_count": np.full(240, 600.0)}
    shown["vllm:num_requests_running"] = {"a": np.full(240, 20.0), "b": second}
    told = np.flatnonzero(~np.isnan(evaluated(FILE, shown)["NoReplicaToSpare"]))
    assert (told.size == 0) == silent
    assert silent or 100 < told[0] <= told[-1] < 190


def test_limits_are_those_of_the_machine() -> None:
    text = rule_text(FILE)
    assert set(re.findall(r'le="([\d.]+)"', text)) == {
        f"{CHAT.promise.ttft_s:.1f}",
        f"{CHAT.promise.tpot_s:g}",
    }
    assert f"- {example().chat_cap_per_s:.1f} * (" in text
