"""A first build shows the prose at once, and fills in what runs as it finishes."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder import background
from builder.background import WORTH_WAITING, Background
from builder.expansion import Site, expand

from .project import GOOD, Project, wait_until

SLOW = GOOD.replace("    checks.close", "    time.sleep(1)\n    checks.close").replace(
    "from types", "import time\nfrom types", 1
)


def test_pages_come_first_and_what_ran_fills_in(project: Project) -> None:
    names = [f"part.m{number}" for number in range(WORTH_WAITING + 1)]
    for name in names:
        project.chapter(name, SLOW)
    more = project.root / "more"
    more.touch()
    before = more.stat().st_mtime_ns
    told: list[str] = []
    working = Background(project.root, project.cache, more, told.append)
    started = time.monotonic()
    runs = working.runs()
    first = time.monotonic() - started
    assert [run.name for run in runs] == names
    assert all(run.pending for run in runs)
    made = expand(project.root, Site("Miniature"), runs, show_failures=True)
    page = made.pages["part/m0.md"]
    assert made.problems == []
    assert f'role="status">0 of {len(names)} modules have run.' in page
    assert "Doubled, two is …." in page
    assert "def double(value: float) -> float:" in page
    wait_until(lambda: more.stat().st_mtime_ns > before, "a sign that there is more")
    wait_until(lambda: not any(run.pending for run in working.runs()), "all modules to have run")
    assert time.monotonic() - started > first
    assert len(told) == len(names)
    assert told[-1].startswith(f"[{len(names)}/{len(names)}] part.m")
    made = expand(project.root, Site("Miniature"), working.runs(), show_failures=True)
    assert "Doubled, two is 4.0." in made.pages["part/m0.md"]
    assert "pending" not in made.pages["part/m0.md"]


def test_a_few_modules_are_worth_waiting_for(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "WORTH_WAITING", 1)
    project.chapter("part.twice")
    working = Background(project.root, project.cache, tmp_path / "more", str)
    (run,) = working.runs()
    assert not run.pending
    assert not (tmp_path / "more").exists()


def test_what_has_finished_is_shown_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    working = Background(tmp_path, tmp_path, tmp_path / "more", told.append)
    clock = SimpleNamespace(monotonic=lambda: now, time=lambda: now)
    monkeypatch.setattr(background, "time", clock)
    shown = []
    for now in (1000.0, 1004.0, 1005.0, 1005.1, 1010.0, 1010.2):
        (tmp_path / "more").write_text("")
        working._finished(f"{now}")
        shown += [now] if (tmp_path / "more").read_text() else []
    assert shown == [1000.0, 1005.1, 1010.2]
    assert len(told) == 6
