"""Connections that say too much at once, too little, or are too many, against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import resource
from collections.abc import AsyncIterator

import pytest
from serving_mathematics.core.servers.http_connections import (
    ASKED_S,
    REFUSING,
    PunctualProtocol,
    open_files_for,
)
from serving_mathematics.core.servers.rest_server import Limits

from tests.architecture.rest_clients import (
    Gate,
    Running,
    exchange,
    head,
    run,
    running,
    sized,
    tensor,
    until,
)

TOO_MANY = b'{"error": "more than 3 connections, try later"}'


def served_by(server: Running) -> list[PunctualProtocol]:
    """The open connections that have not been refused."""
    opened = server.server.server_state.connections
    return [one for one in opened if isinstance(one, PunctualProtocol) and not one.refused]


@pytest.mark.parametrize("size", [16_385, 20_000, 32_769, 70_000])
def test_large_heads_are_refused(size: int) -> None:
    """Also those that arrive whole, and those that follow another request at once."""
    refusal = {"error": "a head of more than 16384 bytes"}

    async def test() -> None:
        async with running(Gate()) as server:
            answer = await exchange(server.port, sized(size))
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2]) == refusal
            body = json.dumps(tensor()).encode()
            both = await exchange(server.port, head(len(body)) + body + sized(size))
            first, second = both.split(b"HTTP/1.1 ")[1:]
            assert (first[:3], second[:3]) == (b"200", b"431")
            assert (await server.infer(tensor())).status_code == 200

    run(test())


def test_heads_up_to_the_limit_are_served() -> None:
    async def test() -> None:
        async with running(Gate()) as server:
            kept = sized(16_384) * 3 + sized(16_384, "Connection: close")
            answer = await exchange(server.port, kept)
            assert answer.count(b"HTTP/1.1 200 ") == 4

    run(test())


def test_idle_connections_keep_nobody_out() -> None:
    """Each above the limit takes the place of the oldest idle one, which is told why."""

    async def test() -> None:
        async with running(Gate(), Limits(connections=8, read_s=60)) as server:
            idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(60)]
            served = functools.partial(served_by, server)
            await until(lambda: len(served()) <= 9)
            assert (await server.client.get("/v2/health/live")).status_code == 200
            assert len(served()) <= 9
            async with asyncio.timeout(50):  # the head's time is 60 s
                told = [await reader.read() for reader, _ in idle[:50]]
            for answer in told:
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert answer.endswith(b'{"error": "more than 8 connections, try later"}')
            for _, writer in idle:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    run(test())


@contextlib.asynccontextmanager
async def occupied(limits: Limits) -> AsyncIterator[Running]:
    """A server whose connections all wait for an answer until the block ends."""
    gate, count = Gate(is_open=False), limits.connections
    async with running(gate, limits) as server:
        inside = [asyncio.create_task(server.infer(tensor())) for _ in range(count)]
        await until(lambda: server.counts["accepted"] == count)
        try:
            yield server
        finally:
            gate.open.set()
            assert [(await task).status_code for task in inside] == [200] * count


def test_a_body_under_way_does_not_cost_the_refusal() -> None:
    """Closing the connection with bytes unread would reset it, and the client would see that."""

    async def test() -> None:
        async with occupied(Limits(connections=3)) as server:
            for size in (100, 1_000_000, 10_000_000):
                answer = await exchange(server.port, head(size) + b"x" * size)
                assert answer.startswith(b"HTTP/1.1 503 "), size
                assert b"\r\nretry-after: 1\r\n" in answer
                assert answer.endswith(TOO_MANY)

    run(test())


def test_the_idle_that_begin_to_send_too_late_are_told() -> None:
    async def test() -> None:
        async with running(Gate(), Limits(connections=1)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await until(lambda: len(server.server.server_state.connections) == 1)
            assert (await server.client.get("/v2/health/live")).status_code == 200
            writer.write(head(1_000_000) + b"x" * 1_000_000)
            await writer.drain()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            writer.close()
            await writer.wait_closed()

    run(test())


def test_the_refused_that_stay_are_bounded_and_end() -> None:
    """Those that never close: the oldest goes when there are too many, the others by the clock."""

    async def test() -> None:
        async with occupied(Limits(connections=3, read_s=1)) as server:
            opened, stay = server.server.server_state.connections, []
            for _ in range(2 * REFUSING):
                stay.append(await asyncio.open_connection("127.0.0.1", server.port))
                stay[-1][1].write(head(9) + b"x")
                assert (await stay[-1][0].read(12)) == b"HTTP/1.1 503"
                assert len(opened) <= 3 + 2 + REFUSING
            await until(lambda: len(opened) == 3)
            for _, writer in stay:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    run(test())


def test_the_refused_do_not_hold_up_the_end() -> None:
    async def test() -> None:
        async with running(Gate(), Limits(connections=1, read_s=600)) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await until(lambda: len(server.server.server_state.connections) == 1)
            assert (await server.client.get("/v2/health/live")).status_code == 200
        writer.close()

    run(test())


def test_a_length_beside_a_transfer_encoding_ends_the_connection() -> None:
    """Which of the two counts is nobody's to guess: what follows may be a request or a body."""

    async def test() -> None:
        gate = Gate()
        async with running(gate) as server:
            body = json.dumps(tensor()).encode()
            both = head(len(body), "Transfer-Encoding: chunked")
            chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            answer = await exchange(server.port, both + chunk + sized(100))
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"\r\nconnection: close\r\n" in answer
            assert answer.count(b"HTTP/1.1 ") == 1
            assert server.counts["bad"] == 1
            assert not gate.seen["calls"]
            answer = await exchange(
                server.port, head("", "Transfer-Encoding: chunked", "Connection: close") + chunk
            )
            assert answer.startswith(b"HTTP/1.1 200 ")

    run(test())


