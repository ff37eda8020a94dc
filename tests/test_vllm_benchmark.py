"""What measures vLLM, without vLLM: how steps are counted, how weights are read, and the client
against a server that answers as vLLM does and logs its steps.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.engine.measured_loads import change_rows
from serving_mathematics.engine.token_engine import Settings

from benchmarks import vllm_engine, vllm_environment
from benchmarks.processes import BenchmarkError
from benchmarks.vllm_engine import ServedBench, common, same_answers
from benchmarks.vllm_environment import Server, flags
from benchmarks.vllm_model import ANSWERS
from benchmarks.vllm_steps import counts, joined


def scheduled(new: dict[str, int], cached: dict[str, int], sizes: dict[str, int]) -> Any:
    """A SchedulerOutput: tokens that are computed, of new requests and of others; what comes."""
    return SimpleNamespace(
        scheduled_new_reqs=[
            SimpleNamespace(req_id=name, num_computed_tokens=done) for name, done in new.items()
        ],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[*cached], num_computed_tokens=[*cached.values()], resumed_req_ids=set()
        ),
        num_scheduled_tokens=sizes,
        preempted_req_ids=None,
    )


def test_tokens_of_a_step_by_hand() -> None:
    """One decodes after 9 and 10 tokens each, one has the last 3 of 8 prompt tokens, a new one the
    first 2 of 6, and a new one 4 of 68 because 64 are in the cache."""
    prompts = {"a": 9, "b": 6, "c": 8, "d": 6, "e": 68}
    step = scheduled(
        {"d": 0, "e": 64}, {"a": 9, "b": 9, "c": 5}, {"a": 1, "b": 1, "c": 3, "d": 2, "e": 4}
    )
    told = counts(step, prompts.__getitem__)
    pairs = (6 + 7 + 8) + (1 + 2) + (65 + 66 + 67 + 68)
    assert told == {
        "prompt_tokens": 3 + 2 + 4,
        "prompt_pairs": pairs,
        "decoding": 2,
        "context_tokens": 10 + 10,
        "exact": True,
    }
    step.scheduled_cached_reqs.resumed_req_ids = {"c"}
    assert not counts(step, prompts.__getitem__)["exact"]
    step.scheduled_cached_reqs.resumed_req_ids, step.preempted_req_ids = set(), {"z"}
    assert not counts(step, prompts.__getitem__)["exact"]


def test_what_a_worker_waited_is_taken_off_its_step() -> None:
    lines = [
        {"worked_s": 1.0, "cpu_s": 0.75},
        {"worked_s": 0.25, "cpu_s": 0.3},  # clocks differ by less than nothing
        {"wall_s": 2.0, "decoding": 1},
        {"worked_s": 0.5, "cpu_s": 0.5},
        {"wall_s": 1.0, "decoding": 2},
    ]
    steps = list(joined(json.dumps(line).encode() for line in lines))
    assert [step["cpu_s"] for step in steps] == [1.75, 1.0]
    assert [step["decoding"] for step in steps] == [1, 2]


def test_options_say_what_the_settings_say() -> None:
    options = flags(Settings(max_sequences=7, token_budget=99, kv_blocks=50, context_tokens=300))
    told = dict(itertools.pairwise(options))
    assert (told["--max-num-seqs"], told["--max-num-batched-tokens"]) == ("7", "99")
    assert (told["--num-gpu-blocks-override"], told["--max-model-len"]) == ("51", "300")
    assert "--no-enable-prefix-caching" in options
    assert "--enable-prefix-caching" in flags(Settings(prefix_caching=True))


class Served:
    """Answers completions as vLLM does, with steps of 2 ms that share a budget, and logs these.

    Until as many requests have come as a test expects, each gets its first token and no more: they
    are inside together, however long the next one takes to come.
    """

    def __init__(self, steps: Path) -> None:
        self.steps, self.port, self.short = steps, 0, False
        self.requests: list[dict[str, Any]] = []
        self.expected = 0
        self.seen: set[tuple[int, ...]] = set()
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.serve(),))
        self.thread.start()
        self.ready.wait()

    async def serve(self) -> None:
        self.over = asyncio.Event()
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        async with server:
            while not self.over.is_set():
                self.step()
                await asyncio.sleep(0.002)

    def step(self) -> None:
        left, todo = 512, [r for r in self.requests if r["left"]]
        if len(self.requests) < self.expected and not any(r["new"] for r in todo):
            return
        told = {"prompt_tokens": 0, "prompt_pairs": 0, "decoding": 0, "context_tokens": 0}
        due = [request for request in todo if not request["prompt"]]
        told["decoding"] = len(due)
        left -= len(due)
        for request in [request for request in todo if request["prompt"]]:
            size = min(left, request["prompt"])
            request["prompt"] -= size
            left -= size
            told["prompt_tokens"] += size
            due += [request] * (not request["prompt"])
        if not todo:
            return
        began = time.perf_counter()
        more = {"running": len(todo), "waiting": 0, "cache_share": 0.0, "exact": True}
        with self.steps.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"worked_s": 0.002, "cpu_s": 0.002}) + "\n")
            line = {"started_s": began, "wall_s": 0.002} | told | more
            log.write(json.dumps(line) + "\n")
        for request in due:
            request["left"], request["new"] = request["left"] - 1, False
            request["tokens"].put_nowait(len(request["asked"]) + request["left"])

    async def answer(self, reader: Any, writer: Any) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        asked = json.loads(await reader.readexactly(size))
        prompt, count = asked["prompt"], asked["max_tokens"]
        whole = 32 * ((len(prompt) - 1) // 32)
        computed = len(prompt) - (whole if tuple(prompt) in self.seen else 0)
        self.seen.add(tuple(prompt))
        tokens: asyncio.Queue[int] = asyncio.Queue()
        asks = {"asked": prompt, "prompt": computed, "left": count, "new": True, "tokens": tokens}
        self.requests.append(asks)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(count - self.short):
            told = {"choices": [{"token_ids": [await tokens.get()], "text": ""}]}
            data = b"data: " + json.dumps(told).encode() + b"\n\n"
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        writer.close()

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    steps = tmp_path / "steps.jsonl"
    steps.write_text("", encoding="utf-8")
    running = Served(steps)
    yield running
    running.close()


@pytest.fixture
def bench(server: Served) -> ServedBench:
    made = Server(server.port, Path("model"), server.steps, [], {0})
    return ServedBench(made, Settings(prefix_caching=True))


def test_steps_of_each_kind_are_found_in_the_log(server: Served, bench: ServedBench) -> None:
    server.expected = 4
    taken = bench.decode_steps(4, 40, 6)
    assert [(s.prompt_tokens, s.decoding, s.wall_s) for s in taken] == [(0, 4, 0.002)] * 6
    assert (bench.prompt_step(33).prompt_tokens, bench.prompt_step(33).decoding) == (33, 0)
    server.expected = len(server.requests) + 3 + 2
    assert {(s.prompt_tokens, s.decoding) for s in bench.beside(3, 50, 2)} == {(50, 3)}
    server.expected = len(server.requests) + 6
    pairs = bench.fewer_steps(6, 3)
    assert pairs
    assert all(first.decoding == second.decoding < 6 for first, second in pairs)
    with pytest.raises(BenchmarkError, match="no step held 20 prompt tokens and 99 others"):
        bench._taken(lambda: bench.ask([7], 1), 20, 99)


def test_changes_are_asked_of_a_server(bench: ServedBench) -> None:
    kinds = [row["kind"] for row in change_rows(bench, rounds=1)]
    assert kinds == ["prompt", "prompt", "prompt", "decode", "new"]


def test_a_load_comes_when_it_is_due_and_gets_its_tokens(bench: ServedBench) -> None:
    workload = Workload([0.0, 0.05, 0.05, 0.4], [40, 7, 600, 3], [5, 1, 3, 20])
    began = time.perf_counter()
    run = bench.run_load(workload)
    took_s = time.perf_counter() - began
    assert [len(times) for times in run.token_s] == [5, 1, 3, 20]
    ttft, _ = run.latencies_s()
    assert (ttft > 0).all()
    assert 0.4 < run.token_s[3][0] < run.token_s[3][-1] < took_s
    assert sum(step.prompt_tokens for step in run.steps) == 650
    assert not bench.new_steps()


def test_an_answer_that_ends_early_is_an_error(server: Served, bench: ServedBench) -> None:
    server.short = True
    with pytest.raises(BenchmarkError, match="3 of 4 tokens came"):
        asyncio.run(bench.ask([1, 2], 4))


def test_other_weights_are_an_error(
    bench: ServedBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers with the length of the prompt and what is left: 2 + 3, 2 + 2, …"""
    monkeypatch.setattr(vllm_engine, "ANSWER_TOKENS", 4)
    known = [{"prompt": [7, 8], "tokens": tokens} for tokens in ([5, 4, 9, 2], [0, 4, 3, 2])]
    (tmp_path / ANSWERS).write_text(json.dumps(known), encoding="utf-8")
    assert same_answers(bench, tmp_path) == {"common": [2, 0], "of": 4}
    (tmp_path / ANSWERS).write_text(json.dumps(known[1:]), encoding="utf-8")
    with pytest.raises(BenchmarkError, match="no answer begins as that of the same weights"):
        same_answers(bench, tmp_path)


def test_what_answers_have_in_common() -> None:
    assert common([1, 2, 3, 4], [1, 2, 9, 4]) == 2
    assert common([1], [2]) == 0


def test_one_processor_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_environment.os, "sched_getaffinity", lambda _: {3}, raising=False)
    with (
        pytest.raises(BenchmarkError, match="there is no other"),
        vllm_environment.served(Settings()),
    ):
        pass
