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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from builder import PACKAGE
from builder.outline import outlined

REFLECTING = {"globals", "locals", "vars", "eval", "exec", "__import__", "modules", "importlib"}
_DOCUMENTED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
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
    outline: dict[str, Any]  # as plain lists and dictionaries

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
        return Content(whole, whole, [], {}, {}, {}, [], True, outlined([], []).as_json())
    if not documented:
        _silenced(tree.body)
    parts = [_Part(node, documented) for node in tree.body]
    functions = {part.node.name: part for part in parts if isinstance(part.node, ast.FunctionDef)}
    waiting = [part for part in functions.values() if _waits(part.node)]
    if len(functions) < sum(isinstance(part.node, ast.FunctionDef) for part in parts):
        waiting = []  # one name, two functions: which is called depends on when
    heads = [head for part in waiting for head in (*part.node.decorator_list, part.node.args)]
    asleep = {id(part) for part in waiting}
    executed = [part for part in parts if id(part) not in asleep]
    executed += [_Part(head, documented=True) for head in heads]  # of what is defined
    names = set().union(*(part.names for part in parts))
    bound: dict[str, list[Bound]] = {}
    for part in parts:
        for name, one in part.bound:
            bound.setdefault(name, []).append(one)
    return Content(
        whole=_hash(parts),
        always=_hash(executed),
        always_uses=_uses(executed),
        functions={part.node.name: _hash([part]) for part in waiting},
        uses={part.node.name: _uses([part]) for part in waiting},
        bound=bound,
        mentioned=_mentioned(text for part in parts for text in part.strings),
        opaque=bool(REFLECTING & (names | bound.keys())),
        outline=outlined(tree.body, [part.variables for part in parts]).as_json(),
    )


class _Part:
    """A statement of a file, or what stands in it: its syntax tree as text, and what is in it."""

    def __init__(self, node: Any, documented: bool) -> None:
        self.node, self.documented = node, documented
        self.names: set[str] = set()  # variables and attributes
        self.variables: set[str] = set()
        self.bound: list[tuple[str, Bound]] = []
        self.strings: list[str] = []
        self._told: list[str] = []
        self._read(node)
        self.names.update(self.variables)
        self.dump = ",".join(self._told)

    def _read(self, node: Any) -> None:
        """Once through all of it, as all of the project is read before the first module runs."""
        if isinstance(node, ast.Name):
            self.variables.add(node.id)
        elif isinstance(node, ast.Attribute):
            self.names.add(node.attr)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self.strings.append(node.value)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self.bound.extend(_bound(node))
        elif not self.documented and isinstance(node, _DOCUMENTED):
            _silenced(node.body)
        told = self._told
        told.append(type(node).__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                told.append("[")
                for one in value:
                    if isinstance(one, ast.AST):
                        self._read(one)
                    else:
                        told.append(repr(one))
                told.append("]")
            elif not isinstance(value, ast.AST):
                told.append(repr(value))
            elif not isinstance(value, ast.expr_context):  # as its place says
                self._read(value)


def _silenced(body: list[ast.stmt]) -> None:
    """An empty docstring in the place of what is written."""
    match body:
        case [ast.Expr(ast.Constant(str())) as docstring, *_]:
            docstring.value = ast.Constant("")


def _waits(node: ast.FunctionDef) -> bool:
    """Whether nothing but a call by its name executes a function."""
    if node.name.startswith("__"):
        return False
    decorators = (n for one in node.decorator_list for n in ast.walk(one))
    return {n.id for n in decorators if isinstance(n, ast.Name)} <= PLAIN


def _hash(parts: Iterable[_Part]) -> str:
    return hashlib.sha256("\n".join(part.dump for part in parts).encode()).hexdigest()


def _uses(parts: Iterable[_Part]) -> list[str]:
    return sorted(set().union(*(part.variables for part in parts)))


def _bound(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Bound]]:
    """What an import binds."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield alias.asname or alias.name.partition(".")[0], Bound(0, alias.name, "")
        else:
            yield alias.asname or alias.name, Bound(node.level, node.module or "", alias.name)


def _mentioned(strings: Iterable[str]) -> list[str]:
    """Modules that may be started by their names, as a process of their own is."""
    texts = (text for text in strings if PACKAGE in text)
    words = {word.strip("\"'`,;:()") for text in texts for word in text.split()}
    return sorted(word for word in words if word.startswith(f"{PACKAGE}."))
