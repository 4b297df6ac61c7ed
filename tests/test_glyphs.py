"""Pages as tokens of their letters: the trunk, the encoder, and the order of reading."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, gelu

from encoders.pixels import Pixels
from encoders.tiling import Grid
from encoders.vision import glyphs
from encoders.vision.glyph_trunk import CELL, REACH, WIDTH, Trunk
from encoders.vision.glyphs import Encoder
from encoders.vision.page_view import View
from encoders.vision.reading_order import GAP, reading_order

DIM = 16
close = torch.testing.assert_close


def make(dtype: torch.dtype = torch.float32, **words: object) -> Encoder:
    """Images are read whole and as they are, unless a `line` is given."""
    torch.manual_seed(0)
    settings = {"most": 10**6, "local": 1, "keep": 0.0, **words}
    encoder = Encoder(DIM, **settings)  # type: ignore[arg-type]
    lively(encoder.trunk)
    if "line" not in words:
        encoder.view = whole  # type: ignore[method-assign]
    return encoder.to(dtype).eval()


def whole(image: Pixels) -> View:
    _, tall, wide = image.shape
    return View(1.0, 0, 0, tall + -tall % 16, wide + -wide % 16)


def lively(trunk: Trunk) -> Trunk:
    """Weights so large that what is found differs from cell to cell."""
    for part in trunk.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    for block in trunk.blocks:
        nn.init.normal_(block.back.weight, std=0.02)  # type: ignore[union-attr, arg-type]
    return trunk


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


class DarkCells(nn.Module):
    """In place of a trunk: a letter's middle lies in a dark cell, whose feature is its ink."""

    def forward(self, page: Tensor) -> tuple[Tensor, Tensor]:
        dark = avg_pool2d(255 - page.mean(0, keepdim=True), CELL)[0] / 255
        return dark.unsqueeze(-1).expand(-1, -1, WIDTH), 8 * dark - 4


def dark(**words: object) -> Encoder:
    encoder = make(**{"keep": 0.5, **words})
    encoder.trunk = DarkCells()  # type: ignore[assignment]
    return encoder


def blobs(height: int, width: int, middles: list[tuple[int, int]], side: int) -> Tensor:
    image = torch.full((3, height, width), 255, dtype=torch.uint8)
    for down, across in middles:
        top, left = down - side // 2, across - side // 2
        image[:, top : top + side, left : left + side] = 0
    return image


# The trunk


@torch.no_grad()
def test_cells_and_letters_stand_where_the_definition_says() -> None:
    """From what is convolved, place by place."""
    torch.manual_seed(0)
    trunk = lively(Trunk()).double()
    trunk.shift.normal_(), trunk.scale.uniform_(0.5, 2)
    page = torch.rand(3, 48, 32, dtype=torch.float64) * 255
    found = trunk.convolved(page)
    assert found.shape == (WIDTH, 3, 8)
    features, odds = trunk(page)
    assert features.shape == (6, 4, WIDTH) and odds.shape == (6, 4)
    for row in range(6):
        near, far = row // 2, min(2, max(0, row // 2 + (1 if row % 2 else -1)))
        for column in range(4):
            pair = found[:, :, 2 * column : 2 * column + 2].mean(2)
            value = 0.75 * pair[:, near] + 0.25 * pair[:, far]
            close(features[row, column], (value - trunk.shift) * trunk.scale)
    x = (found - trunk.shift[:, None, None]) * trunk.scale[:, None, None]
    seen = torch.zeros(5, 6, 64, dtype=torch.float64)  # nothing around 3 x 4
    for row in range(3):
        for column in range(4):
            pair = x[:, row, 2 * column : 2 * column + 2].flatten()
            seen[row + 1, column + 1] = gelu(trunk.seen.weight[:, :, 0, 0] @ pair + trunk.seen.bias)
    for row in range(3):
        for column in range(4):
            around = seen[row : row + 3, column : column + 3]
            mixed = torch.einsum("ocyx,yxc->o", trunk.around.weight, around) + trunk.around.bias
            halves = trunk.letter.weight[:, :, 0, 0] @ gelu(mixed) + trunk.letter.bias
            close(odds[2 * row : 2 * row + 2, column], halves)


