"""What a fleet is asked: requests in flat columns.

A request arrives at a time of its own, or some pause after the answer to another one: a session is
a chain of such requests, in which a tool or a person takes the pause, and one that several others
come after is a task that is spread over helpers. Prompts that begin alike share nodes of a tree
(`prefixes`). Whose first token does not come within its patience, its client leaves.

Source: the columns are those of the public traces that `traces` reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_positive_integer,
    require_shape,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BELOW_TOKENS = 2**31  # of a prompt or an answer


def _one_for_each(name: str, values: npt.ArrayLike, size: int) -> FloatArray:
    """Numbers of shape (n,), broadcast from one."""
    given = as_floats(**{name: values})
    require(given.ndim == 0 or given.shape == (size,), name, f"of shape ({size},)", given.shape)
    return np.broadcast_to(given, (size,))


def _whole_numbers(name: str, values: npt.ArrayLike, size: int, least: float) -> IntArray:
    """Whole numbers of shape (n,), broadcast from one; refused by argument and row."""
    numbers = _one_for_each(name, values, size)
    good = (numbers >= least) & (numbers < BELOW_TOKENS) & (numbers == np.floor(numbers))
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        rule = f"a whole number, at least {least:,} and below {BELOW_TOKENS:,}"
        require(False, f"{name}[{row}]", rule, f"{numbers[row]:.10g}")
    if np.ndim(values) == 0:
        return np.broadcast_to(numbers[0].astype(np.int64), (size,))  # which takes no memory
    return np.asarray(numbers.astype(np.int64))


@dataclass(frozen=True, eq=False, init=False)
class Requests:
    """Requests, numbered in the order of their columns, each of shape (n,).

    arrival_s: from 0 [s]; sorted, but for those with a predecessor, which come no earlier than
    that. prompt_tokens, output_tokens: from 1. cached_tokens: of each prompt, known to be cached on
    whichever engine, fewer than it has. tenant: whose it is, from 0. priority: the smaller, the
    sooner. after: number of the request whose answer it waits for, smaller than its own, or −1.
    pause_s: from that answer to this request [s]. prefixes: what prompts share. patience_s: from
    each time that it is sent to its first token, positive, after which its client leaves [s].
    Raises ValueError that names column and row.

    >>> two = Requests([0.0, 0.0], [100, 180], [20, 20], after=[-1, 0], pause_s=[0.0, 2.5])
    >>> two.after.tolist()
    [-1, 0]
    """

    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    cached_tokens: IntArray
    tenant: IntArray
    priority: IntArray
    after: IntArray
    pause_s: FloatArray
    prefixes: Prefixes | None
    patience_s: FloatArray

    def __init__(
        self,
        arrival_s: npt.ArrayLike,
        prompt_tokens: npt.ArrayLike,
        output_tokens: npt.ArrayLike,
        cached_tokens: npt.ArrayLike = 0,
        tenant: npt.ArrayLike = 0,
        priority: npt.ArrayLike = 0,
        after: npt.ArrayLike = -1,
        pause_s: npt.ArrayLike = 0.0,
        prefixes: Prefixes | None = None,
        patience_s: npt.ArrayLike = math.inf,
    ) -> None:
        """Columns of one length."""
        times = np.array(as_floats(arrival_s=arrival_s))
        require(times.ndim == 1 and times.size > 0, "arrival_s", "of shape (n,), n ≥ 1", times)
        require_all_non_negative(arrival_s=times)
        size = times.size
        pauses = _one_for_each("pause_s", pause_s, size)
        require_all_non_negative(pause_s=pauses)
        patience = _one_for_each("patience_s", patience_s, size)
        hasty = np.flatnonzero(~(patience > 0))
        if hasty.size:
            require(False, f"patience_s[{hasty[0]}]", "positive", patience[hasty[0]])
        columns = {
            "prompt_tokens": _whole_numbers("prompt_tokens", prompt_tokens, size, 1),
            "output_tokens": _whole_numbers("output_tokens", output_tokens, size, 1),
            "cached_tokens": _whole_numbers("cached_tokens", cached_tokens, size, 0),
            "tenant": _whole_numbers("tenant", tenant, size, 0),
            "priority": _whole_numbers("priority", priority, size, -BELOW_TOKENS),
            "after": _whole_numbers("after", after, size, -1),
        }
        for name, values in columns.items():
            object.__setattr__(self, name, values)
        object.__setattr__(self, "arrival_s", times)
        object.__setattr__(self, "pause_s", pauses)
        object.__setattr__(self, "prefixes", prefixes)
        object.__setattr__(self, "patience_s", patience)
        self._refuse_what_does_not_fit()

    def _refuse_what_does_not_fit(self) -> None:
        """Columns that contradict each other."""
        first = self.after < 0
        own = self.arrival_s[first]
        require(own.size > 0, "after", "−1 for at least one request", self.after)
        late = np.flatnonzero(np.diff(own) < 0)
        if late.size:
            row = int(np.flatnonzero(first)[late[0] + 1])
            rule = "no earlier than the one before it; sort the requests by time"
            require(False, f"arrival_s[{row}]", rule, self.arrival_s[row])
        for name, wrong, rule in (
            ("cached_tokens", self.cached_tokens >= self.prompt_tokens, "below its prompt_tokens"),
            ("after", self.after >= np.arange(self.after.size), "the number of an earlier request"),
        ):
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                require(False, f"{name}[{row}]", rule, getattr(self, name)[row])
        if self.prefixes is not None:
            require_shape(self.arrival_s.shape, prefixes_node=self.prefixes.node)
            self.prefixes.refuse_lengths(self.prompt_tokens, self.output_tokens)


def closed_loop(
    prompt_tokens: npt.ArrayLike,
    output_tokens: npt.ArrayLike,
    clients: int,
    think_s: npt.ArrayLike = 0.0,
) -> Requests:
    """Requests of clients that each wait for an answer before they send the next; they take the
    requests in turn, and the first of each leaves at time 0.

    prompt_tokens, output_tokens: from 1, shape (n,). clients: how many. think_s: from an answer to
    the next request of that client, shape (n,) [s]. Raises ValueError unless there is a client.

    >>> closed_loop([9] * 5, [1] * 5, clients=2).after.tolist()
    [-1, -1, 0, 1, 2]
    """
    clients = require_positive_integer(clients=clients)
    think_s = require_all_non_negative(think_s=think_s)
    size = np.size(np.asarray(prompt_tokens))
    after = np.maximum(np.arange(size) - int(min(clients, size)), -1)
    return Requests(np.zeros(size), prompt_tokens, output_tokens, after=after, pause_s=think_s)
