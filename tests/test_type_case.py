"""Pages set in the features of letters: where they stand, what they spell, and bad files."""

import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from encoders.tiling import Grid
from encoders.vision import glyphs, text_lines
from encoders.vision.glyphs import CELL
from encoders.vision.line_reader import WIDTH
from encoders.vision.sheet import ImageTokens
from encoders.vision.text_lines import Line
from vqa import datasets
from vqa.__main__ import main
from vqa.datasets import DataError
from vqa.datasets.pages import Dataset
from vqa.marking import boxed
from vqa.pages import type_case
from vqa.pages.letters import Run, letters
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
    """Every letter is seen, and nothing else; so is where words begin."""
    for share in ("LOST", "GHOSTS", "JOINED"):
        monkeypatch.setattr(type_case, share, 0.0)


def tokens_of(data: Dataset, index: int, size: int | None = None) -> ImageTokens:
    found = data.render(index, size)[1]
    assert isinstance(found, ImageTokens)
    return found


def pages(path: str, **options: object) -> Dataset:
    data = datasets.create("pages", None, "train", type_case=path, **options)
    assert isinstance(data, Dataset)
    return data


def run_of(said: str, x: float, y: float, height: float, angle: float) -> Run:
    """A text that begins at x, y and has letters as wide as they are high."""
    cos, sin = math.cos(angle), math.sin(angle)
    length = len(said) * height
    line = Line(x + length / 2 * cos, y + length / 2 * sin, angle, length, height)
    places = [place for place, letter in enumerate(said) if letter != " "]
    along = (np.array(places) + 0.5) * height
    middles = np.stack([y + along * sin, x + along * cos], 1)
    begins = [place == 0 or said[place - 1] == " " for place in places]
    return Run(line, [ord(said[place]) for place in places], middles, begins)


def rows_of(count: int) -> list[Run]:
    """So many lines that say ABCD."""
    return [run_of("ABCD", 30, 60 * n + 40, 20, 0.0) for n in range(count)]


def codes_of(image: ImageTokens) -> list[int]:
    return [int(code) for code in image.tokens[0, :, 0]]


@pytest.mark.usefixtures("sure")
@pytest.mark.parametrize("seed", range(4))
def test_a_token_is_a_letter_that_stands_at_its_place(path: str, seed: int) -> None:
    """Line by line, and along its line off by no more than half a column of the recogniser."""
    height, width, em = 700, 600, 17.0
    lines = [run_of("ABCDEF"[: 2 + n], 20 + 9 * n, 40 + 50 * n, 10 + 2 * n, 0.05) for n in range(5)]
    upright = run_of("XYZ", 500, 600, 20, -math.pi / 2)
    shown = random.Random(seed).sample([*lines, upright], 6)
    image = TypeCase(path).set(shown, height, width, em, random.Random(seed))
    side = float(image.pitch[0, 0] * height)
    assert side == pytest.approx(float(image.pitch[0, 1] * width))
    assert em * CELL / 52 <= side <= em * CELL / 28
    by_line = {run.line: run for run in shown}
    order = [by_line[line] for line in text_lines.in_rows([run.line for run in shown])]
    assert [run.line for run in order if run is not upright] == [run.line for run in lines]
    assert codes_of(image) == [code for run in order for code in run.codes]
    assert image.tokens[0, :, WIDTH].tolist() == [float(b) for run in order for b in run.begins]
    at = ((image.places[0] + 0.5) * side).tolist()
    offs = []
    for run in order:
        cos, sin = math.cos(run.line.angle), math.sin(run.line.angle)
        for down, across in run.middles.tolist():
            y, x = at.pop(0)
            assert (y - down) * cos - (x - across) * sin == pytest.approx(0, abs=1e-3)
            offs.append(((y - down) * sin + (x - across) * cos) / (8 * run.line.height / 48))
    assert not at and max(map(abs, offs)) <= 0.5 + 1e-3 and max(map(abs, offs)) > 0.3


def test_shapes_are_those_of_an_encoder_of_one_image(path: str) -> None:
    image = TypeCase(path).set(rows_of(5), 300, 300, 20.0, random.Random(0))
    count = int(image.mask.sum())
    assert image.tokens.shape == (1, count, glyphs.WIDTH) and image.tokens.dtype == torch.float32
    assert image.mask.shape == (1, count) and image.mask.dtype == torch.bool
    assert image.places.shape == (1, count, 2) and image.pitch.shape == (1, 2)
    assert image.places.dtype == image.pitch.dtype == torch.float32
    assert image.grids == [(Grid(1, count),)]


def test_copies_of_a_letter_are_all_used(path: str) -> None:
    image = TypeCase(path).set(rows_of(40), 3000, 300, 20.0, random.Random(0))
    assert set(image.tokens[0, :, 1].tolist()) == set(range(COPIES))


