"""`mkdocs build` stops on anything that is wrong, says all of it, and writes no half site."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from builder import SOURCES, runner
from builder.outline import Outline

from .project import FIGURE, GOOD, SLIDER, Outcome, Project

MEASURED = """

def check_measured() -> None:
    from pathlib import Path

    measured = Path(__file__).parents[1] / "records" / "two.txt"
    checks.close("measured", double(float(measured.read_text())), 4.0)
"""
BAD_CHECK = GOOD + '\n\ndef check_wrong() -> None:\n    checks.equal("answer", 41, 42)\n'
BAD_LINE = BAD_CHECK.lstrip("\n").rstrip("\n").count("\n") + 1


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """A site of three chapters and a page that borrows a figure, built."""
    project = Project.make(tmp_path_factory.mktemp("good"))
    project.chapter("part.twice")
    project.module("part.extra", '"""Extra.\n\nSource: hand.\n"""\n')
    twice = project.root / "docs/part/twice.md"
    twice.write_text(twice.read_text().replace("question:", "modules: [part/extra]\nquestion:", 1))
    project.write(
        "docs/zoo/figures.md", "---\nmodules: [part/twice]\n---\n\n# Zoo\n\n{{ figure line }}\n"
    )
    project.chapter("part.two_times", GOOD + SLIDER)
    page = project.root / "docs/part/two_times.md"
    text = page.read_text(encoding="utf-8").replace("{{ figure line }}", "{{ slider line }}")
    page.with_name("two-times.md").write_text(text, encoding="utf-8")
    page.unlink()
    project.write("docs/maths.md", "# Maths\n\nThe load $\\rho < 1$.\n")
    project.write("snippets/serving_mathematics/records/two.txt", "2.0")
    project.chapter("part.measured", GOOD + MEASURED)
    return project, project.build("--strict")


def test_build_publishes_pages_figures_and_downloads(good: tuple[Project, Outcome]) -> None:
    project, outcome = good
    assert outcome.status == 0, outcome.text
    assert outcome.ran == {"part.twice", "part.extra", "part.two_times", "part.measured"}
    site = project.root / "site"
    page = (site / "part/two-times/index.html").read_text(encoding="utf-8")
    assert "Doubled, two is 4.0." in page
    assert '<p class="question">What is part.two_times?</p>' in page
    for address in re.findall(r'(?:src|href)="\.\./\.\./([^"]+)"', page):
        assert (site / address).is_file(), address
    assert (site / "figures/part/two_times/line-dark.svg").is_file()
    slider = json.loads((site / "figures/part/two_times/line.json").read_text(encoding="utf-8"))
    assert slider["panels"][0]["curves"][0]["values"] == [1, 2, 2, 4, 8, 16]
    assert 'data-grid="../../figures/part/two_times/line.json"' in page
    assert "<span>Doubled twice, v = 1.0 is 4.0 m.</span>" in page
    module = (site / "downloads/serving_mathematics/part/twice.py").read_text(encoding="utf-8")
    assert module == GOOD.lstrip("\n")
    with zipfile.ZipFile(site / "downloads/two-times.zip") as archive:
        assert "serving_mathematics/part/two_times.py" in archive.namelist()
        assert "serving_mathematics/support/checks.py" in archive.namelist()
    assert "<math" in (site / "maths/index.html").read_text(encoding="utf-8")
    overview = (site / "llms.txt").read_text(encoding="utf-8")
    assert overview.startswith("# Miniature\n")
    for address in re.findall(r"\]\(([^)]+)\)", overview):
        file = site / address
        assert file.is_file() or (file / "index.html").is_file(), address


def test_page_that_borrows_a_figure_leaves_the_chapter_its_bundle(
    good: tuple[Project, Outcome],
) -> None:
    site = good[0].root / "site"
    page = (site / "zoo/figures/index.html").read_text(encoding="utf-8")
    assert "figures/part/twice/line-dark.svg" in page
    with zipfile.ZipFile(site / "downloads/twice.zip") as archive:
        assert "serving_mathematics/part/extra.py" in archive.namelist()


def test_downloaded_chapter_runs_in_an_empty_folder(
    good: tuple[Project, Outcome], tmp_path: Path
) -> None:
    project, _ = good
    with zipfile.ZipFile(project.root / "site/downloads/measured.zip") as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "serving_mathematics", "check", "part.measured"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "PASS measured: got 4, expected 4 (exact)" in done.stdout


def test_build_generates_nothing_beside_its_sources(good: tuple[Project, Outcome]) -> None:
    project, _ = good
    written = {path.name for path in (project.root / "docs").rglob("*") if path.is_file()}
    pages = ("figures", "index", "maths", "measured", "twice", "two-times")
    assert written == {f"{page}.md" for page in pages}
    assert not list((project.root / SOURCES / "part").rglob("*.pyc"))


def test_build_without_changes_runs_nothing_and_repeats_every_byte(
    good: tuple[Project, Outcome],
) -> None:
    project, _ = good
    outcome = project.build("--site-dir", "again")
    assert (outcome.status, outcome.ran) == (0, set())
    first, second = (
        {
            file.relative_to(site).as_posix(): file.read_bytes()
            for file in site.rglob("*")
            if file.is_file() and not file.name.startswith("sitemap")
        }
        for site in (project.root / "site", project.root / "again")
    )
    assert first == second


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """A quiet build, not strict, in which many things are wrong at once."""
    project = Project.make(tmp_path_factory.mktemp("failed"))
    project.chapter("part.twice")
    project.chapter("part.wrong_check", BAD_CHECK)
    project.chapter("part.raises", "raise RuntimeError('at import')\n")
    project.chapter("part.broken", "def broken(:\n")
    project.chapter("part.renamed", GOOD.replace("double", "twice"))
    project.write("docs/part/extras.md", "---\nmodules: [nowhere]\n---\n\n# Extras\n")
    project.write(
        "docs/part/directives.md",
        "---\nmodules: [part/twice]\n---\n\n# Wrong\n\n"
        "{{ codes double }}\n\n{{ tripled }}\n\n{{ doubled:.2q }}\n",
    )
    return project, project.build("-q")


@pytest.mark.parametrize(
    "message",
    [
        f"{SOURCES}/part/wrong_check.py:{BAD_LINE}: check_wrong: AssertionError: answer: got 41,"
        " expected 42 (exact)",
        "snippets/serving_mathematics/part/raises.py:1: import: RuntimeError: at import",
        f"{SOURCES}/part/broken.py:1: import: SyntaxError: invalid syntax: def broken(:",
        f"docs/part/renamed.md:10: double is not defined in {SOURCES}/part/renamed.py",
        "docs/part/extras.md: front matter lists module nowhere, which does not exist",
        "docs/part/directives.md:7: not a directive: {{ codes double }}; did you mean code?",
        "docs/part/directives.md:9: no single example value tripled: no module of the page has it",
        "docs/part/directives.md:11: value doubled = 4.0 cannot be formatted with '.2q'",
    ],
)
def test_quiet_build_reports_everything_that_is_wrong(
    message: str, failed: tuple[Project, Outcome]
) -> None:
    lines = failed[1].text.split("\n")
    assert message in lines, failed[1].text


def test_failed_build_exits_with_an_error_and_writes_no_site(
    failed: tuple[Project, Outcome],
) -> None:
    project, outcome = failed
    assert outcome.status == 1
    assert "Traceback" not in outcome.text
    assert project.site_files == []
    assert project.leftovers == []


def test_a_strict_build_that_warns_leaves_the_site_of_the_build_before(project: Project) -> None:
    assert project.build("--strict").status == 0
    before = {file: file.read_bytes() for file in project.site_files}
    project.write("docs/index.md", "# Home\n\n[nowhere](nowhere.md)\n")
    outcome = project.build("--strict")
    assert (outcome.status, "Aborted with 1 warnings" in outcome.text) == (1, True), outcome.text
    assert {file: file.read_bytes() for file in project.site_files} == before


def test_failures_are_counted(failed: tuple[Project, Outcome]) -> None:
    counted = re.search(r"(\d+) failed:\n((?:.+\n)+)", failed[1].text)
    assert counted is not None
    assert int(counted[1]) == len(counted[2].strip().split("\n"))


def test_two_builds_at_once_both_succeed_and_the_cache_is_whole(project: Project) -> None:
    project.draw_nothing()
    project.module("part.chapter", GOOD.replace(FIGURE, ""))
    project.write("docs/part/chapter.md", "# Chapter\n\n{{ doubled }}\n\n{{ checks }}\n")
    logs = [project.root.parent / f"{number}.log" for number in range(2)]
    with (
        project.started("mkdocs", "build", "-q", "-d", "one", log=logs[0]) as one,
        project.started("mkdocs", "build", "-q", "-d", "two", log=logs[1]) as two,
    ):
        statuses = [one.wait(timeout=60), two.wait(timeout=60)]
    assert [log.read_text() for log in logs] == ["", ""]
    assert statuses == [0, 0]
    for site in ("one", "two"):
        page = (project.root / site / "part/chapter/index.html").read_text(encoding="utf-8")
        assert "<p>4.0</p>" in page
    assert not project.record("part.chapter").failed
    assert len(list((project.cache / "part.chapter").iterdir())) == 1
    assert project.leftovers == []


def test_a_package_that_is_missing_is_a_failure_that_says_what_brings_it(project: Project) -> None:
    project.chapter("part.sum", "import nowhere\n")
    missing = "No module named 'fastapi'"
    project.chapter(
        "part.server", f'raise ModuleNotFoundError("{missing}", name="fastapi.routing")'
    )
    outcome = project.build()
    assert outcome.status == 1
    assert "sum.py:1: import: ModuleNotFoundError: No module named 'nowhere'\n" in outcome.text
    assert f"server.py:1: import: ModuleNotFoundError: {missing}: pip install f" in outcome.text


def test_a_long_run_is_told_in_some_lines_and_not_in_hundreds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, stays = 0.0, list[str]()
    monkeypatch.setattr(runner.time, "monotonic", lambda: now)
    told = runner.Progress(stays.append)
    for count in range(1, 246):
        now = count / 8
        told(245, ran(f"part.m{count}", failures=["f"] * (count == 7), seconds={"import": 0.2}))
    assert told.ran == 245
    assert stays[0] == "[7/245] part.m7: 1 FAILED"
    assert stays[-1] == "[245/245] part.m245: 0.2 s"
    assert len(stays) == 7, stays


def ran(name: str, **changes: Any) -> runner.Run:
    module = runner.Module(name, "", Outline("", True))
    return runner.Run(module, Path(), runner.worker.empty_record() | changes)
