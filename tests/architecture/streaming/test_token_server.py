"""The real server with a real client: streams, slow readers, disconnects and bad input.

Bounded in load and time; no test asserts milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming import token_server
from serving_mathematics.architecture.streaming.event_stream import StreamError, TokenReader
from serving_mathematics.architecture.streaming.token_server import (
    Generation,
    Limits,
    Refusal,
    TokenStream,
    create_app,
    main,
    paced,
    parse_generation,
    read_body,
    serving,
)

ROOT = Path(__file__).parents[3]
ASK: dict[str, object] = {"prompt": "Hi", "max_tokens": 5}
Client = Callable[[httpx.AsyncClient, Counter[str]], Awaitable[None]]


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine, and fail instead of hanging."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await test

    asyncio.run(bounded())


def with_server(
    generate: Callable[[Generation], AsyncGenerator[str, None]], limits: Limits, client: Client
) -> Counter[str]:
    """Run a client against a server; nothing may be left inside, and the counts must add up."""
    app = create_app(generate, limits)
    counts: Counter[str] = app.state.counts

    async def test() -> None:
        async with serving(app) as port:
            base = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
                await client(http, counts)
            await until(lambda: counts["inside"] == 0)

    run(test())
    ends = sum(counts[end] for end in ("finished", "failed", "gone", "stalled"))
    assert counts["accepted"] == ends
    return counts


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task does."""
    while not condition():
        await asyncio.sleep(0.002)


def port_of(http: httpx.AsyncClient) -> int:
    assert http.base_url.port is not None
    return http.base_url.port


async def read_all(http: httpx.AsyncClient, ask: object = ASK) -> list[str]:
    reader, tokens = TokenReader(), []
    async with http.stream("POST", "/v1/stream", json=ask) as response:
        assert response.status_code == 200
        async for chunk in response.aiter_bytes():
            tokens += list(reader.feed(chunk))
    reader.finish()
    return tokens


class Model:
    """A model whose next token comes when the test says so; it remembers how it ended."""

    def __init__(self, text: str = "word") -> None:
        self.turns: asyncio.Queue[None] = asyncio.Queue()
        self.text = text
        self.generated = 0
        self.closed = 0

    async def __call__(self, asked: Generation) -> AsyncGenerator[str, None]:
        try:
            for _ in range(asked.max_tokens):
                await self.turns.get()
                self.generated += 1
                yield self.text
        finally:
            self.closed += 1


def test_tokens_arrive_as_they_are_generated() -> None:
    """Each token is read before the next is generated: nothing on the way collects them."""
    model = Model("Grüße\n\u2028")

    async def client(http: httpx.AsyncClient, _: Counter[str]) -> None:
        reader = TokenReader()
        async with http.stream("POST", "/v1/stream", json=ASK) as response:
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["x-accel-buffering"] == "no"
            chunks = response.aiter_bytes()
            for sent in range(5):
                model.turns.put_nowait(None)
                assert list(reader.feed(await anext(chunks))) == ["Grüße\n\u2028"]
                assert model.generated == sent + 1
            async for chunk in chunks:
                assert list(reader.feed(chunk)) == []
            reader.finish()

    counts = with_server(model, Limits(), client)
    assert (counts["finished"], counts["tokens"], model.closed) == (1, 5, 1)


def test_the_wire_format_is_exact() -> None:
    async def client(http: httpx.AsyncClient, _: Counter[str]) -> None:
        response = await http.post("/v1/stream", json={"prompt": "Hi", "max_tokens": 2})
        one = b'data: {"token": "a"}\n\n'
        assert response.content == one + one + b"data: [DONE]\n\n"

    with_server(paced([0.0], "a"), Limits(), client)


@pytest.mark.parametrize("first", [0, 3])
def test_a_disconnect_stops_the_model(first: int) -> None:
    """Before the first token or in the middle: the model is closed and generates nothing more."""
    model = Model()

    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        async with http.stream("POST", "/v1/stream", json=ASK) as response:
            chunks = response.aiter_bytes()
            for _ in range(first):
                model.turns.put_nowait(None)
                await anext(chunks)
        await until(lambda: counts["gone"] == 1)
        assert model.closed == 1
        for _ in range(10):
            model.turns.put_nowait(None)
        await asyncio.sleep(0)
        assert model.generated == first
        assert await read_all(http) == ["word"] * 5

    counts = with_server(model, Limits(), client)
    assert (counts["gone"], counts["finished"]) == (1, 1)


