"""Which part of a page is looked at, and how large."""

import math
import random

import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from encoders.vision.page_view import LARGEST, View, line_height, look, view_of

UNIT = 16
close = torch.testing.assert_close


def page(height: int, width: int, texts: list[tuple[int, int, str]], em: int) -> Tensor:
    """White paper with `texts` at (row, column) in black, `em` pixels high."""
    image = Image.new("RGB", (width, height), "white")
    pencil = ImageDraw.Draw(image)
    for down, across, text in texts:
        pencil.text((across, down), text, "black", ImageFont.load_default(em))
    return (
        torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        .view(height, width, 3)
        .permute(2, 0, 1)
    )


def ends_of_ink(image: Tensor) -> tuple[int, int, int, int]:
    """First and last row and column of what is darker than half."""
    dark = image.float().mean(0) < 128
    rows, columns = dark.any(1).nonzero().flatten(), dark.any(0).nonzero().flatten()
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


def covers(view: View, image: Tensor) -> None:
    top, bottom, left, right = (end * view.scale for end in ends_of_ink(image))
    assert view.top <= top and bottom + view.scale <= view.top + view.height, view
    assert view.left <= left and right + view.scale <= view.left + view.width, view


def lawful(view: View, image: Tensor, most: int) -> None:
    """On the grid, within the page, and no larger than allowed but for the rounding of sides."""
    _, tall, wide = image.shape
    assert all(side % UNIT == 0 for side in view[1:]) and min(view.height, view.width) > 0
    assert view.top >= 0 and view.top + view.height < tall * view.scale + UNIT
    assert view.left >= 0 and view.left + view.width < wide * view.scale + UNIT
    assert 0 < view.scale <= LARGEST
    inner = max(0, view.height - 2 * UNIT) * max(0, view.width - 2 * UNIT)
    assert inner <= most * 1.001


SIZES = [(200, 300, 12), (555, 333, 17), (1100, 1701, 24), (3001, 1203, 40), (60, 900, 20)]


