"""Every file of rules that pages hand out has the form of Prometheus; what pages show is theirs."""

from __future__ import annotations

import math
import re

import pytest

from builder import ROOT

from .rule_files import METRICS, handed_out, named, pages_with, rule_text, rules

FILES = handed_out()
SHOWN = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
IN_WORDS = re.compile(r"(?<![\w.\-:])\d[\d,]*(?:\.\d+)?(?!\w)")
IN_RULES = re.compile(r"(?<![\d.])\d+(?:\.\d+)?")
IN_NO_RULE: dict[
    str, set[float]
] = {  # of the comments: names, statuses, and what tests of these files hold
    "arrival-rates": {3.1, 15},
    "backfill": {1.2, 3.1, 99},
    "batch-night": {456},
    "burn-rate-alerts": {1.1, 9, 15, 39, 50, 200, 429},
    "engine-load": {0.04, 0.06, 0.5, 50},
    "joint-promise": {0.5},
    "mixture": {13_000},
    "percentile-worth": {95},
    "plan-holds": {1.2, 3.1, 211, 1154},
    "release": {0.2, 1.05, 1.25, 5.2},
    "service-law": {0.5, 50},
    "step-time": {0.32, 3.1, 2000},
    "streams": {0.5, 20, 50, 200},
    "tail-latency": {1.2},
}
RELEASES = {0.16, 2025}  # from which a metric is there


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
def test_files_that_are_loaded_together_say_one_thing_under_one_name(engine: str) -> None:
    """And alerts, by whose names pages are routed and silenced, each have their own."""
    other = "-sglang" if engine == "vllm" else "-vllm"
    found: dict[str, set[str]] = {}
    for name in FILES:
        for rule in rules(name) if not name.endswith(other) else []:
            told = " ".join(rule["expr"].split()) if "record" in rule else name
            found.setdefault(named(rule), set()).add(told)
    assert {name: told for name, told in found.items() if len(told) > 1} == {}


@pytest.mark.parametrize("engine", list(METRICS))
def test_every_metric_that_is_named_is_one_of_the_engine(engine: str) -> None:
    """Of another there is no series: an alert is silent for ever, and a panel is empty."""
    levels, counters, histograms = (names.split() for names in METRICS[engine])
    known = {*levels, *(f"{name}_total" for name in counters)}
    known |= {name + end for name in histograms for end in ("", "_bucket", "_sum", "_count")}
    files = [file for end in ("md", "yaml") for file in (ROOT / "docs").rglob(f"*.{end}")]
    named_there = {
        name
        for file in files
        for name in re.findall(rf"\b{engine}:(\w*[a-z0-9])", file.read_text("utf-8"))
    }
    assert len(named_there) > 20
    assert named_there - known == set()


def test_a_query_of_a_page_is_one_as_it_is_copied() -> None:
    """Its lines end in open brackets or at an operator; Prometheus refuses two in one field."""
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")]
    queries = [text for page in pages for text in re.findall(r"```promql\n(.*?)```", page, re.S)]
    assert len(queries) > 3
    for query in queries:
        lines = query.strip().splitlines()
        for at, after in enumerate(lines[1:], 1):
            before = " ".join(lines[:at])
            inside = before.count("(") > before.count(")")
            goes_on = re.match(r"[-+*/]|(?:and|or|unless)\b", after)
            assert inside or re.search(r"[-+*/]$", before) or goes_on


@pytest.mark.parametrize("name", FILES)
def test_who_takes_engines_by_their_address_says_of_which(name: str) -> None:
    """Other engines are held to numbers that are not theirs, and two clusters may each have one at
    10.0.0.1:8000, whose requests are added."""
    if any("by (instance)" in rule["expr"] for rule in rules(name)):
        assert re.search(r"by a label in every selector|in every metric", rule_text(name))


@pytest.mark.parametrize("name", FILES)
def test_summaries_round_what_they_tell(name: str) -> None:
    told = [rule["annotations"]["summary"] for rule in rules(name) if "alert" in rule]
    assert all("{{ $value }}" not in one for one in told)


@pytest.mark.parametrize("name", FILES)
def test_what_vllm_counts_otherwise_stands_in_the_head(name: str) -> None:
    """An engine for prompts tells a first token of each request too; an answer of one token has a
    time per token of 0."""
    text = " ".join(rule_text(name).replace("#", "").split())
    asked = [" ".join(rule["expr"].split()) for rule in rules(name)]
    firsts = r"vllm:time_to_first_token_seconds_(?:bucket|count)(?!\S*version=)"
    over_all = rf"sum(?: by \((?!instance)[\w, ]+\))? ?\(rate\({firsts}"
    if any(re.search(over_all, one) for one in asked):
        assert "Where prompts have engines of their own, both count a request" in text
    if any("vllm:request_time_per_output_token_seconds" in one for one in asked):
        assert re.search(r"of (?:one|a single) token ", text)


@pytest.mark.parametrize("name", FILES)
def test_comments_name_the_numbers_of_the_rules(name: str) -> None:
    """As they stand there, in thousandths, in hundredths, or what is left of one."""
    lines = rule_text(name).splitlines()
    comments = "\n".join(line for line in lines if line.lstrip().startswith("#"))
    others = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    told = [float(found[0].replace(",", "")) for found in IN_WORDS.finditer(comments)]
    there = [float(found[0]) for found in IN_RULES.finditer(others)]
    elsewhere = IN_NO_RULE.get(re.sub("-(vllm|sglang)$", "", name), set()) | RELEASES
    for number in told:
        forms = (number, number / 1000, number / 100, 1 - number, 1 - number / 100)
        known = any(math.isclose(form, one, rel_tol=1e-6) for form in forms for one in there)
        assert known or number in elsewhere, f"{number:g} is in no rule of {name}"


@pytest.mark.parametrize("name", FILES)
def test_a_page_hands_it_out_and_shows_rules_as_they_are(name: str) -> None:
    pages = pages_with(name)
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        own = [rule_text(one) for one in FILES if f"downloads/{one}.yaml)" in text]
        shown = [block for block in SHOWN.findall(text) if "expr:" in block]
        assert all(any(block in one for one in own) for block in shown), page.name


def test_who_takes_other_places_is_told_of_every_file_that_has_them() -> None:
    """But for a night's, whose engines have places of their own."""
    page = (ROOT / "docs/capacity/overload-control.md").read_text(encoding="utf-8")
    told = re.search(r"^With other places, change them in the rules of .*$", page, re.MULTILINE)
    assert told
    placed = [name for name in FILES if "256" in IN_RULES.findall(rule_text(name))]
    for name in placed:
        slugs = [one.stem for one in pages_with(name)]
        assert name.startswith("batch-night") or f"/{slugs[0]}.md#" in told[0].replace("(", "/")
    assert len(placed) == 8
