"""The foreign packages that we are compared with, in an environment of their own, and processes
that run one function after another in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".cache" / "bench"
PEERS = {  # name as pip knows it: range
    "simpy": ">=4.1,<5",
    "ciw": ">=3.2,<4",
    "cimba": ">=0.9.5,<1",
    "ddsketch": ">=3,<4",
    "crick": ">=0.0.8,<0.1",
    "fastdigest": ">=0.12,<1",
    "datasketches": ">=5.2,<6",
}
LIMIT_S = 600.0  # for one answer
PATIENCE_S = 5.0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def peers_python(name: str = "peers", packages: Mapping[str, str] = PEERS) -> Path:
    """The Python of an environment, made by pip on first use, with the numpy that we have."""
    python = FOLDER / name / "bin" / "python"
    wanted = [f"numpy=={np.__version__}", *(f"{one}{span}" for one, span in packages.items())]
    done = FOLDER / f"{name}.txt"
    if done.is_file() and done.read_text("utf-8").split() == wanted and python.exists():
        return python
    FOLDER.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(FOLDER / name)], [*pip, *wanted]):
        made = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if made.returncode:
            raise BenchmarkError(f"{command[:6]} failed:\n{made.stderr[-2000:]}")
    done.write_text("\n".join(wanted), encoding="utf-8")
    return python


class Worker:
    """A process that answers: it calls functions of `benchmarks` and waits for the next request."""

    def __init__(self, python: Path) -> None:
        """Start it."""
        environment = (
            os.environ
            | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "snippets")])}
            | dict.fromkeys(THREADS, "1")
        )
        self.process = subprocess.Popen(
            [str(python), "-m", "benchmarks.environment"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, module: str, function: str, **arguments: Any) -> Any:
        """What `benchmarks.<module>.<function>` returns. Raises BenchmarkError when it failed."""
        process = self.process
        assert process.stdin
        assert process.stdout
        request = {"module": module, "function": function, "arguments": arguments}
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], LIMIT_S)
        line = process.stdout.readline() if ready else b""
        answer = json.loads(line) if line else {"error": "no answer"}
        if "error" in answer:
            raise BenchmarkError(f"{module}.{function}({arguments}): {answer['error']}")
        return answer["result"]

    def end(self) -> None:
        """Close its input, which ends it; kill it when that does not."""
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@contextlib.contextmanager
def workers(pythons: Sequence[Path]) -> Iterator[list[Worker]]:
    """One process for each Python, ended when the block is left."""
    started: list[Worker] = []
    try:
        for python in pythons:
            started.append(Worker(python))
        yield started
    finally:
        for worker in started:
            worker.end()


def installed(names: Sequence[str]) -> dict[str, str]:
    """Versions of packages; a worker answers for its own environment."""
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in names}


def _serve() -> None:
    """Answer requests, one line of JSON each; whatever else is printed goes to standard error."""
    import importlib

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            module = importlib.import_module(f"benchmarks.{request['module']}")
            answer = {"result": getattr(module, request["function"])(**request["arguments"])}
        except Exception as problem:
            answer = {"error": f"{type(problem).__name__}: {problem}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
