"""Any timm ViT over tiles: the whole image at native resolution, at a cost linear in its pixels.

Full ViT attention over 16k patches takes 20 times as long as the same patches in tiles, so the ViT
sees tile by tile, each patch keeps its row and column in the WHOLE image, and one small overview
of the whole image is read besides. What joins the tiles is the Latte stack above.
"""

from collections.abc import Sequence
from pickle import UnpicklingError
from typing import Any, NamedTuple

import timm
import torch
from safetensors import SafetensorError
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torch.nn.functional import interpolate

from encoders import tiling
from encoders.position import sine_grid
from encoders.tiling import Grid
from encoders.vision.stem import ConvStem


class ImageTokens(NamedTuple):
    """Patch tokens of a batch of images.

    `tokens` `[B, N, D]`; `mask` bool `[B, N]`, True = real; `grids[b]`: the patch grids that the
    tokens of image b are made of, in order: the image itself, then its overview where it has one;
    `places` `[B, N, 2]`: row and column of each patch in the image, in patches.
    """

    tokens: Tensor
    mask: Tensor
    grids: list[tuple[Grid, ...]]
    places: Tensor


class _Part(NamedTuple):
    """One picture to read: an image or its overview."""

    pixels: Tensor
    grid: Grid
    scale: tuple[float, float]
    overview: bool


