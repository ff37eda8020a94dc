"""What the builder makes of a small site, of pages with one fault each, and of a first chapter."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import os
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from author import chapter_check, contracts, scaffold
from builder import (
    PACKAGE,
    ROOT,
    SOURCES,
    BuildError,
    figures,
    live,
    pages,
    runner,
    source,
    worker,
)
from builder.configuration import plain_configuration, site_of
from builder.expansion import Expansion, expand, write
from builder.outline import Outline, read
from builder.runner import Run
from builder.source import Sources, module_names, module_path

from ..cases import SHORT
from . import small_chapter, small_runs, small_site

CONFIG = """\
site_name: Small
site_url: !ENV [SITE, OTHER, "https://a.test/"]
site_description: A site.
copyright: !ENV OWNER
docs_dir: elsewhere
hooks: [a.py]
plugins: [b]
watch: [c]
validation: {d: e}
theme: {name: material, custom_dir: overrides}
markdown_extensions: [attr_list]
nav:
  - Home: index.md
  - Part: [part/index.md, {Twice: part/twice.md}, {Deep: [part/other.md]}]
  - notebook.ipynb
  - Book: notebook.ipynb
extra:
  pyodide: pyodide/
  notebook: {title: All, description: "Every chapter.", introduction: " In order.\\n"}
