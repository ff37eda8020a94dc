"""Notebooks made of the chapters' run records: the same modules, and the output that they had.

A notebook's cells import a chapter's module, run some of its checks and draw its figures. What they
print is known already, from the run that filled the chapter's page, so nothing runs twice; a test
executes the notebooks in a clean kernel and compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serving_mathematics.support.checks import Comparison

from builder import BuildError
from builder.runner import Run

SETUP = """\
%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
from serving_mathematics.support.checks import show
from serving_mathematics.support.drawing import drawn, use_house_style

use_house_style()"""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


@dataclass(frozen=True)
class Demo:
    """What a notebook shows of a chapter."""

    title: str
    intent: str
    lesson: str
    runs: Sequence[Run]  # the chapter's modules
    checks: Sequence[str]  # names of check_* functions
    figures: Sequence[str]  # names without the prefix figure_


def notebook(title: str, introduction: str, demos: Iterable[Demo]) -> dict[str, Any]:
    """A notebook (nbformat 4.5) with its outputs. Raises BuildError when a demo names a check or a
    figure that its modules do not have.
    """
    cells = [_text(f"# {title}\n\n{introduction}"), _code(SETUP)]
    for demo in demos:
        cells.append(_text(f"## {demo.title}\n\n{demo.intent}"))
        for run in demo.runs:
            cells += _module_cells(run, demo)
        known = {c["name"] for run in demo.runs for c in run.record["checks"]}
        drawn = {f["name"] for run in demo.runs for f in run.record["figures"]}
        missing = [name for name in demo.checks if name not in known]
        missing += [name for name in demo.figures if name not in drawn]
        if missing:
            raise BuildError(f"demo of {demo.title}: its modules have no {missing[0]}")
        if demo.lesson:
            cells.append(_text(f"**Lesson.** {demo.lesson}"))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def as_json(book: dict[str, Any]) -> bytes:
    """The content of an `.ipynb` file."""
    return (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode()


def as_script(book: dict[str, Any]) -> str:
    """The same as a Python script in the percent format, which editors open as a notebook."""
    import jupytext  # and with it Jupyter, which takes as long as the rest of the builder

    plain = book["metadata"] | {"jupytext": {"notebook_metadata_filter": "-all"}}  # no header
    read = jupytext.reads(json.dumps(book | {"metadata": plain}), fmt="ipynb")
    return str(jupytext.writes(read, fmt="py:percent"))


def _module_cells(run: Run, demo: Demo) -> list[dict[str, Any]]:
    """A cell that runs the demo's checks of one module, and one for each of its figures."""
    part, _, module = run.name.rpartition(".")
    cells = []
    checks = [check for check in run.record["checks"] if check["name"] in demo.checks]
    figures = [figure for figure in run.record["figures"] if figure["name"] in demo.figures]
    source = [f"from serving_mathematics.{part} import {module}\n"]
    if checks:
        source += [f"show({module}.{check['name']})" for check in checks]
        printed = "".join(
            "\n".join([check["claim"], *(f"PASS {Comparison(**row)}" for row in rows)]) + "\n"
            for check in checks
            if (rows := check["comparisons"])
        )
        output = {"output_type": "stream", "name": "stdout", "text": printed}
        cells.append(_code("\n".join(source), output))
        source = []
    for figure in figures:
        source.append(f"drawn({module}.figure_{figure['name']})")
        svg = (run.folder / f"{figure['name']}-light.svg").read_text(encoding="utf-8")
        data = {"image/svg+xml": svg, "text/plain": figure["alt"]}
        result: dict[str, Any] = {"output_type": "execute_result", "execution_count": None}
        cells.append(_code("\n".join(source), result | {"data": data, "metadata": {}}))
        source = []
    return cells


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": list(outputs)}
    return _text(source) | more


def everything(demo: Demo) -> Demo:
    """All that a page's modules compare and draw."""
    return Demo(
        "Checks and figures",
        "Everything that the page's modules compare and draw.",
        demo.lesson,
        demo.runs,
        [check["name"] for run in demo.runs for check in run.record["checks"]],
        [figure["name"] for run in demo.runs for figure in run.record["figures"]],
    )
