from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.report.evidence import _rates_told
from serving_mathematics.report.request_log import read_log


def test_rows_that_stand_twice_are_counted_once() -> None:
    """Cell for cell, where an id or a fine clock says that they are one request."""
    rows = [f"r{i},{i * 0.7301:.4f},100,9" for i in range(40)]
    head = "request_id,t_s,latency_ms,output_tokens"
    run = read_log("\n".join([head, *rows, *rows[5:15]]), "a.csv")
    assert run.size == 40
    assert "10 rows stand there again" in run.notes[-1]
    coarse = [f"{i // 8},100,9" for i in range(40)]
    assert read_log("\n".join(["t_s,latency_ms,output_tokens", *coarse]), "a.csv").size == 40


def test_lines_that_are_numbered_stand_twice_all_the_same() -> None:
    """A number of each line tells no request from another, and an id of requests does; refusals
    look alike and are each of a request."""
    rows = [f"{i * 0.7301:.4f},{900 + i},200" for i in range(40)] + ["28.475,1,429"] * 3
    rows += rows[5:15]
    for name, size in (("line", 43), ("id", 43), ("request_id", 53)):
        lines = [f"{name},t_s,latency_ms,status"] + [f"{7 + i},{x}" for i, x in enumerate(rows)]
        run = read_log("\n".join(lines), "a.csv")
        assert run.size == size
        said = f"10 rows stand there again, cell for cell but for {name}, and are counted once"
        assert (said in run.notes) == (size == 43)


@pytest.mark.parametrize(("longest", "size"), [(512, 50), (520, 50), (900, 8)])
def test_clients_in_step_write_the_same_row(longest: int, size: int) -> None:
    """Of one length each, so that those who asked together get their answers together."""
    rows = [f"{i // 8 * 0.7301:.4f},100,{(512, longest)[i // 8 % 2]}" for i in range(48)]
    rows += ["9.001,100,512", "9.002,100,512"]
    run = read_log("\n".join(["t_s,latency_ms,output_tokens", *rows]), "a.csv")
    assert run.size == size
    said = [note for note in run.notes if "stand there again" in note]
    assert said[0].endswith("each, as all have one length" if size == 50 else "once")


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


def test_latencies_over_which_a_clock_was_put_forward_are_left_out() -> None:
    local = [f"2026-03-29T{'01:59' if i < 60 else '03:00'}:{i % 60:02d}" for i in range(120)]
    ends = [*local[3:], "2026-03-29T03:01:00", "2026-03-29T03:01:01", "2026-03-29T03:01:02"]
    rows = [",".join(pair) for pair in zip(local, ends, strict=True)]
    run = read_log("\n".join(["start_time,end_time", *rows]), "a")
    assert np.isnan(run.columns["latency_s"]).sum() == 3
    assert np.nanmax(run.columns["latency_s"]) == 3
    told = "row 59 and 2 more, column end_time: 3,603 s is longer than a pause of the log"
    assert any(note.startswith(told) for note in run.notes)


def test_milliseconds_among_seconds_are_named_and_left_out() -> None:
    """Both times of each such row; not the times of a stall, of a time limit, or of a cold start,
    about which a log of first tokens alone asks."""
    rng = np.random.default_rng(8)
    whole = rng.uniform(0.8, 4.0, 400)
    odd = np.arange(400) % 40 == 7

    def read(longer: np.ndarray, head: str = "t_s,ttft_s,latency_s") -> tuple[str, float]:
        """What is said, and the largest latency, or time to the first token, that stays."""
        rows = [f"{i},{x / 4:.4f},{x:.4f}" for i, x in enumerate(longer.tolist())]
        if head == "t_s,ttft_s":
            rows = [row.rpartition(",")[0] for row in rows]
        run = read_log("\n".join([head, *rows]), "a.csv")
        return " ".join(run.notes), float(np.nanmax(run.columns[head.rpartition(",")[2]]))

    said, most = read(np.where(odd, 1000 * whole, whole))
    odd_ones = "latency_s is 863 to 3,393 s in 10 of 400 rows (the first is row 9) and 0.812 to 4 s"
    assert said.startswith(f"{odd_ones} in the others: thousandths of that unit?")
    assert most < 4.0
    for other in (np.full(400, 600.0), rng.uniform(2.0, 60.0, 400)):
        said, most = read(np.where(odd, other, whole))
        assert "thousandths" not in said
        assert most > 40.0
    limits = np.where(np.arange(400) % 80 == 7, 300.0, 900.0)
    rows = [f"{i},{x:.4f},{200 + 304 * odd[i]}" for i, x in enumerate(np.where(odd, limits, whole))]
    run = read_log("\n".join(["t_s,latency_s,status", *rows]), "a.csv")
    assert "thousandths" not in " ".join(run.notes)
    said, most = read(np.where(odd, 1000 * whole, whole), "t_s,ttft_s")
    assert "or an engine that slept?" in said
    assert most > 100.0


