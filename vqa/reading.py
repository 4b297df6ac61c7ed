"""Learning to read directly: each patch is asked which letters stand in it.

A page asks a few questions and shows a thousand letters; where a generated page tells where they
stand, a linear map of the image tokens learns to name them, and what it learns from is in the
tokens before questions are. Used in training only.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from encoders.vision.sheet import ImageTokens

FIRST, LAST = 33, 126
"""Code points that are told apart; all others are one class."""
CLASSES = LAST - FIRST + 3
PLACES = 2
"""A patch has a left and a right half, for small letters are narrower than it."""


class LetterReader(nn.Module):
    """Which letter's middle is in each half of each patch: none, one of ASCII's, or another."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.name = nn.Linear(dim, PLACES * CLASSES)

    def forward(
        self, image: ImageTokens, letters: Sequence[Tensor | None], patch: int
    ) -> tuple[Tensor, Tensor]:
        """The loss, and the share of letters named right, of the images that have `letters`.

        Halves with a letter and halves without count alike in sum, few as the former are.
        """
        tokens, targets = [], []
        for row, printed in enumerate(letters):
            if printed is not None:
                grid = image.grids[row][0]
                tokens.append(image.tokens[row, : grid.size])
                targets.append(_targets(printed, patch, grid.columns, grid.size))
        if not tokens:
            nothing = self.name(self.norm(image.tokens[:, 0])).sum() * 0  # a gradient all the same
            return nothing, nothing
        target = torch.cat(targets).flatten()
        logits = self.name(self.norm(torch.cat(tokens))).view(-1, CLASSES)
        loss = cross_entropy(logits.float(), target, reduction="none")
        real = target > 0
        right = (logits.argmax(-1) == target)[real].float()
        return _mean(loss[real]) + _mean(loss[~real]), _mean(right)


def _targets(letters: Tensor, patch: int, columns: int, size: int) -> Tensor:
    """Classes int64 `[patches, 2]`."""
    code, down, across = letters.long().unbind(-1)
    place = (down // patch * columns + across // patch) * PLACES + across % patch * PLACES // patch
    target = torch.zeros(size * PLACES, dtype=torch.long, device=letters.device)
    other = (code < FIRST) | (code > LAST)
    target[place] = (code - FIRST + 1).masked_fill(other, CLASSES - 1)
    return target.view(size, PLACES)


def _mean(x: Tensor) -> Tensor:
    return x.sum() / max(1, len(x))
