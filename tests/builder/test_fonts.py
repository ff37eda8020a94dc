"""The formula font holds what formulas use, and what a browser shows for a letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from author import fonts
from builder import ROOT


def test_characters_of_formulas_are_found(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "index.html").write_text("<p>é</p><math><mi>x</mi> &lt;</math>", encoding="utf-8")
    page = "<math>\n<mi>ρ</mi>\u2061\ufe00</math>é<math display='block'><mn>1</mn></math>"
    (tmp_path / "part" / "index.html").write_text(page, encoding="utf-8")
    (tmp_path / "note.txt").write_text("<math>z</math>", encoding="utf-8")
    assert fonts.used_characters(tmp_path) == {"𝑥", "<", "𝜌", "1"}


@pytest.mark.parametrize(
    ("char", "shown"),
    [
        ("x", "𝑥"),
        ("Q", "𝑄"),
        ("h", "ℎ"),
        ("ρ", "𝜌"),
        ("Δ", "𝛥"),
        ("1", "1"),
        ("+", "+"),
        ("é", "é"),
    ],
)
def test_a_letter_is_shown_in_italics(char: str, shown: str) -> None:
    assert fonts._italic(char) == shown


def test_the_font_is_cut_to_what_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<math>⊗</math>", encoding="utf-8")
    monkeypatch.setattr(fonts, "ROOT", tmp_path)
    monkeypatch.setattr(fonts, "FONT", tmp_path / "math.woff2")
    assert fonts.main() == 0
    size = (tmp_path / "math.woff2").stat().st_size
    with TTFont(tmp_path / "math.woff2") as font:
        held = set(map(chr, font.getBestCmap()))
        assert font.flavor == "woff2"
        assert "MATH" in font
        assert "fpgm" not in font  # hints
    assert {"⊗", "x", "𝑥", "𝜌", "∑", "√"} <= held
    assert not held & {"⊕", "é", "ж", "ρ"}
    told = capsys.readouterr().out
    assert told.endswith(f" characters, {size // 1024} KiB\n")
    assert abs(int(told.split()[1]) - len(held)) < 3  # some share a shape, some have none
    assert 20 < size / 1024 < 200


def test_radicals_begin_as_low_as_a_letter_and_are_as_wide_as_one_another() -> None:
    """Chromium hangs the sign from its bar, and keeps room for the widest."""
    with TTFont(fonts.FONT) as font:
        signs = font["MATH"].table.MathVariants
        place = signs.VertGlyphCoverage.glyphs.index(font.getBestCmap()[ord("√")])
        sizes = signs.VertGlyphConstruction[place].MathGlyphVariantRecord
        heights = [font["glyf"][of.VariantGlyph] for of in sizes]
        assert {font["hmtx"][of.VariantGlyph][0] for of in sizes} == {fonts.RADICAL_WIDTH}
        told = [of.AdvanceMeasurement for of in sizes]
        assert told == pytest.approx([shape.yMax - shape.yMin for shape in heights], abs=1)
        assert told == sorted(told)
        assert (sizes[0].VariantGlyph, *told[:2]) == (font.getBestCmap()[ord("√")], *fonts.RADICALS)


def test_without_its_source_the_group_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fonts.importlib.util, "find_spec", lambda _: None)
    assert fonts.main() == 2
    assert "install the font group first" in capsys.readouterr().err


def test_the_font_is_where_pages_look_for_it() -> None:
    assert fonts.FONT == ROOT / "docs" / "assets" / "stix-two-math.woff2"
    assert fonts.FONT.is_file()


@pytest.mark.parametrize("name", fonts.FACES)
def test_the_text_faces_hold_latin_text_in_little(name: str) -> None:
    file = fonts.TEXT / f"{name}.woff2"
    wanted = fonts.LATIN[:95] if name == "serif-italic" else fonts.LATIN
    with TTFont(file) as font:
        assert not {char for char in wanted if ord(char) not in font.getBestCmap()}
        assert "fpgm" not in font
        assert {str(record) for record in font["name"].names if record.nameID in (1, 4)} == {
            f"Book-{name.title()}"
        }
    assert file.stat().st_size < fonts.LARGEST
    assert "SIL OPEN FONT LICENSE" in (fonts.TEXT / "OFL.txt").read_text(encoding="utf-8").upper()
