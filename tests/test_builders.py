"""The comparison of builders: what the peers are given, how it is looked at, and the arithmetic.

Nothing here installs or times anything.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from benchmarks import builders, peers, probe
from benchmarks.build import main
from benchmarks.peers import Chapter, Module, Peer
from benchmarks.processes import BenchmarkError, Command, Memory
from benchmarks.sites import Edit, Facts
from builder import pages, worker
from builder.outline import read
from builder.runner import Run
from builder.source import Module as TextModule

from .builder.project import GOOD, Project
from .conftest import CHAPTERS
from .test_benchmarks import signed

CODE = 'def double(value: float) -> float:\n    """Twice the value."""\n    return 2.0 * value'
EDIT = Edit(
    "part/twice.md",
    "part.twice",
    "snippets/serving_mathematics/part/twice.py",
    "double",
    CODE,
    2,
    4,
)
MODULE = Module("part.twice", ["check_double_of_two"], 1, ["line"], True)
PIECES = [
    ("text", f"# Twice\n\nTwo and two.\n\n``` python\n{CODE}\n```\n"),
    ("figure", "line"),
    ("text", "\n## Checks\n"),
    ("checks", ""),
]
CHAPTER = Chapter("part/twice.md", "Twice", PIECES, [MODULE])
NAMES = list(peers.REQUIREMENTS)


def peer(name: str, folder: Path, *chapters: Chapter) -> Peer:
    return Peer(name, folder, dict(os.environ), Path(sys.executable), list(chapters or [CHAPTER]))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    project = Project.make(tmp_path / "miniature")
    project.module("part.twice")
    return project.root


def test_a_module_runs_whole_and_once_whatever_the_page_asks_for() -> None:
    for pieces in (PIECES, PIECES[:1]):
        cells = Chapter("part/twice.md", "Twice", pieces, [MODULE]).cells("SETUP", show_figure="{}")
        code = "\n".join(text for kind, text in cells if kind == "code")
        assert code.count("drawn(part_twice.figure_line)") == 1
        assert code.count("show(part_twice.check_double_of_two)") == 1
        assert code.count("part_twice.example()") == 1
        assert cells[1] == (
            "code",
            "SETUP\nfrom serving_mathematics.part import twice as part_twice",
        )
        assert [text for kind, text in cells if kind == "text"] == [
            text for kind, text in pieces if kind == "text"
        ]


def test_cells_stand_in_the_order_of_the_page() -> None:
    cells = CHAPTER.cells("SETUP", show_figure="shown = {}")
    assert [kind for kind, _ in cells] == ["text", "code", "code", "text", "code"]
    assert cells[2][1] == "shown = drawn(part_twice.figure_line)"


def test_a_figure_of_another_chapters_module_is_not_drawn_again() -> None:
    cells = Chapter("part/twice.md", "Twice", PIECES, []).cells("SETUP", show_figure="{}")
    assert not any("figure_line" in text for _, text in cells)


def test_notebook_is_valid_and_has_no_outputs() -> None:
    book = nbformat.reads(peers.notebook(CHAPTER), as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(book)
    assert all(not cell.get("outputs") for cell in book.cells)
    assert book.cells[0].source == PIECES[0][1]


def test_script_is_python_and_includes_the_prose() -> None:
    text, prose = peers.script(CHAPTER)
    assert ast.get_docstring(ast.parse(text)) == "Twice\n====="
    assert prose == [PIECES[0][1].removeprefix("# Twice\n"), PIECES[2][1]]
    for number in range(len(prose)):
        assert f"# .. include:: /prose/part_twice-{number}.md\n" in text


def test_script_runs_every_comparison(tree: Path, tmp_path: Path) -> None:
    made = peer("sphinx-gallery", tmp_path / "made")
    made.folder.mkdir()
    made.write(tree)
    done = subprocess.run(
        [sys.executable, "scripts/plot_part_twice.py"],
        cwd=made.folder,
        env=os.environ | {"PYTHONPATH": str(made.folder / "snippets")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert sum(line.startswith("PASS ") for line in done.stdout.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_changes_module_page_and_first_cell(name: str, tree: Path, tmp_path: Path) -> None:
    made = peer(name, tmp_path / "made")
    made.folder.mkdir()
    made.write(tree)
    for marker in ("firstmark", "secondmark"):
        made.edit(EDIT, marker)
    texts = [file.read_text(encoding="utf-8") for file in made.folder.rglob("*") if file.is_file()]
    assert sum(text.count("secondmark") for text in texts) == 3
    assert not any("firstmark" in text for text in texts)
    ast.parse((made.folder / EDIT.file).read_text(encoding="utf-8"))
    with pytest.raises(BenchmarkError, match="does not show double as it was"):
        made.edit(Edit(*(*vars(EDIT).values(),)[:4], "def other(): ...", 0, 0), "third")


@pytest.mark.parametrize("name", NAMES)
def test_a_project_has_what_its_builder_reads(name: str, tree: Path, tmp_path: Path) -> None:
    made = peer(name, tmp_path / "made")
    made.folder.mkdir()
    made.write(tree)
    if name == "mkdocs-jupyter":
        config = (made.folder / "mkdocs.yml").read_text(encoding="utf-8")
        assert "execute: true, allow_errors: false" in config
        return
    settings: dict[str, object] = {}
    with contextlib.suppress(ImportError):  # the scraper needs sphinx-gallery
        exec((made.folder / "conf.py").read_text(encoding="utf-8"), settings)
    assert str(made.folder) in sys.path
    sys.path.remove(str(made.folder))
    assert "chapters/" in (made.folder / "index.rst").read_text(encoding="utf-8")
    if name == "myst-nb":
        assert settings["nb_execution_raise_on_error"] is True
        assert settings["nb_execution_mode"] == "cache"


def test_what_a_page_shows() -> None:
    page = (
        '<img src="logo.png"><img alt="a" src="data:image/svg+xml;base64,AA=="/>\n'
        '<img src="../_images/x.svg"><pre><span></span>A claim\nPASS <b>a</b> &lt; b\n'
        "PASS c\n</pre><p>They PASS by</p><svg></svg>"
    )
    assert peers.shown(page) == (2, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_site_that_lacks_a_figure_or_a_comparison_is_refused(name: str, tmp_path: Path) -> None:
    made = peer(name, tmp_path)
    page = tmp_path / ("site" if name == "mkdocs-jupyter" else "_build/html") / made.address(EDIT)
    page = page if page.suffix else page / "index.html"
    page.parent.mkdir(parents=True)
    figure, passed = '<img src="x.svg">', "\nPASS double: got 4\n"
    page.write_text(figure + passed, encoding="utf-8")
    made.verify()
    for wrong in (figure, passed, figure + 2 * passed, ""):
        page.write_text(wrong, encoding="utf-8")
        with pytest.raises(BenchmarkError, match=r"\(1, 1\) figures and comparisons"):
            made.verify()
    page.unlink()
    with pytest.raises(BenchmarkError, match=r"found \(0, 0\)"):
        made.verify()


@pytest.mark.parametrize("name", NAMES)
def test_clearing_leaves_the_sources(name: str, tree: Path, tmp_path: Path) -> None:
    made = peer(name, tmp_path / "made")
    made.folder.mkdir()
    made.write(tree)
    before = {file for file in made.folder.rglob("*") if file.is_file()}
    for folder in ("site", ".cache/x", "_build/html"):
        (made.folder / folder).mkdir(parents=True)
        (made.folder / folder / "built").touch()
    made.clear()
    assert {file for file in made.folder.rglob("*") if file.is_file()} == before


def test_the_pieces_of_a_page(tmp_path: Path) -> None:
    source = GOOD.lstrip("\n")
    record = worker.empty_record() | {"example": {"doubled": 4.0}}
    file = tmp_path / "twice.py"
    file.write_text(source, encoding="utf-8")
    module = TextModule("part.twice", source, read(source.encode()))
    run = Run(module, tmp_path, record)
    page = pages.Page("part/twice.md", {}, runs=[run], every_run=[run])
    body = "# Twice\n\nIt is {{ doubled:.1f }}.\n\n{{ code double }}\n\n{{ figure line }}\n\n"
    found = probe._pieces(f"{body}{{{{ checks }}}}\n\n{{{{ downloads }}}}\n", page)
    assert [kind for kind, _ in found] == ["text", "figure", "checks"]
    assert found[0][1] == f"# Twice\n\nIt is 4.0.\n\n``` python\n{CODE}\n```\n\n"
    assert found[1][1] == "line"


class Fake:
    """A builder whose builds take as long as they are told to."""

    def __init__(self, name: str, seconds: float, log: list[str]) -> None:
        self.name, self.seconds, self.log, self.page = name, seconds, log, ""

    def clear(self) -> None:
        self.log.append(f"clear {self.name}")

    def observed(self, every_s: float) -> tuple[float, Memory]:
        assert every_s > 0
        self.log.append(f"build {self.name}")
        return self.seconds, Memory(2.0, 1.0)

    def edit(self, edit: Edit, marker: str) -> None:
        assert edit == EDIT
        self.log.append(f"edit {self.name}")
        self.page = f"{marker}</html>"

    def address(self, edit: Edit) -> str:
        return edit.page

    def wait_for(self, address: str, text: str) -> float:
        assert address == EDIT.page
        assert text == "</html>" or text in self.page
        return float("1e12")

    @contextlib.contextmanager
    def served(self) -> Iterator[Fake]:
        self.log.append(f"serve {self.name}")
        yield self


def contest(monkeypatch: pytest.MonkeyPatch) -> tuple[builders.Contest, list[str]]:
    log: list[str] = []
    monkeypatch.setattr("benchmarks.rounds.SETTLE_S", -0.5)
    monkeypatch.setattr("random.random", lambda: 1.0)
    fakes = [Fake("ours", 2.0, log), Fake("plain", 1.0, log), Fake("myst-nb", 5.0, log)]
    return builders.Contest(fakes, EDIT), log  # type: ignore[arg-type]


def test_a_round_times_every_builder_in_every_case(monkeypatch: pytest.MonkeyPatch) -> None:
    found, log = contest(monkeypatch)
    for _ in range(2):
        list(found.round())
    assert found.samples["cold"] == {"ours": [2.0] * 2, "plain": [1.0] * 2, "myst-nb": [5.0] * 2}
    assert {case: len(rows["ours"]) for case, rows in found.samples.items()} == {
        "cold": 2,
        "cold_rss": 2,
        "cold_pss": 2,
        "unchanged": 2,
        "snippet": 2,
        "serve": 2 * builders.SERVED_EDITS,
    }
    assert log.count("clear plain") == 2
    starts = [line for line in log if line.startswith("clear")]
    assert starts[0] == "clear ours"
    assert starts[3] == "clear plain"  # who begins moves on
    assert found.markers == 2 * 3 * (1 + builders.SERVED_EDITS)


def test_results_have_median_range_and_samples() -> None:
    samples = {"cold": {"ours": [2.0, 4.0, 9.0], "myst-nb": [8.0, 8.0, 9.0]}}
    found = builders.results(samples)
    assert found["cold"]["ours"] == {
        "median": 4.0,
        "least": 2.0,
        "most": 9.0,
        "samples": [2.0, 4.0, 9.0],
    }
    sizes = {"pages": 1, "modules": 1, "figures": 1, "comparisons": 1, "workers": 2}
    printed = builders.lines({"peers": sizes, "ours": sizes, "rounds": 3, "results": found})
    line = "MyST-NB with its cache 8.00 [8.00–9.00] 2.00 [1.00–4.00]"
    assert printed[-1].split() == line.split()


def test_the_edited_function_is_of_a_module_that_the_chapter_owns() -> None:
    facts = Facts(2, 3, 4, [EDIT], {"part.twice": [EDIT.file]})
    assert builders.choose_edit(facts, [CHAPTER], {"part.twice": 1.0}) == EDIT
    with pytest.raises(BenchmarkError, match="no chapter shows a function"):
        builders.choose_edit(
            facts, [Chapter("part/twice.md", "Twice", PIECES, [])], {"part.twice": 1.0}
        )


def test_requirements_pin_what_computes_to_our_versions() -> None:
    import numpy as np

    for name in NAMES:
        assert f"numpy=={np.__version__}" in peers.requirements(name)
        assert any(item.startswith(name) for item in peers.requirements(name))


def test_a_finished_environment_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str]) -> str:
        asked.append(words)
        if "venv" in words:
            Path(words[-1]).mkdir(parents=True)
        return json.dumps([{"name": "numpy", "version": "1"}, {"name": "six", "version": "2"}])

    monkeypatch.setattr(peers, "_run", run)
    python, versions = peers.environment("myst-nb", tmp_path)
    assert python == tmp_path / "myst-nb" / "bin" / "python"
    assert versions == {"numpy": "1"}
    peers.environment("myst-nb", tmp_path)
    assert sum("install" in words for words in asked) == 1
    (tmp_path / "myst-nb" / "ready.json").write_text('["numpy"]', encoding="utf-8")
    peers.environment("myst-nb", tmp_path)
    assert sum("install" in words for words in asked) == 2


def test_time_and_memory_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second, and does not end before it has been looked at."""
    seen = tmp_path / "seen"
    signed(monkeypatch, seen, 100)
    code = "import os, time; kept = bytearray(100 << 20); time.sleep(1)\n"
    code += f"while not os.path.exists({str(seen)!r}): time.sleep(0.01)"
    words = [sys.executable, "-c", code]
    seconds, memory = Command(words, tmp_path, dict(os.environ), tmp_path / "log").observed(0.02)
    assert seconds >= 1
    assert memory.rss_mib > 100
    with pytest.raises(BenchmarkError, match="broken"):
        Command(
            [sys.executable, "-c", "raise SystemExit('broken')"],
            tmp_path,
            dict(os.environ),
            tmp_path / "log",
        ).observed(0.02)


def test_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--chapters", "2"], ["--peers", "--chapters", "-1"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "--chapters must be positive and goes with --peers" in capsys.readouterr().err


def test_every_chapter_is_given_whole(records: dict[str, Run], tmp_path: Path) -> None:
    found = peers.read_chapters(probe.chapters(tmp_path))
    assert {chapter.path for chapter in found} == {chapter.path for chapter in CHAPTERS}
    given = [module.name for chapter in found for module in chapter.modules]
    wanted = {name for chapter in CHAPTERS for name in chapter.modules}
    assert len(given) == len(set(given))
    assert set(given) == {name for name in wanted if not records[name].record["needs"]}
    for chapter in found:
        cells = chapter.cells("", show_figure="{}")
        code = "\n".join(text for kind, text in cells if kind == "code").splitlines()
        prose = "\n".join(text for kind, text in cells if kind == "text")
        assert not re.search(r"^\s*\{\{ \w", prose, re.MULTILINE)
        calls = [
            *(f"show({m.short}.{check})" for m in chapter.modules for check in m.checks),
            *(f"drawn({m.short}.figure_{figure})" for m in chapter.modules for figure in m.figures),
        ]
        assert sorted(line for line in code if "(" in line and ".example()" not in line) == sorted(
            calls
        )
