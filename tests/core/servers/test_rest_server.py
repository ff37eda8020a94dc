"""The real REST server with good requests, bad ones, slow clients, dropped connections and SIGTERM.

Bounded in load and time; no test asserts milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from serving_mathematics.core.servers.http_connections import PunctualProtocol
from serving_mathematics.core.servers.inference_bodies import (
    JSON_BYTES,
    ErrorAnswer,
    InferRequest,
    InferResponse,
    LogitTensor,
)
from serving_mathematics.core.servers.rest_server import (
    BoundedBody,
    Limits,
    create_app,
    listen,
    serve,
    server_config,
)

from tests.architecture.failing_models import FAILING, raises
from tests.architecture.rest_clients import (
    INFER,
    JSON,
    Gate,
    exchange,
    head,
    run,
    running,
    serves_until_sigterm,
    tensor,
    until,
)

ROOT = Path(__file__).parents[3]


def test_good_requests_are_answered() -> None:
    async def test() -> None:
        async with running(Gate()) as server:
            for path, body in (
                ("/v2/health/live", {"live": True}),
                ("/v2/health/ready", {"ready": True}),
            ):
                assert (await server.client.get(path)).json() == body
            metadata = (await server.client.get("/v2/models/digits")).json()
            assert metadata["inputs"][0] == {
                "name": "pixels",
                "datatype": "FP32",
                "shape": [-1, 64],
            }
            assert metadata["outputs"][0]["shape"] == [-1, 10]
            pixels = np.random.default_rng(0).random((256, 64)).astype(np.float32)
            answer = await server.infer(tensor(256, data=pixels.ravel().tolist()))
            assert answer.status_code == 200
            parsed = InferResponse.model_validate_json(answer.content)
            assert parsed.outputs[0].shape == [256, 10]
            assert isinstance(parsed.outputs[0], LogitTensor)
            scores = np.array(parsed.outputs[0].data, dtype=np.float32).reshape(256, 10)
            expected = pixels.astype(float).sum(axis=1).astype(np.float32)
            np.testing.assert_array_equal(scores[:, 3], expected)
            assert server.counts["answered"] == 1

    run(test())


BAD: dict[str, tuple[Any, int]] = {
    "empty": (b"", 400),
    "cut off": (json.dumps(tensor()).encode()[:-5], 400),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', 400),
    "a list": ([], 400),
    "null": (None, 400),
    "no input": ({"inputs": []}, 400),
    "two inputs": ({"inputs": tensor()["inputs"] * 2}, 400),
    "NaN": (json.dumps(tensor(data=[float("nan")] * 64)).encode(), 400),
    "1e999": (json.dumps(tensor()).encode().replace(b"0.5", b"1e999", 1), 400),
    "above 1": (tensor(data=[0.5] * 63 + [1.0000001]), 400),
    "below 0": (tensor(data=[-1e-9] + [0.5] * 63), 400),
    "5000 digits": (json.dumps(tensor()).encode().replace(b"0.5", b"9" * 5000, 1), 400),
    "text": (tensor(data=["0.5"] * 64), 400),
    "truth": (tensor(data=[True] * 64), 400),
    "nested": (tensor(data=[[0.5] * 64]), 400),
    "deep": (b"[" * 100_000, 400),
    "lone surrogate": (b'{"inputs": [{"name": "\\ud800"}]}', 400),
    "63 numbers": (tensor(data=[0.5] * 63), 400),
    "63 columns": (tensor(shape=[1, 63], data=[0.5] * 63), 400),
    "no rows": (tensor(shape=[0, 64], data=[]), 400),
    "257 rows": (tensor(257), 400),
    "three sizes": (tensor(shape=[1, 8, 8]), 400),
    "huge shape": (tensor(shape=[2**70, 64]), 400),
    "half a row": (tensor(shape=[0.5, 64]), 400),
    "FP64": (tensor(datatype="FP64"), 400),
    "other name": (tensor(name="image"), 400),
    "a name twice": (json.dumps(tensor()).encode().replace(b'"name"', b'"name": "a", "name"'), 400),
    "data twice": (json.dumps(tensor()).encode().replace(b'"data"', b'"data": [1], "data"'), 400),
    "too large": (b'"' + b"x" * (1 << 20), 413),
}


def test_bad_requests_get_clean_errors(capfd: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        gate = Gate()
        async with running(gate) as server:
            for name, (body, status) in BAD.items():
                answer = await server.infer(body)
                assert answer.status_code == status, (name, answer.text)
                assert answer.json().keys() == {"error"}, name
                assert len(answer.content) < 400, name
            assert gate.seen["calls"] == server.counts["accepted"] == 0
            assert (await server.infer(tensor())).status_code == 200

    run(test())
    assert capfd.readouterr() == ("", "")


def test_wrong_paths_methods_and_types() -> None:
    async def test() -> None:
        async with running(Gate()) as server:
            post, body = server.client.post, json.dumps(tensor()).encode()
            missing = await post("/v2/models/other/infer", content=body, headers=JSON)
            assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
            wrong = await server.client.get(INFER)
            assert wrong.status_code == 405
            assert wrong.headers["allow"] == "POST"
            for kind in ({}, {"content-type": "text/plain"}, {"content-type": "jsonapplication/"}):
                assert (await post(INFER, content=body, headers=kind)).status_code == 415
            packed = {"content-encoding": "gzip"} | JSON
            refused = await post(INFER, content=gzip.compress(body), headers=packed)
            reason = "the body must be application/json, uncompressed"
            assert (refused.status_code, refused.json()) == (415, {"error": reason})
            spelled = {"content-type": "Application/JSON ; charset=utf-8"}
            assert (await post(INFER, content=body, headers=spelled)).status_code == 200
            for value in ("0", "-1", "soon", "1.5", "1e9", "9" * 40):
                answer = await server.infer(tensor(), **{"X-Timeout-Ms": value})
                assert answer.status_code == 400, value
                assert answer.json()["error"].startswith("header.x-timeout-ms: ")

    run(test())


def extended(rows: int = 1, *, wanted: bool = True, **change: Any) -> bytes:
    """The JSON object of a request whose numbers follow as bytes."""
    good: dict[str, Any] = {"name": "pixels", "datatype": "FP32", "shape": [rows, 64]}
    good |= {"parameters": {"binary_data_size": 256 * rows}} | change
    form = {"parameters": {"binary_data_output": wanted}, "inputs": [good]}
    return json.dumps(form).encode()


def test_numbers_may_follow_as_bytes() -> None:
    """The binary extension: asked for or not, and JSON in the compiled parser's one pass."""
    octets = {"content-type": "application/octet-stream"}

    async def test() -> None:
        async with running(Gate()) as server:
            pixels = np.random.default_rng(0).random((3, 64)).astype(np.float32)
            expected = pixels.astype(float).sum(axis=1).astype(np.float32)
            for wanted in (True, False):
                object_ = extended(3, wanted=wanted)
                says = octets | {JSON_BYTES: f"{len(object_)}"}
                content = object_ + pixels.tobytes()
                answer = await server.client.post(INFER, content=content, headers=says)
                assert answer.status_code == 200, answer.text
                size = int(answer.headers[JSON_BYTES])
                (output,) = json.loads(answer.content[:size])["outputs"]
                assert output["shape"] == [3, 10]
                if wanted:
                    assert answer.headers["content-type"] == octets["content-type"]
                    assert output["parameters"] == {"binary_data_size": 120}
                    scores = np.frombuffer(answer.content, "<f4", offset=size).reshape(3, 10)
                else:
                    assert size == len(answer.content)
                    scores = np.array(output["data"], np.float32).reshape(3, 10)
                np.testing.assert_array_equal(scores[:, 3], expected)
            text = json.dumps(tensor(3, data=pixels.ravel().tolist())).encode()
            says = octets | {JSON_BYTES: f"{len(text)}"}
            answer = await server.client.post(INFER, content=text, headers=says)
            assert answer.json() == (await server.infer(text)).json()
            assert server.counts["answered"] == 4

    run(test())


