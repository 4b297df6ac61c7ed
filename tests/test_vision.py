"""A timm ViT over tiles: every patch in its place, whatever else is in the batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from encoders import tiling
from encoders.position import sine_grid
from encoders.tiling import Grid
from encoders.vision import sheet
from encoders.vision.sheet import ImageTokens
from encoders.vision.vit import Encoder

PATCH, TILE, DIM = 16, 64, 16
ARGS: dict[str, Any] = {"embed_dim": 32, "depth": 1, "num_heads": 2}
# Positions of the ViT itself; 1.0: timm's layer scale of 1e-5 would hide the blocks from the tests.
ROTARY = "vit_small_patch16_rope_224"
MODELS: dict[str, dict[str, Any]] = {
    "rotary": {"vit": ROTARY, "vit_args": {**ARGS, "init_values": 1.0}},
    "absolute": {"vit": "vit_tiny_patch16_224", "vit_args": ARGS},
    "stem": {"vit": ROTARY, "vit_args": {**ARGS, "init_values": 1.0}, "conv_stem": True},
}
SIZES = ((64, 64), (100, 300), (1, 5), (30, 64), (200, 70))
close = torch.testing.assert_close


def make(kind: str = "rotary", **words: Any) -> Encoder:
    """An encoder whose every part matters: timm's own initial weights are next to nothing."""
    torch.manual_seed(0)
    encoder = Encoder(DIM, **{**MODELS[kind], "tile": TILE, **words})
    for weight in encoder.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return encoder.eval()


