"""Each command, with streams that cannot be written to: nothing ends in a traceback."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from serving_mathematics import __main__

from builder import ROOT

FULL = Path("/dev/full")
NO_SPACE = "No space left on device\n"
COMMANDS = [  # of argparse's help, of our own, of a table, of lines of checks, and of a list
    "--help",
    "plan --help",
    "predict --presets",
    "check definitions.throughput.throughput",
    "exercises",
]


@contextlib.contextmanager
def broken(kind: str) -> Iterator[TextIO]:
    """A stream that takes nothing: of a full disk, or a pipe that nobody reads."""
    if kind == "full":
        place = os.open(FULL, os.O_WRONLY)
    else:
        reads, place = os.pipe()
        os.close(reads)
    stream = os.fdopen(place, "w", encoding="utf-8")
    try:
        yield stream
    finally:
        stream.close()


def ended(arguments: list[str]) -> int:
    """The exit status of a command in this process."""
    try:
        return __main__.main(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else -1


@pytest.mark.skipif(not FULL.exists(), reason="the system has no full device")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("kind", "status", "told"), [("full", 2, NO_SPACE), ("pipe", 141, "")])
def test_what_cannot_be_written_is_told_in_a_line(
    command: str,
    kind: str,
    status: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with broken(kind) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert ended(command.split()) == status
    if kind == "full":  # of a pipe the other stream is closed as well
        err = capsys.readouterr().err
        assert (err.count("\n"), err.endswith(told)) == (1, True)


@pytest.mark.skipif(not FULL.exists(), reason="the system has no full device")
@pytest.mark.parametrize(("kind", "status", "told"), [("full", 2, NO_SPACE), ("pipe", 141, "")])
@pytest.mark.parametrize("module", ["serving_mathematics", "serving_mathematics.planner"])
def test_python_has_nothing_to_add(module: str, kind: str, status: int, told: str) -> None:
    with broken(kind) as stream:
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            env=os.environ | {"PYTHONPATH": str(ROOT / "snippets")},
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    where = "serving-mathematics: standard output: " if told else ""
    assert (done.returncode, done.stderr) == (status, where + told)


def test_a_reader_that_has_enough_ends_a_long_answer() -> None:
    shell = f"{sys.executable} -m serving_mathematics predict --presets | head -1"
    done = subprocess.run(
        ["/bin/sh", "-c", shell],
        env=os.environ | {"PYTHONPATH": str(ROOT / "snippets")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("models:\n", "")


def test_what_a_command_prints_may_be_more_than_a_buffer_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printing(_: str) -> int:
        print("1234567\n" * 100_000)
        return 0

    monkeypatch.setattr(__main__, "_status", printing)
    with broken("full") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert __main__.main(["plan"]) == 2
    assert capsys.readouterr().err == f"serving-mathematics: standard output: {NO_SPACE}"


def test_other_errors_are_nobodys_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: str) -> int:
        raise FileNotFoundError(2, "No such file", "here")

    monkeypatch.setattr(__main__, "_status", failing)
    with pytest.raises(FileNotFoundError, match="here"):
        __main__.main(["plan"])


def test_an_interruption_ends_with_what_a_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "_status", interrupted)
    assert __main__.main(["plan"]) == 130


def test_progress_is_no_answer_where_errors_are_closed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def telling(_: str) -> int:
        print("1 of 2", file=sys.stderr)
        print("answer")
        return 0

    monkeypatch.setattr(__main__, "_status", telling)
    monkeypatch.setattr(sys, "stderr", None)
    assert __main__.main(["plan"]) == 0
    assert capsys.readouterr().out == "answer\n"


def test_without_an_output_nobody_can_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert __main__.main(["--help"]) == 2
    assert capsys.readouterr().err == "standard output must be open, got none\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", ["plan --help", "exercises capacity/littles-law"])
def test_what_an_encoding_lacks_is_escaped(
    command: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, write_through=True))
    assert ended(command.split()) == 0
    assert b"\\u" in raw.getvalue()


def test_a_name_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["predict", "\x1b[31ma\u202e\udcff.csv"]) == 2
    assert "predict: \\x1b[31ma\\u202e\\udcff.csv: cannot be read" in capsys.readouterr().err


def test_a_closed_input_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert ended(["predict", "-"]) == 2
    assert capsys.readouterr().err == "serving-mathematics predict: -: must be open, got none\n"


@pytest.mark.skipif(not FULL.exists(), reason="the system has no full device")
def test_errors_that_nobody_can_be_told_keep_their_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with broken("full") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert ended(["predict", "no such file"]) == 2


@pytest.mark.parametrize("name", ["plan", "predict", "report a.json", "serve"])
def test_an_option_that_is_none_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([*name.split(), "--nosuch"]) == 2
    assert capsys.readouterr().err == (
        "there is no option --nosuch; --help lists those there are\n"
    )


def test_help_on_exercises_needs_no_docstrings() -> None:
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "serving_mathematics", "exercises", "--help"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "snippets")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "exercises definitions/utilization FILE" in done.stdout
