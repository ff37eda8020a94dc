"""Keeps what functions answer, pages show and whole programs make, so that a change of it is seen:
`python -m tests.keep` says what has moved since it was kept, beside the modules whose text has
changed since then, and keeps it as it is now. With names, such as
`capacity.tail_latency.second_copies` or `planner`, it does so for these modules, parts and cases
alone; with `--new` for those of which nothing is kept; with `--check` it keeps nothing and ends
with 1 where something has moved. It ends with 1, too, where a check fails or a module cannot be
asked; what was kept of these stays. What is kept of modules that are gone goes with any of them.

There is a file for each chapter, a line for each entry: `constant`, `answer` (`tests/answers.py`),
`rule` (`tests/test_bad_input.py`), `page` (`tests/page_numbers.py`), `case` (`tests/cases.py`).
A number that has not moved by more than rounding keeps the digits that it had, so that the command
changes nothing where nothing has.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import subprocess
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from builder import PACKAGE, ROOT, SOURCES, end_in_order
from builder.source import module_path

from . import answers, cases, page_numbers
from .held_constants import held_constants
from .recorded import HERE
from .test_bad_input import computing_modules, rules_of

FOLDER = Path(__file__).with_name("kept")
DIGITS = 9  # of a number that is kept
NEAR = 1e-6  # two numbers differ by no more of their size where only the machine is another
EXACT = 1e-9  # the same for counts
ROUNDED = 2e-3  # the same for sliders, whose numbers are rounded to four digits
APART = 0.5  # sums of a figure's coordinates differ by no more [pt], which are rounded to 0.01
WEIGHT = 7  # the largest in a sum that stands for many numbers
MOST_LINES = 6  # of a module, that are printed
ADVICE = "if that is meant, keep it for a reviewer to see: `.venv/bin/python -m tests.keep {}`"

TOOLS = ("author/", "builder/", "tests/builder/")  # what their cases are made of

Entries = dict[str, Any]  # what is kept of a module or a case, by kind and title
_NUMBER = re.compile(r"-?\b\d+(?:\.\d+)?(?:e[-+]?\d+)?\b")


def names() -> list[str]:
    """The modules and cases of which something is kept."""
    return sorted({*answers.modules(), *page_numbers.modules(), *cases.cases()})


def constants_now(name: str) -> Entries:
    """The constants of a module."""
    return {f"constant {title}": value for title, value in answers.all_constants(name).items()}


def answers_now(name: str, known: Mapping[str, Any], anew: bool = False) -> Entries:
    """The constants of a module, and its answers to the calls that are known; anew: also to calls
    that are chosen now."""
    calls = {key.partition(" ")[2]: told for key, told in known.items() if key[:7] == "answer "}
    find = answers.worth_keeping if anew else answers.answers
    with held_constants():
        found = find(name, calls)
    return constants_now(name) | {f"answer {key}": told for key, told in found.items()}


def rules_now(name: str) -> Entries:
    """What the functions of a module refuse, in the words of the rules."""
    return {f"rule {title}": rules for title, rules in held_rules(name).items()}


def held_rules(name: str) -> dict[str, dict[str, list[str]]]:
    """The same by function and argument, whatever was fitted since."""
    with held_constants():
        return rules_of(name)


def page_now(name: str) -> Entries:
    """What a module's page shows."""
    return {f"page {title}": value for title, value in page_numbers.numbers_of(name).items()}


def case_now(name: str) -> Entries:
    """What is made by a module, or by a case that has a name of its own."""
    with held_constants():
        return {f"case {title}": value for title, value in cases.made(name).items()}


def now(name: str, known: Mapping[str, Any]) -> Entries:
    """All of it."""
    found: Entries = {}
    if name in answers.modules():
        found |= answers_now(name, known, anew=True)
    if name in computing_modules():
        found |= rules_now(name)
    if name in page_numbers.modules():
        found |= page_now(name)
    return found | (case_now(name) if name in cases.cases() else {})


def file_of(name: str, folder: Path | None = None) -> Path:
    """Where a module or a case is kept: with what else is of its chapter."""
    part, chapter, *_ = name.split(".", 2)
    return (folder or FOLDER) / part / f"{chapter}.json"


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def kept(name: str, folder: Path | None = None) -> Entries:
    """What is kept of a module or a case."""
    start = _start(name)
    file = _read(file_of(name, folder))
    return {key.removeprefix(start): told for key, told in file.items() if key.startswith(start)}


