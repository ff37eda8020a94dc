"""Files in and out: limits of what is read, and nothing lost by what is written."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.support import files
from serving_mathematics.support.files import (
    base64_text,
    file_bytes,
    inputs_noted,
    json_items,
    json_values,
    read_json,
    read_table,
    read_text,
    require_output,
    require_shallow,
    unpacked,
    write_text,
)

from builder import ROOT

compressed = functools.partial(gzip.compress, mtime=0)  # the same bytes at any time


def test_a_file_a_pipe_and_a_packed_file_are_read(tmp_path: Path) -> None:
    file, packed, pipe = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    file.write_bytes(b"\xef\xbb\xbfone")
    packed.write_bytes(compressed(b"o") + compressed(b"ne") + bytes(9))  # padded, as of tapes
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("one",))
    writer.start()
    assert [read_text(str(path)) for path in (file, packed, pipe)] == ["one"] * 3
    writer.join()
    assert read_text(file) == "one"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(101), "must be at most 100 bytes large, got more"),
        (compressed(bytes(101)), "must be at most 100 bytes unpacked, got more"),
        (compressed(bytes(60)) + compressed(bytes(60)), "at most 100 bytes unpacked"),
        (compressed(b"one")[:-4], "must be a whole gzip file, got an end too early"),
        (compressed(b"one") + b"two", "a whole gzip file, got something after its end"),
        (compressed(b"one")[:8] + bytes(20), "must be a whole gzip file"),
        (b"\xff\xfeo", "must be UTF-8 text, got invalid start byte"),
        (b"\x28\xb5\x2f\xfd\x04", "it looks like zstd: unpack it"),
    ],
)
def test_what_is_too_much_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file}: .*{words}"):
        read_text(str(file), 100)


def test_a_file_may_be_as_large_as_it_may(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(100))
    assert file_bytes(str(file), 100) == bytes(100)
    file.write_bytes(compressed(bytes(100)))
    assert file_bytes(str(file), 100) == bytes(100)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_no_file(name: str) -> None:
    with contextlib.suppress(OSError), pytest.raises(ValueError, match="a pipe, got a device"):
        file_bytes(name)


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match=r"\[Errno \d+\] .*: '/proc/self/mem'"):
        file_bytes("/proc/self/mem")


def test_a_folder_and_nothing_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        file_bytes(str(tmp_path))
    for name in ("", "a\0b"):
        with pytest.raises(ValueError, match="a file must have a name"):
            file_bytes(name)


@given(st.binary(max_size=60))
def test_what_a_page_sends_is_read_as_it_lies(content: bytes) -> None:
    sent = base64.b64encode(gzip.compress(content)).decode()
    try:
        assert base64_text(sent, "x") == content.decode("utf-8-sig")
    except ValueError as refusal:
        assert str(refusal).startswith("x: must be UTF-8 text")  # noqa: PT017 (or it is read)
    with pytest.raises(ValueError, match="at most 3 bytes unpacked"):
        base64_text(base64.b64encode(gzip.compress(b"four")).decode(), "x", 3)


def test_a_bomb_costs_no_more_than_its_limit() -> None:
    """8 MB that would be 8 GB, in the memory of a few limits."""
    bomb = compressed(bytes(2**26)) * 128
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="must be at most 16 MiB unpacked"):
        unpacked(bomb, "a bomb", 2**24)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    "text", ["[" * 10**6, '{"a":' * 10**6, "[" * 101 + "]" * 101, '["]",' * 101]
)
def test_deep_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="JSON must be at most 100 deep"):
        read_json(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' must be given once, got it twice"),
        ("1 2", "JSON must be one value, got 2"),
        ("", "JSON must be one value, got 0"),
        ("[1,\n2,,]", "line 2, column 3 must be JSON"),
        ("[" + "1," * 11 + "1]", "JSON must be of at most 10 values, got 12"),
    ],
)
def test_other_json_is_refused(text: str, words: str) -> None:
    with (
        mock.patch.object(files, "MOST_VALUES", 10),
        pytest.raises(ValueError, match=words),
    ):
        read_json(text)


def test_brackets_in_text_are_not_deep() -> None:
    quotes = json.dumps({'"[[' * 200: ['\\"[' * 200]})
    assert read_json(quotes) == json.loads(quotes)
    assert read_json("[" * 100 + "]" * 100)
    assert read_json("9" * 1001) == "9" * 1001
    assert json_values("\ufeff 1 [2]\n") == [1, [2]]
    assert json_items("\ufeff 1 [2, [3]]\n[]") == [1, 2, [3], []]


@given(st.recursive(st.text(max_size=4) | st.integers(), lambda x: st.lists(x, max_size=3)))
def test_json_reads_as_the_standard_library_does(value: object) -> None:
    text = json.dumps([value] * 3)
    assert read_json(text) == json.loads(text)


@given(st.text(alphabet='[]{}"\\a', max_size=40))
def test_depth_is_never_more_than_is_open(text: str) -> None:
    with mock.patch.object(files, "MOST_DEPTH", 3):
        try:
            value = json.loads(text)
        except ValueError:
            with contextlib.suppress(ValueError):
                require_shallow(text)
            return
        deep = depth(value) > 3
        if deep:
            with pytest.raises(ValueError, match="at most 3 deep"):
                require_shallow(text)
        else:
            require_shallow(text)


def depth(value: object) -> int:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inside), default=0)
    return 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a;b\n1;2\n", "must be separated by commas, got a header with semicolons: 'a;b'"),
        ("a\tb\n1\t2\n", "must be separated by commas, got a header with tabs"),
        ("a|b\n", "must be separated by commas, got a header with bars"),
        ("a,b, a\n1,2,3\n", "the log must have one column 'a', got it twice"),
        ('a,b\n"1,2\n', "must be comma-separated values, got: unexpected end"),
        ("a\n" * 7, "must be of at most 4 rows, got about 6"),
        ("a\r" * 7, "must be of at most 4 rows, got about 6"),
        ("a," * 9, "must be of at most 8 cells, got 9"),
        ("a,b,c,d,e,f,g", "must have at most 6 columns, got 7"),
    ],
)
def test_other_tables_are_refused(text: str, words: str) -> None:
    with (
        mock.patch.object(files, "MOST_VALUES", 8),
        mock.patch.object(files, "MOST_COLUMNS", 6),
        pytest.raises(ValueError, match=words),
    ):
        read_table(text, "the log", 4)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (
            lambda text: read_table(text, "x"),
            ",".join(map(str, range(200_000))),
            "at most 10,000 col",
        ),
        (lambda text: read_table(text, "x"), ",".join([*map(str, range(9999)), "7"]), "column '7'"),
        (read_json, "{" + '"a":1,' * 200_000 + '"b":2}', "'a' must be given once, got it twice"),
        (read_json, "1 " * 300_000, "at most 100,000 values in a row, got more"),
        (read_json, "1" + " " * 5_000_000 + "x", "column 5000002 must be JSON"),
    ],
)
def test_what_is_wide_is_refused_at_once(
    read: Callable[[str], object], text: str, words: str
) -> None:
    """In work that grows as the text does, and no faster: 0.1 s of these, not hours."""
    with pytest.raises(ValueError, match=words):
        read(text)


def test_a_table_reads_as_it_stands() -> None:
    assert read_table('\ufeffa,"b;c",,\r\n1,"2\n3",,\n\n\n', "x") == [
        ["a", "b;c", "", ""],
        ["1", "2\n3", "", ""],
    ]
    assert read_table("", "x") == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kinds(folder: Path) -> list[tuple[Path, str]]:
    """What is there and is no plain file."""
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("real")
    (folder / "real").write_text("kept")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    told_of = {"folder": "a folder", "link": "a link", "loop": "a link", "pipe": "a pipe"}
    return [
        *((folder / name, told) for name, told in told_of.items()),
        (Path("/dev/null"), "a device"),
    ]


def test_only_a_plain_file_is_replaced(tmp_path: Path) -> None:
    for path, told in kinds(tmp_path):
        for write in (require_output, lambda name, option: write_text(name, option, "x")):
            with pytest.raises(ValueError, match=f"--out must be a plain .*, which is {told}$"):
                write(str(path), "--out")
    assert (tmp_path / "real").read_text() == "kept"
    assert Path("/dev/null").is_char_device()


def test_no_file_that_was_read_is_written(tmp_path: Path) -> None:
    file, other, third = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    file.write_text("kept")
    third.write_text("old")
    other.hardlink_to(file)
    with inputs_noted() as inputs:
        read_text(str(file))
        with inputs_noted() as none:
            pass
    assert none == set()
    for path in (file, other):
        with pytest.raises(ValueError, match="--out must be no file that is read"):
            write_text(str(path), "--out", "x", inputs)
    write_text(str(third), "--out", "new", inputs)
    assert [path.read_text() for path in (file, other, third)] == ["kept", "kept", "new"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o755])
def test_mode_and_bytes_are_kept(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old")
    file.chmod(mode)
    write_text(str(file), "--out", "é\r\n")
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert file.read_bytes() == b"\xc3\xa9\r\n"
    assert names(tmp_path) == ["a"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """By the limit of a file's size, which the system enforces as it does that of a disk."""
    file = tmp_path / "a"
    file.write_text("old")
    words = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "from serving_mathematics.support.files import write_text\n"
        "try: write_text('a', '--out', 'x' * 10000)\n"
        "except OSError as problem: print(problem.filename, problem.strerror)"
    )
    done = subprocess.run(
        [sys.executable, "-c", words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "snippets")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "a cannot be written: File too large\n"
    assert names(tmp_path) == ["a"]
    assert file.read_text() == "old"


def test_an_interrupted_write_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("old")
    with (
        mock.patch.object(os, "fsync", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        write_text(str(file), "--out", "new")
    assert names(tmp_path) == ["a"]
    assert file.read_text() == "old"


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    for name in ("", "a/", "a\0"):
        with pytest.raises(ValueError, match="--out must name a file"):
            require_output(name, "--out")
    with pytest.raises(ValueError, match="--out must be in a folder that exists"):
        require_output(str(tmp_path / "none" / "a"), "--out")
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        require_output(str(tmp_path / ("a" * 300)), "--out")
    with (
        mock.patch.object(os, "access", return_value=False),
        pytest.raises(PermissionError, match="cannot be written: Permission denied"),
    ):
        require_output(write_text(str(tmp_path / "a"), "--out", "").as_posix(), "--out")
    assert names(tmp_path) == ["a"]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a")
        file.write_bytes(content)
        with contextlib.suppress(ValueError):
            text = read_text(str(file))
            for read in (read_json, lambda x: read_table(x, "a table")):
                with contextlib.suppress(ValueError):
                    read(text)


def test_a_pipe_is_read_as_often_as_it_is_asked_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("one",))
    writer.start()
    with files.inputs_noted():
        assert [read_text(str(pipe)) for _ in range(2)] == ["one"] * 2
    writer.join()


def test_what_is_given_is_read_by_its_name_within_the_same_limits(tmp_path: Path) -> None:
    packed = gzip.compress(b"three")
    with files.inputs_noted({"a": b"one", "b": packed, "c": b"\xff\xfe"}):
        assert [read_text(name) for name in "ab"] == ["one", "three"]
        with pytest.raises(ValueError, match="a: must be at most 2 bytes large, got more"):
            read_text("a", 2)
        with pytest.raises(ValueError, match=r"c: must be UTF-8 text, .* looks like UTF-16"):
            read_text("c")
        with pytest.raises(FileNotFoundError):
            read_text(str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError):
        read_text("a")


def test_a_name_that_is_no_text_is_written_with_escapes(tmp_path: Path) -> None:
    place = tmp_path / "out.md"
    files.write_text(str(place), "--out", "of \udcff.csv")
    assert place.read_text() == "of \\udcff.csv"
