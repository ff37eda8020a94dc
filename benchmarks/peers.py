"""The same chapters as projects of other builders: notebooks for mkdocs-jupyter, scripts for
sphinx-gallery, notebooks for MyST-NB. Each has an environment of its own.

A chapter's page there has its text, with the same code in it, and code cells that import the same
modules and run all of their checks, figures and examples once. The figures are drawn for a light
page only. An edit changes the module, the code on the page, and a comment in the first code cell:
none of the three builders would run a page again because a module changed that it imports.
"""

# In one piece: the same chapter written for three builders, and the one way to build it with each.

from __future__ import annotations

import contextlib
import html
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError, Command, Memory, Server, free_port
from benchmarks.sites import Edit

COMMON = ("numpy", "matplotlib", "pydantic")  # what the chapters import, in our own versions
REQUIREMENTS = {
    "mkdocs-jupyter": (
        "mkdocs>=1.6.1,<2",
        "mkdocs-material>=9.8.2,<10",
        "mkdocs-jupyter>=0.26.3,<0.28",
        "click>=8.4,<9",
        "ipykernel>=7,<8",
    ),
    "sphinx-gallery": (
        "sphinx>=8,<10",
        "sphinx-gallery>=0.20,<0.23",
        "myst-parser>=4,<6",
        "joblib>=1.4,<2",
        "sphinx-autobuild>=2025.8,<2027",
    ),
    "myst-nb": (
        "sphinx>=8,<10",
        "myst-nb>=1.3,<2",
        "ipykernel>=7,<8",
        "sphinx-autobuild>=2025.8,<2027",
    ),
}
SETUP = """\
from serving_mathematics.support.checks import show
from serving_mathematics.support.drawing import drawn, use_house_style
use_house_style()"""
IN_A_NOTEBOOK = """\
%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
"""
MKDOCS = """\
site_name: The same chapters
theme: {name: material, font: false}
plugins:
  - search
  - mkdocs-jupyter: {execute: true, allow_errors: false, cache_dir: .cache/mkdocs-jupyter}
watch: [snippets]
markdown_extensions: [admonition, attr_list, footnotes, tables, pymdownx.superfences]
"""
SPHINX = """\
import sys
sys.path.insert(0, {here!r})
project = "The same chapters"
myst_enable_extensions = ["dollarmath", "attrs_block"]
exclude_patterns = ["_build", "snippets", "prose", "scripts"]
suppress_warnings = ["myst", "mystnb", "ref", "docutils", "image", "toc", "config.cache"]
"""
MYST_NB = (
    SPHINX
    + """\
extensions = ["myst_nb"]
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_cache_path = "_build/.jupyter_cache"
"""
)
GALLERY = (
    SPHINX
    + """\
extensions = ["myst_parser", "sphinx_gallery.gen_gallery"]
import bench_scraper
sphinx_gallery_conf = {{
    "examples_dirs": "scripts",
    "gallery_dirs": "chapters",
    "image_scrapers": ("bench_scraper.scrape",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "parallel": {workers},
}}
"""
)
SCRAPER = '''\
"""Takes the variable `figure` of a script, which pyplot does not know of."""

from sphinx_gallery.scrapers import figure_rst


def scrape(block, block_vars, gallery_conf):
    """Save it as SVG."""
    drawn = block_vars["example_globals"].pop("figure", None)
    if drawn is None:
        return ""
    path = next(block_vars["image_path_iterator"])
    path = str(path).removesuffix(".png") + ".svg"
    drawn.savefig(path)
    return figure_rst([path], gallery_conf["src_dir"])
'''


@dataclass(frozen=True)
class Module:
    """What a module holds."""

    name: str
    checks: Sequence[str]
    comparisons: int
    figures: Sequence[str]
    example: bool

    @property
    def short(self) -> str:
        """The name that cells import it by."""
        return self.name.replace(".", "_")

    @property
    def importing(self) -> str:
        """The statement that does."""
        package, _, name = self.name.rpartition(".")
        return f"from serving_mathematics.{package} import {name} as {self.short}"


