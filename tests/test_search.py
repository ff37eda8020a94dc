"""The search finds what people ask for: two hundred questions, asked of the code and the
index that the site ships, in a browser. Run with `-rP` to see where each was found.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser

from builder import ROOT
from builder.pages import Term
from builder.search_index import completed, table

QUESTIONS: dict[str, dict[str, list[str]]] = yaml.safe_load(
    (ROOT / "tests" / "questions.yml").read_text(encoding="utf-8")
)
ASK = """async (questions) => {
    const config = JSON.parse(document.getElementById("__config").textContent);
    const name = config.search.split("/").pop();
    const index = await (await fetch("search/search_index.json")).json();
    const worker = new Worker(`search/worker.js?${name}`);
    const told = (message) => new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data.data);
        worker.postMessage(message);
    });
    await told({ type: 0, data: { ...index, options: { suggest: true } } });
    const answers = {};
    for (const question of questions) {
        const { items, ...others } = await told({ type: 2, data: question });
        const broken = [];
        let marks = 0;
        for (const text of items.flat().flatMap(({ title, text }) => [title, text])) {
            const plain = text.replace(/<mark>([^<>]*)<\\/mark>/g, "$1");
            marks += (text.length - plain.length) / "<mark></mark>".length;
            if (/mark>|<mar/.test(plain)) broken.push(plain);
        }
        const few = ({ location, score, terms }) => ({ location, score, terms });
        answers[question] = { ...others, items: items.map((all) => all.map(few)), marks, broken };
    }
    worker.terminate();
    return JSON.stringify(answers); // which takes a tenth of what the driver does with objects
}"""  # without the texts, which are megabytes, but with what is marked in them
PIECES = {  # what is typed, and the words of it that the first page has and has not
    "quantiza": (["quantiza"], []),
    "memor": (["memor"], []),
    "batched requests": (["batched", "requests"], []),
    "utilisation": (["utilisation"], []),
    "how many GPUs": (["gpus"], []),
    "--max-num-batched-tokens": (["max-num-batched-tokens"], []),
    "max_num_batched": (["max_num_batched"], []),
    "queueing xylophone": (["queueing"], ["xylophone"]),
    "M/M/c": (["m/m/c"], []),
    "Little's law": (["little", "law"], []),
}
SIGNS = ["+hedged +delay", "queue -zzz", '"token bucket"', "title:caching", "hedg*", "cachin~1"]
NOTHING = ["", " ", "-", "--", "/ . _", "xylophone", "λ" * 5000, "🂡", "a^", "~", "\\", "<>", "*"]


def answers(browser: Browser, origin: str, questions: list[str]) -> dict[str, Any]:
    page = browser.new_page()
    page.goto(origin)
    found: dict[str, Any] = json.loads(page.evaluate(ASK, questions))
    page.close()
    return found


@pytest.fixture(scope="module")
def found(browser: Browser, origin: str) -> dict[str, Any]:
    """What the search answers to everything that is asked here."""
    asked = [question for part in QUESTIONS.values() for question in part]
    return answers(browser, origin, [*asked, *PIECES, *SIGNS, *NOTHING])


def pages(answer: Any) -> list[str]:
    """The pages that were found, the best one first."""
    return [items[0]["location"].partition("#")[0].rstrip("/") for items in answer["items"]]


@pytest.mark.parametrize("part", QUESTIONS)
def test_nine_of_ten_questions_find_their_page_first(part: str, found: dict[str, Any]) -> None:
    places = {}
    for question, right in QUESTIONS[part].items():
        listed = pages(found[question])
        places[question] = next((n for n, page in enumerate(listed, 1) if page in right), None)
        print(f"{places[question]!s:>4}  {question:45} {', '.join(listed[:2])}")
    first = sum(place == 1 for place in places.values())
    print(f"{part}: {first} of {len(places)} first")
    assert first >= 0.9 * len(places), places
    assert None not in places.values(), places


def test_the_questions_are_of_pages_that_are_there() -> None:
    assert [len(part) for part in QUESTIONS.values()] == [74, 20, 16, 53, 25, 25]
    right = {page for part in QUESTIONS.values() for pages in part.values() for page in pages}
    told = {page for page in (*table()["also"], *table()["boost"]) if page and " " not in page}
    parts = {path.parent.name for path in (ROOT / "docs").glob("*/index.md")}
    there = {str(path.relative_to(ROOT / "docs"))[:-3] for path in (ROOT / "docs").rglob("*.md")}
    assert right | told <= there | parts


@pytest.mark.parametrize("typed", PIECES)
def test_a_word_is_found_in_any_form_and_told_as_it_was_typed(
    typed: str, found: dict[str, Any]
) -> None:
    best = max(found[typed]["items"][0], key=lambda item: item["score"])
    there, missing = PIECES[typed]
    assert best["terms"] == dict.fromkeys(there, True) | dict.fromkeys(missing, False)


def test_a_word_that_is_found_in_two_forms_is_marked_whole(found: dict[str, Any]) -> None:
    assert not {asked: answer["broken"] for asked, answer in found.items() if answer["broken"]}
    assert sum(answer["marks"] for answer in found.values()) > 1000


def test_signs_of_a_search_are_obeyed(found: dict[str, Any]) -> None:
    for typed in SIGNS:
        assert found[typed]["items"], typed
    for items in found["+hedged +delay"]["items"]:
        assert any(len(item["terms"]) == 2 for item in items)


def test_what_is_no_question_finds_nothing_and_breaks_nothing(found: dict[str, Any]) -> None:
    for typed in NOTHING:
        assert found[typed]["items"] == [], typed


def test_words_are_completed_with_words(found: dict[str, Any]) -> None:
    assert "quantization" in found["quantiza"]["suggest"]
    assert "quantiz" not in found["quantiza"]["suggest"]


def test_the_index_is_completed_from_titles_terms_and_the_table() -> None:
    index = {
        "config": {"lang": ["en"]},
        "docs": [
            {"location": "a/b/", "title": "B", "text": ""},
            {"location": "a/b/#c", "title": "<code>c</code> law", "text": ""},
            {"location": "a/b/#checks", "title": "Checks", "text": ""},
            {"location": "d/", "title": "D", "text": "", "boost": 0.25},
            {"location": "", "title": "Home", "text": ""},
        ],
    }
    told = table() | {
        "also": {"a/b": "bee"},
        "boost": {"a chapter": 1, "another page": 0.5},
        "sections": {"checks": 0.2},
    }
    term = Term("term", "glossary.md#term", (("a/b.md", "#c"), ("d.md", "")))
    made = completed(index, told, [term])
    assert made["config"]["lang"] == ["en"]
    assert [(entry["words"], entry["boost"]) for entry in made["docs"]] == [
        ("term, bee, c law, Checks", 1),
        ("term", 1),
        ("", 0.2),
        ("term", 0.25),
        ("", 0.5),
    ]
