"""Rendered pages: landmarks with names, code with less markup and the same text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builder import ROOT
from builder.markup import markup
from builder.theme_markup import (
    content,
    named_sections,
    plain_names,
    trim_styles,
    with_anchors,
    with_tables,
    with_whole_words,
)

SECTION = (
    '<nav class="md-nav" aria-labelledby="__nav_2_label"><label class="md-nav__title"'
    ' for="__nav_2">\n<span class="md-nav__icon"></span>\n Intuition\n</label></nav>'
)


def test_section_is_named_by_its_title() -> None:
    assert '<nav class="md-nav" aria-label="Intuition">' in named_sections(SECTION)


def test_section_without_a_title_keeps_its_label() -> None:
    bare = '<nav aria-labelledby="__nav_3_label"></nav>'
    assert named_sections(bare) == bare


def test_marks_behind_what_is_linked_to_are_no_part_of_a_heading() -> None:
    link = '<a class="headerlink" href="#a" title="Link to this section"{}>&para;</a>'
    marked = link.format(' aria-hidden="true" tabindex="-1"')
    assert content(link.format("")) == marked


def test_tables_name_their_columns_of_numbers() -> None:
    head = "<table><thead><tr><th>a</th><th>b</th><th>c</th><th>d</th></tr></thead><tbody>"
    rows = "".join(
        f"<tr><td>{a}</td><td>{b}</td><td>{c}</td><td>{d}</td></tr>"
        for a, b, c, d in (
            ("one", "1,200 ± 3 ms", "4 × A100", "−3%"),
            ("two", '<a href="#x">$2.50</a>', "8 × H100", "–"),
        )
    )
    page = with_tables(f'{head}{rows}</tbody></table><table class="plain"></table>')
    assert page.startswith('<div class="table n2 n4"><table class="data">')
    assert page.endswith('</tbody></table></div><table class="plain"></table>')
    aligned = '<table><tr><td style="text-align: right;">5</td></tr></table>'
    told = '<div class="table n1"><table class="data"><tr><td>5</td></tr></table></div>'
    assert with_tables(aligned) == told
    words = "<table><tr><td>{}</td><td>two</td><td>{}</td></tr></table>"
    for first, last, name in (
        ("one of many words", "three", "apart"),
        ("one of many words", 3, "n3"),
        ("one", "three", ""),
    ):
        assert with_tables(words.format(first, last)).startswith(f'<div class="table {name}">')


def test_rows_are_named_by_their_first_cell_where_each_has_one() -> None:
    rows = "<table><tr>\n<td{}>{}</td>\n<td>two</td></tr><tr><td>3</td><td>4</td></tr></table>"
    right = ' style="text-align: right;"'
    named = '<tr>\n<th scope="row">one</th>\n<td>two</td></tr><tr><th scope="row">3</th><td>4</td>'
    assert named in with_tables(rows.format("", "one"))
    assert named in with_tables(rows.format(right, "one"))
    assert "<th" not in with_tables(rows.format("", ""))


def test_only_long_names_in_tables_may_break() -> None:
    code = '<td><code id="late_as_ever">{}</code></td>'
    short, long = "late_poll", "sum(rate(vllm:prefix_hits_totalIn{c}[15m]),a=b)"
    row = f"<tr><td></td>{code.format(short)}{code.format(long)}</tr>"
    page = with_tables(f"<table>{row}</table>{long}")
    broken = (
        "sum(<wbr>rate(<wbr>vllm:<wbr>prefix_<wbr>hits_<wbr>total<wbr>In{<wbr>c}[15m]),a=<wbr>b)"
    )
    assert f"{code.format(short)}{code.format(broken)}" in page
    assert page.endswith(long)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("<p>in 3 ms, 4 GiB or 1 × H100 SXM", "<p>in 3~ms, 4~GiB or 1~×~H100 SXM"),
        ("± 1e-12 × expected", "± 1e-12 × expected"),
        ("5% ± 2 s, 5x ±1", "5%~±~2~s, 5x~±~1"),
        ("2 hours, 7 more", "2 hours, 7 more"),
        ('<path d="M1 2 h3"><code>+ 3 ms</code>', '<path d="M1 2 h3"><code>+ 3 ms</code>'),
        ("<code>x --a-b</code>", '<code>x <span class="whole">--a</span>-b</code>'),
        ("<code>a-b…_count</code>", '<code>a-b<span class="whole">…_count</span></code>'),
        ("<pre><code>--a 3 ms</code></pre>", "<pre><code>--a 3 ms</code></pre>"),
        ("<output>in 3 ms</output>", "<output>in 3 ms</output>"),
    ],
)
def test_no_line_ends_behind_a_number_or_within_a_flag(written: str, kept: str) -> None:
    assert with_whole_words(written) == kept.replace("~", "\N{NO-BREAK SPACE}")


def _table(head: str) -> str:
    return f'<div class="table n1"><table><tr><th>{head}</th><th>Means</th></tr></table></div>'


def _formula(*letters: str) -> str:
    signs = "".join(f"<mi>{letter}</mi>" for letter in letters)
    return f'<div class="formula" tabindex="0"><math>{signs}</math></div>'


SHOWN = (_table("Read, <em>of</em> R&amp;D"), _formula("ρ", "=", "λ"), _formula("C", "r"))
ADDRESSES = ["table-how-read-of-rd", "formula-how-ρ", "formula-how"]


def _addresses(*shown: str) -> list[str]:
    page = with_anchors(f'<h2 id="how">How</h2>{"".join(shown)}')
    found = re.findall(r' id="(?!how")([^"]+)"', page)
    for name in found:
        kind = name.partition("-")[0]
        assert page.count(markup("headerlink", name, kind)) == 1
    return found


def test_a_table_and_a_formula_have_addresses() -> None:
    assert _addresses(*SHOWN) == ADDRESSES


@pytest.mark.parametrize("place", range(len(SHOWN) + 1))
@pytest.mark.parametrize("other", [_table("Set"), _formula("D", "≤", "ρ")])
def test_an_address_stays_when_another_table_or_formula_is_put_before_it(
    place: int, other: str
) -> None:
    found = _addresses(*SHOWN[:place], other, *SHOWN[place:])
    assert [name for n, name in enumerate(found) if n != place] == ADDRESSES


def test_a_site_keeps_the_style_that_pages_and_scripts_use(tmp_path: Path) -> None:
    for folder in ("assets/stylesheets", "assets/javascripts"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "index.html").write_text('<p class="a b" id="c">', encoding="utf-8")
    (tmp_path / "assets/javascripts/x.js").write_text('e("d")', encoding="utf-8")
    sheet = tmp_path / "assets/stylesheets/main.css"
    asked = ".a{order:1}.b,.n{order:2}#c>b{order:3}.d{order:4}.f,a #n{order:5}a:not(.n){order:6}"
    sheet.write_text(f"{asked}@media print{{.n{{order:7}}}}", encoding="utf-8")
    own = tmp_path / "assets/own.css"
    own.write_text("/* One\n two. */\n.n { right: var(--three) }\n", encoding="utf-8")
    (tmp_path / "assets/codemirror.js").write_text("f", encoding="utf-8")
    trim_styles(tmp_path)
    kept = ".a{order:1}.b,.n{order:2}#c>b{order:3}.d{order:4}a:not(.n){order:6}"
    assert sheet.read_text(encoding="utf-8") == kept
    assert own.read_text(encoding="utf-8") == ".n{right:var(--three)}"


def test_code_keeps_its_text_and_its_colours() -> None:
    code = (
        '<span class="k">def</span><span class="w"> </span><span class="nf">f</span>'
        '<span class="p">(</span><span class="n">x</span><span class="p">):</span>'
        '<span class="sa">f</span><span class="s2">"</span><span class="s2">&lt;n&gt;</span>'
        '<span class="si">{</span><span class="nb">len</span><span class="si">}</span>'
        '<span class="s2">"</span> <span class="ow">is</span> <span class="kc">None</span>'
        '<span class="o">+</span><span class="mi">1</span>'
        '\n<span class="sd">"""One</span>\n\n<span class="sd">    two</span>\n'
        '<span class="sd">    """</span>\n<span class="c1"># a</span>\n<span class="c1"># b</span>'
    )
    lighter = plain_names(code)
    assert re.sub("<[^>]*>", "", lighter) == re.sub("<[^>]*>", "", code)
    kept = ["k", "nf", "s2", "s2", "s2", "mi", "sd", "sd", "sd", "c1", "c1"]
    assert re.findall('class="([^"]*)"', lighter) == kept


