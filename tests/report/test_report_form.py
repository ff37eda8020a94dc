from __future__ import annotations

import base64
import gzip
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from serving_mathematics.planner.planner_form import form_answer
from serving_mathematics.report.registry import FINDINGS
from serving_mathematics.report.report_command import _read_files
from serving_mathematics.report.report_form import LARGEST_SENT, ask_form, example, form_report

from .example_runs import clean, detailed, log_csv


class Labels(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.labelled: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "input":
            self.ids.append(found["id"] or "")
        if tag == "label":
            self.labelled.append(found["for"] or "")


def test_every_control_has_a_label() -> None:
    page = Labels()
    page.feed(ask_form())
    assert sorted(page.ids) == sorted(page.labelled)
    assert len(set(page.ids)) == len(page.ids) == 8
    assert example().finding_rows.count("\n") + 1 == len(FINDINGS)


def test_files_and_a_run_before() -> None:
    run = clean(count=200)
    said: list[str] = []
    asked = {
        "files": [{"name": "new.json", "text": detailed(run)}],
        "against": [{"name": "old.csv", "text": log_csv(run)}],
        "ttft_s": "1",
        "site": "/book/",
    }
    told = json.loads(form_report(json.dumps(asked), lambda _, text: said.append(text)))
    assert "no difference is told from chance in TTFT, TPOT, latency" in "\n".join(told["summary"])
    assert 'href="/book/definitions/' in told["body"]
    assert 'href="/book/' not in told["html"]
    assert said[:2] == ["Reading new.json…", "Reading old.csv…"]


def test_columns_are_asked_back_at_their_field() -> None:
    log = "when,first\n5,70\n9,80\n"
    asked = {"files": [{"name": "a.csv", "text": log}]}
    assert json.loads(form_report(json.dumps(asked)))["field"] == "columns"
    asked["columns"] = "sent=when,ttft=first,unit=ms"  # type: ignore[assignment]
    assert "body" in json.loads(form_report(json.dumps(asked)))


@pytest.mark.parametrize("share", ["0", "1"])
def test_a_share_of_none_or_all_is_refused_at_its_field(share: str) -> None:
    asked = {"files": [{"name": "a.csv", "text": log_csv(clean(count=200))}], "quantile": share}
    told = json.loads(form_report(json.dumps(asked)))
    assert told["field"] == "quantile"
    assert "in (0, 1)" in told["problem"]


def test_no_form_is_an_error() -> None:
    for text in ("{", "[]", '{"files": 3}', '{"files": [3]}'):
        assert "problem" in json.loads(form_report(text))


def test_a_file_that_comes_twice_counts_once() -> None:
    """In the page a run of 200 requests that was chosen twice was one of 400."""
    file = {"name": "a.csv", "text": log_csv(clean(count=200))}
    found = json.loads(form_report(json.dumps({"files": [file, file]})))
    assert "200 requests" in found["summary"][0]
    assert "a.csv must be of other requests than a.csv, got the same text" in found["body"]


def test_of_many_files_that_cannot_be_read_some_are_named() -> None:
    files = [{"name": f"{k}.txt", "text": "nothing"} for k in range(300)]
    told = json.loads(form_report(json.dumps({"files": files})))["problem"]
    assert told.endswith("; and 295 more")
    assert len(told) < 2000


@pytest.mark.parametrize(
    "raw",
    [
        "start,ttft_ms,modèle\n1,2,a\n".encode("latin-1"),
        "start,ttft_ms\n1,2\n".encode("utf-16"),
        b"PK\x03\x04\xff",
        gzip.compress(b"start,ttft_ms\n1,2\n")[:-3],
        gzip.compress(b"start,ttft_ms\n1,2\n") + gzip.compress(b"2,3\n"),
        b"\xef\xbb\xbfstart,ttft_ms\n1,2\n",
    ],
    ids=["latin-1", "utf-16", "no table", "cut", "two parts", "byte order mark"],
)
def test_bytes_are_read_and_refused_as_the_command_does(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    file.write_bytes(raw)
    told, problems = _read_files([str(file)])
    sent = {"name": str(file), "base64": base64.b64encode(raw).decode()}
    form = json.loads(form_report(json.dumps({"files": [sent]})))
    assert form.get("problem", "") == "; ".join(problems)
    assert ("summary" in form) == bool(told)
    asked = {"trace": str(file), "trace_base64": sent["base64"]}
    trace = json.loads(form_answer(json.dumps(asked)))
    if not told:
        assert trace["field"] == "trace"
        assert trace["problem"].partition(": ")[2] == problems[0].partition(": ")[2]


def test_what_a_page_sends_packed_is_bounded() -> None:
    bomb = base64.b64encode(gzip.compress(bytes(LARGEST_SENT + 1))).decode()
    form = json.loads(form_report(json.dumps({"files": [{"name": "a.gz", "base64": bomb}]})))
    rule = "must be at most 64 MiB unpacked, got more"
    assert form["problem"] == f"a.gz: {rule}; the command takes larger ones"
    form = json.loads(form_report(json.dumps({"files": [{"name": "a.gz", "base64": "é?"}]})))
    assert form["field"] == "files"
