"""An open loop: requests that are sent when they are due, whether earlier ones were answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Answer:
    """What became of one request: status (0 when no answer came), seconds from when it was due,
    Retry-After, body."""

    status: int
    seconds: float
    retry_after: bool
    body: bytes


async def drive(
    port: int,
    due_s: npt.ArrayLike,
    service_s: npt.ArrayLike,
    deadline_s: float | None = None,
    patience_s: float = 10.0,
) -> list[Answer]:
    """Send requests to a server on loopback when they are due, wait for all answers, and say what
    became of each.

    port: of a server that runs `busy`. due_s: times from now [s], sorted, shape (n,). service_s:
    how long each shall take [s], shape (n,). deadline_s: told to the server in X-Timeout-Ms when
    given [s]. patience_s: after which an answer counts as lost [s].
    """
    due, service = np.asarray(due_s), np.asarray(service_s)
    loop = asyncio.get_running_loop()
    start = loop.time()
    timeout = "" if deadline_s is None else f"X-Timeout-Ms: {1000 * deadline_s:.0f}\r\n"

    async def one(due: float, service: float) -> Answer:
        await asyncio.sleep(start + due - loop.time())
        body = f"{1e6 * service:.0f}"
        head = f"POST / HTTP/1.1\r\nHost: loopback\r\nContent-Length: {len(body)}\r\n{timeout}\r\n"
        try:
            async with asyncio.timeout(patience_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write((head + body).encode())
                    answer = await reader.read()
                finally:
                    writer.close()
                    await writer.wait_closed()
            fields, _, content = answer.partition(b"\r\n\r\n")
            status = int(fields.split(b" ")[1])
        except (OSError, ValueError, IndexError):
            return Answer(0, loop.time() - start - due, False, b"")
        return Answer(status, loop.time() - start - due, b"\r\nRetry-After: " in fields, content)

    pairs = zip(due.tolist(), service.tolist(), strict=True)
    return list(await asyncio.gather(*(one(*pair) for pair in pairs)))