def test_a_cell_sees_what_is_around_it_and_no_further_than_its_reach() -> None:
    torch.manual_seed(0)
    trunk = lively(Trunk()).double()
    page = (torch.rand(3, 400, 32, dtype=torch.float64) * 255).requires_grad_()
    features, odds = trunk(page)
    for row in (24, 25):
        # The two halves of 16 pixels are told from the same, the features from rows between.
        middles = ((features[row, 2].sum(), (row + 0.5) * CELL), (odds[row, 2], 25.0 * CELL))
        for number, expected in middles:
            (slope,) = torch.autograd.grad(number, page, retain_graph=True)
            share = slope.abs().sum((0, 2))
            rows = share.nonzero().flatten()
            # Bands begin and end at multiples of 16 pixels: those of the cell's own, and beyond.
            assert rows[0] >= row * CELL // 16 * 16 - REACH
            assert rows[-1] < row * CELL // 16 * 16 + 16 + REACH
            assert rows[-1] - rows[0] > 100
            middle = (share @ torch.arange(400.0, dtype=torch.float64)) / share.sum()
            assert abs(middle - expected) < 1.5 * CELL, "strides put it some pixels higher"
    page = (torch.rand(3, 32, 240, dtype=torch.float64) * 255).requires_grad_()
    features, odds = trunk(page)
    for number in (features[1, 14].sum(), odds[1, 14]):
        (slope,) = torch.autograd.grad(number, page, retain_graph=True)
        share = slope.abs().sum((0, 1))
        middle = (share @ torch.arange(240.0, dtype=torch.float64)) / share.sum()
        assert abs(middle - 14.5 * CELL) < CELL


# The encoder


@torch.no_grad()
@pytest.mark.parametrize("height, width", ((352, 32), (320, 48)))
def test_read_in_bands_is_read_at_once(height: int, width: int) -> None:
    image = [noise(height, width)]
    whole, bands = make(torch.float64), make(torch.float64, band=96 * width + 7)
    view = whole.view(image[0])
    assert (view.scale, view.height, view.width) == (1, height, width)
    one, other = whole(image), bands(image)
    assert one.mask.sum() > 4
    assert one.grids == other.grids and torch.equal(one.places, other.places)
    close(one.tokens, other.tokens, rtol=0, atol=1e-10)


@torch.no_grad()
def test_bands_need_what_is_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    page = noise(384, 32).float()
    encoder = make(band=96 * 32)
    whole = encoder.trunk(page)[0]
    close(encoder._cells(page)[0], whole, rtol=0, atol=1e-4)
    monkeypatch.setattr(glyphs, "REACH", 16)
    assert (encoder._cells(page)[0] - whole).abs().max() > 1e-3


@torch.no_grad()
def test_images_of_a_batch_are_each_alone() -> None:
    encoder = make()
    images = [noise(100, 60), noise(33, 250, seed=1), noise(16, 16, seed=2)]
    batch = encoder(images, room=5)
    lengths = batch.mask.sum(1).tolist()
    assert len(set(lengths)) == 3
    assert batch.tokens.shape == (3, max(lengths) + 5, DIM) and batch.pitch.shape == (3, 2)
    assert batch.places.shape == (3, max(lengths) + 5, 2)
    for row, image in enumerate(images):
        alone, count = encoder([image]), lengths[row]
        assert batch.mask[row].tolist() == [True] * count + [False] * (max(lengths) + 5 - count)
        assert alone.mask.all() and alone.tokens.shape == (1, count, DIM)
        assert batch.grids[row] == alone.grids[0] == (Grid(1, count),)
        close(batch.tokens[row, :count], alone.tokens[0], rtol=0, atol=1e-5)
        assert not batch.tokens[row, count:].any()
        assert torch.equal(batch.places[row, :count], alone.places[0])
        assert torch.equal(batch.pitch[row], alone.pitch[0])


