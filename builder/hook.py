"""MkDocs events: run what needs it, publish figures and downloads, expand the pages. A thin layer
on the builder.

A build stops on any failure, and reports all of them. `mkdocs serve` shows the failure on the page
instead and goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemBytecodeCache
from material.plugins.search.plugin import SearchPlugin
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import CombinedEvent, event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page as SitePage
from mkdocs.utils import meta as front_matter
from mkdocs.utils.templates import TemplateContext
from watchdog.observers.polling import PollingObserver

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # MkDocs loads a hook by its path

from builder import ROOT, SOURCES, BuildError, notebooks, pages
from builder.kept import recall, remember, write_whole
from builder.maths import MathML
from builder.rendered import circumstances, place, render, render_ahead
from builder.repairs import (
    copied_from_the_page,
    named_landmarks,
    plain_names,
    settled,
    with_colours,
    with_copy_buttons,
    with_late_search,
    with_preview,
)
from builder.runner import (
    Run,
    cores,
    default_cache,
    failure_report,
    failures,
    run_all,
    warm_up,
)
from builder.sliders import as_json
from builder.source import Sources

log = logging.getLogger("mkdocs.hooks.snippets")
LOOK_S = 0.1  # between two looks of the server for edits


class _State:
    serving = False
    pages: dict[str, pages.Page] = {}  # noqa: RUF012 (one build at a time in one process)
    texts: dict[str, str] = {}  # noqa: RUF012
    images: list[str] = []  # noqa: RUF012 (the companion notebook's figures, in order)
    around = ""  # what decides how pages are rendered, as a name
    content = ""  # of the page that the search index is reading
    unread: tuple[Path, str, int] | None = None  # where to keep its entries, and the first of them
    formulas: list[str] = []  # noqa: RUF012 (those that could not be converted)


def on_startup(command: Literal["build", "gh-deploy", "serve"], dirty: bool) -> None:  # noqa: ARG001
    """Remember whether a failure stops the build or is shown on the page."""
    _State.serving = command == "serve"
    if _State.serving:
        warm_up()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the formula converter, which lives here and not on the import path of MkDocs."""
    if not any(isinstance(extension, MathML) for extension in config.markdown_extensions):
        config.markdown_extensions.append(MathML())  # type: ignore[arg-type]
    return config


