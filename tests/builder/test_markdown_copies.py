"""Markdown of every page, and the book."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from urllib.parse import urldefrag, urljoin
from xml.etree import ElementTree as ET

import pytest

from builder import BuildError, epub
from builder.expansion import Site
from builder.markdown_copies import markdown

EXPANDED = """\
---
title: One
description: 'It''s "one": two.'
---

# One

<p class="question">What is <code>1</code>?</p>

Text with $x<1$ and [a link](two.md).
{ .note data-search-exclude }

<figure><img alt="A line." src="../../f-light.svg"><p>Up <a class="headerlink">&para;</a></p>
<svg role="img"><title>P</title><desc>a 3</desc><text x="1">0.1</text><text>0.2</text></svg>
<p><img class="only-dark" alt="A line." src="../../f-dark.svg"></p>

``` { .python .snippet title="a.py" data-search-exclude="" }
<p hidden>is code here</p>
```

<p hidden>one</p>
<div class="slider" id="s">Move</div>
<table><thead><tr><th>a</th><th>b</th></tr></thead><tr><td>1</td><td>2 &lt; 3</td></tr></table>
<p><a href="../../d.zip">d</a></p>
"""
PLAIN = """\
# One

> It's "one": two.

What is `1`?

Text with $x<1$ and [a link](two.md).

![A line.](../f-light.svg)

Up
P: a 3

```python
<p hidden>is code here</p>
```

