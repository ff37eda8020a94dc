"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from builder import hook
from builder.expansion import COMPANION

CONFIG: Any = SimpleNamespace(extra={"notebook": {"description": "All of it."}})


def page(path: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=path), meta={})


def test_the_notebook_alone_is_not_searched_and_described() -> None:
    book, other, code = page(COMPANION), page("index.md"), '<span class="p">(</span>'
    told = [hook.on_page_content(code, page=one, config=CONFIG) for one in (book, other)]
    assert told == ["(", code]
    assert book.meta == {"search": {"exclude": True}, "description": "All of it."}
    assert other.meta == {}
