"""Answers: the head, what they belong to, the short text, and records that are flat and finite."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answers import (
    answer_head,
    answer_record,
    answer_summary,
    asked_text,
    summary_text,
)
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.questions.trace_formats import ReadRequests

from ..told import PLAIN, PLAN, QUESTION, SURE, TOLD


def test_a_record_is_flat_and_finite() -> None:
    record = answer_record(TOLD)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["replicas"] == PLAN.best.replicas
    assert record["kv_bytes"] == record["kv_tokens"] * PLAN.token_bytes
    assert record["usd_per_hour"] == 2.0 * PLAN.best.replicas * QUESTION.deployment.devices
    assert all(math.isfinite(v) for v in record.values() if not isinstance(v, str))
    assert answer_record(replace(TOLD, if_slower=None))["replicas_if_slower"] == ""
    assert record["compared"] == 2


def test_a_record_has_the_last_quantile_of_separate_fleets() -> None:
    asked = {"rate_per_s": 20, "requests": 100, "ttft_s": 2, "parallelism": "tp1", "fleets": "two"}
    told = answer(read_choices(asked))
    assert told.apart is not None
    run = told.apart.run
    assert run is not None
    record = answer_record(told)
    assert record["apart_ttft_p99_s"] == run.ttft[-1].value
    assert record["apart_tpot_p99_s"] == run.tpot[-1].value
    assert run.tpot[-1].value > run.tpot[1].value > run.tpot[0].value


def test_the_head_is_what_is_bought_or_what_is_carried() -> None:
    """GPUs of all replicas, spare ones too, at the price that the sentence says."""
    devices = SURE.replicas * QUESTION.deployment.devices
    head, dollars = answer_head(PLAIN)
    assert head == f"{devices} × H100 SXM"
    assert dollars in answer_summary(PLAIN)
    spare = replace(PLAIN, question=replace(QUESTION, spare_replicas=2))
    head, _ = answer_head(spare)
    assert head == f"{devices + 2 * QUESTION.deployment.devices} × H100 SXM"
    given = replace(PLAIN, question=replace(QUESTION, gpus=8))
    assert answer_head(given) == ("60 requests/s", f"8 × H100 SXM, {dollars}")


def test_what_the_context_cut_is_not_paid_for() -> None:
    """Tokens of a price are those that were planned: the price of an hour over them, by hand."""
    asked = {"rate_per_s": 0.2, "model": "Qwen3-8B", "mean_prompt_tokens": 30_000, "ttft_s": 90}
    asked |= {"parallelism": "tp1", "precision": "fp8", "requests": 400, "tpot_s": 1}
    found = answer(read_choices(asked | {"api_input_price": 1, "api_output_price": 1}))
    question, best = found.question, found.plan.best
    prompt, output = question.mean_lengths
    assert prompt < 23_000
    assert output < 240
    hour = 3600 * 0.2 / 1e6
    assert best.usd_per_million == pytest.approx(best.usd_per_hour / (hour * output))
    assert answer_record(found)["api_usd_per_hour"] == pytest.approx(hour * (prompt + output))
    lines = {line.what: line.value for line in answer_lines(found)}
    assert lines["tokens of a request, mean"] == f"{prompt:,.0f} in, {output:,.0f} out"


def test_the_short_text_fits_a_screen() -> None:
    for told in (TOLD, PLAIN):
        lines = summary_text(told).splitlines()
        assert len(lines) <= 15
        assert max(map(len, lines)) <= 100
    first = " ".join(summary_text(PLAIN).splitlines()[:3])
    assert first.startswith(answer_summary(PLAIN)[:150])


def test_an_answer_says_what_it_belongs_to() -> None:
    words = "60 requests/s of 1,000 tokens in and 250 out; a TTFT of 1.5 s and a TPOT of 50 ms"
    assert words in asked_text(QUESTION)
    trace = replace(QUESTION, traffic=Workload(np.arange(9.0), [1] * 9, [1] * 9))
    assert "; a trace of 9 requests; " in asked_text(trace)
    read = ReadRequests(trace.traffic, "9 requests in 8 s; time: milliseconds from a start")
    shown = summary_text(replace(TOLD, question=replace(QUESTION, traffic=read)))
    assert "time: milliseconds from a start" in shown  # a guess may be off by a thousand
