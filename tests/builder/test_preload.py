"""Workers that fork from one process do not get into each other's way."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from builder import ROOT

GLYPHS = """
import os
from pathlib import Path

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from builder import ROOT, SOURCES, preload
from builder.figures import house_style

assert preload
drawing, outlines = TextToPath(), set()
workers = [os.fork()]
workers += [os.fork()] if workers[0] else []
with house_style(ROOT / SOURCES / "house.mplstyle"):
    for power in [0, 1, 2, 3] * 100:
        formula = rf"$\\mathdefault{{10^{{{power}}}}}$"  # as at a logarithmic axis
        _, glyphs, _ = drawing.get_glyphs_mathtext(FontProperties(size=10.5), formula)
        outlines |= {(name, corners.tobytes()) for name, (corners, _) in glyphs.items()}
os.write(1, f"{len(outlines)}\\n".encode())
if all(workers):
    codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
    raise SystemExit(any(codes))
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_two_workers_read_the_same_glyphs_at_once() -> None:
    """Fonts are read from files that the process before them has opened."""
    done = subprocess.run(
        [sys.executable, "-c", GLYPHS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["4", "4", "4"]  # outlines of 0, 1, 2 and 3


READING = """
import importlib, sys
from builder import ROOT
from builder.source import CORE, SUPPORT, SOURCES

opened = []
sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
for folder in (CORE, SUPPORT):
    for file in (ROOT / SOURCES / folder).rglob("*.py"):
        parts = file.relative_to(ROOT / "snippets").with_suffix("").parts
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
print(*(name for name in opened if f"{ROOT}/snippets" in name and ".py" not in name))
"""


def test_what_is_imported_before_modules_run_reads_no_data() -> None:
    """A module would not be run again when these change."""
    done = subprocess.run(
        [sys.executable, "-c", READING], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
