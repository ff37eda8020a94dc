"""The real server under real overload and with bad clients.

Bounded in load and time; no test asserts milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.servers import bounded_server
from serving_mathematics.core.servers.bounded_server import (
    REFUSING,
    BoundedServer,
    Limits,
    Refusal,
    Request,
    busy,
    header_number,
    open_files_for,
    parse_head,
    response,
    serve,
)

from tests.clockwork import Clock, loops_of
from tests.core.servers.open_loop import drive

ROOT = Path(__file__).parents[3]


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, and fail instead of hanging."""

    async def bounded() -> None:
        task = asyncio.create_task(test)
        done, _ = await asyncio.wait({task}, timeout=120)
        assert done, "it hangs, or failed with requests inside"
        await task

    asyncio.run(bounded())


def post(body: str, *headers: str) -> bytes:
    lines = ("POST / HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*lines, "", body)).encode()


async def exchange(
    port: int, request: bytes, *, half_close: bool = False
) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body of the answer; the body's length must be as announced."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if half_close:
            writer.write_eof()
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
    assert int(headers["content-length"]) == len(body)
    assert headers["connection"] == "close"
    return int(line.split(" ")[1]), headers, body


class Gate:
    """A handler that echoes, but not before the gate is opened; it remembers what it was given."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.seen: list[bytes] = []

    async def __call__(self, request: Request) -> bytes:
        self.seen.append(request.body)
        await self.open.wait()
        return request.body


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task does."""
    while not condition():
        await asyncio.sleep(0.001)


def conserved(server: BoundedServer) -> bool:
    """Whether every connection and every accepted request came to exactly one end."""
    counts = server.counts
    accepted = counts["answered"] + counts["expired"] + counts["failed"]
    ends = counts["accepted"] + counts["refused"] + counts["bad"] + counts["gone"]
    return counts["accepted"] == accepted and counts["connections"] == ends


@pytest.mark.parametrize("places", [1, 3, 8])
def test_excess_is_refused_while_the_server_is_stuck(places: int) -> None:
    """The refusals arrive although the handler does not move: they do not wait for the work."""

    async def test() -> None:
        gate = Gate()
        async with BoundedServer(gate, Limits(places=places)) as server:
            inside = [
                asyncio.create_task(exchange(server.port, post(f"in {i}"))) for i in range(places)
            ]
            await until(lambda: server.counts["accepted"] == places)
            excess = await asyncio.gather(
                *(exchange(server.port, post(f"out {i}")) for i in range(100))
            )
            for status, headers, _ in excess:
                assert status == 503
                assert headers["retry-after"] in ("1", "2", "3")
            assert {headers["retry-after"] for _, headers, _ in excess} == {"1", "2", "3"}
            assert len(gate.seen) == 1  # one worker
            gate.open.set()
            answers = await asyncio.gather(*inside)
        assert [(status, body) for status, _, body in answers] == [
            (200, f"in {i}".encode()) for i in range(places)
        ]
        assert server.counts["answered"] == places
        assert server.counts["refused"] == 100
        assert conserved(server)

    run(test())


@pytest.mark.parametrize("workers", [1, 2])
def test_conservation_under_open_overload(workers: int) -> None:
    """Several times what fits: each request gets its own answer or a refusal."""

    async def test() -> None:
        done: list[bytes] = []

        async def handler(request: Request) -> bytes:
            await asyncio.sleep(0.001)
            done.append(request.body)
            return request.body

        async with BoundedServer(handler, Limits(places=5, workers=workers)) as server:

            async def one(i: int) -> tuple[int, dict[str, str], bytes]:
                await asyncio.sleep(i / 2000)
                return await exchange(server.port, post(f"request {i}"))

            answers = await asyncio.gather(*(one(i) for i in range(300)))
        served = [body for status, _, body in answers if status == 200]
        refused = [headers for status, headers, _ in answers if status == 503]
        assert len(served) + len(refused) == 300
        assert sorted(served) == sorted(done)  # nothing accepted was lost, nothing was done twice
        assert all(
            body == f"request {i}".encode()
            for i, (status, _, body) in enumerate(answers)
            if status == 200
        )
        assert all(int(headers["retry-after"]) >= 1 for headers in refused)
        assert server.counts["answered"] == len(served) == server.counts["accepted"] >= 5
        assert server.counts["refused"] == len(refused)
        assert conserved(server)

    run(test())


def test_no_limit_accepts_everything() -> None:
    async def test() -> None:
        gate = Gate()
        limits = Limits(places=None, connections=None)
        async with BoundedServer(gate, limits) as server:
            tasks = [asyncio.create_task(exchange(server.port, post(str(i)))) for i in range(60)]
            await until(lambda: server.counts["accepted"] == 60)
            gate.open.set()
            answers = await asyncio.gather(*tasks)
        assert [body for _, _, body in answers] == [str(i).encode() for i in range(60)]
        assert conserved(server)

    run(test())


def test_one_client_cannot_take_every_place() -> None:
    async def test() -> None:
        gate = Gate()
        async with BoundedServer(gate, Limits(places=4, per_client=2)) as server:
            greedy = [
                asyncio.create_task(exchange(server.port, post("a", "X-Client: greedy")))
                for _ in range(2)
            ]
            await until(lambda: server.counts["accepted"] == 2)
            status, headers, body = await exchange(server.port, post("a", "X-Client: greedy"))
            assert (status, body) == (429, b"2 requests of yours are inside, try later")
            assert int(headers["retry-after"]) >= 1
            other = asyncio.create_task(exchange(server.port, post("b", "X-Client: other")))
            await until(lambda: server.counts["accepted"] == 3)
            gate.open.set()
            assert [answer[0] for answer in await asyncio.gather(*greedy, other)] == [200] * 3
            assert (await exchange(server.port, post("c", "X-Client: greedy")))[0] == 200
        assert conserved(server)

    run(test())


def test_a_finished_request_frees_one_place_and_no_more() -> None:
    async def test() -> None:
        turns: asyncio.Queue[None] = asyncio.Queue()

        async def handler(request: Request) -> bytes:
            await turns.get()
            return request.body

        async with BoundedServer(handler, Limits(places=3, per_client=3)) as server:
            inside: list[asyncio.Task[Any]] = []
            answered: list[None] = []
            for finished in range(6):
                while server.counts["accepted"] < finished + 3:
                    inside.append(asyncio.create_task(exchange(server.port, post("in"))))
                    await until(lambda: server.counts["accepted"] == len(inside))
                for client, status in (("", 429), ("X-Client: other", 503)):
                    headers = (client,) if client else ()
                    assert (await exchange(server.port, post("out", *headers)))[0] == status
                turns.put_nowait(None)
                answered.append(None)
                await until(lambda: server.counts["answered"] == len(answered))
            for _ in range(2):
                turns.put_nowait(None)
            assert [answer[0] for answer in await asyncio.gather(*inside)] == [200] * 8
        assert conserved(server)

    run(test())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
def test_clients_without_a_name_are_told_apart_by_address() -> None:
    async def test() -> None:
        gate = Gate()
        async with BoundedServer(gate, Limits(places=9, per_client=1)) as server:
            first = asyncio.create_task(exchange(server.port, post("first")))
            await until(lambda: server.counts["accepted"] == 1)
            assert (await exchange(server.port, post("again")))[0] == 429
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, local_addr=("127.0.0.2", 0)
            )
            writer.write(post("elsewhere"))
            await until(lambda: server.counts["accepted"] == 2)
            gate.open.set()
            assert (await reader.read()).endswith(b"elsewhere")
            writer.close()
            await writer.wait_closed()
            assert (await first)[0] == 200
        assert conserved(server)

    run(test())


