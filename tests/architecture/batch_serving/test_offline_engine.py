"""Rows that are all there: the share that a client gets, the record, the files to take along."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.offline_engine import (
    MACHINES,
    SEEDS,
    SIZES,
    _line,
    _of,
    _ordered,
    _takes_s,
    example,
    fed_share,
)
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths

from builder import ROOT
from tests.promql import Parser
from tests.rule_files import named, rules

PAGE = ROOT / "docs/architecture/batch-serving.md"
JOB = ROOT / "docs/downloads/batch-night-job.yaml"


@given(st.floats(1, 1e6), st.floats(0.01, 1e4), st.floats(0, 1e4))
def test_a_share_is_the_time_of_the_rows_over_all_time(
    rows: float, ceiling: float, overhead: float
) -> None:
    busy = rows / ceiling
    assert fed_share(rows, ceiling, overhead) == pytest.approx(busy / (busy + overhead))
    assert fed_share(2 * rows, ceiling, overhead) >= fed_share(rows, ceiling, overhead)


def test_rows_are_put_in_order() -> None:
    rng, outputs = np.random.default_rng(1), np.array([5, 900, 40, 300])
    assert _ordered(outputs, "mixed", rng).tolist() == [0, 1, 2, 3]
    assert _ordered(outputs, "longest first", rng).tolist() == [1, 3, 2, 0]
    assert _ordered(outputs, "shortest first", rng).tolist() == [0, 2, 3, 1]
    many = rng.integers(1, 1000, 2000)
    guessed = many[_ordered(many, "guessed longest first", rng)]
    assert guessed[:1000].mean() > 1.3 * guessed[1000:].mean()
    assert (np.diff(guessed) > 0).any()


def test_few_rows_take_longer_each() -> None:
    few, many = _takes_s(CHAT, 16) / 16, _takes_s(CHAT, 256) / 256
    assert few > 2 * many
    for name in MACHINES:
        per_row = np.mean(_of("mixed")[name], axis=1) / np.array(SIZES)
        assert (np.diff(per_row[:4]) < 0).all()
        assert np.shape(_of("mixed")[name]) == (len(SIZES), SEEDS)


def test_a_part_of_the_overhead_is_lost_after_the_last_admission() -> None:
    """From then on less is written than in that time before, by a third of the overhead or half;
    the rest is lost at the beginning, when prompts are read and hardly anybody writes."""
    drawn = draw_lengths(np.random.default_rng(83), CHAT.traffic, 4096)
    asked = Workload(np.zeros(4096), drawn.prompt_tokens, drawn.output_tokens)
    served = simulate(asked, CHAT.engine)
    last, over = float(served.admitted_s.max()), float(served.completion_s.max())
    span = np.maximum(served.completion_s - served.first_token_s, 1e-9)
    later = np.clip((served.completion_s - last) / span, 0, 1)  # of each answer
    after = float((later * (drawn.output_tokens - 1)).sum())
    rate = (float((drawn.output_tokens - 1).sum()) - after) / last
    assert 0.25 < (over - last - after / rate) / _line("chat")[0] < 0.75


def test_the_page_quotes_the_line() -> None:
    told, (overhead_s, rate) = example(), _line("chat")
    assert told.chat_overhead_s == overhead_s
    assert told.fed_256 == pytest.approx(100 * fed_share(256, rate, overhead_s), abs=5)
    assert told.fed_1024 == pytest.approx(100 * fed_share(1024, rate, overhead_s), abs=2)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_alerts_see_a_night_that_is_not_fed_and_one_that_is_late(engine: str) -> None:
    told = {named(rule): rule["expr"] for rule in rules(f"batch-night-{engine}")}
    (running,) = re.findall(r"avg_over_time\(([a-z]+:\w+)\[", told["night:places_taken:ratio10m"])
    taken = Parser(told["night:places_taken:ratio10m"], {running: np.full(20, 128.0)}).whole()
    assert taken[-1] == pytest.approx(128 / CHAT.places)
    (waiting,) = re.findall(r"avg_over_time\(([a-z]+:\w+)\[", told["NightIsNotFed"])
    for share, queue, fires in ((0.5, 0.0, True), (0.5, 9.0, False), (0.95, 0.0, False)):
        series = {"night:places_taken:ratio10m": np.full(20, share), waiting: np.full(20, queue)}
        at = Parser(told["NightIsNotFed"], series).whole()[-1]
        assert bool(~np.isnan(at)) == fires
    (tokens,) = re.findall(r"rate\(([a-z]+:\w+)\[", told["night:answer_tokens:rate30m"])
    rate = Parser(told["night:answer_tokens:rate30m"], {tokens: np.full(60, 6e4)}).whole()
    assert rate[-1] == pytest.approx(1000)
    for value, fires in ((2000.0, True), (3000.0, False)):
        series = {"night:answer_tokens:rate30m": np.full(3, value)}
        assert bool(~np.isnan(Parser(told["NightWillBeLate"], series).whole()[-1])) == fires


def run_job(folder: Path, fake: str) -> int:
    """The script of the Job's container, with a stand-in for the engine."""
    (spec,) = yaml.safe_load(JOB.read_text(encoding="utf-8"))["spec"]["template"]["spec"][
        "containers"
    ]
    shell, options, script = spec["command"]
    engine = folder / "bin/vllm"
    engine.parent.mkdir(exist_ok=True)
    engine.write_text(f"#!/bin/bash\nwhile getopts i:o: o; do :; done 2>/dev/null\n{fake}\n")
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    given = {"JOB_COMPLETION_INDEX": "7", "NIGHT": str(folder), "MODEL": "a/model"}
    path = f"{engine.parent}:{os.environ['PATH']}"
    command = [shell, options, script]
    return subprocess.run(command, env={"PATH": path} | given, check=False, timeout=60).returncode


def test_the_job_commits_a_shard_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed half-way, failed, and with a row too few, it leaves no scores; then it does, once."""
    rows, scores = tmp_path / "rows-0007", tmp_path / "scores-0007.jsonl"
    rows.write_text("one\ntwo\nthree\n")
    assert run_job(tmp_path, 'head -1 "$3" > "$5"; kill -9 $PPID') != 0
    assert not scores.exists()
    assert run_job(tmp_path, "exit 3") == 3
    assert run_job(tmp_path, 'head -2 "$3" > "$5"') == 1
    assert not scores.exists()
    assert run_job(tmp_path, 'tac "$3" > "$5"') == 0
    assert scores.read_text() == "three\ntwo\none\n"
    assert run_job(tmp_path, "exit 9") == 0  # it is not asked again
    assert scores.read_text() == "three\ntwo\none\n"


def test_the_job_is_one_of_kubernetes() -> None:
    """The fields of an indexed Job, as batch/v1 has them."""
    job = yaml.safe_load(JOB.read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] <= spec["completions"]
    assert set(spec) == {
        "completions",
        "parallelism",
        "completionMode",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
        "activeDeadlineSeconds",
        "template",
    }
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # which backoffLimitPerIndex asks


def test_the_page_shows_the_job_and_links_the_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    *_, script = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert script in JOB.read_text(encoding="utf-8")
    for name in ("batch-night-job", "batch-night-vllm", "batch-night-sglang"):
        assert f"](../downloads/{name}.yaml)" in page
