"""The benchmark of fleets, in tiny runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import ROUTERS
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.support import measuring

from benchmarks import environment, fleet_peers, fleets
from benchmarks.processes import BenchmarkError

ROWS = "\n".join(
    f"2023-11-16 18:{k // 60:02d}:{k % 60:02d},{9 + k % 90},{k % 30}" for k in range(40)
)
TRACE = f"TIMESTAMP,ContextTokens,GeneratedTokens\n{ROWS}\n"


class Beside:
    """A worker in this process, which answers at once."""

    def ask(self, module: str, function: str, **given: Any) -> Any:
        if module == "fleets":
            return getattr(fleets, function)(**given)
        raise BenchmarkError(f"{module}.{function}(…): ImportError: none here")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Few replicas, no processes and short peers; a folder for traces."""

    @contextlib.contextmanager
    def workers(_pythons: object) -> Iterator[list[Beside]]:
        yield [Beside()]

    monkeypatch.setattr(fleets, "REPLICAS", (2, 3))
    monkeypatch.setattr(fleets, "PEER_REQUESTS", 40)
    monkeypatch.setattr(environment, "workers", workers)
    monkeypatch.setattr(environment, "peers_python", lambda **_: Path("python"))
    return tmp_path


def _run(folder: Path, *more: str) -> int:
    sizes = ["--requests", "40", "--sessions", "2", "--rounds", "2", "--day", "50"]
    return fleets.main([*sizes, "--traces", str(folder), "--output", str(folder), *more])


def test_without_traces_no_record_is_written(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(small) == 0
    told = capsys.readouterr()
    names = [line.partition("  ")[0] for line in told.out.splitlines()]
    assert names[:3] == ["chat, 2 replicas", "chat, 3 replicas", "chat, 2 apart"]
    assert "no record without" in told.err
    assert not list(small.iterdir())


def test_the_record_has_day_traces_and_what_a_peer_said(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "TRACES", dict.fromkeys(["chat", "agents"], "trace.csv"))
    (small / "trace.csv").write_text(TRACE)
    assert _run(small) == 0
    monkeypatch.setattr(measuring, "FOLDER", small)
    record = measuring.read_record(fleets.RECORD)
    assert record["day"]["requests"] == 50
    assert record["day"]["memory_gb"] > 0.01
    for row in record["traces"].values():
        assert row["requests"] == 40
        assert {f"router: {name}" for name in ROUTERS} < set(row["seconds"])
    assert {row["said"] for row in record["peers"].values()} == {"ImportError: none here"}


def test_what_prompts_share_is_kept_and_one_policy_more() -> None:
    plain = fleets.policies(Requests(np.arange(5.0), [100] * 5, [10] * 5))
    shared = prefixes_of_reuse([-1, 0, 1, 2, 3], [0, 64, 64, 64, 64], [100] * 5)
    more = fleets.policies(Requests(np.arange(5.0), [100] * 5, [10] * 5, prefixes=shared))
    assert not any(fleet.caching for fleet in plain.values())
    assert all(fleet.caching for fleet in more.values())
    assert set(more) - set(plain) == {"a cache on the host"}
    assert {len(fleet.engines) for fleet in more.values()} == {fleets.EIGHT}


@pytest.mark.usefixtures("small")
def test_a_peer_that_finds_the_same_is_not_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(_self: Beside, _module: str, _function: str, **given: Any) -> Any:
        return fleets._ours(Requests(**given["asked"]), given["engine"], given["replicas"])

    monkeypatch.setattr(Beside, "ask", same)
    rng = np.random.default_rng(3)
    trace = Requests(np.sort(rng.random(40)), rng.integers(1, 900, 40), rng.integers(1, 90, 40))
    found = fleets.peers(trace, 2)
    assert list(found) == list(fleet_peers.PACKAGES)
    for row in found.values():
        assert row["ttft_s"]["furthest"] == row["tpot_s"]["furthest"] == 0
        assert row["ratio"]["median"] > 0


def test_a_trace_for_the_replay_shares_nothing() -> None:
    asked: dict[str, list[float]] = {"arrival_s": [0.0, 1.0], "output_tokens": [1, 2]}
    asked["prompt_tokens"] = [17, 16]
    lines = fleet_peers._lines(asked, 16)
    assert '"hash_ids": [0, 1]' in lines[0]
    assert '"hash_ids": [2]' in lines[1]
