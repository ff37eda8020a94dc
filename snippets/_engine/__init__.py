"""Runs every snippet module once, caches what came out by content, and puts it into the pages.

It knows no chapter, and no snippet imports it. `python -m snippets._engine` runs the snippets; the
MkDocs hook (`hook.py`) calls the same functions and expands the directives of the pages.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project: the folder that holds `snippets/`, `docs/` and `mkdocs.yml`."""


class EngineError(Exception):
    """Something that the person who runs the build must mend; the message says what and where."""


def write_whole(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all, in a folder that is made if need be. Raises OSError."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
