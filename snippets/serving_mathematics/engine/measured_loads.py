"""What any engine that tells its steps is asked: what they cost, and what requests get under load.

First steps are timed over a grid of batch, context and prompt, and the costs are fitted; then in
turns, for what a step costs that has another number of tokens than the one before. From these alone
the simulator predicts each run. Then the same arrivals and lengths come to the engine in real
time, open loop: a request is due when it is due, whether or not the last one was answered.

What counts was measured on a quiet machine, by rules that are constants here. The calibration
counts if its grid, measured twice, gave the same times; a run, if a reference step took as long
before and after it as at the calibration, and its steps hardly longer by the clock than of the
processor. What does not count is repeated, and why is in the record.

Assumes: one thread computes; prompts of random tokens take as long as texts.

Source: measurement; the handbook's `step_costs` and `load_prediction`.
"""

# In one piece: one protocol: what is timed, what it must pass to count and what is predicted from
# it, in the order in which it runs.

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    Served,
    Workload,
    latencies_s,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.batching.step_costs import StepCosts, fit_costs
from serving_mathematics.engine.load_prediction import (
    MEAN_OUTPUT,
    MEAN_PROMPT,
    QUANTILES,
    latency_quantiles,
    poisson_load,
)
from serving_mathematics.engine.token_engine import BLOCK_TOKENS, Settings, Step
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_positive, require_positive_integer

LOADS = (0.3, 0.5, 0.7, 0.85, 0.95)  # of the rate at which all places are always taken
DRIFT = 0.1  # of the reference step from the calibration; of the grid from its repetition
REFERENCE_ROUNDS = 5  # of 25 steps
WALL_OVER_CPU = 1.05  # of a run's steps together
ATTEMPTS = 8  # at the calibration, and at a run, before the whole is given up

FloatArray = npt.NDArray[np.float64]


class NotQuiet(RuntimeError):
    """The machine was too busy for a measurement that counts."""


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


class Steps(Protocol):
    """An engine that can be asked for steps of a kind, and for a load; requests have random tokens.

    settings: what it holds. takes_two: whether two prompts can be given for one step.
    """

    settings: Settings
    takes_two: bool

    def decode_steps(self, _sequences: int, _context: int, _steps: int, /) -> list[Step]:
        """Steps in which so many sequences decode, after prompts of so many tokens."""

    def prompt_step(self, *_prompt_tokens: int) -> Step:
        """The step of prompts with nothing beside them."""

    def beside(self, _sequences: int, _prompt_tokens: int, _steps: int, /) -> list[Step]:
        """Steps that hold a whole prompt while so many sequences decode."""

    def fewer_steps(self, _sequences: int, _pairs: int, /) -> list[tuple[Step, Step]]:
        """Of sequences that decode and end one after the other: the first step with fewer, and the
        next, with as many."""

    def run_load(self, _workload: Workload, /) -> LoadRun:
        """Serve a workload in real time, open loop."""


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


def _rows(bench: Steps) -> list[dict[str, Any]]:
    """Steps over the grid: decoding alone, prompts alone, and prompts beside decoding."""
    rows = []
    for sequences in (1, 2, 4, 8, 16, 32):
        for context in (32, 128, 512) if sequences < 32 else (32, 128):
            rows.append(row_of(bench.decode_steps(sequences, context, 12)))
    for size in (8, 16, 32, 64, 128, 256, 512):
        rows.append(row_of([bench.prompt_step(size) for _ in range(5)]))
    for sequences, size in itertools.product((2, 8, 16), (32, 128, 384)):
        rows.append(row_of(bench.beside(sequences, size, 5)))
    return rows


def _fit(rows: Sequence[dict[str, Any]], pairs: bool = False) -> StepCosts:
    names = ("prompt_tokens", "decoding", "context_tokens", *["prompt_pairs"] * pairs)
    return fit_costs([[row[name] for name in names] for row in rows], [r["step_s"] for r in rows])


