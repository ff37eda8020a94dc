"""Directives in a page become what ran; every one that cannot is an error that says where."""

from __future__ import annotations

import json
import re
from html import escape, unescape
from pathlib import Path
from typing import Any

import markdown
import pytest

from builder import figures, markup, pages
from builder.expansion import Site
from builder.filling import expand
from builder.outline import read
from builder.pages import Page, module_names_of
from builder.runner import Run
from builder.sliders import grid
from builder.source import Module
from builder.worker import empty_record

from .project import GOOD

COMPARISON = {
    "label": "a < b & `c`",
    "kind": "identity",
    "expected": "4",
    "got": "4",
    "tolerance": "exact",
    "passed": True,
}
CHECK = {
    "name": "check_double",
    "claim": "Twice two is four.",
    "source": "",
    "line": 1,
    "comparisons": [COMPARISON],
}
FIGURE = {
    "name": "line",
    "caption": ["Doubling is a `straight` line."],
    "alt": 'A line, "rising".',
    "width": 557,
    "height": 336,
    "labels": [],
}


def run_of(name: str, source: str = GOOD, **changes: Any) -> Run:
    record = empty_record() | {"checks": [CHECK], "figures": [FIGURE], "example": {"doubled": 4.0}}
    module = Module(name, source, read(source.encode()))
    return Run(module, Path("nowhere"), record | changes)


def page_of(*runs: Run, path: str = "part/twice.md", **meta: Any) -> Page:
    return Page(path, meta, runs=list(runs), every_run=list(runs))


def whole(text: str, page: Page) -> str:
    """The expanded Markdown, with the line breaks of its finished HTML."""
    return expand(text, page).replace("&#10;", "\n")


def rendered(text: str, page: Page) -> str:
    """What Python-Markdown makes of the expanded text."""
    extensions = ["attr_list", "md_in_html", "tables", "pymdownx.superfences"]
    return markdown.markdown(expand(text, page), extensions=extensions)


def test_value_is_formatted_in_a_line() -> None:
    page = page_of(run_of("part.twice"))
    text = "Two {{ doubled:.2f }}, {{ doubled }} and {{ doubled:.0%}}, of {{ site.modules }}."
    assert expand(text, page) == "Two 4.00, 4.0 and 400%, of 1."
    assert page.errors == []


@pytest.mark.parametrize(("lines", "folded"), [(32, False), (33, True)])
def test_code_longer_than_a_screen_is_folded(lines: int, folded: bool) -> None:
    """Of which its docstring, folded by itself, is no part."""
    source = 'def long() -> None:\n    """One.\n\n    Two."""\n' + "    pass\n" * (lines - 2)
    page = page_of(run_of("part.twice", source))
    html = whole("{{ code long }}", page)
    assert page.errors == []
    assert ("{ .python .snippet .is-folded .is-long title=" in html) == folded
    assert (f">Show all {lines + 2} lines<" in html) == folded


def test_a_page_may_have_its_code_behind_names() -> None:
    page = page_of(run_of("part.twice"))
    page.meta["code"] = "folded"
    html = rendered("{{ code example double }}\n\n{{ solution double }}\n\nAfter.", page)
    assert page.errors == []
    opened = '<details class="listing">\n<summary>Code: <code>example</code>, <code>double</code>'
    assert html.count(opened) == html.count('<details class="listing">') == 1
    assert "def example()" in re.sub("<[^>]*>", "", html).partition("Solution")[0]
    assert html.rstrip().endswith("<p>After.</p>")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_is_to_be_answered_holds_nothing_of_the_solution(kind: str) -> None:
    page = page_of(run_of("part.twice", f'{kind} told() -> int:\n    """One."""\n    return 1\n'))
    page.pyodide = "assets/py/"
    given = re.search(r'data-given="([^"]*)"', whole("{{ solution told }}", page))
    assert given is not None
    stub = f'{kind} told() -> int:\n    """One."""\n    raise NotImplementedError'
    assert unescape(given[1]) == stub


def test_a_block_is_called_as_in_its_examples_but_for_what_is_refused() -> None:
    examples = "    >>> told(0)\n    Traceback (most recent call last):\n    ValueError: 0\n"
    examples += "    >>> told(\n    ...     1\n    ... )\n    1\n    >>> told(2)\n    2\n"
    source = f'def told(x: int) -> int:\n    """Itself.\n\n{examples}    """\n    return x\n'
    page = page_of(run_of("part.twice", source))
    page.pyodide = "assets/py/"
    call = re.search(r'data-call="([^"]*)"', whole("{{ code told }}", page))
    assert call is not None
    assert call[1] == "told(\n    1\n)\ntold(2)"


