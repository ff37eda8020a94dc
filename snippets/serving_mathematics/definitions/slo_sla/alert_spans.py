"""Which burn-rate alert fires when: closed form for an incident of constant burn rate.

An alert fires while the average burn rate exceeds b* both over a long window w and over a short
one, a twelfth of it in the recommended rules. An incident of burn rate b > b* lifts the long
average to b* after w·b*/b, when it has spent the share w·b*/T of the budget; the short average
falls below b* (w/12)·(1 − b*/b) after the end, before the long one does. So the alert fires from
w·b*/b until then, if the incident lasts longer than w·b*/b.

Assumes: constant traffic; no errors before the incident; alerts evaluated continuously.

Source: Beyer et al. (2018), chapter 5, “Multiwindow, Multi-Burn-Rate Alerts” and table 5-8.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.reliability.burn_rate_alerts import RULES, alert_firing
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_number, require, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MINUTE, HOUR = 60.0, 3600.0  # s
MONTH = 30 * 24 * HOUR  # s
COLOURS = ("C3", "C1", "C0")  # of the three rules


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
    """The numbers quoted in the text: 5% errors against 99.9% and against 99.97%."""
    _, long, short, threshold = RULES[0]
    page = [
        alert_span(burn, HOUR, long * MINUTE, short * MINUTE, threshold)
        for burn in (0.05 / 0.001, 0.05 / 0.0003, 1 / 0.001)
    ]
    return SimpleNamespace(
        failing_percent=5.0,
        promise_burn=0.05 / 0.001,
        promise_page_min=page[0][0] / MINUTE,
        internal_burn=0.05 / 0.0003,
        internal_page_min=page[1][0] / MINUTE,
        page_reset_min=(page[0][1] - HOUR) / MINUTE,
        paged_percent=100 * math.exp(-page[0][0] / (10 * MINUTE)),
        outage_paged_percent=100 * math.exp(-page[2][0] / (10 * MINUTE)),
        outage_page_s=page[2][0],
    )


def _traffic(burn: float, minutes: int, window: int) -> tuple[list[int], list[int]]:
    """Counts of 100,000 requests a minute: a quiet window, an incident of a burn rate, quiet."""
    errors = [0] * window + [round(100 * burn)] * minutes + [0] * window
    return [100_000] * len(errors), errors


def _simulated_span(burn: float, minutes: int, rule: tuple[str, int, int, float]) -> list[float]:
    """First and last minute at which the alert fires, from the start of the incident."""
    _, long, short, threshold = rule
    requests, errors = _traffic(burn, minutes, long)
    firing = np.flatnonzero(alert_firing(requests, errors, long, short, 0.999, threshold))
    return [float(firing[0] + 1 - long), float(firing[-1] + 2 - long)] if firing.size else []


def figure_alerts(figure: Figure) -> None:
    """An incident is noticed when its point lies above a line, by the rules whose lines it passed.

    Above: time from the start of an incident to each alert, against its burn rate, and the time at
    which the budget of 30 days is gone. An incident that ends below the lowest line at its burn
    rate is never noticed. Below: how long each alert goes on after the end. Points are incidents
    simulated minute by minute.

    Alt: Two log-log panels against burn rate from 0.7 to 1,000. Above, three parallel falling lines
    begin at 14.4 and one hour, 6 and six hours, and 1 and three days, labelled one-hour page,
    six-hour page and ticket, below a dashed line from 30 days to 43 minutes for the budget. Below,
    three curves rise from zero at the same burn rates to five minutes, half an hour and six hours.
    Points lie on all of them.
    """
    figure.set_size_inches(5.8, 5.6)
    axes, reset = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for rule, colour, x, y in zip(
        RULES, COLOURS, (13, 5.4, 1.2), (0.65 * HOUR, 3.6 * HOUR, 9 * HOUR), strict=True
    ):
        name, long, short, threshold = rule
        burns = threshold * np.geomspace(1.001, 1000 / threshold, 150)
        spans = np.array(
            [
                alert_span(b, 2 * long * MINUTE, long * MINUTE, short * MINUTE, threshold)
                for b in burns.tolist()
            ]
        )
        axes.loglog(burns, spans[:, 0], color=colour)
        reset.loglog(burns, spans[:, 1] - 2 * long * MINUTE, color=colour)
        some = [1.5, 3.0, 9.0, 20.0, 40.0, 100.0, 250.0]
        some = [b for b in some if b > threshold and long * threshold / b > 4]
        began, stopped = np.array([_simulated_span(b, 2 * long, rule) for b in some]).T
        axes.plot(some, began * MINUTE, "o", color=colour, ms=4)
        reset.plot(some, (stopped - 2 * long) * MINUTE, "o", color=colour, ms=4)
        axes.annotate(name, (x, y), color=colour, ha="right" if x > 2 else "left")
    burns = np.geomspace(1, 1000, 50)
    axes.loglog(burns, MONTH / burns, color="C4", linestyle="--")
    axes.annotate("budget gone", (30, 1.2 * MONTH / 30), color="C4")
    axes.annotate("never noticed", (1.2, 8 * MINUTE), color="C4")
    ticks = {
        "1 min": MINUTE,
        "10 min": 10 * MINUTE,
        "1 h": HOUR,
        "6 h": 6 * HOUR,
        "1 d": 24 * HOUR,
        "30 d": MONTH,
    }
    axes.set_yticks(list(ticks.values()), list(ticks))
    reset.set_yticks(
        [MINUTE, 5 * MINUTE, 30 * MINUTE, 6 * HOUR], ["1 min", "5 min", "30 min", "6 h"]
    )
    reset.set_xticks([1, 6, 14.4, 100, 1000], ["1", "6", "14.4", "100", "1,000"])
    for panel in (axes, reset):
        panel.minorticks_off()
        panel.tick_params(labelbottom=True)
        panel.set(xlim=(0.7, 1000), xlabel="burn rate")
    axes.set(ylim=(30, 2 * MONTH), ylabel="time to the alert")
    reset.set(ylim=(20, 12 * HOUR), ylabel="firing after the end")


def check_spans_against_counting() -> None:
    """Each alert begins and stops within a minute of the closed form, and only when it should.

    Source: incidents of 100,000 requests a minute, evaluated each minute by `alert_firing` on the
    counts of both windows, for incidents from 10 minutes to 10 days.
    """
    for rule in RULES:
        name, long, short, threshold = rule
        for burn, minutes in ((50.0, 10), (50.0, 25), (50.0, 400), (9.0, 300), (2.0, 14_400)):
            counted = _simulated_span(burn, minutes, rule)
            span = alert_span(burn, minutes * MINUTE, long * MINUTE, short * MINUTE, threshold)
            label = f"{name}, burn rate {burn:g} for {minutes} min"
            checks.equal(f"{label}: fires", bool(counted), math.isfinite(span[0]))
            if counted:
                expected = [s / MINUTE for s in span]
                checks.close(f"{label} [min]", counted, expected, atol=1.0)


def check_share_spent_when_it_fires() -> None:
    """At whatever burn rate, the budget spent when an alert fires is 2%, 5% and 10%.

    Source: Beyer et al. (2018), table 5-8, “error budget consumed”.
    """
    for (name, long, short, threshold), share in zip(RULES, (0.02, 0.05, 0.10), strict=True):
        for burn in (20.0, 700.0):
            began, _ = alert_span(burn, MONTH, long * MINUTE, short * MINUTE, threshold)
            got = burn * began / MONTH
            checks.close(f"{name}, burn rate {burn:g}", got, share, rtol=1e-12, kind="published")


def check_paged_share_of_random_incidents() -> None:
    """Of incidents of exponential length the share e^{−t/m} outlives the time to the page.

    Source: 100,000 lengths with a mean of ten minutes; binomial standard error in the tolerance.
    """
    lengths = np.random.default_rng(31).exponential(10 * MINUTE, 100_000)
    fired = np.mean(lengths > alert_span(50.0, MONTH, HOUR, 5 * MINUTE, 14.4)[0])
    share = example().paged_percent / 100
    error = math.sqrt(share * (1 - share) / lengths.size)
    checks.close("paged", float(fired), share, atol=3 * error, kind="simulation")


def check_bad_input_is_refused() -> None:
    """A short window above the long one and burn rates of zero are errors."""
    checks.raises("short above long", alert_span, 2.0, 1.0, 1.0, 2.0, 1.0, match="short_s must be")
    checks.raises("b = 0", alert_span, 0.0, 1.0, 1.0, 1.0, 1.0, match="burn must be")
