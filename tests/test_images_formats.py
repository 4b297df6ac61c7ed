"""Every file format, whole, cut and corrupt; frames; orientation."""

import io
import pathlib
import struct
from typing import Any

import numpy as np
import pytest
import torch
from image_files import BLUE, LOSSLESS, RED, WHITE, encode, noise, png, refusal, rows, same
from PIL import Image, ImageOps, PngImagePlugin

from vqa import images
from vqa.images import ImageError


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats(kind: str) -> None:
    pixels = noise(11, 13)
    data = encode(Image.fromarray(pixels), kind.split()[0], **LOSSLESS[kind])
    assert same(images.load(data), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_equal_pillow(kind: str) -> None:
    data = encode(Image.fromarray(noise(11, 13)), kind)
    assert same(images.load(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_several_frames_give_the_first(kind: str) -> None:
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "blue")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as check:
        assert getattr(check, "n_frames", 1) == 2
    tensor = images.load(data)
    assert tensor.shape == (3, 8, 16)
    assert tensor[0].min() >= 250 and tensor[2].max() <= 5  # MPO is lossy


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(noise(5, 3)), kind, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert same(images.load(data), expected)
    assert same(images.load(Image.open(io.BytesIO(data))), expected)
    assert images.size(data) == images.size(Image.open(io.BytesIO(data))) == expected.shape[1::-1]


def test_exif_rotated_pixel_lands_where_it_should() -> None:
    stored = Image.new("RGB", (3, 2), "white")
    stored.putpixel((0, 0), (255, 0, 0))
    stored.putpixel((2, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned a quarter clockwise
    data = encode(stored, "PNG", exif=exif)
    assert rows(images.load(data)) == [[WHITE, RED], [WHITE, WHITE], [WHITE, BLUE]]
    assert images.size(data) == (2, 3)


def test_exif_nonsense_leaves_the_pixels() -> None:
    exif = Image.Exif()
    exif[274] = 99
    pixels = noise(4, 6)
    assert same(images.load(encode(Image.fromarray(pixels), "PNG", exif=exif)), pixels)
    data = encode(Image.fromarray(pixels), "PNG", exif=b"Exif\0\0not a TIFF header")
    assert same(images.load(data), pixels)
    assert images.size(data) == (6, 4)


def test_orientation_behind_the_pixels_of_a_png() -> None:
    exif = Image.Exif()
    exif[274] = 3
    data = encode(Image.fromarray(noise(4, 6)), "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    length = struct.unpack(">I", data[start : start + 4])[0] + 12
    chunk, rest = data[start : start + length], data[:start] + data[start + length :]
    moved = rest[:-12] + chunk + rest[-12:]  # before IEND
    assert same(images.load(moved), noise(4, 6)[::-1, ::-1])
    image = Image.open(io.BytesIO(moved))
    assert images.size(image) == (6, 4)
    assert same(images.load(image), noise(4, 6)[::-1, ::-1])  # size() has not spoiled it


def test_size_does_not_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Image.Image] = []
    data = encode(Image.fromarray(noise(4, 6)), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: decoded.append(self))
    assert images.size(data) == (6, 4)
    assert not decoded


CUT: dict[str, dict[str, Any]] = {
    **LOSSLESS,
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "WEBP": {},
    "GIF": {},
    "TIFF jpeg": {"compression": "jpeg"},
    "AVIF": {},
}


@pytest.mark.filterwarnings("ignore:(Truncated File|Corrupt EXIF):UserWarning")
@pytest.mark.parametrize("kind", CUT)
def test_a_cut_file_is_refused_or_whole(kind: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "cut.png"
    data = encode(Image.fromarray(noise(24, 31)), kind.split()[0], **CUT[kind])
    whole = images.load(data)
    for length in (*range(40, len(data) - 40, len(data) // 12), *range(len(data) - 40, len(data))):
        path.write_bytes(data[:length])
        try:
            assert torch.equal(images.load(path), whole)  # only what follows the pixels is missing
        except ImageError as error:
            assert str(error).startswith(f"{path} is a ") and "truncated" in str(error)
    path.write_bytes(data[: len(data) // 2])
    assert "truncated" in refusal(path)


def test_truncated_says_so(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "half.jpg"
    data = encode(Image.fromarray(noise(64, 64)), "JPEG")
    path.write_bytes(data[: len(data) // 2])
    message = refusal(path)
    assert message.startswith(f"{path} is a truncated JPEG image (")
    assert message.endswith("; get a complete copy")


def test_corrupt_file() -> None:
    data = bytearray(encode(Image.fromarray(noise(32, 32)), "PNG"))
    data[200:230] = bytes(30)
    assert "is a corrupt or truncated PNG image (" in refusal(bytes(data))
    assert "PPM image" in refusal(b"P6 this is a letter that begins like a PPM")


def test_zero_size_image() -> None:
    assert refusal(Image.new("RGB", (0, 5))).startswith("the image has no pixels (0 x 5)")
    assert "corrupt or truncated PNG" in refusal(png(0, 5, b""))  # Pillow sees that one first


def test_out_of_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", full)
    assert "does not fit in memory" in refusal(encode(Image.new("RGB", (2, 2)), "PNG"))
