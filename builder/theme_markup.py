"""What is done to finished HTML for the theme that the site has now: names for a screen reader,
less markup in code, and less of its style.

All of it can be deleted without losing a word or a number of a page. It stands on the markup of
Material for MkDocs and of mkdocs-jupyter; a repair that no longer finds its place leaves the page
as it is, and its test says what changed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from lightningcss import process_stylesheet
from markdown.extensions.toc import slugify_unicode

from builder.markup import markup

NO_BREAK = "\N{NO-BREAK SPACE}"

_PLAIN = re.compile(r'<span class="(?:n|p|o|w|bp|nb|kc|ow|sa|si)">([^<]*)</span>')
_FILE = re.compile(r'(?<=<span class="filename">)[^<]+')
_MARKED = re.compile(r'\n</span><span class="hll">')  # between lines that are folded together
_TAG = re.compile(r"<[^>]*>")
_AS_IT_IS = re.compile(  # code, and what a script writes again
    r"(<pre\b.*?</pre>|<output\b.*?</output>)", re.DOTALL
)
_WORDS = re.compile(r"[\w-]+")
_SHOWN_ALONE = re.compile(
    r'<h[1-6] id="([^"]+)"|(<div class="(table|formula)\b[^>]*)>(.*?)</div>', re.DOTALL
)
_LEFT_SIDE = re.compile(r"([^=\u2248\u2264\u2265\u21a6\u2286]*)[=\u2248\u2264\u2265\u21a6\u2286]")
_LONG_CODE = re.compile(r"<code(?: id=[^>]*)?>[^<]{10,}(?=</code>)")
_BREAKS = re.compile(r"(?:(?<=[\w:])[_:({\[,=](?=\w)|(?<=[a-z])(?=[A-Z]))(?![^<]*>)")
_SHORT_CODE = re.compile(r"(?<=<code>)(?:[^<]|<wbr>)+(?=</code>)")
_FLAG = re.compile(r"(?<![\w-])--?\w+|…\w+")
_TOGETHER = re.compile(  # a number with its unit, its error, or what there are so many of
    r"((?<=[\d%sx]) ± ?(?=\d)|(?<=\d) × (?!expected)(?=\w)"
    r"|(?<=\d) (?=(?:[mnµ]?s|min|h|[kMGT]i?B|k?Wh?|J)\b))(?![^<>]*(?:>|</code>))"
)
_PASSED = re.compile(r"(?:\nPASS [^\n]*)+(?=\n)")  # lines of a notebook's output
_FIRST = re.compile(r"(<tr>\s*)<td\b([^>]*)>(.*?)</td>", re.DOTALL)
_TO_THE_RIGHT = ' style="text-align: right;"'
_NUMBER = re.compile(r"\(?(?:[<>≤≥≈~]\s*)?[+\u2212-]?\$?\d(?!.*(?:[^\W\d_]{4}|[A-Z]\d)).{0,28}$")
_NOTHING = {"", "–", "—", "-", "none", "no", "yes"}
_OF_HEADING = 'title="Link to this section"'  # which its mark would be read as part of


def named_sections(nav: str) -> str:
    """The navigation with a name for each of its sections. One with an index page is labelled by an
    element that holds an icon only; its title stands in another label.
    """

    def name(match: re.Match[str]) -> str:
        title = re.search(rf'for="{match[1]}">\s*<span[^>]*></span>\s*([^<]+?)\s*<', nav)
        return f'aria-label="{title[1]}"' if title else match[0]

    return re.sub(r'aria-labelledby="(__nav_[\d_]+)_label"', name, nav)


def plain_names(content: str) -> str:
    """Highlighted code without the markup of names, operators, brackets, constants and blanks,
    which look like plain text, and with that of lines that are folded around them and not around
    each: an eighth of what pages weigh as sent, and most of their elements. Files break between
    folders.
    """
    found = _MARKED.sub("\n", _PLAIN.sub(r"\1", content))
    return _FILE.sub(lambda path: path[0].replace("/", "/<wbr>"), found)


def with_tables(content: str) -> str:
    """A rendered page whose plain tables can be scrolled and name their columns of numbers, for the
    style sheet, and their rows by the first column, for a screen reader, with breaks in the long
    names of metrics.
    """

    def table(match: re.Match[str]) -> str:
        columns: dict[int, list[str]] = {}
        for row in match[0].split("</tr>"):
            for number, text in enumerate(re.findall(r"(?s)<td\b[^>]*>(.*?)</td>", row), 1):
                columns.setdefault(number, []).append(_TAG.sub("", text).strip())
        names = " ".join(
            f"n{number}"
            for number, texts in columns.items()
            if any(map(_NUMBER.match, texts))
            and all(text in _NOTHING or _NUMBER.match(text) for text in texts)
        )
        first = columns.get(1, [])
        if 3 <= len(columns) <= 4 and not names and all(first) and max(map(len, first)) > 12:
            names = "apart"  # on a phone: words before words
        told = match[0].replace(_TO_THE_RIGHT, "").replace("<table>", '<table class="data">', 1)
        if len(columns) > 1 and all(first):
            told = _FIRST.sub(r'\1<th scope="row"\2>\3</th>', told)
        told = _LONG_CODE.sub(lambda code: _BREAKS.sub(r"\g<0><wbr>", code[0]), told)
        return f'<div class="table {names}">{told}</div>'

    return re.sub(r"<table>.*?</table>", table, content, flags=re.DOTALL)


def with_whole_words(content: str) -> str:
    """A rendered page whose lines end neither between a number and its unit or error nor behind the
    hyphens of a flag.
    """

    def together(match: re.Match[str]) -> str:
        return NO_BREAK.join(("", *match[1].split(), "")) if match[1].strip() else NO_BREAK

    found = _AS_IT_IS.split(content)
    for place in range(0, len(found), 2):
        text = _TOGETHER.sub(together, found[place])
        found[place] = _SHORT_CODE.sub(
            lambda code: _FLAG.sub(r'<span class="whole">\g<0></span>', code[0]), text
        )
    return "".join(found)


def with_anchors(content: str) -> str:
    """A rendered page whose tables and formulas that stand alone can be linked to.

    An address is made of the section and of the first column's head or the formula's left side, so
    that it stays where another one is put before it.
    """
    section = ""

    def anchored(match: re.Match[str]) -> str:
        nonlocal section
        heading, begin, kind, inside = match.groups()
        if heading:
            section = heading
            return match[0]
        if kind == "table":
            head = re.search(r"<th\b[^>]*>(.*?)</th>", inside, flags=re.DOTALL)
            called = html.unescape(_TAG.sub(" ", head[1])) if head else ""
        else:  # its letters are elements of their own
            left = _LEFT_SIDE.match(_TAG.sub("", html.unescape(inside)))
            called = left[1] if left else ""
        name = "-".join(filter(None, (kind, section, slugify_unicode(called, "-"))))
        mark = markup("headerlink", name, kind)
        return f'<div class="linked" id="{name}">{begin}>{inside}</div>{mark}</div>'

    return _SHOWN_ALONE.sub(anchored, content)


def content(html_of_page: str) -> str:
    """What Markdown made of a page, lighter, and with what the theme and its readers need."""
    found = plain_names(with_anchors(with_whole_words(with_tables(html_of_page))))
    return found.replace(_OF_HEADING, f'{_OF_HEADING} aria-hidden="true" tabindex="-1"')


def trim_styles(site: Path) -> None:
    """Leave of the theme's style sheets the rules for classes and ids that a built site's pages or
    scripts name. All sheets lose their comments.
    """
    names = set[str]()
    for file in site.rglob("*.html"):
        for values in re.findall(r' (?:class|id)="([^"]*)"', file.read_text(encoding="utf-8")):
            names.update(values.split())
    for file in [*site.glob("assets/javascripts/*.js"), *site.glob("assets/*.js")]:
        if file.name != "codemirror.js":  # its words are many, and none is of the theme
            names.update(_WORDS.findall(file.read_text(encoding="utf-8")))
    for file in site.glob("assets/**/*.css"):
        text = file.read_text(encoding="utf-8")
        of_theme = re.findall(r"[.#]([A-Za-z_][\w-]*)", text) * (file.parent.name == "stylesheets")
        light = process_stylesheet(text, unused_symbols={*of_theme} - names)
        file.write_text(light, encoding="utf-8")


_TRIMMED = (
    (r"<(style|script)\b.*?</\1>|<!--.*?-->", ""),  # all of JupyterLab's, and loaders of MathJax
    (r"<clipboard-copy\b.*?</clipboard-copy>", ""),  # the theme copies code
    (r'<div class="clipboard-copy-txt"[^>]*>.*?</div>', ""),
    (r'<div class="jp-(?:Input|Output)Prompt[^>]*>.*?</div>', ""),
    (r'<div class="jp-Collapser[^>]*>\s*</div>', ""),
    (r' tabindex="0"', ""),
    (r'class="anchor-link"([^>]*)>[^<]*<', r'class="headerlink" title="Link to this section"\1><'),
    (
        r'<div class="highlight-ipynb hl-\w+"><pre>(.*?)</pre></div>',
        r'<div class="highlight"><pre><code>\1</code></pre></div>',
    ),
)


def notebook(page: str, images: Sequence[str]) -> str:
    """A notebook as mkdocs-jupyter rendered it, in the clothes of the site.

    images: what takes the place of the figures, in their order.
    """
    for pattern, replacement in _TRIMMED:
        page = re.sub(pattern, replacement, page, flags=re.DOTALL)
    page = _PASSED.sub(_fold_passed, page).replace("<pre>\n</pre>", "")
    left, drawn = iter(images), r'<img\b[^>]*\bsrc="data:image/svg\+xml[^>]*>'
    return re.sub(drawn, lambda match: next(left, match[0]), page)


def _fold_passed(rows: re.Match[str]) -> str:
    """What passed, as how many did."""
    number = rows[0].count("\nPASS ")
    return (
        f'\n</pre><details class="check passed"><summary>{number} passed</summary>'
        f"<pre>{rows[0].lstrip()}</pre></details><pre>"
    )
