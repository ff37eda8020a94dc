"""What every page promises, as rules: each returns all that is missing, in sentences that say what
to do.

`tests/test_contracts.py` asserts that no rule finds anything; `author/chapter_check.py` prints
what the rules find for one chapter. A rule reads the text of the page and of its modules, and the
run records; it runs nothing but the examples in docstrings.
"""

# In one piece: a rule after the other, each independent of the others and found by its name.

from __future__ import annotations

import ast
import builtins
import doctest
import functools
import io
import itertools
import linecache
import re
import symtable
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

from builder import PACKAGE, ROOT, SOURCES, BuildError
from builder.expansion import front_matter
from builder.pages import Term, module_names_of, references_of, section, terms_of
from builder.runner import Run
from builder.sliders import curves_of
from builder.source import (
    CORE,
    SOLUTIONS,
    SUPPORT,
    Sources,
    holds_exercises,
    module_names,
    module_path,
    package_of,
    path_of,
    self_contained,
)

SECTIONS = (
    "The answer",
    "On your engine",
    "Where the textbook differs",
    "Where it breaks",
    "In production",
    "Exercises",
    "Sources",
    "Checks",
    "Symbols",
)
UNWRITTEN = "WRITE"  # followed by a colon and what to write: a gap that the scaffold left
FIGURES, SOURCES_CITED, SYMBOLS, EXERCISES, CHECKS = 2, 3, 3, 3, 6  # at least, in a chapter
DESCRIPTION, LESSON, HINT = (50, 155), (30, 180), (30, 300)  # characters, least and most
ALT = 60  # characters of a figure's description, at least
LONGEST = 60  # lines of a function without its docstring, that need no reason
LONGEST_MODULE = 400  # lines of a module that need none
STAGES = tuple(  # of the planner: none imports a later one
    f"planner.{folder}." for folder in ("questions", "capacity_planner", "answers", "evidence")
)
NOT_PURE = ("check_", "figure_", "slider_")
RECORDS = (
    "from serving_mathematics.support.measuring import read_record"  # what a copy may still import
)
FORBIDDEN = {
    r"\bnp\.random\.(seed|rand|randn|random|normal|exponential|choice)\b"
    r"|default_rng\(\)|^\s*(?:import|from) random\b": (
        "global random state: take an argument rng: np.random.Generator"
    ),
    r"\bpyplot\b|\brcParams\b": "global state of figures: draw on the figure that is handed in",
    r"import \*": "a star import: name what you import",
    r"\.savefig\(|\.show\(": "saving or showing a figure, which the builder does",
    r"os\.getcwd|Path\(\)\.|Path\.cwd": (
        "a path relative to the working directory: start from __file__"
    ),
    r"#\s*(TODO|FIXME|XXX)": "unfinished work: finish it, or take it out",
}
_FORBIDDEN = re.compile("|".join(FORBIDDEN))
BOOKS_MACHINES = "conventions.md#the-books-machines"
_BOOKS_MACHINE = re.compile(r"\*(?:chat|mixture|agents)\*|\bchat machine|book's mixture")

Records = Mapping[str, Run]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Chapter:
    """A page as written, a chapter's or a reference page, and the modules it shows."""

    path: str
    text: str
    meta: Mapping[str, Any]
    modules: tuple[str, ...]
    elsewhere: str = ""  # texts of the pages that borrow its modules

    @property
    def slug(self) -> str:
        """Part and name, as in the page's address."""
        return self.path.removesuffix(".md")

    @property
    def asks(self) -> bool:
        """Whether it is a chapter, which answers a question, or a reference page."""
        return "question" in self.meta

    @property
    def package(self) -> str:
        """The package that holds the chapter's modules."""
        return package_of(self.path)

    def names_in(self, directive: str) -> set[str]:
        """Every name given to a directive on the page."""
        lines = re.findall(rf"^\s*\{{\{{ {directive} ([^}}]+?) \}}\}}", self.text, re.MULTILINE)
        return {name for line in lines for name in line.split()}

    def section(self, title: str) -> str:
        """What stands under a heading of the second level; empty when there is none."""
        return section(self.text, title)


def read_page(path: str, known: Sequence[str]) -> tuple[Chapter, list[str]]:
    """A page of the docs folder, and what is wrong with the modules that it lists. Raises
    BuildError when its front matter cannot be read.

    known: the modules that there are.
    """
    _, text, meta = _front_matter(path, (ROOT / "docs" / path).read_text(encoding="utf-8"))
    names, problems = module_names_of(path, meta, known)
    return Chapter(path, text, meta, tuple(names)), problems


def read_pages() -> list[Chapter]:
    """Every page that shows modules: the chapters, which ask a question, and reference pages."""
    known = module_names(ROOT)
    files = sorted((ROOT / "docs").rglob("*.md"))
    paths = [file.relative_to(ROOT / "docs").as_posix() for file in files]
    pages = [page for path in paths for page, _ in [read_page(path, known)]]
    shown = [page for page in pages if page.asks or page.modules]
    return [replace(page, elsewhere=borrowing(page, shown)) for page in shown]


def with_own_modules(pages: Sequence[Chapter]) -> list[Chapter]:
    """The pages; reference pages without the modules of chapters, and of reference pages before
    them, whose numbers they may quote; the home page quotes only.
    """
    taken = {name for page in pages if page.asks for name in page.modules}
    found = []
    for page in sorted(pages, key=lambda page: page.path == "index.md"):
        if not page.asks:
            page = replace(page, modules=tuple(name for name in page.modules if name not in taken))
            taken |= {*page.modules}
        found.append(page)
    return [replace(page, elsewhere=borrowing(page, pages)) for page in found]


