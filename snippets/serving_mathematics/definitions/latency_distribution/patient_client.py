"""One stall, two clients: what an open and a patient one write down.

A request is due every second. The open client sends it then; the patient one, a closed loop, sends
it after the last answer. The server stalls, and answers at the end what waits. Both write down how
long each answer took from when it was sent.

Assumes: the stall begins as the fourth request is sent; else an answer takes a fifth of a second.

Source: `closed_loop_latencies` of coordinated_omission; Tene's HdrHistogram for the name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.definitions.latency_distribution.coordinated_omission import (
    closed_loop_latencies,
    corrected_latencies,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]
Bar = tuple[str, float, float, str, str] | tuple[str, float, float, str]

REQUESTS, STALLED, ANSWER_S = 12, 3, 0.2  # one a second; which one meets the stall; how long [s]
STALLS_S = [0, 1, 2, 3, 4, 5, 6, 7]
CLIP_S, FRAMES = 14.0, 141  # what is shown [s]


def _runs(stall_s: float) -> dict[str, FloatArray]:
    """When each request is due, sent, served and answered [s] by each client, shape (12, 4)."""
    due = np.arange(float(REQUESTS))
    wakes = STALLED + stall_s
    served = np.where((due >= STALLED) & (due < wakes), wakes, due)
    service = np.full(REQUESTS, ANSWER_S)
    service[STALLED] += stall_s
    took, since_due = closed_loop_latencies(service, 1.0)
    sent = due + since_due - took
    return {
        "open": np.stack([due, due, served, served + ANSWER_S], axis=1),
        "patient": np.stack([due, sent, due + since_due - ANSWER_S, due + since_due], axis=1),
    }


def _written_s(times: FloatArray) -> FloatArray:
    """What the client writes down: from sending to the answer [s]."""
    return times[:, 3] - times[:, 1]


def _bars(times: FloatArray) -> list[Bar]:
    """A lane a request: due and not sent, sent and not served, answered."""
    bars: list[Bar] = []
    for i, row in enumerate(times.tolist()):
        for start, end, state in zip(row, row[1:], ("broken", "waits", "answer"), strict=False):
            if end > start + 1e-6:
                text = (f"{row[3] - row[1]:.1f}",) if state == "answer" else ()
                bars.append((str(i + 1), start, end, state, *text))
    return bars


def figure_patient_client(figure: Figure) -> None:
    """A server stalls for six seconds: the open client records six slow answers, the patient client
    one.

    Grey: sent, and waiting for the server. Red: due, but not sent, because the client waits for its
    last answer; nobody records this time.

    Alt: Two panels of twelve bars, one per request. On the left, six thin grey bars begin one
    after the other and end together. On the right, a single grey bar ends there, and thick red
    bars begin below it, one per second, each shorter than the one above, and end a fifth of a
    second apart.
    """
    figure.set_size_inches(5.8, 3.2)
    looks = {"broken": ("C3", 5), "waits": ("C4", 2), "answer": ("C0", 7)}
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (client, times) in zip(panels, _runs(6.0).items(), strict=True):
        for lane, start, end, state, *_ in _bars(times):
            colour, thick = looks[state]
            axes.hlines(int(lane), start, end, color=colour, linewidth=thick)
        axes.set_title(f"{client} client")
        axes.grid(False)
        axes.set(xlim=(0, 14), ylim=(REQUESTS + 0.7, 0.3), xticks=(0, 5, 10))
        axes.set(xlabel="time [s]", ylabel="request")


def slider_patient_client() -> dict[str, Any]:
    """The server stalls. The open client sends every second, the patient one after each answer."""
    clock = np.linspace(0, CLIP_S, FRAMES)
    runs = [_runs(stall_s) for stall_s in STALLS_S]
    slow = {
        client: [
            [
                int(((run[client][:, 3] <= now) & (_written_s(run[client]) > 0.5)).sum())
                for now in clock
            ]
            for run in runs
        ]
        for client in runs[0]
    }
    return {
        "controls": [
            {"label": "stall", "values": STALLS_S, "text": "{} s", "start": 6},
        ],
        "clock": {
            "label": "time",
            "unit": "s",
            "values": clock,
            "start": CLIP_S,
            "events": [[(STALLED, STALLED + stall_s, "stalls")] for stall_s in STALLS_S],
        },
        "panels": [
            {
                "kind": "lanes",
                "label": f"{client} client: seconds recorded",
                "lanes": [str(i + 1) for i in range(REQUESTS)],
                "bars": [_bars(run[client]) for run in runs],
            }
            for client in runs[0]
        ],
        "readouts": [
            {"label": client, "unit": "", "decimals": 0, "values": slow[client]} for client in slow
        ]
        + [
            {
                "label": f"mean, {client}",
                "unit": "s",
                "decimals": 2,
                "values": [float(_written_s(run[client]).mean()) for run in runs],
            }
            for client in slow
        ],
        "legend": {
            "waits": "sent, and waits for the server",
            "broken": "due, but not sent: nobody records it",
            "answer": "is answered",
        },
        "reading": "After {time}, the open client has recorded {open} slow answers, the patient"
        " client {patient}. With a stall of {stall}, their means are {mean, open} and"
        " {mean, patient}.",
    }


def check_correction_finds_the_open_client() -> None:
    """The patient client's record, corrected, has as many slow answers as the open client's.

    Source: `corrected_latencies`, for stalls of whole seconds.
    """
    for stall_s in STALLS_S[1:]:
        runs = _runs(stall_s)
        full = corrected_latencies(_written_s(runs["patient"]), 1.0)
        for found, name in ((full, "corrected"), (_written_s(runs["open"]), "open")):
            count = int((found > 0.5).sum())
            checks.equal(f"stall of {stall_s} s, {name}: slow", count, stall_s)
