"""What the search knows beside the words of a section: the titles below a page, the terms of the
glossary that lead to it, and the names and weights of `search.yml`.

It is written into the index of the theme, beside the worker that reads it: `search-worker.js`,
which stands around the theme's own.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from builder.pages import Term, folder_of
from builder.storage import write_whole

INDEX, WORKER = "search/search_index.json", "search/worker.js"
_HERE = Path(__file__).parent


def table() -> dict[str, Any]:
    """`search.yml`."""
    return dict(yaml.safe_load((_HERE / "search.yml").read_text(encoding="utf-8")))


def write(site: Path, terms: Iterable[Term]) -> None:
    """Complete the index of a built site with the terms of the glossary. Raises OSError."""
    told = completed(json.loads((site / INDEX).read_bytes()), table(), terms)
    write_whole(site / INDEX, json.dumps(told, separators=(",", ":")).encode())
    write_whole(site / WORKER, (_HERE / "search-worker.js").read_bytes())


def completed(
    index: Mapping[str, Any], told: Mapping[str, Any], terms: Iterable[Term]
) -> dict[str, Any]:
    """The index with other names of pages and sections, their weights, and how words are read.

    told: the table. terms: of the glossary.
    """
    names = defaultdict[str, list[str]](list)
    links = [(term.name, folder_of(page), part) for term in terms for page, part in term.links]
    also = [(words, f"{page}/", "") for page, words in told["also"].items()]
    for term, page, part in links + also:
        for place in {page, page + part}:
            names[place].append(term)
    for entry in index["docs"]:
        page, _, part = entry["location"].partition("#")
        if part:
            names[page].append(re.sub(r"<[^>]*>", "", entry["title"]))
    return {
        "config": index["config"]
        | {
            "separator": told["separator"],
            "pipeline": ["stopWordFilter", "stemmer"],
            "fields": {name: {"boost": boost} for name, boost in told["fields"].items()},
            "table": {
                "stop": told["stop"].split(),
                "same": [[name, *others] for name, others in told["same"].items()],
            },
        },
        "docs": [
            entry | {"words": ", ".join(names[place]), "boost": _weight(entry, told)}
            for entry in index["docs"]
            for place in [entry["location"]]
        ],
    }


def _weight(entry: Mapping[str, Any], told: Mapping[str, Any]) -> float:
    page, _, part = entry["location"].partition("#")
    path = page.strip("/")
    usual = told["boost"]["a chapter" if "/" in path else "another page"]
    of_page: float = entry.get("boost", told["boost"].get(path, usual))
    return of_page * float(told["sections"].get(part, 1))
