"""Lines of print: from a map of probabilities to rectangles, strips, and the order of reading."""

import math
import random

import pytest
import torch
from torch import Tensor

from encoders.vision.text_lines import (
    CORE,
    SURE,
    UNCLIP,
    Line,
    in_rows,
    lines_of,
    pyramid,
    strip,
    tilt_of,
)

close = torch.testing.assert_close
UPWARDS = -math.pi / 2


def likely(height: int, width: int, *cores: Line, value: float = 0.9) -> Tensor:
    """A map on which these are the cores of lines, as large as they are told."""
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    found = torch.full((height, width), 0.05)
    for core in cores:
        x, y = across + 0.5 - core.x, down + 0.5 - core.y
        cos, sin = math.cos(core.angle), math.sin(core.angle)
        along, beside = x * cos + y * sin, y * cos - x * sin
        found[(along.abs() < core.length / 2) & (beside.abs() < core.height / 2)] = value
    return found


def box(left: int, top: int, width: int, height: int) -> Line:
    """A level core of whole pixels."""
    return Line(left + width / 2, top + height / 2, 0.0, width, height)


def grown(length: float, height: float) -> tuple[float, float]:
    """Sides of the rectangle around a core of these, by the formula of DB's "unclip"."""
    more = UNCLIP * (length * height) / (2 * length + 2 * height)
    return length + 2 * more, height + 2 * more


# From a map to lines


@pytest.mark.parametrize("width, height", ((40, 5), (61, 12), (9, 8), (30, 2)))
@pytest.mark.parametrize("scale", (1.0, 0.5))
def test_a_level_core_is_found_as_large_as_it_is_and_grown(
    width: int, height: int, scale: float
) -> None:
    (line,) = lines_of(likely(50, 90, box(11, 17, width, height)), scale)
    # A pixel wider and higher, on one side, by the dilation.
    sides = grown(width + 1, height + 1)
    assert line.angle == pytest.approx(0, abs=1e-6)
    assert line.length * scale == pytest.approx(sides[0])
    assert line.height * scale == pytest.approx(sides[1])
    assert abs(line.x * scale - (11 + width / 2)) == pytest.approx(0.5)
    assert abs(line.y * scale - (17 + height / 2)) == pytest.approx(0.5)


@pytest.mark.parametrize("angle", (-3.0, -2.0, -1.2, -0.7, -0.3, -0.05, 0.1, 0.7, 0.9, 1.5, 2.5))
def test_a_turned_core_is_found_and_read_to_the_right_or_upwards(angle: float) -> None:
    core = Line(80.0, 77.0, angle, 90.0, 11.0)
    (line,) = lines_of(likely(160, 160, core), 1.0)
    along = math.cos(angle), math.sin(angle)
    if abs(along[0]) > abs(along[1]):
        sign = 1 if along[0] > 0 else -1
    else:
        sign = 1 if along[1] < 0 else -1
    expected = math.atan2(sign * along[1], sign * along[0])
    assert line.angle == pytest.approx(expected, abs=0.02)
    assert math.hypot(line.x - core.x, line.y - core.y) < 1
    # Its pixels' middles tell its sides to a pixel, and the dilation adds a diagonal at most.
    least, most = grown(core.length, core.height), grown(core.length + 2.5, core.height + 2.5)
    assert least[0] <= line.length <= most[0] and least[1] <= line.height <= most[1]


def test_a_core_that_is_high_but_not_long_is_read_upwards() -> None:
    page = likely(60, 90, box(10, 10, 10, 20), box(40, 10, 12, 13), box(70, 10, 6, 40))
    high, square, long = sorted(lines_of(page, 1.0))
    assert (high.angle, square.angle) == (UPWARDS, 0.0)
    assert long.angle == pytest.approx(UPWARDS)
    assert (high.length, high.height) == pytest.approx(grown(21, 11))
    assert (square.length, square.height) == pytest.approx(grown(13, 14))
    assert (long.length, long.height) == pytest.approx(grown(41, 7))


