"""Say everything that one chapter still lacks: `python -m author.chapter_check NAME`.

Its modules run, the contracts' rules read page and modules, the page's directives and formulas are
resolved, its tests, examples and linters run, side by side and within a time limit. Every
complaint is a sentence that says where and what to do.
"""

# In one piece: the kinds of complaint of one command, each a few lines.

from __future__ import annotations

import argparse
import ast
import difflib
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from author import contracts, form
from author.contracts import Chapter
from builder import PACKAGE, ROOT, BuildError, end_in_order
from builder.filling import expand
from builder.maths import to_mathml
from builder.pages import Page
from builder.runner import Progress, Run, failures, run_all
from builder.source import Sources, holds_exercises, module_names, module_path, path_of

LIMIT_S = 17.0
MORE_TIME = "give more: `.venv/bin/python -m author.chapter_check NAME --seconds 90`"
MANY_NUMBERS = 4  # in a paragraph; with more it is a table or a figure
LONG_MODULE = 250  # lines
_FORMULA = re.compile(r"\$\$(.+?)\$\$|(?<![\\$\w])\$([^$\n]+?)\$(?!\d)", re.DOTALL)
_LINK = re.compile(r"\]\(([\w./-]+\.md)?(?:#([\w-]+))?\)")  # to a page, or within this one
_NUMBER = re.compile(r"\{\{ [a-z_]\w*(?::[^}]*)? ?\}\}|(?<![\w#$^_{(\[/.-])\d[\d.,]*%?(?![\w)\]])")


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when nothing is missing, 1 when something is, 2 when there is no chapter."""
    parser = argparse.ArgumentParser(
        prog="make check-chapter NAME=…",
        description="Say everything that a chapter still lacks, each with what to do.",
    )
    parser.add_argument(
        "name", metavar="NAME", help="such as utilization, or definitions/utilization"
    )
    parser.add_argument(
        "--quick", action="store_true", help="leave out tests, linter and types, which take longest"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=LIMIT_S,
        help="for the whole answer, %(default)g by default; what is not done by then is said",
    )
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        path = find(options.name)
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    left: dict[str, int] = {}
    try:
        for title, told in complaints(path, started + options.seconds, options.quick):
            if told:
                print(f"\n{title}")
                print("\n".join(f"  {line}" for line in told), flush=True)
            left |= {title: len(told)} if told and title != ADVICE else {}
    except BuildError as problem:
        hint = "; a value with a colon needs quotes" if "is not YAML" in str(problem) else ""
        print(f"\nMend this first\n  {problem}{hint}.")
        return 1
    elapsed = time.monotonic() - started
    if left:
        titles = ", ".join(f"{title.lower()} ({count})" for title, count in left.items())
        print(f"\nLeft in docs/{path}: {titles}; {elapsed:.0f} s.")
        return 1
    print(
        f"\nNothing is missing in docs/{path}; {elapsed:.0f} s.\nNow look at it (`make serve`), in"
        " light and dark, wide and at 390 pixels, and run `make lint test`."
    )
    return 0


ADVICE = "To consider"


def find(name: str) -> str:
    """The page of a chapter, from its name, its address, its file or its module. Raises BuildError
    when there is none, or when several have the name.
    """
    wanted = name.strip("/").removeprefix("docs/").removesuffix(".md").removesuffix(".py")
    wanted = wanted.replace(".", "/").replace("_", "-")
    pages = [file.relative_to(ROOT / "docs").as_posix() for file in ROOT.glob("docs/*/*.md")]
    slugs = {page.removesuffix(".md"): page for page in pages if not page.endswith("/index.md")}
    asked = (wanted, wanted.rpartition("/")[0])  # the second of a module
    found = [p for slug, p in slugs.items() if slug in asked or slug.rpartition("/")[2] == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise BuildError(f"several chapters are called {name}: {', '.join(sorted(found))}")
    names = [*slugs, *(slug.rpartition("/")[2] for slug in slugs)]
    near = difflib.get_close_matches(wanted, names, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise BuildError(f"there is no chapter {name!r}: {hint}`make chapter PART=… NAME=…` begins one")


def complaints(path: str, deadline: float, quick: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Everything that the chapter lacks, as titles with sentences, in the order in which an author
    would mend it.

    deadline: in the time of `time.monotonic`. quick: without tests, linter and types.
    """
    page, listed = contracts.read_page(path, module_names(ROOT))
    pages = contracts.read_pages()
    page = replace(page, elsewhere=contracts.borrowing(page, pages))
    files = [module_path(ROOT, name) for name in page.modules]
    files += [file for name in page.modules if (file := contracts.tests_of(name)).is_file()]
    files = list(dict.fromkeys(files))
    broken = [told for file in files if (told := _syntax_problem(file))]
    if broken:
        yield "Python cannot read", broken
        yield "To write", contracts.unwritten_problems(page, {})
        return
    with ThreadPoolExecutor(4) as threads:
        tasks: dict[str, Future[list[str]]] = {}
        if not quick:
            tasks["Tests that fail"] = threads.submit(_tests, page, deadline)
            tasks["Lint"] = threads.submit(_lint, files, deadline)
            tasks["Types"] = threads.submit(_types, page, deadline)
            tasks["To keep anew"] = threads.submit(_kept, page, deadline)
        runs, failed = _runs(page, deadline)
        yield "To write", contracts.unwritten_problems(page, runs)
        yield "What ran and failed", failed
        imported = not any(": import: " in line for line in failed)
        missing = [*listed, *_rules(page, runs if imported else {}, imported)]
        yield "Missing", missing
        wrong, text = _page_problems(page, runs) if imported else ([], "")
        made = form.form_of(text)
        yield "The page", wrong
        yield "The form", form.problems(page.slug, made.measures()) if text else []
        for title, task in tasks.items():
            result = [line for line in task.result() if not _is_told(line, missing)]
            yield title, result if imported or title == "Lint" else []
        yield ADVICE, [*_advice(page), *(form.advice(page.path, page.text, made) if text else [])]


