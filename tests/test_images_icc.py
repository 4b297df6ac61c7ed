"""ICC profiles, made here by the book and judged by the formulas of sRGB and CIE L*."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import torch
from image_files import encode, noise, same
from PIL import Image, ImageCms

from vqa import images

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {  # of sRGB, adapted to D50
    b"rXYZ": (0.43607, 0.22250, 0.01393),
    b"gXYZ": (0.38506, 0.71688, 0.09710),
    b"bXYZ": (0.14308, 0.06062, 0.71417),
}
LINEAR = b"curv" + bytes(8)  # no entries: the identity, not the curve of sRGB


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4."""
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", place + len(body), len(data))
        body += data
    header = struct.pack(
        ">I4xI4s4s4s12x4s", place + len(body), 0x02400000, kind, space, pcs, b"acsp"
    )
    header += bytes(28) + xyz(D50)[8:]
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


RGB = profile(
    b"mntr",
    b"RGB ",
    b"XYZ ",
    {
        b"wtpt": xyz(D50),
        **{tag: xyz(value) for tag, value in PRIMARIES.items()},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), LINEAR),
    },
)
GREY = profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": xyz(D50), b"kTRC": LINEAR})


def black_only() -> bytes:
    """A CMYK profile in which L* is 100 without black ink and 0 with all of it."""
    identity = bytes(range(256))
    corners = [[0 if k else 255, 128, 128] for _ in range(8) for k in (0, 1)]  # black varies first
    matrix = struct.pack(">9i", *[65536, 0, 0, 0, 65536, 0, 0, 0, 65536])
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix
    lut += identity * 4 + bytes(sum(corners, [])) + identity * 3
    return profile(b"prtr", b"CMYK", b"Lab ", {b"wtpt": xyz(D50), b"A2B0": lut})


CMYK = black_only()


def srgb(linear: np.ndarray) -> np.ndarray:
    """Light in [0, 1] -> sRGB numbers, IEC 61966-2-1."""
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curve * 255


def off(tensor: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(tensor.permute(1, 2, 0).numpy() - expected).max())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_rgb_profile(kind: str) -> None:
    pixels = noise(20, 30)
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(pixels), kind, icc_profile=RGB, **options)
    assert off(images.load(data), srgb(pixels / 255)) <= 1
    assert off(images.load(data), pixels) > 50  # or the judge above would judge nothing


def test_rgb_profile_of_a_jpeg_and_an_open_image() -> None:
    data = encode(Image.fromarray(noise(20, 30)), "JPEG", icc_profile=RGB)
    stored = images.load(encode(Image.fromarray(noise(20, 30)), "JPEG"))
    expected = srgb(stored.permute(1, 2, 0).numpy() / 255)
    assert off(images.load(data), expected) <= 1
    image = Image.open(io.BytesIO(data))
    assert torch.equal(images.load(image), images.load(data))
    assert torch.equal(images.load(image), images.load(data))  # the open image is as it was


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_profile(kind: str) -> None:
    pixels = noise(20, 30, 1)
    grey = Image.fromarray(pixels[..., 0])
    assert off(images.load(encode(grey, kind, icc_profile=GREY)), srgb(pixels / 255)) <= 1
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    assert off(images.load(encode(deep, kind, icc_profile=GREY)), srgb(pixels / 255)) <= 1


def test_cmyk_profile() -> None:
    inks = noise(20, 30, 4)
    data = encode(Image.fromarray(inks, "CMYK"), "TIFF", icc_profile=CMYK)
    lightness = 100 - inks[..., 3:] / 2.55
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    assert off(images.load(data), srgb(light)) <= 2  # of 8-bit L*
    assert off(images.load(encode(Image.fromarray(inks, "CMYK"), "TIFF")), srgb(light)) > 50


def test_palette_and_transparency_under_a_profile() -> None:
    pixels = noise(20, 30)
    palette = Image.fromarray(pixels).quantize(50)
    expected = srgb(np.asarray(palette.convert("RGB")) / 255)
    assert off(images.load(encode(palette, "PNG", icc_profile=RGB)), expected) <= 1
    alpha = noise(20, 30, 4)[..., 3:]
    clear = Image.fromarray(np.concatenate([pixels, alpha], 2))
    expected = srgb(pixels / 255) * (alpha / 255) + 255 - alpha  # white is white in sRGB
    assert off(images.load(encode(clear, "PNG", icc_profile=RGB)), expected) <= 1.5
    grey = Image.fromarray(np.concatenate([pixels[..., :1], alpha], 2), "LA")
    expected = srgb(pixels[..., :1] / 255) * (alpha / 255) + 255 - alpha
    assert off(images.load(encode(grey, "PNG", icc_profile=GREY)), expected) <= 1.5


@pytest.mark.parametrize("data", [b"", b"no profile", RGB[:150], RGB[:-40], GREY, CMYK, bytes(999)])
def test_a_profile_that_does_not_fit_is_as_none(data: bytes) -> None:
    pixels = noise(20, 30)
    assert same(images.load(encode(Image.fromarray(pixels), "PNG", icc_profile=data)), pixels)


def test_an_srgb_profile_leaves_the_numbers() -> None:
    pixels = noise(300, 300)
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert same(images.load(encode(Image.fromarray(pixels), "PNG", icc_profile=data)), pixels)


def test_a_profile_in_pieces() -> None:
    data = encode(Image.fromarray(noise(90, 70)), "PNG", icc_profile=RGB)
    whole = images.load(data)
    with images.open(data) as picture:
        assert torch.equal(picture[:, 13:47, 5:66], whole[:, 13:47, 5:66])
