"""Attempts of requests whose clients may leave, and which request each is of.

The first attempt of a request has its number. When its client has left, the next one gets a new
number, because an engine may still be at work on the first.

Source: the columns are those of `ledger`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import numpy as np

from serving_mathematics.core.fleet.ledger import Column, Ledger


class Attempts:
    """Whose each attempt is, and until when its client waits.

    ledger: of the requests. Made by `simulate_fleet`.
    """

    def __init__(self, ledger: Ledger) -> None:
        """Nobody has left; where nobody may, little is kept."""
        self.ledger = ledger
        self.patient = bool(np.isfinite(ledger.requests.patience_s).any())
        self.gone = bytearray(ledger.size)  # 1 if its client has left, 2 once its engine knows
        self.of: Sequence[int] = range(ledger.size)
        self.until_s = array("d")  # when its client leaves [s]; infinite while it is not sent
        if self.patient:
            self.of = array("q", self.of)
            self.until_s = array("d", [math.inf]) * ledger.size

    def sent(self, attempt: int, now: float) -> float:
        """When the client of an attempt that is sent will leave, if that is not known yet; else
        infinity [s]."""
        if self.until_s[attempt] < math.inf:
            return math.inf
        patience_s = float(self.ledger.requests.patience_s[self.of[attempt]])
        self.until_s[attempt] = now + patience_s
        return now + patience_s

    def leave(self, attempt: int, *more: Column) -> int:
        """The client of an attempt has left; the number of the next one. more: other columns."""
        ledger = self.ledger
        self.gone[attempt] = max(self.gone[attempt], 1)
        assert isinstance(self.of, array)
        for column in (*ledger.columns(), self.of, self.until_s, self.gone, *more):
            column.append(column[attempt])  # type: ignore[arg-type]  # of its own kind
        for times in (ledger.admitted_s, ledger.first_s, ledger.completion_s):
            times[-1] = -1.0
        self.until_s[-1], self.gone[-1], ledger.at[-1] = math.inf, 0, -1
        return len(self.gone) - 1
