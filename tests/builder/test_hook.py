"""What MkDocs is told of a page, without MkDocs."""

from __future__ import annotations

import pytest

from builder import hook


def test_a_map_of_the_site_tells_no_day_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "<url><loc>a</loc>\n  <lastmod>2026-01-02</lastmod>\n</url>"
    for changed, told in (({}, "<url><loc>a</loc>\n</url>"), ({"a.md": 1}, text)):
        monkeypatch.setattr(hook._State, "changed", changed)
        assert hook.on_post_template(text, template_name="sitemap.xml") == told
