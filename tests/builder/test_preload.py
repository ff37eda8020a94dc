"""The process that modules fork from: what it imports, and how it ends early."""

from __future__ import annotations

import subprocess
import sys

import pytest

from builder import ROOT
from builder.runner import FORKED_FROM

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


@pytest.mark.parametrize("asked", ["", '["/half of'])
def test_it_ends_in_silence_when_who_asks_has_ended_before(asked: str) -> None:
    command = [sys.executable, "-c", FORKED_FROM]
    done = subprocess.run(
        command, cwd=ROOT, input=asked, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
