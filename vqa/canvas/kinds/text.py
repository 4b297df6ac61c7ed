"""A printed word or number, found by its colour or by the object it stands next to."""

import random
from collections.abc import Sequence

from vqa.canvas import colors, stamps
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Box, Mark, Placed
from vqa.canvas.sheet import NAMES, Sheet

NUMBERS = tuple(str(number) for number in range(10, 1000))


def pose(rng: random.Random, words: Sequence[str]) -> Query:
    """Other texts of the same sort stand next to other objects, or have other colours."""
    noun, texts = rng.choice((("word", tuple(words)), ("number", NUMBERS)))
    answer = rng.choice(texts)
    if rng.random() < 0.25:
        return _by_color(rng, noun, answer, texts)
    color, form = rng.choice(NAMES)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        text = _pair(sheet, sheet.mark(color, form), answer)
        others = [name for name in NAMES if name != (color, form)]
        names = sheet.rng.sample(others, 2 + sheet.clutter // 4)
        for name, other in zip(names, _others(sheet, answer, texts, len(names)), strict=True):
            _pair(sheet, sheet.mark(*name), other)
        return (text.box,)

    return Query(f"which {noun} is next to the {color} {form}?", answer, texts, place)


def _by_color(rng: random.Random, noun: str, answer: str, texts: tuple[str, ...]) -> Query:
    color = rng.choice(colors.NAMES)

    def place(sheet: Sheet) -> tuple[Box, ...]:
        text = sheet.put(sheet.text(answer, color))
        others = [name for name in colors.NAMES if name != color]
        tints = sheet.rng.sample(others, min(len(others), 1 + sheet.clutter // 2))
        for tint, other in zip(tints, _others(sheet, answer, texts, len(tints)), strict=True):
            sheet.put(sheet.text(other, tint))
        sheet.strew(sheet.clutter // 2, lambda c, f: True)
        return (text.box,)

    return Query(f"which {noun} is printed in {color}?", answer, texts, place)


def _others(sheet: Sheet, answer: str, texts: tuple[str, ...], count: int) -> list[str]:
    """Different texts, none of them the answer: it can be read in one place only."""
    return [text for text in sheet.rng.sample(texts, count + 1) if text != answer][:count]


def _pair(sheet: Sheet, mark: Mark, text: str) -> Placed:
    """An object and a text beside it, right or below, nearer than any other text may stand."""
    label = sheet.text(text, sheet.rng.choice(colors.NAMES))
    height, width = stamps.mask(mark).shape
    label_height, label_width = stamps.mask(label).shape
    gap = sheet.unit // 4
    if sheet.rng.random() < 0.5:
        tall = max(height, label_height)
        left, top = sheet.room(width + gap + label_width, tall, margin=0.8)
        sheet.add(mark, left, top + (tall - height) // 2)
        return sheet.add(label, left + width + gap, top + (tall - label_height) // 2)
    wide = max(width, label_width)
    left, top = sheet.room(wide, height + gap + label_height, margin=0.8)
    sheet.add(mark, left + (wide - width) // 2, top)
    return sheet.add(label, left + (wide - label_width) // 2, top + height + gap)
