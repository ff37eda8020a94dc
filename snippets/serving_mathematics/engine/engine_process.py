"""The engine in a process of its own, and a client of it that never waits for a step.

A step holds the interpreter for as long as it computes, half a second for a long prompt. In the
server's process it would hold every connection up; here it holds up nobody, and a model file that
makes the engine crash ends the child with a message instead of the server. Messages go through one
pipe each way. The child reads between steps only, and a few large prompts fill its pipe, so that a
thread writes to it and the client does not wait for it either. What the client holds of an answer
that nobody reads is bounded by its `max_tokens`.

A request has a deadline. It ends in one way: `stop`, `length`, or an error that says why; also when
the client is closed. What goes wrong with one request ends that request alone. A child that dies is
started again, and goes on with each answer after the tokens that were sent; which request it died
of is found by letting those of its last step begin one after another, and the one that was alone in
a child that died ends with an error.

Assumes: the child is started by `spawn`, so that nothing of the parent is shared.

Source: `multiprocessing` of the standard library. Needs what `token_engine` needs.
"""

# In one piece: both ends of one pipe, whose messages must agree, and the client that knows how the
# child may end.

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import multiprocessing
import os
import secrets
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from serving_mathematics.engine.token_engine import (
    Ask,
    EngineMissing,
    Settings,
    TokenEngine,
    require_ask,
)
from serving_mathematics.engine.token_text import TextStream
from serving_mathematics.support import checks

ErrorKind = Literal["invalid", "full", "late", "failed", "closing"]
FAILED = "the engine failed at this request"
IDLE_DEATHS = 3  # in a row, with nothing asked, after which no other child is started


class EngineError(Exception):
    """A request that got no whole answer, with the kind of reason."""

    def __init__(self, kind: ErrorKind, reason: str) -> None:
        """kind: what went wrong, in a word. reason: in a sentence."""
        super().__init__(kind, reason)
        self.kind = kind

    def __str__(self) -> str:
        """The reason."""
        return str(self.args[1])


@dataclass(frozen=True)
class Question:
    """A request as a client makes it: a text, token numbers, or a conversation to go on with.

    max_tokens: None for as many as the context leaves. seed: None for another each time. The other
    fields as in `Ask`; stop: strings that end the answer.
    """

    prompt: str | tuple[int, ...] | tuple[dict[str, str], ...]
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = 0
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
        question.seed or 0,
        question.ignore_end,
    )
    require_ask(ask, context)
    return ask


def _rest(ask: Ask, said: tuple[int, ...]) -> Ask:
    """What is left of a request after some tokens of its answer; drawn by numbers of its own."""
    return replace(
        ask,
        prompt=ask.prompt + said,
        max_tokens=ask.max_tokens - len(said),
        seed=(ask.seed + len(said)) % 2**63,
    )


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
            if engine.admit():
                connection.send(("batch", engine.batch))  # of which it may die
            engine.step()
            connection.send(("step", _outputs(engine, texts), engine.metrics()))


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
    question, said = rest
    try:
        ask, text = ask_of(question, engine), TextStream(question.stop)
        for token in said:
            text.feed(engine.piece(token))  # which was sent
        engine.add(number, _rest(ask, said))
        texts[number] = text
        connection.send(("accepted", number, len(ask.prompt)))
    except ValueError as problem:
        connection.send(("ended", number, "invalid", str(problem)))
    except Exception:
        logging.getLogger(__name__).exception("request %d failed", number)
        connection.send(("ended", number, "failed", FAILED))


def _outputs(
    engine: TokenEngine, texts: dict[int, TextStream]
) -> list[tuple[int, Part | EngineError]]:
    """What the requests got in a step."""
    outputs = list[tuple[int, Part | EngineError]]()
    for number, text in list(texts.items()):
        answer = engine.tokens(number)
        if not answer.tokens and not answer.finish:
            continue
        if answer.finish == "failed":
            outputs.append((number, EngineError("failed", f"{FAILED}: {answer.reason}")))
            del texts[number]
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
    question: Question | None = None
    parts: asyncio.Queue[Part | EngineError | int] = field(default_factory=asyncio.Queue)
    place: Literal["here", "sent", "known", "done"] = "here"  # known: to the child, which said so
    begun: bool = False  # how long the prompt is has been told
    said: list[int] = field(default_factory=list)  # tokens that came, after which another goes on