def borrowing(page: Chapter, pages: Sequence[Chapter]) -> str:
    """What the other pages say that list a module of the page."""
    others = (o for o in pages if o.path != page.path and {*o.modules} & {*page.modules})
    return "\n".join(other.text for other in others)


# What lies where


def is_core(name: str) -> bool:
    """Whether chapters stand on a module, which need not be taught whole by any page."""
    return name.startswith(f"{CORE}.")


def tests_of(name: str) -> Path:
    """The file that tests a module."""
    *folders, module = name.split(".")
    return ROOT.joinpath("tests", *folders, f"test_{module}.py")


def source_of(name: str) -> str:
    """A module's text."""
    return module_path(ROOT, name).read_text(encoding="utf-8")


_front_matter = functools.lru_cache(maxsize=512)(front_matter)


@functools.lru_cache(maxsize=512)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def tree_of(name: str) -> ast.Module:
    """A module, parsed. Raises SyntaxError when it is not Python."""
    return _parsed(source_of(name))


def public_definitions(name: str) -> dict[str, Definition]:
    """Functions and classes a reader may take: no private ones, figures, checks or example."""
    return {
        node.name: node
        for node in tree_of(name).body
        if isinstance(node, Definition)
        and not node.name.startswith(("_", *NOT_PURE))
        and node.name not in {"Example", "example", "main"}
    }


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))  # type: ignore[call-overload]


def _tested_in(name: str) -> str:
    return tests_of(name).relative_to(ROOT).as_posix()


# Rules of a chapter


def files_problems(page: Chapter, _records: Records) -> list[str]:
    """A chapter has modules, its exercises and a test file for each module."""
    solutions = f"{page.package}.{SOLUTIONS}"
    problems = []
    others = {*page.modules} - {solutions}
    if not any(name.startswith(f"{page.package}.") for name in others):
        slug = page.package.rpartition(".")[2]
        file = path_of(f"{page.package}.{slug}")
        problems.append(f"{file} is not there: write the chapter's module.")
    if solutions not in page.modules:
        told = "write the solutions of its exercises"
        problems.append(f"{path_of(solutions)} is not there: {told}.")
    return problems + [
        f"{_tested_in(name)} is not there: test {path_of(name)} in it."
        for name in page.modules
        if not tests_of(name).is_file()
    ]


def front_matter_problems(page: Chapter, records: Records) -> list[str]:
    """What stands above the page: for search engines, cards and the companion notebook."""
    meta, where = page.meta, f"docs/{page.path}"
    wanted = {
        "title": "the chapter's name",
        "description": "a sentence for search engines and cards",
        "question": "what the chapter answers, with a question mark at its end",
        "thumbnail": "the figure that stands for the chapter, without `figure_`",
        "demo": "one to three checks, as a list, for the companion notebook",
    }
    problems = [
        f"{where}: the front matter lacks `{key}:`, {what}."
        for key, what in wanted.items()
        if not meta.get(key)
    ]
    problems += _length(where, "description", meta.get("description"), DESCRIPTION)
    problems += _length(where, "lesson", meta.get("lesson"), LESSON)
    if meta.get("lesson") and not str(meta["lesson"]).endswith("."):
        problems.append(f"{where}: `lesson:` is a sentence: end it with a full stop.")
    if meta.get("question") and not str(meta["question"]).endswith("?"):
        problems.append(f"{where}: `question:` must end with a question mark.")
    ran = [records[name].record for name in page.modules if name in records]
    drawn = {figure["name"] for record in ran for figure in record["figures"]}
    if meta.get("thumbnail") and meta["thumbnail"] not in drawn:
        problems.append(
            f"{where}: `thumbnail: {meta['thumbnail']}` is no figure of the page's modules, which"
            f" draw {_listed(drawn) or 'none'}."
        )
    checks = {check["name"] for record in ran for check in record["checks"]}
    demo = meta.get("demo") or []
    if len(demo) > 3:
        problems.append(f"{where}: `demo:` must be a list of one to three checks.")
    else:
        problems += [
            f"{where}: `demo:` lists {name}, which is no check of the page's modules."
            for name in demo
            if name not in checks
        ]
    return problems


def _length(where: str, key: str, text: object, limits: tuple[int, int]) -> list[str]:
    size = len(str(text or ""))
    if not size or limits[0] <= size <= limits[1]:
        return []
    return [f"{where}: `{key}:` has {size} characters; write {limits[0]} to {limits[1]}."]


def reference_page_problems(page: Chapter, _records: Records) -> list[str]:
    """What a page without a question keeps of the above."""
    where = f"docs/{page.path}"
    problems = [
        f"{where}: the front matter lacks `{key}:`."
        for key in ("title", "description")
        if not page.meta.get(key)
    ]
    problems += _length(where, "description", page.meta.get("description"), DESCRIPTION)
    shown = page.text.count("{{ checks }}")
    if shown != bool(page.modules):
        problems.append(f"{where}: has `{{{{ checks }}}}` {shown} times; once shows every check.")
    return problems + [
        f"{_tested_in(name)} is not there: test {path_of(name)} in it."
        for name in page.modules
        if not tests_of(name).is_file()
    ]


