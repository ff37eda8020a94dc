"""The rules of a measurement and its parts, with engines that say what they take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload, chat_workload
from serving_mathematics.engine import measured_loads
from serving_mathematics.engine.measured_loads import (
    LoadRun,
    NotQuiet,
    calibrate,
    change_rows,
    change_s,
    changed_steps,
    conditions,
    engine_of,
    measured_run,
    predictions,
    refusal,
    row_of,
)
from serving_mathematics.engine.token_engine import Settings, Step


def step(prompt_tokens: int = 1, wall_s: float = 1.0) -> Step:
    return Step(0.0, wall_s, 1.0, prompt_tokens, 1, 0, 0, 1, 0, 0.0, True)


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
        "costs": vars(measured_loads._fit(ROWS)),
        "costs_with_pairs": vars(measured_loads._fit(ROWS, pairs=True)),
        "changes": [],
        "change_s": 0.004,
        "reference_s": 1.0,
        "drift": 0.0,
        "refused": [],
    }


def test_steps_that_change_are_told_by_their_tokens() -> None:
    steps = [step(n) for n in (5, 5, 7, 7, 5)]
    steps.append(replace(steps[0], prompt_tokens=2, decoding=3))
    assert changed_steps(steps).tolist() == [True, False, True, False, True, False]


def test_changes_are_measured_in_turns() -> None:
    """Steps of an engine that says how long a change takes, prompts and decoding alike."""

    class Known:
        settings, takes_two, before = Settings(), True, -1

        def timed(self, prompt_tokens: int, decoding: int = 0) -> Step:
            longer = 0.004 if prompt_tokens + decoding != self.before else 0.0
            self.before = prompt_tokens + decoding
            return replace(step(prompt_tokens), wall_s=0.01 + longer, decoding=decoding)

        def prompt_step(self, *prompt_tokens: int) -> Step:
            return self.timed(sum(prompt_tokens))

        def fewer_steps(self, sequences: int, pairs: int) -> list[tuple[Step, Step]]:
            left = range(sequences - 1, sequences - 1 - pairs, -1)
            return [(self.timed(0, n), self.timed(0, n)) for n in left]

    engine: Any = Known()
    rows = change_rows(engine, rounds=2)
    kinds = {(row["kind"], row["tokens"]): row for row in rows}
    assert kinds["split", 64]["longer_s"] == 0
    assert all(
        row["longer_s"] == pytest.approx(0.004) for kind, row in kinds.items() if kind[0] != "split"
    )
    assert [row["pairs"] for row in rows] == [4, 4, 4, 2, 16, 8]
    assert change_s(rows) == pytest.approx(0.004)
    engine.takes_two = False
    assert "split" not in {row["kind"] for row in change_rows(engine, rounds=1)}
    engine.settings = Settings(max_sequences=12)
    assert len(change_rows(engine, rounds=1)) == 5
    engine.settings = Settings(max_sequences=11)
    with pytest.raises(ValueError, match="bench must be with places for 12 sequences, got 11"):
        change_rows(engine)


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


class Told:
    """An engine whose runs take what a record says, and whose reference step is always the same."""

    settings, takes_two = Settings(context_tokens=512), False

    def decode_steps(self, sequences: int, context: int, steps: int) -> list[Step]:
        return [replace(step(0), decoding=sequences, context_tokens=context)] * steps

    def run_load(self, workload: Workload) -> LoadRun:
        token_s = [
            (due + 0.1 * np.arange(1, tokens + 1)).tolist()
            for due, tokens in zip(workload.arrival_s, workload.output_tokens, strict=True)
        ]
        return LoadRun(workload, token_s, [step(3), step(5)])


def test_runs_that_do_not_count_are_repeated_and_then_given_up(
    calibration: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = Told()
    monkeypatch.setattr(measured_loads, "LOADS", (0.1,))
    reasons = iter(["busy", "", *["busy"] * 8])
    monkeypatch.setattr(measured_loads, "refusal", lambda *_: next(reasons))
    found = measured_loads.measured_loads(engine, calibration, 1, 2.0)
    assert (len(found["runs"]), found["refused"]) == (1, ["busy"])
    with pytest.raises(NotQuiet, match="8 runs were refused, the last because busy"):
        measured_loads.measured_loads(engine, calibration, 1, 2.0)
    assert refusal(1.0, 1.0, 1.0, [step(wall_s=1.06)]).startswith("steps took 1.06")


def test_what_is_at_a_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_loads, "DRIFT", 0.125)
    monkeypatch.setattr(measured_loads, "WALL_OVER_CPU", 1.25)
    assert not refusal(1.125, 0.875, 1.0, [step(wall_s=1.25)])
    assert refusal(1.126, 1.0, 1.0, []).endswith("took 1.13 times as long before the run")
    assert refusal(1.0, 0.874, 1.0, []).endswith("took 0.87 times as long after the run")


def test_a_run_is_told_beside_its_prediction(calibration: dict[str, Any]) -> None:
    engine: Any = Told()
    workload = Workload([0.0, 1.0], [4, 8], [3, 5])
    run, refused = measured_run(engine, workload, calibration)
    assert refused == []
    assert run["measured"] == {
        "ttft_s": pytest.approx([0.1, 0.1]),
        "tpot_s": pytest.approx([0.1] * 2),
    }
    assert (run["requests"], run["tokens"], run["asked_tokens"]) == (2, 8, 8)
    assert (run["steps"], run["changed_steps"], run["inexact_steps"]) == (2, 2, 0)
    assert run["predicted"] == predictions(workload, calibration, engine.settings)
    squared = run["steps_s"]["prompts"]
    assert run["steps_s"]["changes"] == pytest.approx(squared + 2 * 0.004)


def test_a_calibration_counts_when_its_grid_came_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each grid is slower than the one before by a number of percent; two within a tenth count."""
    slower = iter([1.0, 1.2, 1.0, 1.05])

    def grid(_: Any) -> list[dict[str, Any]]:
        factor = next(slower)
        return [row | {"step_s": factor * row["step_s"]} for row in ROWS]

    monkeypatch.setattr(measured_loads, "_rows", grid)
    monkeypatch.setattr(
        measured_loads, "change_rows", lambda _: [{"kind": "decode", "longer_s": 0.002}]
    )
    engine: Any = Told()
    found = calibrate(engine)
    assert found["refused"] == pytest.approx([0.2])
    assert found["drift"] == pytest.approx(0.05)
    assert (len(found["rows"]), found["change_s"], found["reference_s"]) == (10, 0.002, 1.0)
    slower = iter([1.0, 1.05])
    monkeypatch.setattr(measured_loads, "DRIFT", found["drift"])
    assert not calibrate(engine)["refused"]
    slower = iter([1.0, 1.2] * 8)
    with pytest.raises(NotQuiet, match=r"the grid, measured twice, differed by 0\.20, 0\.20"):
        calibrate(engine)