@dataclass(frozen=True)
class Chapter:
    """A chapter in pieces: pairs of `text` and Markdown, `figure` and its name, `checks` and
    nothing.
    """

    path: str
    title: str
    pieces: Sequence[tuple[str, str]]
    modules: Sequence[Module]
    comment: str = ""

    @property
    def slug(self) -> str:
        """One word for the chapter."""
        return self.path.removesuffix(".md").replace("/", "_").replace("-", "_")

    def edited(self, edit: Edit, marker: str) -> Chapter:
        """With a comment in a function that it shows, and in its first cell."""
        if not any(kind == "text" and edit.code in text for kind, text in self.pieces):
            raise BenchmarkError(f"{self.path} does not show {edit.function} as it was")
        pieces = [
            (kind, text.replace(edit.code, edit.commented(marker))) for kind, text in self.pieces
        ]
        return replace(self, pieces=pieces, comment=f"# {marker}")

    def cells(self, setup: str, *, show_figure: str) -> list[tuple[str, str]]:
        """Pairs of `text` and Markdown, or `code` and Python: the pieces in their order, and what
        no piece asks for at the end.

        show_figure: with `{}` for the expression that draws it.
        """
        owners = {figure: module for module in self.modules for figure in module.figures}
        imports = [module.importing for module in self.modules]
        start = "\n".join(line for line in (self.comment, setup, *imports) if line)
        checks = [
            f"show({module.short}.{name})" for module in self.modules for name in module.checks
        ]
        checks += [f"{module.short}.example()" for module in self.modules if module.example]
        found, asked = [], list[str]()
        for kind, text in self.pieces:
            if kind == "text":
                found.append(("text", text))
            elif kind == "checks":
                found.append(("code", "\n".join(checks)))
                checks = []
            elif text in owners:
                asked.append(text)
                found.append(
                    ("code", show_figure.format(f"drawn({owners[text].short}.figure_{text})"))
                )
        if checks:
            found.append(("code", "\n".join(checks)))
        found += [
            ("code", show_figure.format(f"drawn({module.short}.figure_{figure})"))
            for figure, module in owners.items()
            if figure not in asked
        ]
        return [*found[:1], ("code", start), *found[1:]]


def read_chapters(answer: dict[str, Any]) -> list[Chapter]:
    """The chapters as the probe told them."""
    return [
        Chapter(
            told["path"],
            told["title"],
            [(kind, text) for kind, text in told["pieces"]],
            [Module(**module) for module in told["modules"]],
        )
        for told in answer["chapters"]
    ]