def test_bad_bytes_get_clean_errors() -> None:
    ink = np.full(64, 0.5, np.float32).tobytes()
    whole = extended() + ink
    size = len(extended())
    nan = np.full(64, np.nan, np.float32).tobytes()
    cases: dict[str, tuple[bytes, str, int, str]] = {
        "too long": (whole + b"x", f"{size}", 400, "the body must be 256 bytes behind the object"),
        "no object": (whole, "0", 400, "json_bytes must be in [1, "),
        "beyond": (whole, "999999", 400, "json_bytes must be in [1, "),
        "no number": (whole, "soon", 400, "header.inference-header-content-length: "),
        "half an object": (whole, f"{size - 1}", 400, ": Invalid JSON"),
        "NaN": (extended() + nan, f"{size}", 400, "inputs.0 must be numbers from 0 to 1"),
        "above 1": (extended() + nan[:0] + 64 * b"\x00\x00\x80\x40", f"{size}", 400, "inputs.0 mu"),
        "no size": (extended(parameters={}) + ink, "", 400, "inputs.0.parameters.binary_data_size"),
        "wrong size": (
            extended(parameters={"binary_data_size": 252}) + ink,
            "",
            400,
            "inputs.0: Value error, binary_data_size must be 256, got 252",
        ),
        "63 columns": (
            extended(shape=[1, 63]) + ink,
            "",
            400,
            "inputs.0: Value error, shape must be [n, 64], got [1, 63]",
        ),
        "a name twice": (
            b'{"id": 1, "id": 2, ' + whole[1:],
            f"{size + 18}",
            400,
            "'id' must be given once, got it twice",
        ),
        "data twice": (
            json.dumps(tensor()).encode().replace(b'"data"', b'"data": [1], "data"'),
            "all",
            400,
            "'data' must be given once, got it twice",
        ),
        "too large": (whole + bytes(1 << 20), f"{size}", 413, "more than 1048576 bytes"),
        "text": (json.dumps(tensor(data=["1"] * 64)).encode(), "all", 400, "inputs.0.data.0: "),
    }

    async def test() -> None:
        gate = Gate()
        async with running(gate) as server:
            for name, (content, said, status, error) in cases.items():
                length = {"": len(content) - 256, "all": len(content)}.get(said, said)
                says = {"content-type": "application/octet-stream", JSON_BYTES: f"{length}"}
                answer = await server.client.post(INFER, content=content, headers=says)
                assert answer.status_code == status, (name, answer.text)
                assert error in answer.json()["error"], (name, answer.text)
            refused = await server.infer(whole, **{JSON_BYTES: f"{size}"})
            reason = "the body must be application/octet-stream, uncompressed"
            assert (refused.status_code, refused.json()) == (415, {"error": reason})
            assert gate.seen["calls"] == server.counts["accepted"] == 0

    run(test())


