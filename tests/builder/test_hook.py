"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.exceptions import PluginError

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


def test_a_link_to_a_page_is_shown_with_its_title_and_description() -> None:
    told = page("a.md", title="A", canonical_url="https://a.test/a/", is_homepage=False)
    told.meta["description"] = "Of A."
    home = page("index.md", title=None, canonical_url=None, is_homepage=True)
    found = [hook.on_post_page("<head></head>", page=one, config=CONFIG) for one in (told, home)]
    for said in ('og:type" content="article', "Of A.", 'og:title" content="A"', "test/a/"):
        assert said in found[0], said
    for said in ('og:type" content="website', "A site.", 'og:title" content="Small"', 'url" con'):
        assert said in found[1], said
    assert all("https://a.test/assets/screenshot-light.png" in one for one in found)


def test_of_the_templates_the_page_of_what_is_not_there_is_finished() -> None:
    text = "<title>t</title>"
    assert hook.on_post_template(text, template_name="sitemap.xml") == text
    assert "js-focus-visible" in hook.on_post_template(text, template_name="404.html")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_that_is_taken_is_said_before_the_build(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as taken:
        try:
            taken.bind((host, 0))
        except OSError as problem:
            pytest.skip(f"{host} cannot be used here: {problem}")
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PluginError, match=f"cannot serve at {host}:{port}: "):
            hook._expect_free(host, port)
    assert hook._expect_free(host, port)
