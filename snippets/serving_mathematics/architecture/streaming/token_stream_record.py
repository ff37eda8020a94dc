"""What the recorded streams show, beside the gaps that the server was asked to make.

Assumes: nothing of the machine; what the record shows of milliseconds holds for the machine that
it names.

Source: records/token_stream.json, written by `python -m
serving_mathematics.architecture.streaming.token_stream_measurement`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.streaming.streaming import stream_metrics, tpot_conventions
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "token_stream"
KINDS = ("steady", "whole prefill", "chunked prefill")


def _kind(record: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [kind for kind in record["kinds"] if kind["name"] == name]
    return dict(found)


def _arrival_s(record: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    """Arrival times of a kind's streams [s], shape (streams, tokens)."""
    return np.array(_kind(record, name)["arrival_ms"]) / 1000


def _asked_gaps_s(record: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    """The gaps that the server was asked to make, the last one repeated [s], shape (tokens,)."""
    gaps = _kind(record, name)["gaps_s"]
    return np.array(gaps + gaps[-1:] * (record["asked"]["tokens"] - len(gaps)))


def _late_ms(record: dict[str, Any]) -> npt.NDArray[np.float64]:
    """By how much each token came after the stand-in was asked to make it [ms]: what server, wire
    and client add, no model being there."""
    late = [_arrival_s(record, name) - np.cumsum(_asked_gaps_s(record, name)) for name in KINDS]
    return 1000 * np.array(late)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    steady, whole, chunked = (
        [stream_metrics(arrival) for arrival in _arrival_s(record, name)] for name in KINDS
    )
    typical = sorted(steady, key=lambda metrics: metrics.e2e_s)[len(steady) // 2]
    pace = tpot_conventions(typical.ttft_s, typical.e2e_s, typical.tokens)
    left, unread = record["disconnect"], record["unread"]
    return SimpleNamespace(
        measured_on=record["date"],
        measured_python=record["versions"]["python"],
        measured_processors=record["machine"]["processors"],
        measured_system=f"{record['machine']['system']} {record['machine']['architecture']}",
        measured_streams=sum(kind["streams"] for kind in record["kinds"]),
        path_p50_ms=float(np.quantile(_late_ms(record), 0.5)),
        path_p99_ms=float(np.quantile(_late_ms(record), 0.99)),
        measured_ttft_ms=1000 * typical.ttft_s,
        measured_tpot_ms=1000 * typical.tpot_s,
        measured_e2e_s=typical.e2e_s,
        measured_with_ttft_ms=1000 * pace.with_ttft_s,
        measured_whole_tpot_ms=1000 * float(np.median([m.tpot_s for m in whole])),
        measured_whole_longest_ms=1000 * float(np.median([m.longest_itl_s for m in whole])),
        measured_chunked_tpot_ms=1000 * float(np.median([m.tpot_s for m in chunked])),
        measured_chunked_longest_ms=1000 * float(np.median([m.longest_itl_s for m in chunked])),
        left_after=left["read"],
        left_asked=left["asked"],
        left_generated=left["generated"],
        unread_asked_mib=unread["asked"] * unread["token_bytes"] / 2**20,
        unread_generated_mib=unread["generated_unread"] * unread["token_bytes"] / 2**20,
        unread_read=unread["read"],
    )


def figure_measured_gaps(figure: Figure) -> None:
    """What a client sees of a stand-in that sleeps for one pause of half a second, or for eight
    gaps of 89 ms: the same TPOT was asked for, and only one of the two is noticed.

    Points are the gaps of all streams that the client measured, lines are what the stand-in was
    asked to make. No model ran: the figure shows that server, wire and client keep the rhythm, not
    that a model would have it.

    Alt: Two charts of gap length in milliseconds, logarithmic, against token number from 1 to 101.
    Above, whole prefill: all gaps lie close to 25 ms except one of 537 ms at token 41. Below,
    chunked prefill: eight gaps from token 41 on lie at 89 ms, the rest close to 25 ms. Points
    scatter around the lines.
    """
    record = read_record(RECORD)
    figure.set_size_inches(5.8, 4.6)
    rows = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, name, colour in zip(rows, KINDS[1:], ("C3", "C0"), strict=True):
        gaps = np.diff(_arrival_s(record, name), axis=1)
        tokens = np.arange(2, gaps.shape[1] + 2)
        asked = _asked_gaps_s(record, name)[1:]
        axes.step(tokens, 1000 * asked, where="mid", color="C4", linewidth=1.0)
        steps = np.round(100 * np.log10(1000 * gaps))  # finer than a dot is wide
        dots = {(x, y) for row in steps for x, y in zip(tokens, row, strict=True)}
        x, y = np.array(sorted(dots)).T
        axes.plot(x, 10 ** (y / 100), ".", color=colour, markersize=3)
        axes.annotate(name, (60, 180), color=colour)
        axes.set(yscale="log", xlim=(0, 102), ylim=(4, 1000))
        axes.set_yticks([10, 100, 1000], ["10", "100", "1,000"])
        axes.minorticks_off()
        axes.set(xlabel="token [1]", ylabel="gap [ms]")


def check_streams_are_whole() -> None:
    """Every stream ended with [DONE], held every token, and none came before it was due.

    Source: counts of client and server in the record; the gaps asked of the server, which sleeps at
    least that long, on any machine.
    """
    record = read_record(RECORD)
    for name in KINDS:
        kind, arrival = _kind(record, name), _arrival_s(record, name)
        shape = (kind["streams"], record["asked"]["tokens"])
        checks.equal(f"{name}: streams and tokens", arrival.shape, shape, kind="measured")
        checks.equal(f"{name}: errors", kind["errors"], [], kind="measured")
        checks.equal(f"{name}: finished", kind["finished"], kind["streams"], kind="measured")
        due = np.cumsum(_asked_gaps_s(record, name))
        early = float((due - arrival).max())
        checks.holds(f"{name}: none early [s]", early < 0.001, got=-early, kind="measured")


def check_the_path_keeps_the_rhythm() -> None:
    """Server, wire and client are late by less than a chunk's gap of 89 ms in 99% of the tokens,
    and not later and later: the last token is no more than twice as late as the middle one.

    Source: arrivals in the record less what the stand-in was asked for, added up.
    """
    late = _late_ms(read_record(RECORD))
    checks.inside("p99 of the lateness [ms]", np.quantile(late, 0.99), 0, 89, kind="measured")
    middle, last = (float(np.median(late[..., k])) for k in (late.shape[-1] // 2, -1))
    checks.inside("last over middle token", last / middle, 0, 2, kind="measured")


def check_conventions_differ_by_the_wait() -> None:
    """In every measured stream LLMPerf's number exceeds vLLM's by (TTFT − TPOT)/N.

    Source: E2E/N with E2E = TTFT + (N − 1)·TPOT; first and last arrival in the record.
    """
    record = read_record(RECORD)
    for name in KINDS:
        excess, expected = [], []
        for arrival in _arrival_s(record, name):
            pace = tpot_conventions(arrival[0], arrival[-1], arrival.size)
            excess.append(pace.with_ttft_s - pace.per_gap_s)
            expected.append((arrival[0] - np.diff(arrival).mean()) / arrival.size)
        checks.close(f"{name}: excess [s]", excess, expected, rtol=1e-9, kind="measured")


def check_leaving_stops_and_not_reading_holds() -> None:
    """A client that left stopped the model, and one that did not read held it, without losing a
    token.

    Source: counts of client and server in the record, on any machine.
    """
    record = read_record(RECORD)
    left, unread = record["disconnect"], record["unread"]
    few = left["read"] <= left["generated"] < left["asked"]
    checks.holds("generated for the one who left", few, got=left["generated"], kind="measured")
    checks.equal("counted as gone", left["gone"], 1, kind="measured")
    held = 0 < unread["generated_unread"] < unread["asked"]
    checks.holds("generated unread", held, got=unread["generated_unread"], kind="measured")
    checks.equal("read in the end", unread["read"], unread["asked"], kind="measured")