@pytest.fixture(scope="module", params=MODELS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return make(request.param)


def noise(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 10_000 + width)
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def alone(encoder: Encoder, image: Tensor) -> Tensor:
    """Tokens `[N, D]` of one image."""
    out = encoder([image])
    assert out.mask.all()
    return out.tokens[0]


def check_rows(out: ImageTokens, expected: list[Tensor]) -> None:
    assert out.tokens.isfinite().all()
    for tokens, mask, grids, places, _, row in zip(*out, expected, strict=True):
        assert places.shape == (len(mask), 2)
        assert mask.tolist() == [True] * len(row) + [False] * (len(mask) - len(row))
        assert sum(grid.size for grid in grids) == len(row)
        close(tokens[mask], row, rtol=0, atol=1e-5)
        assert not tokens[~mask].any()


@torch.no_grad()
@pytest.mark.parametrize("at_once", (1, 3, 64))
def test_a_batch_of_mixed_sizes_is_each_alone(encoder: Encoder, at_once: int) -> None:
    images = [noise(*size) for size in SIZES]
    encoder.pixels_at_once = 64 * TILE**2
    expected = [alone(encoder, image) for image in images]
    encoder.pixels_at_once = at_once * TILE**2
    check_rows(encoder(images), expected)
    check_rows(encoder(images[::-1]), expected[::-1])


def test_reading_to_learn_is_reading_to_answer(encoder: Encoder) -> None:
    """With gradients all tiles go at once; the tokens are the same."""
    images = [noise(*size) for size in SIZES]
    check_rows(encoder(images), [alone(encoder, image) for image in images])


def test_gradients_reach_every_weight_and_are_finite(encoder: Encoder) -> None:
    encoder.zero_grad()
    encoder([noise(100, 130), noise(1, 5)]).tokens.square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.any() or name == "vit.blocks.0.attn.qkv.bias", name


@pytest.mark.parametrize("size", ((1, 5000), (5000, 1), (65, 64), (127, 129)), ids=str)
def test_count_and_grids_of_sizes_never_seen(encoder: Encoder, size: tuple[int, int]) -> None:
    out = alone(encoder, noise(*size))
    assert len(out) == encoder.count(*size)
    assert out.isfinite().all()


@pytest.mark.parametrize("size", ((1, 1), (16, 17), (64, 64), (64, 65), (300, 20)), ids=str)
def test_an_overview_exists_where_one_tile_does_not_show_it_all(size: tuple[int, int]) -> None:
    (grids,) = make()([noise(*size)]).grids
    assert grids[0] == tiling.grid_of(*size, PATCH)
    assert len(grids) == (2 if max(size) > TILE else 1)
    assert all(max(grid) <= TILE // PATCH for grid in grids[1:])
    assert make(overview=False)([noise(*size)]).grids == [grids[:1]]
    assert make(overview=False).count(*size) == grids[0].size


def test_the_overview_keeps_the_shape_of_the_image() -> None:
    assert make()([noise(320, 160)]).grids == [(Grid(20, 10), Grid(4, 2))]
    assert make()([noise(16, 640)]).grids == [(Grid(1, 40), Grid(1, 4))]


class Probe:
    """In place of the ViT's blocks: the mean colour of each patch, so that places can be read."""

    def __init__(self, encoder: Encoder) -> None:
        self.prefix = encoder.vit.num_prefix_tokens
        encoder.vit.forward_features = self
        encoder.project = nn.Linear(3, DIM, bias=False)
        nn.init.eye_(encoder.project.weight)

    def __call__(self, pixels: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        means = avg_pool2d(pixels, PATCH).flatten(2).transpose(1, 2)
        return pad(means, (0, 0, self.prefix, 0))


@torch.no_grad()
@pytest.mark.parametrize("size", ((64, 64), (100, 150), (150, 33)), ids=str)
def test_token_r_c_is_patch_r_c_at_place_r_c(size: tuple[int, int]) -> None:
    encoder = make()
    Probe(encoder)
    nn.init.normal_(encoder.kind)
    image = noise(*size)
    out = encoder([image])
    main = out.grids[0][0]
    full = torch.zeros(3, main.rows * PATCH, main.columns * PATCH)
    full[:, : size[0], : size[1]] = image
    means = avg_pool2d((full / 255 - encoder.mean) / encoder.std, PATCH).flatten(1).T
    close(out.places[0, : main.size], tiling.positions(main), rtol=0, atol=0)
    place = sine_grid(tiling.positions(main), DIM) + encoder.kind[0]
    expected = torch.cat([means, torch.zeros(main.size, DIM - 3)], 1) + place
    close(out.tokens[0, : main.size], expected, rtol=0, atol=1e-5)
    for small in out.grids[0][1:]:
        scale = (main.rows / small.rows, main.columns / small.columns)
        close(out.places[0, main.size :], tiling.positions(small, scale), rtol=0, atol=0)
        place = sine_grid(tiling.positions(small, scale), DIM) + encoder.kind[1]
        colours = out.tokens[0, main.size :] - place
        close(colours[:, 3:], torch.zeros_like(colours[:, 3:]), rtol=0, atol=1e-5)
        # The whole image, resized: its mean colour is that of the image, up to the edges.
        mean = ((image / 255 - encoder.mean) / encoder.std).flatten(1).mean(1)
        close(colours[:, :3].mean(0), mean, rtol=0, atol=0.2)


@pytest.mark.parametrize("patch", ((0, 0), (3, 3), (3, 4), (5, 2), (6, 9)), ids=str)
def test_a_pixel_is_seen_in_its_tile_and_in_the_overview_only(
    encoder: Encoder, patch: tuple[int, int]
) -> None:
    image = noise(100, 150)
    changed = image.clone()
    changed[:, patch[0] * PATCH + 1, patch[1] * PATCH + 2] ^= 255
    difference = (alone(encoder, image) - alone(encoder, changed)).abs().amax(-1)
    grid, side = Grid(7, 10), TILE // PATCH
    main = difference[: grid.size].view(grid)
    tile = torch.zeros(grid, dtype=torch.bool)
    row, column = (place // side * side for place in patch)
    tile[row : row + side, column : column + side] = True
    assert (main[tile] > 1e-4).all() and (main[~tile] < 1e-6).all()
    assert difference[grid.size :].max() > 1e-4


@torch.no_grad()
def test_what_fills_a_border_tile_up_is_not_seen(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [noise(64, 64), noise(32, 48), noise(80, 70)]
    expected = encoder(images)
    cut = tiling.cut

    def dirty(image: Tensor, tile: tiling.Tile, *extent: int) -> Tensor:
        out = cut(image, tile, *extent).clone()
        out[:, tile.rows * PATCH :] = 255
        out[:, :, tile.columns * PATCH :] = 255
        return out

    monkeypatch.setattr(sheet.tiling, "cut", dirty)
    close(encoder(images).tokens, expected.tokens, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ("rotary", "absolute"))
def test_pretrained_weights_of_the_same_vit(kind: str, tmp_path: Path) -> None:
    encoder = make(kind)
    save_file(encoder.vit.state_dict(), tmp_path / "vit.safetensors")
    fresh = make(kind)
    nn.init.normal_(fresh.vit.patch_embed.proj.weight)
    fresh.load_vit(str(tmp_path / "vit.safetensors"))
    for name, weight in encoder.vit.state_dict().items():
        assert torch.equal(fresh.vit.state_dict()[name], weight), name


def test_a_position_table_of_another_tile_is_resampled(tmp_path: Path) -> None:
    donor = make("absolute", tile=128)
    nn.init.constant_(donor.vit.pos_embed[:, :1], 5)  # of the class token
    nn.init.constant_(donor.vit.pos_embed[:, 1:], 3)
    save_file(donor.vit.state_dict(), tmp_path / "vit.safetensors")
    encoder = make("absolute")
    encoder.load_vit(str(tmp_path / "vit.safetensors"))
    assert encoder.vit.pos_embed.shape == (1, 1 + 16, 32)
    close(encoder.vit.pos_embed[:, 1:], torch.full((1, 16, 32), 3.0))
    assert (encoder.vit.pos_embed[:, 0] == 5).all()
    assert torch.equal(encoder.vit.norm.weight, donor.vit.norm.weight)


@pytest.mark.parametrize("vit", ("vit_tiny_patch16_224", "vit_small_patch14_dinov2"))
def test_the_first_blocks_of_a_deeper_vit(vit: str, tmp_path: Path) -> None:
    """With a classifier in timm's words, which is left out, and without."""
    words = {"vit": vit, "tile": 112}
    donor = make("absolute", **words, vit_args={**ARGS, "depth": 12})
    save_file(donor.vit.state_dict(), tmp_path / "vit.safetensors")
    encoder = make("absolute", **words, vit_args={**ARGS, "depth": 2})
    nn.init.normal_(encoder.vit.patch_embed.proj.weight)
    encoder.load_vit(str(tmp_path / "vit.safetensors"))
    assert len(encoder.vit.blocks) == 2
    for name, weight in encoder.vit.state_dict().items():
        assert torch.equal(weight, donor.vit.state_dict()[name]), name


@pytest.mark.parametrize("what", ("missing", "foreign", "corrupt"))
def test_pretrained_weights_that_do_not_fit_are_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    if what == "foreign":
        save_file(make("rotary", vit_args=ARGS | {"embed_dim": 48}).vit.state_dict(), path)
    elif what == "corrupt":
        path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"vit\.safetensors"):
        make("rotary").load_vit(str(path))


def test_pretrained_weights_and_a_stem_of_ones_own_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="conv_stem"):
        make("stem").load_vit("pretrained")


@pytest.mark.parametrize("name", ("resnet18", "swin_tiny_patch4_window7_224", "no_such_vit"))
def test_what_is_no_vit_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Encoder(DIM, name)


@pytest.mark.parametrize("kind", MODELS)
def test_a_tile_that_patches_do_not_fill_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="72"):
        make(kind, tile=72)


# --- the two halves, for training on a frozen encoder


def test_features_and_map_are_the_encoder(encoder: Encoder) -> None:
    images = [noise(*size) for size in SIZES]
    with torch.no_grad():
        encoder.kind.copy_(torch.randn_like(encoder.kind))
        whole, halves = encoder(images), encoder.map(encoder.features(images))
        torch.testing.assert_close(halves.tokens, whole.tokens, rtol=1e-4, atol=1e-5)
        assert torch.equal(halves.mask, whole.mask) and halves.grids == whole.grids
        encoder.project.weight.zero_()
        assert encoder.features(images).tokens.abs().sum() > 0  # not touched by the map


def test_gradients_of_the_map_stop_at_the_trunk(encoder: Encoder) -> None:
    encoder.zero_grad()
    with torch.no_grad():
        features = encoder.features([noise(*size) for size in SIZES])
    encoder.map(features).tokens.square().sum().backward()
    learning = {name for name, weight in encoder.named_parameters() if weight.grad is not None}
    still = {id(weight) for weight in encoder.trunk.parameters()}
    assert learning == {n for n, weight in encoder.named_parameters() if id(weight) not in still}
    assert learning == {"project.weight", "project.bias", "kind"}