def test_expired_requests_are_dropped_before_service() -> None:
    async def test() -> None:
        gate = Gate()
        async with BoundedServer(gate) as server:
            first = asyncio.create_task(exchange(server.port, post("first")))
            await until(lambda: gate.seen == [b"first"])
            impatient = asyncio.create_task(exchange(server.port, post("late", "X-Timeout-Ms: 1")))
            patient = asyncio.create_task(
                exchange(server.port, post("kept", "X-Timeout-Ms: 60000"))
            )
            await until(lambda: server.counts["accepted"] == 3)
            await asyncio.sleep(0.01)
            gate.open.set()
            statuses = [answer[0] for answer in await asyncio.gather(first, impatient, patient)]
        assert statuses == [200, 504, 200]
        assert gate.seen == [b"first", b"kept"]
        assert server.counts["expired"] == 1
        assert conserved(server)

    run(test())


@pytest.mark.parametrize(("milliseconds", "status"), [("0", 504), ("1", 200)])
def test_who_waits_until_now_has_gone(milliseconds: str, status: int) -> None:
    """By a clock that stands still, and without a connection."""

    async def test() -> None:
        gate = Gate()
        gate.open.set()
        server = BoundedServer(gate)
        worker = asyncio.create_task(server._work())
        asked = Request("POST", "/", {"x-timeout-ms": milliseconds})
        answer = await server._admit(asked, "somebody").answer
        worker.cancel()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())

    with loops_of(Clock()):
        asyncio.run(test())


