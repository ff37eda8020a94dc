"""What is done before there is who answers: on a slow line scripts come seconds after the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from .visits import PHONE, tab_of_many

BATCHING = "optimization/batching/"
PLAY, CLOCK = "[data-step='0']", "#slider-twelve-requests-clock"
QUERY = ".md-search__input"


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """What a test holds back is asked for anew: nothing is cached where requests are caught."""
    yield from tab_of_many(browser, permissions=["clipboard-read", "clipboard-write"])


def held_back(page: Page, *scripts: str) -> Callable[[], None]:
    """Scripts that come when the function that is returned lets them."""
    held: list[Route] = []

    def later(route: Route) -> None:
        held.append(route)

    for script in scripts:
        page.route(f"**/{script}", later)

    def go() -> None:
        while len(held) < len(scripts):
            page.wait_for_timeout(20)
        for route in held:
            route.continue_()
        for script in scripts:
            page.unroute(f"**/{script}")

    return go


def pressed(page: Page, where: str, name: str = "") -> None:
    """A press of the first button there, which is then busy."""
    button = page.locator(where, has_text=name).first if name else page.locator(where).first
    button.scroll_into_view_if_needed()
    button.click(no_wait_after=True)
    expect(button).to_have_attribute("aria-busy", "true")


FOLD = (".snippet-fold", ".snippet-fold[aria-expanded=true]")
RUN = (".snippet-run", ".live-below .live-source")
COPY = (".snippet-copy", ".md-dialog:has-text('Copied')")
PLAYED = (PLAY, f"{PLAY}:not(:has-text('Play all'))")  # it pauses where another press scrolls


@pytest.mark.parametrize(
    ("scripts", "address", "buttons"),
    [
        (["handbook.js"], BATCHING, [FOLD, RUN, COPY, PLAYED]),
        (["handbook.js"], "planner/", [(".live button", ".live select")]),
        (["bundle.*.js", "slider.js"], BATCHING, [COPY, PLAYED]),
        (["copied/*", "twelve_requests.json"], BATCHING, [COPY, PLAYED]),
        (["planner.js"], "planner/", [("form.planner button:has-text('link')", "text=/^Copied$/")]),
        (["home.js"], "", [(".home-question button", "text=/^Copied$/")]),
        (
            ["ask.js"],
            "ask-your-log/",
            [("form.ask [type=submit]", "text=/^No report|could not be run/")],
        ),
    ],
)
def test_buttons_that_are_pressed_too_early_are_pressed_once_there_is_who_answers(
    page: Page, origin: str, scripts: list[str], address: str, buttons: list[tuple[str, str]]
) -> None:
    go = held_back(page, *scripts)
    page.goto(origin + address, wait_until="commit")
    for button, _ in buttons:
        if (button, scripts[0]) == (COPY[0], "copied/*"):
            page.locator(button).first.click()
        else:
            pressed(page, button)
    for _, then in buttons:
        expect(page.locator(then)).to_have_count(0)
    go()
    for _, then in buttons:
        expect(page.locator(then).first).to_be_attached()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_what_was_moved_and_chosen_before_stays(page: Page, origin: str) -> None:
    go = held_back(page, "slider.js")
    page.goto(origin + BATCHING, wait_until="commit")
    clock = page.locator(CLOCK)
    clock.press("ArrowRight")
    chosen = int(clock.input_value())
    go()
    expect(page.locator("#slider-twelve-requests svg").first).to_be_visible()
    assert int(clock.input_value()) == chosen != 24
    shown = page.locator("#figure-twelve-requests img").first.get_attribute("alt") or ""
    expect(page.locator("#slider-twelve-requests .visually-hidden")).to_have_text(shown)
    expect(page.locator("#slider-twelve-requests output")).to_contain_text("after 2.5 s")

    go = held_back(page, "home.js")
    page.goto(f"{origin}?rate_per_s=20", wait_until="commit")
    page.get_by_label("requests a second").select_option("1")
    pressed(page, ".go")
    go()
    page.wait_for_url("**/planner/?*rate_per_s=1&*")  # and not 20, nor none


def test_what_can_no_longer_be_copied_is_not_said_to_be(page: Page, origin: str) -> None:
    go = held_back(page, "bundle.*.js")
    page.goto(origin + BATCHING, wait_until="commit")
    page.evaluate("navigator.clipboard.writeText('before')")
    pressed(page, ".snippet-copy")
    page.evaluate("Object.defineProperty(navigator, 'userActivation', {value: {isActive: false}})")
    go()
    expect(page.locator(".md-dialog")).to_contain_text("press once more")
    assert page.evaluate("navigator.clipboard.readText()") == "before"


def test_a_search_begins_with_its_first_letter(page: Page, origin: str) -> None:
    page.set_viewport_size(PHONE)
    go = held_back(page, "bundle.*.js")
    page.goto(origin + BATCHING, wait_until="commit")
    page.locator("header label[for=__search]").first.click()
    expect(page.locator(QUERY)).to_be_focused()
    page.keyboard.type("Erlang")
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    go()
    expect(page.locator(QUERY)).to_have_value("Erlang")
    expect(page.locator(".md-search-result__item").first).to_be_visible()
    assert page.url == origin + BATCHING


def test_the_editor_that_comes_late_goes_on_where_one_typed(page: Page, origin: str) -> None:
    go = held_back(page, "codemirror.js")
    page.goto(origin + BATCHING)
    page.locator(".snippet-run[data-answers]").first.click()
    expect(page.locator(".live-source")).to_be_focused()
    page.keyboard.type("#a")
    go()
    expect(page.locator(".cm-content")).to_be_focused()
    page.keyboard.type("b")
    expect(page.locator(".cm-line").first).to_contain_text("#abdef")
    page.reload()
    page.locator(".snippet-run[data-answers]").first.click()
    expect(page.locator(".cm-line").first).to_contain_text("#abdef")  # what was written is there


def test_where_a_script_never_comes_the_page_is_as_without_scripts(page: Page, origin: str) -> None:
    slider = page.locator("#slider-twelve-requests")
    figure = page.locator("#figure-twelve-requests img.only-light")
    page.route("**/slider.js", lambda route: route.abort())
    page.goto(origin + BATCHING)
    expect(slider).to_contain_text("This cannot move")
    expect(slider.locator("button:visible")).to_have_count(0)
    expect(figure).to_be_visible()
    page.unroute("**/slider.js")
    page.route("**/handbook.js", lambda route: route.abort())
    page.goto(origin + BATCHING)
    expect(slider).to_be_hidden()
    expect(figure).to_be_visible()
    expect(page.locator(".snippet-run:visible")).to_have_count(0)
    page.route("**/planner.js", lambda route: route.abort())
    page.unroute("**/handbook.js")
    page.goto(f"{origin}planner/")
    expect(page.locator("form.planner")).to_contain_text("this form cannot answer")
    expect(page.locator("[aria-busy]")).to_have_count(0)
    page.route("**/handbook.js", lambda route: route.abort())
    page.route("**/home.js", lambda route: route.abort())
    page.goto(origin)
    page.locator(".go").click()
    page.wait_for_url("**/planner/")


def test_colours_chosen_on_another_page_are_those_of_the_one_gone_back_to(
    page: Page, origin: str
) -> None:
    """A browser keeps a page as it was left, which the tests' own does not."""
    page.goto(origin)
    page.evaluate("__md_set('__palette', {index: 2})")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")


def test_where_nothing_is_kept_colours_follow_the_system_and_are_chosen(
    browser: Browser, origin: str
) -> None:
    nothing = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException(); }})"
    for page in tab_of_many(browser, nothing, color_scheme="dark"):
        page.goto(origin)
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
        page.locator("header label:visible[for^=__palette]").click()
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")


DROP = """(where) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(["a"], "log.csv"));
    const event = new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer });
    return !document.querySelector(where).dispatchEvent(event);
}"""


def test_a_file_that_is_dropped_beside_its_place_does_not_take_the_pages_place(
    page: Page, origin: str
) -> None:
    page.goto(f"{origin}ask-your-log/")
    expect(page.locator("form.ask")).to_be_visible()
    page.wait_for_function(DROP, arg="h1")  # once the form's script is there
    assert page.evaluate("document.querySelector('#ask-files').files[0].name") == "log.csv"
    assert not page.evaluate(DROP, "#ask-against")  # which takes it by itself
