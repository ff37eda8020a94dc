"""The measurement against real servers: answers are compared, and nothing is left open."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable
from concurrent import futures

import grpc
import numpy as np
import pytest
from serving_mathematics.architecture.rest_grpc import wire_measurement
from serving_mathematics.architecture.rest_grpc.wire_measurement import ENCODINGS
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


def decimals(numbers: Iterable[float]) -> int:
    """Digits behind the point of the number that has most."""
    return max(len(f"{number:.9f}".rstrip("0").partition(".")[2]) for number in numbers)


@its_turn(0)
def test_both_servers_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole measurement, made short: same answers, nothing lost."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    for name, value in {"ROUNDS": 1, "CALLS": 2}.items():
        monkeypatch.setattr(wire_measurement, name, value)
    began = time.perf_counter()
    record = wire_measurement._measure()
    whole_s = time.perf_counter() - began
    assert record["equal_answers_of_256"] == dict.fromkeys(ENCODINGS, 256)
    assert all(len(row["ms"]) == 101 for row in record["latency"])
    shown = [decimals(ms for row in record["latency"] for ms in row["ms"])]
    shown += [decimals(ms for row in record["steps"] for ms in row["ms"].values())]
    assert shown == [4, 4]
    times = [ms for row in record["latency"] for ms in row["ms"]]
    times += [ms for row in record["steps"] for ms in row["ms"].values()]
    assert 0 < min(times) <= max(times) < 1000 * whole_s
    assert {name for row in record["steps"] for name in row["ms"]} == {
        "client_encodes",
        "server_decodes",
        "model",
        "server_encodes",
        "client_decodes",
    }


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
