"""What the README promises: its command answers so, its code returns so, its sizes are make's."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
from serving_mathematics.__main__ import main

from builder import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ serving-mathematics (.+)\n((?:.+\n)+?)```$", README, re.MULTILINE)
(CODE,) = re.findall(r"```python\n(.+?)```", README, re.DOTALL)
SIZE = r"^{} := (.+)$"


def test_it_opens_with_the_problem_a_command_and_a_picture() -> None:
    first = README.split("\n## ")[0]
    question, _, rest = first.partition("\n\n")[2].partition("\n\n")
    assert question.endswith("?")
    assert "\n" not in question
    assert 0 <= rest.find("$ serving-mathematics plan") < rest.find("![")


@pytest.mark.parametrize(("words", "answer"), COMMANDS)
def test_its_command_answers_so(
    words: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(words)) == 0
    assert capsys.readouterr().out.split("\n\n")[0] == answer.rstrip("\n")


def test_its_code_returns_so() -> None:
    names: dict[str, object] = {}
    exec(CODE, names)
    calls = re.findall(r"^(\w+\(.*\))  # ([\d.]+)", CODE, re.MULTILINE)
    assert len(calls) == 2
    for call, told in calls:
        decimals = len(told.partition(".")[2])
        assert round(eval(compile(ast.parse(call, mode="eval"), "", "eval"), names), decimals) == (
            float(told)
        )


def test_its_sizes_are_those_of_make() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("FETCHED", "KEPT"):
        (size,) = re.findall(SIZE.format(name), makefile, re.MULTILINE)
        assert size in README, name
    (engine,) = re.findall(r"^engine: .*?(\d+ MB)", makefile, re.MULTILINE)
    assert engine in README
    for target in re.findall(r"`make (\w+)`", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
