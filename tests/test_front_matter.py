"""The pages around the chapters keep their word: what they tell a reader to type works."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from serving_mathematics.__main__ import main
from serving_mathematics.support import checks

from builder import ROOT

from .conftest import CHAPTERS

USE = (ROOT / "docs" / "use.md").read_text(encoding="utf-8")


def test_every_chapter_is_on_a_path() -> None:
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"^\d+\. \[[^]]+\]\(([\w/-]+\.md)\)", start, re.MULTILINE))
    assert linked >= {chapter.path for chapter in CHAPTERS}


def test_python_on_the_page_about_use_runs(tmp_path: Path) -> None:
    """In another folder, with the project installed as far as imports can tell."""
    blocks = re.findall(r"^```python\n(.*?)^```", USE, re.MULTILINE | re.DOTALL)
    assert blocks
    each = "import json, sys\nfor block in json.load(sys.stdin): exec(block, {'__name__': 'block'})"
    done = subprocess.run(
        [sys.executable, "-c", each],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "snippets")},
        input=json.dumps(blocks),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_on_the_page_about_use_find_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the checks of these find, the build says of all."""
    asked: list[str] = []
    monkeypatch.setattr(checks, "run", lambda module: asked.append(module.__name__) or True)
    commands = re.findall(r"^python -m serving_mathematics (check .+)$", USE, re.MULTILINE)
    for command in commands:
        assert main(shlex.split(command)) == 0
    chapters = {name.partition(".")[2].rpartition(".")[0] for name in asked}
    assert chapters == {name for command in commands for name in command.split()[1:]}
    assert len(chapters) > 1


def test_citation_agrees_with_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "type", "abstract", "authors"} <= citation.keys()
