"""Fills a page: replaces the `{{ … }}` directives of its Markdown by what ran.

A directive on a line of its own embeds code, a figure, the checks, a solution, the downloads, or
the cards of a part; inside a line it prints a number of `example()`. Every name is looked up in the
records of the page's modules, and a name that is not there is an error.
"""

from __future__ import annotations

import html
import itertools
import re
import textwrap

from builder import BuildError, Missing
from builder.directives import ALL, NAMED
from builder.markup import block, listed, markup
from builder.pages import Page, meant, section, several_meanings

NOTATION = "notation.md"  # the page with every symbol
_BLOCK = re.compile(r"^(\s*)\{\{ ([a-z]+)((?: [\w.]+)*) \}\}\s*$")
_CLOSE = re.compile(r"\{\{([a-z]\w*)[^{}]*\}\}")
_ALONE = re.compile(r"^([ \t]*)\{\{ ([a-z_][\w.]*) \}\}[ \t]*$")
_VALUE = re.compile(r"\{\{ ([a-z_][\w.]*)(?::([^{} ]*))? ?\}\}")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")
LONGEST = 80  # letters of a line that is told
_HYPHEN = re.compile(r"(?<=[\s(|])-(?=\d)")  # before a number in a cell


def expand(markdown: str, page: Page) -> str:
    """The Markdown of a page, directives replaced; what is wrong is added to `page.errors`."""
    lines, fence, opened = list[str](), "", 0
    for number, line in enumerate(markdown.split("\n"), 1 + page.head.count("\n")):
        mark = _FENCE.match(line)
        if mark and not fence:
            fence, opened = mark[1], number
        elif mark and line.strip() == fence:
            inside = len(lines) + 1 + opened - number
            if line.startswith(fence) and inside < len(lines):  # what it stands in takes no room
                lines[inside:] = textwrap.dedent("\n".join(lines[inside:])).split("\n")
            fence = ""
        elif not fence and "{{" in line:
            line = _expand_line(line, page, number)
        lines.append(line)
    if fence:
        page.errors.append(f"docs/{page.path}:{opened}: this fence never ends: {fence}")
    text = "\n".join(lines)
    if symbols := section(text, "Symbols"):
        text = text.replace(f"## Symbols\n{symbols}", _folded_symbols(symbols, page), 1)
    if page.question:
        asked = f'<p class="question">{html.escape(page.question)}</p>'
        below = block(asked, *filter(None, [page.note]))
        text = re.sub(r"(?m)^# .+$", lambda title: f"{title[0]}\n\n{below}\n", text, count=1)
    return text


def _folded_symbols(table: str, page: Page) -> str:
    mine = {use.symbol for use in page.uses if use.path == page.path}
    clashing = sorted(mine & several_meanings(page.uses))
    terms = [term for term in page.terms if page.path in dict(term.links)]
    return listed("symbols", table.strip(), NOTATION if mine else "", clashing, terms)


def _expand_line(line: str, page: Page, number: int) -> str:
    directive, value = _BLOCK.match(line), _ALONE.match(line)
    try:
        if directive and directive[2] in {*NAMED, *ALL}:
            before, kind, names = directive.groups()
            if before:
                raise BuildError(f"{line.strip()} must begin its line")
            if kind in NAMED:
                return NAMED[kind](page, names.split())
            if names:
                raise BuildError(f"{{{{ {kind} }}}} takes no names")
            return ALL[kind](page)
        if value and isinstance(found := _found(page, value[2]), str):
            # Markdown that the module wrote, as far in as the line
            return textwrap.indent(_safely_linked(value[2], found), value[1])
        line = _VALUE.sub(lambda match: _value(page, match), line)
        known = {*NAMED, *ALL, *(name for run in page.runs for name in run.record["example"])}
        if "{{ " in line or not known.isdisjoint(_CLOSE.findall(line)):  # TeX has braces, too
            word = re.sub(r".*?\{\{\s*(\w*).*", r"\1", line)
            wrong = line.strip()
            if len(wrong) > LONGEST:
                wrong = wrong[max(0, wrong.find("{{ ")) :][:LONGEST]
            raise BuildError(f"not a directive: {wrong}{meant(word, known)}")
    except BuildError as problem:
        if not (isinstance(problem, Missing) and any(run.failed for run in page.runs)):
            page.errors.append(f"docs/{page.path}:{number}: {problem}")
        return block(markup("error_box", str(problem)))
    return line


def _found(page: Page, name: str) -> int | float | str:
    """A number or a text of `example()`, or of the whole site."""
    of_site = name.startswith("site.")
    places = [page.of_the_site] if of_site else [run.record["example"] for run in page.runs]
    key = name.removeprefix("site.")
    found: list[int | float | str] = [values[key] for values in places if key in values]
    told = f"no single example value {name}:"
    if not found:
        near = meant(key, itertools.chain(*places)) or meant(name, [*NAMED, *ALL], 0.8)
        raise Missing(f"{told} no module of the page has it{near}")
    if len(found) > 1:
        raise BuildError(f"{told} several modules of the page have it")
    return found[0]


def _value(page: Page, match: re.Match[str]) -> str:
    """A value in a line: a number in its format; a text as it is, with nothing that Markdown would
    read, but for cells of a table, which the module may write.
    """
    name, spec, line = match[1], match[2] or "", match.string
    value = _found(page, name)
    try:
        text = format(value, spec)
    except ValueError as problem:
        raise BuildError(f"value {name} = {value!r} cannot be formatted with {spec!r}") from problem
    if not isinstance(value, str):
        return text.replace("-", "\N{MINUS SIGN}", 1)
    below = text.split("\n")[1:]
    if not all(row.lstrip().startswith("|") for row in below):
        raise BuildError(f"{name} has several lines that are no rows of a table")
    if line[: match.start()].count("`") % 2:
        return text.replace("`", "\N{PRIME}")
    escaped = html.escape(text, quote=False)
    if line.startswith("|"):
        return _safely_linked(name, escaped)
    return re.sub(r"([\\`*_\[\]#|$])", r"\\\1", escaped)


def _safely_linked(name: str, markdown: str) -> str:
    """Markdown of a value, which may link to pages and to other sites, and run nothing; with minus
    signs before its numbers.
    """
    for scheme in re.findall(r"(?i)\]\(\s*(?:<|&lt;)?\s*([a-z][\w+.-]*):", markdown):
        if scheme.lower() not in ("http", "https", "mailto"):
            raise BuildError(f"value {name} links to {scheme}:…, which is no page and no site")
    return markdown if "<" in markdown else _HYPHEN.sub("\N{MINUS SIGN}", markdown)