async def open_socket(port: int) -> socket.socket:
    """A connection that is read and closed as the test says."""
    client = socket.socket()
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


def request_bytes(ask: object, *headers: str) -> bytes:
    body = json.dumps(ask)
    lines = ("POST /v1/stream HTTP/1.1", "Host: x", "Content-Type: application/json", *headers)
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", body)).encode()


async def settled(counts: Counter[str]) -> int:
    """Wait until tokens no longer increase; a machine that is slow stops early, which is safe."""
    before = 0
    while before != counts["tokens"] or not before:
        before = counts["tokens"]
        await asyncio.sleep(0.2)
    return before


def test_a_slow_reader_holds_the_model_and_loses_nothing() -> None:
    """256 MiB are asked for and not read: less than half of it is generated, until they are."""
    tokens, padding = 2048, "x" * 2**17

    async def numbered(asked: Generation) -> AsyncGenerator[str, None]:
        for i in range(asked.max_tokens):
            await asyncio.sleep(0)
            yield f"{i} {padding}"

    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)]
        transport = httpx.AsyncHTTPTransport(socket_options=options)
        ask = {"prompt": "Hi", "max_tokens": tokens}
        async with (
            httpx.AsyncClient(transport=transport, base_url=http.base_url, timeout=120) as slow,
            slow.stream("POST", "/v1/stream", json=ask) as response,
        ):
            held = await settled(counts)
            assert held < tokens / 2
            small = await read_all(http, {"prompt": "Hi", "max_tokens": 1})  # others go on
            assert small == [f"0 {padding}"]
            assert counts["inside"] == 1
            reader, got = TokenReader(), list[str]()
            async for chunk in response.aiter_bytes():
                got += [token.split()[0] for token in reader.feed(chunk)]
                if len(got) > held + 20:
                    break
        assert got == [str(i) for i in range(len(got))]

    counts = with_server(numbered, Limits(queue_tokens=4), client)
    assert (counts["finished"], counts["gone"]) == (1, 1)
    assert counts["tokens"] < tokens


@pytest.mark.parametrize("queue_tokens", [1, 5])
def test_the_queue_is_bounded(queue_tokens: int) -> None:
    """With a writer that never gets on, the model ends at the queue's length and one in hand."""
    model = Model()

    async def test() -> None:
        counts = Counter[str]()
        stream = TokenStream(model(Generation(prompt="Hi")), counts, Limits(2, queue_tokens))
        stuck, left = asyncio.Event(), asyncio.Event()

        async def send(_message: object) -> None:
            await stuck.wait()

        async def receive() -> dict[str, str]:
            await left.wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        task = asyncio.create_task(stream(scope, receive, send))
        for _ in range(100):
            model.turns.put_nowait(None)
        await until(lambda: counts["tokens"] == queue_tokens)
        for _ in range(200):
            await asyncio.sleep(0)
        assert model.generated == queue_tokens + 1
        assert counts["inside"] == 1
        left.set()
        await task
        assert (counts["inside"], counts["gone"], model.closed) == (0, 1, 1)

    run(test())


