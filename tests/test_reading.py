"""What a reader meets in a browser besides the words: paper, a phone, no JavaScript, an absent
address, the search, and something to try.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from serving_mathematics.planner import first_answers
from serving_mathematics.support.measuring import read_record

from author import form
from builder import ROOT

from .conftest import CHAPTERS
from .profiles import THOROUGH, TODAY, todays
from .visits import AXE, DESK, PHONE, addresses

LONG = "capacity/tail-latency/"  # the page with the most figures and code
TEXT = "definitions/utilization/"
CONTRAST = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = parts.map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = {};
    const words = "article :is(p, a, h1, h2, h3, figcaption, code span, .kind, td, th)";
    for (const element of document.querySelectorAll(words)) {
        if (!element.checkVisibility() || !element.textContent.trim()) continue;
        const ratio = 1.05 / (light(getComputedStyle(element).color) + 0.05);
        if (ratio < 4.5) found[`${element.tagName}.${element.className}`] = ratio;
    }
    return found;
}"""


def test_paper_has_dark_ink_whatever_the_screen_has(page: Page, origin: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(origin + TEXT)
    page.add_style_tag(content="* { transition: none !important; }")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(CONTRAST) == {}
    expect(page.locator("figure.plot img.only-light").first).to_be_visible()
    assert page.locator("img.only-dark:visible").count() == 0
    page.goto(f"{origin}capacity/")
    expect(page.locator(".cards img.only-light").first).to_be_visible()
    assert page.locator("img.only-dark:visible").count() == 0


def test_a_chapter_on_paper_is_a_chapter_and_no_listing(page: Page, origin: str) -> None:
    told = []
    for slug in [chapter.slug for chapter in CHAPTERS] if THOROUGH else [LONG.strip("/")]:
        page.goto(f"{origin}{slug}/")
        printed = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
        told += form.problems(slug, {"paper": printed})
    assert not told, "\n".join(told)
    page.goto(origin + LONG)
    page.emulate_media(media="print")
    assert page.locator(".checks:visible, details.success .snippet:visible").count() == 0
    expect(page.locator("details.all-checks > summary")).to_be_visible()
    assert page.locator("details.check summary:visible").count() == 0
    expect(page.locator("details.symbols table")).to_be_visible()
    folded = page.locator(".snippet.is-folded.is-long pre > code").first
    heights = folded.evaluate("code => [code.clientHeight, code.scrollHeight]")
    assert heights[0] < heights[1]


PAPER = {"width": 605, "height": 900}  # what the margins leave of A4, in pixels of the page
CUT = """() => [...document.querySelectorAll("article :is(table, pre, svg, img)")]
    .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => `${one.tagName}: ${one.textContent.trim().slice(0, 60)}`)"""


def test_nothing_is_wider_than_the_paper(page: Page, origin: str) -> None:
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print")
    found = {}
    for address in addresses() if THOROUGH else addresses()[TODAY % 6 :: 6]:
        page.goto(origin + address)
        found[address] = page.evaluate(CUT)
    assert not {address: cut for address, cut in found.items() if cut}
    page.goto(f"{origin}machine/")
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1


def fits_at_four_times_its_size(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 225})
    assert page.evaluate("document.documentElement.scrollWidth") == 320


LINES = """(headings) => headings.filter((one) => one.checkVisibility()).map((one) => Math.round(
    one.getBoundingClientRect().height / parseFloat(getComputedStyle(one).lineHeight)))"""


def test_the_mark_of_a_heading_has_no_line_of_its_own(page: Page, origin: str) -> None:
    """Every heading of these pages is as high with its mark as without, on a phone and a desk."""
    for address in (TEXT, LONG, "optimization/batching/"):
        page.goto(origin + address)
        headings = page.locator("article :is(h1, h2, h3)")
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            before = headings.evaluate_all(LINES)
            assert len(before) > 10
            style = page.add_style_tag(content=".headerlink { display: none !important; }")
            assert headings.evaluate_all(LINES) == before
            style.evaluate("one => one.remove()")
    fits_at_four_times_its_size(page)


