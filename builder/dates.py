"""When the pages were last changed, by the project's history."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

_LOG = ("log", "--no-renames", "--name-only", "--relative", "--format=%x01%cI", "-z")
SECONDS = 20  # of the history that are waited for


def last_changes(folder: Path) -> dict[str, datetime]:
    """When a commit last changed each file of a folder, by its path there.

    Nothing is told without git, outside of a clone, and in one that lacks its history, where every
    file would have the date of the newest commit.
    """
    try:
        if _git(folder, "rev-parse", "--is-shallow-repository").strip() != "false":
            return {}
        told = _git(folder, *_LOG, "--", ".")
    except (OSError, subprocess.SubprocessError):
        return {}
    found = dict[str, datetime]()
    for word in told.split("\0"):  # the newest first
        if word.startswith("\x01"):
            date = datetime.fromisoformat(word[1:]).astimezone(UTC)
        elif word:
            found.setdefault(word.removeprefix("\n"), date)
    return found


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=SECONDS
    ).stdout
