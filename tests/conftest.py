"""What several test files need: the pages as written, the run records, and the built site."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Page

from author.contracts import Chapter, read_pages, with_own_modules
from builder import ROOT
from builder.runner import Run, failures, run_all
from builder.source import Sources, module_names

from . import recorded, timing
from .browsing import chromium, served
from .small_model import write_small_model
from .visits import DESK, tab_of_many


def pytest_configure(config: pytest.Config) -> None:
    """Hooks for the tests of every folder, not only of this one."""
    # gRPC's threads would go on in a child that is not yet another program, and write to its output
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    config.pluginmanager.register(timing.Timing())


PAGES = read_pages()
CHAPTERS = [page for page in PAGES if page.asks]
REFERENCES = [page for page in with_own_modules(PAGES) if not page.asks]


@pytest.fixture(params=CHAPTERS, ids=lambda chapter: chapter.slug)
def chapter(request: pytest.FixtureRequest) -> Chapter:
    value: Chapter = request.param
    return value


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that its processes have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def records(common: Path) -> dict[str, Run]:
    """The run record of every module, from the cache where it is fresh."""
    known = [recorded.HERE.record_of(name) for name in module_names(ROOT)]
    runs = [run for run in known if run and not run.failed]
    if len(runs) < len(known):
        with FileLock(common / "records.lock"):  # one process runs what is missing, for all
            runs = run_all(Sources(ROOT))
    assert not failures(runs), "\n".join(failures(runs))
    return {run.name: run for run in runs}


def build(
    site: Path, root: Path = ROOT, command: str = "mkdocs", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build a site with `--strict`, by the installed command and from another folder."""
    site.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name(command)),
            *("build", "--strict", "--config-file", str(root / "mkdocs.yml")),
            *("--site-dir", str(site)),
        ],
        cwd=site.parent,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def site(common: Path, records: dict[str, Run]) -> Path:
    """The site, built once for all tests of all processes that read it."""
    assert records  # which the build reads
    folder, whole = common / "site", common / "site-is-whole"
    with FileLock(common / "site.lock"):
        if not whole.exists():
            build(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def small_model() -> Iterator[Path]:
    """A part of the installed model, in a file: see `small_model.py`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "small.gguf")
        write_small_model(path)
        yield path


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


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """A tab for the tests of a file."""
    yield from tab_of_many(browser)


@pytest.fixture
def page(tab: Page) -> Iterator[Page]:
    """The same tab for one test, since a window takes longer than most of them."""
    yield tab
    if tab.url.startswith("http"):
        tab.evaluate("localStorage.clear(); sessionStorage.clear()")  # what a reader chose or wrote
    tab.goto("about:blank")  # before the size, at which a page would be laid out again
    tab.unroute_all()
    tab.emulate_media(media="null", color_scheme="null", contrast="null", forced_colors="null")
    tab.set_viewport_size(DESK)
