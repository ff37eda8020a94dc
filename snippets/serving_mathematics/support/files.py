"""Files of a reader's, in and out: one reader with limits, and one writer that harms nothing.

What is read is a file or a pipe, at most so large, packed or not; text is UTF-8, JSON at most so
deep with every name once, a table of commas with every column once. What is written appears whole
or not at all, keeps the mode of the file that it replaces, and takes the place of nothing but a
plain file that this call has not read.

Source: RFC 8259, section 4 (names of an object should be unique) and section 9 (a parser may limit
size and depth); RFC 4180; RFC 1952, section 2.3.1; POSIX.1-2017, `rename`.
"""

from __future__ import annotations

import base64
import contextlib
import contextvars
import csv
import io
import json
import os
import re
import secrets
import stat
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 256 * 2**20  # of a file, as it lies and unpacked
MOST_DEPTH = 100  # of lists and objects inside one another
MOST_VALUES = 10_000_000  # of JSON, or cells of a table
MOST_ROWS = 1_000_000
MOST_COLUMNS = 10_000
MOST_IN_A_ROW = 100_000  # values of JSON, one after the other
_PIECE = 2**20
_GZIP = b"\x1f\x8b"
_OTHER_FORMS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip or a workbook",
    b"PAR1": "Parquet",
}
_JSON_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{]|[\]}]', re.DOTALL)
_FILE_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
_FILES_READ: contextvars.ContextVar[set[tuple[int, int]] | None] = contextvars.ContextVar(
    "_FILES_READ", default=None
)
_PIPES_READ: contextvars.ContextVar[dict[str, bytes]] = contextvars.ContextVar("_PIPES_READ")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = _standing_twice(name for name, _ in pairs)
        raise ValueError(f"{twice[:60]!r} must be given once, got it twice")
    return found


def _standing_twice(names: Iterable[str]) -> str:
    """The first of some names, blank ones passed over, that stood before; "" where none did."""
    seen: set[str] = set()
    for name in filter(None, names):
        if name in seen:
            return name
        seen.add(name)
    return ""


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= 1000 else digits


_JSON_DECODER = json.JSONDecoder(object_pairs_hook=_unique_names, parse_int=_whole_number)
_JSON_SPACE = " \t\r\n"
_BLANK = re.compile(rf"[{_JSON_SPACE}]*+")


@contextlib.contextmanager
def inputs_noted(given: Mapping[str, bytes] | None = None) -> Iterator[set[tuple[int, int]]]:
    """Notes which files are read while it is open, by device and number, so that none of them is
    written; and what pipes held, which may be asked for again. given: what else is read by its
    name, such as a file that a page was given."""
    found: set[tuple[int, int]] = set()
    token, pipes = _FILES_READ.set(found), _PIPES_READ.set(dict(given or {}))
    try:
        yield found
    finally:
        _FILES_READ.reset(token)
        _PIPES_READ.reset(pipes)


