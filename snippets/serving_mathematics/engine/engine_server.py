"""A language model behind the OpenAI API that answers every request, good or bad, with a status
that is true.

FastAPI and uvicorn speak HTTP, with the limits on heads, bodies and connections of the handbook's
REST server. Added are streams of server-sent events, a queue of bounded length, a deadline, and an
end of the computation when the client leaves, stops reading, or the server is told to stop. Ways
out: 200, 400 malformed or impossible, 404, 405, 408 too slow, 413 too large, 415 no JSON, 431 too
large a head, 500 the engine failed at it, 503 no place, not ready or closing, with Retry-After, 504
the deadline passed. After the first byte of a stream an error is an event, and no [DONE] follows.

Assumes: one engine; a proxy in front for encryption, keys and tenants.

Source: the OpenAI API for paths and bodies; WHATWG HTML, section 9.2, for the events; RFC 9110 for
the status codes; Prometheus' text format. Needs fastapi, uvicorn, pydantic, prometheus-client, and
what `token_engine` needs. `serving-mathematics serve` serves until SIGTERM.
"""

# In one piece: routes, streams and the end of one server, which share its limits and counters.

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from serving_mathematics.core.servers.rest_server import BoundedBody, Limits, listen, server_config
from serving_mathematics.engine.completion_schema import (
    MODEL,
    Envelope,
    RefusedRequest,
    StreamOptions,
    Wishes,
    read_chat,
    read_completion,
)
from serving_mathematics.engine.engine_process import EngineError, EngineProcess, Part, Question
from serving_mathematics.engine.token_engine import EngineMissing, Settings
from serving_mathematics.support import checks
from serving_mathematics.support.commands import OneLineParser
from serving_mathematics.support.require import (
    require_non_negative_integer,
    require_positive,
    widen_fields,
)

STATUS = {"invalid": 400, "full": 503, "late": 504, "failed": 500, "closing": 503}
OUTCOME = {"invalid": "bad", "full": "refused"}  # as counted; the others by their name
BODY_BYTES = 1 << 20
PORT = 8000  # as vLLM's
LATENCIES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)


@dataclass(frozen=True)
class ServerLimits:
    """What the server holds at most, and how long it waits."""

    queue: int = 64  # requests that wait beside those that run
    deadline_s: float = 120.0  # from when a request is taken to its end
    write_s: float = 30.0  # for a client to take the next piece of a stream
    drain_s: float = 30.0  # for the accepted to be answered after SIGTERM
    silent_s: float = 10.0  # for the engine to say nothing with requests inside; then not ready

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        widen_fields(self)
        require_non_negative_integer(queue=self.queue)
        require_positive(deadline_s=self.deadline_s, write_s=self.write_s)
        require_positive(drain_s=self.drain_s, silent_s=self.silent_s)


