"""What MkDocs made of the Markdown of a page, kept: half of a build in which little has changed.

For a page whose text is known MkDocs converts nothing, and its page object gets what it would have
of the conversion: HTML, table of contents, anchors, and the links to anchors, which MkDocs goes on
checking. A page of which anything was said to its author is made again, so that it is said again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import pickle
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.utils import CountHandler

from builder.storage import recall, remember

MAKERS = ("mkdocs", "Markdown", "pymdown-extensions", "Pygments", "math-core")
OURS = ("theme_markup.py", "markup.html", "hook.py", "maths.py", "page_cache.py")


_OF_PAGES = logging.getLogger("mkdocs.structure.pages")
_SAID = CountHandler()  # of pages, also with `-q`, which must not keep what another build tells


class PageCache:
    """Keeps the pages of one build, and finds those of builds before."""

    def __init__(self, cache: Path, config: MkDocsConfig, files: Files) -> None:
        """cache: where to keep them. files: all that a page can link to."""
        self.folder, self.files = cache / "pages", files
        made_by = [
            [importlib.metadata.version(name) for name in MAKERS],
            [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in OURS],
            [one if isinstance(one, str) else str(type(one)) for one in config.markdown_extensions],
            repr(config.mdx_configs),
            repr(config.validation),
            config.use_directory_urls,
            sorted((file.src_uri, file.url) for file in files),
        ]
        self._made_by = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()
        self._found: dict[str, bytes] = {}
        self._keys: dict[str, str] = {}  # of pages that are being made
        _OF_PAGES.addHandler(_SAID)
        _OF_PAGES.setLevel(logging.INFO)

    def knows(self, page: Page, markdown: str) -> bool:
        """Whether `given` will have what was made of this text, so that it need not be converted.
        It has no page without a title of its own, which MkDocs takes from the text.
        """
        if type(page) is not Page or "title" not in page.meta:
            return False
        text = f"{page.file.src_uri}\n{markdown}"
        key = f"{self._made_by} {hashlib.sha256(text.encode()).hexdigest()}"
        if found := recall(self._place(page), key):
            self._found[page.file.src_uri] = found
        else:
            self._keys[page.file.src_uri] = key
            _SAID.counts.clear()
        return bool(found)

    def given(self, page: Page) -> str | None:
        """The HTML of a page that is known, once the page has all else; None for another page."""
        found = self._found.pop(page.file.src_uri, b"")
        if not found:
            return None
        html: str
        html, page.toc, page.present_anchor_ids, kept = pickle.loads(found)
        page.links_to_anchors = {
            file: links
            for address, links in kept.items()
            if (file := self.files.get_file_from_path(address))
        }
        return html

    def keep(self, page: Page, html: str) -> None:
        """Keep a page as it was made now, unless something was said of it."""
        key = self._keys.pop(page.file.src_uri, "")
        if key and not _SAID.counts:
            links = {file.src_uri: to for file, to in (page.links_to_anchors or {}).items()}
            kept = (html, page.toc, page.present_anchor_ids, links)
            remember(self._place(page), key, pickle.dumps(kept))

    def _place(self, page: Page) -> Path:
        return self.folder / page.file.src_uri.replace("/", ".")
