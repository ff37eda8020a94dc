"""What stands around a chapter: minutes, chapters beside it, and how it is cited."""

from __future__ import annotations

from builder.chapter_notes import minutes, neighbours
from builder.expansion import Site
from builder.markup import listed, markup
from builder.pages import Page

PROSE = "word " * 440


def test_what_is_looked_up_takes_no_time() -> None:
    apart = "\n".join(
        (
            *("# Title", "", PROSE, "", "```", PROSE, "```", f"| {PROSE} |", "{{ code f }}", ""),
            *("## Symbols", PROSE, "## Checks", PROSE, "## Exercises", PROSE, "## Sources", PROSE),
        )
    )
    assert minutes(apart) == minutes(PROSE) == 2
    assert minutes("{{ figure x }}\n" * 11) == 3
    assert minutes("") == 1


def test_chapters_are_placed_by_their_links() -> None:
    texts = {
        "a/one.md": "[two](two.md) [two](two.md#x)",
        "a/two.md": "[one](one.md) [one](one.md#y) [three](../b/three.md) [it](../glossary.md)",
        "b/three.md": "[two](../a/two.md), [two](../a/two.md), [one](../a/one.md)",
    }
    assert neighbours(texts) == {
        "a/one.md": ([], ["a/two.md"]),
        "a/two.md": (["a/one.md"], ["b/three.md"]),
        "b/three.md": (["a/two.md"], []),
    }


def test_the_line_says_what_there_is() -> None:
    page, *others = (Page(f"p/{x}.md", {"title": x}) for x in "axy")
    told = markup("note", page, "A & B", 2, [], others)
    spans = "<span>A &amp; B</span> <span>2 minutes</span>"
    x, y = (f'<a href="../../p/{x}/">{x}</a>' for x in "xy")
    after = f"<span>used in {x} and {y}</span>"
    assert told == f'<p class="of-page" data-search-exclude>{spans} {after}</p>'
    assert "<span>1 minute</span>" in markup("note", page, "", 1, [], [])


def test_an_entry_has_what_is_known() -> None:
    cited = {"author": "Us", "version": "1.2", "commit": "abc", "date": "2026-11-28"}
    page = Page("capacity/littles-law.md", {"title": "Little's law"})
    entry = listed("citation", page, Site("Book", address="https://a.test/", cited=cited))
    for part in (
        "@incollection{littles-law,\n  author = {{Us}},\n  title = {Little's law},",
        "  year = {2026},\n  date = {2026-11-28},\n  note = {version 1.2, commit abc},",
        "  url = {https://a.test/capacity/littles-law/},\n}",
    ):
        assert part in entry
    bare = listed("citation", page, Site("Book", cited={"version": "1.2"}))
    assert "year" not in bare
    assert "note = {version 1.2}" in bare