@torch.no_grad()
def test_features_then_map_is_the_encoder() -> None:
    encoder, images = make(), [noise(40, 60), noise(64, 90)]
    features = encoder.features(images)
    assert features.tokens.shape[2] == WIDTH == encoder.width
    for one, other in zip(encoder.map(features), encoder(images), strict=True):
        assert isinstance(one, list) or torch.equal(one, other)
    roomy = encoder.map(features.with_room(3))
    close(roomy.tokens[:, :-3], encoder(images).tokens, rtol=0, atol=1e-5)
    assert not roomy.tokens[:, -3:].any()


@torch.no_grad()
def test_positions_count_from_the_first_letter() -> None:
    """Print elsewhere on the paper gives the same tokens; two letters change places, others."""
    encoder = dark(line=31)
    middles = [(20, 20), (20, 44), (60, 36)]
    here = encoder([blobs(400, 400, middles, 8)])
    there = encoder([blobs(400, 400, [(y + 160, x + 208) for y, x in middles], 8)])
    assert not torch.equal(here.places, there.places)
    close(here.tokens, there.tokens, rtol=0, atol=1e-5)
    other = encoder([blobs(400, 400, [(20, 20), (20, 52), (60, 36)], 8)])
    assert not torch.allclose(here.tokens, other.tokens, atol=1e-3)


@torch.no_grad()
def test_a_blank_page_is_one_token() -> None:
    for encoder in (make(keep=0.5), dark()):
        if isinstance(encoder.trunk, Trunk):
            nn.init.zeros_(encoder.trunk.letter.weight)
            nn.init.constant_(encoder.trunk.letter.bias, -20.0)
        for value in (0, 255):
            image = torch.full((3, 90, 70), value, dtype=torch.uint8)
            if value == 0 and isinstance(encoder.trunk, DarkCells):
                continue
            found = encoder([image])
            assert found.tokens.shape == (1, 1, DIM) and found.mask.all()
            assert found.tokens.isfinite().all() and found.grids == [(Grid(1, 1),)]


@torch.no_grad()
@pytest.mark.parametrize("shape", ((1, 1), (7, 300), (300, 7), (8, 8), (17, 15)))
def test_tiny_images_are_read(shape: tuple[int, int]) -> None:
    encoder = make(most=60_000, line=31)
    for image in (noise(*shape), torch.full((3, *shape), 255, dtype=torch.uint8)):
        found = encoder([image])
        assert found.mask.any() and found.tokens.isfinite().all()
        side = found.pitch * torch.tensor([shape])
        close(side[:, 0], side[:, 1])
        corner = found.places[0] * side
        assert (corner.amax(0) < torch.tensor(shape) + 16 / CELL * side[0]).all()