class Meters:
    """What /metrics tells, in Prometheus' text format."""

    def __init__(self, engine: EngineProcess) -> None:
        """engine: whose numbers are read when somebody asks."""
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self._registry = registry = CollectorRegistry()

        def histogram(name: str, what: str) -> Any:
            return Histogram(name, what, registry=registry, buckets=LATENCIES_S)

        self.first = histogram("serving_time_to_first_token_seconds", "from request to first token")
        self.per_token = histogram(
            "serving_time_per_output_token_seconds", "mean gap between the tokens of an answer"
        )
        self.whole = histogram("serving_request_seconds", "from request to last token")
        self.requests = Counter(
            "serving_requests", "requests by how they ended", ["outcome"], registry=registry
        )
        for name, key, what in (
            ("serving_requests_running", "running", "requests that are answered"),
            ("serving_requests_waiting", "waiting", "requests that wait for a place"),
            ("serving_cache_usage_ratio", "cache_share", "share of the blocks of the cache in use"),
            ("serving_engine_steps", "steps", "steps since the start"),
            ("serving_prompt_tokens", "prompt_tokens", "prompt tokens computed since the start"),
            ("serving_generated_tokens", "tokens", "tokens generated since the start"),
        ):
            gauge = Gauge(name, what, registry=registry)
            gauge.set_function(lambda key=key: engine.metrics.get(key, 0.0))
        gauge = Gauge(
            "serving_engine_restarts",
            "engines that died, each followed by another",
            registry=registry,
        )
        gauge.set_function(lambda: engine.restarts)

    def text(self) -> bytes:
        """The text of /metrics."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))


class AnswerStream(StreamingResponse):
    """A stream of events that ends its source when it ends, however that is: with the answer, with
    the client, or because the client takes nothing for too long."""

    def __init__(
        self, events: AsyncIterator[bytes], write_s: float, parts: AsyncIterator[Part | int]
    ) -> None:
        """events: what is sent; closed at the end. write_s: for the client to take a piece. parts:
        what the events are made of; closed too, since events that nobody began close nothing.
        """
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._sources, self._write_s = (events, parts), write_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._write_s):
                await send(message)

        try:
            with contextlib.suppress(TimeoutError, ClientDisconnect):
                await super().__call__(scope, receive, send_in_time)
        finally:
            for source in self._sources:
                await source.aclose()  # type: ignore[union-attr]


# In one piece: routes that share one engine and one set of counters.
def create_app(engine: EngineProcess, limits: ServerLimits | None = None) -> FastAPI:
    """The application: completions, models, health and metrics.

    engine: started or about to be. limits: see ServerLimits.

    >>> [route.path for route in create_app(EngineProcess()).routes][:4]
    ['/health', '/v1/models', '/v1/models/{name}', '/metrics']
    """
    limits = limits or ServerLimits()
    app = FastAPI(openapi_url=None, redirect_slashes=False)  # redirects would name any Host
    meters = Meters(engine)

    def count(status: int) -> None:
        meters.requests.labels("refused" if status == 503 else "bad").inc()

    app.state.count = count
    app.add_middleware(
        BoundedBody,
        body_bytes=BODY_BYTES,
        read_s=Limits.read_s,
        fields=Limits.fields,
        count=count,
    )

    def refusal(status: int, reason: str, headers: Any = None) -> JSONResponse:
        kind = "invalid_request_error" if status < 500 else "server_error"
        body = {"error": {"message": reason, "type": kind, "code": status}}
        headers = dict(headers or {})
        if status == 503:  # spread, so that the refused do not return at once
            headers["Retry-After"] = str(1 + secrets.randbelow(3))
        return JSONResponse(body, status, headers)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        count(error.status_code)
        return refusal(error.status_code, str(error.detail), error.headers)

    look = functools.partial(app.api_route, methods=["GET", "HEAD"])

    @look("/health")
    async def health() -> JSONResponse:
        state = "silent" if engine.silent_s > limits.silent_s else engine.state
        return JSONResponse({"status": state}, 200 if state == "ready" else 503)

    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "HuggingFaceTB"}

    @look("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model]}

    @look("/v1/models/{name}")
    async def the_model(name: str) -> dict[str, Any]:
        if name != MODEL:
            raise HTTPException(404, f"the only model is {MODEL}")
        return model

    @look("/metrics")
    async def metrics() -> Response:
        return Response(meters.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.post("/v1/completions", response_model=None)
    async def complete(request: Request) -> Response:
        return await answer(request, chat=False)

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> Response:
        return await answer(request, chat=True)

    async def answer(request: Request, *, chat: bool) -> Response:
        try:
            engine.require_place()  # before the body is parsed, most of the work for a large one
        except EngineError as problem:
            meters.requests.labels(OUTCOME.get(problem.kind, problem.kind)).inc()
            return refusal(STATUS[problem.kind], str(problem))
        try:
            wishes, question = (read_chat if chat else read_completion)(await request.body())
        except RefusedRequest as problem:
            count(400)
            return refusal(400, str(problem))
        parts = _timed(engine, question, meters)
        head = Envelope(chat=chat, number=secrets.token_hex(12), created=int(time.time()))
        try:
            prompt_tokens = await anext(parts)  # refusals come before anything is sent
        except EngineError as problem:
            return refusal(STATUS[problem.kind], str(problem))
        assert isinstance(prompt_tokens, int)
        if wishes.stream:
            events = _events(parts, head, prompt_tokens, wishes)
            return AnswerStream(events, limits.write_s, parts)
        whole = asyncio.create_task(_collect(parts))
        left = asyncio.create_task(_left(request))
        try:
            await asyncio.wait({whole, left}, return_when=asyncio.FIRST_COMPLETED)
            if not whole.done():
                return Response(status_code=499)  # nobody reads it
            text, finish, tokens = await whole
            return JSONResponse(head.whole(text, finish, prompt_tokens, tokens))
        except EngineError as problem:
            return refusal(STATUS[problem.kind], str(problem))
        finally:
            for task in (whole, left):
                task.cancel()
            await asyncio.wait({whole, left})
            await parts.aclose()  # type: ignore[attr-defined]

    return app


async def _timed(
    engine: EngineProcess, question: Question, meters: Meters
) -> AsyncIterator[Part | int]:
    """The parts of an answer, with its times and its end in the meters."""
    asked, first, last, tokens, outcome = time.perf_counter(), 0.0, 0.0, 0, "gone"
    try:
        async with contextlib.aclosing(engine.ask(question)) as parts:  # type: ignore[type-var]
            async for part in parts:
                if isinstance(part, Part):
                    last = time.perf_counter()
                    if not tokens:
                        first = last
                        meters.first.observe(first - asked)
                    tokens += len(part.tokens)
                    outcome = part.finish or outcome
                yield part
        meters.whole.observe(last - asked)
        if tokens > 1:
            meters.per_token.observe((last - first) / (tokens - 1))
    except EngineError as problem:
        outcome = OUTCOME.get(problem.kind, problem.kind)
        raise
    finally:
        meters.requests.labels(outcome).inc()


async def _events(
    parts: AsyncIterator[Part | int], head: Envelope, prompt_tokens: int, wishes: Wishes
) -> AsyncIterator[bytes]:
    """The events of a stream."""
    tokens, first, options = 0, True, wishes.stream_options or StreamOptions()
    try:
        async for part in parts:
            assert isinstance(part, Part)
            tokens += len(part.tokens)
            if part.text or part.finish or first:
                body = head.part(part.text, part.finish, first=first)
                if options.continuous_usage_stats:
                    body["usage"] = head.usage(prompt_tokens, tokens)["usage"]
                yield _event(body)
            first = False
        if options.include_usage:
            yield _event(head.usage(prompt_tokens, tokens))
        yield b"data: [DONE]\n\n"
    except EngineError as problem:
        error = {"message": str(problem), "type": "server_error", "code": STATUS[problem.kind]}
        yield _event({"error": error})
    finally:
        await parts.aclose()  # type: ignore[attr-defined]


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


async def _collect(parts: AsyncIterator[Part | int]) -> tuple[str, str, int]:
    """A whole answer: text, why it ended, and its tokens."""
    text, finish, tokens = [], "", 0
    async for part in parts:
        assert isinstance(part, Part)
        text.append(part.text)
        finish, tokens = part.finish, tokens + len(part.tokens)
    return "".join(text), finish, tokens


async def _left(request: Request) -> None:
    """Wait until the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def serve(
    port: int, settings: Settings, limits: ServerLimits, model: Path | None = None
) -> int:
    """Serve until SIGTERM or SIGINT, print the address when the model is ready, answer what was
    accepted, and return the exit status: 1 when the engine died.

    port: on 127.0.0.1, 0 for any free one. settings, model: as for `TokenEngine`. limits: see
    ServerLimits. Raises EngineMissing without engine or model, OSError on a port that is taken, and
    ValueError on one that cannot be.
    """
    with listen(port) as listener:
        engine = EngineProcess(settings, model, limits.queue, limits.deadline_s)
        app = create_app(engine, limits)
        config = server_config(app, count=app.state.count)
        config.timeout_graceful_shutdown = int(limits.drain_s) + 2
        config.lifespan = "off"
        server = _Draining(config, engine, limits.drain_s)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):  # instead of uvicorn's own handlers
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        stopped = asyncio.create_task(stop.wait())
        starting = asyncio.create_task(engine.start())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
                dead = asyncio.create_task(engine.ended())
                await asyncio.wait({dead, stopped}, return_when=asyncio.FIRST_COMPLETED)
                dead.cancel()
            return int(engine.state == "failed")
        finally:
            stopped.cancel()
            starting.cancel()
            server.should_exit = True
            await serving
            await engine.close()