def test_a_body_may_fill_its_limit_but_not_more() -> None:
    async def read(body: str) -> bytes:
        reader, task = asyncio.StreamReader(), asyncio.current_task()
        reader.feed_data(post(body))
        assert task is not None
        return (await BoundedServer(busy, Limits(body_bytes=4))._read(reader, task)).body

    assert asyncio.run(read("1234")) == b"1234"
    with pytest.raises(Refusal, match="more than 4 bytes"):
        asyncio.run(read("12345"))


def test_stop_finishes_what_was_accepted() -> None:
    """Accepted requests are answered, one that is still arriving is refused, none is let in."""

    async def test() -> None:
        gate = Gate()
        server = BoundedServer(gate)
        async with server:
            accepted = [asyncio.create_task(exchange(server.port, post(str(i)))) for i in range(4)]
            await until(lambda: server.counts["accepted"] == 4)
            half = asyncio.create_task(exchange(server.port, b"POST / HTTP/1.1\r\nHost"))
            await until(lambda: server.counts["connections"] == 5)
            stopping = asyncio.create_task(server.stop())
            status, headers, _ = await half
            assert status == 503
            assert "retry-after" in headers
            with pytest.raises(OSError, match=r"[Cc]onnect"):
                await asyncio.open_connection("127.0.0.1", server.port)
            assert not stopping.done()
            gate.open.set()
            assert [answer[0] for answer in await asyncio.gather(*accepted)] == [200] * 4
            await stopping
        assert conserved(server)

    run(test())


BAD = {
    "no method": (b"\r\n\r\n", 400),
    "one word": (b"GET\r\n\r\n", 400),
    "no version": (b"GET / FTP\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "HTTP/2": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: x\x00\r\n\r\n", 400),
    "bare line feed": (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
    "binary": (bytes(range(128, 256)) + b"\r\n\r\n", 400),
    "PUT": (b"PUT / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    "chunked": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "length of words": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n", 400),
    "negative length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "exponent length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n", 400),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "long body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, 413),
    "absurd length": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999999\r\n\r\n",
        413,
    ),
    "bad timeout": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Timeout-Ms: soon\r\n\r\n", 400),
    "long head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431),
    "endless head": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 300_000, 431),
    "truncated head": (b"GET / HTTP/1.1\r\nHost: x\r\n", 400),
    "truncated body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc", 400),
    "missing body": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 400),
}


