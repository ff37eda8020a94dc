"""One visit to a page: everything that the tests of all pages ask about it.

Its looks are judged at one width, at both or at none, and in one theme or both, as the caller
wants; whether it fits, always at both widths.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Browser, BrowserContext, Frame, Page, ViewportSize, expect

from builder import ROOT

from . import contrast

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1280, "height": 900}
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
COLOURS = ["color-contrast", "link-in-text-block"]  # what `contrast` computes for all pages
RUN_AXE = """async ([place, options]) => {
    const result = await axe.run(place, { resultTypes: ["violations"], ...options });
    const read = (id, { html }) => id !== "empty-table-header" || !html.includes("<math");
    return result.violations // but for heads that are formulas, whose text axe does not see
        .map(({ id, nodes }) => [id, nodes.filter((node) => read(id, node))])
        .filter(([, nodes]) => nodes.length)
        .map(([id, nodes]) => [id, nodes.length, nodes[0].html]);
}"""
UNFOLD = """() => {
    const folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
    return folded;
}"""
FOLD = "(all) => all.forEach((one) => { one.open = false; })"
PLAIN = """() => {  // thousands of words, signs and rows, which are alike but in their colours
    const inner = [...document.querySelectorAll(".highlight pre code, math")];
    const rows = [...document.querySelectorAll(".checks tr:nth-child(n+4)")];
    const kept = inner.map((code) => [code, [...code.childNodes]]);
    for (const code of inner) {
        const shown = code.cloneNode(true);
        const folded = code.closest(".is-folded") ? shown.querySelectorAll(".hll") : [];
        for (const lines of folded) lines.remove();
        code.textContent = shown.textContent;
    }
    const marks = rows.map(() => document.createComment(""));
    rows.forEach((row, place) => row.replaceWith(marks[place]));
    return () => {
        for (const [code, nodes] of kept) code.replaceChildren(...nodes);
        marks.forEach((mark, place) => mark.replaceWith(rows[place]));
    };
}"""
WHOLE = "definitions/utilization/"  # a page on which axe looks at every one of them
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


def turned(page: Page, scheme: str) -> None:
    """The page in the light or the dark theme, as the system asks for it."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])


