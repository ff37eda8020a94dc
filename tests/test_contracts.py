"""What every page promises; the rules are those of `make check-chapter`."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from author import contracts
from author.contracts import (
    CHAPTER_RULES,
    MODULE_RULES,
    PAGE_RULES,
    copy_problems,
    source_problem,
)
from builder import ROOT
from builder.runner import Run
from builder.source import IN_COPIES, Sources, module_names, module_path, path_of

from . import keep
from .conftest import CHAPTERS, PAGES, REFERENCES, Chapter
from .profiles import todays
from .recorded import HERE

MODULES = module_names(ROOT)


@pytest.mark.parametrize("page", CHAPTERS + REFERENCES, ids=lambda page: page.slug)
def test_page_keeps_every_rule(page: Chapter, records: dict[str, Run]) -> None:
    problems = [told for rule in PAGE_RULES.values() for told in rule(page, records)]
    assert not problems, "\n".join(problems)


def test_chapter_keeps_every_rule(chapter: Chapter, records: dict[str, Run]) -> None:
    problems = [told for rule in CHAPTER_RULES.values() for told in rule(chapter, records)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", REFERENCES, ids=lambda page: page.slug)
def test_reference_page_has_tests_and_shows_its_checks(page: Chapter) -> None:
    problems = contracts.reference_page_problems(page, {})
    assert not problems, "\n".join(problems)


@pytest.fixture(scope="module")
def sources() -> Sources:
    """The modules, each read once."""
    return Sources(ROOT)


@pytest.mark.parametrize("name", MODULES)
def test_module_keeps_every_rule(name: str, sources: Sources) -> None:
    run = name in todays(MODULES)
    rules = MODULE_RULES | {
        "copies": functools.partial(copy_problems, sources=sources, examples=run)
    }
    problems = [told for rule in rules.values() for told in rule(name)]
    assert not problems, "\n".join(problems)


def test_pages_modules_and_tests_belong_together() -> None:
    problems = [*contracts.belonging_problems(PAGES, MODULES), *contracts.navigation_problems()]
    problems += contracts.place_problems(PAGES, MODULES) + contracts.stage_problems(MODULES)
    problems += [*contracts.term_problems(), *contracts.work_problems(PAGES)]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("- **zone** — A place. [A](a.md)\n", "the entry `zone` is no term"),
        ("- **arc** — A. [A](a.md)\n  { #arc }\n", "put `arc` above `Erlang C`"),
    ],
)
def test_the_glossary_has_terms_in_order(
    entry: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    text = f"- **Erlang C** — To wait. [A](a.md)\n  {{ #erlang-c }}\n{entry}"
    (tmp_path / "docs/glossary.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    (problem,) = contracts.term_problems()
    assert told in problem


@pytest.mark.parametrize(
    ("cell", "cells"),
    [("y | z", 3), ("y|", 3), ("`a` | b", 3), ("y", 2), ("`y | z`", 2), (r"y \| z", 2), ("", 2)],
)
def test_a_row_has_the_cells_of_its_table(cell: str, cells: int) -> None:
    """A bar in code or behind a stroke ends none."""
    made = f"| a | b |\n|---|---|\n| x | {cell} |\n\n| one |\n\n```\n| a |\n| b | c |\n```\n"
    wrong = [f"docs/a.md: {cells} cells in a table of 2: | x | {cell} |"]
    assert contracts.row_problems("a.md", made) == wrong * (cells > 2)


def test_an_anchor_is_one_work_on_all_pages() -> None:
    """Of which pages may name different sections."""
    text = "## Sources\n\n- Erlang ({}). Calls. [a](https://doi.org/{}), {}\n  {{ #erlang }}\n"
    works = (("1917", "a", "part 1"), ("1917", "a", ""), ("1918", "a", ""), ("1917", "b", ""))
    pages = [
        replace(CHAPTERS[0], path=f"{number}.md", text=text.format(*work))
        for number, work in enumerate(works)
    ]
    told = [problem.partition(" than")[0] for problem in contracts.work_problems(pages)]
    assert told == [f"docs/{number}.md: the source `erlang` is another work" for number in (2, 3)]


@pytest.mark.parametrize(
    "imported",
    [
        "from serving_mathematics.definitions.service.service import service",
        "from ...definitions.service.service import service",
        "def later():\n    import serving_mathematics.definitions.service.service",
    ],
)
def test_no_chapter_imports_a_chapter(
    imported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["capacity.littles_law.littles_law", "core.queues.queue_simulator"]
    other = "definitions.service.service"
    copy_modules([*names, other], tmp_path)
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    for name in names:
        file = module_path(tmp_path, name)
        file.write_text(f"{file.read_text(encoding='utf-8')}{imported}\n", encoding="utf-8")
    told = contracts.place_problems(PAGES, [*names, other])
    assert len(told) == 2
    assert told[0].endswith(
        "littles_law.py imports snippets/serving_mathematics/definitions/service/service.py: what"
        " two chapters need belongs in core/."
    )


def test_no_folder_of_the_planner_imports_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, later = "planner.questions.grids", "planner.answers.plot_axes"
    copy_modules([name, later], tmp_path)
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    file = module_path(tmp_path, name)
    imported = "from serving_mathematics.planner.answers.plot_axes import Plot"
    file.write_text(f"{file.read_text(encoding='utf-8')}{imported}\n", encoding="utf-8")
    assert contracts.stage_problems([name, later]) == [
        "snippets/serving_mathematics/planner/questions/grids.py imports"
        " snippets/serving_mathematics/planner/answers/plot_axes.py, of a later folder: what both"
        " need belongs in the earlier one."
    ]


def test_no_two_modules_share_a_function_body() -> None:
    problems = contracts.body_problems(MODULES)
    assert not problems, "\n".join(problems)


def copy_modules(names: Sequence[str], folder: Path) -> None:
    """Modules and what they and their copies import, in a folder that becomes the project's."""
    for name in (*names, *IN_COPIES.values()):
        for file in HERE.sources.dependencies(module_path(ROOT, name))[0]:
            copy = folder / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def test_a_function_that_was_copied_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        "capacity.littles_law.littles_law",
        "definitions.service.service",
        "core.queues.erlang",
    ]
    copy_modules(names, tmp_path)
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    file = module_path(tmp_path, "core.queues.erlang")
    assert contracts.body_problems(names) == []
    node = contracts.public_definitions("core.queues.erlang")["utilization"]
    lines = file.read_text(encoding="utf-8").split("\n")[node.lineno - 1 : node.end_lineno]
    other = module_path(tmp_path, "capacity.littles_law.littles_law")
    copied = "\n".join(lines).replace("def utilization", "def copied")
    other.write_text(f"{other.read_text(encoding='utf-8')}\n\n{copied}\n", encoding="utf-8")
    (told,) = contracts.body_problems(names)
    assert "`copied` has the same body as `utilization` in snippets/" in told
    assert contracts.body_problems(names, ["core.queues.erlang"]) == [told]
    assert contracts.body_problems(names, ["definitions.service.service"]) == []


