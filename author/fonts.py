"""Cut the fonts to what the pages use: `python -m author.fonts`, then commit the result.

Formulas: STIX Two Math, taken from the package `ziamath`; without hints and without the shapes
drawn for small indices it weighs a third, and it gets radicals for a line of text. A contract test
fails when a page uses a character that the cut font lacks; this command, run after `make build`,
mends it.

Text: Source Serif 4 and Inter, in the weights in use, each file small enough to come in one flight
of packets, from the packages of npm that `FACES` names;
`python -m author.fonts FOLDER` cuts them from a folder with both packages, unpacked
(`npm install --prefix FOLDER @fontsource-variable/source-serif-4 @fontsource-variable/inter`).
All are under the SIL Open Font License 1.1, whose text is beside them in docs/assets/fonts/.
"""

from __future__ import annotations

import copy
import html
import importlib.util
import io
import re
import string
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder import ROOT

FONT = ROOT / "docs" / "assets" / "stix-two-math.woff2"
TEXT = ROOT / "docs" / "assets" / "fonts"
FACES = {  # file, the one that it is cut from, and its weights
    "serif": ("source-serif-4/files/source-serif-4-latin-wght-normal", 400),
    "serif-bold": ("source-serif-4/files/source-serif-4-latin-wght-normal", 600),
    "serif-italic": ("source-serif-4/files/source-serif-4-latin-wght-italic", 400),
    "sans": ("inter/files/inter-latin-wght-normal", (400, 700)),
}
_UPRIGHT = ["kern", "liga", "tnum", "lnum"]
FEATURES = {"serif": _UPRIGHT, "serif-bold": _UPRIGHT, "serif-italic": [], "sans": ["tnum"]}
LARGEST = 14_000  # bytes: more than a first flight of packets holds takes one more round trip
LATIN = string.printable.strip() + " \u00a0±²³·¹½×öéüøáóÜ–—‘’“”…−′"
RADICALS, RADICAL_WIDTH = (720, 960), 640  # over n, and over what has an ascender or a descender
_MATH = re.compile(r"<math.*?</math>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_LETTER = re.compile(r"<mi>(\w)</mi>")
_BASE = (
    string.ascii_letters + string.digits + "ΓΔΘΛΞΠΣΦΨΩ" + "+−=<>≤≥≈≠±×·/|()[]{}⌈⌉⌊⌋,.:;!%′∞∑∏∫√∂∝∼→"
)
_ITALIC = string.ascii_letters + "αβγδεζηθικλμνξπρστυφχψωϕϵ"  # as a browser shows them


def _shapeless(char: str) -> bool:
    """True for what changes the character before it and has no shape of its own."""
    return unicodedata.category(char) == "Cf" or "\N{VARIATION SELECTOR-1}" <= char <= "\ufe0f"


def used_characters(site: Path) -> set[str]:
    """Every character that a browser shows inside the formulas of a built site."""
    found: set[str] = set()
    for page in site.rglob("*.html"):
        for formula in _MATH.findall(page.read_text(encoding="utf-8")):
            shown = _LETTER.sub(lambda match: _italic(match[1]), formula)
            found.update(html.unescape(_TAG.sub("", shown)))
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


def fit_radicals(font: Any) -> None:
    """Put radicals as low as a letter before those of the font, and make all equally wide.

    A browser hangs the sign from its bar, which stands over the radicand (MathML Core, 3.3.3): one
    that is taller hangs below the line. And it keeps room for the widest of them.
    """
    glyphs, widths = font["glyf"], font["hmtx"].metrics
    math = font["MATH"].table
    name = font.getBestCmap()[ord("√")]
    signs = math.MathVariants
    sign = signs.VertGlyphConstruction[signs.VertGlyphCoverage.glyphs.index(name)]
    whole, records = glyphs[name], sign.MathGlyphVariantRecord
    math.MathConstants.RadicalVerticalGap.Value = 135
    bar = whole.yMax - math.MathConstants.RadicalRuleThickness.Value
    shapes: dict[str, Any] = {}
    lowest = min(RADICALS) / (whole.yMax - whole.yMin)
    for height in (*RADICALS, whole.yMax - whole.yMin):
        shape = shapes[f"{name}.{height}" if shapes else name] = copy.deepcopy(whole)
        below = (height - whole.yMax + bar) / (bar - whole.yMin)  # the bar is as thick in all
        for place, (x, y) in enumerate(shape.coordinates):
            y = max(y, bar) - bar + (min(y, bar) - whole.yMin) * below + whole.yMin * lowest
            shape.coordinates[place] = (x, round(y))
    sign.MathGlyphVariantRecord = [*map(copy.copy, records[:1] * len(shapes)), *records[1:]]
    for record, (of, shape) in zip(sign.MathGlyphVariantRecord, shapes.items(), strict=False):
        widths[of], glyphs[of] = widths[name], shape
        record.VariantGlyph = of
        record.AdvanceMeasurement = round(
            max(y for _, y in shape.coordinates) - whole.yMin * lowest
        )
    records = [record.VariantGlyph for record in sign.MathGlyphVariantRecord]
    for of in dict.fromkeys(records + [part.glyph for part in sign.GlyphAssembly.PartRecords]):
        wide = RADICAL_WIDTH / widths[of][0]
        shape = glyphs[of]
        shape.coordinates.scale((wide, 1))
        shape.coordinates.toInt()
        shape.recalcBounds(glyphs)
        widths[of] = (RADICAL_WIDTH, shape.xMin)


def cut_text(packages: Path) -> None:
    """Write the text faces. packages: the folder `@fontsource-variable` of npm's packages."""
    from fontTools import subset
    from fontTools.ttLib import TTFont
    from fontTools.varLib import instancer

    options = subset.Options(flavor="woff2", notdef_outline=True, hinting=False)
    for name, (source, weights) in FACES.items():
        font = instancer.instantiateVariableFont(
            TTFont(packages / f"{source}.woff2"), {"wght": weights}
        )
        font.flavor, plain = None, io.BytesIO()
        font.save(plain)  # what was read lazily is whole then
        font = TTFont(plain)
        options.layout_features = FEATURES[name]
        cutter = subset.Subsetter(options)
        cutter.populate(text=LATIN[:95] + "’–é" if name == "serif-italic" else LATIN)
        cutter.subset(font)
        for record in font["name"].names:
            if record.nameID in (1, 3, 4, 6, 16, 25):  # a reserved name is not for what was changed
                record.string = f"Book-{name.title()}"
        file = TEXT / f"{name}.woff2"
        subset.save_font(font, str(file), options)
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1024} KiB")


def main(arguments: Sequence[str] = ()) -> int:
    """Write the cut font of formulas, or the text faces of a folder; exit status 0."""
    from fontTools import subset

    if arguments:
        cut_text(Path(arguments[0]) / "node_modules" / "@fontsource-variable")
        return 0
    spec = importlib.util.find_spec("ziamath")
    if spec is None or spec.origin is None:
        print("install the font group first: pip install .[font]", file=sys.stderr)
        return 2
    source = Path(spec.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    characters = used_characters(ROOT / "site") | set(_BASE)
    characters |= {_italic(char) for char in _ITALIC}
    options = subset.Options(
        flavor="woff2", layout_features=["math"], notdef_outline=True, hinting=False
    )
    with subset.load_font(str(source), options) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(unicodes=[ord(char) for char in characters])
        cutter.subset(font)
        fit_radicals(font)
        subset.save_font(font, str(FONT), options)
    print(
        f"{FONT.relative_to(ROOT)}: {len(characters)} characters, {FONT.stat().st_size // 1024} KiB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
