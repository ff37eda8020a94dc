"""The engine in its own process: answers, ends of all kinds, and a loop that is never held up."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving_mathematics.engine import engine_process
from serving_mathematics.engine.engine_process import (
    IDLE_DEATHS,
    EngineError,
    EngineProcess,
    Part,
    Question,
    _Outbox,
    _rest,
    ask_of,
)
from serving_mathematics.engine.token_engine import Ask, EngineMissing, Settings

from ..profiles import THOROUGH
from .stand_in import late_work, light_work

MODEL = Path(__file__)  # of an engine that reads none
SETTINGS = Settings(max_sequences=2, kv_blocks=200, context_tokens=6144)
LONG = Question("Once upon a time", 5000, ignore_end=True)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children with an engine that computes nothing, forked by a process that has loaded it."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__])
    contexts = SimpleNamespace(get_context=lambda _: forking)
    monkeypatch.setattr(engine_process, "multiprocessing", contexts)
    monkeypatch.setattr(engine_process, "_work", light_work)


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(240):
            await test

    asyncio.run(bounded())


@contextlib.asynccontextmanager
async def started(model: Path = MODEL, **options: Any) -> AsyncIterator[EngineProcess]:
    engine = EngineProcess(SETTINGS, model, **options)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def whole(engine: EngineProcess, question: Question) -> tuple[int, str, list[int], str]:
    """Prompt tokens, text, tokens and finish of an answer."""
    prompt_tokens, *parts = [part async for part in engine.ask(question)]
    assert isinstance(prompt_tokens, int)
    told = [part for part in parts if isinstance(part, Part)]
    tokens = [token for part in told for token in part.tokens]
    return prompt_tokens, "".join(part.text for part in told), tokens, told[-1].finish


async def kind_of(engine: EngineProcess, question: Question) -> str:
    """The kind of error in which a request ends."""
    with pytest.raises(EngineError) as caught:
        await whole(engine, question)
    return caught.value.kind


async def until(condition: Any) -> None:
    """Looks at every turn of the loop: another child may be ready in less than 10 ms."""
    while not condition():
        await asyncio.sleep(0)


def test_answers_stops_and_refusals(small_model: Path) -> None:
    """One child for all of it: the same answer together as alone, cut at stops, what cannot be
    served named, and a loop that goes on ticking in the five long steps of 2,500 tokens."""

    async def test() -> None:
        async with started(small_model, queue=3) as engine:
            messages = ({"role": "user", "content": "What is the capital of France?"},)
            question = Question(messages, 30, ignore_end=True)
            prompt_tokens, text, tokens, finish = await whole(engine, question)
            assert (prompt_tokens, len(tokens), finish) == (62, 30, "length")
            together = await asyncio.gather(*(whole(engine, question) for _ in range(4)))
            assert all(answer[1] == text for answer in together)
            word = text[10:16]
            _, cut, fewer, finish = await whole(engine, replace(question, stop=(word, "never")))
            assert (cut, finish) == (text.partition(word)[0], "stop")
            assert 0 < len(fewer) < len(tokens)
            assert engine.metrics["running"] == 0  # nor does it go on unseen
            ending = replace(question, max_tokens=2000, temperature=1.0, ignore_end=False)
            assert (await whole(engine, ending))[3] == "stop"
            told = [await whole(engine, Question(same, 5)) for same in ("The other", (504, 550))]
            assert told[0] == told[1]
            assert (told[0][0], len(told[0][2]), told[0][3]) == (2, 5, "length")
            for wrong in (Question("", 1), Question("a " * 7000, 1), Question("a", 6144)):
                assert await kind_of(engine, wrong) == "invalid"
            busy = [asyncio.create_task(whole(engine, LONG)) for _ in range(5)]
            await until(lambda: engine.inside == 5)
            assert await kind_of(engine, question) == "full"
            for task in busy:
                task.cancel()
            await asyncio.wait(busy)
            assert engine.inside == 0
            await until(lambda: engine.metrics["running"] == 0)
            assert (await whole(engine, question))[1] == text
            asking = asyncio.create_task(whole(engine, Question((*range(100, 1000),) * 3, 1)))
            before, ticks = engine.metrics["steps"], 0
            while not asking.done():
                await asyncio.sleep(0)
                ticks += 1
            steps = engine.metrics["steps"] - before
            assert ticks > 50 * steps > 0  # and not a few between two steps

    run(test())


@pytest.mark.usefixtures("light")
def test_deadlines_and_draining_end_requests_with_a_reason() -> None:
    async def test() -> None:
        async with started(deadline_s=0.5) as engine:
            assert await kind_of(engine, LONG) == "late"
            await until(lambda: engine.metrics["running"] == 0)
            engine.deadline_s = 60
            short = asyncio.create_task(whole(engine, Question("Hi", 3, ignore_end=True)))
            long = asyncio.create_task(kind_of(engine, LONG))
            await asyncio.sleep(0)  # in which both ask
            assert engine.inside == 2
            draining = asyncio.create_task(engine.drain(60))
            assert (await short)[3] == "length"
            await engine.drain(0.1)
            await draining
            assert await long == "closing"
            assert await kind_of(engine, LONG) == "closing"

    run(test())


def test_a_reader_that_is_cancelled_while_a_part_comes_ends_its_request() -> None:
    async def test() -> None:
        engine, sent = EngineProcess(SETTINGS), list[tuple[Any, ...]]()
        engine.state, engine._ready = "ready", True
        outbox = SimpleNamespace(put=lambda *message: sent.append(message))
        engine._child = SimpleNamespace(outbox=outbox)  # type: ignore[assignment]
        reader = asyncio.create_task(whole(engine, LONG))
        await until(lambda: engine.inside == 1)
        (call,) = engine._calls.values()
        call.parts.put_nowait(4)
        reader.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert reader.cancelled()
        assert sent[-1] == ("cancel", sent[0][1])

    run(test())


def pid_of(engine: EngineProcess) -> int:
    assert engine._child
    pid = engine._child.process.pid
    assert pid
    return pid


@pytest.mark.usefixtures("light")
def test_a_child_that_is_killed_is_followed_by_one_that_goes_on() -> None:
    """Six are inside, of which two run, and one more comes meanwhile: every answer is whole, what
    was sent of it included, and without a gap. Where no other can be started, all are told."""
    question = Question("Once upon a time", 80, ignore_end=True)

    async def test() -> None:
        async with started() as engine:
            expected = await whole(engine, question)
            before = engine.metrics["tokens"]
            begun = asyncio.create_task(whole(engine, question))
            calls = [asyncio.create_task(whole(engine, question)) for _ in range(5)]
            await until(lambda: engine.metrics["tokens"] > before + 20)
            os.kill(pid_of(engine), signal.SIGKILL)
            await until(lambda: engine.state == "restarting")
            assert engine.silent_s == 0
            calls.append(asyncio.create_task(whole(engine, question)))
            assert await asyncio.gather(begun, *calls) == [expected] * 7
            assert len(expected[2]) == 80
            assert (engine.state, engine.restarts, engine.inside) == ("ready", 1, 0)
            failing = [asyncio.create_task(kind_of(engine, LONG)) for _ in range(6)]
            before = engine.metrics["tokens"]
            await until(lambda: engine.metrics["tokens"] > before + 20)
            engine._model = MODEL / "nothing"
            os.kill(pid_of(engine), signal.SIGKILL)
            assert await asyncio.gather(*failing) == ["failed"] * 6
            await engine.ended()
            await asyncio.to_thread(engine._child.reader.join)  # type: ignore[union-attr]
            await asyncio.sleep(0)
            assert (engine.state, engine.restarts) == ("failed", 2)
            assert await kind_of(engine, LONG) == "failed"

    run(test())


POISONS = [  # what breaks, what is said of it, and how many children it may cost
    (Question("Hi", 5, seed=666), "the engine failed at this request", (1, 3)),
    (Question("Hi", 5, seed=667), "the engine failed at this request", (1, 3)),
    (Question("☠", 5), "the engine failed at this request", (1, 3)),
    (Question("☢", 5), "the engine failed at this request", (0, 0)),
    (Question("Hi", 5, seed=668), "the engine failed at this request: no such setting", (0, 0)),
]


@pytest.mark.usefixtures("light")
def test_what_one_request_breaks_ends_that_request_alone() -> None:
    """One after the other, in one engine. Others run, wait and come after; each gets the same
    tokens, as many as it asked for."""
    question = Question("Once upon a time", 60, ignore_end=True)

    async def test() -> None:
        async with started() as engine:
            expected = await whole(engine, question)
            for poison, told, (least, most) in POISONS:
                before, done = engine.restarts, engine.metrics.get("tokens", 0)
                calls = [asyncio.create_task(whole(engine, question)) for _ in range(3)]
                await until(lambda done=done: engine.metrics.get("tokens", 0) > done + 20)
                with pytest.raises(EngineError) as caught:
                    await whole(engine, poison)
                assert (caught.value.kind, str(caught.value)) == ("failed", told)
                calls.append(asyncio.create_task(whole(engine, question)))
                for answer in await asyncio.gather(*calls):
                    assert answer == expected
                    assert len(answer[2]) == 60
                assert least <= engine.restarts - before <= most, poison
                assert (engine.state, engine.inside) == ("ready", 0)

    run(test())


@pytest.mark.usefixtures("light")
def test_a_child_that_dies_of_nothing_is_followed_by_two() -> None:
    async def test() -> None:
        async with started() as engine:
            for _ in range(IDLE_DEATHS):
                assert engine.state == "ready"
                os.kill(pid_of(engine), signal.SIGKILL)
                await until(lambda: engine.state != "ready")
                await until(lambda: engine.state != "restarting")
            assert (engine.state, engine.restarts) == ("failed", IDLE_DEATHS - 1)
            await engine.ended()

    run(test())


@pytest.mark.usefixtures("light")
def test_closing_while_another_child_is_started_ends_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        async with started() as engine:
            call = asyncio.create_task(kind_of(engine, replace(LONG, seed=669)))
            await until(lambda: engine._batch)  # it is in a step that does not end
            first = engine._child
            monkeypatch.setattr(engine_process, "_work", late_work)
            os.kill(pid_of(engine), signal.SIGKILL)
            await until(lambda: engine._child is not first)
            await engine.close()
            assert await call == "failed"
            assert first
            assert engine._child
            for child in (first, engine._child):
                assert child.process.exitcode == -signal.SIGKILL
            await engine.ended()

    run(test())


BEYOND_THE_PIPE = "a" * (1 << 20)  # characters; a socket of the system holds fewer


def test_what_waits_for_a_child_that_reads_nothing_is_what_was_not_cancelled() -> None:
    """A thousand ask and leave while the pipe is full: nothing of them stays, and what is read in
    the end are whole messages in their order, without a cancellation of what was never sent."""
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        outbox = _Outbox(ours)
        outbox.put("ask", 1, BEYOND_THE_PIPE)
        assert theirs.poll(60)  # it is being written
        outbox.put("cancel", 1)
        for number in range(2, 1002):
            outbox.put("ask", number, "b")
            outbox.put("cancel", number)
        outbox.put("ask", 1002, "c")
        assert len(outbox._unsent) == 2
        told = [theirs.recv() for _ in range(3)]
        assert told == [("ask", 1, BEYOND_THE_PIPE), ("cancel", 1), ("ask", 1002, "c")]
        outbox.close()
        outbox.join()
        outbox.put("ask", 1003, "d")  # to nobody
        assert not theirs.poll()


def test_a_pipe_without_a_reader_ends_the_writing() -> None:
    ours, theirs = multiprocessing.Pipe()
    with ours:
        outbox = _Outbox(ours)
        outbox.put("ask", 1, BEYOND_THE_PIPE)
        assert theirs.poll(60)
        theirs.close()
        outbox.join()


@pytest.mark.usefixtures("light")
def test_a_child_that_is_stopped_holds_nobody_up_and_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Prompts that do not fit into its pipe; each asker is told when its time is over."""

    async def test() -> None:
        async with started(deadline_s=0.3) as engine:
            os.kill(pid_of(engine), signal.SIGSTOP)
            assert engine._child
            child, end = engine._child.process, engine._child.end
            monkeypatch.setattr(engine._child, "end", lambda _: end(0.2))  # of five seconds
            calls = [
                asyncio.create_task(kind_of(engine, Question(BEYOND_THE_PIPE, 1))) for _ in range(8)
            ]
            assert await asyncio.gather(*calls) == ["late"] * 8
            assert engine.inside == 0
        assert not child.is_alive()

    run(test())


