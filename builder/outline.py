"""One reading of a module's text: its definitions and imports, whatever else of the project it
names, and a name for what it does.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from dataclasses import dataclass, field


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

    @property
    def module(self) -> str:
        """What `from` takes names from, with its leading dots; empty of a plain import."""
        return self.head.split()[1] if self.head.startswith("from ") else ""


@dataclass(frozen=True)
class Outline:
    """What is read in a file: definitions and imports of its top level, in their order, and more.
    Of what is not Python there is none.
    """

    behaviour: str  # changes with what it executes, not with comments, layout and docstrings
    reads_docstrings: bool  # whether it may look at docstrings
    symbols: dict[str, Symbol] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)  # lines that bind or change a name again
    imported: list[tuple[int, str, str]] = field(default_factory=list)  # anywhere: levels up,
    # module, and what of it, or ""


@functools.lru_cache(maxsize=1024)
def read(source: bytes) -> Outline:
    """Read a file, once for each text; of what is not Python, the text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return Outline(hashlib.sha256(source).hexdigest(), True)
    imported: list[tuple[int, str, str]] = []
    top = _top(tree)  # as it is written
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                imported += [(0, alias.name, "") for alias in names]
            case ast.ImportFrom(names=names, module=module, level=level):
                imported += [(level, module or "", alias.name) for alias in names]
            case (
                ast.Module(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
                | ast.ClassDef(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
                | ast.FunctionDef(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
            ):
                docstring.value = ast.Constant("")
    behaviour = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return Outline(behaviour, b"__doc__" in source, *top, imported)


def _top(tree: ast.Module) -> tuple[dict[str, Symbol], list[Import], dict[str, int]]:
    """The definitions, imports and changes of the top level."""
    found: dict[str, Symbol] = {}
    imports: list[Import] = []
    changed: dict[str, int] = {}
    for node in tree.body:
        names: list[str] = []
        first = node.lineno
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names = [node.name]
                first = min([first, *(decorator.lineno for decorator in node.decorator_list)])
            case ast.Assign():
                targets = [part for target in node.targets for part in ast.walk(target)]
                named = [part for part in targets if isinstance(part, ast.Name)]
                names = [part.id for part in named if isinstance(part.ctx, ast.Store)]
                changed |= {part.id: first for part in named if part.id not in names}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case ast.Import(names=given):
                bound = [(ast.unparse(a), a.asname or a.name.partition(".")[0]) for a in given]
                imports.append(Import(first, "import ", bound))
            case ast.ImportFrom(names=given):
                head = f"from {'.' * node.level}{node.module or ''} import "
                bound = [(ast.unparse(a), a.asname or a.name) for a in given]
                imports.append(Import(first, head, bound))
            case ast.Expr(ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
                changed[name] = first
            case _:
                stored = (part for part in ast.walk(node) if isinstance(part, ast.Name))
                changed |= {part.id: first for part in stored if isinstance(part.ctx, ast.Store)}
        changed |= {name: first for name in names if name in found}
        for name in names:
            found[name] = Symbol(first, node.end_lineno or first, sorted(_uses(node)))
    return found, imports, changed


def _uses(node: ast.AST) -> set[str]:
    """The names that code takes from around it: what a function calls its parameters is its own."""
    if isinstance(node, ast.Name):
        return {node.id}
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return set[str]().union(*map(_uses, ast.iter_child_nodes(node)))
    body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else [*node.body]
    own = {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}
    around = (part for part in ast.iter_child_nodes(node) if part not in body)
    return (set[str]().union(*map(_uses, body)) - own).union(*map(_uses, around))
