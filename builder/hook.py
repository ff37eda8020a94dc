"""MkDocs events: run what needs it, and hand the expanded pages and their files to MkDocs.

A build that fails reports every failure and leaves the site before it; `mkdocs serve` shows them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import CountHandler, get_build_date

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # MkDocs loads a hook by its path

from builder import ENDS, ROOT, BuildError, end_in_order, said_by, theme_markup
from builder.built_site import complete
from builder.configuration import site_from
from builder.dates import last_changes
from builder.expansion import COMPANION, Expansion, expand, plain_files
from builder.maths import MathML
from builder.page_cache import PageCache
from builder.runner import Progress, run_all
from builder.source import Sources, default_cache
from builder.storage import as_file, renewed

log = logging.getLogger("mkdocs.hooks.builder")


class _State:
    serving = False  # the pages show what failed
    writing = contextlib.ExitStack()  # the site, meanwhile in another folder
    made = Expansion()
    maths = MathML()
    pages: PageCache | None = None  # which converts them


def on_startup(command: Literal["build", "gh-deploy", "serve"], **_: Any) -> None:
    """Remember whether a failure stops the build or is shown on the page."""
    end_in_order(ENDS)  # MkDocs says itself what an interruption ends
    _State.serving = command == "serve"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Look at what is published before MkDocs follows links, and write beside the site before."""
    if _State.serving and _State.pages is None:  # MkDocs would ask for the port when all is made
        family = socket.AF_INET6 if ":" in config.dev_addr.host else socket.AF_INET
        socket.create_server(tuple(config.dev_addr), family=family).close()
    plain_files(Path(config.docs_dir))
    config.site_dir = str(_State.writing.enter_context(renewed(Path(config.site_dir))))
    config.markdown_extensions.append(_State.maths)  # type: ignore[arg-type]
    return config


@event_priority(100)  # before mkdocs-jupyter, which looks for notebooks among the files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the expanded pages in the place of the written ones, and add what they need."""
    sources, serving = Sources(ROOT), _State.serving
    again = not (serving and _State.pages)  # an author has seen what failed
    runs = run_all(sources, progress=Progress(log.info), again=again)
    _State.made = expand(ROOT, site_from(config), runs, sources=sources, show_failures=serving)
    for path, content in (_State.made.files | _State.made.pages).items():
        if written := files.get_file_from_path(path):
            files.remove(written)
        if path == COMPANION and isinstance(content, bytes):  # mkdocs-jupyter reads a file
            folder = as_file(default_cache(ROOT) / "notebook" / path, content).parent
            files.append(File(path, str(folder), config.site_dir, config.use_directory_urls))
            continue
        at = {"abs_src_path": str(content)} if isinstance(content, Path) else {"content": content}
        files.append(File.generated(config, path, **at))
    _State.pages = PageCache(default_cache(ROOT), config, files, _State.maths)
    return files


def on_serve(server: LiveReloadServer, *, builder: Callable[[], None], **_: Any) -> None:
    """A build that ends early leaves the pages of the one before; MkDocs would show none."""

    def build() -> None:
        try:
            builder()
        except Exception as problem:
            log.error(str(problem))

    server.builder = build


def on_pre_page(page: Page, **_: Any) -> Page:
    """Pages are converted by their cache, but for the notebook, which mkdocs-jupyter converts."""
    if _State.pages and page.file.src_uri != COMPANION:
        vars(page)["render"] = functools.partial(_State.pages.render, page)
    return page


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """The companion notebook gets the front matter that it has not, and the clothes of a page."""
    if page.file.src_uri == COMPANION:
        page.meta["search"] = {"exclude": True}  # it repeats what the chapters say
        page.meta["description"] = config.extra["notebook"]["description"]
        html = theme_markup.content(theme_markup.notebook(html, _State.made.figures))
    return html


def on_env(env: Environment, *, config: MkDocsConfig, **_: Any) -> Environment:
    """Stop before anything is written when a page is wrong; and what the templates ask for."""
    problems = _State.made.problems + (_State.pages.wrong if _State.pages else [])
    if problems and not _State.serving:
        raise BuildError(f"{len(problems)} failed:\n" + "\n".join(problems))
    if problems:
        log.error("\n".join(problems))
    env.globals["changed"] = {} if _State.serving else last_changes(Path(config.docs_dir))
    env.filters["named"] = theme_markup.named_sections
    return env


@event_priority(-100)  # after the search plugin
def on_post_build(config: MkDocsConfig, **_: Any) -> None:
    """The site is completed, and takes the place of the one before."""
    folder, day = Path(config.site_dir), "" if _State.serving else get_build_date()
    complete(folder, site_from(config), _State.made, day=day)
    config.site_dir = str(folder.parent)
    counters = logging.getLogger("mkdocs").handlers  # of warnings, in a strict build
    if not any(isinstance(one, CountHandler) and one.counts for one in counters):
        _State.writing.close()  # or MkDocs ends this build as an error


def on_build_error(error: Exception, **_: Any) -> None:
    """Nothing of the site that was not finished is left; what we or a disk say is a sentence."""
    _State.writing.__exit__(type(error), error, error.__traceback__)
    if isinstance(error, OSError):
        error = BuildError(f"the site is as it was: {said_by(error)}")
    if isinstance(error, BuildError):
        log.error(str(error))
        raise Abort("The build has ended") from error


def on_shutdown() -> None:
    """Nothing of the site that was not finished is left."""
    _State.writing.__exit__(SystemExit, SystemExit(), None)
