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

from .promql import Series, Vector
from .rule_files import at_the_end, evaluated, rule_text

FILE = "joint-promise-vllm"
FIRST, FURTHER = "vllm:time_to_first_token_seconds", "vllm:request_time_per_output_token_seconds"


def run(asked: float, first: float, further: float, replicas: int) -> dict[str, float]:
    """The last minute of two hours in which nothing changes; NaN for an alert that is silent."""
    steady = np.ones(120)
    series: dict[str, Series | Vector] = {
        f"{FIRST}_count": 60 * asked * steady,
        f'{FIRST}_bucket{{le="1.0"}}': 60 * asked * first * steady,
        f"{FURTHER}_count": 60 * asked * steady,
        f'{FURTHER}_bucket{{le="0.05"}}': 60 * asked * further * steady,
        "vllm:num_requests_running": {f"engine {i}": steady for i in range(replicas)},
    }
    return at_the_end(FILE, series)


@given(st.floats(0.5, 1), st.floats(0.5, 1))
def test_records_are_the_bounds_of_the_exercise(first: float, further: float) -> None:
    found = run(5.0, first, further, 3)
    least, greatest = both_kept(first, further)
    assert found["stream:both_at_least:1h"] == pytest.approx(least, abs=1e-9)
    assert found["stream:both_at_most:1h"] == pytest.approx(greatest)


@pytest.mark.parametrize(
    ("first", "further", "fires"),
    [
        (0.999, 0.998, set()),
        (0.98, 0.999, {"PromiseBroken"}),
        (0.993, 0.994, {"PromiseInDoubt"}),
    ],
)
def test_alerts_tell_broken_from_doubtful(first: float, further: float, fires: set[str]) -> None:
    found = run(10.0, first, further, 2)
    named = {"PromiseBroken", "PromiseInDoubt", "NoReplicaToSpare"}
    assert {name for name in named if not np.isnan(found[name])} == fires


def test_a_replica_to_spare_is_that_of_the_page() -> None:
    page = example()
    for replicas, silent in ((page.fleet_needs, True), (page.fleet_needs - 1, False), (1, False)):
        found = run(page.fleet_rate, 1.0, 1.0, replicas)["NoReplicaToSpare"]
        assert np.isnan(found) == silent


def test_busy_minutes_count_and_not_their_mean() -> None:
    """The minutes of a real hour, at the mean that eight replicas just keep: means of five minutes
    ask for more than seven carry for less than the alert's quarter of an hour, and it is raised."""
    page = example()
    counts = np.array(trace_record(CHAT.traffic)["requests_per_minute"], dtype=float)
    mean = page.minutes_cap / 100 * CHAT.ceiling_per_s * page.fleet
    asked = 60 * mean * np.tile(counts / counts.mean(), 3)
    for replicas, silent in ((page.fleet, False), (2 * page.fleet, True)):
        series: dict[str, Series | Vector] = {
            f"{FIRST}_count": asked,
            f'{FIRST}_bucket{{le="1.0"}}': asked,
            f"{FURTHER}_count": asked,
            f'{FURTHER}_bucket{{le="0.05"}}': asked,
            "vllm:num_requests_running": {
                f"engine {i}": np.ones(asked.size) for i in range(replicas)
            },
        }
        found = evaluated(FILE, series)
        told = found["NoReplicaToSpare"][60:]
        assert np.isnan(told).all() if silent else not np.isnan(told).any()
        over = found["stream:asked:5m"][60:] > page.chat_cap_per_s * (replicas - 1)
        assert np.convolve(over, np.ones(15), "valid").max() < 15


def test_a_lost_replica_pages_at_once_and_not_for_an_hour() -> None:
    """Ten minutes with a tenth of the requests in time, as after a loss at the cap."""
    asked, kept = np.full(240, 60 * 140.0), np.full(240, 0.999)
    kept[100:110] = example().lost_kept / 100
    fires = ~np.isnan(
        evaluated(
            FILE,
            {
                f"{FIRST}_count": asked,
                f'{FIRST}_bucket{{le="1.0"}}': asked * kept,
                f"{FURTHER}_count": asked,
                f'{FURTHER}_bucket{{le="0.05"}}': asked,
                "vllm:num_requests_running": {f"engine {i}": np.ones(240) for i in range(8)},
            },
        )["PromiseBroken"]
    )
    assert not fires[:100].any()
    assert fires[101:110].all()
    assert not fires[116:].any()


def test_a_fleet_that_hangs_pages_and_one_without_series_is_left_to_up() -> None:
    still = {
        f"{name}_{part}": np.zeros(60)
        for name in (FIRST, FURTHER)
        for part in ("count", 'bucket{le="1.0"}', 'bucket{le="0.05"}')
    }
    full = {"vllm:num_requests_running": np.full(60, 64.0)}
    named = ("PromiseBroken", "PromiseInDoubt", "NoReplicaToSpare", "NothingComesOut")
    for shown, due in (
        (still | full | {"vllm:num_requests_waiting": np.full(60, 9.0)}, {"NothingComesOut"}),
        (still | {f"vllm:num_requests_{n}": np.zeros(60) for n in ("running", "waiting")}, set()),
        ({"up": np.zeros(60)}, set()),
    ):
        found = evaluated(FILE, shown)
        assert {name for name in named if not np.all(np.isnan(found[name]))} == due


def test_limits_are_those_of_the_machine() -> None:
    text = rule_text(FILE)
    assert set(re.findall(r'le="([\d.]+)"', text)) == {
        f"{CHAT.promise.ttft_s:.1f}",
        f"{CHAT.promise.tpot_s:g}",
    }
    assert f"> {example().chat_cap_per_s:.1f} * (" in text
