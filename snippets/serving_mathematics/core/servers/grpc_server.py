"""The same model behind protobuf over gRPC, with the same limits and an error code for every way
out.

The messages are a subset of the Open Inference Protocol with its names and field numbers, built
from a table, so that no generated code is kept; a test compares it with a .proto file. gRPC brings
what HTTP/1.1 lacks: a limit on the size of a message, deadlines that travel with the call, and the
news that a client has left. Ways out: OK, INVALID_ARGUMENT, NOT_FOUND, RESOURCE_EXHAUSTED (too
large, by the library), UNAVAILABLE (full), INTERNAL (the model failed or gave no finite scores),
and DEADLINE_EXCEEDED by the library.

Assumes: as for the REST server; tensors come as packed floats or, in raw_input_contents, as bytes.

Source: Open Inference Protocol, open_inference_grpc.proto; gRPC, statuscodes.md, and proposal A6
for the pushback in place of Retry-After. `python -m
serving_mathematics.core.servers.grpc_server` serves the classifier of digits until
SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import functools
import json
import logging
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt
from google.protobuf import (  # type: ignore[import-untyped]  # the package has no types
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # the same

from serving_mathematics.core.classifiers.digits_classifier import trained_classifier
from serving_mathematics.core.servers.wire_format import field, request_protobuf
from serving_mathematics.support import checks

Predict = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
SERVICE = "inference.GRPCInferenceService"
TYPES = {"bool": 8, "bytes": 12, "float": 2, "int64": 3, "string": 9}  # descriptor.proto
SCHEMA = {  # Open Inference Protocol, open_inference_grpc.proto: field numbers and fields
    "ServerLiveRequest": {},
    "ServerLiveResponse": {1: "bool live"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {1: "bool ready"},
    "ModelMetadataRequest": {1: "string name"},
    "TensorMetadata": {1: "string name", 2: "string datatype", 3: "repeated int64 shape"},
    "ModelMetadataResponse": {
        1: "string name",
        3: "string platform",
        4: "repeated TensorMetadata inputs",
        5: "repeated TensorMetadata outputs",
    },
    "InferTensorContents": {6: "repeated float fp32_contents"},
    "InferTensor": {
        1: "string name",
        2: "string datatype",
        3: "repeated int64 shape",
        5: "InferTensorContents contents",
    },
    "ModelInferRequest": {
        1: "string model_name",
        5: "repeated InferTensor inputs",
        7: "repeated bytes raw_input_contents",
    },
    "ModelInferResponse": {
        1: "string model_name",
        5: "repeated InferTensor outputs",
        6: "repeated bytes raw_output_contents",
    },
}


@dataclass(frozen=True)
class GrpcLimits:
    """What the server holds at most."""

    places: int = 16  # requests inside: waiting for the model or in it
    workers: int = 1  # of them in the model at a time
    message_bytes: int = 1 << 20
    handshake_s: float = 5.0  # for a new connection to speak HTTP/2
    connection_age_s: float = 300.0  # after which a connection is asked to end,
    age_grace_s: float = 30.0  # and ended with whatever never finished on it
    calls: int = 256  # at the same time, health and refusals included
    drain_s: float = 30.0  # for the accepted to be answered after SIGTERM


@functools.cache
def messages() -> dict[str, Any]:
    """The message classes of SCHEMA by name.

    >>> messages()["ServerLiveResponse"](live=True).SerializeToString().hex(" ")
    '08 01'
    """
    file = descriptor_pb2.FileDescriptorProto(name="inference.proto", package="inference")
    file.syntax = "proto3"
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for number, text in fields.items():
            *repeated, kind, label = text.split()
            added = message.field.add(name=label, number=number, label=3 if repeated else 1)
            added.type = TYPES.get(kind, 11)
            if kind not in TYPES:
                added.type_name = f".inference.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"inference.{name}") for name in SCHEMA}
    return {name: message_factory.GetMessageClass(kind) for name, kind in found.items()}


def read_pixels(request: Any) -> npt.NDArray[np.float32]:
    """The images of a ModelInferRequest, shape (n, 64).

    Raises ValueError on anything but one FP32 tensor “pixels” with 1 to 256 rows of 64 numbers from
    0 to 1.

    >>> from types import SimpleNamespace as Message  # in place of a parsed one
    >>> contents = Message(fp32_contents=[0.5] * 64)
    >>> tensor = Message(name="pixels", datatype="FP32", shape=[1, 64], contents=contents)
    >>> read_pixels(Message(inputs=[tensor], raw_input_contents=[])).shape
    (1, 64)
    """
    if len(request.inputs) != 1:
        raise ValueError(f"inputs must be one tensor, got {len(request.inputs)}")
    (tensor,), raw = request.inputs, request.raw_input_contents
    if (tensor.name, tensor.datatype) != ("pixels", "FP32"):
        raise ValueError("inputs[0] must be pixels of datatype FP32")
    shape = list(tensor.shape)
    if len(shape) != 2 or not 1 <= shape[0] <= 256 or shape[1] != 64:
        raise ValueError(f"inputs[0].shape must be [1 to 256, 64], got {shape[:3]}")
    floats = tensor.contents.fp32_contents
    if raw and (len(raw) != 1 or floats):
        raise ValueError("raw_input_contents must be one tensor, and then contents must be empty")
    got, expected = (len(raw[0]) if raw else 4 * len(floats)), 256 * shape[0]
    if got != expected:
        raise ValueError(f"inputs[0] must be {expected} bytes of numbers, got {got}")
    pixels = np.frombuffer(raw[0], dtype="<f4") if raw else np.array(floats, dtype=np.float32)
    if not ((pixels >= 0) & (pixels <= 1)).all():  # NaN is not either
        raise ValueError("inputs[0] must be numbers from 0 to 1")
    return pixels.reshape(shape)


# In one piece: handlers that share one bounded server and one model.
def create_server(
    predict: Predict, limits: GrpcLimits | None = None, counts: Counter[str] | None = None
) -> Any:
    """A gRPC server of asyncio, with handlers and without a port.

    predict: from images, shape (n, 64), to scores, shape (n, 10); runs in a thread. limits: see
    GrpcLimits. counts: where to count accepted, answered, expired, failed and refused. To be
    called while an event loop runs.

    >>> async def start_and_stop():
    ...     await create_server(lambda x: x[:, :10]).stop(0)
    >>> asyncio.run(start_and_stop())
    """
    limits, counts = limits or GrpcLimits(), Counter() if counts is None else counts
    kinds, model = messages(), asyncio.Semaphore(limits.workers)

    async def live(_request: bytes, _context: Any) -> Any:
        return kinds["ServerLiveResponse"](live=True)

    async def ready(_request: bytes, _context: Any) -> Any:
        return kinds["ServerReadyResponse"](ready=True)

    async def metadata(request: bytes, context: Any) -> Any:
        await _only_digits(_parsed("ModelMetadataRequest", request), "name", context)
        tensor = kinds["TensorMetadata"]
        return kinds["ModelMetadataResponse"](
            name="digits",
            platform="numpy",
            inputs=[tensor(name="pixels", datatype="FP32", shape=[-1, 64])],
            outputs=[tensor(name="logits", datatype="FP32", shape=[-1, 10])],
        )

    def finished(work: asyncio.Task[Any]) -> None:
        model.release()
        if not work.cancelled():
            work.exception()  # seen, also when nobody waits for it any more

    async def infer(data: bytes, context: Any) -> Any:
        if counts["accepted"] - counts["done"] >= limits.places:
            counts["refused"] += 1
            later = (("grpc-retry-pushback-ms", "1000"),)
            full = f"{limits.places} requests are inside, try later"
            await context.abort(grpc.StatusCode.UNAVAILABLE, full, later)
        request = _parsed("ModelInferRequest", data)  # for whom there is a place
        await _only_digits(request, "model_name", context)
        try:
            pixels = read_pixels(request)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        counts["accepted"] += 1
        outcome = "failed"
        try:
            await model.acquire()
            work = asyncio.create_task(asyncio.to_thread(predict, pixels.astype(np.float64)))
            work.add_done_callback(finished)
            try:
                scores = await asyncio.shield(work)  # a thread cannot be cancelled
                logits = scores.astype("<f4")
                if logits.shape != (len(pixels), 10) or not np.isfinite(logits).all():
                    raise ValueError(f"scores must be finite, 10 a row, got {logits.shape}")
            except Exception:
                logging.getLogger(__name__).exception("the model failed")
                await context.abort(grpc.StatusCode.INTERNAL, "the model failed")
            outcome = "answered"
        except asyncio.CancelledError:  # its deadline passed, or the client left
            outcome = "expired"
            raise
        finally:
            counts["done"] += 1
            counts[outcome] += 1
        tensor = {"name": "logits", "datatype": "FP32", "shape": logits.shape}
        if request.raw_input_contents:
            raw = [logits.tobytes()]
            return kinds["ModelInferResponse"](
                model_name="digits", outputs=[tensor], raw_output_contents=raw
            )
        contents = {"fp32_contents": logits.ravel().tolist()}
        return kinds["ModelInferResponse"](
            model_name="digits", outputs=[tensor | {"contents": contents}]
        )

    def guarded(handler: Callable[[bytes, Any], Any]) -> Any:
        async def call(request: bytes, context: Any) -> bytes:
            try:
                return bytes((await handler(request, context)).SerializeToString())
            except DecodeError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no protobuf message")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(call)

    server = grpc.aio.server(
        maximum_concurrent_rpcs=limits.calls,
        options=[
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.server_handshake_timeout_ms", int(1000 * limits.handshake_s)),
            ("grpc.max_connection_age_ms", int(1000 * limits.connection_age_s)),
            ("grpc.max_connection_age_grace_ms", int(1000 * limits.age_grace_s)),
            ("grpc.so_reuseport", 0),
        ],
    )
    handlers = {"ServerLive": live, "ServerReady": ready, "ModelMetadata": metadata}
    handlers["ModelInfer"] = infer
    methods = {name: guarded(handler) for name, handler in handlers.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    return server


def _parsed(kind: str, data: bytes) -> Any:
    """A message from its bytes; DecodeError when they are none."""
    return messages()[kind].FromString(data)


async def _only_digits(request: Any, name: str, context: Any) -> None:
    """End the call unless the model's name is the one that is served."""
    if getattr(request, name) != "digits":
        await context.abort(grpc.StatusCode.NOT_FOUND, "the only model is digits")


