"""The questions to a public configurator: its adapter without it, what was measured, the record."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.evidence import planner_peer
from serving_mathematics.planner.evidence.planner_peer import (
    QUESTIONS,
    Asked,
    _deployment_of,
    answer_here,
    answer_measured,
    choices_of,
    distances,
    engines_needed,
    example,
    measured_runs,
    nearest_run,
    peer_words,
)

from benchmarks import configurator, predictor

ROW = {
    "ttft": 400.0, "tpot": 12.0, "total_gpus_needed": 4, "replicas_needed": 2,
    "num_total_gpus": 2, "concurrency": 48, "tp": 2, "pp": 1, "dp": 1, "moe_ep": 1,
}  # fmt: skip
ECHO = """
import json, sys
print("a line of its own", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "end" in asked:
        break
    print("ANSWER " + json.dumps([asked, 0.5]), flush=True)
"""


def test_answers_come_back_in_order_and_an_end_is_said() -> None:
    asked = [{"a": 1}, {"b": [2]}]
    assert list(predictor.ask(asked, ECHO, sys.executable)) == [(one, 0.5) for one in asked]
    with pytest.raises(RuntimeError, match=r"ended before it answered \{'end': 1\}"):
        list(predictor.ask([{"end": 1}], ECHO, sys.executable))


def test_a_dozen_questions_differ_and_are_in_seconds() -> None:
    assert len({*QUESTIONS}) == 12
    for one in QUESTIONS:
        assert isinstance(one, Asked)
        assert one.tpot_s < 0.1 < one.ttft_s < 10
        assert min(one.prompt_tokens, one.output_tokens) > 100


def test_the_peer_is_asked_the_same_question() -> None:
    asked = QUESTIONS[0]
    words = peer_words(asked)
    assert words["system"] == "h100_sxm"
    assert (words["ttft"], words["tpot"]) == (1e3 * asked.ttft_s, 1e3 * asked.tpot_s)
    assert (words["isl"], words["osl"]) == (asked.prompt_tokens, asked.output_tokens)
    assert words["target_request_rate"] == asked.rate_per_s
    question = choices_of(asked, 0.5)[0]
    traffic = question.traffic
    assert isinstance(traffic, Workload)
    assert set(traffic.prompt_tokens.tolist()) == {asked.prompt_tokens}
    rate = (traffic.arrival_s.size - 1) / traffic.arrival_s[-1]
    assert rate == pytest.approx(asked.rate_per_s, rel=0.05)
    assert question.promise[1].limit == asked.tpot_s


def test_answers_of_the_peer_that_miss_a_limit_do_not_count() -> None:
    asked = QUESTIONS[0]  # 0.5 s and 15 ms
    apart = ROW | {"total_gpus_needed": 8}
    found = configurator.peer_answer({"agg": ROW, "disagg": apart}, asked)
    assert found is not None
    assert (found["devices"], found["split"], found["apart"]) == (4, "2 x tp2", 8)
    assert (found["devices_of_replica"], found["concurrency"], found["tpot_s"]) == (2, 48.0, 0.012)
    for miss in ({"ttft": 501.0}, {"tpot": 15.1}):
        found = configurator.peer_answer({"agg": ROW | miss}, asked)
        assert found is not None
        assert (found["devices"], found["apart"]) == (0, 0)
    assert configurator.peer_answer("KeyError: 'node'", asked) is None
    none = configurator.peer_answer("NoFeasibleConfigError: nothing", asked)
    assert none is not None
    assert none["devices"] == 0


def test_splits_in_short() -> None:
    assert configurator.split_of(ROW | {"tp": 1}) == "tp1"
    assert configurator.split_of(ROW | {"dp": 8, "tp": 1, "moe_ep": 8}) == "dp8 ep8"


def test_runs_beside_both_proposals_stand_once() -> None:
    asked = QUESTIONS[0]
    one = {"devices": 2, "devices_of_replica": 1, "concurrency": 30.0}
    rows = configurator.runs_beside(asked, {"theirs": one, "ours": one | {"concurrency": 33.0}})
    assert [(row["proposed_by"], row["devices"], row["concurrency"]) for row in rows] == [
        ("both", 1, 32.0)
    ]
    rows = configurator.runs_beside(asked, {"theirs": None, "ours": one | {"devices": 0}})
    assert rows == []


def test_what_was_measured_by_brute_force() -> None:
    for asked in QUESTIONS:
        devices = [
            run.answers.devices * int(np.ceil(asked.rate_per_s / (run.concurrency / whole)))
            for run, _ in measured_runs(asked)
            if run.first_token_s <= asked.ttft_s and run.per_token_s <= asked.tpot_s
            for whole in [
                run.first_token_s + (run.answers.mean_output_tokens - 1) * run.per_token_s
            ]
        ]
        found = answer_measured(asked)
        assert (found[0] if found else 0) == min(devices, default=0)


@given(st.floats(0.1, 50), st.floats(1, 500), st.floats(0.01, 5), st.floats(0.001, 0.1))
def test_engines_carry_the_rate_and_one_fewer_does_not(
    rate: float, concurrency: float, ttft_s: float, tpot_s: float
) -> None:
    count = engines_needed(rate, concurrency, ttft_s, tpot_s, 100.0)
    each = concurrency / (ttft_s + 99 * tpot_s)
    assert count * each >= rate * (1 - 1e-9)
    assert (count - 1) * each < rate * (1 + 1e-9)


def test_a_run_far_from_the_load_is_not_near() -> None:
    assert nearest_run(QUESTIONS[0], 1, 1000.0) is None
    assert nearest_run(QUESTIONS[0], 3, 32.0) is None


def test_a_question_is_of_one_device_with_fixed_lengths() -> None:
    for one in QUESTIONS:
        asked = _deployment_of(one)
        assert asked.devices == 1
        assert (asked.input_tokens, asked.output_tokens) == (one.prompt_tokens, one.output_tokens)
        assert asked.shortest_share == 1


def test_limits_that_nothing_keeps_have_no_devices() -> None:
    asked = replace(QUESTIONS[0], tpot_s=1e-6)
    assert answer_here(asked, 0.5, requests=200) == {
        "devices": 0, "split": "", "devices_of_replica": 0, "concurrency": 0.0, "apart": 0,
    }  # fmt: skip


def test_distances_are_of_what_both_answered_and_somebody_measured() -> None:
    def told(measured: int, peer: int | None, here: int) -> dict[str, Any]:
        return {
            "measured": measured and {"devices": measured},
            "peer": None if peer is None else {"devices": peer},
            "here": {"0.5": {"devices": here}},
        }

    rows = [told(4, 2, 8), told(0, 1, 1), told(2, None, 2), told(2, 0, 2), told(2, 2, 0)]
    assert distances(rows) == {"peer": [0.5], "here": [2.0]}
    with pytest.raises(ValueError, match="told must be answered by both and measured"):
        distances(rows[1:])


def test_the_page_counts_what_the_record_says() -> None:
    told = example()
    assert len(told.versus_rows.splitlines()) == told.versus_asked == len(QUESTIONS)
    assert len(told.versus_run_rows.splitlines()) == told.versus_runs
    assert told.versus_peer_nearer + told.versus_here_nearer == told.versus_runs
    assert told.versus_same <= told.versus_both <= told.versus_asked - told.versus_unanswered


def test_rows_by_hand() -> None:
    """Where the configurator has no fleet, separate fleets or no data."""
    found = {"devices": 4, "split": "tp2", "apart": 6}
    none = {"devices": 0, "split": "", "apart": 0}
    here = {"0.5": found, "0.99": none | {"devices": 8}}
    told = [
        {"asked": vars(QUESTIONS[0]), "peer": peer, "here": one, "measured": measured}
        for peer, one, measured in (
            (none | {"apart": 2}, here, None),
            (found, here | {"0.5": none}, {"devices": 3}),
            (None, here, None),
        )
    ]
    cells = [[cell.strip() for cell in row.split("|")[2:-1]] for row in planner_peer._rows(told)]
    assert cells == [
        ["none", "2", "4 (tp2)", "6", "–", "8"],
        ["4 (tp2)", "6", "none", "none", "3", "8"],
        ["no data", "no data", "4 (tp2)", "6", "–", "8"],
    ]


def test_runs_beside_both_predictions_by_hand() -> None:
    """Theirs where it is nearer to what was measured; what they do not predict is left out."""
    run = {"devices": 1, "concurrency": 8.0, "proposed_by": "both", "measured_s": 1.0}
    pairs = [(1.125, 1.25), (1.125, 0.75), (1.25, 0.75), (1.5, 0.75), (None, 1.0)]
    runs = [run | {"peer_s": peer_s, "here_s": here_s} for peer_s, here_s in pairs]
    told = [{"asked": vars(QUESTIONS[0]), "runs": [*runs, runs[0] | {"devices": 2}]}]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in planner_peer._compared(told)]
    assert [row[-1] for row in rows] == ["theirs", "theirs", "ours", "ours", "theirs"]
    assert rows[0][1:5] == ["both", "1e+03", "1.12e+03", "1.25e+03"]
    assert rows[0][0].endswith(", 1 device, 8 at a time")
    assert rows[-1][0].endswith(", 2 devices, 8 at a time")
