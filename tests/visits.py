"""One visit to a page at one width: everything that the tests of all pages ask about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Browser, Page, ViewportSize, expect

from builder import ROOT

from . import contrast

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 900}
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
COLOURS = ["color-contrast", "link-in-text-block"]  # what `contrast` computes for all pages
RUN_AXE = """async ([place, options]) => {
    const result = await axe.run(place, { resultTypes: ["violations"], ...options });
    return result.violations.map(({ id, nodes }) => [id, nodes.length, nodes[0].html]);
}"""
UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
SCHEMES = {"light": "default", "dark": "slate"}


def addresses() -> list[str]:
    """The address of every page, from the sources."""
    found = []
    for file in sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/*.ipynb")]):
        path = file.relative_to(ROOT / "docs").with_suffix("").as_posix()
        if not path.startswith("overrides/"):
            found.append("" if path == "index" else path.removesuffix("index").rstrip("/") + "/")
    return [*found, "notebook/"]


def turned(page: Page, scheme: str) -> None:
    """The page in the light or the dark theme, as the system asks for it."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])


def structure(page: Page) -> list[Any]:
    """What axe finds on the page but for its colours."""
    page.evaluate(AXE)
    off = {name: {"enabled": False} for name in COLOURS}
    return list(page.evaluate(RUN_AXE, [{"include": [["body"]]}, {"rules": off}]))


def unreadable(page: Page) -> list[str]:
    """The colours of the page that cannot be read, in either theme."""
    found = []
    for scheme in reversed(SCHEMES):  # and back to the light one
        turned(page, scheme)
        found += [f"{scheme}: {problem}" for problem in contrast.problems(page)]
    return found


@dataclass(frozen=True)
class Visit:
    """A page as it came, and what it had asked for and said before anybody touched it."""

    address: str
    asked: frozenset[str]
    said: tuple[str, ...]
    width: int
    structure: list[Any]
    unreadable: list[str]


def visit(browser: Browser, origin: str, address: str, size: ViewportSize) -> Visit:
    """Open a page for the first time, wait until it asks for nothing more, and look at it."""
    context = browser.new_context(viewport=size, color_scheme="light")
    try:
        page = context.new_page()
        asked: set[str] = set()
        said: list[str] = []
        page.on("request", lambda request: asked.add(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.goto(origin + address)
        found = structure(page)
        page.wait_for_load_state("networkidle")
        width = page.evaluate("document.documentElement.scrollWidth")
        before = frozenset(url for url in asked if not url.startswith("data:"))
        page.evaluate(UNFOLD)
        colours = unreadable(page)
        return Visit(address, before, tuple(said), width, found, colours)
    finally:
        context.close()