def test_broken_http_gets_400_or_a_closed_connection() -> None:
    async def test() -> None:
        async with running(Gate(), Limits(read_s=1)) as server:
            for data in (
                b"\x00\x01\x02\r\n\r\n",
                b"GET\r\n\r\n",
                head("many"),
                head("", "Transfer-Encoding: chunked") + b"xyz\r\n",
            ):
                answer = await exchange(server.port, data)
                assert answer.startswith(b"HTTP/1.1 400 "), data[:20]
            endless = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1_000_000
            assert (await exchange(server.port, endless))[:13] in (b"HTTP/1.1 431 ", b"reset", b"")
            for data in (b"", b"PO", head(500)[:-2], head(500), head(500) + b"{"):
                answer = await exchange(server.port, data, eof=True)
                assert answer[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 408 "), data
            assert (await server.infer(tensor())).status_code == 200

    run(test())


def test_large_bodies_are_answered_while_they_are_sent() -> None:
    async def test() -> None:
        async with running(Gate(), Limits(body_bytes=10_000)) as server:
            for size in (10_001, 30_000):
                answer = await exchange(server.port, head(size, "Connection: close") + b"x" * size)
                assert answer.startswith(b"HTTP/1.1 413 "), size
            chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
            chunked = head("", "Transfer-Encoding: chunked")
            assert (await exchange(server.port, chunked + chunk * 4 + b"0\r\n\r\n"))[9:12] == b"413"
            endless = await exchange(server.port, chunked + chunk * 11)
            assert endless[9:12] == b"413"
            fits = json.dumps(tensor()).encode().ljust(10_000)
            assert (await server.infer(fits)).status_code == 200
            assert (await server.infer(fits + b" ")).status_code == 413

    run(test())


def test_slow_clients_are_cut_off_and_hold_no_place() -> None:
    async def test() -> None:
        async with running(Gate(), Limits(places=1, read_s=1)) as server:
            silent = asyncio.create_task(exchange(server.port, b""))
            half_head = asyncio.create_task(exchange(server.port, head(500)[:30]))
            half_body = asyncio.create_task(exchange(server.port, head(500) + b'{"inputs"'))
            assert (await server.infer(tensor())).status_code == 200
            assert await silent == await half_head == b""
            assert (await half_body).startswith(b"HTTP/1.1 408 ")
            body = json.dumps(tensor()).encode()  # half a second request on a kept connection
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(head(len(body)) + body)
            assert (await reader.readuntil(b"}]}")).startswith(b"HTTP/1.1 200 ")
            writer.write(head(500)[:30])
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    run(test())


def test_dropped_connections_do_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    def drop(port: int, data: bytes, *, reset: bool) -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(data)
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate, Limits(places=3)) as server:
            body = json.dumps(tensor()).encode()
            for reset in (False, True):
                for data in (b"", head(500)[:20], head(500) + b"{"):
                    drop(server.port, data, reset=reset)
            drop(server.port, head(len(body)) + body, reset=True)
            await until(lambda: gate.seen["calls"] == 1)
            stays = asyncio.create_task(server.infer(tensor()))
            await until(lambda: server.counts["accepted"] == 2)
            gate.open.set()
            assert (await stays).status_code == 200
            await until(lambda: server.counts["done"] == 2)

    run(test())
    assert capfd.readouterr() == ("", "")