def _is_told(line: str, missing: Sequence[str]) -> bool:
    """Whether a failed example, of which the rules say where it stands, is told by them too."""
    example = re.search(rf": {PACKAGE}\.[\w.]*\.(\w+): ", line)
    return bool(example and any(f"`{example[1]}`: its example" in told for told in missing))


def _syntax_problem(file: Path) -> str:
    """What keeps a file from being Python, on one line."""
    try:
        ast.parse(file.read_text(encoding="utf-8"), str(file))
    except SyntaxError as problem:
        text = f": {problem.text.strip()}" if problem.text else ""
        return f"{file.relative_to(ROOT).as_posix()}:{problem.lineno}: {problem.msg}{text}"
    except ValueError as problem:
        return f"{file.relative_to(ROOT).as_posix()}: {problem}"
    return ""


def _runs(page: Chapter, deadline: float) -> tuple[dict[str, Run], list[str]]:
    """A record for each module, and every failure."""
    try:
        runs = run_all(
            Sources(ROOT),
            names=page.modules,
            timeout_s=max(1.0, deadline - time.monotonic() - 2),
            progress=Progress(functools.partial(print, file=sys.stderr, flush=True)),
        )
    except (BuildError, OSError) as problem:
        return {}, [str(problem)]
    return {run.name: run for run in runs}, failures(runs)


def _rules(page: Chapter, runs: dict[str, Run], imported: bool) -> list[str]:
    """What the contracts find; of modules that could not be imported, what their text lacks."""
    found: list[str] = []
    ran = {"figures", "sliders", "example", "optional", "checks", "front matter"}
    for name, rule in (contracts.CHAPTER_RULES | contracts.PAGE_RULES).items():
        if name != "unwritten" and (imported or name not in ran):
            found += rule(page, runs)
    for name, module_rule in contracts.MODULE_RULES.items():
        if imported or name != "copies":
            found += [told for module in page.modules for told in module_rule(module)]
    of_all = [*contracts.navigation_problems(), *contracts.work_problems(contracts.read_pages())]
    found += contracts.term_problems() + [told for told in of_all if page.path in told]
    found += contracts.body_problems(module_names(ROOT), page.modules)
    found += contracts.place_problems([page], page.modules)
    return list(dict.fromkeys(found))


