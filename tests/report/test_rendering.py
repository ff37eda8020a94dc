from __future__ import annotations

import json
import re

import numpy as np
from jsonschema import Draft202012Validator
from serving_mathematics.report.comparison import Difference, differences
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.registry import report
from serving_mathematics.report.rendering import (
    PAGE_TITLES,
    SCHEMA,
    _difference_text,
    _report_body,
    _report_record,
    report_html,
    report_markdown,
    summary_lines,
)

from builder import ROOT

from .example_runs import clean

ASKED = Asked(ttft_s=0.2, tpot_s=0.03, price_per_hour=3.0)


def test_the_record_keeps_its_schema() -> None:
    run = clean(count=600)
    found = report([run], ASKED, ["b.json: must be text"])
    record = _report_record(found, differences(run, run))
    again = json.loads(json.dumps(record, allow_nan=False))
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(again)
    assert again["problems"] == ["b.json: must be text"]


def test_the_page_asks_for_nothing_and_is_small() -> None:
    page = report_html(report([clean(count=1500)], ASKED), ASKED)
    assert len(page) < 1_500_000
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert style.count("{") == style.count("}")
    assert not re.search(r"-\s|:\s*}", style)  # no property is torn
    assert page.count("<figure>") == 4


def test_names_of_files_are_text() -> None:
    evil = "<img src=x onerror=alert(1)>"
    found = report(
        [Run(evil, evil, told={"completed": 9.0, "failed": 3.0}, notes=(evil,))], Asked()
    )
    for text in (report_html(found, Asked()), _report_body(found, Asked(), (), "/")):
        assert "<img" not in text


def test_fifteen_lines_of_a_terminal() -> None:
    runs = [clean(seed, 150) for seed in range(6)]
    lines = summary_lines(report(runs, ASKED, ["x: no", "y: no"]))
    assert 3 < len(lines) <= 15
    assert max(map(len, lines)) <= 120
    where = [Run(f"folder/{name}", "", told={"completed": 9.0, "failed": 3.0}) for name in "abc"]
    for count, said in ((1, ""), (2, " [a and 1 more]"), (3, " [a and 2 more]")):
        (line,) = (
            x for x in summary_lines(report(where[:count], Asked())) if "requests failed" in x
        )
        assert re.findall(r" \[.*?\]", line) == [said] * (count > 1)
    other = Run("folder/b", "", told={"completed": 9e3, "failed": 0.0})
    assert " [a]" in "".join(summary_lines(report([where[0], other], Asked())))


def test_noise_is_called_noise() -> None:
    told = _difference_text(Difference("TTFT", 0.1, 0.11, 0.1, -0.2, 0.4))
    assert told.endswith("not told from chance")
    run = clean(count=600)
    lines = summary_lines(report([run], Asked()), differences(run, run))
    assert "· no difference is told from chance in TTFT, TPOT, latency; " in lines[1]


def test_chapters_are_called_as_their_pages_are() -> None:
    for name, title in PAGE_TITLES.items():
        text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert f"\ntitle: {title}\n" in text.replace('"', "")


def test_markdown_has_the_files_to_take_along() -> None:
    found = report([clean(count=600)], ASKED)
    text = report_markdown(found)
    assert "`alerts.yaml`:" in text
    assert text.count("```") % 2 == 0


def test_one_of_many_is_one_and_counters_are_no_request() -> None:
    """One request of one run, whose file says nothing else; and a scrape, which has none."""
    alone = Run("a", "a log", {"latency_s": np.ones(1)}, told={"completed": 1.0, "failed": 1.0})
    found = report([alone], ASKED)
    for text in (
        "\n".join(summary_lines(found)),
        report_markdown(found),
        report_html(found, ASKED),
    ):
        assert "1 request" in text
        assert not re.search(r"\b1 (requests|problems|warnings|notes|questions|findings)\b", text)
    scrape = Run("b", "vLLM", series=Series(np.arange(2.0), {"running": np.ones(2)}))
    assert summary_lines(report([scrape], Asked()))[0] == "vLLM: counters; nothing found"