def test_full_servers_refuse_at_once_and_stay_healthy() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate, Limits(places=2, workers=1)) as server:
            inside = [asyncio.create_task(server.infer(tensor())) for _ in range(2)]
            await until(lambda: server.counts["accepted"] == 2)
            refused = await server.infer(tensor())
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert (await server.client.get("/v2/health/ready")).status_code == 200
            assert gate.seen["calls"] == 1
            gate.open.set()
            assert [(await task).status_code for task in inside] == [200, 200]
            assert (await server.infer(tensor())).status_code == 200
        assert server.counts["refused"] == 1

    run(test())


def test_a_full_server_parses_nothing() -> None:
    """What is malformed gets the same refusal, and gives its place back where there is one."""
    octets = {"content-type": "application/octet-stream", JSON_BYTES: "1"}

    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate, Limits(places=1)) as server:
            inside = asyncio.create_task(server.infer(tensor()))
            await until(lambda: server.counts["accepted"] == 1)
            for headers in (JSON, octets):
                refused = await server.client.post(INFER, content=b"pixels", headers=headers)
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json() == {"error": "1 requests are inside, try later"}
            gate.open.set()
            assert (await inside).status_code == 200
            for headers in (JSON, octets, JSON):
                answer = await server.client.post(INFER, content=b"pixels", headers=headers)
                assert answer.status_code == 400
            assert (await server.infer(tensor())).status_code == 200
        assert (server.counts["accepted"], server.counts["refused"]) == (2, 2)

    run(test())


