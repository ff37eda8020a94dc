"""Streams of a real server timed by a real client: steady, interrupted by a prefill, and with that
prefill in chunks; a client that leaves, and one that does not read.

The server is a process of its own that sleeps for the gaps it is given; this process asks on
loopback and notes when each token could be used. `python -m
serving_mathematics.architecture.streaming.token_stream_measurement` measures for about 45 s and
writes records/token_stream.json.

Assumes: nothing of the machine; the milliseconds hold for the one that the record names.

Source: measurement. Needs httpx, fastapi, uvicorn and pydantic.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from serving_mathematics.architecture.streaming.event_stream import TokenReader
from serving_mathematics.architecture.streaming.prefill_interference import gaps_during_prefill_s
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, write_record

RECORD = "token_stream"
COMMAND = "python -m serving_mathematics.architecture.streaming.token_stream_measurement"
TTFT_S, STEP_S, TOKENS = 0.5, 0.025, 101  # the stream of the worked numbers
PROMPT_TOKENS, PREFILL_PER_S, CHUNK_TOKENS = 8192, 16_000.0, 1024  # what interrupts it
BEFORE = 40  # tokens before the interruption
ROUNDS, TOGETHER = 3, 4  # streams of each kind: so often, so many at a time
LARGE_BYTES = 65_536  # a token of the stream that nobody reads, so that buffers fill


class Reader(Protocol):
    """Whatever turns bytes into tokens and knows when a stream is whole."""

    def feed(self, _data: bytes, /) -> Iterable[str]:
        """The tokens that are complete with these bytes."""

    def finish(self) -> None:
        """Raise ValueError when the stream was not whole."""


@dataclass(frozen=True)
class TimedStream:
    """What a client saw: status, when each token arrived after sending [s], and what was wrong."""

    status: int
    arrival_s: tuple[float, ...]
    error: str = ""


async def timed_stream(
    http: httpx.AsyncClient, path: str, ask: dict[str, object], reader: Reader
) -> TimedStream:
    """Post a request, read its stream to the end, and time every token; a broken stream keeps what
    had arrived.

    path: of the endpoint below the client's base URL. ask: the body, sent as JSON. reader: fresh,
    for example a TokenReader.
    """
    arrival: list[float] = []
    started = time.perf_counter()
    try:
        async with http.stream("POST", path, json=ask) as response:
            if response.status_code != 200:
                reason = (await response.aread()).decode(errors="replace")
                return TimedStream(response.status_code, (), reason[:200])
            async for chunk in response.aiter_bytes():
                now = time.perf_counter() - started
                arrival += [now for _ in reader.feed(chunk)]
            reader.finish()
    except (httpx.HTTPError, ValueError) as error:
        return TimedStream(200, tuple(arrival), f"{type(error).__name__}: {error}")
    return TimedStream(200, tuple(arrival))


@contextlib.asynccontextmanager
async def _server(gaps_s: list[float], text: str = "word") -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server process with the given gaps, which ends with the block."""
    command = [sys.executable, "-m", "serving_mathematics.architecture.streaming.token_server"]
    options = ["--gaps", json.dumps(gaps_s), "--text", text]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int((process.stdout or sys.stdin).readline())
            base = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, timeout=30, trust_env=False) as http:
                yield http
        finally:
            process.terminate()


async def _counts(http: httpx.AsyncClient) -> dict[str, int]:
    return dict((await http.get("/v1/counts")).json())


async def _kind(name: str, gaps_s: list[float]) -> dict[str, Any]:
    """Streams of one kind: the arrival times of each [ms], and what was asked of the server."""
    runs: list[TimedStream] = []
    async with _server(gaps_s) as http:
        ask: dict[str, object] = {"prompt": "a", "max_tokens": TOKENS}
        await asyncio.gather(*(_counts(http) for _ in range(TOGETHER)))  # opens the connections
        for _ in range(ROUNDS):
            streams = (
                timed_stream(http, "/v1/stream", ask, TokenReader()) for _ in range(TOGETHER)
            )
            runs += await asyncio.gather(*streams)
        counts = await _counts(http)
    return {
        "name": name,
        "gaps_s": gaps_s,
        "streams": len(runs),
        "errors": [run.error for run in runs if run.error],
        "finished": counts["finished"],
        "arrival_ms": [[round(1000 * t, 2) for t in run.arrival_s] for run in runs],
    }


