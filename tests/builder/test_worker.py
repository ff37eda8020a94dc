"""How a worker waits for the module that it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from builder import ROOT

from .project import is_alive

WAITS = """
import multiprocessing
import os
import sys
import time

from builder.worker import _exit_status

if sys.argv[1] == "old":
    del os.pidfd_open
ours, asked = multiprocessing.Pipe()
for status in (0, 3, None):
    child = os.fork()
    if child == 0:
        ours.close()
        time.sleep(600 if status is None else 0.05)
        os._exit(status or 0)
    print(child, flush=True)
    if status is None:
        ours.close()
    print(_exit_status(child, asked), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a worker runs its module itself")
@pytest.mark.parametrize("kernel", ["new", "old"])
def test_a_worker_tells_how_a_module_ended_and_ends_it_when_nobody_asks(kernel: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITS, kernel],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (1, "")
    _, first, _, second, last = done.stdout.split()
    assert (first, second) == ("0", "3")
    assert not is_alive(int(last))
