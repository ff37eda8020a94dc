"""Runs every snippet module once, caches what came out by content, and puts it into the pages.

It knows no chapter, and no snippet imports it. `python -m builder` runs the snippets, with
`--expand FOLDER` it writes the pages as plain Markdown, and the MkDocs hook (`hook.py`) hands the
same to MkDocs.
"""

import errno
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


def said_by(problem: OSError) -> str:
    """Of which file the system says what, and what to do where another process has the port.

    >>> said_by(FileNotFoundError(errno.ENOENT, "No such file or directory", "docs"))
    'docs: No such file or directory'
    """
    where = problem.filename2 or problem.filename  # a copy fails where it should be
    told = f"{where}: {problem.strerror}" if where else str(problem.strerror or problem)
    taken = problem.errno == errno.EADDRINUSE
    hint = "; name another: --dev-addr 127.0.0.1:8001, make serve ADDRESS=127.0.0.1:8001"
    return told + hint * taken


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
