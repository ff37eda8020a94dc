"""Sessions of a table: what is read of them, and that they are served as drawn ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.optimization.caching import real_sessions
from serving_mathematics.optimization.caching.real_sessions import _asked, _sessions_of_table, main

HEAD = "session,prompt_tokens,output_tokens,reusable_tokens,think_s"
ROWS = [f"{i // 5},{2000 + 400 * (i % 5)},{i % 300},{500 * (i % 5)},{i % 7}" for i in range(400)]


def test_a_session_is_cut_and_repeats_no_more_than_it_sent() -> None:
    rows = ["a,250000,0,7,", *(f"a,{300_000 + i},5000,299000,9999" for i in range(40))]
    (turns,) = _sessions_of_table("\n".join([HEAD, *rows]))
    assert len(turns) == 25
    assert turns[0] == (190_000, 1, 0, 0.0)
    assert turns[1] == (190_000, 2000, 189_999, 600.0)


def test_sessions_begin_more_often_in_the_burst() -> None:
    sessions = _sessions_of_table("\n".join([HEAD, *ROWS]))
    asked = _asked(sessions, 0.05, 0)
    begins = asked.arrival_s[asked.after < 0]
    assert begins.size == 450 + 270
    assert np.mean((begins > 2400) & (begins < 4200)) == pytest.approx((270 + 90) / 720, abs=0.03)
    assert asked.pause_s[asked.after >= 0].max() == 6


def test_the_command_writes_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "agents.csv"
    file.write_text("\n".join([HEAD, *ROWS]))
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(real_sessions, "write_record", lambda _, content: written.append(content))
    monkeypatch.setattr(real_sessions, "RATES", (0.01,))
    monkeypatch.setattr(real_sessions, "SEEDS", 1)
    assert main([str(file)]) == 0
    runs = written[0]["runs"]
    assert [run["limit"] for run in runs] == list(real_sessions.LIMITS)
    assert all(run["served"] == 100 for run in runs)
