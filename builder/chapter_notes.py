"""How long a chapter takes to read, what it draws on and where it is used."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping

from builder.pages import PAGE_LINK, section

WORDS_A_MINUTE = 220
FIGURE_WORDS = 60  # that a figure takes as long as
MOST = 2  # chapters that are named on either side
LEAST = 2  # links that make a chapter one of them
_SET_APART = re.compile(r"^(`{3,}|~{3,}).*?^\1|^\|.*?$|^\{\{.*?$|^#.*?$", re.MULTILINE | re.DOTALL)
APPENDIX = ("Symbols", "Checks", "Exercises", "Sources")  # sections that are looked up
_SHOWN = re.compile(r"^\{\{ (?:figure|slider) ", re.MULTILINE)


def minutes(text: str) -> int:
    """How long a chapter takes to read, without what is looked up: its prose and its figures."""
    for title in APPENDIX:
        text = text.replace(f"## {title}\n{section(text, title)}", "")
    words = len(_SET_APART.sub("", text).split()) + FIGURE_WORDS * len(_SHOWN.findall(text))
    return max(1, round(words / WORDS_A_MINUTE))


def neighbours(texts: Mapping[str, str]) -> dict[str, tuple[list[str], list[str]]]:
    """For each chapter those before it that it links to most, and those after it that link to it
    most.

    texts: of the chapters by their path in docs/, in the order of the navigation.
    """
    order = {path: place for place, path in enumerate(texts)}
    links = {
        path: Counter(
            target
            for link, _ in PAGE_LINK.findall(text)
            if (target := posixpath.normpath(posixpath.join(posixpath.dirname(path), link)))
            in order
        )
        for path, text in texts.items()
    }

    def most(found: Mapping[str, int]) -> list[str]:
        often = [path for path, number in found.items() if number >= LEAST]
        return sorted(often, key=lambda path: (-found[path], order[path]))[:MOST]

    return {
        path: (
            most({to: n for to, n in links[path].items() if order[to] < order[path]}),
            most({of: links[of][path] for of in order if order[of] > place and links[of][path]}),
        )
        for path, place in order.items()
    }