def _start(name: str) -> str:
    """How the entries of a module or a case begin, in the file of its chapter."""
    return f"{name.split('.', 2)[-1]}: "


def gone(there: Collection[str], folder: Path | None = None) -> dict[Path, set[str]]:
    """Entries of modules and cases that are not there any more, of each file that has some."""
    starts: dict[Path, set[str]] = {}
    for name in there:
        starts.setdefault(file_of(name, folder), set()).add(name.split(".", 2)[-1])
    found = {
        path: {key for key in _read(path) if key.partition(": ")[0] not in starts.get(path, ())}
        for path in (folder or FOLDER).glob("*/*.json")
    }
    return {path: keys for path, keys in found.items() if keys}


def write(
    found: Mapping[str, Entries],
    folder: Path | None = None,
    whole: bool = False,
    left: Mapping[Path, Collection[str]] | None = None,
) -> None:
    """Keep entries of modules and cases, a line for each; whole: and of no others. left: what goes
    of each file."""
    files: dict[Path, dict[str, Any]] = {}
    for name, entries in ((name, entries) for name, entries in found.items() if entries):
        path, start = file_of(name, folder), _start(name)
        held = files.setdefault(path, {} if whole else dict(_read(path)))
        for key in [key for key in held if key.startswith(start)]:
            del held[key]
        held.update({start + key: _rounded(told) for key, told in entries.items()})
    for path, keys in (left or {}).items():
        held = files.setdefault(path, dict(_read(path)))
        files[path] = {key: told for key, told in held.items() if key not in keys}
    for path in (folder or FOLDER).glob("*/*.json") if whole else ():
        if path not in files:
            path.unlink()
    for path, held in files.items():
        if not held:
            path.unlink()
            continue
        rows = (
            f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(held[key], ensure_ascii=False)}"
            for key in sorted(held)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    _read.cache_clear()


def _rounded(value: Any) -> Any:
    """A value with no more digits than are kept."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value


def unchanged(key: str, was: Any, now: Any) -> bool:
    """Whether an entry is the same, but for the last digits."""
    kind, _, title = key.partition(" ")
    if kind == "page" and title.startswith("slider_"):
        return same(was, now, ROUNDED)
    if kind == "page" and title.startswith("figure_"):
        return same(was, now, apart=APART)
    return same(was, now, apart=1e-9 if kind == "page" else answers.TINY)


def same(was: Any, now: Any, near: float = NEAR, apart: float = 1e-9) -> bool:
    """Whether two values are equal, but for the last digits of numbers that are no counts."""
    if isinstance(was, dict) and isinstance(now, dict):
        if was.keys() == now.keys() == {"of", "ends", "sum"}:
            ends = was["of"] == now["of"] and same(was["ends"], now["ends"], near, apart)
            return ends and abs(was["sum"] - now["sum"]) <= WEIGHT * near * was["of"]
        return was.keys() == now.keys() and all(same(was[k], now[k], near, apart) for k in was)
    if isinstance(was, list) and isinstance(now, list):
        pairs = zip(was, now, strict=False)
        return len(was) == len(now) and all(same(*pair, near, apart) for pair in pairs)
    if isinstance(was, bool) or isinstance(now, bool):
        return was is now
    if isinstance(was, int | float) and isinstance(now, int | float):
        counts = isinstance(was, int) and isinstance(now, int)
        return math.isclose(was, now, rel_tol=EXACT if counts else near, abs_tol=apart)
    if isinstance(was, str) and isinstance(now, str) and _NUMBER.search(was):
        words, others = _NUMBER.split(was), _NUMBER.split(now)
        numbers = (
            [int(number) if number.isdigit() else float(number) for number in _NUMBER.findall(text)]
            for text in (was, now)
        )
        return words == others and same(*numbers, near, apart)
    return bool(was == now)


def changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A line for each entry that is another, new or gone."""
    for key in [*now, *(key for key in was if key not in now)]:
        if key not in was:
            yield f"{key} is new: {_short(now[key])}"
        elif key not in now:
            yield f"{key} is gone, it was {_short(was[key])}"
        elif not unchanged(key, was[key], now[key]):
            yield f"{key} was {_short(was[key])} and is {_short(now[key])}"


def renewed(was: Mapping[str, Any], now: Mapping[str, Any]) -> Entries:
    """What is so now, in the digits that it had where it has not changed."""
    return {
        k: was[k] if k in was and unchanged(k, was[k], told) else told for k, told in now.items()
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:120]}…"


