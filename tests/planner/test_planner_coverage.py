"""The record of plans by seed: complete, written whole, and what the planner says today."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from serving_mathematics import measuring
from serving_mathematics.planner import planner_coverage
from serving_mathematics.planner.answers import answer_summary
from serving_mathematics.planner.capacity_planner import plan
from serving_mathematics.planner.planner_coverage import (
    ASKED,
    NAMES,
    RECORD,
    WORKED_NAME,
    _measure,
    _planned,
    _row_of,
    _seeds,
    _shares,
    main,
)
from serving_mathematics.planner.questions import read_question


def test_the_record_has_every_seed() -> None:
    record = measuring.read_record(RECORD)
    assert record["command"] == planner_coverage.COMMAND
    assert record["intervals"] == NAMES
    assert {row["name"]: row["question"] for row in record["questions"]} == ASKED
    for row in record["questions"]:
        assert len(row["seeds"]) == _seeds(row["name"]) in (40, 400)
        assert {len(seed["held"]) for seed in row["seeds"]} == {len(NAMES)}
    decided = [seed for row in record["questions"] for seed in row["seeds"] if seed["decided"]]
    assert len(decided) >= 500
    assert all(92 <= share <= 97 for share in _shares(decided))


def test_measure_writes_what_it_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = {"small": {"rate_per_s": 5, "ttft_s": 2, "tpot_s": 0.1, "requests": 150}}
    monkeypatch.setattr(planner_coverage, "ASKED", small)
    monkeypatch.setattr(planner_coverage, "SEEDS", 3)
    monkeypatch.setattr(planner_coverage, "TRUE_REQUESTS", 20_000)
    monkeypatch.setattr(
        planner_coverage,
        "write_record",
        lambda name, content: measuring.write_record(name, content, tmp_path),
    )
    planner_coverage._truth.cache_clear()
    main()
    record = json.loads((tmp_path / f"{RECORD}.json").read_text(encoding="utf-8"))
    assert record == _measure()
    plans = [_planned(small["small"] | {"seed": seed}) for seed in range(3)]
    assert record["questions"][0]["seeds"] == [_row_of("small", *plan) for plan in plans]
    assert _seeds("small") == 3
    planner_coverage._truth.cache_clear()


def test_shares_are_counted_by_interval() -> None:
    seeds = [{"held": "110000"}, {"held": "100001"}]
    assert _shares(seeds) == [100.0, 50.0, 0.0, 0.0, 0.0, 50.0]


def test_the_worked_example_says_what_it_is_not_sure_of() -> None:
    """A seed of each answer in the record: five and six are always named."""
    rows = {row["name"]: row["seeds"] for row in measuring.read_record(RECORD)["questions"]}
    seeds = rows[WORKED_NAME]
    assert set(Counter(seed["replicas"] for seed in seeds)) == {5, 6}
    picked = [next(i for i, s in enumerate(seeds) if s["replicas"] == n) for n in (5, 6)]
    for seed in picked:
        question = read_question(ASKED[WORKED_NAME] | {"seed": seed})
        found = plan(question, alternatives=False)
        text = answer_summary(question, found)
        assert found.best.replicas == seeds[seed]["replicas"]
        if found.best.replicas == 6:
            assert " keep a TTFT" in text
            assert text.endswith("5 may do.")
        else:
            assert " may keep a TTFT" in text
            assert "6 keep both." in text
