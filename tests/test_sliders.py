"""What moves on the site in a real browser: by mouse, by keyboard, played, without JavaScript."""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from builder import ROOT, SOURCES
from builder.directives import told

from . import contrast
from .browsing import PATIENCE_MS
from .profiles import THOROUGH, TODAY, todays
from .sentences import reading
from .visits import DESK, PHONE, tab_of_many, turned

SHIFTS = """
    window.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
"""  # with those just after a key or a click, which browsers forgive
DIRECTIVE = re.compile(r"^\{\{ slider (\w+) \}\}$", re.MULTILINE)
CLOCK = re.compile(r'^def slider_(\w+)\((?:(?!^\S).)*"clock": ', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A slider of the site: its page and its name."""

    address: str
    name: str

    @property
    def place(self) -> str:
        return f"#slider-{self.name.replace('_', '-')}"


MOVING = [
    Shown(f"{file.relative_to(ROOT / 'docs').with_suffix('').as_posix()}/", name)
    for file in sorted(ROOT.glob("docs/*/*.md"))
    for name in DIRECTIVE.findall(file.read_text(encoding="utf-8"))
]
WITH_CLOCK = {
    name
    for file in (ROOT / SOURCES).glob("*/*/*.py")
    for name in CLOCK.findall(file.read_text(encoding="utf-8"))
}
TIMED = [shown for shown in MOVING if shown.name in WITH_CLOCK]
STILL = [shown for shown in MOVING if shown.name not in WITH_CLOCK]
PLOT = Shown("definitions/utilization/", "hockey_stick")


@pytest.fixture(params=todays(STILL), ids=lambda shown: f"{shown.address}{shown.name}")
def shown(request: pytest.FixtureRequest) -> Shown:
    value: Shown = request.param
    return value


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    yield from tab_of_many(browser, SHIFTS)


def opened(page: Page, origin: str, shown: Shown, site: Path) -> tuple[Locator, dict[str, Any]]:
    """The slider in view and drawn, and the numbers that the build put there."""
    page.goto(origin + shown.address)
    slider = page.locator(shown.place)
    if slider.evaluate("(place) => place.getBoundingClientRect().top > 2 * innerHeight"):
        expect(slider.locator("svg")).to_have_count(0)  # nothing of it is loaded yet
    slider.scroll_into_view_if_needed()
    expect(slider.locator("svg").first).to_be_visible()
    address = slider.get_attribute("data-grid")
    assert address is not None
    data = json.loads((site / shown.address / address).resolve().read_text(encoding="utf-8"))
    return slider, data


def drawn(slider: Locator) -> str:
    """All panels as they are."""
    found: str = slider.locator(".slider-panels").inner_html()
    return found


SAYS = """(slider) => [
    slider.querySelector("output > span").textContent,
    [...slider.querySelectorAll("input, select")].map(
        (one) => one.selectedOptions?.[0].textContent ?? one.getAttribute("aria-valuetext")
    ),
    [...slider.querySelectorAll("input, select")].map(
        (one) => (one.selectedOptions?.[0] ?? one.previousElementSibling).textContent
    ),
]"""  # the sentence, what a screen reader hears of each control, and the value beside its label


def says(slider: Locator, data: dict[str, Any], setting: list[int], frame: int = 0) -> None:
    """The sentence, the values beside the labels and what a screen reader hears are the build's."""
    values = [
        control["texts"][index] for control, index in zip(data["controls"], setting, strict=True)
    ]
    if clock := data.get("clock"):
        values.insert(0, told(clock["values"][frame], clock["unit"], clock["decimals"]))
    expected = [reading(data, setting, frame), values, values]
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (found := slider.evaluate(SAYS)) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found == expected


def put(slider: Locator, number: int, index: int) -> None:
    """A control at a value, whether it is a slider or a list."""
    control = slider.locator("input, select").nth(number)
    if control.evaluate("(one) => one.type") == "range":
        control.fill(str(index))
    else:
        control.select_option(str(index))


def nothing_moved(page: Page) -> None:
    """The layout is where it was when the page came."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert page.evaluate("window.shift") < 0.02


def test_keys_and_pointer_move_every_control_and_the_sentence_is_the_builds(
    page: Page, origin: str, shown: Shown, site: Path
) -> None:
    slider, data = opened(page, origin, shown, site)
    setting = [control["start"] for control in data["controls"]]
    says(slider, data, setting)
    for number, control in enumerate(data["controls"]):
        place = slider.get_by_label(control["label"], exact=True)
        last = len(control["texts"]) - 1
        for key, index in (
            ("Home", 0),
            ("ArrowRight", 1),
            ("End", last),
            ("ArrowLeft", last - 1),
        ):
            before, said = drawn(slider), reading(data, setting)
            same = setting[number] == index
            place.press(key)
            setting[number] = index
            says(slider, data, setting)
            nothing = said == reading(data, setting) == data["absent"]
            assert (drawn(slider) == before) == same or nothing, f"{control['label']}, {key}"
    nothing_moved(page)
    chance = random.Random(TODAY)
    for _ in range(24 if THOROUGH else 4):
        setting = [chance.randrange(len(control["texts"])) for control in data["controls"]]
        for number, index in enumerate(setting):
            put(slider, number, index)
        says(slider, data, setting)

    # Pointing at a plot along the first control moves that.
    for number, control in enumerate(data["controls"]):
        put(slider, number, control["start"])
    plots = slider.locator(".of-load, .of-dots")
    if not plots.count():
        return
    box = plots.first.bounding_box()
    assert box is not None
    setting = [control["start"] for control in data["controls"]]
    before = drawn(slider)
    far = 0.2 if 2 * setting[0] >= len(data["controls"][0]["texts"]) else 0.7
    page.mouse.move(box["x"] + far * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    setting[0] = int(slider.locator("input").first.input_value())
    says(slider, data, setting)
    assert drawn(slider) != before
    page.mouse.move(box["x"] + box["width"] - 1, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    setting[0] = len(data["controls"][0]["texts"]) - 1
    says(slider, data, setting)
    page.mouse.move(box["x"] + 5, box["y"] + 5)  # the button is up
    says(slider, data, setting)


LOOK = """(moving) => {
    const found = [], heights = new Set(), axes = new Set();
    const seen = (one) => one.textContent && one.getClientRects().length > 0;
    const boxed = (one) => {  // without its halo
        const { x, y, width, height } = one.getBBox(), { a, b, e, f } = one.getScreenCTM();
        if (b) return one.getBoundingClientRect();
        const [left, right, top, bottom] = [x, x + width, y, y + height].map((at) => a * at);
        return { left: e + left, right: e + right, top: f + top, bottom: f + bottom };
    };
    const lies = (one, other) => {  // the middle line of one, turned as it is, in the other's box
        const { x, y, width, height } = one.getBBox(), box = other.getBBox();
        const way = other.getScreenCTM().inverse().multiply(one.getScreenCTM());
        return Array.from({ length: Math.ceil(width / 3) }, (_, k) => 3 * k).some((far) => {
            const at = new DOMPoint(x + far, y + height / 2).matrixTransform(way);
            return at.x > box.x && at.x < box.x + box.width
                && at.y > box.y - 1 && at.y < box.y + box.height + 1;
        });
    };
    const look = (at) => {
        heights.add(moving.clientHeight);
        const ways = [...moving.querySelectorAll(":is(.of-curves, .of-load) .axis")];
        axes.add(ways.map((one) => one.getAttribute("d")).join());
        if (moving.scrollWidth > moving.clientWidth + 1) found.push(`${at}: wider than its place`);
        const now = [...moving.querySelectorAll(".cursor")].map((one) => one.getAttribute("d"));
        if (new Set(now.map((d) => parseInt(d.slice(1)))).size > 1)
            found.push(`${at}: lanes have axes that differ`);
        for (const picture of moving.querySelectorAll(".slider-plot > svg")) {
            const frame = picture.getBoundingClientRect();
            const texts = [...picture.querySelectorAll("text")].filter(seen)
                .map((one) => [one, one.textContent, boxed(one)]);
            texts.forEach(([one, said, a], i) => {
                if (a.left < frame.left - 1 || a.right > frame.right + 6
                    || a.top < frame.top - 3 || a.bottom > frame.bottom + 4)
                    found.push(`${at}: ${said} is cut`);
                for (const [two, other, b] of texts.slice(i + 1))  // letters, within their boxes
                    if (a.left + 1 < b.right && b.left + 1 < a.right
                        && a.top + 3 < b.bottom - 3 && b.top + 3 < a.bottom - 3
                        && (lies(one, two) || lies(two, one)))
                        found.push(`${at}: ${said} lies on ${other}`);
                for (const [two, other, b] of texts)
                    if (one.matches(".label.now") && two.matches(".label.now")
                        && a.top === b.top && a.left < b.left && b.left - a.right < 5)
                        found.push(`${at}: ${said} and ${other} read as one`);
            });
            const kinds = (selector, sign) => [...picture.querySelectorAll(selector)]
                .map((one) => one.getAttribute("class").split(`${sign}-`)[1]).join();
            const [lines, values] = [kinds(".point", "state"), kinds(".label.now", "of")];
            if (picture.parentNode.matches(".of-load") && lines.includes(",") && lines !== values)
                found.push(`${at}: values of ${lines} have the colours of ${values}`);
            const [points_y, values_y] = [".point", ".label.now"].map((kind) =>
                [...picture.querySelectorAll(kind)].map((one) => one.getBBox().y));
            const apart = (i, k) => points_y[i] < points_y[k] - 2 && values_y[i] > values_y[k];
            if (picture.parentNode.matches(".of-load")
                && points_y.some((_, i) => points_y.some((_, k) => apart(i, k))))
                found.push(`${at}: the value of the upper point stands below that of another`);
            const points = [...picture.querySelectorAll("circle")].filter(
                (one) => one.getClientRects().length > 0
            ).map((one) => one.getBoundingClientRect()).map((box) => (box.left + box.right) / 2);
            if (picture.parentNode.matches(".of-curves"))  // their names go with the drawn ends
                for (const [one, said, box] of texts)
                    if (one.matches(".label:not(.of-limit)")
                        && !points.some((x) => box.left - x > 0 && box.left - x < 14))
                        found.push(`${at}: ${said} is not where its line ends`);
            const dots = [...picture.querySelectorAll(".dots")].map((one) => one.getBBox().height);
            if (picture.parentNode.matches(".of-dots") && at.startsWith("start")
                && Math.max(...dots) < frame.height / 6) found.push(`${at}: its dots are small`);
            const { y, height } = picture.getBBox();
            const least = at.startsWith("start") ? 0.75 : 0.6;  // of other settings
            if (y + height < least * frame.height) found.push(`${at}: empty below ${y + height}`);
        }
    };
    const controls = [...moving.querySelectorAll("input, select")];
    const clock = moving.querySelector(".slider-clock input");
    const begun = ({ defaultValue, options }) =>
        defaultValue ?? [...options].findIndex((one) => one.defaultSelected);
    const put = (one, share) => {
        const size = one.max || one.options.length - 1;
        one.value = String(share === "start" ? begun(one) : Math.round(share * size));
        one.dispatchEvent(new Event("input"));
    };
    for (const share of ["start", 0, 0.5, 1]) {
        for (const one of controls) if (one !== clock) put(one, share);
        for (const when of clock ? [0, 0.5, 1] : [0]) {
            if (clock) put(clock, when);
            look(`${share}, ${when}`);
        }
    }
    if (heights.size > 1) found.push(`its height changes: ${[...heights]}`);
    if (axes.size > 1) found.push(`its axes move: ${[...axes].join("; ")}`);
    return found;
}"""  # at three settings and frames, and at the first


MEANT = """(moving) => {
    const all = (selector, from = moving) => [...from.querySelectorAll(selector)];
    const bars = (state) => all(`.of-lanes g:not(.future) .state-${state}`).map((one) => {
        const d = one.getAttribute("d");
        const stripes = d.includes("h2.0v"), outlined = getComputedStyle(one).stroke !== "none";
        return `${/v([\\d.]+)/.exec(d)[1]} ${stripes} ${outlined}`;
    });
    const legend = all(".slider-legend span").map((one) => {
        const sign = getComputedStyle(one, "::before");
        const image = sign.backgroundImage.replace(/rgb[^)]*\\)/g, "");
        const shape = [image, sign.borderWidth, sign.borderRadius, sign.height, sign.opacity];
        const ink = document.createElement("i");
        ink.style.color = "var(--hb-state)";
        one.append(ink);
        const colour = getComputedStyle(ink).color;
        ink.remove();
        const state = one.className.slice(6);
        return [state, colour, String(shape), bars(state)];
    });
    const after = (sign) => (one) => new RegExp(`${sign}-(\\\\w+)`).exec(one.classList)?.[1];
    const drawn = all(".bar, .dots, .ghost").filter((one) => one.getAttribute("d"))
        .map((one) => (one.matches(".ghost") ? "ghost" : after("state")(one)));
    const pictures = all(".slider-plot > svg");
    const curves = pictures.map((picture) => all(".curve", picture).map(after("state")));
    const names = pictures.map((picture) => all(".label:not(.now)", picture).map(after("of")));
    return { legend, drawn, curves, names, card: getComputedStyle(moving).backgroundColor };
}"""


def test_names_and_values_stand_where_their_lines_end_and_every_mark_is_named(
    page: Page, origin: str, site: Path
) -> None:
    """On a phone, which it fits without moving what is around, and turned to a desk: a sixth of
    them today, others tomorrow."""
    for shown in MOVING if THOROUGH else MOVING[TODAY % 6 :: 6]:
        page.set_viewport_size(PHONE)
        moving, _ = opened(page, origin, shown, site)
        page.evaluate("document.fonts.ready")
        assert moving.evaluate(LOOK) == [], shown
        nothing_moved(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], shown
        header, box = page.locator(".md-header").bounding_box(), moving.bounding_box()
        assert header is not None
        assert box is not None
        assert box["height"] + header["height"] <= PHONE["height"], shown  # all in one view
        widths = moving.locator("svg").evaluate_all("all => all.map((one) => one.clientWidth)")
        assert min(widths) > 0.8 * PHONE["width"], shown
        picture = moving.locator("svg").first
        width = picture.get_attribute("width")
        page.set_viewport_size(DESK)
        expect(picture).not_to_have_attribute("width", str(width))
        assert moving.evaluate(LOOK) == [], shown
        for scheme in ("light", "dark"):
            turned(page, scheme)
            assert unnamed(moving.evaluate(MEANT)) == [], (shown, scheme)


def test_letters_of_a_picture_grow_with_those_of_the_page_as_far_as_there_is_room(
    page: Page, origin: str, site: Path
) -> None:
    sizes = "all => all.map((one) => Math.round(100 * one.getScreenCTM().a))"
    for shown in MOVING if THOROUGH else MOVING[TODAY % 6 :: 6]:
        page.set_viewport_size(PHONE)
        moving, _ = opened(page, origin, shown, site)
        pictures = moving.locator("svg")
        expect(pictures).to_have_count(moving.locator(".slider-plot").count())
        assert set(pictures.evaluate_all(sizes)) == {100}, shown
        widths = [pictures.first.get_attribute("width") or ""]
        page.evaluate("document.documentElement.style.fontSize = '250%'")  # of the theme's 125%
        expect(pictures.first).not_to_have_attribute("width", widths[-1])
        widths.append(pictures.first.get_attribute("width") or "")
        if not moving.locator(".of-cells").count():  # whose many names leave no room
            assert min(pictures.evaluate_all(sizes)) > 105, shown
        page.set_viewport_size({"width": 2 * DESK["width"], "height": 2 * DESK["height"]})
        expect(pictures.first).not_to_have_attribute("width", widths[-1])
        assert pictures.evaluate_all(sizes) == [200] * pictures.count(), shown
        plots = moving.locator(".of-load svg")
        if plots.count():  # and what is pointed at is where it is seen
            plots.first.click(position={"x": 1, "y": 60}, force=True)
            assert moving.locator(".slider-controls input").first.input_value() == "0", shown


SPACED = "* { letter-spacing: 0.12em !important; word-spacing: 0.16em !important }"
OVER = """(all) => all.filter((one) => one.getBoundingClientRect().right
    > one.closest("svg").getBoundingClientRect().right + 1).map((one) => one.textContent)"""
HEIGHTS = """(all) => {
    const reading = all[0].closest(".slider").querySelector(".slider-reading");
    const found = new Set();
    const go = ([one, ...others]) => {
        if (!one) return found.add(Math.round(reading.getBoundingClientRect().height));
        for (let value = 0; value <= (one.max || one.length - 1); value += 1) {
            one.value = value;
            one.dispatchEvent(new Event("input", { bubbles: true }));
            go(others);
        }
    };
    go(all);
    return found.size;
}"""


def test_a_title_is_no_wider_than_its_picture_where_letters_are_set_apart(
    page: Page, origin: str
) -> None:
    """Source: WCAG 2.2, 1.4.12 (text spacing)."""
    page.set_viewport_size(PHONE)
    page.goto(f"{origin}machine/parallelism/")
    page.add_style_tag(content=SPACED)
    moving = page.locator(".slider").first
    moving.scroll_into_view_if_needed()
    picture = moving.locator("svg").first
    width = picture.get_attribute("width")
    page.set_viewport_size({"width": 380, "height": 844})  # drawn again, with these letters
    expect(picture).not_to_have_attribute("width", str(width))
    assert moving.locator("svg .title").evaluate_all(OVER) == []
    assert moving.locator("svg .title[style]").count()  # one would have been


def test_a_reading_stays_as_high_in_a_window_of_320_pixels(page: Page, origin: str) -> None:
    """Source: WCAG 2.2, 1.4.10 (reflow)."""
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{origin}optimization/quantization/")
    moving = page.locator(".slider").first
    moving.scroll_into_view_if_needed()
    expect(moving.locator("svg").first).to_be_attached()
    assert moving.locator("input, select").evaluate_all(HEIGHTS) == 1


@pytest.mark.parametrize("height", [225, 568])
def test_controls_come_from_below_the_picture_in_a_window_at_400_percent_too(
    page: Page, origin: str, site: Path, height: int
) -> None:
    """Source: WCAG 2.2, 1.4.10, 320 by 256 pixels, and 2.4.11; a desk's 1,280 by 900 enlarged."""
    page.set_viewport_size({"width": 320, "height": height})
    slider, _ = opened(page, origin, PLOT, site)
    for control in slider.locator("input").all():
        assert control.evaluate(
            """async (one) => {
                one.scrollIntoView({ block: "end", behavior: "instant" });
                await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                const { left, top, width, height } = one.getBoundingClientRect();
                return document.elementFromPoint(left + width / 2, top + height / 2) === one;
            }"""
        )