@pytest.mark.parametrize("tilt", (-0.15, 0.0, 0.2))
def test_what_is_too_short_to_tell_lies_as_the_page_does(tilt: float) -> None:
    """Not as steep lines do, of which it tells nothing how long they are."""
    cores = [Line(100.0, 40.0 + 40 * n, tilt, 120.0, 9.0) for n in range(3)]
    lone = Line(190.0, 90.0, tilt, 12.0, 10.0)
    steep = Line(12.0, 100.0, UPWARDS, 190.0, 9.0)
    lines = lines_of(likely(200, 220, *cores, lone, steep), 1.0)
    assert len(lines) == 5
    (found,) = [line for line in lines if math.hypot(line.x - lone.x, line.y - lone.y) < 2]
    assert found.angle == pytest.approx(tilt, abs=0.02)
    (alone,) = lines_of(likely(200, 220, lone), 1.0)
    assert alone.angle == 0


def test_cores_a_pixel_apart_are_one() -> None:
    for left, top, gap, count in ((41, 20, 1, 1), (42, 20, 2, 2), (20, 31, 1, 1), (20, 32, 2, 2)):
        lines = lines_of(likely(60, 90, box(20, 20, 20, 10), box(left, top, 20, 10)), 1.0)
        assert len(lines) == count, gap
    corner = likely(60, 90, box(20, 20, 20, 10), box(41, 31, 20, 10))
    assert len(lines_of(corner, 1.0)) == 1, "across a corner too"


def test_faint_and_unsure_cores_are_none() -> None:
    place = box(10, 10, 40, 12)
    assert lines_of(likely(40, 60), 1.0) == []
    assert lines_of(likely(40, 60, place, value=CORE - 0.01), 1.0) == []
    assert lines_of(likely(40, 60, place, value=SURE - 0.01), 1.0) == []
    assert len(lines_of(likely(40, 60, place, value=SURE + 0.1), 1.0)) == 1
    # The mean counts, not the best pixel.
    page = likely(40, 60, place, value=0.4)
    page[10:22, 10:20] = 0.7
    assert lines_of(page, 1.0) == []
    page[10:22, 10:40] = 0.7
    assert len(lines_of(page, 1.0)) == 1


def test_tiny_cores_are_none() -> None:
    """Narrower than three pixels with the one that the dilation adds."""
    for width, height, count in ((1, 1, 0), (1, 30, 0), (30, 1, 0), (2, 2, 1), (2, 30, 1)):
        page = likely(50, 50, box(10, 10, width, height), value=1.0)
        page[page < 0.5] = 0.29  # so that a small core is about as sure as a large one
        assert len(lines_of(page, 1.0)) == count, (width, height)


def test_lines_at_the_ends_of_the_map_are_found() -> None:
    page = likely(40, 60, box(0, 0, 30, 6), box(30, 34, 30, 6))
    first, last = sorted(lines_of(page, 1.0))
    assert (first.x, first.y) == pytest.approx((15, 3), abs=0.5)
    assert (last.x, last.y) == pytest.approx((45, 37), abs=0.5)


def test_bf16_maps_are_read() -> None:
    page = likely(40, 60, box(10, 10, 30, 6))
    assert lines_of(page.bfloat16(), 1.0) == lines_of(page, 1.0) != []


# The order of reading


def placed(x: float, y: float, length: float, height: float, tilt: float, angle: float) -> Line:
    """A line that is at x, y of the page before it is turned by `tilt`."""
    cos, sin = math.cos(tilt), math.sin(tilt)
    return Line(x * cos - y * sin, x * sin + y * cos, tilt + angle, length, height)


def read(lines: list[Line]) -> None:
    """They are in the order of reading, in whatever order they are told."""
    for seed in range(4):
        shuffled = random.Random(seed).sample(lines, len(lines))
        assert in_rows(shuffled) == lines


def rows_of(seed: int, tilt: float, columns: int = 4) -> list[Line]:
    """A page of rows, each of some pieces of many lengths, a heading among them."""
    rng = random.Random(seed)
    lines: list[Line] = []
    y = 50.0
    for row in range(12):
        height = 40.0 if row == 0 else 20.0
        x = rng.uniform(0, 200)
        for _ in range(rng.randint(1, columns)):
            length = rng.uniform(1, 14) * height
            lines.append(placed(x + length / 2, y, length, height, tilt, 0.0))
            x += length + rng.uniform(0.2, 12) * height
        y += 1.3 * height
    return lines


@pytest.mark.parametrize("tilt", (0.0, -0.12, 0.05, 0.2))
@pytest.mark.parametrize("seed", range(4))
def test_rows_are_read_from_the_top_each_from_the_left(seed: int, tilt: float) -> None:
    read(rows_of(seed, tilt))


