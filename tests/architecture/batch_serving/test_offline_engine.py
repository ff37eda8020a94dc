"""Rows that are all there: the share that a client gets, the record, the files to take along."""

from __future__ import annotations

import json
import math
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
from serving_mathematics.architecture.batch_serving.batch_serving import latest_finish_s
from serving_mathematics.architecture.batch_serving.checkpointing import young_interval_s
from serving_mathematics.architecture.batch_serving.offline_engine import (
    _line,
    _ordered,
    fed_share,
)
from serving_mathematics.core.machines.machines import CHAT

from builder import ROOT
from tests.promql import Series, Vector
from tests.rule_files import evaluated, rule_text, rules, vectors

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


MINUTES = 90
PARALLELISM = 'kube_job_spec_parallelism{job_name="night"}'
NAMES = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:generation_tokens"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs", "sglang:generation_tokens"),
}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("running", "waiting", "tokens_per_s", "pods", "fires"),
    [
        (CHAT.places, 50.0, 18e3, 4.0, set()),  # a healthy night at full load
        (CHAT.places, 50.0, 14e3, 4.0, {"NightWillBeLate"}),
        (128.0, 0.0, 18e3, 4.0, {"NightIsNotFed"}),
        (128.0, 9.0, 18e3, 4.0, set()),
        (np.nan, np.nan, np.nan, 4.0, {"NightWillBeLate"}),  # dead, or without metrics
        (0.0, 0.0, 0.0, 0.0, set()),  # over, on a server that is left running
        (0.0, 0.0, 0.0, np.nan, set()),  # over, and its Job is gone
    ],
)
def test_alerts_see_the_night_and_are_silent_by_day(
    engine: str, running: float, waiting: float, tokens_per_s: float, pods: float, fires: set[str]
) -> None:
    of_running, of_waiting, of_tokens = NAMES[engine]
    series: dict[str, Series | Vector] = {
        f'{of_running}{{job="night"}}': {"a": np.full(MINUTES, float(running))},
        f'{of_waiting}{{job="night"}}': {"a": np.full(MINUTES, waiting)},
        f'{of_tokens}_total{{job="night"}}': {"a": np.full(MINUTES, 60 * tokens_per_s)},
        'kube_job_status_active{job_name="night"}': np.full(MINUTES, pods),
        PARALLELISM: np.full(MINUTES, 4.0),
    }
    told = vectors(f"batch-night-{engine}", series)
    seen = {
        name
        for name, vector in told.items()
        if name.startswith("Night") and any(~np.isnan(one[-1]) for one in vector.values())
    }
    assert seen == fires


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_online_fleet_beside_the_night_does_not_hide_that_it_is_late(engine: str) -> None:
    series: dict[str, Series | Vector] = {
        f"{NAMES[engine][2]}_total": np.full(MINUTES, 6e9),
        'kube_job_status_active{job_name="night"}': np.full(MINUTES, 1.0),  # a client
        PARALLELISM: np.full(MINUTES, 1.0),
        'kube_job_failed{job_name="night"}': np.full(MINUTES, 1.0),
    }
    told = vectors(f"batch-night-{engine}", series)
    assert told["NightWillBeLate"][""][-1] == 0.0
    assert told["NightHasFailed"][""][-1] == 1.0


