"""Tables of an answer, and rows as text: the deployments that were compared, and a load test's
runs.

Assumes: an answer from `configurations`.

Source: the chapters on prices and on predictions, from which the columns are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from serving_mathematics.machine.predictions.own_runs import calibration_rows, calibration_text
from serving_mathematics.planner.answers.given_lines import _given_amount
from serving_mathematics.planner.answers.routing_lines import ROWS_ARE, routed_rows
from serving_mathematics.planner.capacity_planner.deployment_ranking import Ranked
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.capacity_planner.separate_fleets import Apart
from serving_mathematics.planner.configurations import Answer, Answered, _devices_and_split
from serving_mathematics.support.digits import priced, sized

WIDTH = 100  # characters of a line in a terminal


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text, in columns as wide as their widest cell, or less: the widest are
    broken until a row fits a terminal, and none to less than eight characters.

    rows: all of one length, at least one row. Raises ValueError otherwise.

    >>> print(table_text([["a", "b"], ["long", "c"]]))
    a     b
    long  c
    """
    if not rows or len({len(row) for row in rows}) != 1:
        raise ValueError(f"rows must be of one length, got {[len(row) for row in rows]}")
    widths = [max(1, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for place in range(max(1, *map(len, cells))):
            parts = [cell[place] if place < len(cell) else "" for cell in cells]
            told = "  ".join(part.ljust(wide) for part, wide in zip(parts, widths, strict=True))
            lines.append(told.rstrip())
    return "\n".join(lines)


def comparison_rows(told: Answer) -> list[list[str]]:
    """The deployments that were compared, as rows with a header, the cheapest first.

    told: the answer. A price with a ~ is of a short run, which may say a replica too few. Those
    that were left out are one row with the least that any of them costs.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"rate_per_s": 9, "precision": "bf16", "parallelism": "tp1,tp2", "requests": 100}
    >>> [row[:3] for row in comparison_rows(answer(read_choices(asked)))][1:]
    [['1 of 1 × H100 SXM', 'bf16, tp1', '2.00'], ['1 of 2 × H100 SXM', 'bf16, tp2', '~4.00']]
    """
    left_out = [one for one in told.ranked if not one.run and not one.problem]
    asked = "requests/s" if told.rates else "$/h"
    rows = [
        ["fleet", "weights, split", asked, "$/10⁶ tokens", "TPOT p50 [ms]", "best of its price"]
    ]
    for one in told.ranked:
        deployment, run = one.question.deployment, one.run
        of, split = _devices_and_split(one.question)
        apart = " apart" if one.question.separate else ""
        what = f"{deployment.precision}, {split}{apart}"
        if run:
            count = f"{run.prompts} + {run.answers}" if isinstance(run, Apart) else run.replicas
            about = "~" if _is_short(told, one) else ""
            first = _given_amount(one) if told.rates else priced(run.usd_per_hour)
            usd = [f"{about}{first}", f"{about}{priced(run.usd_per_million, 3)}"]
            front = "yes" if one in told.front else ""
            rows.append([f"{count} of {of}", what, *usd, sized(1e3 * run.tpot[0].value), front])
        elif one.problem:
            rows.append([f"none of {of}", what, "", "", "", one.problem])
    if len(told.ranked) > 1 and left_out:
        least = f"at least {priced(min(one.least_usd_per_hour for one in left_out))}"
        if told.rates:
            least = f"at most {_given_amount(*left_out)}"
        many = f"{len(left_out)} other{'' if len(left_out) == 1 else 's'}"
        rows.append([many, "", least, "", "", ""])
    return rows


@dataclass(frozen=True)
class Table:
    """Rows with a header, under a title, and what must be said of them."""

    title: str
    rows: list[list[str]]
    note: str = ""


def answer_tables(told: Answered) -> list[Table]:
    """Tables beside the lines: runs of a load test as they were predicted, and the deployments that
    were compared.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> asked = {"rate_per_s": 9, "precision": "bf16", "parallelism": "tp1,tp2", "requests": 100}
    >>> [table.title for table in answer_tables(answer(read_choices(asked)))]
    ['The deployments that were compared']
    """
    if isinstance(told, Routed):
        return [Table("The routers that were compared", routed_rows(told), ROWS_ARE)]
    calibration, tables = told.question.calibration, []
    if calibration:
        note = calibration_text(calibration)
        tables.append(Table("The load test", calibration_rows(calibration), note))
    if len(told.ranked) > 1:
        tables.append(Table("The deployments that were compared", comparison_rows(told)))
    return tables


def _is_short(told: Answer, one: Ranked) -> bool:
    """Whether the runs of a deployment are those of the comparison only."""
    planned = told.apart.run if one.question.separate and told.apart else told.plan.best
    return one.run is not None and planned is not None and one.run.simulated < planned.simulated
