"""The measurement at a small scale with the real engine, and its rules; no test asserts times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.engine import engine_measurement as measurement
from serving_mathematics.engine import token_engine
from serving_mathematics.engine.engine_measurement import (
    Bench,
    LoadRun,
    NotQuiet,
    cut_workload,
    main,
    refusal,
    row_of,
)
from serving_mathematics.engine.step_costs import StepCosts
from serving_mathematics.engine.token_engine import Settings, Step
from serving_mathematics.optimization.continuous_batching import Workload, chat_workload


@pytest.fixture(scope="module", autouse=True)
def shallow(shallow_model: Path) -> Iterator[None]:
    """A measurement of it takes a sixth of the time, and is one as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_engine, "model_path", lambda: shallow_model)
        yield


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(Settings(max_sequences=4, kv_blocks=100, context_tokens=512))


def step(prompt_tokens: int = 1, wall_s: float = 1.0) -> Step:
    return Step(0.0, wall_s, 1.0, prompt_tokens, 1, 0, 0, 1, 0, 0.0, True)


def test_every_request_of_a_load_gets_its_tokens_in_order(bench: Bench) -> None:
    asked = chat_workload(np.random.default_rng(3), 20.0, 12, 20.0, 5.0)
    run = bench.run_load(asked)
    assert isinstance(run, LoadRun)
    assert [len(times) for times in run.token_s] == asked.output_tokens.tolist()
    assert sum(step.prompt_tokens for step in run.steps) == asked.prompt_tokens.sum()
    for times, due in zip(run.token_s, asked.arrival_s, strict=True):
        assert times[0] > due
        assert times == sorted(times)
    ttft, tpot = run.latencies_s()
    assert (ttft > 0).all()
    assert np.isnan(tpot).tolist() == (asked.output_tokens == 1).tolist()
    assert run.gaps_s().size == (asked.output_tokens - 1).sum()


def test_steps_of_a_batch_have_that_batch(bench: Bench) -> None:
    taken = bench.decode_steps(3, 300, 5)
    assert [step.decoding for step in taken] == [3] * 5
    assert row_of(taken)["context_tokens"] >= 900
    assert bench.engine.idle
    with pytest.raises(ValueError, match="sequences must be at most 4"):
        bench.decode_steps(5, 32, 1)
    with pytest.raises(ValueError, match="steps must be of one kind"):
        row_of([step(1), step(2)])


def test_workload_is_cut_in_time_and_length() -> None:
    asked = Workload([0, 1, 2], [600, 5, 5], [3, 600, 3])
    cut = cut_workload(asked, 1.5, 512)
    assert (cut.prompt_tokens + cut.output_tokens <= 512).all()
    assert cut.prompt_tokens.tolist() == [511, 5]
    with pytest.raises(ValueError, match="last_s must be at or after 7"):
        cut_workload(Workload([7], [1], [1]), 1.0, 512)


def test_runs_that_do_not_count_are_repeated_and_then_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = StepCosts(0.01, 0.0, 0.001, 0.0, 0.0, 0.0)
    monkeypatch.setattr(measurement, "LOADS", (0.5,))
    monkeypatch.setattr(measurement, "_reference_s", lambda _: 1.0)
    reasons = iter(["busy", "", *["busy"] * 8])
    monkeypatch.setattr(measurement, "refusal", lambda *_: next(reasons))
    found: dict[str, Any] = measurement._loads(bench, costs, 1.0, 1, 1.0)
    assert (len(found["runs"]), found["refused"]) == (1, ["busy"])
    with pytest.raises(NotQuiet, match=r"8 runs at .* were refused, the last because busy"):
        measurement._loads(bench, costs, 1.0, 1, 1.0)
    assert refusal(1.0, 1.0, 1.0, [step(wall_s=1.06)]).startswith("steps took 1.06")


def test_everything_is_in_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole measurement with a smaller grid and short runs, whatever the machine does."""
    rows = [
        {"prompt_tokens": p, "decoding": b, "context_tokens": 40.0 * b, "step_s": 0.01 + p / 2000}
        for p, b in ((0, 1), (0, 8), (64, 0), (64, 8))
    ]
    rows[0]["context_tokens"] = 500.0
    monkeypatch.setattr(measurement, "_rows", lambda _: rows)
    monkeypatch.setattr(measurement, "DRIFT", 100.0)
    monkeypatch.setattr(measurement, "WALL_OVER_CPU", 100.0)
    monkeypatch.setattr(measurement, "LOADS", (0.1, 0.2))
    assert main(["--repeats", "1", "--run-s", "2", "--folder", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "token_engine.json").read_text())
    assert "wrote" in capsys.readouterr().out
    runs = record["loads"]["runs"]
    assert [run["rate"] for run in runs] == record["loads"]["rates"]
    assert all(run["tokens"] == run["asked_tokens"] for run in runs)
    assert all(run["inexact_steps"] == 0 for run in runs)
    assert [row["finished"] for row in record["small_memory"]] == [12, 12]
    assert record["small_memory"][1]["inexact_steps"] > 0
    assert sum(row["same"] for row in record["prefixes"]) >= 14  # of 15
    assert np.array(record["interrupted"][0]["gaps_ms"]).shape == (4, 79)
    assert record["command"] == measurement.COMMAND
    monkeypatch.setattr(
        measurement, "_calibrate", lambda _: (_ for _ in ()).throw(NotQuiet("busy"))
    )
    assert main(["--folder", str(tmp_path)]) == 1
    with pytest.raises(NotQuiet):
        measurement._measure()
