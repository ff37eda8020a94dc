"""The commands that pages show: the book's own run, and those of vLLM's benchmark send what is
said, for as long as it takes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving_mathematics.__main__ import main
from serving_mathematics.core.machines.machines import CHAT

from builder import ROOT

from .profiles import THOROUGH, todays
from .report.example_runs import clean, detailed, log_csv
from .report.test_engine_metrics import SCRAPE

BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)
OWN = ("plan", "predict", "report")
FAILS = {"--fail-on problem": {0, 3}}  # what ends otherwise than with 0
WANTS = "127.0.0.1:8786"  # a scheduler, which `tests/planner/test_sweeps.py` starts


def _commands() -> list[str]:
    """Each on one line."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [one for page in pages for one in _commands_in(page.read_text(encoding="utf-8"))]


def _commands_in(page: str) -> list[str]:
    blocks = [block.replace("\\\n", " ") for block in BLOCK.findall(page)]
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("vllm bench serve")]


@pytest.mark.parametrize("shell", ["sh", "bash", "console"])
def test_blocks_of_every_shell_are_read(shell: str) -> None:
    page = f"```{shell}\nvllm bench serve \\\n  --num-prompts 9\n```\n"
    assert _commands_in(page) == ["vllm bench serve    --num-prompts 9"]


def _value(command: str, option: str) -> int:
    found = re.search(rf"--{option} (\d+)", command)
    return int(found[1]) if found else 0


def test_requests_of_the_readers_own_are_sent_whole() -> None:
    """`sharegpt` leaves out prompts of more than 1,024 tokens and says nothing."""
    commands = _commands()
    assert len(commands) >= 5
    assert not [command for command in commands if "sharegpt" in command]
    for command in commands:
        if "--dataset-path" in command:
            assert "--dataset-name custom" in command
            assert "--custom-output-len -1 --ignore-eos" in command  # as many tokens as a row says
            assert "--no-oversample" in command  # a row that comes again is found in the cache


def test_who_shows_a_load_test_leads_to_how_no_prompt_is_found() -> None:
    """Its seed is 0 in each run, and so are its random prompts the same."""
    said = ROOT / "docs" / "definitions" / "utilization.md"
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        if _commands_in(text) and page != said:
            assert "utilization.md#on-your-engine" in text, page
    told = said.read_text(encoding="utf-8").partition("## On your engine")[2]
    for word in ("--no-oversample", "--seed", "#aiperf-hooks"):
        assert word in told.partition("\n## ")[0]


def test_priorities_of_sglang_hold_where_memory_runs_out_too() -> None:
    """Unless told, it takes the memory of the shortest answers, whosever they are."""
    texts = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")]
    found = [text for text in texts if "--disable-priority-preemption" in text]
    assert found
    assert all("--retraction-policy priority" in text for text in found)


def test_a_closed_loop_lasts_many_turns() -> None:
    for command in _commands():
        assert _value(command, "num-prompts") >= 19 * _value(command, "max-concurrency")


def test_a_rate_lasts_a_quarter_of_an_hour() -> None:
    for command in _commands():
        assert _value(command, "num-prompts") >= 880 * _value(command, "request-rate")


def test_limits_and_places_are_those_of_the_machine() -> None:
    """Its promise in milliseconds, and half, all and twice its places."""
    ttft, tpot = 1e3 * CHAT.promise.ttft_s, 1e3 * CHAT.promise.tpot_s
    together = " ".join(_commands())
    assert f"--goodput ttft:{ttft:.0f} tpot:{tpot:.0f}" in together
    clients = {_value(command, "max-concurrency") for command in _commands()} - {0}
    assert clients >= {CHAT.places // 2, CHAT.places, 2 * CHAT.places}


def _own_commands() -> list[str]:
    """Each as it is pasted, with what it is fed."""
    found: list[str] = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            lines = block.replace("\\\n", " ").replace("|\n", "|")
            pasted = [lines] if "<<" in lines else lines.splitlines()
            found += [
                one for one in pasted if re.search(f"serving-mathematics ({'|'.join(OWN)})", one)
            ]
    return sorted({*found})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands name."""
    place = tmp_path_factory.mktemp("shown")
    tests = Path(__file__).parent
    for name in ("results.json", "16.json"):
        shutil.copy(tests / "planner" / "load_tests" / "vllm_appended.json", place / name)
    shutil.copy(tests / "machine" / "configs" / "granite-3.1-1b-a400m.json", place / "config.json")
    run = clean()
    rows = [
        f'{{"timestamp": {200 * n}, "input_length": 900, "output_length": 90}}' for n in range(400)
    ]
    files = {
        "requests.jsonl": "\n".join(rows),
        "old.json": detailed(run),
        "new.json": detailed(clean(2)),
        "log.csv": log_csv(run),
        "before.txt": SCRAPE,
        "after.txt": SCRAPE,
        "grid.json": '{"rate_per_s": [2, 4]}',
        "deployments.csv": "model,system,isl,osl,concurrency\nLlama-3.1-8B,H100,900,90,8\n",
    }
    for name, text in files.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


ASKED = """#!/bin/sh
printf '%s\\0' "$@" >> asked
cat > given
"""  # in the place of the command: a real shell says what it is asked and given


@pytest.mark.parametrize("command", todays(_own_commands()))
def test_what_is_shown_runs(
    command: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A third of them a day, and plans with a tenth of their requests, sessions of agents with a
    quarter of their fleet too.
    """
    if WANTS in command:
        return
    stub = tmp_path / "serving-mathematics"
    stub.write_text(ASKED, encoding="utf-8")
    stub.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    nothing = subprocess.DEVNULL
    subprocess.run(command, shell=True, cwd=tmp_path, env=path, stdin=nothing, check=True)
    words = (tmp_path / "asked").read_text(encoding="utf-8").split("\0")[:-1]
    if words[0] == "plan" and not THOROUGH:
        agents = "like=agents" in command
        fewer = "--replicas 2 --rate-per-s 2 --requests 400" if agents else "--requests 400"
        words += ["--workers", "1", *fewer.split()]
    monkeypatch.chdir(folder)
    with (tmp_path / "given").open(encoding="utf-8") as given:
        monkeypatch.setattr(sys, "stdin", given)
        status = main(words)
    said = capsys.readouterr()
    ends = next((ends for word, ends in FAILS.items() if word in command), {0})
    assert status in ends, said.err
    assert said.out or "--out" in words
