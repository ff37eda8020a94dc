"""The measurement at a small scale with the real engine, and its rules; no test asserts times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving_mathematics.engine import engine_measurement as measurement
from serving_mathematics.engine import token_engine
from serving_mathematics.engine.engine_measurement import (
    Bench,
    LoadRun,
    NotQuiet,
    change_rows,
    change_s,
    changed_steps,
    main,
    predictions,
    refusal,
    row_of,
)
from serving_mathematics.engine.token_engine import Settings, Step
from serving_mathematics.optimization.continuous_batching import chat_workload


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


ROWS = [
    {
        "prompt_tokens": p,
        "prompt_pairs": p * (p + 1) // 2,
        "decoding": b,
        "context_tokens": c,
        "step_s": 0.01 + p / 2000,
        "times_s": [0.01 + p / 2000, 0.012 + p / 2000],
    }
    for p, b, c in ((0, 1, 500.0), (0, 8, 320.0), (64, 0, 0.0), (64, 8, 320.0), (300, 0, 0.0))
]


@pytest.fixture(scope="module")
def calibration() -> dict[str, Any]:
    return {
        "rows": ROWS,
        "costs": vars(measurement._fit(ROWS)),
        "costs_with_pairs": vars(measurement._fit(ROWS, pairs=True)),
        "changes": [],
        "change_s": 0.004,
        "reference_s": 1.0,
        "drift": 0.0,
        "refused": [],
    }


class Counted:
    """A bench that takes notes: of steps of a batch, and of requests with their steps."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.added: list[tuple[int, int]] = []
        self.engine = SimpleNamespace(step=self._step, cancel=self._cancel)
        self.inside = 0

    def decode_steps(self, sequences: int, context: int, count: int) -> list[Step]:
        self.batches.append((sequences, context, count))
        return [step()]

    def add(self, prompt_tokens: int, output_tokens: int) -> int:
        self.added.append((prompt_tokens, output_tokens))
        self.inside += output_tokens > 1
        return len(self.added)

    def finish(self) -> list[Step]:
        return [step()]

    def _step(self) -> Step:
        return replace(step(), decoding=self.inside)

    def _cancel(self, _number: int) -> None:
        self.inside -= 1


def test_the_grid_is_what_the_page_says() -> None:
    """Twelve steps of each batch and context, five prompts of each length, alone and beside
    decoding sequences that are ended."""
    bench: Any = Counted()
    rows = measurement._rows(bench)
    grid = [(n, context, 12) for n in (1, 2, 4, 8, 16) for context in (32, 128, 512)]
    assert bench.batches == [*grid, (32, 32, 12), (32, 128, 12)]
    alone = [(size, 1) for size in (8, 16, 32, 64, 128, 256, 512) for _ in range(5)]
    assert bench.added[: len(alone)] == alone
    beside = [
        request
        for sequences in (2, 8, 16)
        for size in (32, 128, 384)
        for request in [(64, 200)] * sequences + [(size, 1)] * 5
    ]
    assert bench.added[len(alone) :] == beside
    assert bench.inside == 0
    assert [len(row["times_s"]) for row in rows] == [1] * 17 + [5] * 16


def test_steps_that_change_are_told_by_their_tokens() -> None:
    steps = [step(n) for n in (5, 5, 7, 7, 5)]
    steps.append(replace(steps[0], prompt_tokens=2, decoding=3))
    assert changed_steps(steps).tolist() == [True, False, True, False, True, False]


def test_changes_are_measured_in_turns() -> None:
    """Steps of an engine that says how long a change takes, prompts and decoding alike."""

    class Known(Bench):
        def __init__(self) -> None:
            self.settings, self.engine, self.before = Settings(), self, -1  # type: ignore[assignment]
            self.asked: list[int] = []
            self.decoding = 0

        def add(self, prompt_tokens: int, _output_tokens: int) -> int:
            self.asked += [prompt_tokens]
            return 0

        def cancel(self, _number: int) -> None:
            self.decoding -= 1

        def step(self) -> Step:
            if len(self.asked) == 12:
                self.asked, self.decoding = [], 12
            return self.timed(0, self.decoding)

        def finish(self) -> list[Step]:
            taken, self.asked = [self.timed(sum(self.asked), 0)] * bool(self.asked), []
            return taken

        def timed(self, prompt_tokens: int, decoding: int) -> Step:
            longer = 0.004 if prompt_tokens + decoding != self.before else 0.0
            self.before = prompt_tokens + decoding
            return replace(step(prompt_tokens), wall_s=0.01 + longer, decoding=decoding)

    rows = change_rows(Known(), rounds=2)
    kinds = {(row["kind"], row["tokens"]): row for row in rows}
    assert kinds["split", 64]["longer_s"] == 0
    assert all(
        row["longer_s"] == pytest.approx(0.004) for kind, row in kinds.items() if kind[0] != "split"
    )
    assert [row["pairs"] for row in rows] == [4, 4, 4, 2, 16, 8]
    assert change_s(rows) == pytest.approx(0.004)
    with pytest.raises(ValueError, match="rows must be of prompts or decoding, got 0"):
        change_s([])


