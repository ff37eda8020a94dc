"""Recorded measurements: read as written, whole or not at all, and told where they are from."""

from __future__ import annotations

import datetime
import gzip
import importlib.metadata
import json
import math
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from serving_mathematics.support import measuring

from builder import ROOT, SOURCES


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(measuring, "FOLDER", tmp_path)
    return tmp_path


def test_record_is_read_as_it_was_written(folder: Path) -> None:
    content = {"µs": [1.5, 2], "note": "“quoted”"}
    assert measuring.write_record("some", content) == folder / "some.json"
    assert measuring.read_record("some") == content
    assert "µs" in (folder / "some.json").read_text(encoding="utf-8")


def test_large_record_is_packed_to_the_same_bytes_each_time(folder: Path) -> None:
    content = {"µs": [1.5, 2] * 1000}
    path = measuring.write_record("large", content, packed=True)
    assert path == folder / "large.json.gz"
    first = path.read_bytes()
    assert len(first) < 200
    assert measuring.write_record("large", content, packed=True).read_bytes() == first
    assert measuring.read_record("large") == content


def test_record_that_cannot_be_written_leaves_the_old_one_alone(folder: Path) -> None:
    measuring.write_record("some", {"a": 1})
    for wrong in (math.nan, object()):
        with pytest.raises((ValueError, TypeError)):
            measuring.write_record("some", {"a": wrong})
    assert measuring.read_record("some") == {"a": 1}
    assert [path.name for path in folder.iterdir()] == ["some.json"]


def test_provenance_names_command_day_machine_and_versions() -> None:
    told = measuring.provenance("python -m x", ["numpy"])
    assert told["command"] == "python -m x"
    today = datetime.datetime.now(datetime.UTC).date()
    assert today - datetime.date.fromisoformat(told["date"]) <= datetime.timedelta(days=1)
    assert told["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert told["machine"]["processors"] == measuring.processors() >= 1
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        measuring.provenance("x", ["no-such-package"])


@pytest.mark.parametrize(("counted", "found"), [(3, 3), (None, 1)])
def test_processors_are_counted_where_the_system_does_not_say_which(
    counted: int | None, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert measuring.processors() == found
    monkeypatch.setattr(os, "process_cpu_count", lambda: counted, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert measuring.processors() == found


@pytest.mark.parametrize("counted", [1, 2, 16])
def test_processors_are_those_that_python_is_told_of(
    counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: counted, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert measuring.processors() == counted
    monkeypatch.delattr(os, "process_cpu_count")  # as before Python 3.13
    assert measuring.processors() == 3


def test_make_measure_runs_the_command_of_every_record() -> None:
    """Without a file from elsewhere; other commands are those of benchmarks."""
    root = Path(measuring.__file__).parents[1]
    plain = [path.read_bytes() for path in (root / "records").glob("*.json")]
    packed = [gzip.decompress(path.read_bytes()) for path in (root / "records").glob("*.json.gz")]
    records = [json.loads(content) for content in (*plain, *packed)]
    commands = {
        found[0]
        for record in records
        if (
            found := re.fullmatch(
                r"python -m serving_mathematics[.\w]+( [a-z]+)?", record.get("command", "")
            )
        )
    }
    assert len(commands) > 5
    recipe = (
        (root.parents[1] / "Makefile").read_text().partition("\nmeasure:")[2].partition("\n\n")[0]
    )
    assert commands == {line.strip().replace("$(BIN)/", "") for line in recipe.splitlines()[1:]}


class _Answer(NamedTuple):
    total: float


def _slow(first: float, second: int = 2) -> _Answer:
    """The sum of two numbers."""
    return _Answer(first + second)


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that asks for sums in a check and in its example."""
    module = ModuleType("asking")

    def example() -> None:
        module.slow(1.0, second=5)
        module.slow(1, 5)

    def check_it() -> None:
        module.slow(0.1 + 0.2)

    example.__module__ = check_it.__module__ = _slow.__module__ = "asking"
    vars(module).update(example=example, check_it=check_it)
    module.slow = measuring.recorded(_Answer, "sums")(_slow)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "asking", module)
    return module


def test_recorded_function_answers_what_its_module_asks_for(asking: ModuleType) -> None:
    asking.slow.make()
    record = measuring.read_record("sums")
    assert (record["command"], record["what"]) == ("python -m asking", "The sum of two numbers.")
    assert record["answers"] == {"first 1, second 5": [6.0], "first 0.3, second 2": [2.3]}
    # another process, on a processor whose last digit differs
    reader = measuring.recorded(_Answer, "sums")(_slow)
    assert reader(0.3) == reader.again(0.3) == _Answer(2.3)
    told = "no answer for first 4, second 2: make it again by `python -m asking`"
    with pytest.raises(LookupError, match=told):
        reader(4.0)


def test_recorded_function_is_asked_anew_when_its_record_is_made(asking: ModuleType) -> None:
    measuring.write_record("sums", {"answers": {"first 1, second 5": [0.0]}}, packed=True)
    assert asking.slow(1.0, 5).total == 0.0
    asking.slow.make()
    assert asking.slow(1.0, 5).total == 6.0


def test_what_a_module_records_is_made_together(asking: ModuleType) -> None:
    """Of two functions, neither could be made first from nothing."""
    asking.twice = measuring.recorded(_Answer, "doubles")(_slow)  # type: ignore[attr-defined]
    asking.check_both = lambda: asking.twice(asking.slow(2.0).total)  # type: ignore[attr-defined]
    asking.check_both.__module__ = "asking"
    asking.slow.make()
    assert measuring.read_record("doubles")["answers"] == {"first 4, second 2": [6.0]}


def test_records_that_a_module_names_are_there() -> None:
    for file in (ROOT / SOURCES).rglob("*.py"):
        for name in re.findall(r"\brecords/\w+\.json(?:\.gz)?", file.read_text(encoding="utf-8")):
            assert (ROOT / SOURCES / name).is_file(), f"{file} names {name}"
