"""A finding, what is asked for, and how numbers are said.

A finding says what was seen with its interval, why it matters, what to change, and how sure it is.
A function of a theme makes one of a run, or None where there is nothing to say.

What stands in one queue is late together. The interval of a share is Wilson's for as many requests
as these are worth, n over the sum of their autocorrelations, and as much wider as Student's t is
for the clumps that were seen. Where these are fewer than two there is none: of logs that saw the
first long queue, or none yet, hardly any would hold the true share. The same of a percentile, whose
slowest few hide how long a queue lasts, is told by those above lower ones too.

Source: the five parts are those of an incident review: Beyer et al. (2016), *Site Reliability
Engineering*, chapter 15. Korn and Graubard (1998), *Confidence intervals for proportions with small
expected number of positive counts estimated from survey data*, for requests that are worth fewer;
Geyer (1992), section 3.3, for the sum, which ends with the first pair that is not positive;
Woodruff (1952), *Confidence intervals for medians and other position measures*, for percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.queues.shares import NORMAL_975, _score_ends
from serving_mathematics.report.evidence import FloatArray
from serving_mathematics.support import checks
from serving_mathematics.support.digits import one_of_many, sized
from serving_mathematics.support.intervals import student_quantile
from serving_mathematics.support.require import as_floats, require, require_finite, require_in

LEVELS = ("problem", "warning", "note")  # worst first
LARGEST_BATCH = 100_000  # of an engine's batch
FEW = 100  # requests below which nothing is said of their order
FEWEST_CLUMPS = 2.0  # of what comes together, of which an interval is told
SLOW = (0.5, 0.75, 0.9)  # quantiles, above which it is looked how long slow requests are together
BY_CHANCE = 17.0  # over √n: by how many independent ones seem worth one more, in one log of forty


@dataclass(frozen=True)
class Asked:
    """What a reader asks beside the files; NaN for what is not said.

    ttft_s, tpot_s: the objective. quantile: share of requests that keep it. price_per_hour: of all
    devices. places: of the engine's batch, such as --max-num-seqs. engine: vllm or sglang.

    >>> Asked(ttft_s=1.0).quantile
    0.99
    """

    ttft_s: float = math.nan
    tpot_s: float = math.nan
    quantile: float = 0.99
    price_per_hour: float = math.nan
    places: float = math.nan
    engine: str = "vllm"
    deployment: Deployment | None = None

    def __post_init__(self) -> None:
        """Refuse what is no objective."""
        require_in("(0, 1)", quantile=self.quantile)
        for name in ("ttft_s", "tpot_s", "price_per_hour", "places"):
            value = getattr(self, name)
            require(not value <= 0 and value != math.inf, name, "positive and finite", value)
        whole = math.isnan(self.places) or self.places == int(self.places)
        require(whole, "places", "a whole number", self.places)
        require(
            not self.places > LARGEST_BATCH, "places", f"at most {LARGEST_BATCH:,}", self.places
        )
        require(self.engine in ("vllm", "sglang"), "engine", "vllm or sglang", self.engine)

    @property
    def promised(self) -> bool:
        """Whether there is an objective."""
        return self.ttft_s > 0 or self.tpot_s > 0


@dataclass(frozen=True)
class Finding:
    """One thing that a run says.

    level: problem, warning or note. seen, why, change: a sentence each, that may say "1 requests":
    it becomes "1 request". sure: how it is known.
    chapter: its page. files: to take along, by name. where, name: the run and the function that
    made it, which `report` fills in.

    >>> Finding("note", "80 requests", "p99 needs more", "test longer", "counted", "x").level
    'note'
    """

    level: str
    seen: str
    why: str
    change: str
    sure: str
    chapter: str
    where: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        """One of many in its words."""
        for name in ("seen", "why", "change", "sure"):
            object.__setattr__(self, name, one_of_many(getattr(self, name)))


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, with three digits.

    seconds: finite. Raises ValueError otherwise.

    >>> duration(0.0123), duration(90.0), duration(0.0)
    ('12.3 ms', '90 s', '0 s')
    """
    seconds = require_finite(seconds=seconds)
    if seconds == 0:
        return "0 s"
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(seconds) >= size:
            return f"{_minus(sized(seconds / size))} {unit}"
    return f"{_minus(sized(seconds / 1e-9))} ns"


def _minus(number: str) -> str:
    """A number with the sign of minus.

    >>> _minus("-0.5")
    '−0.5'
    """
    return number.replace("-", "−", 1) if number.startswith("-") else number


def percent(
    share: float,
    low: float | None = None,
    high: float | None = None,
    beside: float | None = None,
) -> str:
    """A share as a percentage, with its interval where there is one.

    All are finite. beside: what each is held against, such as a promise: no other share reads like
    it. Raises ValueError otherwise.

    >>> percent(0.05), percent(0.05, 0.04, 0.0712), percent(1.868), percent(-0.031)
    ('5%', '5% (4% to 7.1%)', '187%', '−3.1%')
    >>> percent(0.9893), percent(0.9893, beside=0.99)
    ('99%', '98.9%')
    """
    share = require_finite(share=share)
    digits = 4 if 0.995 <= abs(share) <= 1 else 2  # of 99.95% the last two matter
    if beside is not None:
        beside = require_finite(beside=beside)
        apart = 1e-9 < abs(share - beside) < 1
        while apart and sized(100 * share, digits) == sized(100 * beside, digits):
            digits += 1
    shown = f"{_minus(sized(100 * share, digits))}%"
    if low is None or high is None:
        return shown
    low, high = require_finite(low=low, high=high)
    return f"{shown} ({percent(low, beside=beside)} to {percent(high, beside=beside)})"