def test_predictions_grow_with_what_is_added(calibration: dict[str, Any]) -> None:
    asked = chat_workload(np.random.default_rng(3), 20.0, 100, 20.0, 5.0)
    found = predictions(asked, calibration, Settings())
    assert list(found) == ["costs", "prompts", "changes", "stretched"]
    for place in (0, 1):
        costs, prompts, changes, stretched = (row["tpot_s"][place] for row in found.values())
        assert costs <= prompts * 1.001
        assert prompts < changes < stretched
    still = calibration | {"rows": [row | {"times_s": [row["step_s"]]} for row in ROWS]}
    again = predictions(asked, still, Settings())
    assert again["stretched"]["ttft_s"] == pytest.approx(again["changes"]["ttft_s"])


def test_runs_that_do_not_count_are_repeated_and_then_given_up(
    bench: Bench, calibration: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "LOADS", (0.1,))
    monkeypatch.setattr(measurement, "_reference_s", lambda _: 1.0)
    reasons = iter(["busy", "", *["busy"] * 8])
    monkeypatch.setattr(measurement, "refusal", lambda *_: next(reasons))
    found: dict[str, Any] = measurement._loads(bench, calibration, 1, 1.0)
    assert (len(found["runs"]), found["refused"]) == (1, ["busy"])
    with pytest.raises(NotQuiet, match="8 runs were refused, the last because busy"):
        measurement._loads(bench, calibration, 1, 1.0)
    assert refusal(1.0, 1.0, 1.0, [step(wall_s=1.06)]).startswith("steps took 1.06")


def test_everything_is_in_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole measurement with a smaller grid and short runs, whatever the machine does."""
    monkeypatch.setattr(measurement, "_rows", lambda _: ROWS)
    monkeypatch.setattr(measurement, "change_rows", lambda _: [{"kind": "decode", "longer_s": 0.0}])
    monkeypatch.setattr(measurement, "_reference_s", lambda _: 0.01)
    monkeypatch.setattr(measurement, "DRIFT", 100.0)
    monkeypatch.setattr(measurement, "WALL_OVER_CPU", 100.0)
    monkeypatch.setattr(measurement, "LOADS", (0.1, 0.2))
    monkeypatch.setattr(measurement, "BUDGETS", (64,))
    monkeypatch.setattr(measurement, "LOOKUP_ROUNDS", 1)
    monkeypatch.setattr(measurement, "PREFIX_ROUNDS", 1)
    monkeypatch.setattr(measurement, "LOOKUP_ANSWER", 24)
    assert main(["--repeats", "1", "--run-s", "1", "--folder", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "token_engine.json").read_text())
    assert "wrote" in capsys.readouterr().out
    runs = record["loads"]["runs"]
    assert [run["rate"] for run in runs] == record["loads"]["rates"]
    assert all(run["inexact_steps"] == 0 for run in runs)
    others = [*record["trace"]["runs"], *record["budgets"]["runs"]]
    assert [run["token_budget"] for run in record["budgets"]["runs"]] == [64]
    for run in (*runs, *others):
        assert run["tokens"] == run["asked_tokens"]
        assert list(run["predicted"]) == ["costs", "prompts", "changes", "stretched"]
        assert run["steps_s"]["changes"] >= run["steps_s"]["prompts"] > 0
    copy, answer = record["lookup"]
    plain, ahead = copy["steps"]
    assert plain == 23  # after the first token
    assert ahead < plain
    assert answer["steps"][1] <= 23
    assert min(copy["same_tokens"], answer["same_tokens"]) >= 1
    assert [row["finished"] for row in record["small_memory"]] == [12, 12]
    assert record["small_memory"][1]["inexact_steps"] > 0
    assert sum(row["same"] for row in record["prefixes"]) >= 3  # of 4
    assert np.array(record["interrupted"][0]["gaps_ms"]).shape == (4, 79)
    assert record["command"] == measurement.COMMAND
    monkeypatch.setattr(
        measurement, "_calibrate", lambda _: (_ for _ in ()).throw(NotQuiet("busy"))
    )
    monkeypatch.setattr(measurement, "Bench", lambda _: None)
    assert main(["--folder", str(tmp_path)]) == 1
    with pytest.raises(NotQuiet):
        measurement._measure()
