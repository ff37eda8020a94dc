"""The built site in a real browser: search, themes, buttons, keys, and no JavaScript at all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from .contrast import colour, ratio
from .visits import PHONE, SCHEMES, UNFOLD, WIDTH, addresses, tab_of_many, turned


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    yield from tab_of_many(browser, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture(scope="module")
def plain(browser: Browser) -> Iterator[Page]:
    """A tab without JavaScript."""
    yield from tab_of_many(browser, java_script_enabled=False)


def test_the_search_loads_late_hears_says_gives_the_keyboard_back_and_leads_on(
    page: Page, origin: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(origin)
    page.wait_for_load_state("networkidle")
    late = (f"{origin}search/", "/workers/search.", "/bundle.")
    assert not [url for url in asked if any(part in url for part in late)]
    query, opened = page.locator(".md-search__input"), page.locator("#__search")
    before = page.locator("article a").nth(1)
    before.focus()
    for key in ("s", "f", "Alt+f", "Alt+s"):
        page.keyboard.press(key)
        expect(opened).not_to_be_checked()
    page.keyboard.press("/")
    for text, first in (("Erlang C", "Utilization"), ("canary sample size", "Shadow and canary")):
        query.select_text()
        page.keyboard.insert_text(text)  # as what is pasted or dictated comes, without a key
        expect(page.locator(".md-search-result h1").first).to_have_text(first)
    assert all(any(part in url for url in asked) for part in late)
    expect(page.locator(".md-search-result [role=status]")).to_contain_text("matching documents")
    page.keyboard.press("Escape")
    expect(opened).not_to_be_checked()
    expect(before).to_be_focused()
    page.keyboard.press("/")
    expect(query).to_be_focused()
    page.keyboard.type("Erlang")
    expect(page.locator(".md-search-result h1").first).to_have_text("Utilization")
    found = page.locator(".md-search-result__item a").first
    page.keyboard.press("ArrowDown")
    expect(found).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(query).to_be_focused()
    found.click()
    expect(page.locator("article")).to_contain_text("Erlang")
    page.keyboard.press("/")
    page.keyboard.type("canary sample size")
    expect(page.locator(".md-search-result h1").first).to_have_text("Shadow and canary")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/architecture/shadow-canary/"))


IN_SIGHT = """() => {
    const { left, right, top, bottom } = document.activeElement.getBoundingClientRect();
    return right > 0 && left < innerWidth && bottom > 0 && top < innerHeight;
}"""


def test_in_a_narrow_window_the_menu_is_opened_and_left_by_keyboard(
    page: Page, origin: str
) -> None:
    page.set_viewport_size({"width": 320, "height": 256})  # a window at 400%
    page.goto(f"{origin}capacity/tail-latency/")
    side = page.locator(".md-sidebar--primary")
    page.keyboard.press("Tab")
    expect(page.locator("header [role=button]")).to_have_count(1)
    page.wait_for_function("() => 'document$' in window")  # the theme, which opens the search
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator("#__search").is_checked():  # a reader pauses there
            expect(page.locator("body")).to_have_attribute("data-md-scrolllock", "")
        page.wait_for_function(IN_SIGHT)
    expect(page.locator("article :focus")).to_have_count(1)
    menu = page.get_by_role("button", name="Menu")
    menu.press("Enter")
    expect(menu).to_have_attribute("aria-expanded", "true")
    expect(side.get_by_role("button", name="Back from Capacity")).to_be_focused()
    page.keyboard.press("Space")
    expect(side.get_by_role("button", name="Back from Read")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(menu).to_have_attribute("aria-expanded", "false")
    behind = """() => {
        const high = document.querySelector("header").offsetHeight;
        const stops = document.querySelectorAll("article :is(a, button, input, select, summary)");
        return [...stops].filter((one) => parseFloat(getComputedStyle(one).scrollMarginTop) < high);
    }"""
    assert page.evaluate(behind) == []
    page.add_style_tag(content="* { letter-spacing: 0.12em !important; word-spacing: 0.16em }")
    lens = page.locator("header .md-header__button[for=__search]")
    assert lens.evaluate("(one) => one.getBoundingClientRect().right") <= 320


def test_theme_switch_changes_the_figures(page: Page, origin: str) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(f"{origin}definitions/utilization/")
    figure = page.locator("#figure-gauges")  # one that nothing that moves takes the place of
    light, dark = figure.locator("img.only-light"), figure.locator("img.only-dark")
    expect(light).to_be_visible()
    expect(dark).to_be_hidden()
    for _ in range(2):  # from following the system to light, and on to dark
        page.locator('label[title^="Switch to"]:visible').click()
    expect(dark).to_be_visible()
    expect(light).to_be_hidden()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, background[4:-1].split(","))) < 200


def test_colours_follow_the_system_or_the_reader_from_the_first_look(
    page: Page, origin: str
) -> None:
    page.emulate_media(color_scheme="dark")
    body, bar = page.locator("body"), page.locator('meta[name="theme-color"]')

    def is_dark(dark: bool) -> None:
        scheme = "slate" if dark else "default"
        expect(body).to_have_attribute("data-md-color-scheme", scheme)
        expect(body).not_to_have_attribute("data-md-color-switching", "")

    page.route("**/bundle.*.js", lambda route: route.abort())  # the theme's own script
    page.goto(origin)
    is_dark(True)
    expect(bar).to_have_attribute("content", re.compile(r"^rgb"))
    dark_bar = bar.get_attribute("content")
    page.emulate_media(color_scheme="light")
    is_dark(False)
    page.emulate_media(color_scheme="dark")
    page.unroute("**/bundle.*.js")
    page.locator('label[title="Switch to light mode"]').click()
    is_dark(False)
    page.reload()
    is_dark(False)
    expect(bar).not_to_have_attribute("content", dark_bar or "")
    expect(page.locator("header label:visible[for^=__palette]")).to_have_count(1)
    page.get_by_role("radio", name="Light mode").press("Enter")
    is_dark(True)
    page.emulate_media(color_scheme="light")
    is_dark(True)
    page.get_by_role("radio", name="Dark mode").press(
        "Enter"
    )  # from the dark on to what the system has
    is_dark(False)


def test_who_asks_for_more_contrast_has_it(page: Page, origin: str) -> None:
    """Source: WCAG 2.2, 1.4.6, seven to one for words, and 1.4.11, three to one for lines."""
    page.goto(f"{origin}planner/")
    page.emulate_media(contrast="more")
    for scheme in SCHEMES:
        turned(page, scheme)
        quiet, link, line, paper = (
            colour(page.locator(selector).first.evaluate(f"one => getComputedStyle(one).{what}"))
            for selector, what in (
                (".planner-of", "color"),
                ("article li a", "color"),
                ("form.planner", "borderTopColor"),
                ("body", "backgroundColor"),
            )
        )
        assert min(ratio(quiet, paper), ratio(link, paper)) >= 7, scheme
        assert ratio(line, paper) >= 3, scheme


def test_with_the_systems_own_colours_one_way_is_marked_and_what_comes_is_seen(
    page: Page, origin: str
) -> None:
    page.emulate_media(forced_colors="active")
    page.goto(f"{origin}optimization/batching/")
    lines = page.locator(".ways a").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).borderBottomColor)"
    )
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sorted(line == paper for line in lines) == [False, True, True, True]
    coming = page.locator(".slider .future .bar").first
    expect(coming).to_be_attached()
    assert coming.evaluate("one => getComputedStyle(one).stroke") not in ("none", paper)


def test_everything_reads_without_javascript(plain: Page, origin: str) -> None:
    """And nothing is there that does nothing."""
    dead = (".snippet-fold", ".snippet-copy", ".slider", ".live", ".md-top")
    plain.goto(origin)
    assert plain.locator(f":is({', '.join(dead)}):visible").count() == 0
    expect(plain.locator(".home-question")).to_contain_text("I serve")
    expect(plain.locator(".home-question select:visible")).to_have_count(0)
    expect(plain.locator(".home-question .blank").first).to_have_text("Llama-3.3-70B")
    expect(plain.locator(".home-question .told")).to_contain_text("You need one replica of 4 GPUs")
    plain.goto(f"{origin}definitions/utilization/")
    assert plain.locator(f":is({', '.join(dead)}):visible").count() == 0
    expect(plain.locator("figure.plot img:visible").first).to_be_visible()
    expect(plain.locator("math").first).to_be_visible()
    solution = plain.locator("details.success").first
    expect(solution.locator("code").first).to_be_hidden()
    solution.locator("summary").click()
    expect(solution.locator("code").first).to_be_visible()


def test_fonts_of_formulas_and_italics_come_when_a_page_is_drawn(
    tab: Page, plain: Page, origin: str
) -> None:
    """They do not keep a page from its first look; who comes from another page, or to a place
    within, has them asked for before, and so has who runs no scripts."""
    late = re.compile(r"assets/(stix-two-math|fonts/serif-italic)\.woff2$")
    known = "[...document.fonts].filter((one) => /STIX/.test(one.family)).length"
    at_load = f"""new Promise((told) => addEventListener("load", () => {{
        const before = {known}, look = () => {known} ? told(before) : setTimeout(look, 20);
        look();
    }}))"""
    tab.add_init_script(f"window.found = {at_load}")
    tab.goto("about:blank")
    for address, before in (("definitions/utilization/", 0), ("capacity/", 1), ("#paths", 1)):
        tab.evaluate("(url) => { location.href = url; }", origin + address)
        tab.wait_for_url(origin + address)
        assert tab.evaluate("found") == before, address
    with plain.expect_request(late):
        plain.goto(f"{origin}definitions/utilization/")


def test_without_python_the_form_for_logs_stays_hidden(plain: Page, origin: str) -> None:
    plain.goto(f"{origin}ask-your-log/")
    expect(plain.locator("form.ask")).to_be_hidden()
    command = "serving-mathematics report results.json"
    expect(plain.locator("code", has_text=command).first).to_be_visible()


def test_every_page_is_listed_at_an_absent_address_without_javascript(
    plain: Page, origin: str
) -> None:
    plain.goto(f"{origin}404.html")
    expect(plain.locator(".lost-near")).to_be_hidden()
    expect(plain.locator(".lost-search")).to_be_hidden()
    listed = plain.locator(".lost a").evaluate_all("all => all.map((one) => one.pathname.slice(1))")
    parts = {address.partition("/")[0] for address in addresses() if address.count("/") > 1}
    pages = {address for address in addresses() if address and address.strip("/") not in parts}
    assert set(listed) == pages
    assert len(listed) == len(set(listed))


def test_a_listing_opens_at_its_algorithm_and_unfolds(page: Page, origin: str) -> None:
    """Docstring and checks of arguments are out of sight, and whoever selects takes them along."""
    page.goto(f"{origin}definitions/utilization/")
    block, button = page.locator(".snippet").first, page.locator(".snippet-fold").first
    rest = block.locator(".hll").first
    expect(button).to_have_text(re.compile("^Show docstring and checks of arguments of token_load"))
    heights = [block.evaluate("one => one.clientHeight")]
    twice = page.locator(".snippet.is-folded code:has(.hll ~ .hll)").first
    assert "Raises ValueError" in (rest.text_content() or "")
    for code in (block.locator("code"), twice):
        selected, whole = code.evaluate("""(one) => {
            getSelection().selectAllChildren(one);
            return [String(getSelection()), one.textContent];
        }""")
        assert selected.split() == whole.split()
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    heights.append(block.evaluate("one => one.clientHeight"))
    button.click()
    heights.append(block.evaluate("one => one.clientHeight"))
    assert heights[0] == heights[2] < 0.7 * heights[1]


@pytest.mark.parametrize("slug", ["planner", "optimization/batching"])
def test_where_letters_are_twice_as_large_nothing_is_wider_than_a_phone(
    page: Page, origin: str, slug: str
) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{origin}{slug}/")
    page.evaluate("document.documentElement.style.fontSize = '250%'")  # of the theme's 125%
    page.evaluate(UNFOLD)
    assert page.evaluate(WIDTH) == PHONE["width"]


def test_a_phone_whose_letters_are_twice_as_large_reads_whole_words(
    page: Page, origin: str
) -> None:
    """It is as a window of half its width, in which style sheets count in letters, too."""
    page.set_viewport_size({"width": PHONE["width"] // 2, "height": PHONE["height"] // 2})
    for slug in ("planner", "capacity/littles-law", "gallery"):
        page.goto(f"{origin}{slug}/")
        page.evaluate("document.fonts.ready")
        page.wait_for_function(f"() => {WIDTH} <= {PHONE['width'] // 2}")  # with pictures
        assert page.evaluate(WIDTH) == PHONE["width"] // 2, slug
        onward = page.locator(".md-footer__link--next .md-ellipsis")
        assert onward.evaluate("one => one.scrollWidth <= one.clientWidth"), slug
        if slug == "planner":  # two names of one field do not lie on each other
            names = page.locator("form.planner p:has(> .field-file) > label").evaluate_all(
                "(all) => all.map((one) => one.getBoundingClientRect().toJSON())"
            )
            assert names[0]["bottom"] <= names[1]["top"] or names[0]["right"] <= names[1]["left"]
    words = page.locator(".cards a > :not(img)").first.bounding_box()
    assert words is not None
    assert words["width"] > PHONE["width"] // 3
    name, button = (
        page.locator(f".md-header {one}").first.bounding_box()
        for one in (".brand span", ".md-header__option label:not([hidden]) svg")
    )
    assert name is not None
    assert button is not None
    assert name["x"] + name["width"] <= button["x"]


def test_on_paper_is_what_is_folded_but_for_hints_and_solutions(page: Page, origin: str) -> None:
    page.emulate_media(media="print")
    page.goto(f"{origin}machine/attention-memory/")
    folds = page.locator("details:not(.all-checks, .all-checks *, .cite)")
    missing = folds.evaluate_all(
        "all => all.filter((one) => !one.lastElementChild.checkVisibility())"
        ".map((one) => one.firstElementChild.textContent)"
    )
    assert set(missing) == {"Hint", "Solution"}


def test_a_link_to_what_is_folded_opens_it(page: Page, origin: str) -> None:
    folded = [page.locator(f"#{name} + details") for name in ("symbols", "checks")]
    symbols, checks = (fold.locator("table, details").first for fold in folded)
    page.goto(f"{origin}definitions/utilization/")
    expect(symbols).to_be_hidden()
    page.evaluate("location.hash = 'symbols'")
    expect(symbols).to_be_visible()
    expect(checks).to_be_hidden()
    page.goto("about:blank")
    page.goto(f"{origin}definitions/utilization/#checks")
    expect(checks).to_be_visible()


def test_long_code_is_laid_out_when_it_comes_near_is_as_high_before_and_unfolds_by_keyboard(
    page: Page, origin: str
) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{origin}fewer-bits/")
    code = page.locator(".snippet.is-long pre > code").last
    laid_out = "one => one.firstElementChild.checkVisibility({contentVisibilityAuto: true})"
    blocks = "[...document.querySelectorAll('.snippet.is-long pre')]"  # pictures come meanwhile
    heights = f"() => [innerWidth, ...{blocks}.map((one) => one.getBoundingClientRect().height)]"
    assert not code.evaluate(laid_out)
    before = page.evaluate(heights)
    code.scroll_into_view_if_needed()
    page.wait_for_function(f"one => ({laid_out})(one)", arg=code.element_handle())
    assert page.evaluate(heights) == before
    for wide in page.locator(".snippet.is-long pre > code").all():  # as all are on a phone
        wide.scroll_into_view_if_needed()
        expect(wide).to_have_attribute("tabindex", "0")
    button = page.locator(".snippet.is-long + .snippet-unfold > .snippet-fold").first
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(button).to_have_text(re.compile("^Show less of decoded"))
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(button).to_have_text(re.compile(r"Show all \d+ lines"))


def test_a_table_that_a_late_font_makes_wide_can_be_scrolled_by_keyboard(
    page: Page, origin: str
) -> None:
    page.goto(f"{origin}notation/")
    table = page.locator(".md-typeset .table").first
    assert table.get_attribute("tabindex") is None
    table.evaluate(
        """async (place) => { // wider words in a place of the same size, as another face has them
            await document.fonts.ready;
            place.querySelector("table").style.width = "200vw";
            document.fonts.dispatchEvent(new Event("loadingdone"));
        }"""
    )
    expect(table).to_have_attribute("tabindex", "0")


def test_the_button_in_a_block_of_code_takes_the_block(page: Page, origin: str) -> None:
    """Also where it stands over a block that is laid out when it comes near."""

    def taken(block: Locator) -> str:
        page.evaluate("navigator.clipboard.writeText('')")
        block.locator("button").click()
        expect(page.locator(".md-dialog")).to_contain_text("Copied")
        while not (text := str(page.evaluate("navigator.clipboard.readText()"))):
            page.wait_for_timeout(20)
        return text

    for address in ("notebook/", "capacity/tail-latency/"):
        page.goto(origin + address)
        block = page.locator(".highlight:not(.language-pycon) pre").nth(1)
        code = (block.locator("code").text_content() or "").strip()
        assert taken(block).strip() == code != ""
        named = page.locator("pre > code").evaluate_all(
            "all => all.map((one) => [one.previousSibling.firstChild.ariaLabel, one.textContent])"
        )
        for name, text in named:  # by the first line that tells something
            told = name.removeprefix("Copy ").removesuffix("…")
            assert told in " ".join(text.split())
            assert not told.startswith(("from ", "import ", "@", "#"))
    block = page.locator(".snippet.is-long.is-folded pre").first
    assert taken(block).strip() == (block.locator("code").text_content() or "").strip()
    session = page.locator(".language-pycon pre").first
    shown = (session.locator("code").text_content() or "").split("\n")
    typed = [line[4:] for line in shown if line.startswith((">>> ", "... "))]
    assert taken(session).split("\n") == typed != []


def test_copy_button_takes_what_the_function_needs(page: Page, origin: str, site: Path) -> None:
    """What stands at its place in the list of the page, whether that has come or is fetched."""
    page.goto(f"{origin}definitions/utilization/")
    for button in (page.locator(".snippet-copy").nth(1), page.locator(".snippet-copy").first):
        file, _, place = str(button.get_attribute("data-copied")).partition("#")
        listed = json.loads((site / "definitions/utilization" / file).read_bytes())
        page.evaluate("navigator.clipboard.writeText('')")  # what another page copied
        button.click()
        expect(page.locator(".md-dialog")).to_contain_text("Copied")
        while not (taken := page.evaluate("navigator.clipboard.readText()")):
            page.wait_for_timeout(20)
        assert taken == listed[int(place)]
    assert "def require(" in listed[0]
    compile(listed[0], "clipboard", "exec")


def test_what_is_done_before_the_script_of_the_theme_is_there_is_done(
    page: Page, origin: str
) -> None:
    """It comes with the first sign of a reader: a click on a copy button waits for it, the keys of
    the search do not, and neither does a link to a section.
    """
    held: list[Route] = []
    page.route("**/bundle.*.js", lambda route: held.append(route))  # not a bound method
    page.goto(f"{origin}definitions/utilization/")
    page.locator(".highlight pre").nth(1).locator("button").dispatch_event("click")
    page.keyboard.press("/")
    expect(page.locator(".md-search__input")).to_be_focused()
    page.keyboard.type("Erlang")
    while not held:
        page.wait_for_timeout(20)
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator(".md-dialog")).to_contain_text("Copied")
    expect(page.locator(".md-search__input")).to_have_value("Erlang")
    page.unroute("**/bundle.*.js")
    with page.expect_request("**/bundle.*.js"):
        page.goto(f"{origin}definitions/utilization/?h=erlang#sources")


VIOLATED = "violates the following Content Security Policy"


def test_under_the_policy_of_the_site_no_other_script_runs(page: Page, origin: str) -> None:
    """Every test that opens a page does so under this policy, and none hears of a violation."""
    answer = page.goto(f"{origin}definitions/utilization/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    for intruder in (
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.intruder = true";
            document.body.append(script);
        }""",
        """() => document.body.insertAdjacentHTML(
            "beforeend", "<img src=x onerror='window.intruder = 1'>")""",
    ):
        with page.expect_console_message(lambda message: VIOLATED in message.text):
            page.evaluate(intruder)
        assert page.evaluate("window.intruder") is None
