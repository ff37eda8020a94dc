"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

import socket

import pytest

from builder import BuildError, hook


def test_of_the_templates_the_page_of_what_is_not_there_is_finished() -> None:
    text = '<div data-md-component="search" role="dialog">'
    assert hook.on_post_template(text, template_name="sitemap.xml") == text
    assert 'aria-label="Search"' in hook.on_post_template(text, template_name="404.html")


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
        with pytest.raises(BuildError, match=f"cannot serve at {host}:{port}: "):
            hook._expect_free(host, port)
    assert hook._expect_free(host, port)
