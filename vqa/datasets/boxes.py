"""Generated pictures of three boxes with coloured objects in them, as those of NLVR (v1).

Counting questions ("How many blue squares are there in total?") and statements that are true or
false, with exact answers; pictures of 400 x 100 px, which have no other size. Where a number makes
the answer, of things or of boxes, it is `count` of meta and these are the evidence. To be named as
letters on a page are, things stand for A to I, one a colour and shape: what colour there is, is
else forgotten before it is asked for. Nothing is read from files: every question and pixel is a
function of (seed, split, index). Metric: exact match.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import truediv

import torch
from torch import Tensor

from vqa.boxes import counts, drawing, statements
from vqa.boxes import scene as scenes
from vqa.boxes.scene import Area, Scene
from vqa.datasets import DataError, Example
from vqa.datasets._generated import check_options, chosen
from vqa.metrics import exact_match

COUNTS = {"train": 96_000, "val": 1_600, "test": 1_600}
KINDS = ("count", "statement")


@dataclass(slots=True)
class _Picture:
    """The picture looked at last: the questions about it follow each other."""

    number: int
    scene: Scene
    pixels: Tensor | None = None


class Dataset:
    """One split, `count` questions long, of which `questions` that follow each other are about the
    same picture.

    `kinds`, a list or one string with commas: count, statement; they follow each other.
    `root` and `skip_bad` mean nothing here. Raises DataError.
    """

    splits = tuple(COUNTS)

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        kinds: Sequence[str] | str | None = None,
        questions: int = 8,
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        check_options("boxes", split, COUNTS, count, questions=questions, seed=seed)
        if questions < 1:
            raise DataError(f"questions cannot be {questions}; ask at least 1 about a picture")
        self.skipped: list[str] = []
        self.split = split
        self.seed = seed
        self.kinds = chosen("boxes", "kind", kinds, KINDS)
        self.together = questions
        self.count = COUNTS[split] if count is None else count
        self._latest: _Picture | None = None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        """The question and its answer; `image` is a name, not a file."""
        scene, kind = self.scene(index), self.kinds[index % len(self.kinds)]
        rng = random.Random(f"boxes/{self.seed}/{self.split}/question/{index}")
        about: tuple[Area, ...] | None
        if kind == "count":
            question, about = counts.ask(scene, rng)
            answer = str(len(about))
        else:
            question, holds, about = statements.state(scene, rng, rng.random() < 0.5)
            answer = "true" if holds else "false"
        picture = index // self.together
        name = f"boxes:{self.split}:{picture}"
        meta = None if about is None else {"count": len(about)}
        sides = scenes.WIDTH, scenes.HEIGHT, scenes.WIDTH, scenes.HEIGHT
        evidence = [tuple(map(truediv, area, sides)) for area in about or ()]
        identity = f"boxes-{self.split}-{index}"
        return Example(
            identity, name, question, (answer,), kind, meta=meta, evidence=tuple(evidence)
        )

    def render(self, index: int, size: int | None = None) -> tuple[Example, Tensor]:
        """Example `index` with its picture, uint8 `[3, 100, 400]`. Raises DataError."""
        if size not in (None, scenes.WIDTH):
            raise DataError(f"boxes are drawn {scenes.WIDTH} px wide, not {size}; leave sizes out")
        latest = self._picture(index)
        if latest.pixels is None:
            latest.pixels = torch.from_numpy(drawing.draw(latest.scene))
        return replace(self[index], letters=_letters(latest.scene)), latest.pixels

    def scene(self, index: int) -> Scene:
        """What the picture of example `index` shows."""
        return self._picture(index).scene

    def _picture(self, index: int) -> _Picture:
        if not 0 <= index < self.count:
            raise IndexError(f"boxes has {self.count} examples; there is no number {index}")
        number = index // self.together
        if self._latest is None or self._latest.number != number:
            rng = random.Random(f"boxes/{self.seed}/{self.split}/{number}")
            self._latest = _Picture(number, scenes.draw(rng))
        return self._latest

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Exact match with the one answer."""
        return exact_match(prediction, answers)


def _letters(scene: Scene) -> Tensor:
    """Each thing as a letter at its middle, as `Example.letters`."""
    rows = []
    for left, box in zip(scenes.LEFTS, scene.boxes, strict=True):
        for thing in box:
            color, shape = scenes.COLORS.index(thing.color), scenes.SHAPES.index(thing.shape)
            code, half = ord("A") + color * len(scenes.SHAPES) + shape, thing.size // 2
            rows.append((code, thing.y + half, left + thing.x + half))
    return torch.tensor(rows, dtype=torch.int32)
