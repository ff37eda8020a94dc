"""Runs every snippet module once, caches what came out by content, and puts it into the pages.

It knows no chapter, and no snippet imports it. `python -m builder` runs the snippets, with
`--expand FOLDER` it writes the pages as plain Markdown, and the MkDocs hook (`hook.py`) hands the
same to MkDocs.
"""

import signal
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project: the folder that holds `snippets/`, `docs/` and `mkdocs.yml`."""

PACKAGE = "serving_mathematics"
"""The import package that the snippet modules are."""

SOURCES = f"snippets/{PACKAGE}"
"""Where the package lies in a project."""


class BuildError(Exception):
    """Something that the person who runs the build must mend; the message says what and where."""


class Missing(BuildError):
    """Nothing has a name, which a module may define that failed."""


ENDS = (signal.SIGTERM, signal.SIGHUP)  # signals that ask to end, and that Python does not hear


def end_in_order(asked: Iterable[int] = (signal.SIGINT, *ENDS)) -> None:
    """From now on, a process that is asked to end removes on its way out what it has written in
    part, and ends what it started.
    """

    def leave(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        sys.exit(128 + number)

    for number in asked:
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` has one
            signal.signal(number, leave)
