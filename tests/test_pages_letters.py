"""Which letters a page shows and where: texts as lines, letters by their middles."""

import dataclasses
import math
from itertools import accumulate

import pytest
import torch

from vqa.datasets.pages import Dataset
from vqa.pages import fonts
from vqa.pages.fonts import Face
from vqa.pages.letters import MIDDLE, TALL, letters, runs
from vqa.pages.scene import Matrix, Scene, Text
from vqa.pages.sheet import ink_box

FACE = Face("", 24)
UPRIGHT = Matrix(1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def page(*texts: Text, matrix: Matrix = UPRIGHT, width: int = 500, height: int = 300) -> Scene:
    """A scene that shows these texts and nothing else."""
    scene = Dataset(None, "train", size=64, fonts="builtin").scene(0)
    sheet = dataclasses.replace(scene.sheet, width=500, height=300, texts=texts, shapes=())
    return dataclasses.replace(scene, sheet=sheet, matrix=matrix, width=width, height=height)


def text(said: str, x: int = 20, y: int = 60, tracking: int = 0, face: Face = FACE) -> Text:
    return Text(said, face, x, y, 255, tracking)


def mapped(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    """Where a point of the sheet lies in the image: x, y."""
    return matrix.a * x + matrix.b * y + matrix.c, matrix.d * x + matrix.e * y + matrix.f


def turned(degrees: float, scale: float = 0.7, shear: float = 0.1) -> Matrix:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Matrix(
        scale * cos, scale * (shear * cos - sin), 90.0,
        1.2 * scale * sin, 1.2 * scale * (shear * sin + cos), 300.0,
    )  # fmt: skip


@pytest.mark.parametrize("tracking", (0, 3))
@pytest.mark.parametrize("wide", (False, True))
def test_letters_have_their_middles_in_their_ink(tracking: int, wide: bool) -> None:
    written = text("TOTAL 12.50 Rm", 20, 60, tracking, FACE._replace(wide=wide))
    (run,) = runs(page(written))
    assert "".join(map(chr, run.codes)) == "TOTAL12.50Rm" and run.middles.shape == (12, 2)
    places = [place for place, letter in enumerate(written.text) if letter != " "]
    for place, (down, across) in zip(places, run.middles, strict=True):
        left, _, right, _ = ink_box(written, place, place + 1)
        assert left <= across <= right
        assert abs(across - (left + right) / 2) < 0.15 * 24 * (1 + wide)
        assert down == pytest.approx(60 - MIDDLE * 24)
    _, top, _, foot = ink_box(written, 0, 1)  # the capital T
    assert run.middles[0, 0] == pytest.approx((top + foot) / 2, abs=0.1 * 24)


def test_words_begin_after_blanks_and_with_the_text() -> None:
    said = ("one two  three", " x", "12 . 5", "a", "end ")
    found = runs(page(*(text(each, y=30 + 30 * n) for n, each in enumerate(said))))
    assert len(found) == len(said)
    for run, each in zip(found, said, strict=True):
        words = each.split()
        expected = [place == 0 for word in words for place in range(len(word))]
        assert run.begins == expected
        assert "".join(map(chr, run.codes)) == "".join(words)


@pytest.mark.parametrize("matrix", (UPRIGHT, turned(0), turned(7), turned(-20), turned(-90)))
def test_a_line_lies_as_the_page_is_turned(matrix: Matrix) -> None:
    written = text("Date: 01/02", 40, 90, 2)
    (run,) = runs(page(written, matrix=matrix, width=900, height=900))
    alphabet = fonts.letters(FACE)
    pens = [*accumulate((alphabet.advance(c) + 2 for c in written.text), initial=40)]
    y = 90 - MIDDLE * 24
    start, end = mapped(matrix, pens[0], y), mapped(matrix, pens[-1], y)
    assert run.line.x == pytest.approx((start[0] + end[0]) / 2)
    assert run.line.y == pytest.approx((start[1] + end[1]) / 2)
    assert run.line.length == pytest.approx(math.dist(start, end))
    assert run.line.angle == pytest.approx(math.atan2(end[1] - start[1], end[0] - start[0]))
    above, below = mapped(matrix, 40, 90 - TALL * 24), mapped(matrix, 40, 90)
    assert run.line.height == pytest.approx(math.dist(above, below))
    for letter, pen, (down, across) in zip(
        written.text.replace(" ", ""),
        [pen for pen, c in zip(pens, written.text, strict=False) if c != " "],
        run.middles,
        strict=True,
    ):
        x, y_ = mapped(matrix, pen + alphabet.advance(letter) / 2, y)
        assert (down, across) == pytest.approx((y_, x))
        # All on the line, in its length.
        along = (across - run.line.x) * math.cos(run.line.angle)
        along += (down - run.line.y) * math.sin(run.line.angle)
        assert abs(along) < run.line.length / 2
        beside = (down - run.line.y) * math.cos(run.line.angle)
        beside -= (across - run.line.x) * math.sin(run.line.angle)
        assert beside == pytest.approx(0, abs=1e-6)


def test_what_lies_outside_of_the_image_is_left_out() -> None:
    inside, beyond = text("ABCDEF", 10, 60), text("GHIJ", 20, 290)
    whole = runs(page(inside, beyond))
    assert [len(run.codes) for run in whole] == [6, 4]
    cut = whole[0].middles[3, 1]  # the middle of the D is just outside, of the C inside
    scene = page(inside, beyond, width=math.floor(cut), height=200)
    (run,) = runs(scene)
    assert "".join(map(chr, run.codes)) == "ABC" and run.begins == [True, False, False]
    assert run.line == whole[0].line, "the line is as it was set"
    left = page(inside, matrix=UPRIGHT._replace(c=-float(whole[0].middles[1, 1]) - 0.1))
    (run,) = runs(left)
    assert "".join(map(chr, run.codes)) == "CDEF" and run.begins[0]
    assert runs(page(beyond, height=200)) == [] and runs(page(text("  "))) == []
    assert letters(page(beyond, height=200)).shape == (0, 3)


@pytest.mark.parametrize("size", (96, 384))
def test_letters_are_those_of_the_runs_in_whole_pixels(size: int) -> None:
    data = Dataset(None, "train", size=size, count=6, fonts="builtin")
    for index in range(6):
        scene = data.scene(index)
        found = letters(scene)
        assert found.dtype == torch.int32 and len(found)
        expected = [
            [code, math.floor(down), math.floor(across)]
            for run in runs(scene)
            for code, (down, across) in zip(run.codes, run.middles, strict=True)
        ]
        assert found.tolist() == expected
        assert found[:, 1:].min() >= 0
        assert (found[:, 1:] < torch.tensor([scene.height, scene.width])).all()
        # Texts are told whole: no letter that is printed within is missing.
        printed = sum(len(each.text.replace(" ", "")) for each in scene.sheet.texts)
        assert 0.95 * printed <= len(found) <= printed
