"""Burn-rate alerts: when they fire, on counts and in closed form.

An alert with threshold b* fires while the error rate exceeds b*(1−s) both in a long window and in
a short one of a twelfth of its length. With n requests in a window that takes ⌊b*(1−s)·n⌋ + 1
errors. An incident of burn rate b > b* lifts the long average to b* after w·b*/b, when it has spent
the share w·b*/T of the budget, and the short one falls below b* (w/12)·(1 − b*/b) after the end.

Assumes: alerts evaluated at the end of every interval, on the counts of whole intervals; for the
closed form constant traffic, a constant burn rate, and no errors before the incident.

Source: Beyer et al. (2018), chapter 5, “Multiwindow, Multi-Burn-Rate Alerts” and table 5-8.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_shape,
)

Counts = npt.NDArray[np.int64]
SLO = 0.999  # objective of the examples
MINUTE, HOUR = 60.0, 3600.0  # s
MONTH = 30 * 24 * HOUR  # s
RULES = (("1 h page", 60, 5, 14.4), ("6 h page", 360, 30, 6.0), ("3 d ticket", 4320, 360, 1.0))
# name, long and short window [min], burn rate: SRE Workbook, table 5-8


def errors_to_fire(requests: npt.ArrayLike, slo: float, burn: float) -> Counts:
    """Fewest errors that lift the error rate of n requests above a burn rate, ⌊b*(1−s)n⌋ + 1.

    requests: n, integers ≥ 0, any shape. slo: s in (0, 1). burn: b* > 0. The result has the shape
    of n. A product within 1e-9 of an integer counts as it. Raises ValueError outside these ranges.

    >>> errors_to_fire([10, 69, 70, 1000], slo=0.999, burn=14.4).tolist()
    [1, 1, 2, 15]
    """
    counts = as_floats(requests=requests)
    require(
        np.all((counts >= 0) & (counts < math.inf) & (np.rint(counts) == counts)),
        "requests",
        "non-negative integers",
        counts,
    )
    slo = require_in("(0, 1)", slo=slo)
    burn = require_positive(burn=burn)
    require(
        burn * float(counts.max(initial=0.0)) <= 2**53,
        "burn",
        "such that errors can be counted, up to 2**53",
        burn,
    )
    return (np.floor(burn * (1 - slo) * counts + 1e-9) + 1).astype(np.int64)


def alert_firing(
    requests: npt.ArrayLike,
    errors: npt.ArrayLike,
    long: int,
    short: int,
    slo: float,
    burn: float,
) -> npt.NDArray[np.bool_]:
    """Whether the alert fires at the end of each interval: above b* in the long and short window.

    requests, errors: counts per interval, shape (..., n); independent series in the leading axes.
    long, short: lengths of the windows [intervals], 1 ≤ short ≤ long. Nothing fires before the
    data fill the long window. slo: s in (0, 1). burn: b* > 0. Raises ValueError on other values and
    on more errors than requests.

    >>> alert_firing([10] * 4, [0, 5, 5, 0], long=3, short=1, slo=0.9, burn=1.0).tolist()
    [False, False, True, False]
    """
    long = as_number(long=long)
    served, failed = as_floats(requests=requests), as_floats(errors=errors)
    require(served.ndim >= 1 and served.size > 0, "requests", "a non-empty array", served.shape)
    require_shape(served.shape, errors=failed)
    require((failed >= 0) & (failed <= served), "errors", "in 0…requests", failed)
    short = require_positive_integer(short=short)
    require(long % 1 == 0 and long >= short, "long", "an integer ≥ short", long)

    def exceeds(window: int) -> npt.NDArray[np.bool_]:
        sums = []
        for counts in (served, failed):
            total = np.cumsum(counts, axis=-1)
            total[..., window:] -= total[..., :-window].copy()
            sums.append(total)
        return sums[1] >= errors_to_fire(sums[0], slo, burn)

    return exceeds(long) & exceeds(short) & (np.arange(served.shape[-1]) >= long - 1)


def alert_span(
    burn: float, duration_s: float, long_s: float, short_s: float, threshold: float
) -> tuple[float, float]:
    """When an alert begins and stops firing, from the start of an incident [s]; inf, inf if never.

    burn: b > 0, constant. duration_s: of the incident [s]. long_s, short_s: windows [s], the short
    one at most the long one. threshold: b* > 0. Raises ValueError outside these ranges.

    >>> alert_span(burn=144.0, duration_s=900.0, long_s=3600.0, short_s=300.0, threshold=14.4)
    (360.0, 1170.0)
    """
    short_s = as_number(short_s=short_s)
    burn, duration_s, long_s = require_positive(burn=burn, duration_s=duration_s, long_s=long_s)
    require(0 < short_s <= long_s, "short_s", "positive and at most long_s", short_s)
    threshold = require_positive(threshold=threshold)
    begins = long_s * threshold / burn
    if burn <= threshold or duration_s <= begins:
        return math.inf, math.inf
    return begins, duration_s + short_s * (1 - threshold / burn)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: a full outage against 99.9%."""
    outage = alert_span(1000.0, HOUR, HOUR, 5 * MINUTE, 14.4)
    alone = alert_span(1000.0, HOUR, HOUR, HOUR, 14.4)
    averaged = math.sqrt(2 * 5 * outage[0] / MINUTE)  # [min] where rates of 5 min are averaged
    _, long, short, threshold = RULES[1]
    low = alert_span(10.0, MONTH, long * MINUTE, short * MINUTE, threshold)  # at 90%
    return SimpleNamespace(
        low_goal_page_h=low[0] / HOUR,
        outage_page_s=outage[0],
        files_page_min=math.ceil(averaged) + 1,  # evaluated each minute
        outage_reset_min=(outage[1] - HOUR) / MINUTE,
        alone_reset_min=(alone[1] - HOUR) / MINUTE,
    )


