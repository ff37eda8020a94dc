"""The build benchmark: its arithmetic, its edits, and that it ends what it starts."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from benchmarks import mutants, processes, report, rounds, sites
from benchmarks.processes import BenchmarkError, Command
from builder import ROOT

CODE = '''\
def double(value: float) -> float:
    """Twice the value."""
    if value:
        return 2.0 * value
    return (
        0.0
    )'''
EDIT = sites.Edit(
    "part/chapter.md",
    "part.chapter",
    "snippets/serving_mathematics/part/chapter.py",
    "double",
    CODE,
    4,
    4,
)
SAMPLES = {
    "cold": {"ours": [9.0, 8.0, 30.0], "plain": [1.0, 1.5, 2.0]},
    "unchanged": {"ours": [1.1, 1.2, 9.0], "plain": [1.0, 1.0, 1.0]},
    "snippet": {"ours": [1.9], "plain": [1.0]},
    "costly_snippet": {"ours": [4.0], "plain": [1.0]},
    "serve_snippet": {"ours": [1.2], "plain": [0.8]},
    "serve_prose": {"ours": [1.6], "plain": [0.8]},
    "snippet_cpu": {"ours": [9.0]},
}


def command(tmp_path: Path, code: str) -> Command:
    return Command([sys.executable, "-c", code], tmp_path, dict(os.environ), tmp_path / "log")


def test_median_and_range() -> None:
    assert report.summarise([3.0, 1.0, 8.0]) == report.Summary(3.0, 1.0, 8.0)
    assert str(report.summarise([3.0, 1.0, 8.0])) == "3.00 [1.00–8.00]"
    assert str(report.summarise([150.4])) == "150 [150–150]"
    with pytest.raises(ValueError, match="values must hold at least one sample"):
        report.summarise([])


def test_table_has_ratio_and_difference_of_the_medians() -> None:
    lines = {line.partition(" [s]")[0]: line.split() for line in report.table(SAMPLES)}
    assert lines["no-change rebuild"][-2:] == ["1.20×", "+0.20"]
    assert lines["cold build"][-2:] == ["6.00×", "+7.50"]
    assert "ratio" not in lines["snippets alone, processor time"][-1]


def test_verdicts_hold_up_to_the_limit_and_not_beyond() -> None:
    verdicts = {aim.aim: aim.holds for aim in report.aims(SAMPLES, workers=2)}
    assert report.cold_bound(report.medians(SAMPLES), workers=2) == 6.0  # 9 ÷ 2 + 1.5
    assert list(verdicts.values()) == [True, True, False, True, False, True]
    slower = SAMPLES | {"cold": {"ours": [9.1], "plain": [1.5]}}
    assert not report.aims(slower, workers=2)[-1].holds
    slower = SAMPLES | {"unchanged": {"ours": [1.21], "plain": [1.0]}}
    assert not report.aims(slower, workers=2)[0].holds


def test_an_edit_changes_the_module_and_the_plain_page_alike(tmp_path: Path) -> None:
    ours = sites.Project("ours", tmp_path / "ours", {})
    plain = sites.Project("plain", tmp_path / "plain", {})
    for file, text in (
        (ours.folder / EDIT.file, f"import math\n\n\n{CODE}\n"),
        (ours.folder / "docs" / EDIT.page, "{{ code double }}\n"),
        (plain.folder / "docs" / EDIT.page, f"``` python\n{CODE}\n```\n"),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for marker in ("first", "second"):
        for project in (ours, plain):
            project.edit_code(EDIT, marker)
    module = (ours.folder / EDIT.file).read_text(encoding="utf-8")
    page = (plain.folder / "docs" / EDIT.page).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(module)) == ast.dump(ast.parse(f"import math\n{CODE}"))
    assert "    # second\n    return (\n" in module
    assert "    # second\n    return (\n" in page
    assert "first" not in module + page
    assert (ours.folder / "docs" / EDIT.page).read_text(encoding="utf-8") == "{{ code double }}\n"
    (ours.folder / EDIT.file).write_text("", encoding="utf-8")
    with pytest.raises(BenchmarkError, match="double is not in"):
        sites.Project("ours", ours.folder, {}).edit_code(EDIT, "third")


@pytest.mark.parametrize(
    ("page", "address"),
    [("index.md", ""), ("report.md", "report/"), ("a/index.md", "a/"), ("a/b.md", "a/b/")],
)
def test_address_of_a_page(page: str, address: str) -> None:
    assert sites.Edit(page, "", "", "", "", 0, 0).address == address


def test_the_typical_and_the_costliest_edit() -> None:
    edits = [
        sites.Edit("a.md", name, f"snippets/serving_mathematics/{name}.py", "f", "", 0, 0)
        for name in ("x", "y", "z")
    ]
    needs = {name: [f"snippets/serving_mathematics/{name}.py"] for name in ("x", "y", "z")}
    needs["y"].append("snippets/serving_mathematics/z.py")  # an edit of z runs y again
    facts = sites.Facts(workers=2, pages=1, figures=0, edits=edits, needs=needs)
    cpu = {"x": 1.0, "y": 2.0, "z": 0.5}
    costs = [rounds.cost(edit, facts, cpu) for edit in edits]
    assert costs == [rounds.Cost(1, 1.0), rounds.Cost(1, 2.0), rounds.Cost(2, 2.5)]
    chosen = rounds.choose_edits(facts, cpu)
    assert {row: edit.module for row, edit in chosen.items()} == {
        "snippet": "y",
        "costly_snippet": "z",
    }


def test_a_mutant_is_tried_by_tests_of_its_own_or_else_by_those_of_its_folder() -> None:
    """The simulator of fleets has one file of tests for seven modules, whose mutants all lived."""
    fleet = "snippets/serving_mathematics/core/fleet"
    assert "tests/core/fleet/test_routers.py" in mutants.tests_of(f"{fleet}/routers.py", ROOT)
    assert "tests/core/fleet" in mutants.tests_of(f"{fleet}/batching.py", ROOT)


def test_formulas_are_left_out_of_the_comparison_of_texts() -> None:
    ours = "<nav>menu</nav><article>Let <math><mi>x</mi></math> be <b>it</b>.</article>"
    plain = '<article>Let <span class="arithmatex">\\(x\\)</span> be it.</article>'
    assert sites.article_words(ours) == ["Let", "be", "it", "."]
    assert "".join(sites.article_words(ours)) == "".join(sites.article_words(plain))


def test_what_was_started_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        command(tmp_path, "import time; time.sleep(60)").started() as process,
    ):
        raise KeyboardInterrupt
    assert process.returncode


def test_a_failed_command_says_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="what went wrong"):
        command(tmp_path, "raise SystemExit('what went wrong')").timed()


def signed(monkeypatch: pytest.MonkeyPatch, sign: Path, mib: float) -> None:
    """Have a file there once processes have been seen to hold so much."""
    look = processes._tree_memory

    def looked(root: int) -> processes.Memory:
        found = look(root)
        if found.pss_mib > mib:
            sign.touch()
        return found

    monkeypatch.setattr(processes, "_tree_memory", looked)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_memory_is_that_of_the_whole_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child stays until it has been looked at."""
    seen = tmp_path / "seen"
    signed(monkeypatch, seen, 64)
    child = f"import os, time; block = b'x' * 2**26\nwhile not os.path.exists({str(seen)!r}): time"
    child += ".sleep(0.01)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    peak = command(tmp_path, parent).peak_memory()
    assert peak
    assert 64 < peak.pss_mib <= peak.rss_mib < 160
