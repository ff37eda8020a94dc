"""The pages of a built site as one book for a reader without a network (EPUB 3). What is pressed
or moved stays out of it, and the comparisons, which are thousands.
"""

from __future__ import annotations

import functools
import html
import re
import uuid
import zipfile
from pathlib import Path
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from builder import BuildError
from builder.expansion import Site

BOOK = "downloads/handbook.epub"
_ONLY_THERE = {"gallery.md", "report.md"}  # on the site
_ASIDE = re.compile(  # what goes into the book as it stands; and what is no XML and stays out
    r'<(math|pre|svg)\b[^>]*>(.*?)</\1>|<(form\b.*?</form|div class="checks".*?</div)>', re.DOTALL
)
_OF_CODE = re.compile(r"</?(?:code|button|span|a)\b[^>]*>")
_VOID = re.compile(r'<((?:img|br|hr|input|col|wbr|source)\b(?:[^>"]|"[^"]*")*?)\s*/?>')
_BARE = re.compile(r'(<[a-z]\w*(?:\s+[\w:-]+="[^"]*")*\s+[\w:-]+)(?=[\s/>])')
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|#\w+);)\w+;")
_UNKNOWN = re.compile(r' (?:displaystyle|scriptlevel)="\w*"|<!DOCTYPE[^>]*>')  # to EPUB's rules
_LEFT_OUT = {"button", "nav", "output", "input", "label"}
_OF_BROWSERS = {"slider", "stepper", "live", "headerlink", "only-dark", "figure-file"}
_OF_BROWSERS |= {"snippet-tools", "snippet-unfold"}
_KEPT = {"id", "class", "href", "src", "alt", "width", "height", "colspan", "rowspan", "start", "n"}
_MATH = "http://www.w3.org/1998/Math/MathML"
_PAGE = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="en">
<head><title>{}</title><link rel="stylesheet" type="text/css" href="book.css"/></head>
<body>{}</body></html>
"""
_STYLE = """body { line-height: 1.4; } img { max-width: 100%; height: auto; }
pre { white-space: pre-wrap; font-size: 0.8em; } figcaption, summary { font-style: italic; }
table { border-collapse: collapse; } th { text-align: left; } .cards span { display: block; }
th, td { padding: 0.2em 0.5em; border-bottom: 1px solid #999; vertical-align: top; }
.card-title { font-weight: bold; }
"""
_STYLE += "".join(  # columns of numbers
    f".n{n} td:nth-child({n}), .n{n} th:nth-child({n}) {{ text-align: right; }}\n"
    for n in range(1, 10)
)
_PACKAGE = """<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:{}</dc:identifier><dc:language>en</dc:language>
<dc:title>{}</dc:title><dc:description>{}</dc:description>
<meta property="dcterms:modified">{}</meta></metadata>
<manifest>{}</manifest><spine>{}</spine></package>
"""
_CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>
"""
_joined = functools.cache(urljoin)
_TYPES = {"svg": "image/svg+xml", "png": "image/png", "css": "text/css"}


def write(folder: Path, site: Site, modified: str) -> None:
    """Write the book beside the pages of a built site, in the order of its navigation.

    modified: such as 2026-01-31T00:00:00Z. Raises BuildError that names a page that is no XML.
    """
    paths = [path for path in site.order if path.endswith(".md") and path not in _ONLY_THERE]
    places = [f"{path.removesuffix('.md')}/".removesuffix("index/") for path in paths]
    aside: list[str] = []
    trees = {place: _article(folder, place, aside) for place in places}
    ids = {place: {found.get("id") for found in tree.iter()} for place, tree in trees.items()}
    images: dict[str, str] = {}
    texts = {"nav.xhtml": "", "book.css": _STYLE}
    contents = []
    for place, tree in trees.items():
        for link in tree.iter("a"):
            address, _, part = link.get("href", "").partition("#")
            to = _joined(place, address)
            inside = f"#{_anchor(part)}" if part and _anchor(part) in ids.get(to, ()) else ""
            if to in ids:
                link.set("href", _name(to) + inside)
            elif "://" not in address:
                link.set("href", urljoin(site.address, to))
        for image in tree.iter("img"):
            address = urljoin(place, image.get("src", ""))
            image.set("src", images.setdefault(address, f"images/{address.replace('/', '-')}"))
        heading = tree.find(".//h1")
        title = html.escape(place if heading is None else "".join(heading.itertext()).strip())
        texts[_name(place)] = _PAGE.format(title, _text(tree, aside))
        contents.append(f'<li><a href="{_name(place)}">{title}</a></li>')
    listed = f'<nav epub:type="toc"><h1>Contents</h1><ol>{"".join(contents)}</ol></nav>'
    texts["nav.xhtml"] = _PAGE.format("Contents", listed)
    texts["package.opf"] = _package(site, modified, texts, [*images.values()])
    (folder / BOOK).parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / BOOK, "w", compresslevel=1) as book:

        def put(name: str, content: str, how: int = zipfile.ZIP_DEFLATED) -> None:
            book.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, how)

        put("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        put("META-INF/container.xml", _CONTAINER)
        for name, text in texts.items():
            put(f"book/{name}", text)
        for address, name in images.items():
            figure = _UNKNOWN.sub("", (folder / address).read_bytes().decode())
            put(f"book/{name}", re.sub(r'<path(?=\s)(?![^>]*?\sd=")', '<path d="M0 0"', figure))


@functools.cache
def _name(place: str) -> str:
    return f"{place.strip('/').replace('/', '-') or 'index'}.xhtml"


@functools.cache
def _anchor(name: str) -> str:
    """An id that XML allows."""
    return re.sub(r"^(?=[^a-zA-Z_])", "_", re.sub(r"[^\w.-]", "-", name))


def _article(folder: Path, place: str, aside: list[str]) -> ET.Element:
    """What a page says, as XML, with places for what is put aside."""

    def put_aside(found: re.Match[str]) -> str:
        if found[3]:
            return ""
        if found[1] == "math":
            aside.append(_UNKNOWN.sub("", found[0]).replace("<math", f'<math xmlns="{_MATH}"', 1))
        elif found[1] == "svg":
            aside.append(found[0])
        else:
            aside.append(f"<pre><code>{_OF_CODE.sub('', found[2])}</code></pre>")
        return f'<i n="{len(aside) - 1}"/>'

    page = (folder / place / "index.html").read_bytes().decode()
    found = page.partition("<article")[2].rpartition("</article>")[0]
    article = f"<article{found or '>'}</article>"  # another theme than ours may have none
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), article)
    text = _VOID.sub(r"<\1/>", _ASIDE.sub(put_aside, text))
    while (told := _BARE.sub(r'\1=""', text)) != text:
        text = told
    try:
        tree = ET.fromstring(text)
    except ET.ParseError as problem:
        line = [*text.splitlines(), ""][problem.position[0] - 1]
        near = line[max(0, problem.position[1] - 80) :][:100]
        raise BuildError(
            f"{place or 'home'}: not XML, for the book: {problem}: {near}"
        ) from problem
    _thin(tree)
    return tree