def test_bad_requests_get_clean_errors_and_nothing_breaks(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        gate = Gate()
        gate.open.set()
        async with BoundedServer(gate, Limits(body_bytes=1000)) as server:
            for name, (request, expected) in BAD.items():
                status, headers, _ = await exchange(server.port, request, half_close=True)
                assert status == expected, name
                assert ("allow" in headers) == (status == 405), name
                assert (await exchange(server.port, post("still here")))[2] == b"still here", name
            assert (await exchange(server.port, post("x" * 1000)))[0] == 200
            assert gate.seen == [b"still here"] * len(BAD) + [b"x" * 1000]
        assert server.counts["bad"] == len(BAD)
        assert conserved(server)

    with caplog.at_level(logging.WARNING):
        run(test())
    assert caplog.records == []


def test_slow_clients_hold_no_place() -> None:
    async def test() -> None:
        gate = Gate()
        gate.open.set()
        async with BoundedServer(gate, Limits(places=1, read_s=0.1)) as server:
            slow = [
                asyncio.create_task(exchange(server.port, post("never")[:-2])) for _ in range(3)
            ]
            await until(lambda: server.counts["connections"] == 3)
            assert (await exchange(server.port, post("quick")))[0] == 200
            assert [answer[0] for answer in await asyncio.gather(*slow)] == [408] * 3
        assert conserved(server)

    run(test())


def test_dropped_connections_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """Clients that leave without a byte, in the middle of a request, and while they wait."""

    def connect(port: int, sent: bytes, *, reset: bool) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(sent)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def test() -> None:
        gate = Gate()
        async with BoundedServer(gate, Limits(places=3)) as server:
            for reset in (False, True):
                connect(server.port, b"", reset=reset)
                connect(server.port, post("half")[:20], reset=reset)
            await until(lambda: server.counts["gone"] + server.counts["bad"] == 4)
            assert server.counts["gone"] >= 2
            connect(server.port, post("left"), reset=True)
            await until(lambda: gate.seen == [b"left"])
            stays = asyncio.create_task(exchange(server.port, post("stays")))
            await until(lambda: server.counts["accepted"] == 2)
            gate.open.set()
            assert (await stays)[2] == b"stays"
            await until(lambda: server.counts["answered"] == 2)
        assert conserved(server)

    with caplog.at_level(logging.WARNING):
        run(test())
    assert caplog.records == []


def test_an_answered_client_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a request that came whole; what is left of another is thrown away, or
    closing would reset the connection under the answer."""
    read_on = []

    async def noted(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        read_on.append(reader)

    monkeypatch.setattr(bounded_server, "_discard", noted)

    async def test() -> None:
        gate = Gate()
        gate.open.set()
        async with BoundedServer(gate, Limits(body_bytes=3)) as server:
            assert (await exchange(server.port, post("abc")))[0] == 200
            assert not read_on
            assert (await exchange(server.port, post("abcd")))[0] == 413
            assert len(read_on) == 1

    run(test())


def test_too_many_connections_are_refused() -> None:
    async def test() -> None:
        gate = Gate()
        gate.open.set()
        async with BoundedServer(gate, Limits(connections=2)) as server:
            idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
            await until(lambda: server.counts["connections"] == 2)
            status, headers, body = await exchange(server.port, post("third"))
            assert (status, body) == (503, b"2 connections are open, try later")
            assert "retry-after" in headers
            for _, writer in idle:
                writer.close()
                await writer.wait_closed()
            await until(lambda: server.counts["gone"] == 2)
            assert (await exchange(server.port, post("fourth")))[0] == 200
        assert conserved(server)

    run(test())


def test_a_flood_of_idle_connections_is_bounded() -> None:
    """So many are served, so many more are told why, the rest is closed at once."""

    async def test() -> None:
        gate = Gate()
        gate.open.set()
        most = 4 + REFUSING
        async with BoundedServer(gate, Limits(connections=4)) as server:
            held = []
            for _ in range(6):
                held += [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(50)]
                assert len(server._connections) <= most
            await until(lambda: server.counts["connections"] == 300)
            assert server.counts["refused"] >= 300 - most
            for _, writer in held:
                writer.transport.abort()
            await until(lambda: not server._connections)
            assert (await exchange(server.port, post("after")))[0] == 200
        assert conserved(server)

    run(test())


def test_a_full_server_says_how_many_are_inside_and_a_stopping_one_that_it_stops() -> None:
    async def test() -> None:
        gate = Gate()
        async with BoundedServer(gate, Limits(places=1, read_s=0.2)) as server:
            inside = asyncio.create_task(exchange(server.port, post("in")))
            await until(lambda: server.counts["accepted"] == 1)
            told = (await exchange(server.port, post("out")))[2]
            assert told == b"1 requests are inside, try later"
            late = (await exchange(server.port, b"POST / HTTP/1.1"))[2]
            assert late == b"the request did not arrive in 0.2 s"
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await until(lambda: len(server._reading) == 1)
            stops = asyncio.create_task(server.stop())
            assert (await reader.read()).endswith(b"the server is stopping, try later")
            gate.open.set()
            assert (await inside)[0] == 200
            writer.close()
            await stops
        assert conserved(server)

    run(test())


@pytest.mark.parametrize(
    ("soft", "hard", "connections", "raised"),
    [
        (1024, 4096, 832, None),
        (1024, 4096, 833, 1025),
        (1024, 4096, 3904, 4096),
        (-1, -1, 10**6, None),
        (256, -1, 10**6, 10**6 + 192),
    ],
)
def test_files_for_connections(
    soft: int, hard: int, connections: int, raised: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is raised where it must be, and no further."""
    changes: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: changes.append(both))
    open_files_for(connections)
    assert changes == ([] if raised is None else [(raised, hard)])


