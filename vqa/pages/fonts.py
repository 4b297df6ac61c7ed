"""Free fonts from packages, letter by letter, some of them kept for the test split alone.

Roboto and Caladea are under Apache 2.0, all others under the SIL Open Font License 1.1; Pillow's
own font, Aileron, is in the public domain. Letters are drawn once and then copied: a page has some
thousand of them, and a variable font takes a millisecond for a line.
"""

import os
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vqa.datasets import DataError
from vqa.font_packages import folders

GRAINS = ("smooth", "hard", "dots")
"""Edges of many greys, of two, or letters made of dots."""
SOURCES = ("packages", "builtin")


class Family(NamedTuple):
    """A typeface: a file or a weight of a variable file, and its bold."""

    package: str
    regular: str
    bold: str
    mono: bool = False


def _variable(package: str, file: str, mono: bool = False) -> Family:
    return Family(package, f"{file}@400", f"{file}@700", mono)


LEARN = (
    Family("font_roboto", "Roboto-Regular.ttf", "Roboto-Bold.ttf"),
    Family("font_source_sans_pro", "SourceSansPro-Regular.ttf", "SourceSansPro-Bold.ttf"),
    Family("font_source_serif_pro", "SourceSerifPro-Regular.ttf", "SourceSerifPro-Bold.ttf"),
    Family("font_lato", "Lato-Regular.ttf", "Lato-Bold.ttf"),
    _variable("fontpkg_arimo", "Arimo[wght].ttf"),
    _variable("fontpkg_open_sans", "OpenSans[wdth,wght].ttf"),
    _variable("fontpkg_archivo_narrow", "ArchivoNarrow[wght].ttf"),
    Family(
        "fontpkg_pt_sans_narrow", "PT_Sans-Narrow-Web-Regular.ttf", "PT_Sans-Narrow-Web-Bold.ttf"
    ),
    Family("fontpkg_pt_serif", "PT_Serif-Web-Regular.ttf", "PT_Serif-Web-Bold.ttf"),
    _variable("fontpkg_inconsolata", "Inconsolata[wdth,wght].ttf", mono=True),
    Family("fontpkg_ibm_plex_mono", "IBMPlexMono-Regular.ttf", "IBMPlexMono-Bold.ttf", mono=True),
    _variable("fontpkg_roboto_mono", "RobotoMono[wght].ttf", mono=True),
    _variable("fontpkg_source_code_pro", "SourceCodePro[wght].ttf", mono=True),
    _variable("fontpkg_jetbrains_mono", "JetBrainsMono[wght].ttf", mono=True),
)
HELD_OUT = (
    Family("font_hanken_grotesk", "HankenGrotesk-Medium.otf", "HankenGrotesk-Bold.otf"),
    Family("font_manrope", "Manrope-Medium.ttf", "Manrope-Bold.ttf"),
    Family("font_caladea", "Caladea-Regular.ttf", "Caladea-Bold.ttf"),
    _variable("fontpkg_roboto_condensed", "RobotoCondensed[wght].ttf"),
    _variable("fontpkg_geist_mono", "GeistMono[wght].ttf", mono=True),
    Family("fontpkg_dm_mono", "DMMono-Regular.ttf", "DMMono-Medium.ttf", mono=True),
)
BUILTIN = (Family("", "", ""),)


class Face(NamedTuple):
    """A family at one weight and size."""

    file: str
    """Its path, with @ and the weight of a variable font; empty for Pillow's own."""
    size: int
    """Pixels an em."""
    grain: str = "smooth"
    wide: bool = False


class Glyph(NamedTuple):
    """A letter: `ink` is uint8 [h, w], its corner `left` and `top` of the place on the line."""

    ink: np.ndarray
    left: int
    top: int


class Letters:
    """The letters of a face, each drawn when first needed."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.font = _font(face.file, face.size // 2 if face.grain == "dots" else face.size)
        self.factor = 2 if face.grain == "dots" else 1
        self.glyphs: dict[str, Glyph | None] = {}
        self.advances: dict[str, int] = {}

    def advance(self, letter: str) -> int:
        """Pixels to the next letter."""
        found = self.advances.get(letter)
        if found is None:
            found = max(1, round(self.font.getlength(letter)))
            reach = round(self.font.getbbox(letter, anchor="ls")[2])
            if reach > 1.5 * found:  # some fonts say too little of signs they hardly know
                found = reach
            found *= self.factor
            found = self.advances[letter] = found * (2 if self.face.wide else 1)
        return found

    def glyph(self, letter: str) -> Glyph | None:
        """None where there is no ink."""
        if letter not in self.glyphs:
            self.glyphs[letter] = self._draw(letter)
        return self.glyphs[letter]

    def _draw(self, letter: str) -> Glyph | None:
        box = self.font.getbbox(letter, anchor="ls")
        left, top, right, bottom = (round(edge) for edge in box)
        if right <= left or bottom <= top:
            return None
        image = Image.new("L", (right - left + 2, bottom - top + 2))
        pencil = ImageDraw.Draw(image)
        pencil.fontmode = "L" if self.face.grain == "smooth" else "1"
        pencil.text((1 - left, 1 - top), letter, 255, self.font, anchor="ls")
        ink = np.asarray(image)
        if not ink.any():
            return None
        left, top = left - 1, top - 1
        if self.face.grain == "dots":
            ink = np.kron(ink // 255, _DOT)
            left, top = 2 * left, 2 * top
        if self.face.wide:
            ink, left = ink.repeat(2, axis=1), 2 * left
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Glyph(np.ascontiguousarray(ink), left + int(columns[0]), top + int(rows[0]))


_DOT = np.array([[255, 190], [190, 90]], np.uint8)


@lru_cache(maxsize=384)
def letters(face: Face) -> Letters:
    """The letters of a face, kept for the next page."""
    return Letters(face)


def families(source: str, held_out: bool) -> tuple[Family, ...]:
    """The families of a split, with paths for files. Raises DataError where a package is missing.

    `builtin` is one font for every split.
    """
    if source not in SOURCES:
        raise DataError(f"fonts cannot be {source!r}; choose {' or '.join(SOURCES)}")
    if source == "builtin":
        return BUILTIN
    chosen = HELD_OUT if held_out else LEARN
    found = folders("pages", (family.package for family in chosen))
    return tuple(
        family._replace(
            regular=os.path.join(found[family.package], family.regular),
            bold=os.path.join(found[family.package], family.bold),
        )
        for family in chosen
    )


def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    if not file:
        return ImageFont.load_default(size)  # type: ignore[return-value]
    path, _, weight = file.partition("@")
    # The basic engine is in every Pillow; Raqm is not, and sets letters differently.
    font = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    if weight:
        axes = font.get_variation_axes()
        named = [axis["name"] == b"Weight" for axis in axes]
        font.set_variation_by_axes(
            [
                float(weight) if own else float(axis["default"] or 0)
                for own, axis in zip(named, axes, strict=True)
            ]
        )
    return font