@pytest.mark.parametrize(
    ("engines", "rows_per_s", "shards", "rows", "again", "start_min", "hangs", "late"),
    [
        (4, 23, 48, 45_000, False, 2, 0, False),
        (4, 23, 48, 45_000, True, 2, 0, False),  # one pod alone in the end
        (5, 18, 60, 36_000, False, 2, 0, False),
        (5, 18, 48, 45_000, False, 3, 0, False),  # three in the last round
        (5, 18, 48, 45_000, False, 2, 1, True),  # one of five hangs, or never starts
    ],
)
def test_a_night_in_time_wakes_nobody(
    engines: int,
    rows_per_s: float,
    shards: int,
    rows: int,
    again: bool,
    start_min: int,
    hangs: int,
    late: bool,
) -> None:
    """Round by round, minute by minute, from half an hour before the first pods on."""
    tokens = float(CHAT.sample.output_tokens.mean())
    round_min = math.ceil(rows / rows_per_s / 60)
    written, pods = [0.0] * 30, [0.0] * 30
    busy = [min(engines, shards - done) for done in range(0, shards, engines)] + [1] * again
    for at_once in busy:
        rate = 60 * tokens * rows_per_s * (at_once - hangs)
        written += [0.0] * start_min + [rate] * round_min
        pods += [float(at_once)] * (start_min + round_min)
    series = {
        'vllm:generation_tokens_total{job="night"}': np.array(written),
        'kube_job_status_active{job_name="night"}': np.array(pods),
        PARALLELISM: np.full(len(pods), float(engines)),
    }
    (rule,) = [one for one in rules("batch-night-vllm") if one.get("alert") == "NightWillBeLate"]
    held = int(rule["for"].removesuffix("m"))
    low = ~np.isnan(evaluated("batch-night-vllm", series)["NightWillBeLate"])
    runs = np.convolve(low, np.ones(held + 1), "valid")
    assert (runs.max() > held) == late
    assert late or len(pods) - 30 < 480  # a night of eight hours


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


def answered(row: str, status: int = 200, error: str | None = None) -> str:
    """A line of what `vllm run-batch` writes: a request that failed has one too."""
    response = {"status_code": status, "body": {}}
    return json.dumps({"custom_id": row, "response": response, "error": error}) + "\n"


def test_the_job_commits_a_shard_whole_or_not_at_all(tmp_path: Path) -> None:
    """Killed half-way, failed, with a row too few, twice or with an error in place of an answer, it
    leaves no scores; then it does, once."""
    rows, scores, made = (tmp_path / name for name in ("rows-0007", "scores-0007.jsonl", "made"))
    asked = [json.dumps({"custom_id": name}) for name in ("one", "two", "three")]
    rows.write_text("\n".join(asked))  # the last line may lack its end
    copied = f'cp "{made}" "$5"'
    assert run_job(tmp_path, 'head -1 "$3" > "$5"; kill -9 $PPID') != 0
    assert not scores.exists()
    assert run_job(tmp_path, "exit 3") == 3
    one, two, three = map(answered, ("one", "two", "three"))
    for bad in (
        one + two,
        one + two + two,
        "".join(answered(name, error="no such model") for name in ("one", "two", "three")),
        one + two + answered("three", status=400),
        one + two + json.dumps({"custom_id": "three", "response": None, "error": None}),
    ):
        made.write_text(bad)
        assert run_job(tmp_path, copied) == 1
        assert not scores.exists()
    made.write_text(three + two + one)
    assert run_job(tmp_path, copied) == 0
    assert scores.read_text() == three + two + one
    assert not (tmp_path / "rejects-0007.jsonl").read_text()
    assert scores.stat().st_mode & stat.S_IROTH
    assert run_job(tmp_path, "exit 9") == 0  # it is not asked again
    assert scores.read_text() == three + two + one


def test_the_job_sets_a_bad_row_aside(tmp_path: Path) -> None:
    """One row in a hundred may fail: the others have their scores, and it stands beside them."""
    rows, scores, made = (tmp_path / name for name in ("rows-0007", "scores-0007.jsonl", "made"))
    names = [f"row {number}" for number in range(200)]
    rows.write_text("".join(json.dumps({"custom_id": name}) + "\n" for name in names))
    for failed, ends in ((3, 1), (2, 0)):
        lines = [answered(name, status=400 if n < failed else 200) for n, name in enumerate(names)]
        made.write_text("".join(lines))
        assert run_job(tmp_path, f'cp "{made}" "$5"') == ends
        assert scores.exists() == (ends == 0)
    assert scores.read_text() == "".join(lines[2:])
    rejects = tmp_path / "rejects-0007.jsonl"
    assert rejects.read_text() == "".join(lines[:2])
    assert rejects.stat().st_mode & stat.S_IROTH


