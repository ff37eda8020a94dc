"""Two burn-rate rules against the trivial policy: one fixed threshold on one window.

Rules are judged on incidents by two shares: how much of what the incidents spend is gone before
anyone is paged, and how many incidents page although they end below 2% of the month's budget. A
fixed error rate over five minutes is compared at its best setting, the one that loses least among
those that page for no more needless incidents than the two rules do.

Assumes: constant burn rates, nothing failing before an incident, traffic so large that the counts
are their means; three made-up laws of incidents, no record of real ones.

Source: the closed form of `alert_span`; Beyer et al. (2018), chapter 5, for both policies.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import RULES, alert_firing
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_positive,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
Rule = tuple[float, float]  # window [min], burn rate
MONTH_MIN = 43_200.0
WORTH = 0.02  # share of the month's budget that an incident must spend to be worth a page
PAIR: tuple[Rule, ...] = tuple((long, burn) for _, long, _, burn in RULES[:2])
FIVE_MIN = tuple(np.geomspace(1.2, 900, 120).tolist())  # burn rates of the fixed threshold


def seen_and_needless(
    burns: npt.ArrayLike, minutes: npt.ArrayLike, rules: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """Share of the spending that is over before a page, and share of incidents paged for nothing.

    burns: burn rate of each incident, positive, shape (n,). minutes: lengths, positive, shape (n,).
    rules: (window [min], burn rate) of each. An incident is paged when its average over a window
    reaches the burn rate. Raises ValueError on other input.

    >>> seen_and_needless([144.0, 10.0], [60.0, 10.0], [(60.0, 14.4)])
    (0.1102974828375286, 0.0)
    """
    burns, minutes = as_floats(burns=burns), as_floats(minutes=minutes)
    require_all_positive(burns=burns, minutes=minutes)
    require(burns.ndim == 1, "burns", "of shape (n,)", burns.shape)
    require_shape(burns.shape, minutes=minutes)
    require(len(rules) > 0, "rules", "one or more", rules)
    paged = np.full(burns.shape, np.inf)
    for window, threshold in rules:
        after = np.where(burns > threshold, window * threshold / burns, np.inf)
        paged = np.minimum(paged, np.where(minutes > after, after, np.inf))
    spent = burns * minutes
    unseen = burns * np.minimum(paged, minutes)
    needless = np.isfinite(paged) & (spent < WORTH * MONTH_MIN)
    return float(unseen.sum() / spent.sum()), float(needless.mean())


@functools.cache
def _incidents() -> dict[str, tuple[FloatArray, FloatArray]]:
    """Burn rates and lengths [min] of incidents by three laws."""
    rng = np.random.default_rng(5)
    burns = np.exp(rng.uniform(np.log(2), np.log(1000), (3, 20_000)))
    return {
        "outages": (burns[0], rng.exponential(20, 20_000)),
        "heavy tails": (burns[1], 1 + 5 * rng.pareto(1.2, 20_000)),
        "slow leaks": (burns[2], rng.exponential(1, 20_000) * 1500 / burns[2]),
    }


def _wrong(rules: Sequence[Rule], factor: float) -> list[Rule]:
    """The rules of somebody whose budget is wrong by a factor."""
    return [(window, burn * factor) for window, burn in rules]


def _best_fixed(law: str, needless: float, window: float = 5.0) -> tuple[float, float]:
    """Least unseen share of a fixed threshold that pages for no more needless incidents, and it."""
    judged = [(*seen_and_needless(*_incidents()[law], [(window, b)]), b) for b in FIVE_MIN]
    unseen, _, burn = min(one for one in judged if one[1] <= needless + 1e-9)
    return unseen, burn


def example() -> SimpleNamespace:
    """Shares in percent: what is spent unseen by the two rules, and by the best fixed one."""
    pair = {law: seen_and_needless(*of, PAIR) for law, of in _incidents().items()}
    fixed = {law: _best_fixed(law, pair[law][1]) for law in pair}
    usual = seen_and_needless(*_incidents()["outages"], [(5.0, 20.0)])
    low = seen_and_needless(*_incidents()["outages"], _wrong(PAIR, 0.8))
    alone = seen_and_needless(*_incidents()["slow leaks"], [(360.0, 2.4)])
    return SimpleNamespace(
        pair_outages_percent=100 * pair["outages"][0],
        fixed_outages_percent=100 * fixed["outages"][0],
        pair_leaks_percent=100 * pair["slow leaks"][0],
        fixed_leaks_percent=100 * fixed["slow leaks"][0],
        fixed_error_percent=fixed["outages"][1] / 10,
        usual_needless_percent=100 * usual[1],
        low_needless_percent=100 * low[1],
        alone_leaks_percent=100 * alone[0],
    )


def figure_rivals(figure: Figure) -> None:
    """At no setting does a fixed threshold over five minutes lose as little without needless pages.

    Each curve is a fixed threshold at every setting, strict on the left and lax on the right; dots
    are the two rules, crosses the same with thresholds that are a fifth too low or too high.

    Alt: Two panels of the share of the budget spent before a page against the share of needlessly
    paged incidents. In each a falling curve for five minutes and a lower one for an hour. The dot
    of the two rules lies at zero needless pages, below both curves where they meet the axis: at 15
    percent for outages and at 58 percent for slow leaks. One cross lies a little above, one to the
    right and below.
    """
    figure.set_size_inches(6.4, 2.9)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, law in zip(panels, ("outages", "slow leaks"), strict=True):
        of = _incidents()[law]
        for window, colour in ((5.0, "C3"), (60.0, "C0")):
            found = np.array([seen_and_needless(*of, [(window, b)]) for b in FIVE_MIN[::3]])
            axes.plot(100 * found[:, 1], 100 * found[:, 0], color=colour)
        unseen, needless = seen_and_needless(*of, PAIR)
        axes.plot(100 * needless, 100 * unseen, "o", color="C2", ms=8)
        for factor in (0.8, 1.2):
            unseen, needless = seen_and_needless(*of, _wrong(PAIR, factor))
            axes.plot(100 * needless, 100 * unseen, "x", color="C2", ms=8)
        axes.set(title=law, xlim=(-2, 45), ylim=(0, 103), xlabel="needlessly paged incidents [%]")
        axes.set_ylabel("spent before a page [%]")
    panels[0].annotate("two rules", (3, 22), color="C2")
    panels[1].annotate("fixed over 5 min", (17, 58), color="C3")
    panels[1].annotate("over 1 h", (8, 22), color="C0")


def check_two_rules_beat_a_fixed_threshold() -> None:
    """Under every law two burn-rate rules leave less unseen than five minutes at their best setting
    with as few needless pages; also with thresholds a fifth too high, and with thresholds a fifth
    too low but for short outages, where the two are equal.

    Source: both policies on the same 20,000 incidents of each law.
    """
    for law, of in _incidents().items():
        for factor in (1.0, 1.2, 0.8):
            unseen, needless = seen_and_needless(*of, _wrong(PAIR, factor))
            best, burn = _best_fixed(law, needless)
            label = f"{law}, thresholds × {factor:g}, against a burn rate of {burn:.0f}"
            if (law, factor) == ("outages", 0.8):
                checks.close(f"{label}: equal", unseen, best, rtol=0.03)
            else:
                checks.holds(label, unseen < best, got=[unseen, best])


def check_ranking_when_failures_come_in_bursts() -> None:
    """Also where an incident fails in bursts of a minute, ten times as hard, with nine quiet ones.

    Source: 300 incidents of 100,000 requests a minute, counted by `alert_firing`; the fixed
    threshold at its best setting on these incidents.
    """
    rng = np.random.default_rng(6)
    burns = np.exp(rng.uniform(np.log(2), np.log(100), 300))
    minutes = np.ceil(rng.exponential(60, 300)).astype(int)
    requests, errors = np.full((300, 1000), 100_000), np.zeros((300, 1000))
    for row, (burn, length) in enumerate(zip(burns, minutes, strict=True)):
        bursts = np.arange(400, min(400 + length, 1000), 10)
        errors[row, bursts] = min(1000 * burn, 100_000)
    spent = errors.sum(axis=1)

    def judged(rules: Sequence[tuple[int, int, float]]) -> tuple[float, float]:
        fired = [alert_firing(requests, errors, w, v, 0.999, burn) for w, v, burn in rules]
        firing = np.any(fired, axis=0)
        before = np.cumsum(firing, axis=1) == 0
        needless = firing.any(axis=1) & (spent < WORTH * MONTH_MIN * 100)
        return float((errors * before).sum() / spent.sum()), float(needless.mean())

    unseen, needless = judged([(long, short, burn) for _, long, short, burn in RULES[:2]])
    fixed = [judged([(5, 5, burn)]) for burn in FIVE_MIN[::6]]
    best = min(share for share, often in fixed if often <= needless)
    checks.holds("in bursts", unseen < best, got=[unseen, best])


def check_where_the_ranking_turns() -> None:
    """One rule of 2.4 over six hours sees more of slow leaks than the two, and no outage later.

    Source: the same incidents; its price, the pages of a steady service, is in `false_pages`.
    """
    pair = seen_and_needless(*_incidents()["slow leaks"], PAIR)
    alone = seen_and_needless(*_incidents()["slow leaks"], [(360.0, 2.4)])
    checks.holds("slow leaks", alone[0] < pair[0], got=[alone[0], pair[0]])
    checks.equal("needless", alone[1], pair[1])
    pair = seen_and_needless(*_incidents()["outages"], PAIR)
    alone = seen_and_needless(*_incidents()["outages"], [(360.0, 2.4)])
    checks.close("outages", alone[0], pair[0], rtol=0.01)


def check_judged_by_hand() -> None:
    """An incident of burn rate 144 for an hour is paged after six minutes, a tenth of it; one of
    100 for four minutes is needless at ten over five minutes.

    Source: 60·14.4/144 = 6 of 60 minutes; 400 of 864 budget-minutes.
    """
    unseen, needless = seen_and_needless([144.0], [60.0], [(60.0, 14.4)])
    checks.close("unseen", unseen, 0.1, rtol=1e-12)
    checks.equal("worth it", needless, 0.0)
    unseen, needless = seen_and_needless([100.0], [4.0], [(5.0, 10.0), (60.0, 99.0)])
    checks.close("unseen", unseen, 0.125, rtol=1e-12)
    checks.equal("needless", needless, 1.0)


def check_bad_input_is_refused() -> None:
    """Incidents without a length, lengths of others and no rules are errors."""
    checks.raises("length 0", seen_and_needless, [2.0], [0.0], PAIR, match="minutes must be")
    checks.raises("two of one", seen_and_needless, [2.0], [1.0, 1.0], PAIR, match="minutes must be")
    checks.raises("no rule", seen_and_needless, [2.0], [1.0], [], match="rules must be one or more")
