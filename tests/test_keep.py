"""Nothing that is kept changes in silence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from serving_mathematics.core.hardware import step_time

from . import answers, cases, keep, page_numbers
from .test_bad_input import broken_rules, computing_modules, limited  # noqa: F401 (a fixture)


def moved(name: str, now: keep.Entries, *kinds: str) -> None:
    """Fail with what has moved of these kinds."""
    was = {key: told for key, told in keep.kept(name).items() if key.split(" ")[0] in kinds}
    found = list(keep.changes(was, now))
    assert not found, "\n".join([f"{name}, {keep.ADVICE.format(name)}:", *found[:20]])


@pytest.mark.parametrize("name", answers.modules())
def test_no_answer_changes_in_silence(name: str) -> None:
    moved(name, keep.answers_now(name, keep.kept(name)), "constant", "answer")


@pytest.mark.usefixtures("limited")
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::ResourceWarning")  # of what is ended
@pytest.mark.parametrize("name", computing_modules())
def test_no_rule_changes_in_silence_and_each_is_kept_to_the_letter(name: str) -> None:
    rules = keep.held_rules(name)
    moved(name, {f"rule {title}": told for title, told in rules.items()}, "rule")
    with keep.held_constants():
        found = list(broken_rules(name, rules))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", page_numbers.modules())
def test_no_number_of_a_page_changes_in_silence(name: str) -> None:
    moved(name, keep.page_now(name), "page")


@pytest.mark.parametrize("name", cases.cases())
def test_nothing_made_changes_in_silence(name: str) -> None:
    moved(name, keep.case_now(name), "case")


def test_what_is_kept_is_of_what_there_is() -> None:
    held = set(keep.FOLDER.glob("*/*.json"))
    assert held == {keep.file_of(name) for name in keep.names()}
    assert keep.gone(keep.names()) == {}
    for path in held:
        lines = json.loads(path.read_text(encoding="utf-8"))
        kinds = {key.partition(": ")[2].split(" ")[0] for key in lines}
        assert kinds <= {"constant", "answer", "rule", "page", "case"}, path


def test_a_new_fit_moves_constants_and_no_answers() -> None:
    name, fitted = "machine.step_time.speculative_decoding", step_time.FITTED.cache_share
    constants = keep.constants_now("core.hardware.step_time")
    object.__setattr__(step_time.FITTED, "cache_share", fitted / 2)
    try:
        found = keep.answers_now(name, keep.kept(name))
        assert step_time.FITTED.cache_share == fitted / 2
        assert keep.constants_now("core.hardware.step_time") != constants
    finally:
        object.__setattr__(step_time.FITTED, "cache_share", fitted)
    moved = list(keep.changes(keep.kept(name), found | keep.page_now(name)))
    assert not [line for line in moved if line.startswith("answer ")]


def test_what_is_kept_is_few_and_none_of_refusals() -> None:
    total = 0
    for path in keep.FOLDER.glob("*/*.json"):
        text = path.read_text(encoding="utf-8")
        total += text.count("\n")
        assert "ValueError: " not in "".join(x for x in text.splitlines() if ": answer " in x)
    assert total <= 12_000
    for name in computing_modules():
        calls = [key.partition("(")[0] for key in keep.kept(name) if key.startswith("answer ")]
        assert all(calls.count(one) <= answers.MOST for one in calls), name


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        (1.0, 1.0, True),
        (0.1, 0.1 + 1e-8, True),
        (0.1, 0.1002, False),
        (3, 4, False),
        (300_000, 300_001, False),
        (300_000.0, 300_000.0 + 1e-7, True),
        (1e-12, 0.0, True),
        (math.inf, math.inf, True),
        (math.inf, 1e300, False),
        (-2.5, 2.5, False),
        ("5 of 7", "6 of 7", False),
        ("a: 0.1, 0.2 (± 1e-12)", "a: 0.10000001, 0.2 (± 1e-12)", True),
        ("a: 0.1, 0.2 (± 1e-12)", "a: 0.1001, 0.2 (± 1e-12)", False),
        ("a: 0.1, 0.2 (± 1e-3)", "a: 0.1, 0.2 (± 1e-2)", False),
        ("a: 0.1", "a: 0.1, 0.2", False),
        ("a: -0.1", "a: 0.1", False),
        ("a: 3e-17 … 0", "a: 0 … -2e-16", True),
        ("a: 0.1", "b: 0.1", False),
        ([1, [2.5]], [1, [2.5]], True),
        ([1, [2.5]], [1, [2.6]], False),
        ([1], [1, 2], False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"a": 0.0}, False),
        ({"a": 1}, {"b": 1}, False),
        (True, 1, False),
        (True, True, True),
        (
            {"of": 90, "ends": [1, 2], "sum": 9e3},
            {"of": 90, "ends": [1, 2], "sum": 9e3 + 6e-4},
            True,
        ),
        (
            {"of": 90, "ends": [1, 2], "sum": 9e3},
            {"of": 90, "ends": [1, 2], "sum": 9e3 + 7e-4},
            False,
        ),
        ({"of": 90, "ends": [1, 2], "sum": 9e3}, {"of": 90, "ends": [1, 3], "sum": 9e3}, False),
    ],
)
def test_only_the_last_digits_may_differ(was: object, now: object, expected: bool) -> None:
    assert keep.same(was, now) is expected


def test_changes_are_told_with_both_values() -> None:
    was = {"page a": 1, "page b": 2.5, "page slider_c": [1.234], "page d": 1.234}
    now = {"page b": 2.6, "page slider_c": [1.235], "page d": 1.235, "answer e()": "x"}
    assert list(keep.changes(was, now)) == [
        "page b was 2.5 and is 2.6",
        "page d was 1.234 and is 1.235",
        'answer e() is new: "x"',
        "page a is gone, it was 1",
    ]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = {
        "part.one": {"page a": 1 / 3, "answer b()": math.inf, "constant c": [1, None, "ρ"]},
        "part.one.a case": {"case x: y": 7},
        "other.two": {"page d": 7},
    }
    keep.write({"gone.three": {"page e": 1}}, tmp_path, whole=True)
    keep.write(found, tmp_path, whole=True)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["one.json", "two.json"]
    assert (tmp_path / "other/two.json").read_text(encoding="utf-8") == '{\n"two: page d": 7\n}\n'
    assert keep.kept("part.one", tmp_path)["page a"] == 0.333333333
    keep.write({"part.one": {"page a": 2}}, tmp_path)
    assert keep.kept("part.one", tmp_path) == {"page a": 2}
    for name in ("part.one.a case", "other.two"):
        assert keep.kept(name, tmp_path) == found[name]
    assert keep.kept("part.four", tmp_path) == {}


def test_only_what_changed_is_written_anew() -> None:
    was, now = {"a": 0.5, "b": 2.5, "gone": 1}, {"a": 0.5 + 1e-9, "b": 2.6, "new": 3}
    assert keep.renewed(was, now) == {"a": 0.5, "b": 2.6, "new": 3}


def test_what_an_entry_is_made_of() -> None:
    changed = ["author/contracts.py", "tests/builder/small_site.py", "tests/planner/cases.py"]
    changed.append("snippets/serving_mathematics/core/hardware/step_time.py")
    assert keep.causes("author.contracts", changed) == changed[:2]
    assert keep.causes("builder.pages", changed) == changed[:2]
    assert keep.causes("machine.predictions.predict", changed) == changed[3:]
    assert keep.causes("planner.commands", changed) == changed[2:]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command, with three modules that answer what is given, and a folder of its own."""
    told = {
        "core.hardware.step_time": 1,
        "machine.predictions.predict": 2,
        "capacity.overload_control.storms": 3,
    }
    monkeypatch.setattr(keep, "FOLDER", tmp_path)
    monkeypatch.setattr(keep, "names", lambda: sorted(told))
    monkeypatch.setattr(keep, "now", lambda name, _: {"page a": told[name], "constant B": 0.5})
    monkeypatch.setattr(
        keep, "changed_files", lambda: ["snippets/serving_mathematics/core/hardware/step_time.py"]
    )
    monkeypatch.setattr(answers, "watched", lambda: None)

    def run(*words: str, **others: int) -> int:
        told.update({name.replace("__", "."): number for name, number in others.items()})
        return keep.main([*words])

    return run


