"""Change one operator or number of a module, run the tests of that module, and see one fail.

A sample of such mutants over the chapters' modules and the builder says how much of what they
compute is asserted. `python benchmarks/mutants.py --seed 2 --sample 100` tries one mutant after the
other in a copy of the last commit, keeps what it found under .cache/mutants/ and goes on there when
it is started again at that commit; a mutant that lives is printed with its line. Some of those are
equivalent: no input tells them from the original. Which, says whoever reads them.

Source: DeMillo, Lipton and Sayward (1978), Hints on test data selection, for the method.
"""

from __future__ import annotations

import argparse
import ast
import functools
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # Python put only our folder there

from builder.source import SUPPORT, Sources, default_cache  # noqa: E402 (found by the line above)

SKIPPED = ("check_", "figure_", "main", "__repr__", "__str__")  # functions that are no mathematics
LARGE = 100_000  # a number to which one more makes no difference that is asserted is doubled
LIMIT_S = 240  # of the tests of one mutant; who takes longer is found by a time limit too
MEMORY_BYTES = 8 << 30  # a number in the wrong place may ask for all there is
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
BUILDER_TESTS = {  # of modules whose tests are not, or not all, in a file of their own name
    "runner": ("cache", "faults"),
    "worker": ("worker", "behaviour", "faults"),
    "outline": ("source", "pages"),
    "storage": ("cache", "page_cache"),
    "hook": ("hook", "page_cache", "serve", "build"),
    "configuration": ("configuration", "build"),
    "expansion": ("expansion", "build", "faults"),
    "pages": ("pages", "build"),
    "contracts": ("contracts", "chapter"),
    "directives": ("pages", "build"),
    "filling": ("pages", "build"),
    "markup": ("pages", "build"),
    "live": ("live", "build"),
    "notebooks": ("build", "notebook"),
    "scaffold": ("chapter",),
    "chapter_check": ("chapter",),
}
MADE_BY = {  # of a module whose work is kept under the name of one that has it do it
    "builder.configuration": "builder.pages",
    "builder.directives": "builder.pages",
    "builder.filling": "builder.pages",
    "builder.markup": "builder.pages",
    "builder.storage": "builder.runner",
    "builder.notebooks": "builder.expansion",
    "builder.outline": "builder.source",
    "builder.sliders": "builder.pages",
    "engine.completion_schema": "engine.engine_server",
    "engine.gguf_file": "engine.language_measurement",
    "engine.llama_model": "engine.language_measurement",
    "engine.load_prediction": "engine.engine_measurement",
    "engine.measured_loads": "engine.engine_measurement",
    "core.batching.step_costs": "engine.engine_measurement",
    "engine.token_engine": "engine.engine_measurement",
}
SHOWN = "tests/test_keep.py::test_no_number_of_a_page_changes_in_silence"
ANSWERS = "tests/test_keep.py::test_no_answer_changes_in_silence"
MADE = "tests/test_keep.py::test_nothing_made_changes_in_silence"
RULES = "tests/test_keep.py::test_no_rule_changes_in_silence_and_each_is_kept_to_the_letter"


@dataclass(frozen=True)
class Mutant:
    """One changed expression of a file: where it is, and what stands there instead."""

    file: str
    line: int
    column: int
    was: str
    now: str

    def source(self, text: str) -> str:
        """The text of the file with the change."""
        lines = text.splitlines(keepends=True)
        before = (
            "".join(lines[: self.line - 1]).encode() + lines[self.line - 1].encode()[: self.column]
        )
        rest = text.encode()[len(before) :]
        if not rest.startswith(self.was.encode()):
            raise ValueError(f"{self.file}:{self.line} must hold {self.was!r}")
        return (before + self.now.encode() + rest[len(self.was.encode()) :]).decode()


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Every mutant of a module: an operator for its neighbour, a number for the next, or for twice
    its value where it is large.

    file: its name in messages. text: its source.
    """
    tree, lines = ast.parse(text), text.splitlines(keepends=True)
    places: list[ast.AST] = [n for n in tree.body if not isinstance(n, ast.If)]
    while places:
        node = places.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith(SKIPPED):
                continue
            places += [*node.body, *node.args.defaults]
            continue
        if isinstance(node, ast.AnnAssign):
            places += [node.value] if node.value else []
            continue
        if isinstance(node, ast.Constant | ast.UnaryOp | ast.BinOp | ast.BoolOp | ast.Compare):
            was = _segment(lines, node)
            if changed := _changed(node, was):
                yield Mutant(file, node.lineno, node.col_offset, was, changed)
        if not isinstance(node, ast.JoinedStr):
            places += ast.iter_child_nodes(node)


def _segment(lines: list[str], node: ast.expr) -> str:
    """The text of an expression; the library's function splits the whole file each time."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    found = "".join(lines[first : last + 1]).encode()
    behind = len(lines[last].encode()) - (node.end_col_offset or 0)
    return found[node.col_offset : len(found) - behind].decode()


