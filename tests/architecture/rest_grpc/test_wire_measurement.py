"""The measurement against real servers: bytes are counted, answers compared, nothing left open."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

import grpc
import numpy as np
import pytest
from serving_mathematics.architecture.rest_grpc import wire_measurement
from serving_mathematics.architecture.rest_grpc.wire_measurement import ENCODINGS, _CountingProxy
from serving_mathematics.core.classifiers.digits_classifier import load_digits
from serving_mathematics.core.servers.wire_format import request_json, request_protobuf

from ...profiles import its_turn


def test_a_server_ends_calls_of_clients_that_ping_unless_it_permits_it() -> None:
    """What the page warns of: a call that waits without data, and a client that pings meanwhile."""
    end = threading.Event()

    class _Slow(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _: object) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda _, __: end.wait(60) and b"done")

    often = [("grpc.keepalive_time_ms", 100), ("grpc.http2.max_pings_without_data", 0)]
    permits = [("grpc.http2.max_ping_strikes", 0)]  # any number, at any pace
    servers, channels, calls = [], [], []
    try:
        for options in ([], permits):
            servers.append(grpc.server(futures.ThreadPoolExecutor(1), [_Slow()], options=options))
            port = servers[-1].add_insecure_port("127.0.0.1:0")
            servers[-1].start()
            channels.append(grpc.insecure_channel(f"127.0.0.1:{port}", options=often))
            calls.append(channels[-1].unary_unary("/a/b").future(b"", timeout=60))
        told = calls[0].exception()
        assert told.code() is grpc.StatusCode.UNAVAILABLE
        assert "pings" in told.details()
        assert not calls[1].done()
        end.set()
        assert calls[1].result() == b"done"
    finally:
        end.set()
        for channel in channels:
            channel.close()
        for server in servers:
            server.stop(0).wait()


def test_the_proxy_counts_both_directions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    while data := connection.recv(100):
                        connection.sendall(data * 3)

        thread = threading.Thread(target=serve)
        thread.start()
        with _CountingProxy(listener.getsockname()[1]) as proxy:
            for size in (10, 90_000):
                with socket.create_connection(("127.0.0.1", proxy.port), timeout=120) as client:
                    sender = threading.Thread(target=client.sendall, args=(b"x" * size,))
                    sender.start()
                    got = 0
                    while got < 3 * size:
                        got += len(client.recv(1 << 16))
                    sender.join()
            assert (proxy.sent, proxy.received) == (90_010, 270_030)
        thread.join()


def test_the_proxy_closes_when_the_server_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        _CountingProxy(port) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=120) as client,
    ):
        assert client.recv(10) == b""
        assert (proxy.sent, proxy.received) == (0, 0)


def decimals(numbers: Iterable[float]) -> int:
    """Digits behind the point of the number that has most."""
    return max(len(f"{number:.9f}".rstrip("0").partition(".")[2]) for number in numbers)


@its_turn(0)
def test_both_servers_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole measurement, made short: same answers, bytes as computed, nothing lost."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    for name, value in {"ROUNDS": 1, "CALLS": 2, "LOAD_S": 0.05, "LOAD_ROUNDS": 1}.items():
        monkeypatch.setattr(wire_measurement, name, value)
    began = time.perf_counter()
    record = wire_measurement._measure()
    whole_s = time.perf_counter() - began
    assert record["equal_answers_of_256"] == dict.fromkeys(ENCODINGS, 256)
    images = load_digits().test.pixels
    for row in record["wire"]:
        table = images[: row["rows"]]
        expected = {
            "json": len(request_json(table)),
            "compiled": len(request_json(table)),
            "binary": 4 * table.size + 138 + len(f"{len(table)}{4 * table.size}"),
            "protobuf": len(request_protobuf(table)),
            "raw": len(request_protobuf(table, raw=True)),
        }[row["encoding"]]
        assert row["request_bytes"] == expected
        assert row["sent_per_call"] >= expected
    assert all(len(row["ms"]) == 101 for row in record["latency"])
    shown = [decimals(ms for row in record["latency"] for ms in row["ms"])]
    shown += [decimals(ms for row in record["steps"] for ms in row["ms"].values())]
    shown += [decimals(ms for row in record["throughput"] for ms in row["mean_ms"])]
    shown += [decimals(rate for row in record["throughput"] for rate in row["per_s"])]
    assert shown == [4, 4, 4, 1]
    assert all(len(row["per_s"]) == 1 for row in record["throughput"])
    times = [ms for row in record["latency"] for ms in row["ms"]]
    times += [ms for row in record["steps"] for ms in row["ms"].values()]
    times += [ms for row in record["throughput"] for ms in row["mean_ms"]]
    assert 0 < min(times) <= max(times) < 1000 * whole_s
    each = wire_measurement.CLIENTS / whole_s  # one at least of every client
    assert all(rate >= each - 0.05 for row in record["throughput"] for rate in row["per_s"])
    assert {name for row in record["steps"] for name in row["ms"]} == {
        "client_encodes",
        "server_decodes",
        "model",
        "server_encodes",
        "client_decodes",
    }


def test_bytes_of_a_call_are_the_mean_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first call of 1,000 and 2,000 bytes, others of 100 and 30, and 7 that follow at the end."""

    class Proxy:
        """Counts what the calls through it are said to take."""

        port, sent, received = 9, 0, 0

        def __init__(self, port: int) -> None:
            assert port in (1, 2)

        def __enter__(self) -> Proxy:
            current.append(self)
            return self

        def __exit__(self, *_: object) -> None:
            pass

    current: list[Proxy] = []

    @contextlib.contextmanager
    def caller(port: int, encoding: str) -> Iterator[Callable[[bytes], bytes]]:
        assert port == 9
        assert encoding in ENCODINGS

        def call(_: bytes) -> bytes:
            first, proxy = not current[-1].sent, current[-1]
            proxy.sent += 1000 if first else 100
            proxy.received += 2000 if first else 30
            return b"answer"

        yield call

    def follow(_: float) -> None:
        current[-1].received += 7

    monkeypatch.setattr(wire_measurement, "_CountingProxy", Proxy)
    monkeypatch.setattr(wire_measurement, "_caller", caller)
    monkeypatch.setattr(wire_measurement.time, "sleep", follow)
    ports = dict(zip(sorted(set(wire_measurement.SERVERS.values())), (1, 2), strict=True))
    rows = wire_measurement._wire_bytes(ports, np.zeros((256, 64), np.float32))
    assert [(row["encoding"], row["rows"]) for row in rows] == [
        (encoding, count) for encoding in ENCODINGS for count in wire_measurement.ROWS
    ]
    for row in rows:
        assert (row["sent_first"], row["received_first"]) == (1000, 2000)
        assert (row["sent_per_call"], row["received_per_call"]) == (100.0, 30.4)  # 7 of twenty
        assert row["answer_bytes"] == 6