@torch.no_grad()
@pytest.mark.parametrize(
    "height, width, blob", ((300, 200, 8), (200, 333, 13), (900, 1500, 21), (2200, 1700, 43))
)
def test_places_times_pitch_lie_where_the_ink_is(height: int, width: int, blob: int) -> None:
    """However large the image is, and whatever part of it is looked at."""
    rng = random.Random(height)
    for part in (1.0, 0.5):
        most = int(6 * part)
        middles = {
            (rng.randrange(1, most) * height // 7, rng.randrange(1, most) * width // 7)
            for _ in range(12)
        }
        encoder = dark(line=12, most=10**7, keep=0.1)
        image = blobs(height, width, sorted(middles), blob)
        found = encoder([image])
        sides = torch.tensor([height, width])
        side = found.pitch[0] * sides
        close(side[0], side[1])
        at = (found.places[0] + 0.5) * side
        away = (at[:, None] - torch.tensor(sorted(middles))[None]).abs().amax(2)
        assert away.amin(1).max() <= max(float(side[0]), blob / 2), "a token is on a blob"
        assert away.amin(0).max() <= max(float(side[0]), blob / 2), "every blob has a token"


@torch.no_grad()
def test_tokens_are_the_most_probable() -> None:
    image = torch.full((3, 200, 200), 255, dtype=torch.uint8)
    shades = [0, 20, 40, 60, 80, 100]
    for number, shade in enumerate(shades):
        image[:, 16 + 32 * number : 24 + 32 * number, 96:104] = shade
    image[:, :, :8:2] = image[:, ::2, :8] = image[:, :8, ::2] = 130  # looked at, but no letters
    for most, keep in ((3, 0.5), (99, 0.5), (99, 0.75)):
        features = dark(tokens=most, keep=keep).features([image])
        inks = [1 - shade / 255 for shade in shades]
        expected = [ink for ink in inks if torch.tensor(8 * ink - 4).sigmoid() > keep][:most]
        close(features.tokens[0, :, 0], torch.tensor(expected), rtol=0, atol=1e-4)
    assert dark(tokens=3).count(5000, 4000) == 3


def naive_kept(chance: Tensor, keep: float) -> set[tuple[int, int]]:
    """Cells above `keep` that no neighbour beats: two rows and one column away."""
    kept = set()
    rows, columns = chance.shape
    for row in range(rows):
        for column in range(columns):
            near = [
                float(chance[y, x])
                for y in range(max(0, row - 2), min(rows, row + 3))
                for x in range(max(0, column - 1), min(columns, column + 2))
            ]
            if chance[row, column] > keep and float(chance[row, column]) == max(near):
                kept.add((row, column))
    return kept


def test_of_neighbours_one_is_kept() -> None:
    encoder = make(keep=0.5)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        chance = torch.randperm(23 * 17, generator=generator).view(23, 17) / (23 * 17)
        kept = encoder.kept(chance)
        assert kept == sorted(kept) and set(kept) == naive_kept(chance, 0.5)


@pytest.mark.parametrize("value", (0.6, 0.999, 1.0))
def test_of_neighbours_alike_one_is_kept(value: float) -> None:
    """As in bf16, or where a network is certain; anywhere on a large page."""
    encoder = make(keep=0.5)
    chance = torch.zeros(400, 300)
    for row, column in ((0, 0), (100, 200), (390, 290)):
        for shape in ((1, 2), (2, 1), (3, 2), (2, 2)):
            chance.zero_()[row : row + shape[0], column : column + shape[1]] = value
            assert encoder.kept(chance) == [(row, column)]


@torch.no_grad()
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float64))
def test_places_are_exact_in_every_dtype(dtype: torch.dtype) -> None:
    middles = [(100, 12), (100, 3004), (100, 3020)]
    image = blobs(200, 3100, middles, 8)
    image[:, 100:180, ::8] = 150  # no letters, but looked at
    wide = dark().features([image])
    found = dark(dtype=dtype).features([image])
    assert found.tokens.dtype == dtype
    assert torch.equal(found.places, wide.places) and torch.equal(found.pitch, wide.pitch)
    assert found.places.dtype == found.pitch.dtype == torch.float32
    assert wide.places[0, -2:, 1].tolist() == [375, 377]
    small = make(dtype)
    assert small([noise(32, 48)]).tokens.dtype == dtype


def test_it_learns_where_it_is_not_frozen() -> None:
    encoder = make().train()
    found = encoder([noise(48, 64), noise(32, 32)])
    (found.tokens[found.mask] * torch.linspace(-1, 1, DIM)).sum().backward()
    assert encoder.local is not None
    reached = {
        name: parameter.grad is not None and bool(parameter.grad.any())
        for name, parameter in encoder.named_parameters()
    }
    # Which letters there are is chosen: what finds them learns elsewhere.
    finds = {name for name in reached if name.split(".")[1] in ("seen", "around", "letter")}
    assert len(finds) == 6 and {name for name, found in reached.items() if not found} == finds
    assert any("blocks.0.near" in name for name in reached) and "project.weight" in reached


def test_with_gradients_it_says_the_same() -> None:
    encoder = make(torch.float64, band=96 * 32)
    image = [noise(208, 32)]
    taught = encoder(image)
    with torch.no_grad():
        told = encoder(image)
    assert torch.equal(taught.places, told.places)
    close(taught.tokens.detach(), told.tokens, rtol=0, atol=1e-10)


