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
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

from jinja2 import Environment

from builder import BuildError
from builder.expansion import Site
from builder.markup import HERE
from builder.pages import folder_of

BOOK = "downloads/handbook.epub"
_ONLY_THERE = {"gallery.md", "report.md"}  # on the site
_ASIDE = re.compile(  # what goes into the book as it stands; and what is no XML and stays out
    r'<(math|pre|svg)\b[^>]*>(.*?)</\1>|<(form\b.*?</form|div class="checks".*?</div)>', re.DOTALL
)
_OF_CODE = re.compile(r"</?(?:code|button|span|a)\b[^>]*>")
_VOID = re.compile(r'<((?:img|br|hr|input|col|wbr|source)\b(?:[^>"]|"[^"]*")*?)\s*/?>')
_BARE = re.compile(r'(<[a-z]\w*(?:\s+[\w:-]+="[^"]*")*\s+[\w:-]+)(?=[\s/>])')
_UNKNOWN = re.compile(r' (?:displaystyle|scriptlevel)="\w*"|<!DOCTYPE[^>]*>')  # to EPUB's rules
_LEFT_OUT = {"button", "nav", "output", "input", "label"}
_OF_BROWSERS = {"slider", "live", "headerlink", "only-dark", "figure-file"}
_OF_BROWSERS |= {"snippet-tools", "snippet-unfold"}
_KEPT = {"id", "class", "href", "src", "alt", "width", "height", "colspan", "rowspan", "start", "n"}
_MATH = "http://www.w3.org/1998/Math/MathML"
_joined = functools.cache(urljoin)


def write(folder: Path, site: Site, modified: str) -> None:
    """Write the book beside the pages of a built site, in the order of its navigation.

    modified: such as 2026-01-31T00:00:00Z. Raises BuildError that names a page that is no XML.
    """
    paths = [path for path in site.order if path.endswith(".md") and path not in _ONLY_THERE]
    aside: list[str] = []
    trees = {place: _article(folder, place, aside) for place in map(folder_of, paths)}
    ids = {place: {found.get("id") for found in tree.iter()} for place, tree in trees.items()}
    images: dict[str, None] = {}
    xml: Any = Environment(loader=HERE).get_template("book.xml").module
    texts = {"nav.xhtml": "", "book.css": Path(__file__).with_name("book.css").read_text("utf-8")}
    titles = {}
    for place, tree in trees.items():
        name, top = f"{place}index.xhtml", "../" * place.count("/")
        for link in tree.iter("a"):
            address, _, part = link.get("href", "").partition("#")
            to = _joined(place, address)
            inside = f"#{_anchor(part)}" if part and _anchor(part) in ids.get(to, ()) else ""
            if to in ids:
                link.set("href", f"{top}{to}index.xhtml{inside}")
            elif "://" not in address:
                link.set("href", urljoin(site.address, to))
        images |= dict.fromkeys(urljoin(place, img.get("src", "")) for img in tree.iter("img"))
        heading = tree.find(".//h1")
        title = html.escape(place if heading is None else "".join(heading.itertext()).strip())
        titles[name] = title
        texts[name] = xml.page(title, _text(tree, aside), top)
    texts["nav.xhtml"] = xml.page("Contents", xml.contents(titles), "")
    names = (str(uuid.uuid5(uuid.NAMESPACE_URL, site.address)), site.name, site.description)
    texts["package.opf"] = xml.package(*map(html.escape, names), modified, texts, [*images])
    (folder / BOOK).parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / BOOK, "w") as book:

        def put(name: str, content: str, how: int = zipfile.ZIP_DEFLATED) -> None:
            book.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content, how)

        put("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        put("META-INF/container.xml", xml.container())
        for name, text in texts.items():
            put(f"book/{name}", text)
        for address in images:
            figure = _UNKNOWN.sub("", (folder / address).read_bytes().decode())
            put(f"book/{address}", re.sub(r'<path(?=\s)(?![^>]*?\sd=")', '<path d="M0 0"', figure))


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
            seen = 'aria-hidden="true"' not in found[0].partition(">")[0]  # no ornament
            aside.append(found[0] if seen else "")
        else:
            aside.append(f"<pre><code>{_OF_CODE.sub('', found[2])}</code></pre>")
        return f'<i n="{len(aside) - 1}"/>'

    page = (folder / place / "index.html").read_bytes().decode()
    found = page.partition("<article")[2].rpartition("</article>")[0]
    article = f"<article{found or '>'}</article>"  # another theme than ours may have none
    text = re.sub(r"&(?!(?:amp|lt|gt|quot|#\w+);)\w+;", lambda it: html.unescape(it[0]), article)
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
    text = re.sub(r"<p(?: [^>]*)?>\s*</p>", "", text.removesuffix("</article>"))
    return re.sub(r'<i n="(\d+)" />', lambda place: aside[int(place[1])], text)
