"""Which letters a page shows, and where: what a reader can be taught directly."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from encoders.vision.text_lines import Line
from vqa.pages import fonts
from vqa.pages.scene import Scene, Text

MIDDLE = 0.3
"""From the line up to the middle of a letter, in ems: half of a capital or digit."""
TALL = 1.3
"""Ems from the top to the foot of a line with some paper."""


class Run(NamedTuple):
    """A text of a page: the line that it is; its letters' code points, the rows and columns of
    their middles `[n, 2]`, all in pixels of the image, and whether a word begins with each."""

    line: Line
    codes: list[int]
    middles: np.ndarray
    begins: list[bool]


def runs(scene: Scene) -> list[Run]:
    """The texts of a page; blanks and what lies outside of the image are left out."""
    found = (_run(scene, text) for text in scene.sheet.texts)
    return [run for run in found if run.codes]


def letters(scene: Scene) -> Tensor:
    """Code point, row and column of each letter's middle, in pixels of the image: int32 `[n, 3]`.

    Blanks and what lies outside of the image are left out.
    """
    rows = [
        (code, *np.floor(middle))
        for run in runs(scene)
        for code, middle in zip(run.codes, run.middles, strict=True)
    ]
    return torch.from_numpy(np.array(rows, dtype=np.int32).reshape(-1, 3))


def _run(scene: Scene, text: Text) -> Run:
    alphabet, m, size = fonts.letters(text.face), scene.matrix, text.face.size
    x, y = float(text.x), text.y - MIDDLE * size
    codes, middles, begins, gap = [], [], [], True
    for letter in text.text:
        advance = alphabet.advance(letter)
        at = x + advance / 2
        down, across = m.d * at + m.e * y + m.f, m.a * at + m.b * y + m.c
        if letter == " ":
            gap = True
        elif 0 <= down < scene.height and 0 <= across < scene.width:
            codes.append(ord(letter))
            middles.append((down, across))
            begins.append(gap)
            gap = False
        x += advance + text.tracking
    middle = (text.x + x) / 2
    line = Line(
        m.a * middle + m.b * y + m.c,
        m.d * middle + m.e * y + m.f,
        math.atan2(m.d, m.a),
        (x - text.x) * math.hypot(m.a, m.d),
        TALL * size * math.hypot(m.b, m.e),
    )
    return Run(line, codes, np.array(middles).reshape(-1, 2), begins)
