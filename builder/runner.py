"""Keeps one fresh run record per snippet module: looks in the cache, runs what is missing, in
parallel.

A cache entry is `<cache>/<module>/<digest>/`, made in a temporary folder and renamed, so that it is
there whole or not at all; every file in it is hashed in its record, so that damage is noticed and
the module runs again.
"""

# In one piece: one queue of modules: its cache, its workers and what is told of those that failed.

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from builder import PACKAGE, ROOT, SOURCES, BuildError, undisturbed, worker
from builder.outline import Outline
from builder.source import (
    Sources,
    builder_digest,
    module_names,
    module_path,
)

TIMEOUT_S = 120.0
ATTEMPTS = 5  # runs of a module whose files change while it runs
WORKER_ENVIRONMENT = {  # one thread of linear algebra, and the same order of sets in every build;
    # glibc keeps the memory that an array gave back for the next one, which need not be fetched
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "agg",  # another may not be installed here
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**28),
}
KEPT_ENTRIES = 8  # records kept per module: enough to switch between branches without running again
STALE_S = 3600.0  # a temporary folder older than any run was left by a build that was killed
_LOADED = builder_digest()
_RECORD_KEYS = {*worker.empty_record(), "source", "outline", "files", "of"}


@dataclass(frozen=True)
class Run:
    """A module's run record and the folder that holds its figures."""

    name: str
    folder: Path
    record: dict[str, Any]
    retold: bool = False  # with words of another time than the run

    @property
    def path(self) -> str:
        """The module's file, relative to the project, with forward slashes."""
        return f"{SOURCES}/{self.name.replace('.', '/')}.py"

    @property
    def address(self) -> str:
        """Where the module lies among the downloads."""
        return f"{PACKAGE}/{self.name.replace('.', '/')}.py"

    @functools.cached_property
    def outline(self) -> Outline:
        """The module's definitions and imports, as they were when it ran."""
        return Outline.from_json(self.record["outline"])

    @property
    def failed(self) -> bool:
        """True when a check, a figure, the example or the import went wrong."""
        return bool(self.record["failures"])

    @property
    def seconds(self) -> float:
        """Processor time that the module took."""
        return float(sum(self.record["seconds"].values()))


def default_cache(root: Path) -> Path:
    """Where records live: $SNIPPETS_CACHE, relative to the project, or else `.cache/snippets`."""
    return root / (os.environ.get("SNIPPETS_CACHE") or Path(".cache", "snippets"))


def cached(root: Path, cache: Path, name: str, *, sources: Sources | None = None) -> Run | None:
    """The module's record if it is whole and nothing that it depends on has changed since; else
    None.

    sources: shared by those who ask for many modules at one time.
    """
    if not (cache / name).is_dir():
        return None  # whatever its version is
    sources = sources or Sources(root, cache)
    version = sources.digest(name)
    run = _whole(root, name, version, cache / name / version)
    return run and _as_written(run, sources.content(module_path(root, name)))


def _as_written(run: Run, content: bytes) -> Run | None:
    """A record with the text of the module as it is now, when it differs from the text that ran in
    comments, docstrings or layout; None when a failure would name the wrong line.
    """
    text = content.decode("utf-8", errors="replace")
    if text == run.record["source"]:
        return run
    if run.failed:
        return None
    return Run(run.name, run.folder, worker.told_anew(run.record, text, run.folder), retold=True)


def _whole(root: Path, name: str, version: str, folder: Path) -> Run | None:
    """The record in a folder, unless it is of something else, something of it is missing or
    damaged, or data it read has changed.

    version: the digest of what the record is of.
    """
    try:
        seal, _, text = (folder / "record.json").read_text(encoding="utf-8").partition("\n")
        if seal != hashlib.sha256(text.encode()).hexdigest():
            return None
        record = json.loads(text)
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or not record.keys() >= _RECORD_KEYS:
        return None
    if record["of"] != [name, version]:
        return None
    for files, base in ((record["files"], folder), (record["reads"], root)):
        if any(worker.file_digest(base / file) != known for file, known in files.items()):
            return None
    return Run(name, folder, record)