def section_problems(page: Chapter, _records: Records) -> list[str]:
    """The fixed sections, in order, none of them empty, and at least one of the chapter's own."""
    where = f"docs/{page.path}"
    headings = re.findall(r"^## (.+)$", page.text, re.MULTILINE)
    fixed = [heading for heading in headings if heading in SECTIONS]
    problems = [
        f"{where}: there is no section `## {section}`: write it, after"
        f" `{'# ' + str(page.meta.get('title')) if not place else '## ' + SECTIONS[place - 1]}`."
        for place, section in enumerate(SECTIONS)
        if section not in fixed
    ]
    problems += [
        f"{where}: the section `## {name}` is there {count} times; keep one."
        for name, count in Counter(fixed).items()
        if count > 1
    ]
    if not problems and tuple(fixed) != SECTIONS:
        problems.append(f"{where}: put the sections into this order: {', '.join(SECTIONS)}.")
    if set(headings) <= set(SECTIONS):
        problems.append(
            f"{where}: before Where it breaks there is no section of the chapter's own: derive or"
            " compute something under a heading that says what."
        )
    problems += [
        f"{where}: the section `## {section}` says nothing."
        for section in headings
        if section != "Sources" and not page.section(re.escape(section)).strip()
    ]
    for name, place in (("checks", "Checks"), ("downloads", "Checks")):
        count = page.text.count(f"{{{{ {name} }}}}")
        if count != 1:
            problems.append(
                f"{where}: has `{{{{ {name} }}}}` {count} times; put it once, under {place}."
            )
    return problems


def symbol_problems(page: Chapter, _records: Records) -> list[str]:
    """The table of symbols says which argument of the code each letter is."""
    where, table = f"docs/{page.path}", page.section("Symbols")
    if "| Symbol | Meaning | Unit | Argument |" not in table:
        return [
            f"{where}: under Symbols there is no table: begin it with"
            " `| Symbol | Meaning | Unit | Argument |`."
        ]
    names = set(re.findall(r"`([a-z_]\w*)`", table))
    known: set[str] = set()
    for name in page.modules:
        if names <= known:
            break
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.Name):
                known.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.Attribute):
                known.add(node.attr)
            elif isinstance(node, ast.keyword) and node.arg:
                known.add(node.arg)
    problems = [
        f"{where}: the table of symbols names `{name}`, which is not in the page's modules: name"
        " the argument, or the function whose result it is."
        for name in sorted(names - known)
    ]
    if len(names) < SYMBOLS:
        problems.append(
            f"{where}: the table of symbols names {len(names)} of the code's arguments; name"
            f" {SYMBOLS} or more, each in backticks in the last column."
        )
    return problems


def exercise_problems(page: Chapter, _records: Records) -> list[str]:
    """Exercises that are numbered, solved, hinted at and shown."""
    where = f"docs/{page.path}"
    section = page.section("Exercises")
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", section, re.MULTILINE)]
    problems = []
    if len(numbers) < EXERCISES:
        problems.append(
            f"{where}: has {len(numbers)} exercises; write {EXERCISES} or more, each under"
            f" `### {len(numbers) + 1}. Its title`."
        )
    if numbers != list(range(1, len(numbers) + 1)):
        problems.append(f"{where}: number the exercises 1 to {len(numbers)} in order.")
    shown = re.findall(r"\{\{ solution ([^}]+?) \}\}", section)
    if len(shown) != len(numbers):
        problems.append(
            f"{where}: {len(numbers)} exercises and {len(shown)} solutions: end each with"
            " `{{ solution its_function }}`."
        )
    name = f"{page.package}.{SOLUTIONS}"
    if name not in page.modules:
        return problems
    hints = _hints(name)
    solutions = {n for n, node in public_definitions(name).items() if n in _functions(node)}
    for function in sorted(solutions & {n for line in shown for n in line.split()}):
        if function not in hints:
            problems.append(f"{path_of(name)}: `HINTS` has no sentence for `{function}`.")
        elif not HINT[0] <= len(hints[function]) <= HINT[1]:
            problems.append(
                f"{path_of(name)}: the hint for `{function}` has {len(hints[function])} characters;"
                f" write {HINT[0]} to {HINT[1]}."
            )
    problems += [
        f"{path_of(name)}: `HINTS` has a sentence for `{hint}`, which is no function of the module."
        for hint in sorted(hints.keys() - solutions)
    ]
    return problems


def _functions(node: Definition) -> set[str]:
    return {node.name} if isinstance(node, ast.FunctionDef) else set()


def _hints(name: str) -> dict[str, str]:
    for node in tree_of(name).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == "HINTS" and isinstance(value, ast.Dict):
            try:
                return {str(k): str(v) for k, v in ast.literal_eval(value).items()}
            except ValueError:
                return {}
    return {}


def path_problems(page: Chapter, _records: Records) -> list[str]:
    """A chapter stands on a path of the page on where to start."""
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    if re.search(rf"^\d+\. \[[^]]+\]\({re.escape(page.path)}\)", start, re.MULTILINE):
        return []
    return [
        f"docs/start.md: no path has the chapter: put `1. [{page.meta.get('title')}]({page.path}):"
        " what it says about the task` where a reader needs it."
    ]


def glossary_problems(page: Chapter, _records: Records) -> list[str]:
    """A term of the glossary leads to each chapter."""
    if any(page.path in dict(term.links) for term in _terms()[1]):
        return []
    return [
        f"docs/glossary.md: no term leads to {page.path}: add an item, in alphabetical order,"
        f" `- **term** — What it is. [{page.meta.get('title')}]({page.path}#its-section)` with its"
        " anchor `{ #term }` on a line of its own; or link the chapter in a term that is there."
    ]


