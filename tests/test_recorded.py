"""A check is taken from its record only where that is whole, of this content, and says that
it passed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder import SOURCES, runner, worker
from builder.runner import Run

from .builder.project import GOOD, Project
from .recorded import RecordedChecks, comparisons

CHECK = "check_double_of_two"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two modules of the same checks, recorded."""
    project = Project.make(tmp_path_factory.mktemp("recorded"))
    text = GOOD.replace("def figure_line", "def line")
    project.module("part.twice", text)
    project.module("part.other", text.replace("Doubling.", "Twice as much."))
    done = runner.run_all(project.root, project.cache)
    assert not any(run.failed for run in done)
    return project


@pytest.fixture
def folder(ran: Project) -> Iterator[Path]:
    """The record of `part.twice`, as it was again afterwards."""
    folder = ran.record("part.twice").folder
    kept = ran.root.parent / "kept"
    shutil.copytree(folder, kept)
    module = ran.root / SOURCES / "part" / "twice.py"
    text = module.read_text(encoding="utf-8")
    yield folder
    module.write_text(text, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


def taken(ran: Project, name: str = CHECK) -> bool:
    """Whether pytest is spared the check."""
    item: Any = SimpleNamespace(name=name, path=ran.root / SOURCES / "part" / "twice.py")
    plugin = RecordedChecks(ran.root, ran.cache)
    answer = plugin.pytest_pyfunc_call(item)
    assert answer in (True, None)
    assert plugin.served == bool(answer)
    return bool(answer)


def test_a_fresh_record_stands_for_its_checks_and_for_nothing_else(
    ran: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert taken(ran)
    assert capsys.readouterr().out == "PASS double(2): got 4, expected 4 (exact) (as recorded)\n"
    assert not taken(ran, "check_of_another_module")
    assert not taken(ran, "test_double_of_two")
    assert not taken(ran, "double")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A record that is sealed again after a change."""
    file = folder / "record.json"
    record = json.loads(file.read_text(encoding="utf-8").partition("\n")[2])
    file.unlink()
    change(record)
    worker.seal(folder, record)


def first_row(record: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = record["checks"][0]["comparisons"][0]
    return row


FOREIGN: dict[str, Callable[[dict[str, Any]], object]] = {
    "failed": lambda record: first_row(record).update(passed=False),
    "passed in other words": lambda record: first_row(record).update(passed="yes"),
    "of another shape": lambda record: first_row(record).update(more=1),
    "without comparisons": lambda record: record["checks"][0].update(comparisons=[]),
    "without the check": lambda record: record["checks"].clear(),
    "with the check twice": lambda record: record["checks"].extend(record["checks"]),
    "with a failure elsewhere": lambda record: record["failures"].append({"function": "example"}),
    "of what did not run": lambda record: record["absent"].append("httpx"),
    "of another module": lambda record: record.update(of=["part.other", record["of"][1]]),
    "of another version": lambda record: record.update(of=["part.twice", "0" * 64]),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_record_that_says_anything_else_is_not_taken(
    ran: Project, folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, dict[str, Any].copy)
    assert taken(ran)
    edit(folder, change)
    assert not taken(ran)


def damage(folder: Path) -> None:
    record = folder / "record.json"
    record.write_bytes(record.read_bytes().replace(b'"passed": true', b'"passed": True'))


def truncate(folder: Path) -> None:
    record = folder / "record.json"
    record.write_bytes(record.read_bytes()[:-50])


def no_text(folder: Path) -> None:
    (folder / "record.json").write_bytes(b"\xff\xfe\x00")


def missing(folder: Path) -> None:
    (folder / "record.json").unlink()


@pytest.mark.parametrize("harm", [damage, truncate, no_text, missing, shutil.rmtree])
def test_a_damaged_record_is_not_taken(
    ran: Project, folder: Path, harm: Callable[[Path], None]
) -> None:
    assert taken(ran)
    harm(folder)
    assert not taken(ran)


def test_the_record_of_another_module_is_not_taken(ran: Project, folder: Path) -> None:
    other = ran.record("part.other").folder
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    assert not taken(ran)


def test_what_was_edited_since_is_not_taken(ran: Project, folder: Path) -> None:
    assert folder.is_dir()
    module = ran.root / SOURCES / "part" / "twice.py"
    text = module.read_text(encoding="utf-8")
    for edited in (text.replace("2.0 * value", "3.0 * value"), "def broken(:\n"):
        module.write_text(edited, encoding="utf-8")
        assert not taken(ran)
    module.write_text(text, encoding="utf-8")
    assert taken(ran)


def test_a_check_that_the_record_lacks_is_none(ran: Project) -> None:
    run: Run = ran.record("part.twice")
    assert comparisons(run, run.record["source"], CHECK)
    assert comparisons(run, run.record["source"], "check_nothing") is None
