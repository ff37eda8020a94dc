"""Answers: every line has a chapter, and records are flat and finite."""

from __future__ import annotations

import json
import math

from snippets._engine import ROOT
from snippets.planner.answers import Line, answer_lines, answer_record
from snippets.planner.capacity_planner import plan
from snippets.planner.questions import read_question

QUESTION = read_question({"rate_per_s": 30, "requests": 300, "ttft_s": 1.5, "tpot_s": 0.1})
PLAN = plan(QUESTION)


def test_every_line_links_to_a_chapter() -> None:
    lines = answer_lines(QUESTION, PLAN)
    assert all(isinstance(line, Line) for line in lines)
    for line in lines:
        assert (ROOT / "docs" / f"{line.chapter}.md").is_file(), line.chapter
        assert line.value or line.estimate
    assert len({line.what for line in lines}) == len(lines)
    assert {"one replica more", "one replica fewer", "binding constraint"} <= {
        line.what for line in lines
    }


def test_a_record_is_flat_and_finite() -> None:
    record = answer_record(QUESTION, PLAN)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["replicas"] == PLAN.best.replicas
    assert record["kv_bytes"] == record["kv_tokens"] * QUESTION.model.token_bytes
    assert record["usd_per_hour"] == 2.0 * PLAN.best.replicas
    assert all(math.isfinite(v) for v in record.values() if not isinstance(v, str))


def test_a_wide_interval_is_not_a_decision() -> None:
    lines = {line.what: line.value for line in answer_lines(QUESTION, PLAN)}
    run, goal = PLAN.best.ttft_at_objective, QUESTION.objective
    beyond = run.value + run.half_width > goal.ttft_s
    assert ("interval of TTFT" in lines["decided by this run"]) == beyond


def test_the_last_step_of_quantization_has_no_next() -> None:
    asked = read_question(
        {
            "rate_per_s": 1,
            "requests": 100,
            "ttft_s": 9,
            "tpot_s": 9,
            "weight_bits": 4,
            "cache_bits": 8,
        }
    )
    found = plan(asked)
    assert found.quantized is None
    assert answer_record(asked, found)["quantized_replicas"] == ""
    assert not [x for x in answer_lines(asked, found) if x.what.startswith("weights of")]
