"""The measurement at a small scale with the real engine, and its rules; no test asserts times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import chat_workload
from serving_mathematics.engine import engine_measurement as measurement
from serving_mathematics.engine import measured_loads, token_engine
from serving_mathematics.engine.engine_measurement import Bench, main
from serving_mathematics.engine.measured_loads import LoadRun, NotQuiet, row_of
from serving_mathematics.engine.token_engine import Settings

from ..profiles import its_turn
from ..small_model import WORDS
from .test_measured_loads import ROWS


@pytest.fixture(scope="module", autouse=True)
def small(small_model: Path) -> Iterator[None]:
    """A measurement of it takes a tenth of the time, and is one as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_engine, "model_path", lambda: small_model)
        yield


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(Settings(max_sequences=4, kv_blocks=100, context_tokens=512))


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


def test_prompts_and_sequences_that_end_are_in_their_steps(bench: Bench) -> None:
    two = bench.prompt_step(20, 30)
    assert (two.prompt_tokens, two.decoding) == (50, 0)
    taken = bench.beside(2, 40, 3)
    assert [(step.prompt_tokens, step.decoding) for step in taken] == [(40, 2)] * 3
    pairs = bench.fewer_steps(4, 3)
    assert [(a.decoding, b.decoding) for a, b in pairs] == [(3, 3), (2, 2), (1, 1)]
    read = [(a.context_tokens, b.context_tokens) for a, b in pairs]  # 32 of prompts, and answers
    assert read == [(3 * 34, 3 * 35), (2 * 36, 2 * 37), (38, 39)]
    assert bench.engine.idle


@its_turn(0)
def test_everything_is_in_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole measurement with a smaller grid and short runs, whatever the machine does."""
    monkeypatch.setattr(measured_loads, "_rows", lambda _: ROWS)
    monkeypatch.setattr(
        measured_loads, "change_rows", lambda _: [{"kind": "decode", "longer_s": 0.0}]
    )
    monkeypatch.setattr(measured_loads, "_reference_s", lambda _: 0.01)
    monkeypatch.setattr(measured_loads, "DRIFT", 100.0)
    monkeypatch.setattr(measured_loads, "WALL_OVER_CPU", 100.0)
    monkeypatch.setattr(measured_loads, "LOADS", (0.1, 0.2))
    monkeypatch.setattr(measurement, "BUDGETS", (64,))
    monkeypatch.setattr(measurement, "PREFIX_ROUNDS", 1)
    few = Settings(max_sequences=4, kv_blocks=60, context_tokens=512, token_budget=64)
    monkeypatch.setattr(measurement, "_memory", lambda: measurement._levels(50, few, 3, 6))
    timed = measurement._timed_answer

    def known(bench: Bench, prompt: tuple[int, ...], tokens: int) -> tuple[float, list[int]]:
        """Of words that are not all the same to the small model."""
        return timed(bench, tuple(token % WORDS for token in prompt), tokens)

    monkeypatch.setattr(measurement, "_timed_answer", known)
    began = time.perf_counter()
    assert main(["--repeats", "1", "--run-s", "0.5", "--folder", str(tmp_path)]) == 0
    whole_s = time.perf_counter() - began
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
    taken = [row[name] for row in record["prefixes"] for name in ("cold_s", "warm_s")]
    assert 0 < min(taken) <= max(taken) < whole_s
    assert sum(row["same"] for row in record["prefixes"]) >= 3  # of 4
    assert np.array(record["interrupted"][0]["gaps_ms"]).shape == (4, 79)
    memory = record["memory"]
    levels = [memory[name] for name in ("loaded_mib", "blocks_mib", "sizes_mib")]
    levels += memory["mixed_mib"]
    assert len(levels) == 6
    assert levels == sorted(levels)
    assert record["command"] == measurement.COMMAND
    monkeypatch.setattr(measurement, "calibrate", lambda _: (_ for _ in ()).throw(NotQuiet("busy")))
    monkeypatch.setattr(measurement, "Bench", lambda _: None)
    assert main(["--folder", str(tmp_path)]) == 1
    with pytest.raises(NotQuiet):
        measurement._measure()
