"""Checks of chapters that already ran for the same content are taken from the run records.

A record is taken when it is whole, of this text with this Python and these packages, and says that
every comparison of the check passed; whatever else it says, the check runs.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from serving_mathematics.support.checks import Comparison

from builder import ROOT, SOURCES
from builder.runner import Run, cached, default_cache
from builder.source import Sources


def comparisons(run: Run, text: str, name: str) -> list[Comparison] | None:
    """What a check compared when its module ran, all passed; None where the record cannot stand
    for the check.

    text: the module as it is now.
    """
    record = run.record
    if record["failures"] or record["absent"] or record["source"] != text:
        return None
    found = [check for check in record["checks"] if check["name"] == name]
    if len(found) != 1:
        return None
    try:
        rows = [Comparison(**row) for row in found[0]["comparisons"]]
    except TypeError:
        return None
    return rows if rows and all(row.passed is True for row in rows) else None


class RecordedChecks:
    """The hook of pytest that takes a check from its record."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        self.sources = Sources(root, cache)
        self.served = 0

    @functools.cache  # noqa: B019 (one object lives as long as the run)
    def record_of(self, name: str) -> Run | None:
        """A module's record, if it is fresh."""
        try:
            return cached(self.root, self.cache, name, sources=self.sources)
        except (OSError, ValueError, SyntaxError):
            return None

    def run_of(self, file: Path) -> tuple[Run, str] | None:
        """The record of a module's file and its text, if the record is fresh."""
        try:
            name = ".".join(file.relative_to(self.root / SOURCES).with_suffix("").parts)
            run = self.record_of(name)
            return (run, file.read_text(encoding="utf-8")) if run else None
        except (OSError, ValueError):
            return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Print the comparisons of a check that ran for the same content; run any other test."""
        if not pyfuncitem.name.startswith("check_") or not (found := self.run_of(pyfuncitem.path)):
            return None
        rows = comparisons(*found, pyfuncitem.name)
        if rows is None:
            return None
        self.served += 1
        for row in rows:
            print(f"PASS {row} (as recorded)")
        return True


HERE = RecordedChecks(ROOT, default_cache(ROOT))  # files and records that a process reads once
