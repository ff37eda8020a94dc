"""What a build writes: files and folders, whole or not at all, and, in the cache, found under the
key that they were made for only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from builder import BuildError


def write_whole(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all, in a folder that is made if need be. Raises OSError that
    names it.
    """
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    except OSError as problem:  # of a full disk, Python does not say which file it was
        raise OSError(problem.errno, problem.strerror, str(file)) from problem
    finally:
        unfinished.unlink(missing_ok=True)


def as_file(file: Path, content: bytes) -> Path:
    """A file that has this content: written unless it has, since a full cache may be read-only."""
    if not file.is_file() or file.read_bytes() != content:
        write_whole(file, content)
    return file


UNFINISHED = ".new-"  # begins the name of what `renewed` writes in, and a killed process leaves


@contextlib.contextmanager
def renewed(folder: Path) -> Iterator[Path]:
    """An empty folder for what shall be in another, where it gets when all of it is written; when
    something fails, that one stays as it is. Raises OSError, and BuildError when another process is
    writing there.
    """
    # in the same file system, and gone with the next one
    fresh = folder / f"{UNFINISHED}{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        try:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            yield fresh
            written, before = sorted(fresh.iterdir()), fresh / ".old"
            before.mkdir()
            moves = [(old, before / old.name) for old in folder.iterdir() if old != fresh]
            moves += [(new, folder / new.name) for new in written]
            try:
                for source, target in moves:
                    source.rename(target)
            except BaseException:
                for source, target in reversed(moves):
                    if not os.path.lexists(source):
                        target.rename(source)
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
            with contextlib.suppress(OSError):  # unless there is something in it
                folder.rmdir()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Write in a folder while no other process does, or raise BuildError."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BuildError(f"another process is writing {folder}; wait until it ends") from None
    finally:
        os.close(held)


def remember(file: Path, key: str, content: bytes) -> None:
    """Keep something under a key, which stands for all that it is made of; not where nothing can be
    written.
    """
    with contextlib.suppress(OSError):
        write_whole(file, sealed(key, content))


def recall(file: Path, key: str) -> bytes:
    """What was kept under a key; empty where there is none, or it is damaged."""
    try:
        whole = file.read_bytes()
    except OSError:
        return b""
    _, _, content = whole.partition(b"\n")
    return content if whole == sealed(key, content) else b""


def sealed(key: str, content: bytes) -> bytes:
    """What is kept under a key, below a line that tells of any damage."""
    return hashlib.sha256(key.encode() + b"\n" + content).hexdigest().encode() + b"\n" + content
