"""Pages set in the features of letters instead of ink, for an image encoder that is frozen.

Where each letter becomes a token by itself (encoders/vision/glyphs.py), a page need not be drawn
and read to teach what comes after the encoder: its tokens are put together from those that the
encoder once made of drawn letters. That is a thousand times cheaper.
"""

import random
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision.glyph_trunk import CELL, WIDTH
from encoders.vision.reading_order import reading_order
from encoders.vision.sheet import ImageTokens
from vqa.datasets import DataError

HEIGHTS = 28.0, 52.0
"""Pixels of an em where the encoder reads it, from and to."""
LOST = 0.01
"""Share of letters that the encoder does not see."""
GHOSTS = 0.02
"""Share of letters beside which it sees another that is none."""
GHOST = 0
"""The code point of these in the file."""


class TypeCase:
    """Features of letters by their code points, from a file that benchmarks/glyph_weights.py wrote.

    Raises DataError for a file that is none.
    """

    def __init__(self, path: str) -> None:
        try:
            held = load_file(Path(path).expanduser())
            codes, features = held["codes"], held["features"]
        except (OSError, KeyError, SafetensorError) as error:
            raise DataError(
                f"{path} is no type case ({error}); benchmarks/glyph_weights.py makes one"
            ) from None
        if codes.dim() != 1 or not len(codes) or features.shape != (len(codes), WIDTH):
            raise DataError(
                f"{path} holds features {list(features.shape)} of {codes.numel()} letters, not of "
                f"some letters {WIDTH} each; benchmarks/glyph_weights.py makes a type case"
            )
        order = codes.argsort(stable=True)
        self.features = features[order].float()
        found, counts = codes[order].unique_consecutive(return_counts=True)
        ends = counts.cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        self.of = dict(zip(found.tolist(), zip(starts, ends, strict=True), strict=True))

    def set(
        self, letters: Tensor, height: int, width: int, em: float, rng: random.Random
    ) -> ImageTokens:
        """The tokens of an image of `height x width` pixels that shows `letters` (code point, row
        and column in pixels `[n, 3]`), `em` pixels high."""
        side = CELL * em / rng.uniform(*HEIGHTS)  # of a cell, in pixels of the image
        cells: dict[tuple[int, int], int] = {}
        ghosts: list[tuple[int, int]] = []
        for code, down, across in letters.tolist():
            if code in self.of and rng.random() >= LOST:
                row, column = int(down / side), int(across / side)
                cells.setdefault((row, column), code)
                if GHOST in self.of and rng.random() < GHOSTS:
                    beside = row + rng.randint(-1, 1), column + rng.choice((-2, -1, 1, 2))
                    ghosts.append((max(0, beside[0]), max(0, beside[1])))
        for ghost in ghosts:  # after the letters, lest one takes the cell of a letter
            cells.setdefault(ghost, GHOST)
        at = list(cells) or [(0, 0)]
        codes = [*cells.values()] or [next(iter(self.of))]
        order = reading_order(at)
        places = torch.tensor([at[number] for number in order], dtype=torch.float32)
        drawn = [rng.randrange(*self.of[codes[number]]) for number in order]
        return ImageTokens(
            self.features[drawn].unsqueeze(0),
            torch.ones(1, len(order), dtype=torch.bool),
            [(Grid(1, len(order)),)],
            places.unsqueeze(0),
            torch.tensor([[side / height, side / width]]),
        )
