"""What is read of a `mkdocs.yml`, whatever it leaves out, and what another generator is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from builder import BuildError
from builder.configuration import MATHS, paths_of, plain_configuration, site_from, site_of
from builder.expansion import COMPANION, Site

WHOLE = f"""\
site_name: Handbook
site_description: Of queues
site_url: !ENV [ELSEWHERE, SITE, "https://example.org/"]
docs_dir: pages
hooks: [builder/hook.py]
plugins: [search]
watch: [snippets]
validation: {{links: {{anchors: warn}}}}
markdown_extensions: [toc]
theme: {{name: material, custom_dir: overrides}}
nav:
  - index.md
  - Part: [part/one.md, {{Two: part/two.md}}]
  - Notebook: {COMPANION}
extra:
  pyodide: !ENV WHERE
  notebook: {{title: Companion}}
  other: kept
"""


def written(folder: Path, text: str) -> Path:
    (folder / "mkdocs.yml").write_text(text, encoding="utf-8")
    return folder


def test_what_is_left_out_is_empty() -> None:
    assert site_from({}) == Site("", "", "", (), "", {})
    nothing = dict.fromkeys(("site_description", "site_url", "nav", "extra"))
    assert site_from({"site_name": "A"} | nothing) == Site("A", "", "", (), "", {})
    assert site_from({"extra": {"pyodide": None}}) == Site("", "", "", (), "", {})


def test_what_is_there_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = ("index.md", "part/one.md", "part/two.md", COMPANION)
    notebook = {"title": "Companion"}
    root = written(tmp_path, WHOLE)
    expected = Site("Handbook", "Of queues", "https://example.org/", pages, "", notebook)
    assert site_of(root) == expected
    for name, value in {"SITE": "https://b.org/", "WHERE": "py/", "OTHER": "x"}.items():
        monkeypatch.setenv(name, value)
    found = site_of(root)
    assert (found.address, found.pyodide) == ("https://b.org/", "py/")
    monkeypatch.setenv("ELSEWHERE", "a")
    assert site_of(root).address == "a"
    assert list(paths_of(["a.md", {"B": ["b.md", ["c.md"]]}, {"D": "d.md"}])) == [
        *("a.md", "b.md", "c.md", "d.md")
    ]


def test_another_generator_gets_neither_hooks_nor_plugins(tmp_path: Path) -> None:
    found = yaml.safe_load(plain_configuration(written(tmp_path, WHOLE)))
    assert found == {
        "site_name": "Handbook",
        "site_description": "Of queues",
        "site_url": "https://example.org/",
        "docs_dir": "docs",
        "markdown_extensions": ["toc", MATHS],
        "theme": {"name": "material", "custom_dir": str(tmp_path / "overrides")},
        "nav": [
            "index.md",
            {"Part": ["part/one.md", {"Two": "part/two.md"}]},
            {"Notebook": COMPANION},
        ],
        "extra": {"pyodide": None, "notebook": {"title": "Companion"}, "other": "kept"},
    }


@pytest.mark.parametrize("theme", ["", "theme: custom_dir_material\n", "theme: {name: a}\n"])
def test_a_short_configuration_will_do(theme: str, tmp_path: Path) -> None:
    found = yaml.safe_load(plain_configuration(written(tmp_path, f"site_name: A\n{theme}")))
    assert found.pop("theme", None) == (yaml.safe_load(theme) or {}).get("theme")
    assert found.pop("markdown_extensions") == [MATHS]
    assert found == {"site_name": "A", "docs_dir": "docs"}


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"cannot read .*mkdocs\.yml: .*No such file"):
        site_of(tmp_path)
    for text, why in (("- a\n", "must be a table"), ("a: [", "cannot read")):
        with pytest.raises(BuildError, match=why):
            site_of(written(tmp_path, text))
