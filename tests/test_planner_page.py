"""The planner's page in a browser: its form plans what Python plans, and says what is wrong."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, Route, expect
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answer_sentence import answer_parts
from serving_mathematics.planner.answers.answer_tables import comparison_rows
from serving_mathematics.planner.answers.answers import answer_head
from serving_mathematics.planner.configurations import whole_answer
from serving_mathematics.planner.planner_form import _lines_in_order, form_answer
from serving_mathematics.planner.questions.fields import DRAWN, FIELDS, OTHER, read_value
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support.measuring import read_record

from .browsing import served, with_own_python, with_python_at
from .fetch_pyodide import complete
from .test_live import settings_of
from .visits import DESK, PHONE, structure, unreadable

PATIENCE_MS = 240_000
QUICK = {"requests": "200", "parallelism": "tp1", "other_devices": "none"}
STALE = re.compile(r"\bstale\b")
needs_python = pytest.mark.skipif(
    not complete(), reason="THE PLANNER'S FORM WAS NOT TESTED: run `make pyodide` once"
)
SAID = """(status) => {
    window.told = [];
    const note = () => window.told.push(status.textContent);
    new MutationObserver(note).observe(status, { childList: true });
}"""  # while a plan is made
LETTERS = """async (answer, { html }) => {
    const { inert } = await import("../assets/planner.js");
    const [shown, expected] = [answer.cloneNode(true), document.createElement("div")];
    expected.append(...inert(html));
    for (const button of shown.querySelectorAll("button")) button.remove();
    return [shown, expected].map((one) => one.textContent.replace(/\\s+/g, ""));
}"""  # what the answer says, and what that HTML would say in its place
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROWS = "".join(f"2023-11-16 18:{i // 60:02}:{i % 60:02},{100 + i},{5 + i}\n" for i in range(300))


def plain(text: str) -> str:
    """Without the spaces at which a built page does not break, and with its minus as typed."""
    return text.replace("\xa0", " ").replace("\u2212", "-")


class Form:
    """The form on a page that is loaded once, and everything that the page asked for."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page, self.origin = page, origin
        self.asked: list[tuple[str, str]] = []
        self.said: list[str] = []
        page.on("request", lambda request: self.asked.append((request.method, request.url)))
        page.on("pageerror", lambda problem: self.said.append(str(problem)))
        page.on("console", lambda message: self.said.append(message.text))
        with_own_python(page, "planner")
        page.goto(f"{origin}planner/")
        self.plan = page.locator("form.planner").get_by_role("button", name="Plan")
        self.stop = page.locator("form.planner").get_by_role("button", name="Stop")
        self.status = page.locator("form.planner .live-status")
        self.answer = page.locator(".planner-answer")
        expect(self.plan).to_be_visible()
        self.fold(open=True)

    def control(self, name: str) -> Locator:
        return self.page.locator(f"#planner-{name}")

    def fold(self, *, open: bool) -> None:
        """All groups of fields."""
        groups = self.page.locator(".planner-groups > details")
        groups.evaluate_all("(all, open) => all.forEach(one => { one.open = open; })", open)

    def fill(self, values: dict[str, str]) -> None:
        """The form as it was loaded, but for these values."""
        self.page.locator("form.planner").evaluate(
            "form => { form.reset(); form.dispatchEvent(new Event('change')); }"
        )
        if "trace" in values:
            self.control("traffic").select_option("")
        for name in sorted(values, key=lambda name: name not in ("model", "device")):
            if name != "trace":
                self.control(name).fill(values[name])

    def pressed(self) -> None:
        self.plan.click()
        expect(self.plan).to_have_attribute("aria-disabled", "false", timeout=PATIENCE_MS)

    def problem(self, name: str) -> str:
        """What stands beside a field, which must be the only one, marked, and in focus."""
        expect(self.status).to_have_text("No plan: one field has a problem.")
        marked = self.page.locator("[aria-invalid=true]")
        expect(marked).to_have_count(1)
        expect(marked).to_be_focused()
        assert marked.get_attribute("name") == name
        told = self.page.locator(".field-problem:not(:empty)")
        expect(told).to_have_count(1)
        assert told.get_attribute("id") in str(marked.get_attribute("aria-describedby")).split()
        return told.inner_text()

    def rows(self) -> list[list[str]]:
        """The cells of the answer's lines, and the address of each chapter."""
        found: list[list[str]] = self.page.locator(".planner-answer tbody tr:has(th)").evaluate_all(
            "rows => rows.map(row => [...[...row.cells].map(cell => cell.textContent),"
            " row.querySelector('a').href])"
        )
        return [[plain(cell) for cell in row] for row in found]

    def expected(self, values: dict[str, object]) -> list[list[str]]:
        """What Python answers here to the same question."""
        promised, main, others = _lines_in_order(whole_answer(read_choices(values), values))
        return [
            [x.what, x.value, *([x.estimate] * (x in others)), f"{self.origin}{x.chapter}/"]
            for x in (*promised, *main, *others)
        ]


