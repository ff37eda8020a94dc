"""A page is made once from the same text, and what MkDocs checks of it is checked every time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from material.plugins.search.plugin import Parser
from mkdocs.structure.pages import Page

from builder.page_cache import searched

from .project import Outcome, Project

PAGE = "---\ntitle: {0}\n---\n\n# {0}\n\n## Here {{ #here }}\n\n{1}\n\n## There\n\n### Inner\n"
OTHERS = [f"other/{number}.md" for number in range(3)]
Converted = Callable[[], set[str]]


@pytest.fixture
def site(project: Project) -> Project:
    """Pages that link to each other, and a theme that shows all that a page has."""
    project.write("theme/main.html", "{{ page.title }} {{ page.toc }} {{ page.content }}\n")
    with (project.root / "mkdocs.yml").open("a", encoding="utf-8") as config:
        config.write("validation: {links: {anchors: warn}}\n")
    project.write("docs/a.md", PAGE.format("A", "To [B](part/b.md#here) and [here](#there)."))
    project.write("docs/part/b.md", PAGE.format("B", "To [A](../a.md)."))
    for page in OTHERS:
        project.write(f"docs/{page}", PAGE.format(page, "Of $x$."))
    good(project.build("--strict"))
    return project


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converted:
    """Tells which pages have been converted since it was last asked."""
    log, render = tmp_path / "converted.txt", Page.render
    log.touch()

    def noted(page: Page, config: Any, files: Any) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{page.file.src_uri}\n")
        render(page, config, files)

    def told() -> set[str]:
        found = set(log.read_text(encoding="utf-8").splitlines())
        log.write_text("")
        return found

    monkeypatch.setattr(Page, "render", noted)
    return told


def good(outcome: Outcome) -> None:
    assert (outcome.status, "WARNING" in outcome.text) == (0, False), outcome.text


def pages(project: Project) -> dict[str, bytes]:
    site = project.root / "site"
    return {file.relative_to(site).as_posix(): file.read_bytes() for file in site.rglob("*.html")}


def changed(project: Project, page: str, before: str, after: str) -> None:
    file = project.root / "docs" / page
    text = file.read_text(encoding="utf-8")
    assert before in text
    file.write_text(text.replace(before, after), encoding="utf-8")


def test_only_what_has_changed_is_converted(site: Project, converted: Converted) -> None:
    """And the rest is as it was, with title, table of contents and links."""
    first = pages(site)
    assert b"Here - #here" in first["a/index.html"]
    assert b'href="../part/b/#here"' in first["a/index.html"]
    good(site.build("--strict"))
    assert converted() == set()
    assert pages(site) == first
    changed(site, "a.md", "[here]", "[below]")
    good(site.build("--strict"))
    assert converted() == {"a.md"}
    assert b">below</a>" in pages(site)["a/index.html"]
    site.write("docs/new.md", PAGE.format("New", ""))
    good(site.build("--strict"))  # a link that led nowhere might lead there
    assert converted() == {"index.md", "a.md", "part/b.md", "new.md", *OTHERS}


def test_what_the_search_finds_is_read_once(site: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the same, and follows the text, the title, and what a page says of the search."""
    config, index = site.root / "mkdocs.yml", site.root / "site/search/search_index.json"
    search = 'plugins: [{material/search: {lang: en, separator: " ", pipeline: []}}]'
    config.write_text(config.read_text(encoding="utf-8").replace("plugins: []", search))
    read, feed = list[str](), Parser.feed
    monkeypatch.setattr(Parser, "feed", lambda self, html: (read.append(html), feed(self, html)))
    good(site.build("--strict"))
    first = index.read_bytes()
    assert len(read) == 6
    good(site.build("--strict"))
    assert (len(read), index.read_bytes()) == (6, first)
    changed(site, "a.md", "[here]", "[below]")
    changed(site, "part/b.md", "title: B", "title: C\nsearch: {exclude: true}")
    good(site.build("--strict"))
    assert len(read) == 7  # of what is left out, nothing
    told = {entry["location"]: entry for entry in json.loads(index.read_bytes())["docs"]}
    assert "below" in told["a/#here"]["text"]
    assert not any(place.startswith("part/b/") for place in told)


