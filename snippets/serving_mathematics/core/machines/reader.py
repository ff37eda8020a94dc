"""The book's machine that is no language model: it reads lines of text on one core of a processor.

A batch of b lines takes as long as the record of `reader_measurement` says, straight between the
sizes that were measured. Whoever waits when the core is free goes into the next batch, up to the
largest, and nobody waits for a batch to fill. One core multiplies from the first line on as fast as
it can, so that a line costs the same in every batch: it carries 1/S lines a second, whatever the
batch.

Assumes: one core, one batch at a time; lines of one width; first come first served.

Source: records/reader_batches.json for the times; dynamic batching without delay as in NVIDIA
Triton.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import HowWrong, Promise
from serving_mathematics.core.queues.batches import form_batches
from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """A model on a core that takes batches of lines; what is no field is read from the record."""

    name: str
    what: str
    model: str
    devices: int  # cores
    places: int  # lines in a batch, at most
    promise: Promise  # of a whole answer, in ttft_s
    device_price_per_hour: float  # of a core [$]
    traffic: str  # of `traffic.TRACES`, whose minutes can be followed
    kind: Literal["reader"] = "reader"  # tells it from an engine

    def __str__(self) -> str:
        """Name and limit, by which records tell readers apart."""
        return f"{self.name} of {self.places} places"

    @property
    def price_per_hour(self) -> float:
        """Of all its cores [$]."""
        return self.devices * self.device_price_per_hour

    @property
    def measured_s(self) -> dict[int, FloatArray]:
        """Times of batches [s] by their size, one a round."""
        return _measured_s()

    def batch_s(self, lines: npt.ArrayLike) -> FloatArray:
        """Time of batches of so many lines, in the median [s], of the same shape.

        lines: from 1 to the largest that was measured.
        """
        asked, sizes = as_floats(lines=lines), list(self.measured_s)
        rule = f"from 1 to {sizes[-1]}"
        require((asked >= 1) & (asked <= sizes[-1]), "lines", rule, lines)
        medians = [float(np.median(times)) for times in self.measured_s.values()]
        return np.asarray(np.interp(asked, sizes, medians))

    @property
    def ceiling_per_s(self) -> float:
        """Lines a second that it can carry at most, in full batches."""
        return self.devices * self.places / float(self.batch_s(self.places))

    @property
    def how_wrong(self) -> HowWrong:
        """How single times compare with the median of their size, on the machine of the record."""
        ratios = np.concatenate([own / np.median(own) for own in self.measured_s.values()])
        low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9]).tolist()
        return HowWrong(low, middle, high, int(ratios.size))

    def limited(self, places: int | None = None) -> Self:
        """The same with batches of at most so many lines; its own where there is none."""
        most = self.places if places is None else places
        return replace(self, places=int(require_positive_integer(places=most)))


@functools.cache
def _measured_s() -> dict[int, FloatArray]:
    """The record's times by size."""
    record = read_record("reader_batches")
    pairs = zip(record["batches"], record["times_s"], strict=True)
    return {size: np.array(times) for size, times in pairs}


READER = Reader(
    "reader",
    "PP-OCRv4, which reads lines of text, on one core of a processor",
    model="PP-OCRv4 text recognition",
    devices=1,
    places=8,
    promise=Promise(0.1, float("inf")),
    device_price_per_hour=0.04,
    traffic="conversations",
)


def check_alone_it_is_a_queue_with_constant_service() -> None:
    """With batches of one line the mean wait is ρS/(2(1 − ρ)).

    Source: Pollaczek and Khinchine, M/D/1; 40,000 simulated lines at 70%, standard error from batch
    means.
    """
    service = float(READER.batch_s(1))
    arrivals = np.cumsum(np.random.default_rng(8).exponential(service / 0.7, 40_000))
    begin, _ = form_batches(arrivals, lambda *_: service, 1, 0.0)
    expected = 0.7 * service / (2 * 0.3)
    checks.covers("mean wait [s]", batch_means(begin - arrivals), expected)


def check_a_batch_saves_nothing_on_one_core() -> None:
    """A line costs as much in a batch of four as alone, to a tenth, and no less in one of eight.

    Source: the record; a model that attains the core's peak with one line has nothing to share.
    """
    alone = float(READER.batch_s(1))
    for size, least, most in ((4, 0.9, 1.1), (8, 0.95, 1.3)):
        share = float(READER.batch_s(size)) / (size * alone)
        checks.inside(f"a line of {size}, over one alone", share, least, most)
