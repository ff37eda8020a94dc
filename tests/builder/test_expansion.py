"""The site as plain Markdown in a folder: whole or not there, and rendered by Markdown alone."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import markdown
import pytest
import yaml

from builder import BuildError, pages, storage
from builder.expansion import front_matter

from .project import FIGURE, GOOD, Outcome, Project

NAV = "nav:\n  - Home: index.md\n  - part/twice.md\n  - Book: notebook.ipynb\n"
BOOK = (
    "extra:\n  notebook:\n    title: All of it\n    description: Every chapter.\n"
    "    introduction: In order.\n"
)


@pytest.fixture
def twice(project: Project) -> Project:
    """A chapter without a figure, to which drawing one would add most of its time."""
    project.module("part.twice", GOOD.replace(FIGURE, ""))
    project.write("docs/part/twice.md", "# Twice\n\n{{ doubled }}\n")
    with (project.root / "mkdocs.yml").open("a", encoding="utf-8") as config:
        config.write(NAV + BOOK)
    return project


def expanded(project: Project, folder: str = "plain") -> Outcome:
    return project.run("--expand", folder)


def test_pages_need_nothing_but_markdown(twice: Project) -> None:
    twice.chapter("part.twice")
    outcome = expanded(twice)
    assert outcome.status == 0, outcome.text
    docs = twice.root / "plain" / "docs"
    text = (docs / "part/twice.md").read_text(encoding="utf-8")
    config = yaml.safe_load((docs.parent / "mkdocs.yml").read_text(encoding="utf-8"))
    assert not config.keys() & {"hooks", "plugins", "watch"}
    assert config["nav"][2] == {"Book": "notebook.ipynb"}
    assert "builder.maths" in config["markdown_extensions"]
    assert "{{" not in text
    assert text.startswith("---\ntitle: part.twice\n")
    html = markdown.markdown(
        front_matter("", text)[1], extensions=["attr_list", "md_in_html", "pymdownx.superfences"]
    )
    assert "<p>Doubled, two is 4.0.</p>" in html
    assert html.count('<figure class="plot"') == 1
    assert "1 of 1 comparison in 1 check" in html
    for address in ("figures/part/twice/line-dark.svg", "downloads/twice.zip", "llms.txt"):
        assert (docs / address).is_file(), address
    assert "# All of it" in (docs / "notebook.ipynb").read_text(encoding="utf-8")


def test_what_was_written_is_replaced_and_what_was_not_is_left(twice: Project) -> None:
    assert expanded(twice).status == 0
    (twice.root / "plain/docs/index.md").write_text("damaged", encoding="utf-8")
    (twice.root / "plain/docs/old.md").touch()
    assert expanded(twice).status == 0
    assert (twice.root / "plain/docs/index.md").read_text(encoding="utf-8") == "# Home\n"
    assert not (twice.root / "plain/docs/old.md").exists()
    (twice.root / "mine").mkdir()
    (twice.root / "mine" / "letter.txt").touch()
    refused = expanded(twice, "mine")
    assert refused.status == 2
    assert "holds files that were not written here; name another folder" in refused.text
    assert [file.name for file in (twice.root / "mine").iterdir()] == ["letter.txt"]


def test_a_page_that_is_wrong_leaves_the_last_one(twice: Project) -> None:
    assert expanded(twice).status == 0
    twice.write("docs/index.md", "# Home\n\n{{ tripled }}\n")
    outcome = expanded(twice)
    assert outcome.status == 2
    assert "docs/index.md:3: no single example value tripled" in outcome.text
    assert (twice.root / "plain/docs/index.md").read_text(encoding="utf-8") == "# Home\n"
    assert [path.name for path in twice.root.glob(".plain*")] == []


KILLED = """
import os
import signal

from builder import __main__, expansion

write, files = expansion.write_whole, []


def half(*given):
    files.append(given)
    if len(files) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    write(*given)


