"""Every page in a real browser, wide and on a phone: accessible, light, asking nobody else."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from author import form

from . import contrast
from .conftest import CHAPTERS
from .profiles import THOROUGH, TODAY, todays
from .visits import (
    AXE,
    COLOURS,
    DESK,
    NOT_TODAY,
    PHONE,
    RUN_AXE,
    SCHEMES,
    WHOLE,
    WHOLLY,
    Look,
    Visit,
    address_of,
    addresses,
    look_of,
    structure,
    turned,
    visited,
)

pytestmark = pytest.mark.timeout(1200)  # all pages are looked at before the first test
LIGHT_BYTES = 150 * 1024
PACKED = {".html", ".css", ".js", ".svg", ".json"}  # what static hosts send compressed


@pytest.fixture(scope="module")
def visits(browser: Browser, origin: str) -> list[Visit]:
    """A third of the pages, each opened once, and a quarter of these looked at in one of four ways,
    all of them and in every way in 48 days."""
    pages = [*enumerate(addresses())]
    pages = pages if THOROUGH else pages[-TODAY % 3 :: 3]
    looks = {address: WHOLLY if THOROUGH else look_of(n, TODAY) for n, address in pages}
    return visited(browser, origin, looks)


def test_48_days_look_at_every_page_in_every_way() -> None:
    ways = {Look(w, not w, (scheme,)) for w in (True, False) for scheme in SCHEMES}
    for place in range(len(addresses())):
        found = [look_of(place, TODAY + day) for day in range(48)]
        assert {*found} - {NOT_TODAY} == ways
        assert found.count(NOT_TODAY) == 44
    assert {look_of(place, TODAY) for place in range(48)} == {*ways, NOT_TODAY}


def test_no_page_has_a_violation_that_axe_knows(visits: list[Visit]) -> None:
    found = {visit.address: visit.structure for visit in visits}
    assert not {address: broken for address, broken in found.items() if broken}


def test_every_colour_of_text_can_be_read_in_both_themes(visits: list[Visit]) -> None:
    found = {visit.address: visit.unreadable for visit in visits}
    assert not {address: bad for address, bad in found.items() if bad}


def test_pages_fit_a_phone(visits: list[Visit]) -> None:
    desk, phone = DESK["width"], PHONE["width"]
    found = {visit.address: visit.widths for visit in visits}
    assert not {a: (wide, narrow) for a, (wide, narrow) in found.items() if wide > desk}
    assert not {a: (wide, narrow) for a, (wide, narrow) in found.items() if narrow > phone}


def test_no_chapter_is_higher_than_its_form_allows(visits: list[Visit]) -> None:
    heights = {visit.address: visit.height / DESK["height"] for visit in visits}
    slugs = [chapter.slug for chapter in CHAPTERS]
    told = [
        problem
        for slug in slugs
        if address_of(slug) in heights
        for problem in form.problems(slug, {"screens": round(heights[address_of(slug)], 1)})
    ]
    assert not told, "\n".join(told)


def test_axe_finds_what_is_wrong(page: Page) -> None:
    """The rules that are left to it, on a page where something is broken on purpose."""
    assert structure(page, whole=True) == []
    page.evaluate("""() => {
        const images = [...document.querySelectorAll("article img")];
        window.broken = images.find((one) => one.checkVisibility());
        window.broken.removeAttribute("alt");
        document.querySelector("article").append(document.createElement("button"));
    }""")
    try:
        assert {found[0] for found in structure(page)} == {"image-alt", "button-name"}
    finally:
        page.evaluate("""() => {
            window.broken.alt = "again";
            document.querySelector("article > button").remove();
        }""")


def test_pages_ask_no_other_origin_and_say_nothing(visits: list[Visit], origin: str) -> None:
    assert not {visit.address: visit.said for visit in visits if visit.said}
    asked = {urlsplit(url).netloc for visit in visits for url in visit.asked}
    assert asked == {urlsplit(origin).netloc}


def test_no_page_loads_an_editor_or_python_before_a_click(visits: list[Visit]) -> None:
    paths = {visit.address: {_path(url) for url in visit.asked} for visit in visits}
    early = re.compile("live|pyodide|codemirror")
    live = {address: set(filter(early.search, some)) for address, some in paths.items()}
    forms = ("planner/", "ask-your-log/")  # whose scripts begin with that of the editor
    assert {a for a, some in live.items() if some} == {a for a in forms if a in live}
    assert {path for some in live.values() for path in some} <= {"/assets/live.js"}


def test_pages_are_light_before_anything_is_run(visits: list[Visit], site: Path) -> None:
    """What a browser fetches of each page before a key or a click, packed as static hosts do."""

    @functools.cache
    def weight(path: str) -> int:
        file = site / path.strip("/")
        content = (file / "index.html" if file.is_dir() else file).read_bytes()
        packed = file.is_dir() or file.suffix in PACKED
        return len(gzip.compress(content, 6) if packed else content)

    total = {v.address: sum(weight(path) for path in map(_path, v.asked)) for v in visits}
    assert min(total.values()) > 10_000
    assert not {address: bytes_ for address, bytes_ in total.items() if bytes_ >= LIGHT_BYTES}


def _path(url: str) -> str:
    return urlsplit(url).path


@pytest.fixture(scope="module")
def page(browser: Browser, origin: str) -> Iterator[Page]:
    page = browser.new_page(viewport=DESK)
    page.goto(origin + WHOLE)
    page.evaluate(AXE)
    yield page
    page.close()


def seen_by_axe(page: Page, selector: str) -> list[object]:
    """What axe says of the colours of an element and all that is in it."""
    return list(page.evaluate(RUN_AXE, [{"include": [[selector]]}, {"runOnly": COLOURS}]))


@pytest.mark.parametrize("scheme", SCHEMES if THOROUGH else [[*SCHEMES][TODAY % 2]])
def test_where_axe_looks_at_every_colour_it_agrees(page: Page, scheme: str) -> None:
    turned(page, scheme)
    assert contrast.problems(page) == seen_by_axe(page, "body") == []


DARK = "[data-md-color-scheme=slate]"
BAD_COLOURS = {  # what a style sheet might say by mistake, and the scheme in which it shows
    "token": ("light", ".highlight .k", "color: #b9b9b9"),
    "token in the dark": ("dark", f"{DARK} .highlight .k", "color: #4a4f6a"),
    "prose": ("light", ".md-typeset p", "color: #999"),
    "prose in the dark": ("dark", f"{DARK} .md-typeset p", "color: #667"),
    "transparent item": ("light", ".md-typeset li", "opacity: .4"),
    "background": ("light", ".md-typeset th", "background: #555"),
    "text just too pale": ("light", ".md-typeset p", "color: #777; background: #fff"),
    "link like its text": (
        "light",
        ".md-typeset p a",
        "color: #333; text-decoration: none; border: 0; font-weight: inherit",
    ),
}


@pytest.mark.parametrize("mistake", todays([*BAD_COLOURS]))
def test_a_bad_colour_is_found_and_axe_agrees(page: Page, mistake: str) -> None:
    scheme, selector, rules = BAD_COLOURS[mistake]
    turned(page, scheme)
    assert contrast.problems(page) == []
    mark = "[data-looked-at]"
    text = ":not(.question, .of-page, .of-page *)"  # which are large, or no block of text
    first = page.locator(f"{selector.removeprefix(DARK)}{text}").locator("visible=true").first
    first.evaluate("one => one.setAttribute('data-looked-at', '')")
    assert not seen_by_axe(page, mark)
    important = "; ".join(f"{rule.strip()} !important" for rule in rules.split(";"))
    sheet = page.add_style_tag(content=f"{selector}{{{important}}}")
    try:
        assert contrast.problems(page)
        assert seen_by_axe(page, mark)
    finally:
        sheet.evaluate("one => one.remove()")
        page.locator(mark).evaluate("one => one.removeAttribute('data-looked-at')")


def test_ratios_are_those_of_wcag() -> None:
    """Source: WCAG 2.2, contrast ratio; #767676 on white is the palest grey that passes, 4.54."""
    black, white, grey = map(
        contrast.colour, ("rgb(0, 0, 0)", "rgb(255, 255, 255)", "rgb(118, 118, 118)")
    )
    assert contrast.ratio(black, white) == contrast.ratio(white, black) == pytest.approx(21)
    assert contrast.ratio(grey, white) == pytest.approx(4.542, abs=5e-4)
    half = contrast.over(contrast.colour("rgba(0, 0, 0, 0.5)"), white)
    assert half == contrast.over(black, white, 0.5) == (0.5, 0.5, 0.5, 1.0)
    assert contrast.colour("color(srgb 0.5 0 1 / 0.25)") == (0.5, 0.0, 1.0, 0.25)
    with pytest.raises(ValueError, match="must be rgb"):
        contrast.colour("hsl(1 2% 3%)")
