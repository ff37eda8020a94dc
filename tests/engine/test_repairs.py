"""Rendered pages: landmarks with names, code with less markup and the same text."""

from __future__ import annotations

import re

import pytest

from snippets._engine.repairs import named_landmarks, patient_search, plain_names, with_preview

SECTION = (
    '<nav class="md-nav" aria-labelledby="__nav_2_label"><label class="md-nav__title"'
    ' for="__nav_2">\n<span class="md-nav__icon"></span>\n Intuition\n</label></nav>'
)


def test_section_is_named_by_its_title() -> None:
    assert '<nav class="md-nav" aria-label="Intuition">' in named_landmarks(SECTION)


def test_section_without_a_title_keeps_its_label() -> None:
    bare = '<nav aria-labelledby="__nav_3_label"></nav>'
    assert named_landmarks(bare) == bare


def test_search_dialog_has_a_name() -> None:
    dialog = '<div class="md-search" data-md-component="search" role="dialog">'
    assert named_landmarks(dialog).endswith('role="dialog" aria-label="Search">')


def test_code_keeps_its_text_and_its_colours() -> None:
    code = (
        '<span class="k">def</span><span class="w"> </span><span class="nf">f</span>'
        '<span class="p">(</span><span class="n">x</span><span class="p">):</span>'
        '<span class="s2">"&lt;n&gt;"</span><span class="o">+</span><span class="mi">1</span>'
    )
    lighter = plain_names(code)
    assert re.sub("<[^>]*>", "", lighter) == re.sub("<[^>]*>", "", code)
    assert re.findall('class="([^"]*)"', lighter) == ["k", "nf", "s2", "mi"]


def test_preview_stands_in_the_head_and_is_escaped() -> None:
    page = with_preview("<head><title>t</title></head><body></head>", {"og:title": 'A & "B"'})
    meta = '<meta property="og:title" content="A &amp; &quot;B&quot;">'
    assert page == f"<head><title>t</title>{meta}</head><body></head>"


def test_search_waits_until_it_is_opened() -> None:
    script = 'L($(location.protocol!=="file:"),Je("search"))'
    assert patient_search(script) == 'L($(!1),Je("search"))'
    with pytest.raises(ValueError, match="once, got 0 times"):
        patient_search("another")