def _changed(node: ast.AST, was: str) -> str:
    """What stands in the place of an expression; empty where it is none of ours."""
    number = node.value if isinstance(node, ast.Constant) else None
    if isinstance(number, int | float) and not isinstance(number, bool):
        return f"({number + 1!r})" if abs(number) < LARGE else f"({2 * number!r})"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return f"({ast.unparse(node.operand)})"
    if not isinstance(node, ast.BinOp | ast.BoolOp | ast.Compare):
        return ""
    copy = ast.parse(f"({was})", mode="eval").body
    if isinstance(copy, ast.BinOp | ast.BoolOp) and type(copy.op) in OPERATORS:
        copy.op = OPERATORS[type(copy.op)]()  # type: ignore[assignment]  # one of the same kind
    elif isinstance(copy, ast.Compare) and type(copy.ops[0]) in OPERATORS:
        copy.ops[0] = OPERATORS[type(copy.ops[0])]()  # type: ignore[call-overload]  # the same
    else:
        return ""
    return f"({ast.unparse(copy)})"


@functools.cache
def _sources(root: Path) -> Sources:
    return Sources(root)


@functools.cache
def _kept_whole(root: Path) -> set[str]:
    found = set()
    for path in root.glob("tests/kept/*/*.json"):
        chapter = f"{path.parent.name}.{path.stem}"
        for key in json.loads(path.read_bytes()):
            name, _, rest = key.partition(": ")
            if rest.startswith("case "):
                found.add(chapter if name == path.stem else f"{chapter}.{name}")
    return found


def _is_module(name: str, root: Path) -> bool:
    path = f"{name.replace('.', '/')}.py"
    return (root / path).is_file() or (root / "snippets/serving_mathematics" / path).is_file()


def _made(name: str, root: Path) -> list[str]:
    """The tests that compare what a module makes of something small, or its part as a whole, where
    that is kept.
    """
    under, kept = MADE_BY.get(name, name), _kept_whole(root)
    part = f"{name.partition('.')[0]}."
    whole = [one for one in kept if one.startswith(part) and not _is_module(one, root)]
    found = [under] if under in kept else sorted(whole)
    return [f"{MADE}[{one}]" for one in found]


def tests_of(file: str, root: Path) -> list[str]:
    """The tests of a module, those first that take least: what its functions answer, the ranges
    that its messages name, what is made of something small, its test file, itself, for its checks,
    and what its page shows."""
    path, text = Path(file), (root / file).read_text(encoding="utf-8")
    if path.parts[0] in ("builder", "author"):
        names = BUILDER_TESTS.get(path.stem, (path.stem,))
        found = _made(f"{path.parts[0]}.{path.stem}", root)
        found += [f"tests/{part}test_{name}.py" for part in ("builder/", "") for name in names]
        found += [f"tests/test_{path.stem}.py"] if path.stem not in names else []
    else:
        part = path.relative_to("snippets/serving_mathematics").parent
        name = ".".join([*part.parts, path.stem])
        kinds = ("example(", "slider_", "figure_", "check_")
        shows = any(f"def {start}" in text for start in kinds) and not _sources(root).needs(name)
        ranges = [f"{RULES}[{name}]"] if not _sources(root).needs(name) else []
        kept = part.parts and part.parts[0] != SUPPORT  # of modules that a page may show
        found = [f"{ANSWERS}[{name}]", *ranges] if kept else []
        found += _made(name, root)
        own = Path("tests") / part / f"test_{path.stem}.py"
        found += [(own if (root / own).is_file() else own.parent).as_posix()]  # its folder's, else
        found += [f"tests/test_{path.stem}.py", file] if part.parts else []
        found += [f"{SHOWN}[{name}]"] if shows else []
    return [name for name in found if (root / name.partition("::")[0]).exists()]