def unnamed(found: dict[str, Any]) -> list[object]:
    """Marks that have no name in view, or that neither contrast nor shape tells from another.

    Source: WCAG 2.2, 1.4.1 and 1.4.11, three to one.
    """
    inks = {state: contrast.colour(colour) for state, colour, *_ in found["legend"]}
    card = contrast.colour(found["card"])
    bad: list[object] = sorted(set(found["drawn"]) - inks.keys())
    for curves, names in zip(found["curves"], found["names"], strict=True):
        bad += sorted(set(curves) - set(names))
    # A free place has a peg, and what has yet to come is faint.
    pale = ("free", "future")
    bad += [state for state in inks if state not in pale and contrast.ratio(inks[state], card) < 3]
    for one, other in itertools.combinations(found["legend"], 2):
        alike = one[2] == other[2] or (one[3] and one[3] == other[3])
        if alike and contrast.ratio(inks[one[0]], inks[other[0]]) < 3:
            bad.append((one[0], other[0]))
    return bad


def test_theme_recolours_the_plot_without_drawing_it_again(
    page: Page, origin: str, site: Path
) -> None:
    page.emulate_media(color_scheme="light")
    slider, _ = opened(page, origin, PLOT, site)
    curve = slider.locator(".curve.state-answer").first
    light, before = curve.evaluate("(one) => getComputedStyle(one).stroke"), drawn(slider)
    turned(page, "dark")
    assert curve.evaluate("(one) => getComputedStyle(one).stroke") != light
    assert drawn(slider) == before