def test_whoever_sends_no_more_is_answered() -> None:
    """Also after a while, in which it is told 100; and what it sent after the first request."""

    async def test() -> None:
        gate, body = Gate(is_open=False), json.dumps(tensor()).encode()
        async with running(gate) as server:
            two = head(len(body)) + body + head(len(body)) + body
            for data, answers in ((head(len(body)) + body, 1), (two, 2)):
                gate.open.clear()
                asking = asyncio.create_task(exchange(server.port, data, eof=True))
                before = server.counts["accepted"]
                await until(lambda seen=before: server.counts["accepted"] > seen)  # type: ignore[misc]
                await asyncio.sleep(1.2 * ASKED_S)
                gate.open.set()
                answer = await asking
                assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 ")
                assert answer.count(b"HTTP/1.1 200 ") == answers
            old = head(len(body)).replace(b"HTTP/1.1", b"HTTP/1.0") + body
            assert (await exchange(server.port, old, eof=True)).startswith(b"HTTP/1.1 200 ")
            half = head(len(body) + 1) + body
            assert await exchange(server.port, half, eof=True) == b""
            assert (await exchange(server.port, b"GET", eof=True)) == b""

    run(test())


def test_whoever_has_left_is_found_out() -> None:
    """A closed connection looks at first like one of a client that sends no more."""

    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate) as server:
            body = json.dumps(tensor()).encode()
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head(len(body)) + body)
            await until(lambda: server.counts["accepted"] == 1)
            writer.close()
            await writer.wait_closed()
            await until(lambda: not server.server.server_state.connections)
            gate.open.set()

    run(test())


def test_no_answer_leads_to_a_host_that_the_client_named() -> None:
    async def test() -> None:
        async with running(Gate()) as server:
            for path in ("/v2/health/live/", "/v2/models/digits/infer/", "//v2/health/live"):
                answer = await server.client.get(path, headers={"host": "elsewhere.example"})
                assert answer.status_code == 404
                assert "location" not in answer.headers

    run(test())


def test_what_its_head_refuses_is_not_sent() -> None:
    """Who asks whether to go on was told to, and then that no body came in time."""

    async def test() -> None:
        async with running(Gate(), Limits(read_s=60)) as server:
            for data, status in (
                (head(1 << 30, "Expect: 100-continue"), b"413"),
                (head(2, "Expect: 100-continue").replace(b"application/json", b"text/x"), b"415"),
            ):
                answer = await exchange(server.port, data)
                assert answer[9:12] == status
                assert b"connection: close" in answer.lower()
            assert server.counts["bad"] == 2
            answer = await exchange(server.port, head(2, "Expect: 100-continue") + b"{}", eof=True)
            assert answer[9:12] == b"100"

    run(test())


def test_what_is_refused_before_the_application_is_counted() -> None:
    async def test() -> None:
        async with running(Gate(), Limits(connections=2)) as server:
            fields = [f"A{n}: b" for n in range(101)]
            for data, status in (
                (head(1 << 21) + b"x" * (1 << 21), b"413"),
                (head(2).replace(b"application/json", b"text/plain") + b"{}", b"415"),
                (head(2, *fields) + b"{}", b"431"),
                (sized(20_000), b"431"),
                (b"no HTTP\r\n\r\n", b"400"),
                (head(2).replace(b"POST", b"PUT") + b"{}", b"405"),
                (head(2) + b"{}", b"400"),
            ):
                before = server.counts["bad"]
                answer = await exchange(server.port, data, eof=True)
                assert answer[9:12] == status
                assert server.counts["bad"] == before + 1
            assert not server.counts["refused"]

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