OVERLAP = """(blocks) => blocks.filter((one) => one.checkVisibility()).map((block) => {
    const icon = block.querySelector(".md-code__nav").getBoundingClientRect();
    const code = block.querySelector("code").getBoundingClientRect();
    const title = block.parentElement.querySelector(".filename");
    const words = document.createRange();
    if (title) words.selectNodeContents(title);
    const boxes = [code, ...(title ? words.getClientRects() : [])];
    const over = boxes.some((box) => icon.left < box.right - 1 && icon.right > box.left + 1
        && icon.top < box.bottom - 1 && icon.bottom > box.top + 1);
    return over ? block.innerText.slice(0, 200) : "";
})"""  # what stands in the blocks that are covered, nothing of the others


def test_the_copy_icon_covers_no_code(page: Page, origin: str) -> None:
    for address in (TEXT, "use/", "notebook/"):
        page.goto(origin + address)
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            over = page.locator(".highlight pre").evaluate_all(OVERLAP)
            assert len(over) > 2
            assert not any(over), f"{address} at {size['width']}: {max(over)}"


SCROLLED = """() => {
    window.scrolled = new Promise((done) => addEventListener("scrollend", () => done()));
}"""


def test_the_way_back_to_the_top_covers_no_text(page: Page, origin: str) -> None:
    button = page.locator(".md-top")
    page.goto(origin + LONG)

    def scrolled_back() -> None:
        page.mouse.move(400, 400)
        for far in (4000, -600):
            page.evaluate(SCROLLED)
            page.mouse.wheel(0, far)
            page.evaluate("scrolled")

    scrolled_back()
    expect(button).to_be_visible()
    box, text = button.bounding_box(), page.locator("article").bounding_box()
    assert box is not None
    assert text is not None
    assert box["x"] >= text["x"] + text["width"]
    assert box["x"] + box["width"] <= DESK["width"]
    button.click()
    page.wait_for_function("() => scrollY === 0")
    page.set_viewport_size(PHONE)
    scrolled_back()
    expect(button).to_be_hidden()


def test_an_editor_that_was_opened_shows_its_beginning_and_no_empty_output(
    page: Page, origin: str
) -> None:
    page.goto(origin + TEXT)
    page.locator(".live button").first.click()
    expect(page.locator(".cm-content")).to_be_focused()
    expect(page.locator(".live-source")).to_have_value(re.compile("def step_line"))
    assert page.locator(".cm-scroller").evaluate("one => one.scrollTop") == 0
    expect(page.locator(".cm-line").first).to_be_visible()
    expect(page.locator(".live-output")).to_be_hidden()


def test_targets_can_be_hit(page: Page, origin: str) -> None:
    """WCAG 2.2, 2.5.8, by axe: 24 by 24 pixels or room around; and buttons are as high as that.

    The navigation's links have that room, and axe counts what its scroll box cuts off as small. Two
    of the pages today, others tomorrow.
    """
    found = {}
    run = """() => axe.run({ include: [["body"]], exclude: [[".checks table"], [".md-sidebar"]] }, {
        runOnly: ["target-size"],
        resultTypes: ["violations"],
        rules: { "target-size": { enabled: true } },
    }).then(({ violations }) => violations.flatMap(({ nodes }) => nodes.map((one) => one.html)))"""
    buttons = """() => [...document.querySelectorAll("article :is(button, summary, select)")]
        .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 24)
        .map((one) => one.outerHTML.slice(0, 150))"""
    for address in todays(("", TEXT, "planner/", "exercises/", "glossary/", "404.html")):
        page.goto(origin + address)
        page.evaluate(AXE)
        for size in (DESK, PHONE):
            page.set_viewport_size(size)
            if small := page.evaluate(run) + page.evaluate(buttons):
                found[address, size["width"]] = small
    assert not found


