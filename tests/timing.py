"""Runs the tests in several processes, the longest files first, says at once which test failed, and
in the end where the time went.

A file of tests stays together in one process, so that what it sets up is set up once.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from .profiles import ROTATING, THOROUGH

LONGEST = [  # first: one that began at the end would leave the other processes with nothing to do
    "tests/test_site.py",  # which builds the site
    "tests/test_keep.py",  # these two do not wait for it
    "tests/builder/test_cache.py",
    "tests/test_live.py",
    "tests/test_planner_page.py",
    "tests/test_every_page.py",
    "tests/test_sliders.py",
    "tests/engine/test_engine_server.py",
    "tests/test_chapter.py",
    "tests/test_contracts.py",
    "tests/test_browser.py",
    "tests/builder/test_serve.py",
    "tests/test_reading.py",
    "tests/engine/test_engine_process.py",
    "tests/test_early.py",
    "tests/test_exercises.py",
    "tests/engine/test_engine_measurement.py",
    "tests/test_ask_page.py",
]
TOGETHER = {  # they call the same functions with the arguments of their examples, found once
    "tests/test_bad_input.py": "tests/test_keep.py",
    "tests/test_swapped_numbers.py": "tests/test_keep.py",
}
SLOWEST = 20


def group_of(nodeid: str) -> str:
    """The tests that stay together: those of a file, or of some files."""
    file = nodeid.partition("::")[0]
    return TOGETHER.get(file, file)


def place_of(nodeid: str) -> tuple[int, str, str]:
    """Tests sorted by it stand group by group, the longest first, and file by file."""
    group = group_of(nodeid)
    place = LONGEST.index(group) if group in LONGEST else len(LONGEST)
    return place, group, nodeid.partition("::")[0]


def folder_of(nodeid: str) -> str:
    """Where a file of tests lies."""
    return nodeid.partition("::")[0].rpartition("/")[0]


def summary(seconds: Mapping[str, float]) -> list[str]:
    """The slowest tests, and the time of each folder."""
    total = sum(seconds.values())
    folders: Counter[str] = Counter()
    for nodeid, took in seconds.items():
        folders[folder_of(nodeid)] += took
    return [
        *(f"{took:7.1f} s  {nodeid}" for nodeid, took in Counter(seconds).most_common(SLOWEST)),
        "",
        *(f"{took:7.1f} s  {folder}/" for folder, took in folders.most_common() if took >= 0.05),
        f"{total:7.1f} s  in all, {len(seconds)} tests",
    ]


class _Groups(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        """A process that was lost since it was last heard of takes nothing: what it was to get is
        handed out again when its end is told, by `remove_node`. Nor does one that is still
        collecting, in the place of another: it is asked when it has told what it found.
        """
        with contextlib.suppress(OSError):
            if node in self.registered_collections:
                super()._assign_work_unit(node)

    def remove_node(self, node: Any) -> str | None:
        """What a lost process had left goes to the others, but for the test that it was lost in,
        which is returned: xdist 3.8 would run that one again, and hands out what had been done as
        groups without tests, with which a process waits for ever.
        """
        groups: dict[str, dict[str, bool]] = self.assigned_work.pop(node)
        left = [
            (group, test) for group in groups for test, done in groups[group].items() if not done
        ]
        if not left:
            return None
        group, lost = left[0]
        groups[group][lost] = True
        self.workqueue.update(
            {name: groups[name] for name, _ in left if not all(groups[name].values())}
        )
        for other in self.nodes:
            self._reschedule(other)
        return lost

    def schedule(self) -> None:
        """A process that replaces a lost one gets a second group too: it begins a test only when it
        knows of another, and would wait for ever with a group of one.
        """
        super().schedule()
        for node in self.nodes:
            self._reschedule(node)


class Timing:
    """The hooks of pytest that arrange tests and say which failed and where the time went."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.terminal: Any = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find what prints: in the processes of xdist, nothing does."""
        self.terminal = session.config.pluginmanager.get_plugin("terminalreporter")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep together what shares fixtures, and begin with the longest, where processes share the
        work; one alone takes what it is given in its order.
        """
        if "PYTEST_XDIST_WORKER" in os.environ:
            items.sort(key=lambda item: place_of(item.nodeid))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand out the groups in their order, each to the first process that is free."""
        config.option.loadscopereorder = False
        return _Groups(config, log)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Say by what a process was ended that xdist lost."""
        if error and self.terminal is not None:
            status = node.gateway._io.popen.wait(timeout=10)
            self.terminal.write_line(f"{node.gateway.id} ended with status {status}", red=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the time of a test, with what it set up and tore down, and print a failure at once:
        a run that is ended before its summary has told of it.
        """
        self.seconds[report.nodeid] += report.duration
        if report.failed and self.terminal is not None:
            self.terminal.write_line(f"\nFAILED {report.nodeid}\n{report.longreprtext}", red=True)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print where the time went."""
        if len(self.seconds) < 2:
            return
        terminalreporter.section(f"slowest {SLOWEST} tests, and the time of each folder")
        config = terminalreporter.config
        whole = config.args == config.getini("testpaths")
        rotating = ROTATING if whole else "some take turns by day; HANDBOOK_TESTS=thorough runs all"
        for line in [*summary(self.seconds), *([] if THOROUGH else [rotating])]:
            terminalreporter.write_line(line)