def test_without_javascript_and_on_paper_the_figure_stands_alone(
    browser: Browser, page: Page, origin: str, site: Path
) -> None:
    for shown in MOVING:
        built = (site / shown.address / "index.html").read_text(encoding="utf-8")
        name = shown.name.replace("_", "-")
        after = built.partition(f' id="slider-{name}"')[2].partition("<figure")[2]
        assert after.partition(">")[0].endswith(f' id="figure-{name}"'), shown
    context = browser.new_context(java_script_enabled=False, viewport=DESK)
    still = context.new_page()
    for shown in (STILL[0], TIMED[0]):
        still.goto(origin + shown.address)
        expect(still.locator(shown.place)).to_be_hidden()
        figure = still.locator(f"{shown.place.replace('slider', 'figure')} img.only-light")
        figure.scroll_into_view_if_needed()
        expect(figure).to_be_visible()
        assert figure.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    context.close()
    for shown in (STILL[0], TIMED[0]):
        slider, _ = opened(page, origin, shown, site)
        image = page.locator(f"{shown.place} + figure img.only-light")
        expect(image).to_be_hidden()  # what moves stands in its place
        expect(page.locator(f"{shown.place} + figure figcaption")).to_be_visible()
        page.emulate_media(media="print")
        expect(slider).to_be_hidden()
        expect(image).to_be_visible()
        page.emulate_media(media="null")