@pytest.mark.usefixtures("light")
def test_closing_while_the_model_is_loaded_kills_the_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would hear of it when the model is loaded, and end by itself."""
    monkeypatch.setattr(engine_process, "_work", late_work)

    async def test() -> None:
        engine = EngineProcess(SETTINGS, MODEL)
        starting = asyncio.create_task(engine.start())
        await asyncio.sleep(0)  # in which the child is started
        await engine.close()
        assert engine._child
        assert engine._child.process.exitcode == -signal.SIGKILL
        with pytest.raises(EngineMissing, match="the engine has ended"):
            await starting

    run(test())


def _chatter(connection: Connection, *_settings: object) -> None:
    """A child that sends without end, and ends when it can read the end."""
    connection.send(("ready", {}))
    while not connection.poll():
        connection.send(("ended", 0, "invalid", "nobody asked"))


def _open_and_close(told: Connection) -> None:
    """Many engines, one after the other: whether a reader was alive when its pipe was closed, and
    how many files and threads are left."""
    forking = multiprocessing.get_context("fork")  # a child costs milliseconds
    engine_process.multiprocessing.get_context = lambda _: forking  # type: ignore[attr-defined]
    engine_process._work = _chatter  # type: ignore[assignment]

    def files() -> int:
        gc.collect()  # a process keeps one until it is forgotten
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    async def one() -> bool:
        engine = EngineProcess(SETTINGS)
        await engine.start()
        assert engine._child
        child = engine._child
        close, alive = child.connection.close, []

        def closing() -> None:
            alive.append(child.reader.is_alive())
            close()

        child.connection.close = closing  # type: ignore[method-assign]
        await engine.close()
        await engine.close()  # once more does nothing
        return any(alive)

    async def engines(count: int) -> bool:
        return any([await one() for _ in range(count)])

    asyncio.run(engines(1))  # and end the loop's threads, the last of which may know a process
    before = files()
    alive = asyncio.run(engines(100 if THOROUGH else 30))
    told.send((alive, files() - before))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files under /proc")
@pytest.mark.usefixtures("light")
def test_a_pipe_is_closed_after_its_reader_and_nothing_is_left() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context: Any = engine_process.multiprocessing.get_context("spawn")
    child = context.Process(target=_open_and_close, args=(theirs,))
    child.start()
    theirs.close()
    assert ours.poll(240)
    assert ours.recv() == (False, 0)
    child.join(60)
    assert child.exitcode == 0


def test_questions_become_tokens() -> None:
    words: Any = SimpleNamespace(settings=SETTINGS, encode=lambda text: [*map(len, text.split())])
    ask = ask_of(Question("The other of", seed=5, temperature=0.5, top_p=0.9), words)
    assert ask == Ask((3, 5, 2), 6141, 0.5, 0.9, 5)
    assert _rest(replace(ask, seed=2**63 - 1), (7, 8)) == Ask((3, 5, 2, 7, 8), 6139, 0.5, 0.9, 1)


@pytest.mark.usefixtures("light")
def test_the_child_ends_when_its_pipe_does() -> None:
    """`_work` returns; nothing is left behind by a parent that was killed."""
    ours, theirs = multiprocessing.Pipe()
    context: Any = engine_process.multiprocessing.get_context("spawn")
    child = context.Process(target=light_work, args=(theirs, SETTINGS, MODEL))
    child.start()
    theirs.close()
    assert ours.recv()[0] == "ready"
    ours.close()
    child.join(120)
    assert child.exitcode == 0
