"""A small HTTP server that queues a few requests, refuses the rest at once, and finishes what it
accepted.

Every request takes one of five ways out: answered (200), refused for want of room (503) or because
its client already has its share (429), both with Retry-After, expired in the queue (504, the
client's deadline passed before its turn), or refused as malformed (4xx, 501, 505). accepted =
answered + expired + failed holds when the server has stopped.

Assumes: one request per connection; the handler does not block the event loop (compute in a
thread, a process or on a device), because refusing must stay quick while the handler works; bodies
fit in memory.

Source: RFC 9110 for the status codes and Retry-After, RFC 9112 for the framing of messages, RFC
6585 for 429 and 431. Needs the standard library only. `python -m
serving_mathematics.core.servers.bounded_server` serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http
import json
import logging
import math
import re
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Self

from serving_mathematics.support.require import as_number

DISCARD_BYTES = 1 << 20  # of a request that was refused unread, read on so that the answer arrives
DISCARD_S = 1.0  # how long to do that [s]
REFUSING = 64  # connections above the limit that are told why; more are closed without a word
STOPPING = "the server is stopping"
SPARE_FILES = 192  # beside connections: what is being refused, and what accepts 100 at a time

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Refusal(Exception):
    """A request that is answered with an error status instead of being accepted."""

    def __init__(self, status: int, reason: str, headers: tuple[str, ...] = ()) -> None:
        """Status, reason for the body of the answer, and header lines."""
        super().__init__(reason)
        self.status, self.headers = status, headers


@dataclass(frozen=True)
class Limits:
    """What the server holds at most; None for no limit, which is what the measurement compares
    with."""

    places: int | None = 6  # K: requests inside, waiting or in service
    workers: int = 1  # requests in service at a time
    per_client: int | None = None  # requests of one client inside
    connections: int | None = 1000  # open connections
    head_bytes: int = 8192  # request line and header fields
    body_bytes: int = 65536
    read_s: float = 5.0  # for a whole request to arrive
    write_s: float = 5.0  # for an answer to leave


@dataclass(frozen=True)
class Request:
    """A request that was read whole."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes = b""


def parse_head(head: bytes) -> Request:
    """A request without its body from the bytes before the blank line; Refusal when it is not
    well-formed HTTP/1.

    >>> parse_head(b"GET /a HTTP/1.1\\r\\nHost: x").target
    '/a'
    """
    line, *fields = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not words[1] or _BAD_VALUE.search(line):
        raise Refusal(400, "malformed request line")
    if words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        status = 505 if words[2].startswith("HTTP/") else 400
        raise Refusal(status, "only HTTP/1.0 and HTTP/1.1")
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
            raise Refusal(400, "malformed header field")
        name = name.lower()
        if name in headers and name in ("host", "content-length"):
            raise Refusal(400, f"more than one {name}")
        headers.setdefault(name, value.strip(" \t"))
    if words[2] == "HTTP/1.1" and "host" not in headers:
        raise Refusal(400, "no host")
    if "transfer-encoding" in headers:
        raise Refusal(501, "send a content-length instead of a transfer-encoding")
    if words[0] not in ("GET", "POST"):
        raise Refusal(405, "", ("Allow: GET, POST",))
    return Request(words[0], words[1], headers)


def header_number(request: Request, name: str, default: float) -> float:
    """The value of a header field of decimal digits, `default` when it is absent; Refusal when it
    is anything else.

    >>> header_number(Request("GET", "/", {"content-length": "12"}), "content-length", 0)
    12.0
    """
    text = request.headers.get(name)
    if text is None:
        return default
    if not re.fullmatch("[0-9]{1,15}", text):
        raise Refusal(400, f"{name} must be a whole number")
    return float(text)


