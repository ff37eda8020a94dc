"""What is imported in the process that modules fork from."""

from __future__ import annotations

import subprocess
import sys

from builder import ROOT

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
