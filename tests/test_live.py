"""Live code in a real browser: it runs, and what it finds is what the build found."""

from __future__ import annotations

import base64
import hashlib
import html
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from builder import ROOT
from builder.runner import Run
from builder.source import module_path

from .browsing import served
from .conftest import CHAPTERS, REFERENCES, Chapter
from .fetch_pyodide import FOLDER, complete, core
from .profiles import THOROUGH, TODAY
from .recorded import HERE
from .visits import structure, tab_of_many

pytestmark = pytest.mark.skipif(
    not complete(), reason="LIVE CODE WAS NOT TESTED: run `make pyodide` once"
)
PATIENCE_MS = 180_000
PACKAGES = {"numpy", "matplotlib", "pydantic"}
LIVE = [page for page in CHAPTERS + REFERENCES if page.asks or "{{ downloads }}" in page.text]
QUICK = "intuition/endpoints-as-contracts"  # whose modules are quick
TURNS = 12  # days after which it is a page's turn again


@pytest.fixture(scope="module", params=[True, False] if THOROUGH else [TODAY % 2 == 0])
def policed(request: pytest.FixtureRequest) -> bool:
    """Whether the host of the editor sends headers, or none, as GitHub Pages."""
    return bool(request.param)


@pytest.fixture(scope="module")
def open_editor(browser: Browser, site: Path, policed: bool) -> Iterator[Page]:
    """A chapter whose Python is loaded once, or anew by the first Run after it was stopped; it can
    also be given the modules of other pages.
    """
    built = {page.slug: (site / page.slug / "index.html").read_text() for page in LIVE}
    told = {slug: settings_of(text)["modules"] for slug, text in built.items()}
    own = told[QUICK]
    others = sorted({name for names in told.values() for name in names} - {*own})
    with served(site, policed=policed) as origin:
        for page in tab_of_many(browser):
            modules = [*own, *others, "unpack"]
            opened(page, origin, QUICK, modules=modules, packages=sorted(PACKAGES))
            yield page


@pytest.fixture
def editor(open_editor: Page) -> Page:
    """That chapter with its first module, which each test leaves chosen, as it was written."""
    status = open_editor.locator(".live-status")
    status.evaluate("one => { one.textContent = ''; }")
    open_editor.locator(".live").get_by_role("button", name="Reset").click()
    expect(status).to_have_text("The source is as it was when the page was built.")
    return open_editor


def settings_of(page: str) -> dict[str, Any]:
    """What a built page tells its editor."""
    settings = html.unescape(page.partition('data-live="')[2].partition('"')[0])
    return dict(json.loads(settings))


def opened(page: Page, origin: str, slug: str, **others: object) -> None:
    """The chapter with its editor open, and Python to be had from the test's own server.

    others: settings in the place of the page's.
    """
    page.goto(f"{origin}{slug}/")
    place = page.locator(".live")
    settings = json.loads(place.get_attribute("data-live") or "{}")
    settings |= {"pyodide": "/pyodide/"} | others
    place.evaluate("(place, text) => { place.dataset.live = text; }", json.dumps(settings))
    place.get_by_role("button").click()
    expect(page.locator(".live-source")).not_to_have_value("")
    expect(page.locator(".cm-editor")).to_be_visible()


def typed(place: Locator, text: str) -> None:
    """In the place of all that the editor has."""
    place.locator(".cm-content").click()
    place.page.keyboard.press("ControlOrMeta+a")
    place.page.keyboard.insert_text(text)
    expect(place.locator(".live-source")).to_have_value(text)


def pressed_run(place: Page | Locator, name: str = "Run") -> str:
    """What the status says when the run has ended. place: with one editor."""
    run = place.locator(".live-tools").get_by_role("button", name=re.compile(rf"^{name}\b"))
    run.click()
    expect(run).to_be_enabled(timeout=PATIENCE_MS)
    return place.locator(".live-status").inner_text()


LACKING = {  # what a browser has not: threads, sockets, and a stack that Python guards
    "architecture.batch_serving.crash_points",
}


