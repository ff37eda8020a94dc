"""A miniature project in a folder of its own: the real builder, and whatever a test writes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from unittest import mock

from click.testing import CliRunner
from mkdocs.__main__ import cli

import builder
from builder import ROOT, SOURCES, __main__, runner
from builder.runner import Progress, Run, cached
from builder.source import Sources

MKDOCS_SAYS = logging.getLogger("mkdocs.commands.build")
PATIENCE_S = 120.0  # how long anything may take on a machine with other work

CONFIG = """\
site_name: Miniature
theme: {{name: null, custom_dir: theme}}
hooks: [builder/hook.py]
plugins: []
watch: [snippets]
dev_addr: 127.0.0.1:{port}
markdown_extensions:
  - attr_list
  - pymdownx.arithmatex: {{generic: true}}
  - pymdownx.details
  - pymdownx.superfences
"""

FIGURE = '''def figure_line(figure: Figure) -> None:
    """Doubling is a straight line.

    Alt: A line from zero to two.
    """
    axes = figure.add_subplot(xlabel="value [1]", ylabel="double [1]")
    axes.plot([0, 1], [double(0.0), double(1.0)])


'''

GOOD = f'''
"""Doubling.

Source: hand.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def double(value: float) -> float:
    """Twice the value."""
    return 2.0 * value


def example() -> SimpleNamespace:
    """The number that the page quotes."""
    return SimpleNamespace(doubled=double(2.0))


{FIGURE}def check_double_of_two() -> None:
    """Twice two is four.

    Source: hand.
    """
    checks.close("double(2)", double(2.0), 4.0)
'''

SLIDER = '''

def slider_line() -> dict[str, object]:
    """Move the value."""
    values, factors = [0.5, 1.0, 4.0], ["once", "twice"]
    doubled = [[double(v * k) for k in (1, 2)] for v in values]
    x, y = {"label": "value", "unit": ""}, {"label": "double", "unit": "m"}
    curve = {**y, "values": doubled}
    return {
        "controls": [
            {"label": "value", "values": values, "text": "v = {:.1f}", "start": 1.0},
            {"label": "times", "values": factors, "start": "twice"},
        ],
        "panels": [{"kind": "load", "x": x, "y": y, "curves": [curve]}],
        "reading": "Doubled {times}, {value} is {double}.",
    }