def structure(page: Page, whole: bool = False, place: str = "body") -> list[Any]:
    """What axe finds on the page but for its colours, in what is folded too.

    whole: also in every word of code, sign of a formula and row of checks. place: where it looks.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    off = {name: {"enabled": False} for name in COLOURS}
    options = {"rules": off, "preload": False}  # which is for sounds and rotated pages
    opened = page.evaluate_handle(UNFOLD)
    page.evaluate(FOCUSABLE)
    coloured = page.evaluate_handle("(plain) => plain ? (" + PLAIN + ")() : () => {}", not whole)
    found = list(page.evaluate(RUN_AXE, [{"include": [[place]]}, options]))
    page.evaluate("(restore) => restore()", coloured)
    page.evaluate(FOLD, opened)
    return found


def unreadable(page: Page, *schemes: str) -> list[str]:
    """The colours of the page that cannot be read, in these themes or in either; it is left in the
    light one.
    """
    found = []
    opened = page.evaluate_handle(UNFOLD)
    for scheme in schemes or SCHEMES:
        turned(page, scheme)
        found += [f"{scheme}: {problem}" for problem in contrast.problems(page)]
    turned(page, "light")
    page.evaluate(FOLD, opened)
    return found


FOCUSABLE = """async () => {
    const waits = (place) => place.scrollWidth > place.clientWidth && place.tabIndex < 0;
    for (const code of document.querySelectorAll(".snippet.is-long pre > code")) {
        code.scrollIntoView(); // it is laid out when it comes near
        const line = code.firstElementChild;
        const ready = () => line.checkVisibility({ contentVisibilityAuto: true }) && !waits(code);
        for (let look = 0; look < 100 && !ready(); look += 1)
            await new Promise((resolve) => setTimeout(resolve, 10));
    }
    scrollTo(0, 0);
    for (let look = 0; look < 500; look += 1) {
        if (![...document.querySelectorAll(".table, pre > code")].some(waits)) return;
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}"""  # wait until the theme has measured what scrolls; what it forgets is for axe to say
WIDTH = "document.documentElement.scrollWidth"


@dataclass(frozen=True)
class Visit:
    """A page as it came: what it asked for and said before anybody touched it, how wide it is on a
    desk and on a phone and how high on a desk, the colours that cannot be read and what axe finds.
    """

    address: str
    asked: frozenset[str]
    said: tuple[str, ...]
    widths: tuple[int, int]
    height: int
    unreadable: list[str]
    structure: list[Any]


@dataclass(frozen=True)
class Look:
    """How a page's colours and structure are looked at: on a desk, on a phone, in these themes. In
    the dark alone axe sees the article: what is around it is one template, and in both the same.
    """

    wide: bool
    narrow: bool
    schemes: tuple[str, ...]


WHOLLY = Look(True, True, tuple(SCHEMES))
NOT_TODAY = Look(False, False, ())
TURNS = 12  # days after which it is a page's turn again


def look_of(place: int, day: int) -> Look:
    """The look at one of the pages that day: every twelfth day one of four, at one width and in one
    theme, and of three days that on which place and day together are a multiple of three.
    """
    turn, waits = divmod(place + day, TURNS)
    if waits:
        return NOT_TODAY
    wide = turn % 2 == 0
    return Look(wide, not wide, (tuple(SCHEMES)[turn // 2 % 2],))


def new_tab(context: BrowserContext) -> Page:
    """A tab that has drawn a frame: in its first, Chromium without windows tells the page of a
    pointer in the corner, which would be a reader's first sign.
    """
    page = context.new_page()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return page


class _Tab:
    """A tab that goes from page to page, fetches all that each of them asks for, and notes what it
    asked for and said.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.page = new_tab(context)
        network = context.new_cdp_session(self.page)
        network.send("Network.enable")
        network.send("Network.setCacheDisabled", {"cacheDisabled": True})
        self.asked, self.said = set[str](), list[str]()
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.on("framenavigated", self._come)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda problem: self.said.append(str(problem)))

    def _come(self, frame: Frame) -> None:
        """Forget what the page before asked for, or said, late."""
        if frame.parent_frame is None:
            self.asked.clear()
            self.said.clear()
            self.asked.add(frame.url)

    def open(self, url: str) -> None:
        """Begin to load a page on a desk."""
        self.page.set_viewport_size(DESK)
        self.page.goto(url, wait_until="commit")

    def visit(self, address: str, look: Look) -> Visit:
        """Wait until the page asks for nothing more, and look at it."""
        page, whole = self.page, address == WHOLE
        place = "body" if "light" in look.schemes else "article"
        page.wait_for_load_state("networkidle")
        asked = frozenset(url for url in self.asked if not url.startswith("data:"))
        bad, broken = list[str](), list[Any]()
        page.set_viewport_size(DESK)
        height = page.evaluate("document.documentElement.scrollHeight")
        widths = []
        for size, looks in ((DESK, look.wide), (PHONE, look.narrow)):
            page.set_viewport_size(size)
            widths.append(page.evaluate(WIDTH))
            if looks:
                bad += unreadable(page, *look.schemes)
                broken += structure(page, whole, place)
        said = tuple(self.said)
        return Visit(address, asked, said, (widths[0], widths[1]), height, bad, broken)


def visited(browser: Browser, origin: str, looks: Mapping[str, Look]) -> list[Visit]:
    """Pages, each opened once, and looked at. Of two tabs one loads the next page while the other
    is looked at: a page that asks for nothing more is known by half a second of silence.
    """
    found: list[Visit] = []
    context = browser.new_context(viewport=DESK, color_scheme="light")
    try:
        tabs = itertools.cycle([_Tab(context), _Tab(context)])
        waiting: Callable[[], Visit] | None = None
        for (address, look), tab in zip(looks.items(), tabs, strict=False):
            tab.open(origin + address)
            if waiting:
                found.append(waiting())
            waiting = functools.partial(tab.visit, address, look)
        return [*found, waiting()] if waiting else found
    finally:
        context.close()


def tab_of_many(browser: Browser, script: str = "", **settings: Any) -> Iterator[Page]:
    """A tab for the tests of a file, which finds the scripts of the site compiled: a page in a new
    one takes four times the work.

    script: that each page runs first; settings: of the browser's context."""
    context = browser.new_context(viewport=DESK, **settings)
    if script:
        context.add_init_script(script)
    yield new_tab(context) if settings.get("java_script_enabled", True) else context.new_page()
    context.close()