expansion.write_whole = half
__main__.main(["--expand", "plain"])
"""


def test_killed_half_way_there_is_nothing_to_take_for_whole(project: Project) -> None:
    for number in range(9):
        project.write(f"docs/assets/{number}.txt", "x")
    project.write("killed.py", KILLED)
    plain = project.root / "plain"
    assert project.command("killed").status == -signal.SIGKILL
    assert list(plain.glob(".new-*/docs/assets/*.txt"))
    assert not (plain / "docs").exists()
    assert expanded(project).status == 0
    assert len(list((plain / "docs/assets").glob("*.txt"))) == 9


def test_who_comes_second_touches_nothing(tmp_path: Path) -> None:
    """It once moved away what the first one had just put there, with which that one had ended."""
    with storage.renewed(tmp_path) as fresh:
        (fresh / "new").touch()
        with (
            pytest.raises(BuildError, match=f"another process is writing {tmp_path}"),
            storage.renewed(tmp_path),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("ended_at", range(6))
def test_what_ends_between_two_renames_leaves_the_last_one(
    ended_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).write_text("old", encoding="utf-8")
    rename, left = Path.rename, iter(range(6))

    def ending(source: Path, target: Path) -> Path:
        if next(left, None) == ended_at:
            sys.exit(143)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", ending)
    with contextlib.suppress(SystemExit), storage.renewed(tmp_path) as fresh:
        for name in "bcd":
            (fresh / name).write_text("new", encoding="utf-8")
    found = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert found == dict.fromkeys("abc", "old")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("---\ntitle: a\n\n# A\n", "docs/a.md:1: front matter never ends"),
        ("---\ntitle: a: b\n---\n", "docs/a.md:2: front matter is not YAML: mapping values"),
        ("---\ntitle: a\nquestion: b\ntitle: c\n---\n", "docs/a.md:4: title must be given once"),
    ],
)
def test_front_matter_that_is_none_is_an_error(text: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        front_matter("a.md", text)


def test_front_matter_is_kept_as_it_was_written() -> None:
    assert front_matter("a.md", "---\na: 1\n---\ntext") == ("---\na: 1\n---\n", "text", {"a": 1})
    assert front_matter("a.md", "# No front matter\n") == ("", "# No front matter\n", {})


def test_unknown_folder_is_said(twice: Project) -> None:
    (twice.root / "file").touch()
    outcome = expanded(twice, "file/plain")
    assert outcome.status == 2
    assert f"error: {twice.root}/file/plain: Not a directory" in outcome.text
    assert sys.executable not in outcome.text


def test_a_page_has_the_thumbnail_that_it_names() -> None:
    """Of two figures the second; all of them in the order of the page; none where it names none."""
    run: Any = SimpleNamespace(name="m", record={"figures": [{"name": "a"}, {"name": "b"}]})
    text = "{{ figure b }}\n\n{{ figure a }}\n"
    for meta, thumbnail in (({"thumbnail": "b"}, "b"), ({"thumbnail": "a"}, "a"), ({}, None)):
        page = pages.Page("part/page.md", dict(meta), text, runs=[run])
        assert (page.thumbnail and page.thumbnail[1]["name"]) == thumbnail
        assert [figure["name"] for _, figure in page.figures] == ["b", "a"]


@pytest.mark.parametrize(
    ("path", "target", "told"),
    [("loop", ".", "docs/loop is a link to ."), ("a/etc", "/etc", "docs/a/etc is a link to /etc")],
)
def test_a_link_in_the_pages_is_refused_and_not_followed(
    path: str, target: str, told: str, twice: Project
) -> None:
    """It would publish what it leads to, for ever where that is the folder itself."""
    place = twice.root / "docs" / path
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)
    for outcome in (twice.build(), twice.run("--expand", "plain")):
        assert outcome.status in (1, 2)
        assert told in outcome.text
        assert "Traceback" not in outcome.text
    assert twice.site_files == []
    assert not (twice.root / "plain").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_what_is_no_plain_file_is_refused_and_not_waited_for(twice: Project) -> None:
    os.mkfifo(twice.root / "docs/page.md")
    assert "docs/page.md is no plain file" in twice.build().text
    assert "docs/page.md is no plain file" in twice.run("--expand", "plain").text


def test_hidden_files_are_nobodys(twice: Project) -> None:
    (twice.root / "docs/.git").symlink_to("/etc")
    assert expanded(twice).status == 0
    assert not list((twice.root / "plain/docs").glob(".*"))


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "from here", None, "to there")


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    twice: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for outcome in (twice.build("--strict"), expanded(twice)):
        assert outcome.status == 0, outcome.text
    plain = [file for file in (twice.root / "plain").rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in [*plain, *twice.site_files]}
    twice.write("docs/index.md", "# Other\n")
    monkeypatch.setattr("mkdocs.utils.copy_file", full)
    built = twice.build()
    assert built.status == 1
    assert "the site is as it was: to there: No space left on device\n" in built.text
    monkeypatch.setattr(Path, "write_bytes", full)
    told = twice.run("--expand", "plain")
    assert told.status == 2
    assert "None" not in told.text
    assert re.search(r"error: \S+/plain/\S+: No space left on device", told.text)
    monkeypatch.undo()
    assert {file: file.read_bytes() for file in before} == before
    left = [file for file in (twice.root / "plain").rglob("*") if file.is_file()]
    assert sorted(before) == sorted([*left, *twice.site_files])
