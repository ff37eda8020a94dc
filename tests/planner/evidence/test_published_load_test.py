"""The GPU's load test: rows of the record, what is typed, and the command of the page."""

from __future__ import annotations

import re

import numpy as np
from serving_mathematics.planner.evidence.published_load_test import (
    ASKED,
    TYPED,
    _typed_text,
    published_runs,
)
from serving_mathematics.planner.questions.load_tests import read_typed

from builder import ROOT

from ...recorded import HERE


def test_runs_are_of_one_deployment_and_slower_at_higher_loads() -> None:
    runs = published_runs()
    assert len({(run.family, run.answers.precision, run.answers.tensor) for run in runs}) == 1
    times = [run.per_token_s for run in runs]
    assert times == sorted(times)


def test_what_is_typed_reads_back() -> None:
    runs = [run for run in published_runs() if run.concurrency in TYPED]
    found = read_typed(_typed_text(runs), 922, 922)
    assert [run.load for run in found] == list(TYPED)
    for typed, run in zip(found, runs, strict=True):
        assert np.isclose(typed.tpot_s, run.per_token_s, rtol=5e-3)
        assert np.isclose(typed.ttft_s, run.first_token_s, rtol=5e-3)


def test_the_pages_command_is_the_one_that_was_planned() -> None:
    told = HERE.example_of("planner.evidence.published_load_test")
    page = (ROOT / "docs" / "planner-command.md").read_text(encoding="utf-8")
    typed = _typed_text([run for run in published_runs() if run.concurrency in TYPED])
    assert f"--load-test {typed} --front benchmark\n" in page
    (words,) = re.findall(r"plan --model gpt-oss-120b --device H200 [^`]*--load-test", page)
    for name in ASKED.keys() - {"model", "device", "other_devices"}:  # and nothing else is asked
        assert f"--{name.replace('_', '-')} {ASKED[name]}" in words
    assert told.gpu_test_after < told.gpu_test_before / 3
    assert told.gpu_test_replicas_tested > told.gpu_test_replicas
    assert told.gpu_test_rows.count("yes") == len(TYPED)