class _Draining(uvicorn.Server):
    """A server that lets its engine answer what was accepted before it cuts connections."""

    def __init__(self, config: uvicorn.Config, engine: EngineProcess, drain_s: float) -> None:
        super().__init__(config)
        self._engine, self._drain_s = engine, drain_s

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        """Stop accepting, and end what is inside."""
        draining = asyncio.create_task(self._engine.drain(self._drain_s))
        await super().shutdown(sockets)
        await draining


def command_parser() -> argparse.ArgumentParser:
    """The options of `serving-mathematics serve`.

    >>> command_parser().parse_args(["--queue", "8"]).port
    8000
    """
    parser = OneLineParser(
        prog="serving-mathematics serve",
        description=f"Serve {MODEL} on 127.0.0.1 with the OpenAI API, until SIGTERM.",
    )
    engine, limits = Settings(), ServerLimits()
    for name, kind, default, what in (
        ("port", int, PORT, "0 for any free one; the address is printed when the model is ready"),
        ("max-sequences", int, engine.max_sequences, "requests answered at a time"),
        ("token-budget", int, engine.token_budget, "tokens in a step"),
        ("kv-blocks", int, engine.kv_blocks, "blocks of the cache, 32 tokens each"),
        ("context-tokens", int, engine.context_tokens, "of a request, prompt and answer"),
        ("threads", int, engine.threads, "that compute"),
        ("queue", int, limits.queue, "requests that may wait; one more gets 503"),
        ("deadline-s", float, limits.deadline_s, "for a request"),
        ("write-s", float, limits.write_s, "for a client to take the next piece"),
        ("drain-s", float, limits.drain_s, "for the accepted, after SIGTERM"),
        ("silent-s", float, limits.silent_s, "of the engine at work, until it is not ready"),
        ("model", Path, None, "GGUF file; the installed one by default"),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{what} ({default})")
    parser.add_argument("--prefix-caching", action="store_true", help="keep and reuse prefixes")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status, 2 when it cannot begin."""
    given = vars(command_parser().parse_args(arguments))
    try:
        settings = Settings(**{name: given[name] for name in Settings.__dataclass_fields__})
        limits = ServerLimits(**{name: given[name] for name in ServerLimits.__dataclass_fields__})
        return asyncio.run(serve(given["port"], settings, limits, given["model"]))
    except (OSError, ValueError, EngineMissing) as problem:
        print(f"serving-mathematics serve: {problem}", file=sys.stderr)
        return 2


def check_bad_limits_are_refused() -> None:
    """A queue of minus one, and a deadline that has passed, are errors that name the argument."""
    checks.raises(
        "queue", ServerLimits, queue=-1, match="queue must be a non-negative integer, got -1"
    )
    checks.raises("deadline", ServerLimits, deadline_s=0.0, match="deadline_s must be positive")


if __name__ == "__main__":
    sys.exit(main())
