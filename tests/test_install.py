"""The wheel in a user's environment: the commands work, and nothing that was there is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder import PACKAGE, ROOT

from .profiles import its_turn

USERS_OWN = {
    "snippets/__init__.py": "MINE = 1\n",
    "snippets/definitions/__init__.py": "MINE = 2\n",
    "measurements/__init__.py": "MINE = 3\n",
    "measurements/rest_grpc.json": "{}\n",
}
BUILD = "from setuptools import build_meta; build_meta.build_wheel('wheels')"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints, which must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what is under version control or could be, without fetching."""
    project = tmp_path_factory.mktemp("project")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, project)
    for folder in ("snippets", "builder", "tests", "benchmarks"):  # all that could slip in
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / folder, project / folder, ignore=ignored)
    run(sys.executable, "-c", BUILD, cwd=project)
    (built,) = (project / "wheels").glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    version = wheel.name.split("-")[1]
    assert {name.partition("/")[0] for name in names} == {
        PACKAGE,
        f"{PACKAGE}-{version}.dist-info",
    }
    packed = {name for name in names if name.startswith(f"{PACKAGE}/")}
    package = ROOT / "snippets" / PACKAGE
    kept = {
        f"{PACKAGE}/{file.relative_to(package).as_posix()}"
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert packed == kept


@dataclass
class Environment:
    """A fresh virtual environment with the packages of a user; numpy and others are lent to it."""

    folder: Path
    packages: Path

    def python(self, *arguments: str) -> str:
        """What Python prints here, run from a folder with nothing in it."""
        empty = self.folder.parent / "empty"
        empty.mkdir(exist_ok=True)
        lent = sysconfig.get_path("purelib")
        return run(self.folder / "bin" / "python", *arguments, cwd=empty, PYTHONPATH=lent)

    def command(self, *arguments: str) -> str:
        """What the installed command prints here."""
        return self.python(str(self.folder / "bin" / "serving-mathematics"), *arguments)

    def pip(self, *arguments: str | Path) -> None:
        """Change what is installed, without a network."""
        pip = (sys.executable, "-m", "pip", "--python", self.folder / "bin" / "python")
        run(*pip, *arguments, cwd=self.folder)

    def files(self) -> dict[str, bytes]:
        """Every file of the environment that is not bytecode, and its content."""
        return {
            file.relative_to(self.folder).as_posix(): file.read_bytes()
            for file in self.folder.rglob("*")
            if file.is_file() and file.suffix != ".pyc"
        }

    def folders(self) -> set[str]:
        """What lies side by side where packages are installed."""
        return {path.name for path in self.packages.iterdir()} - {"__pycache__"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Fresh, with two packages of the user's own under names that were ours once."""
    folder = tmp_path_factory.mktemp("install") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name, text in USERS_OWN.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text, encoding="utf-8")
    yield Environment(folder, packages)
    shutil.rmtree(folder)


@its_turn(2)
@pytest.mark.skipif(sys.platform == "win32", reason="looks for bin/python")
def test_installed_used_and_removed_beside_a_users_packages(
    wheel: Path, environment: Environment
) -> None:
    files, folders = environment.files(), environment.folders()
    environment.pip("install", "--quiet", "--no-index", "--no-deps", wheel)
    assert files.items() <= environment.files().items(), "installing changed what was there"
    where = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    assert environment.python("-c", where).startswith(str(environment.packages))

    checked = environment.command("check", "definitions.utilization.pooling")
    assert "PASS" in checked
    assert "FAIL" not in checked
    question = ("--rate-per-s", "0.5", "--requests", "1000")
    assert "utilization" in environment.command("exercises")
    assert "replica" in environment.python("-m", PACKAGE, "plan", *question)
    read = (
        f"from {PACKAGE}.support.measuring import read_record; print(len(read_record('rest_grpc')))"
    )
    assert int(environment.python("-c", read)) > 2
    mine = "import snippets.definitions, measurements; print(snippets.MINE, measurements.MINE)"
    assert environment.python("-c", mine).split() == ["1", "3"]

    environment.pip("uninstall", "--quiet", "--yes", "serving-mathematics")
    assert environment.files() == files
    assert environment.folders() == folders


WITHOUT = """
import importlib.metadata, sys
from serving_mathematics.support.extras import install_command
asked = importlib.metadata.requires("serving-mathematics")
assert [r for r in asked if "extra ==" not in r] == ["numpy<3,>=2.3"], asked
try:
    import matplotlib
except ModuleNotFoundError as missing:
    print(install_command(missing.name))
"""


@its_turn(1)
@pytest.mark.skipif(sys.platform == "win32", reason="looks for bin/python")
def test_all_that_does_not_draw_runs_with_numpy_alone(wheel: Path, tmp_path: Path) -> None:
    folder, lent = tmp_path / "venv", Path(sysconfig.get_path("purelib"))
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=tmp_path)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in ("numpy", "numpy.libs"):
        if (lent / name).exists():
            (packages / name).symlink_to(lent / name)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=tmp_path)

    def command(*words: str) -> str:
        return run(folder / "bin" / "serving-mathematics", *words, cwd=tmp_path)

    assert run(folder / "bin" / "python", "-c", WITHOUT, cwd=tmp_path) == "pip install matplotlib\n"
    question = ("--rate-per-s", "0.5", "--requests", "1000")
    assert "replica" in command("plan", *question, "--figure", "plan.svg")
    assert (tmp_path / "plan.svg").stat().st_size > 1000
    row = "model,system,isl,osl,concurrency\nLlama-3.1-8B,H100,500,100,4\n"
    (tmp_path / "rows.csv").write_text(row, encoding="utf-8")
    assert "Llama-3.1-8B" in command("predict", "rows.csv")
    assert "FAIL" not in command("check", "definitions.utilization.pooling")
    assert "def busy_from_log" in command("exercises", "definitions/utilization")
