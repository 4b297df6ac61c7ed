"""Pages set in the features of letters instead of ink, for an image encoder that is frozen.

Where each letter becomes a token by itself (encoders/vision/glyphs.py), a page need not be drawn
and read to teach what comes after the encoder: its tokens are put together from those that the
encoder once made of drawn letters. That is a thousand times cheaper.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from encoders.tiling import Grid
from encoders.vision import text_lines
from encoders.vision.glyphs import CELL
from encoders.vision.line_reader import HEIGHT, STEP, WIDTH
from encoders.vision.sheet import ImageTokens
from vqa.datasets import DataError
from vqa.pages.letters import Run

HEIGHTS = 28.0, 52.0
"""Pixels of an em where the encoder reads it, from and to."""
LOST = 0.01
"""Share of letters that the encoder does not see."""
GHOSTS = 0.01
"""Share of letters behind which it sees another that is none."""
GHOST = 0
"""The code point of these in the file."""
UNEVEN = 0.08
"""Standard deviation of the logarithm of a line's height, as it is seen, from line to line."""
JOINED = 0.02
"""Share of words of which the encoder does not see that they begin."""


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
        self, runs: Sequence[Run], height: int, width: int, em: float, rng: random.Random
    ) -> ImageTokens:
        """The tokens of an image of `height x width` pixels that shows `runs`, `em` pixels high."""
        side = CELL * em / rng.uniform(*HEIGHTS)  # of a cell, in pixels of the image
        by_line: defaultdict[text_lines.Line, list[Run]] = defaultdict(list)
        for run in runs:
            by_line[run.line].append(run)
        order = text_lines.in_rows([run.line for run in runs])
        heights = sorted(line.height for line in order)
        usual = heights[len(heights) // 2] if heights else 1.0
        drawn: list[int] = []
        told: list[tuple[float, float]] = []
        places: list[tuple[float, float]] = []
        for line in order:
            uneven = math.log(line.height / usual) + rng.gauss(0, UNEVEN)
            for code, down, across, begins in self._seen(by_line[line].pop(), rng):
                drawn.append(rng.randrange(*self.of[code]))
                told.append((float(begins), uneven))
                places.append((down / side - 0.5, across / side - 0.5))
        if not drawn:
            drawn, told = [0], [(1.0, 0.0)]
            places = [(height / 2 / side - 0.5, width / 2 / side - 0.5)]
        return ImageTokens(
            torch.cat([self.features[drawn], torch.tensor(told)], 1).unsqueeze(0),
            torch.ones(1, len(drawn), dtype=torch.bool),
            [(Grid(1, len(drawn)),)],
            torch.tensor([places], dtype=torch.float32),
            torch.tensor([[side / height, side / width]]),
        )

    def _seen(self, run: Run, rng: random.Random) -> list[tuple[int, float, float, bool]]:
        """Code, row, column of what the encoder sees of `run`, and whether a word begins there."""
        found = []
        column = STEP * run.line.height / HEIGHT  # letters are told column by column
        cos, sin = math.cos(run.line.angle), math.sin(run.line.angle)
        for number, code in enumerate(run.codes):
            if code not in self.of or rng.random() < LOST:
                continue
            down, across = run.middles[number]
            off = rng.uniform(-0.5, 0.5) * column
            begins = run.begins[number] and (number == 0 or rng.random() >= JOINED)
            found.append((code, down + off * sin, across + off * cos, begins))
            if GHOST in self.of and rng.random() < GHOSTS:
                found.append((GHOST, down + column * sin, across + column * cos, False))
        return found
