"""Turned, skewed and negative pages read as the upright one, with boxes where the words stand."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from encoders.vision.glyphs import Encoder, Letters
from encoders.vision.ocr.orientation import Rotation, reading_angle
from encoders.vision.ocr.transcription import Transcription, page_text, transcribe
from encoders.vision.text_lines import Line
from vqa.data.transcripts import bundled_ocr

ROWS = (
    "Harbour Books and Maps",
    "Invoice number 48213",
    "Blue atlas of the north",
    "Pencil, soft, two pieces",
    "Amount to be paid 37.50",
    "Thank you for your visit",
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return bundled_ocr().float()


@pytest.fixture(scope="module")
def page() -> Image.Image:
    image = Image.new("RGB", (560, 330), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(28)
    for number, row in enumerate(ROWS):
        draw.text((30, 20 + 48 * number), row, fill="black", font=font)
    return image


@pytest.fixture(scope="module")
def upright(encoder: Encoder, page: Image.Image) -> Transcription:
    found = run(encoder, page)
    assert page_text(found.words) == "\n".join(ROWS)
    assert found.rotation == 0
    return found


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@torch.inference_mode()
def run(encoder: Encoder, image: Image.Image) -> Transcription:
    return transcribe(encoder, pixels(image))


@pytest.mark.parametrize("degrees", [90, 180, 270, 12, -30, 168])
def test_transcribe_rights_a_turned_page(
    degrees: int, encoder: Encoder, page: Image.Image, upright: Transcription
) -> None:
    turned = page.rotate(degrees, expand=True, fillcolor="white", resample=Image.Resampling.BICUBIC)
    found = run(encoder, turned)
    assert abs(math.remainder(found.rotation + degrees, 360)) < 2
    assert page_text(found.words) == "\n".join(ROWS)
    rotation = Rotation(
        math.radians(-degrees), turned.height, turned.width, page.height, page.width, 1.0
    )
    for word, same in zip(found.words, upright.words, strict=True):
        expected = rotation.box_in_image(same.box)
        assert max(abs(a - b) for a, b in zip(word.box, expected, strict=True)) < 12


@pytest.mark.parametrize("degrees", [0, 180])
def test_transcribe_reads_white_on_black(
    degrees: int, encoder: Encoder, page: Image.Image, upright: Transcription
) -> None:
    negative = Image.fromarray(255 - np.array(page.rotate(degrees)))
    found = run(encoder, negative)
    assert page_text(found.words) == page_text(upright.words)
    assert abs(math.remainder(found.rotation - degrees, 360)) < 2


def test_box_in_image_turns_back() -> None:
    # An image of 30 x 50 pixels turned left by 90 degrees: its right edge is on top.
    rotation = Rotation(math.pi / 2, 30, 50, 50, 30, 1.0)
    assert rotation.box_in_image((0, 0, 10, 5)) == pytest.approx((45, 0, 50, 10))
    halved = rotation._replace(rotated_height=25, rotated_width=15, scale=0.5)
    assert halved.box_in_image((0, 0, 5, 2.5)) == pytest.approx((45, 0, 50, 10))


def line(angle: float, length: float) -> Letters:
    empty = torch.zeros(0)
    return Letters(Line(0, 0, math.radians(angle), length, 20), empty, empty, [], [], [])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], 0),
        ([(0, 100), (1, 90)], 0),
        ([(-20, 100), (-21, 90), (40, 10)], -20),
        ([(-90, 100), (-88, 50), (0, 60)], -90),
        ([(-90, 100), (0, 120), (1, 30)], 0),
        ([(-75, 100), (-76, 80), (-74, 70)], -75),
    ],
)
def test_reading_angle_is_that_of_most_print(
    lines: list[tuple[float, float]], expected: float
) -> None:
    found = math.degrees(reading_angle([line(*each) for each in lines]))
    assert found == pytest.approx(expected, abs=1.01)
