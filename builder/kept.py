"""Files of the cache: whole or not there, and found under the key that they were made for only."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all, in a folder that is made if need be. Raises OSError."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def write_changed(file: Path, content: bytes) -> None:
    """Write a file as `write_whole` does, unless it holds this already: its time says when it last
    changed. Raises OSError.
    """
    try:
        if file.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    write_whole(file, content)


def remember(file: Path, key: str, content: bytes) -> None:
    """Keep something under a key, which stands for all that it is made of; not where nothing can be
    written.
    """
    with contextlib.suppress(OSError):
        write_whole(file, _seal(key, content) + content)


def recall(file: Path, key: str) -> bytes:
    """What was kept under a key; empty where there is none, or it is damaged."""
    try:
        whole = file.read_bytes()
    except OSError:
        return b""
    _, _, content = whole.partition(b"\n")
    return content if whole == _seal(key, content) + content else b""


def made_once(file: Path, key: str, make: Callable[[], bytes]) -> bytes:
    """What was kept under a key, or is made now and kept."""
    if found := recall(file, key):
        return found
    content = make()
    remember(file, key, content)
    return content


def _seal(key: str, content: bytes) -> bytes:
    """The first line of the file."""
    return hashlib.sha256(key.encode() + b"\n" + content).hexdigest().encode() + b"\n"
