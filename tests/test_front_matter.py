"""The pages around the chapters keep their word: what they tell a reader to type works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from builder import ROOT

from .conftest import CHAPTERS

USE = (ROOT / "docs" / "use.md").read_text(encoding="utf-8")


def run_elsewhere(folder: Path, *arguments: str) -> None:
    """Python in another folder, with the project installed as far as imports can tell."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_chapter_is_on_a_path() -> None:
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"^\d+\. \[[^]]+\]\(([\w/-]+\.md)\)", start, re.MULTILINE))
    assert linked >= {chapter.path for chapter in CHAPTERS}


def test_python_on_the_page_about_use_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", USE, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        run_elsewhere(tmp_path, "-c", block)


def test_commands_on_the_page_about_use_run(tmp_path: Path) -> None:
    """The one that names two chapters, which are checked one by one."""
    commands = set(re.findall(r"^python (-m serving_mathematics check .+)$", USE, re.MULTILINE))
    one, both = sorted(map(shlex.split, commands), key=len)
    assert {*one} < {*both}
    run_elsewhere(tmp_path, *both)


def test_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "type", "abstract", "authors"} <= citation.keys()