@pytest.mark.parametrize("height, width, em", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_the_view_covers_all_letters(height: int, width: int, em: int, seed: int) -> None:
    rng = random.Random(seed)
    words = ["TOTAL", "12.30", "Date", "x", "No. 7"][: seed + 1]
    texts = [(rng.randrange(height - em), rng.randrange(width - 3 * em), word) for word in words]
    image = page(height, width, texts, em)
    for line, most in ((12, 400_000), (31, 60_000)):
        view = view_of(image, line, most, UNIT)
        lawful(view, image, most)
        covers(view, image)


def test_a_price_alone_at_the_right_is_seen() -> None:
    """Most of what is printed stands at the left; one short line does not make a speck."""
    lines = [(40 + 20 * line, 30, "two of what costs little") for line in range(20)]
    image = page(600, 900, [*lines, (200, 820, "9.50")], 12)
    covers(view_of(image, 12, 200_000, UNIT), image)
    lines = [(40, 30 + 70 * word, "heading") for word in range(11)]
    image = page(600, 900, [*lines, (570, 30, "1")], 12)
    covers(view_of(image, 12, 200_000, UNIT), image)


@pytest.mark.parametrize("side", (1031, 3203, 4097))
def test_ink_at_the_very_ends_is_seen(side: int) -> None:
    """Also in what is left of a page after whole squares."""
    image = torch.full((3, side, side + 5), 255, dtype=torch.uint8)
    for start in range(400, 700, 16):
        image[:, -3:, start : start + 8] = 0
        image[:, start : start + 8, -3:] = 0
    covers(view_of(image, 31, 10_000_000, UNIT), image)


def test_a_speck_of_dust_is_not_looked_at() -> None:
    image = page(900, 900, [(420, 400, "some words"), (450, 400, "and more")], 20)
    dusty = image.clone()
    dusty[:, 850:853, 50:53] = 0
    covers(view_of(image, 31, 10**6, UNIT), image)
    clean, view = (view_of(each, 31, 10**6, UNIT) for each in (image, dusty))
    assert abs(view.height - clean.height) <= UNIT and abs(view.width - clean.width) <= UNIT


def test_empty_paper_is_left_out() -> None:
    image = page(3000, 3000, [(1000, 1200, "a few words"), (1040, 1200, "in a corner")], 30)
    view = view_of(image, 31, 10**9, UNIT)
    covers(view, image)
    assert view.height * view.width < 0.1 * (3000 * view.scale) * (3000 * view.scale)


def test_print_is_brought_to_one_size() -> None:
    """The same text, set twice as large, is looked at half as large: its capitals `line` high."""
    lines = [(2 + 3 * line, 4, "WHAT IS PRINTED ON IT") for line in range(12)]
    for em in (20, 40, 80):
        texts = [(down * em // 2, across * em, text) for down, across, text in lines]
        image = page(25 * em, 25 * em, texts, em)
        view = view_of(image, 31, 10**7, UNIT)
        covers(view, image)
        top, bottom, *_ = ends_of_ink(page(2 * em, 30 * em, [(0, 0, lines[0][2])], em))
        assert (bottom - top + 1) * view.scale == pytest.approx(31, abs=3)


def bars(height: int, lines: list[tuple[int, int]]) -> Tensor:
    """Grey `[height, 900]` with black lines from one row to another, cut into words."""
    grey = torch.full((height, 900), 240.0)
    for top, bottom in lines:
        for left in range(30, 800, 70):
            grey[top:bottom, left : left + 60] = 20
    return grey


@pytest.mark.parametrize("high", (5, 12, 30))
def test_lines_are_as_high_as_their_ink(high: int) -> None:
    assert line_height(bars(900, [(top, top + high) for top in range(40, 800, 2 * high)])) == high


def test_most_of_the_ink_tells_the_height_of_lines() -> None:
    heading = [(20, 50), (70, 100), (120, 150)]
    text = [(top, top + 10) for top in range(200, 900, 20)]
    assert line_height(bars(900, heading + text)) == 10
    assert line_height(bars(900, heading + text[:6])) == 30


def test_a_shadow_is_no_line_and_a_blank_page_has_none() -> None:
    grey = bars(900, [(top, top + 12) for top in range(40, 800, 24)])
    shaded = grey * torch.linspace(1, 0.5, 900)
    assert line_height(shaded) == pytest.approx(12, abs=1)
    assert line_height(torch.full((700, 500), 200.0)) is None
    assert line_height(torch.linspace(255, 100, 700)[:, None].expand(-1, 500)) is None


def test_most_and_the_largest_bound_the_scale() -> None:
    image = page(400, 600, [(20 * line, 4, "words " * 30) for line in range(20)], 14)
    assert view_of(image, 10**4, 10**9, UNIT).scale == LARGEST
    for most in (30_000, 60_000):
        assert view_of(image, 10**4, most, UNIT).scale == pytest.approx((most / 240_000) ** 0.5)
    blank = torch.full((3, 400, 600), 255, dtype=torch.uint8)
    assert view_of(blank, 31, 10**9, UNIT).scale == 1, "nothing is enlarged that has no lines"
    assert view_of(blank, 31, 240_000, UNIT).scale == pytest.approx(0.5)


def test_a_huge_picture_with_little_ink_becomes_small() -> None:
    image = torch.full((3, 5000, 4000), 255, dtype=torch.uint8)
    image[:, 2000:2600, 1500:2500] = page(600, 1000, [(9, 9, "words"), (300, 500, "here")], 90)
    most = 50_000
    view = view_of(image, 31, most, UNIT)
    lawful(view, image, most)
    covers(view, image)
    assert view.height * view.width < 1.2 * most < 0.05 * image[0].numel()


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 300), (16, 16), (5, 4000), (9000, 3)])
@pytest.mark.parametrize("value", (0, 128, 255))
def test_even_and_tiny_images_are_seen_whole(shape: tuple[int, int], value: int) -> None:
    image = torch.full((3, *shape), value, dtype=torch.uint8)
    view = view_of(image, 31, 40_000, UNIT)
    lawful(view, image, 40_000)
    assert view.top == view.left == 0
    assert view.height >= shape[0] * view.scale and view.width >= shape[1] * view.scale
    seen = look(image, view)
    assert seen.shape == (3, view.height, view.width)
    rows, columns = (max(1, math.floor(side * view.scale)) for side in shape)
    close(seen[:, :rows, :columns], torch.full((3, rows, columns), float(value)), atol=1e-3, rtol=0)


