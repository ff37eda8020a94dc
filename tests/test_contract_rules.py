"""The contract and the alerts of the chapter on endpoints: read, and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT as MACHINE
from serving_mathematics.core.machines.machines import MIXTURE
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import CHAT, read_contract

from builder import ROOT

from .promql import Series
from .rule_files import firing

ENGINES = ("vllm", "sglang")
CHAT_ALONE = '{model_name="chat"}'
PAGE = ROOT / "docs" / "intuition" / "endpoints-as-contracts.md"
DOWNLOADS = ROOT / "docs" / "downloads"


def run(engine: str, prompt: float, answer: float = 210.0, cut: float = 0.05) -> set[str]:
    """The alerts that fire at the end of two hours with a request a second."""
    steady = np.full(120, 60.0)
    series: dict[str, Series] = {
        f"vllm:request_prompt_tokens_sum{CHAT_ALONE}": prompt * steady,
        f"vllm:request_prompt_tokens_count{CHAT_ALONE}": steady,
        f"vllm:request_success_total{CHAT_ALONE}": steady,
        'vllm:request_success_total{model_name="chat",finished_reason="length"}': cut * steady,
        f"sglang:prompt_tokens_total{CHAT_ALONE}": prompt * steady,
        f"sglang:generation_tokens_total{CHAT_ALONE}": answer * steady,
        f"sglang:num_requests_total{CHAT_ALONE}": steady,
    }
    other = {name.replace(CHAT_ALONE, ""): 9e3 * steady for name in series}  # models beside it
    series = other | series
    return firing(f"endpoint-contract-{engine}", series)


@pytest.mark.parametrize("engine", ENGINES)
def test_alerts_fire_beyond_their_bounds(engine: str) -> None:
    assert run(engine, 1150) == run(engine, 1260) == run(engine, 1040) == set()
    assert run(engine, 1270) == run(engine, 1030) == {"PromptsCountOtherwise"}


def test_answers_that_end_otherwise_are_told() -> None:
    assert run("vllm", 1150, cut=0.11) == {"AnswersCutMoreOften"}
    for tokens in (140, 280):
        assert run("sglang", 1150, tokens) == {"AnswersCountOtherwise"}


def test_the_file_is_the_contract_of_the_chapter_with_the_field_of_today() -> None:
    given = read_contract((DOWNLOADS / "endpoint-contract.json").read_text("utf-8"))
    renamed = CHAT.event_fields - {"reasoning_content"} | {"reasoning"}
    assert given == replace(CHAT, event_fields=renamed)


def test_the_page_hands_out_the_contract() -> None:
    assert "](../downloads/endpoint-contract.json)" in PAGE.read_text("utf-8")


def test_lengths_alone_do_not_fire_the_alert_on_prompts() -> None:
    """The mean of a thousand prompts stays within a tenth, at three standard errors; of the
    mixture, whose prompts vary more, only that of as many as the page's formula says."""
    prompts = MACHINE.sample.prompt_tokens
    assert 3 * prompts.std() / prompts.mean() / 1000**0.5 < 0.1
    longer, rng = MIXTURE.sample.prompt_tokens, np.random.default_rng(5)
    needed = round((30 * longer.std() / longer.mean()) ** 2)
    assert needed > 1000
    fired = [
        np.mean(abs(rng.choice(longer, (4000, size)).mean(axis=1) / longer.mean() - 1) > 0.1)
        for size in (1000, needed)
    ]
    assert fired[0] > 0.006 > fired[1]  # of a normal mean, 0.0027 are beyond three errors


def commands() -> list[str]:
    """What the page has for a shell."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


class Engine(BaseHTTPRequestHandler):
    """What an engine says of itself, but for the paths that are left out."""

    missing: ClassVar[set[str]] = set()
    fields: ClassVar[tuple[str, ...]] = ("id", "created")  # of an answer
    cache = "auto"  # type of SGLang's
    asked = 0

    def do_GET(self) -> None:
        Engine.asked += 1
        found = self.path not in self.missing
        self.send_response(200 if found else 404)
        self.end_headers()
        moving = {"created": self.asked, "permission": [{"id": f"{self.asked}"}]}
        told = {
            "/v1/models": {"data": [moving | {"max_model_len": 8192}]},
            "/version": {"version": "0.9"},
            "/server_info": {
                "version": "0.5",
                "kv_cache_dtype": self.cache,
                "random_seed": self.asked,
            },
            "/openapi.json": {"properties": {name: {"type": "integer"} for name in self.fields}},
        }.get(self.path)
        self.wfile.write(json.dumps(told if found else {"detail": "Not Found"}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "jq", "sha256sum"))), reason="needs curl and jq"
)
def test_a_fingerprint_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum is that of what the engine says, and there is none where it does not answer."""
    command = commands()[0]
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"

        def summed(command: str = command) -> subprocess.CompletedProcess[str]:
            environment = {"PATH": os.environ["PATH"], "URL": url, "KEY": "none"}
            return subprocess.run(
                ["bash", "-c", command],
                env=environment,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )

        first, again = summed(), summed()
        assert (first.returncode, again.returncode) == (0, 0)
        assert first.stdout == again.stdout
        assert re.fullmatch(r"[0-9a-f]{64}  -\n", first.stdout)
        other = command.replace(" version ", " server_info ")
        told = {summed(other).stdout for _ in range(2)}
        assert len(told) == 1  # SGLang's, of which the seed moves
        with monkeypatch.context() as changed:
            changed.setattr(Engine, "cache", "fp8_e5m2")
            assert summed(other).stdout not in told
        with monkeypatch.context() as changed:
            changed.setattr(Engine, "fields", ("id",))
            assert summed().stdout != first.stdout  # a field that answers no longer have
        for path in ("/v1/models", "/openapi.json"):
            monkeypatch.setattr(Engine, "missing", {path})
            assert (summed().returncode, summed().stdout) == (1, "")
        server.shutdown()
    assert (summed().returncode, summed().stdout) == (1, "")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_a_build_ends_unless_the_new_contract_may_go_out(tmp_path: Path) -> None:
    command = commands()[-1]
    text = (DOWNLOADS / "endpoint-contract.json").read_text("utf-8")
    (tmp_path / "old.json").write_text(text, "utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for old, new, told in (
        ("131072", "131072", ""),
        ('"a3f1"', '"b7e2"', "evaluate"),
        (', "tool_calls"', "", "evaluate"),
        ("131072", "8192", "new path"),
    ):
        (tmp_path / "new.json").write_text(text.replace(old, new), "utf-8")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr.strip()) == (1 if told else 0, told)
