"""What several test files need: the pages as written, the run records, and the built site."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from builder import ROOT
from builder.contracts import Chapter, read_pages, with_own_modules
from builder.runner import Run, default_cache, failure_report, run_all

from .browsing import chromium, served

settings.register_profile("handbook", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("handbook")


PAGES = read_pages()
CHAPTERS = [page for page in PAGES if page.asks]
REFERENCES = [page for page in with_own_modules(PAGES) if not page.asks]


@pytest.fixture(params=CHAPTERS, ids=lambda chapter: chapter.slug)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    value: Chapter = request.param
    return value


@pytest.fixture(params=CHAPTERS + REFERENCES, ids=lambda page: page.slug)
def page(request: pytest.FixtureRequest) -> Chapter:
    """A chapter or a reference page."""
    value: Chapter = request.param
    return value


@pytest.fixture(scope="session")
def records() -> dict[str, Run]:
    """The run record of every module, from the cache where it is fresh."""
    runs = run_all(ROOT, default_cache(ROOT))
    assert not failure_report(runs), failure_report(runs)
    return {run.name: run for run in runs}


def build(site: Path, cache: Path | None = None) -> None:
    """Build the real site with `--strict`, by the installed command and from another folder."""
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    if cache is not None:
        environment["SNIPPETS_CACHE"] = str(cache)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("mkdocs")),
            *("build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")),
            *("--site-dir", str(site)),
        ],
        cwd=site.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once for all tests that read it."""
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def origin(site: Path) -> Iterator[str]:
    """The address at which the site is served."""
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with chromium() as browser:
        yield browser