def change_rows(bench: Steps, rounds: int = 8) -> list[dict[str, Any]]:
    """Steps in turns: with another number of tokens than the step before, and then with the same.

    bench: with places for 12 sequences. rounds: of each kind, at least 1; one more goes first and
    does not count, since it meets numbers of tokens that the engine has not seen. Prompts alone,
    sequences that decode and become fewer, prompts of lengths that are `new` to the engine, and,
    where two prompts can be given for one step, two after one with as many tokens, `split`, which
    changes nothing. Raises ValueError on fewer places or rounds.

    >>> change_rows(None, rounds=0)
    Traceback (most recent call last):
    ...
    ValueError: rounds must be a positive integer, got 0
    """
    rounds = require_positive_integer(rounds=rounds)
    most = bench.settings.max_sequences
    require(most >= 12, "bench", "with places for 12 sequences", most)

    def twice(*prompt_tokens: int) -> tuple[Step, Step]:
        return bench.prompt_step(*prompt_tokens), bench.prompt_step(*prompt_tokens)

    found: dict[tuple[str, int], list[tuple[Step, Step]]] = {}
    for turn in range(rounds + 1):
        for size in (24, 64, 160):
            pairs = [twice(size), twice(size + 1)]
            found.setdefault(("prompt", size), []).extend(pairs if turn else [])
        if bench.takes_two:
            bench.prompt_step(64)
            pairs = [twice(32, 32)]
            found.setdefault(("split", 64), []).extend(pairs if turn else [])
        pairs = bench.fewer_steps(12, 8)
        found.setdefault(("decode", 12), []).extend(pairs if turn else [])
    found["new", 201] = [twice(size) for size in range(201, 217, 2)]
    rows = []
    for (kind, tokens), pairs in found.items():
        changed_s, same_s = np.array([[step.wall_s for step in pair] for pair in pairs]).T
        rows.append(
            {
                "kind": kind,
                "tokens": tokens,
                "changed_s": float(np.median(changed_s)),
                "same_s": float(np.median(same_s)),
                "longer_s": float(np.median(changed_s - same_s)),
                "pairs": len(pairs),
            }
        )
    return rows


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


def _reference_s(bench: Steps) -> float:
    """The step by which the machine is judged: eight sequences after prompts of 32 tokens, for so
    many rounds that a machine whose speed comes and goes within seconds shows its mean."""
    rounds = [row_of(bench.decode_steps(8, 32, 25))["step_s"] for _ in range(REFERENCE_ROUNDS)]
    return float(np.mean(rounds))


def refusal(before_s: float, after_s: float, calibrated_s: float, steps: Sequence[Step]) -> str:
    """Why a run does not count; empty when it does.

    before_s, after_s, calibrated_s: the reference step [s] before and after the run and at the
    calibration. steps: of the run. Raises ValueError unless the times are positive and finite.

    >>> refusal(0.010, 0.0104, 0.010, [Step(0.0, 1.0, 0.99, 1, 1, 0, 0, 1, 0, 0.0, True)])
    ''
    >>> refusal(0.010, 0.0112, 0.010, [])
    'the reference step took 1.12 times as long after the run'
    """
    before_s, after_s, calibrated_s = require_positive(
        before_s=before_s, after_s=after_s, calibrated_s=calibrated_s
    )
    for when, step_s in (("before", before_s), ("after", after_s)):
        ratio = step_s / calibrated_s
        if abs(ratio - 1) > DRIFT:
            return f"the reference step took {ratio:.2f} times as long {when} the run"
    ratio = sum(step.wall_s for step in steps) / sum(step.cpu_s for step in steps)
    if ratio > WALL_OVER_CPU:
        return f"steps took {ratio:.2f} times as long as the processor worked on them"
    return ""


def calibrate(bench: Steps) -> dict[str, Any]:
    """The grid, twice, until both agree; the fits to all of it, what changes cost, and the
    reference step.

    bench: with places for 32 sequences. Raises ValueError on fewer, and NotQuiet after too many
    grids that do not agree.

    >>> class Small:
    ...     settings = Settings(max_sequences=16)
    >>> calibrate(Small())
    Traceback (most recent call last):
    ...
    ValueError: bench must be with places for 32 sequences, got 16
    """
    most = bench.settings.max_sequences
    require(most >= 32, "bench", "with places for 32 sequences", most)
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
                "reference_s": _reference_s(bench),
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
    whole = engine_of(calibration, settings)
    served = {
        "costs": simulate(workload, engine_of(without, settings, "costs")),
        "prompts": simulate(workload, engine_of(without, settings)),
        "changes": simulate(workload, whole),
        "stretched": simulate_steps(workload, whole, stretch=_stretch(calibration["rows"])),
    }
    return {name: latency_quantiles(workload, one) for name, one in served.items()}


