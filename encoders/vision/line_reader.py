"""What a line of print says, letter by letter: PP-OCRv6's small recogniser (PaddleOCR, Apache-2.0).

Convolutions over a strip of the page, a local and a global branch over its columns (SVTR, Du et
al., arXiv 2205.00159), then connectionist temporal classification (Graves et al. 2006): where
letters are, and which. Of its 18,709 letters those of Latin script are kept.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, scaled_dot_product_attention, silu

from encoders.vision.repvit import Block, Stem

HEIGHT = 48
"""Pixels of a strip from top to foot: a line of print and some paper."""
STEP = 8
"""Pixels from one column of features to the next."""
WIDTH = 120
"""Channels of the features."""
LETTERS = (
    "".join(map(chr, range(33, 127)))
    + "£§©®°ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ€ "
)
"""Letters that are told apart; the last is the blank between words. Class 0 is none of them, class
i the letter i - 1."""
BLANK = len(LETTERS)
"""The class of the blank between words."""
_HEADS = 8


class _Mixing(nn.Module):
    """Each column reads all others of its strip, then an MLP; both residual."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = nn.LayerNorm(WIDTH)
        self.all = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.thinks = nn.LayerNorm(WIDTH)
        self.wide = nn.Linear(WIDTH, 2 * WIDTH)
        self.back = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.all(self.reads(x)).unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        out: Tensor = x + self.back(silu(self.wide(self.thinks(x))))
        return out


class LineReader(nn.Module):
    """Features of the columns of strips, and logits of the letters they show."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(48, 96)
        blocks = [Block(96, 96, gated=number == 0) for number in range(3)]
        blocks.append(Block(96, 192, (2, 1)))
        blocks += [Block(192, 192, gated=number % 2 == 0) for number in range(6)]
        blocks.append(Block(192, 384, (2, 1)))
        self.blocks = nn.Sequential(*blocks, Block(384, 384, gated=True), Block(384, 384))
        self.short = nn.Conv2d(384, WIDTH, 1)
        self.narrow = nn.Conv2d(384, WIDTH, 1)
        self.near = nn.Conv2d(WIDTH, WIDTH, (1, 7), padding=(0, 3), groups=WIDTH)
        self.mixing = nn.Sequential(_Mixing(), _Mixing())
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.letter = nn.Linear(WIDTH, len(LETTERS) + 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, strips: Tensor) -> tuple[Tensor, Tensor]:
        """RGB `[B, 3, 48, W]` in [0, 255], W a multiple of 8 -> features `[B, W / 8, 120]`, logits
        `[B, W / 8, letters + 1]`."""
        x = avg_pool2d(self.blocks(self.stem(strips)), (3, 2))
        narrow = silu(self.narrow(x))
        columns = narrow + silu(self.near(narrow))
        mixed = self.norm(self.mixing(columns.squeeze(2).transpose(1, 2)))
        features = mixed + silu(self.short(x)).squeeze(2).transpose(1, 2)
        return features, self.letter(features)
