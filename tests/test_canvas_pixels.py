"""What is drawn: colours, boxes, forms and letters, judged from the pixels."""

import itertools

import numpy as np
import pytest
import torch

from vqa.canvas import colors, fonts, forms, textures
from vqa.canvas.drawing import draw
from vqa.canvas.scene import Mark, Placed, Scene
from vqa.datasets.canvas import Dataset

RGB = np.array(list(colors.RGB.values()), int)


def plain(unit: int, split: str = "val") -> Dataset:
    return Dataset(
        None, split, size=8 * unit, object_size=unit, textures=("plain",), fonts="builtin"
    )


def ink(pixels: np.ndarray) -> np.ndarray:
    """Where [3, H, W] differs from the paper, which covers most of it: bool [H, W]."""
    paper = np.median(pixels.reshape(3, -1), axis=1)[:, None, None]
    return np.abs(pixels - paper).max(0) > 8


@pytest.mark.parametrize("unit", [16, 32])
def test_boxes_hold_all_ink_and_touch_it(unit: int) -> None:
    data = plain(unit)
    for index in range(54):
        example, image = data.render(index)
        assert image.dtype == torch.uint8 and image.shape == (3, 8 * unit, 8 * unit)
        assert image.is_contiguous()
        scene, rest = data.scene(index), ink(image.numpy().astype(int))
        for left, top, right, bottom in (item.box for item in scene.objects):
            inside = rest[top:bottom, left:right]
            assert inside[:2].any() and inside[-2:].any()
            assert inside[:, :2].any() and inside[:, -2:].any()
        for left, top, right, bottom in (item.box for item in scene.objects):
            rest[top:bottom, left:right] = False
        for x0, y0, x1, y1 in scene.dashes:
            reach = scene.dash_width
            top, bottom = sorted((int(y0), int(y1)))
            left, right = sorted((int(x0), int(x1)))
            stroke = rest[max(0, top - reach) : bottom + reach + 1]
            stroke[:, max(0, left - reach) : right + reach + 1] = False
        assert not rest.any(), (index, example.question)


@pytest.mark.parametrize("unit", [16, 64])
def test_objects_have_the_colour_they_are_said_to_have(unit: int) -> None:
    data = plain(unit)
    for index in range(54):
        pixels = draw(data.scene(index)).astype(int)
        paper = np.median(pixels.reshape(3, -1), axis=1)
        for item in data.scene(index).objects:
            left, top, right, bottom = item.box
            if item.mark.form == "frame":
                bottom = top + 1  # inside it stands another mark
            if item.mark.form == "dot":  # a curve of another colour may show beside it
                rim = (right - left) // 4
                left, right, top, bottom = left + rim, right - rim, top + rim, bottom - rim
            inside = pixels[:, top:bottom, left:right].reshape(3, -1).T
            purest = inside[np.abs(inside - paper).sum(1).argmax()]
            nearest = np.abs(purest - RGB).sum(1).argmin()
            assert colors.NAMES[nearest] == item.mark.color, (index, item)


def test_colours_are_far_apart_and_far_from_every_background() -> None:
    for one, other in itertools.combinations(RGB, 2):
        assert np.linalg.norm(one - other) >= 90
    for texture in textures.TEXTURES:
        for seed in range(4):
            back = textures.paint(128, 128, texture, seed).reshape(3, -1).T.astype(int)
            for color in RGB:
                assert np.linalg.norm(back - color, axis=1).min() >= 70, texture


def centred(cover: np.ndarray, side: int) -> np.ndarray:
    canvas = np.zeros((side + 4, side + 4))
    top, left = ((side + 4 - length) // 2 for length in cover.shape)
    canvas[top : top + cover.shape[0], left : left + cover.shape[1]] = cover / 255
    return canvas


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The largest part of their union that two covers share, moved by up to two pixels."""
    moves = itertools.product(range(-2, 3), repeat=2)
    moved = [np.roll(other, move, (0, 1)) for move in moves]
    return max(float(np.minimum(one, each).sum() / np.maximum(one, each).sum()) for each in moved)


def test_forms_differ_at_16_pixels() -> None:
    masks = {form: centred(forms.mask(form, 16), 16) for form in (*forms.SHAPES, *forms.ICONS)}
    for (one, a), (other, b) in itertools.combinations(masks.items(), 2):
        assert overlap(a, b) <= 0.8, (one, other)
    assert overlap(masks["star"], masks["star"]) == 1


@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_differ_at_16_pixels(split: str) -> None:
    for file in ("", *fonts.files("packages", split)):
        masks = {digit: centred(fonts.mask(digit, file, 16), 16) for digit in "0123456789"}
        for (one, a), (other, b) in itertools.combinations(masks.items(), 2):
            assert overlap(a, b) <= 0.85, (one, other, file)
        assert all(8 <= fonts.mask(digit, file, 16).shape[0] <= 16 for digit in "0123456789")


@pytest.mark.parametrize("texture", textures.TEXTURES)
def test_tiles_have_no_seam(texture: str) -> None:
    """The step from the last row or column to the first is one of the steps inside."""
    for variant in range(2):
        grey = textures.tile(texture, variant).astype(int)
        for each in (grey, grey.T):
            inside = np.abs(np.diff(each, axis=0)).mean(1)
            assert np.abs(each[0] - each[-1]).mean() <= inside.max() + 1


def test_a_background_repeats_its_tile() -> None:
    large = textures.paint(1300, 700, "clouds", 5)
    assert large.shape == (3, 700, 1300)
    assert (large[:, :, 512:1024] == large[:, :, :512]).all()
    assert (large[:, 512:] == large[:, :188]).all()
    assert (large[:, :64, :64] == textures.paint(64, 64, "clouds", 5)).all()
    assert (large != textures.paint(1300, 700, "clouds", 6)).mean() > 0.5


def test_stamps_blend_by_their_cover() -> None:
    """A naive judge of one object: cover * colour + (1 - cover) * paper."""
    cover = forms.mask("moon", 32)
    height, width = cover.shape
    item = Placed(Mark("moon", "blue", 32), (5, 7, 5 + width, 7 + height))
    scene = Scene(64, 48, "", "", "", (), (), (item,), (), "black", 2, "plain", 1)
    pixels = draw(scene).astype(float)
    paper = pixels[:, 0, 0]
    part = cover[:, :, None] / 255
    expected = np.broadcast_to(paper, (48, 64, 3)).copy()
    expected[7 : 7 + height, 5 : 5 + width] = part * colors.RGB["blue"] + (1 - part) * paper
    assert np.abs(pixels.transpose(1, 2, 0) - expected).max() <= 0.51
    assert pixels.shape == (3, 48, 64)


@pytest.mark.slow
def test_the_largest_canvas() -> None:
    data = Dataset(None, "test", size=16384, object_size=64, fonts="builtin", textures=("print",))
    example, image = data.render(0)
    assert image.shape == (3, 16384, 16384)
    left, top, right, bottom = data.scene(0).evidence[0]
    part = image[:, top:bottom, left:right].numpy().astype(int)
    name = [i.mark.color for i in data.scene(0).objects if i.box == (left, top, right, bottom)][0]
    assert (np.abs(part - np.array(colors.RGB[name])[:, None, None]).sum(0) == 0).mean() > 0.2
