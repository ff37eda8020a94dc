"""The real gRPC server with good requests, bad ones, slow clients, dropped connections and SIGTERM.

Bounded in load and time; no test asserts milliseconds.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc_tools.protoc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.servers.grpc_server import (
    SCHEMA,
    SERVICE,
    GrpcLimits,
    create_server,
    messages,
    read_pixels,
    serve_grpc,
)
from serving_mathematics.core.servers.wire_format import (
    GRPC_RECEIVE_BYTES,
    field,
    most_rows,
    request_protobuf,
)

from tests.architecture.failing_models import FAILING
from tests.architecture.rest_clients import Gate, run, serves_until_sigterm, until

ROOT = Path(__file__).parents[3]
KINDS = messages()


class Running:
    """A server in this process, its port and counts, and a channel to it."""

    def __init__(self, server: Any, port: int, counts: Counter[str], channel: Any) -> None:
        self.server, self.port, self.counts, self.channel = server, port, counts, channel

    def call(self, method: str, data: bytes, timeout: float | None = 20) -> Any:
        return self.channel.unary_unary(f"/{SERVICE}/{method}")(data, timeout=timeout)

    async def infer(self, data: bytes, timeout: float | None = 20) -> grpc.StatusCode:
        return (await self.outcome(data, timeout))[0]

    async def outcome(self, data: bytes, timeout: float | None = 20) -> tuple[Any, str]:
        call = self.call("ModelInfer", data, timeout)
        return await call.code(), await call.details()


@contextlib.asynccontextmanager
async def running(model: Any, limits: GrpcLimits | None = None) -> AsyncIterator[Running]:
    counts = Counter[str]()
    server = create_server(model, limits, counts)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        try:
            yield Running(server, port, counts, channel)
        finally:
            await server.stop(20)
    assert counts["accepted"] == counts["done"]
    assert counts["done"] == counts["answered"] + counts["failed"] + counts["expired"]


GOOD = request_protobuf(np.full((1, 64), 0.5))


def request(rows: int = 1, numbers: Any = None, **change: Any) -> bytes:
    floats = np.full(64 * rows, 0.5) if numbers is None else numbers
    tensor = {"name": "pixels", "datatype": "FP32", "shape": [rows, 64]} | change
    contents = {"fp32_contents": floats}
    kind = KINDS["ModelInferRequest"]
    message = kind(model_name="digits", inputs=[tensor | {"contents": contents}])
    return bytes(message.SerializeToString())


def test_good_requests_are_answered() -> None:
    async def test() -> None:
        async with running(Gate()) as server:
            for method, name in (("ServerLive", "live"), ("ServerReady", "ready")):
                answer = KINDS[f"{method}Response"].FromString(await server.call(method, b""))
                assert getattr(answer, name) is True
            asked = KINDS["ModelMetadataRequest"](name="digits").SerializeToString()
            answer = await server.call("ModelMetadata", asked)
            metadata = KINDS["ModelMetadataResponse"].FromString(answer)
            assert list(metadata.inputs[0].shape) == [-1, 64]
            assert list(metadata.outputs[0].shape) == [-1, 10]
            assert metadata.outputs[0].datatype == "FP32"
            pixels = np.random.default_rng(0).random((256, 64)).astype(np.float32)
            expected = pixels.astype(float).sum(axis=1).astype(np.float32)
            for raw in (False, True):
                data = await server.call("ModelInfer", request_protobuf(pixels, raw=raw))
                answer = KINDS["ModelInferResponse"].FromString(data)
                assert list(answer.outputs[0].shape) == [256, 10]
                floats = answer.outputs[0].contents.fp32_contents
                assert len(answer.raw_output_contents) == raw
                scores = np.frombuffer(answer.raw_output_contents[0], "<f4") if raw else floats
                np.testing.assert_array_equal(np.reshape(scores, (256, 10))[:, 7], expected)
            assert server.counts["answered"] == 2

    run(test())


RAW = request_protobuf(np.full((1, 64), 0.5), raw=True)
NAN = struct.pack("<f", float("nan"))
BAD = {
    "garbage": b"\xff" * 20,
    "truncated": GOOD[:-3],
    "not UTF-8": field(1, b"\xff\xfe"),
    "no input": field(1, "digits"),
    "two inputs": GOOD + GOOD[8:],
    "NaN": request(numbers=[float("nan")] * 64),
    "NaN in raw bytes": RAW[:-4] + NAN,
    "above 1": request(numbers=[0.5] * 63 + [1.0000002]),
    "below 0": request(numbers=[-1e-9] + [0.5] * 63),
    "63 numbers": request(numbers=[0.5] * 63),
    "raw bytes cut": request_protobuf(np.zeros((1, 64))) + field(7, b"abc"),
    "raw and packed": GOOD + field(7, b"\x00" * 256),
    "raw twice": RAW + field(7, b"\x00" * 256),
    "raw too short": RAW[: -(256 + 3)] + field(7, b"\x00" * 255),
    "63 columns": request(numbers=[0.5] * 63, shape=[1, 63]),
    "no rows": request(numbers=[], shape=[0, 64]),
    "257 rows": request(257),
    "three sizes": request(shape=[1, 8, 8]),
    "huge shape": request(shape=[2**62, 64]),
    "wrapped shape": request(numbers=[], shape=[2**58, 64]),
    "FP64": request(datatype="FP64"),
    "other name": request(name="image"),
}


def test_bad_requests_get_invalid_argument(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        gate = Gate()
        async with running(gate) as server:
            for name, data in BAD.items():
                code, details = await server.outcome(data)
                assert code is grpc.StatusCode.INVALID_ARGUMENT, (name, code, details)
                assert 0 < len(details) < 200, name
            code = await server.infer(field(1, "other") + GOOD[8:])
            assert code is grpc.StatusCode.NOT_FOUND
            call = server.call("ModelMetadata", b"")
            assert await call.code() is grpc.StatusCode.NOT_FOUND
            unknown = server.call("ModelTrain", b"")
            assert await unknown.code() is grpc.StatusCode.UNIMPLEMENTED
            assert gate.seen["calls"] == server.counts["accepted"] == 0
            assert await server.infer(GOOD) is grpc.StatusCode.OK

    with caplog.at_level(logging.WARNING):
        run(test())
    assert caplog.records == []


def test_large_messages_are_refused() -> None:
    async def test() -> None:
        async with running(Gate(), GrpcLimits(message_bytes=10_000)) as server:
            padding = b"\x00" * (10_000 - len(GOOD) - 4)
            fits = GOOD + field(100, padding)
            assert len(fits) == 10_000
            assert await server.infer(fits) is grpc.StatusCode.OK
            over = GOOD + field(100, padding + b"\x00")
            assert await server.infer(over) is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await server.infer(GOOD) is grpc.StatusCode.OK

    run(test())


def test_full_servers_refuse_at_once_and_stay_healthy() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate, GrpcLimits(places=2, workers=1)) as server:
            inside = [asyncio.create_task(server.infer(GOOD)) for _ in range(2)]
            await until(lambda: server.counts["accepted"] == 2)
            refused = server.call("ModelInfer", GOOD)
            assert await refused.code() is grpc.StatusCode.UNAVAILABLE
            assert await refused.details() == "2 requests are inside, try later"
            assert ("grpc-retry-pushback-ms", "1000") in tuple(await refused.trailing_metadata())
            unread = server.call("ModelInfer", b"no protobuf")
            assert await unread.code() is grpc.StatusCode.UNAVAILABLE
            assert await server.call("ServerReady", b"") == b"\x08\x01"
            assert gate.seen["calls"] == 1
            gate.open.set()
            assert await asyncio.gather(*inside) == [grpc.StatusCode.OK] * 2
        assert server.counts["refused"] == 2

    run(test())


def test_deadlines_and_leaving_clients_cost_no_work() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate) as server:
            first = asyncio.create_task(server.infer(GOOD))
            await until(lambda: gate.seen["calls"] == 1)
            leaving = server.call("ModelInfer", GOOD)
            await until(lambda: server.counts["accepted"] == 2)
            while server.counts["accepted"] == 2:  # a slow machine is late before it is accepted
                assert await server.infer(GOOD, timeout=0.2) is grpc.StatusCode.DEADLINE_EXCEEDED
            leaving.cancel()
            await until(lambda: server.counts["expired"] == server.counts["accepted"] - 1)
            gate.open.set()
            assert await first is grpc.StatusCode.OK
        assert gate.seen["calls"] == 1

    run(test())


def test_the_model_stays_taken_when_its_client_leaves() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate, GrpcLimits(workers=1)) as server:
            leaving = server.call("ModelInfer", GOOD)
            await until(lambda: gate.seen["calls"] == 1)
            leaving.cancel()
            await until(lambda: server.counts["expired"] == 1)
            stays = asyncio.create_task(server.infer(GOOD))
            await until(lambda: server.counts["accepted"] == 2)
            assert await server.call("ServerLive", b"") == b"\x08\x01"
            assert gate.seen["calls"] == 1
            gate.open.set()
            assert await stays is grpc.StatusCode.OK
        assert gate.seen["calls"] == 2

    run(test())


@pytest.mark.parametrize("model", FAILING)
def test_failing_models_give_internal_without_details(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with running(model, GrpcLimits(places=1)) as server:
            for _ in range(2):
                assert await server.outcome(GOOD) == (grpc.StatusCode.INTERNAL, "the model failed")
        assert server.counts["failed"] == 2

    run(test())
    assert [record.message for record in caplog.records] == ["the model failed"] * 2


def test_what_was_accepted_is_answered_after_stop() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate) as server:
            inside = [asyncio.create_task(server.infer(GOOD)) for _ in range(3)]
            await until(lambda: server.counts["accepted"] == 3)
            stopping = asyncio.create_task(server.server.stop(20))
            crossing = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
            while (code := await server.infer(GOOD, timeout=0.5)) != grpc.StatusCode.UNAVAILABLE:
                assert code in crossing  # it came before the stop, or while it took effect
            assert server.counts["answered"] == 0
            gate.open.set()
            assert await asyncio.gather(*inside) == [grpc.StatusCode.OK] * 3
            await stopping

    run(test())


def test_process_ends_with_status_0_on_sigterm() -> None:
    def ask(port: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer = channel.unary_unary(f"/{SERVICE}/ModelInfer")(GOOD, timeout=120)
        assert list(KINDS["ModelInferResponse"].FromString(answer).outputs[0].shape) == [1, 10]

    serves_until_sigterm("core.servers.grpc_server", ask)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame: 9 bytes of header (RFC 9113, section 4.1) and its payload."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def half_a_call(content_type: bytes = b"application/grpc") -> bytes:
    """Preface, settings and the head of a call whose message never comes."""
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": f"/{SERVICE}/ModelInfer".encode(),
        b":authority": b"x",
        b"te": b"trailers",
        b"content-type": content_type,
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in fields.items()
    )
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block)


def test_slow_and_broken_connections_are_closed(caplog: pytest.LogCaptureFixture) -> None:
    limits = GrpcLimits(handshake_s=0.5, connection_age_s=0.5, age_grace_s=0.5)

    async def closed(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                return await reader.read()
            return b"reset"
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def test() -> None:
        async with running(Gate(), limits) as server:
            stuck = [
                asyncio.create_task(closed(server.port, data))
                for data in (
                    b"",
                    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                    half_a_call()[:10],
                    half_a_call()[:30],
                    half_a_call(),
                    half_a_call() + frame(0, 0, 1, b"\x00\x00\x00\x01\x00" + GOOD[:9]),
                    half_a_call() + frame(0, 1, 1, b"\x00\x00\x00\x01\x00" + GOOD[:9]),
                    half_a_call() + frame(0, 1, 1, b"\x00\xff\xff\xff\xff"),
                    half_a_call(b"text/plain"),
                    half_a_call() + frame(0, 0, 1, b"x")[:-1] + b"\xff" * 40,
                )
            ]
            assert await server.infer(GOOD) is grpc.StatusCode.OK
            await asyncio.gather(*stuck)
            assert await server.infer(GOOD) is grpc.StatusCode.OK
            assert server.counts["accepted"] == 2

    with caplog.at_level(logging.WARNING):
        run(test())
    assert caplog.records == []


def test_dropped_connections_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate) as server:
            for data in (b"", half_a_call()[:9], half_a_call()):
                with socket.create_connection(("127.0.0.1", server.port)) as client:
                    client.sendall(data)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            message = b"\x00" + struct.pack(">I", len(GOOD)) + GOOD
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(half_a_call() + frame(0, 1, 1, message))
                await until(lambda: gate.seen["calls"] == 1)
            stays = asyncio.create_task(server.infer(GOOD))
            gate.open.set()
            assert await stays is grpc.StatusCode.OK
            await until(lambda: server.counts["done"] == 2)

    with caplog.at_level(logging.WARNING):
        run(test())
    assert caplog.records == []


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda tail: GOOD[:40] + tail))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    from google.protobuf.message import DecodeError

    with contextlib.suppress(DecodeError, ValueError):
        pixels = read_pixels(KINDS["ModelInferRequest"].FromString(data))
        assert pixels.shape[1] == 64
        assert pixels.min() >= 0
        assert pixels.max() <= 1


def test_the_proto_file_is_the_schema(tmp_path: Path) -> None:
    """protoc turns the file into the descriptor that the server builds from its table."""
    out, folder = tmp_path / "set", Path(__file__).parent
    arguments = ["protoc", f"-I{folder}", f"--descriptor_set_out={out}", "inference.proto"]
    assert grpc_tools.protoc.main(arguments) == 0
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    written = descriptor_pb2.FileDescriptorProto()
    KINDS["ModelInferRequest"].DESCRIPTOR.file.CopyToProto(written)
    assert {m.name for m in file.message_type} == SCHEMA.keys()
    for message in file.message_type:
        for one in message.field:
            one.ClearField("json_name")
    for message in written.message_type:
        for one in message.field:
            one.ClearField("json_name")
    assert list(file.message_type) == list(written.message_type)
    (service,) = file.service
    assert f"{file.package}.{service.name}" == SERVICE
    methods = {method.name for method in service.method}
    assert methods == {"ServerLive", "ServerReady", "ModelMetadata", "ModelInfer"}


def test_ports() -> None:
    for port in (-1, 65_536):
        with pytest.raises(ValueError, match=r"port must be in \[0, 65535\]"):
            asyncio.run(serve_grpc(Gate(), port))

    async def test() -> None:
        async with running(Gate()) as server:
            with pytest.raises(RuntimeError, match="Failed to bind"):  # no second one beside it
                create_server(Gate()).add_insecure_port(f"127.0.0.1:{server.port}")

    run(test())


def test_the_default_limit_of_the_library_is_four_mebibytes() -> None:
    """A plain server of the installed library takes a message of `GRPC_RECEIVE_BYTES`, and refuses
    one byte more; what `most_rows` says fits is taken."""
    service = grpc.method_handlers_generic_handler(
        "plain.Echo",
        {"Size": grpc.unary_unary_rpc_method_handler(lambda body, _: str(len(body)).encode())},
    )
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            size = channel.unary_unary("/plain.Echo/Size")
            images = np.zeros((most_rows(64), 64))
            for body in (bytes(GRPC_RECEIVE_BYTES), request_protobuf(images, raw=True)):
                assert int(size(body, timeout=120)) == len(body)
            with pytest.raises(grpc.RpcError) as refused:
                size(bytes(GRPC_RECEIVE_BYTES + 1), timeout=120)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    finally:
        server.stop(None).wait(120)


def test_limits_reach_the_library_in_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    start = grpc.aio.server

    def noted(**options: Any) -> Any:
        made.update(options)
        return start(**options)

    monkeypatch.setattr(grpc.aio, "server", noted)
    limits = GrpcLimits(
        calls=7, message_bytes=9000, handshake_s=2.5, connection_age_s=30.0, age_grace_s=0.25
    )

    async def test() -> None:
        await create_server(Gate(), limits).stop(0)

    run(test())
    assert made["maximum_concurrent_rpcs"] == 7
    assert dict(made["options"]) == {
        "grpc.max_receive_message_length": 9000,
        "grpc.server_handshake_timeout_ms": 2500,
        "grpc.max_connection_age_ms": 30_000,
        "grpc.max_connection_age_grace_ms": 250,
        "grpc.so_reuseport": 0,
    }
