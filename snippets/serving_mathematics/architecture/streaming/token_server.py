"""A server that streams tokens as server-sent events: a bounded queue between model and client, a
bounded number of streams, and no work for clients that have left.

A model coroutine fills a queue of a few tokens, the response empties it. When the client stops
reading, the response stops, the queue fills, and the model waits: what one client can make the
server hold is the queue, the transport's 64 KiB and the kernel's socket buffers. When the client
leaves, the model is cancelled where it stands. accepted = finished + failed + gone + stalled when
no stream is left inside.

Assumes: the model awaits between tokens and does not block the event loop.

Source: WHATWG HTML, section 9.2, for the format; RFC 9110 for the status codes and Retry-After.
Needs fastapi, uvicorn and pydantic. `python -m
serving_mathematics.architecture.streaming.token_server` serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import logging
import signal
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from serving_mathematics.core.servers.bounded_server import open_files_for
from serving_mathematics.core.servers.http_connections import PunctualProtocol
from serving_mathematics.core.servers.inference_bodies import _once, _reason
from serving_mathematics.core.servers.rest_server import listen
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

CONNECTIONS = 1000  # open at most; one more takes the place of an idle one, or is refused


@dataclass(frozen=True)
class Limits:
    """What the server holds at most, and how long it waits."""

    streams: int = 8  # responses being streamed at a time
    queue_tokens: int = 16  # generated ahead of the client
    body_bytes: int = 65536
    read_s: float = 5.0  # for a request's body to arrive
    write_s: float = 60.0  # for the client to take the next piece


class Generation(BaseModel):
    """What a client asks for; nothing is converted and nothing unknown is accepted.

    >>> Generation.model_validate_json('{"prompt": "Hi"}').max_tokens
    128
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field(min_length=1, max_length=8192)
    max_tokens: int = Field(default=128, ge=1, le=4096)


class Refusal(Exception):
    """A request that is answered with an error instead of a stream."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        """Status, reason for the body of the answer, and header fields."""
        super().__init__(reason)
        self.status, self.headers = status, headers


def parse_generation(body: bytes) -> Generation:
    """What a body asks for; Refusal that names the first field that is wrong.

    >>> parse_generation(b'{"prompt": "Hi", "max_tokens": 3}')
    Generation(prompt='Hi', max_tokens=3)
    """
    try:
        return _once(Generation, body)
    except ValidationError as errors:
        raise Refusal(422, _reason(errors.errors())) from None
    except ValueError as problem:
        raise Refusal(422, f"body: {problem}") from None


async def read_body(request: Request, limits: Limits) -> bytes:
    """The JSON body of a request, read within the limits; Refusal when there is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the content type must be application/json, got {kind[:80]!r}")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.read_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise Refusal(413, f"the body must have at most {limits.body_bytes} bytes")
        return bytes(body)
    except TimeoutError:
        raise Refusal(408, f"the body did not arrive in {limits.read_s:g} s") from None
    except ClientDisconnect:
        raise Refusal(400, "the request ended before its end") from None


