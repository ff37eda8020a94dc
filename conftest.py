"""How pytest collects modules of chapters and tests alike."""

from __future__ import annotations

import fnmatch
import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

CHAPTERS = "*/snippets/serving_mathematics/[!_]*/*.py"  # in folders of folders too
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
BACKWARDS = int(WORKER.removeprefix("gw")) % 2 == 1

# As where modules run: two processes that compute with two threads each wait for one another.
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):  # tests start hundreds of processes, each of
    sys.dont_write_bytecode = False  # which would compile all that it imports

gc.disable()  # what is imported and collected stays: looking through it is a fifth of the work


class Chapter(pytest.Module):
    """A module of a chapter, whose `check_…` are tests. As it is none of `python_files`, pytest
    imports it as it stands: a check asserts nothing that would have to be rewritten, which takes
    several times as long as compiling.
    """


def takes_checks_from_records(paths: list[str], everything: list[str]) -> bool:
    """Whether the checks are left to the build's run of their modules, as `tests/test_recorded.py`
    asserts: each was asserted twice, and a tenth of all tests were checks.
    """
    return paths == everything and os.environ.get("HANDBOOK_TESTS") != "thorough"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Checks of a chapter's module, and examples only where there is a `>>>`."""
    found = yield
    config = parent.config
    if file_path.suffix == ".py" and b">>>" not in file_path.read_bytes():
        found = [one for one in found if type(one) is pytest.Module]
    left = takes_checks_from_records(config.args, config.getini("testpaths"))
    asked = left or parent.session.isinitpath(file_path)
    if fnmatch.fnmatch(file_path.as_posix(), CHAPTERS) and not asked:
        found.append(Chapter.from_parent(parent, path=file_path))
    return found


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Of two processes one begins at the end, so that each compiles one half of the files and finds
    the other half compiled: `Timing` puts what was collected into one order.
    """
    report = yield
    config = collector.config
    everything = config.args == config.getini("testpaths")  # or `Timing` may not be there
    if BACKWARDS and everything and not isinstance(collector, pytest.File):
        report.result.sort(key=lambda node: node.path, reverse=True)
    return report


def pytest_collection_finish() -> None:
    """From here on, look for garbage among what the tests make."""
    gc.freeze()
    gc.enable()
