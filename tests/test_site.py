"""The built site: complete, self-sufficient, linked, and the same to the byte every time."""

from __future__ import annotations

import filecmp
import html
import json
import re
import shutil
from collections import Counter
from email.utils import format_datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from xml.etree import ElementTree

import pytest
from fontTools.ttLib import TTFont

from author.contracts import missing_names, row_problems
from author.fonts import FONT, used_characters
from builder import ROOT
from builder.dates import last_changes
from builder.runner import Run
from builder.source import default_cache, to_copy

from .conftest import CHAPTERS, PAGES, build
from .profiles import THOROUGH, TODAY, its_turn
from .recorded import HERE
from .visits import address_of

BASE = "http://site.test/"
LOADED = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}


class _Page(HTMLParser):
    """Ids, links, loaded addresses and images of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        if tag == "img":
            self.images.append(values)
        address = values.get(LOADED.get(tag, ""))
        relation = values.get("rel") or ""
        if address and relation not in {"canonical", "prev", "next", "alternate"}:
            self.loads.append(address)


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, _Page]:
    found = {}
    for file in site.rglob("*.html"):
        address = file.relative_to(site).as_posix().removesuffix("index.html")
        found[address] = _Page(file.read_text(encoding="utf-8"))
    return found


def test_pages_load_nothing_from_elsewhere(pages: dict[str, _Page], site: Path) -> None:
    for address, page in pages.items():
        outside = [load for load in page.loads if urlsplit(load).netloc]
        assert not outside, f"{address} loads {outside}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\(\s*[\"']?https?:|@import", text), sheet.name


def test_nothing_asks_a_code_host(site: Path) -> None:
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert "api.github.com" not in text
        assert 'data-md-component="source"' not in text  # what makes the theme ask


def test_internal_links_and_anchors_resolve(pages: dict[str, _Page], site: Path) -> None:
    for address, page in pages.items():
        for link in [*page.links, *page.loads]:
            target, anchor = urldefrag(urljoin(BASE + address, html.unescape(link)))
            if not target.startswith(BASE) or address == "404.html":
                continue
            path = unquote(urlsplit(target).path.lstrip("/"))
            if path in pages:
                known = pages[path].ids
                assert not anchor or unquote(anchor) in known, f"{address}: {link} has no target"
            else:
                assert (site / path).is_file(), f"{address}: {link} is not there"


def test_external_links_are_https(pages: dict[str, _Page]) -> None:
    for address, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.netloc and not link.startswith("http://127.0.0.1"):
                assert parts.scheme == "https", f"{address}: {link}"
                assert re.fullmatch(r"[\w.-]+\.[a-z]{2,}", parts.netloc), f"{address}: {link}"


def test_every_page_describes_itself_to_those_it_is_sent_to(site: Path) -> None:
    seen = set()
    for file in site.rglob("index.html"):
        text = file.read_text(encoding="utf-8")
        tags = dict(re.findall(r'<meta property="(og:\w+)" content="([^"]*)">', text))
        assert tags.keys() == {
            *("og:type", "og:site_name", "og:title", "og:description", "og:url", "og:image")
        }, file
        if file.parent != site:  # whose title is the site's
            told = html.unescape(tags["og:title"])
            assert f"<title>{told} - {tags['og:site_name']}</title>" in html.unescape(text)
        assert tags["og:type"] == ("website" if file.parent == site else "article")
        assert len(tags["og:description"]) >= 50
        assert tags["og:url"].startswith("http")
        seen.add(tags["og:description"])
        image = tags["og:image"].partition("/assets/")[2]
        assert (site / "assets" / image).is_file()
        (work,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', text)
        work = json.loads(work)
        assert (work["description"], work["url"]) == (
            html.unescape(tags["og:description"]),
            tags["og:url"],
        )
    assert len(seen) > 30
    assert "<loc>" in (site / "sitemap.xml").read_text(encoding="utf-8")
    robots = (site / "robots.txt").read_text(encoding="utf-8")
    assert re.search(r"^Sitemap: https?://\S+/sitemap\.xml$", robots, re.MULTILINE)


def test_a_feed_tells_of_every_chapter(site: Path) -> None:
    items = ElementTree.parse(site / "feed.xml").getroot().findall("channel/item")
    addresses = [str(item.findtext("link")) for item in items]
    assert len(set(addresses)) == len(items) == len(CHAPTERS)
    dates = {
        path.removesuffix(".md"): format_datetime(date, usegmt=True)
        for path, date in last_changes(ROOT / "docs").items()
    }
    for item, address in zip(items, addresses, strict=True):
        file = site / urlsplit(address).path.strip("/") / "index.html"
        page = html.unescape(file.read_text(encoding="utf-8"))
        assert f"<title>{item.findtext('title')} - " in page
        assert str(item.findtext("description")) in page
        assert str(item.findtext("guid")).startswith(f"{address}#")
        assert item.findtext("pubDate") == dates.get(urlsplit(address).path.strip("/"))


def test_the_site_does_not_tell_the_day_of_its_build(site: Path) -> None:
    text = (site / "sitemap.xml").read_text(encoding="utf-8")
    days = {f"{date:%Y-%m-%d}" for date in last_changes(ROOT / "docs").values()}
    assert set(re.findall("<lastmod>(.*)</lastmod>", text)) <= days


def test_what_a_page_shows_can_be_linked_to(site: Path) -> None:
    """Tables, formulas that stand alone, and checks; what links to them stands in them."""
    kinds = Counter[str]()
    for file in site.rglob("index.html"):
        text = file.read_text(encoding="utf-8")
        shown = re.findall(r'(<div class="linked"[^>]*>)<div class="(?:table|formula)\b', text)
        assert len(shown) == len(re.findall(r'<div class="(?:table|formula)\b', text)), file
        shown += re.findall(r'<details class="check"[^>]*>', text)
        for one in shown:
            (name,) = re.findall(r' id="((?:table|formula|check)-[\w-]+)"', one)
            assert f'<a class="headerlink" href="#{name}" title="Link to this ' in text
            kinds[name.partition("-")[0]] += 1
    assert min(kinds[kind] for kind in ("table", "formula", "check")) > 60, kinds


def test_a_link_has_a_word_beside_its_formula(site: Path) -> None:
    """axe finds no name in one that is a formula alone, and looks at a page on some days only."""
    alone = re.compile(r"<a [^>]*>\s*<math\b(?:(?!</math>).)*</math>\s*</a>", re.DOTALL)
    assert alone.search('<a href="#x"><math><mi>C</mi></math></a>')
    pages = site.rglob("index.html")
    assert not {f: found for f in pages if (found := alone.findall(f.read_text(encoding="utf-8")))}


def test_a_button_of_code_says_of_what(site: Path) -> None:
    """Each in other words than the others of its page: they are read without what stands around."""
    button = re.compile(r"<(button|a)\b([^>]*)>(.*?)</\1>", re.DOTALL)
    found = 0
    for file in site.rglob("index.html"):
        named = []
        for _, attributes, inner in button.findall(file.read_text(encoding="utf-8")):
            if re.search(r'class="snippet-| download', attributes):
                label = re.search(r'aria-label="([^"]*)"', attributes)
                named.append(label[1] if label else re.sub("<[^>]*>", "", inner))
        again = {name for name, times in Counter(named).items() if times > 1}
        assert not {name for name in again if not name.startswith(("Copy ", "Download "))}, file
        found += len(named)
    assert found > 500


def test_every_copy_button_takes_its_names_with_what_they_need(site: Path) -> None:
    """In the order of the page; that a button takes what it leads to, `test_browser.py` asserts."""
    directive = re.compile(r"^ *\{\{ (?:code|solution) (.+) \}\}$", re.MULTILINE)
    find, buttons = HERE.sources.module, 0
    for page in PAGES:
        place = site / address_of(page.slug)
        built = (place / "index.html").read_text(encoding="utf-8")
        leads = [one.partition("#") for one in re.findall(r'data-copied="([^"]*)"', built)]
        lists = {file: json.loads((place / file).read_bytes()) for file, *_ in leads}
        modules = [find(name) for name in page.modules]
        expected = [
            to_copy(module, names, find)
            for names in map(str.split, directive.findall(page.text))
            for module in modules
            if names[0] in module.outline.symbols
        ]
        assert [lists[file][int(number)] for file, _, number in leads] == expected, page.path
        buttons += len(expected)
    assert buttons > 300


def test_copies_with_imports_find_all_that_they_use(site: Path) -> None:
    lists = [json.loads(file.read_bytes()) for file in (site / "copied").rglob("*.json")]
    whole = {text for texts in lists for text in texts}
    ours = [text for text in whole if re.search(r"^from serving_mathematics", text, re.MULTILINE)]
    assert 50 < len(ours) < len(whole) / 3
    for text in ours:
        assert not missing_names(text), text[:200]
        exec(compile(text, "copied", "exec"), {"__name__": "__main__"})


def test_the_search_knows_every_section_by_its_heading(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    known = {entry["location"]: entry for entry in index["docs"]}
    heading = re.compile(r'<h[1-6] id="([^"]+)">(.*?)<a class="headerlink"', re.DOTALL)
    sections = 0
    for file in site.rglob("index.html"):
        address = file.parent.relative_to(site).as_posix().removeprefix(".")
        if address == "notebook":
            continue
        text = re.sub(r"<math.*?</math>", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        _, *below = heading.findall(text)  # the first is the page
        for name, title in below:
            entry = known[f"{address}/#{name}".removeprefix("/")]
            plain = html.unescape(re.sub(r"<[^>]*>", "", title)).split()
            found = html.unescape(re.sub(r"<[^>]*>", "", entry["title"])).split()
            assert [word for word in plain if word not in found] == [], (address, name)
            sections += 1
    assert sections > 500


def test_pages_are_drawn_once_and_in_their_colours(site: Path) -> None:
    """Scripts, fonts and colours are known before a page is drawn; the theme's script and its
    search wait for a reader.
    """
    for file in [site / "404.html", *site.rglob("index.html")]:
        text = file.read_text(encoding="utf-8")
        head = text.partition('<link rel="stylesheet"')[0]
        assert head.count("className = 'js js-focus-visible'") == 1, file
        fonts = re.findall(r'<link rel="preload" href="[^"]*?assets/([^"]*)" as="font"', head)
        assert fonts == [f"fonts/{name}.woff2" for name in ("serif", "serif-bold", "sans")], file
        assert all((site / "assets" / name).is_file() for name in fonts)
        scripts = re.findall(r'<script (src|data-from)="[^"]*/(\w+)[.\w]*\.js"', text)
        assert ("data-from", "bundle") in scripts, file
        assert ("src", "bundle") not in scripts, file
        assert "search/search_index.json" in text.partition("data-from=")[0], file
        assert text.count("document.getElementsByName") == 1, file
        assert "var palette" not in text, file
        assert 'data-md-component="palette"' not in text, file


def test_rows_have_the_cells_of_their_table(site: Path) -> None:
    """As they were before Markdown, which drops those that are too many."""
    texts = {str(file.relative_to(site)): file.read_text("utf-8") for file in site.rglob("*.md")}
    problems = [told for path, text in texts.items() for told in row_problems(path, text)]
    assert len(texts) > 50
    assert not problems, "\n".join(problems)


def test_ids_are_unique(pages: dict[str, _Page]) -> None:
    """A table's is of its section and its first column's head, a formula's of its left side: of two
    that have one, begin one otherwise.
    """
    for address, page in pages.items():
        double = {name for name in page.ids if page.ids.count(name) > 1}
        assert not double, f"{address}: {double}"


def test_images_have_a_description_and_a_size(pages: dict[str, _Page]) -> None:
    for address, page in pages.items():
        for image in page.images:
            assert image.get("alt") is not None, f"{address}: {image}"
            assert str(image.get("width", "")).isdigit(), f"{address}: {image}"
            assert str(image.get("height", "")).isdigit(), f"{address}: {image}"


def test_no_directive_and_no_slot_is_left(site: Path) -> None:
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        article = re.search(r"<article.*?</article>", text, re.DOTALL)
        body = re.sub(
            r"<pre.*?</pre>|data-copied=\"[^\"]*\"",
            "",
            article[0] if article else "",
            flags=re.DOTALL,
        )
        assert not re.search(r"\{\{ ?[a-z]", body), file
        assert "build-error" not in body, file
        assert "arithmatex" not in body, file
        assert "<p><p" not in body, f"{file}: `<` before a letter in a formula, which begins a tag"


def test_formula_font_has_every_character(site: Path) -> None:
    with TTFont(FONT) as font:
        missing = {char for char in used_characters(site) if ord(char) not in font.getBestCmap()}
    assert not missing, f"run `make font`: {sorted(missing)}"


def test_pages_stay_light(site: Path) -> None:
    """HTML before compression; code blocks carry their copy text, so a chapter is not tiny."""
    for file in site.rglob("*.html"):
        assert file.stat().st_size < 450_000, f"{file.relative_to(site)}: {file.stat().st_size}"
    for file in site.rglob("*.svg"):
        assert file.stat().st_size < 250_000, f"{file.relative_to(site)}: {file.stat().st_size}"


@its_turn(2)
@pytest.mark.timeout(600)
def test_a_build_that_shares_nothing_with_ours_is_the_same(
    site: Path, records: dict[str, Run], tmp_path: Path
) -> None:
    """Every byte but the seconds on the execution report and the dates of the history, which a copy
    lacks: a copy of the project in another folder, with another order of sets, against the site
    that all tests read. A sixth of the pages is made anew and a twelfth of the modules runs again,
    others every time, and in a thorough run all.
    """
    turn = TODAY // 3
    clone, cache = tmp_path / "another folder" / "clone", tmp_path / "cache"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "site", "*.egg-info")
    shutil.copytree(ROOT, clone, ignore=ignored)
    known = [run for place, run in enumerate(records.values()) if (place + turn) % 12 != 0]
    for run in [] if THOROUGH else known:
        shutil.copytree(run.folder, cache / run.name / run.folder.name)
    if not THOROUGH:
        shutil.copytree(default_cache(ROOT) / "syntax", cache / "syntax")
        made = sorted((default_cache(ROOT) / "pages").iterdir())
        for kept in {*made} - {*made[turn % 6 :: 6]}:
            (cache / "pages").mkdir(exist_ok=True)
            shutil.copy(kept, cache / "pages")
    told = build(
        tmp_path / "theirs",
        clone,
        SNIPPETS_CACHE=str(cache),
        PYTHONPATH=str(clone / "snippets"),
        PYTHONHASHSEED="4321",
        PYTHONDONTWRITEBYTECODE="1",
        TZ="Pacific/Auckland",
        LC_ALL="C.UTF-8",
    ).stderr
    ran = max(int(total) for total in re.findall(r"\[\d+/(\d+)\] ", told))
    assert ran == (len(records) if THOROUGH else len(records) - len(known))
    assert _differences(site, tmp_path / "theirs") <= {
        *("report/index.html", "report.md"),
        *("feed.xml", "sitemap.xml", "sitemap.xml.gz"),
    }


def _differences(first: Path, second: Path) -> set[str]:
    files = {
        file.relative_to(folder).as_posix()
        for folder in (first, second)
        for file in folder.rglob("*")
        if file.is_file()
    }
    return {
        name
        for name in files
        if not (first / name).is_file()
        or not (second / name).is_file()
        or not filecmp.cmp(first / name, second / name, shallow=False)
    }
