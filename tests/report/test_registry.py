from __future__ import annotations

import json

from serving_mathematics.planner.answers import CHAPTERS
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.faults import FAULTS
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.registry import FINDINGS, Report, Rule, report

from builder import ROOT

from .made import clean, detailed


def test_what_a_file_cannot_bear_is_said() -> None:
    found = report([Run("a", "", told={"completed": 500.0})], Asked())
    assert found.worst == ""
    assert "too_few" in found.quiet
    needs = dict(found.untold)
    assert needs["Does it burst?"] == "when each request was sent"
    assert "the engine's preemptions" in needs["Preempted?"]


def test_every_finding_leads_to_a_page() -> None:
    run = clean(count=1500)
    found = report([run, Run("b", "", told={"completed": 9.0, "failed": 1.0})], Asked(ttft_s=0.01))
    assert isinstance(found, Report)
    assert found.findings
    for one in found.findings:
        assert (ROOT / "docs" / f"{one.chapter}.md").is_file(), one.chapter
    assert CHAPTERS


def test_every_finding_of_a_run_is_tried_with_a_fault() -> None:
    left = {"load_kept", "breaking_load", "canary", "cost"}  # which tell something of every run
    assert {rule.name for rule in FINDINGS} - left == set(FAULTS)
    assert all(isinstance(rule, Rule) for rule in FINDINGS)


def test_a_load_test_with_details_from_file_to_finding() -> None:
    from serving_mathematics.report.reading import read_file

    data = json.loads(detailed(clean(count=600)))
    data["errors"][:40] = ["503"] * 40
    found = report(read_file(json.dumps(data), "a.json"), Asked())
    assert found.findings[0].name == "failures"
    assert found.worst == "problem"