def test_code_cannot_end_its_block() -> None:
    source = 'def quote() -> str:\n    return """\n```\n<script>alert(1)</script>\n````\n"""\n'
    html = rendered("{{ code quote }}", page_of(run_of("part.twice", source)))
    assert "<script>" not in html
    assert html.count("<pre>") == 1
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "[x](javascript:alert)", "*a* `b` &"]
)
def test_text_in_a_line_is_text(text: str) -> None:
    page = page_of(run_of("part.twice", example={"said": text}))
    html = rendered("It said {{ said }}.\n\n| a | b |\n|---|---|\n| {{ said }} | 1 |", page)
    assert f"<p>It said {escape(text, quote=False)}.</p>" in html
    assert "<script" not in html


def test_text_in_a_code_span_and_on_a_line_of_its_own_is_as_it_is() -> None:
    rows = "| <b>1</b> | 2 |\n| 3 | 4 |"
    page = page_of(run_of("part.twice", example={"said": "a[1]: *x*", "rows": rows}))
    folded = expand("??? note\n\n    | a | b |\n    |---|---|\n    {{ rows }}", page)
    assert folded.endswith("|---|---|\n    | <b>1</b> | 2 |\n    | 3 | 4 |")
    html = rendered("It said `{{ said }}`.\n\n| a | b |\n|---|---|\n{{ rows }}", page)
    assert "<code>a[1]: *x*</code>" in html
    assert "<td><b>1</b></td>" in html


def of_text(text: str, path: str = "part/twice.md") -> Page:
    return page_of(run_of("part.twice", example={"told": text}), path=path)


@pytest.mark.parametrize("table", ["| a | b |\n|---|---|\n| x | {{ told }} |", "{{ told }}"])
@pytest.mark.parametrize(
    "link",
    ["[y](javascript:f)", "[y]( <JavaScript:f>)", "[y](data:text/html,x)", "![y](vbscript:f)"],
)
def test_a_value_links_to_pages_and_sites_only(table: str, link: str) -> None:
    page = of_text(link)
    expand(table, page)
    assert [error for error in page.errors if ":…, which is no page and no site" in error]
    for good in ("[y](https://a.test/x)", "[y](a.md#b)", "[y](#c)", "[y](mailto:a@b.test)"):
        page = of_text(good)
        assert good in expand(table, page)
        assert page.errors == []


def test_a_value_in_a_line_is_of_one_line() -> None:
    """A second line would end the row of a table; alone it may be a table of its own."""
    run = run_of("part.twice")
    run.record["example"] |= {"lines": "a\nb", "rows": "a |\n| b"}
    page = page_of(run)
    expand("| {{ lines }} |\n| {{ rows }} |\n{{ lines }}\n$a_{{n}}$", page)
    assert page.errors == [
        "docs/part/twice.md:1: lines has several lines that are no rows of a table"
    ]


def test_finished_html_stands_in_lines_that_markdown_leaves_alone() -> None:
    """Rendered alone or in a page, each directive gives the same HTML."""
    page = page_of(run_of("part.twice"))
    for directive in ("figure line", "checks", "downloads", "report"):
        block = expand(f"{{{{ {directive} }}}}", page)
        lines = [line for line in block.split("\n") if line]
        assert all(line.startswith("<") for line in lines), directive
        assert "".join(lines) in rendered(block, page).replace("\n", ""), directive


def test_slider_says_where_it_starts_and_that_its_figure_failed() -> None:
    curve = {"label": "double", "unit": "s"}
    moves = {
        "controls": [{"label": "value", "values": [1, 2, 3], "text": "{}", "start": 2}],
        "panels": [
            {"kind": "load", "x": curve, "y": curve, "curves": [curve | {"values": [2, 4, 6]}]}
        ],
        "reading": "At {value}: {double}.",
    }
    slider = {"name": "line", "lead": "Move it.", "data": grid(moves)}
    html = whole("{{ slider line }}", page_of(run_of("part.twice", sliders=[slider])))
    assert "<span>At 2: 4.0 s.</span>" in html
    page = page_of(run_of("part.twice", sliders=[slider], figures=[]))
    whole("{{ slider line }}", page)
    assert page.errors == [
        "docs/part/twice.md:1: no single figure line; the page's modules have: none"
    ]