def test_the_job_is_in_time_with_one_more_try() -> None:
    """As many shards as its header says, of rows that end by the bound, and one of them again."""
    text = JOB.read_text(encoding="utf-8")
    spec = yaml.safe_load(text)["spec"]
    (rows,) = map(int, re.findall(r"split -d -a 4 -l (\d+)", text))
    shards, engines = spec["completions"], spec["parallelism"]
    overhead_s, rate = _line("chat")
    start_s, shard_s = 120 + overhead_s, rows / rate
    best = math.sqrt((engines - 1) * shards * shard_s / start_s)
    assert shards == pytest.approx(best, abs=1)
    assert start_s < 0.1 * shard_s
    ends = latest_finish_s(shards * shard_s, engines, start_s, shards, shard_s)
    assert ends + shard_s + start_s <= spec["activeDeadlineSeconds"]
    told = shards * rows / 1e6
    assert f"{told:.2f} million rows" in text
    # with an engine as installed, five at a time, of the other numbers that it names
    assert "With r = 18, as an engine may have as installed, set parallelism to 5," in text
    assert "\n# completions to 60, and cut shards of 36,000 rows." in text
    assert shards * rows == 60 * 36_000
    assert abs(60 - math.sqrt(4 * shards * rows / 18 / start_s)) < 5 / 2
    assert (60 / 5 + 1) * (36_000 / 18 + start_s) <= spec["activeDeadlineSeconds"]
    # kills that are rarer leave the best interval of checkpoints longer than such a shard
    assert young_interval_s(120, 5 * 3600) > shard_s > young_interval_s(120, 3 * 3600)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_rules_are_of_the_night_of_the_job(engine: str) -> None:
    """Four engines that start for each shard write enough, and three do not."""
    text = JOB.read_text(encoding="utf-8")
    spec = yaml.safe_load(text)["spec"]
    (rows,) = map(int, re.findall(r"split -d -a 4 -l (\d+)", text))
    overhead_s, rate = _line("chat")
    tokens = float(CHAT.sample.output_tokens.mean())
    needed = 1.1 * spec["completions"] * rows * tokens / spec["activeDeadlineSeconds"]
    words = rule_text(f"batch-night-{engine}").replace("\n#", "")
    (told,) = {int(n) for n in re.findall(r"\b1\d{4}\b", words)}
    assert told == pytest.approx(needed, rel=0.005)
    written = spec["completions"] * rows * tokens / 1e6
    hours = {8: "eight"}[spec["activeDeadlineSeconds"] // 3600]
    assert f"({written:.0f} million in {hours} hours: {told} a second)" in words
    start_s = 120 + overhead_s
    assert rows / rate > 1800  # so that half an hour has one start at most
    assert 3 * rate * tokens < told < 4 * rate * tokens * (1800 - start_s) / 1800
    assert told < 5 * 18 * tokens * (1800 - start_s) / 1800 < 6 / 5 * told  # or five as installed


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
        "podFailurePolicy",
        "maxFailedIndexes",
        "activeDeadlineSeconds",
        "template",
    }
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # which backoffLimitPerIndex asks
    assert pod["containers"][0]["ports"] == [{"name": "metrics", "containerPort": 8000}]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_commands_say_the_places_and_the_page_links_the_job() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "](../downloads/batch-night-job.yaml)" in page
    for shown in (
        page,
        JOB.read_text("utf-8"),
        (ROOT / "docs/optimization/distillation.md").read_text("utf-8"),
    ):
        for command in re.findall(r"^ *vllm run-batch (?:.*\\\n)*.*", shown, re.MULTILINE):
            # of itself it has half the places that r and the rules are of
            assert "--max-num-seqs 256 --max-num-batched-tokens 8192" in command