def test_lines_that_are_folded_together_are_one_piece() -> None:
    one, two = '<span class="hll"><span class="sd">One.</span>\n', "    <b>two</b>\n</span>"
    code = f'def f:\n{one}</span><span class="hll">{two}return\n<span class="hll">x\n</span>'
    assert plain_names(code) == f'def f:\n{one}{two}return\n<span class="hll">x\n</span>'


def test_the_name_of_a_file_breaks_between_its_folders() -> None:
    page = plain_names('<span class="filename">a/b/c.py</span><pre>a/b</pre>')
    assert page == '<span class="filename">a/<wbr>b/<wbr>c.py</span><pre>a/b</pre>'


def test_what_the_builder_marks_is_styled_or_read() -> None:
    removed = {"anchor-link", "arithmatex", "clipboard-copy-txt"}  # what others mark
    reads = [*ROOT.glob("docs/assets/*.[cj]s*"), *ROOT.glob("overrides/**/*.html")]
    told = "".join(file.read_text("utf-8") for file in reads if file.name != "codemirror.js")
    for file in [*ROOT.glob("builder/*.py"), *ROOT.glob("builder/*.html")]:
        for classes in re.findall(r"class=[\"']([\w -]+)[\"']", file.read_text("utf-8")):
            for name in {*classes.split()} - removed:
                assert re.search(rf"(?<![\w-]){name}(?![\w-])", told), f"{file.name}: {name}"
