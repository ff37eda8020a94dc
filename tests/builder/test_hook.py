"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

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
