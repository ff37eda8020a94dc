"""Which tests stay together, in which order they run, and what is said of their time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder import ROOT

from .profiles import ROTATING, THOROUGH
from .timing import (
    FIRST,
    OTHERS,
    SHARES,
    TOGETHER,
    Timing,
    _Groups,
    group_of,
    outgrown,
    place_of,
    summary,
)

LONG = max(SHARES, key=lambda group: SHARES[group])


def test_a_file_stays_together_and_the_longest_comes_first() -> None:
    tests = ["tests/a.py::b", "tests/c.py::d[x]", f"{LONG}::e", "tests/a.py::f", f"{LONG}::g"]
    assert sorted(tests, key=place_of) == [
        f"{LONG}::e", f"{LONG}::g", "tests/a.py::b", "tests/a.py::f", "tests/c.py::d[x]"
    ]  # fmt: skip


def test_while_one_process_builds_the_site_the_others_have_what_does_not_wait_for_it() -> None:
    first = sorted(SHARES, key=lambda group: place_of(f"{group}::a"))[: len(FIRST)]
    assert {*first} == {*FIRST}
    assert first[0] == "tests/test_site.py"
    texts = [(ROOT / file).read_text(encoding="utf-8") for file in first[1:]]
    assert not any(re.search(r"\b(site|origin): (Path|str)\b", text) for text in texts)


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


def test_a_parameter_that_has_a_share_is_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SHARES, "tests/a.py wide", 1.0)
    assert group_of("tests/a.py::test_b[wide-3]") == group_of("tests/a.py::test_b[wide]")
    assert group_of("tests/a.py::test_b[wide]") == "tests/a.py wide"
    assert group_of("tests/a.py::test_b[narrow-wide]") == "tests/a.py"


def test_a_file_that_outgrew_its_share_is_named() -> None:
    def more(factor: float) -> dict[str, float]:
        """A hundred files of a second, of which one takes its share times a factor."""
        share = factor * OTHERS / 100
        return {f"tests/{n}.py::a": 1.0 for n in range(1, 100)} | {
            f"{file}::a": 99 * share / (1 - share) for file in (name,)
        }

    name = "tests/grown.py"
    assert outgrown(more(0.0)) == outgrown(more(0.95)) == []
    (line,) = outgrown(more(1.05))
    assert line == (
        "tests/grown.py took 6% of the time of all tests; its share in tests/timing.py is 6%"
    )
    name = LONG
    assert outgrown(more(1.05)) == [], "it has a share of its own"


def test_every_share_is_of_a_file_that_there_is() -> None:
    assert all((ROOT / group.partition(" ")[0]).is_file() for group in SHARES)


def test_only_a_run_of_everything_has_shares() -> None:
    timing = Timing()
    timing.seconds.update({"tests/a.py::b": 9.0, "tests/c.py::d": 0.1})
    assert timing._complaints() == []
    timing.seconds.update({f"{file}::e": 1e-6 for file in [*SHARES][1:]})
    assert timing._complaints() == []
    timing.seconds.update({f"{file}::e": 1e-6 for file in SHARES})
    assert [line.split()[0] for line in timing._complaints()] == ["tests/a.py"]


def test_the_slowest_and_the_time_of_each_folder_are_told() -> None:
    told = summary({"tests/a/b.py::c": 2.0, "tests/a/d.py::e": 1.0, "tests/f.py::g": 4.0})
    assert told[0] == "    4.0 s  tests/f.py::g"
    assert told[4:] == ["    4.0 s  tests/", "    3.0 s  tests/a/", "    7.0 s  in all, 3 tests"]


@pytest.mark.parametrize("lost", ["a", "c"])
def test_a_lost_process_is_named_at_once_and_the_others_tests_run(
    tmp_path: Path, lost: str
) -> None:
    """Groups of one test each, which a process that replaces the lost one must not wait with."""
    (tmp_path / "conftest.py").write_text(
        "from tests import timing\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(timing.Timing())\n",
        encoding="utf-8",
    )
    for name in "abcdef":
        ends = "os.kill(os.getpid(), 9)" if name == lost else "time.sleep(0.5)"
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
    assert "ended with status -9\n" in at_once
    assert f"\nFAILED test_{lost}.py::test_{lost}\n" in at_once
    assert f"crashed while running 'test_{lost}.py::test_{lost}'\n" in at_once
    assert "1 failed, 5 passed" in summary, done.stdout
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
    assert groups.remove_node(node) == tests[0]
    assert [*groups.workqueue] == ["tests/test_b.py"]
