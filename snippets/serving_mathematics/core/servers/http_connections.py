"""HTTP/1.1 as uvicorn speaks it, with limits on what a connection may hold before it has asked.

Three limits are not in uvicorn: on the time that the head of a request takes to arrive, on the size
of a head that arrives at once, and on connections that ask nothing. Whoever is refused is told why,
also while it still sends: a connection that is closed with bytes unread is reset, and the client
loses the answer. So the server ends its own half, drops what comes, and closes when the client has,
or when its time is over. A body's length beside a transfer encoding ends the connection, since
another server may have found another end in it.

A client that sends nothing more may still wait for its answer, and looks like one that has left. So
it is answered, and until then told something now and then that clients pass over, and that fails
where nobody is: 100 (Continue) before the answer, and a comment in a stream of events.

Assumes: one process, whose connections know of each other; uvicorn's protocol on h11.

Source: RFC 9112, section 6.3, for lengths, and 9.6 for ending a connection in stages; RFC 9110,
section 15.2.1, for the 100 that was not expected; WHATWG HTML, section 9.2, for comments; uvicorn
0.54, h11_impl.py. Needs uvicorn.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import Callable
from typing import Any, Self

import h11
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number

ASKED_S = 0.5  # between two questions to a client that sends nothing more [s]
REFUSING = 64  # connections above the limit that are told why; more are closed without a word
SPARE_FILES = 192  # beside connections: what is being refused, and what accepts 100 at a time


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


class PunctualProtocol(H11Protocol):
    """HTTP/1.1 as in uvicorn, but the head of a request must arrive within timeout_keep_alive and
    fit into h11_max_incomplete_event_size, and fewer than limit_concurrency connections are served.

    A connection above the limit takes the place of the one that has been idle for longest, or is
    refused when it asks. At most REFUSING of the refused stay until they have closed, or for
    timeout_keep_alive. count: called with the status of what is refused here, before the
    application has seen it.
    """

    def __init__(
        self, *options: Any, count: Callable[[int], None] | None = None, **more: Any
    ) -> None:
        """As uvicorn calls it."""
        super().__init__(*options, **more)
        self._count = count or (lambda _: None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock, and make room."""
        super().connection_made(transport)
        self._unread, self.refused = bytearray(), False
        self._half = False  # whether the client sends no more
        self._events = False  # whether it gets events
        self._limit, self.limit_concurrency = self.limit_concurrency or math.inf, None
        self.app = self._within_the_limit
        self._expect_head()
        others = [other for other in self._all() if other is not self]
        told = [other for other in others if other.refused]
        if len(told) > REFUSING:
            min(told, key=lambda other: other._since).transport.abort()
        idle = [other for other in others if not other.refused and other.is_idle()]
        if len(others) - len(told) >= self._limit - 1 and idle:
            min(idle, key=lambda other: other._since).refuse(503, self._too_many())

    def data_received(self, data: bytes) -> None:
        """Take the bytes in pieces, none of which goes beyond the limit of a head."""
        if self.refused:
            return
        most = self.config.h11_max_incomplete_event_size or 1 << 16
        self._unread += data
        while self._unread and self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            room = most - len(self.conn.trailing_data[0])
            if room <= 0 and self.conn.their_state is h11.IDLE:
                self.refuse(431, f"a head of more than {most} bytes")
                return
            taken = max(room, 1)
            piece = bytes(self._unread[:taken])
            del self._unread[:taken]
            super().data_received(piece)
        if self.conn.their_state is not h11.DONE:
            self._unread.clear()
        elif self._unread:
            self.flow.pause_reading()  # the next request waits for the answer to this one

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays: for a request that came whole and waits for its answer."""
        self._half = not (self.refused or self.is_idle() or self.cycle.more_body)
        if self._half:
            self._ask()
        return self._half

    def _ask(self) -> None:
        """Write to a client that sends nothing more: if it has left, the next time says so."""
        if self.is_idle() or self.transport.is_closing():
            return
        event: h11.Event | None = None
        if self.cycle.response_started:  # other answers come at once
            event = h11.Data(data=b":\n\n") if self._events else None
        elif self.conn.their_http_version != b"1.0":
            event = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
        if event and not self.flow.write_paused:
            self.transport.write(self.conn.send(event) or b"")
        self.loop.call_later(ASKED_S, self._ask)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._count(400)
        super().send_400_response(msg)

    def is_idle(self) -> bool:
        """Whether there is no request that waits for its answer."""
        return self.cycle is None or self.cycle.response_complete

    def refuse(self, status: int, reason: str) -> None:
        """Answer a request in the application's place, as the last on its connection."""
        self.refused = True
        self._count(status)
        self._unset_keepalive_if_required()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": reason}).encode()
            head = [
                ("content-type", "application/json"),
                ("content-length", f"{len(body)}"),
                ("connection", "close"),
                *([("retry-after", "1")] if status == 503 else []),
            ]
            answer = h11.Response(status_code=status, headers=head)
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.write_eof()
        self.flow.resume_reading()
        self._overdue.cancel()
        self._expect_head()  # which will not come; the time for the client to close

    def on_response_complete(self) -> None:
        """Start the clock for the next request."""
        super().on_response_complete()
        self._overdue.cancel()
        self._expect_head()
        self.data_received(b"")
        if self._half and self.is_idle():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop it."""
        self._overdue.cancel()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        before, self._since = self.cycle, self.loop.time()

        def close() -> None:
            if self.cycle is before:  # no request has begun since
                self.transport.abort()

        self._overdue = self.loop.call_later(self.timeout_keep_alive, close)

    def _all(self) -> list[Self]:
        return [other for other in self.connections if isinstance(other, type(self))]

    def _too_many(self) -> str:
        return f"more than {self._limit - 1} connections, try later"

    def _noting(self, send: Send) -> Send:
        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = dict(message.get("headers", ())).get(b"content-type", b"")
                self._events = kind.startswith(b"text/event-stream")
            await send(message)

        return noting

    async def _within_the_limit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, where a request that has begun may have it."""
        served = sum(not other.refused for other in self._all())
        lengths = {b"content-length", b"transfer-encoding"}
        if served >= self._limit:
            status, reason = 503, self._too_many()
        elif lengths <= {name for name, _ in scope["headers"]}:
            status, reason = 400, "a content-length beside a transfer-encoding"
        else:
            await self.config.loaded_app(scope, receive, self._noting(send))
            return
        self.cycle.response_started = self.cycle.response_complete = True  # by what follows
        self.refuse(status, reason)


