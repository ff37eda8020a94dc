"""Two staircases and the area between: what a gauge counts, and what a log adds up to.

One staircase climbs with each request that comes, the other with each that is done; between them
lie those inside. A gauge averages their number. A log of latencies gives rate times mean stay, and
the two agree when each request counts with the time that it spent inside so far. Logs of finished
requests come late, logs that lose requests never get there, and those of a larger box, such as the
engine and the network before it, count more than the gauge.

Assumes: the book's chat machine, from empty.

Source: `window_averages`; own simulation of the book's machines.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.littles_law.littles_law import number_in_system, time_in_window
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import Run, run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]
LOADS = (40, 80, 95)  # [% of the ceiling]
LOGS = (
    "every request so far",
    "finished requests",
    "finished requests, one in five lost",
    "finished requests, with half a second of network",
)
CLIP_S, FRAMES = 40.0, 81
NETWORK_S = 0.5  # that a log before the engine adds to each stay


@functools.cache
def _run(load: int) -> Run:
    """The chat machine from empty, for longer than the clip."""
    rate = load / 100 * CHAT.ceiling_per_s
    return run_engine(CHAT, rate, round(1.3 * rate * CLIP_S), np.random.default_rng(21))


@functools.cache
def _logged(load: int, log: str) -> tuple[FloatArray, FloatArray]:
    """At each frame after the first: the gauge's mean so far, and rate times stay by a log."""
    run, clock = _run(load), np.linspace(0, CLIP_S, FRAMES)
    came, done = run.arrival_s, run.completion_s
    rng = np.random.default_rng(22)
    told = np.ones(came.size, bool) if log != LOGS[2] else rng.random(came.size) > 0.2
    begun = came - NETWORK_S if log == LOGS[3] else came
    gauge, by_log = np.zeros(FRAMES), np.zeros(FRAMES)
    for frame, now in enumerate(clock.tolist()[1:], 1):
        gauge[frame] = time_in_window(came, done, 0.0, now).sum() / now
        if log == LOGS[0]:
            by_log[frame] = gauge[frame]
        else:
            over = told & (done <= now)
            by_log[frame] = (done - begun)[over].sum() / now
    return gauge, by_log


def figure_staircases(figure: Figure) -> None:
    """Between the two staircases lie the requests inside; the area is the same, summed over time or
    over requests.

    The book's chat machine, starting empty: requests that have come, requests that are done and,
    shaded, those inside.

    Alt: Two rising staircases against time. The upper one begins at once, the lower one a few
    seconds later; they climb at the same slope, and the area between them is shaded.
    """
    figure.set_size_inches(5.8, 2.9)
    axes = figure.subplots()
    run = _run(80)
    at = np.linspace(0, 20, 401)
    came = np.searchsorted(run.arrival_s, at, side="right")
    done = np.searchsorted(np.sort(run.completion_s), at, side="right")
    axes.step(at, came, where="post", color="C0")
    axes.step(at, done, where="post", color="C2")
    axes.fill_between(at, done, came, step="post", color="C4", alpha=0.2)
    axes.annotate("come", (11, 235), color="C0", ha="right")
    axes.annotate("done", (15, 165), color="C2")
    axes.annotate("inside", (12.5, 180), color="C4", ha="center", va="center")
    axes.set(xlim=(0, 20), ylim=(0, None), xlabel="time [s]", ylabel="requests")


def slider_staircases() -> dict[str, Any]:
    """Play a load test from empty. Then change what its log holds, and see whether it adds up."""
    clock = np.linspace(0, CLIP_S, FRAMES)

    def each(value: Any) -> list[list[Any]]:
        return [[value(load, log) for log in LOGS] for load in LOADS]

    def stairs(load: int, which: str) -> list[int]:
        times = np.sort(getattr(_run(load), which))
        return [int(n) for n in np.searchsorted(times, clock, side="right")]

    def curve(label: str, decimals: int, state: str, value: Any) -> dict[str, Any]:
        told = {"label": label, "unit": "", "decimals": decimals, "state": state}
        return told | {"values": each(value)}

    return {
        "controls": [
            {"label": "load", "values": list(LOADS), "text": "{}%", "start": 80},
            {"label": "log", "values": list(LOGS), "start": LOGS[1]},
        ],
        "clock": {"label": "time", "unit": "s", "values": clock, "start": clock[50]},
        "panels": [
            {
                "kind": "curves",
                "y": {"label": "requests", "unit": ""},
                "shade": "inside: between the two",
                "curves": [
                    curve("come", 0, "waits", lambda load, _: stairs(load, "arrival_s")),
                    curve("done", 0, "waits", lambda load, _: stairs(load, "completion_s")),
                ],
            },
            {
                "kind": "curves",
                "y": {"label": "inside, on average so far", "unit": ""},
                "curves": [
                    curve("by the gauge", 1, "answer", lambda load, log: _logged(load, log)[0]),
                    curve("by the log", 1, "prompt", lambda load, log: _logged(load, log)[1]),
                ],
            },
        ],
        "reading": "After {time}, {come} have come and {done} are done. The gauge averaged {by the"
        " gauge} inside, which is right. Rate times latency, from a log of {log}, gives"
        " {by the log}.",
    }


def check_the_gauge_is_the_mean_number() -> None:
    """The slider's gauge shows the mean number inside, counted at many moments.

    Source: `number_in_system` at 40,000 moments of the clip.
    """
    at = (np.arange(40_000) + 0.5) / 40_000 * CLIP_S
    for load in LOADS:
        run = _run(load)
        counted = number_in_system(run.arrival_s, run.completion_s, at)
        gauge = float(_logged(load, LOGS[0])[0][-1])
        checks.close(f"{load}% load", gauge, float(counted.mean()), rtol=2e-3)


def check_which_logs_add_up() -> None:
    """A log of finished requests falls short of the gauge, later by less; a log that loses a fifth
    stays a fifth lower; one that includes the network is higher, at 40% load above the gauge.

    Source: the clip's numbers at a quarter and at its end, at every load.
    """
    for load in LOADS:
        gauge, finished = _logged(load, LOGS[1])
        early, late = finished[FRAMES // 4] / gauge[FRAMES // 4], finished[-1] / gauge[-1]
        checks.holds(f"{load}%: comes nearer", bool(early < late < 1), got=(early, late))
        lost = float(_logged(load, LOGS[2])[1][-1] / finished[-1])
        checks.inside(f"{load}%: a fifth lost", lost, 0.7, 0.9)
        larger = float(_logged(load, LOGS[3])[1][-1] - finished[-1])
        over = int((_run(load).completion_s <= CLIP_S).sum())
        checks.close(f"{load}%: network", larger, over * NETWORK_S / CLIP_S, rtol=1e-9)
    gauge, larger_box = _logged(40, LOGS[3])
    checks.inside("40%: with the network, over the gauge", larger_box[-1] / gauge[-1], 1.1, 1.4)