def test_a_server_that_raises_on_send_is_understood() -> None:
    """ASGI 2.4 tells the application by an OSError that its client has left."""
    model = Model()

    async def test() -> None:
        counts = Counter[str]()
        stream = TokenStream(model(Generation(prompt="Hi")), counts, Limits())

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                raise BrokenPipeError("gone")

        async def receive() -> dict[str, str]:
            raise AssertionError("nothing to receive")

        model.turns.put_nowait(None)
        await stream({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
        assert (counts["inside"], counts["gone"], model.closed) == (0, 1, 1)

    run(test())


def test_a_client_that_takes_nothing_loses_its_place(caplog: pytest.LogCaptureFixture) -> None:
    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        slow = await open_socket(port_of(http))
        try:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, request_bytes({"prompt": "Hi", "max_tokens": 4096}))
            await until(lambda: counts["stalled"] == 1)
            assert counts["inside"] == 0
        finally:
            slow.close()

    with caplog.at_level(logging.ERROR):
        with_server(paced([0.0], "x" * 2**17), Limits(write_s=0.3), client)
    assert [record.getMessage() for record in caplog.records] == [
        "ASGI callable returned without completing response."
    ]


def test_excess_streams_are_refused_and_places_come_back() -> None:
    model = Model()

    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        inside = [asyncio.create_task(read_all(http)) for _ in range(3)]
        await until(lambda: counts["inside"] == 3)
        excess = [await http.post("/v1/stream", json=ASK) for _ in range(6)]
        assert {response.status_code for response in excess} == {503}
        assert [response.headers["retry-after"] for response in excess] == list("123123")
        assert excess[0].json() == {"error": "3 streams are being sent, try later"}
        for _ in range(20):
            model.turns.put_nowait(None)
        assert await asyncio.gather(*inside) == [["word"] * 5] * 3
        await until(lambda: counts["inside"] == 0)
        assert await read_all(http) == ["word"] * 5

    counts = with_server(model, Limits(streams=3), client)
    assert (counts["refused"], counts["finished"], counts["tokens"]) == (6, 4, 20)


def test_a_model_that_fails_says_so_in_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(asked: Generation) -> AsyncGenerator[str, None]:
        yield asked.prompt
        raise RuntimeError("out of memory")

    async def client(http: httpx.AsyncClient, _: Counter[str]) -> None:
        with pytest.raises(StreamError, match="event 2: the server failed: failed"):
            await read_all(http)

    counts = with_server(fails, Limits(), client)
    assert counts["failed"] == 1
    assert [record.getMessage() for record in caplog.records] == ["the model failed"]


JSON = {"content-type": "application/json"}
BAD: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "no content type": ({}, b'{"prompt": "a"}', 415, "content type"),
    "text": ({"content-type": "text/plain"}, b'{"prompt": "a"}', 415, "'text/plain'"),
    "form": ({"content-type": "application/x-www-form-urlencoded"}, b"prompt=a", 415, "must be"),
    "empty": (JSON, b"", 422, "body: Invalid JSON"),
    "truncated": (JSON, b'{"prompt": "a', 422, "body: Invalid JSON"),
    "two values": (JSON, b'{"prompt": "a"}{}', 422, "body: Invalid JSON"),
    "not UTF-8": (JSON, b'{"prompt": "\xff"}', 422, "body: Invalid JSON"),
    "half a surrogate": (JSON, b'{"prompt": "\\ud800"}', 422, "body: Invalid JSON"),
    "deep": (JSON, b"[" * 60_000, 422, "body: Invalid JSON"),
    "array": (JSON, b"[]", 422, "body: Input should be"),
    "null": (JSON, b"null", 422, "body: Input should be"),
    "no prompt": (JSON, b"{}", 422, "prompt: Field required"),
    "empty prompt": (JSON, b'{"prompt": ""}', 422, "prompt: String should have at least 1"),
    "long prompt": (JSON, b'{"prompt": "%s"}' % (b"a" * 8193), 422, "at most 8192"),
    "unknown field": (JSON, b'{"prompt": "a", "model": "b"}', 422, "model: Extra inputs"),
    "zero": (JSON, b'{"prompt": "a", "max_tokens": 0}', 422, "greater than or equal to 1"),
    "negative": (JSON, b'{"prompt": "a", "max_tokens": -1}', 422, "max_tokens: Input"),
    "fraction": (JSON, b'{"prompt": "a", "max_tokens": 1.5}', 422, "max_tokens: Input"),
    "infinite": (JSON, b'{"prompt": "a", "max_tokens": 1e999}', 422, "max_tokens: Input"),
    "NaN": (JSON, b'{"prompt": "a", "max_tokens": NaN}', 422, "max_tokens: Input"),
    "huge": (JSON, b'{"prompt": "a", "max_tokens": %s}' % (b"9" * 5000), 422, ""),
    "boolean": (JSON, b'{"prompt": "a", "max_tokens": true}', 422, "max_tokens: Input"),
    "text number": (JSON, b'{"prompt": "a", "max_tokens": "5"}', 422, "valid integer"),
    "long": (JSON, b" " * 65537, 413, "at most 65536 bytes"),
}


