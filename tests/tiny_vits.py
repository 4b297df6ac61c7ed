"""Tiny timm ViTs of every family that can be converted."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from encoders.tiling import Grid
from encoders.vision.convert_vit import latent_names

SIZES: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
VITS: dict[str, tuple[str, dict[str, Any]]] = {
    "class token": ("vit_tiny_patch16_224", {"img_size": 64}),
    "no prefix": ("vit_medium_patch16_gap_240", {"init_values": 1.0}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "init_values": 1.0}),
    "rotary": ("vit_small_patch16_rope_224", {"init_values": 1.0}),
    "rotary per head": ("vit_small_patch16_rope_mixed_224", {"init_values": 1.0}),
    "dinov3": ("vit_small_patch16_dinov3", {"init_values": 1.0}),
    "eva": ("eva02_tiny_patch14_224", {}),
}


def tiny_vit(kind: str = "class token", **more: Any) -> Any:
    """A ViT whose every weight matters: timm's own initial weights are next to nothing."""
    torch.manual_seed(0)
    name, words = VITS[kind]
    words = {"num_classes": 0, "dynamic_img_size": True, **SIZES, **words, **more}
    vit = timm.create_model(name, **words)
    for weight in vit.parameters():
        nn.init.normal_(weight, std=weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.5)
    return vit.eval()


def randomize_latents(vit: Any) -> Any:
    """Latents as training may leave them: the gate neither open nor shut."""
    generator = torch.Generator().manual_seed(1)
    for name, weight in vit.state_dict().items():
        if name in latent_names(vit):
            nn.init.normal_(weight, std=0.05, generator=generator)
    return vit


def pixels(vit: Any, grid: Grid, batch: int = 1) -> Tensor:
    patch = vit.patch_embed.patch_size[0]
    generator = torch.Generator().manual_seed(grid.rows * 1000 + grid.columns)
    return torch.randn(batch, 3, grid.rows * patch, grid.columns * patch, generator=generator)


def objective(features: Tensor) -> Tensor:
    """A number that depends on every feature."""
    weights = torch.linspace(-1, 1, features.numel(), dtype=features.dtype)
    return (features * weights.view(features.shape)).sum()
