"""Runs every snippet module once, caches what came out by content, and puts it into the pages.

It knows no chapter, and no snippet imports it. `python -m snippets._engine` runs the snippets; the
MkDocs hook (`hook.py`) calls the same functions and expands the directives of the pages.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project: the folder that holds `snippets/`, `docs/` and `mkdocs.yml`."""


class EngineError(Exception):
    """Something that the person who runs the build must mend; the message says what and where."""
