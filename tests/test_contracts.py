"""What every page promises: mirrored trees; whatever is there is shown, tested and sourced."""

from __future__ import annotations

import ast
import doctest
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from builder import ROOT
from builder.pages import references_of
from builder.runner import Run
from builder.source import Sources, module_names, module_path, self_contained

from .conftest import CHAPTERS, PAGES, REFERENCES, Chapter

SECTIONS = [
    "The answer",
    "Symbols",
    "Checks",
    "Where it breaks",
    "In production",
    "Exercises",
    "Sources",
]
MODULES = module_names(ROOT)
SOURCE_FILES = Sources(ROOT)
NOT_PURE = ("check_", "figure_", "slider_")


def tree_of(name: str) -> ast.Module:
    return ast.parse(module_path(ROOT, name).read_text(encoding="utf-8"))


def public_definitions(
    name: str,
) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes a reader may take: no private ones, figures, checks or example."""
    return {
        node.name: node
        for node in tree_of(name).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        and not node.name.startswith(("_", *NOT_PURE))
        and node.name not in {"example", "main"}
    }


def tests_of(name: str) -> Path:
    part, _, module = name.rpartition(".")
    return ROOT / "tests" / part.removesuffix(".exercises") / f"test_{module}.py"


def test_there_are_chapters() -> None:
    assert len(CHAPTERS) >= 6


def test_every_chapter_has_module_exercises_and_tests(chapter: Chapter) -> None:
    part, slug = chapter.slug.replace("-", "_").split("/")
    assert f"{part}.{slug}" in chapter.modules
    assert f"{part}.exercises.{slug}" in chapter.modules
    for name in chapter.modules:
        assert tests_of(name).is_file(), f"{name} has no {tests_of(name).relative_to(ROOT)}"


def test_every_module_belongs_to_a_page() -> None:
    shown = {name for page in PAGES for name in page.modules}
    assert set(MODULES) <= shown


def test_every_test_file_mirrors_a_module() -> None:
    mirrored = {tests_of(name) for name in MODULES}
    for part in {name.partition(".")[0] for name in MODULES}:
        for file in (ROOT / "tests" / part).glob("test_*.py"):
            assert file in mirrored, f"{file.relative_to(ROOT)} tests no module"


def test_navigation_lists_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(text[text.index("\nnav:") :])["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    written = {file.relative_to(ROOT / "docs").as_posix() for file in ROOT.glob("docs/**/*.md")}
    assert listed == written


def test_front_matter_is_complete(chapter: Chapter, records: dict[str, Run]) -> None:
    meta = chapter.meta
    assert {"title", "description", "question", "thumbnail"} <= meta.keys()
    assert 50 <= len(str(meta["description"])) <= 155
    assert str(meta["question"]).endswith("?")
    drawn = {f["name"] for name in chapter.modules for f in records[name].record["figures"]}
    assert meta["thumbnail"] in drawn


@pytest.mark.parametrize("page", REFERENCES, ids=lambda page: page.slug)
def test_a_reference_page_has_tests_and_shows_its_checks(page: Chapter) -> None:
    assert {"title", "description"} <= page.meta.keys()
    assert 50 <= len(str(page.meta["description"])) <= 155
    assert page.text.count("{{ checks }}") == bool(page.modules)
    for name in page.modules:
        assert tests_of(name).is_file(), f"{name} has no {tests_of(name).relative_to(ROOT)}"


def test_sections_are_there_in_order(chapter: Chapter) -> None:
    headings = re.findall(r"^## (.+)$", chapter.text, re.MULTILINE)
    fixed = [heading for heading in headings if heading in SECTIONS]
    assert fixed == SECTIONS
    assert len(headings) > len(SECTIONS), "a chapter derives or computes something of its own"
    assert chapter.text.count("{{ checks }}") == chapter.text.count("{{ downloads }}") == 1


def test_symbol_table_names_arguments(chapter: Chapter) -> None:
    table = re.search(r"^## Symbols\n(.*?)^## ", chapter.text, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert "| Symbol | Meaning | Unit | Argument |" in table[1]
    names = set(re.findall(r"`([a-z_]\w*)`", table[1]))
    known: set[str] = set()
    for name in chapter.modules:
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.Name):
                known.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.Attribute):
                known.add(node.attr)
    assert len(names) >= 3
    assert names <= known, f"not in the code: {names - known}"


def test_exercises_are_three_or_more_and_solved(chapter: Chapter) -> None:
    exercises = chapter.text.split("## Exercises")[1].split("\n## ")[0]
    titles = re.findall(r"^### \d+\. ", exercises, re.MULTILINE)
    assert len(titles) >= 3
    assert len(re.findall(r"\{\{ solution ", exercises)) == len(titles)


def test_every_citation_resolves_and_every_source_is_cited(page: Chapter) -> None:
    body, _, sources = page.text.partition("\n## Sources\n")
    anchors = re.findall(r"\{ #([\w-]+) \}", sources)
    assert len(anchors) >= 3 or "question" not in page.meta
    assert len(anchors) == len(set(anchors)) == len(re.findall(r"^- ", sources, re.MULTILINE))
    cited = set(re.findall(r"\]\(#([\w-]+)\)", body))
    assert cited >= set(anchors), f"never cited: {set(anchors) - cited}"


PUBLISHED = re.compile(r"\w[^\[\]*`:“”()]*? \([^()]*\b\d{4}[a-z]?\)\. (.+)")  # Who, A. (1961). …
LIVING = re.compile(r"\w[^\[\]*`:“”()]*?\. (.*\]\(https://.+)")  # Who. … with a link
PAPER = re.compile(r"\]\(https://(?:doi\.org|arxiv\.org)/")


def source_problem(text: str) -> str:
    """What a source lacks: who, when, a title, and where to find it; empty when it is complete."""
    dated = PUBLISHED.fullmatch(text)
    living = LIVING.fullmatch(text)
    if not dated and not living:
        return "begins with no name, or has neither a year nor a link"
    if not dated and PAPER.search(text):
        return "is a paper without a year"
    if dated:
        title, _, place = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", dated[1]).partition(". ")
        if not re.search(r"[^\W\d]{3}", title):
            return "has no title"
        if not place and "](https://" not in text:
            return "says no place: a link, a journal or a publisher"
    return ""


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


def test_every_source_says_who_what_when_and_where(page: Chapter) -> None:
    sources = references_of(page.path, "", page.text)
    problems = [f"{s.anchor} {p}: {s.text[:90]}" for s in sources if (p := source_problem(s.text))]
    assert not problems, "\n".join(problems)


def test_every_public_definition_is_shown(page: Chapter) -> None:
    shown = page.names_in("code") | page.names_in("solution")
    for name in page.modules:
        missing = public_definitions(name).keys() - shown
        assert not missing, f"{name}: {sorted(missing)} not shown on {page.path}"


def test_every_figure_is_shown_and_described(page: Chapter, records: dict[str, Run]) -> None:
    figures = [figure for name in page.modules for figure in records[name].record["figures"]]
    drawn = {figure["name"] for figure in figures}
    shown = page.names_in("figure") | page.names_in("slider")
    assert drawn == shown or (drawn < shown and "question" not in page.meta)  # which may borrow
    assert len(figures) >= 2 or "question" not in page.meta
    for figure in figures:
        assert figure["caption"], f"{figure['name']} has no caption"
        assert len(figure["alt"]) >= 60, f"{figure['name']} has no description (Alt: …)"
        for x, y in figure["labels"]:
            assert x, f"{figure['name']} has an axis without a label"
            assert y, f"{figure['name']} has an axis without a label"


def test_every_slider_is_shown_labelled_and_tested(page: Chapter, records: dict[str, Run]) -> None:
    """That its values are the chapter's own is tested beside the chapter's functions."""
    shown = page.names_in("slider")
    sliders = {s["name"]: (n, s) for n in page.modules for s in records[n].record["sliders"]}
    assert shown == sliders.keys()
    assert not shown & page.names_in("figure"), "the slider shows its figure"
    for name, (module, slider) in sliders.items():
        data = slider["data"]
        assert slider["lead"].endswith(".")
        for told in (*data["controls"], data["x"], data["y"], *data["curves"], *data["readouts"]):
            assert told["label"], name
            assert "[" not in told["label"], f"{name}: {told['label']} has its unit in the label"
        assert f"slider_{name}()" in tests_of(module).read_text(encoding="utf-8"), name


def test_every_part_has_a_slider(records: dict[str, Run]) -> None:
    parts = {name.partition(".")[0] for name, run in records.items() if run.record["sliders"]}
    assert parts >= {chapter.slug.partition("/")[0] for chapter in CHAPTERS}


def test_every_example_value_is_quoted(page: Chapter, records: dict[str, Run]) -> None:
    for name in page.modules:
        for field in records[name].record["example"]:
            quoted = re.search(rf"\{{\{{ {field}[: }}]", page.text)
            assert quoted, f"{name}: {field} is quoted nowhere"


def test_pages_need_no_optional_package(page: Chapter, records: dict[str, Run]) -> None:
    """What may be absent when the site is built gives no number and no figure to a page."""
    for name in page.modules:
        record = records[name].record
        assert not record["absent"], f"{name} did not run: pip install {record['absent']}"
        if record["needs"]:
            assert not record["figures"], f"{name} draws, and needs {record['needs']}"
            assert not record["example"], f"{name} has an example, and needs {record['needs']}"


def test_checks_say_where_the_expectation_comes_from(
    page: Chapter, records: dict[str, Run]
) -> None:
    checks = [check for name in page.modules for check in records[name].record["checks"]]
    assert len(checks) >= 6 or not page.modules
    for check in checks:
        assert check["claim"].endswith("."), check["name"]
        refusal = all(row["got"].startswith("ValueError") for row in check["comparisons"])
        assert check["source"] or refusal, f"{check['name']} has no Source"


@pytest.mark.parametrize("name", MODULES)
def test_public_definitions_are_documented_and_tested(name: str) -> None:
    assert "Source:" in (ast.get_docstring(tree_of(name)) or ""), "the module names no source"
    tests = tests_of(name).read_text(encoding="utf-8")
    for function, node in public_definitions(name).items():
        text = ast.get_docstring(node) or ""
        assert text.split("\n\n")[0].strip().endswith("."), f"{function}: say what it is"
        assert re.search(rf"\b{function}\b", tests), f"{function} is not in {tests_of(name).name}"
        if isinstance(node, ast.FunctionDef):
            arguments = {argument.arg for argument in [*node.args.args, *node.args.kwonlyargs]}
            assert ">>>" in text or "rng" in arguments, f"{function} has no worked example"


@pytest.mark.parametrize("name", MODULES)
def test_copied_functions_work_in_an_empty_file(name: str) -> None:
    """A public function, taken with what it needs, passes its own example without the handbook,
    unless it reads the handbook's records.
    """
    for function in public_definitions(name):
        text = self_contained(SOURCE_FILES.module(name), [function], SOURCE_FILES.module)
        ours = re.findall(r"^(?:from|import) serving_mathematics.*", text, re.MULTILINE)
        assert set(ours) <= {"from serving_mathematics.measuring import read_record"}, function
        assert "matplotlib" not in text, f"{function} drags a figure along"
        module = sys.modules["copied"] = type(sys)("copied")  # classes look their module up,
        namespace: dict[str, object] = vars(module)  # and pydantic the names in it
        try:
            exec(compile(text, f"{name}:{function}", "exec"), namespace)
            runner = doctest.DocTestRunner(verbose=False)
            for example in doctest.DocTestFinder().find(
                namespace[function], function, globs=namespace
            ):
                result = runner.run(example)
                assert result.failed == 0, f"{function}: its example fails when copied"
        finally:
            del sys.modules["copied"]


def test_no_two_modules_share_a_function_body() -> None:
    bodies = defaultdict(list)
    for name in MODULES:
        for node in tree_of(name).body:
            if isinstance(node, ast.FunctionDef):
                code = [statement for statement in node.body if not _is_docstring(statement)]
                bodies[tuple(ast.dump(statement) for statement in code)].append((name, node.name))
    for places in bodies.values():
        assert len(places) == 1, f"the same body in {places}"


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


FORBIDDEN = {
    r"\bnp\.random\.(seed|rand|randn|random|normal|exponential|choice)\b": "global random state",
    r"\bpyplot\b|\brcParams\b": "figures carry no global state",
    r"import \*": "star import",
    r"\.savefig\(|\.show\(": "the engine saves figures",
    r"os\.getcwd|Path\(\)\.|Path\.cwd": "paths relative to the working directory",
    r"#\s*(TODO|FIXME|XXX)": "unfinished",
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_avoid_what_the_house_style_forbids(name: str) -> None:
    source = module_path(ROOT, name).read_text(encoding="utf-8")
    for pattern, reason in FORBIDDEN.items():
        assert not re.search(pattern, source), f"{pattern}: {reason}"


@pytest.mark.parametrize("name", MODULES)
def test_every_parameter_is_used(name: str) -> None:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            unused = (
                {a.arg for a in arguments if not a.arg.startswith("_")} - used - {"self", "cls"}
            )
            assert not unused, f"{node.name} ignores {unused}"
