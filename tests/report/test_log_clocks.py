from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from serving_mathematics.report.request_log import read_log

from .example_runs import at


@pytest.mark.parametrize("empty", [[], ["3,,9,3"]])
def test_sessions_that_count_from_their_start_have_no_common_clock(empty: list[str]) -> None:
    lines = ["session,t_s,prompt_tokens,output_tokens"]
    lines += [f"{s},{k}.0,9,3" for s in range(30) for k in (0, 7)] + empty
    run = read_log("\n".join(lines), "a.csv")
    assert not run.has("sent_s")
    assert run.columns["session"].max() == 29


CUTS = [((600,), 0, 0), ((300, 700), 0, 0), ((600,), 9, 1)]


@pytest.mark.parametrize(("cuts", "put", "back"), CUTS)
def test_files_of_one_log_in_another_order_are_one_log(
    cuts: tuple[int, ...], put: float, back: int
) -> None:
    """As cat log log.1 writes them; a clock that was set leaves a gap that no request fills."""
    sent = 1.7e9 + np.cumsum(np.random.default_rng(2).exponential(0.5, 1000))
    parts = np.split(sent, cuts)[::-1]
    rows = [f"{x - put * (place > 0):.4f},100" for place, part in enumerate(parts) for x in part]
    run = read_log("\n".join(["t_s,latency_ms", *rows]), "a.csv")
    assert sum("goes back by" in note for note in run.notes) == back
    if not back:
        assert run.columns["sent_s"] == pytest.approx(sent - sent[0], abs=1e-3)


@pytest.mark.parametrize(
    ("ahead", "slow", "told"), [(30, 0.4, 1), (0, 9.0, 0), (1.5, 9.0, 0), (0.5, 0.1, 0)]
)
def test_a_clock_that_is_ahead_is_asked_about(ahead: float, slow: float, told: int) -> None:
    """Not where first tokens are late by a queue, of which some had none, or late by little."""
    rng = np.random.default_rng(3)
    first, rows = ahead + rng.exponential(slow, 200), ["start_time,first_token_at"]
    rows += [f"{1.7e9 + i},{1.7e9 + i + late:.3f}" for i, late in enumerate(first)]
    run = read_log("\n".join(rows), "a.csv")
    assert sum("do their clocks differ?" in note for note in run.notes) == told


@pytest.mark.parametrize("moment", ["first_token_at", "end_time"])
def test_a_clock_of_one_replica_that_is_ahead_is_asked_about(moment: str) -> None:
    """Of three, whose clocks else agree; of ends only where answers differ in length."""
    rng = np.random.default_rng(4)
    rows = [f"start_time,pod,{moment},output_tokens"]
    for i, late in enumerate(rng.uniform(0.2, 0.9, 300).tolist()):
        at_s = 1.7e9 + i
        rows.append(f"{at_s},p{i % 3},{at_s + late + 8 * (i % 3 == 2):.3f},{10 + i % 90}")
    said = read_log("\n".join(rows), "a.csv").notes[0]
    assert said.startswith(f"{moment} is 8.2")
    assert said.endswith(
        "s after start_time in every row of pod p2, or more: do their clocks differ?"
    )
    even = [row.rpartition(",")[0] + ",50" for row in rows[1:]]
    told = " ".join(read_log("\n".join([rows[0], *even]), "a.csv").notes)
    assert ("clocks differ" in told) == (moment == "first_token_at")


def test_long_prompts_are_late_by_themselves() -> None:
    """All of 30,000 tokens and so nearly as late; by as much more they would not be."""
    for tokens, told in ((30_000, False), (300, True)):
        rows = [f"{1.7e9 + i},{1.7e9 + i + 3 + i % 7 / 20},{tokens}" for i in range(100)]
        text = "\n".join(["start_time,first_token_at,prompt_tokens", *rows])
        assert ("clocks differ" in " ".join(read_log(text, "a.csv").notes)) == told


def test_an_hour_without_a_request_between_two_runs_is_said() -> None:
    sent = np.r_[np.arange(60.0), 3700 + np.arange(60.0)]
    shorter = (
        np.r_[sent[:60], 100 + np.arange(60.0)],
        ["nothing came for 41 s from 59 s on, and for 1"],
    )
    for moments, told in ((sent, ["nothing came for 3,641 s of 3,759"]), (sent[:60], []), shorter):
        run = read_log("\n".join(["t_s,latency_ms", *(f"{x},100" for x in moments)]), "a.csv")
        assert [
            note.partition(":")[0].partition(" s at most")[0]
            for note in run.notes
            if "nothing" in note
        ] == told


def test_a_pause_in_a_log_of_days_has_a_date() -> None:
    sent = np.r_[np.arange(0, 1e5, 50), np.arange(2e5, 3e5, 50)]
    dated = [datetime.fromtimestamp(1.7e9 + x, UTC).isoformat() for x in sent]
    said = " ".join(read_log("\n".join(["start,ttft_ms", *(f"{x},90" for x in dated)]), "a").notes)
    assert "from 2023-11-16 01:59 UTC on" in said
    bare = read_log("\n".join(["start_s,ttft_ms", *(f"{x},90" for x in sent)]), "a").notes
    assert "from 99,950 s on" in " ".join(bare)


def test_stretches_of_replicas_stand_side_by_side() -> None:
    rows = [f"{of},{at(i + shift)},900" for of, shift in (("a", 0), ("b", 0.5)) for i in range(300)]
    run = read_log("\n".join(["replica,timestamp,latency_ms", *rows]), "a")
    assert run.columns["sent_s"].max() == pytest.approx(299.5)
    assert "replica names 2, taken as one engine" in run.notes[0]
    joined = read_log("\n".join(["name,timestamp,latency_ms", *rows]), "a")
    assert joined.columns["sent_s"].max() > 590
    assert "(sort the rows of engines side by side)" in " ".join(joined.notes)


def test_a_request_that_lasted_while_a_clock_was_set_back_tells_no_time() -> None:
    """In the night in which an hour comes twice, as clocks on the wall write it."""
    sent = 10.0 * np.arange(400)
    ends = sent + np.where(np.arange(400) % 50 == 0, 12.0, 3.0)
    wall = [np.where(x < 2001.0, x, x - 3600.0) for x in (sent, ends)]
    rows = [f"{1.7e9 + a},{1.7e9 + b}" for a, b in zip(*wall, strict=True)]
    run = read_log("\n".join(["start_s,end_s", *rows]), "a")
    assert np.flatnonzero(np.isnan(run.columns["latency_s"])).tolist() == [200]
    assert "; times of 1 that lasted across it are left out" in " ".join(run.notes)