def test_weights_of_a_trunk_are_loaded_and_others_refused(tmp_path: Path) -> None:
    donor, encoder = make(), make()
    nn.init.constant_(donor.trunk.letter.bias, 3.0)
    state = {name: value.contiguous() for name, value in donor.trunk.state_dict().items()}
    save_file(state, tmp_path / "trunk.safetensors")
    encoder.load_vit(str(tmp_path / "trunk.safetensors"))
    assert encoder.trunk.letter.bias.tolist() == [3.0, 3.0]
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("other", "text", "absent"):
        path = str(tmp_path / f"{name}.safetensors")
        with pytest.raises(ValueError, match="no weights of a glyph trunk") as error:
            encoder.load_vit(path)
        assert path in str(error.value) and "\n" not in str(error.value)


# The order of reading

Place = tuple[int, int]


def naive_order(places: list[Place]) -> list[Place]:
    """Every letter names the one before it, of all; those that lead to one first are a line."""

    def before(place: Place) -> Place | None:
        row, column = place
        near = [
            (column - x, (row, row - 1, row + 1).index(y), (y, x))
            for y, x in places
            if 0 < column - x <= GAP and abs(y - row) <= 1
        ]
        return min(near)[2] if near else None

    lines: dict[Place, list[Place]] = {}
    for place in places:
        first = place
        while (earlier := before(first)) is not None:
            first = earlier
        lines.setdefault(first, []).append(place)

    def key(line: tuple[Place, list[Place]]) -> tuple[int, int, int]:
        (row, column), held = line
        return round(sum(y for y, _ in held) / len(held)), column, row

    ordered = sorted(lines.items(), key=key)
    return [place for _, line in ordered for place in sorted(line, key=lambda p: (p[1], p[0]))]


def read(places: list[Place], seed: int = 0) -> list[Place]:
    """In the order of reading, told in none."""
    shuffled = random.Random(seed).sample(places, len(places))
    order = reading_order(shuffled)
    assert sorted(order) == [*range(len(places))]
    return [shuffled[number] for number in order]


def line_of(row: int, column: int, count: int, slope: float = 0.0) -> list[Place]:
    return [(row + round(slope * 3 * i), column + 3 * i) for i in range(count)]


def test_lines_are_read_from_top_to_bottom() -> None:
    text = [*line_of(2, 5, 20), *line_of(7, 0, 30), *line_of(12, 9, 3)]
    assert read(text) == text == naive_order(text)


@pytest.mark.parametrize("slope", (-0.3, -0.1, 0.02, 0.1, 0.3))
def test_tilted_lines_are_read_one_by_one(slope: float) -> None:
    """Each crosses rows of the others."""
    text = [place for top in (40, 44, 48, 52) for place in line_of(top, 0, 40, slope)]
    assert len({row for row, _ in line_of(40, 0, 40, slope)}) > 2
    assert read(text) == text == naive_order(text)


def test_what_stands_beside_comes_after() -> None:
    """Row by row, the left column first, as a receipt is read."""
    rows = [(line_of(row, 0, 8), line_of(row, 60, 3)) for row in range(0, 30, 5)]
    text = [place for left, right in rows for place in left + right]
    assert read(text) == text == naive_order(text)


def test_a_line_is_cut_where_the_gap_is_wide() -> None:
    for gap in (GAP, GAP + 1):
        places = [(5, 0), (6, gap), (7, 2 * gap)]
        below = [(6, 2 * gap + 40)]
        together = gap <= GAP
        order = read(places + below)
        assert order == naive_order(places + below)
        # One line has its middle at 6, as what stands beside it; three lines are apart.
        assert order == (
            [*places, *below] if together else [(5, 0), (6, gap), *below, (7, 2 * gap)]
        )


@pytest.mark.parametrize("seed", range(30))
def test_any_layout_is_read_as_the_definition_says(seed: int) -> None:
    rng = random.Random(seed)
    size = rng.choice((8, 25, 60))
    cells = [(row, column) for row in range(size) for column in range(size)]
    places = rng.sample(cells, rng.randrange(1, min(len(cells), 120)))
    judged = naive_order(places)
    assert read(places, seed) == judged


def test_no_letters_have_an_order() -> None:
    assert reading_order([]) == [] and reading_order([(3, 4)]) == [0]