def test_too_few_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    rule = "connections must be at most 832, where this process may open 1024 files, got 833"
    with pytest.raises(ValueError, match=rule):
        open_files_for(833)

    async def serve_many() -> None:
        async with BoundedServer(Gate(), Limits(connections=833)):
            pass

    with pytest.raises(ValueError, match=rule):
        asyncio.run(serve_many())


def test_failing_handlers_give_500_and_leave_the_worker_alive(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: Request) -> bytes:
        if request.body == b"raise":
            raise RuntimeError("device lost")
        return "text" if request.body == b"text" else request.body  # type: ignore[return-value]

    async def test() -> None:
        async with BoundedServer(handler) as server:
            assert (await exchange(server.port, post("raise")))[0] == 500
            assert (await exchange(server.port, post("text")))[0] == 500
            assert (await exchange(server.port, post("fine")))[0] == 200
        assert server.counts["failed"] == 2
        assert conserved(server)

    run(test())
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_client_that_does_not_read_cannot_hold_the_server() -> None:
    async def handler(_: Request) -> bytes:
        return b"x" * 20_000_000

    async def test() -> None:
        async with BoundedServer(handler, Limits(write_s=0.2)) as server:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", server.port))
                client.sendall(post("much"))
                await until(lambda: server.counts["undelivered"] == 1)
        assert conserved(server)

    run(test())


def test_process_finishes_on_sigterm() -> None:
    """A process of its own, overloaded and told to stop: nothing accepted is lost."""
    command = [
        sys.executable,
        "-m",
        "serving_mathematics.core.servers.bounded_server",
        "--places",
        "3",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())

        async def load() -> list[Any]:
            sending = asyncio.create_task(drive(port, [i / 400 for i in range(400)], [0.005] * 400))
            served = []
            while not any(answer.status == 200 for answer in served):  # it is at work
                served += await drive(port, [0.0], [0.005])
            process.send_signal(signal.SIGTERM)
            return served + await sending

        answers = asyncio.run(load())
        counts = json.loads(process.communicate(timeout=120)[0])
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == counts["accepted"] == counts["answered"] > 0
    assert all(answer.retry_after for answer in answers if answer.status == 503)
    assert set(statuses) <= {0, 200, 503}  # 0: the port was closed by then


def test_serve_says_its_port_and_busy_how_long_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    """How it ends by a signal is tested in a process of its own, above."""

    async def test() -> None:
        taken = await busy(Request("POST", "/", {}, b"2000"))
        assert 2000 <= int(taken) < 2_000_000
        for body in (b"", b"-1", b"soon", b"12345678", b"1.5"):
            with pytest.raises(Refusal, match="the body must be microseconds"):
                await busy(Request("POST", "/", {}, body))
        serving, said = asyncio.create_task(serve(0, 1)), ""
        while not said:
            await asyncio.sleep(0.001)
            said = capsys.readouterr().out
        assert (await drive(int(said), [0.0], [0.0]))[0].status == 200
        serving.cancel()
        await asyncio.wait({serving})

    run(test())