async def serve_grpc(
    predict: Predict, port: int = 0, limits: GrpcLimits | None = None
) -> Counter[str]:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT, answer what was accepted, and return the counts.

    predict, limits: as for `create_server`. port: 0 for any free one, which is printed. Raises
    ValueError on a port that cannot be, OSError on one that is taken.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in [0, 65535], got {port}")
    limits, counts, stop = limits or GrpcLimits(), Counter[str](), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = create_server(predict, limits, counts)
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as problem:
        told = f"port {port} cannot be bound; name another with --port, 0 for any free one"
        raise OSError(errno.EADDRINUSE, told) from problem
    await server.start()
    print(bound, flush=True)
    await stop.wait()
    await server.stop(limits.drain_s)
    return counts


def main() -> None:
    """Train the classifier of digits, serve it, and print what was counted."""
    parser = argparse.ArgumentParser(description="Serve the classifier of digits over gRPC.")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one, the default")
    port = parser.parse_args().port
    try:
        print(json.dumps(asyncio.run(serve_grpc(trained_classifier().logits, port))))
    except (OSError, ValueError) as problem:  # a port that is taken, or cannot be
        parser.exit(2, f"{problem}\n")


def check_the_library_agrees() -> None:
    """The protobuf library writes the same bytes as this chapter's encoder, and reads them.

    Source: protobuf's SerializeToString for messages with the same contents.
    """
    pixels = np.random.default_rng(0).random((3, 64)).astype(np.float32)
    tensor = {"name": "pixels", "datatype": "FP32", "shape": pixels.shape}
    request = messages()["ModelInferRequest"]
    contents = {"fp32_contents": pixels.ravel().tolist()}
    packed = request(model_name="digits", inputs=[tensor | {"contents": contents}])
    raw = request(model_name="digits", inputs=[tensor], raw_input_contents=[pixels.tobytes()])
    for label, message, ours in (
        ("packed", packed, request_protobuf(pixels)),
        ("raw", raw, request_protobuf(pixels, raw=True)),
    ):
        checks.equal(f"{label}: bytes", ours == message.SerializeToString(), True)
        checks.equal(f"{label}: size [B]", len(ours), message.ByteSize())
        checks.equal(f"{label}: read back", (read_pixels(message) == pixels).all(), True)
    for size in (0, 1, 127, 128, 16_383, 16_384, -1):
        shape = messages()["TensorMetadata"](shape=[size])
        listed = shape.SerializeToString()
        checks.equal(f"shape [{size}]", listed, field(3, field(1, size)[1:]))


if __name__ == "__main__":
    main()
