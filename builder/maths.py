"""TeX to MathML when the page is rendered: `pymdownx.arithmatex` finds the formulas, `math-core`
converts them.
"""

from __future__ import annotations

import html
import re

from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor
from math_core import LatexError, LatexToMathML

from builder import BuildError

_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>([.,;:!?)]*)', re.DOTALL
)


def to_mathml(tex: str, *, display: bool) -> str:
    """One formula as MathML Core. Raises BuildError with the formula and what is wrong in it."""
    try:
        mathml: str = LatexToMathML().convert_with_local_state(tex.strip(), displaystyle=display)
    except LatexError as problem:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", str(problem)).strip().splitlines()[0]
        raise BuildError(f"formula {tex.strip()!r}: {reason}") from problem
    return mathml


class MathML(Extension, Postprocessor):
    """Replaces the output of arithmatex's generic mode by MathML.

    A formula that cannot be converted is shown as an error and noted in `problems`.
    """

    def __init__(self) -> None:
        """With no formula seen yet."""
        super().__init__()
        self.problems: list[str] = []

    def extendMarkdown(self, md: Markdown) -> None:
        """Run after everything else has put its HTML in place."""
        md.postprocessors.register(self, "mathml", -10)

    def run(self, text: str) -> str:
        """The HTML of a page with its formulas."""
        return _FORMULA.sub(self._converted, text)

    def _converted(self, formula: re.Match[str]) -> str:
        display = formula[1] == "div"
        try:
            mathml = to_mathml(html.unescape(formula[2]), display=display)
        except BuildError as problem:
            self.problems.append(str(problem))
            mathml = f'<span class="build-error" role="alert">{html.escape(str(problem))}</span>'
        if display:
            return f'<div class="formula" tabindex="0">{mathml}</div>'
        end = formula[3]
        return f'<span class="inline-formula">{mathml}{end}</span>' if end else mathml


def makeExtension(**_: object) -> MathML:
    """The extension `builder.maths` of a Markdown configuration."""
    return MathML()