def test_gallery_keeps_the_order_of_the_page() -> None:
    text = "{{ slider line }}\n\n{{ figure other }}\n"
    places = [pages.place_of_figure(text, name) for name in ("line", "other", "lin")]
    assert places == [0, 19, -1]


def test_figures_are_numbered_in_the_order_of_the_page() -> None:
    other = FIGURE | {"name": "other"}
    page = page_of(run_of("part.twice", figures=[FIGURE, other]))
    html = whole("{{ figure other }}\n\n{{ figure line }}", page)
    assert html.index('id="figure-other"') < html.index("Figure 1.") < html.index('id="figure-line')
    assert "Figure 2." in html


def test_card_has_the_figure_without_its_words_and_with_their_boxes() -> None:
    """And its lines, but not its grid, are twice as wide."""
    svg = (
        '<svg><g id="axes_1"><g id="text_1"><g><use/></g><defs/></g>'
        '<path d="M1.25 3.987" style="stroke-width: 1.8"/>'
        '<path style="stroke-width: 0.8"/></g>'
        '<g id="text_2"><g id="patch_1"><path/></g><use/></g>'
        '<g id="legend_1"><g id="patch_2"><path/></g></g><g id="line2d_1"><g/></g></svg>'
    )
    kept = (
        '<svg><g id="axes_1"><path d="M1.2 3.9" style="stroke-width: 3.6"/>'
        '<path style="stroke-width: 0.8"/></g><g id="patch_1"><path/></g>'
        '<g id="line2d_1"><g/></g></svg>'
    )
    assert figures.without_words(svg) == kept
    card = markup.markup("image", "../", "part.twice", FIGURE, True)
    assert 'alt="" src="../figures/part/twice/line-dark-card.svg"' in card


@pytest.mark.parametrize(
    ("expected", "got", "shown"),
    [
        ("true", "0.43", ["true", "true: 0.43"]),
        ("true", "true", ["true", "true"]),
        ("False", "False", ["false", "false"]),
        ("4", "4.0", ["4", "4.0"]),
    ],
)
def test_what_holds_is_shown_to_hold(expected: str, got: str, shown: list[str]) -> None:
    row = COMPARISON | {"expected": expected, "got": got}
    assert markup.compared(row)[1:3] == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{{ code triple }}",
            "triple is not defined in snippets/serving_mathematics/part/twice.py",
        ),
        ("{{ slider curve }}", "no single slider curve; the page's modules have: none"),
        ("{{ slider }}", "name one slider: {{ slider name }}"),
        ("{{ codes double }}", "not a directive: {{ codes double }}; did you mean code?"),
        ("See {{ code double }} here", "not a directive: See {{ code double }} here"),
        (
            f"{'Long. ' * 20}{{{{ doubled:.1f}} more.",
            "not a directive: {{ doubled:.1f} more.",
        ),
        (
            "{{ cheks }}",
            "no single example value cheks: no module of the page has it; did you mean checks?",
        ),
        ("Two is {{doubled}}.", "not a directive: Two is {{doubled}}."),
        ("{{code double}}", "not a directive: {{code double}}"),
        ("{{doubled:.1f }}", "not a directive: {{doubled:.1f }}"),
        ("{{ doubled:d }}", "value doubled = 4.0 cannot be formatted with 'd'"),
    ],
)
def test_wrong_directive_names_page_line_and_reason(text: str, message: str) -> None:
    """Beside those of the small site, whose problems are kept."""
    page = page_of(run_of("part.twice"), question="Why?")
    page.head = "\n" * 10
    html = whole(f"# One\n\n{text}\n\nTwo {{{{ doubled }}}}", page)
    assert page.errors == [f"docs/part/twice.md:13: {message}"]
    assert '<pre class="build-error" role="alert">' in html
    assert html.endswith("\n\nTwo 4.0")


def test_page_without_modules_says_so() -> None:
    page = page_of()
    expand("{{ code double }}\n{{ checks }}\n{{ downloads }}", page)
    assert "is not defined in any module, because the page has none" in page.errors[0]
    assert "the page's modules have no checks" in page.errors[1]
    assert "needs a page with modules" in page.errors[2]