"""


def _told(path: str, content: bytes | Path, root: Path) -> Any:
    """Where a file is from, the entries of an archive, the lines of a text, or what stands for
    one; of the builder's own files, that they are there.
    """
    if isinstance(content, Path):
        return content.relative_to(root).as_posix()
    if path.startswith("downloads/builder/"):
        return len(content) > 0
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
        return [f"{e.filename} {e.CRC} {e.date_time} {e.external_attr:o}" for e in entries]
    return content.decode() if path.endswith(".txt") else [len(content), zlib.crc32(content)]


def _site(folder: Path) -> dict[str, Any]:
    """Every page and file, right ones and wrong ones, and every complaint."""
    small_site.write_site(folder)
    (folder / "mkdocs.yml").write_text(CONFIG, encoding="utf-8")
    with mock.patch.dict(os.environ, {"OTHER": "https://b.test/", "OWNER": "me"}):
        site, plain = site_of(folder), plain_configuration(folder)
    made = expand(folder, site, small_site.runs_of(folder))
    return {
        "site": dataclasses.asdict(site),
        "plain": plain.replace(str(folder), "…"),
        "problems": _legible(made.problems),
        "figures": made.figures,
        "pages": {path: zlib.crc32(text.encode()) for path, text in made.pages.items()},
        "files": {path: _told(path, made.files[path], folder) for path in sorted(made.files)},
        "overview": _legible(made.files["llms.txt"].decode().split("\n")),
        **{path: _legible(_shown(text)) for path, text in made.pages.items()},
    }


def _shown(page: str) -> list[str]:
    """A page to read, beside its sum: its lines but for empty ones, and what is too long for a line
    of what is kept, such as finished HTML, element by element.
    """
    lines = (line for line in page.replace("&#10;", "\n").split("\n") if line)
    apart = (re.split(r"(?<=>)(?=<\w)", line) if len(line) > SHORT else [line] for line in lines)
    return [*itertools.chain.from_iterable(apart)]


def _at_work(folder: Path) -> dict[str, Any]:
    """The same for an author whose modules have failed; and written down."""
    small_site.write_site(folder)
    for path in (folder / "docs").rglob("*.md"):
        if path.relative_to(folder / "docs").as_posix() not in ("index.md", "part/twice.md"):
            path.unlink()
    (folder / "mkdocs.yml").write_text(CONFIG, encoding="utf-8")
    site = site_of(folder)
    runs = [run for run in small_site.runs_of(folder) if run.name.startswith("part.")]
    usual = _lines(expand(folder, site, runs))
    told: dict[str, Any] = {}
    failure = f"{SOURCES}/part/twice/twice.py:3: check_double: AssertionError: a\nb"
    failed = small_site.run_of(folder, "part.twice.twice", failures=[failure])
    made = expand(folder, site, [*runs[:3], failed], show_failures=True)
    others_told = [line for line in _lines(made) if line not in usual]
    told["failed"] = {"lines": others_told, "problems": made.problems, "files": sorted(made.files)}
    (folder / "docs/index.md").write_text("# Home\n", encoding="utf-8")
    for address in ("https://p.test/", ""):
        made = expand(folder, dataclasses.replace(site, notebook={}, pyodide=address), runs)
        told[f"Python from {address!r}"] = [line for line in _lines(made) if line not in usual]
    made = expand(folder, site, runs)
    told["written"] = _written(made, folder)
    return told


def _lines(made: Expansion) -> list[str]:
    return "\n".join(made.pages.values()).split("\n")


def _written(made: Expansion, folder: Path) -> dict[str, Any]:
    config, refused = plain_configuration(folder), []
    for wrong, where in ((["docs/a.md: b", "c"], "plain"), ([], "docs"), ([], "plain")):
        made.problems[:] = wrong
        try:
            write(made, folder, folder / where, config)
        except BuildError as problem:
            refused.append(str(problem).replace(str(folder), "…"))
    there = sorted((folder / "plain").rglob("*"))
    script = (folder / "plain/docs/downloads/notebook.py").read_text(encoding="utf-8")
    cells = json.loads((folder / "plain/docs/downloads/twice.ipynb").read_bytes())
    names = [path.relative_to(folder).as_posix() for path in there if path.is_file()]
    return {"refused": refused, "files": names, "script": script, "cells": cells}


def _changed(folder: Path, faults: list[tuple[str, str, str]]) -> None:
    """Change files; one of which nothing is to be changed goes, one that is not there comes."""
    for short, before, after in faults:
        file = folder / small_chapter.SHORT[short]
        if not before:
            file.unlink()
            continue
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(before, encoding="utf-8")
        text = file.read_text(encoding="utf-8")
        assert before in text, (short, before)
        file.write_text(text.replace(before, after, 1), encoding="utf-8")


def _complaints(records: Mapping[str, Run]) -> list[str]:
    """What all rules say of the chapter and of the whole."""
    names = module_names(contracts.ROOT)
    _, found = contracts.read_page("capacity/first.md", names)
    runs = {name: run for name, run in records.items() if name in names}
    pages = contracts.with_own_modules(contracts.read_pages())
    (page,) = (page for page in pages if page.path == "capacity/first.md")
    for other in pages:
        found += [] if other.asks else contracts.reference_page_problems(other, runs)
    for rule in (contracts.CHAPTER_RULES | contracts.PAGE_RULES).values():
        found += rule(page, runs)
    for module_rule in contracts.MODULE_RULES.values():
        found += [told for name in page.modules for told in module_rule(name)]
    found += [*contracts.navigation_problems(), *contracts.belonging_problems(pages, names)]
    found += contracts.place_problems(pages, names)
    found += [*contracts.term_problems(), *contracts.work_problems(pages)]
    found += contracts.body_problems(names)
    return found


def _rules(folder: Path) -> dict[str, Any]:
    """What all rules say of a chapter that keeps them, and of it with one fault at a time."""
    told: dict[str, Any] = {}
    with mock.patch.object(contracts, "ROOT", folder):
        for name, faults in small_chapter.FAULTS.items():
            small_chapter.write_chapter(folder)
            records = small_chapter.records_of(folder)
            _changed(folder, faults)
            told[name] = _legible(_complaints(records))
        small_chapter.write_chapter(folder)
        for name, changes in small_chapter.RECORD_FAULTS.items():
            records = small_chapter.records_of(folder)
            for module, way, value in changes:
                small_chapter.changed(records[f"capacity.first.{module}"].record, way, value)
            told[name] = _legible(_complaints(records))
    return told


def _legible(complaints: list[str]) -> list[str] | dict[int, str]:
    """Many of them by number, as each is then kept as it is."""
    return complaints if len("".join(complaints)) < SHORT else dict(enumerate(complaints, 1))


REPORT = """\
<testsuites><testsuite>
<testcase file="tests/a.py" line="3" name="test_a"><failure message="no">
tests/capacity/first/test_first.py:7: in test_a
    helped()
tests/capacity/first/test_first.py:5: in helped
    assert 1 == 2
