"""The image encoder without tiles: every patch sees the whole image, however it was cut."""

import pytest
import torch
from torch import Tensor, nn

from encoders import stack
from encoders.position import sine_grid
from encoders.tiling import Grid
from encoders.vision.latte_vit import Encoder

PATCH, DIM = 8, 12
SIZES = ((64, 64), (100, 30), (1, 5), (17, 90))
close = torch.testing.assert_close


def make(tile: int = 32, seed: int = 0, local: int = 0) -> Encoder:
    torch.manual_seed(seed)
    encoder = Encoder(DIM, PATCH, width=16, depth=2, heads=2, latents=8, local=local, tile=tile)
    for module in encoder.stem.modules():
        if isinstance(module, nn.Conv2d):  # biases matter where padding meets them
            nn.init.normal_(module.bias)
    return encoder.eval()


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("local", (0, 2))
@pytest.mark.parametrize("tile", (8, 16, 128))
def test_tokens_do_not_depend_on_the_tiles(tile: int, local: int) -> None:
    images = [noise(*size) for size in SIZES]
    expected, got = make(local=local)(images), make(tile, local=local)(images)
    close(got.tokens, expected.tokens, rtol=0, atol=1e-5)
    assert (
        got.grids
        == expected.grids
        == [(Grid(8, 8),), (Grid(13, 4),), (Grid(1, 1),), (Grid(3, 12),)]
    )


@torch.no_grad()
def test_the_patch_embedding_is_that_of_the_whole_picture() -> None:
    encoder = make(tile=16)
    image = noise(40, 56)
    black = torch.zeros(3, 48, 64)
    black[:, 8:, 8:] = image
    whole = encoder.stem((black[None] / 255 - encoder.mean) / encoder.std)[0, 1:, 1:]
    seen: list[Tensor] = []
    encoder.stack.stream_ = lambda x, *_: seen.append(x.clone()) or x  # type: ignore[method-assign,func-returns-value,assignment]
    places = encoder([image]).places
    close(seen[0], whole.flatten(0, 1)[None] + sine_grid(places, 16), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("local", (0, 2))
def test_a_batch_of_mixed_sizes_is_each_alone(local: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make(local=local)
    images = [noise(*size) for size in SIZES]
    expected = [encoder([image]).tokens[0] for image in images]
    monkeypatch.setattr(stack, "CHUNK", 40)
    out = encoder(images, room=2)
    for tokens, mask, row, size in zip(out.tokens, out.mask, expected, SIZES, strict=True):
        assert mask.tolist() == [True] * encoder.count(*size) + [False] * (len(mask) - len(row))
        close(tokens[mask], row, rtol=0, atol=1e-5)
        assert not tokens[~mask].any()


@torch.no_grad()
def test_a_pixel_is_seen_by_every_patch() -> None:
    image = noise(64, 96)
    changed = image.clone()
    changed[:, 60, 90] ^= 255
    difference = (make()([image]).tokens - make()([changed]).tokens).abs().amax(-1)
    assert (difference > 0).all()


@torch.no_grad()
def test_local_blocks_see_their_neighbours_alone() -> None:
    """Two blocks of 5 x 5 patches before the Latte blocks: what they hand on reaches 4 patches."""
    encoder, seen = make(local=2), []
    assert encoder.local is not None
    encoder.stack.stream_ = lambda x, *_: seen.append(x.clone()) or x  # type: ignore[method-assign,func-returns-value,assignment]
    image = noise(128, 128)
    changed = image.clone()
    changed[:, 64, 64] ^= 255  # a corner of patch (8, 8): the next one's embedding misses it
    for pixels in (image, changed):
        encoder([pixels])
    differs = ((seen[0] - seen[1]).abs().amax(-1) > 0).view(16, 16)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:13, 4:13] = True
    assert torch.equal(differs, expected)


@pytest.mark.parametrize("local", (0, 2))
def test_gradients_reach_every_weight_and_learning_is_answering(local: int) -> None:
    encoder = make(local=local)
    images = [noise(*size) for size in SIZES]
    out = encoder(images)
    with torch.no_grad():
        close(out.tokens.detach(), encoder(images).tokens, rtol=0, atol=1e-5)
    out.tokens.square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of the patch"):
        Encoder(DIM, patch=16, tile=40)
    with pytest.raises(ValueError, match=r"patch of 2, 4, 8, ... px, got 12"):
        Encoder(DIM, patch=12, tile=24)
    with pytest.raises(ValueError, match="no pretrained weights"):
        make().load_vit("vit.safetensors")


@pytest.mark.parametrize("local", (0, 1))
def test_features_and_map_are_the_encoder(local: int) -> None:
    encoder, images = make(local=local), [noise(70, 33), noise(16, 100)]
    with torch.no_grad():
        whole, halves = encoder(images), encoder.map(encoder.features(images))
    assert torch.equal(halves.tokens, whole.tokens) and torch.equal(halves.mask, whole.mask)
    still = {id(weight) for weight in encoder.trunk.parameters()}
    learns = {name for name, weight in encoder.named_parameters() if id(weight) not in still}
    assert learns == {"project.weight", "project.bias"}
