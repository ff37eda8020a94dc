"""The command as a process: files in and out, exit statuses, and no traceback whatever comes in."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving_mathematics.planner import planner_command
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.configurations import Answered, whole_answer
from serving_mathematics.planner.planner_command import (
    command_parser,
    main,
    records_text,
)
from serving_mathematics.planner.questions.fields import FIELDS

from builder import ROOT

from .half_a_result import half_a_result

TWO = '{"rate_per_s": [1, 6], "requests": 100, "precision": "fp8", "parallelism": "tp1"}'
QUICK = ["--requests", "100", "--ttft-s", "2", "--parallelism", "tp1", "--other-devices", "none"]


ANSWERS: dict[str, Answered] = {}


@pytest.fixture(autouse=True)
def planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked in other words, or by another test, is planned once; a trace may have changed,
    and workers answer for themselves.
    """

    def once(asked: Any, values: dict[str, object], *more: Any) -> Answered:
        load, _, executor, _ = more
        if executor is not None or load is not None or "trace" in values:
            return whole_answer(asked, values, *more)
        key = json.dumps(values, sort_keys=True)
        if key not in ANSWERS:
            ANSWERS[key] = whole_answer(asked, values, *more)
        return ANSWERS[key]

    monkeypatch.setattr(planner_command, "whole_answer", once)
    still = SimpleNamespace(monotonic=lambda: 0.0)  # or a busy machine has progress to print
    monkeypatch.setattr(planner_command, "time", still)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors, in this process."""
    try:
        status = main(list(arguments))
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_help_has_an_example_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "--help")
    assert (status, err) == (0, "")
    (line,) = [
        x
        for x in out.splitlines()
        if x.strip().startswith("serving-mathematics plan") and "rate" in x
    ]
    status, out, err = told(capsys, *line.split()[2:], *QUICK)
    assert (status, err) == (0, "")
    assert "binding constraint" in out


def test_files_in_and_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = {"rate_per_s": [2, 9], "requests": 100, "parallelism": "tp1", "precision": "fp8"}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    monkeypatch.chdir(tmp_path)
    assert told(capsys, "--grid", "grid.json", "--out", "plans.csv")[:2] == (0, "")
    with (tmp_path / "plans.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rate_per_s"] for row in rows] == ["2.0", "9.0"]
    assert all(int(row["replicas"]) >= 1 for row in rows)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["grid.json", "plans.csv"]
    assert told(capsys, "--grid", "grid.json", "--out", "plans.json")[0] == 0
    records = json.loads((tmp_path / "plans.json").read_text())
    same = [{name: str(value) for name, value in record.items()} for record in records]
    assert same == rows


def test_bad_input_ends_with_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,12,many\n"
    )
    status, out, err = told(capsys, "--trace", "log.csv")
    assert (status, out) == (2, "")
    assert err.startswith("log.csv: row 2, column GeneratedTokens must be")
    assert err.count("\n") == 1


def test_a_question_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "asked.json"
    asked = {"rate_per_s": 500, "requests": 100, "ttft_s": 2, "seed": 4, "parallelism": "tp1"}
    file.write_text(json.dumps(asked))
    out = tmp_path / "plan.json"
    arguments = ("--question", str(file), "--rate-per-s", "2", "--out", str(out))
    assert told(capsys, *arguments) == (0, "", "")
    (record,) = json.loads(out.read_text())
    assert record["rate_per_s"] == 2
    status, text, _ = told(capsys, "--rate-per-s", "2", "--seed", "4", *QUICK)
    assert status == 0
    head, table, compared, *_ = text.split("\n\n")  # of both formats
    assert head.split()[0] == str(record["replicas"])
    assert compared.startswith("fleet ")
    shown = dict(line.split("  ", 1) for line in table.splitlines() if "  " in line)
    assert shown["replicas"].split()[0] == str(record["replicas"])


def test_a_comparison_in_this_process_and_in_many(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--rate-per-s", "9", *QUICK, "--precision", "bf16,fp8")
    status, alone, _ = told(capsys, *asked)
    assert status == 0
    assert "vllm serve meta-llama/Meta-Llama-3.1-8B" in alone
    assert alone.split("\n\n")[2].startswith("fleet  ")
    status, out, _ = told(capsys, *asked, "--workers", "2")
    assert (status, out) == (0, alone)


def test_what_starts_the_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text, _ = told(capsys, "--rate-per-s", "2", "--flags", "--kubernetes", *QUICK)
    assert status == 0
    flags, empty, *deployment = text.splitlines()
    assert flags.startswith("vllm serve meta-llama/Meta-Llama-3.1-8B --max-num-seqs ")
    assert (empty, deployment[0][:11]) == ("", "# Set VERSI")
    assert "apiVersion: apps/v1" in deployment
    out = tmp_path / "plan.json"
    both = ("--rate-per-s", "2", "--flags", "--out", str(out))
    assert told(capsys, *both, *QUICK) == (0, f"{flags}\n", "")
    assert out.exists()
    status, text, _ = told(capsys, "--rate-per-s", "2", "--flags", "--backend", "sglang", *QUICK)
    assert text.startswith("python -m sglang.launch_server ")


def test_what_starts_separate_fleets(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--rate-per-s", "60", "--tpot-s", "0.015", "--quantile", "0.9", "--fleets", "two")
    asked += (*QUICK, "--requests", "120", "--precision", "bf16")
    status, whole, _ = told(capsys, *asked, "--backend", "sglang")
    assert status == 0
    status, text, _ = told(capsys, *asked, "--backend", "sglang", "--flags", "--kubernetes")
    assert status == 0
    flags, _, objects = text.partition("\n\n")
    assert flags.startswith("# each of ")
    assert flags in whole
    assert "--disaggregation-mode prefill" in flags
    assert objects.count("kind: StatefulSet") == 2


def test_a_grid_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "grid.csv"
    file.write_text("rate_per_s,ttft_s\n2,2\n2,0.001\n")
    status, text, _ = told(capsys, "--grid", str(file), "--requests=100", "--parallelism=tp1")
    assert status == 3  # one has no fleet
    head, first, *second = text.splitlines()
    assert head.split()[:3] == ["ttft_s", "replicas", "of"]
    assert first.split()[:2] == ["2", "1"]
    assert max(map(len, text.splitlines())) <= 100
    assert "no fleet keeps a TTFT of 0.001 s" in " ".join(" ".join(second).split())


def test_a_grid_of_gpus_shows_what_they_carry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rates beside them are what was asked; in a grid of rates alone there is no such column."""
    file, out = tmp_path / "grid.csv", tmp_path / "plans.json"
    file.write_text("gpus,rate_per_s,ttft_s\n1,,1\n,5,1\n1,,0.001\n")
    few = ("--grid", str(file), "--requests=100", "--parallelism=tp1", "--precision=fp8")
    assert told(capsys, *few, "--out", str(out))[0] == 3
    first, second, none = json.loads(out.read_text())
    assert (first["gpus"], second["rate_per_s"], none.get("rate_per_s")) == (1, 5, None)
    file.write_text("gpus\n1\n2\n")
    status, text, _ = told(capsys, *few)
    head, one, *_, two = [line for line in text.splitlines() if line[0] != " "]
    assert status == 0
    assert head.split()[:3] == ["gpus", "requests/s", "replicas"]
    assert one.split()[:3] == ["1", f"{first['rate_per_s']}", "1"]
    assert two.split()[0::2][:2] == ["2", "2"]
    file.write_text("rate_per_s\n5\n6\n")
    assert "requests/s" not in told(capsys, *few, "--ttft-s", "1")[1]


