"""In a run of everything, the checks of the modules are those of their run records."""

from __future__ import annotations

import re

import pytest

from builder.runner import Run

from .profiles import THOROUGH


def test_every_check_of_every_module_ran_and_passed(records: dict[str, Run]) -> None:
    """Where a record is not fresh, `records` has run the module."""
    for name, run in records.items():
        checks = {check["name"]: check["comparisons"] for check in run.record["checks"]}
        assert [*checks] == re.findall(r"^def (check_\w+)", run.module.source, re.MULTILINE)
        assert all(row["passed"] is True for rows in checks.values() for row in rows), name
        assert all(checks.values()), name


def test_checks_are_collected_where_they_are_asked_for(pytestconfig: pytest.Config) -> None:
    from conftest import takes_checks_from_records

    assert not takes_checks_from_records(["snippets/serving_mathematics"], ["snippets", "tests"])
    everything = pytestconfig.getini("testpaths")
    assert takes_checks_from_records(["snippets", "tests"], everything) is not THOROUGH
