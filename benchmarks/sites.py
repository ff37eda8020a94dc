"""The two projects that the benchmark compares, in a temporary folder: a copy of the tree, and the
same pages after expansion as a plain Material project, without the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError, Command, Memory, Server, free_port

_PROBE = Path(__file__).with_name("probe.py")
_MKDOCS = (sys.executable, "-m", "mkdocs")


@dataclass(frozen=True)
class Edit:
    """A function that a page shows: a comment in it changes the module, the page and its text."""

    page: str
    module: str
    file: str
    function: str
    code: str
    line: int  # the comment goes before this line of the code, counted from 0
    indent: int

    def commented(self, marker: str) -> str:
        """The code with a comment before its last statement."""
        lines = self.code.split("\n")
        lines.insert(self.line, " " * self.indent + f"# {marker}")
        return "\n".join(lines)

    @property
    def address(self) -> str:
        """Where the page is in the site."""
        folder, _, name = self.page.removesuffix(".md").rpartition("/")
        parts = [part for part in (folder, "" if name == "index" else name) if part]
        return "".join(f"{part}/" for part in parts)


@dataclass(frozen=True)
class Facts:
    """What the engine knows of the site."""

    workers: int
    pages: int
    figures: int
    edits: list[Edit]
    needs: dict[str, list[str]]


@dataclass
class Project:
    """A MkDocs project that may be built, edited and served."""

    name: str
    folder: Path
    environment: dict[str, str]
    originals: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> Command:
        """A command in this project; its output goes beside the project."""
        return Command(words, self.folder, self.environment, self.folder.with_suffix(".log"))

    def clear(self) -> None:
        """Forget everything that was built."""
        for folder in (self.folder / "site", self.folder / ".cache"):
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def building(self) -> Command:
        """The build."""
        return self.command(*_MKDOCS, "build")

    def build(self) -> float:
        """Seconds of a build."""
        return self.building.timed()

    def memory(self) -> Memory | None:
        """Peak memory of a build."""
        return self.building.peak_memory()

    def edit_prose(self, page: str, marker: str) -> None:
        """A new paragraph at the end of a page, in place of the last such edit."""
        self._write(f"docs/{page}", f"{self._original(f'docs/{page}')}\n\nEdited: {marker}.\n")

    def edit_code(self, edit: Edit, marker: str) -> None:
        """A new comment in a function: in its module here, in the text of its page if plain."""
        source = self.folder / edit.file
        file = edit.file if source.is_file() else f"docs/{edit.page}"
        text = self._original(file)
        if edit.code not in text:
            raise BenchmarkError(f"{edit.function} is not in {file} as it was")
        self._write(file, text.replace(edit.code, edit.commented(marker), 1))

    def _original(self, file: str) -> str:
        if file not in self.originals:
            self.originals[file] = (self.folder / file).read_text(encoding="utf-8")
        return self.originals[file]

    def _write(self, file: str, text: str) -> None:
        (self.folder / file).write_text(text, encoding="utf-8")

    @contextlib.contextmanager
    def served(self) -> Iterator[Server]:
        """The project under `mkdocs serve`, as `make serve` starts it."""
        port = free_port()
        address = f"127.0.0.1:{port}"
        command = self.command(*_MKDOCS, "serve", "--livereload", "--dev-addr", address)
        with command.started() as process:
            yield Server(command, process, port)


def private_copy(tree: Path, temporary: Path) -> Project:
    """A copy of what the site is made of; hidden files and built ones stay behind."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        built = {"site"} if Path(folder) == tree else set()
        return {name for name in names if name.startswith(".") or name == "__pycache__"} | built

    (temporary / "tmp").mkdir()
    copy = temporary / "ours"
    shutil.copytree(tree, copy, ignore=left_out)
    unwanted = ("SNIPPETS_CACHE", "SITE_URL", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted}
    environment |= {"NO_MKDOCS_2_WARNING": "1", "TMPDIR": str(temporary / "tmp")}
    return Project("ours", copy, environment)


def plain_project(ours: Project) -> tuple[Project, Facts]:
    """The same site without the builder, and what the builder knows of it."""
    folder = ours.folder.with_name("plain")
    folder.mkdir()
    answer = ask(ours, "expand", folder)
    answer["edits"] = [Edit(**edit) for edit in answer["edits"]]
    if not answer["edits"]:
        raise BenchmarkError("no page shows a function: there is nothing to edit")
    environment = ours.environment | {"PYTHONPATH": str(ours.folder)}  # for the formulas
    return Project("plain", folder, environment), Facts(**answer)


def cpu_seconds(ours: Project) -> dict[str, float]:
    """Processor seconds of each snippet module, run alone."""
    seconds: dict[str, float] = ask(ours, "cpu", Path(ours.environment["TMPDIR"]))
    return seconds


def ask(ours: Project, question: str, folder: Path) -> Any:
    """What the builder of a copy says to a question of `probe.py`."""
    answer = ours.folder.with_suffix(".json")
    environment = ours.environment | {"PYTHONPATH": str(ours.folder)}
    asking = replace(ours, environment=environment)
    asking.command(sys.executable, str(_PROBE), question, str(folder), str(answer)).timed()
    return json.loads(answer.read_text(encoding="utf-8"))


def run_again(module: str, facts: Facts) -> list[str]:
    """The modules that run again when one changes: itself, and those that import it."""
    path = f"snippets/serving_mathematics/{module.replace('.', '/')}.py"
    return [name for name, files in facts.needs.items() if path in files]


class _Text(HTMLParser):
    """The words of the article of a page, formulas left out."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.inside = False
        self.skipped: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        formula = tag == "math" or "arithmatex" in (dict(attrs).get("class") or "")
        if (self.skipped and tag == self.skipped[0]) or (not self.skipped and formula):
            self.skipped.append(tag)
        self.inside = self.inside or tag == "article"

    def handle_endtag(self, tag: str) -> None:
        if self.skipped and tag == self.skipped[0]:
            self.skipped.pop()
        self.inside = self.inside and tag != "article"

    def handle_data(self, data: str) -> None:
        if self.inside and not self.skipped:
            self.words += data.split()


def article_words(page: str) -> list[str]:
    """The words that a reader sees of a page, formulas left out."""
    parser = _Text()
    parser.feed(page)
    return parser.words


def differing_pages(ours: Project, plain: Project) -> list[str]:
    """The pages of two built projects whose text is not the same."""
    found = []
    for page in sorted((ours.folder / "site").rglob("*.html")):
        other = plain.folder / page.relative_to(ours.folder)
        texts = [file.read_text("utf-8") if file.is_file() else "" for file in (page, other)]
        if "".join(article_words(texts[0])) != "".join(article_words(texts[1])):
            found.append(page.relative_to(ours.folder / "site").as_posix())
    return found
