"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

from builder import hook

from .test_theme_markup import SECTION


def test_of_the_templates_the_page_of_what_is_not_there_is_finished() -> None:
    assert hook.on_post_template(SECTION, template_name="sitemap.xml") == SECTION
    assert 'aria-label="Intuition"' in hook.on_post_template(SECTION, template_name="404.html")