'''

CHAPTER = """\
---
title: {title}
question: What is {title}?
---

# {title}

Doubled, two is {{{{ doubled:.1f }}}}.

{{{{ code double }}}}

{{{{ figure line }}}}

{{{{ checks }}}}

{{{{ downloads }}}}
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and everything it printed."""

    status: int
    text: str

    @property
    def ran(self) -> set[str]:
        """The modules that were run and not taken from the cache."""
        return set(re.findall(r"\[\d+/\d+\] ([\w.]+): ", self.text))


@dataclass(frozen=True)
class Project:
    root: Path
    cache: Path

    @classmethod
    def make(cls, folder: Path, port: int = 8000) -> Project:
        project = cls(folder / "project", folder / "cache")
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "builder", project.root / "builder", ignore=without)
        (project.root / SOURCES).mkdir(parents=True)
        for name in ("__init__.py", "__main__.py", "exercises.py", "house.mplstyle"):
            shutil.copy(ROOT / SOURCES / name, project.root / SOURCES / name)
        shutil.copytree(
            ROOT / SOURCES / "support", project.root / SOURCES / "support", ignore=without
        )
        project.write("mkdocs.yml", CONFIG.format(port=port))
        project.write("theme/main.html", "<title>{{ page.title }}</title>{{ page.content }}\n")
        project.write("docs/index.md", "# Home\n")
        return project

    def draw_nothing(self) -> None:
        """Have workers load no matplotlib, which takes most of the time of a started process."""
        self.write("builder/preload.py", "import builder.worker\n")

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
        return file

    def module(self, name: str, text: str = GOOD) -> Path:
        path = self.write(f"{SOURCES}/{name.replace('.', '/')}.py", text.lstrip("\n"))
        (path.parent / "__init__.py").touch()
        return path

    def chapter(self, name: str, text: str = GOOD) -> None:
        """A module and the page that shows it."""
        self.module(name, text)
        self.write(f"docs/{name.replace('.', '/')}.md", CHAPTER.format(title=name))

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "SNIPPETS_CACHE": str(self.cache),
            "NO_MKDOCS_2_WARNING": "1",
            "TMPDIR": str(self.root.parent),
        }

    def command(self, *arguments: str, **environment: str) -> Outcome:
        """`python -m …` in the project."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=2 * PATIENCE_S,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(errors="backslashreplace"))

    def run(self, *arguments: str, **environment: str) -> Outcome:
        """`python -m builder` in the project: here, where the builder is loaded already; in another
        environment, in a process of its own.
        """
        if environment:
            return self.command("builder", *arguments, **environment)
        with (
            self._here(__main__),
            mock.patch.dict(os.environ, self.environment),
            contextlib.redirect_stdout(io.StringIO()) as told,
            contextlib.redirect_stderr(told),
        ):
            try:
                status = __main__.main(list(arguments))
            except SystemExit as refused:  # of wrong arguments
                status = int(refused.code or 0)
        return Outcome(status, told.getvalue())

    @property
    def _forked_from(self) -> str:
        """What modules fork from: without matplotlib, which takes most of its start, where none
        draws.
        """
        texts = (file.read_bytes() for file in (self.root / SOURCES).rglob("*.py"))
        drawn = any(b"def figure_" in text for text in texts)
        return runner.FORKED_FROM if drawn else runner.FORKED_FROM.replace("preload, ", "")

    @contextmanager
    def _here(self, program: ModuleType) -> Iterator[None]:
        """In the project's folder, and with the project as that of a program."""
        path, folder = list(sys.path), Path.cwd()
        try:
            os.chdir(self.root)
            with (
                mock.patch.object(program, "ROOT", self.root),
                mock.patch.object(Progress, "FEW", 1000),  # each run is told
                mock.patch.object(runner, "FORKED_FROM", self._forked_from),
            ):
                yield
        finally:
            os.chdir(folder)
            sys.path[:] = path

    def build(self, *arguments: str) -> Outcome:
        """`mkdocs build` in the project, in this process, which has loaded MkDocs already."""
        with (
            self._here(builder),
            mock.patch.object(MKDOCS_SAYS, "filters", []),  # also what it has said before
        ):
            done = CliRunner(env=self.environment).invoke(cli, ["build", *arguments])
        unexpected = done.exception and not isinstance(done.exception, SystemExit)
        told = traceback.format_exception(done.exception) if unexpected else []
        return Outcome(done.exit_code, done.output + "".join(told))

    @contextmanager
    def started(self, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m …` in the background, ended by its own id when the block is left."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # a shell without job control has what it starts in the background ignore it
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    try:
                        process.wait(timeout=5)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()

    def record(self, name: str) -> Run:
        """The whole and fresh record of a module."""
        run = cached(Sources(self.root, self.cache), name)
        assert run is not None, f"no whole record of {name}"
        return run

    @property
    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.cache.glob("tmp-*"))

    @property
    def begun(self) -> list[Path]:
        """Folders of modules that run. Of the one around them, which has just been made, a process
        that is ended in that moment cannot know."""
        return [*self.cache.glob("tmp-*/*")]

    @property
    def site_files(self) -> list[Path]:
        return [path for path in (self.root / "site").rglob("*") if path.is_file()]


def wait_until(condition: Callable[[], object], what: str, limit_s: float = PATIENCE_S) -> None:
    """Poll; fail with what was waited for."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit_s:g} s for {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """True when a process exists and is not merely waiting to be reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self").exists()
