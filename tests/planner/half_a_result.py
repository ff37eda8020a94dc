"""A task of a process pool that writes half of what it returns and goes no further."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def half_a_result(sign: Path) -> None:
    """As a worker that is killed while it writes; the sign is there when the half is."""
    results = sys._getframe(1).f_locals["result_queue"]  # of the pool's loop
    os.write(results._writer.fileno(), (1000).to_bytes(4, "big"))  # bytes that should follow
    sign.touch()
    time.sleep(60)