def check_who_is_refused_is_told() -> None:
    """A head of as many bytes as are allowed is served, and one with one more is refused; so is an
    idle connection where only one may be and another comes.

    Source: RFC 9110, section 15.6.4, and RFC 6585, section 5, for the statuses.
    """

    async def answers(*requests: bytes) -> list[str]:
        loop, state = asyncio.get_running_loop(), ServerState()
        config = Config(
            PlainTextResponse("served"),
            http=PunctualProtocol,
            log_config=None,
            limit_concurrency=2,
            h11_max_incomplete_event_size=1000,
        )
        config.load()
        clients = []
        for request in requests:
            ours, theirs = socket.socketpair()
            await loop.connect_accepted_socket(lambda: PunctualProtocol(config, state, {}), ours)
            clients.append(await asyncio.open_connection(sock=theirs))
            clients[-1][1].write(request)
        found = []
        for reader, writer in clients:
            found.append((await reader.read(12))[9:].decode())
            writer.close()
        return found

    head = b"GET / HTTP/1.1\r\nHost: x\r\nA: "
    for size, expected in ((1001, ["431"]), (1000, ["200"])):
        whole = head.ljust(size - 4, b"b") + b"\r\n\r\n"
        checks.equal(f"head of {size} bytes", asyncio.run(answers(whole)), expected)
    checks.equal("idle, and another", asyncio.run(answers(b"", whole)), ["503", "200"])
