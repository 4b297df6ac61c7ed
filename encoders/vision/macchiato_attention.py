"""Latte-Macchiato as the attention of a pretrained timm ViT (arXiv 2402.17512, v4), bidirectional.

    p(s|t) = p(0|t) p_0(s|t) + sum_l p(l|t) p(s|l)

p_0 is the ViT's own softmax attention, with its pretrained projections, norms and rotary positions,
to the patches around (encoders/grid_window.py) and to the prefix tokens: class and registers, the
attention sinks of a ViT. The latents l attend to all tokens through new query and key logits and
the pretrained values. One softmax over the gate logit and the latents' joins both.
"""

from collections.abc import Callable
from math import log
from typing import Any

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from encoders.grid_window import grid_window
from encoders.latte import State
from encoders.stack import spans
from encoders.tiling import Grid

LATENT_SHARE = 1e-6
"""Weight of all latents together at the start: features equal the original's up to rounding, and
gradients still reach the latents."""


class MacchiatoAttention(nn.Module):
    """Replace `attention`, a layer of a timm ViT with `prefix` class and register tokens.

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
        self.latent_query = nn.Linear(dim, self.heads * latents, **like)
        self.latent_key = nn.Linear(dim, self.heads * latents, bias=False, **like)
        self.latent_gate = nn.Linear(dim, self.heads, **like)
        self.reset_latents()

    @torch.no_grad()
    def reset_latents(self) -> None:
        """Initialise the new parameters: random keys, the gate open to the window alone.

        Queries start at zero, so that the share of the latents does not depend on the input.
        """
        nn.init.normal_(self.latent_key.weight, std=self.latent_key.in_features**-0.5 / self.gain)
        for weight in (*self.latent_query.parameters(), self.latent_gate.weight):
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
        q, k, v = self.project(x, rope)
        state = State.of(self.logits(self.latent_key, x), v)
        near = self.attend_window(q, k, v, attn_mask)
        # A few queries over all keys are linear in the image.
        own, keys, values = (part.transpose(1, 2) for part in (q[:, : self.prefix], k, v))
        prefix = scaled_dot_product_attention(own, keys, values).transpose(1, 2)
        del q, k, v, own, keys, values
        first, patches = x[:, : self.prefix], x[:, self.prefix :]

        def finish(span: slice) -> Tensor:
            part = patches[:, span]
            return self.output(part, self.mix(part, near[:, span], state))

        return torch.cat([self.output(first, prefix), map_tokens(finish, patches)], 1)

    def project(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all tokens x `[B, T, D]`, `[B, T, H, Dh]` each."""
        rope = None if rope is None else _pad_rope(rope, self.prefix)
        qkv = map_tokens(lambda span: self._project(x[:, span], rope, span), x)
        q, k, v = qkv.unbind(2)
        return q, k, v

    def attend_window(self, q: Tensor, k: Tensor, v: Tensor, grid: Grid) -> Tensor:
        """Pretrained attention of patches to near ones and prefix tokens, `[B, R * C, H, Dh]`."""
        sinks = k[:, : self.prefix], v[:, : self.prefix]
        q, k, v = (part[:, self.prefix :] for part in (q, k, v))
        return grid_window(q, k, v, grid, self.radius, sinks)

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

    def mix(self, x: Tensor, near: Tensor, state: State) -> Tensor:
        """One softmax over gate and latents, of which the latents' part is Latte's own."""
        query = self.logits(self.latent_query, x)
        far = state.read(query, near.dtype)
        gate = self.logits(self.latent_gate, x).squeeze(-1).float()
        share = (gate - query.float().logsumexp(-1)).sigmoid()
        return torch.lerp(far, near, share.unsqueeze(-1).to(near.dtype))

    def logits(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """Logits of latents `[B, t, H, Lh]`, or of the gate `[B, t, H, 1]`, of tokens x."""
        bias = None if layer.bias is None else self.gain * layer.bias
        return linear(x, self.gain * layer.weight, bias).unflatten(-1, (self.heads, -1))

    def output(self, x: Tensor, y: Tensor) -> Tensor:
        """`[B, t, D]` of the attended values y `[B, t, H, Dh]` of tokens x."""
        y = self.norm(y.flatten(2))
        if hasattr(self, "gate"):
            y = y * self.gate(x).sigmoid()
        out: Tensor = self.proj_drop(self.proj(y))
        return out


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
