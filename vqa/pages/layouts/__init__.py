"""Layouts of pages: one file each, the name is the file.

A file `name.py` here holds `compose(words, room, variant) -> Content`; `VARIANTS`, the arrangements
that train and val show, and `HELD_OUT`, those of the test split; `KINDS`, the kinds of questions it
may have; and `SMALLEST`, the pixels of the smallest page it is for.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple, cast

from vqa.pages.content import Content, Room
from vqa.pages.words import Words

WEIGHTS = {
    "line": 1.0,
    "receipt": 6.0,
    "invoice": 1.5,
    "table": 1.5,
    "form": 1.5,
    "chart": 1.5,
    "panel": 1.0,
}
"""How often each is drawn where there is room for it."""
ALL = tuple(WEIGHTS)

Compose = Callable[[Words, Room, str], Content]


class Layout(NamedTuple):
    """What the file of a layout holds."""

    compose: Compose
    learn: tuple[str, ...]
    held_out: tuple[str, ...]
    kinds: tuple[str, ...]
    smallest: int


@cache
def get(name: str) -> Layout:
    """A layout of `ALL`."""
    module = importlib.import_module(f"{__name__}.{name}")
    return Layout(
        cast(Compose, module.compose),
        module.VARIANTS,
        module.HELD_OUT,
        module.KINDS,
        module.SMALLEST,
    )


def weight(name: str, size: int) -> float:
    """How often a layout is drawn on a page of `size` pixels.

    Single lines are the first stage: all there is up to 96 pixels, gone at 384.
    """
    if size < get(name).smallest or (name == "line" and size >= 384):
        return 0
    if name == "line":
        return 20 if size < 112 else 6 if size < 192 else 2
    return WEIGHTS[name]