class _Child:
    """A process with an engine, and the threads that write to it and read from it."""

    def __init__(
        self,
        settings: Settings,
        model: Path | None,
        handle: Callable[[tuple[Any, ...]], None],
        died: Callable[[str], None],
    ) -> None:
        """Started. handle: called in this loop with what it says. died: with how it ended, unless
        it was never ready, which is its only message then."""
        spawning = multiprocessing.get_context("spawn")
        self.connection, theirs = spawning.Pipe()
        self.process = spawning.Process(target=_work, args=(theirs, settings, model), daemon=True)
        self.process.start()
        theirs.close()
        self.outbox = _Outbox(self.connection)
        self.reader = threading.Thread(
            target=self._read, args=(asyncio.get_running_loop(), handle, died), daemon=True
        )
        self.reader.start()

    async def end(self, within_s: float) -> None:
        """End it, at the latest after a step, or kill it when the time is over.

        It is told by the end of what it reads. The pipe is closed when the reader has seen the
        child's end: a number of a file that is closed under a reader may be another's by then.
        """
        self.outbox.close()
        with (
            contextlib.suppress(OSError),  # it has died, or was closed before
            socket.socket(fileno=os.dup(self.connection.fileno())) as ours,
        ):
            ours.shutdown(socket.SHUT_WR)
        await asyncio.to_thread(self.reader.join, within_s)
        self.process.kill()  # nothing where it has ended
        for ended in (self.reader, self.outbox, self.process):
            await asyncio.to_thread(ended.join)
        self.connection.close()

    def _read(
        self,
        loop: asyncio.AbstractEventLoop,
        handle: Callable[[tuple[Any, ...]], None],
        died: Callable[[str], None],
    ) -> None:
        """In a thread: hand over what the child sends, and in the end that it has died."""

        def hand_over(call: Callable[..., object], *arguments: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(call, *arguments)

        first = ""
        while True:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):  # closed there
                break
            first = first or message[0]
            hand_over(handle, message)
        self.process.join(5)
        told = f"the engine has ended, exit status {self.process.exitcode}"
        if first == "ready":
            hand_over(died, told)
        elif not first:
            hand_over(handle, ("missing", f"{told}; is the model file whole?"))


