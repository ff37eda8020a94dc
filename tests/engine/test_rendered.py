"""Pages that were rendered are taken from the cache, and what is wrong is said in every build."""

from __future__ import annotations

from pathlib import Path

import pytest

from snippets._engine import rendered

from .project import CONFIG, Project

BODY = '<math><mi>ρ</mi></math>,</span> <a href="../b/#end">the end</a>.</p>'


@pytest.fixture
def site(project: Project) -> Project:
    project.write("mkdocs.yml", CONFIG.format(port=8000) + "validation: {anchors: warn}\n")
    project.write("docs/a.md", "# A\n\nThe load $\\rho$, [the end](b.md#end).\n")
    project.write("docs/b.md", "# B\n\n## End\n\nHere.\n")
    assert project.build("--strict").status == 0
    return project


def page(site: Project, name: str) -> str:
    return (site.root / "site" / name / "index.html").read_text(encoding="utf-8")


def kept(site: Project, name: str) -> Path:
    return site.cache / "pages" / f"{name}.md.json"


def test_a_page_is_rendered_once(site: Project) -> None:
    first, before = page(site, "a"), kept(site, "a").stat().st_mtime_ns
    assert BODY in first
    assert site.build("--strict").status == 0
    assert page(site, "a") == first
    assert kept(site, "a").stat().st_mtime_ns == before


def test_what_is_kept_is_found_by_its_key_only(tmp_path: Path) -> None:
    file, made = tmp_path / "page.json", {"content": "kept"}
    rendered._write(file, "key", made)
    assert rendered._read(file, "key") == made
    assert rendered._read(file, "other key") is None


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"{}", b"0\n{}"])
def test_a_damaged_file_is_made_again(site: Project, damage: bytes) -> None:
    before = kept(site, "a").read_bytes()
    kept(site, "a").write_bytes(damage)
    assert site.build("--strict").status == 0
    assert kept(site, "a").read_bytes() == before


def test_an_edited_page_is_rendered_again_and_no_other(site: Project) -> None:
    before = kept(site, "b").stat().st_mtime_ns
    site.write("docs/a.md", "# A\n\nNew.\n")
    assert site.build("--strict").status == 0
    assert "<p>New.</p>" in page(site, "a")
    assert kept(site, "b").stat().st_mtime_ns == before


def test_a_link_follows_the_page_that_it_leads_to(site: Project) -> None:
    assert site.build("--strict", "--no-directory-urls").status == 0
    assert 'href="b.html#end"' in (site.root / "site/a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"docs/b.md": "# B\n"}, "does not contain an anchor '#end'"),  # on a page that is kept
        ({"docs/a.md": "# A\n\n[Nowhere](c.md).\n"}, "a link 'c.md', but the target is not found"),
    ],
)
def test_a_broken_link_is_told_in_every_build(
    site: Project, change: dict[str, str], told: str
) -> None:
    for path, text in change.items():
        site.write(path, text)
    for options in ([], ["--quiet"], []):
        outcome = site.build(*options)
        assert outcome.status == 0, outcome.text
        assert (told in outcome.text) == (not options), outcome.text
    assert site.build("--strict").status != 0


def test_a_removed_page_breaks_the_links_to_it(site: Project) -> None:
    (site.root / "docs/b.md").unlink()
    for _ in range(2):
        assert "target 'b.md' is not found" in site.build().text


def test_a_wrong_formula_fails_every_build(site: Project) -> None:
    site.write("docs/a.md", "# A\n\n$\\nothing$\n")
    for options in (["--quiet"], [], ["--quiet"]):
        outcome = site.build(*options)
        assert outcome.status != 0
        assert "nothing" in outcome.text


def test_a_page_is_rendered_again_when_an_extension_is_added(site: Project) -> None:
    config = (site.root / "mkdocs.yml").read_text(encoding="utf-8")
    text = "# A\n\n*[HTML]: Markup\n\nHTML\n"
    site.write("docs/a.md", text)
    assert site.build("--strict").status == 0
    assert "<abbr" not in page(site, "a")
    site.write("mkdocs.yml", config.replace("  - attr_list\n", "  - attr_list\n  - abbr\n"))
    assert site.build("--strict").status == 0
    assert "<abbr" in page(site, "a")


def test_where_nothing_can_be_kept_every_build_renders(site: Project) -> None:
    for file in (site.cache / "pages").iterdir():
        file.unlink()
    (site.cache / "pages").rmdir()
    (site.cache / "pages").write_text("in the way", encoding="utf-8")
    assert site.build("--strict").status == 0
    assert BODY in page(site, "a")
