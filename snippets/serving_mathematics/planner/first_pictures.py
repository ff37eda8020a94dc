"""Small pictures of the home page: predictions beside measurements, and published numbers that came
out differently. They are drawn small on purpose, in the colours of the page.

Assumes: what the records assume that they show.

Source: records/planner_errors.json.gz for the runs, `engine_record` and `vllm_record` for the load
tests, and the errata for the numbers.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.engine.engine_record import RECORD as ENGINE
from serving_mathematics.engine.engine_record import relative_errors, runs_at
from serving_mathematics.engine.vllm_record import RECORD as VLLM
from serving_mathematics.planner.capacity_planner.model_errors import _columns
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record

EVERY = 12  # of the runs, one is drawn
WIDE, HIGH = 280, 120  # of a picture
FAST_S, SLOW_S = 0.002, 0.2  # times per token at the ends of its axes [s]
DAYS, BURN_RATE = 30, 14.4  # of an error budget, and of the alert that is said to leave two hours
CLIENTS, GAP_MS = 5, 10  # who wait at once, and how long each of them waits for a token


def _runs() -> tuple[list[tuple[float, float]], int]:
    """Measured and predicted times per token [s] of some runs, and how many there are."""
    seen = _columns()["tpot_s"]
    said = seen / _columns()["tpot_ratio"]
    return list(zip(seen[::EVERY].tolist(), said[::EVERY].tolist(), strict=True)), seen.size


def _apart(latency: str, share: float) -> float:
    """How far predictions of `tpot` or `ttft` are from what was measured, of it, at a quantile of
    the runs."""
    return float(np.quantile(np.abs(1 / _columns()[f"{latency}_ratio"] - 1), share))


def _tests(record: dict[str, Any]) -> tuple[int, float]:
    """How many load tests a record has, and the median error of their medians."""
    runs = record["loads"]["runs"]
    errors = [relative_errors(runs, latency, 0) for latency in ("ttft_s", "tpot_s")]
    return len(runs), float(np.median(np.abs(errors)))


def _loads() -> list[tuple[float, float]]:
    """Measured and predicted medians of the time to first token [s] by load, of OpenVINO GenAI."""
    record = read_record(ENGINE)
    pairs = []
    for rate in record["loads"]["rates"]:
        runs = runs_at(record, rate)
        seen, said = (
            float(np.median([times["ttft_s"][0] for times in found]))
            for found in (
                [run["measured"] for run in runs],
                [run["predicted"]["changes"] for run in runs],
            )
        )
        pairs.append((seen, said))
    return pairs


def _picture(name: str, *parts: str) -> str:
    view = f'viewBox="0 0 {WIDE} {HIGH + 20}" role="img" aria-label="{name}"'
    return f"<svg {view}>{''.join(parts)}</svg>"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{of_kind}>{text}</text>'


def _scatter(rows: list[tuple[float, float]]) -> str:
    """Predicted against measured, both logarithmic, with the line on which they agree."""

    def place(seconds: float) -> float:
        share = math.log(seconds / FAST_S) / math.log(SLOW_S / FAST_S)
        return min(max(share, 0.0), 1.0)

    dots = "".join(
        f"M{20 + (WIDE - 30) * place(seen):.0f} {HIGH * (1 - place(said)):.0f}h0"
        for seen, said in rows
    )
    line = f'<path class="even" d="M20 {HIGH}L{WIDE - 10} 0"/>'
    dotted = f'<path class="dots" d="{dots}"/>'
    told = _text(20, HIGH + 17, "measured") + _text(0, 11, "predicted")
    return _picture("Predicted against measured times per token, along a line", line, dotted, told)


def _bars(pairs: list[tuple[float, float]]) -> str:
    """Two bars a load: measured, and outlined what was predicted before."""
    most = max(map(max, pairs))
    bars = []
    for number, (seen, said) in enumerate(pairs):
        x = 10 + number * (WIDE - 20) / len(pairs)
        for offset, value, kind in ((0, seen, "seen"), (20, said, "said")):
            high = (HIGH - 6) * value / most
            bars.append(
                f'<rect class="{kind}" x="{x + offset:.0f}" y="{HIGH - high:.0f}" width="17"'
                f' height="{high:.0f}"/>'
            )
    told = _text(10, HIGH + 17, "OpenVINO: measured, and predicted")
    return _picture("Bars of measured and predicted times to first token", *bars, told)


def _numbers() -> str:
    """Two published numbers, and what they are."""
    return _picture(
        "Two hours are 50 hours, and two milliseconds are ten",
        _text(0, 30, f"{DAYS * 24 / BURN_RATE:.0f} hours", "wrong"),
        _text(0, 50, f"not “2 hours”, at a burn rate of {BURN_RATE}"),
        _text(0, 92, f"{GAP_MS} ms", "wrong"),
        _text(0, 112, f"not “{GAP_MS} / {CLIENTS} = {GAP_MS / CLIENTS:.0f}”, between tokens"),
    )


def example() -> SimpleNamespace:
    """The three cards, as HTML."""
    shown, runs = _runs()
    pairs = _loads()
    tests, errors = zip(*(_tests(read_record(name)) for name in (ENGINE, VLLM)), strict=True)
    cards = (
        (
            "machine/predictions/",
            _scatter(shown),
            f"{runs:,} runs, predicted",
            "Single tuned engines, models whose shape the fit never saw. Times per token are off "
            f"by {100 * _apart('tpot', 0.5):.0f}% in the median, one in ten by more than "
            f"{100 * _apart('tpot', 0.9):.0f}%; first tokens by "
            f"{100 * _apart('ttft', 0.5):.0f}% in the median.",
        ),
        (
            "engine/",
            _bars(pairs),
            "Two real engines, predicted first",
            f"{sum(tests)} load tests of a small language model on CPUs, predicted before they "
            f"ran: medians are off by {100 * errors[0]:.0f}% with OpenVINO and by "
            f"{100 * errors[1]:.0f}% with vLLM.",
        ),
        (
            "errata/",
            _numbers(),
            "Numbers to distrust",
            "Published results that do not add up, with the arithmetic that shows it.",
        ),
    )
    items = "".join(
        f'<li><a href="{to}">{picture}<span class="card-title">{title}</span> '
        f'<span class="card-question">{told}</span></a></li>'
        for to, picture, title, told in cards
    )
    return SimpleNamespace(pictures=f'<ul class="cards shown">{items}</ul>')


def check_the_pictures_say_what_the_records_say() -> None:
    """What stands below the pictures is in the records.

    Source: the errors counted in another way; the burn rate by hand, 720 hours over 14.4.
    """
    ratios = _columns()["tpot_ratio"]
    for share in (0.5, 0.9):
        near = np.mean(np.abs(1 / ratios - 1) <= _apart("tpot", share))
        checks.close(f"share of runs that are nearer, {share:g}", float(near), share, rtol=0.01)
    firsts, tokens = (_apart(latency, 0.5) for latency in ("ttft", "tpot"))
    checks.holds("a first token is off by more", firsts > tokens, got=firsts)
    ours, theirs = (_tests(read_record(name))[1] for name in (ENGINE, VLLM))
    checks.holds("vLLM is off by more", theirs > ours, got=theirs)
    checks.equal("hours", DAYS * 24 / BURN_RATE, 50.0)
