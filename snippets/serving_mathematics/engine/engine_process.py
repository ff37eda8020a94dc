"""The engine in a process of its own, and a client of it that never waits for a step.

A step holds the interpreter for as long as it computes, half a second for a long prompt. In the
server's process it would hold every connection up; here it holds up nobody, and a model file that
makes the engine crash ends the child with a message instead of the server. Messages go through one
pipe each way. The child reads between steps only, and a few large prompts fill its pipe, so that a
thread writes to it and the client does not wait for it either. What the client holds of an answer
that nobody reads is bounded by its `max_tokens`.

A request has a deadline. It ends in one way: `stop`, `length`, or an error that says why; also when
the child dies, and when the client is closed.

Assumes: the child is started by `spawn`, so that nothing of the parent is shared.

Source: `multiprocessing` of the standard library. Needs what `token_engine` needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from serving_mathematics import checks
from serving_mathematics.engine.token_engine import (
    Ask,
    EngineMissing,
    Settings,
    Step,
    TokenEngine,
    require_ask,
)
from serving_mathematics.engine.token_text import TextStream

ErrorKind = Literal["invalid", "full", "late", "failed", "closing"]


class EngineError(Exception):
    """A request that got no whole answer, with the kind of reason."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        """kind: what went wrong, in a word. reason: in a sentence."""
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Question:
    """A request as a client makes it: a text, token numbers, or a conversation to go on with.

    max_tokens: None for as many as the context leaves. The other fields as in `Ask`; stop: strings
    that end the answer.
    """

    prompt: str | tuple[int, ...] | tuple[dict[str, str], ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    ignore_end: bool = False


@dataclass(frozen=True)
class Part:
    """A part of an answer: new text, and token numbers; why it ended, in the last one."""

    text: str
    tokens: tuple[int, ...] = ()
    finish: str = ""


def ask_of(question: Question, engine: TokenEngine) -> Ask:
    """What a question asks of an engine, in token numbers. Raises ValueError when it cannot be
    served.

    question: as a client made it. engine: whose tokenizer and context count.

    >>> class Words:
    ...     settings = Settings(context_tokens=10)
    ...     def encode(self, text):
    ...         return [len(word) for word in text.split()]
    >>> ask_of(Question("to be or not"), Words())
    Ask(prompt=(2, 2, 2, 3), max_tokens=6, temperature=0.0, top_p=1.0, seed=0, ignore_end=False)
    """
    prompt, context = question.prompt, engine.settings.context_tokens
    if isinstance(prompt, str):
        tokens = engine.encode(prompt)
    else:
        messages = [message for message in prompt if isinstance(message, dict)]
        numbers = [token for token in prompt if isinstance(token, int)]
        tokens = engine.encode_chat(messages) if messages else numbers
    left = context - len(tokens)
    ask = Ask(
        tuple(tokens),
        left if question.max_tokens is None else question.max_tokens,
        question.temperature,
        question.top_p,
        question.seed,
        question.ignore_end,
    )
    require_ask(ask, context)
    return ask


def _work(connection: Connection, settings: Settings, model: Path | None) -> None:
    """What the child does until its pipe is closed: take requests, step, send what came out.

    connection: its end of the pipe. settings, model: as for `TokenEngine`.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides when to end
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):  # the parent has gone
        try:
            engine = TokenEngine(settings, model)
        except EngineMissing as problem:
            connection.send(("missing", str(problem)))
            return
        connection.send(("ready", engine.metrics()))
        texts: dict[int, TextStream] = {}
        while True:
            while engine.idle or connection.poll():
                _take(connection.recv(), engine, texts, connection)
            connection.send(("step", engine.step(), _outputs(engine, texts), engine.metrics()))


def _take(
    message: tuple[Any, ...],
    engine: TokenEngine,
    texts: dict[int, TextStream],
    connection: Connection,
) -> None:
    """One request or the end of one."""
    what, number, *rest = message
    if what == "cancel":
        engine.cancel(number)
        texts.pop(number, None)
        return
    try:
        ask = ask_of(rest[0], engine)
        engine.add(number, ask)
        texts[number] = TextStream(rest[0].stop)
        connection.send(("accepted", number, len(ask.prompt)))
    except ValueError as problem:
        connection.send(("refused", number, str(problem)))


def _outputs(engine: TokenEngine, texts: dict[int, TextStream]) -> list[tuple[int, Part]]:
    """What the requests got in a step."""
    outputs = []
    for number, text in list(texts.items()):
        answer = engine.tokens(number)
        if not answer.tokens and not answer.finish:
            continue
        said = "".join(text.feed(engine.piece(token)) for token in answer.tokens)
        finish = "stop" if text.stopped else answer.finish
        if finish:
            said += text.finish()
            engine.cancel(number)
            del texts[number]
        outputs.append((number, Part(said, tuple(answer.tokens), finish)))
    return outputs