def _page_problems(page: Chapter, runs: dict[str, Run]) -> tuple[list[str], str]:
    """Directives that name nothing, formulas that cannot be converted, links that lead nowhere; and
    the page with what ran in its place.
    """
    where = f"docs/{page.path}"
    shown = [runs[name] for name in page.modules if name in runs]
    above = "\n" * contracts.first_line(page)
    expanded = Page(page.path, dict(page.meta), head=above, runs=shown, every_run=shown)
    # no other chapters, uses, references or terms: a chapter shows none
    made = expand(page.text, expanded)
    told = [*expanded.errors, *contracts.row_problems(page.path, made)]
    problems = [_sentence(one) for one in told]
    text = above + re.sub(
        r"^(`{3,}).*?^\1|`[^`\n]*`",
        lambda code: "\n" * code[0].count("\n"),
        page.text,
        flags=re.MULTILINE | re.DOTALL,
    )
    text = re.sub(r"\$\{\{|\{\{.*?\}\}", "0", text)
    for match in _FORMULA.finditer(text):
        try:
            to_mathml(match[1] or match[2], display=bool(match[1]))
        except BuildError as problem:
            problems.append(_sentence(f"{_line(where, text, match)}: {problem}"))
    for match in _LINK.finditer(text):
        target, anchor = match[1] or Path(page.path).name, match[2]
        file, line = (ROOT / "docs" / page.path).parent / target, _line(where, text, match)
        if not file.is_file():
            problems.append(f"{line}: links to {target}, which is not there.")
        elif anchor and not _has_anchor(file.read_text(encoding="utf-8"), anchor):
            of = f"{match[1] or ''}#{anchor}"
            problems.append(f"{line}: links to {of}, which is no heading and no anchor there.")
    return problems, made


def _line(where: str, text: str, match: re.Match[str]) -> str:
    """The place of a match in a file."""
    return f"{where}:{text.count(chr(10), 0, match.start()) + 1}"


