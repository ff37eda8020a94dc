"""When pages were last changed: the project's history says it, or nothing does."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.dates import last_changes

NOBODY = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")


def _git(folder: Path, *words: str, **environment: str) -> None:
    subprocess.run(["git", *NOBODY, *words], cwd=folder, check=True, env=_without_git(environment))


def _without_git(environment: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environment}


def _commit(folder: Path, day: str, **pages: str) -> None:
    for name, text in pages.items():
        (folder / "docs" / f"{name}.md").write_text(text, encoding="utf-8")
    _git(folder, "add", ".")
    date = f"2026-01-{day}T23:30:00-02:00"
    _git(folder, "commit", "-qm", day, GIT_AUTHOR_DATE=date, GIT_COMMITTER_DATE=date)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    (folder / "docs").mkdir(parents=True)
    _git(folder, "init", "-q")
    _commit(folder, "01", one="a", **{"two words, déjà": "b"})
    _commit(folder, "02", one="c")
    return folder


def test_a_page_has_the_day_of_its_last_commit(clone: Path) -> None:
    (clone / "docs" / "new.md").write_text("not committed", encoding="utf-8")
    found = {path: date.isoformat() for path, date in last_changes(clone / "docs").items()}
    assert found == {
        "one.md": "2026-01-03T01:30:00+00:00",
        "two words, déjà.md": "2026-01-02T01:30:00+00:00",
    }


def test_nothing_is_told_without_the_history(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = tmp_path / "shallow"
    _git(tmp_path, "clone", "-q", "--depth", "1", f"file://{clone}", str(shallow))
    assert last_changes(shallow / "docs") == {}
    (tmp_path / "plain").mkdir()
    assert last_changes(tmp_path / "plain") == {}
    monkeypatch.setenv("PATH", "")
    assert last_changes(clone / "docs") == {}
