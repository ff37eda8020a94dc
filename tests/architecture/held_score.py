"""Scoring functions for the tests of the scorer, importable by its worker processes.

The first column of the rows is the row's number. The environment names the row whose shard is to
be held, and a folder in which to say so.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from serving_mathematics.architecture.batch_serving.shard_scorer import root_mean_square

Array = npt.NDArray[np.float64]


def held(rows: Array) -> Array:
    """Score, but say so and wait for a minute on the shard that holds row HOLD_ROW."""
    if rows[0, 0] <= int(os.environ.get("HOLD_ROW", "-1")) <= rows[-1, 0]:
        said = Path(os.environ["HOLD_FOLDER"]) / "part"
        said.write_text(str(os.getpid()))
        said.rename(said.with_name("reached"))
        time.sleep(60)
    return root_mean_square(rows)


def fatal(rows: Array) -> Array:
    """Score, but kill the process on the shard that holds row HOLD_ROW."""
    if rows[0, 0] <= int(os.environ.get("HOLD_ROW", "-1")) <= rows[-1, 0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return root_mean_square(rows)
