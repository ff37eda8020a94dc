"""The whole site as plain Markdown: pages with everything that ran in its place, figures, downloads
and notebooks.

`expand` reads `docs/` and the records of the modules, and knows no generator: the MkDocs hook hands
what comes out to MkDocs, and `write` puts it into a folder for any other (`python -m builder
--expand FOLDER`).
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from builder import BuildError, chapter_notes, filling, notebooks, pages
from builder.directives import bundle
from builder.markup import block, figure_address, listed, markup, slider_address
from builder.pages import Term
from builder.runner import Run, failures
from builder.sliders import as_json
from builder.source import Sources
from builder.storage import UNFINISHED, renewed, write_whole

COMPANION = "notebook.ipynb"
VARIANTS = ("light", "dark", "light-card", "dark-card")  # of a figure
MARK = ".expanded"  # a file in every folder that `write` made: only such a folder is replaced
BROWSER_FILES = ("live.py", "figures.py")  # what the reader's browser runs beside the modules


@dataclass(frozen=True)
class Site:
    """What `mkdocs.yml` says of the site, with the tags of its own (`!ENV`) resolved."""

    name: str
    description: str = ""
    address: str = ""
    order: tuple[str, ...] = ()  # the pages of the navigation
    pyodide: str = ""  # where the reader's browser loads Python from; empty: nowhere
    notebook: Mapping[str, str] = field(default_factory=dict)  # title, description, introduction
    cited: Mapping[str, str] = field(default_factory=dict)  # author, version, commit, date


@dataclass
class Expansion:
    """Pages and files by their address in docs/, and what is wrong."""

    pages: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes | Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)  # of the companion notebook, as HTML
    terms: list[Term] = field(default_factory=list)  # of the glossary


def front_matter(path: str, text: str) -> tuple[str, str, dict[str, Any]]:
    """A page's front matter as written, its text, and the front matter's values. Raises BuildError
    when that is not a table in YAML or never ends.
    """
    found = re.match(r"(?s)---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", text)
    if not found and re.match(r"---[ \t]*\n", text):
        raise BuildError(f"docs/{path}:1: front matter never ends: --- must stand below it")
    if not found:
        return "", text, {}
    try:
        node, meta = yaml.compose(found[1], yaml.SafeLoader), yaml.safe_load(found[1]) or {}
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 2}" if mark else ""
        reason = getattr(problem, "problem", None) or str(problem).splitlines()[0]
        raise BuildError(f"docs/{path}{line}: front matter is not YAML: {reason}") from problem
    if not isinstance(meta, dict):
        raise BuildError(f"docs/{path}:2: front matter must be a table of names and values")
    given = set[str]()
    for name, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if name.value in given:
            line = name.start_mark.line + 2
            raise BuildError(f"docs/{path}:{line}: {name.value} must be given once")
        given.add(name.value)
    for name in ("modules", "demo"):
        if not isinstance(meta.get(name) or [], list):
            raise BuildError(f"docs/{path}: {name} must be a list, such as [{meta[name]}]")
    return found[0], text[found.end() :], meta


def plain_files(folder: Path) -> list[Path]:
    """Every file of a folder but for hidden ones. Raises BuildError that names what is neither a
    file nor a folder: a link may lead to anything on this machine, and would have it published.
    """
    below = ((path, path.relative_to(folder)) for path in sorted(folder.rglob("*")))
    shown = [path for path, place in below if not any(p.startswith(".") for p in place.parts)]
    odd = []
    for path in shown:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            kind = f"a link to {path.readlink()}" if path.is_symlink() else "no plain file"
            odd.append(f"{path.relative_to(folder.parent).as_posix()} is {kind}")
    if odd:
        raise BuildError(
            f"all of {folder.name}/ is published, and may hold folders and plain files only:"
            f" {'; '.join(odd)}"
        )
    return [path for path in shown if path.is_file()]


def expand(
    root: Path,
    site: Site,
    runs: list[Run],
    *,
    sources: Sources | None = None,
    show_failures: bool = False,
) -> Expansion:
    """Every page of docs/ with what ran in its place, and the files that the pages need.

    runs: the record of every module. sources: the files, of which something is known already.
    show_failures: on the page where something is wrong, as for an author who is at work.
    """
    made = Expansion(problems=failures(runs))
    by_name = {run.name: run for run in runs}
    written = _read(root, site, made)
    for page in written:
        names, wrong = pages.module_names_of(page.path, page.meta, list(by_name))
        page.runs = [by_name[name] for name in names]
        made.problems += wrong
    sources = sources or Sources(root)
    chapters = {page.path: page for page in written if page.is_chapter}
    parts = _parts(written)
    of_all = _collected(written, [*chapters.values()], made)
    of_all |= {"every_run": runs, "parts": parts, "pyodide": site.pyodide, "sources": sources}
    placed = chapter_notes.neighbours({path: page.text for path, page in chapters.items()})
    for page in (dataclasses.replace(page, **of_all) for page in written):
        if page.is_chapter:
            before, after = ([chapters[path] for path in found] for found in placed[page.path])
            part, minutes = parts.get(page.part, ""), chapter_notes.minutes(page.text)
            page.note = markup("note", page, part, minutes, before, after)
        text = filling.expand(page.text, page)
        if page.is_chapter and site.cited:
            text = text.rstrip("\n") + "\n" + listed("citation", page, site)
        made.problems += page.errors
        wrong = [*failures(page.runs), *page.errors]
        if wrong and show_failures:
            text = block(markup("error_box", "\n".join(wrong))) + "\n" + text
        made.pages[page.path] = page.head + text
        if page.copies:
            copies = json.dumps(page.copies, ensure_ascii=False)
            made.files[page.copies_address] = copies.encode()
    made.files["llms.txt"] = listed("overview", site, of_all["chapters"], parts).encode()
    _add_files(made, site, written, runs, sources)
    return made


def _read(root: Path, site: Site, made: Expansion) -> list[pages.Page]:
    """The pages as written: those of the navigation in its order, then the others. In the place of
    one that cannot be read stands why.
    """
    place = {path: number for number, path in enumerate(site.order)}
    found = []
    for file in plain_files(root / "docs"):
        if file.suffix != ".md":
            continue
        path, told = file.relative_to(root / "docs").as_posix(), ""
        try:
            head, text, meta = front_matter(path, file.read_text(encoding="utf-8-sig"))
            found.append(pages.Page(path, meta, text, head))
        except UnicodeDecodeError as problem:
            told = f"docs/{path}: not UTF-8 at byte {problem.start}"
        except OSError as problem:
            told = f"docs/{path}: {problem.strerror}"
        except BuildError as problem:
            told = str(problem)
        if told:
            made.problems.append(told)
            made.pages[path] = block(markup("error_box", told))
    return sorted(found, key=lambda page: place.get(page.path, len(place)))


def _collected(
    written: list[pages.Page], chapters: list[pages.Page], made: Expansion
) -> dict[str, Any]:
    """What every page may show of the others."""
    uses, references = list[pages.SymbolUse](), list[pages.Reference]()
    for page in sorted(chapters, key=lambda page: page.path):
        uses += pages.symbol_uses(page.path, page.title, page.text)
        references += pages.references_of(page.path, page.title, page.text)
    for page in written:
        if page.meta.get("glossary"):
            made.terms = pages.terms_of(page.path, page.text)
    if not any(page.path == filling.NOTATION for page in written):
        uses.clear()
    return {"chapters": chapters, "uses": uses, "references": references, "terms": made.terms}


def _add_files(
    made: Expansion, site: Site, written: list[pages.Page], runs: list[Run], sources: Sources
) -> None:
    """Figures straight from the cache; sliders, modules, bundles and notebooks as text."""
    for run in runs:
        for figure in run.record["figures"]:
            for variant in VARIANTS:
                address = figure_address(run.name, figure["name"], variant)
                made.files[address] = run.folder / f"{figure['name']}-{variant}.svg"
        for slider in run.record["sliders"]:
            address = slider_address(run.name, slider["name"])
            made.files[address] = as_json(slider["data"]).encode()
        made.files[f"downloads/{run.address}"] = run.module.source.encode(errors="replace")
    for name in BROWSER_FILES:
        made.files[f"downloads/builder/{name}"] = Path(__file__).with_name(name).read_bytes()
    for page in written:
        if page.runs and (page.is_chapter or "{{ downloads }}" in page.text):
            names = [run.name for run in page.runs]
            reads = [read for run in page.runs for read in run.record["reads"]]
            made.files[f"downloads/{page.download('zip')}"] = bundle(sources, names, reads)
            book = notebooks.as_json(notebooks.of_page(page))
            made.files[f"downloads/{page.download('ipynb')}"] = book
    chapters = [page for page in written if page.is_chapter]
    if told := site.notebook:  # through all of them: to take along, and the figures of its page
        whole = notebooks.of_chapters(told["title"], told["introduction"].strip(), chapters)
        made.files[COMPANION] = made.files[f"downloads/{COMPANION}"] = notebooks.as_json(whole)
        made.files["downloads/notebook.py"] = notebooks.as_script(whole).encode()
        made.figures = [
            f'<figure class="plot">{markup("image", "../", *page.thumbnail)}</figure>'
            for page in chapters
            if page.thumbnail
        ]


def _parts(written: Iterable[pages.Page]) -> dict[str, str]:
    """The title of each part by its folder."""
    return {
        page.path.removesuffix("/index.md"): page.title
        for page in written
        if page.path.endswith("/index.md") and "title" in page.meta
    }


def write(made: Expansion, root: Path, folder: Path, config: str) -> None:
    """Put an expansion into a folder, whole or not at all: docs/ with everything, and the
    configuration of a generator.

    folder: one that is absent, empty, or was made by this function. config: text of its mkdocs.yml.
    Raises BuildError when something is wrong with a page or the folder is somebody's.
    """
    if made.problems:
        raise BuildError(f"{len(made.problems)} failed:\n" + "\n".join(made.problems))
    there = list(folder.iterdir()) if folder.exists() else []
    strange = [entry for entry in there if not entry.name.startswith(UNFINISHED)]
    if strange and not (folder / MARK).is_file():
        raise BuildError(f"{folder} holds files that were not written here; name another folder")
    with renewed(folder) as fresh:
        docs = fresh / "docs"
        for file in plain_files(root / "docs"):
            if file.suffix != ".md":
                write_whole(docs / file.relative_to(root / "docs"), file.read_bytes())
        for path, text in made.pages.items():
            write_whole(docs / path, text.encode())
        for path, content in made.files.items():
            write_whole(
                docs / path, content if isinstance(content, bytes) else content.read_bytes()
            )
        write_whole(fresh / "mkdocs.yml", config.encode())
        write_whole(fresh / MARK, b"python -m builder --expand\n")
