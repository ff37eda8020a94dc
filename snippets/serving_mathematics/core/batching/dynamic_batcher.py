"""A dynamic batcher for asyncio: callers submit one item each, a model gets batches.

An item that was accepted has one of three ends: answered, failed with its batch, or cancelled by
its caller, so accepted = answered + failed + cancelled when the batcher is closed. Batches run one
at a time in the order of submission, so the answers of a caller come in the order of its items.

Assumes: one event loop; the model is a coroutine function from a list of items to as many answers
and does not block the loop (`in_thread` wraps one that would).

Source: the rules of Triton's dynamic batcher (a largest batch, a longest delay of the oldest item,
responses in the order of requests); Python's asyncio documentation for cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_non_negative

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class BatcherFull(Exception):
    """Refused: as many items as there are places wait or run."""


class BatcherClosed(Exception):
    """Refused: the batcher accepts nothing more."""


class BatchFailed(Exception):
    """The model failed on the batch of this item; what it raised is the cause."""


class DynamicBatcher(Generic[Item, Answer]):
    """Collects items into batches for a model: `async with DynamicBatcher(model) as batcher`.

    model: see the module. largest: items in a batch at most. window_s: how long the oldest item may
    wait for others when the model is free [s]; 0 takes what is there. places: items inside at most,
    waiting or in the batch. `counts` holds accepted, answered, failed, cancelled, refused and
    batches. Raises ValueError on limits that are not positive and windows that are not finite.
    """

    def __init__(
        self,
        model: Callable[[list[Item]], Awaitable[Sequence[Answer]]],
        largest: int = 32,
        window_s: float = 0.0,
        places: int = 1024,
    ) -> None:
        """Nothing runs before `async with`."""
        for name, limit in (("largest", largest), ("places", places)):
            whole = isinstance(limit, int | np.integer) and limit >= 1
            require(whole, name, "a positive integer", limit)
        window_s = require_non_negative(window_s=window_s)
        self.counts = Counter[str]()
        self._model, self._largest, self._window_s, self._places = model, largest, window_s, places
        self._waiting: OrderedDict[asyncio.Future[Answer], tuple[Item, float]] = OrderedDict()
        self._changed = asyncio.Event()  # an item came or went, or the batcher is closing
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self._in_batch = 0

    async def __aenter__(self) -> DynamicBatcher[Item, Answer]:
        """Start to form batches. Raises BatcherClosed the second time."""
        if self._worker is not None:  # two at work would run two batches at a time
            raise BatcherClosed("opened before")
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """Accept nothing more, finish what was accepted, then end."""
        self._closing = True
        self._changed.set()
        if self._worker is not None:
            await asyncio.wait([self._worker])

    async def submit(self, item: Item) -> Answer:
        """The model's answer to an item. Raises BatcherFull or BatcherClosed when it is not
        accepted, BatchFailed when the model failed on its batch."""
        if self._closing or self._worker is None or self._worker.done():
            self.counts["refused"] += 1
            raise BatcherClosed("not open")
        if len(self._waiting) + self._in_batch >= self._places:
            self.counts["refused"] += 1
            raise BatcherFull(f"all {self._places} places are taken")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting[answer] = item, loop.time()
        self.counts["accepted"] += 1
        self._changed.set()
        try:
            return await answer
        finally:
            if answer.cancelled():
                self.counts["cancelled"] += 1
                if self._waiting.pop(answer, None) is not None:
                    self._changed.set()

    async def _work(self) -> None:
        """Run one batch after the other until the batcher is closed and nothing waits."""
        batch: dict[asyncio.Future[Answer], Item] = {}
        try:
            while self._waiting or not self._closing:
                await self._gather()
                batch = {}
                while self._waiting and len(batch) < self._largest:
                    answer, (item, _) = self._waiting.popitem(last=False)
                    if not answer.done():
                        batch[answer] = item
                if batch:
                    self._in_batch = len(batch)
                    await self._run(batch)
                    self._in_batch = 0
        finally:  # cancelled from outside, with the loop: nobody is left waiting
            for answer in [*batch, *self._waiting]:
                answer.cancel()

    async def _gather(self) -> None:
        """Wait for a first item, and then for a full batch or the end of the window."""
        while not (self._waiting or self._closing):
            self._changed.clear()
            await self._changed.wait()
        with contextlib.suppress(TimeoutError):
            while 0 < len(self._waiting) < self._largest and not self._closing:
                _, oldest = next(iter(self._waiting.values()))
                async with asyncio.timeout_at(oldest + self._window_s):
                    self._changed.clear()
                    await self._changed.wait()

    async def _run(self, batch: dict[asyncio.Future[Answer], Item]) -> None:
        """Give a batch to the model and every caller its answer, or its own exception."""
        self.counts["batches"] += 1
        failure: BaseException | None = None
        answers: list[Answer] = []
        try:
            given = await self._model(list(batch.values()))
            if len(given) != len(batch):
                raise ValueError(f"{len(given)} answers to {len(batch)} items")
            answers = [given[place] for place in range(len(batch))]  # no mapping, no set
        except (Exception, asyncio.CancelledError) as error:
            worker = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and worker and worker.cancelling():
                raise
            failure = error
        for place, answer in enumerate(batch):
            if answer.done():  # cancelled by its caller, who counted it
                continue
            if failure is None:
                answer.set_result(answers[place])
                self.counts["answered"] += 1
            else:
                refusal = BatchFailed(f"the model failed: {type(failure).__name__}")
                refusal.__cause__ = failure
                answer.set_exception(refusal)
                self.counts["failed"] += 1


def in_thread(
    model: Callable[[list[Item]], Sequence[Answer]],
) -> Callable[[list[Item]], Awaitable[Sequence[Answer]]]:
    """A model for the batcher from one that computes: every batch runs in a thread.

    model: function from a list of items to as many answers; it should release the interpreter's
    lock while it computes, as numpy and inference runtimes do.

    >>> asyncio.run(in_thread(sorted)([3, 1, 2]))
    [1, 2, 3]
    """

    async def call(items: list[Item]) -> Sequence[Answer]:
        return await asyncio.to_thread(model, items)

    return call


def check_every_item_has_one_end() -> None:
    """Under load, with callers who leave and a model that fails on some batches, every accepted
    item is answered, failed or cancelled, and every answer belongs to its item.

    Source: counts of the callers against the counts of the batcher; 300 callers, a seeded choice of
    those who leave, and a model that fails on batches that hold a multiple of 37. Time passes in
    turns of the event loop and not on a clock, so that every run is the same.
    """
    rng = np.random.default_rng(16)
    leavers = set(rng.choice(300, 60, replace=False).tolist())
    sizes: list[int] = []

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def squares(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await turns(9)
        if any(item % 37 == 0 for item in items):
            raise ArithmeticError("a multiple of 37")
        return [item * item for item in items]

    async def run() -> tuple[list[object], Counter[str]]:
        async with DynamicBatcher(squares, largest=7, window_s=0.0, places=150) as batcher:
            tasks = []
            for item in range(300):
                tasks.append(asyncio.create_task(batcher.submit(item)))
                if item % 10 == 0:
                    await turns(6)
                if item in leavers:
                    await asyncio.sleep(0)
                    tasks[-1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True), batcher.counts

    ends, counts = asyncio.run(run())
    seen = {
        "answered": sum(isinstance(end, int) for end in ends),
        "failed": sum(isinstance(end, BatchFailed) for end in ends),
        "cancelled": sum(isinstance(end, asyncio.CancelledError) for end in ends),
        "refused": sum(isinstance(end, BatcherFull | BatcherClosed) for end in ends),
    }
    for way, number in seen.items():
        checks.equal(way, counts[way], number)
    ways = counts["answered"] + counts["failed"] + counts["cancelled"]
    checks.equal("accepted", ways, counts["accepted"])
    right = all(end == item**2 for item, end in enumerate(ends) if isinstance(end, int))
    checks.holds("answers belong to their items", right, got=seen["answered"])
    checks.inside("largest batch", max(sizes), 2, 7)


def check_order_per_caller() -> None:
    """The answers of three callers come in the order of their items, whatever the batches.

    Source: the order of submission.
    """
    finished: list[tuple[int, int]] = []

    async def same(items: list[tuple[int, int]]) -> list[tuple[int, int]]:
        await asyncio.sleep(0)
        return items

    async def run() -> None:
        async with DynamicBatcher(same, largest=4) as batcher:
            tasks = []
            for place in range(40):
                for caller in range(3):
                    tasks.append(asyncio.create_task(batcher.submit((caller, place))))
                    tasks[-1].add_done_callback(lambda task: finished.append(task.result()))
                if place % 3 == 0:
                    await asyncio.sleep(0)
            await asyncio.gather(*tasks)

    asyncio.run(run())
    for caller in range(3):
        order = [place for who, place in finished if who == caller]
        checks.holds(f"caller {caller}", order == list(range(40)), got=f"{len(order)} answers")


def check_bad_input_is_refused() -> None:
    """Batches of none and endless windows are errors that name the argument."""
    model = in_thread(list)
    checks.raises("no batch", DynamicBatcher, model, 0, match="largest must be a positive integer")
    checks.raises("no end", DynamicBatcher, model, 2, math.inf, match="window_s must be")
