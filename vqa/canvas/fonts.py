"""Free fonts from packages, some kept for the test split alone.

Roboto and Caladea are under Apache 2.0; Source Sans Pro, Source Serif Pro, Lato, Hanken Grotesk and
Manrope under the SIL Open Font License 1.1. Pillow's own font, Aileron, is in the public domain.
"""

import os
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vqa.canvas.forms import inked
from vqa.datasets import DataError
from vqa.font_packages import folders

# Nothing lighter than regular: hairlines vanish at 16 pixels.
LEARN = {
    "font_roboto": ("Roboto-Regular.ttf", "Roboto-Medium.ttf", "Roboto-Bold.ttf"),
    "font_source_sans_pro": ("SourceSansPro-Regular.ttf", "SourceSansPro-Bold.ttf"),
    "font_source_serif_pro": ("SourceSerifPro-Regular.ttf", "SourceSerifPro-Bold.ttf"),
    "font_lato": ("Lato-Regular.ttf", "Lato-Bold.ttf"),
}
HELD_OUT = {
    "font_hanken_grotesk": ("HankenGrotesk-Medium.otf", "HankenGrotesk-Bold.otf"),
    "font_manrope": ("Manrope-Medium.ttf", "Manrope-Bold.ttf"),
    "font_caladea": ("Caladea-Regular.ttf", "Caladea-Bold.ttf"),
}
SOURCES = ("packages", "builtin")


def files(source: str, split: str) -> tuple[str, ...]:
    """The font files of a split; ("",) is Pillow's own font, the same for every split.

    Raises DataError where a font package is missing.
    """
    if source not in SOURCES:
        raise DataError(f"fonts cannot be {source!r}; choose {' or '.join(SOURCES)}")
    if source == "builtin":
        return ("",)
    packages = HELD_OUT if split == "test" else LEARN
    found = folders("canvas", packages)
    return tuple(os.path.join(found[name], file) for name in packages for file in packages[name])


@lru_cache(maxsize=64)
def font(file: str, size: int) -> ImageFont.FreeTypeFont:
    """A font at `size` pixels an em."""
    if not file:
        return ImageFont.load_default(size)  # type: ignore[return-value]
    # The basic engine is in every Pillow; Raqm is not, and sets letters differently.
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=512)
def mask(text: str, file: str, size: int) -> np.ndarray:
    """How much of each pixel the text covers, uint8 [h, w], cut to its ink."""
    face = font(file, size)
    left, top, right, bottom = (round(edge) for edge in face.getbbox(text))
    image = Image.new("L", (right - left + 2, bottom - top + 2))
    ImageDraw.Draw(image).text((1 - left, 1 - top), text, fill=255, font=face)
    return inked(np.asarray(image))