def test_columns_are_read_row_by_row_as_far_apart_as_they_are() -> None:
    """A price stands at the far right of what it is the price of."""
    rows = [(0.0, 120.0), (500.0, 60.0), (900.0, 80.0)]
    read([Line(x, 30.0 * row, 0.0, length, 20.0) for row in range(9) for x, length in rows])


@pytest.mark.parametrize("bend", (0.1, -0.1))
def test_rows_of_a_warped_page_are_followed_to_their_end(bend: float) -> None:
    """At its right a row is where the one above or below is at the left."""
    lines = []
    for row in range(8):
        for piece in range(5):
            x = 180.0 * piece
            y = 26 * row + bend * x * x / 900  # falls by 80 pixels: three rows
            lines.append(Line(x, y, math.atan(2 * bend * x / 900), 170.0, 20.0))
    read(lines)
    assert max(line.y for line in lines[:5]) - min(line.y for line in lines[:5]) > 2 * 26


def test_lines_of_different_height_stand_on_one_row() -> None:
    large, small = Line(100.0, 50.0, 0.0, 200.0, 40.0), Line(300.0, 54.0, 0.0, 150.0, 16.0)
    next_large, next_small = large._replace(y=100.0), small._replace(y=96.0)
    read([large, small, next_large, next_small])
    # But two small lines beside a large one are two rows: the large one goes with neither.
    above, below = small._replace(y=38.0), small._replace(y=62.0)
    assert in_rows([below, large, above]) == [above, large, below]


def test_a_short_line_does_not_tell_where_its_row_goes_on() -> None:
    """Of a word its angle is little sure; a long line's is not."""
    level = [Line(300.0, 200.0 + 30 * row, 0.0, 500.0, 20.0) for row in range(3)]
    for length, together in ((100.0, True), (200.0, False)):
        word = Line(100.0, 54.0, 0.25, length, 20.0)
        after = Line(400.0, 50.0, 0.0, 300.0, 20.0)
        assert in_rows([*level, after, word])[:2] == ([word, after] if together else [after, word])


def test_what_overlaps_is_two_rows() -> None:
    """By less than a height it is one: rectangles are grown."""
    first = Line(100.0, 50.0, 0.0, 200.0, 20.0)
    for overlap, together in ((15.0, True), (25.0, False)):
        second = Line(200 - overlap + 100, 46.0, 0.0, 200.0, 20.0)
        assert in_rows([second, first]) == ([first, second] if together else [second, first])


def test_the_nearest_to_the_left_is_gone_on_from() -> None:
    """Of two rows that a line could stand on, that which ends nearer to it."""
    far, near = Line(50.0, 46.0, 0.0, 100.0, 20.0), Line(100.0, 58.0, 0.0, 200.0, 20.0)
    line = Line(300.0, 52.0, 0.0, 150.0, 20.0)
    assert in_rows([line, near, far]) == [far, near, line]
    far, near = Line(100.0, 46.0, 0.0, 200.0, 20.0), Line(50.0, 58.0, 0.0, 100.0, 20.0)
    assert in_rows([line, near, far]) == [far, line, near]


def test_upright_lines_are_rows_of_their_own() -> None:
    # The first begins where the upright line would end if it were level.
    text = [Line(280.0, 60.0 + 30 * row, 0.0, 300.0, 20.0) for row in range(5)]
    upright = Line(20.0, 160.0, UPWARDS, 200.0, 20.0)
    assert [line for line in in_rows([upright, *text]) if line != upright] == text
    assert in_rows([]) == [] and in_rows([upright]) == [upright]


@pytest.mark.parametrize("seed", range(3))
def test_no_line_is_lost_or_doubled(seed: int) -> None:
    """Whatever stands where, also what stands on one place."""
    rng = random.Random(seed)
    lines = [
        Line(rng.uniform(0, 300), rng.uniform(0, 300), rng.uniform(-3, 1.5), rng.uniform(5, 200),
             rng.uniform(5, 40))
        for _ in range(60)
    ]  # fmt: skip
    lines += lines[:5]
    assert sorted(in_rows(lines)) == sorted(lines)