class _Outbox:
    """Messages on their way to the child, which a thread writes: one that reads nothing, in a step
    or stopped, holds up that thread alone.

    What waits is bounded by the requests inside: one that is cancelled before it was written takes
    nothing along.
    """

    def __init__(self, connection: Connection) -> None:
        """connection: our end of the pipe; to be closed after `close` and `join`."""
        self._connection, self._closed = connection, False
        self._unsent: dict[int, tuple[Any, ...]] = {}
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def put(self, what: str, number: int, *rest: object) -> None:
        """Leave a message about a request, the last of those that are there."""
        with self._changed:
            before = self._unsent.pop(number, None)
            if before is None:
                self._unsent[number] = (what, number, *rest)
                self._changed.notify()

    def close(self) -> None:
        """Write nothing more. A message that is half written ends with the pipe."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self) -> None:
        """Wait until nothing is written any more."""
        self._writer.join()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._unsent)
                if self._closed:
                    return
                message = self._unsent.pop(next(iter(self._unsent)))
            try:
                self._connection.send(message)
            except OSError:  # it has died, which the reader reports
                return


@dataclass(eq=False)
class _Call:
    """A request under way: what came and was not read, and when it must have ended."""

    asked_s: float
    parts: asyncio.Queue[Part | EngineError | int] = field(default_factory=asyncio.Queue)


class EngineProcess:
    """The client: `ask` gives the parts of an answer; `metrics` and `steps` tell of the engine.

    settings, model: as for `TokenEngine`. queue: requests that may wait beside those that run; one
    more is refused. deadline_s: from when a request is taken to its end. watch: called with every
    step. Raises EngineMissing from `start` when there is no engine.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        model: Path | None = None,
        queue: int = 64,
        deadline_s: float = 120.0,
        watch: Callable[[Step], None] | None = None,
    ) -> None:
        """Nothing runs before `start`."""
        self.settings, self.queue, self.deadline_s = settings or Settings(), queue, deadline_s
        self.metrics: dict[str, float] = {}
        self.state: Literal["starting", "ready", "draining", "failed"] = "starting"
        self._watch, self._model = watch, model
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count(1)
        self._ended = asyncio.Event()
        self._heard_s = math.inf  # when the child last said something, or first had to

    async def start(self) -> None:
        """Start the child and wait until the model is loaded."""
        spawning = multiprocessing.get_context("spawn")
        self._connection, theirs = spawning.Pipe()
        self._process = spawning.Process(
            target=_work, args=(theirs, self.settings, self._model), daemon=True
        )
        self._process.start()
        theirs.close()
        self._outbox = _Outbox(self._connection)
        loop, first = asyncio.get_running_loop(), asyncio.Queue[tuple[Any, ...]]()
        self._reader = threading.Thread(target=self._read, args=(loop, first), daemon=True)
        self._reader.start()
        what, told = await first.get()
        if what != "ready":
            await self.close()
            raise EngineMissing(told)
        self.metrics, self.state = told, "ready"

    @property
    def inside(self) -> int:
        """Requests that have been taken and have not ended."""
        return len(self._calls)

    @property
    def silent_s(self) -> float:
        """For how long the child has said nothing although requests are inside; 0 without."""
        return max(0.0, time.monotonic() - self._heard_s) if self._calls else 0.0

    def require_place(self) -> None:
        """Raise EngineError where a request is refused whatever it asks, which `ask` does too."""
        if self.state == "draining":
            raise EngineError("closing", "the server is shutting down")
        if self.state != "ready":
            raise EngineError("failed", f"the engine is {self.state}")
        if self.inside >= self.settings.max_sequences + self.queue:
            raise EngineError("full", f"{self.inside} requests are inside, try later")

    async def ask(self, question: Question) -> AsyncIterator[Part | int]:
        """First the number of prompt tokens, then the parts of the answer as they come.

        Raises EngineError when there is no place, when the request cannot be served, and when it
        ends without a whole answer. Whoever stops reading must close the iterator, which ends the
        request.
        """
        self.require_place()
        number, call = next(self._numbers), _Call(time.monotonic())
        if not self._calls:
            self._heard_s = call.asked_s
        self._calls[number] = call
        try:
            self._outbox.put("ask", number, question)
            # Not under one timeout: the reader may be another task each time. And not by wait_for,
            # which in Python 3.11 loses a cancellation that comes together with a part.
            while True:
                left_s = call.asked_s + self.deadline_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                async with asyncio.timeout(left_s):
                    part = await call.parts.get()
                if isinstance(part, EngineError):
                    raise part
                if isinstance(part, Part) and part.finish:
                    del self._calls[number]
                yield part
                if number not in self._calls:
                    return
        except TimeoutError:
            raise EngineError("late", f"no whole answer within {self.deadline_s:g} s") from None
        finally:
            if self._calls.pop(number, None):
                self._outbox.put("cancel", number)

    async def drain(self, within_s: float) -> None:
        """Take nothing new, wait for what is inside, and end with an error what takes longer."""
        if self.state == "ready":
            self.state = "draining"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._calls:
                    await asyncio.sleep(0.02)
        self._fail(EngineError("closing", "the server is shutting down"))

    async def ended(self) -> None:
        """Wait until the child has died."""
        await self._ended.wait()

    async def close(self) -> None:
        """End the child, at the latest after a step, or kill it: at once while it loads the model,
        else after five seconds.

        It is told by the end of what it reads. The pipe is closed when the reader has seen the
        child's end: a number of a file that is closed under a reader may be another's by then.
        """
        within_s = 0 if self.state == "starting" else 5
        if self.state == "ready" or self.state == "starting":
            self.state = "draining"
        self._outbox.close()
        with (
            contextlib.suppress(OSError),  # it has died, or was closed before
            socket.socket(fileno=os.dup(self._connection.fileno())) as ours,
        ):
            ours.shutdown(socket.SHUT_WR)
        await asyncio.to_thread(self._reader.join, within_s)
        self._process.kill()  # nothing where it has ended
        for ended in (self._reader, self._outbox, self._process):
            await asyncio.to_thread(ended.join)
        self._connection.close()

    def _read(self, loop: asyncio.AbstractEventLoop, first: asyncio.Queue[tuple[Any, ...]]) -> None:
        """In a thread: hand over what the child sends, and in the end that it has died."""

        def hand_over(call: Callable[..., object], *arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(call, *arguments)

        begun = False
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):  # closed there
                break
            hand_over(self._handle if begun else first.put_nowait, message)
            begun = True
        self._process.join(5)
        told = f"the engine has ended, exit status {self._process.exitcode}"
        if not begun:
            told += "; is the model file whole?"
            hand_over(first.put_nowait, ("missing", told))
        hand_over(self._died, told)

    def _died(self, told: str) -> None:
        if self.state != "draining":
            logging.getLogger(__name__).error(told)
            self.state = "failed"
        self._fail(EngineError("failed", told))
        self._ended.set()

    def _fail(self, problem: EngineError) -> None:
        for call in self._calls.values():
            call.parts.put_nowait(problem)

    def _handle(self, message: tuple[Any, ...]) -> None:
        what, *rest = message
        self._heard_s = time.monotonic()
        if what == "step":
            step, outputs, self.metrics = rest
            for number, part in outputs:
                if number in self._calls:  # or it was cancelled meanwhile
                    self._calls[number].parts.put_nowait(part)
            if self._watch:
                self._watch(step)
            return
        number, told = rest
        if number in self._calls:
            known = told if what == "accepted" else EngineError("invalid", told)
            self._calls[number].parts.put_nowait(known)


