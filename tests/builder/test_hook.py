"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from builder import hook
from builder.expansion import COMPANION

CONFIG: Any = SimpleNamespace(
    extra={"notebook": {"description": "All of it."}},
    site_name="Small",
    site_description="A site.",
    site_url="https://a.test/",
)


def page(path: str, **more: Any) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=path), meta={}, **more)


def test_the_notebook_alone_is_not_searched_and_described() -> None:
    book, other = page(COMPANION), page("index.md")
    for one in (book, other):
        assert hook.on_page_markdown("text", page=one, config=CONFIG) == "text"
    assert book.meta == {"search": {"exclude": True}, "description": "All of it."}
    assert other.meta == {}


def test_a_map_of_the_site_tells_no_day_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "<url><loc>a</loc>\n  <lastmod>2026-01-02</lastmod>\n</url>"
    for changed, told in (({}, "<url><loc>a</loc>\n</url>"), ({"a.md": 1}, text)):
        monkeypatch.setattr(hook._State, "changed", changed)
        assert hook.on_post_template(text, template_name="sitemap.xml") == told
