"""What a fleet knows of every request and engine, in flat arrays that all parts share.

Numbers that are read and written one at a time stand in arrays of the standard library, which take
eight bytes for each and are as fast as lists; they become numpy's without a copy at the end. A time
that has not come is negative.

Source: Python's documentation of `array` for what it takes; `continuous_batching` for the columns.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.fleet.prefixes import BlockTree
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.support.require import require

# Unread: before Python 3.12 an array takes no parameters.
Integers: TypeAlias = "array[int]"
Floats: TypeAlias = "array[float]"
Column: TypeAlias = "array[Any] | bytearray | list[Any]"

WORK = ("steps", "prefill_tokens", "decode_tokens", "context_tokens")


def _integers(values: npt.ArrayLike) -> Integers:
    """Whole numbers as an array of the standard library."""
    made: Integers = array("q")
    made.frombytes(np.ascontiguousarray(values, dtype=np.int64).tobytes())
    return made


class Ledger:
    """Requests, what became of them, and what engines hold and did.

    requests: what is asked. Made by `simulate_fleet`, read by policies.
    """

    def __init__(self, requests: Requests) -> None:
        """Nothing has happened."""
        self.requests = requests
        self.size = size = requests.arrival_s.size
        self.prompt = _integers(requests.prompt_tokens)
        self.output = _integers(requests.output_tokens)

        def whole(value: int) -> Integers:
            return array("q", [value]) * size

        def never() -> Floats:
            return array("d", [-1.0]) * size

        self.generated, self.preemptions = whole(0), whole(0)
        self.found, self.ready = whole(0), bytearray(size)
        self.admitted_s, self.first_s, self.completion_s = never(), never(), never()
        self.at = whole(-1)
        self.ended: list[int] = []  # that the fleet has not seen yet
        self.victim_rank: list[float] = []
        self.node = self.answer_node = whole(-1)  # where no prompt is known
        self.no_blocks = self.path_blocks = self.answer_blocks = whole(0)
        known = bool(requests.cached_tokens.any())
        self.cached = _integers(requests.cached_tokens) if known else self.no_blocks
        self.loaded: list[Integers] = []  # of each lower tier, tokens that came from it
        self.waiting: list[int] = []  # requests of each engine
        self.running: list[int] = []
        self.stored: list[int] = []  # tokens in decoding sequences, when the batch last changed
        self.work: list[list[int]] = []
        self.busy_s: list[float] = []
        self.told: list[list[tuple[int, float]]] = []  # each engine: who left, or −1 and until when
        # it stands still [s]
        self.hears = False  # whether engines may be told anything, and attempts be more
        self._longest = int((requests.prompt_tokens + requests.output_tokens).max())

    def engine(self) -> int:
        """The number of one engine more."""
        for column in (self.waiting, self.running, self.stored):
            column.append(0)
        self.work.append([0] * len(WORK))
        self.told.append([])
        self.busy_s.append(0.0)
        return len(self.busy_s) - 1

    def ranks(self, rank: Callable[[int, Self], float]) -> list[float]:
        """What a rule says of each request; a number that is none is refused."""
        found = [rank(request, self) for request in range(self.size)]
        for request, value in enumerate(found):
            require(value == value, "what a rank returns", f"a number for {request}", value)
        return found

    def columns(self) -> list[Column]:
        """All that has a number for each request, each column once."""
        own = (one for one in vars(self).values() if isinstance(one, array | bytearray))
        ranks = [self.victim_rank] if self.victim_rank else []
        return list({id(one): one for one in (*own, *self.loaded, *ranks)}.values())

    def keep(self, tree: BlockTree, tiers: int) -> None:
        """Prompts share what the nodes of a tree say, and so many tiers hold more of it."""
        self.node, self.path_blocks = _integers(tree.chain), _integers(tree.blocks)
        self.answer_node = _integers(tree.answer_chain)
        self.answer_blocks = _integers(tree.answer_blocks)
        self.cached = _integers(self.requests.cached_tokens)
        self.loaded = [self.no_blocks[:] for _ in range(tiers)]

    def tables(self, engine: Engine) -> tuple[list[int], list[int], int, int]:
        """Ticks of an engine's table for the longest request of all."""
        most = self.size
        if self.hears and engine.table:  # more attempts than requests
            most = max(most, len(engine.table.batch))
        most = min(most, engine.max_sequences)
        sample = Workload(np.zeros(most), np.full(most, self._longest - 1), np.ones(most))
        return engine.tables(sample)

    def spend(
        self, place: int, steps: int, prefill: int, decode: int, context: int, busy_s: float
    ) -> None:
        """Add what an engine did in a busy period that is over."""
        total = self.work[place]
        for kind, more in enumerate((steps, prefill, decode, context)):
            total[kind] += more
        self.busy_s[place] += busy_s
