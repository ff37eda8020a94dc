"""An objective below 100% is a budget of failures, and the burn rate says how fast it goes.

With an objective s over a period T, the share 1−s of the requests may fail. An error rate e spends
the budget at the burn rate b = e/(1−s), and exhausts it in T/b. An alert on the burn rate over a
window w that fires at b* = f·T/w has let the share f of the budget go, and fires after w·b*/b.

Assumes: constant traffic, so that shares of requests are shares of time; errors at a constant rate
from the start of an incident; nothing failing before it.

Source: Beyer et al. (2018), chapter 5, “Alerting on SLOs”.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0  # s
MONTH = 30 * DAY  # s; the period of the SRE Workbook's examples
ALERTS = (("1 h page", HOUR, 14.4), ("6 h page", 6 * HOUR, 6.0), ("3 d ticket", 3 * DAY, 1.0))
# name, long window [s], burn rate: SRE Workbook, table 5-8


def error_budget(slo: float, total: float) -> float:
    """What may fail out of a total, (1−s)·total, in the unit of the total.

    slo: s in (0, 1), the share that must succeed. total: requests, or the period [s].
    Raises ValueError outside these ranges.

    >>> round(error_budget(slo=0.999, total=1_000_000), 6)
    1000.0
    """
    slo = require_in("(0, 1)", slo=slo)
    total = require_positive(total=total)
    return (1 - slo) * total


def burn_rate(error_rate: float, slo: float) -> float:
    """How many times faster than sustainable an error rate spends the budget, e/(1−s).

    error_rate: e in [0, 1], failed over all requests. slo: s in (0, 1). Cannot exceed 1/(1−s).
    Raises ValueError outside these ranges.

    >>> round(burn_rate(error_rate=0.02, slo=0.99), 9)
    2.0
    """
    error_rate = require_in("[0, 1]", error_rate=error_rate)
    slo = require_in("(0, 1)", slo=slo)
    return error_rate / (1 - slo)


def budget_spent(burn: float, duration_s: float, period_s: float) -> float:
    """Share of the budget that a constant burn rate spends, b·t/T; above 1 it is overdrawn.

    burn: b ≥ 0. duration_s: t ≥ 0 [s]. period_s: T > 0 [s]. Raises ValueError outside these ranges.

    >>> budget_spent(burn=2.0, duration_s=86400.0, period_s=864000.0)
    0.2
    """
    burn, duration_s = require_non_negative(burn=burn, duration_s=duration_s)
    period_s = require_positive(period_s=period_s)
    return burn * duration_s / period_s


def exhaustion_time(burn: float, period_s: float, remaining: float = 1.0) -> float:
    """Time until a constant burn rate has spent what remains of the budget, r·T/b [s].

    burn: b > 0. period_s: T [s]. remaining: r in [0, 1], share of the budget that is left.
    Raises ValueError outside these ranges.

    >>> exhaustion_time(burn=10.0, period_s=864000.0) / 86400
    1.0
    """
    burn, period_s = require_positive(burn=burn, period_s=period_s)
    remaining = require_in("[0, 1]", remaining=remaining)
    return remaining * period_s / burn


def burn_threshold(spend: float, window_s: float, period_s: float) -> float:
    """Burn rate at which a window has spent a given share of the budget, f·T/w.

    spend: f in (0, 1]. window_s: w in (0, T] [s]. period_s: T [s].
    Raises ValueError outside these ranges.

    >>> burn_threshold(spend=0.05, window_s=36 * 3600.0, period_s=30 * 86400.0)
    1.0
    """
    window_s = as_number(window_s=window_s)
    spend = require_in("(0, 1]", spend=spend)
    period_s = require_positive(period_s=period_s)
    require(0 < window_s <= period_s, "window_s", "positive and at most period_s", window_s)
    return spend * period_s / window_s


def detection_time(error_rate: float, slo: float, threshold: float, window_s: float) -> float:
    """Time from the first error to the alert, w·b*·(1−s)/e [s]; infinite if it never fires.

    error_rate: e in (0, 1]. slo: s in (0, 1). threshold: b* > 0, the burn rate that the average
    over the window must exceed. window_s: w [s]. Raises ValueError outside these ranges.

    >>> round(detection_time(error_rate=0.5, slo=0.99, threshold=10.0, window_s=3600.0), 9)
    720.0
    """
    error_rate = require_in("(0, 1]", error_rate=error_rate)
    threshold, window_s = require_positive(threshold=threshold, window_s=window_s)
    burning = burn_rate(error_rate, slo)
    return window_s * threshold / burning if burning > threshold else math.inf


def reset_time(error_rate: float, slo: float, threshold: float, window_s: float) -> float:
    """Time from the last error until the alert stops, w·(1 − b*(1−s)/e) [s]; 0 if it never fired.

    Holds for an incident that lasted at least one window. With two windows the shorter one counts.
    Arguments and errors as for `detection_time`.

    >>> round(reset_time(error_rate=0.5, slo=0.99, threshold=10.0, window_s=3600.0), 9)
    2880.0
    """
    window_s = as_number(window_s=window_s)
    return max(0.0, window_s - detection_time(error_rate, slo, threshold, window_s))


def example() -> SimpleNamespace:
    """Answers to the exercises, in the unit that the name says."""
    page = burn_threshold(0.02, HOUR, MONTH)
    exhausted = exhaustion_time(page, MONTH)
    two_hours = MONTH / (2 * HOUR)
    return SimpleNamespace(
        budget_min=error_budget(0.999, MONTH) / MINUTE,
        budget_28_days_min=error_budget(0.999, 28 * DAY) / MINUTE,
        budget_year_h=error_budget(0.999, 365 * DAY) / HOUR,
        outage_spend_percent=100 * budget_spent(burn_rate(1.0, 0.999), 5 * MINUTE, MONTH),
        page_burn=page,
        page_error_percent=100 * page * (1 - 0.999),
        slow_page_burn=burn_threshold(0.05, 6 * HOUR, MONTH),
        exhausted_h=exhausted / HOUR,
        exhausted_days=exhausted / DAY,
        two_hours_burn=two_hours,
        two_hours_error_percent=100 * two_hours * (1 - 0.999),
        outage_detected_s=detection_time(1.0, 0.999, page, HOUR),
        outage_reset_min=reset_time(1.0, 0.999, page, HOUR) / MINUTE,
        single_alert=burn_threshold(0.05, HOUR, MONTH),
        missed_h=exhaustion_time(35.0, MONTH) / HOUR,
        low_goal_percent=100 * budget_spent(burn_rate(1.0, 0.9), HOUR, MONTH),
        five_nines_s=exhaustion_time(burn_rate(1.0, 0.99999), MONTH),
    )


def figure_detection_time(figure: Figure) -> None:
    """Each alert is blind below its burn rate and needs seconds to minutes in an outage.

    Time from the first error to each of the three recommended alerts, objective 99.9% over 30 days.
    The dashed line is the time at which the whole budget is gone.

    Alt: Log-log chart of time against error rate from 0.1 to 100 percent. Three parallel falling
    lines start at error rates of 1.44, 0.6 and 0.1 percent, at one hour, six hours and three
    days, the lengths of their windows. A dashed line for the exhaustion of the budget runs above
    all of them, from 30 days to 43 minutes.
    """
    axes = figure.subplots()
    for (name, window_s, threshold), colour in zip(ALERTS, ("C3", "C1", "C0"), strict=True):
        edge = threshold * (1 - 0.999)
        rates = np.geomspace(edge * 1.0001, 1.0, 100)
        times = [detection_time(e, 0.999, threshold, window_s) for e in rates.tolist()]
        axes.loglog(100 * rates, times, color=colour)
        axes.plot(100 * edge, window_s, "o", color=colour)
        axes.annotate(
            name,
            (100 * edge, window_s),
            xytext=(-8, -2),
            textcoords="offset points",
            color=colour,
            ha="right",
            va="top",
        )
    rates = np.geomspace(0.001, 1.0, 100)
    gone = [exhaustion_time(burn_rate(e, 0.999), MONTH) for e in rates.tolist()]
    axes.loglog(100 * rates, gone, color="C4", linestyle="--")
    axes.annotate("budget gone", (1.6, 2.4e5), color="C4")
    axes.set_yticks([10, 60, 600, 3600, 6 * 3600, 86400, 30 * 86400])
    axes.set_yticklabels(["10 s", "1 min", "10 min", "1 h", "6 h", "1 d", "30 d"])
    axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlim=(0.015, 110), xlabel="error rate [%]", ylabel="time since the first error")


def check_budget_in_minutes() -> None:
    """Three nines allow 43.2 minutes in 30 days, 40.3 in 28, and 8.76 hours in a year.

    Source: 0.1% of the period, by hand; 43 minutes and 26 seconds from Beyer et al. (2018),
    table 5-4 and “Extreme Availability Goals”.
    """
    checks.close("30 days [min]", error_budget(0.999, MONTH) / 60, 43.2, rtol=1e-12)
    checks.close("28 days [min]", error_budget(0.999, 28 * DAY) / 60, 40.32, rtol=1e-12)
    checks.close("365 days [h]", error_budget(0.999, 365 * DAY) / 3600, 8.76, rtol=1e-12)
    gone = exhaustion_time(burn_rate(1.0, 0.999), MONTH) / 60
    checks.close("full outage [min]", gone, 43, atol=0.5, kind="published")
    gone = exhaustion_time(burn_rate(1.0, 0.99999), MONTH)
    checks.close("full outage, five nines [s]", gone, 26, atol=0.5, kind="published")


def check_recommended_thresholds() -> None:
    """2% in 1 h, 5% in 6 h and 10% in 3 d are burn rates of 14.4, 6 and 1.

    Source: Beyer et al. (2018), tables 5-6 and 5-8, and section 4 for 36.
    """
    for spend, hours, expected in ((0.02, 1, 14.4), (0.05, 6, 6.0), (0.1, 72, 1.0), (0.05, 1, 36)):
        got = burn_threshold(spend, hours * HOUR, MONTH)
        checks.close(f"{spend:.0%} in {hours} h", got, expected, rtol=1e-12, kind="published")


def check_detection_of_an_outage() -> None:
    """A window of ten minutes at burn rate 1 detects a full outage in 0.6 s, one of 36 h in 130 s.

    Source: Beyer et al. (2018), tables 5-1 and 5-2; for two minutes of errors in an hour, counting
    seconds.
    """
    got = detection_time(1.0, 0.999, 1.0, 10 * MINUTE)
    checks.close("10 min window [s]", got, 0.6, atol=1e-9, kind="published")
    got = detection_time(1.0, 0.999, 1.0, 36 * HOUR)
    checks.close("36 h window [s]", got, 130, atol=0.5, kind="published")
    errors = np.zeros(20_000)
    errors[7200:14_400] = 0.2
    average = np.convolve(errors, np.full(3600, 1 / 3600))[: errors.size]
    firing = np.flatnonzero(average > 14.4 * 0.001)
    got = detection_time(0.2, 0.999, 14.4, HOUR)
    checks.close("20% errors, second by second [s]", firing[0] - 7199, got, atol=1)
    got = reset_time(0.2, 0.999, 14.4, HOUR)
    checks.close("reset, second by second [s]", firing[-1] - 14_399, got, atol=1)


def check_reset_after_an_outage() -> None:
    """The one-hour alert at burn rate 36 still fires 58 minutes after an outage.

    Source: Beyer et al. (2018), table 5-5.
    """
    got = reset_time(1.0, 0.999, 36.0, HOUR) / 60
    checks.close("reset [min]", got, 58, atol=0.5, kind="published")


def check_a_burn_rate_that_is_never_seen() -> None:
    """An alert at 36 never sees a burn rate of 35, which exhausts the month in 20.6 hours.

    Source: Beyer et al. (2018), table 5-5, which prints 20.5 for 720/35.
    """
    checks.close("exhausted [h]", exhaustion_time(35.0, MONTH) / HOUR, 20.571, atol=5e-4)
    checks.close(
        "as printed [h]", exhaustion_time(35.0, MONTH) / HOUR, 20.5, atol=0.1, kind="published"
    )
    checks.holds("never fires", math.isinf(detection_time(0.035, 0.999, 36.0, HOUR)))


def check_page_leaves_two_days_not_two_hours() -> None:
    """At burn rate 14.4 the 30-day budget lasts 50 hours; “2 hours” would be burn rate 360.

    Source: a loop that subtracts 14.4 budget-minutes each minute; Beyer et al. (2018), table 5-4
    for the rule.
    """
    left, minutes = MONTH, 0
    while left > 0:
        left -= 14.4 * 60
        minutes += 1
    checks.close("counted down [h]", minutes / 60, 50, atol=1 / 60)
    checks.close("T/b [h]", exhaustion_time(14.4, MONTH) / HOUR, 50, rtol=1e-12)
    checks.close("spent after 2 h", budget_spent(14.4, 2 * HOUR, MONTH), 0.04, rtol=1e-12)
    checks.close("burn rate of 2 h", MONTH / (2 * HOUR), 360, rtol=1e-12)
    got = exhaustion_time(10.0, MONTH) / DAY
    checks.close("burn rate 10 [d]", got, 3, rtol=1e-12, kind="published")


def check_five_minute_outage() -> None:
    """A full outage of five minutes spends 11.574% of the month's budget.

    Source: 5/43.2 by hand; “almost 12%” in Beyer et al. (2018), section 3, and “140%” for an hour.
    """
    got = budget_spent(burn_rate(1.0, 0.999), 5 * MINUTE, MONTH)
    checks.close("5 minutes", got, 0.11574, atol=5e-6)
    checks.close("“almost 12%”", got, 0.12, atol=0.005, kind="published")
    hour = budget_spent(burn_rate(1.0, 0.999), HOUR, MONTH)
    checks.close("“140%”", hour, 1.4, atol=0.05, kind="published")


def check_one_error_of_ten() -> None:
    """One error among ten requests an hour is burn rate 100, not the 1,000 printed beside 13.9%.

    Source: Beyer et al. (2018), “Low-Traffic Services”: 10% in an hour, 13.9% of the budget; both
    give 100 by their own formula, b = f·T/w.
    """
    checks.close("burn rate", burn_rate(0.1, 0.999), 100, rtol=1e-12)
    spent = budget_spent(burn_rate(0.1, 0.999), HOUR, MONTH)
    checks.close("spent in the hour", spent, 0.139, atol=5e-4, kind="published")
    checks.close("from the 13.9%", burn_threshold(0.139, HOUR, MONTH), 100, atol=0.5)
    checks.close("requests that may fail in 30 days", int(error_budget(0.999, 7200)), 7)


def check_goals_that_break_the_recipe() -> None:
    """At an objective of 90% an outage spends 1.4% in an hour, so a page at 2% can never come.

    Source: Beyer et al. (2018), “Extreme Availability Goals”.
    """
    spent = budget_spent(burn_rate(1.0, 0.9), HOUR, MONTH)
    checks.close("spent in an hour", spent, 0.014, atol=5e-4, kind="published")
    checks.holds("never fires", math.isinf(detection_time(1.0, 0.9, 14.4, HOUR)))


def check_bad_input_is_refused() -> None:
    """Percentages, impossible error rates and empty windows are errors that name the argument."""
    checks.raises(
        "99.9 for 0.999", error_budget, 99.9, 1.0, match="slo must be in (0, 1), got 99.9"
    )
    checks.raises("no budget at all", burn_rate, 0.1, 1.0, match="slo must be in (0, 1), got 1.0")
    checks.raises("NaN errors", burn_rate, math.nan, 0.9, match="error_rate must be in [0, 1]")
    checks.raises("burn 0", exhaustion_time, 0.0, MONTH, match="burn must be positive and finite")
    checks.raises(
        "window above the period", burn_threshold, 0.1, 2.0, 1.0, match="window_s must be positive"
    )
    checks.raises(
        "no threshold", detection_time, 0.1, 0.9, 0.0, 1.0, match="threshold must be positive"
    )
