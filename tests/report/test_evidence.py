from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.report.evidence import (
    Run,
    Series,
    _inside_at,
    _known_quantile,
    _rates_told,
)
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.registry import report

from .example_runs import clean


@pytest.mark.parametrize("digits", [15, 0])
def test_inside_is_what_a_loop_counts(digits: int) -> None:
    """In whole seconds too, where those of less counted as fewer than none."""
    columns = {name: np.round(x, digits) for name, x in clean(count=300).columns.items()}
    run = Run("", "", columns)
    sent, end = run.columns["sent_s"], run.columns["sent_s"] + run.columns["latency_s"]
    at = sent[::7]
    counted = [int(((sent < t) & (end > t)).sum()) for t in at.tolist()]
    assert _inside_at(run, at).tolist() == counted
    gone = {"failed": np.arange(300) % 3 == 0, "gave_up": np.arange(300) % 3 == 0}
    gave_up = replace(run, columns={**run.columns, **gone})
    assert _inside_at(gave_up, at).tolist() == counted


def test_a_counter_that_fell_tells_nothing() -> None:
    series = Series(np.arange(3.0), {"preemptions": np.array([5.0, 2.0, 9.0])})
    assert np.isnan(series.grown("preemptions"))
    assert np.isnan(series.grown("drafts"))


@pytest.mark.parametrize("told", [True, False])
def test_what_an_engine_counted_before_and_after_a_restart_is_added(told: bool) -> None:
    """Both counters from 0 on, also the one that is larger soon; of one that falls alone nothing is
    told, nor of a process that is another where nothing fell."""
    grows = np.r_[np.arange(1.0, 6), np.arange(1.0, 6)]
    values = {
        "ttft_count": 10 * grows,
        "ttft_s": grows,
        "drafts": np.r_[np.zeros(5), 9 * grows[5:]],
    }
    start = {"started_s": np.repeat([1.0, 7.0], 5)} if told else {}
    series = Series(np.arange(10.0), values | start)
    assert [series.grown(name) for name in values] == [90.0, 9.0, 45.0]
    alone = replace(series, values=values | start | {"drafts": np.arange(10.0)[::-1]})
    assert np.isnan(alone.grown("drafts"))
    assert alone.grown("ttft_s") == 9.0
    seldom = Series(np.arange(9.0), {"ttft_count": np.arange(9.0) % 5, "drafts": np.zeros(9)})
    assert seldom.grown("ttft_count") == 7.0  # what stayed at 0 could not fall
    other = {"ttft_count": np.arange(10.0), "started_s": np.repeat([1.0, 7.0], 5)}
    assert np.isnan(Series(np.arange(10.0), other).grown("ttft_count"))


def test_rates_are_by_hand() -> None:
    told = {"duration_s": 10.0, "completed": 40.0, "prompt_tokens": 100.0, "output_tokens": 5.0}
    rates = _rates_told(Run("", "", told=told))
    assert (rates["requests"], rates["prompt_tokens"], rates["output_tokens"]) == (4.0, 400.0, 20.0)
    assert np.isnan(_rates_told(Run("", ""))["requests"])


def test_requests_that_tell_no_tokens_have_as_many_as_the_others() -> None:
    some = {"latency_s": np.full(4, 2.0), "output_tokens": np.array([8.0, np.nan, 8.0, np.nan])}
    rates = _rates_told(Run("", "", some, {"duration_s": 2.0}))
    assert rates["output_tokens"] == 16.0


def test_a_run_has_what_one_request_tells_together() -> None:
    """Times of some and moments of others had ended a report with an index that is none."""
    apart = {"sent_s": np.arange(200.0), "latency_s": np.where(np.arange(200) < 99, np.nan, 1.0)}
    assert Run("", "", apart).has("sent_s", "latency_s")
    apart["sent_s"][99:] = np.nan
    run = Run("", "", apart)
    assert run.has("sent_s")
    assert run.has("latency_s")
    assert not run.has("sent_s", "latency_s")
    assert [one.name for one in report([run], Asked()).findings] == ["too_few"]


def test_three_requests_by_hand() -> None:
    """Of 29 s and two answers, of which the third failed and the second has no later token."""
    columns = {"sent_s": [7, 17, 27], "ttft_s": [1, 2, 3], "latency_s": [5, 6, 9]}
    columns |= {"output_tokens": [5, 1, 4], "failed": [0, 0, 1]}
    run = Run("", "", {name: np.array(x, float) for name, x in columns.items()})
    assert run.tpot_s() == pytest.approx([1.0, np.nan, 2.0], nan_ok=True)
    rates = _rates_told(run)
    assert (rates["seconds"], rates["requests"]) == (29, 2 / 29)
    assert rates["output_tokens"] == pytest.approx(6 / 29)
    assert _known_quantile(np.array([9.0, np.nan, 1.0, 2.0])) == 2
    counted = run.counted()
    assert counted.pop("ttft_p99_s") == pytest.approx(1.99)
    whole = {"ttft_s": 1.5, "latency_s": 5.5, "output_tokens": 3, "tpot_s": 1, "tpot_p99_s": 1}
    told = {"completed": 2, "failed": 1, "duration_s": 29, "in_flight": 20 / 29}
    assert counted == pytest.approx(whole | told)


def test_what_is_counted_is_what_the_tool_says() -> None:
    """Of the requests in a file of vLLM, against its own summary in the same file."""
    name = "vllm_details.json"
    (run,) = read_file(Path(__file__).parent / "load_tests" / name)
    counted = run.counted()
    assert run.counted().keys() - {"in_flight"} == run.told.keys() & counted.keys()
    assert len(counted) == 11
    for name, value in run.told.items():
        if name in counted:
            rel = 1e-4 if name == "duration_s" else 1e-9
            assert counted[name] == pytest.approx(value, rel=rel), name


def test_what_no_request_tells_is_not_counted() -> None:
    assert Run("", "", told={"ttft_s": 1.0}).counted() == {}
    at_once = Run("", "", {"sent_s": np.zeros(2), "latency_s": np.zeros(2)}).counted()
    assert at_once == {"latency_s": 0, "completed": 2, "duration_s": 0}
    assert Run("", "", {"failed": np.ones(3)}).counted() == {"completed": 0, "failed": 3}
