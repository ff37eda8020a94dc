"""A page as it is written: where it lies, what its front matter says, which modules it shows, and
its symbols, sources and terms, of which other pages show something.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builder import ROOT
from builder.runner import Run
from builder.source import Sources, holds_exercises, package_of

PAGE_LINK = re.compile(r"\]\(([\w./-]+\.md)(#[\w-]+)?\)")
_REFERENCE = re.compile(r"^- (.+?)\n\s+\{ #([\w-]+) \}", re.MULTILINE | re.DOTALL)
_TERM = re.compile(
    r"^- \*\*([^*\n]+)\*\* — ((?:(?!\n- ).)+?)\n  \{ #([\w-]+) \}$", re.MULTILINE | re.DOTALL
)


def meant(name: str, known: Iterable[str], like: float = 0.6) -> str:
    """The end of a sentence on an unknown name: the known one that is like it, if one is."""
    near = difflib.get_close_matches(name, list(known), 1, like)
    return f"; did you mean {near[0]}?" if near and near[0] != name else ""


@dataclass
class Page:
    """A page: where it lies, its text, its front matter, the records of its modules, and what it
    may show of the others.
    """

    path: str  # relative to docs/, with forward slashes
    meta: dict[str, Any]
    text: str = ""
    head: str = ""  # the front matter as written
    runs: Sequence[Run] = ()
    every_run: Sequence[Run] = ()
    chapters: Sequence[Page] = ()
    parts: Mapping[str, str] = field(default_factory=dict)  # titles, by folder
    uses: Sequence[SymbolUse] = ()
    references: Sequence[Reference] = ()
    terms: Sequence[Term] = ()
    sources: Sources = field(default_factory=lambda: Sources(ROOT))
    pyodide: str = ""  # where the reader's browser loads Python from; empty: nowhere
    note: str = ""  # what stands below a chapter's question
    errors: list[str] = field(default_factory=list)
    figures_shown: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)  # what its buttons copy

    def __post_init__(self) -> None:
        """What follows from path and front matter."""
        self.title = str(self.meta.get("title", self.path))
        self.question = str(self.meta.get("question", ""))  # what a chapter answers
        self.is_chapter = "question" in self.meta
        self.part = self.path.rpartition("/")[0]  # the folder that it lies in
        self.folder = folder_of(self.path)
        self.base = "../" * self.folder.count("/")  # the relative address of the site's root
        self.copies_address = f"copied/{self.path.replace('/', '.')}.json"  # of what buttons copy

    @property
    def all_modules(self) -> str:
        """What stands for its modules: their package, or the first of them."""
        names = [run.name for run in self.runs]
        return package_of(self.path) if _own(self.path, names) else names[0]

    def download(self, suffix: str) -> str:
        """File name of what it offers beside its modules: a chapter's has its name, that of another
        page the name of its first module.
        """
        return f"{self.all_modules.rpartition('.')[2].replace('_', '-')}.{suffix}"

    @property
    def figures(self) -> list[tuple[str, dict[str, Any]]]:
        """Module and record of each figure of its modules, in the order in which it shows them."""
        drawn = [(run.name, figure) for run in self.runs for figure in run.record["figures"]]
        return sorted(drawn, key=lambda pair: place_of_figure(self.text, pair[1]["name"]))

    @property
    def thumbnail(self) -> tuple[str, dict[str, Any]] | None:
        """The figure that stands for it."""
        name = self.meta.get("thumbnail")
        return next((pair for pair in self.figures if pair[1]["name"] == name), None)

    @property
    def exercises(self) -> list[str]:
        """The titles of its exercises, in order."""
        return re.findall(r"^### \d+\. (.+)$", section(self.text, "Exercises"), flags=re.MULTILINE)

    @functools.cached_property
    def of_the_site(self) -> dict[str, int | float]:
        """Counts over every module, for the home page and the execution report."""
        runs = self.every_run
        return {
            "modules": len(runs),
            "checks": sum(len(run.record["checks"]) for run in runs),
            "comparisons": sum(len(run.comparisons) for run in runs),
            "figures": sum(len(run.record["figures"]) for run in runs),
            "lines": sum(len(run.module.source.splitlines()) for run in runs),
            "seconds": sum(run.seconds for run in runs),
        }


def folder_of(path: str) -> str:
    """The address of a page in the site, with a slash at its end unless empty."""
    stem = path.removesuffix(".md")
    return "" if stem == "index" else f"{stem.removesuffix('/index')}/"


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level; empty where there is none."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def place_of_figure(markdown: str, figure_name: str) -> int:
    """Where a page shows a figure, by itself or with what moves; -1 when it does not."""
    found = re.search(rf"\{{\{{ (?:figure|slider) {figure_name} \}}\}}", markdown)
    return found.start() if found else -1


def module_names_of(
    path: str, meta: dict[str, Any], known: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The modules of a page, those that its front matter lists and those of its package, and what
    is wrong. The one with the page's name stands first, the exercises last.
    """
    listed = {str(extra).replace("/", "."): extra for extra in meta.get("modules") or ()}
    problems = [
        f"docs/{path}: front matter lists module {extra}, which does not exist"
        for name, extra in listed.items()
        if name not in known
    ]
    names = dict.fromkeys([*(name for name in listed if name in known), *_own(path, known)])
    slug = package_of(path).rpartition(".")[2]
    order = sorted(names, key=lambda name: (name.split(".")[-1] != slug, holds_exercises(name)))
    return order, problems


