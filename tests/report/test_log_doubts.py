from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from serving_mathematics.report.evidence import _rates_told
from serving_mathematics.report.request_log import read_log

from .example_runs import at


@pytest.mark.parametrize("empty", [[], ["3,,9,3"]])
def test_sessions_that_count_from_their_start_have_no_common_clock(empty: list[str]) -> None:
    lines = ["session,t_s,prompt_tokens,output_tokens"]
    lines += [f"{s},{k}.0,9,3" for s in range(30) for k in (0, 7)] + empty
    run = read_log("\n".join(lines), "a.csv")
    assert not run.has("sent_s")
    assert run.columns["session"].max() == 29


def test_rows_that_stand_twice_are_counted_once() -> None:
    """Cell for cell, where an id or a fine clock says that they are one request."""
    rows = [f"r{i},{i * 0.7301:.4f},100,9" for i in range(40)]
    head = "request_id,t_s,latency_ms,output_tokens"
    run = read_log("\n".join([head, *rows, *rows[5:15]]), "a.csv")
    assert run.size == 40
    assert "10 rows stand there again" in run.notes[-1]
    coarse = [f"{i // 8},100,9" for i in range(40)]
    assert read_log("\n".join(["t_s,latency_ms,output_tokens", *coarse]), "a.csv").size == 40


@pytest.mark.parametrize(("longest", "size"), [(512, 50), (520, 50), (900, 8)])
def test_clients_in_step_write_the_same_row(longest: int, size: int) -> None:
    """Of one length each, so that those who asked together get their answers together."""
    rows = [f"{i // 8 * 0.7301:.4f},100,{(512, longest)[i // 8 % 2]}" for i in range(48)]
    rows += ["9.001,100,512", "9.002,100,512"]
    run = read_log("\n".join(["t_s,latency_ms,output_tokens", *rows]), "a.csv")
    assert run.size == size
    said = [note for note in run.notes if "stand there again" in note]
    assert said[0].endswith("each, as all have one length" if size == 50 else "once")


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


@pytest.mark.parametrize(("ahead", "slow", "told"), [(30, 0.4, 1), (0, 9.0, 0), (0.5, 0.1, 0)])
def test_a_clock_that_is_ahead_is_asked_about(ahead: float, slow: float, told: int) -> None:
    """Not where first tokens are late by a queue, of which some had none, or late by little."""
    rng = np.random.default_rng(3)
    first, rows = ahead + rng.exponential(slow, 200), ["start_time,first_token_at"]
    rows += [f"{1.7e9 + i},{1.7e9 + i + late:.3f}" for i, late in enumerate(first)]
    run = read_log("\n".join(rows), "a.csv")
    assert sum("do their clocks differ?" in note for note in run.notes) == told


def test_an_id_at_two_moments_is_another_try() -> None:
    rows = [f"r{i},{i}.5,100" for i in range(20)] + ["r3,30.5,100", "r3,40.5,100", "r7,50.5,100"]
    run = read_log("\n".join(["request_id,t_s,latency_ms", *rows]), "a.csv")
    assert run.columns["attempt"].tolist() == [1.0] * 20 + [2.0, 3.0, 2.0]
    turns = [f"r{i % 4},{i}.5,100" for i in range(20)]  # an id of something else
    assert not read_log("\n".join(["request_id,t_s,latency_ms", *turns]), "a.csv").has("attempt")


@pytest.mark.parametrize(("failed", "tries"), [(True, 3.0), (False, None)])
def test_a_plain_id_is_of_a_request_where_the_one_before_failed(
    failed: bool, tries: float | None
) -> None:
    rows = [f"{i},{i},{500 if failed and i in (5, 40) else 200}" for i in range(60)]
    rows += ["70,5,500" if failed else "70,5,200", "80,5,200", "75,40,200"]
    run = read_log("\n".join(["start_s,id,status", *rows]), "a.csv")
    assert (run.column("attempt").max() if run.has("attempt") else None) == tries


def test_answers_that_came_whole_have_no_first_token() -> None:
    rows = ["0.5,900,900,50", "1.5,100,900,50", "2.5,0,900,50", "3.5,900,900,1"]
    run = read_log("\n".join(["t_s,ttft_ms,latency_ms,output_tokens", *rows]), "a.csv")
    assert np.isnan(run.columns["ttft_s"]).tolist() == [True, False, True, False]
    assert "2 answers came whole" in run.notes[-1]


def test_tokens_that_could_be_found_were_not() -> None:
    rows = [f"{i}.5,100,80" for i in range(9)]
    run = read_log("\n".join(["t_s,prompt_tokens,reusable_tokens", *rows]), "a.csv")
    assert run.shares_prefix == 0.8
    assert not run.has("cached_tokens")


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


def test_one_row_that_lasts_longer_than_the_log_is_named_and_left_out() -> None:
    """Rates are those of the rest; empty cells are counted."""
    rows = [f"{i},{i % 7 + 1},0.2,100,20" for i in range(400)]
    rows[250] = "250,864000,0.2,100,20"
    rows[9] = "9,2,,100,20"
    head = "timestamp_s,e2e_s,ttft_s,prompt_tokens,completion_tokens"
    run = read_log("\n".join([head, *rows]), "a.csv")
    notes = "; ".join(run.notes)
    assert "row 252, column e2e_s: 864,000 s is longer than the log and was left out" in notes
    assert "no value in 1 of 400 requests that did not fail: ttft_s (1)" in notes
    assert _rates_told(run)["seconds"] < 410


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


def test_latencies_over_which_a_clock_was_put_forward_are_left_out() -> None:
    local = [f"2026-03-29T{'01:59' if i < 60 else '03:00'}:{i % 60:02d}" for i in range(120)]
    ends = [*local[3:], "2026-03-29T03:01:00", "2026-03-29T03:01:01", "2026-03-29T03:01:02"]
    rows = [",".join(pair) for pair in zip(local, ends, strict=True)]
    run = read_log("\n".join(["start_time,end_time", *rows]), "a")
    assert np.isnan(run.columns["latency_s"]).sum() == 3
    assert np.nanmax(run.columns["latency_s"]) == 3
    told = "row 59 and 2 more, column end_time: 3,603 s is longer than a pause of the log"
    assert any(note.startswith(told) for note in run.notes)
