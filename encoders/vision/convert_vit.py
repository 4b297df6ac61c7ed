"""Turn the attention of a pretrained timm ViT into bidirectional Latte-Macchiato, in place.

    p(s|t) = p(0|t) p_0(s|t) + sum_l p(l|t) p(s|l)

p_0 is the ViT's own softmax attention, with its pretrained projections, norms and rotary positions,
to the patches around (encoders/grid_window.py) and to the prefix tokens: class and registers, the
attention sinks of a ViT. The latents l attend to all tokens through new query and key logits and
the pretrained values. One softmax over the gate logit and the latents' joins both. So one pass
encodes a whole image, in time and memory linear in its patches. Dolga et al., arXiv 2402.17512.
"""

from collections.abc import Callable
from functools import partial
from math import log
from typing import Any

import torch
from timm.layers.attention import Attention, AttentionRope
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from encoders.grid_window import grid_window
from encoders.latte import State
from encoders.stack import spans
from encoders.tiling import Grid

KINDS = (Attention, AttentionRope, EvaAttention)
"""Attention layers of timm that can be converted."""

LATENT_SHARE = 1e-6
"""Weight of all latents together at the start: features equal the original's up to rounding, and
gradients still reach the latents."""


class MacchiatoAttention(nn.Module):
    """Replace `attention`, one of `KINDS`, of a ViT with `prefix` class and register tokens.

    It takes over the projections, biases and norms under their names. `latents` are those of one
    head; their logits and the gate's are `gain` times the projections (encoders/mixers/latte.py).
    """

    # Of these a timm layer has some: one projection or three, biases in it or beside it.
    qkv: nn.Module
    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    q_bias: Tensor
    k_bias: Tensor
    v_bias: Tensor
    q_norm: nn.Module
    k_norm: nn.Module
    norm: nn.Module
    gate: nn.Module
    proj: nn.Module
    proj_drop: nn.Module

    def __init__(self, attention: Any, prefix: int, radius: int, latents: int, gain: float) -> None:
        super().__init__()
        _adopt(self, attention)
        self.heads, self.head_dim = int(attention.num_heads), int(attention.head_dim)
        self.rotate_half = bool(getattr(attention, "rotate_half", False))
        self.prefix, self.radius, self.latents, self.gain = prefix, radius, latents, gain
        weight = attention.proj.weight
        dim, like = weight.shape[0], {"device": weight.device, "dtype": weight.dtype}
        self.latent_query = nn.Linear(dim, self.heads * latents, bias=False, **like)
        self.latent_key = nn.Linear(dim, self.heads * latents, bias=False, **like)
        self.latent_gate = nn.Linear(dim, self.heads, **like)
        self.reset_latents()

    @torch.no_grad()
    def reset_latents(self) -> None:
        """Initialise the new parameters: random keys, the gate open to the window alone.

        Queries start at zero, so that the share of the latents does not depend on the input.
        """
        nn.init.normal_(self.latent_key.weight, std=self.latent_key.in_features**-0.5 / self.gain)
        for weight in (self.latent_query.weight, self.latent_gate.weight):
            nn.init.zeros_(weight)
        nn.init.constant_(self.latent_gate.bias, log(self.latents / LATENT_SHARE) / self.gain)

    def forward(
        self,
        x: Tensor,
        rope: Tensor | None = None,
        attn_mask: Grid | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attend within `x` `[B, T, D]`: prefix tokens, then patches row by row.

        `attn_mask`, which timm hands on to every block, is the `Grid` of the patches: it says which
        of them are near each other. `rope` `[R * C, 2 Dh]` or `[H, R * C, 2 Dh]`.
        Raises ValueError for any other mask and for a grid that does not fit.
        """
        if not isinstance(attn_mask, Grid) or is_causal:
            raise ValueError("a converted ViT attends to whole images: attn_mask is their Grid")
        rope = None if rope is None else _pad_rope(rope, self.prefix)
        qkv = map_tokens(lambda span: self._project(x[:, span], rope, span), x)
        q, k, v = qkv.unbind(2)
        state = State.of(self._logits(self.latent_key, x), v)
        first = slice(0, self.prefix)
        rest, sinks = slice(self.prefix, None), (k[:, first], v[:, first])
        near = grid_window(q[:, rest], k[:, rest], v[:, rest], attn_mask, self.radius, sinks)
        # A few queries over all keys are linear in the image.
        own, keys, values = (part.transpose(1, 2) for part in (q[:, first], k, v))
        prefix = scaled_dot_product_attention(own, keys, values).transpose(1, 2)
        del qkv, q, k, v, keys, values
        patches = x[:, rest]

        def finish(span: slice) -> Tensor:
            part = patches[:, span]
            return self._output(part, self._mix(part, near[:, span], state))

        return torch.cat([self._output(x[:, first], prefix), map_tokens(finish, patches)], 1)

    def _project(self, x: Tensor, rope: Tensor | None, span: slice) -> Tensor:
        """Queries, keys and values of the tokens in `span`, `[B, t, 3, H, Dh]`."""
        qkv: Tensor
        if hasattr(self, "qkv"):
            qkv = self.qkv(x)
            if hasattr(self, "q_bias"):
                qkv = qkv + torch.cat([self.q_bias, self.k_bias, self.v_bias])
            qkv = qkv.unflatten(-1, (3, self.heads, -1))
        else:
            layers = (self.q_proj, self.k_proj, self.v_proj)
            parts = [layer(x).unflatten(-1, (-1, self.head_dim)) for layer in layers]
            parts = [part.repeat_interleave(self.heads // part.shape[2], 2) for part in parts]
            qkv = torch.stack(parts, 2)
        if rope is None and isinstance(self.q_norm, nn.Identity):
            return qkv
        q, k, v = qkv.unbind(2)
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = (apply_rot_embed_cat(part, rope[span], half=self.rotate_half) for part in (q, k))
        return torch.stack([q.to(v.dtype), k.to(v.dtype), v], 2)

    def _mix(self, x: Tensor, near: Tensor, state: State) -> Tensor:
        """One softmax over gate and latents, of which the latents' part is Latte's own."""
        query = self._logits(self.latent_query, x)
        far = state.read(query, near.dtype)
        gate = self._logits(self.latent_gate, x).squeeze(-1).float()
        share = (gate - query.float().logsumexp(-1)).sigmoid()
        return torch.lerp(far, near, share.unsqueeze(-1).to(near.dtype))

    def _logits(self, layer: nn.Linear, x: Tensor) -> Tensor:
        bias = None if layer.bias is None else self.gain * layer.bias
        return linear(x, self.gain * layer.weight, bias).unflatten(-1, (self.heads, -1))

    def _output(self, x: Tensor, y: Tensor) -> Tensor:
        """`[B, t, D]` of the attended values y `[B, t, H, Dh]` of tokens x."""
        y = self.norm(y.flatten(2))
        if hasattr(self, "gate"):
            y = y * self.gate(x).sigmoid()
        out: Tensor = self.proj_drop(self.proj(y))
        return out


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


def map_tokens(function: Callable[[slice], Tensor], x: Tensor) -> Tensor:
    """Join `function(span)` `[B, t, ...]` of all spans of the tokens of `x` `[B, T, D]`.

    Without gradients spans are chunks, which bounds the activations inside `function`.
    """
    out: Tensor | None = None
    for span in spans(x):
        part = function(span)
        if part.shape[1] == x.shape[1]:
            return part
        if out is None:
            out = part.new_empty(len(part), x.shape[1], *part.shape[2:])
        out[:, span] = part
    assert out is not None
    return out


def _in_chunks(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return map_tokens(lambda span: forward(x[:, span]), x)


def _adopt(target: nn.Module, source: nn.Module) -> None:
    """Make submodules, parameters and buffers of `source` those of `target`, under their names."""
    for name, module in source.named_children():
        target.add_module(name, module)
    for name, parameter in source.named_parameters(recurse=False):
        target.register_parameter(name, parameter)
    for name, buffer in source.named_buffers(recurse=False):
        persistent = name not in source._non_persistent_buffers_set
        target.register_buffer(name, buffer, persistent)


def _pad_rope(rope: Tensor, prefix: int) -> Tensor:
    """Rotations `[T, 1 or H, 2 Dh]` of all tokens; those of prefix tokens are the identity."""
    rope = rope.unsqueeze(1) if rope.dim() == 2 else rope.transpose(0, 1)
    sine, cosine = rope.new_zeros(prefix, *rope.shape[1:]).chunk(2, -1)
    return torch.cat([torch.cat([sine, cosine + 1], -1), rope])