def check_questions_become_tokens() -> None:
    """An answer may be as long as the context leaves, and one that is too long is refused.

    Source: a tokenizer that makes a token of every word, counted by hand.
    """

    class Words:
        settings = Settings(context_tokens=10)

        def encode(self, text: str) -> list[int]:
            return [len(word) for word in text.split()]

        def encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
            return self.encode(" ".join(message["content"] for message in messages))

    words: Any = Words()
    question = Question("to be or not")
    chat = Question(({"role": "user", "content": "to be"}, {"role": "user", "content": "or not"}))
    checks.equal("text", ask_of(question, words).max_tokens, 10 - 4)
    checks.equal("numbers", ask_of(replace(question, prompt=(5, 6)), words).prompt, (5, 6))
    checks.equal("conversation", ask_of(chat, words).prompt, (2, 2, 2, 3))
    most = replace(question, max_tokens=6)
    checks.equal("the longest answer", ask_of(most, words).max_tokens, 6)
    for name, wrong, match in (
        ("one more", replace(most, max_tokens=7), "max_tokens must be at most 6 after a prompt"),
        ("no word", replace(most, prompt=""), "prompt must be of 1 to 9 tokens, got 0"),
        ("ten words", replace(most, prompt="a " * 10), "prompt must be of 1 to 9 tokens, got 10"),
    ):
        checks.raises(name, ask_of, wrong, words, match=match)
