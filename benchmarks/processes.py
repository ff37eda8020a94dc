"""Runs commands for the benchmark: timed, or with the memory of their whole process tree, or as a
server; whatever was started is ended, also on Ctrl-C.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.02
SAMPLE_S = 0.01
PATIENCE_S = 5.0
LIMIT_S = 300.0  # for a page of a server to change
LOG_LINES = 30


class BenchmarkError(Exception):
    """The measurement cannot go on; the message says why."""


@dataclass(frozen=True)
class Memory:
    """Peak over time of the sum over the processes of a tree."""

    rss_mib: float  # a page that several processes share counts once in each
    pss_mib: float  # it counts once


@dataclass(frozen=True)
class Command:
    """What to run, where, with which environment, and the file that takes its output."""

    words: Sequence[str]
    folder: Path
    environment: dict[str, str]
    log: Path

    @contextlib.contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """The running process, ended with its group when the block is left."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self.words,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that the group holds nothing else
            )
        try:
            yield process
        finally:
            _end(process)

    def timed(self) -> float:
        """Seconds until it ended. Raises BenchmarkError when it failed."""
        started = time.perf_counter()
        with self.started() as process:
            process.wait()  # no time limit: with one, Popen polls and blurs the time
            elapsed = time.perf_counter() - started
        self.check(process)
        return elapsed

    def peak_memory(self) -> Memory | None:
        """Sampled while it runs; None where there is no /proc to read."""
        peak = Memory(0.0, 0.0)
        with self.started() as process:
            while process.poll() is None:
                now = _tree_memory(process.pid)
                peak = Memory(max(peak.rss_mib, now.rss_mib), max(peak.pss_mib, now.pss_mib))
                time.sleep(SAMPLE_S)
        self.check(process)
        return peak if peak.rss_mib else None

    def observed(self, every_s: float) -> tuple[float, Memory]:
        """Seconds until it ended, and the peak of memory as sampled so seldom that it hardly costs
        time; 0 where there is no /proc to read.
        """
        peak, ended = Memory(0.0, 0.0), threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(every_s):
                now = _tree_memory(process.pid)
                peak = Memory(max(peak.rss_mib, now.rss_mib), max(peak.pss_mib, now.pss_mib))

        watcher = threading.Thread(target=watch, daemon=True)
        started = time.perf_counter()
        with self.started() as process:
            watcher.start()
            process.wait()
            elapsed = time.perf_counter() - started
        ended.set()
        watcher.join()
        self.check(process)
        return elapsed, peak

    def check(self, process: subprocess.Popen[bytes]) -> None:
        """Raise BenchmarkError with the end of the output when the process failed."""
        if process.returncode:
            raise BenchmarkError(f"{self.words[1:]} failed:\n{self.tail()}")

    def tail(self) -> str:
        """The end of the output."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, then insist. The group's id is still its own: its leader has not been waited for."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)


def _tree_memory(root: int) -> Memory:
    rss = pss = 0
    for pid in _tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except OSError:  # it ended meanwhile
            continue
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key == "Rss":
                rss += int(value.split()[0])
            elif key == "Pss":
                pss += int(value.split()[0])
    return Memory(rss / 1024, pss / 1024)


def _tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            parent = int(text.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


@dataclass(frozen=True)
class Server:
    """A site that is being served on this machine."""

    command: Command
    process: subprocess.Popen[bytes]
    port: int

    def wait_for(self, address: str, text: str) -> float:
        """Poll a page until it shows a text; the time, on the clock of `time.perf_counter`."""
        deadline = time.perf_counter() + LIMIT_S
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                raise BenchmarkError(f"the server ended:\n{self.command.tail()}")
            page = self._page(address)
            now = time.perf_counter()
            if text in page:
                return now
            time.sleep(POLL_S)
        raise BenchmarkError(f"{address} does not show {text!r}:\n{self.command.tail()}")

    def _page(self, address: str) -> str:
        """The page as served; empty while there is none. MkDocs answers when a build is done."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/{address}", timeout=LIMIT_S
            ) as answer:
                content: bytes = answer.read()
        except (OSError, http.client.HTTPException):  # not there, or being written
            return ""
        return content.decode("utf-8", errors="replace")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
