"""Latte-Macchiato inside a pretrained timm ViT."""

from copy import deepcopy
from math import prod
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.layers.attention import Attention, AttentionRope
from timm.models.eva import EvaAttention
from timm.models.vision_transformer import ParallelScalingBlock
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from encoders import grid_window, latte, stack
from encoders.tiling import Grid
from encoders.vision.convert_vit import convert_vit, latent_names
from encoders.vision.macchiato_attention import MacchiatoAttention

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
close = torch.testing.assert_close


def make(kind: str = "class token", **more: Any) -> Any:
    """A ViT whose every weight matters: timm's own initial weights are next to nothing."""
    torch.manual_seed(0)
    name, words = VITS[kind]
    words = {"num_classes": 0, "dynamic_img_size": True, **SIZES, **words, **more}
    vit = timm.create_model(name, **words)
    for weight in vit.parameters():
        nn.init.normal_(weight, std=weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.5)
    return vit.eval()


def train(vit: Any) -> Any:
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
@pytest.mark.parametrize("grid", (Grid(1, 1), Grid(5, 5), Grid(1, 5), Grid(4, 3)), ids=str)
@pytest.mark.parametrize("kind", VITS)
def test_convert_vit_equals_the_original_up_to_the_window(kind: str, grid: Grid) -> None:
    vit = make(kind)
    converted = convert_vit(deepcopy(vit), radius=4)
    image = pixels(vit, grid, batch=2)
    got = converted.forward_features(image, attn_mask=grid)
    close(got, vit.forward_features(image), rtol=0, atol=1e-4)


@torch.no_grad()
def test_convert_vit_differs_from_the_original_beyond_the_window() -> None:
    vit = make()
    converted = convert_vit(deepcopy(vit), radius=4)
    image = pixels(vit, Grid(6, 5))
    got = converted.forward_features(image, attn_mask=Grid(6, 5))
    assert (got - vit.forward_features(image)).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize(
    "grid", (Grid(1, 1), Grid(1, 63), Grid(65, 1), Grid(7, 9), Grid(16, 31), Grid(23, 22)), ids=str
)
@pytest.mark.parametrize("kind", VITS)
def test_convert_vit_equals_naive(kind: str, grid: Grid) -> None:
    vit = train(convert_vit(make(kind), radius=2, latents=3))
    image = pixels(vit, grid, batch=2)
    got = vit.forward_features(image, attn_mask=grid)
    for block in vit.blocks:
        block.attn = Naive(block.attn)
    close(got, vit.forward_features(image, attn_mask=grid), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ("class token", "no prefix", "rotary"))
def test_convert_vit_gradients_equal_naive(kind: str) -> None:
    vit = train(convert_vit(make(kind, depth=1), radius=1, latents=3)).double()
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
def test_convert_vit_gradients_reach_the_latents_from_the_start(kind: str) -> None:
    vit = convert_vit(make(kind), radius=1, latents=3)
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
def test_convert_vit_in_chunks_equals_all_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vit, grid = train(convert_vit(make(kind), radius=2)), Grid(13, 17)
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


@pytest.mark.parametrize("kind", VITS)
def test_convert_vit_keeps_the_names_of_pretrained_weights(kind: str, tmp_path: Path) -> None:
    vit = make(kind)
    converted = convert_vit(make(kind), radius=1)
    names = converted.state_dict().keys()
    assert names - latent_names(converted) == vit.state_dict().keys()
    result = converted.load_state_dict(vit.state_dict(), strict=False)
    assert set(result.missing_keys) == latent_names(converted) and not result.unexpected_keys
    save_file(train(converted).state_dict(), tmp_path / "vit.safetensors")
    again = convert_vit(make(kind), radius=1)
    again.load_state_dict(load_file(tmp_path / "vit.safetensors"))
    grid = Grid(6, 4)
    image = pixels(vit, grid)
    with torch.no_grad():
        got, expected = (
            each.forward_features(image, attn_mask=grid) for each in (again, converted)
        )
    assert torch.equal(got, expected)


@torch.no_grad()
def test_convert_vit_copies_do_not_share_weights() -> None:
    """The MLP, evaluated in chunks, is that of the copy."""
    vit, grid = convert_vit(make()), Grid(2, 3)
    copy = deepcopy(vit)
    expected = vit.forward_features(pixels(vit, grid), attn_mask=grid)
    for weight in vit.parameters():
        weight.zero_()
    assert torch.equal(copy.forward_features(pixels(copy, grid), attn_mask=grid), expected)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operator makes."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def flash_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def cost(vit: Any, grid: Grid, mask: Grid | None) -> tuple[int, int]:
    """Floating-point operations, and elements of the largest tensor."""
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    image = pixels(vit, grid)
    with FlopCounterMode(display=False, custom_mapping={on_cpu: flash_flops}) as counter:
        vit.forward_features(image, attn_mask=mask)
    with Largest() as largest:
        vit.forward_features(image, attn_mask=mask)
    return counter.get_total_flops(), largest.elements


@torch.no_grad()
def test_convert_vit_costs_are_linear_in_the_patches() -> None:
    small, large = Grid(64, 64), Grid(64, 128)
    vit = make()
    flops, _ = zip(*(cost(vit, grid, None) for grid in (small, large)), strict=True)
    assert flops[1] > 3 * flops[0]
    convert_vit(vit, radius=3)
    flops, elements = zip(*(cost(vit, grid, grid) for grid in (small, large)), strict=True)
    assert flops[1] <= 2.2 * flops[0] and elements[1] <= 2.2 * elements[0]
    assert elements[1] < prod(large) ** 2 / 20


def test_convert_vit_refuses_what_it_cannot_convert() -> None:
    for words in ({"radius": -1}, {"radius": 2.5}, {"latents": 0}, {"gain": 0.0}):
        with pytest.raises(
            ValueError, match=f"got .*{next(iter(words))} {next(iter(words.values()))}"
        ):
            convert_vit(make(), **words)
    vit = convert_vit(make())
    with pytest.raises(ValueError, match="converted already"):
        convert_vit(vit)
    with pytest.raises(ValueError, match="attn_mask is their Grid"):
        vit.forward_features(pixels(vit, Grid(2, 2)))
    with pytest.raises(ValueError, match="3 x 2 patches does not fit"):
        vit.forward_features(pixels(vit, Grid(2, 2)), attn_mask=Grid(3, 2))
    with pytest.raises(ValueError, match="dropout"):
        convert_vit(make(attn_drop_rate=0.1))
    with pytest.raises(ValueError, match="ParallelScalingBlock.*known attention layers are Atten"):
        convert_vit(make(block_fn=ParallelScalingBlock))