class TokenStream(StreamingResponse):
    """The response to one accepted request: runs the model beside the writing, and ends it however
    the stream ends.

    tokens: the model's answer. counts: where the server counts. limits: see Limits.
    """

    def __init__(
        self, tokens: AsyncGenerator[str, None], counts: Counter[str], limits: Limits
    ) -> None:
        """Takes a place; nothing runs before the response is called."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events(), media_type="text/event-stream", headers=headers)
        self._tokens, self._counts, self._limits = tokens, counts, limits
        self._queue: asyncio.Queue[str | None] = asyncio.Queue(limits.queue_tokens)
        self._failed, self._outcome = False, "gone"
        counts["accepted"] += 1
        counts["inside"] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the model ends, the client leaves, or it takes nothing for too long."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._limits.write_s):
                await send(message)

        model = asyncio.create_task(self._generate())
        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            self._outcome = "stalled"
        except ClientDisconnect:
            pass  # how Starlette ends under servers of ASGI 2.4 when the client has left
        finally:
            model.cancel()
            await asyncio.wait({model})
            self._counts["inside"] -= 1
            self._counts[self._outcome] += 1

    async def _generate(self) -> None:
        """Fill the queue; a full one makes the model wait."""
        try:
            async with contextlib.aclosing(self._tokens) as tokens:
                async for token in tokens:
                    await self._queue.put(token)
                    self._counts["tokens"] += 1
        except Exception:
            logging.getLogger(__name__).exception("the model failed")
            self._failed = True
        await self._queue.put(None)

    async def _events(self) -> AsyncIterator[bytes]:
        """Empty the queue into events; JSON holds no line break, so that one data line will do."""
        while (token := await self._queue.get()) is not None:
            yield b"data: " + json.dumps({"token": token}).encode() + b"\n\n"
        yield b"event: error\ndata: failed\n\n" if self._failed else b"data: [DONE]\n\n"
        self._outcome = "failed" if self._failed else "finished"


def create_app(
    generate: Callable[[Generation], AsyncGenerator[str, None]], limits: Limits | None = None
) -> FastAPI:
    """An application that streams a model at POST /v1/stream and tells its counts at GET
    /v1/counts.

    generate: asynchronous generator function from what was asked to the tokens. limits: see Limits.

    >>> async def model(asked):
    ...     yield asked.prompt
    >>> [route.path for route in create_app(model).routes]
    ['/v1/stream', '/v1/counts']
    """
    allowed = limits or Limits()
    app = FastAPI(openapi_url=None, redirect_slashes=False)  # to a host that the client named
    counts = app.state.counts = Counter[str]()

    def count(status: int) -> None:
        counts["refused" if status == 503 else "bad"] += 1

    app.state.count = count

    @app.exception_handler(Refusal)
    async def refuse(_request: Request, refusal: Refusal) -> JSONResponse:
        count(refusal.status)
        return JSONResponse({"error": f"{refusal}"}, refusal.status, refusal.headers)

    @app.post("/v1/stream", response_model=None)
    async def stream(request: Request) -> StreamingResponse:
        asked = parse_generation(await read_body(request, allowed))
        if counts["inside"] >= allowed.streams:
            retry = str(
                1 + counts["refused"] % 3
            )  # spread, so that the refused do not return at once
            full = f"{allowed.streams} streams are being sent, try later"
            raise Refusal(503, full, {"Retry-After": retry})
        return TokenStream(generate(asked), counts, allowed)

    @app.get("/v1/counts")
    async def tell() -> dict[str, int]:
        return dict(counts)

    return app


def paced(
    gaps_s: list[float], text: str = "word"
) -> Callable[[Generation], AsyncGenerator[str, None]]:
    """A stand-in for a model: each token takes as long as the list says, the last gap again and
    again.

    gaps_s: times before each token [s], the first is the time to the first token. text: of every
    token. Raises ValueError unless they are numbers from 0 to an hour, one at least.

    >>> async def tokens():
    ...     return [token async for token in paced([0.0])(Generation(prompt="Hi", max_tokens=2))]
    >>> asyncio.run(tokens())
    ['word', 'word']
    """
    listed = isinstance(gaps_s, list) and len(gaps_s) > 0
    require(listed, "gaps_s", "a list of one number or more", gaps_s)
    for gap in gaps_s:
        number = isinstance(gap, int | float) and not isinstance(gap, bool)
        require(number and 0 <= gap <= 3600, "gaps_s", "numbers from 0 to 3600", gap)

    async def generate(asked: Generation) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for i in range(asked.max_tokens):
            due += gaps_s[min(i, len(gaps_s) - 1)]
            await asyncio.sleep(due - loop.time())
            held = loop.time()
            yield text
            due += loop.time() - held  # a client that holds the model up moves the rest

    return generate


@contextlib.asynccontextmanager
async def serving(
    app: FastAPI, port: int = 0, head_s: int = 5, drain_s: int = 2
) -> AsyncIterator[int]:
    """Serve an application on a loopback port, any free one for 0, until the block ends.

    head_s: for the head of a request to arrive. drain_s: for the streams inside to end after the
    block; one that is cut then has no [DONE]. Raises ValueError on a port that cannot be, OSError
    on one that is taken, ValueError where the process may not open files for CONNECTIONS.
    """
    open_files_for(CONNECTIONS)
    config = uvicorn.Config(
        app,
        http=functools.partial(  # type: ignore[arg-type]
            PunctualProtocol, count=getattr(app.state, "count", None)
        ),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        limit_concurrency=CONNECTIONS + 1,
        backlog=128,  # asyncio accepts as many at a time before it looks at any
        timeout_keep_alive=head_s,
        timeout_graceful_shutdown=drain_s,
    )
    with listen(port) as listener:
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


def check_requests_are_validated() -> None:
    """A request asks for 1 to 4096 tokens, in a whole number and for a prompt, or is refused.

    Source: the limits in the class, from both sides.
    """

    most = parse_generation(b'{"prompt": "a", "max_tokens": 4096}')
    checks.equal("most tokens", most.max_tokens, 4096)
    for name, text, match in (
        ("one too many", '{"prompt": "a", "max_tokens": 4097}', "less than or equal to 4096"),
        ("none", '{"prompt": "a", "max_tokens": 0}', "greater than or equal to 1"),
        ("a huge number", '{"prompt": "a", "max_tokens": 1e999}', "max_tokens: Input should be"),
        ("a fraction that is whole", '{"prompt": "a", "max_tokens": 5.0}', "valid integer"),
        ("a number as text", '{"prompt": "a", "max_tokens": "5"}', "valid integer"),
        ("no prompt", "{}", "prompt: Field required"),
        ("an unknown field", '{"prompt": "a", "n": 1}', "n: Extra inputs are not permitted"),
        ("not JSON", '{"prompt": "a"', "body: Invalid JSON"),
    ):
        checks.raises(name, parse_generation, text.encode(), match=match, error=Refusal)


async def main(port: int, gaps_s: list[float], text: str) -> None:
    """Serve the stand-in until SIGINT or SIGTERM, and give its streams ten seconds to end."""
    stop = asyncio.Event()
    async with serving(create_app(paced(gaps_s, text)), port, drain_s=10) as used:
        for number in (signal.SIGTERM, signal.SIGINT):  # instead of uvicorn's own handlers
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print(used, flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Stream tokens on a loopback port.")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one, the default")
    parser.add_argument("--gaps", type=json.loads, default=[0.5, 0.025], help="JSON list [s]")
    parser.add_argument("--text", default="word", help="of every token")
    options = parser.parse_args()
    try:
        asyncio.run(main(options.port, options.gaps, options.text))
    except (OSError, ValueError) as problem:  # a port that is taken, a gap of NaN
        parser.exit(2, f"{problem}\n")