def test_the_same_text_at_another_place_is_another_page(site: Project) -> None:
    """Although both are kept under one name: the link of one of them leads to no anchor."""
    site.write("docs/x.md", PAGE.format("X", ""))
    site.write("docs/c/x.md", PAGE.format("X", "").replace("#here", "#gone"))
    for page in ("c/d.md", "c.d.md"):
        site.write(f"docs/{page}", PAGE.format("D", "To [X](x.md#here)."))
    for _ in range(2):
        told = site.build("--strict")
        assert told.status == 1
        assert "'c/d.md' contains a link 'x.md#here'" in told.text
        assert "'c.d.md' contains" not in told.text


@pytest.mark.parametrize("damage", ["cut", "foreign", "gone"])
def test_what_is_damaged_is_made_again(damage: str, site: Project, converted: Converted) -> None:
    first, folder = pages(site), site.cache / "pages"
    file = folder / "a.md"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif damage == "foreign":
        shutil.copy(folder / "part.b.md", file)
    else:
        file.unlink()
    good(site.build("--strict"))
    assert converted() == {"a.md"}
    assert pages(site) == first


def test_what_is_wrong_with_a_page_is_said_every_time(site: Project) -> None:
    changed(site, "a.md", "part/b.md", "nowhere.md")
    for _ in range(2):
        quiet = site.build("-q")
        assert quiet.status == 0
        told = site.build("--strict")
        assert told.status == 1
        assert "contains a link 'nowhere.md" in told.text
    changed(site, "other/1.md", "$x$", "$x^2^3$")
    changed(site, "other/2.md", "$x$", "$\\frac{1}{$ and $\\rho / \\nocommand$")
    for _ in range(2):
        told = site.build("-q")
        assert told.status == 1
        for page, formula in ((1, "x^2^3"), (2, r"\\frac{1}{"), (2, r"\\rho / \\nocommand")):
            assert f"docs/other/{page}.md: formula '{formula}': " in told.text
        assert "Traceback" not in told.text


def test_links_of_a_known_page_are_checked(site: Project) -> None:
    """An anchor goes from the page that it links to, and then that page does."""
    changed(site, "part/b.md", "#here", "#gone")
    told = site.build("--strict")
    assert told.status == 1
    assert "'a.md' contains a link 'part/b.md#here', but the doc 'part/b.md' does not" in told.text
    (site.root / "docs/part/b.md").unlink()
    told = site.build("--strict")
    assert told.status == 1
    assert "the target 'part/b.md' is not found" in told.text


def test_long_lines_of_html_come_through_as_they_are(site: Project) -> None:
    """Beside Markdown and each other."""
    lines = [f'<p class="{name}">*{name}* \\1 &#10; <b>&lt;{"x" * 500}</b></p>' for name in "ab"]
    site.write("docs/a.md", "---\ntitle: A\n---\n\n# A\n\n{}\n\n- *item*\n\n{}\n".format(*lines))
    good(site.build("--strict"))
    made = pages(site)["a/index.html"].decode()
    assert all(made.count(line) == 1 for line in lines)
    assert made.index(lines[0]) < made.index("<em>item</em>") < made.index(lines[1])


def test_pages_are_made_where_none_can_be_kept(site: Project) -> None:
    first, folder = pages(site), site.cache / "pages"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    good(site.build("--strict"))
    assert pages(site) == first


def test_what_is_left_out_of_the_search_is_left_out_whole() -> None:
    """Labels and ticks of what moves were read as words: the theme's parser ends what is left out
    with the first element of its kind in it."""
    moves = '<div class="slider" data-search-exclude><div>0.1</div><p>waits</p><div></div>b</div>'
    page = f"<h1>A</h1><div>one</div>{moves}<p>two</p>{moves}<div><div>three</div></div>"
    assert searched(page) == "<h1>A</h1><div>one</div><p>two</p><div><div>three</div></div>"
    assert searched("<p>no more</p>") == "<p>no more</p>"
    parser = Parser()
    parser.feed(page)
    assert "waits" in "".join(parser.data[0].text)  # else this may go
