"""The dynamic batcher under load, cancellation, failure and closing; nothing waits for a clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.dynamic_batcher import (
    BatcherClosed,
    BatcherFull,
    BatchFailed,
    DynamicBatcher,
    in_thread,
)

PATIENCE_S = 20.0  # generous: only a hang takes so long


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """A coroutine function, run with a limit on a hang."""

    async def limited() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await main()

    return asyncio.run(limited())


class Gate:
    """A model that notes its batches and answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.open, self.entered = asyncio.Event(), asyncio.Event()

    async def __call__(self, items: list[Any]) -> list[Any]:
        self.batches.append(items)
        self.entered.set()
        await self.open.wait()
        return [("answer", item) for item in items]


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_items_that_wait_share_batches_up_to_the_limit() -> None:
    async def main() -> None:
        gate = Gate()
        async with DynamicBatcher(gate, largest=3) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            await gate.entered.wait()
            rest = [asyncio.create_task(batcher.submit(item)) for item in range(1, 8)]
            await settle()
            gate.open.set()
            answers = await asyncio.gather(first, *rest)
        assert gate.batches == [[0], [1, 2, 3], [4, 5, 6], [7]]
        assert answers == [("answer", item) for item in range(8)]
        assert batcher.counts == {"accepted": 8, "answered": 8, "batches": 4}

    run(main)


def test_a_window_gathers_and_a_full_batch_does_not_wait_for_it() -> None:
    async def main() -> None:
        gate = Gate()
        gate.open.set()
        async with DynamicBatcher(gate, largest=3, window_s=3600.0) as batcher:
            early = [asyncio.create_task(batcher.submit(item)) for item in range(2)]
            await settle()
            assert gate.batches == []
            assert len(await asyncio.gather(*early, batcher.submit(2))) == 3
            assert gate.batches == [[0, 1, 2]]
            last = asyncio.create_task(batcher.submit(3))
            await settle()
            assert len(gate.batches) == 1
        assert await last == ("answer", 3)  # closing ends the window

    run(main)


def test_a_short_window_ends_by_itself() -> None:
    async def main() -> None:
        gate = Gate()
        gate.open.set()
        async with DynamicBatcher(gate, largest=9, window_s=0.01) as batcher:
            assert await batcher.submit("alone") == ("answer", "alone")
            assert await batcher.submit("again") == ("answer", "again")

    run(main)


def test_the_window_is_counted_from_the_oldest_item() -> None:
    async def main() -> None:
        gate = Gate()
        loop = asyncio.get_running_loop()
        async with DynamicBatcher(gate, largest=9, window_s=0.05) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            await gate.entered.wait()
            second = asyncio.create_task(batcher.submit(1))
            await settle()
            overdue = loop.time() + 0.1  # the second has waited out its window when the gate opens
            while loop.time() < overdue:
                await asyncio.sleep(0.01)
            third = asyncio.create_task(batcher.submit(2))
            await settle()
            gate.open.set()
            await first
            for _ in range(10):  # far less than a window
                await asyncio.sleep(0)
            assert gate.batches == [[0], [1, 2]]
            await asyncio.gather(second, third)

    run(main)


def test_a_full_batcher_refuses_and_recovers() -> None:
    async def main() -> None:
        gate = Gate()
        async with DynamicBatcher(gate, largest=2, places=4) as batcher:
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(2)]
            await gate.entered.wait()
            tasks += [asyncio.create_task(batcher.submit(item)) for item in range(2, 4)]
            await settle()
            with pytest.raises(BatcherFull, match="all 4 places are taken"):
                await batcher.submit(4)
            tasks[3].cancel()
            await settle()
            tasks[3] = asyncio.create_task(batcher.submit(5))  # the place of whoever left
            await settle()
            gate.open.set()
            assert [item for _, item in await asyncio.gather(*tasks)] == [0, 1, 2, 5]
        assert batcher.counts["refused"] == batcher.counts["cancelled"] == 1

    run(main)


def test_who_leaves_while_waiting_is_not_computed() -> None:
    async def main() -> None:
        gate = Gate()
        async with DynamicBatcher(gate, largest=4) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            await gate.entered.wait()
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(1, 4)]
            await settle()
            tasks[1].cancel()
            await settle()
            gate.open.set()
            ends = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert gate.batches == [[0], [1, 3]]
        assert isinstance(ends[2], asyncio.CancelledError)
        assert batcher.counts["cancelled"] == 1
        assert batcher.counts["answered"] == 3

    run(main)


def test_who_leaves_as_the_batch_forms_is_not_computed() -> None:
    async def main() -> None:
        gate = Gate()
        async with DynamicBatcher(gate, largest=3) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            await gate.entered.wait()
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(1, 4)]
            await settle()
            gate.open.set()  # the next batch forms before whoever leaves can say so
            tasks[1].cancel()
            await asyncio.gather(first, *tasks, return_exceptions=True)
        assert gate.batches == [[0], [1, 3]]
        assert batcher.counts["cancelled"] == 1

    run(main)


