"""Answers: every line has a chapter, and records are flat and finite."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from mkdocs.utils.meta import get_data
from serving_mathematics.planner.answers import (
    CHAPTERS,
    Line,
    answer_lines,
    answer_record,
    answer_summary,
)
from serving_mathematics.planner.capacity_planner import Quantile, plan
from serving_mathematics.planner.questions import read_question

from builder import ROOT

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
    """Of this fleet, whose values must not reach beyond, and of a smaller one, that must not do."""
    goal = QUESTION.objective
    keeps = replace(
        PLAN.best,
        ttft_at_objective=Quantile(goal.ttft_s - 0.2, 0.1),
        tpot_at_objective=Quantile(goal.tpot_s - 0.02, 0.01),
    )
    late = replace(keeps, ttft_at_objective=Quantile(goal.ttft_s - 0.2, 0.3))
    slow = replace(keeps, tpot_at_objective=Quantile(goal.tpot_s - 0.02, 0.03))
    for best, may, words in (
        (keeps, False, "yes"),
        (late, False, "not quite: the interval of TTFT reaches beyond its objective"),
        (slow, False, "not quite: the interval of TPOT reaches beyond its objective"),
        (keeps, True, "not quite: by its intervals one replica fewer may do"),
    ):
        found = replace(PLAN, best=best, one_fewer_may_do=may)
        lines = {line.what: line.value for line in answer_lines(QUESTION, found)}
        assert lines["decided by this run"] == answer_record(QUESTION, found)["decided"] == words


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


def test_chapters_have_their_titles() -> None:
    for address, title in CHAPTERS.items():
        text, meta = get_data((ROOT / "docs" / f"{address}.md").read_text(encoding="utf-8"))
        assert meta["title"] == title
        assert text
    assert {line.chapter for line in answer_lines(QUESTION, PLAN)} <= CHAPTERS.keys()


def test_the_summary_counts() -> None:
    replicas = PLAN.best.replicas
    text = answer_summary(QUESTION, PLAN)
    assert text == (
        f"{replicas} replicas of Llama-3-8B on A100-80GB keep a TTFT of 1.5 s and a TPOT of 100 ms"
        f" at p99 for 30 requests/s, at ${2 * replicas}.00 an hour. {replicas - 1} may do."
        f" {replicas - 2} replicas would do with a token budget of 1,024 instead of 512, at longer"
        " pauses while the prompts of others are read."
    )


def test_the_summary_says_that_several_devices_are_planned_too_fast() -> None:
    assert "as fast as one" not in answer_summary(replace(QUESTION, devices=1), PLAN)
    text = answer_summary(replace(QUESTION, devices=4), PLAN)
    assert " 4 devices are planned as 4 times as fast as one, which none are." in text


def test_the_summary_is_as_certain_as_the_table() -> None:
    """Keep where every interval is inside, may keep where one is not, and never silent about one
    replica fewer or a larger token budget."""
    goal = QUESTION.objective
    inside = Quantile(goal.ttft_s - 0.2, 0.1), Quantile(goal.tpot_s - 0.02, 0.01)
    wide = Quantile(goal.ttft_s - 0.2, 0.3)
    sure = replace(PLAN.best, ttft_at_objective=inside[0], tpot_at_objective=inside[1])
    unsure = replace(sure, ttft_at_objective=wide)
    plain = replace(PLAN, best=sure, one_more=sure, one_fewer_may_do=False, wider=None)
    n = sure.replicas
    assert " keep a TTFT of 1.5 s " in answer_summary(QUESTION, plain)
    assert answer_summary(QUESTION, plain).endswith(" an hour.")
    doubtful = answer_summary(QUESTION, replace(plain, best=unsure))
    assert " may keep a TTFT of 1.5 s " in doubtful
    assert doubtful.endswith(f" an hour. {n + 1} keep both.")
    both = answer_summary(QUESTION, replace(plain, best=unsure, one_more=unsure))
    assert both.endswith(" an hour.")
    fewer = answer_summary(QUESTION, replace(plain, one_fewer_may_do=True, wider=(2048, 3)))
    assert fewer.endswith(
        f" {n - 1} may do. 3 replicas would do with a token budget of 2,048 instead of 512, at"
        " longer pauses while the prompts of others are read."
    )
    record = answer_record(QUESTION, replace(plain, wider=(2048, 3)))
    assert (record["wider_token_budget"], record["wider_replicas"]) == (2048, 3)
    assert answer_record(QUESTION, plain)["wider_replicas"] == ""


def test_intervals_keep_two_digits() -> None:
    best = replace(PLAN.best, ttft=(Quantile(0.1298, 0.0096), Quantile(2, 0), Quantile(12.3, 15)))
    values = {line.what: line.value for line in answer_lines(QUESTION, replace(PLAN, best=best))}
    assert values["TTFT at p50"] == "0.1298 ± 0.0096 s"
    assert values["TTFT at p90"] == "2 s"
    assert values["TTFT at p99"] == "12 ± 15 s"
