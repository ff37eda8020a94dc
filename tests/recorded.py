"""Sources and run records of the project, which a process of the tests reads once."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from types import SimpleNamespace

from builder import PACKAGE, ROOT
from builder.runner import Run, cached
from builder.source import Sources


class Recorded:
    """What is known of modules without running them."""

    def __init__(self, root: Path) -> None:
        self.sources = Sources(root)

    @functools.cache  # noqa: B019 (one object lives as long as the run)
    def record_of(self, name: str) -> Run | None:
        """A module's record, if it is fresh."""
        try:
            return cached(self.sources, name)
        except (OSError, ValueError, SyntaxError):
            return None

    def example_of(self, name: str) -> SimpleNamespace:
        """The fields of a module's `example()`: those that the build has from it, if that is so."""
        if run := self.record_of(name):
            return SimpleNamespace(**run.record["example"])
        fields: SimpleNamespace = importlib.import_module(f"{PACKAGE}.{name}").example()
        return fields


HERE = Recorded(ROOT)
