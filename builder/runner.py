"""Keeps one fresh run record per snippet module: looks in the cache, runs what is missing, in
parallel.

A cache entry is `<cache>/<module>/<digest>/`, made in a temporary folder and renamed, so that it is
there whole or not at all; where a file of it was damaged since, the module runs again.
"""

# In one piece: one queue of modules: its cache, its workers and what is told of those that failed.

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from serving_mathematics.support.measuring import processors

from builder import PACKAGE, ROOT, BuildError, worker
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
KEPT_ENTRIES = 8  # records kept per module: enough to switch between branches without running again
STALE_S = 3600.0  # a temporary folder older than any run was left by a build that was killed
_LOADED = builder_digest()


@dataclass(frozen=True)
class Run:
    """A module as it was when it ran, the folder that holds its figures, and its run record."""

    module: Module
    folder: Path
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The module's dotted name in the package."""
        return self.module.name

    @property
    def path(self) -> str:
        """The module's file, relative to the project, with forward slashes."""
        return path_of(self.name)

    @property
    def address(self) -> str:
        """Where the module lies among the downloads."""
        return f"{PACKAGE}/{self.name.replace('.', '/')}.py"

    @property
    def file(self) -> str:
        """The name of the module's file."""
        return self.path.rpartition("/")[2]

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """What its checks compared."""
        return [row for check in self.record["checks"] for row in check["comparisons"]]

    @property
    def failed(self) -> bool:
        """True when a check, a figure, the example or the import went wrong."""
        return bool(self.record["failures"])

    @property
    def seconds(self) -> float:
        """Processor time that the module took."""
        return float(sum(self.record["seconds"].values()))


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
    root = sources.root
    wanted = list(module_names(root) if names is None else names)
    for name in wanted:
        if not module_path(root, name).is_file():
            raise BuildError(f"no module {name}: {module_path(root, name)} does not exist")
    done: dict[str, Run] = {}
    busy: list[subprocess.Popen[str]] = []
    given_up = threading.Event()
    asked: list[Future[Run]] = []
    over: SimpleQueue[Future[Run]] = SimpleQueue()  # in the order in which they end
    pool = ThreadPoolExecutor(max(2, processors()))  # with a worker each
    try:
        for name in wanted:
            run = cached(sources, name)
            if run and not (again and run.failed):
                done[name] = run
                continue
            if not asked:
                _prepare(sources.cache)
            asked.append(pool.submit(_run, sources, name, timeout_s, busy, given_up))
            asked[-1].add_done_callback(over.put)
        for _ in asked:
            run = over.get().result()
            done[run.name] = run
            progress(len(asked), run)
    finally:
        given_up.set()
        for found in [*busy]:  # one that is about to begin is not there yet, and sees it itself
            _pipe(found.stdin).close()  # for which it waits
        pool.shutdown(cancel_futures=True)
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


_idle: list[subprocess.Popen[str]] = []  # workers that wait for a module


def _worker() -> subprocess.Popen[str]:
    """A process that runs one module after the other."""
    return subprocess.Popen(
        [sys.executable, "-c", "from builder import preload, worker; worker.serve()"],
        cwd=ROOT,
        env=os.environ | WORKER_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # whoever is asked in a terminal to end tells the workers
    )


@atexit.register
def _dismiss() -> None:
    while _idle:
        with _idle.pop():
            pass  # it ends because nobody can ask any more


def _run(
    sources: Sources,
    name: str,
    timeout_s: float,
    busy: list[subprocess.Popen[str]],
    given_up: threading.Event,
) -> Run:
    """Have a worker run a module, again while its files change meanwhile, and put what came out
    into the cache.

    busy: where the worker is held meanwhile. given_up: whether nobody waits for it any more.
    """
    for _ in range(ATTEMPTS):
        sources.digest(name)  # of what stands there now
        folder = Path(tempfile.mkdtemp(prefix=f"tmp-{name}-", dir=sources.cache))
        try:
            asked = [str(sources.root), name, str(folder), timeout_s, sources.shared(name)]
            status = _ended(asked, busy, given_up)
            if not sources.unchanged(name):
                sources = Sources(sources.root, sources.cache)
                continue
            if not (folder / worker.RECORD).is_file():
                dead = {"failures": [_death(name, folder, status, timeout_s)]}
                worker.leave(folder, name, worker.empty_record() | dead)
            if run := _kept(sources, name, folder):
                return run
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    raise BuildError(
        f"{name}: its files changed during each of {ATTEMPTS} runs; does it write a file that it"
        " reads?"
    )


def _ended(asked: list[Any], busy: list[subprocess.Popen[str]], given_up: threading.Event) -> int:
    """Ask a worker, and wait for the exit status of the module, or its own if it ends first."""
    try:
        while (found := _idle.pop()).poll() is not None:
            found.communicate()  # it ended as it waited
    except IndexError:  # asked before, another thread might take the last one in between
        found = _worker()
    busy.append(found)
    if given_up.is_set():
        _pipe(found.stdin).close()
    told = ""
    with contextlib.suppress(OSError, ValueError):  # it has ended, or shall, as will show
        print(json.dumps(asked), file=found.stdin, flush=True)
        told = _pipe(found.stdout).readline()
    busy.remove(found)
    if told and not given_up.is_set():
        _idle.append(found)
        return int(told)
    with contextlib.suppress(OSError), found:  # it may not have read what was asked
        pass
    if given_up.is_set():
        raise BuildError("the run was given up")
    return found.returncode


def _pipe(end: IO[str] | None) -> IO[str]:
    assert end
    return end


def _death(name: str, folder: Path, status: int, timeout_s: float) -> str:
    """What is told of a module that left no record, and nothing else in its folder: it hung, exited
    or crashed.
    """
    step = "1 module"
    with contextlib.suppress(OSError):
        step = (folder / worker.STEP).read_text(encoding="utf-8")
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if status == -signal.SIGALRM:
        message = f"ran longer than the limit of {timeout_s:g} s and was ended"
    elif status < 0:
        names = {number.value: number.name for number in signal.Signals}
        message = f"was ended by signal {names.get(-status, -status)}"
    else:
        message = f"ended its process with exit status {status} before it was done"
    line, _, function = step.partition(" ")
    return f"{path_of(name)}:{line}: {function}: Ended: {message}"


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