def test_the_command_says_what_moved_and_beside_what(
    small: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert small() == 0
    capsys.readouterr()
    assert small() == small("--check") == small("--new") == 0
    assert capsys.readouterr().out == ""
    for words, status in ((["--check"], 1), ([], 0), (["--check"], 0)):
        moves = {
            "machine__predictions__predict": 4,
            "core__hardware__step_time": 5,
            "capacity__overload_control__storms": 6,
        }
        assert small(*words, **moves) == status
        text = capsys.readouterr().out
        if words != ["--check"] or status:
            assert text == (
                "no file that it is made of has changed, and yet 1 entry of 1 module has:\n"
                "  capacity.overload_control.storms: page a was 3 and is 6\n"
                "snippets/serving_mathematics/core/hardware/step_time.py has changed, and with it 2"
                " entries of 2 modules:\n"
                "  core.hardware.step_time: page a was 1 and is 5\n"
                "  machine.predictions.predict: page a was 2 and is 4\n"
            )
        else:
            assert text == ""


def test_what_is_kept_of_modules_that_are_gone_goes_with_any(
    small: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    small()
    entries = {"page a": 1}
    others = ("machine.predictions.gone", "capacity.gone.all")
    keep.write(dict.fromkeys(others, entries))
    capsys.readouterr()
    assert small("core", "--check") == 1
    assert keep.kept(others[0]) == entries
    assert small("core") == 0
    told = "capacity/gone.json: of modules that are gone: 1\n"
    assert capsys.readouterr().out == 2 * (
        f"{told}machine/predictions.json: of modules that are gone: 1\n"
    )
    assert [keep.kept(name) for name in others] == [{}, {}]
    assert not keep.file_of(others[1]).exists()
    assert keep.kept("machine.predictions.predict") == {"page a": 2, "constant B": 0.5}
    assert small("core", "--check") == 0


def test_the_command_keeps_only_what_it_is_asked_for(
    small: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    small("machine")
    assert keep.kept("capacity.overload_control.storms") == {}
    small("--new")
    assert keep.kept("capacity.overload_control.storms") == {"page a": 3, "constant B": 0.5}
    moves = {"machine__predictions__predict": 7, "core__hardware__step_time": 8}
    small("machine.predictions.predict", **moves)
    assert keep.kept("core.hardware.step_time")["page a"] == 1
    with pytest.raises(SystemExit):
        small("nowhere")
    assert "there is no module, part or case nowhere" in capsys.readouterr().err
