"""Stem and blocks of PP-OCRv6's small networks (PaddleOCR, Apache-2.0), batch norms folded away.

A stem of stride 4, then blocks of a depth-wise convolution, a gate on some, and a channel MLP, as
in RepViT (arXiv 2307.09283). Detector (line_finder.py) and recogniser (line_reader.py) are made of
them.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, max_pool2d, pad, relu


class Gate(nn.Module):
    """Squeeze and excitation (arXiv 1709.01507): how much of each channel an image lets through.

    `slope` of the hard sigmoid, which differs between the networks.
    """

    def __init__(self, dim: int, slope: float = 1 / 6) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(dim, dim // 4, 1)
        self.excite = nn.Conv2d(dim // 4, dim, 1)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        wanted = self.excite(relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * (self.slope * wanted + 0.5).clamp(0, 1)


class Block(nn.Module):
    """A depth-wise convolution, a gate where `gated`, an MLP of each place, residual where no width
    changes."""

    def __init__(
        self, dim: int, out: int, stride: tuple[int, int] = (1, 1), gated: bool = False
    ) -> None:
        super().__init__()
        self.near = nn.Conv2d(dim, dim, 3, stride, 1, groups=dim)
        self.gate = Gate(dim) if gated else None
        self.wide = nn.Conv2d(dim, 2 * dim, 1)
        self.back = nn.Conv2d(2 * dim, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.near(x)
        if self.gate is not None:
            x = self.gate(x)
        y: Tensor = self.back(gelu(self.wide(x)))
        return x + y if x.shape == y.shape else y


class Stem(nn.Module):
    """RGB `[B, 3, H, W]` in [0, 255] -> `[B, out, H / 4, W / 4]`; H and W multiples of 4."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, dim, 3, 2, 1)
        self.narrow = nn.Conv2d(dim, dim // 2, 2)
        self.again = nn.Conv2d(dim // 2, dim, 2)
        self.second = nn.Conv2d(2 * dim, dim, 3, 2, 1)
        self.out = nn.Conv2d(dim, out, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels.flip(1) / 127.5 - 1  # they were trained on BGR
        x = x.contiguous(memory_format=torch.channels_last)
        x = pad(relu(self.first(x)), (0, 1, 0, 1))
        y = relu(self.again(pad(relu(self.narrow(x)), (0, 1, 0, 1))))
        x = torch.cat([max_pool2d(x, 2, 1), y], 1)
        return relu(self.out(relu(self.second(x))))
