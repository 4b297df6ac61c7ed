"""Generated canvases of any size with small objects on them: exact answers, evidence boxes.

Nothing is read from files. Every question, answer and pixel is a function of (seed, split, index,
size of the canvas) alone, and the question and its answer do not depend on the size: the same
question can be asked of a canvas of 512 and of 16,384 pixels. Objects keep their size in pixels
while the canvas grows, so what a downscaled copy shows of them shrinks. The kinds of questions
(vqa/canvas/kinds) follow each other: example i is of kind i modulo their number.

Splits have seeds of their own. `test` also has fonts, backgrounds and printed words that neither
`train` nor `val` show; fonts "builtin", or textures given by name, are the same for every split.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from vqa.canvas import fonts as faces
from vqa.canvas import kinds as asked
from vqa.canvas import textures as backgrounds
from vqa.canvas import words
from vqa.canvas.drawing import draw
from vqa.canvas.kinds import Query
from vqa.canvas.scene import Scene
from vqa.canvas.sheet import Crowded, Sheet
from vqa.datasets import DataError, Example
from vqa.datasets._generated import check_options, chosen
from vqa.metrics import exact_match

COUNTS = {"train": 20_000, "val": 1_000, "test": 1_000}
LARGEST = 16_384
OBJECT_SIZES = (16, 256)

_ARRANGEMENTS = 200


class Dataset:
    """One split, `count` examples long.

    `size` is the longer side of the canvas in pixels, `aspect` its width over its height, and
    `object_size` the side of an object in pixels. `kinds` and `textures`, a list or one string with
    commas, are names of vqa.canvas.kinds.ALL and vqa.canvas.textures.TEXTURES. `fonts` is packages
    or builtin. `questions` that follow each other are about the same canvas, where all kinds can
    do that (attribute). `root` and `skip_bad` mean nothing here.
    Raises DataError.
    """

    splits = tuple(COUNTS)

    def __init__(
        self,
        root: str | None,
        split: str,
        skip_bad: bool = False,
        *,
        size: int = 512,
        object_size: int = 64,
        kinds: Sequence[str] | str | None = None,
        count: int | None = None,
        seed: int = 0,
        aspect: float = 1.0,
        textures: Sequence[str] | str | None = None,
        fonts: str = "packages",
        questions: int = 1,
    ) -> None:
        numbers = {"size": size, "object_size": object_size, "seed": seed}
        check_options("canvas", split, COUNTS, count, **numbers, questions=questions)
        if not OBJECT_SIZES[0] <= object_size <= OBJECT_SIZES[1]:
            raise DataError(
                f"object_size cannot be {object_size}; choose {OBJECT_SIZES[0]} to "
                f"{OBJECT_SIZES[1]} pixels"
            )
        if not 0.1 <= aspect <= 10:
            raise DataError(f"aspect cannot be {aspect}; choose width / height from 0.1 to 10")
        held_out = split == "test"
        self.skipped: list[str] = []
        self.split = split
        self.size = size
        self.object_size = object_size
        self.aspect = aspect
        self.seed = seed
        self.count = COUNTS[split] if count is None else count
        self.kinds = chosen("canvas", "kind", kinds, asked.ALL)
        usual = backgrounds.HELD_OUT if held_out else backgrounds.LEARN
        every = tuple(backgrounds.TEXTURES)
        self.textures = chosen("canvas", "texture", textures, every, usual)
        self.fonts = faces.files(fonts, split)
        self.words = words.HELD_OUT if held_out else words.LEARN
        self.together = questions
        self._check_together()
        self._shape(size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Example:
        """The question and its answer; `image` is a name, not a file. Nothing is laid out."""
        return self._example(index, self._query(index), self.size)

    def render(self, index: int, size: int | None = None) -> tuple[Example, Tensor]:
        """Example `index` on a canvas of `size` pixels: uint8 [3, H, W]. Raises DataError."""
        size = size or self.size
        query = self._query(index)
        pixels = torch.from_numpy(draw(self._scene(index, query, size)))
        return self._example(index, query, size), pixels

    def scene(self, index: int, size: int | None = None) -> Scene:
        """What `render` draws: every object with its box, and the boxes of the evidence."""
        return self._scene(index, self._query(index), size or self.size)

    def score(self, prediction: str, answers: Sequence[str]) -> float:
        """Exact match with the one answer."""
        return exact_match(prediction, answers)

    def _query(self, index: int) -> Query:
        if not 0 <= index < self.count:
            raise IndexError(f"canvas has {self.count} examples; there is no number {index}")
        canvas, number = divmod(index, self.together)
        rng = random.Random(f"canvas/{self.seed}/{self.split}/{canvas}")
        found = asked.several(self._kind(index)) if self.together > 1 else None
        if found is not None:
            return found[0](rng, self.words, self.together)[number]
        return asked.get(self._kind(index))(rng, self.words)

    def _kind(self, index: int) -> str:
        return self.kinds[index // self.together % len(self.kinds)]

    def _check_together(self) -> None:
        for kind in self.kinds:
            found = asked.several(kind)
            most = found[1] if found else 1
            if not 1 <= self.together <= most:
                raise DataError(
                    f"questions cannot be {self.together} for the kind {kind}; choose 1 to {most}"
                )

    def _example(self, index: int, query: Query, size: int) -> Example:
        return Example(
            f"canvas-{self.split}-{index}",
            f"canvas:{self.split}:{index // self.together}:{size}",
            query.question,
            (query.answer,),
            self._kind(index),
        )

    def _scene(self, index: int, query: Query, size: int) -> Scene:
        width, height = self._shape(size)
        canvas = index // self.together
        rng = random.Random(f"canvas/{self.seed}/{self.split}/{canvas}/{size}/{self.object_size}")
        texture, texture_seed = rng.choice(self.textures), rng.getrandbits(64)
        for _ in range(_ARRANGEMENTS):
            sheet = Sheet(width, height, self.object_size, rng, self.fonts)
            try:
                evidence = query.place(sheet)
            except Crowded:
                continue
            return Scene(
                width,
                height,
                self._kind(index),
                query.question,
                query.answer,
                query.choices,
                evidence,
                tuple(sheet.objects),
                tuple(sheet.dashes),
                sheet.dash_color,
                max(2, self.object_size // 14),
                texture,
                texture_seed,
            )
        raise DataError(
            f"canvas found no room for example {index} ({self._kind(index)}) on {width} x {height} "
            f"pixels with objects of {self.object_size}; choose smaller objects"
        )

    def _shape(self, size: int) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = round(size * min(1.0, self.aspect)), round(size / max(1.0, self.aspect))
        if size > LARGEST:
            raise DataError(f"a canvas of {size} pixels is too large; choose at most {LARGEST}")
        units = max(asked.units(kind, self.together) for kind in self.kinds)
        if min(width, height) < units * self.object_size:
            raise DataError(
                f"a canvas of {width} x {height} pixels is too small for objects of "
                f"{self.object_size}; its shorter side must be at least {units} times as long "
                f"({units * self.object_size})"
            )
        return width, height
