"""Cut the formula font to what the formulas use: `python -m author.fonts`, then commit
the result. Without hints and without the shapes drawn for small indices it weighs a third.

The font is STIX Two Math (SIL Open Font License 1.1), taken from the package `ziamath`. A contract
test fails when a page uses a character that the cut font lacks; this command, run after `make
build`, mends it.
"""

from __future__ import annotations

import html
import importlib.util
import re
import string
import sys
import unicodedata
from pathlib import Path

from builder import ROOT

FONT = ROOT / "docs" / "assets" / "stix-two-math.woff2"
_MATH = re.compile(r"<math.*?</math>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_BASE = (
    string.ascii_letters
    + string.digits
    + "αβγδεζηθικλμνξοπρστυφχψωϕϵΓΔΘΛΞΠΣΦΨΩ"
    + "+−=<>≤≥≈≠±×·/|()[]{}⌈⌉⌊⌋,.:;!%′∞∑∏∫√∂∝∼→"
)


def _shapeless(char: str) -> bool:
    """True for what changes the character before it and has no shape of its own."""
    return unicodedata.category(char) == "Cf" or "\N{VARIATION SELECTOR-1}" <= char <= "\ufe0f"


def used_characters(site: Path) -> set[str]:
    """Every character inside a formula of a built site."""
    found: set[str] = set()
    for page in site.rglob("*.html"):
        for formula in _MATH.findall(page.read_text(encoding="utf-8")):
            found.update(html.unescape(_TAG.sub("", formula)))
    return {char for char in found if not (char.isspace() or _shapeless(char))}


def _italic(char: str) -> str:
    """The mathematical italic that a browser shows for a one-letter identifier."""
    if char == "h":
        return "ℎ"
    name = unicodedata.name(char, "")
    for script in ("LATIN ", "GREEK "):
        if name.startswith(script) and ("SMALL LETTER" in name or "CAPITAL LETTER" in name):
            plain = name.removeprefix(script).replace(" LETTER", "")
            try:
                return unicodedata.lookup(f"MATHEMATICAL ITALIC {plain}")
            except KeyError:
                return char
    return char


def main() -> int:
    """Write the cut font; exit status 0."""
    from fontTools import subset

    spec = importlib.util.find_spec("ziamath")
    if spec is None or spec.origin is None:
        print("install the font group first: pip install .[font]", file=sys.stderr)
        return 2
    source = Path(spec.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    characters = used_characters(ROOT / "site") | set(_BASE)
    characters |= {_italic(char) for char in characters}
    options = subset.Options(
        flavor="woff2", layout_features=["math"], notdef_outline=True, hinting=False
    )
    with subset.load_font(str(source), options) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=[ord(char) for char in characters])
        cutter.subset(font)
        subset.save_font(font, str(FONT), options)
    print(
        f"{FONT.relative_to(ROOT)}: {len(characters)} characters, {FONT.stat().st_size // 1024} KiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
