"""The colours that text has on a page, each combination once, and how well it can be read.

axe looks at every element, and a chapter has thousands of coloured words of code. Here the browser
says which colours there are, and the ratios are computed once for each: WCAG 2.2, 1.4.3 and 1.4.1.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

COLLECT = """() => {
    for (const moving of document.getAnimations())  // a change of colours is not its end
        if (Number.isFinite(moving.effect.getComputedTiming().endTime)) moving.finish();
    const wide = document.documentElement.scrollWidth;
    const shown = (element) =>
        element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    const styles = new Map();
    const style = (element) => {  // and the backgrounds behind it, from the nearest outwards
        if (!element) return { layers: [] };
        if (!styles.has(element)) {
            const own = getComputedStyle(element);
            const beyond = style(element.parentElement).layers;
            const { color, fontSize, fontWeight, textDecorationLine, backgroundColor } = own;
            const layer = [backgroundColor, Number(own.opacity), own.backgroundImage !== "none"];
            const plain = layer[0] === "rgba(0, 0, 0, 0)" && layer[1] === 1 && !layer[2];
            const layers = plain ? beyond : [layer, ...beyond];
            styles.set(element, { color, fontSize, fontWeight, textDecorationLine, layers });
        }
        return styles.get(element);
    };
    const found = new Map();
    const note = (kind, element, ...key) => {
        const name = JSON.stringify([kind, ...key]);
        if (!found.has(name)) found.set(name, element.outerHTML.slice(0, 200));
    };
    const note_text = (element, color) => {
        const { fontSize, fontWeight, layers } = style(element);
        note("text", element, color, fontSize, fontWeight, layers);
    };
    const own_text = (element) => [...element.childNodes]
        .some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim().length > 1);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const elements = new Set();
    while (walker.nextNode())
        if (walker.currentNode.data.trim()) elements.add(walker.currentNode.parentElement);
    for (const element of elements) {
        if (!shown(element) || element.closest(":disabled, [aria-disabled=true], script, style"))
            continue;
        const box = element.getBoundingClientRect();
        if (box.width <= 1 || box.height <= 1) continue;  // for screen readers
        if (box.right <= 0 || box.left >= wide) continue;
        note_text(element, style(element).color);
        const link = element.closest("a[href]");
        const block = link?.parentElement.closest("p, li, td, th, dd, figcaption, summary");
        if (!block || !own_text(link.parentElement)) continue;
        const marked = [element, link].some((one) => style(one).textDecorationLine !== "none"
            || getComputedStyle(one).borderBottomStyle !== "none")
            || style(link).fontWeight !== style(link.parentElement).fontWeight;
        note("link", link, style(element).color, style(link.parentElement).color, marked);
    }
    const without_text = ":disabled, [type=hidden], [type=checkbox], [type=radio], [type=range]";
    for (const field of document.querySelectorAll("input, select, textarea")) {
        if (!shown(field) || field.matches(without_text)) continue;
        note_text(field, style(field).color);
        if (field.placeholder) note_text(field, getComputedStyle(field, "::placeholder").color);
    }
    return [...found];
}"""

Colour = tuple[float, float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0, 1.0)


@functools.cache
def colour(text: str) -> Colour:
    """What a browser calls a computed colour, as red, green, blue and opacity from 0 to 1."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+(?:e-?\d+)?", text)]
    if re.fullmatch(r"rgba?\(.*\)", text) and len(numbers) in (3, 4):
        red, green, blue = (number / 255 for number in numbers[:3])
    elif re.fullmatch(r"color\(srgb .*\)", text) and len(numbers) in (3, 4):
        red, green, blue = numbers[:3]
    else:
        raise ValueError(f"a computed colour must be rgb() or color(srgb), got {text}")
    return red, green, blue, numbers[3] if len(numbers) == 4 else 1.0


def over(upper: Colour, lower: Colour, opacity: float = 1.0) -> Colour:
    """A colour in front of an opaque one."""
    share = upper[3] * opacity
    red, green, blue = (share * a + (1 - share) * b for a, b in zip(upper[:3], lower, strict=False))
    return red, green, blue, 1.0


def luminance(of: Colour) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in of[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(one: Colour, other: Colour) -> float:
    """Contrast, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@dataclass(frozen=True)
class Use:
    """A combination of colours on a page, and the first element that has it."""

    key: tuple[Any, ...]
    html: str

    @property
    def problem(self) -> str:
        """What is wrong with it; empty when it can be read."""
        return _problem(self.key)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


@functools.cache
def _problem(key: tuple[Any, ...]) -> str:
    kind, *rest = key
    if kind == "link":
        link, around, marked = rest
        contrast = ratio(over(colour(link), WHITE), over(colour(around), WHITE))
        if marked or contrast >= 3:
            return ""
        return f"a link is told from its text by its colour alone, {contrast:.2f} of 3"
    text, size, weight, layers = rest
    behind, opacity = WHITE, 1.0
    for background, own, image in reversed(layers):
        if image:
            return "text on an image or a gradient, whose contrast is not known"
        opacity *= own
        behind = over(colour(background), behind, opacity)
    contrast = ratio(over(colour(text), behind, opacity), behind)
    pixels = float(size.removesuffix("px"))
    large = pixels >= 24 or (pixels >= 18.66 and int(weight) >= 700)
    least = 3.0 if large else 4.5
    return "" if contrast >= least else f"contrast {contrast:.2f}, must be {least}: {text}"


def uses(page: Page) -> list[Use]:
    """Every combination of colours that text on the page has now."""
    return [Use(_frozen(json.loads(key)), html) for key, html in page.evaluate(COLLECT)]


def problems(page: Page) -> list[str]:
    """What cannot be read on the page as it is now."""
    return [f"{use.problem} in {use.html}" for use in uses(page) if use.problem]
