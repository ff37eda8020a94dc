"""The notebooks: what they show is what their cells print when somebody runs them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from builder import ROOT, SOURCES, theme_markup
from builder.notebooks import of_chapters
from builder.runner import Run

from .conftest import CHAPTERS, Chapter
from .profiles import its_turn, todays


def read(path: Path) -> Any:
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(book)
    return book


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def drawn(cell: Any) -> int:
    return sum("image/svg+xml" in output.get("data", {}) for output in cell.outputs)


def by_turns(cells: list[Any]) -> list[Any]:
    """The code that sets up, and that of the chapters whose turn it is, each from its import on."""
    setting_up, *others = [cell for cell in cells if cell.cell_type == "code"]
    chapters: list[list[Any]] = []
    for cell in others:
        if cell.source.startswith("from "):
            chapters.append([])
        chapters[-1].append(cell)
    turn = todays(chapters)
    return [setting_up, *(cell for chapter in turn for cell in chapter)]


def test_a_notebook_without_demos_says_what_it_is() -> None:
    """Version 4.5 of the format, the first in which cells have names of their own."""
    book = of_chapters("T", "I", [])
    nbformat.validate(nbformat.from_dict(book))  # type: ignore[no-untyped-call]
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert [(cell["id"], cell["cell_type"]) for cell in book["cells"]] == [
        ("cell-0", "markdown"),
        ("cell-1", "code"),
    ]


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the Jupyter client's own
def test_companion_prints_and_draws_the_same_in_a_clean_kernel(site: Path) -> None:
    """A third of the chapters, another one tomorrow; in a thorough run all of them."""
    shown = by_turns(read(site / "downloads" / "notebook.ipynb").cells)
    ran = read(site / "downloads" / "notebook.ipynb")
    ran.cells = by_turns(ran.cells)
    assert len(ran.cells) > len(CHAPTERS) / 3
    for cell in ran.cells:
        cell.outputs = []
    NotebookClient(
        ran, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    for before, after in zip(shown, ran.cells, strict=True):
        assert printed(before) == printed(after), before.source
        assert drawn(before) == drawn(after), before.source


@its_turn(2)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the Jupyter client's own
def test_notebook_of_the_real_engine_serves_what_it_sends(
    tmp_path: Path, small_model: Path
) -> None:
    """With shorter loads and a part of the model: every cell runs, and the last one draws
    prediction and measurement.
    """
    book = read(ROOT / "docs" / "downloads" / "real-engine.ipynb")
    assert not any(cell.get("outputs") for cell in book.cells)
    begin = next(cell for cell in book.cells if "RUN_S = 15.0" in cell.source)
    begin.source = begin.source.replace("RUN_S = 15.0", "RUN_S = 0.25")
    begin.source = (
        "from serving_mathematics.engine import token_engine\n"
        f"token_engine.model_path = lambda: token_engine.Path({str(small_model)!r})\n"
        f"{begin.source}"
    )
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=120, kernel_name="python3", resources=where).execute()
    text = "".join(printed(cell) for cell in book.cells if cell.cell_type == "code")
    assert text.count("requests a second: ") == 4
    assert any("image/png" in output.get("data", {}) for output in book.cells[-2].outputs)


def test_companion_walks_every_chapter_in_the_order_of_the_navigation(site: Path) -> None:
    cells = read(site / "downloads" / "notebook.ipynb").cells
    titles = [c.source.split("\n")[0][3:] for c in cells if c.source.startswith("## ")]
    order = re.findall(r"[\w-]+/[\w-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    by_path = {chapter.path: str(chapter.meta["title"]) for chapter in CHAPTERS}
    assert titles == [by_path[path] for path in order if path in by_path]
    assert sum(drawn(cell) for cell in cells if cell.cell_type == "code") == len(CHAPTERS)
    lessons = sum(bool(chapter.meta.get("lesson")) for chapter in CHAPTERS)
    assert sum(cell.source.startswith("**Lesson.** ") for cell in cells) == lessons


def test_chapter_offers_a_notebook_with_all_its_checks(chapter: Chapter, site: Path) -> None:
    name = chapter.slug.rpartition("/")[2]
    book = read(site / "downloads" / f"{name}.ipynb")
    source = "\n".join(cell.source for cell in book.cells)
    for module in chapter.modules:
        if not module.endswith(".exercises"):
            text = (ROOT / SOURCES / Path(*module.split(".")).with_suffix(".py")).read_text()
            for check in re.findall(r"^def (check_\w+)", text, re.MULTILINE):
                assert f"show({module.rpartition('.')[2]}.{check})" in source
    page = (site / chapter.slug / "index.html").read_text(encoding="utf-8")
    assert f"../../downloads/{name}.ipynb" in page


def test_companion_page_wears_the_sites_clothes(site: Path) -> None:
    page = (site / "notebook" / "index.html").read_text(encoding="utf-8")
    article = page[page.index("<article") : page.index("</article>")]
    assert len(page) < 300_000
    assert not re.search(r"<style|<script|clipboard-copy|data:image|jp-InputPrompt", article)
    assert article.count('<figure class="plot">') == len(CHAPTERS)
    assert "PASS " in article


def test_script_is_python(site: Path) -> None:
    ast.parse((site / "downloads" / "notebook.py").read_text(encoding="utf-8"))


def test_figures_take_the_place_of_embedded_images_in_order() -> None:
    embedded = '<p><img class="x" src="data:image/svg+xml;base64,AA=="/></p>'
    page = theme_markup.notebook(
        f"<style>\na</style>{embedded}{embedded}", ["<b>1</b>", "<b>2</b>"]
    )
    assert page == "<p><b>1</b></p><p><b>2</b></p>"


def test_what_passed_is_folded_to_how_many_did() -> None:
    page = theme_markup.notebook(
        "<pre>It is so.\nPASS a: 1\nPASS b: 2\nAnd so.\nPASS c\n</pre>", []
    )
    one, two = (
        f'<details class="check passed"><summary>{count} passed</summary>'
        f"<pre>{rows}</pre></details>"
        for count, rows in ((2, "PASS a: 1\nPASS b: 2"), (1, "PASS c"))
    )
    assert page == f"<pre>It is so.\n</pre>{one}<pre>\nAnd so.\n</pre>{two}"


# The theory notebook that this handbook grew out of had twenty-five titles and six computations:
# where each computation lives now, and the values that it must still give.
COMPUTATIONS = [
    (
        "artifact dependency graph",
        "intuition.endpoints_as_contracts.stale_artifacts",
        "check_chain",
        {"nodes": "5", "edges": "4"},
    ),
    (
        "position-weighted checksum",
        "intuition.endpoints_as_contracts.stale_artifacts",
        "check_checksum_collides",
        {"checksum": "1090"},
    ),
    (
        "release metric comparison",
        "architecture.shadow_canary.shadow_canary",
        "check_paired_quality",
        {"mean difference": "0.022", "standard error": "0.002"},
    ),
    (
        "tail latency",
        "capacity.tail_latency.tail_latency",
        "check_fan_out",
        {"100 calls": "0.6339676587", "2000 calls": "0.1812774347"},
    ),
    (
        "thresholded action",
        "definitions.service.thresholded_decision",
        "check_two_of_five_are_escalated",
        {"escalated": "2"},
    ),
]
TITLES = """
intuition: latency-throughput-cost training-vs-serving batch-vs-online endpoints-as-contracts
failure-budgets
definitions: service latency-distribution throughput utilization slo-sla
architecture: rest-grpc batch-serving streaming model-routers shadow-canary
optimization: batching caching quantization distillation hardware-scheduling
capacity: arrival-rates littles-law tail-latency autoscaling overload-control
"""


@pytest.mark.parametrize(("computation", "module", "check", "values"), COMPUTATIONS)
def test_computation_of_the_first_notebook_lives_on(
    computation: str, module: str, check: str, values: dict[str, str], records: dict[str, Run]
) -> None:
    found = [c for c in records[module].record["checks"] if c["name"] == check]
    assert len(found) == 1, computation
    got = {row["label"]: row["got"] for row in found[0]["comparisons"]}
    assert {label: got.get(label) for label in values} == values


def test_every_title_of_the_first_notebook_has_its_chapter_in_the_companion(site: Path) -> None:
    part, wanted = "", []
    for word in TITLES.split():
        if word.endswith(":"):
            part = word[:-1]
        else:
            wanted.append(f"{part}/{word}")
    assert len(wanted) == 25
    assert {chapter.slug for chapter in CHAPTERS} >= set(wanted)
    cells = read(site / "downloads" / "notebook.ipynb").cells
    assert sum(cell.source.startswith("## ") for cell in cells) == len(CHAPTERS)
