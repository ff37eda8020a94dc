"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

import socket
import threading

import pytest

from builder import BuildError, hook


def test_of_the_templates_the_page_of_what_is_not_there_is_finished() -> None:
    text = '<div data-md-component="search" role="dialog">'
    assert hook.on_post_template(text, template_name="sitemap.xml") == text
    assert 'aria-label="Search"' in hook.on_post_template(text, template_name="404.html")


def test_a_map_of_the_site_tells_no_day_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "<url><loc>a</loc>\n  <lastmod>2026-01-02</lastmod>\n</url>"
    for changed, told in (({}, "<url><loc>a</loc>\n</url>"), ({"a.md": 1}, text)):
        monkeypatch.setattr(hook._State, "changed", changed)
        assert hook.on_post_template(text, template_name="sitemap.xml") == told


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


def test_what_is_on_its_way_to_its_place_is_waited_for() -> None:
    """A page was "not found" while the site was put there: under load the server's tests saw it."""
    there, asked, got = dict[str, str](), threading.Event(), list[str | None]()

    def answer(path: str) -> str | None:
        found = there.get(path)
        asked.set()
        return found

    reader = threading.Thread(target=lambda: got.append(hook._patient(answer)("page")))
    with hook._State.placing:
        reader.start()
        assert asked.wait(10)
        there["page"] = "text"
    reader.join(10)
    assert got == ["text"]
    assert hook._patient(answer)("no page") is None