def test_presets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = told(capsys, "--presets")
    assert status == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]
    # Source: the names of the models; data sheet of the SXM, 80 GiB
    assert ["meta-llama/Meta-Llama-3.1-8B", "8.03", "7.50", "131,072"] in rows
    assert ["h100_sxm", "989.0", "3,350.0", "85.9"] in rows


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--rate-per-s must be given, or a trace"),
        (["--rate-per-s", "fast"], "--rate-per-s must be a number from"),
        (["--rate-per-s", "1", "--trace", "x"], "--rate-per-s must be left out where trace is"),
        (["--rate-per-s", "1", "--memory-gib", "9"], "--peak-tflops must be given too"),
        (["--rate-per-s", "1", "--load-test", "none", "--parallelism", "tp1"], "--load-test must"),
        (
            ["--rate-per-s", "1", "--model", "Llama-3.1-405B", "--parallelism", "tp1"],
            "--parallelism: ",
        ),
        (["--rate-per-s", "1", "--out", "plan.txt"], "--out must end in .json or .csv"),
        (["--rate-per-s", "1", "--out", "none/plan.csv"], "--out must be in a folder that exists"),
        (["--trace", "none.csv"], "none.csv: No such file or directory"),
        (["--question", "none.json"], "none.json: No such file or directory"),
        (["--grid", "none.csv"], "none.csv: No such file or directory"),
        (["--grid", "grid.txt"], "--grid must end in .json or .csv"),
        (["--grid", "a.csv", "--question", "b.json"], "--question must be left out"),
        (["--grid", "g.csv", "--flags"], "--flags, --kubernetes and --figure are for one question"),
        (["--grid", "g.csv", "--figure", "a.svg"], "--figure are for one question, got a grid"),
        (["--rate-per-s", "1", "--figure", "a.png"], "--figure must end in .svg, got 'a.png'"),
        (["--rate-per-s", "1", "--figure", "no/a.svg"], "--figure must be in a folder that exists"),
        (["--rate", "1"], "there is no option --rate; did you mean --rate-per-s?"),
        (["--devices=2"], "there is no option --devices; did you mean --device?"),
        (["--xyz", "9"], "there is no option --xyz; --help lists those there are"),
        (["--rps", "9"], "there is no option --rps; did you mean --rate-per-s?"),
        (["--input-tokens=9"], "no option --input-tokens; did you mean --mean-prompt-tokens?"),
        (
            ["--users", "500"],
            "give --rate-per-s, users divided by the seconds between two requests",
        ),
        (["--users=90"], "90 who each ask once a minute are 1.5 a second"),
        (["stray"], "there is no option stray; --help lists those there are"),
        (["x" * 99], f"there is no option {'x' * 60}; --help lists those there are"),
        (["--rate-per-s"], "argument --rate-per-s: expected one argument"),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = told(capsys, *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_figure_is_drawn_beside_the_answer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, out = tmp_path / "plan.svg", tmp_path / "plan.json"
    question = ["--rate-per-s", "2", *QUICK]
    status, text, _ = told(capsys, *question, "--figure", str(file))
    assert status == 0
    assert "keeps a TTFT of 2 s" in text
    drawn = file.read_text(encoding="utf-8")
    assert "objective 2" in drawn
    assert told(capsys, *question, "--figure", str(file), "--out", str(out))[0] == 0
    assert file.read_text(encoding="utf-8") == drawn
    assert out.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("grid.json", b'{"rate_per_s": [1, "x"]}', "grid.json: entry 2 of rate_per_s"),
        ("grid.json", b"{", "grid.json: line 1, column 2 must be JSON"),
        ("grid.csv", b"rate_per_s\n1\nx\n", "grid.csv: row 3, column rate_per_s must be"),
        ("grid.csv", b"\xff\xfe", "must be UTF-8 text"),
        ("grid.csv", b"", "grid.csv: the file must be a header"),
        ("grid.csv", b"rate_per_s,memory_gib\n1,\n1,3\n", "question 2: peak_tflops must be"),
    ],
)
@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_what_is_refused_in_files(
    name: str,
    content: bytes,
    words: str,
    workers: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / name).write_bytes(content)
    status, out, err = told(capsys, "--grid", str(tmp_path / name), *workers)
    assert (status, out) == (2, "")
    assert words in err