def machine_problems(page: Chapter, _records: Records) -> list[str]:
    """Who speaks of the book's machines links to them at the first mention."""
    named = _BOOKS_MACHINE.search(page.text)
    if not named or BOOKS_MACHINES in page.text[: named.end() + len(BOOKS_MACHINES) + 20]:
        return []
    return [
        f"docs/{page.path}: speaks of {named[0]} and does not say what that is: link its first"
        f" mention to ../{BOOKS_MACHINES}."
    ]


# Rules of every page


def source_problem(text: str) -> str:
    """What a source lacks: who, when, a title, and where to find it; empty when it is complete."""
    dated = _PUBLISHED.fullmatch(text)
    living = _LIVING.fullmatch(text)
    if not dated and not living:
        return "begins with no name, or has neither a year nor a link"
    if not dated and _PAPER.search(text):
        return "is a paper without a year"
    if dated:
        title, _, place = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", dated[1]).partition(". ")
        if not re.search(r"[^\W\d]{3}", title):
            return "has no title"
        if not place and "](https://" not in text:
            return "says no place: a link, a journal or a publisher"
    return ""


_PUBLISHED = re.compile(r"\w[^\[\]*`:“”()]*? \([^()]*\b\d{4}[a-z]?\)\. (.+)")  # Who (1961). …
_LIVING = re.compile(r"\w[^\[\]*`:“”()]*?\. (.*\]\(https://.+)")  # Who. … with a link
_PAPER = re.compile(r"\]\(https://(?:doi\.org|arxiv\.org)/")


def citation_problems(page: Chapter, _records: Records) -> list[str]:
    """Sources are complete, each with an anchor, each cited."""
    where = f"docs/{page.path}"
    sources = page.section("Sources")
    body = page.text.replace(sources, "") if sources else page.text
    anchors = re.findall(r"\{ #([\w-]+) \}", sources)
    problems = []
    if page.asks and len(anchors) < SOURCES_CITED:
        problems.append(
            f"{where}: has {len(anchors)} sources; look up {SOURCES_CITED} or more, each"
            " `- Who, A. (1961). Title. *Journal* or [link](https://…)` with its anchor"
            " `  { #who-1961 }` on the next line, cited as `[Who (1961)](#who-1961)`."
        )
    problems += [
        f"{where}: two sources have the anchor `{anchor}`; give each its own."
        for anchor, count in Counter(anchors).items()
        if count > 1
    ]
    items = len(re.findall(r"^- ", sources, re.MULTILINE))
    if items != len(anchors):
        problems.append(
            f"{where}: {items} sources and {len(anchors)} anchors: give each source its"
            " `  { #who-1961 }`, on a line of its own."
        )
    cited = set(re.findall(r"\]\(#([\w-]+)\)", body))
    problems += [
        f"{where}: the source `{anchor}` is never cited: write `[Who (year)](#{anchor})` where you"
        " use it, or take it out."
        for anchor in dict.fromkeys(anchors)
        if anchor not in cited
    ]
    return problems + [
        f"{where}: the source `{source.anchor}` {problem}: {source.text[:90]}"
        for source in references_of(page.path, "", page.text)
        if (problem := source_problem(source.text))
    ]


def shown_problems(page: Chapter, _records: Records) -> list[str]:
    """Every public function and class of its own modules is shown, here or on a page that borrows
    the module.
    """
    shown = page.names_in("code") | page.names_in("solution")
    shown |= replace(page, text=page.elsewhere).names_in("code")
    return [
        f"docs/{page.path}: `{function}` of {path_of(name)} is not shown: put `{{{{"
        f" {'solution' if holds_exercises(name) else 'code'} {function} }}}}` where the text"
        " explains it, or begin its name with an underscore."
        for name in page.modules
        if not is_core(name)
        for function in public_definitions(name)
        if function not in shown
    ]


def figure_problems(page: Chapter, records: Records) -> list[str]:
    """Every figure is shown, here or on a page that borrows its module, with caption, description
    and labels; a chapter has two or more.
    """
    where = f"docs/{page.path}"
    found = [(n, f) for n in page.modules if n in records for f in records[n].record["figures"]]
    drawn = {figure["name"] for _, figure in found}
    shown = page.names_in("figure") | page.names_in("slider")
    borrowed = replace(page, text=page.elsewhere).names_in("figure")
    problems = [
        f"{where}: the figure `{name}` is not shown: put `{{{{ figure {name} }}}}` where the text"
        " speaks of it."
        for name in sorted(drawn - shown - borrowed)
    ]
    if page.asks:
        problems += [
            f"{where}: shows the figure `{name}`, which no module of the page draws."
            for name in sorted(shown - drawn)
        ]
        if len(found) < FIGURES:
            problems.append(
                f"{where}: has {len(found) or 'no'} figure; a chapter has {FIGURES} or more: write"
                f" another `figure_…` in a module of `{page.package}` and show it."
            )
    for name, figure in found:
        function = f"{path_of(name)}: `figure_{figure['name']}`"
        if not figure["caption"]:
            problems.append(f"{function} has no caption: begin its docstring with the finding.")
        if len(figure["alt"]) < ALT:
            problems.append(
                f"{function}: its description has {len(figure['alt'])} characters: end the"
                f" docstring with a paragraph `Alt:` of {ALT} or more, saying what is drawn."
            )
        if not all(x and y for x, y in figure["labels"]):
            problems.append(
                f"{function} has an axis without a label: give each its quantity and [unit]."
            )
    return problems