def test_requests_are_those_of_the_chapter() -> None:
    pixels = np.random.default_rng(0).random((3, 64)).astype(np.float32)
    sent = json.loads(wire_measurement._encode(pixels, "json"))
    assert sent == json.loads(request_json(pixels, shortest=False))
    compiled = wire_measurement._encode(pixels, "compiled")
    assert json.loads(compiled) == sent
    faint = np.full((1, 64), 1e-5, np.float32)  # Python writes two digits of an exponent, Rust one
    for encoding, exponent in (("json", b"e-06"), ("compiled", b"e-6")):
        assert exponent in wire_measurement._encode(faint, encoding)
    body = wire_measurement._encode(pixels, "binary")
    size = wire_measurement._object_end(body)
    assert body[size:] == pixels.tobytes()
    assert json.loads(body[:size])["inputs"][0]["parameters"] == {"binary_data_size": 768}
    assert wire_measurement._encode(pixels, "protobuf") == request_protobuf(pixels)
    assert wire_measurement._encode(pixels, "raw") == request_protobuf(pixels, raw=True)


def test_errors_end_the_measurement() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 503 Full\r\nContent-Length: 4\r\n\r\nfull")

        thread = threading.Thread(target=refuse)
        thread.start()
        port = listener.getsockname()[1]
        with (
            wire_measurement._caller(port, "json") as call,
            pytest.raises(RuntimeError, match="503: b'full'"),
        ):
            call(b"{}")
        thread.join()
