"""Puts what ran into the pages: replaces the `{{ … }}` directives of a chapter's Markdown.

A directive on a line of its own embeds code, a figure, the checks, a solution, the downloads, or
the cards of a part; inside a line it prints a number of `example()`. Every name is looked up in the
records of the page's modules, and a name that is not there is an error.

What comes out is Markdown that any Python-Markdown generator renders: code is fenced, and finished
HTML stands in a line of its own, because Markdown reads what is indented or blank in between.
"""

# In one piece: a function for each directive, which all show one page in one kind of markup; a
# reader of a page's source looks here for any of them.

from __future__ import annotations

import ast
import doctest
import functools
import html
import io
import itertools
import json
import math
import re
import textwrap
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader
from markdown.extensions.toc import slugify
from markupsafe import Markup, escape
from serving_mathematics.exercises import unwritten

from builder import PACKAGE, ROOT, SOURCES, BuildError
from builder.listings import beside_the_algorithm
from builder.outline import Symbol
from builder.runner import Run
from builder.sliders import curves_of, legend
from builder.source import (
    Module,
    Sources,
    holds_exercises,
    module_path,
    package_of,
    self_contained,
    shown,
)

NOTATION = "notation.md"  # the page with every symbol
_BLOCK = re.compile(r"^\{\{ ([a-z]+)((?: [\w.]+)*) \}\}[ \t]*$")
_CLOSE = re.compile(r"\{\{([a-z]\w*)[^{}]*\}\}")
_ALONE = re.compile(r"^([ \t]*)\{\{ ([a-z_][\w.]*) \}\}[ \t]*$")
_VALUE = re.compile(r"\{\{ ([a-z_][\w.]*)(?::([^{} ]*))? ?\}\}")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")
_SYMBOLS = re.compile(r"^## Symbols\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_TEX = re.compile(r"\$([^$]+)\$")
_MARKDOWN = re.compile(r"([\\`*_\[\]#|$])")
_TITLE = re.compile(r"^# .+$", re.MULTILINE)
_EXERCISES = re.compile(r"^## Exercises\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_REFERENCE = re.compile(r"^- (.+?)\n\s+\{ #([\w-]+) \}", re.MULTILINE | re.DOTALL)
_AUTHOR = re.compile(r"\w+")
_YEAR = re.compile(r"\(\d{4}\)")
_NO_BAR = re.compile(r"`[^`]*`|\\\|")  # what is none between cells
_LINKED = re.compile(r"\]\(\s*(?:<|&lt;)?\s*([a-z][\w+.-]*):", re.IGNORECASE)
_HYPHEN = re.compile(r"(?<=[\s(|])-(?=\d)")  # before a number in a cell
_TERM = re.compile(r"^- \*\*(.+?)\*\* — (.+?)\n  \{ #([\w-]+) \}$", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^- \*\*(.+?)\*\*(?:.*\n?)(?:  .*\n?)*", re.MULTILINE)
_LINKED_PAGE = re.compile(r"\]\(([\w./-]+\.md)[#)]")
_EXERCISE = re.compile(r"^### \d+\. (.+)$", re.MULTILINE)
_LABEL = re.compile(r"\{([^{}]*)\}")
_LINE_BREAK = re.compile(r"\n\s*")
VARIANTS = ("light", "dark", "light-card", "dark-card")  # of a figure
LINES_OPEN = 26  # of a long block of code, which a button unfolds (docs/assets/handbook.js)
LINES_OVER = 6  # that are not worth a button
WIDEST = 99  # characters of a value in a line
KINDS = ("identity", "published", "simulation", "measured")


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
    section = _SYMBOLS.search(markdown)
    uses = []
    for row in section[0].splitlines() if section else ():
        cells = [cell.strip() for cell in row.strip().strip("|").split("|")]
        found = _TEX.findall(cells[0]) if len(cells) > 1 else []
        beside = f"{cells[0]}: " if len(found) > 1 else ""
        unit = f" [{cells[2]}]" if cells[2:] and cells[2] not in {"", "1", "–"} else ""
        for tex in found:
            symbol = tex.partition("=")[0].strip(" ,")
            uses.append(SymbolUse(symbol, cells[1], f"{beside}{cells[1]}{unit}", path, title))
    return uses


@dataclass(frozen=True)
class Reference:
    """A source of a chapter: its anchor, its text, and the chapter's page and title."""

    anchor: str
    text: str
    path: str
    title: str


def references_of(path: str, title: str, markdown: str) -> list[Reference]:
    """The sources that a chapter lists under `## Sources`."""
    section = markdown.partition("\n## Sources\n")[2].partition("\n## ")[0]
    return [
        Reference(anchor, " ".join(text.split()), path, title)
        for text, anchor in _REFERENCE.findall(section)
    ]


def reference_problems(references: Sequence[Reference]) -> list[str]:
    """Anchors that stand for different works in different chapters: by another author, or of
    another year. Chapters may name different sections of one work.
    """
    found: dict[str, dict[tuple[str, str], str]] = {}
    for reference in references:
        author, year = _AUTHOR.match(reference.text), _YEAR.search(reference.text)
        work = (author[0] if author else "", year[0] if year else "")
        found.setdefault(reference.anchor, {}).setdefault(work, reference.path)
    return [
        f"docs/{path}: source {anchor} is another work than in docs/{next(iter(works.values()))}"
        for anchor, works in found.items()
        for path in list(works.values())[1:]
    ]


@dataclass(frozen=True)
class Term:
    """An entry of the glossary: its headword, its address from the docs folder, and the pages that
    it links to.
    """

    name: str
    address: str
    pages: tuple[str, ...]


def terms_of(path: str, markdown: str) -> tuple[list[Term], list[str]]:
    """The entries of a glossary page, and those that are not written as one, out of order, or link
    to no page.
    """
    terms, problems = [], []
    for entry in _ENTRY.finditer(markdown):
        written = _TERM.match(entry[0].rstrip())
        linked = _LINKED_PAGE.findall(written[2]) if written else []
        if written and linked:
            terms.append(Term(written[1], f"{path}#{written[3]}", tuple(dict.fromkeys(linked))))
        else:
            reason = "links to no chapter" if written else "has no text or no anchor"
            problems.append(f"docs/{path}: the entry {entry[1]} {reason}")
    for before, after in itertools.pairwise(terms):
        if before.name.casefold() > after.name.casefold():
            problems.append(f"docs/{path}: {after.name} stands below {before.name}")
    return terms, problems


def several_meanings(uses: Sequence[SymbolUse]) -> dict[str, list[SymbolUse]]:
    """The symbols that different chapters explain in different words."""
    by_symbol: dict[str, list[SymbolUse]] = {}
    for use in uses:
        by_symbol.setdefault(use.symbol, []).append(use)
    return {
        symbol: found
        for symbol, found in by_symbol.items()
        if len({use.path for use in found}) > 1 and len({use.meaning for use in found}) > 1
    }


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
    uses: Sequence[SymbolUse] = ()
    references: Sequence[Reference] = ()
    terms: Sequence[Term] = ()
    sources: Sources = field(default_factory=lambda: Sources(ROOT))
    pyodide: str = ""  # where the reader's browser loads Python from; empty: nowhere
    note: str = ""  # what stands below a chapter's question
    errors: list[str] = field(default_factory=list)
    figures_shown: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)  # what its buttons copy

    @property
    def title(self) -> str:
        """By its front matter."""
        return str(self.meta.get("title", self.path))

    @property
    def is_chapter(self) -> bool:
        """Whether it answers a question."""
        return "question" in self.meta

    @property
    def question(self) -> str:
        """What a chapter answers; empty of another page."""
        return str(self.meta.get("question", ""))

    @property
    def part(self) -> str:
        """The folder that it lies in."""
        return self.path.rpartition("/")[0]

    @property
    def folder(self) -> str:
        """Its address in the site, with a slash at its end unless empty."""
        stem = self.path.removesuffix(".md")
        return "" if stem == "index" else f"{stem.removesuffix('/index')}/"

    @property
    def base(self) -> str:
        """The relative address of the site's root."""
        return "../" * self.folder.count("/")

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
        section = _EXERCISES.search(self.text)
        return _EXERCISE.findall(section[1]) if section else []

    @functools.cached_property
    def of_the_site(self) -> dict[str, int | float]:
        """`site_values` of every run."""
        return site_values(self.every_run)


def block(*pieces: str) -> str:
    """Finished HTML between blank lines, each piece in a line of its own.

    pieces: elements that Markdown leaves alone, such as `<p>`, `<div>` or `<details>`.
    """
    return "\n" + "\n\n".join(pieces) + "\n"


def markup(name: str, *given: object) -> str:
    """Finished HTML in one line, by a macro of `markup.html`."""
    return _LINE_BREAK.sub("", getattr(_template(), name)(*given))


@functools.cache
def _template() -> Any:
    there = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=_in_a_line
    )
    there.filters |= {"inline": _inline, "anchor": _anchor, "breaking": _breaking}
    there.filters["longest"] = functools.partial(max, key=len)
    there.globals |= {"KINDS": KINDS, "PACKAGE": PACKAGE, "compared": _compared, "slugify": slugify}
    there.globals |= {"figure_address": figure_address, "slider_address": slider_address}
    return there.get_template("markup.html").module


def _in_a_line(value: object) -> Markup:
    """What stands in a template's place: a value is text, whose lines are not those of the page."""
    if isinstance(value, Markup):
        return value
    return escape(value).replace("\n", Markup("&#10;"))


def module_names_of(
    path: str, meta: dict[str, Any], known: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The modules of a page, those that its front matter lists and those of its package, and what
    is wrong. The one with the page's name stands first, the exercises last.
    """
    problems = []
    names = list[str]()
    for extra in meta.get("modules") or ():
        name = str(extra).replace("/", ".")
        if name in known:
            names.append(name)
        else:
            problems.append(f"docs/{path}: front matter lists module {extra}, which does not exist")
    names += _own(path, known)
    slug = package_of(path).rpartition(".")[2]
    names.sort(key=lambda name: (name.rpartition(".")[2] != slug, holds_exercises(name)))
    return list(dict.fromkeys(names)), problems


def expand(markdown: str, page: Page) -> str:
    """The Markdown of a page, directives replaced; what is wrong is added to `page.errors`."""
    lines, fence, opened, cells = list[str](), "", 0, 0
    for number, line in enumerate(markdown.split("\n"), 1 + page.head.count("\n")):
        mark = _FENCE.match(line)
        told = line.startswith("|") or _ALONE.match(line)
        if mark and not fence:
            fence, opened = mark[1], number
        elif mark and line.strip() == fence:
            inside = len(lines) + 1 + opened - number
            if line.startswith(fence) and inside < len(lines):  # what it stands in takes no room
                lines[inside:] = textwrap.dedent("\n".join(lines[inside:])).split("\n")
            fence = ""
        elif not fence and "{{" in line:
            line = _expand_line(line, page, number)
        for row in line.split("\n") if told and not fence else [""]:
            wanted, cells = cells, _cells(row)
            if cells and wanted and cells != wanted:
                wrong = f"{cells} cells in a table of {wanted}: {row[:80]}"
                page.errors.append(f"docs/{page.path}:{number}: {wrong}")
        lines.append(line)
    if fence:
        page.errors.append(f"docs/{page.path}:{opened}: this fence never ends: {fence}")
    text = "\n".join(lines)
    notes = "\n\n".join(note for note in (_notation_note(page), _terms_note(page)) if note)
    text = _SYMBOLS.sub(lambda section: _folded_symbols(section[1].strip(), notes), text)
    if page.question:
        asked = f'<p class="question">{html.escape(page.question)}</p>'
        question = block(asked, *([page.note] if page.note else []))
        text = _TITLE.sub(lambda title: f"{title[0]}\n\n{question}\n", text, count=1)
    return text


def _cells(row: str) -> int:
    """Cells in a row of a table, of which Markdown would drop those that are too many; 0 of another
    line.
    """
    bare = _NO_BAR.sub("", row.strip())
    return bare.count("|") - 1 if bare.startswith("|") else 0


def _folded_symbols(table: str, notes: str) -> str:
    told = "What each letter means, its unit, and which argument of the code it is"
    opened = block('<details class="symbols" markdown="1">')
    body = f"{table}\n\n{notes}".strip()
    return f"## Symbols\n{opened}<summary>{told}</summary>\n\n{body}\n\n</details>\n\n"


def _notation_note(page: Page) -> str:
    """Under the symbols of a chapter: where all are, and which mean other things elsewhere."""
    mine = {use.symbol for use in page.uses if use.path == page.path}
    if not mine:
        return ""
    clashing = sorted(mine & several_meanings(page.uses).keys())
    letters = ", ".join(f"${symbol}$" for symbol in clashing)
    note = f"All symbols: [Notation](../{NOTATION})."
    return f"{note} With other meanings elsewhere: {letters}." if clashing else note


def _terms_note(page: Page) -> str:
    """Under the symbols of a chapter: the entries of the glossary that link to it."""
    terms = [f"[{t.name}](../{t.address})" for t in page.terms if page.path in t.pages]
    return f"Terms: {', '.join(terms)}." if terms else ""


def _is_directive(name: str) -> bool:
    return name in _NAMED or name in _ALL


def _is_one(page: Page, name: str) -> bool:
    """Whether what stands in braces without a blank was to be a directive; TeX has braces, too."""
    return _is_directive(name) or any(name in run.record["example"] for run in page.runs)


def _expand_line(line: str, page: Page, number: int) -> str:
    directive, value = _BLOCK.match(line), _ALONE.match(line)
    try:
        if directive and directive[1] in _NAMED:
            return _NAMED[directive[1]](page, directive[2].split())
        if directive and directive[1] in _ALL:
            if directive[2]:
                raise BuildError(f"{{{{ {directive[1]} }}}} takes no names")
            return _ALL[directive[1]](page)
        if _BLOCK.match(stripped := line.strip()) and _is_directive(stripped.split()[1]):
            raise BuildError(f"{stripped} must begin its line")
        if value and isinstance(found := _found(page, value[2]), str):
            # Markdown that the module wrote, as far in as the line
            return textwrap.indent(_safely_linked(value[2], found), value[1])
        line = _VALUE.sub(lambda match: _value(page, match), line)
        if "{{ " in line or any(_is_one(page, name) for name in _CLOSE.findall(line)):
            raise BuildError(f"not a directive: {line.strip()[:80]}")
    except BuildError as problem:
        page.errors.append(f"docs/{page.path}:{number}: {problem}")
        return block(markup("error_box", str(problem)))
    return line


def _found(page: Page, name: str) -> int | float | str:
    """A number or a text of `example()`, or of the whole site."""
    if name.startswith("site."):
        key = name.removeprefix("site.")
        found = [page.of_the_site[key]] if key in page.of_the_site else []
    else:
        found = [run.record["example"][name] for run in page.runs if name in run.record["example"]]
    if len(found) != 1:
        reason = "several modules of the page have it" if found else "no module of the page has it"
        raise BuildError(f"no single example value {name}: {reason}")
    value: int | float | str = found[0]
    return value


def _value(page: Page, match: re.Match[str]) -> str:
    """A value in a line: a number in its format; a text as it is, with nothing that Markdown would
    read, but for cells of a table, which the module may write.
    """
    name, spec, line = match[1], match[2] or "", match.string
    value = _found(page, name)
    if any(int(number) > WIDEST for number in re.findall(r"\d+", spec)):
        raise BuildError(f"{name}:{spec} is wider than {WIDEST} characters")
    try:
        text = format(value, spec)
    except ValueError as problem:
        raise BuildError(f"value {name} = {value!r} cannot be formatted with {spec!r}") from problem
    if not isinstance(value, str):
        if len(text) > WIDEST:
            raise BuildError(f"{name} is wider than {WIDEST} characters: {text[:20]}…")
        return text.replace("-", "\N{MINUS SIGN}", 1)
    below = text.split("\n")[1:]
    if not all(row.lstrip().startswith("|") for row in below):
        raise BuildError(f"{name} has several lines that are no rows of a table")
    if line[: match.start()].count("`") % 2:
        return text.replace("`", "\N{PRIME}")
    escaped = html.escape(text, quote=False)
    if line.startswith("|"):
        return _safely_linked(name, escaped)
    return _MARKDOWN.sub(r"\\\1", escaped)


def _safely_linked(name: str, markdown: str) -> str:
    """Markdown of a value, which may link to pages and to other sites, and run nothing; with minus
    signs before its numbers.
    """
    for scheme in _LINKED.findall(markdown):
        if scheme.lower() not in ("http", "https", "mailto"):
            raise BuildError(f"value {name} links to {scheme}:…, which is no page and no site")
    return markdown if "<" in markdown else _HYPHEN.sub("\N{MINUS SIGN}", markdown)


def site_values(runs: Sequence[Run]) -> dict[str, int | float]:
    """Counts over every module, for the home page and the execution report."""
    return {
        "modules": len(runs),
        "checks": sum(len(run.record["checks"]) for run in runs),
        "comparisons": sum(len(run.comparisons) for run in runs),
        "figures": sum(len(run.record["figures"]) for run in runs),
        "lines": sum(len(run.record["source"].splitlines()) for run in runs),
        "seconds": sum(run.seconds for run in runs),
    }


def _find_symbol(page: Page, name: str) -> tuple[Run, Symbol]:
    found = []
    for run in page.runs:
        defined = run.outline.symbols
        if name in defined:
            found.append((run, defined[name]))
    private_or_absent = "is not defined in" if not found else "is defined more than once in"
    if len(found) != 1:
        modules = (
            ", ".join(run.path for run in page.runs) or "any module, because the page has none"
        )
        raise BuildError(f"{name} {private_or_absent} {modules}")
    return found[0]


def _code_block(page: Page, names: list[str]) -> tuple[Run, str, str]:
    """(module, shown source, self-contained source) of symbols of one module."""
    if not names:
        raise BuildError("name what to show: {{ code function }}")
    found = [_find_symbol(page, name) for name in names]
    owners = {run.name for run, _ in found}
    if len(owners) > 1:
        raise BuildError(
            f"{' '.join(names)} come from several modules ({', '.join(sorted(owners))})"
        )
    run = found[0][0]
    source = run.record["source"]
    text = "\n\n\n".join(shown(source, symbol) for _, symbol in found)
    module = Module(run.name, source, run.outline)
    return run, text, self_contained(module, names, page.sources.module)


def _code(page: Page, names: list[str], *, runs: bool = True) -> str:
    run, text, whole = _code_block(page, names)
    ours = re.search(rf"^( *>>> )?from {PACKAGE}\.", whole, re.MULTILINE)
    needed = ("The examples in it need" if ours[1] else "The copy needs") if ours else ""
    lines, aside, told = text.count("\n") + 1, beside_the_algorithm(text), ", ".join(names)
    long = lines - len(aside) > LINES_OPEN + LINES_OVER
    folded = long or bool(aside)
    unfold = [markup("unfold", long and lines, told)] if folded else []
    call = _call(page, run, names) if runs else None
    copied = whole.rstrip().count("\n") + 1
    tools = markup("tools", page, run, told, call, _listed(page, whole), copied, needed)
    defined = f"<p hidden>{told}</p>"  # for the search, which skips code
    classes = ".python .snippet" + " .is-folded" * folded + " .is-long" * long
    marked = f' hl_lines="{" ".join(map(str, aside))}"' if aside else ""  # which the page folds
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"^`{3,}", text, re.MULTILINE)), default=0))
    head = f'{fence} {{ {classes} title="{run.address}"{marked} data-search-exclude="" }}'
    return f"{head}\n{text}\n{fence}\n{block(*unfold, tools, defined)}"


def _listing(page: Page, names: list[str]) -> str:
    """Code between the words of a page, or, where its front matter says `code: folded`, the names
    that open it: a page that says how something is decided is read without.
    """
    code = _code(page, names)
    if page.meta.get("code") != "folded":
        return code
    opened = block("<details class='listing' markdown='1'>")
    told = ", ".join(f"<code>{name}</code>" for name in names)
    return f"{opened}<summary>Code: {told}</summary>\n\n{code}\n</details>\n"


def _listed(page: Page, text: str) -> str:
    """The place of what a button copies in a list of its page, which docs/assets/handbook.js loads
    when somebody goes to the button: in the page it would be a third of its weight.
    """
    if text not in page.copies:
        page.copies.append(text)
    return f"{page.base}{copies_address(page.path)}#{page.copies.index(text)}"


def copies_address(path: str) -> str:
    """Where the list of what a page's buttons copy lies in the site."""
    return f"copied/{path.replace('/', '.')}.json"


def _call(page: Page, run: Run, names: list[str]) -> str | None:
    """The example of what is shown, for the button that opens an editor with it; None where it
    cannot run in a browser.
    """
    if not page.pyodide or run.record["needs"]:
        return None
    examples = (_examples_of(run, run.outline.symbols[name]) for name in names)
    calls = ([one.source for one in each if one.exc_msg is None] for each in examples)
    return "".join(next(filter(None, calls), [])).rstrip("\n")


def _answers(page: Page, names: list[str]) -> list[str]:
    """The button that opens an editor with the functions of an exercise, to be filled in."""
    run, _ = _find_symbol(page, names[0])
    if not page.pyodide or run.record["needs"]:
        return []
    asked = (_parsed(run, run.outline.symbols[name])[0] for name in names)
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    stubs = (unwritten(x) if isinstance(x, functions) else ast.unparse(x) for x in asked)
    return [markup("answers", run, names, "\n\n\n".join(stubs))]


def _parsed(run: Run, symbol: Symbol) -> list[ast.stmt]:
    return ast.parse(shown(run.record["source"], symbol)).body


def _examples_of(run: Run, symbol: Symbol) -> list[doctest.Example]:
    """The examples in a definition's docstring."""
    [node] = _parsed(run, symbol)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return []
    return doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")


def _solution(page: Page, names: list[str]) -> str:
    hints = [h for n in names if (h := _find_symbol(page, n)[0].record["hints"].get(n))]
    hint = f"<p>{_inline(' '.join(hints))}</p>"
    folds = [f'<details class="tip"><summary>Hint</summary>{hint}</details>'] if hints else []
    return (
        f"{_examples(page, names)}"
        f"{block(*_answers(page, names), *folds, '''<details class='success' markdown='1'>''')}"
        f"<summary>Solution</summary>\n\n{_code(page, names, runs=False)}\n</details>\n"
    )


def _examples(page: Page, names: list[str]) -> str:
    """What stands above an exercise's folds: the examples of the solution's docstrings, which ran
    as doctests, so that the reader sees what is asked before the answer.
    """
    lines = []
    for name in names:
        for example in _examples_of(*_find_symbol(page, name)):
            first, *more = example.source.rstrip("\n").split("\n")
            lines += [f">>> {first}", *(f"... {line}".rstrip() for line in more)]
            lines += example.want.rstrip("\n").split("\n") if example.want else []
    if not lines:
        return ""
    body = "\n".join(lines)
    return f'``` {{ .pycon data-search-exclude="" }}\n{body}\n```\n\n'


def _anchor(name: str, kind: str) -> str:
    """The id of something on its chapter's page."""
    return f"{kind}-{name}".replace("_", "-")


def place_of_figure(markdown: str, figure_name: str) -> int:
    """Where a page shows a figure, by itself or with what moves; -1 when it does not."""
    found = re.search(rf"\{{\{{ (?:figure|slider|stepper) {figure_name} \}}\}}", markdown)
    return found.start() if found else -1


def figure_address(run_name: str, figure_name: str, variant: str) -> str:
    """Where a figure lies in the site."""
    return f"figures/{run_name.replace('.', '/')}/{figure_name}-{variant}.svg"


def slider_address(run_name: str, slider: Mapping[str, Any]) -> str:
    """Where the numbers of a slider or a stepper lie in the site."""
    kind = "" if slider["kind"] == "slider" else f"-{slider['kind']}"
    return f"figures/{run_name.replace('.', '/')}/{slider['name']}{kind}.json"


def _named(page: Page, names: list[str], kind: str) -> tuple[Run, dict[str, Any]]:
    """The one figure, slider or stepper of that name, and the module it is from."""
    if len(names) != 1:
        raise BuildError(f"name one {kind}: {{{{ {kind} name }}}}")
    listed = "figures" if kind == "figure" else "sliders"
    there = [
        (run, item)
        for run in page.runs
        for item in run.record[listed]
        if item.get("kind", kind) == kind
    ]
    found = [(run, item) for run, item in there if item["name"] == names[0]]
    if len(found) != 1:
        known = ", ".join(item["name"] for _, item in there) or "none"
        raise BuildError(f"no single {kind} {names[0]}; the page's modules have: {known}")
    return found[0]


def _figure(page: Page, names: list[str]) -> str:
    run, figure = _named(page, names, "figure")
    return block(_numbered(page, run, figure))


def _numbered(page: Page, run: Run, figure: dict[str, Any]) -> str:
    page.figures_shown.append(figure["name"])
    return markup("figure", page, run.name, figure, len(page.figures_shown))


def _moving(kind: str, page: Page, names: list[str]) -> str:
    """What moves, and below it its figure."""
    run, slider = _named(page, names, kind)
    _, figure = _named(page, names, "figure")
    moves = markup("moving", page, run.name, slider, _sentences(slider["data"]))
    return block(moves + _numbered(page, run, figure))


def _sentences(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a slider says where it starts, the longest that it may say, whose place is kept free,
    the times of its clock, and what its marks mean.
    """
    controls, clock = data["controls"], data.get("clock")
    runs = math.prod(len(control["texts"]) for control in controls)
    run = functools.reduce(lambda at, one: at * len(one["texts"]) + one["start"], controls, 0)
    texts = {control["label"]: (control["texts"], control["start"]) for control in controls}
    times = _texts(clock) if clock else []
    if clock:
        texts[clock["label"]] = (times, clock["start"])
    for part in curves_of(data):
        words, at = _texts(part), run  # the same in every frame
        if clock and len(words) != runs:
            at = run * len(times) + clock["start"]
        texts[part["label"]] = (words, at)

    def sentence(which: str, pick: Callable[[Sequence[str], int], str]) -> str:
        return _LABEL.sub(lambda label: pick(*texts[label[1]]), data[which])

    there = all(words[at] for words, at in texts.values())
    widest = [
        sentence(which, lambda words, _: max(words, key=len)) for which in ("reading", "absent")
    ]
    return {
        "first": sentence("reading" if there else "absent", lambda words, at: words[at]),
        "longest": max(widest, key=len),
        "times": times,
        "legend": legend(data),
    }


def _texts(part: Mapping[str, Any]) -> list[str]:
    """The values of a curve or a clock; empty where there is none."""
    unit, decimals = part["unit"], part["decimals"]
    return ["" if value is None else told(value, unit, decimals) for value in part["values"]]


def told(value: float, unit: str, decimals: int) -> str:
    """A value with its unit, as docs/assets/slider.js writes it; one that would read as nothing is
    less than the last digit.
    """
    least = 10.0**-decimals
    small = 0 < value < least / 2
    shown = least if small else value
    shown = math.copysign(math.floor(abs(shown) / least + 0.5 + 1e-9) * least, shown)
    text = f"{shown:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    space = " " if unit and unit != "%" else ""
    return f"{'less than ' * small}{text}{space}{unit}"


def _inline(text: str) -> Markup:
    """A docstring sentence as HTML: escaped, with `code` and *emphasis* marked."""
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    marked = re.sub(r"(?<![\w*])\*(\w[^*<]*)\*(?![\w*])", r"<em>\1</em>", coded)
    return Markup(marked.replace("\n", "&#10;"))


def _breaking(path: str) -> Markup:
    """The path of a module in the package, which may be broken at its folders."""
    return Markup(path.removeprefix(f"{SOURCES}/").replace("/", "/<wbr>"))


def _compared(row: Mapping[str, Any]) -> list[str]:
    """What a row of the checks shows: where something holds, that it does, and by what."""
    label, expected, got, tolerance = (
        row[key] for key in ("label", "expected", "got", "tolerance")
    )
    if expected == "true" and row["passed"] and got != expected:
        got = f"true: {got}"
    if expected in ("True", "False"):
        expected, got = expected.lower(), got.lower()
    return [label, expected, got, tolerance]


def _checks(page: Page) -> str:
    if not any(run.record["checks"] for run in page.runs):
        raise BuildError("the page's modules have no checks")
    return block(markup("checks", page.runs))


def _downloads(page: Page) -> str:
    if not page.runs:
        raise BuildError("{{ downloads }} needs a page with modules")
    names = [run.name for run in page.runs]
    notebook, archive = (download_name(page.path, names, suffix) for suffix in ("ipynb", "zip"))
    live, place = _live(page, archive)
    first = name_for_all(page.path, names)
    return block(markup("downloads", page, notebook, archive, first, live, place))


_IN_BROWSER = {"numpy", "matplotlib", "pydantic"}  # packages that the browser's Python can load


def _live(page: Page, archive: str) -> tuple[str, str]:
    """What a reader's browser needs to run the page's modules, and from where it loads Python and
    without which; nothing where none can run there.
    """
    here = [run for run in page.runs if not run.record["needs"]]
    if not page.pyodide or not here:
        return "", ""
    address = page.pyodide if "://" in page.pyodide else page.base + page.pyodide
    packages = {"numpy", "matplotlib"}
    for run in here:
        packages |= {
            statement.head.split()[1].partition(".")[0]
            for statement in run.outline.imports
            if statement.head.startswith("from ")
        } & _IN_BROWSER
    settings = {
        "modules": [run.name for run in here],
        "packages": sorted(packages),
        "pyodide": address,
        "downloads": f"{page.base}downloads/",
        "bundle": f"{page.base}downloads/{archive}",
    }
    left_out = ", ".join(run.file for run in page.runs if run.record["needs"])
    without = f" ({left_out}: only on a machine of your own)" if left_out else ""
    return json.dumps(settings), (urlsplit(address).netloc or "this site") + without


def download_name(path: str, names: Sequence[str], suffix: str) -> str:
    """File name of what a page offers beside its modules: a chapter's has its name, that of another
    page the name of its first module.
    """
    return f"{name_for_all(path, names).rpartition('.')[2].replace('_', '-')}.{suffix}"


def name_for_all(path: str, names: Sequence[str]) -> str:
    """What stands for a page's modules: their package, or the first of them."""
    return package_of(path) if _own(path, names) else names[0]


def _own(path: str, names: Sequence[str]) -> list[str]:
    """Those of the modules that lie in a page's package, or have its name."""
    package = package_of(path)
    return [name for name in names if package and f"{name}.".startswith(f"{package}.")]


def bundle(sources: Sources, names: Sequence[str], data: Iterable[str] = ()) -> bytes:
    """Modules, with every project file they import, as a zip whose bytes depend on the contents
    only.

    data: files that the modules read, relative to the project; one that is absent is left out.
    Raises BuildError for one that would lie outside of the zip.
    """
    root = sources.root
    there = [name for name in data if (root / name).is_file()]
    for name in there:
        if not name.startswith("snippets/"):
            raise BuildError(
                f"{', '.join(names)}: a module reads {name}, which a download of it would lack:"
                " keep the file beside the module, under snippets/"
            )
    files = {root / SOURCES / "house.mplstyle"}
    for main in ("__main__.py", "exercises.py"):  # this one for what runs in the browser
        files.update(sources.dependencies(root / SOURCES / main)[0])
    files.update(root / name for name in there)
    for name in names:
        files.update(sources.dependencies(module_path(root, name))[0])
    contents = {
        file.relative_to(root / "snippets").as_posix(): sources.content(file)
        for file in sorted(files)
    }
    return _archive(contents)


def _archive(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def llms_text(
    name: str, summary: str, address: str, chapters: Sequence[Page], parts: Mapping[str, str]
) -> str:
    """What the site is and where its pages and modules lie, for language models (llmstxt.org).

    address: of the site, with a slash at its end; empty for relative links.
    parts: the titles of the parts by folder.
    """
    lines = [f"# {name}", "", f"> {summary}"]
    for part, found in itertools.groupby(chapters, key=lambda chapter: chapter.part):
        lines += ["", f"## {parts.get(part, part)}", ""]
        for page in found:
            told = page.meta.get("description", "")
            lines.append(f"- [{page.title}]({address}{page.folder}): {told}")
    lines += ["", "## Modules", ""]
    for page in chapters:
        if names := [run.name for run in page.runs]:
            archive = download_name(page.path, names, "zip")
            modules = ", ".join(
                f"[{module.rpartition('.')[2]}.py]({address}downloads/{PACKAGE}/{file}.py)"
                for module in names
                if not holds_exercises(module)
                for file in [module.replace(".", "/")]
            )
            lines.append(f"- [{archive}]({address}downloads/{archive}): {page.title}. {modules}")
    return "\n".join(lines) + "\n"


def _chapters(page: Page, names: list[str]) -> str:
    part = names[0] if len(names) == 1 else page.part
    chapters = [chapter for chapter in page.chapters if chapter.part == part]
    if not chapters:
        raise BuildError(f"no chapter in part {part!r} to show")
    return block(markup("cards", page, chapters))


def _notation(page: Page) -> str:
    order: dict[str, dict[str, list[SymbolUse]]] = {}
    for use in sorted(page.uses, key=lambda use: (use.symbol.strip("\\").lower(), use.symbol)):
        order.setdefault(use.symbol, {}).setdefault(use.row, []).append(use)
    rows = ["| Symbol | Meaning [unit] | Chapter |", "|---|---|---|"]
    for symbol, meanings in order.items():
        for place, (row, uses) in enumerate(meanings.items()):
            links = ", ".join(f"[{use.title}]({use.path}#symbols)" for use in uses)
            rows.append(f"| {f'${symbol}$' if place == 0 else ''} | {row} | {links} |")
    return "\n".join(rows) + "\n"


def _references(page: Page) -> str:
    cited: dict[tuple[str, str], list[Reference]] = {}
    for reference in sorted(page.references, key=lambda reference: reference.text.lower()):
        cited.setdefault((reference.anchor, reference.text), []).append(reference)
    lines, anchors = [], set()
    for (anchor, text), found in cited.items():
        links = ", ".join(f"[{r.title}]({r.path}#{anchor})" for r in found)
        lines.append(f"- {text.rstrip('.')}. Cited in {links}.")
        if anchor not in anchors:
            lines.append(f"  {{ #{anchor} }}")
        anchors.add(anchor)
    return "\n".join(lines) + "\n"


_NAMED: dict[str, Callable[[Page, list[str]], str]] = {
    "code": _listing,
    "solution": _solution,
    "figure": _figure,
    "slider": functools.partial(_moving, "slider"),
    "stepper": functools.partial(_moving, "stepper"),
    "chapters": _chapters,
}
_ALL: dict[str, Callable[[Page], str]] = {  # of a page or of the site, without a choice
    "checks": _checks,
    "downloads": _downloads,
    "exercises": lambda page: block(markup("exercises", page)),
    "gallery": lambda page: block(markup("gallery", page)),
    "report": lambda page: block(markup("report", page)),
    "notation": _notation,
    "references": _references,
}
