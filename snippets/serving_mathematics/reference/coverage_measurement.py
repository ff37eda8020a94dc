"""How often intervals cover, by load and run length: too many customers for every build.

`python -m serving_mathematics.reference.coverage_measurement` simulates 1,000 runs for each of four
loads and five lengths, in about a minute, and writes records/interval_coverage.json. Every cell has
its own seed, so that any of them can be computed again alone, to the last digit.

Source: `coverages`, against the mean wait ρ/(1−ρ) of M/M/1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving_mathematics.reference.simulation_trust import RECORD, coverages, customers_per_batch
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record

COMMAND = "python -m serving_mathematics.reference.coverage_measurement"
RUNS = 1000
LOADS = (0.5, 0.8, 0.9, 0.95)
CONSTANTS = (2, 5, 10, 20, 40)  # length of a batch in time constants of the queue


def _measure_cell(utilization: float, constants: int) -> dict[str, Any]:
    """One cell of the record: load, length of a batch, and the share covered by each method."""
    length = customers_per_batch(utilization, constants)
    rng = np.random.default_rng([round(1000 * utilization), constants])
    found = coverages(rng, utilization, length, RUNS)
    return {"utilization": utilization, "constants": constants, "batch_customers": length} | found


def _measure() -> dict[str, Any]:
    """The whole record."""
    cells = [_measure_cell(load, constants) for load in LOADS for constants in CONSTANTS]
    what = "share of simulated M/M/1 runs whose 95% interval holds the mean wait"
    return provenance(COMMAND, ["numpy"]) | {"what": what, "runs": RUNS, "cells": cells}


def main() -> None:
    """Measure and write the record."""
    print(f"wrote {write_record(RECORD, _measure())}")


def check_record_can_be_made_again() -> None:
    """Two cells of the record, computed again, are what it says.

    Source: the record, and its command; two runs in a thousand may fall on the other side of an
    end by the rounding of another machine.
    """
    cells = {(c["utilization"], c["constants"]): c for c in read_record(RECORD)["cells"]}
    for load, constants in ((0.5, 2), (0.5, 5)):
        again = _measure_cell(load, constants)
        for method in ("naive", "batch_means", "adjusted"):
            label = f"{load:.0%} busy, {constants} constants, {method.replace('_', ' ')}"
            checks.close(
                label, again[method], cells[load, constants][method], atol=0.002, kind="simulation"
            )


if __name__ == "__main__":
    main()
