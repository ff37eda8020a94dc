"""Finished HTML for the pages, by the macros of `markup.html`; Markdown by those of `lists.md`."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from jinja2 import Environment, FileSystemLoader
from markdown.extensions.toc import slugify
from markupsafe import Markup, escape
from serving_mathematics.support.checks import Kind
from serving_mathematics.support.digits import one_of_many

from builder import PACKAGE, SOURCES

HERE = FileSystemLoader(Path(__file__).parent)  # where the templates are
KINDS = get_args(Kind)  # of comparisons


def block(*pieces: str) -> str:
    """Finished HTML between blank lines, each piece in a line of its own.

    pieces: elements that Markdown leaves alone, such as `<p>`, `<div>` or `<details>`.
    """
    return "\n" + "\n\n".join(pieces) + "\n"


def markup(name: str, *given: object) -> str:
    """Finished HTML in one line, by a macro of `markup.html`."""
    return re.sub(r"\n\s*", "", getattr(_macros(), name)(*given))


@functools.cache
def _macros() -> Any:
    there = Environment(loader=HERE, autoescape=True, finalize=_in_a_line)
    there.filters |= {"inline": inline, "anchor": _anchor, "breaking": _breaking}
    there.filters["one_of_many"] = one_of_many
    there.filters["longest"] = functools.partial(max, key=len)
    there.globals |= {"KINDS": KINDS, "PACKAGE": PACKAGE, "compared": compared, "slugify": slugify}
    there.globals |= {"figure_address": figure_address, "slider_address": slider_address}
    return there.get_template("markup.html").module


def listed(name: str, *given: object) -> str:
    """Markdown, by a macro of `lists.md`."""
    return str(getattr(_lists(), name)(*given))


@functools.cache
def _lists() -> Any:
    there = Environment(loader=HERE, trim_blocks=True)
    return there.get_template("lists.md").module


def _in_a_line(value: object) -> Markup:
    """What stands in a template's place: a value is text, whose lines are not those of the page."""
    if isinstance(value, Markup):
        return value
    return escape(value).replace("\n", Markup("&#10;"))


def inline(text: str) -> Markup:
    """A docstring sentence as HTML: escaped, with `code` and *emphasis* marked."""
    coded = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    marked = re.sub(r"(?<![\w*])\*(\w[^*<]*)\*(?![\w*])", r"<em>\1</em>", coded)
    return Markup(marked.replace("\n", "&#10;"))


def _anchor(name: str, kind: str) -> str:
    """The id of something on its chapter's page."""
    return f"{kind}-{name}".replace("_", "-")


def _breaking(path: str) -> Markup:
    """The path of a module in the package, which may be broken at its folders."""
    return Markup(path.removeprefix(f"{SOURCES}/").replace("/", "/<wbr>"))


def compared(row: Mapping[str, Any]) -> list[str]:
    """What a row of the checks shows: where something holds, that it does, and by what."""
    expected, got = row["expected"], row["got"]
    if expected == "true" and row["passed"] and got != expected:
        got = f"true: {got}"
    if expected in ("True", "False"):
        expected, got = expected.lower(), got.lower()
    return [row["label"], expected, got, row["tolerance"]]


def figure_address(run_name: str, figure_name: str, variant: str) -> str:
    """Where a figure lies in the site."""
    return f"figures/{run_name.replace('.', '/')}/{figure_name}-{variant}.svg"


def slider_address(run_name: str, slider_name: str) -> str:
    """Where the numbers of a slider lie in the site."""
    return f"figures/{run_name.replace('.', '/')}/{slider_name}.json"
