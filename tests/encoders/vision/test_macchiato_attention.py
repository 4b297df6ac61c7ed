"""The converted attention layer against written-out [T, T] weights and timm's own layers."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from timm.layers.attention import Attention, AttentionRope
from timm.models.eva import EvaAttention
from tiny_vits import VITS, objective, pixels, randomize_latents, tiny_vit
from torch import Tensor, nn

from encoders import grid_window, latte, stack
from encoders.tiling import Grid
from encoders.vision.convert_vit import convert_vit, latent_names
from encoders.vision.macchiato_attention import MacchiatoAttention

close = torch.testing.assert_close


def naive(attention: MacchiatoAttention, x: Tensor, rope: Tensor | None, grid: Grid) -> Tensor:
    """The same layer with written-out [T, T] weights."""
    prefix, tokens = attention.prefix, torch.arange(grid.size)
    q, k, v = attention.project(x, rope)
    row, column = tokens // grid.columns, tokens % grid.columns
    apart = torch.maximum((row[:, None] - row).abs(), (column[:, None] - column).abs())
    seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
    seen[prefix:, prefix:] = apart <= attention.radius
    logits = torch.einsum("bthd,bshd->bhts", q, k) / attention.head_dim**0.5
    near = logits.masked_fill(~seen, -torch.inf).softmax(-1)

    def project(layer: nn.Linear) -> Tensor:
        return (attention.gain * layer(x)).unflatten(-1, (attention.heads, -1))

    query, key, gate = (
        project(layer)
        for layer in (attention.latent_query, attention.latent_key, attention.latent_gate)
    )
    far = latte.naive.bidirectional_weights(query, key)
    share = torch.cat([gate, query], -1).softmax(-1)[..., 0]  # [B, T, H]
    share = torch.cat([torch.ones_like(share[:, :prefix]), share[:, prefix:]], 1)
    share = share.transpose(1, 2).unsqueeze(-1)
    weights = share * near + (1 - share) * far
    return attention.output(x, torch.einsum("bhts,bshd->bthd", weights, v))


class Naive(nn.Module):
    """In place of a converted attention layer, its judge."""

    def __init__(self, attention: MacchiatoAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(
        self, x: Tensor, rope: Tensor | None = None, attn_mask: Any = None, **_: Any
    ) -> Tensor:
        return naive(self.attention, x, rope, attn_mask)


@torch.no_grad()
@pytest.mark.parametrize(
    "grid", (Grid(1, 1), Grid(1, 63), Grid(65, 1), Grid(7, 9), Grid(16, 31), Grid(23, 22)), ids=str
)
@pytest.mark.parametrize("kind", VITS)
def test_macchiato_attention_equals_naive(kind: str, grid: Grid) -> None:
    vit = randomize_latents(convert_vit(tiny_vit(kind), radius=2, latents=3))
    image = pixels(vit, grid, batch=2)
    got = vit.forward_features(image, attn_mask=grid)
    for block in vit.blocks:
        block.attn = Naive(block.attn)
    close(got, vit.forward_features(image, attn_mask=grid), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ("class token", "no prefix", "rotary"))
def test_macchiato_attention_gradients_equal_naive(kind: str) -> None:
    vit = randomize_latents(convert_vit(tiny_vit(kind, depth=1), radius=1, latents=3)).double()
    judge = deepcopy(vit)
    judge.blocks[0].attn = Naive(judge.blocks[0].attn)
    grid = Grid(5, 7)
    for model in (vit, judge):
        objective(model.forward_features(pixels(vit, grid).double(), attn_mask=grid)).backward()
    expected = [weight.grad for weight in judge.parameters()]
    for (name, weight), grad in zip(vit.named_parameters(), expected, strict=True):
        assert (weight.grad is None) == (grad is None), name
        if grad is not None:
            close(weight.grad, grad, rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", VITS)
def test_macchiato_attention_gradients_reach_the_latents_from_the_start(kind: str) -> None:
    vit = convert_vit(tiny_vit(kind), radius=1, latents=3)
    grid = Grid(5, 6)
    features = vit.forward_features(pixels(vit, grid), attn_mask=grid)
    objective(features[:, vit.num_prefix_tokens :]).backward()
    weights = dict(vit.named_parameters())
    assert len(latent_names(vit)) == 5 * len(vit.blocks)
    for name in latent_names(vit):
        grad = weights[name].grad
        assert grad is not None and grad.isfinite().all() and grad.any(), name


@torch.no_grad()
@pytest.mark.parametrize("kind", ("class token", "rotary", "eva"))
def test_macchiato_attention_in_chunks_equals_all_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit, grid = randomize_latents(convert_vit(tiny_vit(kind), radius=2)), Grid(13, 17)
    image = pixels(vit, grid)
    expected = vit.forward_features(image, attn_mask=grid)
    monkeypatch.setattr(stack, "CHUNK", 50)
    monkeypatch.setattr(grid_window, "QUERIES", 40)
    close(vit.forward_features(image, attn_mask=grid), expected, rtol=0, atol=1e-5)


LAYERS: dict[str, nn.Module] = {
    "gated, normed": Attention(
        16, 2, qk_norm=True, scale_norm=True, gated=True, norm_layer=nn.LayerNorm
    ),
    "wide heads": Attention(16, 2, attn_head_dim=12, qkv_bias=True),
    "grouped queries": AttentionRope(16, 4, qkv_fused=False, num_kv_heads=2),
    "half rotations": AttentionRope(16, 4, rotate_half=True, qk_norm=True, norm_layer=nn.LayerNorm),
    "three projections": EvaAttention(16, 2, qkv_fused=False, norm_layer=nn.LayerNorm),
    "bias added later": EvaAttention(
        16, 2, qkv_bias_separate=True, norm_layer=nn.LayerNorm, gated=True
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_macchiato_attention_keeps_every_option_of_timm(name: str) -> None:
    torch.manual_seed(0)
    layer = deepcopy(LAYERS[name])
    for weight in layer.parameters():
        nn.init.normal_(weight, std=0.4)
    x, rope = torch.randn(2, 13, 16), torch.randn(12, 2 * layer.head_dim)  # type: ignore[operator]
    more = {} if isinstance(layer, Attention) else {"rope": rope}
    converted = MacchiatoAttention(layer, prefix=1, radius=3, latents=2, gain=8.0)
    got = converted(x, attn_mask=Grid(4, 3), **more)
    close(got, layer(x, **more), rtol=0, atol=1e-4)
