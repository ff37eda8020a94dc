"""Pages as Markdown made them, kept beside the run records: a page is rendered again only when its
text, an address of the site, or what renders it has changed.

A page that was rendered with a message (a link that leads nowhere) or with a formula that could not
be converted is not kept, so that the next build says so again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import AnchorLink, get_toc

from snippets._engine.maths import MathML

PACKAGES = ("mkdocs", "Markdown", "pymdown-extensions", "Pygments", "math-core")


def circumstances(config: MkDocsConfig, files: Files) -> str:
    """A name for everything but its text that decides what Markdown makes of a page."""
    facts = [
        platform.python_version(),
        [importlib.metadata.version(package) for package in PACKAGES],
        Path(__file__).with_name("maths.py").read_text(encoding="utf-8"),
        Path(__file__).read_text(encoding="utf-8"),
        [name if isinstance(name, str) else type(name).__name__ for name in _extensions(config)],
        repr(config.mdx_configs),
        repr(config.validation),
        sorted((file.src_uri, file.url, file.inclusion.value) for file in files),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def render(page: Page, around: str, folder: Path, config: MkDocsConfig, files: Files) -> None:
    """What `Page.render` does, or did for the same text under the same circumstances."""
    key = hashlib.sha256(f"{around}\n{page.file.src_uri}\n{page.markdown}".encode()).hexdigest()
    file = folder / f"{page.file.src_uri.replace('/', '.')}.json"
    if kept := _read(file, key):
        page.content = kept["content"]
        page.toc = get_toc(kept["toc"])
        page._title_from_render = kept["title"]
        page.present_anchor_ids = set(kept["anchors"])
        linked = {files.get_file_from_path(path): links for path, links in kept["links"]}
        page.links_to_anchors = {target: links for target, links in linked.items() if target}
        return
    with _messages() as told:
        Page.render(page, config, files)
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
    with contextlib.suppress(OSError):  # where nothing can be kept, every build renders
        _write(file, key, made)


def _extensions(config: MkDocsConfig) -> list[Any]:
    return list(config.markdown_extensions)  # names, and what the hook added


def _read(file: Path, key: str) -> dict[str, Any] | None:
    """What was kept under a key, unless it is damaged."""
    try:
        seal, _, text = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return None
    if seal != _seal(key, text):
        return None
    kept: dict[str, Any] = json.loads(text)
    return kept


def _write(file: Path, key: str, made: dict[str, Any]) -> None:
    """Whole or not at all."""
    text = json.dumps(made, ensure_ascii=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(f"{_seal(key, text)}\n{text}", encoding="utf-8")
    unfinished.replace(file)


def _seal(key: str, text: str) -> str:
    return hashlib.sha256(f"{key}\n{text}".encode()).hexdigest()


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