def test_a_long_function_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "core.queues.erlang"
    copy_modules([name], tmp_path)
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    file = module_path(tmp_path, name)
    body = "    x += 1\n" * contracts.LONGEST
    text = f'{file.read_text(encoding="utf-8")}\n\ndef long(x):\n    """Long."""\n{body}'
    file.write_text(text, encoding="utf-8")
    assert contracts.length_problems(name) == []
    file.write_text(f"{text}    return x\n", encoding="utf-8")
    (told,) = contracts.length_problems(name)
    assert "`long` has 61 lines: take it apart, or say above it why" in told
    reason = "# In one piece: its state.\ndef long(x)"
    file.write_text(f"{text}    return x\n".replace("def long(x)", reason), encoding="utf-8")
    assert contracts.length_problems(name) == []


def test_a_long_module_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "capacity.littles_law.littles_law"
    copy_modules([name], tmp_path)
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    file = module_path(tmp_path, name)
    text = file.read_text(encoding="utf-8")
    lines = "X = 1\n" * (contracts.LONGEST_MODULE - text.count("\n"))
    file.write_text(text + lines, encoding="utf-8")
    assert contracts.length_problems(name) == []
    file.write_text(f"{text}{lines}X = 1\n", encoding="utf-8")
    (told,) = contracts.length_problems(name)
    assert told.startswith(f"{path_of(name)} has 401 lines: take a concept out of it")
    reason = "# In one piece: a table.\n\nfrom __future__"
    file.write_text((text + lines).replace("from __future__", f"{reason}", 1), encoding="utf-8")
    assert contracts.length_problems(name) == []