async def _disconnect() -> dict[str, Any]:
    """A client asks for 4096 tokens, one each millisecond, and leaves after ten."""
    async with _server([0.001]) as http:
        ask = {"prompt": "a", "max_tokens": 4096}
        reader, read = TokenReader(), 0
        async with http.stream("POST", "/v1/stream", json=ask) as response:
            async for chunk in response.aiter_bytes():
                read += len(list(reader.feed(chunk)))
                if read >= 10:
                    break
        while (counts := await _counts(http))["inside"]:
            await asyncio.sleep(0.01)
        return {"asked": 4096, "read": read, "generated": counts["tokens"], "gone": counts["gone"]}


async def _unread() -> dict[str, Any]:
    """A client asks for 64 MiB, does not read until the server stands still, and then reads."""
    async with _server([0.0], "x" * LARGE_BYTES) as http:
        reader, read, held = TokenReader(), 0, -1
        async with http.stream(
            "POST", "/v1/stream", json={"prompt": "a", "max_tokens": 1024}
        ) as got:
            while held != (now := (await _counts(http)).get("tokens", 0)) or not now:
                held = now
                await asyncio.sleep(0.3)
            async for chunk in got.aiter_bytes():
                read += len(list(reader.feed(chunk)))
            reader.finish()
        return {"asked": 1024, "token_bytes": LARGE_BYTES, "generated_unread": held, "read": read}


async def _measure() -> dict[str, Any]:
    """Everything, one after the other, and the record of it."""
    whole = gaps_during_prefill_s(STEP_S, PROMPT_TOKENS, PREFILL_PER_S, PROMPT_TOKENS)
    chunked = gaps_during_prefill_s(STEP_S, PROMPT_TOKENS, PREFILL_PER_S, CHUNK_TOKENS)
    before = [TTFT_S] + [STEP_S] * (BEFORE - 1)
    return {
        **provenance(COMMAND, ("fastapi", "uvicorn", "httpx")),
        "asked": {"ttft_s": TTFT_S, "step_s": STEP_S, "tokens": TOKENS, "before": BEFORE},
        "kinds": [
            await _kind("steady", [*before, STEP_S]),
            await _kind("whole prefill", [*before, *whole.tolist(), STEP_S]),
            await _kind("chunked prefill", [*before, *chunked.tolist(), STEP_S]),
        ],
        "disconnect": await _disconnect(),
        "unread": await _unread(),
    }


def check_client_reports_what_was_wrong() -> None:
    """A client that is refused, or gets a stream without an end, says so and keeps what came.

    Source: answers made by hand and handed to the client without a network.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/full":
            return httpx.Response(503, text="full")
        end = b"data: [DONE]\n\n" if request.url.path == "/whole" else b""
        return httpx.Response(200, content=b'data: {"token": "a"}\n\n' * 3 + end)

    async def ask(path: str) -> TimedStream:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://server", trust_env=False
        ) as http:
            return await timed_stream(http, path, {}, TokenReader())

    whole, cut, full = (asyncio.run(ask(path)) for path in ("/whole", "/cut", "/full"))
    checks.equal("tokens of a whole stream", (len(whole.arrival_s), whole.error), (3, ""))
    checks.equal("tokens of one that is cut", len(cut.arrival_s), 3)
    checks.holds("and the reason", "without [DONE] after 3" in cut.error, got=cut.error)
    checks.equal("refused", (full.status, full.error), (503, "full"))


if __name__ == "__main__":
    print(f"wrote {write_record(RECORD, asyncio.run(_measure())).name}")
