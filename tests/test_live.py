"""Live code in a real browser: it runs, and what it finds is what the build found."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from builder.runner import Run

from .conftest import Chapter
from .fetch_pyodide import complete

pytestmark = pytest.mark.skipif(
    not complete(), reason="LIVE CODE WAS NOT TESTED: run `make pyodide` once"
)
PATIENCE_MS = 180_000


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def opened(page: Page, origin: str, slug: str) -> None:
    """The chapter with its editor open, and Python to be had from the test's own server."""
    page.goto(f"{origin}{slug}/")
    place = page.locator(".live")
    settings = json.loads(place.get_attribute("data-live") or "{}")
    settings["pyodide"] = "/pyodide/"
    place.evaluate("(place, text) => { place.dataset.live = text; }", json.dumps(settings))
    place.get_by_role("button").click()
    expect(page.locator(".live-source")).not_to_have_value("")


def pressed_run(page: Page) -> str:
    """What the status says when the run has ended."""
    run = page.locator(".live").get_by_role("button", name="Run", exact=True)
    run.click()
    expect(run).to_be_enabled(timeout=PATIENCE_MS)
    return page.locator(".live-status").inner_text()


def test_every_chapter_runs_as_it_did_in_the_build(
    browser: Browser, origin: str, chapter: Chapter, records: dict[str, Run]
) -> None:
    name = chapter.modules[0]
    record = records[name].record
    context = browser.new_context()
    page = context.new_page()
    opened(page, origin, chapter.slug)
    status = pressed_run(page)
    printed = page.locator(".live-output").inner_text()
    figures = page.locator(".live-figures figure").count()
    context.close()
    rows = [row for check in record["checks"] for row in check["comparisons"]]
    assert status.startswith(f"{len(rows)} comparisons passed;"), status + "\n" + printed[-2000:]
    assert figures == len(record["figures"])
    for row in rows:
        assert f"PASS {row['label']}: got " in printed.replace("\n", " "), row["label"]


def test_every_module_of_a_chapter_runs(page: Page, origin: str, records: dict[str, Run]) -> None:
    opened(page, origin, "definitions/utilization")
    names = page.locator(".live option").evaluate_all("all => all.map((one) => one.value)")
    assert len(names) >= 4
    for name in names:
        page.locator(".live select").select_option(name)
        expect(page.locator(".live-source")).to_have_value(records[name].record["source"])
        assert "failed" not in pressed_run(page)


def test_edited_code_runs_fails_with_its_line_and_is_reset(page: Page, origin: str) -> None:
    opened(page, origin, "definitions/utilization")
    editor = page.locator(".live-source")
    original = editor.input_value()
    editor.fill('"""Edited."""\n\n\ndef check_nothing() -> None:\n    print("here")\n    1 / 0\n')
    assert pressed_run(page).startswith("0 comparisons passed, 1 failed;")
    printed = page.locator(".live-output").inner_text()
    assert "here" in printed
    assert 'utilization.py", line 6, in check_nothing' in printed
    assert "ZeroDivisionError" in printed
    page.locator(".live").get_by_role("button", name="Reset").click()
    expect(editor).to_have_value(original)
    assert "failed" not in pressed_run(page)


def test_endless_loop_is_stopped_and_python_starts_again(page: Page, origin: str) -> None:
    opened(page, origin, "definitions/utilization")
    editor = page.locator(".live-source")
    editor.fill('print("looping")\nwhile True:\n    pass\n')
    place = page.locator(".live")
    place.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".live-output")).to_contain_text("looping", timeout=PATIENCE_MS)
    place.get_by_role("button", name="Stop").click()
    expect(page.locator(".live-status")).to_contain_text("Stopped")
    editor.fill("import socket\n\n\ndef check_a() -> None:\n    socket.create_server(('', 0))\n")
    assert "1 need what a browser lacks" in pressed_run(page)


def test_nothing_is_loaded_before_the_click(page: Page, origin: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{origin}definitions/utilization/")
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "live" in url or "pyodide" in url]


def test_python_that_cannot_be_loaded_is_said(page: Page, origin: str) -> None:
    opened(page, origin, "definitions/utilization")
    page.route("**/pyodide/**", lambda route: route.abort())
    assert pressed_run(page).startswith("Python could not be run:")
