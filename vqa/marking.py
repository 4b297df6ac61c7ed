"""Answers as marks of image tokens, for a network that finds before it reads.

Where they stand is known from boxes of evidence, from the letters of the answer, or from both.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from encoders.finder import HOLDS, UNKNOWN
from encoders.vision.sheet import ImageTokens
from vqa.aligning import align
from vqa.datasets import Example


def marks_of(
    examples: Sequence[Example],
    image: ImageTokens,
    index: Tensor,
    answers: Sequence[Tensor],
    names: Tensor,
) -> Tensor:
    """Int `[B, N]`, as encoders/finder.py has them: of each token whether it holds a part of the
    example's answer, and which.

    Example i is about image `index[i]` of `image`; `answers[i]` are the letters of its answer as
    tokens of the vocabulary, and `names` `[images, N, V]` log-probabilities of what tokens show.
    Where the box holds as many tokens as the answer has letters, they are these. Where it holds
    others too, or there is none, the answer is looked for by its letters; where it cannot be read
    there, all of the box is marked, or nothing is known.
    """
    marks = torch.full((len(examples), image.mask.shape[1]), UNKNOWN, device=image.mask.device)
    for row, (example, number) in enumerate(zip(examples, index.tolist(), strict=True)):
        held = boxed(example, image, number)
        where = (held if held.any() else image.mask[number]).nonzero()[:, 0]
        letters = answers[row].to(where.device)
        if held.any() and len(where) == len(letters):
            marks[row] = 0
            marks[row, where] = letters + 1 + HOLDS
            continue
        found = align(names[number, where].float().cpu(), letters.cpu())
        if found is not None:
            shown = found.to(where.device)
            marks[row] = 0
            marks[row, where[shown >= 0]] = letters[shown[shown >= 0]] + 1 + HOLDS
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
