"""A chapter is begun, checked, written and checked again, in a copy of the project."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from author import scaffold
from author.chapter_check import find
from builder import ROOT, SOURCES, BuildError
from builder.source import default_cache

FOLDERS = ("snippets", "docs", "author", "builder", "tests")
FILES = ("pyproject.toml", "mkdocs.yml", "README.md")
NAME = "queues-of-a-test"  # which no chapter is called, also not one that is being written
TITLE = "Queues of a test"
PAGE = f"docs/capacity/{NAME}.md"
PARTS = ("architecture", "capacity", "definitions", "intuition", "machine", "optimization")
SLUG = NAME.replace("-", "_")
MODULE = f"{SOURCES}/capacity/{SLUG}/{SLUG}.py"


class Project:
    """A copy of the project, and its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in FOLDERS:
            ignored = shutil.ignore_patterns("*.egg-info", "assets")  # and with what is compiled
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in FILES:
            shutil.copy(ROOT / name, folder)
        known = ((default_cache(root) / "syntax", root / ".mypy_cache") for root in (ROOT, folder))
        for there, place in zip(*known, strict=True):  # of files that are the same
            if there.is_dir() and not place.exists():
                shutil.copytree(there, place)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of a Python module."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def check(self, *options: str) -> list[str]:
        """The complaints about the chapter, without what is only to consider."""
        status, output = self.run("author.chapter_check", "--seconds=90", *options, NAME)
        told = re.findall(r"^  (\S.*)$", output.partition("\nTo consider")[0], re.MULTILINE)
        assert status == bool(told), output
        assert "Traceback" not in output
        last = next((line for line in output.splitlines() if line.startswith("Left in ")), "")
        left = re.findall(r"(?:: |, )[a-z ]+ \((\d+)\)", last)
        assert sum(map(int, left)) == len(told), output  # the last line says what is left
        return told

    def change(self, path: str, before: str, after: str) -> None:
        """One replacement in a file."""
        text = (self.folder / path).read_text(encoding="utf-8")
        assert before in text, f"{before} is not in {path}"
        (self.folder / path).write_text(text.replace(before, after, 1), encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a chapter that was just begun."""
    project = Project(tmp_path_factory.mktemp("project"))
    status, output = project.run("author.scaffold", "capacity", NAME, "--task", "Cut the p99")
    assert status == 0, output
    return project


def test_what_is_begun_is_entered_everywhere_and_nothing_else_changes(project: Project) -> None:
    for name in ("mkdocs.yml", "docs/start.md", "README.md"):
        before = (ROOT / name).read_text(encoding="utf-8").split("\n")
        after = (project.folder / name).read_text(encoding="utf-8").split("\n")
        added = [line for line in after if line not in before]
        assert len(added) == 1, name
        assert NAME in added[0] or TITLE.lower() in added[0], name
    text = (project.folder / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(text[text.index("\nnav:") :])["nav"]
    chapters = next(item["Read"] for item in nav if "Read" in item)
    part = next(item["Capacity"] for item in chapters if "Capacity" in item)
    assert part[-1] == f"capacity/{NAME}.md"
    start = (project.folder / "docs" / "start.md").read_text(encoding="utf-8")
    path = start.partition("## Cut the p99")[2].partition("\n## ")[0]
    assert re.search(rf"^\d+\. \[{TITLE}\]\(capacity/{NAME}\.md\): ", path, re.MULTILINE)


def test_what_is_begun_runs_and_lacks_only_what_its_author_knows(project: Project) -> None:
    told = project.check("--quick")
    gaps = [line for line in told if re.match(r"\S+:\d+: write ", line)]
    assert len(gaps) > 40
    others = [line for line in told if line not in gaps]
    assert [re.split(r"[:,]", line)[1].strip() for line in others] == [
        f"no term leads to capacity/{NAME}.md",
        "has 0 sources; look up 3 or more",
    ]


def test_tests_and_linter_accept_what_is_begun(project: Project) -> None:
    made = [
        MODULE,
        f"{SOURCES}/capacity/{SLUG}/__init__.py",
        f"{SOURCES}/capacity/{SLUG}/exercises.py",
        f"tests/capacity/{SLUG}/test_{SLUG}.py",
        f"tests/capacity/{SLUG}/test_exercises.py",
    ]
    assert project.run("ruff", "check", *made)[0] == 0
    assert project.run("ruff", "format", "--check", *made)[0] == 0
    status, output = project.run("pytest", "-v", "-p", "no:cacheprovider", *made)
    assert status == 0, output
    passed = re.findall(r"^(\S+?)::.* PASSED", output, re.MULTILINE)
    assert {*passed} >= {made[0], *made[2:]}


def test_a_written_chapter_lacks_nothing_and_what_fails_is_one_sentence(project: Project) -> None:
    begun = [*project.folder.rglob(f"{NAME}.md"), *project.folder.rglob(f"{SLUG}/*.py")]
    for file in [*begun, project.folder / "docs/start.md"]:
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"\bWRITE: (\w)", r"\1", text), encoding="utf-8")
    source = "- Little, J. D. C. (19{n}). A proof. *Operations Research*.\n  {{ #little-{n} }}\n"
    page = project.folder / PAGE
    sources = "".join(source.format(n=n) for n in (61, 62, 63))
    cited = " ".join(f"[Little](#little-{n})" for n in (61, 62, 63))
    text = page.read_text(encoding="utf-8").replace("## Sources\n", f"## Sources\n\n{sources}")
    page.write_text(text.replace("## Where", f"{cited}\n\n## Where", 1), encoding="utf-8")
    link = f"[{TITLE}](capacity/{NAME}.md#the-answer)\n  {{ #attainment }}"
    project.change("docs/glossary.md", "  { #attainment }", f"  {link}")
    assert project.check("--quick") == []

    project.change(MODULE, "busy_share(9.0, 0.5, 6), 0.75", "busy_share(9.0, 0.5, 6), 0.8")
    project.change(MODULE, "    3.0\n", "    4.0\n")
    project.change(MODULE, "busy_share(12.0, 0.25, 4),", "busy_share(12.0, 0.25, 5),")
    told = project.check()
    (failed,) = (line for line in told if "AssertionError" in line)
    assert re.match(rf"{MODULE}:\d+: check_share_of_all_servers: AssertionError: share on", failed)
    assert sum("busy_servers" in line for line in told) == 1  # the example is told once
    kept = [line for line in told if line.startswith(f"capacity.{SLUG}")]  # all else was kept
    assert [line.split()[2] for line in kept] == ["share_at_12", "check_share_of_all_servers"]
    assert kept[0].endswith(" was 0.75 and is 0.6.")
    assert f"keep it: `.venv/bin/python -m tests.keep capacity.{SLUG}.{SLUG}`" in told[-1]


def test_a_name_that_no_folder_takes_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other names that cannot be are kept, with what is printed and that nothing is written."""
    monkeypatch.setattr(scaffold, "write_whole", lambda *_: pytest.fail("something was written"))
    with pytest.raises(BuildError, match="NAME must have at most 60 characters, got 300"):
        scaffold.begin("capacity", "a" * 300)


@pytest.mark.parametrize(
    "title", ["a\\1b", 'a "b"', "a | b", "[a](b)", "{{ a }}", "<b>", "1", "a" * 61]
)
def test_a_title_that_would_be_markup_writes_nothing(
    title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes into a docstring, a row of a table, a link and YAML."""
    monkeypatch.setattr(scaffold, "write_whole", lambda *_: pytest.fail("something was written"))
    with pytest.raises(BuildError, match="TITLE must be words, at most 60 characters, without"):
        scaffold.begin("capacity", NAME, title)


@pytest.mark.parametrize(
    ("title", "plain"),
    [("Spot instances", True), ("yes", False), ("Null", False), ("A: b", False), ("C# too", True)],
)
def test_a_title_is_quoted_where_yaml_takes_it_for_something_else(title: str, plain: bool) -> None:
    assert scaffold._plain(title) == plain


def test_what_is_ended_before_its_end_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call said that the chapter is there already, and no call makes the rest."""
    for name in (
        "mkdocs.yml",
        "README.md",
        "docs/start.md",
        *(f"docs/{p}/index.md" for p in PARTS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    mine = (f"{SOURCES}/capacity/{SLUG}/mine.py", f"tests/kept/capacity/{SLUG}.json")
    for name in mine:  # what somebody has there already
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("mine", encoding="utf-8")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)

    def ended(*_: object) -> None:
        assert (tmp_path / PAGE).is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(scaffold, "_tidy", ended)
    with pytest.raises(KeyboardInterrupt):
        scaffold.begin("capacity", NAME)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    "module", ["author.chapter_check", "author.form", "author.scaffold", "tests.keep"]
)
def test_a_command_that_is_asked_to_end_does_so_in_order(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed terminal left a chapter that could not be begun, an interruption a traceback."""
    heard: list[str] = []
    monkeypatch.setattr("builder.end_in_order", lambda: heard.append(module))
    monkeypatch.setattr(sys, "argv", [module, "--nowhere"])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module(module, run_name="__main__")
    assert heard == [module]


def test_what_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "docs/start.md")

    monkeypatch.setattr(scaffold, "begin", full)
    assert scaffold.main(["capacity", NAME]) == 2
    assert capsys.readouterr().err == "error: docs/start.md: No space left on device\n"


@pytest.mark.parametrize(
    "name",
    [
        "utilization",
        "definitions/utilization",
        "definitions.utilization.pooling",
        "docs/definitions/utilization.md",
    ],
)
def test_a_chapter_is_found_by_any_of_its_names(name: str) -> None:
    assert find(name) == "definitions/utilization.md"


def test_a_name_that_is_near_is_proposed() -> None:
    with pytest.raises(BuildError, match=r"did you mean utilization\? `make chapter"):
        find("utilisation")