@pytest.fixture(scope="module")
def form(browser: Browser, origin: str) -> Iterator[Form]:
    context = browser.new_context(viewport=DESK)
    yield Form(context.new_page(), origin)
    context.close()


@needs_python
def test_a_plan_is_stopped_while_python_is_loaded_and_the_next_one_loads_it_again(
    form: Form,
) -> None:
    """That Python at work is ended so, `test_live.py` asserts."""
    form.pressed()  # what the page has answered takes no Python
    expect(form.status).to_have_text("The plan is below.")
    expect(form.answer).to_be_focused()
    form.fill({"rate_per_s": "abc", "tpot_s": "50 ms"})
    form.plan.click()  # nor do numbers that are none
    expect(form.status).to_have_text("No plan: 2 fields have a problem.")
    expect(form.control("rate_per_s")).to_be_focused()
    assert not [url for _, url in form.asked if "pyodide" in url or "live-worker" in url]
    form.fill({"rate_per_s": "61"})
    held: list[Route] = []
    form.page.route("**/pyodide/pyodide.mjs", lambda route: held.append(route))
    form.plan.click()
    expect(form.status).to_contain_text("Loading Python")
    form.plan.evaluate("one => one.click()")  # while one is under way, another is none
    form.stop.click()
    expect(form.status).to_have_text("Stopped. The next plan loads Python again.")
    expect(form.plan).to_be_focused()
    expect(form.stop).to_be_disabled()
    form.page.unroute("**/pyodide/pyodide.mjs")
    assert len(held) == 1


@needs_python
def test_the_browsers_python_answers_to_the_letter(form: Form) -> None:
    """With every deployment that the form compares as it stands, and fewer requests."""
    form.status.evaluate(SAID)
    asked = {"rate_per_s": "61", "requests": "200"}  # in the order of the form
    form.fill(asked)
    form.pressed()
    assert [one for one in form.page.evaluate("window.told") if "Simulating fleet" in one]
    expect(form.answer).to_be_focused()
    shown, expected = form.answer.evaluate(LETTERS, json.loads(form_answer(json.dumps(asked))))
    assert shown == expected
    expect(form.answer).to_contain_text("Answer to: Llama-3.1-8B on H100 SXM; 61 requests/s")
    expect(form.answer).to_contain_text("vllm serve meta-llama/Meta-Llama-3.1-8B")
    expect(form.answer).to_contain_text("kind: Deployment")
    expect(form.page.locator(".planner-meter .reached")).to_have_count(2)
    expect(form.page.locator(".planner-plots svg[role=img]")).to_have_count(2)
    expect(form.page.locator(".planner-plots .chosen")).to_have_count(3)
    titles = form.page.locator(".planner-plots svg title").all_text_contents()
    assert titles == [
        "p99 of TTFT and TPOT against replicas",
        "Price of a token against speed for a user",
    ]
    assert not form.said
    loaded = {Path(urlsplit(url).path).name for _, url in form.asked if "/pyodide/" in url}
    assert not [name for name in loaded if name.startswith(("matplotlib", "pillow"))]


