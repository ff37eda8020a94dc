"""One visit to a page: everything that the tests of all pages ask about it.

Its looks are judged at one width or at both, as the caller wants; whether it fits, always at both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
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
UNFOLD = """() => {
    const folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
    return folded;
}"""
PLAIN = """() => {  // thousands of words, signs and rows, which are alike but in their colours
    const inner = [...document.querySelectorAll(".highlight pre code, math")];
    const rows = [...document.querySelectorAll(".checks tr:nth-child(n+4)")];
    const kept = inner.map((code) => [code, [...code.childNodes]]);
    for (const code of inner) code.textContent = code.textContent;
    for (const row of rows) row.hidden = true;
    return () => {
        for (const [code, nodes] of kept) code.replaceChildren(...nodes);
        for (const row of rows) row.hidden = false;
    };
}"""
WHOLE = "definitions/utilization/"  # a page on which axe looks at every one of them
TODAY = date.today().toordinal()
SCHEMES = {"light": "default", "dark": "slate"}


def addresses() -> list[str]:
    """The address of every page, from the sources."""
    found = []
    for file in sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("docs/*.ipynb")]):
        path = file.relative_to(ROOT / "docs").with_suffix("").as_posix()
        if not path.startswith("overrides/"):
            found.append(address_of(path))
    return [*found, "notebook/"]


def address_of(slug: str) -> str:
    """Where a page lies on the site: `part/` for `part/index`."""
    return f"{slug}/".removesuffix("index/")


def widths_of(places: Sequence[str], day: int) -> list[tuple[str, bool]]:
    """Each page, and whether it is looked at on a desk that day, or on a phone."""
    return [(address, (place + day) % 2 == 0) for place, address in enumerate(places)]


def turned(page: Page, scheme: str) -> None:
    """The page in the light or the dark theme, as the system asks for it."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])


def structure(page: Page, whole: bool = False) -> list[Any]:
    """What axe finds on the page but for its colours.

    whole: also in every word of code, sign of a formula and row of checks.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    off = {name: {"enabled": False} for name in COLOURS}
    options = {"rules": off, "preload": False}  # which is for sounds and rotated pages
    coloured = page.evaluate_handle("(plain) => plain ? (" + PLAIN + ")() : () => {}", not whole)
    found = list(page.evaluate(RUN_AXE, [{"include": [["body"]]}, options]))
    page.evaluate("(restore) => restore()", coloured)
    return found


def unreadable(page: Page) -> list[str]:
    """The colours of the page that cannot be read, in either theme."""
    found = []
    opened = page.evaluate_handle(UNFOLD)
    for scheme in reversed(SCHEMES):  # and back to the light one
        turned(page, scheme)
        found += [f"{scheme}: {problem}" for problem in contrast.problems(page)]
    page.evaluate("(all) => all.forEach((one) => { one.open = false; })", opened)
    return found


WIDTH = "document.documentElement.scrollWidth"
COPIED = """async () => {
    const buttons = [...document.querySelectorAll(".snippet-copy")];
    for (const button of buttons) {
        button.click();
        for (let look = 0; look < 500 && !button.dataset.clipboardText; look += 1)
            await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return buttons.map((button) => button.dataset.clipboardText);
}"""  # what each button takes


@dataclass(frozen=True)
class Visit:
    """A page as it came: what it asked for and said before anybody touched it, how wide it is on a
    desk and on a phone, the colours that cannot be read and what axe finds, and what its buttons
    copy.
    """

    address: str
    asked: frozenset[str]
    said: tuple[str, ...]
    widths: tuple[int, int]
    unreadable: list[str]
    structure: list[Any]
    copied: list[str]


def visit(browser: Browser, origin: str, address: str, wide: bool, narrow: bool) -> Visit:
    """Open a page for the first time, wait until it asks for nothing more, and look at it.

    wide, narrow: whether to look at colours and with axe on a desk and on a phone.
    """
    whole = address == WHOLE
    bad, broken = list[str](), list[Any]()
    context = browser.new_context(viewport=DESK, color_scheme="light")
    try:
        page = context.new_page()
        asked: set[str] = set()
        said: list[str] = []
        page.on("request", lambda request: asked.add(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda problem: said.append(str(problem)))
        page.goto(origin + address)
        if wide:
            broken += structure(page, whole)  # while it waits for what it asked for
        page.wait_for_load_state("networkidle")
        before = frozenset(url for url in asked if not url.startswith("data:"))
        desk_width = page.evaluate(WIDTH)
        bad += unreadable(page) if wide else []
        page.set_viewport_size(PHONE)
        phone_width = page.evaluate(WIDTH)
        if narrow:
            bad += unreadable(page)
            broken += structure(page, whole)
        heard, widths = tuple(said), (desk_width, phone_width)
        return Visit(address, before, heard, widths, bad, broken, page.evaluate(COPIED))
    finally:
        context.close()
