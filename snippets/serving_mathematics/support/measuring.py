"""Recorded measurements: written whole, with where and when and by which command; read by name.

A measurement depends on its machine, so a page shows a record that a command made, and anyone can
make again: `records/<name>.json`, or `.json.gz` where it is large.
"""

from __future__ import annotations

import datetime
import gzip
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from serving_mathematics.support.files import write_bytes, write_text

FOLDER = Path(__file__).resolve().parents[1] / "records"


def read_record(name: str) -> dict[str, Any]:
    """The record of this name, as it was written; large ones are packed."""
    packed = FOLDER / f"{name}.json.gz"
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() else None
    text = (FOLDER / f"{name}.json").read_bytes() if raw is None else raw
    record: dict[str, Any] = json.loads(text)
    return record


def processors() -> int:
    """How many processors this process may use; 1 where the system does not say."""
    if count := getattr(os, "process_cpu_count", None):  # from Python 3.13 on
        return count() or 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def provenance(command: str, packages: Iterable[str] = ()) -> dict[str, Any]:
    """What a record says of its making: command, day, machine, and versions of Python and packages.

    packages: names as pip knows them.
    """
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processors": processors(),
        },
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
    }


def write_record(
    name: str, content: Mapping[str, Any], folder: Path | None = None, packed: bool = False
) -> Path:
    """Write a record as JSON, whole or not at all, and return its path. NaN is an error.

    packed: with gzip, a large one; of the same content the same bytes.
    """
    path = (folder or FOLDER) / f"{name}.json{'.gz' if packed else ''}"
    if packed:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return write_bytes(str(path), "the record", gzip.compress(text.encode(), 9, mtime=0))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return write_text(str(path), "the record", text + "\n")


def digits(value: float) -> str:
    """A number in three significant digits, with separators of thousands."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:g}"


def spread_text(values: Mapping[str, float]) -> str:
    """The `median`, `least` and `most` of repeated measurements, as `median (least–most)`."""
    ends = f"{digits(values['least'])}–{digits(values['most'])}"
    return f"{digits(values['median'])} ({ends})"


def runs_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each run of a record that was measured several times found."""
    return [run["found"] for run in record["runs"]]