def ran_as_in_the_build(page: Page, run: Run) -> None:
    """Press Run: every comparison passes with what the build got, and every figure is drawn, but
    for functions that need what a browser lacks, in the modules that are known for it.
    """
    record = run.record
    expect(page.locator(".live-source")).to_have_value(run.module.source)
    status = pressed_run(page)
    printed = page.locator(".live-output").inner_text()
    rows = [row for check in record["checks"] for row in check["comparisons"]]
    missing = " need what a browser lacks" in status
    assert missing == (run.name in LACKING), run.name + ": " + status + "\n" + printed[-2000:]
    assert "failed" not in status, run.name + ": " + status + "\n" + printed[-2000:]
    if missing:
        return
    told = f"{len(rows)} comparison{'s' * (len(rows) != 1)} passed;"
    assert status.startswith(told), run.name + ": " + status
    assert page.locator(".live-figures figure").count() == len(record["figures"])
    for row in rows:
        assert f"PASS {row['label']}: got " in printed.replace("\n", " "), row["label"]


def test_every_chapter_asks_for_its_own_download_and_for_what_it_imports(
    chapter: Chapter, site: Path
) -> None:
    page = site / chapter.slug / "index.html"
    settings = settings_of(page.read_text(encoding="utf-8"))
    bundle = (page.parent / settings["bundle"]).resolve()
    assert bundle == site.resolve() / "downloads" / f"{chapter.slug.rpartition('/')[2]}.zip"
    assert settings["modules"][0] == chapter.modules[0]
    _, packages = HERE.sources.dependencies(module_path(ROOT, chapter.modules[0]))
    assert {"numpy", "matplotlib", *packages} & PACKAGES <= set(settings["packages"]) <= PACKAGES


def test_edited_code_runs_fails_with_its_line_and_is_reset(
    editor: Page, records: dict[str, Run]
) -> None:
    source = editor.locator(".live-source")
    first = settings_of(editor.content())["modules"][0]
    original = records[first].module.source
    expect(source).to_have_value(original)
    edited = '"""Edited."""\n\n\ndef check_nothing() -> None:\n    print("here")\n    1 / 0\n'
    typed(editor.locator(".live"), edited)
    assert pressed_run(editor).startswith("0 comparisons passed, 1 failed;")
    printed = editor.locator(".live-output").inner_text()
    assert "here" in printed
    assert f'{first.rpartition(".")[2]}.py", line 6, in check_nothing' in printed
    assert "ZeroDivisionError" in printed
    editor.locator(".live").get_by_role("button", name="Reset").click()
    ran_as_in_the_build(editor, records[first])


def below(button: Locator) -> Locator:
    """The editor that a button of a block or an exercise opens below it."""
    button.click()
    expect(button).to_be_disabled()
    place = button.locator("xpath=../following-sibling::*[1]")
    expect(place.locator(".cm-editor")).to_be_visible()
    return place


def test_a_block_runs_below_it_and_an_edit_breaks_its_checks(editor: Page) -> None:
    button = editor.locator(".snippet-run[data-call]:not([data-call=''])").first
    place = below(button)
    run = place.get_by_role("button", name=re.compile("^Run"))
    expect(run).to_be_enabled(timeout=PATIENCE_MS)
    status, printed = place.locator(".live-status"), place.locator(".live-output")
    expect(status).to_have_text(
        re.compile(r"^[1-9]\d* comparisons of the checks that use it passed;")
    )
    assert place.locator(".live-call").input_value() == button.get_attribute("data-call")
    source = place.locator(".live-source").input_value()
    name = re.findall(r"^def (\w+)", source, re.MULTILINE)[0]
    place.locator(".live-call").fill("6 * 7")
    typed(place, f"{source}\n\n\ndef {name}(*given, **named):\n    1 / 0\n")
    assert " failed; " in pressed_run(place)
    expect(printed).to_contain_text(re.compile(r"^42\n"))
    expect(printed).to_contain_text(re.compile(r'edited", line \d+, in ' + name))
    place.get_by_role("button", name="Reset").click()
    assert "failed" not in pressed_run(place)
    # what scrolls can be gone to, and each button says of what
    assert structure(editor, place=".live-below") == []
    names = place.get_by_role("button").evaluate_all("all => all.map((one) => one.ariaLabel)")
    source = str(place.locator(".cm-content").get_attribute("aria-label"))
    of = source.removeprefix("Source of ")
    assert names == [f"{verb} {of}" for verb in ("Run", "Stop", "Reset", "Close")]
    place.get_by_role("button", name="Close").click()
    expect(place.locator(".cm-editor")).to_have_count(0)
    expect(button).to_be_focused()