class Progress:
    """Tells how far a run is: on a terminal in one line, which it writes again and again; elsewhere
    now and then, unless few modules run.
    """

    FEW, EVERY_S, WIDTH = 8, 10.0, 79

    def __init__(self, tell: Callable[[str], object]) -> None:
        """tell: is given the lines that stay."""
        self.tell, self.ran, self._told = tell, 0, time.monotonic()

    def __call__(self, line: str) -> None:
        """A module has run: a line that begins with `[count/total]`."""
        self.ran += 1
        count, total = map(int, re.findall(r"\d+", line)[:2])
        now = time.monotonic()
        if total <= self.FEW or count == total or "FAILED" in line:
            self.tell(line)
        elif sys.stderr.isatty():
            print(f"\033[K{line[: self.WIDTH]}", end="\r", file=sys.stderr, flush=True)
        elif now - self._told > self.EVERY_S:
            self._told = now
            self.tell(line)


def run_all(
    root: Path,
    cache: Path,
    *,
    names: Iterable[str] | None = None,
    jobs: int | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Callable[[str], object] = str,
    again: bool = True,
    sources: Sources | None = None,
) -> list[Run]:
    """A record for each module, from the cache or from a run; modules that failed are in the list
    too.

    names: dotted names in the package, all by default. jobs: worker processes at a time, one per
    core but at least two by default. timeout_s: limit for one module. progress: is told a line per
    finished module. again: run modules once more whose last run failed. sources: the files, to know
    afterwards what was looked up. Raises BuildError when the cache cannot be written or a file
    cannot be parsed.
    """
    cache = cache.absolute()  # a module may change the working directory
    wanted = list(module_names(root) if names is None else names)
    for name in wanted:
        if not module_path(root, name).is_file():
            raise BuildError(f"no module {name}: {module_path(root, name)} does not exist")
    done: dict[str, Run] = {}
    missing: list[str] = []
    sources = sources or Sources(root, cache)
    for name in wanted:
        run = cached(root, cache, name, sources=sources)
        if run and (run.retold or not (again and run.failed)):
            done[name] = run
        else:
            if not missing:
                warm_up()  # while the others are looked up
            missing.append(name)
    if missing:
        if builder_digest() != _LOADED:
            raise BuildError("the builder was edited since it started; stop it and start again")
        _prepare(cache)
        for count, run in enumerate(
            _execute(sources, cache, missing, jobs or cores(), timeout_s), 1
        ):
            done[run.name] = run
            if run.failed:
                verdict = f"{len(run.record['failures'])} FAILED"
            elif run.record["absent"]:
                verdict = f"NOT RUN, needs {' '.join(run.record['absent'])}"
            else:
                verdict = f"{run.seconds:.1f} s"
            progress(f"[{count}/{len(missing)}] {run.name}: {verdict}")
    return [done[name] for name in wanted]


def cores() -> int:
    """Processes that can run at a time: one per core, but at least two."""
    if count := getattr(os, "process_cpu_count", None):  # from Python 3.13 on
        return max(2, count() or 2)
    affinity = getattr(os, "sched_getaffinity", None)
    return max(2, len(affinity(0)) if affinity else os.cpu_count() or 2)


