"""Words of print with their boxes, in reading order, and the text of a page made of them."""

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from encoders.pixels import Pixels
from encoders.vision.glyphs import Encoder, Letters
from encoders.vision.line_reader import LETTERS
from encoders.vision.ocr.orientation import read_upright
from encoders.vision.page_view import View
from encoders.vision.text_lines import Line, group_rows

HALF_LETTER = 0.3
"""From the middle of a word's last letter to the word's end, in heights of its line."""
COLUMN_GAP = "  "
"""Between lines of one row, which often are columns: a blank more than between words."""

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the image."""


class Word(NamedTuple):
    """A printed word: its box, the mean probability of its letters, its line and the row it is in.

    Lines are counted in reading order; lines side by side share a row.
    """

    text: str
    box: Box
    confidence: float
    line: int
    row: int


def word_of(row: Sequence[Any]) -> Word:
    """The word that was written to JSON as `row`. Raises ValueError or TypeError for others."""
    text, (x0, y0, x1, y1), confidence, line, in_row = row
    return Word(str(text), (x0, y0, x1, y1), float(confidence), int(line), int(in_row))


class Transcription(NamedTuple):
    """Printed words in reading order, and by how many degrees the page was turned to be read."""

    words: list[Word]
    rotation: float


def transcribe(encoder: Encoder, image: Pixels) -> Transcription:
    """Words of `image`, uint8 RGB `[3, H, W]`, in reading order; none of an image without print.

    A page that lies on its side, on its head or askew is righted first.
    """
    lines, view, rotation = read_upright(encoder, image)
    rows = group_rows([letters.line for letters in lines])
    row_of = {line: number for number, row in enumerate(rows) for line in row}
    words = [
        word
        for number, letters in enumerate(lines)
        for word in _words_of(letters, view, number, row_of[letters.line])
    ]
    if rotation is None:
        return Transcription(words, 0.0)
    words = [word._replace(box=rotation.box_in_image(word.box)) for word in words]
    return Transcription(words, math.degrees(rotation.angle))


def page_text(words: Sequence[Word]) -> str:
    """The text of `words`: a row of print a line, two blanks between lines of one row."""
    rows = []
    for _, in_row in groupby(words, lambda word: word.row):
        lines = [list(part) for _, part in groupby(in_row, lambda word: word.line)]
        rows.append(COLUMN_GAP.join(" ".join(word.text for word in line) for line in lines))
    return "\n".join(rows)


def _words_of(letters: Letters, view: View, number: int, row: int) -> list[Word]:
    starts = [place for place, first in enumerate(letters.starts) if first]
    words = []
    for start, end in pairwise([*starts, len(letters.which)]):
        text = "".join(LETTERS[one - 1] for one in letters.which[start:end])
        first, last = letters.places[start].tolist(), letters.places[end - 1].tolist()
        confidence = sum(letters.confidences[start:end]) / (end - start)
        box = _box(letters.line, first, last, view)
        words.append(Word(text, box, confidence, number, row))
    return words


def _box(line: Line, first: Sequence[float], last: Sequence[float], view: View) -> Box:
    """The upright box around letters whose middles, (y, x) of the view, are `first` and `last`."""
    cos, sin = math.cos(line.angle), math.sin(line.angle)
    along, beside = HALF_LETTER * line.height, line.height / 2
    reach_x = along * abs(cos) + beside * abs(sin)
    reach_y = along * abs(sin) + beside * abs(cos)
    (y0, y1), (x0, x1) = sorted((first[0], last[0])), sorted((first[1], last[1]))
    edges = (x0 - reach_x, y0 - reach_y, x1 + reach_x, y1 + reach_y)
    corner = (view.left, view.top) * 2
    x0, y0, x1, y1 = (
        (edge + offset) / view.scale for edge, offset in zip(edges, corner, strict=True)
    )
    return x0, y0, x1, y1