def test_the_tilt_is_the_median_by_length_of_what_is_not_steep() -> None:
    rng = random.Random(0)
    for _ in range(20):
        lines = [
            Line(0.0, 0.0, rng.uniform(-0.5, 0.5), float(rng.randint(1, 9)), 1.0)
            for _ in range(rng.randint(1, 9))
        ]
        each = sorted(
            line.angle for line in lines if abs(line.angle) < 0.3 for _ in range(int(line.length))
        )
        assert tilt_of(lines) == (each[(len(each) - 1) // 2] if each else 0.0)
    assert tilt_of([]) == 0


# Strips


def bilinear(page: Tensor, x: float, y: float) -> Tensor:
    """What `page` shows at a place, pixels having their middles at halves; its ends go on."""
    _, height, width = page.shape
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    u, v = x - left, y - top
    above = (1 - u) * page[:, top, left] + u * page[:, top, right]
    below = (1 - u) * page[:, bottom, left] + u * page[:, bottom, right]
    return (1 - v) * above + v * below


@pytest.mark.parametrize(
    "line",
    (
        Line(24.0, 20.0, 0.0, 30.0, 8.0),  # as it is
        Line(30.3, 17.7, 0.2, 25.0, 5.0),  # enlarged
        Line(28.0, 20.0, -0.4, 40.0, 15.0),  # nearly halved, from the page
        Line(30.0, 22.0, 0.1, 50.0, 17.0),  # from the page halved
        Line(26.0, 19.0, UPWARDS, 41.0, 31.0),
        Line(30.0, 20.0, 0.3, 55.0, 36.0),  # from a quarter
        Line(32.0, 20.0, -2.0, 90.0, 80.0),  # and no further
        Line(2.0, 39.0, 0.1, 30.0, 12.0),  # beyond the page
    ),
)
def test_a_strip_shows_what_lies_along_its_line(line: Line) -> None:
    generator = torch.Generator().manual_seed(0)
    page = torch.rand(3, 40, 64, generator=generator) * 255
    height, width = 8, 48
    shown = strip(pyramid(page), line, height, width)
    assert shown.shape == (3, height, width)
    step = line.height / height  # pixels of the page
    level = 0 if step < 2 else 1 if step < 4 else 2
    small = page
    for _ in range(level):
        small = small.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean((2, 4))
    used = round(line.length / step)
    assert used > 0
    cos, sin = math.cos(line.angle), math.sin(line.angle)
    expected = torch.full((3, height, width), 127.5)
    for row in range(height):
        for column in range(min(used, width)):
            along, beside = (column + 0.5) * step - line.length / 2, (row + 0.5 - height / 2) * step
            x, y = line.x + along * cos - beside * sin, line.y + along * sin + beside * cos
            expected[:, row, column] = bilinear(small, x / 2**level, y / 2**level)
    close(shown, expected, rtol=0, atol=0.02)


def test_beyond_the_end_of_a_line_is_grey() -> None:
    page = torch.zeros(3, 64, 256)
    for length, used in ((100.0, 200), (0.1, 1), (500.0, 240)):
        shown = strip(pyramid(page), Line(120.0, 30.0, 0.0, length, 10.0), 20, 240)
        assert not shown[:, :, :used].any() and (shown[:, :, used:] == 127.5).all()


def test_a_line_that_is_turned_shows_the_same() -> None:
    """Read upwards from the page turned by a quarter."""
    generator = torch.Generator().manual_seed(0)
    page = torch.rand(3, 64, 64, generator=generator) * 255
    level = strip(pyramid(page), Line(30.0, 20.0, 0.0, 40.0, 12.0), 24, 80)
    turned = page.rot90(1, (1, 2))  # to the left: x, y goes to y, 64 - x
    close(strip(pyramid(turned), Line(20.0, 34.0, UPWARDS, 40.0, 12.0), 24, 80), level, atol=1e-2,
          rtol=0)  # fmt: skip


def test_a_pyramid_halves_while_there_is_something_to_halve() -> None:
    page = torch.rand(3, 12, 20)
    pages = pyramid(page)
    assert [tuple(each.shape) for each in pages] == [(3, 12, 20), (3, 6, 10), (3, 3, 5)]
    close(pages[2][:, 1, 2], page[:, 4:8, 8:12].mean((1, 2)))
    assert pages[0] is page and len(pyramid(page, 2)) == 2
    assert len(pyramid(torch.rand(3, 1, 40))) == 1
    assert len(pyramid(torch.rand(3, 3, 40))) == 2