def slider_problems(page: Chapter, records: Records) -> list[str]:
    """Every slider is shown in the place of its figure, labelled and tested."""
    where, shown = f"docs/{page.path}", page.names_in("slider")
    every = [(n, s) for n, r in records.items() for s in r.record["sliders"]]
    sliders = {s["name"]: (n, s) for n, s in every if n in page.modules}
    problems = [
        f"{where}: the slider `{name}` is not shown: put `{{{{ slider {name} }}}}` in the place of"
        " its figure."
        for name in sorted(sliders.keys() - shown)
    ]
    problems += [
        f"{where}: shows the slider `{name}`, which no module has."
        for name in sorted(shown - {s["name"] for _, s in every})
    ]
    problems += [
        f"{where}: shows `{name}` as a figure and as a slider, which brings its figure: keep the"
        " slider."
        for name in sorted(shown & page.names_in("figure"))
    ]
    for name, (module, slider) in sliders.items():
        data, function = slider["data"], f"{path_of(module)}: `slider_{name}`"
        if not slider["lead"].endswith((".", "?")):
            problems.append(f"{function}: begin its docstring with a sentence, shown above it.")
        axes = [panel[axis] for panel in data["panels"] for axis in "xy" if axis in panel]
        for told in (*data["controls"], *axes, *curves_of(data)):
            if "[" in told["label"]:
                problems.append(
                    f"{function}: the label “{told['label']}” holds a unit: put it under `unit`."
                )
        tests = tests_of(module)
        if not tests.is_file() or f"slider_{name}()" not in tests.read_text(encoding="utf-8"):
            problems.append(
                f"{_tested_in(module)}: compare `slider_{name}()` with `example()` and with"
                " something independent."
            )
    return problems


def example_problems(page: Chapter, records: Records) -> list[str]:
    """Every number of `example()` is quoted."""
    return [
        f"docs/{page.path}: `{field}` of {path_of(name)} is quoted nowhere: write"
        f" `{{{{ {field}:.1f }}}}` into a sentence, or take it out of `example()`."
        for name in page.modules
        if name in records
        for field in records[name].record["example"]
        if not re.search(rf"\{{\{{ {field}[: }}]", page.text + page.elsewhere)
    ]


def check_problems(page: Chapter, records: Records) -> list[str]:
    """Enough checks, each with a claim and a source."""
    found = [(n, c) for n in page.modules if n in records for c in records[n].record["checks"]]
    problems = []
    if page.modules and len(found) < CHECKS:
        problems.append(
            f"docs/{page.path}: its modules have {len(found)} checks; write {CHECKS} or more"
            " `check_…` that compare with something independent."
        )
    for name, check in found:
        function = f"{path_of(name)}:{check['line']}: `{check['name']}`"
        if not check["claim"].endswith("."):
            problems.append(f"{function}: begin its docstring with the claim, a sentence.")
        refusal = all(row["got"].startswith("ValueError") for row in check["comparisons"])
        if not check["source"] and not refusal:
            problems.append(
                f"{function} does not say where its expectation comes from: end the docstring with"
                " a paragraph `Source: …`."
            )
    return problems


def line_problems(page: Chapter, _records: Records) -> list[str]:
    """One sentence a line, in paragraphs."""
    problems = []
    offset = first_line(page)
    for number, line in prose(page.text):
        bare = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`|\$[^$]*\$", "x", line)
        if re.search(r"[a-z)x%]{2}[.?!] [A-Z][a-z]+ ", bare):
            problems.append(
                f"docs/{page.path}:{number + offset}: two sentences on one line: break it after the"
                " first."
            )
    return problems


def first_line(page: Chapter) -> int:
    """Lines of the file above the page's text."""
    head, _, _ = _front_matter(page.path, (ROOT / "docs" / page.path).read_text(encoding="utf-8"))
    return head.count("\n")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of paragraphs, with their numbers: no lists, tables, code, formulas or headings."""
    fence, above = False, ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(("```", "~~~")):
            fence = not fence
        elif line == "## Sources":
            return
        elif not fence and re.match(r"[A-Z*\[$]", line) and not above.startswith(("- ", "  ")):
            yield number, line
        above = line


# Rules of a module


def definition_problems(name: str) -> list[str]:
    """Public definitions are documented, shown by an example, and tested."""
    where, problems = path_of(name), []
    if "Source:" not in (ast.get_docstring(tree_of(name)) or ""):
        problems.append(f"{where}: the module's docstring names no source: add `Source: …`.")
    tests = tests_of(name).read_text(encoding="utf-8") if tests_of(name).is_file() else ""
    for function, node in public_definitions(name).items():
        text, place = ast.get_docstring(node) or "", f"{where}:{node.lineno}: `{function}`"
        if not text.split("\n\n")[0].strip().endswith("."):
            problems.append(f"{place}: say in a sentence what it returns.")
        if tests and not re.search(rf"\b{function}\b", tests):
            problems.append(f"{place} is not tested: test it in {_tested_in(name)}.")
        if isinstance(node, ast.FunctionDef):
            arguments = {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]}
            if ">>>" not in text and "rng" not in arguments:
                problems.append(
                    f"{place} has no worked example: show a call with `>>>` that can be checked by"
                    " hand."
                )
    return problems