def resized(image: Tensor, view: View) -> Tensor:
    """The crop, resized by torch, on white."""
    _, tall, wide = image.shape
    top, left = int(view.top / view.scale), int(view.left / view.scale)
    bottom = min(tall, math.ceil((view.top + view.height) / view.scale))
    right = min(wide, math.ceil((view.left + view.width) / view.scale))
    size = round((bottom - top) * view.scale), round((right - left) * view.scale)
    crop = image[:, top:bottom, left:right].float()[None]
    if view.scale < 1:
        small = interpolate(crop, size, mode="bilinear", antialias=True)[0]
    else:
        small = interpolate(crop, size, mode="bicubic")[0].clamp(0, 255)
    on_white = torch.full((3, view.height, view.width), 255.0)
    small = small[:, : view.height, : view.width]
    on_white[:, : small.shape[1], : small.shape[2]] = small
    return on_white


@pytest.mark.parametrize(
    "view",
    [
        View(1.0, 0, 0, 112, 80),
        View(1.0, 32, 16, 48, 32),
        View(2.5, 64, 32, 160, 96),
        View(0.75, 16, 16, 64, 48),
        View(0.6, 0, 0, 64, 48),
        View(4.0, 384, 272, 32, 32),
    ],
)
def test_looking_is_cropping_and_resizing(view: View) -> None:
    torch.manual_seed(0)
    image = torch.randint(0, 256, (3, 103, 77), dtype=torch.uint8)
    seen = look(image, view)
    assert seen.dtype == torch.float32 and seen.min() >= 0 and seen.max() <= 255
    close(seen, resized(image, view), rtol=0, atol=1e-2)


def test_looking_at_a_view_of_a_page_shrunk_much() -> None:
    """Averaged on the way there: nearly, not exactly, what torch gives at once."""
    image = page(1500, 1200, [(400, 300, "large letters"), (800, 400, "and more")], 120)
    view = view_of(image, 18, 60_000, UNIT)
    assert view.scale < 0.3 and min(view.top, view.left) > 0
    seen = look(image, view)
    assert (seen - resized(image, view)).abs().mean() < 2
    assert seen.amin() < 100 and seen[:, 0].amin() > 200


def test_a_pixel_is_where_the_view_says() -> None:
    """A dark square of the image lies in what is seen at its place times the scale."""
    rng = random.Random(0)
    for _ in range(30):
        height, width = rng.randrange(200, 700), rng.randrange(200, 700)
        image = torch.full((3, height, width), 255, dtype=torch.uint8)
        down, across = rng.randrange(height - 20), rng.randrange(width - 20)
        image[:, down : down + 20, across : across + 20] = 0
        view = view_of(image, rng.randrange(10, 40), rng.randrange(30_000, 100_000), UNIT)
        dark = 255 - look(image, view).mean(0)
        rows, columns = torch.arange(view.height) + 0.5, torch.arange(view.width) + 0.5
        found = (dark.sum(1) @ rows / dark.sum(), dark.sum(0) @ columns / dark.sum())
        slack = view.scale + 0.5  # a crop begins at a whole pixel and ends at one
        assert abs(found[0] + view.top - (down + 10) * view.scale) <= slack
        assert abs(found[1] + view.left - (across + 10) * view.scale) <= slack


class Read:
    """An image that notes what is read of it."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels, self.shape, self.asked = pixels, tuple(pixels.shape), [0]

    def __getitem__(self, piece: tuple[slice, slice, slice], /) -> Tensor:
        found = self.pixels[piece]
        self.asked.append(found.numel())
        return found


def test_of_an_image_that_is_read_piece_by_piece_only_the_view_is_read() -> None:
    image = page(2000, 1500, [(700, 500, "words"), (740, 500, "words")], 30)
    view = view_of(image, 31, 10**6, UNIT)
    read = Read(image)
    assert view_of(read, 31, 10**6, UNIT) == view
    read.asked.clear()
    assert torch.equal(look(read, view), look(image, view))
    assert sum(read.asked) <= 3 * (view.height / view.scale + 2) * (view.width / view.scale + 2)