def test_the_home_page_answers_at_once(page: Page, origin: str) -> None:
    """What it says stands in the page as well, and the planner is asked the same."""
    text = (page.request.get(origin)).text()
    page.goto(origin)
    told, sure = page.locator(".home-question .told"), page.locator(".home-question small")
    for place in (told, sure):  # of Python, and then of the script
        expect(place).to_be_in_viewport()
        assert place.inner_html() in text
    before = told.inner_text()
    asked = page.locator(".home-question select")
    asked.nth(2).select_option("20")
    expect(told).not_to_have_text(before)
    assert re.search(r"You need \d+ replicas? of", told.inner_text())
    asked.nth(0).select_option("Llama-3.1-8B")
    go = page.locator(".home-question .go")
    expect(go).to_be_in_viewport()
    go.click()
    page.wait_for_url("**/planner/?*")
    for name, value in (("model", "Llama-3.1-8B"), ("rate_per_s", "20"), ("tpot_s", "0.04")):
        expect(page.locator(f"#planner-{name}")).to_have_value(value)


CHOSEN = """(all) => all.map((places, turn) => {
    const question = document.querySelector(".home-question");
    const blanks = [...question.querySelectorAll("select")];
    blanks.forEach((blank, number) => { blank.selectedIndex = places[number]; });
    const last = blanks[turn % blanks.length];
    for (const kind of ["input", "change"]) last.dispatchEvent(new Event(kind, { bubbles: true }));
    return [question.querySelector(".told").innerHTML, question.querySelector("small").innerText];
})"""  # what is said to each choice of the blanks, as if one had been made last


def test_the_home_page_says_every_answer_as_its_module_does(page: Page, origin: str) -> None:
    page.goto(origin)
    record = read_record(first_answers.RECORD)
    sizes = [len(texts) for texts in first_answers.CHOICES.values()]
    some = list(itertools.product(*map(range, sizes)))[TODAY % 5 :: 5]
    for places, told in zip(some, page.evaluate(CHOSEN, some), strict=True):
        assert told == list(first_answers._sentence(places, record)), places
    fits_at_four_times_its_size(page)


def test_the_address_of_the_home_page_holds_the_question(page: Page, origin: str) -> None:
    """It is the planner's too, which answers it from the same table, with no Python."""
    record = read_record(first_answers.RECORD)
    page.goto(origin)
    blanks = page.locator(".home-question select")
    places = (0, 1, 2, 0, 1, 2)
    for number, place in enumerate(places):
        blanks.nth(number).select_option(index=place)
    said, sure = first_answers._sentence(places, record)
    page.wait_for_url(lambda url: "?" in url)  # once its script is there
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    for number, place in enumerate(places):
        expect(blanks.nth(number)).to_have_js_property("selectedIndex", place)
    expect(page.locator(".home-question .told")).to_have_js_property("innerHTML", said)
    asked = set[str]()
    page.on("request", lambda request: asked.add(request.url))
    page.locator(".home-question .go").click()
    page.wait_for_url("**/planner/?*")
    answer = page.locator(".planner-answer")
    expect(answer.locator(".planner-summary")).to_have_text(re.sub("<.*?>", "", said))
    expect(answer).to_contain_text(sure)
    expect(answer).not_to_have_class(re.compile("stale"))
    expect(page.locator("form.planner .live-status")).to_contain_text("is answered below")
    assert not [url for url in asked if "pyodide" in url or "live-worker" in url]
    page.locator("#planner-rate_per_s").fill("21")
    expect(answer).to_have_class(re.compile("stale"))


HOSTILE_ADDRESSES = {
    "?rate_per_s=7": "rate_per_s = “7”",
    "?model=<img src=x onerror=alert(1)>": "model = “<img src=x onerror=alert(1)>”",
    "?device=H100&price_per_hour=1e999": "device = “H100”",
    "?__proto__=1": "__proto__ = “1”",
    "?a=" + "b" * 3000: "a = “" + "b" * 40 + "”",
}


