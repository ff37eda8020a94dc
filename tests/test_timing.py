"""Which tests stay together, in which order they run, and what is said of their time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder import ROOT

from .profiles import ROTATING, THOROUGH
from .timing import (
    LONGEST,
    TOGETHER,
    Timing,
    _Groups,
    group_of,
    place_of,
    summary,
)

LONG = LONGEST[0]


def test_a_file_stays_together_and_the_longest_comes_first() -> None:
    tests = ["tests/a.py::b", "tests/c.py::d[x]", f"{LONG}::e", "tests/a.py::f", f"{LONG}::g"]
    assert sorted(tests, key=place_of) == [
        f"{LONG}::e", f"{LONG}::g", "tests/a.py::b", "tests/a.py::f", "tests/c.py::d[x]"
    ]  # fmt: skip


def test_files_that_stay_together_have_one_order_whoever_collected_them() -> None:
    """One of two processes begins at the end, and xdist runs nothing where lists differ."""
    tests = [f"{file}::a" for pair in TOGETHER.items() for file in pair]
    assert {*map(group_of, tests)} == {*TOGETHER.values()}
    assert sorted({*tests}, key=place_of) == sorted(sorted({*tests}, reverse=True), key=place_of)


@pytest.mark.parametrize("shared", [True, False])
def test_only_processes_that_share_the_work_sort_it(
    shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    if shared:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    given: list[Any] = [SimpleNamespace(nodeid=name) for name in ("b", LONG, "a")]
    Timing().pytest_collection_modifyitems(given)
    assert [one.nodeid for one in given] == ([LONG, "a", "b"] if shared else ["b", LONG, "a"])


def test_every_long_file_is_there() -> None:
    assert all((ROOT / file).is_file() for file in LONGEST)


def test_the_slowest_and_the_time_of_each_folder_are_told() -> None:
    told = summary({"tests/a/b.py::c": 2.0, "tests/a/d.py::e": 1.0, "tests/f.py::g": 4.0})
    assert told[0] == "    4.0 s  tests/f.py::g"
    assert told[4:] == ["    4.0 s  tests/", "    3.0 s  tests/a/", "    7.0 s  in all, 3 tests"]


def test_a_lost_process_is_named_at_once_and_the_others_tests_run(tmp_path: Path) -> None:
    """Groups of one test each, which a process that replaces a lost one must not wait with: one is
    lost in its first test, another later.
    """
    lost = ("a", "c")
    (tmp_path / "conftest.py").write_text(
        "from tests import timing\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(timing.Timing())\n",
        encoding="utf-8",
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = .\n", encoding="utf-8")
    for name in "abcdef":
        ends = "os.kill(os.getpid(), 9)" if name in lost else "time.sleep(0.5)"
        (tmp_path / f"test_{name}.py").write_text(
            f"import os, time\ndef test_{name}():\n    {ends}\n", encoding="utf-8"
        )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "--numprocesses", "2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    at_once, _, summary = done.stdout.partition("= FAILURES =")
    assert at_once.count("ended with status -9\n") == 2
    for name in lost:
        assert f"\nFAILED test_{name}.py::test_{name}\n" in at_once
        assert f"crashed while running 'test_{name}.py::test_{name}'\n" in at_once
    assert "2 failed, 4 passed" in summary, done.stdout
    assert (ROTATING in done.stdout) == (not THOROUGH)


class _Dead:
    """A process of xdist that was lost, of which nobody has heard yet."""

    shutting_down = False

    def send_runtest_some(self, _: list[int]) -> None:
        raise OSError("cannot send (already closed?)")


def test_work_for_a_process_that_was_just_lost_is_handed_out_again(
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    """Of which a whole run had ended, with an error of xdist's and no test run."""
    monkeypatch.setattr(pytestconfig.option, "tx", ["popen"])
    groups = _Groups(pytestconfig, None)
    node = _Dead()
    tests = ["tests/test_a.py::test_a", "tests/test_b.py::test_b"]
    groups.registered_collections[node] = tests
    groups.assigned_work[node] = {}
    for test in tests:
        groups.workqueue[group_of(test)] = {test: False}
    groups._reschedule(node)
    assert len(groups.workqueue) == 1
    groups.assigned_work[_Dead()] = {}  # one that begins meanwhile has not told what it collected
    assert groups.remove_node(node) == tests[0]
    assert [*groups.workqueue] == ["tests/test_b.py"]