E   assert 1 == 2
tests/capacity/first/test_first.py:9: AssertionError
</failure></testcase>
<testcase file="tests/b.py" line="5" name="test_b"><error message="fixture  x
not found">nothing</error></testcase>
<testcase name="test_c"><failure>said
so</failure></testcase><testcase name="test_d"/>
</testsuite></testsuites>
"""
GOOD = {
    "pytest": (0, ""),
    "ruff check": (0, ""),
    "ruff format": (0, ""),
    "mypy": (0, ""),
    "tests.keep": (0, ""),
}
BAD = {
    "pytest": (1, REPORT),
    "ruff check": (1, "a.py:1:2: F401 unused\na.py:3:4: E501 long.\nFound 2 errors."),
    "ruff format": (1, "Would reformat: a.py\nWould reformat: b.py\n2 files"),
    "mypy": (1, "a.py:1: error: wrong  [arg]\na.py:2: note: see\nb.py:3: error: more."),
    "tests.keep": (1, "a.py has changed:\n  capacity.first.first: page a was 1 and is 2\n"),
}
NUMBERS = "Of {{ doubled:.1f }}, 2 and 3.5% of $4$ at [5](#6) and a7, 8 are 9"


def _up_to(lines: int, text: str) -> str:
    return "\n" * (lines - text.count("\n"))


TOLD: dict[str, tuple[list[str], dict[str, tuple[int | None, str]], Any]] = {
    # the command's words, what other commands say, and the faults of the chapter
    "good": (["first"], GOOD, []),
    "quick": (["docs/capacity/first.md", "--quick"], BAD, []),
    "bad": (["capacity.first"], BAD, []),
    "late": (
        ["first"],
        GOOD | {"pytest": (None, "..F.E.\n.s x"), "mypy": (None, ""), "tests.keep": (None, "")},
        [],
    ),
    "no report": (["first"], GOOD | {"pytest": (3, "no\nsuch  option")}, []),
    "no failure": (["first"], GOOD | {"pytest": (2, "<a/>")}, []),
    "no tests": (
        ["first"],
        GOOD | {"pytest": (5, "")},
        [("tests", "", ""), ("halving", "", ""), ("solving", "", "")],
    ),
    "one thing": (["first"], GOOD, [("page", "Here.", "")]),
    "broken": (["first"], GOOD, [("module", "import numpy", "import import numpy")]),
    "a check fails": (
        ["first"],
        BAD,
        [
            ("module", "import numpy", "# fails: check_1\nimport numpy"),
            ("module", "4.0 * value", "5.0 * value"),
        ],
    ),
    "an import fails": (
        ["first"],
        BAD,
        [
            ("module", "import numpy", "# fails: import\nimport numpy"),
            ("module", "4.0 * value", "5.0 * value"),
            ("module", "Twice the value.", "Twice the value"),
            ("page", "title: First", "other: First"),
            ("page", "{{ code double Kept }}", ""),
            ("page", "Here.", "WRITE: it"),
        ],
    ),
    "yaml": (["first"], GOOD, [("page", "title: First", "title: First: a")]),
    "modules": (["first"], GOOD, [("page", "title: First\n", "title: First\nmodules: other\n")]),
    "the page": (
        ["first"],
        GOOD,
        [
            ("page", "{{ figure two }}", "{{ figur two }} and $\\nonsense{x}$, `$\\no$`, \\$1"),
            ("page", "There.", "$$\n\\no\n$$ ${{ doubled }} a$b$ $1$2 $\\no{{ halved }}$"),
            ("page", "#twice-as-much", "#twice"),
            (
                "page",
                "Here.",
                "[a](none.md) [b](second.md) [c](second.md#figure-a) [d](../index.md)"
                "\n[e](second.md#slider-b) [f](second.md#the-end) [g](second.md#anchored)",
            ),
            ("second", "# Second", "# Second\n\n{ #anchored }"),
        ],
    ),
    "advice": (
        ["first"],
        GOOD,
        [
            (
                "page",
                "There.",
                f"{NUMBERS} 1 2.\n\n{NUMBERS}\n\n{NUMBERS}, 10.\nAnd here.\n\nMore: 1 2 3 4 5.",
            ),
            ("module", "del figure", "del figure" + _up_to(250, small_chapter.MODULE)),
            ("other", "return rng", "return rng" + _up_to(251, small_chapter.OTHER)),
            ("exercises", "return 2", "return 2" + _up_to(300, small_chapter.EXERCISES)),
        ],
    ),
    "unknown": (["thirst"], GOOD, []),
    "far": (["x"], GOOD, []),
    "index": (["index"], GOOD, []),
    "several": (["second"], GOOD, [("another", "second", "second")]),
}


def _check(folder: Path) -> dict[str, Any]:
    """What `make check-chapter` prints, with a clock and commands of our own."""
    clock = SimpleNamespace(now=100.0)
    asked: list[Any] = []

    def ran(*given: Any, **options: Any) -> list[Run]:
        roots = [str(sources.root) for sources in given]
        asked.append([roots, options["timeout_s"], list(options["names"])])
        options["progress"].tell("ran")
        clock.now += 3.6
        there = small_chapter.records_of(folder)
        for told_as in ("import", "check_1"):
            if f"# fails: {told_as}" in (folder / small_chapter.SHORT["module"]).read_text():
                failure = f"{small_chapter.SHORT['module']}:3: {told_as}: E: m"
                there["capacity.first.first"].record["failures"] = [failure]
        return [there[name] for name in options["names"]]

    says: dict[str, tuple[int | None, str]] = {}

    def command(words: list[str], deadline: float) -> tuple[int | None, str]:
        short = " ".join(words[:2]) if words[0] == "ruff" else words[0]
        status, said = says[short]
        asked.append([words[0], *sorted(w for w in words if "junitxml=" not in w), deadline])
        reports = [Path(word.partition("=")[2]) for word in words if "junitxml=" in word]
        for report in reports if said.startswith("<") else []:
            report.write_text(said, encoding="utf-8")
        return status, said

    told: dict[str, Any] = {}
    with (
        mock.patch.object(contracts, "ROOT", folder),
        mock.patch.object(pages, "ROOT", folder),
        mock.patch.object(chapter_check, "ROOT", folder),
        mock.patch.object(chapter_check, "run_all", ran),
        mock.patch.object(chapter_check, "_command", command),
        mock.patch.object(chapter_check, "time", SimpleNamespace(monotonic=lambda: clock.now)),
    ):
        for name, (words, others, faults) in TOLD.items():
            says |= others
            small_chapter.write_chapter(folder)
            _changed(folder, faults)
            asked.clear()
            with (
                contextlib.redirect_stdout(io.StringIO()) as printed,
                contextlib.redirect_stderr(printed),
            ):
                status = chapter_check.main(words)
            lines = printed.getvalue().replace(str(folder), "…").split("\n")
            shown = _legible(lines)
            told[name] = {"status": status}
            told[name] |= shown if isinstance(shown, dict) else {"printed": shown}
            if name in ("good", "quick"):
                plain = json.dumps(sorted(asked, key=str)).replace(str(folder), "…")
                told[name]["asked"] = json.loads(plain)
    return told


TEMPLATE = "title: Chapter title\nChapter title\ntitle: Chapter title\npart_slug chapter_slug\n"
BEGUN: dict[str, tuple[list[str], Any]] = {  # the command's words, and faults of the chapter
    "plain": (["capacity", "Spot instances_2"], []),
    "titled": (["capacity", "spot", "--title", "  Spot:  a Thing ", "--task", "Cook"], []),
    "named": (["capacity", "spot", "--title", "GPU"], [("readme", "first, second", "first; a, b")]),
    "no task": (["capacity", "spot", "--task", "Cut"], []),
    "no part": (["capacities", "spot"], []),
    "no name": (["capacity", "Spot!"], []),
    "keyword": (["capacity", "class"], []),
    "exercises": (["capacity", "exercises"], []),
    "taken": (["capacity", "first"], []),
    "a page": (["capacity", "second"], []),
    "not in the navigation": (
        ["capacity", "spot"],
        [("nav", "capacity/", "c/"), ("nav", "capacity/", "c/"), ("nav", "capacity/", "c/")],
    ),
    "no navigation": (["capacity", "spot"], [("nav", "nav:", "other:")]),
    "at the beginning": (
        ["capacity", "spot"],
        [
            ("nav", "site_name: Small\n", ""),
            ("nav", "      - capacity/first.md\n", "  - P: capacity/first.md  # last\n"),
        ],
    ),
    "no title": (["capacity", "spot"], [("part", "title: 'Capacity'", "other: 1")]),
}


def _begun(folder: Path) -> dict[str, Any]:
    """What `make chapter` prints and writes, with templates of our own."""
    told: dict[str, Any] = {}
    templates = folder / "templates"
    templates.mkdir()
    for name in (
        *("package.py", "module.py", "exercises.py", "page.md"),
        *("empty.py", "test.py", "test_exercises.py"),
    ):
        (templates / name).write_text(f"{name}\n{TEMPLATE}", encoding="utf-8")
    root = folder / "root"
    commands: list[Any] = []
    with (
        mock.patch.object(scaffold, "ROOT", root),
        mock.patch.object(scaffold, "TEMPLATES", templates),
        mock.patch.object(
            scaffold.subprocess, "run", lambda words, **_: commands.append(words[2:])
        ),
    ):
        for name, (words, faults) in BEGUN.items():
            small_chapter.write_chapter(root)
            _changed(root, faults)
            before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}
            with (
                contextlib.redirect_stdout(io.StringIO()) as printed,
                contextlib.redirect_stderr(printed),
            ):
                status = scaffold.main(words)
            files = {
                file.relative_to(root).as_posix(): _added(before.get(file, b""), file.read_bytes())
                for file in sorted(root.rglob("*"))
                if file.is_file() and before.get(file) != file.read_bytes()
            }
            told[name] = {"status": status, "printed": printed.getvalue()} | files
    return told | {"commands": commands[:2]}


def _added(before: bytes, after: bytes) -> list[str]:
    """The lines of a file that are new, with the line before."""
    lines = after.decode().split("\n")
    old = set(before.decode().split("\n")) if before else set()
    places = [n for n, line in enumerate(lines) if line not in old]
    return ["\n".join(lines[max(0, n - 1) : n + 1]) if before else lines[n] for n in places]


def _ran(folder: Path) -> dict[str, Any]:
    """What becomes of modules that end well, fail, crash, hang and change; what is kept of them."""
    small_runs.write_modules(folder)
    cache = folder / "cache"
    names = [name for name in small_runs.ENDS if name != "part.changes"]
    told: dict[str, Any] = {}
    lines: list[str] = []

    def run(**options: Any) -> dict[str, Any]:
        started.clear()
        lines.clear()
        progress = runner.Progress(lines.append)
        runs = runner.run_all(Sources(folder, cache), progress=progress, **options)
        found = {run.name: _of_run(run) for run in runs}
        return {"runs": found, "lines": list(lines), "started": list(started)}

    with small_runs.workers() as (clock, started):
        for age in (3600.5, 3600.0):
            left = cache / f"tmp-{age}"
            left.mkdir(parents=True)
            os.utime(left, (clock.now - age, clock.now - age))
        for number in range(10):
            entry = cache / "part.fine" / f"{number}"
            entry.mkdir(parents=True)
            os.utime(entry, (1e8 + number, 1e8 + number))
        told |= run(names=names, timeout_s=20.0)
        kept = sorted(path.name for path in (cache / "part.fine").iterdir())
        told["entries"] = [name for name in kept if len(name) == 1]
        told["left"] = [path.name for path in sorted(cache.glob("tmp-*"))]
        told["again"] = run(names=names, timeout_s=20.0)["started"]
        told["not again"] = run(names=names, again=False)["started"]
        told["report"] = "\n".join(
            runner.failures(runner.run_all(Sources(folder, cache), names=names, again=False))
        )
        path = module_path(folder, "part.fine")
        text = path.read_text(encoding="utf-8")
        for what, other in (("comment", f"{text}# more\n"), ("code", f"{text}C = 3\n")):
            path.write_text(other, encoding="utf-8")
            told[what] = run(names=["part.fine"])
        for name in ("part.changes", "part.nowhere"):
            try:
                run(names=[name])
            except BuildError as problem:
                told[name] = [str(problem).replace(str(folder), "…"), *started]
    return told


def _of_run(run: Run) -> dict[str, Any]:
    """What a record says, without what is hashed."""
    record = {key: value for key, value in run.record.items() if value}
    states = [run.path, run.address, run.failed, run.seconds, len(run.module.outline.symbols)]
    return record | {
        "files": [*record.get("files", ())],
        "is": states,
        "source": run.module.source,
        "outline": _outlined(run.module.outline),
    }


def _outlined(outline: Outline) -> dict[str, Any]:
    """The top level of a module, without what is hashed."""
    whole = dataclasses.asdict(outline)
    return {name: whole[name] for name in ("symbols", "imports", "changed")}


def _recorded(folder: Path) -> dict[str, Any]:
    """What a worker records of checks, figures, sliders and examples of every kind."""
    (folder / SOURCES).mkdir(parents=True)
    shutil.copy(ROOT / SOURCES / "house.mplstyle", folder / SOURCES)
    record = small_runs.record_of(folder, small_runs.MODULE)
    told: dict[str, Any] = {"failures": _legible(record.pop("failures")), "whole": record}
    head = "import numpy as np\nfrom types import SimpleNamespace\n"
    for odd in small_runs.ODD:
        text = f"{head}\n\ndef example():\n    return {odd}\n"
        record = small_runs.record_of(folder, text)
        told[odd] = [record["example"], record["failures"]]
    for broken in (
        "a = 1\n\ndef (:\n",
        "\nfrom string import Template\n\nTemplate('$').substitute()\n",
        "raise KeyboardInterrupt",
    ):
        told[broken] = small_runs.record_of(folder, broken)["failures"]
    path = folder / "odd.py"
    for what in ("def (", "a = 1\n"):
        path.write_text(what, encoding="utf-8")
        told[f"described {what.strip()}"] = _outlined(read(path.read_bytes()))
    path.write_bytes(b"a = '\xff'\n")
    told["described bytes"] = _outlined(read(path.read_bytes()))
    told["digests"] = [worker.file_digest(path)[:8], worker.file_digest(folder / "none")]
    return told


ODD_SOURCES = {
    "part/one": """\
