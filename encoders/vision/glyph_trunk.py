"""The convolutions of a text recogniser, over a whole page instead of a line.

Those of PP-OCRv6 (small; PaddleOCR, Apache-2.0): a stem of stride 4, then thirteen blocks of a
depth-wise convolution and a channel MLP as in RepViT (arXiv 2307.09283). A recogniser's gates
(squeeze and excitation) average over the line it is given; a page has no such line, so their mean
over printed lines is folded into the convolution before them. What is left sees neighbours alone.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, max_pool2d, pad, relu

WIDTH = 384
"""Channels of the features."""
CELL = 8
"""Pixels from one feature to the next, both ways."""
GATE = 64
"""Channels of what tells letters from paper."""
REACH = 144
"""Pixels above and below that a feature may depend on, and a multiple of all strides."""


class Block(nn.Module):
    """A depth-wise convolution, then an MLP of each place, residual where no width changes."""

    def __init__(self, dim: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.near = nn.Conv2d(dim, dim, 3, (stride, 1), 1, groups=dim)
        self.wide = nn.Conv2d(dim, 2 * dim, 1)
        self.back = nn.Conv2d(2 * dim, out, 1)
        self.residual = dim == out

    def forward(self, x: Tensor) -> Tensor:
        x = self.near(x)
        y: Tensor = self.back(gelu(self.wide(x)))
        return x + y if self.residual else y


class Trunk(nn.Module):
    """Features of the cells of a page, and how likely a letter's middle lies in each."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 48, 3, 2, 1)
        self.narrow = nn.Conv2d(48, 24, 2)
        self.again = nn.Conv2d(24, 48, 2)
        self.second = nn.Conv2d(96, 48, 3, 2, 1)
        self.out = nn.Conv2d(48, 96, 1)
        blocks = [Block(96, 96) for _ in range(3)] + [Block(96, 192, 2)]
        blocks += [Block(192, 192) for _ in range(6)] + [Block(192, WIDTH, 2)]
        self.blocks = nn.Sequential(*blocks, Block(WIDTH, WIDTH), Block(WIDTH, WIDTH))
        self.register_buffer("shift", torch.zeros(WIDTH))
        self.register_buffer("scale", torch.ones(WIDTH))
        self.seen = nn.Conv2d(2 * WIDTH, GATE, 1)
        self.around = nn.Conv2d(GATE, GATE, 3, padding=1)
        self.letter = nn.Conv2d(GATE, 2, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, page: Tensor) -> tuple[Tensor, Tensor]:
        """RGB `[3, H, W]` in [0, 255], sides multiples of 16 -> features `[H / 8, W / 8, 384]`, and
        logits `[H / 8, W / 8]` of whether a letter's middle lies in each cell.

        As a recogniser expects it, print is about 30 pixels high.
        """
        found = self.convolved(page)
        return self.cells(found), self.letters(found)

    def convolved(self, page: Tensor) -> Tensor:
        """What the blocks make of a page: `[384, H / 16, W / 4]`."""
        x = page.flip(0).unsqueeze(0) / 127.5 - 1  # it was trained on BGR
        x = x.contiguous(memory_format=torch.channels_last)
        out: Tensor = self.blocks(self._stem(x)).squeeze(0)
        return out

    def cells(self, found: Tensor) -> Tensor:
        """Features of the cells from what is `convolved`: rows between rows, columns in pairs."""
        _, rows, columns = found.shape
        x = interpolate(found.unsqueeze(0), (2 * rows, columns), mode="bilinear").squeeze(0)
        x = x.unflatten(2, (columns // 2, 2)).mean(3).permute(1, 2, 0)
        return (x - self.shift) * self.scale

    def letters(self, found: Tensor) -> Tensor:
        """Logits from what is `convolved`: of the upper and the lower half of 16 x 8 pixels."""
        x = (found - self.shift[:, None, None]) * self.scale[:, None, None]
        x = x.unflatten(2, (-1, 2)).permute(0, 3, 1, 2).flatten(0, 1).unsqueeze(0)
        x = gelu(self.seen(x.contiguous(memory_format=torch.channels_last)))
        halves: Tensor = self.letter(gelu(self.around(x)))
        return halves.squeeze(0).transpose(0, 1).flatten(0, 1)

    def _stem(self, x: Tensor) -> Tensor:
        x = pad(relu(self.first(x)), (0, 1, 0, 1))
        y = relu(self.again(pad(relu(self.narrow(x)), (0, 1, 0, 1))))
        x = torch.cat([max_pool2d(x, 2, 1), y], 1)
        return relu(self.out(relu(self.second(x))))
