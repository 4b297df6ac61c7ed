"""Turn the attention of a pretrained timm ViT into bidirectional Latte-Macchiato, in place.

    convert_vit(vit, radius=7)
    vit.forward_features(pixels, attn_mask=Grid(rows, columns))

One pass then encodes a whole image, in time and memory linear in its patches. What each layer
computes: encoders/vision/macchiato_attention.py. Dolga et al., arXiv 2402.17512, section on
extending pretrained models.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from timm.layers.attention import Attention, AttentionRope
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from encoders.vision.macchiato_attention import MacchiatoAttention, map_tokens

KINDS = (Attention, AttentionRope, EvaAttention)
"""Attention layers of timm that can be converted."""


def convert_vit(vit: Any, radius: int = 7, latents: int = 16, gain: float = 8.0) -> Any:
    """Convert the blocks of a timm ViT to Latte-Macchiato, in place; return the ViT.

    Each patch attends with the pretrained softmax attention to the patches at most `radius` rows
    and columns away and to the prefix tokens, and through `latents` per head to all tokens; prefix
    tokens attend to everything, exactly. The gate starts open to the window: on grids of at most
    radius + 1 rows and columns features equal the original's. Names of pretrained weights do not
    change. Afterwards `vit.forward_features` takes the patch `Grid` as its `attn_mask`.
    Raises ValueError for impossible options and a ViT that cannot be converted, or was already.
    """
    whole = isinstance(radius, int) and isinstance(latents, int)
    if not whole or radius < 0 or latents < 1 or not gain > 0:
        raise ValueError(
            "radius must be a whole number from 0, latents one from 1 and gain above 0, "
            f"got radius {radius}, latents {latents}, gain {gain}"
        )
    for block in vit.blocks:
        kind = type(getattr(block, "attn", None))
        if kind is MacchiatoAttention:
            raise ValueError("this ViT is converted already")
        if kind not in KINDS:
            known = ", ".join(known.__name__ for known in KINDS)
            name = f"{type(block).__name__} with {kind.__name__}"
            raise ValueError(f"cannot convert blocks {name}; known attention layers are {known}")
        if block.attn.attn_drop.p:
            raise ValueError("latent attention has no dropout of attention weights: set it to 0")
    for block in vit.blocks:
        block.attn = MacchiatoAttention(block.attn, vit.num_prefix_tokens, radius, latents, gain)
        # A partial of a bound method: deepcopy binds it to the copy, as it would not a closure.
        block.mlp.forward = partial(_in_chunks, block.mlp.forward)
    return vit


def latent_names(vit: nn.Module) -> set[str]:
    """State-dict names of the parameters that conversion has added to `vit`."""
    return {
        f"{name}.{parameter}"
        for name, module in vit.named_modules()
        if isinstance(module, MacchiatoAttention)
        for parameter in module.state_dict()
        if parameter.startswith("latent_")
    }


def _in_chunks(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return map_tokens(lambda span: forward(x[:, span]), x)