def test_numbers_that_cannot_be_loaded_are_said_to_be_missing(page: Page, origin: str) -> None:
    page.route("**/figures/**/*.json", lambda route: route.fulfill(status=404))
    page.goto(origin + STILL[0].address)
    slider = page.locator(STILL[0].place)
    slider.scroll_into_view_if_needed()
    expect(slider.locator("output")).to_contain_text("could not be loaded: 404")
    expect(page.locator(f"{STILL[0].place} + figure img:visible")).to_have_count(1)


def test_a_clock_is_stepped_by_key_by_button_and_by_hand(
    page: Page, origin: str, site: Path
) -> None:
    for shown in todays(TIMED):
        slider, data = opened(page, origin, shown, site)
        setting = [control["start"] for control in data["controls"]]
        frame, last = data["clock"]["start"], len(data["clock"]["values"]) - 1
        says(slider, data, setting, frame)
        clock = slider.get_by_label(data["clock"]["label"], exact=True)
        there = [("ArrowRight", frame + 1), ("ArrowLeft", frame), ("End", last), ("Home", 0)]
        if frame == last:
            there = [("ArrowLeft", frame - 1), ("ArrowRight", frame), *there[:1:-1], there[-1]]
        for key, to in there:
            before = drawn(slider)
            clock.press(key)
            says(slider, data, setting, to)
            assert drawn(slider) != before, key
        slider.get_by_role("button", name="Step on").click()
        says(slider, data, setting, 1)
        slider.get_by_role("button", name="Step back").press("Enter")
        says(slider, data, setting, 0)
        for number, control in enumerate(data["controls"]):
            slider.get_by_label(control["label"], exact=True).press("Home")
            setting[number] = 0
        says(slider, data, setting, 0)
        plots = slider.locator(".of-lanes, .of-curves")
        if plots.count():
            box = plots.first.bounding_box()
            assert box is not None
            page.mouse.click(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
            says(slider, data, setting, last)
        nothing_moved(page)
        for picture in slider.get_by_role("img").all():
            assert picture.get_attribute("aria-label")


NOW = "(slider) => Number(slider.querySelector('.slider-clock input').value)"


HEARD = """(slider) => {
    const output = slider.querySelector("output");
    window.heard = [];
    new MutationObserver(() => {
        if (output.getAttribute("aria-live") !== "off") window.heard.push(output.textContent);
    }).observe(output, { subtree: true, childList: true });
}"""  # what a screen reader says of the sentence


def test_a_clip_plays_when_asked_is_silent_meanwhile_and_pauses_out_of_view(
    page: Page, origin: str, site: Path
) -> None:
    shown = todays(TIMED)[0]
    slider, data = opened(page, origin, shown, site)
    start, output = slider.evaluate(NOW), slider.locator("output")
    page.wait_for_timeout(300)
    assert slider.evaluate(NOW) == start  # nothing plays by itself
    button = slider.locator("[data-step='0']")
    button.press("Enter")
    expect(button).to_have_text("Pause")
    expect(output).to_have_attribute("aria-live", "off")
    page.wait_for_function(f"() => ({NOW})(document.querySelector('{shown.place}')) > 2")
    button.click()
    expect(button).to_have_text("Play")
    expect(output).not_to_have_attribute("aria-live", "off")
    setting = [control["start"] for control in data["controls"]]
    paused = slider.evaluate(NOW)
    says(slider, data, setting, paused)
    button.click()
    page.wait_for_function(f"() => ({NOW})(document.querySelector('{shown.place}')) > {paused}")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(button).to_have_text("Play")
    slider.evaluate(HEARD)
    for text in ("Pause", "Play"):
        button.click()
        expect(button).to_have_text(text)
        page.wait_for_timeout(200)
    assert page.evaluate("window.heard") == [output.locator("span").text_content()]  # once
    slider.get_by_label(data["clock"]["label"], exact=True).press("End")
    button.click()  # from the end it begins anew
    assert slider.evaluate(NOW) < len(data["clock"]["values"]) - 1


def test_where_less_motion_is_wanted_a_clip_jumps(page: Page, origin: str, site: Path) -> None:
    page.emulate_media(reduced_motion="reduce")
    slider, data = opened(page, origin, TIMED[0], site)
    slider.evaluate(
        """(slider) => {
            window.seen = [];
            new MutationObserver(() => window.seen.push(slider.querySelector("input").value))
                .observe(slider.querySelector("input"), { attributeFilter: ["aria-valuetext"] });
        }"""
    )
    slider.locator("[data-step='0']").click()
    page.wait_for_function("() => new Set(window.seen).size >= 3")
    seen = sorted({int(value) for value in page.evaluate("window.seen")})
    page.emulate_media(reduced_motion="null")
    least = (len(data["clock"]["values"]) - 1) // 12
    assert all(after - before >= least for before, after in itertools.pairwise(seen)), seen


def test_colours_of_the_pictures_can_be_told_from_the_page(
    page: Page, origin: str, site: Path
) -> None:
    """Source: WCAG 2.2, 1.4.11, three to one; of words in these colours, 1.4.3."""
    slider, _ = opened(page, origin, TIMED[0], site)
    for scheme in ("light", "dark"):
        turned(page, scheme)
        colours = slider.evaluate(
            """(slider) => ["answer", "prompt", "wait", "broken", "axis", "free"].map((name) => {
                slider.style.color = `var(--hb-${name})`;
                return getComputedStyle(slider).color;
            }).concat(getComputedStyle(document.body).backgroundColor)"""
        )
        *inks, free, paper = map(contrast.colour, colours)
        assert all(contrast.ratio(ink, paper) >= 3 for ink in inks), (scheme, colours)
        assert contrast.ratio(inks[0], paper) >= 4.5, scheme  # the button of Play, too
        assert all(contrast.ratio(ink, free) >= 2.2 for ink in inks), (scheme, colours)
        assert contrast.ratio(inks[4], free) >= 3, scheme  # the peg of a free place