@pytest.mark.usefixtures("sure")
def test_a_token_knows_how_high_its_line_is(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the median; as it is seen, which differs from line to line, not within one."""
    heights = [10, 30, 20, 20, 12]
    shown = [run_of("ABC", 30, 60 * n + 40, height, 0.0) for n, height in enumerate(heights)]
    monkeypatch.setattr(type_case, "UNEVEN", 0.0)
    told = TypeCase(path).set(shown, 400, 300, 20.0, random.Random(0)).tokens[0, :, WIDTH + 1]
    expected = [math.log(height / 20) for height in heights for _ in "ABC"]
    assert told.tolist() == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr(type_case, "UNEVEN", 0.1)
    many = TypeCase(path).set(rows_of(300), 20_000, 300, 20.0, random.Random(0))
    told = many.tokens[0, :, WIDTH + 1].view(300, -1)
    assert (told == told[:, :1]).all()
    assert float(told[:, 0].std()) == pytest.approx(0.1, rel=0.15)
    assert abs(float(told[:, 0].mean())) < 0.02


def test_of_some_words_it_is_not_seen_that_they_begin(
    path: str, sure: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of those that another stands before in their line."""
    shown = [run_of("AB CD EF", 30, 60 * n + 40, 20, 0.0) for n in range(500)]
    for joined in (0.0, 0.3, 1.0):
        monkeypatch.setattr(type_case, "JOINED", joined)
        image = TypeCase(path).set(shown, 31_000, 300, 20.0, random.Random(0))
        begins = image.tokens[0, :, WIDTH].view(500, 6)
        assert begins[:, 0].all() and not begins[:, 1::2].any()
        assert float(begins[:, 2::2].mean()) == pytest.approx(1 - joined, abs=0.05)


def test_some_letters_are_lost_and_ghosts_follow_others(path: str) -> None:
    shown = rows_of(600)
    image = TypeCase(path).set(shown, 40_000, 300, 20.0, random.Random(0))
    codes = Counter(codes_of(image))
    letters_ = sum(len(run.codes) for run in shown)
    ghosts = codes.pop(GHOST)
    assert set(codes) == {65, 66, 67, 68}
    assert 1 - codes.total() / letters_ == pytest.approx(type_case.LOST, abs=0.005)
    assert ghosts / codes.total() == pytest.approx(type_case.GHOSTS, abs=0.005)


@pytest.mark.parametrize("angle", (0.0, 0.2, -math.pi / 2))
def test_a_ghost_is_the_column_behind_its_letter(
    path: str, angle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type_case, "LOST", 0.0)
    monkeypatch.setattr(type_case, "GHOSTS", 1.0)
    run = run_of("AB CA", 200, 200, 24, angle)
    image = TypeCase(path).set([run], 400, 400, 20.0, random.Random(0))
    assert codes_of(image) == [code for each in run.codes for code in (each, GHOST)]
    assert not image.tokens[0, 1::2, WIDTH].any() and image.tokens[0, 0, WIDTH]
    at = (image.places[0] + 0.5) * image.pitch[0, 0] * 400
    for (down, across), (y, x) in zip(run.middles.tolist(), at[1::2].tolist(), strict=True):
        assert y == pytest.approx(down + 8 * 24 / 48 * math.sin(angle), abs=1e-2)
        assert x == pytest.approx(across + 8 * 24 / 48 * math.cos(angle), abs=1e-2)


@pytest.mark.usefixtures("sure")
def test_without_ghosts_in_the_case_none_are_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type_case, "GHOSTS", 1.0)
    case = TypeCase(write(folder / "real.safetensors", [65, 66, 67, 68]))
    assert codes_of(case.set(rows_of(2), 300, 300, 20.0, random.Random(0))) == [*b"ABCDABCD"]


@pytest.mark.usefixtures("sure")
def test_texts_on_one_place_are_all_set(path: str) -> None:
    """As of a letterhead that is printed over."""
    first, second = (run_of(said, 30, 40, 20, 0.0) for said in ("AB", "CD"))
    image = TypeCase(path).set([first, second], 300, 300, 20.0, random.Random(0))
    assert sorted(codes_of(image)) == [*b"ABCD"]


@pytest.mark.usefixtures("sure")
def test_letters_that_the_case_lacks_are_left_out(folder: Path) -> None:
    case = TypeCase(write(folder / "few.safetensors", [65, 67]))
    image = case.set(rows_of(9), 900, 900, 20.0, random.Random(0))
    assert codes_of(image) == [65, 67] * 9


def test_a_page_without_letters_is_one_token_in_its_middle(folder: Path, path: str) -> None:
    lacking = TypeCase(write(folder / "other.safetensors", [90]))
    for case, shown in ((lacking, rows_of(3)), (TypeCase(path), [])):
        alone = case.set(shown, 900, 700, 20.0, random.Random(0))
        assert alone.tokens.shape == (1, 1, glyphs.WIDTH) and alone.mask.all()
        assert alone.grids == [(Grid(1, 1),)] and alone.tokens.isfinite().all()
        middle = (alone.places[0] + 0.5) * alone.pitch
        torch.testing.assert_close(middle, torch.full((1, 2), 0.5))


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
        middle = (image.places[0][letter] + 0.5) * side
        off = data.scene(index).em / 8  # half a column of the recogniser
        assert middle.min() >= -off and (middle < torch.tensor([height, width]) + off).all()
        # There is ink where a letter is said to be: its cell and those about it are not even.
        for row, column in (middle - side / 2).int().tolist():
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
    assert wrong < 0.05 * letters_, "a letter at the end of a box may be seen beyond it"
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
        assert Counter(codes_of(image)) == Counter(known)


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


def test_pages_set_in_letters_are_not_evaluated(
    path: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", "pages", "--option", f"type_case={path}", "--option", "count=4"]
    words = ["--split", "val", "--model", str(tiny), "--out", str(tmp_path)]
    assert main(["evaluate", *options, *words]) == 2
    assert "leave the option type_case out" in capsys.readouterr().err
