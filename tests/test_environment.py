"""`make` replaces an environment by one that is whole, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from builder import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not here")
READY = ".venv/.ready"
PYTHON = """#!/bin/sh
case "$*" in
  *ensurepip*|"-c "*) exit 0 ;;
  "-m venv --clear "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && cp "$0" "$4/bin/uv" ;;
  "-m pip "*) test "$FAILS" != pip ;;
  *requirements.txt*) test "$FAILS" != uv ;;
  *editable*)
    printf '#!%s/.venv.new/bin/python\\n' "$PWD" >.venv.new/bin/tool
    test "$FAILS" != own ;;
esac
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project whose environment is older than what it is made from."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / ".venv").mkdir()
    for file in (READY, ".venv/kept"):
        (tmp_path / file).touch()
        os.utime(tmp_path / file, (0, 0))
    (tmp_path / "locks").mkdir()
    for file in ("requirements.txt", "locks/uv.txt", "pyproject.toml"):
        (tmp_path / file).touch()
    return tmp_path


def made(place: Path, fails: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", READY, "PYTHON=./python"],
        cwd=place,
        env=os.environ | {"FAILS": fails, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("fails", ["pip", "uv", "own"])
def test_an_environment_stays_until_another_is_whole(fails: str, place: Path) -> None:
    """As without a network, or on a full disk; and the next attempt begins anew."""
    assert made(place, fails).returncode != 0
    assert (place / ".venv/kept").exists()
    assert (place / READY).stat().st_mtime == 0
    done = made(place, "")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (place / ".venv/kept").exists()
    assert (place / ".venv/bin/tool").read_text() == f"#!{place}/.venv/bin/python\n"
    assert sorted(path.name for path in place.glob(".venv*")) == [".venv"]
    assert "MB are fetched" in done.stdout
    assert "up to date" in made(place, "pip").stdout


def test_a_link_is_not_replaced(place: Path) -> None:
    (place / ".venv").rename(place / "elsewhere")
    (place / ".venv").symlink_to("elsewhere")
    told = made(place, "")
    assert told.returncode != 0
    assert ".venv is a link" in told.stdout
    assert (place / "elsewhere/kept").exists()
