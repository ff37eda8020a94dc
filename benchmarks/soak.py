"""Each server of the chapters at five times what it can answer, for minutes: memory, and what is
lost.

Each runs in a process of its own. Its capacity is measured first, by a few clients that ask again
as soon as they are answered; then requests arrive at five times that rate, whether or not earlier
ones are answered. Each must end in an answer or in a refusal with a status; one whose connection
ends without either is lost. Memory is that of the server's processes, after each tenth of the time
or each minute: what they keep on purpose, as an engine keeps kernels for each size of a step, comes
to an end (on a slow machine after more than half an hour, as it takes a step of each size), and
what leaks does not. `make soak MINUTES=10` takes forty minutes; it fails when something is lost,
when memory has grown by more than a tenth in the second half, or when a server's own counts do not
add up.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
from serving_mathematics.core.servers.wire_format import request_protobuf

LOAD = 5.0  # times the capacity
CLIENTS, CAPACITY_S = 8, 5.0  # how the capacity is measured
PATIENCE_S = 150.0  # of a client; longer than any server takes to say no
LOOKS = 10  # at the memory, or one a minute where that is more
GROWTH = 1.1  # of it, in the second half
OUT_AT_ONCE = 200  # requests of this process, below each limit of connections; more are left out

Ask = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Server:
    """A command that prints its port or address, and how to ask it: a status comes out, or lost."""

    command: tuple[str, ...]
    ask: Callable[[int], Ask]


def http(path: str, bodies: Iterator[bytes], kind: str) -> Callable[[int], Ask]:
    """Asks by HTTP/1.1, on a connection for each request."""

    def ask_at(port: int) -> Ask:
        async def ask() -> str:
            body = next(bodies)
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(head.encode() + body)
                answer = await reader.read()
            finally:
                writer.close()
            return answer[9:12].decode() or "lost"

        return ask

    return ask_at


def protobuf(body: bytes) -> Callable[[int], Ask]:
    """Asks by gRPC, on one channel."""

    def ask_at(port: int) -> Ask:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

        async def ask() -> str:
            try:
                await method(body)
            except grpc.aio.AioRpcError as error:
                named = "try later" in (error.details() or "")
                return str(error.code().name) if named else f"lost: {error.details()}"
            return "OK"

        return ask

    return ask_at


def conversations() -> Iterator[bytes]:
    """Prompts of 2 to 300 tokens and answers of up to 32, whole or streamed: the engine keeps
    something for each number of tokens that a step has had, and equal requests have few."""
    rng = np.random.default_rng(2)
    while True:
        words, tokens = "Water is " * int(rng.integers(1, 150)), int(rng.integers(1, 33))
        asked = {"prompt": words, "max_tokens": tokens, "stream": bool(rng.integers(2))}
        yield json.dumps(asked).encode()


def servers() -> dict[str, Server]:
    """The servers: three whose answers take milliseconds, and a language model's."""
    pixels = np.full((64, 64), 0.5)
    tensor = {
        "name": "pixels",
        "datatype": "FP32",
        "shape": [64, 64],
        "data": pixels.ravel().tolist(),
    }
    images = json.dumps({"inputs": [tensor]}).encode()
    module = "serving_mathematics."
    return {
        "rest": Server(
            (f"{module}core.servers.rest_server",),
            http("/v2/models/digits/infer", itertools.repeat(images), "application/json"),
        ),
        "grpc": Server((f"{module}core.servers.grpc_server",), protobuf(request_protobuf(pixels))),
        "engine": Server(
            (f"{module}engine.engine_server", "--port", "0"),
            http("/v1/completions", conversations(), "application/json"),
        ),
    }


def memory_mib(pid: int) -> float:
    """Resident memory of a process and of those that it started [MiB], where /proc tells."""
    place = Path(f"/proc/{pid}")
    pages = int((place / "statm").read_text(encoding="utf-8").split()[1])
    started = [
        int(child)
        for thread in place.glob("task/*/children")
        for child in thread.read_text(encoding="utf-8").split()
    ]
    return pages * 4096 / 2**20 + sum(map(memory_mib, started))


async def asked(ask: Ask, outcomes: Counter[str]) -> None:
    """Ask once, and count how it ended."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            outcomes[await ask()] += 1
    except (OSError, TimeoutError) as problem:
        outcomes[f"lost: {type(problem).__name__}"] += 1


async def capacity(ask: Ask) -> float:
    """Answers a second to clients that ask again at once."""
    outcomes, until = Counter[str](), time.monotonic() + CAPACITY_S

    async def client() -> None:
        while time.monotonic() < until:
            before = outcomes["200"] + outcomes["OK"]
            await asked(ask, outcomes)
            if outcomes["200"] + outcomes["OK"] == before:
                await asyncio.sleep(0.02)  # refused: others are asking

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return (outcomes["200"] + outcomes["OK"]) / CAPACITY_S


async def soaked(name: str, server: Server, seconds: float) -> list[str]:
    """Run a server under the load, print a line, and return what is wrong."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *server.command, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    ask, outcomes, tasks = (
        server.ask(int((await process.stdout.readline()).rpartition(b":")[2])),
        Counter[str](),
        set[asyncio.Task[None]](),
    )
    rate = LOAD * await capacity(ask)
    looks = max(LOOKS, round(seconds / 60))
    rng, began = np.random.default_rng(1), time.monotonic()
    due, memory = began, [memory_mib(process.pid)]
    while due < began + seconds:
        due += rng.exponential(1 / rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(tasks) >= OUT_AT_ONCE:
            outcomes["left out"] += 1
            continue
        task = asyncio.create_task(asked(ask, outcomes))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if time.monotonic() > began + len(memory) * seconds / looks:
            memory.append(memory_mib(process.pid))
    await asyncio.gather(*tasks)
    memory.append(memory_mib(process.pid))
    process.send_signal(signal.SIGTERM)
    told, _ = await process.communicate()
    lost = sum(count for outcome, count in outcomes.items() if outcome.startswith("lost"))
    problems = [f"{name} lost {lost}"] if lost else []
    half, last = memory[len(memory) // 2], memory[-1]
    if last > GROWTH * half:
        problems.append(f"{name} grew from {half:.0f} to {last:.0f} MiB in the second half")
    if process.returncode:
        problems.append(f"{name} ended with {process.returncode}")
    if told.strip():
        counts = Counter(json.loads(told))
        if counts["accepted"] != counts["answered"] + counts["expired"] + counts["failed"]:
            problems.append(f"{name} counted {dict(counts)}")
    print(
        f"{name:8} {rate:7.0f}/s  {' '.join(f'{mib:.0f}' for mib in memory)} MiB  {lost} lost  "
        f"{dict(outcomes)}",
        flush=True,
    )
    return problems


async def main() -> None:
    """Soak one server after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="for each server")
    parser.add_argument("--only", choices=servers(), nargs="+", help="these servers")
    asked_for = parser.parse_args()
    problems: list[str] = []
    for name, server in servers().items():
        if name in (asked_for.only or servers()):
            problems += await soaked(name, server, 60 * asked_for.minutes)
    sys.exit("\n".join(problems) or 0)


if __name__ == "__main__":
    asyncio.run(main())
