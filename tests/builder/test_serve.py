"""`mkdocs serve`: an edit shows in the page, a failure shows there too, and nothing runs for
nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..profiles import todays
from .project import GOOD, PATIENCE_S, Project, wait_until

CALM_S = 1.5  # no second build may follow within


@dataclass
class Served:
    project: Project
    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def builds(self) -> int:
        return self.log.count("Building documentation...")

    @property
    def runs(self) -> list[str]:
        """Every run of a module since the server started."""
        return re.findall(r"\[\d+/\d+\] ([\w.]+): ", self.log, re.MULTILINE)

    def page(self, path: str) -> str:
        """As it is when no build is under way, for which the server waits."""
        address = f"http://127.0.0.1:{self.port}/{path}"
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as answer:
            content: bytes = answer.read()
        return content.decode()

    def edit(self, path: str, before: str, after: str) -> None:
        file = self.project.root / path
        text = file.read_text(encoding="utf-8")
        assert before in text
        whole = self.project.root.parent / "edited"
        whole.write_text(text.replace(before, after), encoding="utf-8")
        whole.replace(file)

    def notices(self) -> bool:
        """Whether an edit is followed by a build: not those made before the first look at the
        folders, which comes some time after the server says that it is there.
        """
        builds = self.builds
        self.project.write("docs/part/seen.md", f"# Edited {time.monotonic_ns()}\n")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.builds > builds, "a build", 2.0)
        return self.builds > builds

    def calm(self) -> bool:
        """Whether no build begins for a while after the one that is under way."""
        builds = self.builds
        self.page("")
        time.sleep(CALM_S)
        return self.builds == builds

    @property
    def complete(self) -> bool:
        return "Serving on" in self.log

    def wait_for(self, path: str, text: str) -> str:
        def there() -> bool:
            with contextlib.suppress(urllib.error.HTTPError):  # not built yet
                return text in self.page(path)
            return False

        wait_until(there, f"{text!r} in {path}; log:\n{self.log}")
        return self.page(path)


def free_port() -> int:
    """Below those that systems give to who asks for any: another test would have it by then."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    port = free_port()
    project = Project.make(folder, port)
    project.chapter("part.twice")
    project.chapter("part.thrice", GOOD.replace("2.0 * value", "3.0 * value").replace("4.0", "6.0"))
    project.module("part.broken", "raise RuntimeError('from the start')\n")
    project.write("docs/part/broken.md", "# Broken\n")
    assert project.run("part.broken").status == 1
    served = Served(project, port, folder / "log")
    with project.started("mkdocs", "serve", "--livereload", log=served.log_file) as process:
        wait_until(lambda: process.poll() is not None or served.complete, "the server to start")
        assert process.poll() is None, served.log
        wait_until(served.notices, "the server to notice an edit")
        wait_until(served.calm, "the server to be done with it")
        yield served
        assert process.poll() is None, served.log


def test_server_starts_although_a_module_fails(served: Served) -> None:
    assert "RuntimeError: from the start" in served.page("part/broken/")
    assert "Doubled, two is 4.0." in served.page("part/twice/")
    assert "RuntimeError" not in served.page("part/twice/")


def test_edit_of_a_snippet_shows_in_the_page_and_runs_it_once(served: Served) -> None:
    builds, runs = served.builds, served.runs
    served.edit("snippets/serving_mathematics/part/twice.py", "double(2.0))", "double(4.0))")
    served.wait_for("part/twice/", "Doubled, two is 8.0.")
    served.calm()
    assert served.runs[len(runs) :] == ["part.twice"]
    assert served.builds == builds + 1
    served.edit("snippets/serving_mathematics/part/twice.py", "double(4.0))", "double(2.0))")
    served.wait_for("part/twice/", "Doubled, two is 4.0.")
    assert served.runs[len(runs) :] == ["part.twice"], "the earlier version is in the cache"


def test_undone_edit_shows_the_figure_that_was_there(served: Served) -> None:
    drawn = served.page("figures/part/twice/line-light.svg")
    for line in ("double(3.0)]", "double(1.0)]"):
        builds, other = served.builds, "double(1.0)]" if "3" in line else "double(3.0)]"
        served.edit("snippets/serving_mathematics/part/twice.py", other, line)
        wait_until(lambda builds=builds: served.builds > builds, "a build")
        served.calm()
        same = served.page("figures/part/twice/line-light.svg") == drawn
        assert same == (line == "double(1.0)]")


def test_edit_of_prose_runs_nothing(served: Served) -> None:
    builds, runs = served.builds, served.runs
    served.edit("docs/part/twice.md", "Doubled, two", "Doubled, so says prose, two")
    served.wait_for("part/twice/", "so says prose")
    assert served.runs == runs
    assert served.builds == builds + 1


