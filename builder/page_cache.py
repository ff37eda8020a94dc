"""What MkDocs made of the Markdown of a page, kept: half of a build in which little has changed;
and what the theme's search read in its HTML, a fifth of one.

For a page whose text is known MkDocs converts nothing, and its page object gets what it would have
of the conversion: HTML, title, table of contents, anchors, and the links to anchors, which MkDocs
goes on checking. A page of which anything was said to its author is made again, so that it is said
again.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
import logging
import pickle
import re
from functools import partial
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import CountHandler

from builder import theme_markup
from builder.maths import MathML
from builder.storage import recall, remember

MAKERS = ("mkdocs", "mkdocs-material", "Markdown", "pymdown-extensions", "Pygments", "math-core")
OURS = ("theme_markup.py", "markup.html", "maths.py", "page_cache.py")
MADE = ("content", "_title_from_render", "toc", "present_anchor_ids")  # of a page by `Page.render`
_DIV = re.compile(r"<(/?)div\b([^>]*)>")

_OF_PAGES = logging.getLogger("mkdocs.structure.pages")
_SAID = CountHandler()  # of pages, also with `-q`, which must not keep what another build tells


class PageCache:
    """Converts the pages of one build, and keeps them for the builds after it."""

    def __init__(self, cache: Path, config: MkDocsConfig, files: Files, maths: MathML) -> None:
        """cache: where to keep them. files: all that a page can link to. maths: one of the
        extensions of the configuration.
        """
        self.folder, self.maths = cache / "pages", maths
        self.wrong: list[str] = []  # with the pages of this build
        made_by = [
            [importlib.metadata.version(name) for name in MAKERS],
            [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in OURS],
            Path(config.config_file_path).read_text(encoding="utf-8"),
            sorted((file.src_uri, file.url) for file in files),
        ]
        self._made_by = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()
        _OF_PAGES.addHandler(_SAID)
        _OF_PAGES.setLevel(logging.INFO)
        if search := config.plugins.get("material/search"):  # a site may do without
            index: Any = search.search_index
            index.add_entry_from_context = partial(self._read, index)

    def render(self, page: Page, config: MkDocsConfig, files: Files) -> None:
        """`Page.render`, or what came of it, with less markup, before the search reads it."""
        place, key = self._kept(page, f"{page.file.src_uri}\n{page.markdown}")
        if found := recall(place, key):
            made, links = pickle.loads(found)
            vars(page).update(made)
            page.links_to_anchors = {files.src_uris[path]: to for path, to in links.items()}
            return
        _SAID.counts.clear()
        self.maths.problems.clear()
        Page.render(page, config, files)
        page.content = theme_markup.content(page.content or "")
        wrong = dict.fromkeys(self.maths.problems)  # a heading is made twice
        self.wrong += [f"docs/{page.file.src_uri}: {problem}" for problem in wrong]
        if not wrong and not _SAID.counts:
            links = {file.src_uri: to for file, to in (page.links_to_anchors or {}).items()}
            made = {name: vars(page)[name] for name in MADE}
            remember(place, key, pickle.dumps((made, links)))

    def _read(self, index: Any, page: Page) -> None:
        """What the index of the search gets of a page, or got of the same page before."""
        told = f"{page.url}\n{page.title}\n{page.meta}\n{page.content}"
        place, key = self._kept(page, told, ".search")
        if found := recall(place, key):
            index.entries += json.loads(found)
            return
        before, read = len(index.entries), copy.copy(page)
        read.content = searched(page.content or "")
        type(index).add_entry_from_context(index, read)
        remember(place, key, json.dumps(index.entries[before:]).encode())

    def _kept(self, page: Page, made_of: str, end: str = "") -> tuple[Path, str]:
        """Where something of a page is kept, and under which key."""
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        place = self.folder / f"{page.file.src_uri.replace('/', '.')}{end}"
        return place, f"{self._made_by} {digest}"


def searched(html: str) -> str:
    """What the search may read of a page: without the `div`s that are left out of it, of which the
    theme's parser reads all that comes after the first `div` inside.
    """
    kept, start, depth = [], 0, 0
    for tag in _DIV.finditer(html):
        if depth:
            depth += -1 if tag[1] else 1
            start = tag.end()
        elif "data-search-exclude" in tag[2]:
            kept.append(html[start : tag.start()])
            depth = 1
    return "".join([*kept, html[start:]])
