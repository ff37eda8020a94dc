"""A model behind JSON over HTTP that answers every request, good or bad, with a status that is
true.

FastAPI and pydantic type the request; uvicorn speaks HTTP/1.1. Added here is what the two leave
open: limits on the size of a head and of a body and on the time that each may take to arrive, on
the connections and on the requests inside, a deadline that the client names, and errors that do not
repeat the input. Ways out: 200, 400 malformed, 404, 405, 408 too slow, 413 too large, 415 no JSON,
431 too large a head, 500 the model failed or gave no finite scores, 503 full, 504 the deadline
passed in the queue.

Assumes: one input tensor of float32 pixels from 0 to 1; the model is a function of an array that
may run in a thread; requests fit in memory.

Source: RFC 9110 for the status codes, RFC 6585 for 431; Open Inference Protocol, inference_rest.md,
for paths and bodies; uvicorn's settings. `python -m serving_mathematics.core.servers.rest_server`
serves the classifier of digits until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving_mathematics.core.classifiers.digits_classifier import trained_classifier
from serving_mathematics.core.servers.http_connections import PunctualProtocol, open_files_for
from serving_mathematics.core.servers.inference_bodies import (
    JSON_BYTES,
    ErrorAnswer,
    InferRequest,
    InferResponse,
    LogitTensor,
    _reason,
    _require_names_once,
    _write_body,
    read_body,
)

Predict = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
Timeout = Annotated[int | None, Header(ge=1, le=600_000)]
PATH = "/v2/models/digits/infer"


@dataclass(frozen=True)
class Limits:
    """What the server holds at most."""

    places: int = 16  # requests inside: waiting for the model or in it
    workers: int = 1  # of them in the model at a time
    head_bytes: int = 1 << 14  # request line and header fields
    fields: int = 100  # of them; reading n takes FastAPI a time that grows as n²
    body_bytes: int = 1 << 20
    read_s: int = 5  # for the head of a request to arrive, and again for its body
    connections: int = 256  # open; one more is refused, or takes the place of an idle one
    drain_s: int = 30  # for the accepted to be answered after SIGTERM


class BoundedBody:
    """ASGI middleware: reads a POST's body whole, within a size and a time, before the application
    sees it, and shows it no more than some header fields."""

    def __init__(
        self,
        app: ASGIApp,
        body_bytes: int,
        read_s: float,
        fields: int,
        count: Callable[[int], None] | None = None,
    ) -> None:
        """app: what to protect. body_bytes, read_s, fields: the limits. count: called with the
        status of what is refused."""
        self.app, self.body_bytes, self.read_s, self.fields = app, body_bytes, read_s, fields
        self._count = count or (lambda _: None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 408, 413, 415 or 431."""
        if scope["type"] == "http" and len(scope["headers"]) > self.fields:
            await self._error(431, f"more than {self.fields} header fields", scope, receive, send)
            return
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        size = int(headers.get(b"content-length", b"0"))  # h11 lets nothing but digits pass
        if b"expect" in headers and (refused := self._refusal(size, headers)):  # before it is sent
            await self._error(*refused, scope, receive, send, {"connection": "close"})
            return
        body, size, whole = bytearray(), 0, False
        try:
            async with asyncio.timeout(self.read_s):
                while not whole and size <= 4 * self.body_bytes:  # reads on, or the client, busy
                    message = await receive()  # writing, would not see the answer
                    if message["type"] == "http.disconnect":
                        return
                    size += len(message.get("body", b""))
                    if size <= self.body_bytes:
                        body += message.get("body", b"")
                    whole = not message.get("more_body", False)
        except TimeoutError:
            late = f"the body did not arrive in {self.read_s:g} s"
            await self._error(408, late, scope, receive, send)
            return
        if refused := self._refusal(size, headers):
            await self._error(*refused, scope, receive, send)
        else:
            unread: list[Message] = [{"type": "http.request", "body": bytes(body)}]

            async def replay() -> Message:
                return unread.pop() if unread else await receive()

            await self.app(scope, replay, send)

    def _refusal(self, size: int, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        """Status and reason for a body of this size with these header fields, where it is none."""
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        extended = JSON_BYTES.lower().encode() in headers
        expected = b"application/octet-stream" if extended else b"application/json"
        if size > self.body_bytes:
            return 413, f"more than {self.body_bytes} bytes"
        if media_type != expected or b"content-encoding" in headers:
            return 415, f"the body must be {expected.decode()}, uncompressed"
        return None

    async def _error(
        self,
        status: int,
        reason: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        close: dict[str, str] | None = None,
    ) -> None:
        """Answer with an error and end the connection, which may hold an unread rest."""
        self._count(status)
        if status in (408, 413, 431):
            close = {"connection": "close"}
        await JSONResponse({"error": reason}, status, close)(scope, receive, send)


class _PlacedRoute(APIRoute):
    """A route that takes a place before it parses a body, most of the work for a large one, and
    gives it back when the answer is made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As ever, or 503."""
        handler = super().get_route_handler()

        async def placed(request: Request) -> Response:
            places, state = request.app.state.places, request.app.state
            if places.locked():
                full = f"{state.limits.places} requests are inside, try later"
                raise HTTPException(503, full, {"Retry-After": "1"})
            async with places:
                return await handler(request)

        return placed


class _ExtendedRoute(_PlacedRoute):
    """A route for the requests only that say how much of their body is JSON."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As ever, or not at all."""
        asked = any(name == JSON_BYTES.lower().encode() for name, _ in scope.get("headers", ()))
        return super().matches(scope) if asked else (Match.NONE, {})


# In one piece: routes that share one bounded server and one model.
def create_app(
    predict: Predict, limits: Limits | None = None, counts: Counter[str] | None = None
) -> FastAPI:
    """The application: health, metadata and inference.

    predict: from images, shape (n, 64), to scores, shape (n, 10); runs in a thread. limits: see
    Limits. counts: where to count accepted, answered, expired, failed, refused and bad.
    `app.state.count` counts a status that was answered before the application.

    >>> [route.path for route in create_app(lambda x: x[:, :10]).routes if "health" in route.path]
    ['/v2/health/live', '/v2/health/ready']
    """
    limits, counts = limits or Limits(), Counter() if counts is None else counts
    model = asyncio.Semaphore(limits.workers)
    app = FastAPI(title="digits", redirect_slashes=False)  # to a host that the client named
    app.state.places = asyncio.Semaphore(limits.places)
    app.state.counts, app.state.limits = counts, limits

    def count(status: int) -> None:
        counts["refused" if status == 503 else "bad"] += 1

    app.state.count = count
    app.add_middleware(
        BoundedBody,
        body_bytes=limits.body_bytes,
        read_s=limits.read_s,
        fields=limits.fields,
        count=count,
    )

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        count(400)
        return JSONResponse({"error": _reason(error.errors())}, 400)

    @app.exception_handler(AnyHTTPException)
    async def refused(_: Request, error: AnyHTTPException) -> JSONResponse:
        if error.status_code == 503 or error.status_code < 500:  # the others were accepted
            count(error.status_code)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.get("/v2/models/digits")
    async def metadata() -> dict[str, Any]:
        pixels = {"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}
        logits = {"name": "logits", "datatype": "FP32", "shape": [-1, 10]}
        return {"name": "digits", "platform": "numpy", "inputs": [pixels], "outputs": [logits]}

    async def score(pixels: npt.NDArray[np.float32], timeout_ms: int | None) -> Any:
        counts["accepted"] += 1
        outcome = "failed"
        try:
            try:
                async with asyncio.timeout(timeout_ms and timeout_ms / 1000):
                    await model.acquire()
            except TimeoutError:
                outcome = "expired"
                raise HTTPException(504, "the deadline passed in the queue") from None
            try:
                scores = await asyncio.to_thread(predict, pixels.astype(np.float64))
                logits = scores.astype(np.float32)
                if logits.shape != (len(pixels), 10) or not np.isfinite(logits).all():
                    raise ValueError(f"scores must be finite, 10 a row, got {logits.shape}")
            except Exception:
                logging.getLogger(__name__).exception("the model failed")
                raise HTTPException(500, "the model failed") from None
            finally:
                model.release()
            outcome = "answered"
            return logits
        finally:
            counts["done"] += 1
            counts[outcome] += 1

    async def infer_extended(
        request: Request,
        inference_header_content_length: Annotated[int, Header()],
        x_timeout_ms: Timeout = None,
    ) -> Response:
        try:
            pixels, binary = read_body(await request.body(), inference_header_content_length)
        except ValidationError as error:
            raise HTTPException(400, _reason(error.errors())) from None
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        body, head_bytes = _write_body(await score(pixels, x_timeout_ms), binary=binary)
        kind = "application/octet-stream" if binary else "application/json"
        return Response(body, media_type=kind, headers={JSON_BYTES: f"{head_bytes}"})

    async def infer(
        request: InferRequest, sent: Request, x_timeout_ms: Timeout = None
    ) -> InferResponse:
        try:
            _require_names_once(await sent.body())
        except ValueError as error:
            raise HTTPException(400, f"body: {error}") from None
        (tensor,) = request.inputs
        pixels = np.array(tensor.data, dtype=np.float32).reshape(tensor.shape)
        logits = await score(pixels, x_timeout_ms)
        answer = LogitTensor(
            name="logits", datatype="FP32", shape=list(logits.shape), data=logits.ravel().tolist()
        )
        return InferResponse(model_name="digits", outputs=[answer])

    add = functools.partial(app.router.add_api_route, PATH, methods=["POST"])
    # OpenAPI has one entry for a path and a method
    add(infer_extended, route_class_override=_ExtendedRoute, include_in_schema=False)
    errors: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorAnswer}}
    add(infer, route_class_override=_PlacedRoute, responses=errors)
    return app