def test_an_exercise_is_answered_in_the_page(editor: Page) -> None:
    button = editor.locator(".snippet-run[data-answers]").first
    name = str(button.get_attribute("data-answers"))
    place = below(button)
    cut = "one => one.scrollWidth - one.clientWidth"
    assert place.locator(".cm-scroller").evaluate(cut) == 0  # a contract is read whole
    printed = place.locator(".live-output")
    assert pressed_run(place, "Check").startswith("Not yet;")
    expect(printed).to_have_text(
        f"{name}: not yet. It is not written: it raises NotImplementedError."
    )
    module = str(button.get_attribute("data-runs"))
    solution = (
        ROOT / "snippets/serving_mathematics" / f"{module.replace('.', '/')}.py"
    ).read_text()
    typed(place, solution)
    assert pressed_run(place, "Check").startswith("Right;")
    expect(printed).to_have_text(re.compile(rf"^{name}: right, \d+ comparisons passed"))
    place.get_by_role("button", name="Close").click()


def test_an_editor_leaves_python_to_the_others_and_a_reader_who_reads_on_alone(
    page: Page, origin: str
) -> None:
    """Progress does not call the reader back; who closes the editor lets the next one run."""
    held: list[Route] = []
    page.route("**/pyodide.mjs", lambda route: held.append(route))
    page.route("**/pyodide.asm.wasm", lambda _: None)  # so that nothing ends
    opened(page, origin, QUICK)
    first, second = page.locator(".snippet-run[data-call]").all()[:2]
    place = below(first)
    status = place.locator(".live-status")
    expect(status).to_have_text("Loading Python…")
    waiting = below(second).locator(".live-status")
    expect(waiting).to_contain_text("This runs when Python is done with another editor")
    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    held[0].continue_()
    expect(status).to_contain_text("MB so far")
    assert page.evaluate("scrollY") == 0
    place.get_by_role("button", name="Close").click()
    expect(waiting).to_have_text(re.compile(r"^Loading Python(, \d+ MB so far)?…$"))


def test_each_module_keeps_its_own_text(page: Page, origin: str) -> None:
    """What was reset stays so, nothing is undone into another module, and one whose source does not
    come is not shown under its name.
    """
    opened(page, origin, QUICK)
    source, choice = page.locator(".live-source"), page.locator(".live select")
    options = choice.locator("option").all()[:3]
    first, second, third = [str(one.get_attribute("value")) for one in options]
    original = source.input_value()
    choice.select_option(second)
    expect(source).not_to_have_value(original)
    other = source.input_value()
    page.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+z")
    expect(source).to_have_value(other)
    typed(page.locator(".live"), "edited = True\n")
    page.route(f"**/{third.replace('.', '/')}.py", lambda route: route.fulfill(status=404))
    choice.select_option(third)
    expect(page.locator(".live-status")).to_contain_text(f"The source of {third} is out of reach")
    expect(choice).to_have_value(second)
    page.get_by_role("button", name="Reset").click()
    expect(source).to_have_value(other)
    choice.select_option(first)
    expect(source).to_have_value(original)
    choice.select_option(second)
    expect(source).to_have_value(other)


def test_what_did_not_load_can_be_asked_for_again(page: Page, origin: str) -> None:
    """And without its editor the page has a plain one."""
    page.route("**/live.js", lambda route: route.abort())
    page.route("**/codemirror.js", lambda route: route.abort())
    page.goto(f"{origin}{QUICK}/")
    opens, runs = page.locator(".live button"), page.locator(".snippet-run").first
    for button in (opens, runs):
        with page.expect_event("pageerror"):
            button.click()
        expect(button).to_be_enabled()
    page.unroute("**/live.js")
    said: list[str] = []
    page.on("pageerror", lambda problem: said.append(str(problem)))
    with page.expect_event("requestfailed"):
        opens.click()
    expect(page.locator(".live-source")).to_be_visible()
    expect(page.locator(".live-source")).to_be_focused()
    assert said == []


