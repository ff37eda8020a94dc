"""A browser and a server for the tests that look at the built site."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    Error,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)

from builder.built_site import POLICY

from .fetch_pyodide import FOLDER

PATIENCE_MS = 60_000  # how long anything may take on a machine with other work
MOUSE = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
OPTIONS = [  # no name is looked up: Chromium asks its maker about forms, accounts and updates
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    # What Chromium has by itself and its shell has not: a process for a frame that is shut in,
    # words as wide as their letters, and pictures that are asked for when they come near.
    # (Playwright's own settings would be lost.)
    "--site-per-process",
    "--font-render-hinting=none",
    f"--blink-settings={MOUSE},lazyLoadingImageMarginPxUnknown=1250",
]
SHELL = "chromium-headless-shell"  # Chromium without windows, which takes less work
NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    policed = True
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".wasm": "application/wasm",
        ".mjs": "text/javascript",
    }

    def translate_path(self, path: str) -> str:
        """Files of the site, and below /pyodide/ those that `make pyodide` fetched."""
        if path.startswith("/pyodide/"):
            return str(FOLDER / Path(path).name)
        return super().translate_path(path)

    def end_headers(self) -> None:
        """With the policy that came with the site, as a web server would send it."""
        policy = Path(self.directory, POLICY)
        if self.policed and policy.is_file():
            self.send_header("Content-Security-Policy", policy.read_text(encoding="utf-8").strip())
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that has left the page; anything else is a mistake here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def served(site: Path, *, policed: bool = True) -> Iterator[str]:
    """The address of the site on a free port. policed: by a host that sends headers."""
    kind = _Quiet if policed else type("_Unpoliced", (_Quiet,), {"policed": False})
    handler = functools.partial(kind, directory=str(site))
    try:
        server = _Server(("127.0.0.1", 0), handler)
    except OSError as problem:
        pytest.fail(f"these tests need a free port on 127.0.0.1: {problem}", pytrace=False)
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _started(driver: Playwright) -> Browser:
    """The first browser that starts: one without windows, of this machine or (None) Playwright's
    own, or another of this machine. Raises Error.
    """
    problem: Error | None = None
    first, *others = map(shutil.which, NAMES)
    for path in dict.fromkeys([first, None, *others]):
        try:
            return driver.chromium.launch(executable_path=path, args=OPTIONS)
        except Error as why:
            problem = problem or why if path is None else why
    assert problem
    raise problem


def why_none_starts() -> str | None:
    """None where a browser is here that starts; or else what was said, in a line."""
    try:
        with sync_playwright() as driver:
            _started(driver).close()
    except Exception as problem:  # where its driver does not start, it is a plain one
        return next(filter(None, map(str.strip, str(problem).split("\n"))), "nothing")[:200]
    return None


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser, found on this machine."""
    expect.set_options(timeout=PATIENCE_MS)
    with contextlib.ExitStack() as stack:
        try:
            browser = _started(stack.enter_context(sync_playwright()))
        except Exception as problem:
            advice = "these tests need a browser, which `make browser` fetches"
            pytest.fail(f"{advice}: {problem}", pytrace=False)
        try:
            yield browser
        finally:
            browser.close()


def with_python_at(address: str, built: str) -> str:
    """A page, as it was built, that loads Python from another address."""
    start = built.index("data-live=")
    settings = built[start : built.index(">", start)]
    known = settings.partition("&#34;pyodide&#34;: &#34;")[2].partition("&#34;")[0]
    assert known, settings
    return built.replace(known, address)


def with_own_python(page: Page, slug: str) -> None:
    """Let a page load Python from the test's own server."""

    def served(route: Route) -> None:
        built = route.fetch()
        route.fulfill(response=built, body=with_python_at("/pyodide/", built.text()))

    page.route(f"**/{slug}/", served)