def test_bad_requests_get_clean_errors(caplog: pytest.LogCaptureFixture) -> None:
    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        for name, (headers, body, status, reason) in BAD.items():
            response = await http.post("/v1/stream", content=body, headers=headers)
            assert response.status_code == status, name
            assert list(response.json()) == ["error"], name
            assert reason in response.json()["error"], name
            assert len(response.content) < 1000, name
        assert counts["bad"] == len(BAD)
        assert (await http.get("/v1/stream")).status_code == 405
        assert (await http.post("/v2/stream", json=ASK)).status_code == 404
        assert (await http.get("/docs")).status_code == 404
        assert (await http.get("/v1/counts")).json()["bad"] == len(BAD)
        assert await read_all(http) == ["word"] * 5

    with_server(paced([0.0]), Limits(), client)
    assert not caplog.records


async def raw(port: int, request: bytes, *, close: bool = False) -> bytes:
    """What the server answers to bytes that no HTTP library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if close:
            writer.write_eof()
        return await reader.read(2**16)
    except ConnectionError:
        return b""
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def test_broken_connections_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Garbage, bodies that never end, resets and half-closed sockets, all at once."""

    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        port, ask = port_of(http), request_bytes(ASK)
        assert (await raw(port, b"\x16\x03\x01\x02garbage\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await raw(port, b"GET / HTTP/1.1\r\nno colon\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        head = b"POST /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for length in (b"ten", b"-1", b"1e3", b"1\r\nContent-Length: 2", b"9" * 5000):
            answer = await raw(port, head + b"Content-Length: " + length + b"\r\n\r\n{}")
            assert answer.startswith(b"HTTP/1.1 400 "), length
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
        endless = chunked + b"ffff\r\n" + b" " * 0xFFFF + b"\r\n" + b"2\r\n  \r\n"
        assert (await raw(port, endless)).startswith(b"HTTP/1.1 413 ")
        assert (await raw(port, chunked + b"zz\r\n")).startswith(b"HTTP/1.1 400 ")
        await raw(port, ask[:-5], close=True)  # truncated body
        await raw(port, ask[:20], close=True)  # truncated head
        await raw(port, ask, close=True)
        for cut in (0, 20, len(ask) - 1, len(ask)):
            reset = await open_socket(port)
            reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.get_running_loop().sock_sendall(reset, ask[:cut])
            reset.close()  # sends a reset instead of an end
        assert await asyncio.gather(*(read_all(http) for _ in range(5))) == [["word"] * 5] * 5
        await until(lambda: counts["inside"] == 0)

    with_server(paced([0.0]), Limits(), client)
    assert {record.levelname for record in caplog.records} <= {"WARNING"}
    assert {record.getMessage() for record in caplog.records} == {"Invalid HTTP request received."}


def test_a_body_that_does_not_come_is_refused() -> None:
    async def client(http: httpx.AsyncClient, counts: Counter[str]) -> None:
        answer = await raw(port_of(http), request_bytes(ASK)[:-5])
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the body did not arrive in 0.2 s" in answer
        assert counts["accepted"] == 0

    with_server(paced([0.0]), Limits(read_s=0.2), client)


def test_requests_are_parsed_strictly() -> None:
    assert parse_generation(b'{"prompt": "a"}') == Generation(prompt="a", max_tokens=128)
    with pytest.raises(Refusal, match="max_tokens: Input should be less than") as refusal:
        parse_generation(b'{"prompt": "a", "max_tokens": 4097}')
    with pytest.raises(Refusal, match="body: 'prompt' must be given once, got it twice"):
        parse_generation(b'{"prompt": "a", "prompt": "b"}')
    assert refusal.value.status == 422
    assert asyncio.iscoroutinefunction(read_body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.binary(max_size=50)
    | st.builds(lambda value: json.dumps(value).encode(), json_values)
    | st.builds(
        lambda prompt, tokens: json.dumps({"prompt": prompt, "max_tokens": tokens}).encode(),
        json_values,
        json_values,
    )
)
def test_any_body_is_a_request_or_a_refusal(body: bytes) -> None:
    try:
        asked = parse_generation(body)
    except Refusal as refusal:
        status, reason = refusal.status, f"{refusal}"
    else:
        status, value = 200, json.loads(body)
        assert asked.prompt == value["prompt"]
        assert type(value.get("max_tokens", 128)) is int
        assert 1 <= asked.max_tokens == value.get("max_tokens", 128) <= 4096
        reason = "fine"
    assert status in (200, 422)
    assert 0 < len(reason) < 1000


def test_stopping_the_server_closes_the_model() -> None:
    """A stream that does not end in time is cut, and its client can tell."""
    model = Model()
    app = create_app(model)

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            port = await stack.enter_async_context(serving(app))
            http = httpx.AsyncClient(timeout=120, trust_env=False)
            async with (
                http,
                http.stream("POST", f"http://127.0.0.1:{port}/v1/stream", json=ASK) as got,
            ):
                chunks, reader = got.aiter_bytes(), TokenReader()
                model.turns.put_nowait(None)
                assert list(reader.feed(await anext(chunks))) == ["word"]
                await stack.aclose()
                await until(lambda: app.state.counts["inside"] == 0)
                assert model.closed == 1
                with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
                    await anext(chunks)
                with pytest.raises(StreamError, match="without"):
                    reader.finish()

    run(test())


@pytest.mark.parametrize("gaps", [[], {}, 3, "1", None])
def test_a_model_without_gaps_is_refused(gaps: Any) -> None:
    with pytest.raises(ValueError, match="gaps_s must be a list of one number or more"):
        paced(gaps)


@pytest.mark.parametrize("gap", ["NaN", "Infinity", "-0.1", "1e999", '"1"', "true", "null", "[]"])
def test_gaps_that_would_hang_a_stream_are_refused(gap: str) -> None:
    with pytest.raises(ValueError, match="gaps_s must be numbers from 0 to 3600"):
        paced([0.0, json.loads(gap)])


def test_a_head_that_does_not_come_ends_its_connection() -> None:
    """Silent connections and half a head, also as a second request, while streams go on."""

    async def test() -> None:
        model = Model()
        app = create_app(model)
        async with serving(app, head_s=1) as port:
            base = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
                stream = asyncio.create_task(read_all(http))
                await until(lambda: app.state.counts["inside"] == 1)
                ask = request_bytes(ASK)
                late = [raw(port, b""), raw(port, ask[:20]), raw(port, b"GET / HTTP/1.0\r\nA: ")]
                assert await asyncio.gather(*late) == [b"", b"", b""]
                for _ in range(5):  # the stream is older than a head may be
                    model.turns.put_nowait(None)
                assert await stream == ["word"] * 5

    run(test())


def test_as_many_connections_are_open_as_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more takes the place of the one that has been idle for longest."""
    monkeypatch.setattr(token_server, "CONNECTIONS", 2)

    async def test() -> None:
        async with serving(create_app(paced([0.0]))) as port:
            base, first = f"http://127.0.0.1:{port}", b""
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:
                assert await read_all(http)
                with contextlib.suppress(TimeoutError):
                    first = await asyncio.wait_for(reader.read(1), 0.1)
                assert first == b""
                assert not reader.at_eof()
                _, another = await asyncio.open_connection("127.0.0.1", port)
                assert await read_all(http)
                assert b" 503 " in await reader.readline()
            for one in (writer, another):
                one.close()

    run(test())


def test_the_command_serves_and_ends() -> None:
    """On SIGTERM the stream inside is finished, and the process ends with status 0."""
    assert asyncio.iscoroutinefunction(main)
    command = [
        sys.executable,
        "-m",
        "serving_mathematics.architecture.streaming.token_server",
        "--gaps",
        "[0.0, 0.1]",
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            url = f"http://127.0.0.1:{port}/v1/stream"
            with httpx.stream("POST", url, json=ASK, timeout=120, trust_env=False) as answer:
                chunks = answer.iter_bytes()
                first = next(chunks)
                server.terminate()
                assert (first + b"".join(chunks)).count(b"data: ") == 6
            assert server.wait(timeout=120) == 0
        finally:
            server.kill()
