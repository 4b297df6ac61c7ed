"""Three boxes of coloured objects, scattered or piled up: values only.

Sizes, places and frequencies are those measured in the training pictures of NLVR (v1): towers of
up to four blocks stand in the middle of their box; scattered objects have three sizes, lie apart
and touch an edge of their box as often as not, the right and the lower one most.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

SIDE = 100
"""Pixels a box is wide and high."""
GAP = 50
"""Pixels between two boxes."""
WIDTH, HEIGHT = 3 * SIDE + 2 * GAP, SIDE
LEFTS = tuple(range(0, WIDTH, SIDE + GAP))
"""Where the boxes begin, in pixels."""
COLORS = ("black", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
SIZES = (10, 20, 30)
BLOCK = 20
PITCH = BLOCK + 1
"""Blocks of a tower leave a pixel between them."""

_SCATTERED = 0.6  # 0.33 in NLVR, but these take longer to learn
_AT_EDGE = 0.35
_MOST = 8
_TRIES = 50


@dataclass(frozen=True, slots=True)
class Thing:
    """An object with its left upper corner in its box, in pixels."""

    color: str
    shape: str
    size: int
    x: int
    y: int

    @property
    def edges(self) -> frozenset[str]:
        """The edges of its box that it touches."""
        at = {
            "left": self.x == 0,
            "right": self.x + self.size == SIDE,
            "top": self.y == 0,
            "bottom": self.y + self.size == SIDE,
        }
        return frozenset(edge for edge, touches in at.items() if touches)

    def apart(self, other: "Thing") -> bool:
        """Whether a pixel at least lies between the two."""
        return (
            self.x > other.x + other.size
            or other.x > self.x + self.size
            or self.y > other.y + other.size
            or other.y > self.y + self.size
        )


Area = tuple[int, int, int, int]
"""Left, top, right and bottom in the picture, in pixels."""
Box = tuple[Thing, ...]
"""The objects of a box; of a tower from the ground up."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture."""

    towers: bool
    boxes: tuple[Box, Box, Box]

    @property
    def things(self) -> tuple[Thing, ...]:
        """The objects of all boxes."""
        return tuple(thing for box in self.boxes for thing in box)

    def boxes_that(self, holds: Callable[[Box], bool]) -> tuple[Area, ...]:
        """Where the boxes are of which it holds."""
        lefts = [left for left, box in zip(LEFTS, self.boxes, strict=True) if holds(box)]
        return tuple((left, 0, left + SIDE, SIDE) for left in lefts)

    def things_that(self, fits: Callable[[Thing], bool]) -> tuple[Area, ...]:
        """Where the things are that fit."""
        return tuple(
            (left + thing.x, thing.y, left + thing.x + thing.size, thing.y + thing.size)
            for left, box in zip(LEFTS, self.boxes, strict=True)
            for thing in box
            if fits(thing)
        )


def draw(rng: random.Random) -> Scene:
    """A random scene."""
    towers = rng.random() >= _SCATTERED
    one = _tower if towers else _scatter
    return Scene(towers, (one(rng), one(rng), one(rng)))


def _tower(rng: random.Random) -> Box:
    left = (SIDE - BLOCK) // 2
    return tuple(
        Thing(rng.choice(COLORS), "square", BLOCK, left, SIDE - BLOCK - level * PITCH)
        for level in range(rng.randint(1, 4))
    )


def _scatter(rng: random.Random) -> Box:
    things: list[Thing] = []
    for _ in range(rng.randint(1, _MOST)):
        for _ in range(_TRIES):  # a box may be too full for one more
            thing = _thing(rng)
            if all(thing.apart(other) for other in things):
                things.append(thing)
                break
    return tuple(things)


def _thing(rng: random.Random) -> Thing:
    size = rng.choice(SIZES)
    free = SIDE - size
    x, y = rng.randint(0, free), rng.randint(0, free)
    if rng.random() < _AT_EDGE:
        edges = rng.choices(("right", "bottom", "left", "top", "corner"), (38, 38, 8, 8, 18))[0]
        if edges in ("left", "right"):
            x = free if edges == "right" else 0
        elif edges in ("top", "bottom"):
            y = free if edges == "bottom" else 0
        else:
            x, y = (rng.choices((free, 0), (3, 1))[0] for _ in range(2))
    return Thing(rng.choice(COLORS), rng.choice(SHAPES), size, x, y)