def test_milliseconds_are_told_by_tokens_where_long_answers_take_as_long() -> None:
    """A thousandth of the shortest latency is less than the longest in seconds."""
    tokens = np.round(np.exp(np.linspace(1, 9, 400)))
    whole = 0.5 + 0.02 * tokens
    odd = np.arange(400) % 40 == 7
    whole = np.where(odd, 1000 * whole, whole)
    rows = [f"{i},{x:.4f},{n:.0f}" for i, (x, n) in enumerate(zip(whole, tokens, strict=True))]
    assert whole[odd].min() < 4 * whole[~odd].max()
    run = read_log("\n".join(["t_s,latency_s,output_tokens", *rows]), "a.csv")
    assert "in 10 of 400 rows (the first is row 9)" in run.notes[0]
    assert np.isnan(run.columns["latency_s"]).sum() == 10


def test_latencies_with_little_between_them_are_of_one_unit() -> None:
    """Of a fifth of the rows a thousand times as long, but from three times the others' longest
    on."""
    usual, slow = np.geomspace(0.1, 30, 320), np.geomspace(100, 30_000, 80)
    rows = [f"{60 * i},{x:.4f}" for i, x in enumerate([*usual.tolist(), *slow.tolist()])]
    assert "thousandths" not in " ".join(
        read_log("\n".join(["t_s,latency_s", *rows]), "a.csv").notes
    )


def _of_first_tokens(sent: np.ndarray, times: np.ndarray, pods: np.ndarray | None = None) -> str:
    """What is said of a log of first tokens alone."""
    rows = [f"{1.7e9 + t:.3f},{x:.4f}" for t, x in zip(sent.tolist(), times.tolist(), strict=True)]
    head = "ts,ttft_s" if pods is None else "ts,ttft_s,pod"
    if pods is not None:
        rows = [f"{row},pod-{of}" for row, of in zip(rows, pods.tolist(), strict=True)]
    return " ".join(read_log("\n".join([head, *rows]), "a.csv").notes)


@pytest.mark.parametrize("kind", ["idle", "added", "one by one", "at once"])
@pytest.mark.parametrize("seed", [3, 4])
def test_waits_for_a_start_are_not_asked_about(seed: int, kind: str) -> None:
    """Of an engine that sleeps after each of eight pauses, of replicas that are added beside others
    that answer, and of starts for a request each, of which one or four come after each pause; the
    same times in another order are of another unit."""
    rng = np.random.default_rng(seed)
    steps = rng.exponential(20.0, 800)
    begun = np.arange(800) % 100 == 0
    if kind != "added":
        steps[begun] += 3000
    sent = np.cumsum(steps)
    times = 0.15 * np.exp(0.5 * rng.standard_normal(800))
    for at in np.flatnonzero(begun).tolist():
        ready = sent[at] + rng.uniform(200, 400)
        waits = (sent >= sent[at]) & (sent < ready - 30)
        if kind == "added":  # the others answer every second one
            waits &= np.arange(800) % 2 == 0
        times[waits] += ready - sent[waits]
        if kind in ("one by one", "at once"):
            times[waits] = 0.15
            several = slice(at, at + (4 if kind == "at once" else 1))
            times[several] = rng.uniform(60, 600, times[several].size)
    assert "thousandths" not in _of_first_tokens(sent, times)
    assert "thousandths" in _of_first_tokens(sent, rng.permutation(times))


def test_starts_are_told_by_the_rows_of_each_replica() -> None:
    """The first ones of each of forty, which all start in one moment or another of busy hours."""
    rng = np.random.default_rng(5)
    sent = np.cumsum(rng.exponential(1.0, 4000))
    pods = np.arange(4000) // 200 + rng.integers(0, 2, 4000) * 20
    times = 0.2 * np.exp(0.5 * rng.standard_normal(4000))
    times[np.unique(pods, return_index=True)[1]] = rng.uniform(60, 600, 40)
    assert "thousandths" not in _of_first_tokens(sent, times, pods)
    assert "thousandths" in _of_first_tokens(sent, times)
    times = np.where(pods == 7, 200.0, 0.2) * np.exp(0.5 * rng.standard_normal(4000))
    assert "thousandths" in _of_first_tokens(sent, times, pods)


@pytest.mark.parametrize("pause_s", [0.0, 900.0])
@pytest.mark.parametrize("rows", [slice(600, 700), slice(700, None)])
def test_a_stretch_of_milliseconds_is_asked_about(rows: slice, pause_s: float) -> None:
    """Of a release that wrote another unit, whether nothing came before it or not."""
    rng = np.random.default_rng(6)
    sent = np.cumsum(rng.exponential(1.0, 800))
    sent[rows.start :] += pause_s
    times = 0.2 * np.exp(0.5 * rng.standard_normal(800))
    times[rows] *= 1000
    assert "an engine that slept?" in _of_first_tokens(sent, times)


@pytest.mark.parametrize("seed", range(4))
def test_ends_that_tell_when_each_was_sent_tell_no_start(seed: int) -> None:
    """In a log that has ends and latencies, times of another unit end together if they are few:
    their beginnings are made of them."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(rng.exponential(0.1, 400))
    times = np.exp(0.5 * rng.standard_normal(400))
    times[350:360] *= 1000
    rows = [f"{1.7e9 + t:.3f},{x:.4f}" for t, x in zip(ends.tolist(), times.tolist(), strict=True)]
    run = read_log("\n".join(["end_time,latency_s", *rows]), "a.csv")
    assert "thousandths" in run.notes[0]
