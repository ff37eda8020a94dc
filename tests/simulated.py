"""What the planner has simulated is not simulated again: many of its tests ask for the same
requests on the same engine, under other promises, and get the same run.

Only the planner's own calls are answered so, within a process and for as long as it runs tests; the
tests of the simulator call it itself, and a thorough run simulates every time.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from serving_mathematics.core.batching import event_skipping
from serving_mathematics.core.batching.continuous_batching import Served

from builder import PACKAGE

MOST = 400  # runs that are kept, of some hundred kilobytes


def once(simulate: Callable[..., Served], most: int = MOST) -> Callable[..., Served]:
    """A simulator that keeps its last runs, in which nobody can write; one that is to note gaps
    between tokens in a list of the caller's simulates.
    """
    runs = OrderedDict[bytes, Served]()

    @functools.wraps(simulate)
    def found(*given: Any, **named: Any) -> Served:
        if len(given) > 4 or "gaps" in named:
            return simulate(*given, **named)
        key = hashlib.blake2b(pickle.dumps((given, sorted(named.items())))).digest()
        if key not in runs:
            served = simulate(*given, **named)
            for value in vars(served).values():
                if isinstance(value, np.ndarray):
                    value.flags.writeable = False
            runs[key] = served
            if len(runs) > most:
                runs.popitem(last=False)
        runs.move_to_end(key)
        return runs[key]

    return found


class SimulatedOnce:
    """The hook of pytest that puts it into the planner's modules."""

    def pytest_collection_finish(self) -> None:
        """When all of them are imported."""
        simulate = event_skipping.simulate
        kept = once(simulate)
        for name, module in list(sys.modules.items()):
            if name.startswith(f"{PACKAGE}.planner.") and vars(module).get("simulate") is simulate:
                vars(module)["simulate"] = kept