def test_the_grid_asks_for_each_kind() -> None:
    asked: list[tuple[Any, ...]] = []

    class Asked(Told):
        def decode_steps(self, *kind: int) -> list[Step]:
            asked.append(("decode", *kind))
            return [step(0)]

        def prompt_step(self, *kind: int) -> Step:
            asked.append(("prompt", *kind))
            return step(1)

        def beside(self, *kind: int) -> list[Step]:
            asked.append(("beside", *kind))
            return [step(2)]

    engine: Any = Asked()
    assert len(measured_loads._rows(engine)) == 17 + 7 + 9
    assert asked == [
        *(("decode", n, context, 12) for n in (1, 2, 4, 8, 16) for context in (32, 128, 512)),
        *(("decode", 32, context, 12) for context in (32, 128)),
        *(("prompt", size) for size in (8, 16, 32, 64, 128, 256, 512) for _ in range(5)),
        *(("beside", n, size, 5) for n in (2, 8, 16) for size in (32, 128, 384)),
    ]


def test_an_engine_is_that_of_its_calibration(calibration: dict[str, Any]) -> None:
    whole = engine_of(calibration, Settings(kv_blocks=70, context_tokens=512))
    assert (whole.kv_blocks, whole.max_sequences, whole.token_budget) == (70, 32, 512)
    costs = calibration["costs_with_pairs"]
    told = whole.elapsed_s(2, 5, 3, 100, whole.table.change if whole.table else 0)
    known = (costs[name] for name in ("step_s", "prompt_token_s", "decode_token_s"))
    step, prompt, decode = known
    context = 100 * costs["context_token_s"]
    assert told == pytest.approx(2 * step + 5 * prompt + 3 * decode + context + 0.004)


def test_a_record_says_its_conditions() -> None:
    told = conditions(Settings(kv_blocks=70), 3, 2.5)
    assert told["settings"]["kv_blocks"] == 70
    assert told["settings"]["block_tokens"] == 32
    assert (told["asked"]["repeats"], told["asked"]["run_s"]) == (3, 2.5)
    rules = {"drift": 0.1, "reference_rounds": 5, "wall_over_cpu": 1.05, "attempts": 8}
    assert told["rules"] == rules


def test_the_reference_step_is_the_mean_of_its_rounds() -> None:
    """Of a machine that is half as fast in every other round."""

    class Restless:
        asked: ClassVar[list[tuple[int, int, int]]] = []

        def decode_steps(self, *asked: int) -> list[Step]:
            self.asked.append(asked)
            wall_s = 0.02 if len(self.asked) % 2 else 0.04
            return [Step(0.0, wall_s, wall_s, 0, 0, 8, 300, 8, 0, 0.1, True)] * 3

    found = measured_loads._reference_s(Restless())  # type: ignore[arg-type]
    assert found == pytest.approx((3 * 0.02 + 2 * 0.04) / 5)
    assert Restless.asked == [(8, 32, 25)] * 5


def test_a_row_is_of_one_kind() -> None:
    with pytest.raises(ValueError, match="steps must be of one kind"):
        row_of([step(1), step(2)])
