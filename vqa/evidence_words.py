"""Where an answer stands among the printed words of an image: their boxes are exact.

Answers are copied from print, so the words that spell the answer are its evidence. Of several
places that spell it, the one whose row shares most words with the question, then the last.
"""

import math
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

import numpy as np

from encoders.vision.ocr.transcription import Word
from vqa.encoded import Source
from vqa.evidence import Box, Evidence

ALIKE = 0.8
"""Least likeness of letters (difflib's ratio) of words that an answer may have been read from."""
CELLS = 256
"""Cells of the heat map along the longer side of the image."""


def locate_words(words: Sequence[Word], question: str, answer: str, source: Source) -> Evidence:
    """The evidence of `answer` in the printed `words` of the image `source`.

    Its heat lies on the boxes of the words that spell the answer; without such words it has none.
    """
    cell = max(source.width, source.height) / CELLS
    heat = np.zeros((math.ceil(source.height / cell), math.ceil(source.width / cell)), np.float32)
    found = _best(words, question, _letters(answer))
    if found is None:
        return Evidence(heat, (cell, cell), None, None)
    for word in found:
        x0, y0, x1, y1 = _inside(word.box, source)
        heat[int(y0 / cell) : math.ceil(y1 / cell), int(x0 / cell) : math.ceil(x1 / cell)] = 1
    heat /= heat.sum()
    boxes = [_inside(word.box, source) for word in found]
    box = (
        min(each[0] for each in boxes),
        min(each[1] for each in boxes),
        max(each[2] for each in boxes),
        max(each[3] for each in boxes),
    )
    x0, y0, x1, y1 = boxes[len(boxes) // 2]
    return Evidence(heat, (cell, cell), ((x0 + x1) // 2, (y0 + y1) // 2), box)


def _best(words: Sequence[Word], question: str, answer: str) -> Sequence[Word] | None:
    """The run of words most like the letters of `answer`, None if there is none."""
    if not answer:
        return None
    asked = set(re.findall(r"\w+", question.lower()))
    best: tuple[float, int, int] | None = None
    found: Sequence[Word] | None = None
    for start, run in _runs(words, len(answer)):
        likeness = SequenceMatcher(None, "".join(map(_letters_of, run)), answer, False).ratio()
        if likeness < ALIKE:
            continue
        rows = {word.row for word in run}
        near = {_letters(word.text) for word in words if word.row in rows}
        rank = (likeness, len(asked & near), start)
        if best is None or rank > best:
            best, found = rank, run
    return found


def _runs(words: Sequence[Word], letters: int) -> Iterator[tuple[int, Sequence[Word]]]:
    """Words that follow each other and have about so many letters, with the place of the first."""
    for start in range(len(words)):
        length = 0
        for stop in range(start, len(words)):
            length += len(_letters(words[stop].text))
            if length >= ALIKE * letters:
                yield start, words[start : stop + 1]
            if length >= letters:
                break


def _letters_of(word: Word) -> str:
    return _letters(word.text)


def _letters(text: str) -> str:
    """Letters and digits alone, small: blanks and points are where OCR errs most."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _inside(box: tuple[float, float, float, float], source: Source) -> Box:
    x0, y0, x1, y1 = box
    left = min(max(0, math.floor(x0)), source.width - 1)
    top = min(max(0, math.floor(y0)), source.height - 1)
    right = max(left + 1, min(source.width, math.ceil(x1)))
    return left, top, right, max(top + 1, min(source.height, math.ceil(y1)))
