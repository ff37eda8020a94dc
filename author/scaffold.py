"""Begin a chapter: `python -m author.scaffold PART NAME`.

What is written comes from the files in `new_chapter/`, a small chapter that runs and passes its
checks and tests. `WRITE:` marks what only an author can put there; the rule `unwritten` of the
contracts names each until it is gone.
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from author.contracts import UNWRITTEN
from builder import ROOT, SOURCES, BuildError, end_in_order, said_by
from builder.storage import write_whole

TEMPLATES = Path(__file__).with_name("new_chapter")
_PAGE = r"[\w/-]+\.md"
LONGEST = 60  # characters of a name and of a title


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when the chapter was begun, 2 when it could not be."""
    parser = argparse.ArgumentParser(
        prog="make chapter PART=… NAME=…",
        description="Begin a chapter: package, exercises, page, tests, navigation, path.",
    )
    parser.add_argument("part", metavar="PART", help="the folder of its part, such as capacity")
    parser.add_argument("name", metavar="NAME", help="as in the address: spot-instances")
    parser.add_argument("--title", default="", help="by default the name in words")
    parser.add_argument(
        "--task", default="", help="the heading of docs/start.md under which the chapter belongs"
    )
    options = parser.parse_args(arguments)
    try:
        written = begin(options.part, options.name, options.title, options.task)
    except BuildError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except OSError as problem:
        print(f"error: {said_by(problem)}", file=sys.stderr)
        return 2
    print("\n".join(f"wrote {path}" for path in written))
    print(
        f"\nIt runs and its tests pass; `make check-chapter NAME={_slug(options.name)}` says what"
        " is yours to write,\nand `make serve` shows it while you do."
    )
    return 0


def begin(part: str, name: str, title: str = "", task: str = "") -> list[str]:
    """Write a chapter's files and enter it where chapters are listed; the paths that were written.

    Nothing is left when something is wrong, or when it is ended before its end: raises BuildError
    for a part that is not there, a name that is taken or cannot be one, a title with marks of
    Markdown, and a task that is none.
    """
    parts = sorted(file.parent.name for file in (ROOT / "docs").glob("*/index.md"))
    if part not in parts:
        raise BuildError(f"PART must be one of {', '.join(parts)}, got {part!r}")
    slug = _slug(name)
    module = slug.replace("-", "_")
    title = " ".join(title.split()) or slug.replace("-", " ").capitalize()
    new = {
        f"{SOURCES}/{part}/{module}/__init__.py": "package.py",
        f"{SOURCES}/{part}/{module}/{module}.py": "module.py",
        f"{SOURCES}/{part}/{module}/exercises.py": "exercises.py",
        f"docs/{part}/{slug}.md": "page.md",
        f"tests/{part}/{module}/__init__.py": "empty.py",
        f"tests/{part}/{module}/test_{module}.py": "test.py",
        f"tests/{part}/{module}/test_exercises.py": "test_exercises.py",
    }
    _free(slug, list(new))
    marks = re.findall(r"[\\`\"|<>{}\[\]$*]", title)
    if marks or len(title) > LONGEST or not re.search(r"[^\W\d_]", title):
        shown = title if len(title) <= LONGEST else f"{title[:LONGEST]}… ({len(title)} characters)"
        rule = f'words, at most {LONGEST} characters, without \\ ` " | < > {{ }} [ ] $ *'
        raise BuildError(f"TITLE must be {rule}, got {shown!r}")
    texts = {}
    for path, template in new.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        text = text.replace("part_slug", part).replace("chapter_slug", module)
        quoted = title if _plain(title) else json.dumps(title, ensure_ascii=False)
        text = text.replace("title: Chapter title", f"title: {quoted}", 1)
        texts[path] = text.replace("Chapter title", title)
    page = f"{part}/{slug}.md"
    texts["mkdocs.yml"] = in_navigation(_read("mkdocs.yml"), page)
    texts["docs/start.md"] = on_a_path(_read("docs/start.md"), page, title, task)
    texts["README.md"] = in_readme(_read("README.md"), _title_of(part), title)
    changed = [path for path in (*texts, _kept(part, module)) if (ROOT / path).exists()]
    there = {path: _read(path) for path in changed}
    folders = {(ROOT / path).parent for path in new}
    made = [folder for folder in folders if not folder.exists()]
    try:
        for path, text in texts.items():
            write_whole(ROOT / path, text.encode())
        _tidy([path for path in new if path.endswith(".py")])
        return [*texts, *_keep(part, module)]
    except BaseException:
        for path in (*new, _kept(part, module)):
            (ROOT / path).unlink(missing_ok=True)
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
        for path, text in there.items():
            write_whole(ROOT / path, text.encode())
        raise