def test_who_leaves_during_the_batch_disturbs_nobody() -> None:
    async def main() -> None:
        gate = Gate()
        async with DynamicBatcher(gate, largest=4) as batcher:
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
            await gate.entered.wait()
            tasks[0].cancel()
            await settle()
            gate.open.set()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError)
        assert ends[1:] == [("answer", 1), ("answer", 2)]
        assert batcher.counts["accepted"] == 3
        assert batcher.counts["cancelled"] == 1
        assert batcher.counts["answered"] == 2

    run(main)


def test_everybody_leaves_and_the_window_starts_anew() -> None:
    async def main() -> None:
        gate = Gate()
        gate.open.set()
        async with DynamicBatcher(gate, largest=2, window_s=3600.0) as batcher:
            gone = asyncio.create_task(batcher.submit(0))
            await settle()
            gone.cancel()
            await settle()
            pair = await asyncio.gather(batcher.submit(1), batcher.submit(2))
            assert pair == [("answer", 1), ("answer", 2)]
        assert gate.batches == [[1, 2]]

    run(main)


def test_a_failing_model_fails_exactly_its_batch() -> None:
    async def model(items: list[int]) -> list[int]:
        await asyncio.sleep(0)
        if 3 in items:
            raise ZeroDivisionError("three")
        return items

    async def main() -> None:
        async with DynamicBatcher(model, largest=2) as batcher:
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(6)]
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert ends[:2] + ends[4:] == [0, 1, 4, 5]
        for end in ends[2:4]:
            assert isinstance(end, BatchFailed)
            assert isinstance(end.__cause__, ZeroDivisionError)
        assert ends[2] is not ends[3]
        assert batcher.counts["failed"] == 2
        assert batcher.counts["answered"] == 4

    run(main)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_wrong_number_of_answers_is_a_failure(size: int) -> None:
    async def model(items: list[int]) -> list[int]:
        return (items * 2)[:size]

    async def main() -> None:
        async with DynamicBatcher(model, largest=2) as batcher:
            ends = await asyncio.gather(
                batcher.submit(1), batcher.submit(2), return_exceptions=True
            )
        assert all(isinstance(end, BatchFailed) for end in ends)
        assert f"{size} answers to 2 items" in str(ends[0].__cause__)

    run(main)


