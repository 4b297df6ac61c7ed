"""Pages set in the features of letters: where they stand, what they spell, and bad files."""

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision.glyph_trunk import CELL, WIDTH
from encoders.vision.reading_order import reading_order
from encoders.vision.sheet import ImageTokens
from vqa import datasets
from vqa.datasets import DataError
from vqa.datasets.pages import Dataset
from vqa.marking import boxed
from vqa.pages import type_case
from vqa.pages.letters import letters
from vqa.pages.type_case import GHOST, TypeCase

COPIES = 3


def write(path: Path, codes: list[int]) -> str:
    """A case in which a feature tells its letter: code point, copy, then noughts; in no order."""
    held = [(code, copy) for copy in range(COPIES) for code in codes]
    features = torch.zeros(len(held), WIDTH)
    features[:, :2] = torch.tensor(held).float()
    save_file({"codes": torch.tensor(held)[:, 0].int(), "features": features}, path)
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("case")


@pytest.fixture(scope="module")
def path(folder: Path) -> str:
    """Letters of all pages that are set here, and one for what is none."""
    return write(folder / "whole.safetensors", [*range(33, 0x250), *range(0x2010, 0x20C0), GHOST])


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every letter is seen, and nothing else."""
    monkeypatch.setattr(type_case, "LOST", 0.0)
    monkeypatch.setattr(type_case, "GHOSTS", 0.0)


def tokens_of(data: Dataset, index: int, size: int | None = None) -> ImageTokens:
    found = data.render(index, size)[1]
    assert isinstance(found, ImageTokens)
    return found


def pages(path: str, **options: object) -> Dataset:
    data = datasets.create("pages", None, "train", type_case=path, **options)
    assert isinstance(data, Dataset)
    return data


def scattered(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Letters at random: code point, row, column."""
    rng = random.Random(seed)
    rows = [
        (rng.randrange(65, 91), rng.randrange(height), rng.randrange(width)) for _ in "x" * count
    ]
    return torch.tensor(rows, dtype=torch.int32)


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("seed", range(5))
def test_a_token_is_a_letter_whose_middle_lies_in_its_cell(path: str, seed: int) -> None:
    height, width, em = 700, 430, 17.0
    shown = scattered(120, height, width, seed)
    image = TypeCase(path).set(shown, height, width, em, random.Random(seed))
    side = float(image.pitch[0, 0] * height)
    assert side == pytest.approx(float(image.pitch[0, 1] * width))
    assert em * CELL / 52 <= side <= em * CELL / 28
    codes = image.tokens[0, :, 0].tolist()
    at = [tuple(place) for place in image.places[0].tolist()]
    assert len(set(at)) == len(at), "one token a cell"
    cells: dict[tuple[float, ...], set[int]] = {}
    for code, down, across in shown.tolist():
        cells.setdefault((float(down // side), float(across // side)), set()).add(code)
    assert set(at) == set(cells)
    assert all(code in cells[place] for code, place in zip(codes, at, strict=True))
    assert reading_order([(int(row), int(column)) for row, column in at]) == [*range(len(at))]


def test_shapes_are_those_of_an_encoder_of_one_image(path: str) -> None:
    image = TypeCase(path).set(scattered(50, 300, 200), 300, 200, 20.0, random.Random(0))
    count = image.mask.sum().item()
    assert image.tokens.shape == (1, count, WIDTH) and image.tokens.dtype == torch.float32
    assert image.mask.shape == (1, count) and image.mask.dtype == torch.bool
    assert image.places.shape == (1, count, 2) and image.pitch.shape == (1, 2)
    assert image.grids == [(Grid(1, int(count)),)]


def test_copies_of_a_letter_are_all_used(path: str) -> None:
    image = TypeCase(path).set(scattered(400, 3000, 3000), 3000, 3000, 20.0, random.Random(0))
    assert set(image.tokens[0, :, 1].tolist()) == set(range(COPIES))


def test_some_letters_are_lost_and_ghosts_stand_beside_others(path: str) -> None:
    lines = [[65, row, column] for row in range(50, 4000, 100) for column in range(50, 4000, 100)]
    shown = torch.tensor(lines, dtype=torch.int32)  # so far apart that none hides another
    image = TypeCase(path).set(shown, 4000, 4000, 20.0, random.Random(0))
    codes = Counter(image.tokens[0, :, 0].tolist())
    assert set(codes) == {65, GHOST}
    assert 1 - codes[65] / len(shown) == pytest.approx(type_case.LOST, abs=0.02)
    assert codes[GHOST] / codes[65] == pytest.approx(type_case.GHOSTS, abs=0.03)
    kind = image.tokens[0, :, 0] == GHOST
    real, ghosts = image.places[0][~kind], image.places[0][kind]
    away = (ghosts[:, None] - real[None]).abs()
    assert ((away[..., 0] <= 1) & (away[..., 1] <= 2)).any(1).all()
    assert away.amax(2).min() >= 1


def test_a_ghost_never_hides_a_letter(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type_case, "LOST", 0.0)
    monkeypatch.setattr(type_case, "GHOSTS", 1.0)
    close = [
        [65, 100 + down, 100 + across] for down in range(0, 60, 20) for across in range(0, 200, 6)
    ]
    shown = torch.tensor(close, dtype=torch.int32)
    for seed in range(5):
        image = TypeCase(path).set(shown, 400, 400, 20.0, random.Random(seed))
        side = float(image.pitch[0, 0] * 400)
        cells = {(down // side, across // side) for _, down, across in close}
        assert int((image.tokens[0, :, 0] == 65).sum()) == len(cells)
        assert (image.tokens[0, :, 0] == GHOST).any() and image.places.min() >= 0


def test_letters_that_the_case_lacks_are_left_out(folder: Path) -> None:
    case = TypeCase(write(folder / "few.safetensors", [65, 66]))
    image = case.set(scattered(300, 900, 900), 900, 900, 20.0, random.Random(0))
    assert set(image.tokens[0, :, 0].tolist()) == {65, 66}
    for shown in (torch.tensor([[900, 5, 5]]), torch.empty(0, 3, dtype=torch.int32)):
        alone = case.set(shown, 900, 900, 20.0, random.Random(0))
        assert alone.tokens.shape == (1, 1, WIDTH) and alone.mask.all()


@pytest.mark.parametrize("size", (128, 512))
def test_pages_come_as_tokens_that_lie_on_them(path: str, size: int) -> None:
    data, drawn = pages(path, size=size), Dataset(None, "train", size=size)
    assert isinstance(data, datasets.Rendered)
    for index in range(6):
        example, image = data.render(index)
        same, pixels = drawn.render(index)
        assert isinstance(image, ImageTokens) and isinstance(pixels, Tensor)
        assert example.answers == same.answers and example.evidence == same.evidence
        for left, top, right, bottom in example.evidence:
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
        letter = image.tokens[0, :, 0] != GHOST
        _, height, width = pixels.shape
        side = float(image.pitch[0, 0]) * height
        assert float(image.pitch[0, 1]) * width == pytest.approx(side)
        corner = image.places[0][letter] * side
        assert corner.min() >= 0 and (corner < torch.tensor([height, width])).all()
        # There is ink where a letter is said to be: its cell and those about it are not even.
        for row, column in corner.int().tolist():
            reach = max(4, int(2 * side))
            about = pixels[:, max(0, row - reach) : row + 2 * reach, max(0, column - reach) :]
            about = about[:, :, : 3 * reach].float()
            assert about.amax() - about.amin() > 10


@pytest.mark.usefixtures("sure")
def test_the_marked_tokens_spell_the_evidence(path: str) -> None:
    data = pages(path, size=512, layouts="receipt,invoice,form,table")
    wrong = letters_ = in_order = count = 0
    for index in range(40):
        example, image = data.render(index)
        assert isinstance(image, ImageTokens)
        held = boxed(example, image, 0)
        told = "".join(chr(int(code)) for code in image.tokens[0, held, 0])
        spans = data.scene(index).fact.evidence
        said = "".join("".join(s.cell.text[s.start : s.stop].split()) for s in spans)
        wrong += sum(((Counter(told) - Counter(said)) + (Counter(said) - Counter(told))).values())
        letters_ += len(said)
        in_order += told == said
        count += 1
    assert letters_ > 300
    assert wrong < 0.05 * letters_, "middles of cells are not those of letters: a few differ"
    assert in_order > 0.6 * count


def test_the_same_in_another_order_and_at_every_size(path: str) -> None:
    first, second = pages(path, size=256, count=9), pages(path, count=9)
    for size in (128, 256):
        forth = [tokens_of(first, index, size) for index in range(8)]
        back = [tokens_of(second, index, size) for index in reversed(range(8))][::-1]
        for one, other in zip(forth, back, strict=True):
            assert one.grids == other.grids
            for mine, theirs in zip(one, other, strict=True):
                assert isinstance(mine, list) or torch.equal(mine, theirs)
        counts = {image.tokens.sum().item() for image in forth}
        assert len(counts) == 8, "pages differ"


def test_questions_about_one_page_share_its_tokens(path: str) -> None:
    data = pages(path, questions=3)
    assert tokens_of(data, 0) is tokens_of(data, 2) is not tokens_of(data, 3)


def test_every_letter_of_a_page_is_set(path: str, sure: None) -> None:
    data, case = pages(path, size=512), TypeCase(path)
    for index in range(4):
        image, shown = tokens_of(data, index), letters(data.scene(index))
        known = [code for code in shown[:, 0].tolist() if code in case.of]
        assert 0.9 * len(known) <= image.mask.sum() <= len(known)


def test_bad_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.safetensors" for name in ("absent", "text", "keys")}
    files["text"].write_text("no tensors")
    save_file({"features": torch.zeros(3, WIDTH)}, files["keys"])
    shapes = {
        "short": (torch.zeros(3).int(), torch.zeros(2, WIDTH)),
        "narrow": (torch.zeros(3).int(), torch.zeros(3, WIDTH - 1)),
        "empty": (torch.zeros(0).int(), torch.zeros(0, WIDTH)),
        "number": (torch.tensor(3), torch.zeros(1, WIDTH)),
    }
    for name, (codes, features) in shapes.items():
        files[name] = tmp_path / f"{name}.safetensors"
        save_file({"codes": codes, "features": features}, files[name])
    files["folder"] = tmp_path
    for name, file in files.items():
        with pytest.raises(DataError) as error:
            datasets.create("pages", None, "val", type_case=str(file))
        said = str(error.value)
        assert said.startswith(str(file)) and "glyph_weights" in said and "\n" not in said, name
