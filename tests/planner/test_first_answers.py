"""The home page's table: whole, the planner's, and said without a wrong number."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from serving_mathematics.planner import first_answers
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.first_answers import (
    CHOICES,
    COLUMNS,
    COMMAND,
    DEFAULTS,
    RECORD,
    _row,
    _sentence,
    _values,
    example,
)
from serving_mathematics.planner.questions.fields import FIELDS
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support.measuring import read_record

from tests.profiles import TODAY

EVERY = list(itertools.product(*(range(len(texts)) for texts in CHOICES.values())))


def test_the_record_is_whole() -> None:
    record = read_record(RECORD)
    assert record["command"] == COMMAND
    assert tuple(record["columns"]) == COLUMNS
    assert len(record["rows"]) == len(EVERY)
    for row in filter(None, record["rows"]):
        replicas, devices, precision, load, ttft_ms, tpot_ms, slower, error = row
        assert replicas >= 1
        assert devices in (1, 2, 4, 8)
        assert precision in ("bf16", "fp8", "fp4", "int4")
        assert 0 <= load <= 100
        assert tpot_ms > 0
        assert ttft_ms > 0
        assert slower == 0 or slower >= replicas
        assert 0 <= error < len(record["errors"])


def test_every_answer_keeps_its_promise() -> None:
    rows = read_record(RECORD)["rows"]
    for places, row in zip(EVERY, rows, strict=True):
        values = _values(places)
        if row:
            assert row[4] <= 1e3 * float(values["ttft_s"]) + 0.5, places
            assert row[5] <= 1e3 * float(values["tpot_s"]) + 0.05, places


def test_more_requests_never_cost_less() -> None:
    """The fleets of one question in order of its rate; a search by simulation may err by one."""
    rows = dict(zip(EVERY, read_record(RECORD)["rows"], strict=True))
    for places, row in rows.items():
        more = rows.get((*places[:2], places[2] + 1, *places[3:]))
        if row and more:
            assert more[0] * more[1] >= row[0] * row[1], places


def test_the_blanks_are_fields_of_the_planner() -> None:
    assert set().union(*map(_values, EVERY)) <= set(FIELDS)
    for places in EVERY[:: len(EVERY) // 7]:
        assert read_choices(_values(places))


def test_one_of_them_is_planned_again() -> None:
    record = read_record(RECORD)
    small = [places for places in EVERY if places[0] == 0 and places[2] < 2]
    places = small[TODAY % len(small)]
    row, kept = _row(places), record["rows"][EVERY.index(places)]
    assert row is not None
    assert kept[:3] == row[:3]
    assert kept[4:6] == pytest.approx(row[4:6], rel=0.03)


def test_sentences_say_one_and_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHOICES, "model", {"m": {"model": "m"}})
    monkeypatch.setitem(CHOICES, "GPU", {"g": {"device": "g", "price_per_hour": "2.6"}})
    for name in ("requests a second", "tokens in", "tokens out", "promise"):
        monkeypatch.setitem(CHOICES, name, dict([*CHOICES[name].items()][:1]))
    one = (0,) * 6
    errors = [[1234, 0.9, 1.1]]

    def said(*row: object) -> tuple[str, str]:
        return _sentence(one, {"rows": [[*row, 0]], "errors": errors})

    told, sure = said(1, 1, "fp8", 40, 126, 9.6, 1)
    assert "<b>one replica of one GPU</b> in FP8, <b>$2.60 an hour</b>, $7.22 a million" in told
    assert "within 0.13 s and then, on average, one every 10 ms, at 40% of" in told
    assert sure.startswith("Of 1,234 measured runs like this, all of tuned engines, eight of ten ")
    assert "took 0.90 to 1.10 times" in sure
    assert "with 1.10, the answer stays the same. An engine as installed takes longer for" in sure
    assert "An engine as installed takes longer for a token. A GPU" in sure
    told, sure = said(300, 8, "bf16", 90, 126, 9.6, 310)
    assert "<b>300 replicas of 8 GPUs</b> in BF16, <b>$6,240.00 an hour</b>" in told
    assert "it takes 310 replicas" in sure
    assert "no fleet keeps the promise" in said(1, 1, "fp8", 1, 1, 1.0, 0)[1]
    told, sure = _sentence(one, {"rows": [None], "errors": errors})
    assert told == "No fleet of this GPU keeps that promise."


def test_where_nothing_keeps_the_promise_there_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: object) -> None:
        raise Infeasible("no")

    monkeypatch.setattr(first_answers, "answer", refuses)
    assert _row(DEFAULTS) is None


def test_the_form_holds_the_first_choices_and_the_table() -> None:
    form = example().ask
    assert re.findall(r"<option selected>([^<]*)</option>", form) == re.findall(
        r'<span class="blank">([^<]*)</span>', form
    )
    table = json.loads(re.findall(r'<script type="application/json">(.*)</script>', form)[0])
    assert len(table["rows"]) == len(EVERY)
    assert [len(texts) for texts in table["asks"]] == [len(texts) for texts in CHOICES.values()]
    assert "\n" not in form
