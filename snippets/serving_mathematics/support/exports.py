"""A package that is an index: what its page teaches, imported where it is asked for.

Importing one module of a chapter must not import the others, some of which need packages that may
be absent.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def exported(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """`__all__`, `__getattr__` and `__dir__` of a package.

    package: its `__name__`. names: what it exports, by the dotted name of the module.
    """
    home = {name: module for module, listed in names.items() for name in listed}

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"serving_mathematics.{home[name]}"), name)

    return sorted(home), find, lambda: sorted(home)
