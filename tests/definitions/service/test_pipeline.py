"""The pipeline: bounds on drawn laws, the slider against the parts, and the rules handed out."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.service.pipeline import (
    PERCENTILES,
    TOGETHER,
    TOOLS,
    _drawn,
    _late,
    _parts,
    _whole,
    example,
    law_of,
    percentile_bound,
    slider_pipeline,
)
from serving_mathematics.definitions.service.service import (
    Service,
    answer_quantile,
    answered_within,
    in_sequence,
)

from tests.promql import Series
from tests.rule_files import evaluated

CELLS = 40


@st.composite
def laws(draw: st.DrawFn) -> Service:
    weights = np.array(draw(st.lists(st.integers(0, 9), min_size=10, max_size=10)), float)
    weights[draw(st.integers(0, 9))] += 1
    masses = np.append(weights / weights.sum(), np.zeros(CELLS - 10))
    return Service(masses, np.zeros(CELLS), 1.0, 0.0)


@given(laws(), laws(), laws(), st.floats(0.05, 0.95))
def test_the_bound_holds_for_independent_parts(
    a: Service, b: Service, c: Service, q: float
) -> None:
    # a cell's mass is spread over it, so that three parts may be a cell and a half further
    bound = percentile_bound([a, b, c], q) + 1.5
    assert answered_within(in_sequence(in_sequence(a, b), c), min(bound, CELLS - 0.5)) >= q - 1e-9


@given(st.lists(st.floats(0, 60), min_size=1, max_size=30))
def test_a_law_counts_times(times: list[float]) -> None:
    law = law_of(times, 0.5, 100)
    for end in np.arange(0.25, 49, 0.5):
        assert answered_within(law, end) == pytest.approx(np.mean(np.array(times) <= end + 1e-9))


def test_times_on_the_ends_of_cells_are_in_time() -> None:
    milliseconds = law_of(np.arange(1, 13) / 1000, 0.002, 8)
    assert (12 * milliseconds.ok).round(9).tolist() == [1, 2, 2, 2, 2, 2, 1, 0]


@functools.cache
def _told() -> dict[str, Any]:
    return slider_pipeline()


def _at(tools: int, percentile: int, lengths: int = 0) -> tuple[list[Any], dict[str, float]]:
    """The bars of a setting, and what is said of it."""
    told = _told()
    i, k = TOOLS.index(tools), PERCENTILES.index(percentile)
    said = {one["label"]: one["values"][i][k][lengths] for one in told["readouts"]}
    return told["panels"][0]["bars"][i][k][lengths], said


def test_the_slider_says_the_numbers_of_the_page() -> None:
    _, said = _at(2, 99)
    assert said["whole"] == pytest.approx(example().whole_p99)
    assert said["times"] == pytest.approx(example().added_factor)
    lookup, answer, tool = _parts(80)
    parts = [float(part.ok.sum()) for part in (lookup, answer, tool, answer, tool, answer)]
    assert said["answered"] == pytest.approx(100 * np.prod(parts), abs=0.01)


@pytest.mark.parametrize("tools", TOOLS)
def test_the_parts_are_added_and_sessions_end_at_the_percentile_of_the_whole(tools: int) -> None:
    lookup, answer, tool = _parts(80)
    laws = [lookup, answer, *([tool, answer] * tools)]
    for percentile in PERCENTILES:
        limits = [answer_quantile(law, percentile / 100) for law in laws]
        for lengths in range(len(TOGETHER)):
            bars, said = _at(tools, percentile, lengths)
            rows = {bar[0]: [one for one in bars if one[0] == bar[0]] for bar in bars}
            added, *sessions = rows.values()
            assert [end - start for _, start, end, *_ in added] == pytest.approx(limits)
            assert added[-1][2] == pytest.approx(said["sum"])
            assert {bar[3] for bar in added} <= {"starts", "answer", "prompt"}
            assert len(sessions) == 5
            for row in sessions:
                assert row[-1][2] == pytest.approx(said["whole"], rel=0.01)
                assert all(a[2] == b[1] for a, b in pairwise(row))
                if len(row) == len(laws):  # no look-up took nothing
                    late = [bar[2] - bar[1] > own for bar, own in zip(row, limits, strict=True)]
                    assert [bar[3] == "broken" for bar in row] == late


def test_drawn_sessions_are_those_of_the_law_and_of_the_engine() -> None:
    for tools in TOOLS:
        _, whole = _drawn(tools, 0.0)
        for percentile in PERCENTILES:
            law = answer_quantile(_whole(80, tools), percentile / 100)
            assert np.quantile(whole, percentile / 100) == pytest.approx(law, rel=0.02)
    simulated = _late("alike", 1).true  # one draw, as these sessions are of one run
    assert _at(2, 99, 1)[1]["whole"] == pytest.approx(simulated, rel=0.05)
    times, _ = _drawn(2, 1.0)
    assert (times[:, 1] == times[:, 5]).all()  # all answers of a session


ASKED = 'envoy_http_downstream_rq_total{envoy_http_conn_manager_prefix="engines"}'
SENT = 'envoy_cluster_upstream_rq_total{envoy_cluster_name="engines"}'  # without the refused
ENDED = {
    "vllm": {'vllm:request_success_total{finished_reason=~"stop|length|repetition"}': 591.0},
    "sglang": {"sglang:num_aborted_requests_total": 9.0},
}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_rules_count_what_was_refused_and_what_hangs(engine: str) -> None:
    """Two healthy hours, two in which the gateway refuses thirty a minute by itself, two in which
    the engine answers nobody, and two in which nobody asks; the gateway serves others too."""
    minutes = np.ones(480)
    asked, began = 600 * minutes, 600 * minutes
    asked[120:240] = 630
    began[240:] = 0
    asked[360:] = 0
    first = f"{engine}:time_to_first_token_seconds"
    found: dict[str, Series] = {
        f"{first}_count": began,
        f'{first}_bucket{{le="1.0"}}': 0.995 * began,
        ASKED: asked,
        ASKED.replace("engines", "logins"): 10 * asked,
        SENT: 600 * minutes,
        **{name: value * minutes for name, value in ENDED[engine].items()},
    }
    found = evaluated(f"service-law-{engine}", found)
    in_time = found["service:in_time:ratio1h"]
    assert in_time[100] == pytest.approx(0.995)
    assert in_time[200] == pytest.approx(597 / 630)
    assert in_time[320] == 0
    assert found["service:broken:ratio5m"][20] == pytest.approx(9 / 600)
    fires = ~np.isnan(found["FewerInTime"])
    assert not fires[:120].any()
    assert fires[150:360].all()
    assert not fires[430:].any()


def test_single_minutes_at_the_cap_open_no_ticket() -> None:
    """Where the promise is just kept on average, five minutes often miss twice as much as they
    may, one after the other, and hours do not."""
    rng = np.random.default_rng(14)
    late = np.repeat(0.009 * rng.gamma(0.5, 2.0, 600), 15)  # by quarter hours
    first, five = "vllm:time_to_first_token_seconds", late.reshape(-1, 15)
    assert (five > 0.02).mean() > 0.1
    shown: dict[str, Series] = {
        f"{first}_count": np.full(late.size, 600.0),
        f'{first}_bucket{{le="1.0"}}': 600 * (1 - late),
        ASKED: np.full(late.size, 600.0),
    }
    fires = ~np.isnan(evaluated("service-law-vllm", shown)["FewerInTime"])
    assert fires[60:].mean() < 0.08


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_never_answered_is_no_silence(engine: str) -> None:
    """Its histogram does not exist yet."""
    found: dict[str, Series] = {ASKED: 600 * np.ones(30)}
    found = evaluated(f"service-law-{engine}", found)
    assert not np.isnan(found["FewerInTime"][-1])


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_requests_for_several_answers_are_told(engine: str) -> None:
    """A tenth of the requests ask for four: a quarter of the others may be late unseen."""
    first = f"{engine}:time_to_first_token_seconds"
    for began, silent in ((1.0, True), (1.3, False)):
        shown: dict[str, Series] = {
            f"{first}_count": 600 * began * np.ones(120),
            f'{first}_bucket{{le="1.0"}}': 600 * np.ones(120),
            ASKED: 600 * np.ones(120),
        }
        told = evaluated(f"service-law-{engine}", shown)
        assert np.isnan(told["FewerInTime"]).all()
        assert np.isnan(told["MoreAnswersThanRequests"][-1]) == silent
