"""What can be known about a snippet module without running it: its symbols, its imports, its
digest.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snippets._engine import EngineError

ENGINE_FILES = (
    "worker.py",
    "figures.py",
)  # the part of the engine that decides what a run record holds


def module_names(root: Path) -> list[str]:
    """Every chapter module and every exercise module, as dotted names below `snippets`, sorted."""
    folder = root / "snippets"
    paths = [*folder.glob("[!_]*/[!_]*.py"), *folder.glob("[!_]*/exercises/[!_]*.py")]
    return sorted(".".join(path.relative_to(folder).with_suffix("").parts) for path in paths)


def module_path(root: Path, name: str) -> Path:
    """The file of a module, from its dotted name below `snippets`."""
    return root / "snippets" / Path(*name.split(".")).with_suffix(".py")


@dataclass(frozen=True)
class Symbol:
    """A function, class or constant of a module: where it stands, and its syntax tree."""

    name: str
    first_line: int
    last_line: int
    node: ast.stmt

    def text(self, source: str) -> str:
        """The lines of the definition, decorators included."""
        return "\n".join(source.splitlines()[self.first_line - 1 : self.last_line])


@functools.lru_cache(maxsize=512)
def parsed(source: str) -> ast.Module:
    """The syntax tree of a module's text, parsed once per text."""
    return ast.parse(source)


def symbols(tree: ast.Module) -> dict[str, Symbol]:
    """The top-level definitions of a module by name, in the order of the source."""
    found: dict[str, Symbol] = {}
    for node in tree.body:
        first = node.lineno
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [node.name]
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            case ast.Assign():
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        for name in names:
            found[name] = Symbol(name, first, node.end_lineno or first, node)
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, ast.alias, str]]:
    """Each top-level import as (statement, alias, the name it binds)."""
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                yield node, alias, alias.asname or alias.name.partition(".")[0]


def self_contained(source: str, names: Iterable[str]) -> str:
    """The named definitions with the imports and the definitions they need, ready for an empty
    file.
    """
    tree = parsed(source)
    defined = symbols(tree)
    needed: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in defined:
            pending += [n.id for n in ast.walk(defined[name].node) if isinstance(n, ast.Name)]
    kept: dict[int, tuple[ast.stmt, list[ast.alias]]] = {}
    for statement, alias, bound in _imports(tree):
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if bound in needed or future:
            kept.setdefault(statement.lineno, (statement, []))[1].append(alias)
    lines = []
    for statement, aliases in kept.values():
        if isinstance(statement, ast.ImportFrom):
            statement = ast.ImportFrom(statement.module, aliases, statement.level)
        else:
            statement = ast.Import(aliases)
        lines.append(ast.unparse(statement))
    spans = {(s.first_line, s.last_line): s for s in defined.values() if s.name in needed}
    blocks = ["\n".join(lines)] if lines else []
    blocks += [spans[span].text(source) for span in sorted(spans)]
    return "\n\n\n".join(blocks) + "\n"


def imported_modules(root: Path, path: Path) -> tuple[set[Path], set[str]]:
    """What a file imports anywhere in it: files of this project, and names of other packages."""
    local: set[Path] = set()
    others: set[str] = set()
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(root).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            targets = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for target in targets:
            top = target.partition(".")[0]
            if top == "snippets":
                parts = target.split(".")
                found = [
                    root / Path(*parts, "__init__.py"),
                    root.joinpath(*parts).with_suffix(".py"),
                ]
                local.update(file for file in found if file.is_file())
            elif top and top not in sys.stdlib_module_names:
                others.add(top)
    return local, others


def _parse(path: Path) -> ast.Module:
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as problem:
        line = getattr(problem, "lineno", None) or 1
        raise EngineError(f"{path}:{line}: {problem}") from problem


def dependencies(root: Path, path: Path) -> tuple[list[Path], list[str]]:
    """The project files a module is made of, itself included, transitively, and the packages they
    use.
    """
    files: set[Path] = set()
    packages: set[str] = {"numpy", "matplotlib"}
    pending = [path]
    while pending:
        current = pending.pop()
        if current in files:
            continue
        files.add(current)
        local, others = imported_modules(root, current)
        packages |= others
        pending += local
    return sorted(files), sorted(packages)


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        owners = importlib.metadata.packages_distributions().get(package, [])
        return ",".join(f"{owner} {importlib.metadata.version(owner)}" for owner in owners)


def digest(root: Path, name: str) -> str:
    """A name for everything that decides a module's run and is known before it runs."""
    path = module_path(root, name)
    files, packages = dependencies(root, path)
    engine = Path(__file__).parent
    files += [root / "snippets" / "house.mplstyle", *(engine / file for file in ENGINE_FILES)]
    hashed = hashlib.sha256(name.encode())
    hashed.update(f"python {platform.python_version()}".encode())
    for package in packages:
        hashed.update(f"{package} {_version(package)}".encode())
    for file in files:
        content = file.read_bytes()
        hashed.update(f"{file.name} {len(content)}\n".encode())
        hashed.update(content)
    return hashed.hexdigest()[:24]