def test_deadlines_pass_in_the_queue() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate) as server:
            first = asyncio.create_task(server.infer(tensor(), **{"X-Timeout-Ms": "1"}))
            await until(lambda: gate.seen["calls"] == 1)
            late = await server.infer(tensor(), **{"X-Timeout-Ms": "20"})
            assert late.status_code == 504
            gate.open.set()
            assert (await first).status_code == 200  # in the model by then
        assert server.counts == Counter(accepted=2, done=2, answered=1, expired=1)
        assert gate.seen["calls"] == 1

    run(test())


@pytest.mark.parametrize("model", FAILING)
def test_failing_models_give_500_without_details(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those that answer what JSON cannot say, which pydantic would write as null."""

    async def test() -> None:
        async with running(model, Limits(places=1)) as server:
            for _ in range(2):
                answer = await server.infer(tensor())
                assert answer.status_code == 500
                assert answer.json() == {"error": "the model failed"}
        assert server.counts == Counter(accepted=2, done=2, failed=2)

    run(test())
    assert [record.message for record in caplog.records] == ["the model failed"] * 2
    assert ("secret" in caplog.text) == (model is raises)


def test_what_was_accepted_is_answered_after_the_signal() -> None:
    async def test() -> None:
        gate = Gate(is_open=False)
        async with running(gate) as server:
            inside = [asyncio.create_task(server.infer(tensor())) for _ in range(3)]
            await until(lambda: server.counts["accepted"] == 3)
            server.server.handle_exit(signal.SIGTERM, None)
            server.server._captured_signals.clear()  # else it is raised in this process

            async def refused() -> bool:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writer.close()
                    return False
                return True

            async with asyncio.timeout(120):
                while not await refused():
                    await asyncio.sleep(0.01)
            assert server.counts["done"] == 0
            gate.open.set()
            assert [(await task).status_code for task in inside] == [200] * 3

    run(test())


def test_process_ends_with_status_0_on_sigterm() -> None:
    def ask(port: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            assert client.post(INFER, json=tensor()).status_code == 200

    serves_until_sigterm("core.servers.rest_server", ask)


def test_connections_send_without_delay() -> None:
    """Nagle's algorithm would hold back the body of every answer."""

    async def test() -> None:
        async with running(Gate()) as server:
            await server.client.get("/v2/health/live")
            (connection,) = server.server.server_state.connections
            assert isinstance(connection, PunctualProtocol)
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    run(test())


def test_many_fields_are_refused() -> None:
    async def test() -> None:
        async with running(Gate()) as server:
            for count, status in ((98, b"200"), (99, b"431"), (2_000, b"431")):
                fields = "\r\n".join(f"{k:x}:" for k in range(count)).encode()
                start = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                answer = await exchange(server.port, start + fields + b"\r\n\r\n")
                assert answer[9:12] == status, count
                if status == b"431":
                    assert answer.endswith(b'{"error":"more than 100 header fields"}')

    run(test())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(
    st.binary(max_size=80)
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda field, value: json.dumps(tensor(**{field: value})).encode(),
        st.sampled_from(["name", "datatype", "shape", "data"]),
        JSON_VALUES,
    )
)
def test_whatever_comes_is_answered(body: bytes) -> None:
    async def test() -> None:
        transport = httpx.ASGITransport(create_app(Gate()))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.post(INFER, content=body, headers=JSON)
            assert answer.status_code in (200, 400)

    asyncio.run(test())


