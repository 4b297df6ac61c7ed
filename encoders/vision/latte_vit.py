"""A ViT without tiles: bidirectional Latte blocks over all patches of the whole image.

Softmax attention could not afford it: at 16k patches it takes a hundred times as long. What tells
neighbours apart is the depth-wise convolution over the patch grid in each block; `local` blocks
that have nothing else may come first, for letters are to be read before they are compared.
Only the patch embedding goes tile by tile, to bound its memory; its tokens do not depend on the
tiles.
"""

from collections.abc import Sequence
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from encoders.pixels import Pixels
from encoders.position import sine_grid
from encoders.stack import Stack, spans
from encoders.vision.sheet import PIXELS_AT_ONCE, ImageTokens, Sheet, Tiles, parts_of
from encoders.vision.stem import ConvStem


class Encoder(nn.Module):
    """Patches of `patch` pixels (a power of two) through `local` blocks that see `kernel` patches
    across, then `depth` Latte blocks, all of width `width`, then a linear map to width `dim`.

    `tile`: side in pixels of the pieces in which patches are embedded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        dim: int,
        patch: int = 16,
        width: int = 192,
        depth: int = 4,
        heads: int = 3,
        latents: int = 192,
        mlp_ratio: float = 4.0,
        local: int = 0,
        kernel: int = 5,
        tile: int = 256,
        pixels_at_once: int = PIXELS_AT_ONCE,
    ) -> None:
        super().__init__()
        if tile % patch:
            raise ValueError(f"tile {tile} px must be a multiple of the patch, {patch} px")
        self.patch, self.side, self.pixels_at_once = patch, tile // patch, pixels_at_once
        self.dim, self.width = dim, width
        self.stem = ConvStem(patch, width, tile)
        same: dict[str, Any] = {"mlp_ratio": mlp_ratio, "grid_conv": True}
        near = Stack(width, local, heads, mixer=None, kernel=kernel, **same) if local else None
        self.local = near
        self.stack = Stack(width, depth, heads, latents=latents, **same)
        self.project = nn.Linear(width, dim)
        mean, std = IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def load_vit(self, weights: str) -> None:
        """Raises ValueError: there are none."""
        raise ValueError(f"{weights}: there are no pretrained weights for the encoder latte_vit")

    def count(self, height: int, width: int) -> int:
        """How many tokens an image of `height x width` pixels becomes."""
        return parts_of(height, width, self.patch, self.side, overview=False)[0].size

    def forward(self, images: Sequence[Pixels], room: int = 0) -> ImageTokens:
        """`images`: uint8 RGB `[3, H, W]` in [0, 255], each of its own size.

        `room` tokens stay free after those of the longest image, for words to be put in.
        """
        return self.map(self.features(images, room))

    @property
    def trunk(self) -> nn.ModuleList:
        """What makes the features."""
        return nn.ModuleList([self.stem, *([self.local] if self.local else []), self.stack])

    def features(self, images: Sequence[Pixels], room: int = 0) -> ImageTokens:
        """What the blocks make of each patch, in their own width."""
        # The stem looks up and left, less than a patch far.
        sheet = Sheet(images, self.patch, self.side, False, room, halo=1)
        embedded = sheet.encode(self._embed, self.pixels_at_once, self.mean.dtype, self.mean.device)
        tokens = embedded.tokens
        for stack in self.trunk[1:]:
            read: Any = stack if torch.is_grad_enabled() else stack.stream_
            tokens = read(tokens, *embedded[1:4])
        return embedded._replace(tokens=tokens)

    def map(self, image: ImageTokens) -> ImageTokens:
        """`features` as `forward` gives them, with their positions."""
        tokens = self._project(image.tokens, image.places)
        return image._replace(tokens=tokens.masked_fill_(~image.mask.unsqueeze(-1), 0))

    def _embed(self, tiles: Tiles) -> Tensor:
        """Tokens `[m, width]` of the patches that exist, with their positions."""
        patches = self.stem((tiles.pixels / 255 - self.mean) / self.std)[:, 1:, 1:]
        tokens: Tensor = patches[tiles.real]
        return tokens + sine_grid(tiles.places, self.width).to(tokens.dtype)

    def _project(self, tokens: Tensor, places: Tensor) -> Tensor:
        parts = [
            self.project(tokens[:, span]) + sine_grid(places[:, span], self.dim).to(tokens.dtype)
            for span in spans(tokens)
        ]
        return torch.cat(parts, 1)
