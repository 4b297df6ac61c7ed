"""A sheet as ink: shapes by Pillow, letters copied one by one."""

import numpy as np
from PIL import Image, ImageDraw

from vqa.pages import fonts
from vqa.pages.scene import Sheet, Text


def ink(sheet: Sheet) -> np.ndarray:
    """How much of each pixel is inked, uint8 [height, width]."""
    image = Image.new("L", (sheet.width, sheet.height))
    pencil = ImageDraw.Draw(image)
    for shape in sheet.shapes:
        if shape.line:
            pencil.line(shape.points, shape.level, shape.line)
        else:
            pencil.polygon(shape.points, shape.level)
    canvas = np.array(image)
    for text in sheet.texts:
        _print(canvas, text)
    return canvas


def _print(canvas: np.ndarray, text: Text) -> None:
    """Letters lie over each other as ink does; light ones (level below 0) take ink away."""
    alphabet = fonts.letters(text.face)
    x, y, level = text.x, text.y, text.level
    for letter in text.text:
        glyph = alphabet.glyph(letter)
        if glyph is not None:
            left, top = x + glyph.left, y + glyph.top
            height, width = glyph.ink.shape
            under = canvas[top : top + height, left : left + width]
            if level == 255:
                np.maximum(under, glyph.ink, out=under)
            elif level > 0:
                np.maximum(
                    under, (glyph.ink.astype(np.uint16) * level >> 8).astype(np.uint8), under
                )
            else:
                np.minimum(under, 255 - glyph.ink, out=under)
        x += alphabet.advance(letter) + text.tracking
