"""Pages that were rendered are taken from the cache, and what is wrong is said in every build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder import rendered
from builder.kept import recall, remember
from builder.runner import cores

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
    file, made = tmp_path / "page.json", b"content"
    remember(file, "key", made)
    assert recall(file, "key") == made
    assert not recall(file, "other key")


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


NOTES = """
import os
from pathlib import Path


def on_page_markdown(markdown, *, page, **_):
    with Path(__file__).with_name("notes").open("a") as notes:
        notes.write(f"{os.getpid()} {page.file.src_uri}\\n")
"""


def test_many_pages_are_rendered_by_several_processes(project: Project) -> None:
    config = CONFIG.format(port=8000).replace("hook.py]", "hook.py, notes.py]")
    project.write("mkdocs.yml", config)
    project.write("notes.py", NOTES)
    names = [f"page{number}" for number in range(rendered.LEAST_SHARED + 1)]
    for name in names:
        project.write(f"docs/{name}.md", f"# {name}\n\nThe load $\\rho$.\n")
    project.write("docs/page0.md", "# page0\n\n[Nowhere](nowhere.md).\n")
    outcome = project.build()
    assert outcome.text.count("a link 'nowhere.md', but the target is not found") == 1
    notes = [line.split() for line in (project.root / "notes").read_text().splitlines()]
    by_process: dict[str, list[str]] = {}
    for process, path in notes:
        by_process.setdefault(process, []).append(path)
    *ahead, whole = by_process.values()
    assert len(ahead) == cores()
    assert sorted(path for paths in ahead for path in paths) == sorted(whole)
    assert not kept(project, "page0").exists(), "what was told must be told again"
    for name in names[1:]:
        assert kept(project, name).is_file()
        assert "<math><mi>ρ</mi></math>" in page(project, name)


def test_a_page_that_cannot_be_rendered_ahead_fails_the_build_once(project: Project) -> None:
    project.write("mkdocs.yml", CONFIG.format(port=8000).replace("hook.py]", "hook.py, notes.py]"))
    project.write(
        "notes.py", "def on_page_markdown(markdown, **_):\n    raise OSError('no page')\n"
    )
    for number in range(rendered.LEAST_SHARED):
        project.write(f"docs/page{number}.md", "# Page\n")
    outcome = project.build()
    assert outcome.status != 0
    assert outcome.text.count("OSError: no page") == 1


def documents(site: Project) -> list[dict[str, str]]:
    text = (site.root / "site/search/documents.json").read_text(encoding="utf-8")
    found: list[dict[str, str]] = json.loads(text)["docs"]
    return found


def test_what_a_page_says_to_the_search_index_is_kept(project: Project) -> None:
    config = CONFIG.format(port=8000).replace("{name: null, custom_dir: theme}", "material")
    project.write("mkdocs.yml", config.replace("plugins: []", "plugins: [search]"))
    for name in ("a", "b"):
        project.write(f"docs/{name}.md", f"# {name}\n\nWords of {name}.\n\n## More\n\nOf them.\n")
    searched = (project.root / "mkdocs.yml").read_text(encoding="utf-8")
    project.write("mkdocs.yml", searched.replace("[search]", "[{search: {enabled: false}}]"))
    assert project.build("--strict").status == 0, "and keeps nothing for where there is a search"
    project.write("mkdocs.yml", searched)
    assert project.build("--strict").status == 0
    first, file = documents(project), project.cache / "pages" / "a.md.search.json"
    assert {"location": "a/#more", "title": "More", "text": "<p>Of them.</p>"} in first
    whole, made = file.read_bytes(), file.stat().st_mtime_ns
    assert project.build("--strict").status == 0
    assert documents(project) == first
    assert file.stat().st_mtime_ns == made
    project.write("docs/b.md", "# b\n\nOther words.\n")
    assert project.build("--strict").status == 0
    assert [entry for entry in documents(project) if entry["location"].startswith("b")] == [
        {"location": "b/", "title": "b", "text": "<p>Other words.</p>"}
    ]
    assert file.stat().st_mtime_ns == made
    file.write_bytes(b"damaged")
    assert project.build("--strict").status == 0
    assert file.read_bytes() == whole
