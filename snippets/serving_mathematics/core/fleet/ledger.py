"""What a fleet knows of every request and engine, in flat arrays that all parts share.

Numbers that are read and written one at a time stand in arrays of the standard library, which take
eight bytes for each and are as fast as lists; they become numpy's without a copy at the end. A time
that has not come is negative.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.prefixes import BlockTree
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.optimization.continuous_batching import Engine, Workload

WORK = ("steps", "prefill_tokens", "decode_tokens", "context_tokens")


def floats(values: npt.ArrayLike) -> array[float]:
    """Numbers as an array of the standard library.

    >>> floats([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """
    made: array[float] = array("d")
    made.frombytes(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return made


def integers(values: npt.ArrayLike) -> array[int]:
    """Whole numbers as an array of the standard library.

    >>> integers([1, 2]).tolist()
    [1, 2]
    """
    made: array[int] = array("q")
    made.frombytes(np.ascontiguousarray(values, dtype=np.int64).tobytes())
    return made


class Ledger:
    """Requests, what became of them, and what engines hold and did.

    requests: what is asked. engines: how many there are at most. Made by `simulate_fleet`, read by
    policies.
    """

    def __init__(self, requests: Requests, engines: int) -> None:
        """Nothing has happened."""
        self.requests = requests
        self.size = size = requests.arrival_s.size
        self.prompt = integers(requests.prompt_tokens)
        self.output = integers(requests.output_tokens)
        self.cached = integers(requests.cached_tokens)
        zeros, never = np.zeros(size, dtype=np.int64), np.full(size, -1.0)
        self.generated, self.preemptions = integers(zeros), integers(zeros)
        self.found, self.ready = integers(zeros), bytearray(size)
        self.admitted_s, self.first_s = floats(never), floats(never)
        self.completion_s, self.at = floats(never), integers(never)
        self.ended: list[int] = []  # that the fleet has not seen yet
        self.victim_rank: list[float] = []
        self.node, self.answer_node = integers(zeros - 1), integers(zeros - 1)
        self.path_blocks, self.answer_blocks = integers(zeros), integers(zeros)
        self.waiting, self.running = [0] * engines, [0] * engines  # requests of each engine
        self.stored = [0] * engines  # tokens in decoding sequences, when the batch last changed
        self.work = [[0] * len(WORK) for _ in range(engines)]
        self.busy_s = [0.0] * engines
        self._longest = int((requests.prompt_tokens + requests.output_tokens).max())

    def keep(self, tree: BlockTree) -> None:
        """Prompts share what the nodes of a tree say."""
        self.node, self.path_blocks = integers(tree.chain), integers(tree.blocks)
        self.answer_node = integers(tree.answer_chain)
        self.answer_blocks = integers(tree.answer_blocks)

    def tables(self, engine: Engine) -> tuple[list[int], list[int], int, int]:
        """Ticks of an engine's table for the longest request of all."""
        most = min(engine.max_sequences, self.size)
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
