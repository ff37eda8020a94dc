"""Notebooks made of the chapters' run records: the same modules, and the output that they had.

A notebook's cells import a chapter's module, run some of its checks and draw its figures. What they
print is known already, from the run that filled the chapter's page, so nothing runs twice; a test
executes the notebooks in a clean kernel and compares.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable
from typing import Any

from serving_mathematics.support.checks import Comparison

from builder.pages import Page
from builder.runner import Run
from builder.source import holds_exercises

SETUP = """\
%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
from serving_mathematics.support.checks import show
from serving_mathematics.support.drawing import drawn, use_house_style

use_house_style()"""
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def of_page(page: Page) -> dict[str, Any]:
    """The notebook of a page: all that its modules compare and draw."""
    told = "## Checks and figures\n\nEverything that the page's modules compare and draw."
    return _notebook(f"# {page.title}\n\n{_intent(page)}", [_text(told), *_cells(page)])


def of_chapters(title: str, introduction: str, chapters: Iterable[Page]) -> dict[str, Any]:
    """The notebook through chapters: of each the checks under `demo:` and the thumbnail."""
    cells = []
    for page in chapters:
        wanted = {*(page.meta.get("demo") or ()), page.meta.get("thumbnail")}
        cells += [_text(f"## {page.title}\n\n{_intent(page)}"), *_cells(page, wanted)]
    return _notebook(f"# {title}\n\n{introduction}", cells)


def _intent(page: Page) -> str:
    question = f"*{page.question}* " if page.question else ""
    return f"{question}{page.meta.get('description', '')}".strip()


def _notebook(head: str, cells: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A notebook (nbformat 4.5) with its outputs."""
    numbered = enumerate([_text(head), _code(SETUP), *cells])
    named = [cell | {"id": f"cell-{number}"} for number, cell in numbered]
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": named, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def as_json(book: dict[str, Any]) -> bytes:
    """The content of an `.ipynb` file."""
    return (json.dumps(book, indent=1, ensure_ascii=False) + "\n").encode()


def as_script(book: dict[str, Any]) -> str:
    """The same as a Python script in the percent format, which editors open as a notebook."""
    import jupytext  # and with it Jupyter, which takes as long as the rest of the builder

    plain = book["metadata"] | {"jupytext": {"notebook_metadata_filter": "-all"}}  # no header
    read = jupytext.reads(json.dumps(book | {"metadata": plain}), fmt="ipynb")
    return str(jupytext.writes(read, fmt="py:percent"))


def _cells(page: Page, wanted: Container[str | None] | None = None) -> list[dict[str, Any]]:
    """For each module of a page a cell that runs checks, and one for each figure: all of them, or
    those of these names; and the lesson.
    """
    lesson = page.meta.get("lesson")
    runs = [run for run in page.runs if not holds_exercises(run.name)]
    cells = [cell for run in runs for cell in _module_cells(run, wanted)]
    return cells + ([_text(f"**Lesson.** {lesson}")] if lesson else [])


def _module_cells(run: Run, wanted: Container[str | None] | None) -> list[dict[str, Any]]:
    part, _, module = run.name.rpartition(".")
    checks, figures = (
        [item for item in run.record[kind] if wanted is None or item["name"] in wanted]
        for kind in ("checks", "figures")
    )
    cells = []
    if checks:
        source = "\n".join(f"show({module}.{check['name']})" for check in checks)
        printed = "".join(
            "\n".join([check["claim"], *(f"PASS {Comparison(**row)}" for row in rows)]) + "\n"
            for check in checks
            if (rows := check["comparisons"])
        )
        cells.append(_code(source, {"output_type": "stream", "name": "stdout", "text": printed}))
    for figure in figures:
        svg = (run.folder / f"{figure['name']}-light.svg").read_text(encoding="utf-8")
        data = {"image/svg+xml": svg, "text/plain": figure["alt"]}
        result: dict[str, Any] = {"output_type": "execute_result", "execution_count": None}
        result |= {"data": data, "metadata": {}}
        cells.append(_code(f"drawn({module}.figure_{figure['name']})", result))
    for cell in cells[:1]:
        cell["source"] = f"from serving_mathematics.{part} import {module}\n\n{cell['source']}"
    return cells


def _text(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def _code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    more: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": list(outputs)}
    return _text(source) | more
