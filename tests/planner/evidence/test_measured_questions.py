"""Measured runs as questions: what is asked, what is refused, and how answers are counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.capacity_planner.deployment_ranking import Ranked
from serving_mathematics.planner.evidence import measured_questions
from serving_mathematics.planner.evidence.measured_questions import (
    CLASSES,
    RECORD,
    WHOLE_FLEET,
    _device_class,
    _reason,
    answer_run,
    drawn_runs,
    example,
    question_of,
    tendency,
    within_a_step,
)
from serving_mathematics.planner.questions.question import _split_name
from serving_mathematics.support.measuring import read_record


def test_a_question_has_the_load_and_the_latencies_of_its_run() -> None:
    run = next(one for one in drawn_runs() if one.concurrency >= 64)
    (question, *_) = question_of(run, 1.25)
    assert question.promise[0].limit == pytest.approx(1.25 * run.first_token_s)
    assert question.promise[0].share == 0.5
    asked = question.traffic
    assert isinstance(asked, Workload)
    answers = asked.output_tokens.mean()
    assert answers == pytest.approx(run.answers.mean_output_tokens, rel=0.02)
    rate = (asked.arrival_s.size - 1) / asked.arrival_s[-1]
    inside = rate * (run.first_token_s + (answers - 1) * run.per_token_s)
    assert inside == pytest.approx(run.concurrency, rel=0.2)


def test_a_mixture_is_tried_with_its_experts_spread() -> None:
    runs = drawn_runs()
    sparse = next(run for run in runs if run.answers.architecture.routed_parameters)
    dense = next(run for run in runs if not run.answers.architecture.routed_parameters)
    assert any("ep" in _split_name(one) for one in question_of(sparse))
    assert not any("ep" in _split_name(one) for one in question_of(dense))


def test_whole_fleets_and_hopeless_times_are_not_answered() -> None:
    run = drawn_runs()[0]
    assert answer_run(replace(run, kind="fleet"), 1.0)["problem"] == WHOLE_FLEET
    hopeless = replace(run, first_token_s=1e-4)
    assert answer_run(hopeless, 1.0) == {
        "devices": 0, "split": "", "problem": "TTFT: an idle replica takes longer",
    }  # fmt: skip
    hopeless = replace(run, per_token_s=1e-5)
    assert answer_run(hopeless, 1.0)["problem"] == "TPOT: an idle replica takes longer"


def test_the_last_reason_is_told_of_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ("no fleet keeps a TTFT of", "no fleet keeps a TPOT of", "weights", "no fleet of up to")
    run = drawn_runs()[0]
    (question, *_) = question_of(run)
    ranked = [Ranked(question, 1.0, None, why) for why in told]
    monkeypatch.setattr(measured_questions, "rank", lambda _: ranked)
    assert answer_run(run, 1.0)["problem"] == "no fleet keeps it"


def test_reasons_in_short() -> None:
    assert _reason("no fleet of up to 100,000 replicas keeps it") == "no fleet keeps it"
    assert _reason("model weights must be smaller than") == "cannot be deployed"


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_step_is_a_doubling_either_way(one: int, two: int) -> None:
    assert within_a_step(one, two) == within_a_step(two, one)
    assert within_a_step(one, 2 * one)
    assert not within_a_step(one, 2 * one + 1)
    assert tendency([(one, two), (two, one)]) == pytest.approx(1.0)


def test_every_number_of_devices_has_a_class() -> None:
    assert [_device_class(most) for most, _ in CLASSES] == [name for _, name in CLASSES]
    assert _device_class(9) == _device_class(16) != _device_class(17)


def test_tables_count_every_run_once() -> None:
    rows = read_record(RECORD)["rows"]
    assert len({row[0] for row in rows}) == len(rows) == 1000
    found = example()
    cells = [row.strip("| ").split(" | ") for row in found.rows_confusion.split("\n")]
    counts = [int(cell.strip() or 0) for row in cells for cell in row[1:-1]]
    assert sum(counts) == 1000
    for word in ("exact", "eased"):
        told = vars(found)
        parts = [told[f"rows_{word}_{name}"] for name in ("same", "smaller", "larger")]
        assert sum(parts) == told[f"rows_{word}_answered"]
