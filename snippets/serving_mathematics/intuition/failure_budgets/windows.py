"""Which window at which traffic: time to notice against false pages, and errors to ask for.

Rules that fire when the same share of the month's budget is gone ask for the same number of errors
over any window. A long window sees slower leaks, and leaves a steady service more time to collect
those errors by itself; fewer false pages are had by asking for more errors.

Assumes: what `false_pages` assumes; a service that spends exactly its budget of 99.9% in 30 days.

Source: Beyer et al. (2018), chapter 5, “Low-Traffic Services and Error Budget Alerting”.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import (
    alert_firing,
    errors_to_fire,
)
from serving_mathematics.intuition.failure_budgets.false_pages import (
    PAGE,
    SLO,
    WINDOWS,
    _of_random_traffic,
    false_pages,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

YEARLY = 1 / 12  # pages a month: one a year
GUARDS = ((1.0, 1.0, 6), (6.0, 2.5, 8))  # window [h], burn rate over 14.4/w, errors to ask for
HOURS = (1.0, 2.0, 3.0, 6.0)  # long windows; each fires at 2% of the budget
SHOWN_HOURS, LEASTS = (1.0, 3.0, 6.0), (1, 2, 3, 6)  # of the slider, as what follows
TRAFFIC = (24, 60, 120, 240, 480, 960)  # requests an hour
DAYS_H, BEFORE = 48, 6  # what is shown, and what fills the windows before [h]
TONIGHT, TONIGHT_FAILS = (36, 38), 0.02  # two in a hundred fail [h]
DRAW = 236  # with about as many failures and pages as expected, at every traffic


def _in_a_month(
    requests_per_h: float,
    hours: float = 1.0,
    least: int = 1,
    clump: float = 1.0,
    wrong: float = 1.0,
    slo: float = SLO,
) -> float:
    """Pages in 30 days of a rule that fires at 2% of the budget. wrong: factor on its threshold."""
    m = round(requests_per_h * hours / WINDOWS)
    burn = wrong * PAGE / hours
    return 720 * WINDOWS / hours * false_pages(m, 1 - slo, slo, burn, least, clump)


def _quiet_from(step: int, clump: float = 1.0) -> int:
    """Requests an hour from which on steady failures page less than once a year."""
    loads = range(60 * step, 0, -step)
    return step + next(n for n in loads if _in_a_month(n, clump=clump) > YEARLY)


@functools.cache
def _quiet_from_at_random() -> int:
    """The same of requests that come independently."""
    return 12 + next(n for n in range(360, 0, -12) if _of_random_traffic(n) > YEARLY)


def _each_minute(
    requests_per_h: int, months: int, hours: float = 1.0, wrong: float = 1.0, least: int = 1
) -> float:
    """Pages in 30 days of a rule that is evaluated each minute, simulated."""
    rng, minutes = np.random.default_rng([9, requests_per_h]), months * 43_200
    burn, long = wrong * PAGE / hours, round(60 * hours)
    number = rng.poisson(0.001 * requests_per_h / 60 * minutes)
    failed = np.sort(rng.integers(1, minutes + 1, number))

    def firing(at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        found = np.ones(at.size, dtype=bool)
        for window, floor in ((long, least), (long // WINDOWS, 1)):
            need = max(math.floor(burn * 0.001 * requests_per_h * window / 60 + 1e-9) + 1, floor)
            upto, before = (np.searchsorted(failed, end, "right") for end in (at, at - window))
            found &= upto - before >= need
        return found

    at = np.unique(failed[failed > long])  # it begins to fire at a failure
    return int((firing(at) & ~firing(at - 1)).sum()) / months


def _silences(requests_per_h: float) -> float:
    """Gaps in 30 days that are longer than twenty minutes, of requests that come independently."""
    return 720 * requests_per_h * math.exp(-requests_per_h / 3)


def example() -> SimpleNamespace:
    """Worked numbers of the chapter: pages of the one-hour alert in 30 days, and shares of time."""
    return SimpleNamespace(
        pages_at_60=_in_a_month(60),
        single_error_pages=max(n for n in range(1, 100) if errors_to_fire(n, SLO, PAGE) == 1),
        quiet_load=_quiet_from(12),
        quiet_load_at_random=_quiet_from_at_random(),
        quiet_load_of_three=_quiet_from(60, clump=3.0),
        pages_at_600_of_three=_in_a_month(600, clump=3.0),
        night_pages=_in_a_month(60) / 2,
        safe_errors=GUARDS[0][2],
        safe_errors_6_h=GUARDS[1][2],
        safe_spent_percent=100 * GUARDS[0][2] / (60 * 720 * 0.001),
        guard_of_threes=next(
            k for k in range(1, 100) if _in_a_month(600, least=k, clump=3.0) < YEARLY
        ),
        asked_from=next(n for n in range(1, 1000) if _silences(n) < YEARLY),
    )


def figure_windows(figure: Figure) -> None:
    """Every window needs the same number of errors; a long one collects them even when all is well.

    The service spends exactly its budget; a rule fires when 2% of the month's budget is gone within
    its window and the last twelfth of the window burns as fast. In print, false pages against
    traffic: each tooth begins where a rule needs one more whole error.

    Alt: Four sawtooth curves on logarithmic axes against requests per hour from 24 to 4,800. All
    begin near 17 pages a month. The rule over one hour falls below one a year first, at about
    three hundred requests an hour, then those over two, three and six hours.
    """
    axes = figure.subplots()
    loads = _LOADS
    for hours, colour in zip(HOURS[::-1], ("C3", "C1", "C2", "C0"), strict=True):
        pages = [_in_a_month(load, hours=hours) for load in loads]
        axes.loglog(loads, pages, color=colour, marker=".", label=_rule(hours))
    axes.axhline(YEARLY, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("one a year", (25, 0.1), color="C4")
    axes.legend(title="burn rate, window", alignment="left", loc="lower left", labelspacing=0.3)
    axes.set(xlim=(24, 4800), ylim=(1e-3, 100))
    axes.set_xticks([24, 120, 480, 1200, 4800], ["24", "120", "480", "1,200", "4,800"])
    axes.set_yticks([0.001, 0.01, 0.1, 1, 10, 100], ["0.001", "0.01", "0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlabel="requests per hour", ylabel="false pages in 30 days")


_TEETH = (60, 72, 132, 144, 204, 216, 276, 288, 348, 360)  # around the first of them
_LOADS = tuple(sorted((24, 48, 96, 180, *_TEETH, 480, 720, 960, 1440, 2400, 4800)))


def _rule(hours: float) -> str:
    """A window and its burn rate, as read."""
    return f"{PAGE / hours:g} over {hours:g} h"


def _two_days(requests_per_h: int, hours: float, least: int) -> Any:
    """Failures of each five minutes, those in the long window, and whether the rule fires: one draw
    of two days, on whose second evening two in a hundred fail. More traffic has the failures of
    less, and others."""
    share = np.full(WINDOWS * (BEFORE + DAYS_H), 1 - SLO)
    share[WINDOWS * (BEFORE + TONIGHT[0]) : WINDOWS * (BEFORE + TONIGHT[1])] = TONIGHT_FAILS
    asked, most = requests_per_h // WINDOWS, max(TRAFFIC) // WINDOWS
    drawn = np.random.default_rng(DRAW).random((share.size, most)) < share[:, None]
    failed = drawn[:, :asked].sum(axis=1)
    requests, short = np.full(failed.size, asked), round(hours)
    firing = alert_firing(requests, failed, WINDOWS * short, short, SLO, PAGE / hours)
    total = np.cumsum(failed)
    total[WINDOWS * short :] -= total[: -WINDOWS * short].copy()
    seen = slice(WINDOWS * BEFORE - 1, None)  # from the evaluation at the beginning on
    return failed[seen], total[seen], (firing & (total >= least))[seen]


def _needs(requests_per_h: int, hours: float, least: int) -> int:
    """Failures in the long window that make a page."""
    return max(int(errors_to_fire(round(requests_per_h * hours), SLO, PAGE / hours)), least)


def _marks(lane: str, on: npt.NDArray[np.bool_], state: str, least_h: float) -> list[Any]:
    """Bars where something is on [h], as long as can be seen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on, [0]])))
    spans = edges.reshape(-1, 2) / WINDOWS
    return [
        (lane, start, float(np.clip(end, start + least_h, DAYS_H)), state)
        for start, end in spans.tolist()
        if start < DAYS_H
    ]


