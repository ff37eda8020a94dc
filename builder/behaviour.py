"""What of the project's files executes when a module runs: all of the module, and of the files that
it imports what importing them executes and the functions that can be reached from there.

A result does not depend on the rest, so that an edited figure runs again alone, and an edited
function with those that use it.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from builder import PACKAGE

REFLECTING = {"globals", "locals", "vars", "eval", "exec", "__import__", "modules", "importlib"}
PLAIN = {"functools", "cache", "lru_cache", "contextlib", "contextmanager"}  # register nothing


@dataclass(frozen=True)
class Bound:
    """A name that an import binds: of a module, found at so many levels up, what; "" for the module
    itself.
    """

    level: int
    module: str
    what: str


@dataclass(frozen=True)
class Content:
    """What a file does, in names for its parts: the whole, what its import executes, and each
    function that executes when it is called only.
    """

    whole: str
    always: str
    always_uses: list[str]
    functions: dict[str, str]
    uses: dict[str, list[str]]  # by function
    bound: dict[str, list[Bound]]
    mentioned: list[str]  # modules of the package in its strings
    opaque: bool  # whether it may reach functions without their names

    def as_bytes(self) -> bytes:
        """For the cache."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_bytes(cls, kept: bytes) -> Content:
        """What `as_bytes` gave."""
        plain = json.loads(kept)
        bound = {name: [Bound(**one) for one in all_] for name, all_ in plain["bound"].items()}
        return cls(**plain | {"bound": bound})


@functools.lru_cache(maxsize=1024)
def content_of(source: bytes, documented: bool) -> Content:
    """Read a file. Comments and layout do not count, and docstrings only where documented; of what
    is not Python, the text.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        whole = hashlib.sha256(source).hexdigest()
        return Content(whole, whole, [], {}, {}, {}, [], opaque=True)
    nodes = list(ast.walk(tree))
    for node in () if documented else nodes:
        match node:
            case (
                ast.Module(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
                | ast.ClassDef(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
                | ast.FunctionDef(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(ast.Constant(str())) as docstring, *_])
            ):
                docstring.value = ast.Constant("")
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and _waits(node)]
    functions = {node.name: node for node in defined}
    if len(functions) < len(defined):  # one name, two functions: which is called depends on when
        functions = {}
    waiting = {id(node) for node in functions.values()}
    executed: list[ast.AST] = [node for node in tree.body if id(node) not in waiting]
    for node in functions.values():  # its head is executed with the import
        executed += [*node.decorator_list, node.args]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    bound = _bound(nodes)
    return Content(
        whole=_hash([tree]),
        always=_hash(executed),
        always_uses=_uses(executed),
        functions={name: _hash([node]) for name, node in functions.items()},
        uses={name: _uses([node]) for name, node in functions.items()},
        bound=bound,
        mentioned=_mentioned(nodes),
        opaque=bool(REFLECTING & (names | bound.keys())),
    )


def _waits(node: ast.FunctionDef) -> bool:
    """Whether nothing but a call by its name executes a function."""
    if node.name.startswith("__"):
        return False
    return all(set(_uses([decorator])) <= PLAIN for decorator in node.decorator_list)


def _hash(nodes: Iterable[ast.AST]) -> str:
    return hashlib.sha256("\n".join(map(ast.dump, nodes)).encode()).hexdigest()


def _uses(nodes: Iterable[ast.AST]) -> list[str]:
    return sorted({n.id for top in nodes for n in ast.walk(top) if isinstance(n, ast.Name)})


def _bound(nodes: Iterable[ast.AST]) -> dict[str, list[Bound]]:
    """What every import anywhere in the file binds."""
    found: dict[str, list[Bound]] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.partition(".")[0]
                found.setdefault(name, []).append(Bound(0, alias.name, ""))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound = Bound(node.level, node.module or "", alias.name)
                found.setdefault(alias.asname or alias.name, []).append(bound)
    return found


def _mentioned(nodes: Iterable[ast.AST]) -> list[str]:
    """Modules that may be started by their names, as a process of their own is."""
    constants = (node.value for node in nodes if isinstance(node, ast.Constant))
    strings = (value for value in constants if isinstance(value, str) and PACKAGE in value)
    words = {word.strip("\"'`,;:()") for text in strings for word in text.split()}
    return sorted(word for word in words if word.startswith(f"{PACKAGE}."))
