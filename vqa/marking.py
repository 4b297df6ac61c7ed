"""Boxes of evidence as marks of image tokens, for a network that finds before it reads."""

from collections.abc import Sequence

import torch
from torch import Tensor

from encoders.finder import UNKNOWN
from encoders.vision.sheet import ImageTokens
from vqa.datasets import Example


def marks_of(examples: Sequence[Example], image: ImageTokens, index: Tensor) -> Tensor:
    """Int `[B, N]`: 1 where the middle of a token's patch lies in a box of the example's evidence,
    0 elsewhere, UNKNOWN in all of a row without evidence, or none of it among the tokens.

    Example i is about image `index[i]` of `image`.
    """
    middle = (image.places + 0.5) * image.pitch.unsqueeze(1)
    marks = torch.full((len(examples), image.mask.shape[1]), UNKNOWN, device=image.mask.device)
    for row, (example, number) in enumerate(zip(examples, index.tolist(), strict=True)):
        held = torch.zeros_like(image.mask[number])
        down, across = middle[number].unbind(1)
        for left, top, right, bottom in example.evidence:
            held |= (across >= left) & (across < right) & (down >= top) & (down < bottom)
        held &= image.mask[number]
        if held.any():
            marks[row] = held
    return marks