def copy_problems(name: str, sources: Sources | None = None, *, examples: bool = True) -> list[str]:
    """A public function, taken with what it needs, has all names that it uses, and passes its own
    example without the handbook, unless it reads the handbook's records, or its example asks the
    handbook for its arguments. examples: whether they run.
    """
    sources, problems = sources or Sources(ROOT), []
    linecache.clearcache()  # for each example, `doctest` looks whether a file in it has changed
    for function, node in public_definitions(name).items():
        place = f"{path_of(name)}:{node.lineno}: `{function}`"
        try:
            text = self_contained(sources.module(name), [function], sources.module)
        except BuildError as problem:
            problems.append(f"{place} cannot be copied: {problem}.")
            continue
        ours = set(re.findall(r"^(?:from|import) serving_mathematics.*", text, re.MULTILINE))
        if ours - {RECORDS}:
            problems.append(f"{place}, copied, still needs {_listed(ours - {RECORDS})}.")
        if "matplotlib" in text:
            problems.append(f"{place}, copied, drags a figure along.")
        if missing := missing_names(text):
            problems.append(f"{place}, copied, finds no {_listed(missing)} where it is used.")
        elif examples and not _ASKS.search(ast.get_docstring(node) or ""):
            problems += [f"{place}: {told}" for told in _example_problems(function, text)]
    return problems


_ASKS = re.compile(rf"^(?:>>>|\.\.\.) .*\b{PACKAGE}\b", re.MULTILINE)


def missing_names(text: str) -> set[str]:
    """The names that a copied text uses and does not have: definitions and defaults when they are
    read, bodies of functions at its end.
    """
    known, later, missing = {*dir(builtins)}, set[str](), set[str]()
    for part in _parts(text):
        bound, at_once, in_bodies = _names_in(part)
        known |= bound
        missing |= at_once - known
        later |= in_bodies
    return missing | (later - known)


@functools.lru_cache(maxsize=4096)
def _names_in(part: str) -> tuple[set[str], set[str], set[str]]:
    """What some definitions bind, and what they use of others at once and in bodies. Raises
    SyntaxError where they end too early.
    """
    top = symtable.symtable(part, "copied", "exec")
    bound, at_once, in_bodies = set[str](), set[str](), set[str]()
    pending = [(top, at_once)]
    while pending:
        table, used = pending.pop()
        for symbol in table.get_symbols():
            if table is top and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            elif symbol.is_global() and symbol.is_referenced():
                used.add(symbol.get_name())
        for inner in table.get_children():
            pending.append((inner, used if inner.get_type() == "class" else in_bodies))
    return bound, at_once, in_bodies


def _parts(text: str) -> Iterator[str]:
    """A copied text, definition by definition: functions of a module need many of the same."""
    part = ""
    for block in text.split("\n\n\n"):
        part += block  # a string that has empty lines goes on
        try:
            _names_in(part)
        except SyntaxError:
            part += "\n\n\n"
        else:
            yield part
            part = ""
    if part:
        yield part


@functools.lru_cache(maxsize=4096)
def _compiled(text: str) -> CodeType:
    code: CodeType = compile(text, "copied", "exec", dont_inherit=True)
    return code


def _example_problems(function: str, text: str) -> list[str]:
    """What goes wrong when a copied function's example runs in an empty file."""
    module = sys.modules["copied"] = type(sys)("copied")  # classes look their module up,
    namespace: dict[str, object] = vars(module)  # and pydantic the names in it
    runner = doctest.DocTestRunner(verbose=False)
    said = io.StringIO()
    try:
        for part in _parts(text):
            exec(_compiled(part), namespace)
        for example in doctest.DocTestFinder().find(namespace[function], function, globs=namespace):
            runner.run(example, out=said.write)
    except Exception as problem:
        return [f"copied into an empty file, it fails: {type(problem).__name__}: {problem}."]
    finally:
        del sys.modules["copied"]
    return ["its example fails: " + _told(part) for part in said.getvalue().split("*" * 70)[1:]]


def _told(report: str) -> str:
    """What doctest says of one example, on one line."""
    lines = [line.strip() for line in report.split("\n")[2:] if line.strip()]
    return " ".join(line for line in lines if not line.startswith("Traceback"))


def style_problems(name: str) -> list[str]:
    """What no module does."""
    text = source_of(name)
    if not _FORBIDDEN.search(text):
        return []
    return [
        f"{path_of(name)}:{number}: {reason}."
        for number, line in enumerate(text.split("\n"), 1)
        for pattern, reason in FORBIDDEN.items()
        if re.search(pattern, line)
    ]


def length_problems(name: str) -> list[str]:
    """What is longer than a screen or two, and no row of comparisons, says above why it is not in
    parts, and so does a long module below its docstring.
    """
    lines = source_of(name).split("\n")
    problems = long_module_problems(path_of(name), source_of(name))
    for node in tree_of(name).body:
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        if not isinstance(node, functions) or node.name.startswith("check_"):
            continue
        first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
        above = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 2
        length = (node.end_lineno or 0) - first.lineno + 1
        if length > LONGEST and not lines[above].startswith("# In one piece: "):
            problems.append(
                f"{path_of(name)}:{node.lineno}: `{node.name}` has {length} lines: take it apart,"
                f" or say above it why it cannot be: `# In one piece: …`; up to {LONGEST} need not."
            )
    return problems