from __future__ import annotations
import numpy as np, os.path
from . import two
from .two import (
    a,
    b as c,
)
from .. import checks
from ..other.three import d
import serving_mathematics.other.four as four
from fastapi import FastAPI; import httpx

A, (B, C) = 1, (2, 3)
D: int = A
E: int
A += 1


@np.vectorize
def f(x):
    import grpc
    return a(x) + c + G()


class G(FastAPI):
    pass


async def h():
    return os.path, four
""",
    "part/two": "import random\nLIMIT = 3\n\n\ndef a(x):\n    return b(x)\n\n\n"
    "def b(x):\n    return x",
    "part/three": '"""\nimport a sentence that is none\n"""\n'
    "from .two import a\nimport \\\n    grpc\n",
    "part/broken": "from .two import a\ndef (\nimport httpx\nfrom ..other import four\n",
    "part/plain": "import re\n",
    "other/three": """\
from serving_mathematics.part.two import a as e


def d(x):
    return e(x)
""",
    "other/four": """\
from serving_mathematics.part import two

PATH = __file__


def read():
    return open(PATH).read() + two.a


def twice():
    return read()
""",
    "other/five": """\
import json
import zlib, json as j
from serving_mathematics.other.four import read
from serving_mathematics.part.two import LIMIT, a
import numpy


