"""The benchmark of fleets, in a tiny run."""

from __future__ import annotations

import sys

import pytest

from benchmarks import fleets


def test_a_tiny_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fleets, "REPLICAS", (2, 3))
    sizes = ["--requests", "40", "--sessions", "2", "--rounds", "2"]
    monkeypatch.setattr(sys, "argv", ["fleets.py", *sizes])
    fleets.main()
    lines = capsys.readouterr().out.splitlines()
    names = [line.partition("  ")[0] for line in lines]
    assert names[:3] == ["chat, 2 replicas", "chat, 3 replicas", "chat, 2 apart"]
    assert len(lines) == 3 + len(fleets.ROUTED)
    assert all("requests/s (" in line for line in lines)


def test_a_small_day(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fleets.py", "--day", "50"])
    fleets.main()
    assert capsys.readouterr().out.startswith("50 requests: ")