class Unspeakable(Exception):
    """An exception that cannot even be printed."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class Unreadable(list[int]):
    """Two answers that nobody can take."""

    def __getitem__(self, _: Any) -> Any:
        raise IndexError


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (None, TypeError),
        (iter([1, 2]), TypeError),
        ({1, 2}, TypeError),
        ({"first": 1, "second": 2}, KeyError),
        (Unreadable([1, 2]), IndexError),
        (Unspeakable(), Unspeakable),
        (StopAsyncIteration(), StopAsyncIteration),
        (TimeoutError(), TimeoutError),
    ],
)
def test_whatever_a_model_does_to_one_batch_the_next_is_answered(
    wrong: Any, cause: type[Exception]
) -> None:
    async def model(items: list[int]) -> Any:
        if 0 not in items:
            return items
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    async def main() -> None:
        async with DynamicBatcher(model, largest=2) as batcher:
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(4)]
            ends: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        assert ends[2:] == [2, 3]
        for end in ends[:2]:
            assert isinstance(end, BatchFailed)
            assert isinstance(end.__cause__, cause)
            assert cause.__name__ in str(end)
        assert batcher.counts == {"accepted": 4, "answered": 2, "failed": 2, "batches": 2}

    run(main)


def test_a_model_that_empties_its_list_answers_all_the_same() -> None:
    async def model(items: list[int]) -> list[int]:
        return [items.pop(0) for _ in range(len(items))]

    async def main() -> None:
        async with DynamicBatcher(model, largest=2) as batcher:
            answers = await asyncio.gather(*(batcher.submit(item) for item in range(5)))
        assert answers == list(range(5))

    run(main)


def test_a_batcher_opens_once() -> None:
    async def main() -> None:
        batcher = DynamicBatcher(in_thread(list))
        async with batcher:
            with pytest.raises(BatcherClosed, match="opened before"):
                await batcher.__aenter__()
            assert await batcher.submit(1) == 1
        with pytest.raises(BatcherClosed, match="opened before"):
            await batcher.__aenter__()

    run(main)


def test_a_caller_with_a_deadline_leaves_the_others_alone() -> None:
    async def main() -> None:
        gate = Gate()
        async with DynamicBatcher(gate, largest=2) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            await gate.entered.wait()
            second = asyncio.create_task(batcher.submit(1))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await batcher.submit(2)
            gate.open.set()
            assert await asyncio.gather(first, second) == [("answer", 0), ("answer", 1)]
        assert gate.batches == [[0], [1]]
        assert batcher.counts["cancelled"] == 1

    run(main)


def test_a_model_that_is_cancelled_fails_its_batch_only() -> None:
    async def model(items: list[int]) -> list[int]:
        if items == [0]:
            raise asyncio.CancelledError
        return items

    async def main() -> None:
        async with DynamicBatcher(model, largest=1) as batcher:
            with pytest.raises(BatchFailed):
                await batcher.submit(0)
            assert await batcher.submit(1) == 1

    run(main)


def test_close_finishes_what_was_accepted_and_refuses_the_rest() -> None:
    async def main() -> None:
        gate = Gate()
        batcher = DynamicBatcher(gate, largest=2, window_s=3600.0)
        with pytest.raises(BatcherClosed):
            await batcher.submit("too early")
        async with batcher:
            tasks = [asyncio.create_task(batcher.submit(item)) for item in range(5)]
            await gate.entered.wait()
            closing = asyncio.create_task(batcher.close())
            await settle()
            with pytest.raises(BatcherClosed):
                await batcher.submit(5)
            assert not closing.done()
            gate.open.set()
            await closing
            assert [item for _, item in await asyncio.gather(*tasks)] == list(range(5))
        await batcher.close()  # twice is no error
        assert batcher.counts["refused"] == 2
        assert batcher.counts["accepted"] == batcher.counts["answered"] == 5

    run(main)


def test_closing_without_ever_opening_is_no_error() -> None:
    run(DynamicBatcher(in_thread(list)).close)


def test_nobody_waits_for_a_batcher_whose_task_was_cancelled() -> None:
    async def main() -> None:
        gate = Gate()
        batcher = await DynamicBatcher(gate, largest=1).__aenter__()
        tasks = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
        await gate.entered.wait()
        workers = [t for t in asyncio.all_tasks() if "_work" in repr(t.get_coro())]
        assert len(workers) == 1
        workers[0].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        with pytest.raises(BatcherClosed):
            await batcher.submit(9)
        await batcher.close()

    run(main)


def test_in_thread_keeps_the_loop_free() -> None:
    release = threading.Event()

    def model(items: list[int]) -> list[int]:
        assert release.wait(PATIENCE_S)
        return [item + 1 for item in items]

    async def main() -> None:
        async with DynamicBatcher(in_thread(model), largest=8) as batcher:
            task = asyncio.create_task(batcher.submit(1))
            await settle()
            release.set()  # would never be reached if the model held the loop
            assert await task == 2

    run(main)


@given(
    st.integers(1, 5),
    st.sampled_from([0.0, 0.001]),
    st.integers(2, 30),
    st.lists(st.sampled_from(["submit", "cancel", "pause"]), min_size=1, max_size=60),
    st.integers(2, 9),
)
def test_nothing_is_lost_and_callers_keep_their_order(
    largest: int, window_s: float, places: int, acts: list[str], bad: int
) -> None:
    sizes: list[int] = []
    finished: dict[int, list[int]] = {0: [], 1: [], 2: []}

    async def model(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await asyncio.sleep(0)
        if any(item % bad == 1 for item in items):
            raise RuntimeError
        return [item * 2 for item in items]

    async def call(batcher: DynamicBatcher[int, int], item: int) -> int:
        answer = await batcher.submit(item)
        finished[item % 3].append(item)
        return answer

    async def main() -> list[Any]:
        tasks: list[asyncio.Task[int]] = []
        async with DynamicBatcher(model, largest, window_s, places) as batcher:
            for act in acts:
                if act == "submit":
                    tasks.append(asyncio.create_task(call(batcher, len(tasks))))
                elif act == "cancel" and tasks:
                    tasks[len(tasks) // 2].cancel()
                else:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        counts = batcher.counts
        ways = counts["answered"] + counts["failed"] + counts["cancelled"]
        assert ways == counts["accepted"]
        refused = sum(isinstance(end, BatcherFull | BatcherClosed) for end in ends)
        assert refused == counts["refused"]
        failed = sum(isinstance(end, BatchFailed) for end in ends)
        assert failed <= counts["failed"]  # whoever left with the failure in hand saw it as a leave
        assert counts["batches"] == len(sizes)
        return ends

    ends = run(main)
    assert all(end == 2 * item for item, end in enumerate(ends) if isinstance(end, int))
    assert all(1 <= size <= largest for size in sizes)
    assert all(items == sorted(items) for items in finished.values())


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"largest": 0}, "largest must be a positive integer, got 0"),
        ({"largest": 2.5}, "largest must be"),
        ({"places": 0}, "places must be"),
        ({"window_s": -1.0}, "window_s must be"),
        ({"window_s": np.nan}, "window_s must be"),
        ({"window_s": np.inf}, "window_s must be"),
    ],
)
def test_bad_limits_are_refused(named: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DynamicBatcher(in_thread(list), **named)


def test_one_place_is_free_again_after_every_answer() -> None:
    async def main() -> None:
        async with DynamicBatcher(in_thread(list), largest=1, places=1) as batcher:
            for item in range(3):
                assert await batcher.submit(item) == item

    run(main)
