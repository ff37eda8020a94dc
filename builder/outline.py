"""A module's definitions and imports, read from its text."""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Symbol:
    """A function, class or constant of a module: its lines and the names it uses."""

    first_line: int
    last_line: int
    uses: list[str]


@dataclass(frozen=True)
class Import:
    """A top-level import: its line, the text before the names, each name as written and bound."""

    line: int
    head: str
    names: list[tuple[str, str]]


@dataclass(frozen=True)
class Outline:
    """A module's top-level definitions by name and its imports, in the order of the source."""

    symbols: dict[str, Symbol]
    imports: list[Import]

    def as_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for the run record."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Outline:
        """What `as_json` gave."""
        return cls(
            {name: Symbol(**symbol) for name, symbol in plain["symbols"].items()},
            [Import(**statement) for statement in plain["imports"]],
        )


@functools.lru_cache(maxsize=512)
def outline(source: str) -> Outline:
    """Read a module's text. Raises SyntaxError when it is not Python."""
    body = ast.parse(source).body
    used = ({n.id for n in ast.walk(node) if isinstance(n, ast.Name)} for node in body)
    return outlined(body, used)


def outlined(body: Iterable[ast.stmt], used: Iterable[Set[str]]) -> Outline:
    """The outline of a module's statements, with the names that each of them uses."""
    found: dict[str, Symbol] = {}
    imports: list[Import] = []
    for node, uses in zip(body, used, strict=True):
        names: list[str] = []
        first = node.lineno
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [node.name]
                first = min([first, *(decorator.lineno for decorator in node.decorator_list)])
            case ast.Assign():
                names = [
                    part.id
                    for target in node.targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
                ]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case ast.Import():
                bound = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
                written = [ast.unparse(alias) for alias in node.names]
                imports.append(Import(first, "import ", list(zip(written, bound, strict=True))))
            case ast.ImportFrom():
                bound = [alias.asname or alias.name for alias in node.names]
                written = [ast.unparse(alias) for alias in node.names]
                head = f"from {'.' * node.level}{node.module or ''} import "
                imports.append(Import(first, head, list(zip(written, bound, strict=True))))
        for name in names:
            found[name] = Symbol(first, node.end_lineno or first, sorted(uses))
    return Outline(found, imports)
