"""Conversion of timm ViTs: equal up to the window, the same names, costs linear in the patches."""

from copy import deepcopy
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import ParallelScalingBlock
from tiny_vits import VITS, pixels, randomize_latents, tiny_vit
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from encoders.tiling import Grid
from encoders.vision.convert_vit import convert_vit, latent_names

close = torch.testing.assert_close


@torch.no_grad()
@pytest.mark.parametrize("grid", (Grid(1, 1), Grid(5, 5), Grid(1, 5), Grid(4, 3)), ids=str)
@pytest.mark.parametrize("kind", VITS)
def test_convert_vit_equals_the_original_up_to_the_window(kind: str, grid: Grid) -> None:
    vit = tiny_vit(kind)
    converted = convert_vit(deepcopy(vit), radius=4)
    image = pixels(vit, grid, batch=2)
    got = converted.forward_features(image, attn_mask=grid)
    close(got, vit.forward_features(image), rtol=0, atol=1e-4)


@torch.no_grad()
def test_convert_vit_differs_from_the_original_beyond_the_window() -> None:
    vit = tiny_vit()
    converted = convert_vit(deepcopy(vit), radius=4)
    image = pixels(vit, Grid(6, 5))
    got = converted.forward_features(image, attn_mask=Grid(6, 5))
    assert (got - vit.forward_features(image)).abs().max() > 0.01


@pytest.mark.parametrize("kind", VITS)
def test_convert_vit_keeps_the_names_of_pretrained_weights(kind: str, tmp_path: Path) -> None:
    vit = tiny_vit(kind)
    converted = convert_vit(tiny_vit(kind), radius=1)
    names = converted.state_dict().keys()
    assert names - latent_names(converted) == vit.state_dict().keys()
    result = converted.load_state_dict(vit.state_dict(), strict=False)
    assert set(result.missing_keys) == latent_names(converted) and not result.unexpected_keys
    save_file(randomize_latents(converted).state_dict(), tmp_path / "vit.safetensors")
    again = convert_vit(tiny_vit(kind), radius=1)
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
    vit, grid = convert_vit(tiny_vit()), Grid(2, 3)
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
    vit = tiny_vit()
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
            convert_vit(tiny_vit(), **words)
    vit = convert_vit(tiny_vit())
    with pytest.raises(ValueError, match="converted already"):
        convert_vit(vit)
    with pytest.raises(ValueError, match="attn_mask is their Grid"):
        vit.forward_features(pixels(vit, Grid(2, 2)))
    with pytest.raises(ValueError, match="3 x 2 patches does not fit"):
        vit.forward_features(pixels(vit, Grid(2, 2)), attn_mask=Grid(3, 2))
    with pytest.raises(ValueError, match="dropout"):
        convert_vit(tiny_vit(attn_drop_rate=0.1))
    with pytest.raises(ValueError, match="ParallelScalingBlock.*known attention layers are Atten"):
        convert_vit(tiny_vit(block_fn=ParallelScalingBlock))
