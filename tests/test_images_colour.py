"""Every mode and colour space, down to the pixel."""

from typing import Any

import numpy as np
import pytest
import torch
from image_files import BLUE, GREEN, RED, WHITE, encode, refusal, rows
from PIL import Image, ImageCms

from vqa import images


def test_transparent_red_becomes_white() -> None:
    image = Image.new("RGBA", (4, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    image.putpixel((2, 0), (200, 0, 0, 128))
    image.putpixel((3, 0), (200, 0, 0, 2))
    expected = [[WHITE, RED, [227, 127, 127], [255, 253, 253]]]  # rounded, not floored
    for source in (image, encode(image, "PNG"), encode(image, "TIFF"), np.asarray(image)):
        assert rows(images.load(source)) == expected
    assert rows(images.load(encode(image, "WEBP", lossless=True, exact=True))) == expected


def test_premultiplied_alpha() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    assert rows(images.load(image.convert("RGBa"))) == [[WHITE, BLUE]]
    grey = Image.new("LA", (2, 1), (0, 0))
    grey.putpixel((1, 0), (0, 255))
    assert rows(images.load(grey.convert("La"))) == [[WHITE, [0, 0, 0]]]


def test_grey_with_alpha() -> None:
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (40, 255))
    for source in (image, encode(image, "PNG")):
        assert rows(images.load(source)) == [[WHITE, [40, 40, 40]]]


def palette_image(mode: str = "P") -> Image.Image:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image.convert(mode) if mode != "P" else image


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(kind: str) -> None:
    assert rows(images.load(encode(palette_image(), kind))) == [[RED, GREEN, BLUE]]
    assert rows(images.load(palette_image())) == [[RED, GREEN, BLUE]]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_with_a_transparent_index(kind: str) -> None:
    data = encode(palette_image(), kind, transparency=1)
    assert rows(images.load(data)) == [[RED, WHITE, BLUE]]


def test_palette_with_an_alpha_table() -> None:
    data = encode(palette_image(), "PNG", transparency=bytes([255, 128, 0]))
    assert rows(images.load(data)) == [[RED, [127, 255, 127], WHITE]]
    alpha = palette_image("PA")
    alpha.putalpha(0)
    assert rows(images.load(alpha)) == [[WHITE, WHITE, WHITE]]


@pytest.mark.parametrize(
    ("image", "key", "expected"),
    [
        (Image.new("RGB", (1, 1), "red"), (255, 0, 0), WHITE),
        (Image.new("RGB", (1, 1), "red"), (254, 0, 0), RED),
        (Image.new("L", (1, 1), 7), 7, WHITE),
        (Image.new("1", (1, 1), 0), 0, WHITE),
        (Image.fromarray(np.full((1, 1), 40000, np.uint16)), 40000, WHITE),
        (Image.fromarray(np.full((1, 1), 40000, np.uint16)), 40001, [156, 156, 156]),
    ],
)
def test_png_colour_key(image: Image.Image, key: Any, expected: list[int]) -> None:
    assert rows(images.load(encode(image, "PNG", transparency=key))) == [[expected]]


def test_one_bit() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    for source in (image, encode(image, "PNG"), encode(image, "TIFF"), encode(image, "PPM")):
        assert rows(images.load(source)) == [[[0, 0, 0], WHITE]]


DEEP = np.array([[0, 128, 129, 257, 40000, 65535]], np.uint16)
DEEP_GREY = [0, 0, 1, 1, 156, 255]  # value / 257, rounded


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM", "JPEG2000", "array", "image", "mode I"])
def test_16_bit_is_scaled(kind: str) -> None:
    image = Image.fromarray(DEEP)
    sources: dict[str, Any] = {"array": DEEP, "image": image, "mode I": image.convert("I")}
    source = sources[kind] if kind in sources else encode(image, kind)
    assert images.load(source).tolist() == [[DEEP_GREY]] * 3


def test_16_bit_big_endian() -> None:
    swapped = Image.frombytes("I;16B", (6, 1), DEEP.byteswap().tobytes())
    assert images.load(swapped)[0].tolist() == [DEEP_GREY]
    assert images.load(DEEP.astype(">u2"))[1].tolist() == [DEEP_GREY]


def test_mode_i_and_f_ranges() -> None:
    assert "value 70000; scale its pixels to [0, 65535]" in refusal(Image.new("I", (2, 2), 70000))
    assert "value -1;" in refusal(Image.new("I", (2, 2), -1))
    image = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    for source in (image, encode(image, "TIFF")):
        assert images.load(source)[2].tolist() == [[0, 128, 255]]
    assert "float32 pixel value 1.5; scale its pixels to [0, 1]" in refusal(
        encode(Image.new("F", (2, 2), 1.5), "TIFF")
    )


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX"])
def test_colour_spaces(mode: str) -> None:
    image = palette_image("RGB").convert(mode)
    difference = images.load(image).int() - torch.tensor([RED, GREEN, BLUE]).T[:, None]
    assert difference.abs().max() <= 2  # YCbCr and HSV round
    if mode == "CMYK":
        assert rows(images.load(encode(image, "TIFF"))) == [[RED, GREEN, BLUE]]
        assert images.load(encode(image.resize((24, 8)), "JPEG"))[0, 4, 2] > 200


def test_lab() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    image = ImageCms.applyTransform(Image.new("RGB", (2, 1), (200, 100, 50)), to_lab)
    assert image is not None and image.mode == "LAB"
    for source in (image, encode(image, "TIFF")):
        difference = images.load(source)[:, 0, 0].int() - torch.tensor([200, 100, 50])
        assert difference.abs().max() <= 3


def test_pil_source_is_not_changed() -> None:
    image = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    image.info["note"] = "mine"
    images.load(image)
    assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGBA", (2, 2), (255, 0, 0, 0))
    assert image.info == {"note": "mine"}
