"""Which letters a page shows, and where: what a reader can be taught directly."""

import numpy as np
import torch
from torch import Tensor

from vqa.pages import fonts
from vqa.pages.scene import Scene

MIDDLE = 0.3
"""From the line up to the middle of a letter, in ems: half of a capital or digit."""


def letters(scene: Scene) -> Tensor:
    """Code point, row and column of each letter's middle, in pixels of the image: int32 `[n, 3]`.

    Blanks and what lies outside of the image are left out.
    """
    rows: list[tuple[int, float, float]] = []
    for text in scene.sheet.texts:
        alphabet = fonts.letters(text.face)
        x, y = float(text.x), text.y - MIDDLE * text.face.size
        for letter in text.text:
            advance = alphabet.advance(letter)
            if letter != " ":
                rows.append((ord(letter), x + advance / 2, y))
            x += advance + text.tracking
    if not rows:
        return torch.zeros(0, 3, dtype=torch.int32)
    code, x_, y_ = np.array(rows).T
    m = scene.matrix
    down, across = m.d * x_ + m.e * y_ + m.f, m.a * x_ + m.b * y_ + m.c
    found = np.stack([code, np.floor(down), np.floor(across)], 1)
    inside = (down >= 0) & (down < scene.height) & (across >= 0) & (across < scene.width)
    return torch.from_numpy(found[inside].astype(np.int32))