def _blocks_of(values: FloatArray, blocks: int) -> list[FloatArray]:
    """Numbers in a row cut into blocks of nearly the same size, the unknown ones left out."""
    numbers = as_floats(values=values)
    known = numbers[np.isfinite(numbers)]
    fits = blocks % 1 == 0 and 1 <= blocks <= known.size
    require(fits, "blocks", f"a whole number from 1 to the {known.size} values", blocks)
    return [np.asarray(one) for one in np.array_split(known, int(blocks))]


def _alike(flags: FloatArray) -> float:
    """How many in a row are worth one, at least 1: a share of them varies so many times as much as
    that of independent ones. From the sums of neighbouring pairs of autocorrelations as long as
    these are positive; what a series less its own mean hides of them is added.

    flags: 0 or 1 in order.

    >>> _alike(np.tile([0.0] * 9 + [1.0], 10)), round(_alike(np.repeat([0.0, 1.0, 0.0], 40)))
    (1.0, 33)
    """
    size, share = flags.size, float(flags.mean())
    if not 0 < share < 1:
        return 1.0
    wide = 1 << (2 * size - 1).bit_length()  # of no large prime, which takes ten times as long
    lags = np.fft.irfft(np.abs(np.fft.rfft(flags - share, wide)) ** 2, wide)[: size // 2 * 2]
    pairs = (lags[0::2] + lags[1::2]) / lags[0]
    until = int(np.argmax(pairs < 1e-9)) or pairs.size
    many = max(1.0, 2 * float(pairs[:until].sum()) - 1)
    return min(1 + (many - 1) * (1 + 2 * (2 * until - 1) / size), float(size))


def _alike_times(times: FloatArray) -> float:
    """How many in a row are worth one, by their times: the most of those above the quantiles of
    `SLOW`; 1 where independent ones may seem as many.

    times: in order.

    >>> _alike_times(np.arange(300) % 7.0), round(_alike_times(np.repeat([1.0, 2.0, 1.5], 40)))
    (1.0, 33)
    """
    many = max(_alike((times > np.quantile(times, x)).astype(float)) for x in SLOW)
    return many if many > 1 + BY_CHANCE / math.sqrt(times.size) else 1.0


def _t_of(worth: float) -> float:
    """Student's t of a 95% interval by so many independent ones, more than one.

    >>> round(_t_of(10.0), 2), round(_t_of(1e9), 2)
    (2.26, 1.96)
    """
    return student_quantile(0.975, min(worth - 1, 1e6))


def _ends_of(share: float, size: int, alike: float) -> tuple[float, float] | None:
    """A 95% interval of a share of so many, of which some in a row are worth one; None where the
    rarer of the two kinds came in fewer than `FEWEST_CLUMPS`, which tell no spread.

    >>> _ends_of(0.01, 1000, 9.0), [round(end, 4) for end in _ends_of(0.01, 1000, 1.0)]
    (None, [0.005, 0.02])
    """
    clumps = min(share, 1 - share) * size / alike
    if clumps < FEWEST_CLUMPS:
        return None
    wider = _t_of(clumps) / NORMAL_975
    return _score_ends(share, size / alike / wider**2)


def _sure_of(ends: tuple[float, float] | None, alike: float, who: str) -> str:
    """How an interval is known of those who come together, or why there is none.

    >>> _sure_of((0.1, 0.2), 9.0, "late requests"), _sure_of(None, 9.0, "failures")
    ('95%; late requests come together, so 9 count as one', 'no interval: failures came \
about once')
    """
    if ends is None:
        return f"no interval: {who} came about once"
    worth = sized(alike, 2)
    return "95%" + f"; {who} come together, so {worth} count as one" * (worth != "1")


def _share_told(flags: FloatArray, who: str) -> tuple[str, str]:
    """A share in words, with its interval where there is one, and how that is known.

    flags: 0 or 1 in order. who: what the ones are called.

    >>> _share_told(np.repeat([0.0, 1.0, 0.0], 40), "failures")
    ('33%', 'no interval: failures came about once')
    """
    share, alike = float(flags.mean()), _alike(flags)
    ends = _ends_of(share, flags.size, alike)
    return percent(share, *(ends or (None, None))), _sure_of(ends, alike, who)


def check_numbers_are_said() -> None:
    """Durations have the unit that suits them, shares two digits.

    Source: by hand.
    """
    checks.equal(
        "durations", [duration(x) for x in (1.5, 0.0321, 2.5e-5)], ["1.5 s", "32.1 ms", "25 µs"]
    )
    checks.equal("shares", [percent(x) for x in (0.999, 0.5, 0.0123)], ["99.9%", "50%", "1.2%"])


def check_bad_input_is_refused() -> None:
    """Objectives that are none, and more blocks than numbers, are errors."""
    checks.raises("quantile", Asked, quantile=1.0, match="quantile must be in (0, 1)")
    checks.raises("objective", Asked, ttft_s=-1.0, match="ttft_s must be positive")
    checks.raises("blocks", _blocks_of, np.ones(2), 3, match="blocks must be a whole number from 1")