def changed_files() -> list[str]:
    """The files of modules, the builder, the author's tools and cases whose text has changed since
    something was kept; none where git cannot say.
    """
    places = (SOURCES, *TOOLS, "tests/*/cases.py")

    def git(*words: str) -> list[str]:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.split()

    last = git("log", "-1", "--format=%H", "--", FOLDER.relative_to(ROOT).as_posix())
    if not last:
        return []
    return git("diff", "--name-only", last[0], "--", *places) + git(
        "ls-files", "--others", "--exclude-standard", "--", *places
    )


def _imports(file: Path, name: str) -> bool:
    """Whether a file of tests imports a module."""
    text = _text(file)
    part, _, rest = name.rpartition(".")
    among = rf"from {PACKAGE}\.{re.escape(part)} import [^)]*\b{rest}\b"
    return f"from {PACKAGE}.{name} import" in text or bool(re.search(among, text))


@functools.cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def causes(name: str, changed: Collection[str]) -> list[str]:
    """Which of the files that have changed a module or a case is made of."""
    part = name.partition(".")[0]
    if f"{part}/" in TOOLS:
        return [file for file in changed if file.startswith(TOOLS)]
    cases_file = ROOT / "tests" / part / "cases.py"
    if name in answers.modules():
        made = {name}
    else:
        made = {one for one in answers.modules() if _imports(cases_file, one)}
    files = {cases_file.relative_to(ROOT).as_posix()} if name in cases.cases() else set()
    files |= {
        file.relative_to(ROOT).as_posix()
        for one in made
        for file in HERE.sources.dependencies(module_path(ROOT, one))[0]
    }
    return [file for file in changed if file in files]


def report(told: Mapping[str, list[str]]) -> str:
    """What has moved, by the files that have changed: first what is in such a file itself."""
    changed = changed_files()
    groups: dict[str, list[str]] = {}
    for name, moved in told.items():
        if moved:
            groups.setdefault(" and ".join(causes(name, changed)), []).append(name)
    text = []
    for why, members in sorted(groups.items(), key=lambda group: len(group[0])):
        count = sum(len(told[name]) for name in members)
        entries = f"{count} {'entry' if count == 1 else 'entries'} of {len(members)}"
        modules = "module" if len(members) == 1 else "modules"
        text.append(
            f"{why} has changed, and with it {entries} {modules}:"
            if why
            else f"no file that it is made of has changed, and yet {entries} {modules} has:"
        )
        for name in sorted(members, key=lambda name: name.replace(".", "/") not in why):
            text += [f"  {name}: {line}" for line in told[name][:MOST_LINES]]
            more = len(told[name]) - MOST_LINES
            text += [f"  {name}: and {more} more"] if more > 0 else []
    return "\n".join(text)


def main(arguments: list[str] | None = None) -> int:
    """Say what has moved, and keep it, and nothing else."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.keep", description=" ".join(str(__doc__).split("\n\n")[0].split())
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--new", action="store_true")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    chosen = [
        name
        for name in names()
        if (not options.new or not kept(name))
        and any(f"{name}.".startswith(f"{one}.") for one in options.names or [name])
    ]
    if options.names and not chosen:
        parser.error(f"there is no module, part or case {' '.join(options.names)}")
    answers.watched()
    warnings.simplefilter("ignore")
    found, told, failed = dict[str, Entries](), dict[str, list[str]](), False
    for name in chosen:
        was = kept(name)
        try:
            is_now = renewed(was, now(name, was))
        except Exception as problem:  # whatever it is, the others are asked
            found[name], told[name], failed = was, [f"cannot be asked: {problem!r}"[:300]], True
            continue
        told[name] = list(changes(was, is_now))
        for key in [key for key, value in is_now.items() if page_numbers.fails(value)]:
            failed = True
            del is_now[key]
            is_now |= {key: was[key]} if key in was else {}
        found[name] = is_now
    if any(told.values()):
        print(report(told))
    left = gone(names())
    for path, keys in sorted(left.items()):
        print(f"{path.relative_to(FOLDER)}: of modules that are gone: {len(keys)}")
    if not options.check:
        write(found, whole=len(chosen) == len(names()), left=left)
    return int(failed or (options.check and any((*told.values(), left))))


if __name__ == "__main__":
    end_in_order()
    sys.exit(main())