def engine_of(
    calibration: dict[str, Any], settings: Settings, costs: str = "costs_with_pairs"
) -> Engine:
    """The engine of the simulators that a calibration describes.

    calibration, settings: as for `predictions`. costs: which of the fits.

    >>> costs = {"step_s": 1.0, "prompt_token_s": 0.0, "decode_token_s": 0.5,
    ...          "context_token_s": 0.0, "median_error": 0.0, "largest_error": 0.0}
    >>> told = {"costs_with_pairs": costs, "change_s": 0.5}
    >>> engine_of(told, Settings()).elapsed_s(1, 0, 3, 30)
    2.5
    """
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


def measured_run(
    bench: Steps, workload: Workload, calibration: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What was predicted of a run and what the first that counts gave, and why others did not
    count.

    bench: the engine. workload: the requests. calibration: as `calibrate` gives it. Raises
    ValueError unless its reference step is positive, and NotQuiet after too many runs.

    >>> measured_run(None, Workload([0.0], [4], [3]), {"reference_s": 0.0})
    Traceback (most recent call last):
    ...
    ValueError: reference_s must be positive and finite, got 0.0
    """
    require_positive(reference_s=calibration["reference_s"])
    predicted = predictions(workload, calibration, bench.settings)
    refused: list[str] = []
    while len(refused) < ATTEMPTS:
        before_s = _reference_s(bench)
        run = bench.run_load(workload)
        why = refusal(before_s, _reference_s(bench), calibration["reference_s"], run.steps)
        if not why:
            return {"predicted": predicted} | _told(run, calibration), refused
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


def measured_loads(
    bench: Steps, calibration: dict[str, Any], repeats: int, run_s: float
) -> dict[str, Any]:
    """The runs at five loads: each predicted from the calibration alone, then measured.

    repeats: of each load, positive. run_s: how long requests come [s], positive. Raises ValueError
    on others, and NotQuiet as `measured_run` does.

    >>> measured_loads(None, {}, repeats=0, run_s=1.0)
    Traceback (most recent call last):
    ...
    ValueError: repeats must be a positive integer, got 0
    """
    repeats = require_positive_integer(repeats=repeats)
    run_s = require_positive(run_s=run_s)
    limits, engine = bench.settings, engine_of(calibration, bench.settings)
    sample = poisson_load(1.0, 99, 20_000.0, limits.context_tokens)
    most = saturated_rate(sample.prompt_tokens, sample.output_tokens, engine)
    rates = [float(f"{load * most:.2g}") for load in LOADS]
    runs, refused = [], []
    for seed, rate in itertools.product(range(repeats), rates):
        workload = poisson_load(rate, seed, run_s, limits.context_tokens)
        run, why = measured_run(bench, workload, calibration)
        refused += why
        runs.append({"rate": rate, "seed": seed} | run)
        told = {name: run[name] for name in ("requests", "measured", "steps_s")}
        print({"rate": rate} | told, file=sys.stderr, flush=True)
    return {"saturated_rate": most, "rates": rates, "runs": runs, "refused": refused}


def conditions(settings: Settings, repeats: int, run_s: float) -> dict[str, Any]:
    """What a record says of its rules, its engine and its loads.

    settings: of the engine. repeats, run_s: as for `measured_loads`, which refuses what is none.

    >>> conditions(Settings(), 3, 2.0)["asked"]["repeats"]
    3
    """
    repeats = require_positive_integer(repeats=repeats)
    run_s = require_positive(run_s=run_s)
    return {
        "rules": {
            "drift": DRIFT,
            "reference_rounds": REFERENCE_ROUNDS,
            "wall_over_cpu": WALL_OVER_CPU,
            "attempts": ATTEMPTS,
        },
        "settings": asdict(settings) | {"block_tokens": BLOCK_TOKENS},
        "asked": {
            "mean_prompt_tokens": MEAN_PROMPT,
            "mean_output_tokens": MEAN_OUTPUT,
            "repeats": repeats,
            "run_s": run_s,
            "quantiles": QUANTILES,
        },
    }


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