| a | b |
|---|---|
| 1 | 2 < 3 |
[d](../d.zip)
"""
PAGE = """<html><body><article class="md-content__inner"><h1 id="1-one">One<a class="headerlink"
href="#1-one">&para;</a></h1><details open><summary>a</summary>&nbsp;b<br></details>
<p><a href="../b/#2">b</a> <a href="../x.zip" download>x</a> <a href="https://e.test/">e</a>
<a href="#gone">gone</a></p><div class="slider"><div><p id="gone">s</p></div></div>t
<math><mfrac displaystyle="true"><mi>x</mi><mn>2</mn></mfrac></math>
<pre><span><button></button></span><code><span class="k">if</span> a &lt; b</code></pre>
<img class="only-light" alt="" src="../f.svg"><img class="only-dark" alt="" src="../g.svg">
<ul class="cards"><li><a href="../b/">k<img src="../f.svg"><svg></svg></a></li></ul>
<form><input disabled><select><option selected><option></select></form></article></body></html>"""
OTHER = '<article><h1 id="b">B &amp; C</h1><p id="2">{}</p></article>'
SVG = '<!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg"><path id="a"/><path d="M1 1"/></svg>'
SVG_NAME = "{http://www.w3.org/2000/svg}"
XHTML = "{http://www.w3.org/1999/xhtml}"


def made(folder: Path, text: str = "two") -> dict[str, str]:
    """The files of a book of two pages."""
    for place, page in (("a", PAGE), ("b", OTHER.format(text))):
        (folder / place).mkdir()
        (folder / place / "index.html").write_text(page, encoding="utf-8")
    (folder / "f.svg").write_text(SVG, encoding="utf-8")
    site = Site("N", "D", "https://s.test/", ("a.md", "b/index.md", "gallery.md", "n.ipynb"))
    epub.write(folder, site, "2026-01-31T00:00:00Z")
    with zipfile.ZipFile(folder / epub.BOOK) as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_markdown_has_what_a_page_says_and_nothing_of_a_browser() -> None:
    assert markdown("part/one.md", EXPANDED) == PLAIN
    assert "](../../f-light.svg)" in markdown("part/index.md", EXPANDED)
    assert markdown("one.md", "Text.\n") == "Text.\n"


def test_a_book_of_two_pages(tmp_path: Path) -> None:
    files = made(tmp_path)
    page = files["book/a/index.xhtml"]
    tree = ET.fromstring(page)
    links = {link.text: link.get("href") for link in tree.iter(f"{XHTML}a")}
    assert links == {
        "b": "../b/index.xhtml#_2",
        "x": "https://s.test/x.zip",
        "e": "https://e.test/",
        "gone": "../a/index.xhtml",
        "k": "../b/index.xhtml",
    }
    assert [found.get("id") for found in tree.iter(f"{XHTML}h1")] == ["_1-one"]
    assert "<pre><code>if a &lt; b</code></pre>" in page
    assert f'<math xmlns="{epub._MATH}"><mfrac><mi>x</mi>' in page
    assert [image.get("src") for image in tree.iter(f"{XHTML}img")] == ["../f.svg"]
    assert not re.search(r"slider|<input|only-dark", page)
    assert "t\n" in page
    assert '<ul class="cards"><li><a href="../b/index.xhtml">k</a></li></ul>' in page
    assert "<!DOCTYPE" not in files["book/f.svg"]
    assert files["book/f.svg"].count(' d="') == 2
    assert '<li><a href="b/index.xhtml">B &amp; C</a></li>' in files["book/nav.xhtml"]
    assert files == {**files, **made_again(tmp_path)}


def made_again(folder: Path) -> dict[str, str]:
    again = folder / "again"
    again.mkdir()
    return made(again)


def test_a_page_that_is_no_xml_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"^b/: not XML, for the book: mismatched tag.*two<b>"):
        made(tmp_path, "two<b>")


def test_the_book_of_the_site_keeps_the_rules_of_its_format(site: Path) -> None:
    """What epubcheck asks for that can go wrong here; it found nothing in this book."""
    with zipfile.ZipFile(site / epub.BOOK) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    package = ET.fromstring(files["book/package.opf"])
    opf = "{http://www.idpf.org/2007/opf}"
    items = {item.get("href", ""): item for item in package.iter(f"{opf}item")}
    inside = {f"book/{name}" for name in items} | {"book/package.opf"}
    assert set(files) == inside | {"mimetype", "META-INF/container.xml"}
    listed = [item.get("idref") for item in package.iter(f"{opf}itemref")]
    pages = {name: files[f"book/{name}"] for name in items if name.endswith(".xhtml")}
    assert listed == [items[name].get("id") for name in pages if name != "nav.xhtml"]
    assert len(listed) > 40
    trees = {name: ET.fromstring(text) for name, text in pages.items()}
    ids = {
        name: [one.get("id") for one in tree.iter() if one.get("id")]
        for name, tree in trees.items()
    }
    styled: set[str] = set()  # what has no style in a book is filled with black
    for name, tree in trees.items():
        drawn = [one for one in tree.iter() if one.tag.rpartition("}")[2] == "svg"]
        assert all(one.tag == f"{SVG_NAME}svg" for one in drawn), name
        styled |= {one.get("class", "") for svg in drawn for one in svg.iter()}
        has = {"mathml": "<math" in pages[name], "svg": drawn, "nav": name == "nav.xhtml"}
        assert (items[name].get("properties") or "").split() == [kind for kind in has if has[kind]]
        assert len(ids[name]) == len(set(ids[name])), name
        assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", one or "") for one in ids[name]), name
        assert not {one.tag for one in tree.iter()} & {f"{XHTML}{tag}" for tag in ("GONE", "i")}
        said = ["".join(one.itertext()).strip() or len(one) for one in tree.iter(f"{XHTML}p")]
        assert all(said), name
        for link in tree.iter(f"{XHTML}a"):
            to, part = urldefrag(urljoin(name, link.get("href", "")))
            assert ":" in to or (to in pages and (not part or part in ids[to])), (name, to, part)
        for image in tree.iter(f"{XHTML}img"):
            assert urljoin(name, image.get("src")) in items, name
            assert image.get("alt") is not None, name
    for name in items:
        if name.endswith(".svg"):
            figure = ET.fromstring(files[f"book/{name}"])
            assert all("d" in path.attrib for path in figure.iter(f"{SVG_NAME}path"))
    told = set(re.findall(r"\.([\w-]+)", files["book/book.css"]))
    assert styled
    assert {name for names in styled for name in names.split()} <= told


def test_every_page_of_the_site_is_there_as_markdown(site: Path) -> None:
    listed = re.findall(
        r"\]\([^)]*?//[^/]+/(\S+\.md)\)", (site / "llms.txt").read_text(encoding="utf-8")
    )
    assert len(listed) > 25
    for name in listed:
        assert (site / name).is_file(), name
    for file in site.rglob("*.md"):
        text = file.read_text(encoding="utf-8")
        plain = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
        assert not re.search(r"^<|data-clipboard|\{\{ ", plain, re.MULTILINE), file
        for to in re.findall(r"\]\(([\w./-]+\.[a-z]+)[)#]", plain):
            assert (file.parent / to).resolve().exists(), (file, to)