@needs_python
def test_enter_keeps_the_answer_in_view_and_the_address_the_question(form: Form) -> None:
    """At both widths; once the form has changed, the answer is to what stands over it."""
    values = QUICK | {"rate_per_s": "3", "ttft_s": "2"}
    top = "one => one.getBoundingClientRect().top"
    for size in (DESK, PHONE):
        form.page.set_viewport_size(size)
        form.fill(values)
        form.control("rate_per_s").press("Enter")
        expect(form.answer).to_be_focused(timeout=PATIENCE_MS)
        expect(form.answer).not_to_have_class(STALE)
        assert 0 <= form.answer.evaluate(top) < 120
        summary = form.answer.locator(".planner-summary")
        assert summary.evaluate("one => one.getBoundingClientRect().bottom") < size["height"]
        expect(form.answer.locator(".planner-of")).to_contain_text("; 3 requests/s of 1,000")
    form.page.set_viewport_size(DESK)
    asked = dict(parse_qsl(urlsplit(form.page.url).query))
    assert asked == values
    form.control("rate_per_s").fill("4")
    expect(form.answer).to_have_class(STALE)
    expect(form.status).to_contain_text("The form has changed")
    form.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    link = form.page.locator("form.planner").get_by_role("button", name="Copy link")
    form.page.evaluate("navigator.clipboard.writeText('')")
    link.click()  # the link is of what stands there
    while not (copied := form.page.evaluate("navigator.clipboard.readText()")):
        form.page.wait_for_timeout(20)
    assert dict(parse_qsl(urlsplit(copied).query)) == asked | {"rate_per_s": "4"}
    form.control("rate_per_s").fill("3")
    expect(form.answer).not_to_have_class(STALE)
    expect(form.status).to_have_text("")
    other = form.page.context.new_page()
    other.goto(form.page.url)
    named = "fields => Object.fromEntries(fields.map(field => [field.name, field.value]))"
    fields = "form.planner [name]:not([type=file])"
    expect(other.locator("#planner-rate_per_s")).to_have_value("3")
    there, here = (page.locator(fields).evaluate_all(named) for page in (other, form.page))
    assert asked.items() <= there.items()
    assert there == here
    status = other.locator("form.planner .live-status")
    expect(status).to_contain_text("This address holds a question: press Plan")
    expect(other.locator(".planner-answer")).to_be_hidden()
    other.close()


def test_what_python_answers_cannot_run_or_load_anything(page: Page, origin: str) -> None:
    """Whatever comes from the frame, only a few harmless elements become part of the page."""
    page.goto(f"{origin}planner/")
    found = page.evaluate(
        """async (hostile) => {
            const { inert } = await import("../assets/planner.js");
            const box = document.createElement("div");
            box.append(...inert(hostile));
            return box.innerHTML;
        }""",
        '<p onclick="x()" style="a:b" class="c">a</p><script>x()</script><img src=x onerror=x()>'
        '<a href="javascript:x()">b</a><a href="../machine/predictions/">c</a><iframe></iframe>'
        '<svg onload="x()"><path d="M0 0"/><use href="x"/><foreignObject></foreignObject></svg>',
    )
    assert found == (
        '<p class="c">a</p><a>b</a><a href="../machine/predictions/">c</a>'
        '<svg><path d="M0 0"></path></svg>'
    )


