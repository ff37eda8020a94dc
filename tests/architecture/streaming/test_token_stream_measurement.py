"""The timing client against a real server, and what it says of broken ones."""

from __future__ import annotations

import asyncio
import socket
import time

import httpx
import pytest
from serving_mathematics.architecture.streaming import token_stream_measurement
from serving_mathematics.architecture.streaming.event_stream import TokenReader
from serving_mathematics.architecture.streaming.token_server import (
    Limits,
    create_app,
    paced,
    serving,
)
from serving_mathematics.architecture.streaming.token_stream_measurement import (
    Reader,
    TimedStream,
    timed_stream,
)


async def ask_server(limits: Limits, ask: dict[str, object], streams: int) -> list[TimedStream]:
    app = create_app(paced([0.02, 0.001]), limits)
    async with asyncio.timeout(120), serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
            return list(
                await asyncio.gather(
                    *(timed_stream(http, "/v1/stream", ask, TokenReader()) for _ in range(streams))
                )
            )


def test_a_real_stream_is_timed() -> None:
    ask: dict[str, object] = {"prompt": "a", "max_tokens": 20}
    for stream in asyncio.run(ask_server(Limits(), ask, 3)):
        assert (stream.status, stream.error, len(stream.arrival_s)) == (200, "", 20)
        assert stream.arrival_s == tuple(sorted(stream.arrival_s))
        assert stream.arrival_s[0] > 0.015  # the server sleeps 20 ms before the first
        assert stream.arrival_s[-1] > 0.030  # and 1 ms before each of the others


def test_refusals_are_told() -> None:
    (bad,) = asyncio.run(ask_server(Limits(), {"prompt": ""}, 1))
    assert bad.status == 422
    assert "prompt: String should have at least 1 character" in bad.error
    both = asyncio.run(ask_server(Limits(streams=1), {"prompt": "a", "max_tokens": 50}, 2))
    assert sorted(stream.status for stream in both) == [200, 503]


def test_a_connection_that_breaks_keeps_what_came() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b'16\r\ndata: {"token": "a"}\n\n\r\n5\r\ndat')
        await writer.drain()
        writer.close()

    async def test() -> TimedStream:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        base = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with (
            asyncio.timeout(120),
            listener,
            httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http,
        ):
            return await timed_stream(http, "/", {}, TokenReader())

    stream = asyncio.run(test())
    assert len(stream.arrival_s) == 1
    assert stream.error.startswith("RemoteProtocolError: peer closed connection")


def test_nobody_listening_is_an_error_too() -> None:
    async def test(port: int) -> TimedStream:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
            return await timed_stream(http, "/", {}, TokenReader())

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        assert asyncio.run(test(deaf.getsockname()[1])).error.startswith("ConnectError")


def test_a_reader_is_anything_that_feeds_and_finishes() -> None:
    class Lengths:
        def feed(self, data: bytes) -> list[str]:
            return [str(len(data))]

        def finish(self) -> None:
            raise ValueError("never whole")

    lengths: Reader = Lengths()

    async def test() -> TimedStream:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"abc"))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://server", trust_env=False
        ) as http:
            return await timed_stream(http, "/", {}, lengths)

    began = time.perf_counter()
    stream = asyncio.run(test())
    assert (len(stream.arrival_s), stream.error) == (1, "ValueError: never whole")
    assert 0 < stream.arrival_s[0] < time.perf_counter() - began


def test_what_is_asked_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first token, so many steps, the gaps of a prefill, and a step after them."""
    asked: dict[str, list[float]] = {}

    async def noted(name: str, gaps_s: list[float]) -> str:
        asked[name] = gaps_s
        return name

    async def nothing() -> None:
        return None

    monkeypatch.setattr(token_stream_measurement, "_kind", noted)
    monkeypatch.setattr(token_stream_measurement, "_disconnect", nothing)
    monkeypatch.setattr(token_stream_measurement, "_unread", nothing)
    found = asyncio.run(token_stream_measurement._measure())
    assert found["kinds"] == ["steady", "whole prefill", "chunked prefill"] == list(asked)
    first, step, before = (found["asked"][name] for name in ("ttft_s", "step_s", "before"))
    for name, prefill in zip(asked, ([], [8192], [1024] * 8), strict=True):
        told = [
            first,
            *[step] * (before - 1),
            *[step + tokens / 16_000 for tokens in prefill],
            step,
        ]
        assert asked[name] == pytest.approx(told), name


def test_each_part_of_the_measurement_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With short gaps and small tokens; what the record's checks say holds here as well."""
    for name, value in (("TOKENS", 12), ("ROUNDS", 1)):
        monkeypatch.setattr(token_stream_measurement, name, value)

    async def test() -> list[dict[str, object]]:
        parts = (
            token_stream_measurement._kind("steady", [0.01, 0.001]),
            token_stream_measurement._disconnect(),
            token_stream_measurement._unread(),
        )
        async with asyncio.timeout(60):
            return list(await asyncio.gather(*parts))

    kind, left, unread = asyncio.run(test())
    assert [len(stream) for stream in kind["arrival_ms"]] == [12] * 4  # type: ignore[attr-defined]
    assert (kind["errors"], kind["finished"]) == ([], 4)
    assert left["gone"] == 1
    assert 10 <= int(str(left["generated"])) < 4096
    assert 0 < int(str(unread["generated_unread"])) < 1024 == unread["read"]
