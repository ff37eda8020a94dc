"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

from builder import hook


def test_of_the_templates_the_page_of_what_is_not_there_is_finished() -> None:
    text = '<div data-md-component="search" role="dialog">'
    assert hook.on_post_template(text, template_name="sitemap.xml") == text
    assert 'aria-label="Search"' in hook.on_post_template(text, template_name="404.html")