def a1():
    return a(LIMIT) + numpy.pi + json.x + j.y + zlib.z


def a2():
    return read
""",
    "other/six": """\
from serving_mathematics.other.five import a1
from serving_mathematics.part.two import b


def LIMIT():
    return a1, b
""",
    "other/_own": "",
}
COPIED = [
    ("part.one", ["A"]),
    ("part.one", ["D", "E"]),
    ("part.one", ["f"]),
    ("part.one", ["h", "G"]),
    ("part.two", ["a"]),
    ("other.three", ["d"]),
    ("other.four", ["twice"]),
    ("other.five", ["a1"]),
    ("other.five", ["a1", "a2"]),
    ("other.six", ["LIMIT"]),
]


def _sources(folder: Path) -> dict[str, Any]:
    """What is known of modules without running them."""
    package = folder / SOURCES
    for name, text in ODD_SOURCES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    for name in ("", "part/", "other/"):
        (package / name / "__init__.py").touch()
    (package / "checks.py").write_text("import scipy\n", encoding="utf-8")
    (package / "house.mplstyle").touch()
    names = module_names(folder)
    told: dict[str, Any] = {"names": names}
    found = source.Sources(folder, folder / "cache")
    for name in names:
        path = module_path(folder, name)
        files, packages = found.dependencies(path)
        told[name] = {
            "files": [file.relative_to(package).as_posix() for file in files],
            "packages": packages,
            "needs": found.needs(name),
        }
        told[name]["outline"] = _outlined(found.module(name).outline)
    for name, what in COPIED:
        try:
            copied = source.self_contained(found.module(name), what, found.module)
        except BuildError as problem:
            copied = str(problem)
        told[f"{name} {' '.join(what)}"] = copied
    digests = {name: found.digest(name) for name in names}
    told["digests"] = [len(digests), len(set(digests.values())), *map(len, digests.values())]
    for changed, after in (
        ("part/two", "import random\nLIMIT = 3  # of a\n\n\ndef a(x):\n    return b(x)\n"),
        ("part/two", "import random\nLIMIT = 4\n\n\ndef a(x):\n    return b(x)\n\n\ndef b(x): ..."),
        ("other/four", ODD_SOURCES["other/four"].replace("return read()", "return read")),
    ):
        (package / f"{changed}.py").write_text(after, encoding="utf-8")
        now = {name: source.Sources(folder).digest(name) for name in names}
        told[f"after {changed} {len(told)}"] = [
            name for name in names if now[name] != digests[name]
        ]
        digests = now
    try:
        found.module("part.nowhere")
    except BuildError as problem:
        told["part.nowhere as a module"] = str(problem).replace(str(folder), "…")
    return told


def _live(folder: Path) -> dict[str, Any]:
    """What runs in a reader's browser of a module with every fault, and what it tells."""
    package = folder / PACKAGE
    (package / "small").mkdir(parents=True)
    for name in ("__init__.py", "exercises.py", "house.mplstyle"):
        shutil.copy(ROOT / SOURCES / name, package)
    shutil.copytree(ROOT / SOURCES / "support", package / "support")
    (package / "small/__init__.py").touch()
    absent = "\n\ndef check_sockets():\n    raise OSError('no sockets')\n"
    absent += '\n\ndef check_threads():\n    raise RuntimeError("can\'t start new thread")\n'
    asked = "\n\ndef asked(text, tell):\n    tell('status', 'at work')\n    return text[::-1]\n"
    (package / "small/one.py").write_text(small_runs.MODULE + absent + asked, encoding="utf-8")
    (package / "small/two.py").write_text("import none_such\n", encoding="utf-8")
    (package / "small/three.py").write_text("\n1 / 0\n", encoding="utf-8")
    told: dict[str, Any] = {}
    with (
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        mock.patch.dict(sys.modules, {"figures": figures}),
        contextlib.redirect_stdout(io.StringIO()) as printed,
    ):
        for name in ("one", "two", "three"):
            drawn: list[Any] = []
            source = (package / f"small/{name}.py").read_text(encoding="utf-8")
            tell = lambda what, made, to=drawn: to.append((what, made))  # noqa: E731
            counts = live.run(f"small.{name}", source, tell)
            shown = [[what, *made[:2], made[2] == made[3]] for what, made in drawn]
            told[name] = {"counts": counts, "drawn": shown}
        said: list[str] = []
        answer = live.answer("small.one", "asked", "abc", lambda *words: said.extend(words))
    lines = printed.getvalue().replace(str(folder), "…").split("\n")
    return told | {"answer": [answer, *said], "printed": [x for x in lines if x.strip(" ~^")]}


CASES: Mapping[str, Any] = {
    "builder.pages": _site,
    "builder.expansion": _at_work,
    "author.contracts": _rules,
    "author.chapter_check": _check,
    "author.scaffold": _begun,
    "builder.runner": _ran,
    "builder.worker": _recorded,
    "builder.source": _sources,
    "builder.live": _live,
}