@pytest.mark.parametrize("folder", ["author", "benchmarks", "builder"])
def test_every_long_module_beside_the_package_says_why(folder: str) -> None:
    told = [
        problem
        for file in sorted((ROOT / folder).rglob("*.py"))
        for problem in contracts.long_module_problems(
            file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")
        )
    ]
    assert not told, "\n".join(told)


def test_every_part_has_a_slider(records: dict[str, Run]) -> None:
    parts = {name.partition(".")[0] for name, run in records.items() if run.record["sliders"]}
    assert parts >= {chapter.slug.partition("/")[0] for chapter in CHAPTERS}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Little, J. D. C. (1961). A proof. *Operations Research* 9(3).", ""),
        ("Cook, J. D. (2008). [A new teller?](https://a.test/teller/)", ""),
        ("Kleinrock, L. (1975). *Queueing Systems, Volume 1: Theory*, chapter 3. Wiley.", ""),
        ("Beyer, B., Jones, C., editors (2016). *SRE*, [Overload](https://a.test/). O'Reilly.", ""),
        ("vLLM. [`serve.py`](https://a.test/serve.py), `calculate_metrics`.", ""),
        ("Andes: quality of experience (2024). [arXiv:1](https://arxiv.org/abs/1)", "no name"),
        ("vLLM, design documents: [Prefix caching](https://a.test/).", "no name"),
        ("NIST. *Secure Hash Standard*, FIPS 180-4.", "neither a year nor a link"),
        ("Yu, G.-I. Orca. [arXiv:1](https://arxiv.org/abs/1)", "without a year"),
        ("Harchol-Balter, M. (2013). *Performance Modeling*.", "says no place"),
        ("Little, J. D. C. (1961). [1](https://a.test/)", "has no title"),
    ],
)
def test_source_problems_are_found(text: str, problem: str) -> None:
    assert problem in source_problem(text)
    assert bool(problem) == bool(source_problem(text))


def test_a_machine_of_the_book_is_said_to_be_one(records: dict[str, Run]) -> None:
    page = next(page for page in CHAPTERS if page.path == "definitions/utilization.md")
    text = page.text.replace("conventions.md#the-books-machines", "b.md")
    (problem,) = CHAPTER_RULES["machines"](replace(page, text=text), records)
    assert problem.startswith("docs/definitions/utilization.md: ")
    assert "does not say what that is: link" in problem


def test_every_fault_is_told_at_once(records: dict[str, Run]) -> None:
    page = next(page for page in CHAPTERS if page.path == "definitions/utilization.md")
    empty = replace(page, text="# Utilization\n", meta={"question": "How hot"})
    told = [
        problem
        for rule in (PAGE_RULES | CHAPTER_RULES).values()
        for problem in rule(empty, records)
    ]
    assert len(told) > 60
    for said in ("lacks `title:`", "no section `## Symbols`", "0 sources", "0 exercises"):
        assert any(said in problem for problem in told), said


AT_A_LIMIT = {  # what is changed in the small chapter and allowed
    *("nothing", "no lesson", "155 characters", "180 characters", "annotated hints"),
    *("a linked place", "records", "a good reference page"),
}


def test_a_small_chapter_keeps_every_rule_and_each_fault_is_told() -> None:
    told = keep.kept("author.contracts")
    assert {name.removeprefix("case ") for name in told if not told[name]} == AT_A_LIMIT


def test_what_a_copy_lacks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "core.queues.erlang"
    copy_modules([name], tmp_path)
    monkeypatch.setattr(contracts, "ROOT", tmp_path)
    file = module_path(tmp_path, name)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("idle / slowdown\n", "idle / slowed\n", 1), encoding="utf-8")
    (told,) = MODULE_RULES["copies"](name)
    assert "finds no `slowed` where it is used" in told
