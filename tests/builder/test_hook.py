"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from builder import hook
from builder.expansion import COMPANION

CONFIG: Any = SimpleNamespace(extra={"notebook": {"description": "All of it."}})


def page(path: str) -> Any:
    return SimpleNamespace(file=SimpleNamespace(src_uri=path), meta={})


def test_the_notebook_alone_is_not_searched_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    book, other = page(COMPANION), page("index.md")
    pages: Any = SimpleNamespace(lighter=lambda _, html: f"lighter {html}")
    monkeypatch.setattr(hook._State, "pages", pages)
    told = [hook.on_page_content("text", page=one, config=CONFIG) for one in (book, other)]
    assert told == ["lighter text", "text"]
    assert book.meta == {"search": {"exclude": True}, "description": "All of it."}
    assert other.meta == {}
