"""Any timm ViT: the whole image at native resolution, at a cost linear in its pixels.

Full ViT attention over 16k patches takes 20 times as long as the same patches in tiles, so the ViT
sees tile by tile, each patch keeps its row and column in the WHOLE image, and one small overview
of the whole image is read besides. What joins the tiles is the Latte stack above.
Or `attention: latte` converts the ViT (encoders/vision/convert_vit.py): then one pass encodes the
whole image, without tiles and overview.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from torch import Tensor, nn
from torch.nn.functional import pad

from encoders.pixels import Pixels, shrink
from encoders.position import sine_grid
from encoders.tiling import Grid, grid_of
from encoders.vision.convert_vit import convert_vit, latent_names
from encoders.vision.sheet import PIXELS_AT_ONCE, ImageTokens, Sheet, Tiles, parts_of
from encoders.vision.stem import ConvStem

WHOLE = 2**31
"""Side, in patches, of a tile that any image fits into."""

OPTIONS = {"radius", "latents", "gain"}
"""Keyword arguments of `convert_vit` that `attention_args` may have."""


class Encoder(nn.Module):
    """Tiles of `tile` pixels through the timm model `vit`, then a linear map to width `dim`.

    `vit_args` go to `timm.create_model` (`embed_dim`, `depth`, `patch_size`, ...). A ViT with
    rotary positions and no absolute ones (the default) reads border tiles and small images at
    their own size; one with an absolute position table reads full tiles, padded and masked.

    With `attention` latte there are no tiles and no overview: the ViT, at its own image size,
    becomes Latte-Macchiato with `attention_args` (radius, latents, gain) and encodes whole images;
    timm resamples an absolute position table to the grid of each.

    `max_patches`: patches of an image without its overview, at most; of more it is read at the
    largest scale that has no more.
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
        pixels_at_once: int = PIXELS_AT_ONCE,
        attention: str = "softmax",
        attention_args: dict[str, Any] | None = None,
        max_patches: int | None = None,
    ) -> None:
        super().__init__()
        self.max_patches = max_patches
        check_attention(attention, attention_args or {})
        self.whole = attention == "latte"
        self.recipe = {
            "model_name": vit,
            "num_classes": 0,
            # A table of positions for tiles; for whole images the one that was learned.
            **({} if self.whole else {"img_size": tile}),
            "dynamic_img_size": True,
            **(vit_args or {}),
        }
        self.vit = _create(self.recipe)
        self.patch: int = self.vit.patch_embed.patch_size[0]
        if self.whole:
            tile = self.vit.patch_embed.grid_size[0] * self.patch
            convert_vit(self.vit, **(attention_args or {}))
        if tile % self.patch:
            raise ValueError(f"tile {tile} px must be a multiple of the patch, {self.patch} px")
        if conv_stem:
            self.vit.patch_embed = ConvStem(self.patch, self.vit.embed_dim, tile)
        self.conv_stem = conv_stem
        self.side = WHOLE if self.whole else tile // self.patch
        self.overview = overview and not self.whole
        self.pixels_at_once = pixels_at_once
        self.dim = dim
        # A table of absolute positions belongs to full tiles.
        self.absolute = getattr(self.vit, "pos_embed", None) is not None and not self.whole
        self.project = nn.Linear(self.vit.num_features, dim)
        self.kind = nn.Parameter(torch.zeros(2, dim))  # image patch, overview patch
        data = resolve_model_data_config(self.vit)
        # Normalisation lives in the model, so that training and serving cannot differ.
        self.register_buffer("mean", torch.tensor(data["mean"]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(data["std"]).view(3, 1, 1), persistent=False)

    def load_vit(self, weights: str) -> None:
        """Pretrained weights into the ViT: a file with timm's key names, or "pretrained": timm's.

        Position tables of another grid are resampled by timm; of weights for the whole `vit`, where
        this one has a smaller `depth`, the first blocks are taken. Latents keep their initial
        values where the file, of a softmax ViT, has none. Raises ValueError where weights do not
        fit.
        """
        if self.conv_stem:
            raise ValueError("a pretrained ViT embeds its own patches: set conv_stem to false")
        latents, overlay = _split_latents(weights)
        words = {**self.recipe, "pretrained": True, "pretrained_cfg_overlay": overlay}
        own = self.vit.state_dict()
        names = own.keys() - latent_names(self.vit)
        latents = {name: latents[name] for name in own.keys() & latents.keys()}
        if any(own[name].shape != latents[name].shape for name in latents):
            raise ValueError(f"latents in {weights} do not fit: set attention_args to theirs")
        try:
            theirs = _create(words).state_dict()
        except ValueError:
            if "depth" not in words:
                raise
            del words["depth"]
            theirs = _create(words).state_dict()
            if not names <= theirs.keys():
                raise
        self.vit.load_state_dict(own | {name: theirs[name] for name in names} | latents)

    def count(self, height: int, width: int) -> int:
        """How many tokens an image of `height x width` pixels becomes."""
        size = self.read_size(height, width)
        grids = parts_of(*size, self.patch, self.side, self.overview)
        return sum(grid.size for grid in grids)

    def forward(self, images: Sequence[Pixels], room: int = 0) -> ImageTokens:
        """`images`: uint8 RGB `[3, H, W]` in [0, 255], each of its own size.

        `room` tokens stay free after those of the longest image, for words to be put in.
        """
        return self._encode(images, self._tokens, room)

    @property
    def trunk(self) -> nn.ModuleList:
        """What makes the features."""
        return nn.ModuleList([self.vit])

    def features(self, images: Sequence[Pixels]) -> ImageTokens:
        """What the ViT makes of each patch, in its own width: no positions, no map."""
        return self._encode(images, self._features)

    def map(self, image: ImageTokens) -> ImageTokens:
        """`features` as `forward` gives them."""
        kind = torch.zeros_like(image.mask, dtype=torch.long)
        for row, (whole, *_) in enumerate(image.grids):
            kind[row, whole.size :] = 1
        tokens = self._mapped(image.tokens, image.places, kind)
        return image._replace(tokens=tokens * image.mask.unsqueeze(-1))

    def _encode(
        self, images: Sequence[Pixels], encoder: Callable[[Tiles], Tensor], room: int = 0
    ) -> ImageTokens:
        images = [self._within(image) for image in images]
        sheet = Sheet(images, self.patch, self.side, self.overview, room)
        where = self.mean.dtype, self.mean.device
        return sheet.encode(encoder, self.pixels_at_once, *where, self.absolute, self.whole)

    def read_size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width in pixels at which an image of that size is read."""
        if self.max_patches is None or grid_of(height, width, self.patch).size <= self.max_patches:
            return height, width
        scale = self.patch * (self.max_patches / (height * width)) ** 0.5
        # Patches are counted up: a row and a column less than their share of the pixels.
        rows, columns = (max(1, int(side * scale / self.patch)) for side in (height, width))
        # Of a strip one side is a patch already: all that is too many is the other side's.
        rows = min(rows, max(1, self.max_patches // columns))
        columns = min(columns, max(1, self.max_patches // rows))
        return rows * self.patch, columns * self.patch

    def _within(self, image: Pixels) -> Pixels:
        size = self.read_size(image.shape[1], image.shape[2])
        return image if size == tuple(image.shape[1:]) else shrink(image, *size)

    def _tokens(self, tiles: Tiles) -> Tensor:
        return self._mapped(self._features(tiles), tiles.places, tiles.kind)

    def _mapped(self, features: Tensor, places: Tensor, kind: Tensor) -> Tensor:
        """Tokens `[..., D]` with their positions, of features `[..., E]`."""
        tokens: Tensor = self.project(features)
        embedded = sine_grid(places, self.dim) + self.kind[kind]
        return tokens + embedded.to(tokens.dtype)

    def _features(self, tiles: Tiles) -> Tensor:
        """Features `[m, E]` of the patches that exist."""
        # In place: of a whole image this is more than its features.
        pixels = tiles.pixels.div_(255).sub_(self.mean).div_(self.std)
        prefix = self.vit.num_prefix_tokens
        real = tiles.real.flatten(1)
        mask: Tensor | Grid | None = None
        if self.whole:
            mask = Grid(*tiles.real.shape[1:])
        elif not bool(real.all()):
            mask = pad(real, (prefix, 0), value=True)[:, None, None]
        features: Tensor = self.vit.forward_features(pixels, attn_mask=mask)[:, prefix:][real]
        return features


def check_attention(attention: str, attention_args: dict[str, Any]) -> None:
    """Raise ValueError for an attention that there is not, or arguments that it does not have."""
    if attention not in ("softmax", "latte"):
        raise ValueError(f"attention must be softmax or latte, not {attention!r}")
    if attention_args and attention == "softmax":
        raise ValueError("attention_args are for attention latte: softmax has none")
    unknown = sorted(attention_args.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"attention_args may be {', '.join(sorted(OPTIONS))}, not {unknown[0]}")


def _split_latents(weights: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Latents in the weights of a converted ViT, and where timm finds the others."""
    if weights == "pretrained":
        return {}, {}
    names: list[str] = []
    with suppress(SafetensorError, OSError), safe_open(weights, "pt") as file:
        names = [name for name in file.keys() if ".latent_" in name]  # noqa: SIM118
    if not names:  # timm reads other formats, and says what is wrong
        return {}, {"file": weights}
    tensors = load_file(weights)
    latents = {name: tensors.pop(name) for name in names}
    return latents, {"file": weights, "state_dict": tensors}  # timm prefers the latter


def _create(recipe: dict[str, Any]) -> Any:
    broken = (SafetensorError, UnpicklingError, OSError)  # files of weights
    try:
        vit = timm.create_model(**recipe)
    except (RuntimeError, TypeError, AssertionError, KeyError, *broken) as error:
        overlay = {**recipe.get("pretrained_cfg_overlay", {})}
        overlay.pop("state_dict", None)  # megabytes
        recipe = recipe | {"pretrained_cfg_overlay": overlay} if overlay else recipe
        raise ValueError(f"timm cannot make this ViT: {recipe}: {error}") from error
    if not hasattr(vit, "num_prefix_tokens"):
        raise ValueError(f"{recipe['model_name']} is no plain ViT: its tokens are not one a patch")
    return vit
