"""Measures one model behind HTTP and behind gRPC, each with its numbers as text or fields and as
bytes, on loopback.

`python -m serving_mathematics.architecture.rest_grpc.wire_measurement` starts both servers as
processes of their own, sends both the same images in interleaved rounds, and writes
records/rest_grpc.json: latencies of one call at a time, and the time that encoding, decoding and
the model take by themselves. It takes less than a minute.

Assumes: nothing of the machine; the clients share its processors with the servers.

Source: measurement; the page's module `wire_record` compares it with the model.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import grpc
import numpy as np
import numpy.typing as npt
from pydantic_core import from_json, to_json

from serving_mathematics.core.classifiers.digits_classifier import (
    load_digits,
    trained_classifier,
)
from serving_mathematics.core.servers.grpc_server import SERVICE, messages, read_pixels
from serving_mathematics.core.servers.inference_bodies import (
    JSON_BYTES,
    InferRequest,
    _write_body,
    read_body,
)
from serving_mathematics.support.measuring import FOLDER, provenance, write_record

RECORD = "rest_grpc"
COMMAND = "python -m serving_mathematics.architecture.rest_grpc.wire_measurement"
MODULES = {"rest": "core.servers.rest_server", "grpc": "core.servers.grpc_server"}
SERVERS = {  # which of them speaks an encoding
    "json": "rest",  # Python's json in the client, FastAPI's way in the server
    "compiled": "rest",  # pydantic's JSON on both sides, in Rust
    "binary": "rest",  # JSON with the numbers behind it as bytes
    "protobuf": "grpc",
    "raw": "grpc",  # protobuf with the numbers as bytes
}
ENCODINGS = tuple(SERVERS)
ROWS = (1, 256)  # images in a request
ROUNDS, CALLS = 20, 12  # calls of each kind: 20 rounds of 12
PATH = "/v2/models/digits/infer"
Floats = npt.NDArray[np.float32]


def _encode(pixels: Floats, encoding: str) -> bytes:
    """A request for images, shape (n, 64), in one of ENCODINGS, as a client would write it.

    >>> len(_encode(np.zeros((1, 64), np.float32), "raw"))
    287
    """
    shape = list(pixels.shape)
    tensor: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": shape}
    if encoding in ("json", "compiled"):
        request = {"inputs": [tensor | {"data": pixels.ravel().tolist()}]}
        if encoding == "compiled":
            return to_json(request)
        return json.dumps(request, separators=(",", ":")).encode()
    if encoding == "binary":
        tensor["parameters"] = {"binary_data_size": pixels.nbytes}
        head = to_json({"parameters": {"binary_data_output": True}, "inputs": [tensor]})
        return head + pixels.tobytes()
    kind = messages()["ModelInferRequest"]
    if encoding == "raw":
        raw = [pixels.tobytes()]
        request = kind(model_name="digits", inputs=[tensor], raw_input_contents=raw)
    else:
        tensor["contents"] = {"fp32_contents": pixels.ravel().tolist()}
        request = kind(model_name="digits", inputs=[tensor])
    return bytes(request.SerializeToString())


def _object_end(body: bytes) -> int:
    """Where the JSON object ends that begins a body with bytes behind it.

    >>> _object_end(b'{"inputs":[{"shape":[1,64]}]}...')
    29
    """
    return body.index(b"}]}") + 3  # these objects hold it nowhere else


def _headers(body: bytes, encoding: str) -> dict[str, str]:
    """What the head of a request over HTTP says of its body."""
    if encoding == "json":
        return {"Content-Type": "application/json"}
    size = len(body) if encoding == "compiled" else _object_end(body)
    return {"Content-Type": "application/octet-stream", JSON_BYTES: f"{size}"}


def _decode(answer: bytes, encoding: str) -> Floats:
    """The scores, shape (n, 10), from the body of an answer.

    >>> _decode(b'{"outputs":[{"shape":[1,2],"data":[0.5,1.0]}]}', "json")
    array([[0.5, 1. ]], dtype=float32)
    """
    if encoding == "binary":
        size = _object_end(answer)
        (output,) = from_json(answer[:size])["outputs"]
        return np.frombuffer(answer, dtype="<f4", offset=size).reshape(output["shape"])
    if SERVERS[encoding] == "rest":
        (output,) = (json.loads if encoding == "json" else from_json)(answer)["outputs"]
        return np.array(output["data"], dtype=np.float32).reshape(output["shape"])
    response = messages()["ModelInferResponse"].FromString(answer)
    if encoding == "raw":
        floats = np.frombuffer(response.raw_output_contents[0], dtype="<f4")
    else:
        floats = np.array(response.outputs[0].contents.fp32_contents, dtype=np.float32)
    return floats.reshape(response.outputs[0].shape)


@contextlib.contextmanager
def _caller(port: int, encoding: str) -> Iterator[Callable[[bytes], bytes]]:
    """A function that sends an encoded request over one kept connection and returns the answer.

    port: of a server on loopback. Raises RuntimeError when the answer is an error.

    >>> with _caller(9, "raw") as call:
    ...     callable(call)
    True
    """
    if SERVERS[encoding] == "rest":
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def post(body: bytes) -> bytes:
            connection.request("POST", PATH, body, _headers(body, encoding))
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {content[:200]!r}")
            return content

        try:
            yield post
        finally:
            connection.close()
        return
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        method = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        yield lambda body: bytes(method(body, timeout=30))


class _Server(NamedTuple):
    port: int
    pid: int  # of its process


@contextlib.contextmanager
def _servers() -> Iterator[dict[str, _Server]]:
    """Both servers as processes of their own, by name; stopped with SIGTERM after."""
    started: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, module in MODULES.items():
            command = [sys.executable, "-m", f"serving_mathematics.{module}"]
            started[name] = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent
            )
        yield {
            name: _Server(int((server.stdout or sys.stdin).readline()), server.pid)
            for name, server in started.items()
        }
        for name, server in started.items():
            server.send_signal(signal.SIGTERM)
            counts = json.loads(server.communicate(timeout=30)[0])
            if server.returncode or counts["answered"] != counts["accepted"]:
                raise RuntimeError(f"{name} lost requests: {counts}")
    finally:
        for server in started.values():
            server.kill()
            server.communicate()


def _latencies(
    servers: dict[str, _Server], images: Floats, logits: Callable[[Any], Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Quantiles of the time from array to array, one call at a time, in interleaved rounds; and
    medians of the parts of such a call, timed by themselves in the same rounds."""
    keys = [(encoding, count) for encoding in ENCODINGS for count in ROWS]
    calls_ms: dict[tuple[str, int], list[float]] = {key: [] for key in keys}
    parts_ms: dict[tuple[str, int], dict[str, list[float]]] = {key: {} for key in keys}
    with contextlib.ExitStack() as stack:
        calls = {e: stack.enter_context(_caller(servers[SERVERS[e]].port, e)) for e in ENCODINGS}
        for turn in range(ROUNDS + 1):  # the first warms up
            for encoding, count in keys:
                for i in range(CALLS):
                    pixels = images[i : i + count]
                    started = time.perf_counter()
                    _decode(calls[encoding](_encode(pixels, encoding)), encoding)
                    if turn:
                        calls_ms[encoding, count].append(1000 * (time.perf_counter() - started))
                for name, step in _parts(images[:count], encoding, logits).items():
                    for _ in range(CALLS // 2):
                        started = time.perf_counter()
                        step()
                        taken = 1000 * (time.perf_counter() - started)
                        if turn:
                            parts_ms[encoding, count].setdefault(name, []).append(taken)
    levels = np.arange(101) / 100
    latency = [
        {"encoding": e, "rows": n, "ms": np.quantile(taken, levels).round(4).tolist()}
        for (e, n), taken in calls_ms.items()
    ]
    steps = [
        {
            "encoding": e,
            "rows": n,
            "ms": {name: round(float(np.median(taken)), 4) for name, taken in parts.items()},
        }
        for (e, n), parts in parts_ms.items()
    ]
    return latency, steps


def _parts(
    pixels: Floats, encoding: str, logits: Callable[[Any], Any]
) -> dict[str, Callable[[], Any]]:
    """What a call is made of, ready to be timed in this process."""

    def read(body: bytes) -> object:
        if SERVERS[encoding] == "grpc":
            return read_pixels(messages()["ModelInferRequest"].FromString(body))
        if encoding != "json":
            return read_body(body, len(body) if encoding == "compiled" else _object_end(body))
        (tensor,) = InferRequest.model_validate(json.loads(body)).inputs
        return np.array(tensor.data, dtype=np.float32).reshape(tensor.shape)

    def write(scores: Floats) -> bytes:
        if SERVERS[encoding] == "rest":
            return _write_body(scores, binary=encoding == "binary")[0]
        tensor: dict[str, Any] = {"name": "logits", "datatype": "FP32", "shape": list(scores.shape)}
        kind = messages()["ModelInferResponse"]
        if encoding == "raw":
            message = kind(outputs=[tensor], raw_output_contents=[scores.tobytes()])
        else:
            tensor["contents"] = {"fp32_contents": scores.ravel().tolist()}
            message = kind(outputs=[tensor])
        return bytes(message.SerializeToString())

    scores = logits(pixels.astype(np.float64)).astype(np.float32)
    return {
        "client_encodes": partial(_encode, pixels, encoding),
        "server_decodes": partial(read, _encode(pixels, encoding)),
        "model": partial(logits, pixels.astype(np.float64)),
        "server_encodes": partial(write, scores),
        "client_decodes": partial(_decode, write(scores), encoding),
    }


def _measure() -> dict[str, Any]:
    images = load_digits().test.pixels.astype(np.float32)
    classifier = trained_classifier()
    expected = classifier.logits(images[:256].astype(np.float64)).astype(np.float32)
    equal = {}
    with _servers() as servers:
        for encoding in ENCODINGS:
            with _caller(servers[SERVERS[encoding]].port, encoding) as call:
                scores = _decode(call(_encode(images[:256], encoding)), encoding)
            equal[encoding] = int((scores == expected).all(axis=1).sum())
        latency, steps = _latencies(servers, images, classifier.logits)
    return {
        **provenance(COMMAND, ("numpy", "fastapi", "pydantic", "uvicorn", "grpcio", "protobuf")),
        "asked": {"rounds": ROUNDS, "calls": CALLS},
        "equal_answers_of_256": equal,
        "latency": latency,
        "steps": steps,
    }


if __name__ == "__main__":
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # two pools of threads would fight
        one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *COMMAND.split()[1:]], one_thread)
    started = time.perf_counter()
    written = write_record(RECORD, _measure())
    print(f"wrote {written.name} in {time.perf_counter() - started:.0f} s")