class Encoder(nn.Module):
    """Tiles of `tile` pixels through the timm model `vit`, then a linear map to width `dim`.

    `vit_args` go to `timm.create_model` (`embed_dim`, `depth`, `patch_size`, ...). A ViT with
    rotary positions and no absolute ones (the default) reads border tiles and small images at
    their own size; one with an absolute position table reads full tiles, padded and masked.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        dim: int,
        vit: str,
        vit_args: dict[str, Any] | None = None,
        tile: int = 256,
        overview: bool = True,
        conv_stem: bool = False,
        tiles_at_once: int = 64,
    ) -> None:
        super().__init__()
        self.recipe = {
            "model_name": vit,
            "num_classes": 0,
            "img_size": tile,
            "dynamic_img_size": True,
            **(vit_args or {}),
        }
        self.vit = _create(self.recipe)
        self.patch: int = self.vit.patch_embed.patch_size[0]
        if tile % self.patch:
            raise ValueError(f"tile {tile} px must be a multiple of the patch, {self.patch} px")
        if conv_stem:
            self.vit.patch_embed = ConvStem(self.patch, self.vit.embed_dim, tile)
        self.conv_stem = conv_stem
        self.side = tile // self.patch
        self.overview = overview
        self.tiles_at_once = tiles_at_once
        self.dim = dim
        self.absolute = getattr(self.vit, "pos_embed", None) is not None
        self.project = nn.Linear(self.vit.num_features, dim)
        self.kind = nn.Parameter(torch.zeros(2, dim))  # image patch, overview patch
        data = resolve_model_data_config(self.vit)
        # Normalisation lives in the model, so that training and serving cannot differ.
        self.register_buffer("mean", torch.tensor(data["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(data["std"]).view(3, 1, 1), persistent=False)

    def load_vit(self, weights: str) -> None:
        """Pretrained weights into the ViT: a file with timm's key names, or "pretrained": timm's.

        Position tables of another grid are resampled by timm. Raises ValueError where they do not
        fit.
        """
        if self.conv_stem:
            raise ValueError("a pretrained ViT embeds its own patches: set conv_stem to false")
        overlay = {} if weights == "pretrained" else {"file": weights}
        donor = _create({**self.recipe, "pretrained": True, "pretrained_cfg_overlay": overlay})
        self.vit.load_state_dict(donor.state_dict())

    def count(self, height: int, width: int) -> int:
        """How many tokens an image of `height x width` pixels becomes."""
        grid = tiling.grid_of(height, width, self.patch)
        return grid.size + (self._overview_grid(grid).size if self._needs_overview(grid) else 0)

    def forward(self, images: Sequence[Tensor]) -> ImageTokens:
        """`images`: uint8 RGB `[3, H, W]` in [0, 255], each of its own size."""
        parts = [self._parts(image) for image in images]
        flat = [part for group in parts for part in group]
        tokens = iter(self._encode(flat))
        joined = [torch.cat([next(tokens) for _ in group]) for group in parts]
        places = [torch.cat([self._places(part) for part in group]) for group in parts]
        lengths = torch.tensor([len(item) for item in joined], device=joined[0].device)
        padded = tiling.pad_tokens(joined)
        mask = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
        grids = [tuple(part.grid for part in group) for group in parts]
        return ImageTokens(padded, mask, grids, tiling.pad_tokens(places))

    def _needs_overview(self, grid: Grid) -> bool:
        return self.overview and max(grid) > self.side  # one tile shows it all already

    def _overview_grid(self, grid: Grid) -> Grid:
        shrink = max(grid) / self.side
        return Grid(max(1, round(grid.rows / shrink)), max(1, round(grid.columns / shrink)))

    def _parts(self, image: Tensor) -> list[_Part]:
        image = image.to(self.kind.device)
        grid = tiling.grid_of(image.shape[1], image.shape[2], self.patch)
        parts = [_Part(image, grid, (1.0, 1.0), False)]
        if self._needs_overview(grid):
            small = self._overview_grid(grid)
            size = (small.rows * self.patch, small.columns * self.patch)
            view = interpolate(
                image.unsqueeze(0).float(), size, mode="bilinear", antialias=True
            ).squeeze(0)
            scale = (grid.rows / small.rows, grid.columns / small.columns)
            parts.append(_Part(view, small, scale, True))
        return parts

    def _encode(self, parts: list[_Part]) -> list[Tensor]:
        """Patch tokens `[grid.size, D]` of each part; all their tiles share the ViT's batches."""
        tiles = [tiling.tiles_of(part.grid, self.side) for part in parts]
        rows = max(tile.rows for group in tiles for tile in group)
        columns = max(tile.columns for group in tiles for tile in group)
        if self.absolute:  # its position table belongs to full tiles
            rows = columns = self.side
        flat = [(part, tile) for part, group in zip(parts, tiles, strict=True) for tile in group]
        step = len(flat) if torch.is_grad_enabled() else self.tiles_at_once
        batches = [
            self._tokens(flat[start : start + step], rows, columns)
            for start in range(0, len(flat), step)
        ]
        tokens = torch.cat(batches)
        groups = tokens.split([len(group) for group in tiles])
        return [
            tiling.stitch(group, of, part.grid) + self._embedded(part).to(group.dtype)
            for part, of, group in zip(parts, tiles, groups, strict=True)
        ]

    def _tokens(self, batch: list[tuple[_Part, tiling.Tile]], rows: int, columns: int) -> Tensor:
        """Tiles through the ViT: `[len(batch), rows, columns, D]`, without positions."""
        cuts = [
            (tiling.cut(part.pixels, [tile], self.patch, rows, columns), part, tile)
            for part, tile in batch
        ]
        pixels = torch.cat([cut.to(self.mean.dtype) for cut, _, _ in cuts])
        pixels = (pixels / 255 - self.mean) / self.std
        extent = torch.tensor(
            [(tile.rows, tile.columns) for _, tile in batch], device=pixels.device
        )
        real = (torch.arange(rows, device=pixels.device)[:, None] < extent[:, :1, None]) & (
            torch.arange(columns, device=pixels.device) < extent[:, 1:, None]
        )
        prefix = self.vit.num_prefix_tokens
        seen = None
        if not bool(real.all()):
            seen = torch.nn.functional.pad(real.flatten(1), (prefix, 0), value=True)[:, None, None]
        features = self.vit.forward_features(pixels, attn_mask=seen)[:, prefix:]
        out: Tensor = self.project(features).unflatten(1, (rows, columns))
        return out

    def _places(self, part: _Part) -> Tensor:
        return tiling.positions(part.grid, part.scale).to(self.kind.device)

    def _embedded(self, part: _Part) -> Tensor:
        return sine_grid(self._places(part), self.dim) + self.kind[int(part.overview)]


def _create(recipe: dict[str, Any]) -> Any:
    broken = (SafetensorError, UnpicklingError, OSError)  # files of weights
    try:
        vit = timm.create_model(**recipe)
    except (RuntimeError, TypeError, AssertionError, KeyError, *broken) as error:
        raise ValueError(f"timm cannot make this ViT: {recipe}: {error}") from error
    if not hasattr(vit, "num_prefix_tokens"):
        raise ValueError(f"{recipe['model_name']} is no plain ViT: its tokens are not one a patch")
    return vit
