"""Latents fitted to the softmax attention of the ViT that they were put into."""

from copy import deepcopy
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from encoders.tiling import Grid
from encoders.vision.convert_vit import convert_vit, latent_names
from encoders.vision.transfer_vit import fit_latents

VITS = {
    "class token": ("vit_tiny_patch16_224", {"img_size": 64}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "init_values": 1.0}),
    "rotary": ("vit_small_patch16_rope_224", {"init_values": 1.0}),
}


def make(kind: str) -> Any:
    torch.manual_seed(0)
    name, words = VITS[kind]
    sizes: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2, **words}
    vit = timm.create_model(name, num_classes=0, dynamic_img_size=True, **sizes)
    for weight in vit.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return vit.eval()


def pixels(vit: Any, *grids: Grid) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    patch = vit.patch_embed.patch_size[0]
    shapes = [(1, 3, grid.rows * patch, grid.columns * patch) for grid in grids]
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("kind", VITS)
def test_fit_latents_brings_features_closer(kind: str) -> None:
    vit = make(kind)
    converted = convert_vit(deepcopy(vit), radius=1, latents=4)
    *images, other = pixels(vit, Grid(9, 9), Grid(7, 12), Grid(10, 8))
    with torch.no_grad():
        expected = vit.forward_features(other)
        before = converted.forward_features(other, attn_mask=Grid(10, 8))
        fits = fit_latents(converted, images, steps=60, lr=3e-3)
        after = converted.forward_features(other, attn_mask=Grid(10, 8))
    assert len(fits) == 2
    for fit in fits:
        assert fit.final < fit.initial < fit.window
    assert (after - expected).norm() < 0.7 * (before - expected).norm()


def test_fit_latents_changes_latents_alone_and_repeats() -> None:
    vit = convert_vit(make("class token"), radius=1, latents=3)
    vit.requires_grad_(False)
    again, before = deepcopy(vit), {name: x.clone() for name, x in vit.state_dict().items()}
    images = pixels(vit, Grid(5, 6), Grid(6, 5))
    assert fit_latents(vit, images, steps=3) == fit_latents(again, images, steps=3)
    for name, weight in vit.state_dict().items():
        assert torch.equal(weight, before[name]) == (name not in latent_names(vit)), name
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not any(weight.requires_grad for weight in vit.parameters())
    assert not any(block.attn._forward_hooks for block in vit.blocks)
