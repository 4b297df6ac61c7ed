"""Every kind of image a person may hand in, down to the pixel; and what the others are told."""

import io
import os
import pathlib
import struct
import threading
import time
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from vqa import images
from vqa.images import ImageError

RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def rows(tensor: torch.Tensor) -> list[list[list[int]]]:
    """[3, H, W] -> a pixel per (row, column), as lists."""
    assert tensor.dtype == torch.uint8 and tensor.is_contiguous()
    return tensor.permute(1, 2, 0).tolist()


def same(tensor: torch.Tensor, pixels: np.ndarray) -> bool:
    return np.array_equal(tensor.permute(1, 2, 0).numpy(), pixels)


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        images.load(source, **options)
    return str(caught.value)


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG whose header promises any size, whatever its data holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


# --- sources


def test_path_bytes_image_and_array_agree(tmp_path: pathlib.Path) -> None:
    pixels = noise(5, 7)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    sources: list[Any] = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), pixels]
    for source in [*sources, Image.fromarray(pixels), Image.open(path)]:
        assert same(images.load(source), pixels)
        assert images.size(source) == (7, 5)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="lists open files by /proc")
def test_file_is_closed(tmp_path: pathlib.Path) -> None:
    good, bad = tmp_path / "a.tif", tmp_path / "b.png"
    Image.fromarray(noise(9, 9)).save(good)
    bad.write_bytes(encode(Image.fromarray(noise(9, 9)), "PNG")[:100])
    images.load(good)
    images.size(good)
    refusal(bad)
    links = [os.path.join("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    still_open = {os.readlink(link) for link in links if os.path.islink(link)}
    assert not still_open & {str(good), str(bad)}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (1500, 1100)])
def test_full_size_across_strips(height: int, width: int) -> None:
    pixels = noise(height, width)
    assert same(images.load(encode(Image.fromarray(pixels), "PNG")), pixels)
    assert same(images.load(pixels), pixels)


def test_strip_width_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(23, 10)
    whole = images.load(encode(Image.fromarray(pixels), "PNG"))
    monkeypatch.setattr(images, "_STRIP_PIXELS", 40)  # four rows at a time, then a shorter rest
    assert torch.equal(images.load(encode(Image.fromarray(pixels), "PNG")), whole)


# --- formats, frames, orientation


LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "BMP": {},
    "PPM": {},
    "JPEG2000": {},
    "QOI": {},
}


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


# --- modes


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


# --- arrays


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_arrays(shape: tuple[int, ...]) -> None:
    array = np.arange(6, dtype=np.uint8).reshape(shape)
    assert images.load(array).tolist() == [[[0, 1, 2], [3, 4, 5]]] * 3


def test_bool_and_float_arrays() -> None:
    assert images.load(np.array([[True, False]]))[0].tolist() == [[255, 0]]
    for dtype in (np.float16, np.float32, np.float64):
        assert images.load(np.array([[0, 0.5, 1]], dtype))[0].tolist() == [[0, 128, 255]]
    assert rows(images.load(np.array([[[1.0, 0, 0, 0], [1.0, 0, 0, 1]]]))) == [[WHITE, RED]]


def test_array_is_copied() -> None:
    array = noise(3, 3)
    before = array.copy()
    images.load(array).zero_()
    assert np.array_equal(array, before)
    assert same(images.load(array[::-1, ::2]), before[::-1, ::2])  # any strides


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 8, 9), np.uint8), "shape (3, 8, 9); pass [H, W] or [H, W, C]"),
        (np.zeros((1, 8, 9, 3), np.uint8), "shape (1, 8, 9, 3)"),
        (np.zeros(4, np.uint8), "shape (4,)"),
        (np.zeros((4, 4, 2), np.uint8), "shape (4, 4, 2)"),
        (np.zeros((4, 4), np.int64), "an array of int64; pass uint8"),
        (np.zeros((4, 4), complex), "an array of complex128"),
        (np.array([["a"]]), "an array of <U1"),
        (np.array([[0.5, np.nan]]), "float64 pixel value nan; scale its pixels to [0, 1]"),
        (np.array([[np.inf]]), "pixel value inf"),
        (np.array([[200.0]]), "pixel value 200.0"),
        (np.array([[-0.1]]), "pixel value -0.1"),
        (np.zeros((0, 5), np.uint8), "no pixels (5 x 0)"),
        (np.zeros((5, 0, 3), np.uint8), "no pixels (0 x 5)"),
    ],
)
def test_bad_arrays(array: np.ndarray, reason: str) -> None:
    message = refusal(array)
    assert message.startswith("the image ") and reason in message