@pytest.mark.parametrize("query", HOSTILE_ADDRESSES)
def test_an_address_that_the_home_page_cannot_answer_is_told(
    page: Page, origin: str, query: str
) -> None:
    page.goto(f"{origin}{query}")
    sure = page.locator(".home-question small")
    expect(sure).to_contain_text(f"This address asks for {HOSTILE_ADDRESSES[query]}, which")
    expect(page.locator(".home-question .told")).to_contain_text("You need one replica of 4 GPUs")
    expect(page.locator(".home-question img")).to_have_count(0)


def test_an_address_that_the_planner_has_no_field_for_is_told(page: Page, origin: str) -> None:
    page.goto(f"{origin}planner/?rate_per_s=3&cache_precision=<b>&traffic=x&objective=y")
    status = page.locator("form.planner .live-status")
    expect(status).to_contain_text("and it is answered here. The address asks for traffic, which")
    problem = page.locator("#planner-cache_precision-problem")
    expect(problem).to_be_visible()
    expect(problem).to_have_text("cache_precision cannot be “<b>”, which this address asks for")
    expect(page.locator("#planner-cache_precision")).to_have_value("auto")
    page.goto(f"{origin}planner/?hello=1")
    expect(status).to_have_text("The address asks for hello, which is no field.")


def test_the_planner_is_linked_from_where_its_readers_are() -> None:
    to_it = re.compile(r"\]\((?:\.\./)?planner\.md[#)]")
    for path in (
        *("start", "intuition/latency-throughput-cost", "optimization/batching"),
        *("optimization/caching", "capacity/autoscaling", "capacity/littles-law"),
        "capacity/arrival-rates",
    ):
        assert to_it.search((ROOT / "docs" / f"{path}.md").read_text(encoding="utf-8")), path
    assert "{{ ask }}" in (ROOT / "docs/index.md").read_text(encoding="utf-8")  # opens it
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    paths = {title.split("\n")[0]: title for title in start.split("\n## ")[1:]}
    for title in ("Size a fleet", "Serve a language model on a GPU"):
        assert to_it.search(paths[title]), title


def test_no_address_has_a_gap() -> None:
    for file in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        assert "<address of" not in file.read_text(encoding="utf-8"), file.name


def lost(page: Page, origin: str, site: Path, path: str) -> None:
    """Go to an address that is not there, where a host answers with the site's page for that."""
    body = (site / "404.html").read_text(encoding="utf-8")
    page.route(
        f"**/{path}", lambda route: route.fulfill(status=404, body=body, content_type="text/html")
    )
    page.goto(origin + path)


def test_an_address_that_is_not_there_leads_on(page: Page, origin: str, site: Path) -> None:
    lost(page, origin, site, "definitions/utilisation/")
    near = page.locator(".lost-near a")
    expect(near).to_have_count(1)
    expect(near).to_have_attribute("href", "/definitions/utilization/")
    lost(page, origin, site, "token_bucket.html")
    expect(page.locator(".lost-near")).to_be_hidden()
    page.get_by_role("button", name="search for its words").click()
    query = page.locator("[data-md-component=search-query]")
    expect(query).to_be_focused()
    expect(query).to_have_value("token bucket")
    expect(page.locator(".md-search-result__item > a").first).to_be_visible()


@pytest.mark.parametrize("path", ["%zz/", "definitions/%ff%fe/", "%"])
def test_an_address_that_is_no_text_is_read_as_it_stands(
    path: str, page: Page, origin: str, site: Path
) -> None:
    wrong: list[object] = []
    page.on("pageerror", lambda problem: wrong.append(problem))
    lost(page, origin, site, path)
    expect(page.get_by_role("button", name="search for its words")).to_be_visible()
    assert wrong == []


def test_what_was_wrong_in_the_form_is_forgotten_when_it_is_mended(page: Page, origin: str) -> None:
    page.goto(f"{origin}planner/")
    field = page.locator("#planner-ttft_s")
    told = page.locator("#planner-ttft_s-problem")
    field.evaluate(
        "one => { one.setAttribute('aria-invalid', 'true');"
        " document.getElementById(`${one.id}-problem`).textContent = 'ttft_s must be a number'; }"
    )
    other = page.locator("#planner-tpot_s")
    other.fill("0.06")
    expect(told).not_to_be_empty()
    field.fill("2")
    expect(told).to_be_empty()
    expect(field).to_have_attribute("aria-invalid", "false")
    fits_at_four_times_its_size(page)


