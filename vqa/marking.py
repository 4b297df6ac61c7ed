"""Answers as marks of image tokens, for a network that finds before it reads.

Where they stand is known from boxes of evidence, from the letters of the answer, or from both.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from encoders.runs import AGAIN, HOLDS, ON, UNKNOWN
from encoders.vision.sheet import ImageTokens
from vqa.aligning import align
from vqa.datasets import Example

_LEAST = 3
"""Letters of an answer that is looked for elsewhere too."""
_APART = 1.6
"""Steps from a letter to the next, from which on they are of two words."""


def marks_of(
    examples: Sequence[Example],
    image: ImageTokens,
    index: Tensor,
    answers: Sequence[Tensor],
    names: Tensor,
) -> Tensor:
    """Int `[B, N]`, as encoders/runs.py has them: of each token whether it holds a part of the
    example's answer, and which.

    Example i is about image `index[i]` of `image`; `answers[i]` are the letters of its answer as
    tokens of the vocabulary, and `names` `[images, N, V]` log-probabilities of what tokens show.
    Where the box holds as many tokens as the answer has letters, they are these. Where it holds
    others too, or there is none, the answer is looked for by its letters; where it cannot be read
    there, all of the box is marked, or nothing is known. Words elsewhere that read as the answer
    are marked as such: the total of a receipt often stands on it several times.
    """
    shown = names.argmax(-1).cpu().numpy()
    marks = torch.full((len(examples), image.mask.shape[1]), UNKNOWN, device=image.mask.device)
    for row, (example, number) in enumerate(zip(examples, index.tolist(), strict=True)):
        held = boxed(example, image, number)
        where = (held if held.any() else image.mask[number]).nonzero()[:, 0]
        letters = answers[row].to(where.device)
        if held.any() and len(where) == len(letters):
            marks[row] = 0
            marks[row, where] = letters + 1 + HOLDS
            _repeat(marks[row], shown[number], letters, image, number)
            continue
        found = align(names[number, where].float().cpu(), letters.cpu())
        if found is not None:
            told = found.to(where.device)
            marks[row] = 0
            marks[row, where[told >= 0]] = letters[told[told >= 0]] + 1 + HOLDS
            _repeat(marks[row], shown[number], letters, image, number)
        elif held.any():
            marks[row] = held.int() * HOLDS
    return marks


def boxed(example: Example, image: ImageTokens, number: int) -> Tensor:
    """Bool `[N]`: the tokens whose patch has its middle in a box of the example's evidence."""
    down, across = ((image.places[number] + 0.5) * image.pitch[number]).unbind(1)
    held = torch.zeros_like(image.mask[number])
    for left, top, right, bottom in example.evidence:
        held |= (across >= left) & (across < right) & (down >= top) & (down < bottom)
    return held & image.mask[number]


def _repeat(
    marks: Tensor, shown: np.ndarray, letters: Tensor, image: ImageTokens, number: int
) -> None:
    """Marks `[N]` the words that show `letters` AGAIN, where nothing is marked yet.

    `shown` `[N]`: what each token of the image is taken for.
    """
    real, told = int(image.mask[number].sum()), letters.cpu().numpy()
    if not _LEAST <= len(told) <= real:
        return
    places = image.places[number].cpu().numpy()
    free = marks[:real].cpu().numpy() == 0
    spelt = np.lib.stride_tricks.sliding_window_view(shown[:real], len(told)) == told
    end = 0
    for start in np.flatnonzero(spelt.all(1)).tolist():
        after = start + len(told)
        if start < end or not free[start:after].all():
            continue
        step = abs(places[after - 1, 1] - places[start, 1]) / (len(told) - 1)
        if start and _beside(places[start - 1], places[start], step):
            continue
        if after < real and _beside(places[after - 1], places[after], step):
            continue
        marks[start], marks[start + 1 : after], end = AGAIN, ON, after


def _beside(one: np.ndarray, other: np.ndarray, step: float) -> bool:
    """Whether two letters that follow each other are of one word, by their rows and columns."""
    down, across = np.abs(other - one)
    return bool(down < step and across < _APART * step)