def test_name_in_two_modules_is_ambiguous() -> None:
    page = page_of(run_of("part.twice"), run_of("part.again"))
    expand("{{ code double }}\n{{ figure line }}\n{{ doubled }}", page)
    assert (
        "double is defined more than once in snippets/serving_mathematics/part/twice.py, snippets/"
        in page.errors[0]
    )
    assert "no single figure line" in page.errors[1]
    assert "several modules of the page have it" in page.errors[2]


@pytest.mark.parametrize(
    "text",
    [
        "```\n{{ code nowhere }}\n```",
        "``` { .markdown title=x }\n{{ nowhere }}\n```",
        "~~~\n{{ code nowhere }}\n~~~",
        "````\n```\n{{ code nowhere }}\n```\n{{ nowhere }}\n````",
        "~~~\n```\n{{ code nowhere }}\n~~~",
        "```\n```python\n{{ nowhere }}\n```",
        "    ```\n    {{ code nowhere }}\n    ```",
    ],
)
def test_directives_in_fenced_code_are_left_alone(text: str) -> None:
    page = page_of(run_of("part.twice"))
    after = "\n\nTwo {{ doubled }}"
    assert expand(text + after, page) == text + "\n\nTwo 4.0"
    assert page.errors == []


def test_an_excerpt_of_a_file_stands_at_the_margin() -> None:
    page = page_of(run_of("part.twice"))
    told = expand("{{ doubled }}\n```\n```\n```yaml\n    - a:\n\n        b\n```\n- c\n", page)
    assert told == "4.0\n```\n```\n```yaml\n- a:\n\n    b\n```\n- c\n"


def test_double_braces_of_other_languages_are_left_alone() -> None:
    page = page_of(run_of("part.twice"))
    text = r"$\frac{{a}}{b}$ and {{{{, `{{}}` and {% raw %}"
    assert expand(text, page) == text
    assert page.errors == []


KNOWN = ["part.twice.exercises", "part.twice.helper", "part.twice.twice", "other.helper"]


def test_page_takes_its_module_its_extras_and_its_exercises() -> None:
    meta = {"modules": ["other/helper"]}
    names, problems = module_names_of("part/twice.md", meta, KNOWN)
    assert names == [
        "part.twice.twice",
        "other.helper",
        "part.twice.helper",
        "part.twice.exercises",
    ]
    assert problems == []


TABLE = """\
## Symbols

| Symbol | Meaning | Unit | Argument |
|---|---|---|---|
| $N$, $\\rho = a/c$ | {meaning} | 1 | `n` |

## Next
"""


def test_letters_with_two_meanings_are_found() -> None:
    one = pages.symbol_uses("a/one.md", "One", TABLE.format(meaning="servers"))
    other = pages.symbol_uses("b/two.md", "Two", TABLE.format(meaning="clients"))
    assert [use.symbol for use in one] == ["N", "\\rho"]
    assert set(pages.several_meanings([*one, *other])) == {"N", "\\rho"}
    assert not pages.several_meanings([*one, *one])


def test_notation_tells_the_unit_and_a_chapter_with_no_other_meanings_none() -> None:
    timed = TABLE.replace("$N$, ", "").replace("| 1 |", "| 1/s |").format(meaning="load")
    uses = pages.symbol_uses("a/one.md", "one", timed)
    told = expand("{{ notation }}", pages.Page("notation.md", {}, uses=uses))
    assert "| load [1/s] | [one](a/one.md#symbols) |" in told
    told = expand(timed, pages.Page("a/one.md", {}, uses=uses))
    assert "`n` |\n\nAll symbols: [Notation](../notation.md).\n\n</details>\n\n## Next" in told
    assert "All symbols" not in expand(timed, pages.Page("c/three.md", {}, uses=uses))


def test_symbols_are_folded_wherever_they_stand() -> None:
    last = TABLE.format(meaning="servers").partition("\n## Next")[0]
    for text in (TABLE.format(meaning="servers"), f"# One\n\n{last}"):
        html = rendered(text, pages.Page("a/one.md", {}))
        fold = re.search(r'<details class="symbols">\n<summary>.*?</details>', html, re.DOTALL)
        assert fold is not None
        assert "<th>Symbol</th>" in fold[0]
        assert "Next" not in fold[0]


