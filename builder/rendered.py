"""Pages as Markdown made them, kept beside the run records: a page is rendered again only when its
text, an address of the site, or what renders it has changed. What it says to the search index is
kept in the same way.

A page that was rendered with a message (a link that leads nowhere) or with a formula that could not
be converted is not kept, so that the next build says so again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import multiprocessing
import os
import platform
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink, get_toc

from builder.kept import recall, remember
from builder.maths import MathML
from builder.repairs import plain_names

LEAST_SHARED = 4  # pages that are worth a second process
PACKAGES = (
    "mkdocs",
    "mkdocs-material",
    "Markdown",
    "pymdown-extensions",
    "Pygments",
    "math-core",
)
FILES = ("hook.py", "maths.py", "rendered.py", "repairs.py")


def circumstances(config: MkDocsConfig, files: Files) -> str:
    """A name for everything but its text that decides what Markdown makes of a page."""
    facts = [
        platform.python_version(),
        [importlib.metadata.version(package) for package in PACKAGES],
        [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in FILES],
        [name if isinstance(name, str) else type(name).__name__ for name in _extensions(config)],
        repr(config.mdx_configs),
        repr(config.validation),
        sorted((file.src_uri, file.url, file.inclusion.value) for file in files),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def render(page: Page, around: str, folder: Path, config: MkDocsConfig, files: Files) -> None:
    """What `Page.render` and `plain_names` do, or did for the same text under the same
    circumstances.
    """
    file, key = place(page, page.markdown or "", around, folder)
    if known := recall(file, key):
        kept = json.loads(known)
        page.content = kept["content"]
        page.toc = get_toc(kept["toc"])
        page._title_from_render = kept["title"]
        page.present_anchor_ids = set(kept["anchors"])
        linked = {files.get_file_from_path(path): links for path, links in kept["links"]}
        page.links_to_anchors = {target: links for target, links in linked.items() if target}
        return
    with _messages() as told:
        Page.render(page, config, files)
    page.content = plain_names(page.content or "")
    if told.count or any(e.problems for e in _extensions(config) if isinstance(e, MathML)):
        return
    links = (page.links_to_anchors or {}).items()
    made = {
        "content": page.content,
        "toc": [_token(item) for item in page.toc],
        "title": page._title_from_render,
        "anchors": sorted(page.present_anchor_ids or ()),
        "links": [(target.src_uri, anchors) for target, anchors in links],
    }
    remember(file, key, json.dumps(made, ensure_ascii=False).encode())


def render_ahead(pages: Sequence[Page], populate: Callable[[Page], object], jobs: int) -> None:
    """Render pages in processes that share them out, for `render` to find. It makes what they do
    not keep, and says what is wrong.

    pages: those that take longest first. populate: renders one page, under a copy of all that this
    process knows. jobs: processes. Does nothing for few pages, or where a process cannot be copied.
    """
    alone = sys.platform != "linux" or threading.active_count() > 1 or jobs < 2
    if alone or len(pages) < LEAST_SHARED:
        return

    def work(share: Sequence[Page]) -> None:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        for page in share:
            populate(page)

    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=work, args=(pages[i::jobs],), daemon=True) for i in range(jobs)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, all of them numpy's
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join()


def place(page: Page, text: str, around: str, folder: Path, kind: str = "") -> tuple[Path, str]:
    """Where something is kept that is made of a page's text, and the key under which it is."""
    path = page.file.src_uri
    key = hashlib.sha256(f"{around}\n{path}\n{text}".encode()).hexdigest()
    return folder / f"{path.replace('/', '.')}{kind}.json", key


def _extensions(config: MkDocsConfig) -> list[Any]:
    return list(config.markdown_extensions)  # names, and what the hook added


def _token(item: AnchorLink) -> dict[str, Any]:
    children = [_token(child) for child in item.children]
    return {"name": item.title, "id": item.id, "level": item.level, "children": children}


class _Told(logging.Handler):
    """Counts the messages of a logger, and passes on those that it would have let through."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.INFO)
        self.logger, self.least = logger, logger.getEffectiveLevel()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a message."""
        self.count += 1
        if record.levelno >= self.least and self.logger.parent:
            self.logger.parent.handle(record)


@contextlib.contextmanager
def _messages() -> Iterator[_Told]:
    """What MkDocs says of links meanwhile, which a quiet build does not show."""
    logger = logging.getLogger(Page.__module__)
    level, passes, told = logger.level, logger.propagate, _Told(logger)
    logger.addHandler(told)
    logger.setLevel(min(told.least, logging.INFO))
    logger.propagate = False
    try:
        yield told
    finally:
        logger.removeHandler(told)
        logger.setLevel(level)
        logger.propagate = passes