REACHES = """
import asyncio

import js
import pyodide_js
from pyodide.code import run_js

from serving_mathematics.support import checks

THERE = "{there}"
MESSAGE = '{{"kind": "fetch", "content": {{"file": 0, "address": "%s"}}}}'


def text(of: str) -> object:
    return js.URL.createObjectURL(js.Blob.new([of], type="text/javascript"))


WAYS = dict(
    fetch=lambda: js.fetch(THERE),
    fetch_of_the_browser=lambda: js.WorkerGlobalScope.prototype.fetch.call(js.self, THERE),
    evaluated=lambda: run_js("import('" + THERE + "')"),
    made=lambda: js.Function.new("return import('" + THERE + "')")(),
    worker=lambda: js.Worker.new(text("import('" + THERE + "'); fetch('" + THERE + "')")),
    scripts=lambda: js.importScripts(THERE),
    font=lambda: js.FontFace.new("x", "url(" + THERE + ")").load(),
    socket=lambda: js.WebSocket.new(THERE.replace("http", "ws")),
    events=lambda: js.EventSource.new(THERE),
    transport=lambda: js.WebTransport.new(THERE.replace("http", "https")).ready,
    package=lambda: pyodide_js.loadPackage(THERE + "x-1.0-py3-none-any.whl"),
    message=lambda: js.postMessage(js.JSON.parse(MESSAGE % THERE)),
    database=lambda: js.indexedDB.open("kept"),
    caches=lambda: js.caches.open("kept"),
    files=lambda: js.navigator.storage.getDirectory(),
    lazy=lambda: pyodide_js.FS.createLazyFile("/", "lazy", THERE, True, False),
)


async def all_of_them() -> None:
    for way in WAYS.values():
        try:
            answer = way()
            if hasattr(answer, "then"):
                await answer
        except Exception as problem:
            print(type(problem).__name__, str(problem)[:80])
    await asyncio.sleep(1)


def check_nothing_is_reached() -> None:
    asyncio.run(all_of_them())
    for name in ("indexedDB", "caches"):
        print(name, hasattr(js, name))
    checks.equal("ran", 1, 1)
"""


def test_what_runs_in_the_worker_reaches_its_page_only(editor: Page, policed: bool) -> None:
    """Also on a host that sends no header, and with all that JavaScript has."""
    heard: list[str] = []

    class Heard(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        do_CONNECT = do_OPTIONS = do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    elsewhere = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Heard)
    threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
    try:
        there = f"http://127.0.0.1:{elsewhere.server_port}/"
        editor.evaluate("there => fetch(there, { mode: 'no-cors' }).catch(() => 0)", there)
        assert bool(heard) != policed  # the page itself may, and so could what it runs
        heard.clear()
        typed(editor.locator(".live"), REACHES.format(there=there))
        assert pressed_run(editor).startswith("1 comparison passed;")
        assert heard == [], editor.locator(".live-output").inner_text()
    finally:
        elsewhere.shutdown()
        elsewhere.server_close()


def test_the_frame_of_python_has_the_policy_of_its_own_script() -> None:
    """No address is in it, and no script but that one and what the page handed over."""
    told = (ROOT / "docs/assets/live.html").read_text(encoding="utf-8")
    [script] = re.findall(r"<script>(.*?)</script>", told, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}' blob: 'wasm-unsafe-eval'"
    assert f"default-src 'none'; {allowed}; worker-src blob:" in told


def test_a_line_that_is_too_long_is_cut(editor: Page) -> None:
    """And a warning shows the line that it came from, not that of the run before."""
    place = editor.locator(".live")
    typed(place, "print('x' * 3_000_000)\n")
    pressed_run(editor)
    shown = place.locator(".live-output").inner_text()
    assert shown.endswith("… more than 500000 characters: the rest is not shown\n")
    assert len(shown) < 501_000
    typed(place, "import warnings; warnings.warn('a')\n")
    pressed_run(editor)
    assert "import warnings" in place.locator(".live-output").inner_text()