def sample(root: Path, seed: int, count: int, under: str = "") -> list[Mutant]:
    """So many mutants at random, of all modules that have tests, or of those under a folder."""
    files = [
        *root.glob("snippets/serving_mathematics/**/*.py"),
        *root.glob("builder/*.py"),
        *root.glob("author/*.py"),
    ]
    found = []
    for path in sorted(files):
        name = path.relative_to(root).as_posix()
        skipped = path.name.startswith("_") or path.name == "exercises.py"
        if name.startswith(under) and not skipped and tests_of(name, root):
            found += list(mutants(name, path.read_text(encoding="utf-8")))
    return random.Random(seed).sample(found, min(count, len(found)))


def refuse_missing(files: Iterable[str], root: Path) -> None:
    """Raise RuntimeError where one of their tests is none: pytest would refuse it, mutant or no."""
    names = sorted({name for file in files for name in tests_of(file, root)})
    words = ["-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *names]
    found = subprocess.run(
        [sys.executable, *words], cwd=root, env=_environment(root), capture_output=True, text=True
    )
    if found.returncode:
        raise RuntimeError(f"{found.stdout[-2000:]}{found.stderr[-2000:]}")


def _environment(root: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{root / 'snippets'}{os.pathsep}{root}"}


def outcome(mutant: Mutant, root: Path) -> str:
    """killed, lived, or slow, after the tests in a copy of the project."""
    file = root / mutant.file
    text = file.read_text(encoding="utf-8")
    words = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(mutant.file, root)]
    try:
        file.write_text(mutant.source(text), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=root,
            env=_environment(root),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return "killed" if process.wait(LIMIT_S) else "lived"
        except subprocess.TimeoutExpired:
            return "slow"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    finally:
        file.write_text(text, encoding="utf-8")


def copied(folder: Path) -> Path:
    """The last commit, in a folder of its own that tests may write to, and the run records."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    if (records := default_cache(ROOT)).is_dir():
        shutil.copytree(records, default_cache(folder))
    return folder


def main() -> None:
    """Try the sample, or what is left of it, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--under", default="", metavar="FOLDER", help="such as builder/")
    parser.add_argument(
        "--seconds", type=float, default=1e9, help="then stop; the next call goes on"
    )
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))  # the children's too
    words = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    name = f"{commit.strip()}-{options.seed}{options.under.replace('/', '-')}"
    folder = ROOT / ".cache" / "mutants" / name
    found, tree = folder / "found.jsonl", folder / "tree"
    if not found.exists():
        folder.mkdir(parents=True, exist_ok=True)
        copied(tree)
        found.touch()
    known = [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()]
    drawn = sample(tree, options.seed, options.sample, options.under)[len(known) :]
    if drawn:
        refuse_missing((mutant.file for mutant in drawn), tree)
    began = time.monotonic()
    for mutant in drawn:
        if time.monotonic() - began > options.seconds:
            break
        known.append(asdict(mutant) | {"outcome": outcome(mutant, tree)})
        with found.open("a", encoding="utf-8") as lines:
            print(json.dumps(known[-1]), file=lines)
    for row in known:
        if row["outcome"] == "lived":
            print(f"{row['file']}:{row['line']}: {row['was']!r} -> {row['now']}")
    print(f"{len(known)} of {options.sample}: {dict(Counter(row['outcome'] for row in known))}")


if __name__ == "__main__":
    main()
