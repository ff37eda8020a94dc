"""Every file of rules that pages hand out has the form of Prometheus; what pages show is theirs."""

from __future__ import annotations

import re

import pytest

from .rule_files import handed_out, pages_with, rule_text, rules

FILES = handed_out()
SHOWN = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def test_there_are_some() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("name", FILES)
def test_rules_have_the_form_of_prometheus(name: str) -> None:
    for rule in rules(name):
        if "record" in rule:
            assert rule.keys() == {"record", "expr"}
            assert re.fullmatch(r"[a-zA-Z_:][\w:]*", rule["record"])
        else:
            assert rule.keys() - {"for"} == {"alert", "expr", "labels", "annotations"}
            assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_files_that_are_loaded_together_record_one_thing_under_one_name(engine: str) -> None:
    other = "-sglang" if engine == "vllm" else "-vllm"
    found: dict[str, set[str]] = {}
    for name in FILES:
        for rule in rules(name) if not name.endswith(other) else []:
            if "record" in rule:
                found.setdefault(rule["record"], set()).add(" ".join(rule["expr"].split()))
    assert {name: told for name, told in found.items() if len(told) > 1} == {}


@pytest.mark.parametrize("name", FILES)
def test_a_page_hands_it_out_and_shows_rules_as_they_are(name: str) -> None:
    pages = pages_with(name)
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        own = [rule_text(one) for one in FILES if f"downloads/{one}.yaml)" in text]
        shown = [block for block in SHOWN.findall(text) if "expr:" in block]
        assert all(any(block in one for one in own) for block in shown), page.name