def server_config(
    app: ASGIApp, limits: Limits | None = None, count: Callable[[int], None] | None = None
) -> uvicorn.Config:
    """Settings of uvicorn for an application: HTTP/1.1 only, and with the limits.

    count: called with the status of what is refused before the application has seen it.

    >>> server_config(print, Limits(connections=9)).limit_concurrency  # refused from here on
    10
    """
    limits = limits or Limits()
    return uvicorn.Config(
        app,
        http=functools.partial(PunctualProtocol, count=count),  # type: ignore[arg-type]
        ws="none",
        log_level="error",
        access_log=False,
        h11_max_incomplete_event_size=limits.head_bytes,
        limit_concurrency=limits.connections + 1,
        backlog=128,  # asyncio accepts as many at a time before it looks at any
        timeout_keep_alive=limits.read_s,
        timeout_graceful_shutdown=limits.drain_s,
    )


def listen(port: int = 0) -> socket.socket:
    """A socket that listens on 127.0.0.1 and whose connections asyncio will not delay.

    asyncio sets TCP_NODELAY where a socket names its protocol, and those of socket.create_server
    do not. Without it the body of an answer, written after its head, waits until the client
    acknowledges the head, which takes 40 ms on Linux. Raises ValueError on a port that cannot be,
    and OSError on one that is taken.

    >>> with listen() as listener:
    ...     listener.proto == socket.IPPROTO_TCP
    True
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in [0, 65535], got {port}")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as problem:
        listener.close()
        told = f"port {port}: {problem.strerror}; name another with --port, 0 for any free one"
        raise OSError(problem.errno, told) from problem
    return listener


def serve(predict: Predict, port: int = 0, limits: Limits | None = None) -> Counter[str]:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT, answer what was accepted, and return the counts.

    predict, limits: as for `create_app`. port: 0 for any free one, which is printed. To be called
    from the main thread. Raises ValueError on a port that cannot be, and on more connections than
    the process may open files for.

    >>> serve(lambda x: x, port=70_000)
    Traceback (most recent call last):
    ValueError: port must be in [0, 65535], got 70000
    """
    counts, limits = Counter[str](), limits or Limits()
    open_files_for(limits.connections)
    app = create_app(predict, limits, counts)
    config = server_config(app, limits, app.state.count)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again when it has stopped
        signal.signal(number, lambda *_: None)
    with listen(port) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])
    return counts


def main() -> None:
    """Train the classifier of digits, serve it, and print what was counted."""
    parser = argparse.ArgumentParser(description="Serve the classifier of digits as JSON.")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one, the default")
    port = parser.parse_args().port
    try:
        print(json.dumps(serve(trained_classifier().logits, port)))
    except (OSError, ValueError) as problem:  # a port that is taken, or cannot be
        parser.exit(2, f"{problem}\n")


if __name__ == "__main__":
    main()