def _prepare(cache: Path) -> None:
    """Make the cache writable or say why it is not, and clear what killed builds left."""
    with _writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    for leftover in cache.glob("tmp-*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE_S:
                shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _writing(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise BuildError(
            f"cannot write the cache {cache}: {problem.strerror or problem};"
            " set SNIPPETS_CACHE to a folder that can be written"
        ) from problem


@dataclass
class _Worker:
    """A process that runs one module after the other."""

    process: Any
    asked: Connection

    def end(self) -> None:
        """End it with whatever it started."""
        if sys.platform != "linux":
            worker.end_descendants(self.process.pid)
            self.process.kill()
        self.asked.close()  # for which it waits
        self.process.join()


@dataclass
class _Job:
    name: str
    digest: str
    folder: Path
    worker: _Worker
    deadline: float
    timed_out: bool = False
    status: int | None = None  # with which it ended


def _execute(
    sources: Sources, cache: Path, names: list[str], jobs: int, timeout_s: float
) -> Iterator[Run]:
    """Run modules, at most `jobs` at a time, each in a process of its own; yield them as they
    finish. sources: the files, of which something is known already.
    """
    context = _context()
    waiting, running, idle = list(names), list[_Job](), list[_Worker]()
    attempts = dict.fromkeys(names, 0)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                with undisturbed():
                    started = _start(context, idle, sources, cache, waiting.pop(0), timeout_s)
                    running.append(started)
            pause = max(0.0, min(job.deadline for job in running) - time.monotonic())
            told = multiprocessing.connection.wait([job.worker.asked for job in running], pause)
            for job in list(running):
                if job.worker.asked in told:
                    try:
                        job.status = job.worker.asked.recv()
                        idle.append(job.worker)
                    except (EOFError, OSError):
                        job.worker.end()
                        job.status = job.worker.process.exitcode
                elif time.monotonic() >= job.deadline:
                    job.timed_out = True
                    job.worker.end()
                else:
                    continue
                run = _finish(sources, cache, job, timeout_s)
                running.remove(job)
                attempts[job.name] += 1
                if run:
                    yield run
                elif attempts[job.name] < ATTEMPTS:
                    sources = Sources(sources.root, sources.cache)
                    waiting.append(job.name)
                else:
                    raise BuildError(
                        f"{job.name}: its files changed during each of {ATTEMPTS} runs;"
                        " does it write a file that it reads?"
                    )
    finally:
        for found in idle:
            found.end()
        for job in running:
            job.worker.end()
            shutil.rmtree(job.folder, ignore_errors=True)


def _context() -> Any:
    """Workers fork from a server that has numpy and matplotlib loaded and runs one thread of linear
    algebra.
    """
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # workers find the builder where this process did
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["builder.preload"])
    return context


def warm_up() -> None:
    """Start the server that workers fork from, so that the first run need not wait for it."""
    if _context().get_start_method() == "forkserver":
        with _environment(WORKER_ENVIRONMENT), _without_main():
            multiprocessing.forkserver.ensure_running()


def _start(
    context: Any, idle: list[_Worker], sources: Sources, cache: Path, name: str, timeout_s: float
) -> _Job:
    version, asked = sources.digest(name), (sources.described(name), sources.needs(name))
    with _writing(cache):
        folder = Path(tempfile.mkdtemp(prefix=f"tmp-{name}-", dir=cache))
    found = idle.pop() if idle else _worker(context)
    with contextlib.suppress(OSError):  # it has ended, as will show
        found.asked.send((sources.root, name, version, folder, *asked))
    return _Job(name, version, folder, found, time.monotonic() + timeout_s)


def _worker(context: Any) -> _Worker:
    here, there = context.Pipe()
    process = context.Process(target=worker.serve, args=(there,), daemon=False)
    with _environment(WORKER_ENVIRONMENT), _without_main():
        process.start()
    there.close()
    return _Worker(process, here)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep workers from importing the program that asked for them, which may be all of MkDocs."""
    main = vars(sys.modules["__main__"])
    kept: dict[str, Any] = {key: main[key] for key in ("__spec__", "__file__") if key in main}
    main["__spec__"] = None
    main.pop("__file__", None)
    try:
        yield
    finally:
        main.update(kept)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _finish(sources: Sources, cache: Path, job: _Job, timeout_s: float) -> Run | None:
    """Put a finished run into the cache; None when what came out belongs to no version, because
    the module or the data that it read changed meanwhile.
    """
    root, target = sources.root, cache / job.name / job.digest
    try:
        if not sources.unchanged(job.name):
            return None
        with _writing(cache):
            if not (job.folder / "record.json").is_file():
                _record_death(sources, job, timeout_s)
            if not (run := _whole(root, job.name, job.digest, job.folder)):
                return None
            there = _whole(root, job.name, job.digest, target)
            if there and not there.failed:
                return there  # another build was faster, and may be reading it
            _install(job.folder, target)
            _prune(target.parent)
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)
    return dataclasses.replace(run, folder=target)


def _record_death(sources: Sources, job: _Job, timeout_s: float) -> None:
    """A record for a worker that left none: it hung, exited or crashed."""
    step, output = "1 module", ""
    with contextlib.suppress(OSError):
        step = (job.folder / worker.STEP).read_text(encoding="utf-8")
    with contextlib.suppress(OSError):
        output = (job.folder / worker.OUTPUT).read_bytes()[-4000:].decode(errors="replace")
    line, _, function = step.partition(" ")
    for file in job.folder.iterdir():
        file.unlink()
    code = job.status
    if job.timed_out:
        message = f"ran longer than the limit of {timeout_s:g} s and was ended"
    elif code is not None and code < 0:
        names = {number.value: number.name for number in signal.Signals}
        message = f"was ended by signal {names.get(-code, -code)}"
    else:
        message = f"ended its process with exit status {code} before it was done"
    failure = {
        "function": function or "module",
        "line": int(line or 1),
        "error": "Ended",
        "message": message,
        "traceback": output,
    }
    told = sources.described(job.name) | {"failures": [failure], "of": [job.name, job.digest]}
    worker.seal(job.folder, worker.empty_record() | told)


def _install(folder: Path, target: Path) -> None:
    """Rename a finished folder to its place; replace what is there, and lose gracefully against
    another build.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        try:
            folder.rename(target)
            return
        except OSError:
            aside = Path(tempfile.mkdtemp(prefix="tmp-replaced-", dir=target.parent.parent))
            with contextlib.suppress(OSError):
                target.rename(aside / "entry")
            shutil.rmtree(aside, ignore_errors=True)
    raise BuildError(f"cannot write {target}: another process keeps replacing it")


def _prune(folder: Path) -> None:
    """Keep the newest entries of a module, and leave alone what links lead to."""
    entries = []
    for entry in [] if folder.is_symlink() else folder.iterdir():
        with contextlib.suppress(OSError):
            entries.append((entry.lstat().st_mtime, entry))
    for _, entry in sorted(entries, reverse=True)[KEPT_ENTRIES:]:
        shutil.rmtree(entry, ignore_errors=True)


def failure_report(runs: Iterable[Run]) -> str:
    """Every failure of the runs, one after the other; empty when there is none."""
    return "\n".join(failures(runs))


def failures(runs: Iterable[Run]) -> list[str]:
    """Every failure of the runs, each with file, line, function and what was said. What keeps
    several modules from being imported is told once, where it stands.
    """
    lines: list[str] = []
    importing: dict[str, list[str]] = {}  # what went wrong: the modules that could not be imported
    for run in runs:
        for failure in run.record["failures"]:
            if failure["function"] == "import":
                told = _failed_import(run.path, failure)
                importing.setdefault(told, []).append(run.path)
                lines.append(told)
            else:
                place = f"{run.path}:{failure['line']}: {failure['function']}"
                lines.append(f"{place}: {failure['error']}: {failure['message']}")
    for told, paths in importing.items():
        others = sum(not told.startswith(f"{path}:") for path in paths)
        if others:
            stopped = f"{others} module{'s that import' if others > 1 else ' that imports'} it"
            lines[lines.index(told)] = f"{told} ({stopped} did not run)"
    return [line for line in dict.fromkeys(lines) if len(importing.get(line, ())) < 2]


_FRAME = re.compile(r'^ *File "(.+?)", line (\d+).*\n *(.*)', re.MULTILINE)


def _failed_import(path: str, failure: dict[str, Any]) -> str:
    """Where an import went wrong, which may be in another module, and what was said."""
    place = f"{path}:{failure['line']}"
    message = re.sub(r" \((?:/|[A-Z]:).*\.py\)$", "", failure["message"])  # said in other words
    frames = [
        (file, line, text)
        for file, line, text in _FRAME.findall(failure["traceback"])
        if f"/{SOURCES}/" in file.replace("\\", "/")
    ]
    if frames:
        file, line, text = frames[-1]
        place = f"{SOURCES}/{file.replace(chr(92), '/').rpartition(f'/{SOURCES}/')[2]}:{line}"
        if failure["error"] in ("SyntaxError", "IndentationError", "TabError"):
            message = f"{message.rpartition(' (')[0] or message}: {text.strip()}"
    return f"{place}: import: {failure['error']}: {message}"
