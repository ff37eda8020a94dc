"""What became of requests and engines.

Source: the columns are those of `ledger`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.ledger import Floats, Integers, Ledger
from serving_mathematics.core.fleet.replicas import Replicas

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of every request, each of shape (n,); NaN for a time that never came.

    due_s: when it should leave the client [s]. sent_s: when it left. admitted_s: start of its first
    step. first_token_s, completion_s: ends of steps. engine: the last one, −1 for none. refused:
    attempts that found no place, lost it, or whose client left; the other columns are of the last
    attempt. preemptions: times that it lost its memory. found_tokens: of the prompt, cached at its
    admission; tier_tokens: of these, from each lower tier, shape (tiers, n).
    Of each engine, shape (engines,): work, rows of steps and of tokens read, written and looked at;
    busy_s; paid_s, from its order to its end; evicted_blocks. Of an autoscaler, shape
    (questions,): asked_s; ordered and serving, after the answer.
    """

    due_s: FloatArray
    sent_s: FloatArray
    admitted_s: FloatArray
    first_token_s: FloatArray
    completion_s: FloatArray
    engine: IntArray
    refused: IntArray
    preemptions: IntArray
    found_tokens: IntArray
    tier_tokens: IntArray
    work: IntArray
    busy_s: FloatArray
    paid_s: FloatArray
    evicted_blocks: IntArray
    asked_s: FloatArray
    ordered: IntArray
    serving: IntArray

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        replicas: Replicas,
        client: tuple[Floats, Floats, Integers],
        of: Sequence[int],
        asked: Sequence[tuple[float, int, int]],
        now: float,
    ) -> Self:
        """What a run leaves behind. client: when requests were due and left it, and their refusals.
        of: the request of each attempt. asked: what the autoscaler answered. now: the last moment
        [s].
        """
        last = None  # attempt of each request, where any has a second one
        if len(of) > ledger.size:
            last = np.arange(ledger.size)
            last[np.array(of[ledger.size :])] = np.arange(ledger.size, len(of))

        def came(times: Floats) -> FloatArray:
            found = np.frombuffer(times, dtype=np.float64)
            found[found < 0] = np.nan
            return found if last is None else found[last]

        def counted(numbers: Integers) -> IntArray:
            found = np.frombuffer(numbers, dtype=np.int64)
            return found if last is None else found[last]

        answers = np.array(asked) if asked else np.empty((0, 3))
        last_s = float(np.frombuffer(ledger.completion_s).max())  # −1 where there is none
        end = max(last_s, *answers[-1:, 0].tolist(), now, 0.0)
        paid_s = np.array(replicas.paid_s(end))  # which closes them, so that their work is counted
        due_s, sent_s, attempts = client
        return cls(
            np.frombuffer(due_s, dtype=np.float64),
            came(sent_s),
            came(ledger.admitted_s),
            came(ledger.first_s),
            came(ledger.completion_s),
            counted(ledger.at),
            np.frombuffer(attempts, dtype=np.int64),
            counted(ledger.preemptions),
            counted(ledger.found),
            np.array([counted(one) for one in ledger.loaded]).reshape(-1, ledger.size),
            np.array(ledger.work),
            np.array(ledger.busy_s),
            paid_s,
            np.array([cache.evicted if cache else 0 for cache in replicas.view.caches]),
            answers[:, 0],
            answers[:, 1].astype(np.int64),
            answers[:, 2].astype(np.int64),
        )