def test_a_refusal_of_a_trace_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["mark,isl,osl", *(f"{50 * i},100,5" for i in range(100))]))
    asked = ("--trace", str(file), "--quantile", "0.9", *QUICK)
    status, _, err = told(capsys, *asked)
    assert (status, "or say which: --trace-columns time=NAME" in err) == (2, True)
    file.write_text(file.read_text().replace("mark", "rate_per_s", 1))
    assert "got rate_per_s, isl, osl; or say" in told(capsys, *asked)[2]  # as the file has it
    file.write_text(file.read_text().replace("rate_per_s", "mark", 1))
    status, _, err = told(capsys, *asked, "--trace-columns", "time=mark")
    assert (status, "say which: --trace-columns unit=s or unit=ms" in err) == (2, True)
    status, text, err = told(capsys, *asked, "--trace-columns", "time=mark,unit=ms")
    assert (status, err) == (0, "")
    said = "100 requests in 4.95 s; time from mark: milliseconds from a start, as was said"
    assert said in " ".join(text.split())
    question = tmp_path / "asked.json"
    question.write_text(json.dumps({"trace": str(file), "trace_columns": "time=mark"}))
    status, _, err = told(capsys, "--question", str(question), *QUICK)
    assert (status, "say which: trace_columns unit=s or unit=ms" in err) == (2, True)