def test_the_first_field_is_within_ten_tabs_and_the_first_answer_on_a_phones_first_screen(
    page: Page, origin: str
) -> None:
    page.goto(f"{origin}planner/")
    expect(page.locator("form.planner")).to_be_visible()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "model":
            break
    expect(page.locator("#planner-model")).to_be_focused()
    page.set_viewport_size(PHONE)
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator(".planner-head strong")).to_be_in_viewport(ratio=1)
    typed = page.locator("form.planner :is(input, select)").evaluate_all(
        "all => all.map((one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(typed) >= 16  # a phone zooms into what is smaller


def test_a_table_of_the_answer_is_a_stop_of_the_keyboard_where_large_letters_make_it_scroll(
    page: Page, origin: str
) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{origin}planner/")
    tables = page.locator(".planner-answer > .planner-rows")
    for larger, stop in (("", "-1"), ("250%", "0"), ("", "-1")):  # of the theme's 125%
        page.evaluate("size => { document.documentElement.style.fontSize = size; }", larger)
        for table in tables.all():
            expect(table).to_have_attribute("tabindex", stop)
    assert tables.count() == 2


@needs_python
def test_aliases_and_a_device_by_its_numbers(form: Form) -> None:
    expect(form.control("memory_gib")).to_be_hidden()
    values = QUICK | {"model": "Qwen3-8B", "device": OTHER, "ttft_s": "3", "rate_per_s": "5"}
    values |= {"peak_tflops": "400", "bandwidth_gb_per_s": "1900", "memory_gib": "60"}
    form.fill(values)
    form.pressed()
    del values["device"]
    assert form.rows() == form.expected(dict(values))
    form.fill(QUICK | {"model": "Lama-3.1-8B"})
    form.pressed()
    assert "nearest: " in form.problem("model")


@needs_python
def test_objectives_energy_and_prices_are_asked_in_the_page(form: Form) -> None:
    """The same lines as the command has; a limit that no fleet keeps stands at its field."""
    values = QUICK | {"rate_per_s": "5", "ttft_s": "3", "e2e_s": "20", "goodput": "0.9"}
    values |= {"price_per_kwh": "0.2", "grams_per_kwh": "380"}
    values |= {"api_input_price": "0.02", "api_output_price": "0.05"}
    form.fill(values)
    form.pressed()
    assert form.rows() == form.expected(dict(values))
    expect(form.answer).to_contain_text("together in 90% of cases")
    expect(form.answer).to_contain_text("kg of CO₂. A token takes least energy")
    form.fill(values | {"e2e_s": "0.01"})
    form.pressed()
    assert form.problem("e2e_s").startswith("no fleet keeps an E2E latency of 0.01 s at p90")
    form.fill(values | {"quantile": "0.95"})
    form.pressed()
    assert form.problem("quantile").startswith("quantile must be left out where goodput says")


@needs_python
def test_gpus_are_asked_instead_of_a_rate(form: Form) -> None:
    """Beside a rate they are a problem at their field; without one the address says so too."""
    form.fill(QUICK | {"gpus": "2"})
    form.pressed()
    assert "left out where rate_per_s is 60" in form.problem("gpus")
    form.control("rate_per_s").fill("")
    form.pressed()
    expect(form.page.locator("[aria-invalid=true]")).to_have_count(0)
    expect(form.answer).not_to_have_class(STALE)
    values: dict[str, object] = QUICK | {"gpus": "2"}
    assert form.rows() == form.expected(values)
    expect(form.answer.locator(".planner-of")).to_contain_text("on 2 × H100 SXM; as many requests")
    expect(form.answer).to_contain_text("serving-mathematics plan --gpus 2")
    asked = dict(parse_qsl(urlsplit(form.page.url).query, keep_blank_values=True))
    assert asked == QUICK | {"gpus": "2", "rate_per_s": ""}
    other = form.page.context.new_page()
    other.goto(form.page.url)
    expect(other.locator("#planner-gpus")).to_have_value("2")
    expect(other.locator("#planner-rate_per_s")).to_have_value("")
    other.close()


def test_what_an_address_asks_twice_is_told(page: Page, origin: str) -> None:
    """The form took the last, as whoever wrote the first did not mean."""
    page.goto(f"{origin}planner/?rate_per_s=3&seed=1&seed=2")
    expect(page.locator("#planner-rate_per_s")).to_have_value("3")
    expect(page.locator("#planner-seed")).to_have_value("0")
    expect(page.locator("#planner-seed-problem")).to_have_text("seed stands twice in this address")
    page.goto(f"{origin}planner/?device=H100&peak_tflops=5")
    told = f"The address asks for peak_tflops, which goes with device={OTHER}."
    expect(page.locator("form.planner .live-status")).to_have_text(told)


HOSTILE = {
    "draft_tokens": "1.5",
    "accepted_tokens": "0",
    "cached_share": "1",
    "spot_share": "-0.5",
    "spot_discount": "most",
    "spare_replicas": "-1",
    "peak_tflops": "1e999",
    "bandwidth_gb_per_s": "nan",
    "memory_gib": "inf",
    "memory_share": "0",
    "reserved_gib": "four",
    "rate_per_s": "<script>alert(1)</script>",
    "gpus": "2.5",
    "arrival_scv": "-1",
    "mean_prompt_tokens": "١٢",
    "mean_output_tokens": "9" * 5000,
    "ttft_s": "",
    "tpot_s": "1,5",
    "e2e_s": "ten",
    "goodput": "100%",
    "power_w": "700 W",
    "price_per_kwh": "0",
    "grams_per_kwh": "-380",
    "api_input_price": "free",
    "api_output_price": "$0.5",
    "quantile": "1",
    "price_per_hour": "$2",
    "token_budget": "512.5",
    "batch_limit": "[1]",
    "replicas": "eight",
    "host_memory_gib": "512 GB",
    "host_link_gb_per_s": "0",
    "disk_gib": "-1",
    "disk_gb_per_s": "0",
    "store_gib": "1 TB",
    "store_gb_per_s": "0",
    "weights": "heavy",
    "lost_for_s": "1 min",
    "requests": "1_000",
    "seed": '{"a": 1}',
}


def test_every_field_that_is_typed_has_a_hostile_value_and_a_place_for_its_problem(
    site: Path,
) -> None:
    typed = {name for name, field in FIELDS.items() if field.high}
    assert typed == HOSTILE.keys()
    built = (site / "planner" / "index.html").read_text(encoding="utf-8")
    controls = re.findall(r'<(?:input|select)\b[^>]* id="planner-[^>]*>', built)
    for name in FIELDS:
        [control] = [one for one in controls if f' id="planner-{name}"' in one]
        assert f' name="{name}"' in control
        assert f'planner-{name}-problem"' in control.partition(" aria-describedby=")[2]
        assert built.count(f' id="planner-{name}-problem"') == 1


def test_a_number_is_refused_before_python_is_loaded_as_python_refuses_it(
    page: Page, origin: str
) -> None:
    """In the same words, with the same proposal; and what Python takes is taken."""
    page.goto(f"{origin}planner/")
    values = [(name, value) for name, value in HOSTILE.items() if value]
    values += [("tpot_s", one) for one in ("50", "0,05", "5%", "1,5", "5e-2", ".05", "+0.05", " 1")]
    values += [("store_gib", "2 TiB"), ("rate_per_s", "4k/s"), ("replicas", " AUTO ")]
    values += [("price_per_hour", "3, 5"), ("price_per_hour", "3, x"), ("seed", "0x10")]
    found = page.evaluate(
        """async (values) => {
            const { refusal } = await import("../assets/fields.js");
            const form = document.querySelector("form.planner");
            return values.map(([name, value]) => {
                const field = form.elements[name];
                field.value = value;
                return refusal(field, JSON.parse(form.dataset.units));
            });
        }""",
        values,
    )
    for (name, value), told in zip(values, found, strict=True):
        try:
            read_value(name, value)
            expected = ""
        except ValueError as error:
            expected = str(error)
        assert told == expected


HANDED = """([kind, name, text, target]) => {
    const clipboardData = new DataTransfer();
    if (name) clipboardData.items.add(new File([text], name));
    else clipboardData.setData("text/plain", text);
    const made = { clipboardData, dataTransfer: clipboardData, bubbles: true, cancelable: true };
    const event = kind === "paste" ? new ClipboardEvent(kind, made) : new DragEvent(kind, made);
    return document.querySelector(target).dispatchEvent(event);
}"""  # whether the browser would still do with it what it does by itself


def test_a_models_file_is_chosen_dropped_or_pasted(page: Page, origin: str) -> None:
    """Its name stands in the field, as a command would have it; what else is dropped is a trace."""
    early, own = (
        FilePayload(name=name, mimeType="application/json", buffer=b"{}")
        for name in ("early.json", "it's.json")
    )
    model, chooser = page.locator("#planner-model"), page.locator(".field-file input")
    late: list[Route] = []
    page.route("**/planner.js", lambda route: late.append(route))
    page.goto(f"{origin}planner/", wait_until="domcontentloaded")
    chooser.set_input_files(early)
    while not late:
        page.wait_for_timeout(50)
    late[0].continue_()
    expect(model).to_have_value("./early.json")
    model.focus()
    page.keyboard.press("Tab")
    expect(chooser).to_be_focused()
    ring = "one => getComputedStyle(one.parentElement).outlineStyle"
    assert chooser.evaluate(ring) == "solid"
    chooser.set_input_files(own)
    expect(model).to_have_value("./it's.json")
    expect(page.locator(".planner-answer")).to_have_class(STALE)
    assert page.evaluate(HANDED, ["paste", "", "Qwen3-8B", "#planner-model"])
    assert not page.evaluate(HANDED, ["paste", "", '\n {"a": 1}', "#planner-model"])
    expect(model).to_have_value("./config.json")
    assert not page.evaluate(HANDED, ["paste", "b.json", "{}", "#planner-model"])
    expect(model).to_have_value("./b.json")
    assert page.evaluate(HANDED, ["dragover", "", "some words", "h1"])
    assert not page.evaluate(HANDED, ["dragover", "c.json", "", "h1"])
    expect(page.locator("form.planner")).to_have_class(re.compile("over"))
    assert not page.evaluate(HANDED, ["drop", "c.json", "{}", "h1"])
    expect(page.locator("form.planner")).not_to_have_class(re.compile("over"))
    expect(model).to_have_value("./c.json")
    expect(page.locator("#planner-trace")).to_be_hidden()
    assert not page.evaluate(HANDED, ["drop", "log.csv", "t,isl,osl", "form.planner"])
    expect(page.locator("#planner-trace")).to_be_visible()
    expect(page.locator("#planner-trace")).to_have_value(re.compile("log.csv"))
    expect(model).to_have_value("./c.json")
    page.set_viewport_size(PHONE)
    name, other = (one.bounding_box() for one in (page.locator("[for=planner-model]"), chooser))
    assert name is not None
    assert other is not None
    assert name["x"] + name["width"] < other["x"]  # beside each other
    assert other["y"] <= name["y"] <= other["y"] + other["height"] - name["height"] / 2
    assert other["height"] >= 24


@needs_python
def test_a_models_file_is_read_in_the_page_and_stays_there(form: Form, tmp_path: Path) -> None:
    """The command's answer and its sentences, and a command that works where the file lies."""
    config = read_record("machine_models")["models"]["Qwen/Qwen3-8B"]
    chooser = form.page.locator(".field-file input")
    values: dict[str, object] = QUICK | {"rate_per_s": "3", "model": "./config.json"}
    form.fill({name: str(value) for name, value in values.items()})
    form.pressed()
    words = "; a page has none of your files until you choose, drop or paste one"
    assert form.problem("model").endswith(words)
    with contextlib.chdir(tmp_path):
        Path("config.json").write_text(json.dumps(config), encoding="utf-8")
        chooser.set_input_files("config.json")
        before = len(form.asked)
        form.pressed()
        assert form.rows() == form.expected(values)
        expect(form.answer.locator(".planner-of")).to_contain_text("Answer to: qwen3 on H100")
        expect(form.answer).to_contain_text("plan --model ./config.json --rate-per-s 3 ")
        assert not [url for _, url in form.asked[before:] if "favicon" not in url]
        assert dict(parse_qsl(urlsplit(form.page.url).query)) == values
        other = json.dumps(config | {"hidden_size": -1})
        form.page.evaluate(HANDED, ["paste", "", other, "#planner-model"])
        expect(form.answer).to_have_class(STALE)  # to the file of before, which had this name
        form.page.evaluate(HANDED, ["paste", "", json.dumps(config), "#planner-model"])
        form.plan.click()
        form.page.evaluate(HANDED, ["paste", "", other, "#planner-model"])  # while it is planned
        expect(form.plan).to_have_attribute("aria-disabled", "false", timeout=PATIENCE_MS)
        expect(form.answer).to_have_class(STALE)
        form.pressed()
        Path("config.json").write_text(other, encoding="utf-8")
        with pytest.raises(ValueError, match="hidden_size") as refused:
            read_choices(values)
        assert form.problem("model") == str(refused.value)
    assert not form.said


@needs_python
def test_a_trace_is_read_in_the_page_and_stays_there(form: Form, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    form.fill(QUICK | {"trace": ""})
    for name in DRAWN:
        expect(form.control(name)).to_be_hidden()
    form.pressed()
    assert form.problem("trace") == "trace must be a file, got none"
    lines = ROWS.splitlines(keepends=True)
    for text, words in (
        (b"\x00\xff\xfe binary \x00", "mine.csv: must be UTF-8 text, got invalid start byte"),
        (b"", "mine.csv: the log must be a header and at least one request"),
        ((HEADER + lines[0]).encode(), "mine.csv: the trace must be at least 100 requests long"),
        ((HEADER + lines[1] + lines[0]).encode(), "mine.csv: row 3, column TIMESTAMP must be no"),
        ((HEADER + ROWS[:-2] + "x\n").encode(), "mine.csv: row 301, column GeneratedTokens must"),
    ):
        file.write_bytes(text)
        form.control("trace").set_input_files(file)
        form.pressed()
        assert form.problem("trace").startswith(words)
    file.write_bytes(b"\xef\xbb\xbf" + (HEADER + ROWS).replace("\n", "\r\n").encode())
    form.control("trace").set_input_files(file)
    before = len(form.asked)
    form.pressed()
    assert form.rows() == form.expected(dict(QUICK) | {"trace": str(file)})
    expect(form.answer).to_contain_text("--trace mine.csv")
    # a browser may ask for the icon again where the address changes
    assert [
        url for _, url in form.asked[before:] if not url.endswith(("/favicon.png", "/favicon.svg"))
    ] == []
    assert {method for method, _ in form.asked} == {"GET"}
    assert {urlsplit(url).netloc for _, url in form.asked} == {urlsplit(form.origin).netloc}


@needs_python
def test_answers_and_problems_are_accessible_and_fit_a_phone(form: Form) -> None:
    page = form.page
    form.fill(QUICK | {"ttft_s": "3"})
    form.pressed()
    expect(form.answer).to_be_visible()
    assert structure(page, place=".planner-answer") == []
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    form.fill(QUICK | {"seed": "9" * 60})
    form.fold(open=False)
    form.pressed()  # the fold opens for the field
    assert form.problem("seed").startswith("seed must be a whole number")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.set_viewport_size(DESK)
    assert structure(page, place="form.planner") == []
    assert unreadable(page) == []  # of the problem, and of the answer to what stood there before


@needs_python
def test_by_keyboard_alone(form: Form) -> None:
    """From the heading above the form to the last copy button, with Tab, typing, arrows and Enter,
    at both widths; the focus is always to be seen."""
    page, keys = form.page, form.page.keyboard
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    form.fill({})
    form.fold(open=False)

    def tab_to(what: str) -> None:
        for _ in range(80):
            keys.press("Tab")
            if page.evaluate("what => document.activeElement.matches(what)", what):
                break
        expect(page.locator(what)).to_be_focused()
        seen = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(seen) != "none", what

    def unfolded(name: str) -> None:
        tab_to(f".planner-groups details:has(#planner-{name}) > summary")
        keys.press("Enter")

    def typed(name: str, text: str) -> None:
        tab_to(f"#planner-{name}")
        keys.press("Control+A")
        keys.type(text)

    page.locator("h2:has(~ form.planner) > a").first.focus()
    typed("rate_per_s", "3")
    typed("ttft_s", "2")
    unfolded("traffic")
    tab_to("#planner-traffic")
    keys.press("ArrowDown")
    expect(form.control("rate_per_s")).to_be_hidden()
    keys.press("ArrowUp")
    unfolded("other_devices")
    typed("other_devices", "none")
    typed("parallelism", "tp1")
    unfolded("fleets")
    tab_to("#planner-fleets")
    keys.press("ArrowDown")
    expect(form.control("fleets")).to_have_value("two")
    keys.press("ArrowUp")
    unfolded("requests")
    typed("requests", "200")
    keys.press("Enter")
    expect(form.answer).to_be_focused(timeout=PATIENCE_MS)
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        form.answer.focus()
        folds = form.answer.locator("summary")
        for place in range(folds.count()):
            tab_to(f".planner-answer details:nth-of-type({place + 1}) > summary")
            keys.press("Enter")  # opens, and on the phone closes again
            if size is DESK and folds.nth(place).locator("+ .planner-rows").count():
                keys.press("Tab")
                assert page.evaluate("document.activeElement.matches('.planner-rows')")
    folds.last.press("Enter")
    buttons = form.answer.get_by_role("button")
    texts = form.answer.locator(".planner-copy code").all_text_contents()
    assert buttons.count() == len(texts) >= 3
    for place, text in enumerate(texts):
        for _ in range(60):
            keys.press("Tab")
            if buttons.nth(place).evaluate("one => one === document.activeElement"):
                break
        expect(buttons.nth(place)).to_be_focused()
        keys.press("Enter")
        expect(buttons.nth(place)).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == text
    expect(buttons).to_have_text(["Copy"] * len(texts), timeout=10_000)
    page.set_viewport_size(DESK)


def test_what_was_asked_before_the_forms_script_came_is_answered(
    browser: Browser, site: Path, tmp_path: Path
) -> None:
    """On a slow line, and by a host without Python, which is said."""
    for place in site.iterdir():
        if place.name != "planner":
            (tmp_path / place.name).symlink_to(place)
    (tmp_path / "planner").mkdir()
    built = (site / "planner" / "index.html").read_text(encoding="utf-8")
    page_without = with_python_at("/no-python/", built)
    (tmp_path / "planner" / "index.html").write_text(page_without, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    late: list[Route] = []
    page.route("**/planner.js", lambda route: late.append(route))
    with served(tmp_path) as address:
        page.goto(f"{address}planner/", wait_until="domcontentloaded")
        page.locator("#planner-rate_per_s").fill("31")
        page.locator("#planner-device").fill("H100, it's")
        plan = page.locator("form.planner").get_by_role("button", name="Plan")
        plan.click(no_wait_after=True)  # nothing may come of it yet, which Chromium would wait for
        status = page.locator("form.planner .live-status")
        expect(status).to_be_empty()
        while not late:
            page.wait_for_timeout(50)
        late[0].continue_()
        expect(status).to_contain_text("Python could not be run:")
        typed = r"plan --device 'H100, it'\''s' --rate-per-s 31"
        expect(page.locator(".live-error code")).to_have_text(f"serving-mathematics {typed}")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator(".live-error code")).to_have_count(1)
        assert page.url.startswith(f"{address}planner/?")
        assert "rate_per_s=31" in page.url
        expect(page.locator(".planner-answer")).to_have_class(STALE)  # it is to 60 requests/s
        context.close()


def test_without_javascript_the_example_and_the_command_are_there(
    browser: Browser, origin: str
) -> None:
    asked = {"rate_per_s": "60"}
    worked = whole_answer(read_choices(asked), asked)
    context = browser.new_context(java_script_enabled=False, viewport=DESK)
    page = context.new_page()
    page.goto(f"{origin}planner/")
    expect(page.locator("form.planner")).to_be_hidden()
    expect(page.get_by_text("The form needs JavaScript.")).to_be_visible()
    answered = page.locator(".planner-answer")
    expect(answered.locator(".planner-summary")).to_be_visible()
    for fold in answered.locator("summary").all():
        fold.click()
    sentence, notes = answer_parts(worked)
    for said in (" ".join(answer_head(worked)), sentence, *notes):
        expect(answered).to_contain_text(said)
    compared = answered.locator("details", has_text="The deployments that were compared")
    assert compared.locator("tbody tr").count() == len(comparison_rows(worked)) - 1
    for line in answer_lines(worked):
        row = answered.locator("tr", has=page.get_by_role("rowheader", name=line.what, exact=True))
        expect(row).to_contain_text(line.value)
        expect(row.get_by_role("link")).to_be_visible()
    expect(page.get_by_text("serving-mathematics plan --rate-per-s 60").first).to_be_visible()
    context.close()


def test_settings_of_the_form_are_those_of_the_page(site: Path) -> None:
    """The form takes them from the editor's place, also after the editor was opened there."""
    settings = settings_of((site / "planner" / "index.html").read_text(encoding="utf-8"))
    assert "planner.planner_form" in settings["modules"]
    assert settings["bundle"].endswith("planner-form.zip")
