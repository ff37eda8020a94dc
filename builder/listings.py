"""What of a listing is beside its algorithm: a page folds it, and shows it on a click."""

from __future__ import annotations

import ast
import re

REFUSES = ("ValueError", "TypeError")
_RULE = re.compile(r"require(_\w+)?|as_(number|numbers|floats)|widen_fields")  # require.py


def beside_the_algorithm(text: str) -> list[int]:
    """The lines of a listing that a reader of its algorithm can leave out, from 1: of docstrings
    what follows the first sentence, and statements that only check arguments, with their comments.
    """
    lines, found = text.split("\n"), set[int]()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        given = [] if isinstance(node, ast.ClassDef) else ast.walk(node.args)
        arguments = {arg.arg for arg in given if isinstance(arg, ast.arg)}
        first, *_ = node.body
        if ast.get_docstring(node, clean=False):
            last = first.end_lineno or first.lineno
            inside = range(first.lineno, last + 1)
            ends = (n for n in inside if lines[n - 1].rstrip('" ').endswith((".", "!", "?", ":")))
            found.update(range(next(ends, first.lineno) + 1, last + 1))
        for statement in node.body:
            if not _checks_only(statement, arguments):
                continue
            start = statement.lineno
            while lines[start - 2].lstrip().startswith("#"):
                start -= 1
            found.update(range(start, (statement.end_lineno or start) + 1))
    return sorted(found)


def _checks_only(statement: ast.stmt, arguments: set[str], *, inside: bool = False) -> bool:
    """Whether a statement does nothing but refuse arguments, or widen them under their names.

    inside: of one that decides about it.
    """
    match statement:
        case ast.If(orelse=[], body=body) | ast.For(orelse=[], body=body):
            return all(_checks_only(one, arguments, inside=True) for one in body)
        case ast.Raise(exc=ast.Name(id=name) | ast.Call(func=ast.Name(id=name))):
            return inside and name in REFUSES
        case ast.Expr(value=ast.Call(func=ast.Name(id=name))):
            return bool(_RULE.fullmatch(name))
        case ast.Assign(targets=[target], value=ast.Call(func=ast.Name(id=name))):
            bound = {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
            return bool(_RULE.fullmatch(name)) and bound <= arguments
    return False