def test_a_question_that_cannot_be_leaves_the_others_their_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "grid.csv"
    impossible = "1,Llama-3.1-8B,tp3,\n1,Llama-3.1-405B,tp1,\n1,Llama-3.1-8B,tp1,1e6\n"
    file.write_text(
        f"rate_per_s,model,parallelism,mean_prompt_tokens\n2,,tp1,\n{impossible}1,,tp1,\n"
    )
    out = tmp_path / "plans.json"
    status, text, err = told(
        capsys, "--grid", str(file), "--requests", "150", "--ttft-s", "2", "--out", str(out)
    )
    assert (status, text, err) == (3, "", "")
    problems = [record["problem"] for record in json.loads(out.read_text())]
    for problem, words in zip(
        problems, ("", "must be a divisor", "tp16 would do", "the context of", ""), strict=True
    ):
        assert words in problem
        assert bool(words) == bool(problem)


def test_a_device_that_is_given_says_what_it_borrows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    device = ("--peak-tflops", "900", "--bandwidth-gb-per-s", "3000", "--memory-gib", "80")
    asked = ("--rate-per-s", "2", *device, *QUICK)
    status, text, _ = told(capsys, *asked)
    assert status == 0
    said = " ".join(text.split())
    assert "on 1 × given GPU keeps" in said
    assert "Links, kernels and twice the peak in 8 bits are taken from H100 SXM." in said
    assert "links, kernels and twice the peak in 8 bits are those of H100 SXM" in said
    assert told(capsys, *asked, "--out", str(tmp_path / "a.json"))[0] == 0
    (record,) = json.loads((tmp_path / "a.json").read_text())
    assert record["links_and_kernels_of"] == "h100_sxm"
    assert record["parameters"] == 8_029_995_008


def test_a_terminal_gets_fifteen_lines_and_a_file_everything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--rate-per-s", "2", *QUICK)
    _, whole, _ = told(capsys, *asked)
    _, short, _ = told(capsys, *asked, "--summary")
    assert len(short.splitlines()) <= 15 < len(whole.splitlines())
    assert "tokens of a request, mean      1,000 in, 250 out\n" in short  # which nobody gave
    tables = whole.partition("# trtllm")[0]
    assert max(map(len, [*short.splitlines(), *tables.splitlines()])) <= 100
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert told(capsys, *asked)[1] == short
    assert told(capsys, *asked, "--whole")[1] == whole


