"""For an author at work: the pages at once, and what ran fills in as it finishes.

A few modules are worth waiting for, as after an edit. A first build has them all to run: then their
records are pending, a thread runs them, and a file changes whenever there is more to show, so that
whoever watches it builds again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from builder import BuildError, worker
from builder.runner import Run, cached, run_all
from builder.source import Sources, module_names

WORTH_WAITING = 8  # modules that are run before the pages are shown
SHOWN_EVERY_S = 5.0  # between two builds that show what has finished


class Background:
    """Records of every module, as they come."""

    def __init__(self, root: Path, cache: Path, more: Path, tell: Callable[[str], object]) -> None:
        """more: the file that changes. tell: is told a line per finished module."""
        self.root, self.cache, self.more, self.tell = root, cache.absolute(), more, tell
        self._thread: threading.Thread | None = None
        self._shown = 0.0

    def runs(self) -> list[Run]:
        """The record of every module; pending ones where many are still to run."""
        sources = Sources(self.root, self.cache)
        known = self._known(sources)
        if self._thread is None or not self._thread.is_alive():
            missing = [name for name, run in known.items() if run is None]
            if len(missing) <= WORTH_WAITING:
                ran = run_all(self.root, self.cache, names=missing, progress=self.tell, again=False)
                known |= {run.name: run for run in ran}
            else:
                self._shown = time.monotonic()
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        return [run or self._pending(sources, name) for name, run in known.items()]

    def _known(self, sources: Sources) -> dict[str, Run | None]:
        names = module_names(self.root)
        return {name: cached(self.root, self.cache, name, sources=sources) for name in names}

    def _pending(self, sources: Sources, name: str) -> Run:
        """What can be said of a module before it has run: its text."""
        record = worker.empty_record() | sources.described(name) | {"pending": True}
        return Run(name, self.cache, record)

    def _run(self) -> None:
        try:
            run_all(self.root, self.cache, progress=self._finished, again=False)
        except BuildError as problem:
            self.tell(str(problem))
        self._show()

    def _finished(self, line: str) -> None:
        self.tell(line)
        if time.monotonic() - self._shown > SHOWN_EVERY_S:
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self.more.write_text(f"{time.time()}\n", encoding="utf-8")