def _incident(burn: float, minutes: int, window: int) -> tuple[list[int], list[int]]:
    """Counts of 100,000 requests a minute: a quiet window, an incident of a burn rate, quiet."""
    errors = [0] * window + [round(100 * burn)] * minutes + [0] * window
    return [100_000] * len(errors), errors


def _counted_span(burn: float, minutes: int, rule: tuple[str, int, int, float]) -> list[float]:
    """First and last minute at which the alert fires, from the start of the incident."""
    _, long, short, threshold = rule
    requests, errors = _incident(burn, minutes, long)
    firing = np.flatnonzero(alert_firing(requests, errors, long, short, SLO, threshold))
    return [float(firing[0] + 1 - long), float(firing[-1] + 2 - long)] if firing.size else []


def figure_alerts(figure: Figure) -> None:
    """Each rule is blind left of its threshold; the faster the burn, the sooner it fires.

    Time from the start of an incident until each rule fires, for three nines over a month. Points
    are incidents evaluated minute by minute.

    Alt: Log-log chart of time against burn rate from 0.7 to 1,000. Three parallel falling lines
    begin at 14.4 and one hour, 6 and six hours, and 1 and three days, labelled one-hour page,
    six-hour page and ticket, below a dashed line from 30 days to 43 minutes for the budget. Points
    lie on all of them.
    """
    figure.set_size_inches(5.8, 2.9)
    axes = figure.subplots()
    for rule, colour, x, y in zip(
        RULES, ("C3", "C1", "C0"), (13, 5.4, 1.2), (0.65, 3.6, 9), strict=True
    ):
        name, long, _, threshold = rule
        burns = threshold * np.geomspace(1.001, 1000 / threshold, 100)
        axes.loglog(burns, long * MINUTE * threshold / burns, color=colour)
        some = [b for b in (1.5, 3.0, 9.0, 20.0, 40.0, 100.0, 250.0) if long * threshold / b > 4]
        some = [b for b in some if b > threshold]
        began = [_counted_span(b, 2 * long, rule)[0] * MINUTE for b in some]
        axes.plot(some, began, "o", color=colour, ms=4)
        axes.annotate(name, (x, y * HOUR), color=colour, ha="right" if x > 2 else "left")
    burns = np.geomspace(1, 1000, 50)
    axes.loglog(burns, MONTH / burns, color="C4", linestyle="--")
    axes.annotate("budget gone", (30, 1.2 * MONTH / 30), color="C4")
    ticks = {
        "1 min": MINUTE,
        "10 min": 10 * MINUTE,
        "1 h": HOUR,
        "6 h": 6 * HOUR,
        "1 d": 24 * HOUR,
        "30 d": MONTH,
    }
    axes.set_yticks(list(ticks.values()), list(ticks))
    axes.set_xticks([1, 6, 14.4, 100, 1000], ["1", "6", "14.4", "100", "1,000"])
    axes.minorticks_off()
    axes.set(xlim=(0.7, 1000), ylim=(30, 2 * MONTH))
    axes.set(xlabel="burn rate", ylabel="time from the first error")