def response(status: int, body: bytes, headers: tuple[str, ...] = ()) -> bytes:
    """The bytes of an answer that ends its connection.

    >>> response(200, b"ok").split(b"\\r\\n")[0]
    b'HTTP/1.1 200 OK'
    """
    reason = http.HTTPStatus(status).phrase
    lines = (
        f"HTTP/1.1 {status} {reason}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def open_files_for(connections: int) -> None:
    """Make room for so many connections among the files that this process may open.

    connections: at a time. A server that runs out of files accepts nothing, and logs that without
    end. The limit of the process (ulimit -n) is raised as far as the system lets it; ValueError
    where that is too little, and unless connections is positive.

    >>> open_files_for(10)
    """
    connections = as_number(connections=connections)
    try:
        import resource
    except ImportError:  # no such limit on Windows
        return
    if not connections >= 1:
        raise ValueError(f"connections must be positive, got {connections}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + SPARE_FILES
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        most = f"at most {hard - SPARE_FILES}, where this process may open {hard} files"
        raise ValueError(f"connections must be {most}, got {connections}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


@dataclass
class _Accepted:
    request: Request
    client: str
    expires: float  # on the event loop's clock
    answer: asyncio.Future[bytes]


class BoundedServer:
    """Serves a handler on a loopback port with room for few requests: `async with
    BoundedServer(handler) as server`.

    handler: coroutine function from a Request to the body of its answer. limits: see Limits. port:
    0 for any free one. A client may name itself in X-Client (its address otherwise) and say in
    X-Timeout-Ms for how long it will wait. `counts` holds connections, accepted, answered,
    expired, failed, refused, bad, gone and undelivered. A Refusal that the handler raises is the
    answer. Raises ValueError on a port that cannot be, and OSError on one that is taken.
    """

    def __init__(
        self,
        handler: Callable[[Request], Awaitable[bytes]],
        limits: Limits | None = None,
        port: int = 0,
    ) -> None:
        """Nothing is opened before `async with`."""
        self.port, self.counts = port, Counter[str]()
        self._handler, self._limits = handler, limits or Limits()
        self._queue: asyncio.Queue[_Accepted] = asyncio.Queue()
        self._inside = Counter[str]()  # accepted and not yet answered, by client
        self._connections: set[asyncio.Task[None]] = set()
        self._reading: set[asyncio.Task[None]] = set()
        self._draining = False

    async def __aenter__(self) -> Self:
        """Listen; `port` is then the port in use."""
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be in [0, 65535], got {self.port}")
        if self._limits.connections is not None:
            open_files_for(self._limits.connections)
        self._listener = await asyncio.start_server(
            self._connection, "127.0.0.1", self.port, limit=self._limits.head_bytes
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._limits.workers)]
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop gracefully."""
        await self.stop()

    async def stop(self) -> None:
        """Accept nothing more, answer what was accepted, then end."""
        self._draining = True
        self._listener.close()
        while self._connections:
            for task in self._reading:
                task.cancel()
            await asyncio.wait(list(self._connections))
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._listener.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        most = self._limits.connections
        self.counts["connections"] += 1
        if most is not None and len(self._connections) >= most + REFUSING:
            self.counts["refused"] += 1
            writer.transport.abort()
            return
        self._connections.add(task)
        address, *_ = writer.get_extra_info("peername") or ("unknown",)
        whole, answer = False, b""
        try:
            request = await self._read(reader, task)
            whole = True
            answer = await self._admit(request, str(address)).answer
        except Refusal as refusal:
            self.counts["refused" if refusal.status in (429, 503) else "bad"] += 1
            answer = response(refusal.status, f"{refusal}".encode(), refusal.headers)
        except OSError:
            self.counts["gone"] += 1
        finally:
            await self._deliver(answer, reader if answer and not whole else None, writer)
            self._connections.discard(task)

    async def _deliver(
        self, answer: bytes, unread: asyncio.StreamReader | None, writer: asyncio.StreamWriter
    ) -> None:
        """Send an answer and close; read on first where closing would reset the connection under
        the answer."""
        try:
            async with asyncio.timeout(self._limits.write_s):
                writer.write(answer)
                if unread is not None:
                    await _discard(unread, writer)
                writer.close()
                await writer.wait_closed()
        except OSError:  # TimeoutError is one
            self.counts["undelivered"] += bool(answer)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, task: asyncio.Task[None]) -> Request:
        """The next request, read whole; Refusal when there will not be one."""
        most = self._limits.connections
        if self._draining:
            raise self._full(503, STOPPING)
        if most is not None and len(self._connections) > most:
            raise self._full(503, f"{most} connections are open")
        self._reading.add(task)
        try:
            async with asyncio.timeout(self._limits.read_s):
                request = parse_head((await reader.readuntil(b"\r\n\r\n"))[:-4])
                length = header_number(request, "content-length", 0)
                if length > self._limits.body_bytes:
                    raise Refusal(413, f"more than {self._limits.body_bytes} bytes")
                return replace(request, body=await reader.readexactly(int(length)))
        except asyncio.LimitOverrunError:
            raise Refusal(431, f"head of more than {self._limits.head_bytes} bytes") from None
        except asyncio.IncompleteReadError as end:
            if not end.partial and end.expected is None:
                raise ConnectionAbortedError("left without a request") from None
            raise Refusal(400, "the request ended before its end") from None
        except TimeoutError:
            late = f"the request did not arrive in {self._limits.read_s:g} s"
            raise Refusal(408, late) from None
        except asyncio.CancelledError:
            if not self._draining:
                raise
            task.uncancel()
            raise self._full(503, STOPPING) from None
        finally:
            self._reading.discard(task)

    def _admit(self, request: Request, address: str) -> _Accepted:
        """The place of a request in the queue; Refusal when there is none."""
        client = request.headers.get("x-client", address)
        expires = header_number(request, "x-timeout-ms", math.inf) / 1000
        share, places = self._limits.per_client, self._limits.places
        if share is not None and self._inside[client] >= share:
            raise self._full(429, f"{share} requests of yours are inside")
        if self._draining:
            raise self._full(503, STOPPING)
        if places is not None and self._inside.total() >= places:
            raise self._full(503, f"{places} requests are inside")
        loop = asyncio.get_running_loop()
        accepted = _Accepted(request, client, loop.time() + expires, loop.create_future())
        self._inside[client] += 1
        self.counts["accepted"] += 1
        self._queue.put_nowait(accepted)
        return accepted

    def _full(self, status: int, limit: str) -> Refusal:
        """A refusal that names the limit. Its Retry-After takes turns between 1, 2 and 3 s, so that
        the refused do not return together."""
        retry = f"Retry-After: {1 + self.counts['refused'] % 3}"
        return Refusal(status, f"{limit}, try later", (retry,))

    async def _work(self) -> None:
        """Answer one accepted request after the other, oldest first."""
        while True:
            accepted = await self._queue.get()
            outcome, answer = "expired", response(504, b"expired in the queue")
            if asyncio.get_running_loop().time() < accepted.expires:
                try:
                    body = await self._handler(accepted.request)
                    outcome, answer = "answered", response(200, body)
                except Refusal as refusal:
                    outcome = "answered"
                    answer = response(refusal.status, f"{refusal}".encode(), refusal.headers)
                except Exception:
                    logging.getLogger(__name__).exception("%s failed", accepted.request.target)
                    outcome, answer = "failed", response(500, b"failed")
            self.counts[outcome] += 1
            self._inside[accepted.client] -= 1
            if not self._inside[accepted.client]:
                del self._inside[accepted.client]
            if not accepted.answer.done():
                accepted.answer.set_result(answer)


async def _discard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read on for a while after the answer, as far as the client keeps sending."""
    writer.write_eof()
    left = DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while left > 0 and (chunk := await reader.read(1 << 16)):
                left -= len(chunk)


async def busy(request: Request) -> bytes:
    """Stand-in for a device: sleeps in a thread for the microseconds in the body, and returns how
    long it took. Refusal when there are none."""
    if not re.fullmatch(b"[0-9]{1,7}", request.body):
        raise Refusal(400, f"the body must be microseconds, got {request.body[:20]!r}")
    started = time.perf_counter()
    await asyncio.to_thread(time.sleep, int(request.body) / 1e6)
    return f"{1e6 * (time.perf_counter() - started):.0f}".encode()


async def serve(port: int, places: int | None) -> None:
    """Serve `busy` until SIGINT or SIGTERM, finish what was accepted, and print the counts as
    JSON."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    limits = Limits(places=places, connections=None if places is None else 1000)
    async with BoundedServer(busy, limits, port) as server:
        print(server.port, flush=True)
        await stop.wait()
    print(json.dumps(server.counts, sort_keys=True), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Serve on a loopback port with room for few requests."
    )
    parser.add_argument("--port", type=int, default=0, help="0 for any free one, the default")
    parser.add_argument("--places", type=int, help="requests inside at most; no limit by default")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.port, options.places))
    except (OSError, ValueError) as problem:  # a port that is taken, or cannot be
        parser.exit(2, f"{problem}\n")
