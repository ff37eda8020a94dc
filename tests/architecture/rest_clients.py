"""The real REST server inside a test, clients that send what a client should not, and what tests of
other servers share with them: a model behind a gate, and limits on waiting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import numpy as np
import uvicorn
from serving_mathematics.core.servers.rest_server import Limits, create_app, listen, server_config

from builder import ROOT

INFER = "/v2/models/digits/infer"
JSON = {"content-type": "application/json"}


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, and fail instead of hanging."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)


class Gate:
    """A model that waits until it is opened, notes what it was given, and adds up rows."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.open, self.seen = threading.Event(), Counter[str]()
        if is_open:
            self.open.set()

    def __call__(self, pixels: Any) -> Any:
        self.seen["calls"] += 1
        assert self.open.wait(120)
        return np.repeat(pixels.sum(axis=1, keepdims=True), 10, axis=1)


class Running:
    """A server in this process: its port, counts and the server itself."""

    def __init__(self, port: int, counts: Counter[str], server: uvicorn.Server) -> None:
        self.port, self.counts, self.server = port, counts, server
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120)

    async def infer(self, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(INFER, content=content, headers=JSON | headers)


@contextlib.asynccontextmanager
async def running(model: Any, limits: Limits | None = None) -> AsyncIterator[Running]:
    counts = Counter[str]()
    listener = listen()
    app = create_app(model, limits, counts)
    server = uvicorn.Server(server_config(app, limits, app.state.count))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    found = Running(listener.getsockname()[1], counts, server)
    try:
        await until(lambda: server.started)
        yield found
    finally:
        await found.client.aclose()
        server.should_exit = True
        await serving
        listener.close()
    assert counts["accepted"] == counts["done"]
    assert counts["done"] == counts["answered"] + counts["failed"] + counts["expired"]


def tensor(rows: int = 1, **change: Any) -> dict[str, Any]:
    data = np.full(64 * rows, 0.5).tolist()
    good = {"name": "pixels", "datatype": "FP32", "shape": [rows, 64], "data": data}
    return {"inputs": [good | change]}


async def exchange(port: int, data: bytes, *, eof: bool = False) -> bytes:
    """Send bytes on a connection of their own and read until the server closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
            if eof:
                writer.write_eof()
            return await reader.read()
        return b"reset"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(length: int | str, *more: str) -> bytes:
    lines = (f"POST {INFER} HTTP/1.1", "Host: x", "Content-Type: application/json", *more)
    size = (f"Content-Length: {length}",) if length != "" else ()
    return "\r\n".join((*lines, *size, "", "")).encode()


def sized(size: int, *more: str) -> bytes:
    """A whole head of this many bytes."""
    lines = "\r\n".join(("GET /v2/health/live HTTP/1.1", "Host: x", *more, "A: ")).encode()
    return lines.ljust(size - 4, b"b") + b"\r\n\r\n"


def serves_until_sigterm(module: str, ask: Callable[[int], None]) -> None:
    """A module that serves as a command answers one request and ends with status 0.

    ask: sends it to a port and asserts what comes back."""
    command = [sys.executable, "-m", f"serving_mathematics.{module}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        ask(int(process.stdout.readline()))
        process.send_signal(signal.SIGTERM)
        counts = json.loads(process.communicate(timeout=120)[0])
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert counts == {"accepted": 1, "done": 1, "answered": 1}