def test_a_body_of_errors_costs_one() -> None:
    """Without FailFast every wrong number of a large body would be an error of its own."""
    for data in (["x"] * 1000, [2.0] * 64, [0.5] * 63 + [float("nan")]):
        with pytest.raises(ValidationError) as caught:
            InferRequest.model_validate(tensor(data=data))
        assert caught.value.error_count() == 1
    with pytest.raises(ValidationError, match="at most 16384 items"):
        InferRequest.model_validate(tensor(data=[0.5] * 16_385))


def test_the_schema_promises_what_the_server_answers() -> None:
    schema = create_app(Gate()).openapi()
    answers = schema["paths"][INFER]["post"]["responses"]
    assert answers.keys() == {"200", "default"}
    named = answers["default"]["content"]["application/json"]["schema"]["$ref"]
    assert named.endswith("/ErrorAnswer")
    assert ErrorAnswer(error="full").model_dump().keys() == {"error"}
    assert "HTTPValidationError" not in schema["components"]["schemas"]


def test_middleware_leaves_other_methods_alone() -> None:
    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"] + scope.get("method", ""))

    async def test() -> None:
        middleware = BoundedBody(app, body_bytes=1, read_s=1, fields=9)

        async def nothing(*_: Any) -> Any:
            raise AssertionError("neither read nor answered")

        for scope in ({"type": "http", "method": "GET", "headers": []}, {"type": "lifespan"}):
            await middleware(scope, nothing, nothing)

    run(test())
    assert seen == ["httpGET", "lifespan"]


def test_ports() -> None:
    for port in (-1, 65_536):
        with pytest.raises(ValueError, match=r"port must be in \[0, 65535\]"):
            listen(port)
        with pytest.raises(ValueError, match=r"port must be in \[0, 65535\]"):
            serve(Gate(), port)
    with listen() as taken, pytest.raises(OSError, match="in use"):
        listen(taken.getsockname()[1])


ASKED_IN_TURN = """
import json, resource, runpy, sys

for module, *words in map(json.loads, sys.argv[1:]):
    if "--port" not in words:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
    sys.argv[1:] = words
    try:
        runpy.run_module(f"serving_mathematics.{module}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print(ended.code)
"""
WITH_FEW_FILES = ("core.servers.rest_server",)


def test_what_cannot_be_served_ends_with_2_and_one_line() -> None:
    """The commands of all servers, in one process, asked for one port after the other, and in the
    end with too few files for its connections, before
    anybody connects: at the limit a server accepts nothing, and fills the log."""
    quiet = os.environ | {"GRPC_VERBOSITY": "NONE"}  # its library has a line of its own
    with listen() as taken:
        ports = ["-1", "65536", "9" * 30, str(taken.getsockname()[1])]
        modules = [*WITH_FEW_FILES, "core.servers.grpc_server"]
        asked = [[module, "--port", port] for module in modules for port in ports]
        few = [[module] for module in WITH_FEW_FILES]
        done = subprocess.run(
            [sys.executable, "-Wignore", "-c", ASKED_IN_TURN, *map(json.dumps, asked + few)],
            env=quiet,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout.split() == ["2"] * len(asked + few), done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(asked + few), done.stderr
    told = zip((words[-1] for words in asked), lines, strict=False)
    assert all(port in line for port, line in told), lines
    assert sum("name another with --port, 0 for any" in line for line in lines) == len(modules)
    said = "connections must be at most 108, where this process may open"
    assert [line for line in lines if line.startswith(said)] == lines[len(asked) :]


def test_twenty_thousand_unknown_keys_cost_nothing() -> None:
    keys = {f"key {number}": number for number in range(20_000)}
    began = time.process_time()
    InferRequest.model_validate_json(json.dumps(tensor(2) | keys))
    assert time.process_time() - began < 2


def test_config_carries_the_limits() -> None:
    config = server_config(FastAPI(), Limits(connections=7, read_s=3, drain_s=11))
    assert config.limit_concurrency == 7 + 1
    assert config.timeout_keep_alive == 3
    assert config.timeout_graceful_shutdown == 11
