"""Latents fitted to the softmax attention of the ViT that they were put into."""

from copy import deepcopy

import pytest
import torch
from tiny_vits import pixels, tiny_vit

from encoders.tiling import Grid
from encoders.vision.convert_vit import convert_vit, latent_names
from encoders.vision.transfer_vit import fit_latents

KINDS = ("class token", "registers", "rotary")


@pytest.mark.parametrize("kind", KINDS)
def test_fit_latents_brings_features_closer(kind: str) -> None:
    vit = tiny_vit(kind)
    converted = convert_vit(deepcopy(vit), radius=1, latents=4)
    grids = (Grid(9, 9), Grid(7, 12), Grid(10, 8))
    *images, other = (pixels(vit, grid) for grid in grids)
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
    vit = convert_vit(tiny_vit("class token"), radius=1, latents=3)
    vit.requires_grad_(False)
    again, before = deepcopy(vit), {name: x.clone() for name, x in vit.state_dict().items()}
    images = [pixels(vit, grid) for grid in (Grid(5, 6), Grid(6, 5))]
    assert fit_latents(vit, images, steps=3) == fit_latents(again, images, steps=3)
    for name, weight in vit.state_dict().items():
        assert torch.equal(weight, before[name]) == (name not in latent_names(vit)), name
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not any(weight.requires_grad for weight in vit.parameters())
    assert not any(block.attn._forward_hooks for block in vit.blocks)