def _plain(title: str) -> bool:
    """Whether YAML takes it for itself without quotes, which `yes`, `1.5` and `a: b` are not."""
    try:
        return bool(yaml.safe_load(f"title: {title}") == {"title": title})
    except yaml.YAMLError:
        return False


def _tidy(paths: Sequence[str]) -> None:
    """Sort and wrap the imports, whose lines are as long as the chapter's name; without the linter
    they stay as they are.
    """
    for command in (["check", "--select=I", "--fix"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--quiet", *paths]
        subprocess.run(ruff, cwd=ROOT, check=False, capture_output=True)


def _keep(part: str, module: str) -> list[str]:
    """Keep what the module answers and shows, as tests compare it; the file of it."""
    words = [sys.executable, "-m", "tests.keep", f"{part}.{module}"]
    subprocess.run(words, cwd=ROOT, check=False, capture_output=True)
    file = _kept(part, module)
    return [file] if (ROOT / file).is_file() else []


def _kept(part: str, module: str) -> str:
    return f"tests/kept/{part}/{module}.json"


def _slug(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _free(slug: str, new: Sequence[str]) -> None:
    """Raise BuildError unless the name is one and free, in every part."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        raise BuildError(
            f"NAME must be lower-case words with hyphens, such as spot-instances, got {slug!r}"
        )
    if len(slug) > LONGEST:
        raise BuildError(f"NAME must have at most {LONGEST} characters, got {len(slug)}")
    if slug in ("index", "exercises") or keyword.iskeyword(slug.replace("-", "_")):
        raise BuildError(f"NAME must not be {slug}, which has a meaning of its own")
    taken = [path for path in new if (ROOT / path).exists()]
    taken += [f"docs/{file.relative_to(ROOT / 'docs')}" for file in ROOT.glob(f"docs/*/{slug}.md")]
    if taken:
        raise BuildError(f"{taken[0]} is there already: choose another NAME than {slug}")


def in_navigation(text: str, page: str) -> str:
    """`mkdocs.yml` with the page at the end of its part's navigation; nothing else is touched."""
    part = page.partition("/")[0]
    lines = text.split("\n")
    begin = next((n for n, line in enumerate(lines) if line == "nav:"), len(lines))
    there = [
        number
        for number, line in enumerate(lines)
        if number > begin and re.match(rf"\s+- (?:[^#]*: )?{part}/[\w-]+\.md\s*(#.*)?$", line)
    ]
    if not there:
        raise BuildError(f"mkdocs.yml: `nav` lists no page of {part}, after which {page} could go")
    indent = re.match(r"\s*", lines[there[-1]])
    lines.insert(there[-1] + 1, f"{indent[0] if indent else ''}- {page}")
    return "\n".join(lines)


def on_a_path(text: str, page: str, title: str, task: str = "") -> str:
    """The page on where to start with the chapter at the end of a path.

    task: the path's heading; by default the one with most chapters of the same part.
    """
    part = page.partition("/")[0]
    pieces = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    steps = [re.findall(rf"^\d+\. \[[^]]+\]\(({_PAGE})\).*$", p, re.MULTILINE) for p in pieces]
    headings = [piece.partition("\n")[0].removeprefix("## ") for piece in pieces]
    tasks = [heading for heading, found in zip(headings, steps, strict=True) if found]
    if task and task not in tasks:
        raise BuildError(f"TASK must be one of {'; '.join(tasks)}, got {task!r}")
    if task:
        place = headings.index(task)
    else:
        place = max(range(len(pieces)), key=lambda n: sum(p.startswith(part) for p in steps[n]))
    last = list(re.finditer(rf"^(\d+)\. \[[^]]+\]\({_PAGE}\).*$", pieces[place], re.MULTILINE))[-1]
    told = f"{UNWRITTEN}: what the chapter says about this task, and its place among the others."
    step = f"\n{int(last[1]) + 1}. [{title}]({page}): {told}"
    pieces[place] = pieces[place][: last.end()] + step + pieces[place][last.end() :]
    return "".join(pieces)


def in_readme(text: str, part: str, title: str) -> str:
    """The README with the chapter at the end of its part's row, where there is one."""
    name = title if re.search(r"[A-Z]", title[1:]) else title[:1].lower() + title[1:]
    row = re.compile(rf"^(\| {re.escape(part)} \| .*?)( \|)$", re.MULTILINE)
    found = row.search(text)
    comma = "; " if found and ";" in found[1] else ", "
    return row.sub(rf"\g<1>{comma}{name}\g<2>", text, count=1)


def _title_of(part: str) -> str:
    found = re.search(r"^title: (.+)$", _read(f"docs/{part}/index.md"), re.MULTILINE)
    return found[1].strip("\"'") if found else part


if __name__ == "__main__":
    end_in_order()  # so that nothing is left half made
    sys.exit(main())