@event_priority(100)  # before mkdocs-jupyter, which looks for notebooks among the files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Run the snippets, expand every page, and add figures, downloads and the notebook to the
    site.
    """
    problems: list[str] = []
    runs = _runs(problems)
    by_name = {run.name: run for run in runs}
    order = {path: place for place, path in enumerate(_nav_paths(config.nav or []))}
    sources = {file.src_uri: _read(file) for file in files.documentation_pages()}
    used: dict[str, list[str]] = {}
    for path, (_, meta) in sources.items():
        used[path], wrong = pages.module_names_of(path, meta, list(by_name))
        problems += wrong
        if "question" in meta and not used[path]:
            problems.append(
                f"docs/{path}: a chapter needs its module,"
                f" {SOURCES}/{path[:-3].replace('-', '_')}.py"
            )
    for name in by_name:
        if not any(name in modules for modules in used.values()):
            problems.append(f"{by_name[name].path}: no page shows this module")

    cards = [
        _card(path, *sources[path], files, used[path], by_name)
        for path in sorted(sources, key=lambda path: order.get(path, len(order)))
        if "question" in sources[path][1]
    ]
    uses = [
        use
        for path, (text, meta) in sources.items()
        if "question" in meta
        for use in pages.symbol_uses(path, str(meta.get("title", path)), text)
    ]
    references = [
        reference
        for path, (text, meta) in sources.items()
        if "question" in meta
        for reference in pages.references_of(path, str(meta.get("title", path)), text)
    ]
    problems += pages.reference_problems(references)
    terms: list[pages.Term] = []
    told = False
    for path, (text, meta) in sources.items():
        if "several_meanings" in meta:
            told = True
            problems += pages.notation_problems(path, meta, uses)
        if meta.get("glossary"):
            terms, wrong = pages.terms_of(path, text)
            problems += wrong
    _State.pages, _State.texts, _State.formulas, _State.around = {}, {}, [], ""
    sources_now = Sources(ROOT)
    for path, (text, meta) in sources.items():
        file = files.get_file_from_path(path)
        assert file is not None
        page = pages.Page(
            path,
            meta,
            "../" * file.url.removeprefix("./").count("/"),
            [by_name[name] for name in used[path]],
            runs,
            cards,
            uses if told else [],
            references,
            terms,
            sources_now,
            str(config.extra.get("pyodide") or ""),
            1 + file.content_string.count("\n") - text.count("\n"),
        )
        _State.pages[path], _State.texts[path] = page, pages.expand(text, page)
        problems += page.errors
    chapters = [path for path, (_, meta) in sources.items() if "question" in meta]
    chapters.sort(key=lambda path: order.get(path, len(order)))
    offering = [path for path, (text, _) in sources.items() if "{{ downloads }}" in text]
    demos = {
        path: _demo(sources[path][1], [by_name[name] for name in used[path]])
        for path in dict.fromkeys([*chapters, *offering])
    }
    books = _notebooks(config, demos, chapters, problems)
    _State.images = [
        f'<figure class="plot">{pages.figure_image("../", run.name, figure)}</figure>'
        for demo in (demos[path] for path in chapters)
        for run in demo.runs
        for figure in run.record["figures"]
        if figure["name"] in demo.figures
    ]
    _stop_on(problems)
    _publish(files, config, runs, {path: used[path] for path in demos})
    parts = {
        path.removesuffix("/index.md"): str(meta["title"])
        for path, (_, meta) in sources.items()
        if path.endswith("/index.md") and "title" in meta
    }
    overview = pages.llms_text(
        config.site_name, config.site_description or "", config.site_url or "", cards, parts
    )
    files.append(File.generated(config, "llms.txt", content=overview))
    _publish_notebooks(files, config, books)
    return files


def _runs(problems: list[str]) -> list[Run]:
    """A record of every module; those that have none, or changed, are run."""
    try:
        runs = run_all(ROOT, default_cache(ROOT), progress=log.info, again=not _State.serving)
    except BuildError as problem:
        raise PluginError(str(problem)) from problem
    problems += failures(runs)
    idle = [run for run in runs if run.record["absent"]]
    if idle:
        log.warning(
            "not run, as their pages say: %s. To run them: pip install %s",
            ", ".join(run.path for run in idle),
            " ".join(sorted({name for run in idle for name in run.record["absent"]})),
        )
    return runs


def _stop_on(problems: list[str]) -> None:
    if problems and _State.serving:
        log.error("\n".join(problems))
    elif problems:
        raise PluginError(f"{len(problems)} failed:\n" + "\n".join(problems))


def _read(file: File) -> tuple[str, dict[str, Any]]:
    return front_matter.get_data(file.content_string)


def _nav_paths(nav: list[Any]) -> list[str]:
    """Every page of the navigation in order."""
    found: list[str] = []
    for item in nav:
        values = item.values() if isinstance(item, dict) else [item]
        for value in values:
            found += _nav_paths(value) if isinstance(value, list) else [value]
    return found


def _card(
    path: str,
    text: str,
    meta: dict[str, Any],
    files: Files,
    used: list[str],
    by_name: dict[str, Run],
) -> pages.Card:
    file = files.get_file_from_path(path)
    assert file is not None
    drawn = [(name, figure) for name in used for figure in by_name[name].record["figures"]]
    thumbnail = next((pair for pair in drawn if pair[1]["name"] == meta.get("thumbnail")), None)
    part = path.rpartition("/")[0]
    return pages.Card(
        part,
        str(meta.get("title", path)),
        str(meta["question"]),
        file.url,
        thumbnail,
        pages.exercise_titles(text),
        sorted(drawn, key=lambda pair: pages.place_of_figure(text, pair[1]["name"])),
        str(meta.get("description", "")),
        used,
    )


COMPANION = "notebook.ipynb"
PREVIEW_IMAGE = "assets/screenshot-light.png"


def _demo(meta: dict[str, Any], runs: list[Run]) -> notebooks.Demo:
    """What the companion notebook shows of a chapter, from its front matter."""
    question = f"*{meta['question']}* " if "question" in meta else ""
    intent = f"{question}{meta.get('description', '')}"
    return notebooks.Demo(
        str(meta.get("title", "")),
        intent.strip(),
        str(meta.get("lesson", "")),
        [run for run in runs if ".exercises." not in run.name],
        [str(name) for name in meta.get("demo") or ()],
        [str(meta["thumbnail"])] if "thumbnail" in meta else [],
    )


def _notebooks(
    config: MkDocsConfig,
    demos: dict[str, notebooks.Demo],
    chapters: list[str],
    problems: list[str],
) -> dict[str, dict[str, Any]]:
    """The companion through the chapters, and for each page a notebook with all that it checks and
    draws.
    """
    books = {}
    told = config.extra.get("notebook")
    if told:
        try:
            books[COMPANION] = notebooks.notebook(
                told["title"],
                told["introduction"].strip(),
                [demos[path] for path in chapters],
            )
        except BuildError as problem:
            problems.append(f"{COMPANION}: {problem}")
    for demo in demos.values():
        every = notebooks.Demo(
            "Checks and figures",
            "Everything that the page's modules compare and draw.",
            demo.lesson,
            demo.runs,
            [check["name"] for run in demo.runs for check in run.record["checks"]],
            [figure["name"] for run in demo.runs for figure in run.record["figures"]],
        )
        name = pages.download_name(demo.runs[0].name, "ipynb") if demo.runs else ""
        if name:
            books[name] = notebooks.notebook(demo.title, demo.intent, [every])
    return books


def _publish_notebooks(
    files: Files, config: MkDocsConfig, books: dict[str, dict[str, Any]]
) -> None:
    """The companion as a page, for mkdocs-jupyter to render, and all of them as downloads."""
    for name, book in books.items():
        text = notebooks.as_json(book)
        files.append(File.generated(config, f"downloads/{name}", content=text))
        if name == COMPANION:
            script = notebooks.as_script(book)
            files.append(File.generated(config, "downloads/notebook.py", content=script))
            page = default_cache(ROOT) / "notebook" / COMPANION
            if not page.is_file() or page.read_text(encoding="utf-8") != text:
                write_whole(page, text.encode())
            folder = str(page.parent)
            files.append(File(COMPANION, folder, config.site_dir, config.use_directory_urls))


def _publish(
    files: Files, config: MkDocsConfig, runs: list[Run], used: dict[str, list[str]]
) -> None:
    """Figures straight from the cache; sliders, modules and bundles as generated files."""

    def add(address: str, *, source: Path | None = None, content: bytes | str = b"") -> None:
        if source is not None:
            file = File(address, str(source.parent), config.site_dir, config.use_directory_urls)
            file.abs_src_path = str(source)
        else:
            file = File.generated(config, address, content=content)
        files.append(file)

    for run in runs:
        for figure in run.record["figures"]:
            for variant in pages.VARIANTS:
                drawn = run.folder / f"{figure['name']}-{variant}.svg"
                add(pages.figure_address(run.name, figure["name"], variant), source=drawn)
        for slider in run.record["sliders"]:
            address = pages.slider_address(run.name, slider["name"])
            add(address, content=as_json(slider["data"]))
        add(f"downloads/{run.address}", content=run.record["source"])
    for name in ("live.py", "figures.py"):  # what the reader's browser runs beside the modules
        text = Path(__file__).with_name(name).read_text(encoding="utf-8")
        add(f"downloads/builder/{name}", content=text)
    sources = Sources(ROOT)
    for names in used.values():
        if names:
            data = [read for run in runs if run.name in names for read in run.record["reads"]]
            archive = pages.bundle(sources, names, data)
            add(f"downloads/{pages.download_name(names[0], 'zip')}", content=archive)


def on_nav(nav: Navigation, *, config: MkDocsConfig, files: Files) -> Navigation:
    """Render what changed on all cores."""
    _State.around = circumstances(config, files)

    def populate(page: SitePage) -> None:
        plugins = config.plugins
        plugins.on_pre_page(page, config=config, files=files)
        page.read_source(config)
        text = page.markdown or ""
        page.markdown = plugins.on_page_markdown(text, page=page, config=config, files=files)
        page.render(config, files)

    def markdown(page: SitePage) -> str:
        return _State.texts.get(page.file.src_uri, "")

    changed = [
        page
        for page in nav.pages
        if not recall(*place(page, markdown(page), _State.around, _kept_pages()))
    ]
    changed.sort(key=lambda page: len(markdown(page)) or math.inf, reverse=True)
    render_ahead(changed, populate, cores())
    return nav


def on_serve(server: LiveReloadServer, *, config: MkDocsConfig, **_: Any) -> LiveReloadServer:
    """Look for edits ten times a second; looking takes a millisecond."""
    watched = []
    for path in (config.docs_dir, config.config_file_path, *config.theme.dirs):
        with contextlib.suppress(KeyError):  # it is not watched
            server.unwatch(path)
            watched.append(path)
    server.observer = PollingObserver(timeout=LOOK_S)
    for path in watched:
        server.watch(path)
    return server


def on_pre_page(page: SitePage, **_: Any) -> SitePage:
    """Render a page again only if something that it depends on changed."""
    if page.file.src_uri != COMPANION:
        kept = partial(render, page, _State.around, _kept_pages())
        page.render = kept  # type: ignore[method-assign]
    return page


def _kept_pages() -> Path:
    return default_cache(ROOT) / "pages"


def on_page_markdown(markdown: str, *, page: SitePage, config: MkDocsConfig, **_: Any) -> str:
    """The expanded text instead of the text with directives."""
    if page.file.src_uri == COMPANION:
        page.meta["search"] = {"exclude": True}  # it repeats what the chapters say
        page.meta["description"] = config.extra["notebook"]["description"]
        return markdown
    failed = [run for run in _State.pages[page.file.src_uri].runs if run.failed]
    text = _State.texts[page.file.src_uri]
    if failed:
        text = (
            _State.pages[page.file.src_uri].slot(pages.error_box(failure_report(failed)))
            + "\n"
            + text
        )
    return text


def on_page_content(html: str, *, page: SitePage, config: MkDocsConfig, **_: Any) -> str:
    """Finished HTML of figures, tables and buttons in its places."""
    for extension in config.markdown_extensions:
        if isinstance(extension, MathML):
            wrong = dict.fromkeys(extension.problems)  # a heading is converted more than once
            _State.formulas += [f"docs/{page.file.src_uri}: {problem}" for problem in wrong]
            extension.problems.clear()
    if page.file.src_uri == COMPANION:
        return with_copy_buttons(plain_names(notebooks.trimmed(html, _State.images)))
    filled = _State.pages[page.file.src_uri].fill(html)
    return with_copy_buttons(copied_from_the_page(filled))


def on_env(env: Environment, **_: Any) -> Environment:
    """Stop before anything is written when a formula is wrong; keep the theme's templates as Python
    code.
    """
    _stop_on(_State.formulas)
    with contextlib.suppress(OSError):
        folder = default_cache(ROOT) / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            env.bytecode_cache = FileSystemBytecodeCache(str(folder))
    return env


_INLINE = re.compile(r"</?(?:span|m[a-z]+|strong|em|img|input|nav|button)\b[^>]*>")  # m…: MathML
_CODE = re.compile(r"<pre.*?</pre>", re.DOTALL)
_DEFINED = re.compile(r"\b(?:def|class) \w+")
_ROWS = re.compile(r'<table class="plain">.*?</table>', re.DOTALL)


@event_priority(50)
def _before_search(
    context: TemplateContext, /, *, page: SitePage, config: MkDocsConfig, **_: Any
) -> TemplateContext:
    """Let the search index know of code what it defines, and of checks what they claim: every
    reader loads the index, and a third of a build went into the markup of tokens and formulas. A
    page that has not changed is not read again.
    """
    assert page.content is not None
    _State.content, _State.unread = page.content, None
    entries = _search_entries(config)
    if entries is None:
        return context
    told = json.dumps([page.title, page.meta.get("search"), page.meta.get("tags")], default=str)
    where = place(page, told + page.content, _State.around, _kept_pages(), ".search")
    if known := recall(*where):
        entries += json.loads(known)
        page.content = ""
        return context
    text = _INLINE.sub("", _ROWS.sub("", page.content))
    page.content = _CODE.sub(lambda code: f"<p>{' '.join(_DEFINED.findall(code[0]))}</p>", text)
    _State.unread = (*where, len(entries))
    return context


@event_priority(-50)
def _after_search(
    context: TemplateContext, /, *, page: SitePage, config: MkDocsConfig, **_: Any
) -> TemplateContext:
    """Back to the page as it is."""
    page.content = _State.content
    if _State.unread:
        file, key, first = _State.unread
        entries = _search_entries(config) or []
        remember(file, key, json.dumps(entries[first:], ensure_ascii=False).encode())
    return context


def _search_entries(config: MkDocsConfig) -> list[dict[str, Any]] | None:
    """What the search index holds so far; None where none is made."""
    for plugin in config.plugins.values():
        if isinstance(plugin, SearchPlugin) and plugin.config.enabled:
            entries: list[dict[str, Any]] = plugin.search_index.entries
            return entries
    return None


on_page_context = CombinedEvent(_before_search, _after_search)


def on_post_page(output: str, *, page: SitePage, config: MkDocsConfig, **_: Any) -> str:
    """The page with names for what a screen reader lists, and a preview for whoever is sent it."""
    preview = {
        "og:type": "website" if page.is_homepage else "article",
        "og:site_name": config.site_name,
        "og:title": str(page.title or config.site_name),
        "og:description": str(page.meta.get("description") or config.site_description),
        "og:url": page.canonical_url or "",
        "og:image": f"{config.site_url}{PREVIEW_IMAGE}",
    }
    return with_preview(_quick_to_open(named_landmarks(output)), preview)


def on_post_template(output_content: str, **_: Any) -> str:
    """The page for addresses that do not exist opens like the others."""
    return _quick_to_open(output_content)


def _quick_to_open(page: str) -> str:
    script = Path(__file__).with_name("colours.js").read_text(encoding="utf-8")
    return settled(with_colours(with_late_search(page), script))


@event_priority(-100)  # after the search plugin
def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """The search index where nothing loads it before somebody searches, and in its place one
    without documents.
    """
    index = Path(config.site_dir, "search", "search_index.json")
    if index.is_file():
        empty = json.loads(index.read_text(encoding="utf-8")) | {"docs": []}
        index.replace(index.with_name("documents.json"))
        index.write_text(json.dumps(empty), encoding="utf-8")
