"""Nothing that is started here looks a name up, sends anything away or leaves a number of the
device: seen from outside, by what a process and its children ask of the system.

Every Python among them tells by an audit hook what it looks up and connects to; what they leave in
an empty home is listed. Where strace is installed, the same is asked of all of them, whatever they
are written in.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from builder import ROOT

from .profiles import its_turn

HOOK = """
import os, socket, sys

def _told(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        where = arguments[1]
        where = where[0] if isinstance(where, tuple) else None
    else:
        return
    where = where.decode() if isinstance(where, bytes) else where
    if where not in (None, "", "localhost", "::1") and not str(where).startswith("127."):
        with open(os.environ["TOLD"], "a") as told:
            print(event, where, file=told)

sys.addaudithook(_told)
"""
OURS = re.compile(r"(\.cache|\.config)(/(matplotlib|fontconfig)(/.*)?)?|\.ipython.*")
AWAY = re.compile(r"sa_family=AF_INET6?\b(?!.*(inet_addr\(\"127\.|inet_pton\(AF_INET6, \"::1\"))")


class Watched:
    """How to start a process that is watched, and what it and its children were seen to do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
        self.told, self.traced = folder / "told", folder / "traced"
        paths = [str(folder), str(ROOT), str(ROOT / "snippets")]
        quiet = ("ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "JENKINS_URL")
        self.environment = {k: v for k, v in os.environ.items() if k not in quiet}
        self.environment |= {
            "HOME": str(self.home),
            "TOLD": str(self.told),
            "PYTHONPATH": os.pathsep.join(paths),
            "SNIPPETS_CACHE": str(folder / "snippets"),
        }
        for name in [name for name in self.environment if name.startswith(("XDG_", "PYTEST_"))]:
            del self.environment[name]

    def command(self, *words: str) -> list[str]:
        strace = shutil.which("strace")
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        tracer = [strace, "-f", "-qq", "-e", calls, "-o", str(self.traced)] if strace else []
        if (
            tracer
            and subprocess.run([*tracer, "true"], check=False, capture_output=True).returncode
        ):
            tracer = []  # it is there, and may not trace
        return [*tracer, sys.executable, *words]

    def run(self, *words: str) -> None:
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def seen(self) -> Iterable[str]:
        """Names looked up, addresses reached, and files left that are not a cache of ours."""
        if self.told.exists():
            yield from self.told.read_text(encoding="utf-8").splitlines()
        for place in self.home.rglob("*"):
            name = str(place.relative_to(self.home))
            if not OURS.fullmatch(name):
                yield name
        if self.traced.exists():
            lines = self.traced.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from filter(AWAY.search, lines)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


LOUD = """
import socket, subprocess, sys
for ask in (lambda: socket.getaddrinfo("nowhere.invalid", 443), lambda: socket.socket(
    socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 9))):
    try:
        ask()
    except OSError:
        pass
"""


def test_the_watch_sees_what_a_child_looks_up(watched: Watched) -> None:
    """In a process that a process started; and a file left at home."""
    (watched.folder / "loud.py").write_text(LOUD, encoding="utf-8")
    child = "import subprocess, sys; subprocess.run([sys.executable, 'loud.py'], check=True)"
    watched.run("-c", child + "; import pathlib; pathlib.Path.home().joinpath('id').touch()")
    seen = list(watched.seen())
    assert "socket.getaddrinfo nowhere.invalid" in seen
    assert "socket.sendto 192.0.2.1" in seen
    assert "id" in seen
    assert watched.traced.exists() == any('inet_addr("192.0.2.1")' in line for line in seen)


@its_turn(0)
def test_importing_sends_nothing(watched: Watched) -> None:
    packages = "import serving_mathematics, onnxruntime, openvino, openvino_genai"
    watched.run("-c", f"{packages}, time; time.sleep(0.5)")
    assert list(watched.seen()) == []


@its_turn(0)
def test_a_build_sends_nothing(watched: Watched) -> None:
    """Of a module with a model, whose package tells of its use."""
    watched.run("-m", "builder", "core.machines.reader_measurement")
    assert list(watched.seen()) == []


BROWSES = """
import sys
from tests.browsing import chromium
with chromium() as browser:
    page = browser.new_page()
    page.set_content("<form><input name=email autocomplete=email><input type=password></form>")
    page.fill("input", "a")
    page.wait_for_timeout(3000)
"""


@its_turn(2)
@pytest.mark.skipif(not shutil.which("strace"), reason="strace sees what Chromium looks up")
def test_the_browser_of_the_tests_looks_nothing_up(watched: Watched) -> None:
    watched.run("-c", BROWSES)
    traced = watched.traced.read_text(encoding="utf-8", errors="replace").splitlines()
    assert [line for line in traced if "port=htons(53)" in line] == []


@its_turn(1)
def test_the_server_sends_nothing(watched: Watched, small_model: Path) -> None:
    words = ("-m", "serving_mathematics", "serve", "--port", "0", "--model", str(small_model))
    with subprocess.Popen(
        watched.command(*words), env=watched.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            ask = (
                "import sys, httpx; httpx.post(sys.argv[1] + '/v1/completions', timeout=60,"
                " json={'prompt': 'Hi'}, trust_env=False).raise_for_status()"
            )
            subprocess.run([sys.executable, "-c", ask, address], check=True, timeout=120)
        finally:
            process.send_signal(signal.SIGTERM)
            if process.args[0] != sys.executable:  # strace hands no signal on
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
                for child in children.split():
                    os.kill(int(child), signal.SIGTERM)
            assert process.wait(60) in (0, -signal.SIGTERM)
    assert list(watched.seen()) == []