@pytest.mark.parametrize(
    ("path", "before", "after", "error"),
    [
        (
            "snippets/serving_mathematics/part/twice.py",
            '"double(2)", double(2.0), 4.0',
            '"double(2)", double(2.0), 5.0',
            "check_double_of_two: AssertionError: double(2): got 4, expected 5 (exact)",
        ),
        (
            "docs/part/twice.md",
            "{{ figure line }}",
            "{{ figure curve }}\n\n~~~",
            "modules have: line&#10;docs/part/twice.md:14: this fence never ends: ~~~",
        ),
        ("docs/part/twice.md", "Doubled,", "$\\nocommand$ doubled,", "formula &#x27;\\\\nocommand"),
    ],
)
def test_failure_shows_on_its_page_until_it_is_mended(
    path: str, before: str, after: str, error: str, served: Served
) -> None:
    served.edit(path, before, after)
    page = served.wait_for("part/twice/", error)
    assert "build-error" in page
    assert "build-error" not in served.page("part/thrice/")
    served.edit(path, after, before)
    wait_until(lambda: "build-error" not in served.page("part/twice/"), "the error to go")
    assert "two is 4.0." in served.page("part/twice/")


def test_what_is_no_page_keeps_no_other_from_being_served(served: Served) -> None:
    """A page that cannot be read says why; links and what MkDocs refuses are said in the log."""
    file, link = served.project.root / "docs/part/twice.md", served.project.root / "docs/link.md"
    text = file.read_bytes()
    file.write_bytes(text + b"Caf\xe9\n")
    assert "build-error" in served.wait_for("part/twice/", "docs/part/twice.md: not UTF-8 at byte")
    file.write_bytes(text)
    served.wait_for("part/twice/", "two is 4.0.")
    link.symlink_to("/etc/hostname")
    served.edit("docs/part/twice.md", "two is", "two then is")
    wait_until(lambda: "docs/link.md is a link to /etc/hostname" in served.log, "the sentence")
    assert "two is 4.0." in served.page("part/twice/")
    link.unlink()
    served.wait_for("part/twice/", "two then is 4.0.")
    served.edit("docs/part/twice.md", "two then is", "two is")
    served.wait_for("part/twice/", "two is 4.0.")
    assert "Traceback" not in served.log


def test_module_that_failed_is_run_when_the_server_starts_and_not_for_the_edits_of_others(
    served: Served,
) -> None:
    assert served.runs.count("part.broken") == 1


def test_new_chapter_appears(served: Served) -> None:
    served.project.chapter("part.newcomer")
    wait_until(lambda: "part.newcomer" in served.runs, "the new module to run")
    served.wait_for("part/newcomer/", "Doubled, two is 4.0.")


WAITS = """
import time
from pathlib import Path

from serving_mathematics.support import checks


def check_a() -> None:
    \"\"\"Waits until it may go on.

    Source: hand.
    \"\"\"
    while not Path({go!r}).exists():
        time.sleep(0.05)
    checks.equal("one", 1, 1)
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[tuple[Served, subprocess.Popen[bytes]]]:
    """A server of a chapter that waits for a file."""
    port = free_port()
    project = Project.make(tmp_path, port)
    project.draw_nothing()
    project.chapter("part.waits", WAITS.format(go=str(tmp_path / "go")))
    project.write("docs/part/waits.md", "---\ntitle: Waits\n---\n\n# Waits\n\n{{ checks }}\n")
    served = Served(project, port, tmp_path / "log")
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup lets processes ignore
    with project.started("mkdocs", "serve", "--livereload", log=served.log_file) as process:
        signal.signal(signal.SIGHUP, before)
        yield served, process


@pytest.mark.parametrize("number", todays([signal.SIGTERM, signal.SIGHUP, signal.SIGINT]))
def test_a_server_that_is_ended_leaves_nothing(
    number: signal.Signals, waiting: tuple[Served, subprocess.Popen[bytes]]
) -> None:
    """Neither pages nor processes, also while modules run."""
    served, process = waiting
    before = {"log", "project", "cache"}
    wait_until(lambda: served.project.begun, "the module to begin")
    process.send_signal(number)
    process.wait(timeout=PATIENCE_S)
    left = {path.name for path in served.log_file.parent.iterdir()} - before
    assert {name for name in left if not name.startswith(".")} == set()
    assert served.project.leftovers == []
    assert "Traceback" not in served.log


def test_a_port_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    """MkDocs has a traceback, when all modules have run."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        project = Project.make(tmp_path, port)
        project.chapter("part.fine")
        with project.started("mkdocs", "serve", log=tmp_path / "log") as process:
            assert process.wait(timeout=PATIENCE_S) == 1
    log = (tmp_path / "log").read_text(encoding="utf-8")
    told = f"Address already in use (while attempting to bind on address ('127.0.0.1', {port}))"
    assert f"{told}; name another: --dev-addr 127.0.0.1:8001, make serve ADDRESS=" in log
    assert "Traceback" not in log
    assert "part.fine" not in log  # nothing has run


def test_a_build_that_is_ended_leaves_the_site_as_it_was(project: Project, tmp_path: Path) -> None:
    assert project.build("--strict").status == 0
    before = {file: file.read_bytes() for file in project.site_files}
    project.draw_nothing()
    project.chapter("part.waits", WAITS.format(go=str(tmp_path / "go")))
    with project.started("mkdocs", "build", log=tmp_path / "log") as process:
        wait_until(lambda: project.begun, "the module to begin")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM
    assert {file: file.read_bytes() for file in project.site_files} == before
    assert project.leftovers == []
