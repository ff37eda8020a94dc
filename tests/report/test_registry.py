from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.report.engine_metrics import scrape_run
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.faults import FAULTS, served
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.registry import FINDINGS, Report, Rule, report
from serving_mathematics.report.rendering import (
    _report_record,
    report_html,
    report_markdown,
    summary_lines,
)

from builder import ROOT

from .example_runs import clean


def test_what_a_file_cannot_bear_is_said() -> None:
    found = report([Run("a", "", told={"completed": 500.0})], Asked())
    assert found.worst == ""
    assert "too_few" in found.quiet
    needs = dict(found.untold)
    assert needs["Does it burst?"] == "when each request was sent"
    assert "the engine's preemptions" in needs["Preempted?"]


def test_what_was_not_looked_at_is_not_among_what_was_not_found() -> None:
    """Too few requests or moments, no promise and no price are told as what is missing."""
    few = {"running": np.full(2, 64.0), "waiting": np.full(2, 9.0)}
    run = replace(clean(count=95), series=Series(np.arange(2.0), few))
    found = report([run], Asked())
    needs = dict(found.untold)
    assert needs["What does a token cost?"] == "a price"
    assert needs["Where does it break?"] == "a promised time"
    assert needs["What binds?"] == "100 requests or more"
    run = replace(run, columns={n: x for n, x in run.columns.items() if n != "queue_s"})
    needs = dict(report([run], Asked(ttft_s=1.0, price_per_hour=2.0)).untold)
    assert needs["What binds?"] == "10 moments or more or each time in the queue"
    assert needs["Where does it break?"] == "200 requests or more"
    assert "What does a token cost?" not in needs


def test_what_could_not_be_computed_is_not_among_what_was_not_found() -> None:
    """A full engine never shows a prompt's own time, nor one that is unlike its log a ceiling."""
    full = served(np.random.default_rng(3), 1500, load=0.97, places=32)
    names = ("sent_s", "ttft_s", "latency_s", "prompt_tokens", "output_tokens")
    late = full.column("sent_s") > 0.3 * full.column("sent_s").max()
    run = Run("", "", {name: full.column(name)[late] for name in names})
    found = report([run], Asked(ttft_s=1.0))
    needs = dict(found.untold)
    assert "nearly empty engine" in needs["Queue or prompt?"]
    assert "within 30%" in needs["How near the ceiling?"]
    assert needs["Where does it break?"] == needs["How near the ceiling?"]
    assert not {"queue_or_prefill", "ceiling", "breaking_load"} & {*found.quiet}


def test_the_objective_is_of_the_requests_after_a_warm_up() -> None:
    run = clean(count=1200)
    cold = np.where(np.arange(1200) < 40, 5.0, 0.0)
    times = {name: run.columns[name] + cold for name in ("ttft_s", "latency_s")}
    found = report([replace(run, columns=run.columns | times)], Asked(ttft_s=1.0)).findings
    told = {one.name: one for one in found}
    assert "the objective is judged by the rest" in told["warm_up"].seen
    assert told["goodput"].seen.startswith("100% ")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_flags_are_those_of_the_engine_whose_metrics_they_are(engine: str) -> None:
    name = {"vllm": "num_preemptions_total", "sglang": "num_retracted_requests_total"}[engine]
    run = scrape_run(f"{engine}:{name} 3\n{engine}:time_to_first_token_seconds_count 9", "a")
    (found,) = (one for one in report([run], Asked()).findings if one.name == "preemption")
    assert ("--max-running-requests" in found.change) == (engine == "sglang")
    assert ("--max-num-seqs" in found.change) == (engine == "vllm")


@pytest.mark.parametrize(
    ("scrape", "flag"),
    [
        ("trtllm_kv_cache_utilization", "--max_batch_size"),
        ("tgi_batch_current_size", "the limit of a batch"),
    ],
)
def test_what_binds_another_engine_is_in_its_own_words(scrape: str, flag: str) -> None:
    tool = scrape_run(f"{scrape} 0.5", "a").tool
    full = {"running": np.full(60, 64.0), "waiting": np.full(60, 9.0)}
    run = Run("a", tool, series=Series(np.arange(60.0), full))
    (found,) = (one for one in report([run], Asked()).findings if one.name == "binding")
    assert flag in found.change
    assert "--max-num-seqs" not in found.change


def test_every_finding_leads_to_a_page() -> None:
    run = clean(count=400)
    found = report([run, Run("b", "", told={"completed": 9.0, "failed": 1.0})], Asked(ttft_s=0.01))
    assert isinstance(found, Report)
    assert found.findings
    for one in found.findings:
        assert (ROOT / "docs" / f"{one.chapter}.md").is_file(), one.chapter


def test_every_finding_of_a_run_is_tried_with_a_fault() -> None:
    assert {rule.name for rule in FINDINGS} == set(FAULTS)
    assert all(isinstance(rule, Rule) for rule in FINDINGS)


@pytest.mark.parametrize("seed", range(60))
def test_any_columns_with_any_gaps_are_reported(seed: int) -> None:
    """Whatever a file has and lacks, a report has an answer and no warning of numpy."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([1, 2, 19, 100, 400]))
    base = served(rng, max(count, 2))
    columns = {}
    for name, values in base.columns.items():
        kind = rng.random()
        if kind < 0.3:
            continue
        column = values[:count].copy()
        if kind < 0.5:
            column[rng.random(count) < rng.choice([rng.random(), 0.95])] = np.nan
        if kind > 0.95:
            column[:] = 0.0
        columns[name] = column
    if rng.random() < 0.2:
        columns["failed"] = np.ones(count)
    told = {name: x for name, x in base.told.items() if rng.random() < 0.6}
    told |= {"concurrency": float(rng.choice([1, 8, 1e6])), "in_flight": 3.0} if seed % 3 else {}
    told |= {"failed": float(rng.choice([0, 5, 1e5]))} if seed % 2 else {}
    series = base.series if seed % 4 == 0 else None
    run = Run("a", "a log of requests", columns, told, base.gaps_s, base.gap_end_s, series)
    asked = Asked(ttft_s=0.2, tpot_s=0.02, price_per_hour=2.0)
    found = report([run], asked)
    report_html(found, asked)
    json.dumps(_report_record(found), allow_nan=False)
    assert len(summary_lines(found)) <= 15
    assert "nan" not in report_markdown(found).replace("finance", "")


def test_columns_count_the_same_in_every_type_and_those_that_are_none_are_refused() -> None:
    columns = {
        "prompt_tokens": np.full(500, 100.0),
        "output_tokens": np.full(500, 100.0),
        "ttft_s": np.full(500, 0.25),
        "latency_s": np.full(500, 3.0),
        "sent_s": np.arange(500.0),
    }
    asked = Asked(ttft_s=1.0, price_per_hour=2.0)

    def found(kind: type) -> list[tuple[str, str]]:
        run = Run("a", "x", {name: column.astype(kind) for name, column in columns.items()})
        return [(finding.name, finding.seen) for finding in report([run], asked).findings]

    assert found(np.float16) == found(np.float32) == found(float)
    for wrong, told in (
        ([0.1], r"ttft_s must be of shape \(500,\)"),
        (["0.1"] * 500, "ttft_s must be real numbers"),
        (np.full(500, -1.0), "ttft_s must be not negative in a"),
    ):
        with pytest.raises(ValueError, match=told):
            report([Run("a", "x", columns | {"ttft_s": wrong})], asked)