def _has_anchor(text: str, anchor: str) -> bool:
    """Whether a page has it, as far as its source says: what rows bring that ran, a build sees."""
    if f"{{ #{anchor} }}" in text or anchor.startswith(("figure-", "slider-")):
        return True
    if re.search(r"^\{\{ \w+_rows \}\}$", text, re.MULTILINE):
        return True
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return any(re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") == anchor for h in headings)


def _command(arguments: Sequence[str], deadline: float) -> tuple[int | None, str]:
    """Exit status, None when time was up, and what was printed."""
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            return None, process.communicate()[0]
    return process.returncode, output


def _tests(page: Chapter, deadline: float) -> list[str]:
    """Tests of the chapter's modules and examples in docstrings that fail, or take too long."""
    files = [module_path(ROOT, name) for name in page.modules]
    files += [file for name in page.modules if (file := contracts.tests_of(name)).is_file()]
    if not files:
        return []
    names = list(dict.fromkeys(file.relative_to(ROOT).as_posix() for file in files))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ("-o", "python_functions=test_*", "-p", "no:cacheprovider", "-q", "--tb=short")
        status, output = _command(
            ["pytest", *options, "-o", "junit_family=xunit1", f"--junitxml={report}", *names],
            deadline,
        )
        if status is None:
            done = len(re.findall(r"[.FEsx](?=[.FEsx\s])", output))
            return [
                f"the tests of {_places(names)} took more than their time ({done} were done): make"
                f" them faster, or {MORE_TIME}."
            ]
        if status in (0, 5):
            return []
        try:
            cases = list(ElementTree.parse(report).iter("testcase"))
        except (OSError, ElementTree.ParseError):
            return [f"pytest could not start: {' '.join(output.split())[-300:]}"]
    found = []
    for case in cases:
        for problem in [*case.findall("failure"), *case.findall("error")]:
            found.append(_failed_test(case, problem))
    return list(dict.fromkeys(found)) or [f"pytest ended with status {status}."]


def _places(names: Sequence[str]) -> str:
    return ", ".join(name for name in names if name.startswith("tests/")) or ", ".join(names)


def _failed_test(case: ElementTree.Element, problem: ElementTree.Element) -> str:
    """One failed test or example, on one line."""
    text = problem.text or ""
    errors = re.findall(r"^E +(.+)$", text, re.MULTILINE)
    lines = re.findall(r"^((?:tests|snippets)/[\w/]+\.py):(\d+): ", text, re.MULTILINE)
    file, line = lines[-1] if lines else (case.get("file") or "", case.get("line") or "")
    said = errors[0] if errors else " ".join((problem.get("message") or text).split())
    return f"{file}:{line}: {case.get('name')}: {said[:300]}"


def _lint(files: Sequence[Path], deadline: float) -> list[str]:
    """What the linter says, and the files that are not formatted."""
    names = [file.relative_to(ROOT).as_posix() for file in files]
    if not names:
        return []
    options = ["--output-format=concise", "--quiet"]
    status, output = _command(["ruff", "check", *options, *names], deadline)
    found = [_sentence(line) for line in output.splitlines() if re.match(r"\S+:\d+:\d+: ", line)]
    formatted, told = _command(["ruff", "format", "--check", *names], deadline)
    unformatted = re.findall(r"^Would reformat: (\S+)", told, re.MULTILINE)
    if not {status, formatted} <= {0, 1}:
        found.append(_not_seen("ruff", None if None in (status, formatted) else output or told))
    if unformatted:
        found.append(f"not formatted: run `.venv/bin/ruff format {' '.join(unformatted)}`.")
    return found


def _types(page: Chapter, deadline: float) -> list[str]:
    names = [module_path(ROOT, name).relative_to(ROOT).as_posix() for name in page.modules]
    if not names:
        return []
    status, output = _command(["mypy", "--no-error-summary", *names], deadline)
    found = re.findall(r"^(\S+:\d+): error: (.+)$", output, re.MULTILINE)
    if status is None or (status and not found):
        return [_not_seen("mypy", output if status else None)]
    return [_sentence(f"{place}: {text}") for place, text in found]


def _not_seen(tool: str, output: str | None) -> str:
    """Why a tool said nothing of the modules. output: None when time was up."""
    if output is None:
        first = "which happens the first time: run it again"
        return f"{tool} did not end in time, {first}, or {MORE_TIME}."
    return f"{tool} could not look: {' '.join(output.split())[-300:]}"


def _kept(page: Chapter, deadline: float) -> list[str]:
    """What the modules answer and show otherwise than is kept."""
    names = [name for name in page.modules if not holds_exercises(name)]
    if not names:
        return []
    status, output = _command(["tests.keep", "--check", *names], deadline)
    if status is None:
        return [f"what is kept was not compared in time: run it again, or {MORE_TIME}."]
    told = [line.strip() for line in output.splitlines() if re.match(r"  \S", line)]
    if not status:
        return []
    command = f"`.venv/bin/python -m tests.keep {' '.join(names)}`"
    return [
        *(f"{line[:300]}." for line in told),
        f"if that is meant, and nothing else is left, keep it: {command}."
        if told
        else f"{command} could not compare: {' '.join(output.split())[-300:]}",
    ]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _advice(page: Chapter) -> list[str]:
    """What no contract asks for and a reader would."""
    found, offset = [], contracts.first_line(page)
    for number, lines in _paragraphs(page.text):
        count = sum(len(_NUMBER.findall(re.sub(r"\$[^$]*\$|\]\([^)]*\)", "", t))) for t in lines)
        if count > MANY_NUMBERS:
            found.append(
                f"docs/{page.path}:{number + offset}: {count} numbers in one paragraph: more than"
                f" {MANY_NUMBERS} read better as a table or a figure."
            )
    for name in page.modules:
        length = contracts.source_of(name).count("\n")
        if length > LONG_MODULE and not holds_exercises(name):
            found.append(
                f"{path_of(name)} has {length} lines: move a concept to a module of its"
                " own beside it."
            )
    return found


def _paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """Paragraphs of prose, each with the number of its first line."""
    lines: list[str] = []
    first = last = 0
    for number, line in contracts.prose(text):
        if lines and number == last + 1:
            lines.append(line)
        else:
            if lines:
                yield first, lines
            lines, first = [line], number
        last = number
    if lines:
        yield first, lines


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
