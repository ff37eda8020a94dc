"""The commands of vLLM's benchmark that pages show: what they send, and how long they last."""

from __future__ import annotations

import re

import pytest
from serving_mathematics.core.machines.machines import CHAT

from builder import ROOT

BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)


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


def test_a_closed_loop_lasts_many_turns() -> None:
    for command in _commands():
        assert _value(command, "num-prompts") >= 19 * _value(command, "max-concurrency")


def test_a_rate_lasts_a_quarter_of_an_hour() -> None:
    for command in _commands():
        assert _value(command, "num-prompts") >= 880 * _value(command, "request-rate")


def test_lengths_limits_and_places_are_those_of_the_machine() -> None:
    """Its mean lengths, its promise in milliseconds, and half, all and twice its places."""
    prompt, answer = CHAT.sample.prompt_tokens.mean(), CHAT.sample.output_tokens.mean()
    ttft, tpot = 1e3 * CHAT.promise.ttft_s, 1e3 * CHAT.promise.tpot_s
    together = " ".join(_commands())
    assert f"--random-input-len {prompt:.0f} --random-output-len {answer:.0f} " in together
    assert f"--goodput ttft:{ttft:.0f} tpot:{tpot:.0f}" in together
    clients = {_value(command, "max-concurrency") for command in _commands()} - {0}
    assert clients >= {CHAT.places // 2, CHAT.places, 2 * CHAT.places}