GLOSSARY = """\
# Glossary

- **burn rate** — Speed at which the budget
  is spent; see [goodput](#goodput). [One](a/one.md#speed), [One](a/one.md), [Two](b/two.md)
  { #burn-rate }
- **Erlang C** — Chance to wait. [Two](b/two.md#erlang-c)
  { #erlang-c }
"""


@pytest.mark.parametrize(
    "entry",
    [
        "- **batch** — Many. [One](a/one.md)\n",
        "- **batch** Many. [One](a/one.md)\n  { #batch }\n",
        "- **batch** — Many, see [goodput](#goodput).\n  { #batch }\n",
    ],
)
def test_entry_that_is_not_a_term_is_left_out(entry: str) -> None:
    terms = pages.terms_of("glossary.md", GLOSSARY + entry + GLOSSARY)
    assert [term.name for term in terms] == ["burn rate", "Erlang C"] * 2
    assert [[*dict(term.links)] for term in terms[:2]] == [["a/one.md", "b/two.md"], ["b/two.md"]]


def test_overview_for_language_models_has_every_part() -> None:
    chapters = [
        page_of(run_of("a.one_two.one_two"), path="a/one-two.md", title="One", description="So."),
        page_of(path="b/idle.md", title="Idle", description="Never."),
    ]
    site = Site("Site", "A site.", "https://site.test/")
    parts, modules = markup.listed("overview", site, chapters, {"a": "Part A"}).split("## Modules")
    assert parts.endswith(
        "\n\n## Part A\n\n- [One](https://site.test/a/one-two/): So."
        "\n\n## b\n\n- [Idle](https://site.test/b/idle/): Never.\n\n"
    )
    assert modules.startswith("\n\n- [one-two.zip](https://site.test/downloads/one-two.zip): One. ")


SOURCES = """\
# One

## Sources

- Little (1961). *A proof*, continued
  here.
  { #little-1961 }
- Erlang (1917).
  { #erlang-1917 }
"""


def test_references_of_all_chapters_are_one_list_with_links_back() -> None:
    one = pages.references_of("a/one.md", "One", SOURCES)
    other = pages.references_of("b/other.md", "Other", SOURCES)
    assert [r.anchor for r in one] == ["little-1961", "erlang-1917"]
    page = pages.Page("references.md", {}, references=[*one, *other])
    assert expand("{{ references }}", page).split("\n") == [
        "- Erlang (1917). Cited in [One](a/one.md#erlang-1917), [Other](b/other.md#erlang-1917).",
        "  { #erlang-1917 }",
        "- Little (1961). *A proof*, continued here."
        " Cited in [One](a/one.md#little-1961), [Other](b/other.md#little-1961).",
        "  { #little-1961 }",
        "",
    ]


def test_what_runs_in_the_browser_and_what_does_not() -> None:
    """Modules that need more packages are named and left out; numpy and matplotlib always come."""
    pure = run_of(
        "part.twice", "from pydantic import BaseModel\nfrom math import pi\nimport json\n"
    )
    served = run_of("part.server", "from fastapi import FastAPI\n", needs=["fastapi"])
    page = page_of(pure, served)
    assert "data-live" not in whole("{{ downloads }}", page)
    page.pyodide = "https://py.test/full/"
    text = whole("{{ downloads }}", page)
    settings = json.loads(unescape(re.findall(r'data-live="([^"]*)"', text)[0]))
    assert settings == {
        "modules": ["part.twice"],
        "packages": ["matplotlib", "numpy", "pydantic"],
        "pyodide": "https://py.test/full/",
        "downloads": "../../downloads/",
        "bundle": "../../downloads/twice.zip",
    }
    assert " (server.py: only on a machine of your own)" in text
    page = page_of(pure)
    page.pyodide = "assets/py/"
    text = whole("{{ downloads }}", page)
    assert "../../assets/py/" in unescape(text)
    assert "of your own" not in text
    page = page_of(served)
    page.pyodide = "assets/py/"
    assert "data-live" not in whole("{{ downloads }}", page)


def test_only_an_index_page_has_the_address_of_its_folder() -> None:
    paths = ("index.md", "part/index.md", "part/one.md", "part/reindex.md")
    assert [pages.folder_of(path) for path in paths] == ["", "part/", "part/one/", "part/reindex/"]
