"""What every page promises; the rules are those of `make check-chapter`."""

from __future__ import annotations

import pytest

from builder import ROOT, contracts
from builder.contracts import CHAPTER_RULES, MODULE_RULES, PAGE_RULES, source_problem
from builder.pages import symbol_uses
from builder.runner import Run
from builder.source import module_names

from .conftest import CHAPTERS, PAGES, REFERENCES, Chapter

MODULES = module_names(ROOT)


def test_there_are_chapters() -> None:
    assert len(CHAPTERS) >= 6


@pytest.mark.parametrize("rule", PAGE_RULES)
def test_page_keeps(page: Chapter, rule: str, records: dict[str, Run]) -> None:
    problems = PAGE_RULES[rule](page, records)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("rule", CHAPTER_RULES)
def test_chapter_keeps(chapter: Chapter, rule: str, records: dict[str, Run]) -> None:
    problems = CHAPTER_RULES[rule](chapter, records)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("page", REFERENCES, ids=lambda page: page.slug)
def test_reference_page_has_tests_and_shows_its_checks(page: Chapter) -> None:
    problems = contracts.reference_page_problems(page, {})
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("rule", MODULE_RULES)
@pytest.mark.parametrize("name", MODULES)
def test_module_keeps(name: str, rule: str) -> None:
    problems = MODULE_RULES[rule](name)
    assert not problems, "\n".join(problems)


def test_letters_that_mean_several_things_are_admitted(chapter: Chapter) -> None:
    uses = [use for c in CHAPTERS for use in symbol_uses(c.path, str(c.meta["title"]), c.text)]
    assert not contracts.notation_problems(chapter, uses)


def test_pages_modules_and_tests_belong_together() -> None:
    problems = [*contracts.belonging_problems(PAGES, MODULES), *contracts.navigation_problems()]
    assert not problems, "\n".join(problems)


def test_no_two_modules_share_a_function_body() -> None:
    problems = contracts.body_problems(MODULES)
    assert not problems, "\n".join(problems)


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