UNPACK = '''
import base64
import io
import shutil
import zipfile

content = base64.b64decode("""
{content}
""")
shutil.rmtree("/chapter/serving_mathematics")
zipfile.ZipFile(io.BytesIO(content)).extractall("/chapter")
'''  # in the editor, as a module of its own, which reaches no network: only this page's download is
# there afterwards


@pytest.mark.parametrize(
    "slug", [page.slug for page in (LIVE if THOROUGH else LIVE[TODAY % TURNS :: TURNS])]
)
def test_every_page_runs_as_it_did_in_the_build(
    editor: Page, site: Path, records: dict[str, Run], slug: str
) -> None:
    """One module of a twelfth of them, with nothing there but the page's own download, and others
    tomorrow; in a thorough run all of all. After the tests of the editor that need its own.
    """
    page, place = editor, site / slug
    settings = settings_of((place / "index.html").read_text(encoding="utf-8"))
    bundle = base64.encodebytes((place / settings["bundle"]).read_bytes()).decode()
    script = UNPACK.format(content=bundle)
    page.route("**/serving_mathematics/unpack.py", lambda route: route.fulfill(body=script))
    choice = page.locator(".live select")
    choice.select_option("unpack")
    expect(page.locator(".live-source")).to_have_value(script)
    status = pressed_run(page)
    assert status.startswith("0 comparisons passed;"), (
        status + page.locator(".live-output").inner_text()
    )
    names = settings["modules"]
    for name in names if THOROUGH else [names[TODAY // TURNS % len(names)]]:
        choice.select_option(name)
        ran_as_in_the_build(page, records[name])


def test_endless_loop_is_stopped_and_python_is_loaded_again(editor: Page) -> None:
    """The last test of this editor, whose Python it ends. That one which was loaded again works,
    `test_planner_page.py` asserts of the same engine.
    """
    place, frame = editor.locator(".live"), editor.locator("iframe[title=Python]")
    expect(frame).to_have_count(1)
    typed(place, "import socket\n\n\ndef check_a() -> None:\n    socket.create_server(('', 0))\n")
    assert "1 need what a browser lacks" in pressed_run(editor)
    typed(place, 'while True:\n    print("looping")\n')
    editor.route("**/pyodide.asm.wasm", lambda _: None)  # so that it stays in its loading
    for where, words in ((".live-output", "looping"), (".live-status", "MB so far")):
        place.get_by_role("button", name=re.compile("^Run")).click()
        expect(place.locator(where)).to_contain_text(words, timeout=PATIENCE_MS)
        place.get_by_role("button", name="Stop").click()
        expect(place.locator(".live-status")).to_contain_text("Stopped")
        expect(frame).to_have_count(0)


def test_a_file_with_another_sum_or_out_of_reach_is_not_loaded(page: Page, origin: str) -> None:
    """Fetched with one byte more at its end: one today, others tomorrow."""

    def longer(route: Route) -> None:
        name = Path(urlsplit(route.request.url).path).name
        route.fulfill(body=(FOLDER / name).read_bytes() + b"\n")

    opened(page, origin, QUICK, packages=["numpy"])
    names = *core(), "numpy-2.4.3-cp314-cp314-pyemscripten_2026_0_wasm32.whl"
    for name in names if THOROUGH else [names[TODAY % len(names)]]:
        page.route(f"**/pyodide/{name}", longer)
        status = pressed_run(page)
        assert status.startswith("Python could not be run:")
        assert f"{name} is out of reach or has another sum" in status
        page.unroute(f"**/pyodide/{name}")
    page.route("**/pyodide/**", lambda route: route.fulfill(status=404))
    assert pressed_run(page).startswith("Python could not be run:")
    page.unroute("**/pyodide/**")
    for address, told in (
        ("live-worker.js", "the site is out of reach: 404"),
        ("downloads/*.zip", ": 404)"),
    ):
        page.route(f"**/{address}", lambda route: route.fulfill(status=404))
        assert told in pressed_run(page)
        page.unroute(f"**/{address}")
