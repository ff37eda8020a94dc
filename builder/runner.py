"""Keeps one fresh run record per snippet module: looks in the cache, runs what is missing, in
parallel.

A cache entry is `<cache>/<module>/<digest>/`, made in a temporary folder and renamed, so that it is
there whole or not at all; where a file of it was damaged since, the module runs again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_mathematics.support.measuring import processors

from builder import ROOT, BuildError, worker
from builder.source import Module, Sources, builder_digest, module_names, module_path, path_of
from builder.storage import recall

TIMEOUT_S = 120.0
ATTEMPTS = 5  # runs of a module whose files change while it runs
WORKER_ENVIRONMENT = {  # one thread of linear algebra, and the same order of sets in every build;
    # glibc keeps the memory that an array gave back for the next one, which need not be fetched
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONIOENCODING": "utf-8:backslashreplace",  # what a module prints is no failure
    "MPLBACKEND": "agg",  # another may not be installed here
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
}
FORKED_FROM = "from builder import preload, worker; worker.serve()"  # a process that runs this
KEPT_ENTRIES = 8  # records kept per module: enough to switch between branches without running again
STALE_S = 3600.0  # a temporary folder older than any run was left by a build that was killed
_LOADED = builder_digest()


@dataclass
class Run:
    """A module as it was when it ran, the folder that holds its figures, and its run record."""

    module: Module
    folder: Path
    record: dict[str, Any]

    def __post_init__(self) -> None:
        """What follows from these."""
        self.name = self.module.name  # dotted, in the package
        self.path = path_of(self.name)  # relative to the project
        self.file = self.path.rpartition("/")[2]
        self.address = self.path.removeprefix("snippets/")  # among the downloads
        self.comparisons = [row for one in self.record["checks"] for row in one["comparisons"]]
        self.failed = bool(self.record["failures"])  # of the import, a check, the example, …
        self.seconds = float(sum(self.record["seconds"].values()))  # of the processor


def cached(sources: Sources, name: str) -> Run | None:
    """The module's record, unless there is none, something beside it is missing or damaged, or
    anything that it depends on has changed since, such as data that the module read.
    """
    folder = sources.cache / name / sources.digest(name)
    if not (whole := recall(folder / worker.RECORD, name)):
        return None
    record = json.loads(whole)
    for files, base in ((record["files"], folder), (record["reads"], sources.root)):
        if any(worker.file_digest(base / file) != known for file, known in files.items()):
            return None
    return Run(sources.module(name), folder, record | {"needs": sources.needs(name)})


class Progress:
    """Tells how far a run is: now and then, unless few modules run, and what failed."""

    FEW, EVERY_S = 8, 5.0

    def __init__(self, tell: Callable[[str], object]) -> None:
        """tell: is given each line."""
        self.tell, self.ran, self._told = tell, 0, time.monotonic()

    def __call__(self, total: int, run: Run) -> None:
        """A module has run, one of so many."""
        self.ran += 1
        failed, now = len(run.record["failures"]), time.monotonic()
        if failed or total <= self.FEW or self.ran == total or now - self._told > self.EVERY_S:
            self._told = now
            verdict = f"{failed} FAILED" if failed else f"{run.seconds:.1f} s"
            self.tell(f"[{self.ran}/{total}] {run.name}: {verdict}")


def run_all(
    sources: Sources,
    *,
    names: Iterable[str] | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Callable[[int, Run], object] = lambda *_: None,
    again: bool = True,
) -> list[Run]:
    """A record for each module, from the cache or from a run; modules that failed are in the list
    too.

    names: dotted names in the package, all by default. timeout_s: limit for one module. progress:
    is told of each run how many there are. again: run modules once more whose last run failed.
    Raises BuildError when there is no such module, and OSError when the cache cannot be written or
    a file cannot be read.
    """
    wanted = list(module_names(sources.root) if names is None else names)
    for name in wanted:
        if not (path := module_path(sources.root, name)).is_file():
            raise BuildError(f"no module {name}: {path} does not exist")
    found = ((name, cached(sources, name)) for name in wanted)
    done = {name: run for name, run in found if run and not (again and run.failed)}
    missing = [name for name in dict.fromkeys(wanted) if name not in done]
    total, tried = len(missing), Counter[str]()
    if missing:
        _prepare(sources.cache)
    while missing:
        with contextlib.closing(_ran(sources, missing, timeout_s, tried)) as runs:
            for run in runs:
                done[run.name] = run
                progress(total, run)
        missing = [name for name in missing if name not in done]
        sources = Sources(sources.root, sources.cache)
    return [done[name] for name in wanted]


def _prepare(cache: Path) -> None:
    """Make the cache, and clear what killed builds left."""
    if builder_digest() != _LOADED:
        raise BuildError("the builder was edited since it started; stop it and start again")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BuildError(
            f"cannot write the cache {cache}: {problem.strerror};"
            " set SNIPPETS_CACHE to a folder that can be written"
        ) from problem
    for leftover in cache.glob("tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE_S:
                shutil.rmtree(leftover, ignore_errors=True)


def _ran(
    sources: Sources, names: list[str], timeout_s: float, tried: Counter[str]
) -> Generator[Run]:
    """Run modules, and put what comes out into the cache; one is left for another time whose files
    change meanwhile. tried: how often it was.
    """
    for name in names:
        sources.digest(name)  # of what stands there now
    with tempfile.TemporaryDirectory(
        prefix="tmp-", dir=sources.cache, ignore_cleanup_errors=True
    ) as place:
        for name, status in _ends(sources, names, place, timeout_s):
            folder = Path(place, name)
            if sources.unchanged(name):
                if not (folder / worker.RECORD).is_file():
                    dead = {"failures": [_death(name, folder, status, timeout_s)]}
                    worker.leave(folder, name, worker.empty_record() | dead)
                if run := _kept(sources, name, folder):
                    yield run
                    continue
            tried[name] += 1
            if tried[name] == ATTEMPTS:
                raise BuildError(
                    f"{name}: its files changed during each of {ATTEMPTS} runs; does it write a"
                    " file that it reads?"
                )


def _ends(
    sources: Sources, names: list[str], place: str, timeout_s: float
) -> Iterator[tuple[str, int]]:
    """Each module with its exit status as it ends, in a process of its own. Where the one that
    starts them is ended, as when the system is out of memory, so are those that were running.
    """
    files = (sources.dependencies(module_path(sources.root, name))[0] for name in names)
    asked = [[name, [str(file) for file in own]] for name, own in zip(names, files, strict=True)]
    given = [str(sources.root), place, timeout_s, max(2, processors()), asked]
    with subprocess.Popen(
        [sys.executable, "-c", FORKED_FROM],
        cwd=ROOT,
        env=os.environ | WORKER_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # whoever is asked in a terminal to end closes its input
    ) as server:
        assert server.stdin
        assert server.stdout
        ended = set()
        try:
            with contextlib.suppress(OSError):  # it has ended, as will show
                print(json.dumps(given), file=server.stdin, flush=True)
            for line in server.stdout:
                name, status = json.loads(line)
                ended.add(name)
                yield name, status
        finally:
            server.communicate()  # nobody asks any more, for which it waits
    begun = [name for name in names if name not in ended and Path(place, name).exists()]
    if server.returncode and not begun:
        told = f"the process that they fork from ended with {server.returncode}"
        raise BuildError(f"no module could be run: {told}")
    for name in begun:
        yield name, server.returncode


def _death(name: str, folder: Path, status: int, timeout_s: float) -> str:
    """What is told of a module that left no record, whose folder is emptied: it hung, exited or
    crashed, or still runs and writes there, whose parent was ended.
    """
    line, _, function = (folder / worker.STEP).read_text(encoding="utf-8").partition(" ")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    if status == -signal.SIGALRM:
        told = f"ran longer than the limit of {timeout_s:.3g} s and was ended"
    elif status < 0:
        names = {number.value: number.name for number in signal.Signals}
        told = f"was ended by signal {names.get(-status, -status)}"
    else:
        told = f"ended its process with exit status {status} before it was done"
    return f"{path_of(name)}:{line}: {function}: Ended: {told}"


def _kept(sources: Sources, name: str, folder: Path) -> Run | None:
    """Put a record into the cache, unless another build was faster and may be reading it; None when
    it belongs to no version, because data that the module read changed meanwhile.
    """
    target = sources.cache / name / sources.digest(name)
    there = cached(sources, name)
    if there and not there.failed:
        return there
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)  # as a rule, nothing is there
    with contextlib.suppress(OSError):  # another build was faster
        folder.rename(target)
    _prune(target.parent)
    return cached(sources, name)


def _prune(folder: Path) -> None:
    """Keep the newest entries of a module."""
    with contextlib.suppress(OSError):  # another build may be doing the same
        entries = sorted(folder.iterdir(), key=lambda entry: entry.lstat().st_mtime)
        for entry in entries[:-KEPT_ENTRIES]:
            shutil.rmtree(entry, ignore_errors=True)


def failures(runs: Iterable[Run]) -> list[str]:
    """Every failure of the runs, each with file, line, function and what was said. What keeps
    several modules from being imported is told once, where it stands.
    """
    return list(dict.fromkeys(line for run in runs for line in run.record["failures"]))