def _thin(tree: ET.Element) -> None:
    """Leave out what is nothing in a book, and attributes that it does not know."""
    for element in tree:
        known = {name: value for name, value in element.items() if name in _KEPT}
        classes = {*known.get("class", "").split()}
        if element.tag in _LEFT_OUT or "hidden" in element.attrib or classes & _OF_BROWSERS:
            tail = element.tail
            element.clear()
            element.tag, element.tail = "GONE", tail
            continue
        if "cards" in classes:  # their words
            for picture in (*element.iter("img"), *element.iter("i")):
                picture.tag, picture.attrib = "GONE", {}
        element.attrib = known
        if "id" in known:
            known["id"] = _anchor(known["id"])
        _thin(element)


def _text(tree: ET.Element, aside: list[str]) -> str:
    text = ET.tostring(tree, encoding="unicode").replace("<GONE />", "").partition(">")[2]
    text = text.removesuffix("</article>")
    return re.sub(r'<i n="(\d+)" />', lambda place: aside[int(place[1])], text)


def _package(site: Site, modified: str, texts: dict[str, str], images: list[str]) -> str:
    items, spine = [], []
    for number, name in enumerate([*texts, *images]):
        kind = _TYPES.get(name.rpartition(".")[2], "application/xhtml+xml")
        told = "mathml" * ("<math" in texts.get(name, "")) or "nav" * (name == "nav.xhtml")
        told = f' properties="{told}"' if told else ""
        items.append(f'<item id="i{number}" href="{name}" media-type="{kind}"{told}/>')
        if name.endswith(".xhtml") and name != "nav.xhtml":
            spine.append(f'<itemref idref="i{number}"/>')
    names = (str(uuid.uuid5(uuid.NAMESPACE_URL, site.address)), site.name, site.description)
    return _PACKAGE.format(*map(html.escape, names), modified, "".join(items), "".join(spine))