def long_module_problems(file: str, text: str) -> list[str]:
    """A module that one hardly reads at a time says below its docstring why it is not in parts.

    file: what it is called in the sentence.
    """
    length = text.count("\n")
    head = re.split(r"^(?:from|import) ", text, maxsplit=1, flags=re.MULTILINE)[0]
    if length <= LONGEST_MODULE or "\n# In one piece: " in head:
        return []
    return [
        f"{file} has {length} lines: take a concept out of it, or say below its docstring why it"
        f" cannot be: `# In one piece: …`; up to {LONGEST_MODULE} need not."
    ]


# Rules of the whole


def body_problems(names: Sequence[str], of: Collection[str] = ()) -> list[str]:
    """No two modules share a function's body; what is not written yet has none of its own.

    of: look only for bodies of these modules, which need not parse the others.
    """
    names = [name for name in names if name in of or f"{UNWRITTEN}: " not in source_of(name)]
    lines = {_longest_line(name, body) for name in of for _, body in _bodies(name)}
    alike = defaultdict(list)  # few are, so that few need to be compared
    for name in names:
        if not of or name in of or any(line in source_of(name) for line in lines):
            for function, body in _bodies(name):
                shape = tuple((type(s), *map(type, ast.iter_child_nodes(s))) for s in body)
                alike[shape].append((name, function, body))
    bodies = defaultdict(list)
    for several in alike.values():
        for name, function, body in several if len(several) > 1 else ():
            bodies[tuple(ast.dump(part) for part in body)].append((name, function))
    return [
        f"{path_of(places[0][0])}: `{places[0][1]}` has the same body as"
        f" {', '.join(f'`{function}` in {path_of(name)}' for name, function in places[1:])}:"
        " write it once and import it."
        for places in bodies.values()
        if len(places) > 1 and (not of or any(name in of for name, _ in places))
    ]


def _bodies(name: str) -> Iterator[tuple[str, list[ast.stmt]]]:
    """The functions of a module and their statements, without docstrings."""
    for node in tree_of(name).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, [statement for statement in node.body if not _is_docstring(statement)]


def _longest_line(name: str, body: Sequence[ast.stmt]) -> str:
    lines = source_of(name).split("\n")
    own = [lines[n - 1] for s in body for n in range(s.lineno, (s.end_lineno or s.lineno) + 1)]
    return max((line.strip() for line in own), key=len, default="")


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def navigation_problems() -> list[str]:
    """The navigation lists every page, and no other."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(text[text.index("\nnav:") :])["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    written = {file.relative_to(ROOT / "docs").as_posix() for file in ROOT.glob("docs/**/*.md")}
    return [
        *(f"mkdocs.yml: `nav` does not list {page}." for page in sorted(written - listed)),
        *(
            f"mkdocs.yml: `nav` lists {page}, which is not there."
            for page in sorted(listed - written)
        ),
    ]


def _terms() -> tuple[list[str], list[Term]]:
    """The entries of the glossary by their names, and those of them that are terms."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^- \*\*(.+?)\*\*", text, re.MULTILINE), terms_of("glossary.md", text)


def term_problems() -> list[str]:
    """The glossary's entries are terms, in order."""
    written, terms = _terms()
    return [
        *(
            f"docs/glossary.md: the entry `{name}` is no term: give it a text behind a dash, a link"
            " to a page, and its anchor `{ #term }` on a line of its own."
            for name in sorted({*written} - {term.name for term in terms})
        ),
        *(
            f"docs/glossary.md: put `{after}` above `{before}`."
            for before, after in itertools.pairwise(written)
            if before.casefold() > after.casefold()
        ),
    ]


def row_problems(path: str, made: str) -> list[str]:
    """Rows of a filled page with the cells of their table, of which Markdown drops any others."""
    problems, cells = [], 0
    for row in re.sub(r"(?ms)^ *(`{3,}|~{3,}).*?^ *\1 *$", "", made).split("\n"):
        bare = re.sub(r"`[^`]*`|\\\|", "", row.strip())
        wanted, cells = cells, bare.count("|") - 1 if bare.startswith("|") else 0
        if cells and wanted and cells != wanted:
            problems.append(f"docs/{path}: {cells} cells in a table of {wanted}: {row[:80]}")
    return problems


def work_problems(pages: Sequence[Chapter]) -> list[str]:
    """One anchor is one work on all pages: one author, year and paper, of which parts differ."""
    works: dict[str, tuple[list[str], str]] = {}  # of an anchor, and the first page with it
    problems = []
    for page in sorted(pages, key=lambda page: page.path):
        for source in references_of(page.path, "", page.text):
            work = re.findall(rf"^\w*|\(\d{{4}}\)|{_PAPER.pattern}[^)]+", source.text)[:3]
            known, first = works.setdefault(source.anchor, (work, page.path))
            if work != known and first != page.path:
                problems.append(
                    f"docs/{page.path}: the source `{source.anchor}` is another work than in"
                    f" docs/{first}: give it an anchor of its own."
                )
    return problems


def belonging_problems(pages: Sequence[Chapter], names: Sequence[str]) -> list[str]:
    """Every module but those of core belongs to a page, every test file to a module."""
    shown = {name for page in pages for name in page.modules}
    problems = [
        f"{path_of(name)}: no page shows it: list it under `modules:` in the front matter of one."
        for name in names
        if name not in shown and not is_core(name)
    ]
    mirrored = {tests_of(name) for name in names}
    for part in sorted({name.partition(".")[0] for name in names}):
        problems += [
            f"{file.relative_to(ROOT)} tests no module: name it after one."
            for file in sorted((ROOT / "tests" / part).rglob("test_*.py"))
            if file not in mirrored
        ]
    return problems