# In one piece: a picture's data, panel by panel, as the page draws them.
def slider_windows() -> dict[str, Any]:
    """A service fails just as often as it may, until two in a hundred fail on the second evening.
    Change the traffic: when does the pager ring?"""
    hours, times = [_rule(h) for h in SHOWN_HOURS], np.arange(3 * DAYS_H + 1) / 3

    def each(value: Any) -> list[list[list[Any]]]:
        return [[[value(n, h, k) for k in LEASTS] for h in SHOWN_HOURS] for n in TRAFFIC]

    def over(*run: Any) -> list[float]:
        return (_two_days(*run)[1][:: WINDOWS // 3] / _needs(*run)).tolist()  # type: ignore[no-any-return]

    def bars(*run: Any) -> list[Any]:
        failed, _, firing = _two_days(*run)
        failures = _marks("failures", failed > 0, "waits", 0.25)
        return failures + _marks("pager", firing, "broken", 0.5)

    def rung(*run: Any) -> list[int]:
        firing = _two_days(*run)[2]
        begins = firing & ~np.append(False, firing[:-1])
        return np.cumsum(begins)[:: WINDOWS // 3].tolist()  # type: ignore[no-any-return]

    def false(n: int, h: float, k: int) -> float:
        return max(_in_a_month(n, hours=h, least=k), 1e-9)

    def outage_min(n: int, h: float, k: int) -> float:
        return 60 * _needs(n, h, k) / n

    def tonight_min(n: int, h: float, k: int) -> float | None:
        """None if a whole window has fewer failures on average."""
        minutes = 60 * _needs(n, h, k) / (TONIGHT_FAILS * n)
        return minutes if minutes <= 60 * h else None

    said = "After {time}, {rung} pages. With nothing wrong, it pages {false} times in 30 days on"
    said += " average. It notices an outage after {outage}, and two failures in a hundred"
    return {
        "controls": [
            {"label": "traffic", "values": TRAFFIC, "text": "{} an hour", "start": 24},
            {"label": "burn rate", "values": hours, "start": hours[0]},
            {"label": "least failures", "values": LEASTS, "text": "{} failures", "start": 1},
        ],
        "clock": {
            "label": "time",
            "unit": "h",
            "values": times.tolist(),
            "start": 23.0,
            "events": [(*TONIGHT, "2 in 100 fail")],
        },
        "panels": [
            {
                "kind": "curves",
                "y": {
                    "label": "failures in the window, over those that page",
                    "unit": "",
                    "range": (0, 3.5),
                    "limit": {"at": 1, "label": "pages from here"},
                },
                "curves": [{"label": "failures", "unit": "", "decimals": 2, "values": each(over)}],
            },
            {
                "kind": "lanes",
                "label": "failed requests, and pages",
                "lanes": ["failures", "pager"],
                "bars": each(bars),
            },
        ],
        "readouts": [
            {"label": "rung", "unit": "", "decimals": 0, "values": each(rung)},
            {"label": "false", "unit": "", "values": each(false)},
            {"label": "outage", "unit": "min", "values": each(outage_min)},
            {"label": "tonight", "unit": "min", "decimals": 0, "values": each(tonight_min)},
        ],
        "legend": {"waits": "a request fails", "broken": "the pager rings"},
        "reading": said + " after {tonight}.",
        "absent": said + " only by chance.",
    }


def check_guards_of_the_rules() -> None:
    """Requiring six errors in the hour and eight in six hours keeps both pages below one a year, at
    any traffic, and also if the rules are evaluated each minute.

    Source: the expected pages of both rules at every load up to 1,200 requests an hour; 200
    simulated months, minute by minute, at the load with the most pages; three standard errors.
    """
    for hours, wrong, least in GUARDS:
        pages = [_in_a_month(n, hours=hours, wrong=wrong, least=least) for n in range(12, 1201, 12)]
        checks.inside(f"{hours:g} h, {least} errors", max(pages), 0, YEARLY)
        worst = 12 * (int(np.argmax(pages)) + 1)
        found = _each_minute(worst, 200, hours, wrong, least)
        noise = 3 * math.sqrt(YEARLY / 200)
        checks.inside(f"each minute, {worst} an hour", found, 0, YEARLY + noise, kind="simulation")


def check_a_smaller_budget_pages_earlier_where_the_guard_is_met() -> None:
    """In a full outage, half the budget pages after half as many requests at 1,200 an hour, and
    after equally many at 60 an hour, where both budgets wait for the six errors.

    Source: ⌊14.4·(1 − s)·n⌋ + 1 by hand, of the hour's requests.
    """
    for load, wanted in ((60, [6, 6]), (1200, [18, 9])):
        errors = [
            max(int(errors_to_fire(load, slo, PAGE)), GUARDS[0][2]) for slo in (SLO, (1 + SLO) / 2)
        ]
        checks.equal(f"{load} an hour: errors", errors, wanted)


def check_other_objectives_scale_the_traffic() -> None:
    """An objective of two nines pages as often as three nines do at ten times the traffic, and
    99.95% as often as three nines at half the traffic, within a fifth; requiring six errors is
    enough there as well.

    Source: the expected pages of each objective at as many requests for each failure that it
    allows.
    """
    for slo, scale in ((0.99, 0.1), (0.9995, 2.0)):
        for load, least in ((120, 1), (120, 3), (240, 1)):
            due = _in_a_month(load, least=least)
            got = _in_a_month(scale * load, least=least, slo=slo)
            checks.close(f"{slo:.2%}, {load} an hour, {least} errors", got, due, rtol=0.2)
        pages = [_in_a_month(12 * scale * n, least=6, slo=slo) for n in range(10, 61, 10)]
        checks.inside(f"{slo:.2%}, six errors", max(pages), 0, YEARLY)


def check_random_traffic_asks_for_a_little_more() -> None:
    """Where requests arrive independently, the load from which the one-hour page is quiet is less
    than a tenth higher than with equally many in every window; six errors keep it quiet there too.

    Source: the exact sums of both.
    """
    even, random = _quiet_from(12), _quiet_from_at_random()
    checks.inside("random over even", random / even, 1.0, 1.1)
    pages = [_of_random_traffic(n, GUARDS[0][2]) for n in range(48, 481, 48)]
    checks.inside("six errors", max(pages), 0, YEARLY)


def check_longest_quiet_window() -> None:
    """At 2% of the budget, a longer window always pages more often for nothing, and all windows
    require the same number of errors.

    Source: the expected pages of the figure's rules, failures alone, in clumps of three, and with a
    threshold wrong by a fifth either way; ⌊14.4·0.001·n⌋ + 1 by hand.
    """
    for load in (240, 480, 960):
        need = [int(errors_to_fire(round(load * h), SLO, PAGE / h)) for h in HOURS]
        checks.equal(f"{load} an hour: errors", need, [math.floor(0.0144 * load) + 1] * len(HOURS))
        for clump, wrong in ((1.0, 1.0), (3.0, 1.0), (1.0, 0.8), (1.0, 1.2)):
            pages = [_in_a_month(load, hours=h, clump=clump, wrong=wrong) for h in HOURS]
            told = f"{load} an hour, {clump:g} together, threshold × {wrong:g}"
            checks.holds(told, pages == sorted(pages), got=pages)
