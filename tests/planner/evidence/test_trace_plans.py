"""Plans of traces: a day of sessions, the command in its own process, the record."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.planner.evidence import trace_plans
from serving_mathematics.planner.evidence.trace_plans import (
    ASKED,
    DAY_S,
    _plan_trace,
    day_of_sessions,
    example,
    main,
)
from serving_mathematics.planner.questions.trace_formats import read_requests

HEAD = "session,t_s,prompt_tokens,output_tokens,reusable_tokens"
SESSIONS = [f"{i // 4},{10 * (i % 4)},{200 + i},{i % 4},{50 * (i % 4)}" for i in range(800)]


def test_a_day_of_sessions_is_a_trace() -> None:
    text = day_of_sessions("\n".join([HEAD, *SESSIONS]), np.random.default_rng(3))
    asked = read_requests(text)
    assert asked.arrival_s.size == 800
    assert asked.arrival_s[-1] < DAY_S
    assert asked.cached_tokens.sum() == 200 * (50 + 100 + 150)
    assert sorted(asked.prompt_tokens.tolist()) == list(range(200, 1000))


def test_sessions_begin_all_over_the_day() -> None:
    rows = "\n".join([HEAD, *(f"{i},{50 * i},10,1,0" for i in range(2000))])
    text = day_of_sessions(rows, np.random.default_rng(3))
    times = np.array([float(line.split(",")[0]) for line in text.splitlines()[1:]])
    assert times.max() < DAY_S
    assert abs(times.mean() - DAY_S / 2) < 4 * DAY_S / np.sqrt(12 * 2000)


@pytest.mark.parametrize("text", ["", HEAD, "a,b\n1,2\n"])
def test_other_tables_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the table of sessions must be one with session, t_s"):
        day_of_sessions(text, np.random.default_rng(0))


def _trace(folder: Path) -> Path:
    file = folder / "trace.csv"
    rows = [f"{i / 2},500,20" for i in range(400)]
    file.write_text("\n".join(["time,prompt_tokens,output_tokens", *rows]))
    return file


def test_a_plan_tells_its_answer_and_its_cost(tmp_path: Path) -> None:
    options = ["--parallelism=tp1", "--quantile=0.9", "--requests=100", "--precision=fp8"]
    told = _plan_trace(_trace(tmp_path), options)
    assert (told["requests"], told["prompt_tokens"], told["cached_percent"]) == (400, 500, 0)
    assert told["answer"]["replicas"] == 1
    assert 0 < told["processor_s"] < 60
    with pytest.raises(ValueError, match="the trace must be one that can be planned"):
        _plan_trace(_trace(tmp_path), [*options, "--ttft-s", "0.0002"])


def test_the_record_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agents = tmp_path / "agents.csv.gz"
    agents.write_bytes(gzip.compress("\n".join([HEAD, *SESSIONS]).encode()))
    asked, written = [], {}

    def planned(trace: Path, options: object) -> dict[str, object]:
        asked.append((trace.name, options))
        return {}

    monkeypatch.setattr(trace_plans, "_plan_trace", planned)
    monkeypatch.setattr(
        trace_plans, "write_record", lambda name, record: written.update({name: record})
    )
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), str(agents)]) == 0
    assert [name for name, _ in asked] == ["a", "b", "agents.csv"]
    assert [options for _, options in asked] == list(ASKED.values())
    assert json.dumps(written["trace_plans"])
    assert example().trace_rows.count("\n") == 2