def file_bytes(name: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """The content of a file or pipe, unpacked where it is packed with gzip.

    name: its path, or "-" for standard input. most: bytes that it may have, packed and unpacked.
    Raises ValueError where it has more, is a folder or a device, or is packed and not whole;
    OSError where it cannot be read.
    """
    name = os.fspath(name)
    if not name or "\0" in name:
        raise ValueError(f"a file must have a name, got {name[:60]!r}")
    passed = _PIPES_READ.get({})
    raw = passed.get(name)  # a pipe gives what it holds once
    if raw is None:
        raw, again = _raw_bytes(name, most)
        if not again and len(raw) <= most:
            passed[name] = raw
    _require_small(name, len(raw), most)
    return unpacked(raw, name, most) if raw[:2] == _GZIP else raw


def _raw_bytes(name: str, most: int) -> tuple[bytes, bool]:
    """What a file or pipe holds, as far as one byte more than it may, and whether that can be read
    again."""
    noted = _FILES_READ.get()
    with contextlib.ExitStack() as stack:
        if name == "-":
            if sys.stdin is None:  # closed by whoever started it
                raise ValueError("-: must be open, got none")
            file: Any = sys.stdin.buffer
        else:
            file = stack.enter_context(Path(name).open("rb", buffering=0))
        kind = stat.S_IFIFO
        with contextlib.suppress(OSError, io.UnsupportedOperation):  # of a stream in memory
            found = os.fstat(file.fileno())
            kind = stat.S_IFMT(found.st_mode)
            if kind in (stat.S_IFCHR, stat.S_IFBLK):
                raise ValueError(f"{name}: must be a file or a pipe, got {_FILE_KINDS[kind]}")
            if noted is not None:
                noted.add((found.st_dev, found.st_ino))
        raw = bytearray()
        try:
            while len(raw) <= most and (part := file.read(_PIECE)):
                raw += part
        except OSError as problem:
            raise OSError(problem.errno, problem.strerror, name) from problem
    return bytes(raw), noted is None or kind == stat.S_IFREG


def _require_small(name: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"{name}: must be at most {_size_text(most)} large, got more")


def _size_text(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"


def unpacked(raw: bytes, name: str, most: int = MOST_BYTES) -> bytes:
    """What gzip packed, one part after the other, at most so much of it.

    raw: packed. name: what errors call it. most: bytes. Raises ValueError where there are more, and
    where it is not whole.

    >>> import gzip
    >>> unpacked(gzip.compress(b"a") + gzip.compress(b"b"), "x")
    b'ab'
    >>> unpacked(gzip.compress(bytes(10**6)), "bomb", most=1000)
    Traceback (most recent call last):
    ValueError: bomb: must be at most 1000 bytes unpacked, got more
    """
    found, rest = bytearray(), raw
    try:
        while rest[:2] == _GZIP:
            part = zlib.decompressobj(31)
            found += part.decompress(rest, most + 1 - len(found))
            if len(found) > most:
                raise ValueError(f"{name}: must be at most {_size_text(most)} unpacked, got more")
            if not part.eof:
                raise EOFError("an end too early")
            rest = part.unused_data
    except (zlib.error, EOFError) as error:
        raise ValueError(f"{name}: must be a whole gzip file, got {error}") from None
    if rest.strip(b"\0"):
        raise ValueError(f"{name}: must be a whole gzip file, got something after its end")
    return bytes(found)


def read_text(name: str | os.PathLike[str], most: int = MOST_BYTES) -> str:
    """The text of a file, without a mark of its bytes' order.

    name, most: as for file_bytes, which says what is raised; ValueError also where the text is not
    UTF-8.
    """
    return _decoded(file_bytes(name, most), os.fspath(name))


def base64_text(sent: str, name: str, most: int = MOST_BYTES) -> str:
    """The text of a file whose bytes a page sent, as read_text reads it where it lies.

    sent: its bytes in base64. name: what errors call it. most: bytes unpacked. Raises ValueError as
    read_text does, and where it is no base64.

    >>> base64_text("77u/YSxi", "x")
    'a,b'
    >>> base64_text("6Q==", "x")
    Traceback (most recent call last):
    ValueError: x: must be UTF-8 text, got unexpected end of data
    """
    raw = base64.b64decode(sent, validate=True)
    return _decoded(unpacked(raw, name, most) if raw[:2] == _GZIP else raw, name)


def _decoded(raw: bytes, name: str) -> str:
    """UTF-8 as text; a refusal of anything else, with what it looks like."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        hint = "; it looks like UTF-16: save it as UTF-8" if wide else ""
        form = next((form for begin, form in _OTHER_FORMS.items() if raw.startswith(begin)), "")
        hint = f"; it looks like {form}: unpack it, or save it as text" if form else hint
        raise ValueError(f"{name}: must be UTF-8 text, got {error.reason}{hint}") from None


def read_json(text: str) -> Any:
    """A value of JSON: every name of an object once, and not deeper or of more parts than a reader
    can hold.

    text: of the value. A whole number of more than 1000 digits stays text. Raises ValueError that
    names line and column.

    >>> read_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    >>> read_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: 'a' must be given once, got it twice
    >>> read_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: JSON must be at most 100 deep, got more
    """
    values = json_values(text)
    if len(values) != 1:
        raise ValueError(f"JSON must be one value, got {len(values)}")
    return values[0]


def json_values(text: str) -> list[Any]:
    """The values of JSON that stand one after the other.

    text: of all of them. Raises ValueError as read_json does.

    >>> json_values('{"a": 1}\\n[2]')
    [{'a': 1}, [2]]
    """
    require_shallow(text)
    values, place = [], 0
    text = text.removeprefix("\ufeff").strip(_JSON_SPACE)
    while place < len(text):
        try:
            value, place = _JSON_DECODER.raw_decode(text, place)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"{where} must be JSON, got: {error.msg}") from None
        values.append(value)
        if len(values) > MOST_IN_A_ROW:
            raise ValueError(f"JSON must be of at most {MOST_IN_A_ROW:,} values in a row, got more")
        blank = _BLANK.match(text, place)
        place = blank.end() if blank else place
    return values


def json_items(text: str) -> list[Any]:
    """The values of JSON that stand one after the other, and in the place of a list what is in it,
    if anything is.

    text: of all of them. Raises ValueError as read_json does.

    >>> json_items('{"a": 1}\\n[2, 3]\\n[]')
    [{'a': 1}, 2, 3, []]
    """
    values = json_values(text)
    lists = (value if isinstance(value, list) and value else [value] for value in values)
    return [one for some in lists for one in some]


def require_shallow(text: str) -> None:
    """Raise ValueError where JSON is deeper, or has more parts, than a parser should be given.

    text: of the value, which need not be right.

    >>> require_shallow('["[[[["]' + "[]" * 1000)
    """
    parts = text.count(",") + text.count("[") + text.count("{")
    if parts > MOST_VALUES:
        raise ValueError(f"JSON must be of at most {MOST_VALUES:,} values, got {parts:,}")
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return
    depth = 0
    for token in _JSON_TOKENS.finditer(text):
        first = token[0][0]
        depth += (first in "[{") - (first in "]}")
        if depth > MOST_DEPTH:
            raise ValueError(f"JSON must be at most {MOST_DEPTH} deep, got more")


def read_table(text: str, what: str, most: int = MOST_ROWS) -> list[list[str]]:
    """Rows of comma-separated values, the header first, without empty ones at the end.

    text: of the whole file. what: errors call it so. most: rows. Raises ValueError on another
    separator, a column that stands twice, quotes that do not end, and more rows or cells.

    >>> read_table("a,b\\n1,2\\n", "the log")
    [['a', 'b'], ['1', '2']]
    >>> read_table("a;b\\n1;2\\n", "the log")
    Traceback (most recent call last):
    ValueError: the log must be separated by commas, got a header with semicolons: 'a;b'
    """
    text = text.removeprefix("\ufeff")
    count = max(text.count("\n"), text.count("\r")) - 1  # below the header
    if count > most:
        raise ValueError(
            f"{what} must be of at most {most:,} rows, got about {count:,}: take rows in a row"
        )
    cells = text.count(",")
    if cells > MOST_VALUES:
        raise ValueError(f"{what} must be of at most {MOST_VALUES:,} cells, got {cells:,}")
    head = text.lstrip("\r\n").split("\n", 1)[0].strip("\r")
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if separator in head and head.count(separator) > head.count(","):
            rule = f"separated by commas, got a header with {name}"
            raise ValueError(f"{what} must be {rule}: {head[:60]!r}")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(f"{what} must be comma-separated values, got: {error}") from None
    while rows and not rows[-1]:
        rows.pop()
    header = [cell.strip() for cell in rows[0]] if rows else []
    if len(header) > MOST_COLUMNS:
        raise ValueError(f"{what} must have at most {MOST_COLUMNS:,} columns, got {len(header):,}")
    twice = _standing_twice(header)
    if twice:
        raise ValueError(f"{what} must have one column {twice[:60]!r}, got it twice")
    return rows


def require_output(name: str, option: str, inputs: Iterable[tuple[int, int]] = ()) -> Path:
    """The place where a file may be written, after a try; nothing is there but a plain file.

    name: of the file. option: what errors call it. inputs: from inputs_noted. Raises ValueError
    where the name is empty, its folder is not there, or a link, folder, device, pipe or one of the
    inputs has the place; OSError where nothing can be written there.
    """
    if not name or "\0" in name or name.endswith("/"):
        raise ValueError(f"{option} must name a file, got {name[:60]!r}")
    target = Path(name)
    if not target.parent.is_dir():
        raise ValueError(f"{option} must be in a folder that exists, got {name!r}")
    with _naming_file(name):
        there = _plain_target(target, option, name, set(inputs))
        if there is not None and not os.access(target, os.W_OK):
            raise PermissionError(13, "cannot be written: Permission denied")
        beside = _partial_path(target)
        try:
            os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        finally:
            beside.unlink(missing_ok=True)
    return target


def _partial_path(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(8)}.part")


def _plain_target(
    target: Path, option: str, name: str, inputs: set[tuple[int, int]]
) -> os.stat_result | None:
    try:
        there = target.lstat()
    except FileNotFoundError:
        return None
    kind = stat.S_IFMT(there.st_mode)
    if kind != stat.S_IFREG:
        got = f"{name!r}, which is {_FILE_KINDS.get(kind, 'something else')}"
        raise ValueError(f"{option} must be a plain file, or nothing yet, got {got}")
    if (there.st_dev, there.st_ino) in inputs:
        raise ValueError(f"{option} must be no file that is read, got {name!r}, which is one")
    return there


@contextlib.contextmanager
def _naming_file(name: str) -> Iterator[None]:
    """Errors name the file that was asked for, not one beside it."""
    try:
        yield
    except OSError as problem:
        told = (problem.strerror or "").removeprefix("cannot be written: ")
        raise OSError(problem.errno, f"cannot be written: {told}", name) from problem


def write_text(name: str, option: str, text: str, inputs: Iterable[tuple[int, int]] = ()) -> Path:
    """Write a file whole or not at all, with mode and owner of the one that was there.

    name, option, inputs: as for require_output, which says what is raised. text: of the file.
    """
    content = text.encode("utf-8", "backslashreplace")  # of a name that is no text
    return write_bytes(name, option, content, inputs)


def write_bytes(
    name: str, option: str, content: bytes, inputs: Iterable[tuple[int, int]] = ()
) -> Path:
    """The same of bytes.

    name, option, inputs: as for require_output. content: of the file.
    """
    target, taken = Path(name), set(inputs)
    with _naming_file(name):
        there = _plain_target(target, option, name, taken)
        beside = _partial_path(target)
        mode = stat.S_IMODE(there.st_mode) if there else 0o666
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if there:
                    with contextlib.suppress(OSError):  # of another's, without rights
                        os.chown(beside, there.st_uid, there.st_gid)
                    beside.chmod(mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)  # or a full disk is told after the name has changed
            _plain_target(target, option, name, taken)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    return target
