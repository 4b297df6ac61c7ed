"""Laying marks out on an empty canvas, so that none touches another."""

import math
import random
from collections.abc import Callable, Sequence

from vqa.canvas import colors, forms, stamps
from vqa.canvas.scene import Box, Mark, Placed, Segment

NAMES = tuple((color, form) for color in colors.NAMES for form in (*forms.SHAPES, *forms.ICONS))

_TRIES = 100


class Crowded(Exception):
    """There was no room left for a mark; another arrangement may have it."""


class Sheet:
    """A canvas being filled: `unit` is the object size in pixels, the measure of all else."""

    def __init__(
        self, width: int, height: int, unit: int, rng: random.Random, fonts: Sequence[str]
    ) -> None:
        self.width = width
        self.height = height
        self.unit = unit
        self.rng = rng
        self.fonts = fonts
        self.objects: list[Placed] = []
        self.dashes: list[Segment] = []
        self.dash_color = "black"
        self.taken: list[Box] = []

    @property
    def clutter(self) -> int:
        """Objects that no question is about: 4 where the canvas is 8 units wide, and 4 more each
        time it doubles, so that a large canvas is emptier, not another task. Below 0 on the
        smallest: fewer others than a kind has anyway."""
        return round(4 * math.log2(min(self.width, self.height) / self.unit / 4))

    def mark(self, color: str, form: str, scale: float = 1.0) -> Mark:
        """A shape or icon of `scale` units."""
        return Mark(form, color, round(self.unit * scale))

    def text(self, text: str, color: str) -> Mark:
        """Letters of one unit an em, in one of the fonts."""
        return Mark("text", color, self.unit, text, self.rng.choice(self.fonts))

    def room(
        self,
        width: int,
        height: int,
        accept: Callable[[float, float], bool] = lambda x, y: True,
        margin: float = 0.4,
    ) -> tuple[int, int]:
        """Left and top of a free rectangle whose centre is accepted, `margin` units from all else.

        The rectangle is taken from then on. Raises Crowded.
        """
        gap = round(margin * self.unit)
        edge = max(2, self.unit // 8)
        if width + 2 * edge > self.width or height + 2 * edge > self.height:
            raise Crowded
        for _ in range(_TRIES):
            left = self.rng.randint(edge, self.width - edge - width)
            top = self.rng.randint(edge, self.height - edge - height)
            if accept(left + width / 2, top + height / 2):
                box = (left - gap, top - gap, left + width + gap, top + height + gap)
                if not any(_overlap(box, other) for other in self.taken):
                    self.taken.append((left, top, left + width, top + height))
                    return left, top
        raise Crowded

    def add(self, mark: Mark, left: int, top: int) -> Placed:
        """Puts a mark where the caller found room."""
        height, width = stamps.mask(mark).shape
        placed = Placed(mark, (left, top, left + width, top + height))
        self.objects.append(placed)
        return placed

    def put(
        self,
        mark: Mark,
        accept: Callable[[float, float], bool] = lambda x, y: True,
        margin: float = 0.4,
    ) -> Placed:
        """Finds room for a mark and puts it there. Raises Crowded."""
        height, width = stamps.mask(mark).shape
        return self.add(mark, *self.room(width, height, accept, margin))

    def strew(self, count: int, allowed: Callable[[str, str], bool], scale: float = 1.0) -> None:
        """`count` random shapes and icons whose colour and form are allowed; none where no colour
        and form is. Raises Crowded."""
        names = [name for name in NAMES if allowed(*name)]
        for _ in range(count if names else 0):
            self.put(self.mark(*self.rng.choice(names), scale))


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
