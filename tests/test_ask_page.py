"""The page that reads a reader's own log, in a browser: what it says is what the command says, and
nothing of a file leaves."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.registry import report

from .browsing import with_own_python
from .fetch_pyodide import complete
from .report.example_runs import clean, detailed, log_csv
from .visits import AXE, DESK, PHONE, RUN_AXE

PATIENCE_MS = 240_000
LOOK = os.environ.get("LOOK_AT_REPORT")  # a folder for pictures
needs_python = pytest.mark.skipif(
    not complete(), reason="THE FORM FOR LOGS WAS NOT TESTED: run `make pyodide` once"
)


def test_what_python_need_not_tell_is_told_without_it(page: Page, origin: str) -> None:
    asked = set[str]()
    page.on("request", lambda request: asked.add(request.url))
    page.goto(f"{origin}ask-your-log/")
    form = page.locator("form.ask")
    form.get_by_role("button", name="Ask").click()
    expect(page.locator("#ask-files-problem")).to_contain_text("at least one file, got none")
    expect(page.locator("#ask-files")).to_be_focused()
    form.locator("summary").click()
    page.locator("#ask-quantile").fill("99%")
    page.locator("#ask-files").set_input_files(
        {"name": "a.json", "mimeType": "application/json", "buffer": b"{}"}
    )
    expect(page.locator("#ask-quantile-problem")).to_have_text(
        "quantile must be in (0, 1) (did you mean 0.99?), got '99%'"
    )
    expect(page.locator("#ask-quantile")).to_have_attribute("aria-invalid", "true")
    assert not [url for url in asked if "pyodide" in url or "live-worker" in url]


@needs_python
def test_a_dropped_file_is_reported_and_sent_nowhere(
    tab: Page, origin: str, tmp_path: Path
) -> None:
    """In the file's tab, where the next test finds Python loaded."""
    page = tab
    file = tmp_path / "results.json"
    file.write_text(detailed(clean(count=300), failed=0), encoding="utf-8")
    asked: list[tuple[str, str, str | None]] = []
    said: list[str] = []
    page.on("request", lambda one: asked.append((one.method, one.url, one.post_data)))
    page.on("pageerror", lambda problem: said.append(str(problem)))
    with_own_python(page, "ask-your-log")
    late: list[Route] = []
    page.route("**/ask.js", lambda route: late.append(route))  # files are chosen before it comes
    page.goto(f"{origin}ask-your-log/", wait_until="domcontentloaded")
    form = page.locator("form.ask")
    expect(form).to_be_visible()
    form.locator("summary").click()
    page.locator("#ask-ttft_s").fill("0.5")
    page.locator("#ask-files").set_input_files(str(file))
    while not late:
        page.wait_for_timeout(50)
    late[0].continue_()
    answer = page.locator(".ask-answer")
    expect(answer).to_be_visible(timeout=PATIENCE_MS)
    expected = report(
        read_file(file.read_text(encoding="utf-8"), "results.json"), Asked(ttft_s=0.5)
    )
    seen = answer.locator(".seen").all_text_contents()
    assert [one[1:-1] for one in seen] == [one.seen[1:] for one in expected.findings]
    expect(answer.locator("svg")).to_have_count(answer.locator("figure").count())
    assert answer.locator("article a").first.get_attribute("href")
    kept = answer.locator("article details")
    files = {name: text for one in expected.findings for name, text in one.files.items()}
    assert kept.locator("summary").all_text_contents() == list(files)
    kept.evaluate_all("all => all.forEach(one => { one.open = true; })")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, text in files.items():
        with page.expect_download() as download:
            kept.get_by_role("link", name=f"Keep {name}").press("Enter")
        assert download.value.suggested_filename == name
        assert Path(download.value.path()).read_text(encoding="utf-8") == text
        kept.get_by_role("button", name=f"Copy {name}").press("Enter")
        expect(kept.get_by_role("button", name="Copied")).to_be_focused()
        assert page.evaluate("navigator.clipboard.readText()") == text
    page.evaluate(AXE)
    assert page.evaluate(RUN_AXE, [".ask-answer", {}]) == []
    assert page.url == f"{origin}ask-your-log/"
    assert all(method == "GET" and not data for method, _, data in asked)
    assert all(url.startswith((origin, "blob:", "data:")) for _, url, _ in asked)
    assert said == []
    for size, name in ((DESK, "desk"), (PHONE, "phone")):
        page.set_viewport_size(size)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{wide} px too wide on a {name}"
        if LOOK:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=f"{LOOK}/{name}-{scheme}.png", full_page=True)
    page.locator("#ask-files").set_input_files(
        {"name": "cut.json", "mimeType": "application/json", "buffer": b'{"completed": 3, "dur'}
    )
    problem = page.locator("#ask-files-problem")
    expect(problem).to_contain_text("is the file whole?", timeout=PATIENCE_MS)
    expect(page.locator("#ask-files")).to_be_focused()
    expect(answer).to_have_class(re.compile(r"\bstale\b"))


@needs_python
def test_a_packed_file_is_bounded_and_what_is_chosen_meanwhile_comes_next(
    tab: Page, origin: str
) -> None:
    """300 MB of blanks in 300 kB ended the page, and files and promises that came while others were
    read were passed over. A little more than the limit is as much as any more."""
    page = tab
    if not page.url.startswith(f"{origin}ask-your-log/"):
        with_own_python(page, "ask-your-log")
        page.goto(f"{origin}ask-your-log/")
    status = page.locator("form.ask .live-status")
    problem = page.locator("#ask-files-problem")

    def choose(name: str, content: bytes) -> None:
        file: FilePayload = {"name": name, "mimeType": "text/plain", "buffer": content}
        page.locator("#ask-files").set_input_files([file])

    choose("bomb.csv.gz", gzip.compress(bytes(70_000_000)))
    expect(problem).to_contain_text(
        "bomb.csv.gz: must be at most 64 MiB unpacked", timeout=PATIENCE_MS
    )
    choose("cut.csv.gz", gzip.compress(b"timestamp,ttft_ms\n1,2\n")[:-9])
    expect(problem).to_contain_text("cut.csv.gz: ", timeout=PATIENCE_MS)
    choose("wide.csv", log_csv(clean(count=200)).encode("utf-16"))
    expect(problem).to_contain_text("it looks like UTF-16: save it as", timeout=PATIENCE_MS)
    halves = (log_csv(clean(count=200)).encode()[x] for x in (slice(900), slice(900, None)))
    choose("rotated.csv", b"".join(map(gzip.compress, halves)))  # packed in two parts
    expect(page.locator(".ask-answer")).to_contain_text("200 requests", timeout=PATIENCE_MS)
    choose("one.json", detailed(clean(count=100), failed=0).encode())
    choose("two.csv", log_csv(clean(count=200)).encode())
    typed = "document.querySelector('#ask-ttft_s').value = '0.5'"
    page.evaluate(f"{typed}; document.querySelector('form.ask').requestSubmit()")  # meanwhile
    expect(status).to_have_text("The report is below.", timeout=PATIENCE_MS)
    expect(page.locator(".ask-answer")).to_contain_text("200 requests", timeout=PATIENCE_MS)
    expect(page.locator(".ask-answer")).to_contain_text("first token within 500 ms")