def check_windows_of_the_workbook() -> None:
    """With 15% errors for ten minutes, the page comes in the sixth minute, and ends five minutes
    after the errors.

    Source: Beyer et al. (2018), figure 5-6: “after 5 minutes”, and 5 minutes after the errors; for
    one window alone, 60 min less the time to fire, 14.4 budgets of 0.1% at 15%.
    """
    requests = np.full(300, 1000)
    errors = np.zeros(300, dtype=int)
    errors[100:110] = 150
    firing = np.flatnonzero(alert_firing(requests, errors, 60, 5, SLO, 14.4))
    checks.close("fires after [min]", firing[0] + 1 - 100, 5, atol=1, kind="published")
    checks.close("stops after [min]", firing[-1] + 1 - 109, 5, atol=1, kind="published")
    alone = np.flatnonzero(alert_firing(requests, errors, 60, 60, SLO, 14.4))
    checks.close("one window alone [min]", alone[-1] + 1 - 109, 60 - 60 * 0.0144 / 0.15, atol=1)


def check_first_error_pages() -> None:
    """At up to 69 requests an hour, a single error fires the page; at 70, it takes two.

    Source: exact fractions, the smallest count above 14.4/1000 of the requests; 10 an hour pages
    “immediately” in Beyer et al. (2018).
    """
    counts = np.arange(1, 2001)
    by_hand = [next(k for k in range(99) if 10_000 * k > 144 * n) for n in counts.tolist()]
    checks.close("errors to fire, n = 1 … 2000", errors_to_fire(counts, SLO, 14.4), by_hand)
    checks.close("10 an hour", errors_to_fire(10, SLO, 14.4), 1, kind="published")


def check_spans_against_counting() -> None:
    """Each alert begins and stops within a minute of the closed form, and only when it should.

    Source: incidents of 100,000 requests a minute, evaluated each minute by `alert_firing` on the
    counts of both windows, for incidents from 10 minutes to 10 days.
    """
    for rule in RULES:
        name, long, short, threshold = rule
        for burn, minutes in ((50.0, 10), (50.0, 25), (50.0, 400), (9.0, 300), (2.0, 14_400)):
            counted = _counted_span(burn, minutes, rule)
            span = alert_span(burn, minutes * MINUTE, long * MINUTE, short * MINUTE, threshold)
            label = f"{name}, burn rate {burn:g} for {minutes} min"
            checks.equal(f"{label}: fires", bool(counted), math.isfinite(span[0]))
            if counted:
                expected = [s / MINUTE for s in span]
                checks.close(f"{label} [min]", counted, expected, atol=1.0)


def check_share_spent_when_it_fires() -> None:
    """Whatever the burn rate, the rules fire when 2%, 5% and 10% of the budget is spent.

    Source: Beyer et al. (2018), table 5-8, “error budget consumed”; tables 5-2 and 5-5 for a full
    outage, seen after 130 s by 36 h at 1, and 58 minutes of an alarm that is over.
    """
    for (name, long, short, threshold), share in zip(RULES, (0.02, 0.05, 0.10), strict=True):
        for burn in (20.0, 700.0):
            began, _ = alert_span(burn, MONTH, long * MINUTE, short * MINUTE, threshold)
            got = burn * began / MONTH
            checks.close(f"{name}, burn rate {burn:g}", got, share, rtol=1e-12, kind="published")
    seen = alert_span(1000.0, MONTH, 36 * HOUR, HOUR, 1.0)[0]
    checks.close("36 h window [s]", seen, 130, atol=0.5, kind="published")
    stale = alert_span(1000.0, HOUR, HOUR, HOUR, 36.0)[1] - HOUR
    checks.close("one hour at 36 [min]", stale / MINUTE, 58, atol=0.5, kind="published")


def check_an_outage_at_ninety_percent() -> None:
    """At an objective of 90%, a full outage never fires the one-hour page, and fires the six-hour
    page after 3.6 hours.

    Source: 1,000 requests a minute, all of which fail, minute by minute; 6 h times 6 over 10.
    """
    requests = np.full(24 * 60, 1000)
    errors = np.where(np.arange(requests.size) < 12 * 60, 0, 1000)
    for (name, long, short, threshold), due in zip(RULES, (None, 3.6), strict=False):
        firing = np.flatnonzero(alert_firing(requests, errors, long, short, 0.9, threshold))
        checks.equal(f"{name}: fires", firing.size > 0, due is not None)
        if due is not None:
            checks.close(f"{name} [h]", (firing[0] + 1) / 60 - 12, due, atol=1 / 60 + 1e-9)