def test_bad_bodies_get_400_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with BoundedServer(busy) as server:
            for body in ("", "soon", "-1", "NaN", "1" * 60_000):
                status, _, reason = await exchange(server.port, post(body))
                assert status == 400, body
                assert reason.startswith(b"the body must be microseconds, got b'")
                assert len(reason) < 100
            assert (await exchange(server.port, post("10")))[0] == 200
        assert server.counts["failed"] == 0
        assert conserved(server)

    with caplog.at_level(logging.WARNING):
        run(test())
    assert not caplog.records


@pytest.mark.parametrize("port", [-1, 65_536])
def test_ports_that_cannot_be_are_refused(port: int) -> None:
    async def test() -> None:
        with pytest.raises(ValueError, match=r"port must be in \[0, 65535\], got"):
            async with BoundedServer(busy, port=port):
                pass

    run(test())


TOKENS = st.text("abcXYZ09-_!", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@given(st.dictionaries(TOKENS.map(str.lower), VALUES, max_size=6), st.sampled_from(["GET", "POST"]))
def test_parse_head_reads_what_was_written(fields: dict[str, str], method: str) -> None:
    fields = {"host": "x"} | {k: v for k, v in fields.items() if k != "transfer-encoding"}
    lines = [
        f"{method} /path HTTP/1.1",
        *(f"{name.upper()}: \t{value} " for name, value in fields.items()),
    ]
    request = parse_head("\r\n".join(lines).encode())
    assert request == Request(method, "/path", fields)


@given(
    st.binary(max_size=60)
    | st.binary(max_size=40).map(lambda tail: b"GET / HTTP/1.1\r\nHost: x\r\n" + tail)
)
def test_parse_head_never_breaks(head: bytes) -> None:
    try:
        method, status = parse_head(head).method, 200
    except Refusal as refusal:
        method, status = "", refusal.status
    assert method in ("GET", "POST") if status == 200 else status in (400, 405, 501, 505)


def test_old_requests_need_no_host() -> None:
    assert parse_head(b"GET / HTTP/1.0").headers == {}
    with pytest.raises(Refusal, match="no host"):
        parse_head(b"GET / HTTP/1.1")


def test_repeated_fields() -> None:
    assert parse_head(b"GET / HTTP/1.0\r\nA: 1\r\na: 2").headers == {"a": "1"}
    for name in ("host", "Content-Length"):
        head = f"GET / HTTP/1.0\r\n{name}: 3\r\n{name.upper()}: 3".encode()
        with pytest.raises(Refusal, match=f"more than one {name.lower()}"):
            parse_head(head)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 15, 10**15 - 1)])
def test_header_number(text: str, number: int) -> None:
    assert header_number(Request("GET", "/", {"n": text}), "n", 5) == number
    assert header_number(Request("GET", "/", {}), "n", 5) == 5


@pytest.mark.parametrize("text", ["", " 1", "+1", "1.0", "1_0", "٣", "9" * 16])
def test_header_number_refuses(text: str) -> None:
    with pytest.raises(Refusal, match="n must be a whole number") as caught:
        header_number(Request("GET", "/", {"n": text}), "n", 5)
    assert caught.value.status == 400


@pytest.mark.parametrize("status", [200, 400, 405, 408, 413, 429, 431, 500, 501, 503, 504, 505])
def test_response_frames_the_body(status: int) -> None:
    answer = response(status, b"a\r\n\r\nb", ("Retry-After: 2",))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"a\r\n\r\nb"
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert head.split(b"\r\n")[1:] == [
        b"Content-Length: 6",
        b"Connection: close",
        b"Retry-After: 2",
    ]


def test_limits_hold_by_default() -> None:
    limits = Limits()
    for value in (limits.places, limits.connections, limits.head_bytes, limits.body_bytes):
        assert value is not None
        assert value > 0
