"""Pages as tokens of their letters: what is read of a line, where it stands, and in which order."""

import math
from pathlib import Path

import pytest
import torch
from printed_pages import DIM, PAGE, A, B, ColourReader, Print, make, printed
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders.patch_grids import strips
from encoders.position import sine_grid
from encoders.tiling import Grid
from encoders.vision import glyphs
from encoders.vision.glyphs import CELL, WIDTH, Encoder, Trunk
from encoders.vision.line_reader import BLANK, HEIGHT, LETTERS, STEP
from encoders.vision.sheet import ImageTokens
from encoders.vision.text_lines import Line

close = torch.testing.assert_close


def at_of(encoder: Encoder, image: Tensor) -> Tensor:
    """Where letters are told to be, `[n, 2]`, in pixels of the image."""
    found = encoder.features([image])
    return (found.places[0] + 0.5) * found.pitch[0] * torch.tensor(image.shape[1:])


def read(encoder: Encoder, image: Tensor) -> list[str]:
    """The letters of each line."""
    page = image.to(encoder.project.weight)
    return ["".join(LETTERS[one - 1] for one in line.which) for line in encoder.lines(page)]


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """Print of two lines, and what letters are of is noise."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    image[0] = 255
    image[0, 8:20, 6 : width - 4] = image[0, 40:50, 6 : width // 2] = 0
    return image


# What is read


@torch.no_grad()
def test_letters_are_read_where_they_stand() -> None:
    encoder, image = make(), printed(260, 500, *PAGE)
    assert read(encoder, torch.nn.functional.pad(image, (0, 12, 0, 60), value=255)) == [
        line.text.replace(" ", "") for line in PAGE
    ]
    found, at = encoder.features([image]), at_of(encoder, image)
    middles = [middle for line in PAGE for middle in line.middles()]
    sizes = [line.size for line in PAGE for _ in line.middles()]
    assert len(at) == len(middles) and found.grids == [(Grid(1, len(middles)),)]
    away = (at - torch.tensor(middles)).abs()
    # Letters are told column by column: a fourth to half of their line's ink.
    assert (away[:, 1] <= 0.5 * torch.tensor(sizes)).all() and away[:, 0].max() <= 1
    letters = [c for line in PAGE for c in line.text if c != " "]
    assert ["AB"[int(b > a)] for a, b in found.tokens[0, :, 1:3]] == letters


@torch.no_grad()
def test_a_token_knows_whether_its_word_begins_and_how_high_its_line_is() -> None:
    encoder, image = make(), printed(260, 500, *PAGE)
    told = encoder.features([image]).tokens[0, :, -2:]
    begins = [
        float(number == 0 or line.text[number - 1] == " ")
        for line in PAGE
        for number, letter in enumerate(line.text)
        if letter != " "
    ]
    assert told[:, 0].tolist() == begins
    lines = encoder.lines(torch.nn.functional.pad(image, (0, 12, 0, 60), value=255).float())
    heights = [letters.line.height for letters in lines]
    usual = sorted(heights)[2]
    expected = [math.log(one.line.height / usual) for one in lines for _ in one.which]
    close(told[:, 1], torch.tensor(expected), rtol=0, atol=1e-5)
    assert len(set(expected)) >= 3 and 0.0 in expected


@torch.no_grad()
@pytest.mark.parametrize("angle", (-0.2, 0.1, -math.pi / 2))
def test_turned_lines_are_read_where_they_stand(angle: float) -> None:
    lines = [
        Print(60 + 70 * down * math.sin(-angle), 250 + 70 * down * math.cos(angle), text, 20, angle)
        for down, text in enumerate(("AAB BA", "BBB A", "AB ABAB"))
    ]
    image = printed(512, 448, *lines)
    encoder = make()
    said = [line.text.replace(" ", "") for line in lines]
    found = read(encoder, image)
    assert sorted(found) == sorted(said) and (found == said or angle < -1)
    lines.sort(key=lambda line: found.index(line.text.replace(" ", "")))
    away = at_of(encoder, image) - torch.tensor([m for line in lines for m in line.middles()])
    assert away.norm(dim=1).max() <= 10


@torch.no_grad()
@pytest.mark.parametrize("height, width, size", ((300, 200, 8), (520, 499, 20), (1500, 1100, 60)))
def test_places_times_pitch_lie_on_the_letters_whatever_is_looked_at(
    height: int, width: int, size: int
) -> None:
    """A part of the image, smaller or larger than it is."""
    lines = [Print(0.3 * width, y * height, "ABBA"[:count], size)
             for y, count in ((0.3, 4), (0.5, 2), (0.7, 3))]  # fmt: skip
    image = printed(height, width, *lines)
    for line in (15, 31):
        encoder = make(line=line)
        view = encoder.view(image)
        assert view.top > 0 and view.left > 0
        assert view.height < height * view.scale and view.scale == pytest.approx(line / size, 0.1)
        found = encoder.features([image])
        side = found.pitch[0] * torch.tensor([height, width])
        close(side, torch.full((2,), CELL / view.scale))
        away = at_of(encoder, image) - torch.tensor([m for each in lines for m in each.middles()])
        assert away[:, 0].abs().max() <= 0.15 * size and away[:, 1].abs().max() <= 0.5 * size


def naive_letters(chance: list[list[float]]) -> list[tuple[int, int, bool]]:
    """Column, class and whether a word begins: greedily, of alike columns beside each other the
    surest one."""
    found: list[tuple[int, int, bool]] = []
    before, gap = 0, True
    for column, row in enumerate(chance):
        which = row.index(max(row))
        if which == BLANK:
            gap = True
        elif which and which == before:
            at, _, begins = found[-1]
            if row[which] > chance[at][which]:
                found[-1] = column, which, begins
        elif which:
            found.append((column, which, gap))
            gap = False
        before = which
    return found


@torch.no_grad()
@pytest.mark.parametrize("seed", range(6))
def test_letters_of_a_line_are_those_of_a_greedy_reading(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    few = [0, A, B, BLANK]
    logits = torch.full((64, len(LETTERS) + 1), -9.0)
    logits[:, few] = 3 * torch.randn(64, 4, generator=generator)
    for column in range(1, 64):  # some columns show what the one before shows
        if torch.rand((), generator=generator) < 0.4:
            logits[column] = logits[column - 1] * (0.5 + torch.rand((), generator=generator))
    features = torch.randn(64, WIDTH - 2, generator=generator)
    line = Line(200.0, 90.0, 0.1, 300.0, 40.0)
    used = math.ceil(300 * HEIGHT / 40 / STEP)
    expected = naive_letters(logits[:used].softmax(-1).tolist())
    assert used < 64 and len(expected) > 5 and {which for _, which, _ in expected} == {A, B}
    letters = make()._letters(line, 50.0, features, logits)
    assert letters.which == [which for _, which, _ in expected] and letters.line == line
    columns = [column for column, _, _ in expected]
    assert torch.equal(letters.features[:, :-2], features[columns])
    assert letters.features[:, -2].tolist() == [float(begins) for _, _, begins in expected]
    close(letters.features[:, -1], torch.full((len(columns),), math.log(40 / 50)))
    for (down, across), column in zip(letters.places.tolist(), columns, strict=True):
        along = (8 * column + 4) * 40 / 48 - 150
        assert down == pytest.approx(90 + along * math.sin(0.1), abs=1e-3)
        assert across == pytest.approx(200 + along * math.cos(0.1), abs=1e-3)


@torch.no_grad()
def test_lines_that_are_read_without_being_sure_are_left_out() -> None:
    image = printed(128, 320, Print(30, 40, "ABBA"))
    for sure, keep, count in ((1.0, 0.5, 0), (1.0, 0.01, 4), (20.0, 0.9, 4)):
        encoder = make(keep=keep)
        encoder.trunk.reader = ColourReader(sure)  # type: ignore[assignment]
        # Of a letter, by its logit against three of nought and the others' negative one.
        odds = math.exp(sure) / (math.exp(sure) + 3 + (len(LETTERS) - 3) * math.exp(-sure))
        assert (odds > keep) == bool(count)
        assert sum(map(len, read(encoder, image))) == count
        assert encoder.features([image]).mask.sum() == max(1, count)


@torch.no_grad()
def test_the_first_tokens_are_kept() -> None:
    image = printed(260, 500, *PAGE)
    every = make().features([image])
    count = int(every.mask.sum())
    assert count == 16 and make(tokens=count).count(5000, 4000) == count
    for most in (1, 3, 8, count, count + 1):
        encoder = make(tokens=most)
        found = encoder.features([image])
        assert found.mask.sum() == min(most, count)
        assert torch.equal(found.tokens, every.tokens[:, :most])
        assert torch.equal(found.places, every.places[:, :most])
        assert encoder([image]).tokens.shape == (1, min(most, count), DIM)


# What is alone and what is together


@torch.no_grad()
def test_images_of_a_batch_are_each_alone() -> None:
    encoder = make(lively=True)
    blank = torch.full((3, 80, 90), 255, dtype=torch.uint8)
    images = [noise(100, 60), noise(70, 250, seed=1), blank, noise(64, 128, seed=2)]
    features, batch = encoder.features(images, room=5), encoder(images, room=5)
    lengths = batch.mask.sum(1).tolist()
    assert len(set(lengths)) == 4 and lengths[2] == 1 and min(lengths[:2]) > 3
    assert batch.tokens.shape == (4, max(lengths) + 5, DIM) and batch.pitch.shape == (4, 2)
    assert batch.places.shape == (4, max(lengths) + 5, 2)
    assert features.tokens.isfinite().all() and batch.tokens.isfinite().all()
    for row, image in enumerate(images):
        alone, count = encoder([image]), lengths[row]
        assert batch.mask[row].tolist() == [True] * count + [False] * (max(lengths) + 5 - count)
        assert alone.mask.all() and alone.tokens.shape == (1, count, DIM)
        assert batch.grids[row] == alone.grids[0] == (Grid(1, count),)
        assert torch.equal(features.tokens[row, :count], encoder.features([image]).tokens[0])
        close(batch.tokens[row, :count], alone.tokens[0], rtol=0, atol=1e-5)
        assert not batch.tokens[row, count:].any() and not features.tokens[row, count:].any()
        assert torch.equal(batch.places[row, :count], alone.places[0])
        assert torch.equal(batch.pitch[row], alone.pitch[0])


@torch.no_grad()
def test_lines_that_are_read_together_are_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many lines, alike in length or not, and however many go at once."""
    encoder = make(torch.float64, lively=True)
    lines = [Print(30, 30 + 60 * n, "AAA"[: 2 + n % 2], 18 + n // 3) for n in range(4)]
    image = printed(256, 128, *lines)
    together = encoder.lines(image.double())
    assert len(together) == 4
    monkeypatch.setattr(glyphs, "_AT_ONCE", 1)
    for one, other in zip(together, encoder.lines(image.double()), strict=True):
        assert one.line == other.line and one.which == other.which
        assert torch.equal(one.places, other.places)
        close(one.features, other.features, rtol=0, atol=1e-9)
    for number, line in enumerate(lines):
        (alone,) = encoder.lines(printed(256, 128, line).double())
        assert alone.line == together[number].line and alone.which == together[number].which
        close(alone.features[:, :-1], together[number].features[:, :-1], rtol=0, atol=1e-9)
        assert not alone.features[:, -1].any()


@torch.no_grad()
def test_features_then_map_is_the_encoder() -> None:
    encoder, images = make(lively=True), [noise(70, 60), noise(64, 90)]
    features = encoder.features(images)
    assert features.tokens.shape[2] == WIDTH == encoder.width
    for one, other in zip(encoder.map(features), encoder(images), strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            assert torch.equal(one, other)
        else:
            assert one == other
    roomy = encoder.map(features.with_room(3))
    close(roomy.tokens[:, :-3], encoder(images).tokens, rtol=0, atol=1e-5)
    assert not roomy.tokens[:, -3:].any()


@torch.no_grad()
def test_a_token_tells_its_letter_its_place_and_how_far_it_is_from_the_one_before() -> None:
    encoder, rows = make(torch.float64, local=0), [5, 3]
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 5, WIDTH, generator=generator).double()
    places = torch.tensor([[3.0, 40], [3, 42.5], [3, 300], [9, 2], [1, 4]]).repeat(2, 1, 1).double()
    places[1] += 7
    mask = torch.arange(5) < torch.tensor(rows)[:, None]
    image = ImageTokens(features, mask, strips(mask), places, torch.full((2, 2), 0.1))
    found = encoder.map(image)
    for row, count in enumerate(rows):
        least = places[row, :count].amin(0)  # the first row and column with print
        before = places[row, 0]
        for number in range(5):
            if number >= count:
                assert not found.tokens[row, number].any()
                continue
            at, far = places[row, number] - least, places[row, number] - before
            far = torch.tensor([max(-64.0, min(64.0, float(each))) for each in far])
            here, step = (sine_grid(each[None, None].double(), DIM)[0, 0] for each in (at, far))
            expected = encoder.project(features[row, number]) + here + encoder.step(step.double())
            close(found.tokens[row, number], expected)
            before = places[row, number]


@torch.no_grad()
def test_positions_count_from_the_first_letter() -> None:
    """Print elsewhere on the paper gives the same tokens; further apart, others."""
    encoder = make()
    here = encoder([printed(256, 320, Print(20, 30, "ABA"), Print(20, 90, "BA"))])
    there = encoder([printed(320, 512, Print(84, 130, "ABA"), Print(84, 190, "BA"))])
    close(there.places - here.places, torch.tensor([100 / CELL, 64 / CELL]).expand(1, 5, 2))
    close(here.tokens, there.tokens, rtol=0, atol=1e-4)
    for other in ((Print(20, 30, "ABA"), Print(60, 90, "BA")),
                  (Print(20, 30, "ABA"), Print(20, 130, "BA"))):  # fmt: skip
        moved = encoder([printed(256, 320, *other)])
        assert not torch.allclose(here.tokens, moved.tokens, atol=1e-3)


# Images of every kind


@torch.no_grad()
def test_without_print_there_is_one_token_in_the_middle() -> None:
    """On empty paper, and where lines are found of which nothing is read."""
    empty = torch.full((3, 90, 70), 255, dtype=torch.uint8)
    bar = empty.clone()
    bar[0, 30:42, 10:60] = 0
    assert make().trunk.finder(bar.float()).max() > 0.5
    pairs = (make(), empty), (make(), bar), (make(line=31), bar), (make(lively=True), empty)
    for encoder, image in pairs:
        features, found = encoder.features([image]), encoder([image])
        assert features.tokens.shape == (1, 1, WIDTH) and not features.tokens.any()
        close((features.places[0] + 0.5) * features.pitch, torch.full((1, 2), 0.5))
        assert found.tokens.shape == (1, 1, DIM) and found.mask.all()
        assert found.tokens.isfinite().all() and found.grids == [(Grid(1, 1),)]


@torch.no_grad()
@pytest.mark.parametrize("shape", ((1, 1), (7, 300), (300, 7), (8, 8), (17, 15), (64, 64)))
def test_tiny_images_are_read_by_the_real_networks(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    encoder = Encoder(DIM, most=30_000, keep=0.0, local=1).eval()
    bias = encoder.trunk.finder.likely.bias
    assert bias is not None
    nn.init.constant_(bias, 4.0)  # all of it is one line
    generator = torch.Generator().manual_seed(0)
    for image in (
        torch.randint(0, 256, (3, *shape), dtype=torch.uint8, generator=generator),
        torch.full((3, *shape), 255, dtype=torch.uint8),
    ):
        found = encoder([image])
        assert found.mask.any() and found.tokens.isfinite().all()
        side = found.pitch * torch.tensor([shape])
        close(side[:, 0], side[:, 1])
        view = encoder.view(image)
        # A line is no larger than what is looked at, and as much again around it.
        at = (found.places[0] + 0.5) * CELL
        assert at.min() >= -max(view.height, view.width)
        assert at.max() <= max(view.top + 2 * view.height, view.left + 2 * view.width)


@torch.no_grad()
@pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float64))
def test_places_are_exact_in_every_dtype(dtype: torch.dtype) -> None:
    image = printed(64, 3100, Print(20, 30, "AB"), Print(2900, 30, "BA A"))
    wide, found = make().features([image]), make(dtype).features([image])
    assert found.tokens.dtype == dtype and wide.mask.sum() == 5
    assert torch.equal(found.places, wide.places) and torch.equal(found.pitch, wide.pitch)
    assert found.places.dtype == found.pitch.dtype == torch.float32
    steps = wide.places[0, 2:, 1].diff() * CELL  # beyond 256 bf16 counts in twos and more
    close(steps, torch.tensor([30.0, 60.0]), rtol=0, atol=10)
    lively = make(dtype, lively=True)
    found = lively([noise(70, 80), torch.full((3, 70, 80), 255, dtype=torch.uint8)])
    assert found.tokens.dtype == dtype and found.tokens.isfinite().all() and found.mask.sum() > 4


# What is learned


def test_it_learns_where_it_is_not_frozen() -> None:
    encoder = make(lively=True).train()
    found = encoder([noise(70, 64), noise(64, 90)])
    (found.tokens[found.mask] * torch.linspace(-1, 1, DIM)).sum().backward()
    reached = {
        name: parameter.grad is not None and bool(parameter.grad.any())
        for name, parameter in encoder.named_parameters()
    }
    # Which letters there are is chosen: what tells them learns elsewhere.
    tells = {"trunk.reader.letter.weight", "trunk.reader.letter.bias"}
    assert {name for name, found in reached.items() if not found} == tells
    assert {"trunk.reader.stem.first.weight", "project.weight", "step.weight"} <= set(reached)


def test_with_gradients_it_says_the_same() -> None:
    encoder, image = make(torch.float64, lively=True), [noise(70, 90)]
    taught = encoder(image)
    with torch.no_grad():
        told = encoder(image)
    assert torch.equal(taught.places, told.places)
    close(taught.tokens.detach(), told.tokens, rtol=0, atol=1e-10)


def test_weights_of_a_trunk_are_loaded_and_others_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    donor, encoder = Trunk(), Encoder(DIM, local=0)
    state = {name: value.contiguous().half() for name, value in donor.state_dict().items()}
    save_file(state, tmp_path / "trunk.safetensors")
    encoder.load_vit(str(tmp_path / "trunk.safetensors"))
    for name, weight in encoder.trunk.state_dict().items():
        assert weight.dtype == torch.float32 and torch.equal(weight, state[name].float()), name
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    state["reader.letter.bias"] = torch.zeros(7)
    save_file(state, tmp_path / "shape.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("other", "shape", "text", "absent"):
        path = str(tmp_path / f"{name}.safetensors")
        with pytest.raises(ValueError, match="has no weights that find and read lines") as error:
            encoder.load_vit(path)
        said = str(error.value)
        assert said.startswith(path) and "\n" not in said
        assert said.endswith("benchmarks/glyph_weights.py makes them")