@pytest.mark.parametrize("workers", ["0", "-1", "many", "1e3", "1025", "10000001", "²", ""])
def test_workers_are_counted(
    workers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "grid.json"
    file.write_text('{"rate_per_s": [1, 2]}')
    status, _, err = told(capsys, "--grid", str(file), f"--workers={workers}")
    assert status == 2
    assert "--workers must be a whole number from 1 to 1024" in err
    status, _, err = told(capsys, "--grid", str(file), "--workers", "1", "--dask", "tcp://x:1")
    assert status == 2
    assert "--workers must be left out where --dask is given" in err


@pytest.mark.parametrize(
    ("cores", "questions", "processes"),
    [(2, 15, 0), (2, 16, 2), (1, 160, 0), (4, 31, 3), (4, 320, 4)],
)
def test_a_core_gets_a_process_where_it_has_eight_questions(
    cores: int, questions: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a comparison in one process and one in two answer alike, as another test says."""
    made = []

    @contextlib.contextmanager
    def pool(workers: int) -> Iterator[str]:
        made.append(workers)
        yield "pool"

    monkeypatch.setattr(planner_command, "_pool", pool)
    monkeypatch.setattr(planner_command, "processors", lambda: cores)
    with planner_command._executor(None, None, questions) as executor:
        assert executor == ("pool" if processes else None)
    assert made == [processes] * bool(processes)
    for asked in (1, 3, 7, 1024):
        before = len(made)
        with planner_command._executor(str(asked), None, questions):
            pass
        count = min(asked, cores, questions)
        assert made[before:] == [count] * (count > 1)


def test_a_cluster_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "grid.json"
    file.write_text('{"rate_per_s": [1, 2]}')
    status, out, err = told(capsys, "--grid", str(file), "--dask", "nonsense://nowhere")
    assert (status, out) == (2, "")
    assert "--dask nonsense://nowhere cannot be reached" in err


def test_a_cluster_answers_as_this_process_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from distributed import LocalCluster

    file = tmp_path / "grid.json"
    file.write_text(TWO)
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        local_directory=tmp_path,
    ) as cluster:
        to = ("--dask", cluster.scheduler_address, "--out", str(tmp_path / "remote.json"))
        assert told(capsys, "--grid", str(file), *to)[0] == 0
    assert told(capsys, "--grid", str(file), "--out", str(tmp_path / "here.json"))[0] == 0
    here, remote = (tmp_path / f"{name}.json" for name in ("here", "remote"))
    assert here.read_text() == remote.read_text()  # to the bit: the shortest text of every number


def test_an_output_is_tried_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(planner_command, "whole_answer", never)
    os.mkfifo(tmp_path / "pipe.json")
    for name, words in (
        ("pipe.json", "--out must be a plain file, or nothing yet, got"),
        ("none/plan.json", "--out must be in a folder that exists"),
    ):
        status, out, err = told(capsys, "--rate-per-s", "1", "--out", f"{tmp_path}/{name}")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(words)
    for option in ("--out", "--figure", "--question", "--grid"):
        status, out, err = told(capsys, "--rate-per-s", "1", option, "")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(option)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe.json"]


@pytest.mark.parametrize("link", ["", "hard", "soft"])
@pytest.mark.parametrize("option", ["--question", "--grid", "--trace", "--model", "--load-test"])
def test_no_input_is_written(
    option: str, link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its own name, by another name of the same file, and where it was read through a link."""
    rows = "\n".join(f"{2 * i},100,5" for i in range(120))
    texts = {
        "--question": '{"rate_per_s": 1}',
        "--grid": '{"rate_per_s": [1, 2]}',
        "--trace": f"time,isl,osl\n{rows}\n",
        "--model": json.dumps(CONFIG),
        "--load-test": (Path(__file__).parent / "load_tests" / "vllm.json").read_text(),
    }
    file = tmp_path / "real.json"
    file.write_text(texts[option])
    other = tmp_path / "other.json"
    if link == "hard":
        other.hardlink_to(file)
    elif link == "soft":
        other.symlink_to(file)
    read, written = (other, file) if link else (file, file)
    asked = [] if option in ("--trace", "--question", "--grid") else ["--rate-per-s", "1"]
    status, _, err = told(capsys, *asked, *QUICK, option, str(read), "--out", str(written))
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("--out must be no file that is read, got")
    assert file.read_text() == texts[option]


CONFIG = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}


@pytest.mark.parametrize("place", range(4))
def test_errors_of_a_trace_show_a_beginning(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The header, and each of the columns."""
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46", "3", "4"]
    rows[place] = "9x" * 50_000
    file = tmp_path / "log.csv"
    file.write_text(f"{rows[0]}\n{','.join(rows[1:])}\n")
    status, out, err = told(capsys, "--trace", str(file))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "9x9x" in err
    assert len(err) < 500


@pytest.mark.parametrize(("closed", "status", "lines"), [("1", 2, 1), ("2", 0, 0), ("1 2", 2, 0)])
def test_streams_that_are_closed(closed: str, status: int, lines: int, tmp_path: Path) -> None:
    """Nobody can be told without an output, and without errors the answer is the answer alone."""
    grid = tmp_path / "grid.json"
    grid.write_text(TWO)
    words = [sys.executable, "-m", "serving_mathematics.planner", "--grid", str(grid)]
    shell = f'exec "$@" {" ".join(f"{number}>&-" for number in closed.split())}'
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *words], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == status
    assert done.stderr.count(b"\n") == lines
    assert b" of 2 questions" not in done.stdout
    assert (b"rate_per_s" in done.stdout) is (closed == "2")


HURRIED = """
import sys, time, types
from serving_mathematics.__main__ import main
from serving_mathematics.planner import planner_command
planner_command.time = types.SimpleNamespace(monotonic=lambda: 20 * time.monotonic())
if __name__ == "__main__":
    sys.exit(main(["plan", *sys.argv[1:]]))
"""  # by its clock, the second after which it tells how far it is has passed at once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_planner(number: signal.Signals, tmp_path: Path) -> None:
    """However it ends: the pipe that they inherited is closed within seconds."""
    rates = [20 + rate / 100 for rate in range(500)]
    grid = {"rate_per_s": rates, "requests": [100], "parallelism": ["tp1"]}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    process = subprocess.Popen(
        [sys.executable, "-c", HURRIED, "--grid", "grid.json", "--workers=2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'snippets'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # background jobs ignore it
    )
    try:
        assert process.stderr is not None
        assert b" of 500 questions" in process.stderr.readline()  # the workers are there
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=120)  # until every holder of the pipes has ended
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert out == b""
    assert b"Traceback" not in err
    if number == signal.SIGINT:
        assert all(b" of 500 questions" in line for line in err.splitlines()), err


def test_ctrl_c_falls_into_no_lock_of_a_pool() -> None:
    """Between the taking of a lock and its block it would leave the pool's thread waiting."""
    went_on = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        went_on.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # or a shell's job ignores it
    try:
        with futures.ProcessPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
            planner_command._aside(pool, work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert went_on.wait(10)


def test_half_of_a_result_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner_command, "_follow_parent", os.getpid)  # imports nothing
    sign = tmp_path / "half"

    def refused() -> None:
        with planner_command._pool(2) as pool:
            results: Any = pool._result_queue
            rescue.append(threading.Timer(200, results._writer.close))  # or the test never ends
            rescue[0].start()
            pool.submit(half_a_result, sign)
            while not sign.exists():
                time.sleep(0.01)
            raise Infeasible("none")

    rescue: list[threading.Timer] = []
    with pytest.raises(Infeasible, match="none"):
        refused()
    assert rescue[0].is_alive()
    rescue[0].cancel()


def clocked(monkeypatch: pytest.MonkeyPatch, *times_s: float) -> None:
    """A clock that reads these times, one after the other."""
    clock = SimpleNamespace(monotonic=iter(times_s).__next__)
    monkeypatch.setattr(planner_command, "time", clock)


def test_fleets_are_told_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    to = StringIO()
    clocked(monkeypatch, 0, 1, 5, 6, 9.9, 10)
    told = planner_command._watched(to)
    for replicas in range(11, 16):
        told(replicas, 64)
    assert to.getvalue().splitlines() == [
        "fleet 2 tried: replicas 12, batch limit 64",
        "fleet 5 tried: replicas 15, batch limit 64",
    ]


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ((0, 0.9, 1, 1.9, 2.1), ["2 of 4 runs, 1 s", "4 of 4 runs, 2 s"]),
        ((0, 1, 1.9, 2, 2.1), ["1 of 4 runs, 1 s", "3 of 4 runs, 2 s", "4 of 4 runs, 2 s"]),
        ((0, 0.2, 0.4, 0.6, 0.8), []),
    ],
)
def test_a_sweep_tells_once_a_second_how_far_it_is(
    times_s: tuple[float, ...], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of the end, unless nothing was told before it."""
    to = StringIO()
    clocked(monkeypatch, *times_s)
    progress = planner_command._told(to, "runs")
    for done in range(1, 5):
        progress(done, 4)
    assert to.getvalue().splitlines() == expected


def test_options_are_the_fields_and_records_of_two_kinds() -> None:
    parsed = vars(command_parser().parse_args([]))
    assert set(FIELDS) < set(parsed)
    assert set(parsed.values()) == {None, False}
    with pytest.raises(ValueError, match="kind must be"):
        records_text([], "yaml")
    with pytest.raises(ValueError, match="not JSON compliant"):
        records_text([{"x": float("nan")}], "json")


def test_an_option_over_a_grid_is_shown_as_it_was_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = tmp_path / "grid.json"
    grid.write_text('{"rate_per_s": [5, 6], "seed": [1, 2], "parallelism": "tp1", "requests": 100}')
    status, out, _ = told(capsys, "--grid", str(grid), "--rate-per-s=7", "--precision=fp8")
    assert status == 0
    assert out.split()[:2] == ["seed", "replicas"]
