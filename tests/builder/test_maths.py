"""Formulas become MathML when the page is built, and a formula that is wrong is named."""

from __future__ import annotations

import re

import pytest
from markdown import Markdown
from markdown.extensions import Extension

from builder import BuildError
from builder.maths import MathML, to_mathml


def render(text: str, maths: MathML | None = None) -> str:
    extensions: list[str | Extension] = ["pymdownx.arithmatex", "pymdownx.superfences"]
    extensions.append(maths or MathML())
    settings = {"pymdownx.arithmatex": {"generic": True}}
    return Markdown(extensions=extensions, extension_configs=settings).convert(text)


@pytest.mark.parametrize(
    ("tex", "named"),
    [
        (r"\rho / \nocommand", r"formula '\\rho / \\nocommand': "),
        (r"\frac{1}{", r"formula '\\frac{1}{': "),
        (r"\begin{nothing} x \end{nothing}", "formula "),
        ("x^2^3", "formula 'x^2^3': "),
    ],
)
def test_wrong_formula_is_named(tex: str, named: str) -> None:
    with pytest.raises(BuildError) as problem:
        to_mathml(tex, display=False)
    assert str(problem.value).startswith(named)
    assert "\x1b" not in str(problem.value)
    assert "\n" not in str(problem.value)


def test_formula_in_a_line_and_on_its_own() -> None:
    html = render("The load $\\lambda < \\mu$ and\n\n$$\n\\rho = \\frac{a}{c}\n$$\n")
    assert html.count("<math") == 2
    (alone,) = re.findall(r'<div class="formula".*?</div>', html)
    assert "<mfrac" in alone
    assert "&lt;" in html
    assert "arithmatex" not in html


def test_formula_in_code_stays_code() -> None:
    html = render("`$\\nocommand$` and\n\n```\n$\\nocommand$\n```\n")
    assert "<math" not in html
    assert html.count(r"$\nocommand$") == 2


def test_conversion_keeps_no_state() -> None:
    first = to_mathml(r"\newcommand{\load}{\rho} \load", display=False)
    assert "ρ" in first
    with pytest.raises(BuildError):
        to_mathml(r"\load", display=False)


def test_wrong_formula_is_shown_in_its_place_and_noted() -> None:
    maths = MathML()
    html = render("One $\\nocommand$, $x$ and\n\n$$\n<^\n$$\n", maths)
    assert html.count('class="build-error" role="alert">formula') == 2
    assert html.count("<math") == 1
    assert "&lt;^" in html
    assert [problem.split(":")[0] for problem in maths.problems] == [
        "formula '\\\\nocommand'",
        "formula '<^'",
    ]
