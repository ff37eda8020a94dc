"""How far each chapter is from a page that a busy engineer finishes: `python -m author.form`.

What is measured is the page as it opens, with what ran in its place: its prose, the numerals in it,
the lines of code, what comes before something moves, the answer; with `--site FOLDER`, a built
site, also its height and its length on paper, in a browser.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving_mathematics.support.digits import one_of_many

from builder import ROOT, end_in_order
from builder.directives import LINES_OPEN
from builder.expansion import Site, expand, front_matter
from builder.pages import symbol_uses
from builder.runner import Run, run_all
from builder.source import Sources

AIMS = {  # what a page has, the most it should have, and what to do
    "prose": (1750, "{} words of open prose: say less, show more"),
    "numerals": (4.5, "{} numerals per 100 words: move numbers into a figure or a table"),
    "code": (130, "{} lines of open code: show the algorithm, link the rest"),
    "before": (250, "{} words before the first slider: let something move earlier"),
    "answer": (115, "{} words in the answer: keep three bullets, each with its condition"),
    "screens": (15, "{} screens at 1,280 px: fold or leave out what a second reading wants"),
    "paper": (14, "{} pages on paper: print less of what is folded"),
}
SHORT = 250  # words of a page on which a few numerals drown nothing
MACHINE = 1.1  # fonts differ between machines, and heights with them
BULLET, FIGURES = (40, 2), (3, 5)  # words and numbers, at most; at least and at most
UNREAD = ("Exercises", "Sources", "Checks", "Symbols")  # sections that are no open prose
_WORD = re.compile(r"[^\W\d_][\w’'-]*|\d[\w.,%]*")
_NUMERAL = re.compile(r"(?<![\w#^_.-])\d(?:[\d.,]*\d)?(?![\w^])")
_EQUALS = re.compile(r"(?:=|<|>|\\approx|\\leq?\b|\\geq?\b)\s*-?\d")
_FORMULA = re.compile(r"(?<![\\$\w])\$([^$\n]+?)\$(?!\d)")
_YEAR = re.compile(r"\(\d{4}\w?\)|\d{4}")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
_MOVES = re.compile(r'<div class="slider\b')
_CAPTION = re.compile(r"<figcaption>(.*?)(?: <a class=\"figure-file|</figcaption>)")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})(.*)")


@dataclass
class Form:
    """What a page has of each, and what of it stands where."""

    prose: list[str] = field(default_factory=list)  # lines, without formulas and markup
    paragraphs: list[str] = field(default_factory=lambda: [""])  # with formulas
    bullets: list[str] = field(default_factory=list)  # of the answer
    answer: list[str] = field(default_factory=list)
    before: int | None = None
    code: int = 0
    figures: int = 0

    def measures(self) -> dict[str, float]:
        """The numbers that there are aims for, but for those of a browser."""
        total = words(self.prose)
        return {
            "prose": total,
            "numerals": round(100 * numerals(self.prose) / max(total, SHORT), 1),
            "code": self.code,
            "before": total if self.before is None else self.before,
            "answer": words(self.answer),
        }


def words(lines: Sequence[str]) -> int:
    """Words of prose; a number is one, and so is a formula."""
    return sum(len(_WORD.findall(line)) for line in lines)


def numerals(lines: Sequence[str]) -> int:
    """Numbers in digits; none in names, such as p99, H100 or M/M/1."""
    return sum(len(_NUMERAL.findall(line.replace("M/M/1", ""))) for line in lines)


def bare(line: str) -> str:
    """A line as it is read: without addresses, years of sources and TeX but for its numbers."""
    line = re.sub(r"`[^`]*`", "code", line)
    line = _LINK.sub(lambda m: _YEAR.sub("", m[1]) if m[2].startswith("#") else m[1], line)
    line = _FORMULA.sub(lambda m: "x" + " 0" * len(_EQUALS.findall(m[1])), line)
    return re.sub(r"<[^>]+>|\{[ :#.][^}]*\}|[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", "", line)


def form_of(text: str) -> Form:
    """What an expanded page has, without its front matter."""
    form, section, fence, depth, count = Form(), "", "", 0, True
    folded = formula = False
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if line.strip() == fence else fence
            form.code += bool(fence) and not depth and section not in UNREAD and count
            continue
        if mark:
            fence, count = mark[1], "is-long" not in mark[2]
            if not depth and section not in UNREAD:
                marked = re.search(r'hl_lines="([^"]*)"', mark[2])
                form.code += LINES_OPEN if not count else -len(marked[1].split()) if marked else 0
            continue
        if heading := re.match(r"## (.+)", line):
            section, folded = heading[1], False
        form.figures += line.count('<figure class="plot"')
        if form.before is None and _MOVES.search(line):
            form.before = words(form.prose)
        depth += line.count("<details") - line.count("</details>")
        folded = line.startswith("??? ") or (folded and not line[:4].strip())
        formula ^= line.count("$$") % 2 == 1
        if section in UNREAD or depth or folded:
            continue
        if not line.strip():
            form.paragraphs += [""] if form.paragraphs[-1] else []
            continue
        form.paragraphs[-1] += f"{line}\n"
        caption = _CAPTION.search(line)
        if "$$" in line or formula or (line.startswith("<") and not caption):
            continue
        told = bare(caption[1] if caption else line)
        form.prose.append(told)
        if section == "The answer" and not heading:
            form.answer.append(told)
            if line.startswith("- "):
                form.bullets.append(told)
            elif line.startswith("  ") and form.bullets:
                form.bullets[-1] += f" {told.strip()}"
    return form


def unexplained(form: Form, path: str, text: str) -> list[str]:
    """Symbols that a page uses before a paragraph beside them says a word of what they mean."""
    found = list[str]()
    for use in symbol_uses(path, "", text):
        stems = {word[:5].lower() for word in re.findall(r"[^\W\d_]{4,}", use.meaning)}
        alone = re.compile(rf"(?<![\\A-Za-z_{{^]){re.escape(use.symbol)}(?![A-Za-z_^])")
        for place, paragraph in enumerate(form.paragraphs):
            if alone.search(" ".join(re.findall(r"\$([^$]+)\$", paragraph))):
                near = " ".join(form.paragraphs[max(0, place - 1) : place + 2]).lower()
                found += [use.symbol] * (not any(stem in near for stem in stems))
                break
    return list(dict.fromkeys(found))


def problems(slug: str, has: Mapping[str, float]) -> list[str]:
    """What a page has too much of."""
    found = []
    for aim, value in has.items():
        limit, told = AIMS[aim]
        if value > limit * (MACHINE if aim in ("screens", "paper") else 1.0):
            found.append(f"docs/{slug}.md: {told.format(f'{value:,.4g}')}; {limit:g} or fewer.")
    return found


def advice(path: str, text: str, form: Form) -> list[str]:
    """What no aim counts: bullets, figures, letters."""
    found = list[str]()
    for number, bullet in enumerate(form.bullets, 1):
        long, many = words([bullet]), numerals([bullet])
        if long > BULLET[0] or many > BULLET[1]:
            told = f"bullet {number} of the answer has {long} words and {many} numbers"
            found.append(f"{told}; {BULLET[0]} and {BULLET[1]} are read")
    if not FIGURES[0] <= form.figures <= FIGURES[1]:
        found.append(
            f"{one_of_many(f'{form.figures} figures')}; {FIGURES[0]} to {FIGURES[1]} are seen"
        )
    if early := unexplained(form, path, text):
        found.append(f"says only after its first use what means ${'$, $'.join(early)}$")
    return [f"docs/{path}: {told}." for told in found]


def measured(runs: list[Run]) -> dict[str, tuple[Form, list[str]]]:
    """The form of every chapter, by part and name, and the letters it uses too early."""
    found = {}
    sources = Sources(ROOT)
    for path, whole in sorted(expand(ROOT, Site(""), runs, sources=sources).pages.items()):
        _, text, meta = front_matter(path, whole)
        if "question" in meta:
            form = form_of(text)
            found[path.removesuffix(".md")] = form, unexplained(form, path, text)
    return found


def in_a_browser(site: Path, slugs: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Height and paper of pages of a built site."""
    from tests.browsing import chromium, served

    with served(site) as origin, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for slug in slugs:
            page.goto(f"{origin}{slug}/", wait_until="networkidle")
            height = page.evaluate("document.documentElement.scrollHeight")
            paper = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
            yield slug, {"screens": round(height / 900, 1), "paper": paper}


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 1 when a page misses an aim."""
    parser = argparse.ArgumentParser(prog="python -m author.form", description=__doc__)
    parser.add_argument("--site", type=Path, help="a built site, to be measured in a browser")
    options = parser.parse_args(arguments)
    pages = measured(run_all(Sources(ROOT)))
    has = {slug: form.measures() for slug, (form, _) in pages.items()}
    for slug, more in in_a_browser(options.site, list(has)) if options.site else ():
        has[slug] |= more
    print(f"{'':38}{''.join(f'{aim:>9}' for aim in AIMS)}  bullets  figures  letters")
    for slug, row in has.items():
        form, early = pages[slug]
        cells = "".join(f"{format(row[aim], ',.4g') if aim in row else '':>9}" for aim in AIMS)
        print(f"{slug:38}{cells}{len(form.bullets):>9}{form.figures:>9}{len(early):>9}")
    told = [problem for slug, row in has.items() for problem in problems(slug, row)]
    print("\n".join(["", *told]) if told else "")
    return int(bool(told))


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