def test_a_definition_is_shown_once_on_a_page(site: Path) -> None:
    block = re.compile(r'<div class="[^"]*\bsnippet\b[^"]*">.*?<code[^>]*>(.*?)</code>', re.DOTALL)
    for file in site.rglob("index.html"):
        shown: set[str] = set()
        for code in block.findall(file.read_text(encoding="utf-8")):
            for definition in re.sub(r"<[^>]*>", "", code).rstrip().split("\n\n\n"):
                assert definition not in shown, f"{file.parent.name}: {definition[:60]}"
                shown.add(definition)


def test_offline_each_tool_says_a_sentence(browser: Browser, origin: str) -> None:
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.goto(f"{origin}definitions/utilization/")
    page.mouse.move(300, 300)  # the theme's script comes with the first sign of a reader
    expect(page.locator("script[src*=bundle]")).to_have_count(1)
    page.wait_for_load_state("networkidle")
    context.set_offline(True)
    tools = page.locator(".snippet-tools").first
    for button, told in (
        (".snippet-run", "no editor could"),
        (".snippet-copy", "cannot be copied"),
    ):
        tools.locator(button).click()
        expect(tools.get_by_role("status")).to_contain_text("The site is out of reach: ")
        expect(tools.get_by_role("status")).to_contain_text(told)
        expect(tools.locator(button)).to_be_enabled()
    page.keyboard.press("/")
    page.keyboard.type("queue")
    meta = page.locator(".md-search-result__meta")
    expect(meta).to_contain_text("The site is out of reach: nothing can be searched.")
    context.close()


def test_words_find_entries_of_a_long_list_and_lists_where_nothing_is_found(
    page: Page, origin: str
) -> None:
    """By keyboard; how many are left is heard."""
    page.goto(f"{origin}glossary/")
    field, status = page.get_by_label("Find in this list"), page.locator(".filter [role=status]")
    entries = page.locator(".filter ~ ul > li")
    count = entries.count()
    field.press_sequentially("Queue limit")
    left = [text.lower() for text in entries.filter(visible=True).all_inner_texts()]
    assert 0 < len(left) < 20
    assert all("queue" in text and "limit" in text for text in left)
    expect(status).to_have_text(f"{len(left)} of {count}")
    heads = page.locator("article h2").filter(visible=True)
    expect(heads).to_have_count(page.locator(".filter ~ ul").filter(visible=True).count())
    field.fill("zzqqx")
    expect(status).to_have_text(f"None of {count}")
    page.evaluate("location.hash = 'admission-control'")  # as a link to what is hidden
    expect(page.locator("#admission-control")).to_be_visible()
    expect(entries.filter(visible=True)).to_have_count(count)
    page.goto(f"{origin}glossary/")  # the place that was gone to closes the search, late
    elsewhere = page.locator(".search-elsewhere")
    page.keyboard.press("/")
    expect(page.locator(".md-search__input")).to_be_focused()
    page.keyboard.type("zzqqx")
    expect(elsewhere).to_be_visible()
    expect(elsewhere.get_by_role("link")).to_have_text(["Glossary", "All chapters", "References"])
    page.locator(".md-search__input").fill("queue")
    expect(elsewhere).to_be_hidden()


def test_a_browser_without_webassembly_is_told(browser: Browser, origin: str) -> None:
    context = browser.new_context(viewport=DESK)
    context.add_init_script("delete window.WebAssembly")
    page = context.new_page()
    asked = set[str]()
    page.on("request", lambda request: asked.add(request.url))
    page.goto(f"{origin}definitions/utilization/")
    page.locator(".snippet-run").first.click()
    status = page.locator(".live-below .live-status")
    expect(status).to_contain_text("Python could not be run: this browser has no WebAssembly")
    assert not [url for url in asked if "pyodide" in url]
    context.close()