def _own(path: str, names: Sequence[str]) -> list[str]:
    """Those of the modules that lie in a page's package, or have its name."""
    package = package_of(path)
    return [name for name in names if package and f"{name}.".startswith(f"{package}.")]


@dataclass(frozen=True)
class SymbolUse:
    """A symbol in the table of a chapter: TeX, meaning, what *Notation* says of it, with all
    symbols that the meaning is of, and the chapter's page and title.
    """

    symbol: str
    meaning: str
    row: str
    path: str
    title: str


def symbol_uses(path: str, title: str, markdown: str) -> list[SymbolUse]:
    """The symbols that a chapter defines under `## Symbols`, several of one row apart."""
    uses = []
    for row in section(markdown, "Symbols").splitlines():
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        found = re.findall(r"\$([^$]+)\$", cells[0]) if len(cells) > 1 else []
        beside = f"{cells[0]}: " if len(found) > 1 else ""
        unit = f" [{cells[2]}]" if cells[2:] and cells[2] not in {"", "1", "–"} else ""
        for tex in found:
            symbol = tex.partition("=")[0].strip(" ,")
            uses.append(SymbolUse(symbol, cells[1], f"{beside}{cells[1]}{unit}", path, title))
    return uses


def several_meanings(uses: Sequence[SymbolUse]) -> set[str]:
    """The symbols that different chapters explain in different words."""
    paths, meanings = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for use in uses:
        paths[use.symbol].add(use.path)
        meanings[use.symbol].add(use.meaning)
    return {symbol for symbol in paths if len(paths[symbol]) > 1 and len(meanings[symbol]) > 1}


@dataclass(frozen=True)
class Reference:
    """A source of a chapter: its anchor, its text, and the chapter's page and title."""

    anchor: str
    text: str
    path: str
    title: str


def references_of(path: str, title: str, markdown: str) -> list[Reference]:
    """The sources that a chapter lists under `## Sources`."""
    return [
        Reference(anchor, " ".join(text.split()), path, title)
        for text, anchor in _REFERENCE.findall(section(markdown, "Sources"))
    ]


@dataclass(frozen=True)
class Term:
    """An entry of the glossary: its headword, its address from the docs folder, and its links: to
    which page, and to what there.
    """

    name: str
    address: str
    links: tuple[tuple[str, str], ...]


def terms_of(path: str, markdown: str) -> list[Term]:
    """The entries of a glossary page that have a text, a page to go to, and an anchor."""
    return [
        Term(name, f"{path}#{anchor}", tuple(links))
        for name, text, anchor in _TERM.findall(markdown)
        if (links := PAGE_LINK.findall(text))
    ]