class EngineProcess:
    """The client: `ask` gives the parts of an answer; `metrics` tell of the engine.

    settings, model: as for `TokenEngine`. queue: requests that may wait beside those that run; one
    more is refused. deadline_s: from when a request is taken to its end. Raises EngineMissing from
    `start` when there is no engine. `restarts` counts the children that died and were followed by
    another.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        model: Path | None = None,
        queue: int = 64,
        deadline_s: float = 120.0,
    ) -> None:
        """Nothing runs before `start`."""
        self.settings, self.queue, self.deadline_s = settings or Settings(), queue, deadline_s
        self.metrics: dict[str, float] = {}
        self.state: Literal["starting", "ready", "restarting", "draining", "failed"] = "starting"
        self.restarts = 0
        self._model = model
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count(1)
        self._ended = asyncio.Event()
        self._heard_s = math.inf  # when the child last said something, or first had to
        self._child: _Child | None = None
        self._first = asyncio.Queue[tuple[Any, ...]]()  # what a child says first
        self._restarting: asyncio.Task[None] | None = None
        self._ready = self._closing = False  # whether a child takes requests; whether none shall
        self._idle_deaths = 0  # in a row
        self._batch: frozenset[int] = frozenset()  # in the child's next step
        self._suspects: deque[int] = deque()  # to begin one after another
        self._alone: int | None = None  # the one that has begun last, and has no token yet

    async def start(self) -> None:
        """Start the child and wait until the model is loaded."""
        problem = await self._begin()
        if problem:
            self.state = "failed"
            await self.close()
            self._ended.set()
            raise EngineMissing(problem)
        self.state = "ready"

    async def _begin(self) -> str:
        """Start a child and, when the model is loaded, let it have what is inside; or why not."""
        if self._closing:
            return "the server is shutting down"
        try:
            self._child = _Child(self.settings, self._model, self._handle, self._died)
        except OSError as problem:  # no memory, no processes
            return str(problem)
        what, told = await self._first.get()
        return "" if what == "ready" else str(told)

    @property
    def inside(self) -> int:
        """Requests that have been taken and have not ended."""
        return len(self._calls)

    @property
    def silent_s(self) -> float:
        """For how long the child has said nothing although requests are inside; 0 without, and
        while another is started."""
        if not self._calls or self.state == "restarting":
            return 0.0
        return max(0.0, time.monotonic() - self._heard_s)

    def require_place(self) -> None:
        """Raise EngineError where a request is refused whatever it asks, which `ask` does too."""
        if self.state == "draining":
            raise EngineError("closing", "the server is shutting down")
        if self.state not in ("ready", "restarting"):
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
        if question.seed is None:
            question = replace(question, seed=secrets.randbits(63))
        number, call = next(self._numbers), _Call(time.monotonic(), question)
        if not self._calls:
            self._heard_s = call.asked_s
        self._calls[number] = call
        try:
            self._go_on()
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
                if call.place in ("sent", "known") and self._child:
                    self._child.outbox.put("cancel", number)
                self._go_on()

    async def drain(self, within_s: float) -> None:
        """Take nothing new, wait for what is inside, and end with an error what takes longer."""
        if self.state in ("ready", "restarting"):
            self.state = "draining"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._calls:
                    await asyncio.sleep(0.02)
        self._fail(EngineError("closing", "the server is shutting down"))

    async def ended(self) -> None:
        """Wait until the child has died and no other could be started."""
        await self._ended.wait()

    async def close(self) -> None:
        """End the child, at the latest after a step, or kill it: at once while it loads the model,
        else after five seconds."""
        self._closing = True
        if self.state != "failed":
            self.state = "draining"
        if self._child:
            await self._child.end(5 if self._ready else 0)
        if self._restarting:
            await asyncio.wait({self._restarting})

    def _go_on(self) -> None:
        """Send the child what it may have: what is inside, or of suspects the next that has to
        show itself."""
        if not self._ready or self._child is None or self._alone in self._calls:
            return
        known = [number for number in self._suspects if number in self._calls]
        self._suspects = deque(known[1:])
        self._alone = known[0] if known else None
        for number in known[:1] or self._calls:
            call = self._calls[number]
            if call.place == "here":
                call.place = "sent"
                self._child.outbox.put("ask", number, call.question, tuple(call.said))

    def _died(self, told: str) -> None:
        """Find out at which request, and start another child."""
        self._ready, died_at = False, []
        for number, call in self._calls.items():
            if call.place == "sent" or number in self._batch:
                died_at.append(number)
            if call.place != "done":
                call.place = "here"
        self._idle_deaths = 0 if died_at else self._idle_deaths + 1
        if self._closing or self._idle_deaths == IDLE_DEATHS:
            self._give_up(told)
            return
        logging.getLogger(__name__).error("%s; another is started", told)
        if len(died_at) == 1:
            self._calls.pop(died_at[0]).parts.put_nowait(EngineError("failed", FAILED))
        died_at.sort(key=lambda number: number != self._alone)
        self._suspects, self._alone, self._batch = deque(died_at), None, frozenset()
        self._restarting = asyncio.create_task(self._restart(told))

    async def _restart(self, told: str) -> None:
        if self.state == "ready":
            self.state = "restarting"
        assert self._child
        await self._child.end(0)
        self.restarts += 1
        problem = await self._begin()
        if problem:
            self._give_up(f"{told}, and no other could be started: {problem}")
        elif self.state == "restarting":
            self.state = "ready"

    def _give_up(self, told: str) -> None:
        if not self._closing:
            logging.getLogger(__name__).error(told)
            self.state = "failed"
        self._fail(EngineError("failed", told))
        self._ended.set()

    def _fail(self, problem: EngineError) -> None:
        for call in self._calls.values():
            call.parts.put_nowait(problem)

    def _handle(self, message: tuple[Any, ...]) -> None:
        """What a child says."""
        what, *rest = message
        self._heard_s = time.monotonic()
        if what in ("ready", "missing"):
            self._first.put_nowait(message)
            if what == "ready":
                self.metrics, self._ready = rest[0], True
                self._go_on()
        elif what == "batch":
            self._batch = frozenset(*rest)
        elif what == "step":
            outputs, self.metrics = rest
            for number, part in outputs:
                self._give(number, part)
        elif what == "accepted":
            number, told = rest
            if number in self._calls:  # or it was cancelled meanwhile
                call = self._calls[number]
                call.place = "known"
                if not call.begun:
                    call.parts.put_nowait(told)
                call.begun = True
        else:
            number, *why = rest
            self._give(number, EngineError(*why))

    def _give(self, number: int, part: Part | EngineError) -> None:
        """Hand something of an answer over."""
        if number in self._calls:
            call = self._calls[number]
            call.parts.put_nowait(part)
            if isinstance(part, Part):
                call.said += part.tokens
            if isinstance(part, EngineError) or part.finish:
                self._batch -= {number}
                call.place = "done"
        if number == self._alone:
            self._alone = None
            self._go_on()


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
