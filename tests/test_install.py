"""The wheel in a user's environment that has numpy and nothing else of ours: the commands work, and
nothing that was there is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
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
MINE = """
import snippets.definitions, measurements, serving_mathematics
from serving_mathematics.support.measuring import read_record
print(snippets.MINE, measurements.MINE, len(read_record("rest_grpc")) > 2)
print(serving_mathematics.__file__)
"""


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of an environment that is not bytecode, and its content."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }


def folders_of(packages: Path) -> set[str]:
    """What lies side by side where packages are installed."""
    return {path.name for path in packages.iterdir()} - {"__pycache__"}


@its_turn(1)
@pytest.mark.skipif(sys.platform == "win32", reason="looks for bin/python")
def test_installed_used_and_removed_beside_a_users_packages(wheel: Path, tmp_path: Path) -> None:
    """With numpy lent, and two packages of the user's own under names that were ours once."""
    folder, lent = tmp_path / "venv", Path(sysconfig.get_path("purelib"))
    empty = tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=tmp_path)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in ("numpy", "numpy.libs"):
        if (lent / name).exists():
            (packages / name).symlink_to(lent / name)
    for name, text in USERS_OWN.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text, encoding="utf-8")
    files, folders = files_of(folder), folders_of(packages)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    assert files.items() <= files_of(folder).items(), "installing changed what was there"

    def python(*words: str) -> str:
        return run(folder / "bin" / "python", *words, cwd=empty)

    def command(*words: str) -> str:
        return run(folder / "bin" / "serving-mathematics", *words, cwd=empty)

    mine, where = python("-c", MINE).splitlines()
    assert mine == "1 3 True"
    assert where.startswith(str(packages))
    assert python("-c", WITHOUT) == "pip install matplotlib\n"
    question = ("--rate-per-s", "0.5", "--requests", "1000")
    assert "replica" in python("-m", PACKAGE, "plan", *question, "--figure", "plan.svg")
    assert (empty / "plan.svg").stat().st_size > 1000
    row = "model,system,isl,osl,concurrency\nLlama-3.1-8B,H100,500,100,4\n"
    (empty / "rows.csv").write_text(row, encoding="utf-8")
    assert "Llama-3.1-8B" in command("predict", "rows.csv")
    checked = command("check", "definitions.utilization.pooling")
    assert "PASS" in checked
    assert "FAIL" not in checked
    assert "def busy_from_log" in command("exercises", "definitions/utilization")

    run(*pip, "uninstall", "--quiet", "--yes", "serving-mathematics", cwd=folder)
    assert files_of(folder) == files
    assert folders_of(packages) == folders