def place_problems(pages: Sequence[Chapter], names: Sequence[str]) -> list[str]:
    """No chapter imports a chapter, and `core/` imports none: what two need is in `core/`. The
    planner, the engine and the reference pages are about all of them.
    """
    chapters = {page.package for page in pages if page.asks}
    sources = Sources(ROOT)
    return [
        f"{path_of(name)} imports {_place_of(imported)}: what two chapters need belongs in core/."
        for name in names
        for package in [name.rpartition(".")[0]]
        if package in chapters or is_core(name)
        for imported in sorted(_imported(name, sources))
        if not f"{imported}.".startswith((f"{package}.", f"{CORE}.", f"{SUPPORT}."))
    ]


def stage_problems(names: Sequence[str]) -> list[str]:
    """No folder of the planner imports a later one: of STAGES, in order."""
    sources = Sources(ROOT)
    return [
        f"{path_of(name)} imports {_place_of(imported)}, of a later folder: what both need belongs"
        " in the earlier one."
        for name in names
        for place, stage in enumerate(STAGES)
        if name.startswith(stage)
        for imported in sorted(_imported(name, sources))
        if f"{imported}.".startswith(STAGES[place + 1 :])
    ]


def _imported(name: str, sources: Sources) -> set[str]:
    """What a module imports from in this package: modules and packages."""
    found = set[str]()
    for level, module, _ in sources.syntax(module_path(ROOT, name)).imported:
        above = [PACKAGE, *name.split(".")][:-level] if level else []
        found.add(".".join([*above, *([module] if module else [])]))
    return {one.removeprefix(f"{PACKAGE}.") for one in found if one.startswith(f"{PACKAGE}.")}


def _place_of(name: str) -> str:
    """A module's file or a package's folder, as messages name it."""
    file = path_of(name)
    return file if (ROOT / file).is_file() else f"{file.removesuffix('.py')}/"


def index_problems(page: Chapter, _records: Records) -> list[str]:
    """A chapter's package says what its page asks, and exports what it teaches."""
    file = ROOT / SOURCES / Path(*page.package.split("."), "__init__.py")
    where = file.relative_to(ROOT).as_posix()
    if not file.is_file():
        return [f"{where} is not there: name in it what the page teaches, by module."]
    shown = page.names_in("code")
    taught = {
        f"{name}.{function}"
        for name in page.modules
        if not holds_exercises(name)
        for function in public_definitions(name).keys() & shown
    }
    tree = _parsed(file.read_text(encoding="utf-8"))
    asked = [str(page.meta.get(key) or "") for key in ("title", "question")]
    said = " ".join((ast.get_docstring(tree) or "").split())
    problems = []
    if all(asked) and said != ": ".join(asked):
        problems.append(f"{where}: `help()` shows its docstring: write “{': '.join(asked)}”.")
    exported = _exported(tree)
    problems += [
        f"{where}: exports {name}, which the page does not teach: show it, or take it out."
        for name in sorted(exported - taught)
    ]
    return problems + [
        f"{where}: lacks {name}, which the page teaches." for name in sorted(taught - exported)
    ]


def _exported(tree: ast.Module) -> set[str]:
    """The names that a package's `__init__` exports, with their modules."""
    tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    listed: dict[str, list[str]] = ast.literal_eval(tables[0]) if tables else {}
    return {f"{module}.{name}" for module, names in listed.items() for name in names}


def unwritten(file: Path) -> list[str]:
    """Every gap that the scaffold left in a file, as a sentence."""
    where = file.relative_to(ROOT).as_posix()
    return [
        f"{where}:{number}: write {gap[1].strip().rstrip('.?')}."
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1)
        for gap in re.finditer(rf"\b{UNWRITTEN}: ([^<*`\"|]+)", line)
    ]


def unwritten_problems(page: Chapter, _records: Records) -> list[str]:
    """Everything of a chapter that the scaffold left for its author."""
    files = [ROOT / "docs" / page.path]
    for name in page.modules:
        files += [module_path(ROOT, name), tests_of(name)]
    files += [ROOT / "docs" / "start.md", ROOT / "docs" / "glossary.md"]
    return [told for file in dict.fromkeys(files) if file.is_file() for told in unwritten(file)]


PageRule = Callable[[Chapter, Records], list[str]]
PAGE_RULES: dict[str, PageRule] = {
    "unwritten": unwritten_problems,
    "citations": citation_problems,
    "shown": shown_problems,
    "figures": figure_problems,
    "sliders": slider_problems,
    "example": example_problems,
    "checks": check_problems,
    "lines": line_problems,
}
CHAPTER_RULES: dict[str, PageRule] = {
    "files": files_problems,
    "index": index_problems,
    "front matter": front_matter_problems,
    "sections": section_problems,
    "symbols": symbol_problems,
    "exercises": exercise_problems,
    "path": path_problems,
    "glossary": glossary_problems,
    "machines": machine_problems,
}
MODULE_RULES: dict[str, Callable[[str], list[str]]] = {
    "definitions": definition_problems,
    "copies": copy_problems,
    "style": style_problems,
    "length": length_problems,
}
