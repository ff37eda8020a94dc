"""What GPUs carry, in words."""

from __future__ import annotations

import functools
import re
from dataclasses import replace

import pytest
from serving_mathematics.planner.answers.answer_lines import main_lines
from serving_mathematics.planner.answers.answer_tables import comparison_rows
from serving_mathematics.planner.answers.answers import answer_record, answer_summary, asked_text
from serving_mathematics.planner.answers.given_lines import (
    _given_amount,
    _given_error,
    _given_lines,
    _given_record,
    given_more,
    given_said,
)
from serving_mathematics.planner.capacity_planner.given_devices import Rates
from serving_mathematics.planner.configurations import Answer, answer
from serving_mathematics.planner.questions.question import _at_rate
from serving_mathematics.planner.questions.questions import read_choices

RATES = Rates(100.0, 300.0, 80.0)


@functools.cache
def given() -> Answer:
    """The answer to a question, planned where it is first looked at."""
    asked = {"gpus": 9, "requests": 200, "quantile": 0.9, "parallelism": "tp1,tp2,tp8"}
    return answer(read_choices(asked))


def made() -> Answer:
    """It with another rate and known bounds."""
    return replace(given(), question=_at_rate(given().question, 163.0), rates=RATES)


def test_the_headline_says_gpus_rate_and_how() -> None:
    text = answer_summary(made())
    assert text.startswith("9 × H100 SXM carry 163 requests/s of Llama-3.1-8B: 9 replicas in FP8 ")
    assert (
        " TPOT of 50 ms at p90, at $18.00 an hour, $2.00 a GPU (you gave no price), with a " in text
    )
    assert "In BF16 they carry " in text
    assert "If steps are as far off as in measured runs, they carry 80 to 300." in text
    assert "it takes" not in text
    assert "ask with front: unknown too and take the smallest number of both answers" in text
    assert asked_text(made().question).startswith(
        "Llama-3.1-8B on 9 × H100 SXM; as many requests as"
    )


def test_advice_is_on_the_rate_and_not_on_fewer_gpus() -> None:
    """Which are there: it was said how few would do, and that equal prompts take fewer."""
    told = made()
    told = replace(told, plan=replace(told.plan, found=told.plan.best, alone_s=0.9))
    text = answer_summary(told)
    assert " They carry more with a token budget of " in text
    assert " s alone: they carry more equal ones. " in text
    assert not re.search("would do|fewer GPUs", text)


def test_one_gpu_carries_and_wide_replicas_are_described() -> None:
    one = replace(made().question, gpus=1)
    assert given_said(replace(made(), question=one), "keeps").startswith(
        "1 × H100 SXM carries 163 "
    )
    assert "it carries 80 to 300" in given_more(replace(made(), question=one))[-1]
    wide = replace(made().question, deployment=replace(made().question.deployment, tensor=2))
    said = given_said(replace(made(), question=wide), "keep")
    assert " replicas of 2 × H100 SXM (tp2) in FP8 keep " in said
    alone = replace(made(), question=_at_rate(made().question, 1.0))
    assert " carry 1 request/s of " in given_said(alone, "keep")


def test_what_is_left_over_and_what_is_sure() -> None:
    said = given_more(replace(made(), question=replace(made().question, gpus=11)))
    assert said[0] == "At 100 requests/s they keep both."
    assert "2 of the GPUs are left over." in said
    left = answer_summary(replace(made(), question=replace(made().question, gpus=11)))
    assert ", at $18.00 an hour for 9 GPUs, $2.00 a GPU" in left
    spare = replace(made().question, gpus=11, spare_replicas=1)
    assert "1 of the GPUs is left over." in given_more(replace(made(), question=spare))
    for sure in (0.0, 163.0):
        told = replace(made(), rates=replace(RATES, sure_per_s=sure))
        assert not any("both" in text or "left" in text for text in given_more(told))


def test_no_rate_where_steps_are_slow_is_said() -> None:
    told = replace(made(), rates=replace(RATES, if_slower_per_s=0.0))
    assert given_more(told)[-1].endswith("they carry at most 300.")
    assert _given_error(told) == ("300 requests/s", "none")
    assert _given_error(made()) == ("300 requests/s", "80")


def test_the_table_has_rates_in_the_place_of_prices() -> None:
    head, *rows = comparison_rows(given())
    assert head[2:4] == ["requests/s", "$/10⁶ tokens"]
    rates = [float(row[2].strip("~").removeprefix("at most ")) for row in rows if row[2]]
    runs = [rate for rate, row in zip(rates, rows, strict=False) if row[3]]
    assert runs == sorted(runs, reverse=True)
    assert rates[0] == given().plan.rate_per_s
    assert _given_amount(given().ranked[0]) == rows[0][2]


def test_lines_and_record_have_what_was_found() -> None:
    people = {line.what: line.value for line in main_lines(made())}
    assert people["people who each ask once a minute"] == "9,780"
    assert people["if steps err"].startswith("300 requests/s at ")
    record = answer_record(given())
    assert record["gpus"] == 9
    assert record["rate_per_s"] == given().plan.rate_per_s
    assert _given_record(given()).items() <= record.items()
    plain = replace(given(), rates=None)
    assert _given_lines(plain) == []
    assert _given_record(plain) == {}


def test_of_a_device_that_was_never_measured_no_range_is_told() -> None:
    asked = {"gpus": 2, "device": "L40S", "requests": 200, "quantile": 0.9, "parallelism": "tp1"}
    told = answer(read_choices(asked | {"precision": "fp8"}))
    assert not any("steps err" in text for text in given_more(told))
    record = _given_record(told)
    assert [record[f"rate_if_{how}_per_s"] for how in ("faster", "slower")] == ["", ""]
    assert 0 < float(record["rate_sure_per_s"]) <= told.plan.rate_per_s


@pytest.mark.parametrize("name", ["sure", "if_faster", "if_slower"])
def test_every_rate_is_recorded(name: str) -> None:
    assert _given_record(made())[f"rate_{name}_per_s"] == getattr(RATES, f"{name}_per_s")
