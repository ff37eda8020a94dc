"""What computes needs numpy alone, and a download runs without anything else of ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from builder import ROOT
from builder.source import module_names

from .recorded import HERE

IMPORTS_ALL = """
import importlib, json, sys
for name in json.loads(sys.stdin.read()):
    importlib.import_module(f"serving_mathematics.{name}")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"matplotlib", "scipy", "pandas", "fastapi", "onnxruntime", "distributed", "builder"}


def test_importing_every_pure_module_takes_numpy_alone() -> None:
    files = {name: HERE.sources.module(name).source for name in module_names(ROOT)}
    pure = [
        name for name in files if not HERE.sources.needs(name) and "pydantic" not in files[name]
    ]
    assert len(pure) > 140
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_ALL],
        env=os.environ | {"PYTHONPATH": str(ROOT / "snippets")},
        input=json.dumps(pure),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert "numpy" in loaded
    assert not loaded & HEAVY


def test_copies_can_be_read_by_python_3_11() -> None:
    """A copy reads its annotations; an array takes parameters from 3.12 on."""
    annotation = re.compile(r"(?:->|: )[^=\"'#\n]*\barray\[\w+\]")
    for name in module_names(ROOT):
        written = annotation.findall(HERE.sources.module(name).source)
        assert not written, f"{name}: write {written[0]} in quotes, under a name of its own"


def test_the_planners_download_plans(site: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(site / "downloads" / "planner-form.zip") as archive:
        archive.extractall(tmp_path)
    words = ["plan", "--rate-per-s", "2", "--requests", "400", "--ttft-s", "2"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUNS_THERE, str(tmp_path), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "binding constraint" in done.stdout


RUNS_THERE = """
import runpy, sys
sys.path[:] = [sys.argv.pop(1), *(p for p in sys.path if not p.endswith("snippets"))]
import serving_mathematics
assert serving_mathematics.__file__.startswith(sys.path[0]), serving_mathematics.__file__
sys.argv[0] = "serving-mathematics"
runpy.run_module("serving_mathematics", run_name="__main__")
"""