def notebook(chapter: Chapter) -> str:
    """A chapter as a notebook without outputs."""
    cells = []
    for number, (kind, text) in enumerate(chapter.cells(IN_A_NOTEBOOK + SETUP, show_figure="{}")):
        cell: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": text}
        if kind == "text":
            cells.append(cell | {"cell_type": "markdown"})
        else:
            cells.append(cell | {"cell_type": "code", "execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def script(chapter: Chapter) -> tuple[str, list[str]]:
    """A chapter as a script for sphinx-gallery, and the Markdown that its text blocks include."""
    prose: list[str] = []
    blocks = [f'"""\n{chapter.title}\n{"=" * len(chapter.title)}\n"""']
    for kind, text in chapter.cells(SETUP, show_figure="figure = {}"):
        if kind == "text":
            name = f"/prose/{chapter.slug}-{len(prose)}.md"
            blocks.append(f"# %%\n# .. include:: {name}\n#    :parser: myst_parser.sphinx_")
            prose.append(re.sub(r"\A\s*# .*\n", "", text))
        else:
            blocks.append(f"# %%\n{text}")
    return "\n\n".join(blocks) + "\n", prose


@dataclass
class Peer:
    """A project of another builder that may be built, edited and served."""

    name: str
    folder: Path
    environment: dict[str, str]
    python: Path
    chapters: list[Chapter]
    workers: int = 2
    originals: dict[str, str] = field(default_factory=dict)

    def write(self, tree: Path) -> None:
        """The whole project, with the modules of a tree and the records that they read."""
        shutil.copytree(tree / "snippets", self.folder / "snippets")
        for chapter in self.chapters:
            self.write_chapter(chapter)
        slugs = [chapter.slug for chapter in self.chapters]
        if self.name == "mkdocs-jupyter":
            (self.folder / "mkdocs.yml").write_text(MKDOCS, encoding="utf-8")
            (self.folder / "docs" / "index.md").write_text("# Home\n", encoding="utf-8")
            return
        heading = "The same chapters\n=================\n\n.. toctree::\n\n"
        if self.name == "sphinx-gallery":
            conf = GALLERY.format(here=str(self.folder), workers=self.workers)
            (self.folder / "bench_scraper.py").write_text(SCRAPER, encoding="utf-8")
            (self.folder / "scripts" / "GALLERY_HEADER.rst").write_text("Chapters\n========\n")
            listed = ["chapters/index"]
        else:
            conf = MYST_NB.format(here=str(self.folder))
            listed = [f"chapters/{slug}" for slug in slugs]
        (self.folder / "conf.py").write_text(conf, encoding="utf-8")
        index = heading + "".join(f"   {name}\n" for name in listed)
        (self.folder / "index.rst").write_text(index, encoding="utf-8")

    def write_chapter(self, chapter: Chapter) -> None:
        """The files of a chapter; those that stay the same are left alone."""
        if self.name == "sphinx-gallery":
            text, prose = script(chapter)
            files = {f"scripts/plot_{chapter.slug}.py": text}
            files |= {f"prose/{chapter.slug}-{n}.md": part for n, part in enumerate(prose)}
        else:
            folder = "docs" if self.name == "mkdocs-jupyter" else "chapters"
            files = {f"{folder}/{chapter.slug}.ipynb": notebook(chapter)}
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")

    def command(self, *words: str) -> Command:
        """A command in this project; its output goes beside the project."""
        log = self.folder.with_suffix(".log")
        return Command([str(self.python), "-m", *words], self.folder, self.environment, log)

    @property
    def building(self) -> Command:
        """The build."""
        if self.name == "mkdocs-jupyter":
            return self.command("mkdocs", "build")
        return self.command("sphinx", "-q", "-b", "html", ".", "_build/html")

    def clear(self) -> None:
        """Forget everything that was built."""
        built = ["site", ".cache", "_build"] + ["chapters"] * (self.name == "sphinx-gallery")
        for folder in built:
            shutil.rmtree(self.folder / folder, ignore_errors=True)

    def observed(self, every_s: float) -> tuple[float, Memory]:
        """Seconds and peak memory of a build."""
        return self.building.observed(every_s)

    def build(self) -> float:
        """Seconds of a build."""
        return self.building.timed()

    def edit(self, edit: Edit, marker: str) -> None:
        """A new comment in a function: in its module, on its page, and in the page's first cell."""
        source = self.folder / edit.file
        original = self.originals.setdefault(edit.file, source.read_text(encoding="utf-8"))
        source.write_text(original.replace(edit.code, edit.commented(marker), 1), encoding="utf-8")
        chapter = next(chapter for chapter in self.chapters if chapter.path == edit.page)
        self.write_chapter(chapter.edited(edit, marker))

    def address(self, edit: Edit) -> str:
        """Where the edited page is in the site."""
        slug = next(chapter.slug for chapter in self.chapters if chapter.path == edit.page)
        if self.name == "mkdocs-jupyter":
            return f"{slug}/"
        return f"chapters/{'plot_' * (self.name == 'sphinx-gallery')}{slug}.html"

    @contextlib.contextmanager
    def served(self) -> Iterator[Server]:
        """The project under the builder's own server with live reload."""
        port = free_port()
        if self.name == "mkdocs-jupyter":
            command = self.command(
                "mkdocs", "serve", "--livereload", "--dirty", "-a", f"127.0.0.1:{port}"
            )
        else:
            written = ["_build", "*/__pycache__/*"]
            if self.name == "sphinx-gallery":
                written += ["chapters", "sg_execution_times.rst"]
            ignored = [word for name in written for word in ("--ignore", name)]
            words = [*ignored, "--port", str(port), "-q", "-b", "html", ".", "_build/html"]
            command = self.command("sphinx_autobuild", "--host", "127.0.0.1", *words)
        with command.started() as process:
            yield Server(command, process, port)

    def verify(self) -> None:
        """Raises BenchmarkError unless the built site shows every figure and every comparison."""
        site = self.folder / ("site" if self.name == "mkdocs-jupyter" else "_build/html")
        for chapter in self.chapters:
            prefix = "plot_" * (self.name == "sphinx-gallery")
            name = f"{prefix}{chapter.slug}"
            found = [*site.rglob(f"{name}.html"), *site.rglob(f"{name}/index.html")]
            page = found[0].read_text(encoding="utf-8") if found else ""
            modules = chapter.modules
            wanted = (
                sum(len(module.figures) for module in modules),
                sum(module.comparisons for module in modules),
            )
            if shown(page) != wanted:
                raise BenchmarkError(
                    f"{self.name}, {chapter.path}: {wanted} figures and comparisons were to be"
                    f" shown, found {shown(page)}"
                )


_FIGURE = re.compile(r'<img\b[^>]*\bsrc="(?:data:image/svg\+xml|[^"]*\.svg")')
_TAG = re.compile(r"<[^>]*>")


def shown(page: str) -> tuple[int, int]:
    """How many figures and how many passed comparisons a page shows."""
    lines = html.unescape(_TAG.sub("", page)).splitlines()
    return len(_FIGURE.findall(page)), sum(line.startswith("PASS ") for line in lines)


def requirements(name: str) -> list[str]:
    """What goes into a peer's environment: names with versions."""
    ours = [f"{package}=={importlib.metadata.version(package)}" for package in COMMON]
    return [*REQUIREMENTS[name], *ours]


def environment(name: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Python and the versions of a peer's own environment, made here when it is not there."""
    place, wanted = folder / name, requirements(name)
    python, ready = place / "bin" / "python", place / "ready.json"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    if not ready.is_file() or json.loads(ready.read_text(encoding="utf-8")) != wanted:
        shutil.rmtree(place, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(place)])
        _run([*pip, "install", "--quiet", *wanted])
        ready.write_text(json.dumps(wanted), encoding="utf-8")
    listed = json.loads(_run([*pip, "list", "--format", "json"]))
    named = {re.split(r"[<>=]", item)[0] for item in wanted}
    return python, {item["name"]: item["version"] for item in listed if item["name"] in named}


def _run(words: Sequence[str]) -> str:
    answer = subprocess.run(words, capture_output=True, text=True)
    if answer.returncode:
        raise BenchmarkError(f"{' '.join(words[:5])} …:\n{answer.stderr[-2000:]}")
    return answer.stdout