# --- what is refused


def test_not_a_file(tmp_path: pathlib.Path) -> None:
    missing = tmp_path / "nope.png"
    assert refusal(missing) == f"{missing} does not exist; check the path"
    assert refusal(tmp_path) == f"{tmp_path} is a directory; pass an image file"
    assert "is a URL; download it" in refusal("https://example.org/a.png")
    assert refusal("") == "an empty path does not exist; check the path"
    assert "does not exist" in refusal("a\0b.png")
    with pytest.raises(ImageError, match="nope.png does not exist"):
        images.size(missing)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.timeout(10)
def test_a_pipe_does_not_block(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "is not a regular file" in refusal(tmp_path / "pipe.png")


def test_unreadable_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.touch()

    def deny(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", deny)  # root may read everything, so pretend
    message = refusal(path)
    monkeypatch.undo()
    assert message == f"{path} cannot be opened (Permission denied); check the file"


def test_empty_and_text_files(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.png"
    path.touch()
    assert refusal(path) == f"{path} is empty (0 bytes); pass an image file"
    path.write_text("This is a text, whatever its name says.\n" * 9)
    assert refusal(path).startswith(f"{path} is not an image that can be read here; use PNG, JPEG")
    assert refusal(b"") == "the image is empty (0 bytes); pass an image file"


def test_eps_never_runs_ghostscript() -> None:
    data = encode(Image.new("RGB", (4, 4)), "EPS")
    assert "is not an image that can be read here" in refusal(data)


@pytest.mark.parametrize("source", [None, 3, [[0]], torch.zeros(3, 4, 4)])
def test_other_types(source: object) -> None:
    assert refusal(source).startswith(f"an image cannot be a {type(source).__name__}; pass a path")


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


# --- the pixel limit


def test_header_bomb_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(60_000, 60_000, zlib.compress(bytes(1000))))
    start = time.perf_counter()
    message = refusal(path)
    assert time.perf_counter() - start < 1.0
    assert message == (
        f"{path} is 60000 x 60000 = 3,600,000,000 pixels, over the limit of 268,435,456 pixels; "
        "crop it or raise max_pixels"
    )
    assert images.size(path) == (60_000, 60_000)  # the header alone is harmless


def test_limit_is_exact() -> None:
    pixels = noise(10, 12)
    image = Image.fromarray(pixels)
    for source in (pixels, image, encode(image, "PNG"), encode(image, "JPEG")):
        assert images.load(source, max_pixels=120).shape == (3, 10, 12)
        assert "12 x 10 = 120 pixels, over the limit of 119 pixels" in refusal(
            source, max_pixels=119
        )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "TIFF lzw", "WEBP", "GIF", "BMP", "AVIF"])
@pytest.mark.parametrize("guard", [100, 250, 400])  # 400 pixels: its error, its warning, neither
def test_pillows_guard_does_not_interfere(
    kind: str, guard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(Image.fromarray(noise(20, 20)), kind.split()[0], **LOSSLESS.get(kind, {}))
    image = Image.open(io.BytesIO(data))
    whole = images.load(data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", guard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(images.load(data), whole)
        assert torch.equal(images.load(image), whole)
        assert images.size(data) == (20, 20)
        refusal(data, max_pixels=399)
        refusal(data[: len(data) // 2])
    assert guard == Image.MAX_IMAGE_PIXELS


def test_threads_agree() -> None:
    sources = [encode(Image.fromarray(noise(60, 40 + i)), "PNG") for i in range(8)]
    expected = [images.load(source) for source in sources]
    guard, wrong = Image.MAX_IMAGE_PIXELS, []

    def work(source: bytes, whole: torch.Tensor) -> None:
        for _ in range(5):
            if not torch.equal(images.load(source), whole) or guard != Image.MAX_IMAGE_PIXELS:
                wrong.append(source)

    pairs = zip(sources, expected, strict=True)
    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
