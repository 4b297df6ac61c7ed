"""Pixels read where they are asked for."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from encoders import pixels
from encoders.pixels import shrink
from encoders.vision.vit import Encoder

close = torch.testing.assert_close


class Lazy:
    """An image that counts how many pixels it gave away at most at a time."""

    def __init__(self, image: Tensor) -> None:
        self.image, self.most = image, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.image.shape)

    def __getitem__(self, piece: tuple[slice, slice, slice]) -> Tensor:
        view = self.image[piece].clone()
        self.most = max(self.most, view[0].numel())
        return view


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", ((64, 64), (100, 96), (70, 127)), ids=str)
def test_up_to_twice_the_size_shrink_is_antialiased_interpolation(size: tuple[int, int]) -> None:
    image = noise(*size)
    expected = interpolate(image[None].float(), (64, 64), mode="bilinear", antialias=True)[0]
    close(shrink(image, 64, 64), expected, rtol=0, atol=0)


def test_whole_factors_are_averages_first() -> None:
    image = noise(256, 512)
    means = avg_pool2d(image.float(), 8)  # to 32 x 64, then to half of that
    expected = interpolate(means[None], (16, 32), mode="bilinear", antialias=True)[0]
    close(shrink(image, 16, 32), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", ((1, 500), (500, 1), (97, 301), (333, 64)), ids=str)
@pytest.mark.parametrize("band", (1, 700, 2**22))
def test_bands_change_nothing(
    size: tuple[int, int], band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Lazy(noise(*size))
    whole = shrink(image.image, 7, 5)
    monkeypatch.setattr(pixels, "BAND", band)
    close(shrink(image, 7, 5), whole, rtol=0, atol=1e-4)
    factors = max(1, size[0] // 14), max(1, size[1] // 10)
    assert image.most <= max(band, size[1] * factors[0])


def test_shrunk_a_gradient_is_a_gradient() -> None:
    """Every pixel weighs the same: the place of what is seen does not shift."""
    ramp = torch.arange(1024, dtype=torch.float32) / 4
    image = ramp.expand(3, 1024, 1024)
    small = shrink(image, 64, 64)
    expected = avg_pool2d(image, 16)
    close(small[:, :, 2:-2], expected[:, :, 2:-2], rtol=0, atol=1e-3)


@torch.no_grad()
def test_the_encoder_reads_tiles_and_bands_only() -> None:
    torch.manual_seed(0)
    args = {"embed_dim": 16, "depth": 1, "num_heads": 1, "init_values": 1.0}
    encoder = Encoder(16, "vit_small_patch16_rope_224", args, tile=64).eval()
    images = [noise(300, 500), noise(20, 30)]
    lazy = [Lazy(image) for image in images]
    tokens, expected = encoder(lazy), encoder(images)
    assert torch.equal(tokens.tokens, expected.tokens)
    assert lazy[1].most <= 64 * 64


@torch.no_grad()
def test_room_for_words_is_free() -> None:
    torch.manual_seed(0)
    args = {"embed_dim": 16, "depth": 1, "num_heads": 1, "init_values": 1.0}
    encoder = Encoder(16, "vit_small_patch16_rope_224", args, tile=64).eval()
    images = [noise(70, 50), noise(20, 30)]
    with_room, without = encoder(images, room=3), encoder(images)
    assert torch.equal(with_room.tokens[:, :-3], without.tokens)
    assert not with_room.tokens[:, -3:].any() and not with_room.mask[:, -3:].any()
    assert torch.equal(with_room.mask[:, :-3], without.mask)
